import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, laplace

import synth.quality.fine
from synth.case import Case
from synth.layout.layout import Layout
from synth.quality.fine import BANDS, fine_ratios, low_passed, measure_fine
from synth.quality.prepared import Prepared

SHAPE = (40, 44, 36)
BRAIN = np.ones(SHAPE, bool)


def image(seed=0):
    """Noise with some structure."""
    rng = np.random.default_rng(seed)
    out = gaussian_filter(rng.standard_normal(SHAPE), 0.8)
    out[10:30:5, 12:14] += 2
    return out.astype(np.float32)


def test_an_image_is_as_fine_as_itself_and_its_double():
    assert fine_ratios(image(), image(), BRAIN) == pytest.approx(
        dict.fromkeys(fine_ratios(image(), image(), BRAIN), 1.0)
    )
    twice = fine_ratios(image(), 2 * image(), BRAIN)
    assert twice["power_0.2"] == pytest.approx(4, rel=1e-4)
    assert twice["gradient"] == pytest.approx(2, rel=1e-4)
    assert twice["kurtosis"] == pytest.approx(1, rel=1e-4)


def test_blur_costs_the_finest_most():
    ratios = fine_ratios(image(), gaussian_filter(image(), 0.8), BRAIN)
    powers = [ratios[f"power_{low:g}"] for low, _ in BANDS]
    assert 1 > powers[0] > powers[1] > powers[2]
    assert ratios["gradient"] < 0.9


def test_noise_has_power_but_no_tails():
    real = image()
    noise = np.random.default_rng(3).standard_normal(SHAPE).astype(np.float32) * real.std()
    assert fine_ratios(real, noise, BRAIN)["kurtosis"] < 0.7


def test_power_of_a_wave_lies_in_its_band():
    x = np.arange(SHAPE[0])[:, None, None] * np.ones(SHAPE)
    real = image()
    more = real + 3 * np.sin(2 * np.pi * 0.25 * x).astype(np.float32)
    ratios = fine_ratios(real, more, BRAIN)
    assert ratios["power_0.2"] > 4 * ratios["power_0.3"]  # a window lets some leak


def test_only_the_inside_of_the_brain_counts_and_where_there_is_none_nothing_is_said():
    brain = np.zeros(SHAPE, bool)
    brain[4:-4, 4:-4, 4:-4] = True
    real = image() * brain
    spoilt = real.copy()
    spoilt[~brain] = 50
    assert fine_ratios(real, spoilt, brain)["gradient"] == pytest.approx(1)
    assert np.isnan(list(fine_ratios(real, real, np.zeros(SHAPE, bool)).values())).all()


def test_low_passing_leaves_slow_waves():
    x = np.arange(SHAPE[0])[:, None, None] * np.ones(SHAPE)
    slow, fast = (np.sin(2 * np.pi * f * x) for f in (0.025, 0.3))
    middle = (slice(8, -8),) * 3
    assert np.std(low_passed(slow)[middle]) > 0.9 * np.std(slow[middle])
    assert np.std(low_passed(fast)[middle]) < 0.1 * np.std(fast[middle])


def prepared(images):
    layout = Layout(np.full(SHAPE, 2, np.uint8), np.zeros(SHAPE, np.uint8), np.eye(4), "v")
    return Prepared(Case("v", images, layout.tumour, np.eye(4)), layout, layout.bounding_box())


def test_tails_of_one_scan_are_those_of_all_its_voxels(monkeypatch):
    images = np.stack([image(), gaussian_filter(image(), 0.8), 5 * image(), image(3)], -1)
    noise = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
    images[..., 3] = noise
    case = prepared(images + 100)
    inside = (slice(3, -3),) * 3
    for m in range(4):
        z = case.z[..., m]
        steep = np.percentile(np.sqrt(sum(g * g for g in np.gradient(z)))[inside], 99)
        curved = laplace(z)[inside]
        expected = steep, (curved**4).mean() / (curved**2).mean() ** 2
        assert measure_fine(case)["tails"][m] == pytest.approx(expected, rel=1e-3)
    tails = measure_fine(case)["tails"]
    assert tails[1, 0] < 0.9 * tails[0, 0]
    assert tails[2] == pytest.approx(tails[0], rel=1e-3)  # of z-scores: units do not count
    assert tails[3, 1] == pytest.approx(3, abs=0.1)
    monkeypatch.setattr(synth.quality.fine, "MOST", 20_000)
    assert measure_fine(case)["tails"][0] == pytest.approx(tails[0], rel=0.1)


def test_a_brain_too_thin_has_no_tails():
    images = np.zeros((*SHAPE, 4), np.float32)
    images[:, :, 10:13] = 5 + image()[:, :, 10:13, None]
    assert np.isnan(measure_fine(prepared(images))["tails"]).all()
