"""How sure a difference is that was measured on a handful of cases: the paired percentile bootstrap."""

from collections.abc import Callable

import numpy as np

from synth.errors import SynthError

Statistic = Callable[[np.ndarray, np.ndarray], np.ndarray]

_CHUNK = 4_000_000  # numbers drawn at a time, so that memory stays flat on large test sets


def mean_of_first(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The mean of `a` over the last axis, for the interval of one arm alone."""
    return a.mean(-1)


def difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Mean of `a` minus mean of `b`, over the last axis."""
    return (a - b).mean(-1)


def ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Mean of `a` over mean of `b`, over the last axis; NaN where the mean of `b` is 0."""
    below = b.mean(-1)
    return np.divide(a.mean(-1), below, out=np.full(np.shape(below), np.nan), where=below != 0)


def paired_bootstrap(
    values_a, values_b, statistic: Statistic, n: int = 2000, seed: int = 0, level: float = 0.95
) -> tuple[float, float, float]:
    """A statistic of two arms measured on the same cases, with its percentile interval over resampled cases.

    A case keeps its pair: the same cases are drawn, with replacement, in both arms, so that easy and hard cases cancel.
    The interval says how much the test set's composition matters; the chance in training is not in it (average over
    seeds within a case first). With fewer than about ten cases it is too narrow. Source: Efron and Tibshirani 1993,
    An Introduction to the Bootstrap, chapter 13.

    Args:
        values_a: (cases,), one number per case.
        values_b: (cases,), of the same cases in the same order.
        statistic: takes two arrays (..., cases) and gives (...): `difference`, `ratio`, `mean_of_first`.
        n: how many resamples.
        seed: of the resamples; equal seeds draw the same cases whatever the values.
        level: of the interval.

    Returns:
        The estimate, and the lower and upper end. Resamples without a value (NaN) are left out; all three are NaN
        where the estimate has none.

    Raises:
        SynthError: the arms differ in length, hold no case or numbers that are not finite; no resample is asked for.

    Example:
        >>> paired_bootstrap([0.9, 0.8, 0.7], [0.8, 0.7, 0.6], difference)[0].round(3).item()
        0.1
    """
    a, b = np.asarray(values_a, float), np.asarray(values_b, float)
    if a.ndim != 1 or a.shape != b.shape or not a.size:
        raise SynthError(f"a paired bootstrap needs two values for each case, found shapes {a.shape} and {b.shape}.")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise SynthError(
            "a paired bootstrap needs finite numbers, found NaN or infinity; leave such cases out of both."
        )
    if n < 1 or not 0 < level < 1:
        raise SynthError(f"a bootstrap needs n >= 1 and a level between 0 and 1, found n = {n}, level = {level}.")
    estimate = statistic(a, b)
    if not np.isfinite(estimate):
        return np.nan, np.nan, np.nan
    rng, resampled = np.random.default_rng(seed), []
    rows = max(_CHUNK // a.size, 1)
    for first in range(0, n, rows):
        drawn = rng.integers(a.size, size=(min(rows, n - first), a.size))
        resampled.append(statistic(a[drawn], b[drawn]))
    low, high = np.nanquantile(np.concatenate(resampled), [(1 - level) / 2, (1 + level) / 2])
    return np.float64(estimate), low, high
