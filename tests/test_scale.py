"""The scale of intensities: nothing depends on the one that a scan comes on, and what is painted has one that suits."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from phantoms import atlas_case, atlas_layout, phantom_case, phantom_layout

from synth.brats import MODALITIES, Tissue
from synth.case import Case, zscored
from synth.errors import SynthError
from synth.layout.tissue import extract_layout
from synth.quality.similarity import scaled
from synth.runs.painted_case import to_case
from synth.show.contact_sheet import ContactSheet
from synth.style.prior import shipped_style_prior
from synth.style.scale import (
    INT16_MAX,
    LEAST_LEVELS,
    LEAST_WIDTH,
    REACH,
    WIDTH,
    moved,
    output_window,
    own_window,
    recorded_window,
)
from synth.style.style import Style, measure_style

SHAPE = (56, 64, 52)
SCALES = {  # the highest intensity of a modality, whether it is rounded, and how near outputs come, in windows
    "unit": (1.0, False, 1e-3),
    "percent": (100.0, False, 1e-3),
    "tiny": (1e-7, False, 1e-3),
    "sixty thousand": (60_000.0, True, 1e-3),
    "huge": (1e9, False, 1e-3),
    "eight bits": (255.0, True, 8e-3),
}


def on_scale(case: Case, highest: float, rounded: bool) -> Case:
    """Every modality with its highest intensity at `highest`, float32 as the door leaves it."""
    images = case.images * (highest / case.images.max((0, 1, 2)).astype(np.float64))
    images = np.maximum(np.rint(images), case.images > 0) if rounded else images
    return replace(case, images=images.astype(np.float32))


def painted(layout, style: Style, seed=0) -> np.ndarray:
    """A painter's image without TensorFlow, in the box: the style's colours, noise of its texture, and some detail."""
    box = layout.bounding_box()
    classes = layout.classes[box]
    noise = np.random.default_rng(seed).standard_normal((*classes.shape, len(MODALITIES)))
    table = np.concatenate([np.zeros((1, len(MODALITIES))), style.mean])
    return (table[classes] + noise * (0.01 + np.array(style.texture))) * (classes > 0)[..., None]


def written(case: Case) -> tuple[Case, np.ndarray]:
    """What is painted in the style of a phantom's scan, as it is written; and in normalised units, in the brain."""
    layout = phantom_layout(SHAPE)
    style = measure_style(case, layout)
    window = output_window(style)
    out = to_case(case.id, layout, painted(layout, style), window)
    low, high = np.array(window).T
    return out, (out.images[layout.brain] - low) / (high - low)


def style_with(window) -> Style:
    return replace(shipped_style_prior().sample(np.random.default_rng(0)), window=window)


@pytest.fixture(scope="module")
def phantom() -> Case:
    return phantom_case(SHAPE)


@pytest.fixture(scope="module")
def truth(phantom):
    return written(phantom)


# --- what is written ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCALES)
def test_a_scan_is_painted_the_same_whatever_scale_it_comes_on(name, phantom, truth):
    highest, rounded, tolerance = SCALES[name]
    out, values = written(on_scale(phantom, highest, rounded))
    assert out.images.dtype == np.int16
    near = np.abs(values - truth[1]) <= tolerance
    assert near.mean(0).min() >= 0.99
    for m in range(len(MODALITIES)):
        assert len(np.unique(out.images[..., m])) > LEAST_LEVELS
    assert (out.images < INT16_MAX).all()


@pytest.mark.parametrize("highest", [5, 20, 100])
def test_a_scan_of_few_levels_is_painted_in_many(highest, phantom):
    out, values = written(on_scale(phantom, highest, True))
    assert min(len(np.unique(out.images[..., m])) for m in range(len(MODALITIES))) > LEAST_LEVELS
    assert (out.images < INT16_MAX).all()
    assert (values.std(0) > 0.1).all()


@pytest.mark.parametrize("window", [(0, LEAST_WIDTH), (439, 6125), (824, 7855), (231.5, 2310.25)])
def test_a_window_that_suits_is_kept_to_the_bit(window):
    style = style_with([window] * len(MODALITIES))
    assert output_window(style) == style.window


@pytest.mark.parametrize(
    ("window", "chosen"),
    [
        ((0.1, 0.6), (800, 4800)),
        ((26, 171), (717.241379, 4717.241379)),  # t1ce of a real case
        ((5_000, 45_000), (500, 4500)),
        ((0, LEAST_WIDTH - 1), (0, WIDTH)),
        ((0.9, 1.0), (INT16_MAX - REACH * WIDTH, INT16_MAX - (REACH - 1) * WIDTH)),  # else 36000 to 40000
        ((-0.1, 0.4), (-800, 3200)),
    ],
)
def test_another_window_is_stretched_about_zero_and_fits(window, chosen):
    suits = (100.0, 1100.0)
    style = style_with([suits, window, suits, suits])
    found = output_window(style)
    assert (found[0], found[2], found[3]) == (suits,) * 3  # modality by modality
    np.testing.assert_allclose(found[1], chosen)
    assert found[1][0] + REACH * (found[1][1] - found[1][0]) <= INT16_MAX


