import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from synth.quality.fine import BANDS, fine_ratios, low_passed

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
