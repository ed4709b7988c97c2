"""Distances between two sets of cases in a feature space, for the handful of cases that a lab has.

Rows are cases, columns features. Features are first brought to one scale (`Space`), since a network's channels have
units of their own. All estimates depend on how many cases there are: compare sets of equal size (`report.core.judge`).
"""

from dataclasses import dataclass

import numpy as np

MOST_AXES = 32  # principal axes for `frechet`; more would need hundreds of cases
NEIGHBOURS = 3  # k of the manifolds (Kynkaanniemi 2019); fewer where a set is too small for it
FLOOR = 1e-6  # a feature that varies less than this among real cases says nothing


@dataclass(frozen=True)
class Space:
    """Features on one scale: centred on the real set's mean, in units of its standard deviation.

    Attributes:
        mean: (d,) of the real set.
        scale: (d,) its standard deviation; where a feature is the same in all real cases, infinity: it counts nothing.
    """

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, real: np.ndarray) -> "Space":
        """The scale of a real set (n, d), n >= 2."""
        real = np.asarray(real, np.float64)
        spread = real.std(0)
        return cls(real.mean(0), np.where(spread > FLOOR * np.maximum(np.abs(real).max(0), FLOOR), spread, np.inf))

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """(n, d) float64 in real standard deviations."""
        return (np.asarray(features, np.float64) - self.mean) / self.scale


def bounded(deviations: np.ndarray, most: float = 2.0) -> np.ndarray:
    """Deviations with a soft end: `most` tanh(x / most); small ones stay, none is beyond +-`most`.

    One odd patient has channels ten deviations from all others, and in a polynomial kernel such a patient alone
    decides: of 40 random splits of 12 real patients into halves, 26 were told apart unbounded and 8 bounded.
    """
    return most * np.tanh(deviations / most)


def principal_axes(sets: list[np.ndarray], most: int = MOST_AXES) -> tuple[np.ndarray, np.ndarray]:
    """The axes along which several sets together vary most, every set with the same weight.

    Returns:
        (k, d) orthonormal axes, by falling variance, k <= `most`; and the share of the variance each of them has, (k,).
    """
    centre = np.mean([rows.mean(0) for rows in sets], 0)
    weighted = np.concatenate([(rows - centre) / np.sqrt(len(rows)) for rows in sets])
    _, strengths, axes = np.linalg.svd(weighted, full_matrices=False)
    total = max(float((strengths**2).sum()), np.finfo(float).tiny)
    return axes[:most], (strengths**2 / total)[:most]


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Frechet distance between Gaussians fitted to two sets: |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)).

    Covariances are the sample's (n - 1), of any rank. The trace of the root is the sum of the singular values of
    A B^T, with A and B the centred rows over sqrt(n - 1): exact, and no matrix root of a singular matrix is taken.

    Source: Dowson & Landau 1982; as a measure of generators Heusel et al. 2017, arXiv:1706.08500.

    Args:
        a: (n, d), n >= 2.
        b: (m, d), m >= 2.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    means = ((a.mean(0) - b.mean(0)) ** 2).sum()
    a, b = ((rows - rows.mean(0)) / np.sqrt(len(rows) - 1) for rows in (a, b))
    common = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return float(max(means + (a**2).sum() + (b**2).sum() - 2 * common, 0))


