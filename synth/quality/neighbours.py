"""Nearest neighbours between two sets of brains, whatever the mirror and a shift: is a scan a copy of another?

Registered brains are alike before anything is copied. So each thumbnail is pooled to 6 mm, and what the atlas predicts
of any brain (a constant and the probabilities of CSF, GM and WM, fitted by least squares to each channel) is taken
away; two brains are then compared by the correlation of what is left, the mean over the channels. The distance is one
minus that: 0 for a copy whatever its brightness and contrast, close to 1 for two patients. Tumours, which no atlas
predicts, are compared by the cosine of the shares of their classes.

The one brain is mirrored left to right about the grid's midline, and shifted by up to 9 mm along each axis in steps of
3 mm; the best counts. All pairs are tried at steps of 6 mm (a matrix product per step), the few best refined.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np

from synth.brats import CLASSES, GRID, TISSUES
from synth.errors import SynthError
from synth.layout.atlas import atlas_probabilities
from synth.quality.distances import squared_distances
from synth.quality.records import Record
from synth.quality.thumbnail import BLOCK, block_sums, decoded

POOL = 2  # blocks of a thumbnail along a cell: 6 mm, so that 1.5 mm off the grid of shifts costs a copy 2 %
REACH = 3  # blocks: 9 mm, more than any registration is off
COARSE = (-2, 0, 2)  # blocks
FINE = (-1, 0, 1)  # blocks around the best of the coarse shifts
REFINED = (
    3  # neighbours of each case whose shift is refined: a copy 3 mm off along all axes still leads the coarse ones
)
COLUMNS = 512  # references whose vectors are in memory at a time: 50 MB whatever the size of the sets
STEPS = tuple(product((0, 1), product(COARSE, repeat=3)))  # mirrored or not, shift in blocks
_STILL = STEPS[0][0], (0, 0, 0)
_MARGIN = 2 * POOL  # blocks around the compared cells, at least REACH and a whole number of cells
FEATURE_CASES = 4  # real cases below which nobody knows how much features vary
_SMALL = 1e-6


@dataclass(frozen=True)
class Level:
    """One way to look at a thumbnail.

    Attributes:
        name: "image", "tissue" or "tumour".
        read: gives the (X, Y, Z, channels) float32 volume of a record.
        atlas: whether what the atlas predicts is taken away, channel by channel; else channels are compared as one.
    """

    name: str
    read: Callable[[Record], np.ndarray]
    atlas: bool = True


@dataclass(frozen=True)
class Neighbours:
    """How far each query is from each reference, and its nearest one.

    Attributes:
        distances: (queries, references) float32, by the coarse shifts; infinite where a pair was not to be compared.
        index: (queries,) the nearest reference after refinement; -1 where there is none.
        nearest: (queries,) its distance, infinite where there is none.
        mirrored: (queries,) whether the query was mirrored for that.
        shift_mm: (queries, 3) by which it was shifted, after mirroring.
    """

    distances: np.ndarray
    index: np.ndarray
    nearest: np.ndarray
    mirrored: np.ndarray
    shift_mm: np.ndarray

    @classmethod
    def plain(cls, distances: np.ndarray) -> "Neighbours":
        """Of (queries, references) distances that know no mirror and no shift."""
        count = len(distances)
        index, nearest = distances.argmin(1), distances.min(1)
        index = np.where(np.isfinite(nearest), index, -1)
        return cls(distances, index, nearest, np.zeros(count, bool), np.zeros((count, 3)))


def _layout(record: Record, classes: slice) -> np.ndarray:
    return np.moveaxis(record("thumbnail", "layout")[classes], 0, -1).astype(np.float32) / 255


LEVELS = (
    Level("image", lambda record: np.moveaxis(decoded(record("thumbnail", "image")), 0, -1)),
    Level("tissue", lambda record: _layout(record, slice(0, len(TISSUES)))),
    Level("tumour", lambda record: _layout(record, slice(len(TISSUES), len(CLASSES))), atlas=False),
)


def neighbours(
    queries: Sequence[Record],
    sides: Sequence[Sequence[Record]],
    level: Level,
    skip: Callable[[Record, Record], bool] = lambda query, reference: False,
) -> list[Neighbours]:
    """Compare every query with every reference of one or more sides; needs the probe `thumbnail`.

    Args:
        queries: are mirrored and shifted; 0.1 s each.
        sides: sets of references, which stay where they are.
        level: one of `LEVELS`.
        skip: pairs that are not to be compared (a case with itself).

    Returns:
        Neighbours on each side.
    """
    references = [
        (number, column, reference) for number, side in enumerate(sides) for column, reference in enumerate(side)
    ]
    by_side = [_nobody(len(queries), len(side)) for side in sides]
    frame = _frame()
    for first in range(0, len(references), COLUMNS):
        part = references[first : first + COLUMNS]
        fixed = np.stack(
            [next(frame.moved(frame.views(level.read(reference)), [_STILL], level)) for *_, reference in part]
        )
        if level.atlas:
            fixed = frame.residual(fixed)
        for row, query in enumerate(queries):
            views = frame.views(level.read(query))
            alike = np.stack([*frame.moved(views, STEPS, level)]) @ fixed.T  # (steps, references)
            steps, best = alike.argmax(0), alike.max(0)
            tried = [0] * len(sides)
            for i in np.argsort(-best, kind="stable"):
                number, column, reference = part[i]
                if skip(query, reference):
                    continue
                by_side[number].distances[row, column] = max(1 - best[i], 0)
                if tried[number] < REFINED:
                    tried[number] += 1
                    _take(by_side[number], row, column, _refined(frame, views, fixed[i], STEPS[steps[i]], level))
    return by_side


def _nobody(queries: int, references: int) -> Neighbours:
    return Neighbours(
        np.full((queries, references), np.inf, np.float32),
        np.full(queries, -1),
        np.full(queries, np.inf),
        np.zeros(queries, bool),
        np.zeros((queries, 3)),
    )


def _refined(frame: "_Frame", views, fixed: np.ndarray, step, level: Level) -> tuple[float, bool, tuple]:
    """Distance, mirror and shift in mm of the best of the shifts around a coarse one."""
    mirrored, coarse = step
    close = [(mirrored, tuple(np.add(coarse, fine))) for fine in product(FINE, repeat=3)]
    alike = np.stack([*frame.moved(views, close, level)]) @ fixed
    best = int(alike.argmax())
    return max(1 - float(alike[best]), 0.0), bool(mirrored), tuple(BLOCK * k for k in close[best][1])


def _take(side: Neighbours, row: int, column: int, refined: tuple[float, bool, tuple]) -> None:
    distance, mirrored, shift = refined
    if distance < side.nearest[row]:
        side.index[row], side.nearest[row] = column, distance
        side.mirrored[row], side.shift_mm[row] = mirrored, shift


@dataclass(frozen=True)
class _Frame:
    """The cells of the atlas's brain, in which thumbnails are compared.

    Attributes:
        window: of a thumbnail that is padded by `_MARGIN`.
        index: (cells,) where the cells stand in a flattened view.
        strides: of a view, in cells.
        basis: (cells, 4) orthonormal: a constant and the atlas's tissues.
    """

    window: tuple[slice, slice, slice]
    index: np.ndarray
    strides: np.ndarray
    basis: np.ndarray

    def views(self, volume: np.ndarray) -> np.ndarray:
        """(2 mirrors, 8 halves, cells of the view, channels): pooled from either block of a cell along each axis."""
        padded = np.pad(volume, [(_MARGIN, _MARGIN)] * 3 + [(0, 0)])
        sides = [_pooled(_pooled(_pooled(side[self.window][None], 3), 2), 1) for side in (padded, padded[::-1])]
        return np.stack([side.reshape(len(side), -1, volume.shape[-1]) for side in sides])

    def moved(self, views: np.ndarray, steps: Sequence, level: Level) -> Iterator[np.ndarray]:
        """(cells x channels,) vectors of a volume mirrored and shifted, of such length that products are correlations.

        A reference has what the atlas predicts taken away (`residual`), so a query need not: only its length counts.
        """
        for mirrored, shift in steps:
            cells, halves = np.divmod(np.negative(shift), POOL)
            view = views[mirrored, np.ravel_multi_index(tuple(halves), (POOL,) * 3)]
            values = view[self.index + int(cells @ self.strides)]
            if level.atlas:
                squares = np.einsum("ij,ij->j", values, values) - ((self.basis.T @ values) ** 2).sum(0)
                scale = np.sqrt(values.shape[1] * squares.clip(0))
            else:
                scale = np.linalg.norm(values)
            yield (values * np.divide(1, scale, out=np.zeros_like(scale), where=scale > _SMALL)).ravel()

    def residual(self, vectors: np.ndarray) -> np.ndarray:
        """(cases, cells x channels) without what the atlas predicts."""
        values = vectors.reshape(len(vectors), len(self.basis), -1)
        return (values - self.basis @ (self.basis.T @ values)).reshape(vectors.shape)


@cache
def _frame() -> _Frame:
    whole = tuple(slice(0, n) for n in GRID)
    atlas, _ = block_sums(atlas_probabilities(), whole, BLOCK * POOL)
    atlas = atlas / (BLOCK * POOL) ** 3
    brain = atlas.sum(-1) > 0.5
    cells = np.argwhere(brain)
    low, high = cells.min(0), cells.max(0) + 1
    # a view begins _MARGIN blocks before the first cell; padding has moved the thumbnail by as many
    window = tuple(slice(POOL * a, POOL * b + 2 * _MARGIN) for a, b in zip(low, high, strict=True))
    shape = high - low + 2 * _MARGIN // POOL - 1
    strides = np.array([shape[1] * shape[2], shape[2], 1])
    index = (cells - low + _MARGIN // POOL) @ strides
    basis, _ = np.linalg.qr(np.column_stack([np.ones(len(cells)), atlas[brain]]))
    return _Frame(window, index, strides, basis.astype(np.float32))


def _pooled(volumes: np.ndarray, axis: int) -> np.ndarray:
    """Sums of pairs of blocks along an axis, beginning at the first block and at the second: twice as many volumes.

    The first axis numbers the volumes; the new half comes before those that are there. One pair fewer than would fit.
    """
    length = POOL * (volumes.shape[axis] // POOL - 1)
    before = (slice(None),) * axis
    sums = volumes[(*before, slice(0, length + 1))] + volumes[(*before, slice(1, length + 2))]
    return np.concatenate([sums[(*before, slice(half, half + length, POOL))] for half in range(POOL)])


def feature_distances(queries: np.ndarray, references: np.ndarray, real: np.ndarray) -> np.ndarray:
    """(queries, references) Euclidean distances of feature vectors, in units of what two real cases usually differ by.

    Each feature is divided by its standard deviation among real cases; the unit is the root mean square distance of
    two real cases, which is then the square root of twice the number of features.

    Args:
        queries: (n, features).
        references: (m, features).
        real: (k, features) the real cases.

    Raises:
        SynthError: there are fewer than `FEATURE_CASES` real cases, so that the unit is not known.
    """
    if len(real) < FEATURE_CASES:
        raise SynthError(
            f"distances of features are told in units of what real cases differ by, which takes {FEATURE_CASES} of "
            f"them; found {len(real)}. Give more real cases."
        )
    spread = real.std(0, ddof=1)
    kept = spread > _SMALL * max(float(spread.max()), _SMALL)
    a, b = (np.asarray(x, np.float64)[:, kept] / spread[kept] for x in (queries, references))
    middle = b.mean(0)  # far from 0 differences of squares lose digits
    a, b = a - middle, b - middle
    return np.sqrt(squared_distances(a, b) / max(2 * kept.sum(), 1))


def expected_nearest(distances: np.ndarray, size: int) -> np.ndarray:
    """(queries,) expected distance to the nearest of `size` references drawn at random from all, without replacement.

    So a set of 12 is compared with one of 4 as if both had 4. The k-th smallest of n distances is the smallest of
    the drawn ones in C(n - k, size - 1) of C(n, size) cases (order statistics of a sample without replacement).

    Args:
        distances: (queries, references), finite.
        size: 1 to the number of references.
    """
    return np.sort(distances, axis=1) @ nearest_weights(distances.shape[1], size)


def nearest_weights(count: int, size: int) -> np.ndarray:
    """(count,) probabilities that the k-th nearest of all is the nearest of `size` drawn at random; they sum to 1."""
    weights = np.zeros(count)
    share = size / count  # C(n - 1, m - 1) / C(n, m)
    for k in range(count - size + 1):
        weights[k] = share
        share *= (count - size - k) / max(count - k - 1, 1)
    return weights
