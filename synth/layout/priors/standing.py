"""Where a brain stands among others: the numbers of the prior of anatomies that come nearest to it.

The prior's mean brain, bent by its leading directions and by size and proportions, is brought to the brain's shares of
CSF, white matter and brain on 8 mm blocks: three Gauss-Newton steps of a regularised least-squares fit, whose penalty
is the prior itself (a maximum a posteriori estimate). What lies in or near a tumour has no say.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from synth.brats import Tissue
from synth.layout.atlas import atlas_probabilities
from synth.layout.layout import Layout
from synth.layout.memory import once_for_each_map
from synth.layout.priors.anatomy import (
    CENTRE,
    LATTICE,
    REACH,
    AnatomyPrior,
    Standing,
    affine_map,
    shipped_prior,
    with_upright_falx,
)
from synth.layout.warp import SplineField

_CELL = 4  # voxels of the BraTS grid: the maps that are compared
_EVERY = 2  # cells between the points that are compared: blurred maps need no more
_BLUR = 2.0  # cells
_STEPS = 3
_NOISE = 0.12  # deviation of a share that the prior does not explain
_INDEPENDENT = 0.05  # of the compared shares: neighbours say much the same


def standing(layout: Layout) -> Standing:
    """Where the brain of a layout stands, each number within `REACH`; 0.1 s.

    A grid other than BraTS's is taken for one that shows the same head.
    """
    return _standing(layout.tissue, layout.tumour)


@once_for_each_map(64)
def _standing(tissue: np.ndarray, tumour: np.ndarray) -> Standing:
    frame = _frame()
    seen, trust = _shares(tissue, tumour, frame.shape)
    seen, trust = seen[(slice(None), *frame.at)].T, trust[frame.at]
    theta = np.zeros(frame.count)
    for _ in range(_STEPS):
        expected, slopes = frame.expected(theta)
        rest = (seen - expected + slopes @ theta) * trust[:, None]
        slopes = slopes * trust[:, None, None]
        flat = slopes.reshape(-1, frame.count)
        scale = _INDEPENDENT / _NOISE**2
        theta = np.linalg.solve(scale * flat.T @ flat + np.eye(frame.count), scale * flat.T @ rest.ravel())
        theta = np.clip(theta, -REACH, REACH)
    return Standing(theta[: frame.affine], theta[frame.affine :])


def _shares(tissue: np.ndarray, tumour: np.ndarray, shape) -> tuple[np.ndarray, np.ndarray]:
    """(3, x, y, z) blurred shares of CSF, white matter and brain on cells, and how far each cell is to be trusted."""
    # the voxel in the middle of a cell stands for it: blurred, fifty of them make a share
    every = [max(round(n / cells), 1) for n, cells in zip(tissue.shape, shape, strict=True)]
    middles = tuple(slice(step // 2, None, step) for step in every)
    pads = [(0, cells) for cells in shape]
    cut = tuple(slice(0, cells) for cells in shape)
    tissue, tumour = (np.pad(part[middles], pads)[cut] for part in (tissue, tumour))
    parts = [mask.astype(np.float32) for mask in (tissue == Tissue.CSF, tissue == Tissue.WM, tissue > 0, tumour > 0)]
    *parts, there = (gaussian_filter(part, _BLUR) for part in parts)
    return np.stack(parts), np.clip(1 - 4 * there, 0, 1)


def way_between(start: Standing, end: Standing, part: float = 1.0) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Numbers of affine (12) and shape (k) that take a brain a part of the way from where it stands to another place.

    To first order: what is a backward map from the one to the atlas, less that from the other.
    """
    affine = with_upright_falx(part * ((end.affine - start.affine) @ shipped_prior().affine_factors))
    shape = part * (end.shape - start.shape)
    return tuple(round(float(v), 2) for v in affine), tuple(round(float(v), 2) for v in shape)


def fits_prior(affine: Sequence[float], shape: Sequence[float]) -> bool:
    """Whether there are as many numbers as `way_between` gives."""
    prior = shipped_prior()
    return (len(affine), len(shape)) == (prior.affine_factors.shape[1], len(prior.factors))


@dataclass(frozen=True)
class _Frame:
    """The prior's mean brain on cells, and how its directions move the points that are compared.

    Attributes:
        prior: of anatomies.
        maps: (12, x, y, z) three shares of the atlas, and their slopes along each axis.
        at: three (n,) indices of the cells that are compared.
        points: (n, 3) their middles in voxels.
        moves: (1 + k, n, 3) displacement of the mean brain, and of each direction.
    """

    prior: AnatomyPrior
    maps: np.ndarray
    at: tuple[np.ndarray, ...]
    points: np.ndarray
    moves: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the cells."""
        return self.maps.shape[1:]

    @property
    def affine(self) -> int:
        """How many directions the affine has."""
        return len(self.prior.affine_factors)

    @property
    def count(self) -> int:
        """How many directions there are in all."""
        return self.affine + len(self.prior.factors)

    def expected(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n, 3) shares of a brain that stands at `theta`, and (n, 3, count) their derivatives."""
        matrix, offset = affine_map(self.prior.affine_mean + theta[: self.affine] @ self.prior.affine_factors)
        moved = self.points + self.moves[0] + np.tensordot(theta[self.affine :], self.moves[1:], 1)
        source = moved @ matrix.T + offset
        places = ((source + 0.5) / _CELL - 0.5).T
        values = np.stack([map_coordinates(part, places, order=1, mode="nearest") for part in self.maps], 1)
        expected, gradient = values[:, :3], values[:, 3:].reshape(-1, 3, 3)  # [n, axis, channel]
        ways = [(moved - CENTRE) @ (f[:9].reshape(3, 3) / 100).T + f[9:] for f in self.prior.affine_factors]
        ways += [move @ matrix.T for move in self.moves[1:]]
        return expected, np.moveaxis(gradient, 1, 2) @ np.stack(ways, 2)


@cache
def _frame() -> _Frame:
    prior = shipped_prior()
    atlas = atlas_probabilities(_CELL)
    shape = atlas.shape[:3]
    shares = [gaussian_filter(part, _BLUR) for part in (atlas[..., 0], atlas[..., 2], np.minimum(atlas.sum(-1), 1))]
    slopes = [np.gradient(part, axis=axis) / _CELL for axis in range(3) for part in shares]
    every = tuple(slice(1, None, _EVERY) for _ in range(3))
    index = np.stack([lines[every].ravel() for lines in np.indices(shape)], 1)
    index = index[shares[2][tuple(index.T)] > 0.02]
    points = (index + 0.5) * _CELL - 0.5
    moves = np.stack([SplineField(LATTICE.origin, LATTICE.step, c).at(points) for c in (prior.mean, *prior.factors)])
    return _Frame(prior, np.stack([*shares, *slopes]), tuple(index.T), points, moves)
