import numpy as np
import pytest
from scipy import stats

from synth.errors import SynthError
from synth.quality import bootstrap
from synth.quality.bootstrap import difference, mean_of_first, paired_bootstrap, ratio


def arms(cases, seed=0):
    rng = np.random.default_rng(seed)
    hard = rng.normal(0.7, 0.15, cases)
    return hard + rng.normal(0.03, 0.02, cases), hard


@pytest.mark.parametrize("statistic", [difference, ratio, mean_of_first])
def test_agrees_with_scipy(statistic):
    a, b = arms(25)
    estimate, low, high = paired_bootstrap(a, b, statistic, n=20_000)
    theirs = stats.bootstrap(
        (a, b),
        lambda x, y, axis=-1: statistic(np.moveaxis(x, axis, -1), np.moveaxis(y, axis, -1)),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=20_000,
        rng=np.random.default_rng(5),
    ).confidence_interval
    assert estimate == pytest.approx(statistic(a, b))
    spread = high - low
    assert low == pytest.approx(theirs.low, abs=0.05 * spread)
    assert high == pytest.approx(theirs.high, abs=0.05 * spread)


def test_pairs_stay_together():
    a, b = arms(12)
    easy = np.linspace(0, 50, 12)  # cases of very different difficulty, for both arms alike
    assert paired_bootstrap(a + easy, b + easy, difference) == pytest.approx(paired_bootstrap(a, b, difference))


def test_a_constant_difference_is_certain():
    assert paired_bootstrap([0.5, 0.9, 0.7], [0.4, 0.8, 0.6], difference) == pytest.approx((0.1, 0.1, 0.1))


def test_covers_the_truth_as_often_as_it_says():
    rng, inside = np.random.default_rng(1), 0
    for trial in range(300):
        a = rng.normal(0.1, 0.2, 40)
        _, low, high = paired_bootstrap(a, np.zeros(40), difference, n=500, seed=trial)
        inside += low <= 0.1 <= high
    assert 0.90 < inside / 300 < 0.98


def test_one_case_has_no_interval_to_speak_of():
    assert paired_bootstrap([0.8], [0.4], ratio) == (2.0, 2.0, 2.0)


def test_same_seed_same_numbers_whatever_is_drawn_at_a_time(monkeypatch):
    a, b = arms(7)
    whole = paired_bootstrap(a, b, ratio, seed=3)
    assert paired_bootstrap(a, b, ratio, seed=4) != whole
    monkeypatch.setattr(bootstrap, "_CHUNK", 50)
    assert paired_bootstrap(a, b, ratio, seed=3) == whole


def test_a_ratio_to_nothing_is_undefined():
    assert np.isnan(paired_bootstrap([0.5, 0.5], [0.0, 0.0], ratio)).all()
    estimate, low, high = paired_bootstrap([0.5, 0.5], [0.0, 0.5], ratio)  # some resamples have no value
    assert (estimate, low, high) == (2.0, 1.0, 2.0)


@pytest.mark.parametrize(
    ("a", "b", "n"),
    [([1, 2], [1], 10), ([], [], 10), ([[1.0]], [[1.0]], 10), ([np.nan], [1], 10), ([1], [np.inf], 10), ([1], [1], 0)],
)
def test_what_cannot_be_compared_is_refused(a, b, n):
    with pytest.raises(SynthError, match="found"):
        paired_bootstrap(a, b, difference, n=n)