def test_sampled_styles_are_written_in_many_levels_too():
    prior = shipped_style_prior()
    for k in range(40):
        low, high = np.array(output_window(prior.sample(np.random.default_rng(k)))).T
        assert (high - low).min() >= LEAST_WIDTH
        assert (low + REACH * (high - low)).max() <= INT16_MAX


@pytest.mark.parametrize(
    "record", [[[0, 1]], "0 to 1", [[0, 1]] * 3 + [[1, 0]], [[0, float("inf")]] * 4, [[0, []]] * 4]
)
def test_a_damaged_record_of_a_window_is_refused(record):
    with pytest.raises(SynthError, match="output window: expected 4 pairs of numbers, the lower first"):
        recorded_window(record)


def test_a_case_moves_to_another_window_and_back(phantom):
    before, after = ((100.0, 1100.0),) * 4, ((0.0, 1.0), (400.0, 4400.0), (100.0, 1100.0), (5.0, 15.0))
    there = moved(phantom, before, after)
    np.testing.assert_allclose(
        there.images[..., 1], np.where(phantom.images[..., 1] > 0, phantom.images[..., 1] * 4, 0)
    )
    assert not there.images[~phantom.brain].any()
    np.testing.assert_allclose(moved(there, after, before).images, phantom.images, atol=1e-2)
    assert moved(phantom, before, before) is phantom


# --- what is measured ---------------------------------------------------------------------------------------------


def test_the_styles_own_window_keeps_its_digits_on_any_scale(phantom):
    layout = phantom_layout(SHAPE)
    own = np.array(measure_style(phantom, layout).window)
    highest = phantom.images.max((0, 1, 2))
    for scale in (1e-7, 1e-3, 1.0, 1e9):
        window = np.array(measure_style(on_scale(phantom, scale, False), layout).window)
        np.testing.assert_allclose(window * (highest[:, None] / scale), own, rtol=1e-5)


@pytest.mark.parametrize("scale", [1e-7, 1.0, 60_000.0])
def test_styles_do_not_depend_on_the_scale(scale, phantom):
    layout = phantom_layout(SHAPE)
    own, other = (measure_style(case, layout) for case in (phantom, on_scale(phantom, scale, False)))
    for name in ("mean", "spread", "texture", "sharpness", "shading"):
        np.testing.assert_allclose(getattr(other, name), getattr(own, name), atol=2e-5, err_msg=name)


def test_a_scan_cut_off_at_one_value_has_a_window(phantom):
    images = phantom.images.copy()
    cut = images[..., 3] > 0
    images[..., 3][cut] = 700
    images[..., 3][tuple(np.argwhere(cut)[0])] = 300  # all but one voxel
    style = measure_style(replace(phantom, images=images), phantom_layout(SHAPE))
    assert style.window[3] == (300, 700)
    np.testing.assert_allclose(np.array(style.mean)[:, 3], 1, atol=1e-6)
    assert own_window(np.full(9, 700)) == (700, 1400)


def test_a_window_that_goes_down_is_no_style(phantom):
    with pytest.raises(SynthError, match="the window of t1ce must go up, found 9 to 9; measure the style again"):
        style_with([(0, 1), (9, 9), (0, 1), (0, 1)])


def test_tissue_does_not_depend_on_the_scale():
    case, _ = atlas_case()
    own = atlas_layout()
    other = extract_layout(on_scale(case, 1e-7, False))
    assert np.mean(own.tissue != other.tissue) < 1e-4


def test_tissue_is_found_beside_a_modality_that_is_cut_off_at_one_value():
    case, truth = atlas_case()
    images = case.images.copy()
    images[..., 3][images[..., 3] > 0] = 700
    healthy = (truth > 0) & (case.labels == 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = extract_layout(replace(case, images=images)).tissue
    assert set(np.unique(found)) == {0, *map(int, Tissue)}
    assert np.mean(found[healthy] == truth[healthy]) > 0.8


def test_similarity_and_deviations_do_not_depend_on_the_scale(phantom):
    brain, other = phantom.brain, on_scale(phantom, 1e-9, False)
    np.testing.assert_allclose(zscored(other.images, brain), zscored(phantom.images, brain), atol=1e-4)
    for m in range(len(MODALITIES)):
        ours, theirs = (scaled(case.images[..., m], case.images[..., m], brain) for case in (phantom, other))
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
    flat = np.where(brain, np.float32(0.1), np.float32(0))
    assert not zscored(flat[..., None], brain).any()


def test_a_sheet_shows_the_same_whatever_the_scale(phantom, tmp_path):
    pictures = []
    for case in (phantom, on_scale(phantom, 1.0, False), on_scale(phantom, 60_000.0, False)):
        sheet = ContactSheet(1)
        sheet.add_pair(case, case)
        rows = sheet._rows[0]
        pictures.append(np.concatenate([row.tiles for row in rows]).astype(int))
    assert pictures[0].std() > 20
    for picture in pictures[1:]:
        assert np.abs(picture - pictures[0]).max() <= 2
