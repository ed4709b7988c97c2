"""Distances between sets against definitions written out, scipy's matrix root and scikit-learn's neighbours."""

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors  # nilearn brings it

from synth.quality.distances import (
    Space,
    bounded,
    effective_number,
    frechet,
    manifolds,
    mmd,
    mmd_interval,
    principal_axes,
    squared_distances,
)


@pytest.fixture
def sets():
    rng = np.random.default_rng(5)
    mixing = rng.normal(size=(5, 5))
    return rng.normal(size=(40, 5)) @ mixing, rng.normal(0.4, 1.3, size=(31, 5)) @ mixing


def kernel(x, y):
    return (np.dot(x, y) / len(x) + 1) ** 3


def mmd_by_loops(a, b):
    n, m = len(a), len(b)
    within_a = sum(kernel(a[i], a[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_b = sum(kernel(b[i], b[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return within_a + within_b - 2 * sum(kernel(x, y) for x in a for y in b) / (n * m)


def test_frechet_agrees_with_the_matrix_root(sets):
    a, b = sets
    ca, cb = np.cov(a.T), np.cov(b.T)
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(ca + cb - 2 * sqrtm(ca @ cb).real)
    assert frechet(a, b) == pytest.approx(expected, rel=1e-6)
    assert frechet(b, a) == pytest.approx(expected, rel=1e-6)


def test_frechet_of_fewer_cases_than_features_is_that_in_the_space_they_span():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(4, 50)), rng.normal(1, 1, size=(5, 50))
    basis, _ = np.linalg.qr(np.concatenate([a, b]).T)
    assert frechet(a, b) == pytest.approx(frechet(a @ basis, b @ basis), rel=1e-9)
    assert frechet(a, a) == pytest.approx(0, abs=1e-9)


def test_mmd_is_the_double_sum_of_its_definition(sets):
    a, b = sets[0][:9], sets[1][:7]
    assert mmd(a, b) == pytest.approx(mmd_by_loops(a, b), rel=1e-9)


def test_mmd_interval_is_the_jackknife_of_the_definition(sets):
    a, b = sets[0][:7], sets[1][:6]
    variance = 0
    for rows, value in ((a, lambda rest: mmd_by_loops(rest, b)), (b, lambda rest: mmd_by_loops(a, rest))):
        left = np.array([value(np.delete(rows, i, 0)) for i in range(len(rows))])
        variance += (len(rows) - 1) / len(rows) * ((left - left.mean()) ** 2).sum()
    half = 1.96 * np.sqrt(variance)
    middle = mmd_by_loops(a, b)
    np.testing.assert_allclose(mmd_interval(a, b), (middle - half, middle + half), rtol=1e-9)
    assert np.isnan(mmd_interval(a[:2], b)).all()


def test_mmd_interval_holds_zero_for_equal_sets_and_not_for_shifted_ones():
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(60):
        a, b = rng.normal(size=(2, 20, 4))
        low, high = mmd_interval(a, b)
        held += low <= 0 <= high
    assert held >= 51
    assert mmd_interval(a, b + 1.5)[0] > 0


def test_manifolds_agree_with_scikit_learn_neighbours(sets):
    real, ours = sets
    reach = {}
    for name, rows in (("real", real), ("ours", ours)):
        found = NearestNeighbors(n_neighbors=4).fit(rows)
        reach[name] = found.kneighbors(rows)[0][:, 3]
    between = cdist(real, ours)
    found = manifolds(ours, real, 3)
    assert found.precision == pytest.approx(np.mean([any(between[:, j] <= reach["real"]) for j in range(len(ours))]))
    assert found.recall == pytest.approx(np.mean([any(between[i] <= reach["ours"]) for i in range(len(real))]))
    assert found.density == pytest.approx((between <= reach["real"][:, None]).sum() / (3 * len(ours)))
    assert found.coverage == pytest.approx(np.mean([any(between[i] <= reach["real"][i]) for i in range(len(real))]))


def test_manifolds_of_sets_that_are_apart_or_collapsed():
    rng = np.random.default_rng(2)
    real = rng.normal(size=(30, 3))
    apart = manifolds(real + 100, real)
    assert (apart.precision, apart.recall, apart.density, apart.coverage) == (0, 0, 0, 0)
    collapsed = manifolds(np.repeat(real[:1], 20, 0), real)
    assert collapsed.precision == 1
    assert collapsed.recall == pytest.approx(1 / 30)
    assert collapsed.coverage < 0.5
    same = manifolds(real, real)
    assert same.precision == same.recall == same.coverage == 1


def test_squared_distances_agree_with_scipy(sets):
    a, b = sets
    np.testing.assert_allclose(squared_distances(a, b), cdist(a, b) ** 2, rtol=1e-6)


def test_effective_number_counts_what_is_different():
    far = np.eye(6) * 1000
    assert effective_number(far, 1.0) == pytest.approx(6, rel=1e-6)
    assert effective_number(np.repeat(far[:2], 5, 0), 1.0) == pytest.approx(2, rel=1e-6)
    assert effective_number(np.zeros((7, 3)), 1.0) == pytest.approx(1, rel=1e-6)


def test_space_measures_in_real_deviations_and_leaves_out_what_never_varies():
    rng = np.random.default_rng(3)
    real = rng.normal([5, -3, 7], [2, 0.1, 0], (50, 3))
    space = Space.of(real)
    there = space(real)
    np.testing.assert_allclose(there[:, :2].std(0), 1)
    np.testing.assert_allclose(there.mean(0), 0, atol=1e-9)
    assert not space(real + 9)[:, 2].any()


def test_bounded_leaves_small_deviations_and_ends_large_ones():
    assert bounded(np.array([0.1]))[0] == pytest.approx(0.1, rel=1e-3)
    np.testing.assert_allclose(bounded(np.array([-50.0, 50.0])), [-2, 2])


def test_principal_axes_follow_both_sets_whatever_their_sizes():
    rng = np.random.default_rng(4)
    along = rng.normal(size=(300, 1)) * [[1.0, 0, 0]] + rng.normal(0, 0.01, (300, 3))
    across = rng.normal(size=(5, 1)) * [[0, 3.0, 0]] + rng.normal(0, 0.01, (5, 3))
    axes, shares = principal_axes([along, across], 2)
    np.testing.assert_allclose(np.abs(axes), [[0, 1, 0], [1, 0, 0]], atol=0.05)
    assert shares.sum() == pytest.approx(1, abs=0.01)
    assert shares[0] > shares[1]
