import json
from dataclasses import replace

import numpy as np
import pytest
from phantoms import MEANS, phantom_case, phantom_layout
from scipy.ndimage import gaussian_filter1d

from synth.brats import CLASSES, MODALITIES
from synth.case import Case
from synth.errors import SynthError
from synth.style.prior import StylePrior, mixed_style, shipped_style_prior, style_problems
from synth.style.style import TUMOUR_MINUS_WM, Style, measure_style

SHAPE = (56, 64, 52)


def noisy_case(sigma, blur_axis=None, seed=0, shape=SHAPE):
    layout = phantom_layout(shape, seed=0)
    table = np.array([(0, 0, 0, 0), *(MEANS[name] for name in CLASSES)], float)
    noise = np.random.default_rng(seed).normal(0, sigma, (*shape, 4))
    if blur_axis is not None:
        noise = gaussian_filter1d(noise, 0.9, blur_axis)
    images = np.where(layout.brain[..., None], table[layout.classes] + noise, 0)
    return Case("noisy", np.clip(np.rint(images), 0, None).astype(np.int16), layout.tumour, layout.affine), layout


@pytest.fixture(scope="module")
def style():
    case, layout = noisy_case(8)
    return measure_style(case, layout)


def test_means_are_the_painted_ones_in_normalised_units(style):
    window = np.array(style.window)
    found = np.array(style.mean) * (window[:, 1] - window[:, 0]) + window[:, 0]
    expected = np.array([MEANS[name] for name in CLASSES])
    np.testing.assert_allclose(found, expected, rtol=0.06)


def test_texture_follows_the_noise():
    levels = [np.array(measure_style(*noisy_case(sigma)).texture) for sigma in (5, 10)]
    ratio = levels[1] / levels[0]
    assert (ratio > 1.6).all()
    assert (ratio < 2.4).all()


def test_sharpness_tells_which_axis_is_smooth():
    sharpness = np.array(measure_style(*noisy_case(10, blur_axis=2, shape=(100, 108, 92))).sharpness)
    assert (sharpness[:, 2] > sharpness[:, 0] + 0.05).all()
    assert (sharpness[:, 2] > sharpness[:, 1] + 0.05).all()


def test_a_class_the_scan_lacks_is_inferred_and_marked():
    case = phantom_case(SHAPE, tumour=False)
    style = measure_style(case, phantom_layout(SHAPE, tumour=False))
    assert (np.array(style.spread)[3:] == 0).all()
    np.testing.assert_allclose(np.array(style.mean)[3:], np.array(style.mean)[2] + TUMOUR_MINUS_WM, atol=1e-5)


def test_dict_round_trip_and_refusals(style):
    assert Style.from_dict(style.to_dict()) == style
    with pytest.raises(SynthError, match="texture"):
        Style.from_dict({k: v for k, v in style.to_dict().items() if k != "texture"})
    with pytest.raises(SynthError, match="mean must be finite"):
        Style.from_dict({**style.to_dict(), "mean": [[1, 2], [3, 4]]})


def test_shipped_prior_gives_plausible_new_styles_by_seed():
    prior = shipped_style_prior()
    drawn = [prior.sample(np.random.default_rng(k)) for k in range(20)]
    assert not any(style_problems(style) for style in drawn)
    assert drawn[3] == prior.sample(np.random.default_rng(3))
    assert len({style.mean for style in drawn}) == 20
    assert (np.array([style.window for style in drawn]).max((0, 1)) < 32767).all()


def test_contrasts_are_drawn_as_different_as_scans_have_them_on_whatever_scales_they_are_stored():
    rng, shipped = np.random.default_rng(0), shipped_style_prior()
    styles = [shipped.sample(rng) for _ in range(24)]
    styles = [replace(s, window=np.asarray(s.window) * np.exp(rng.normal(0, 2, (4, 1)))) for s in styles]

    def spread(styles):
        mean = np.array([style.mean for style in styles])
        return (mean[:, 1:3] - mean[:, :2]).std(0).mean()

    prior = StylePrior.fit(styles)
    assert spread([prior.sample(rng) for _ in range(200)]) > 0.85 * spread(styles)
    same = StylePrior.fit([replace(s, texture=(0.1,) * 4) for s in styles])  # a value in which none differs
    assert np.allclose(same.sample(rng).texture, 0.1)


def test_prior_needs_three_scans(style):
    with pytest.raises(SynthError, match="at least 3 scans, found 2"):
        StylePrior.fit([style, style])


def test_implausible_styles_are_told():
    style = shipped_style_prior().sample(np.random.default_rng(0)).to_dict()
    mean = [list(row) for row in style["mean"]]
    mean[CLASSES.index("ET")][MODALITIES.index("t1ce")] = 0.0
    assert style_problems(Style.from_dict({**style, "mean": mean})) == ["ET not brighter than WM in t1ce"]


def test_shading_depends_on_no_single_voxel():
    case, layout = noisy_case(8, shape=(100, 108, 92))
    tissue = layout.tissue.copy()
    tissue[tuple(np.argwhere(tissue == 3)[40])] = 2  # one of 100,000
    other = measure_style(case, replace(layout, tissue=tissue))
    np.testing.assert_allclose(other.shading, measure_style(case, layout).shading, atol=2e-4)


def with_pure(style, by=0.05):
    return replace(style, pure=np.asarray(style.mean)[:3] + by)


def test_pure_tissue_is_kept_where_it_is_known_and_said_nothing_of_where_not():
    style = replace(shipped_style_prior().sample(np.random.default_rng(0)), pure=None)
    assert "pure" not in style.to_dict()
    known = with_pure(style)
    assert Style.from_dict(json.loads(json.dumps(known.to_dict()))) == known
    with pytest.raises(SynthError, match=r"pure must be finite numbers of shape \(3, 4\)"):
        replace(style, pure=np.zeros((2, 4)))


def test_styles_are_drawn_and_mixed_with_pure_tissue_where_all_have_it():
    rng = np.random.default_rng(1)
    plain = [replace(shipped_style_prior().sample(rng), pure=None) for _ in range(5)]
    known = [with_pure(style) for style in plain]
    prior = StylePrior.fit(known)
    drawn = prior.sample(rng)
    assert np.allclose(np.asarray(drawn.pure) - np.asarray(drawn.mean)[:3], 0.05, atol=1e-5)
    assert StylePrior.fit([*known[:-1], plain[-1]]).sample(rng).pure is None
    mixed = mixed_style([lambda s=s: s for s in known], prior, rng)
    assert np.allclose(np.asarray(mixed.pure) - np.asarray(mixed.mean)[:3], 0.05, atol=1e-5)
    # from known to unknown: the same as before there was any
    seeds = [np.random.default_rng(5) for _ in range(2)]
    ways = [
        mixed_style([lambda s=s: s for s in some], shipped_style_prior(), r)
        for some, r in zip((known, plain), seeds, strict=True)
    ]
    assert replace(ways[0], pure=None) == ways[1]