def polynomial_kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n, m): (x.y / d + 1)^3, the kernel of KID."""
    return (a @ b.T / a.shape[1] + 1) ** 3


def mmd(a: np.ndarray, b: np.ndarray) -> float:
    """Squared maximum mean discrepancy with KID's kernel, unbiased: 0 on average for equal sets, and so at times below.

    Source: Gretton et al. 2012, JMLR 13, lemma 6; Binkowski et al. 2018, arXiv:1801.01401.

    Args:
        a: (n, d), n >= 2.
        b: (m, d), m >= 2.
    """
    return _Kernels.of(a, b).value


def mmd_interval(a: np.ndarray, b: np.ndarray, *, errors: float = 1.96) -> tuple[float, float]:
    """Interval of `mmd` (95 % by default) from the delete-one jackknife over the cases of either set.

    A bootstrap would draw a case twice, and a case is no stranger to itself: the unbiased estimate would be biased.

    Source: Arvesen 1969 (jackknifing U-statistics). Needs three cases in each set; NaN otherwise.
    """
    kernels = _Kernels.of(a, b)
    if min(kernels.within_a.shape[0], kernels.within_b.shape[0]) < 3:
        return np.nan, np.nan
    variance = 0.0
    for left_out in kernels.left_out():
        variance += (len(left_out) - 1) / len(left_out) * ((left_out - left_out.mean()) ** 2).sum()
    half = errors * np.sqrt(variance)
    return float(kernels.value - half), float(kernels.value + half)


@dataclass(frozen=True)
class _Kernels:
    """Kernel matrices of two sets with themselves (diagonals 0) and with each other."""

    within_a: np.ndarray
    within_b: np.ndarray
    between: np.ndarray

    @classmethod
    def of(cls, a: np.ndarray, b: np.ndarray) -> "_Kernels":
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        within = [polynomial_kernel(rows, rows) for rows in (a, b)]
        for kernel in within:
            np.fill_diagonal(kernel, 0)
        return cls(*within, polynomial_kernel(a, b))

    @property
    def value(self) -> float:
        n, m = self.between.shape
        return float(
            self.within_a.sum() / (n * (n - 1)) + self.within_b.sum() / (m * (m - 1)) - 2 * self.between.mean()
        )

    def left_out(self) -> tuple[np.ndarray, np.ndarray]:
        """The value without each case of the first set, (n,), and without each of the second, (m,)."""
        n, m = self.between.shape
        a, b, ab = self.within_a.sum(), self.within_b.sum(), self.between.sum()
        without_a = (
            (a - 2 * self.within_a.sum(1)) / ((n - 1) * (n - 2))
            + b / (m * (m - 1))
            - 2 * (ab - self.between.sum(1)) / ((n - 1) * m)
        )
        without_b = (
            a / (n * (n - 1))
            + (b - 2 * self.within_b.sum(1)) / ((m - 1) * (m - 2))
            - 2 * (ab - self.between.sum(0)) / (n * (m - 1))
        )
        return without_a, without_b


def squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n, m) squared Euclidean distances between the rows of two sets, never negative."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T, 0)


@dataclass(frozen=True)
class Manifolds:
    """How two sets lie in each other, each a share of 0 to 1 except `density`.

    Attributes:
        precision: of the synthetic cases, those within the reach of a real one (Kynkaanniemi et al. 2019,
            arXiv:1904.06991; a case's reach is the distance to its k-th neighbour in its own set).
        recall: of the real cases, those within the reach of a synthetic one.
        density: mean number of real reaches that a synthetic case lies in, over k; about 1 for equal sets (Naeem et
            al. 2020, arXiv:2002.09797).
        coverage: of the real cases, those with a synthetic one within their own reach (Naeem et al. 2020).
    """

    precision: float
    recall: float
    density: float
    coverage: float


def manifolds(synthetic: np.ndarray, real: np.ndarray, k: int = NEIGHBOURS) -> Manifolds:
    """Precision, recall, density and coverage from the distances to k-th neighbours.

    Args:
        synthetic: (n, d), n >= 2.
        real: (m, d), m >= 2.
        k: neighbours; less where a set has not that many other cases.
    """
    k_real, k_synthetic = min(k, len(real) - 1), min(k, len(synthetic) - 1)
    between = squared_distances(real, synthetic)  # (m, n)
    real_reach, synthetic_reach = _reach(real, k_real), _reach(synthetic, k_synthetic)
    near_real = between <= real_reach[:, None]
    return Manifolds(
        precision=float(near_real.any(0).mean()),
        recall=float((between <= synthetic_reach).any(1).mean()),
        density=float(near_real.sum(0).mean() / k_real),
        coverage=float(near_real.any(1).mean()),
    )


def _reach(rows: np.ndarray, k: int) -> np.ndarray:
    """(n,) squared distance of each case to its k-th nearest other."""
    squared = squared_distances(rows, rows)
    np.fill_diagonal(squared, 0)  # itself comes first
    return np.partition(squared, k, axis=1)[:, k]


def effective_number(rows: np.ndarray, width: float) -> float:
    """How many different cases a set amounts to: the Vendi score, 1 (all alike) to n (none like another).

    exp of the entropy of the eigenvalues of the kernel exp(-|x - y|^2 / (2 width^2)) over n (Friedman & Dieng 2023,
    arXiv:2210.02410).

    Args:
        rows: (n, d).
        width: distance at which cases begin to be different; of the real set, so that both sets have one rule.
    """
    kernel = np.exp(-squared_distances(rows, rows) / (2 * width**2)) / len(rows)
    values = np.linalg.eigvalsh(kernel)
    values = values[values > 1e-12]
    return float(np.exp(-(values * np.log(values)).sum()))
