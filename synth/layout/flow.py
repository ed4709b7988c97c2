"""Displacement in a closed skull, as flow: what presses pushes tissue aside, CSF gives way, bone does not move.

Volume is made or lost at a rate `source` in the brain; pressure p spreads it by Darcy's law, `div grad p = yield p -
source`, without flux through the skull, and `-grad p` is the stationary velocity whose flow for unit time is the
deformation. Where nothing yields volume is conserved; CSF yields in proportion to the pressure. Such a flow is a
diffeomorphism by construction: the local volume changes by the exponential of what a particle meets on its way.

Solved on cells of about 4 mm by conjugate gradients, a fixed number of steps with exact sums: no tolerance decides,
no thread, and what is left of rounding is far below the binary fractions that the result is rounded to.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.ndimage import map_coordinates
from scipy.sparse import csr_array

from synth.brats import Tissue
from synth.errors import LayoutError
from synth.layout.layout import Layout
from synth.layout.space import VENTRICLE_DEPTH, Box, box_of, components, midline, near, spacing
from synth.layout.warp import SplineField

CELL_MM = 4.0  # half the width of a lateral ventricle: finer costs eight times the time, coarser loses the ventricles
RIM = 2  # empty cells around the brain: what the splines beyond it lean on
FALX_LEAK = 0.03  # of the flow that would cross the midline above the corpus callosum gets past the falx
STEPS = 100  # of conjugate gradients: velocities are then right to one per cent
_SQUARINGS = 4  # 16 steps: against 32 a displacement of 10 mm changes by 0.02 mm


@dataclass(frozen=True)
class Cells:
    """A brain cut into cells, the coarse grid that flow is solved on.

    Attributes:
        box: the part of the layout's grid that holds the brain.
        steps: (3,) voxels along each side of a cell.
        size: (3,) mm along each side of a cell.
        margin: three pairs, voxels that complete the box to whole cells; the falx lies between two cells.
        tissue: (x, y, z) uint8, the layout's tissue on `box`.
        falx: index on axis 0 of the first cell beyond the mid-sagittal plane.
        up: 1 where axis 2 points to the vertex, -1 where it points down.
    """

    box: Box
    steps: tuple[int, int, int]
    size: tuple[float, float, float]
    margin: tuple
    tissue: np.ndarray
    falx: int
    up: int

    @classmethod
    def of(cls, layout: Layout) -> "Cells":
        """The cells of a layout's brain.

        Raises:
            LayoutError: there is no brain.
        """
        box = box_of(layout.tissue)
        if box is None:
            raise LayoutError(f"layout {layout.id or '(unnamed)'}: it has no brain to edit.")
        zooms = spacing(layout.affine)
        steps = tuple(max(round(CELL_MM / z), 1) for z in zooms)
        middle = int(np.ceil(midline(layout.shape)))
        before = [
            (part.start - (middle if axis == 0 else 0)) % step
            for axis, (part, step) in enumerate(zip(box, steps, strict=True))
        ]
        margin = tuple(
            (lead, -(part.stop - part.start + lead) % step) for part, step, lead in zip(box, steps, before, strict=True)
        )
        return cls(
            box=box,
            steps=steps,
            size=tuple(s * z for s, z in zip(steps, zooms, strict=True)),
            margin=margin,
            tissue=np.ascontiguousarray(layout.tissue[box]),
            falx=(middle - box[0].start + margin[0][0]) // steps[0] + RIM,
            up=1 if layout.affine[2, 2] > 0 else -1,
        )

    def share(self, mask: np.ndarray) -> np.ndarray:
        """Share of each cell that is true in `mask` (bool on `box`), float32 on the cells."""
        total = np.pad(mask, self.margin).view(np.uint8)
        for axis, step in enumerate(self.steps):
            parts = [total[(slice(None),) * axis + (slice(o, None, step),)] for o in range(step)]
            total = sum(parts[1:], parts[0].astype(np.uint16 if axis == 2 else np.uint8))
        return np.pad(total.astype(np.float32) / np.float32(np.prod(self.steps)), RIM)

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Each cell's value for all its voxels, on `box`."""
        for axis, (part, step, (lead, _)) in enumerate(zip(self.box, self.steps, self.margin, strict=True)):
            first = RIM * step + lead
            values = values.repeat(step, axis)[(slice(None),) * axis + (slice(first, first + part.stop - part.start),)]
        return values

    @cached_property
    def brain(self) -> np.ndarray:
        """Share of each cell that is brain."""
        return self.share(self.tissue > 0)

    @cached_property
    def csf(self) -> np.ndarray:
        """Share of each cell that is CSF."""
        return self.share(self.tissue == Tissue.CSF)

    @cached_property
    def deep(self) -> np.ndarray:
        """Cells (bool) as far inside the brain as its ventricles lie."""
        return np.isinf(near(self.brain < 0.5, VENTRICLE_DEPTH, self.size))

    @cached_property
    def ventricles(self) -> np.ndarray:
        """Share of each cell that is ventricle: deep CSF around pieces of at least 1 ml, as `space.ventricles`."""
        full = self.csf >= 0.5
        pieces, sizes = components(full & self.deep)
        large = (sizes * np.prod(self.size) >= 1000)[pieces]
        beside = large.copy()
        for axis in range(3):
            beside[_low(axis)] |= large[_high(axis)]
            beside[_high(axis)] |= large[_low(axis)]
        return self.csf * (beside & self.deep)

    @cached_property
    def leaks(self) -> list[np.ndarray]:
        """Per axis, how much of a flow each face between cells lets pass: the skull nothing, the falx little.

        The falx hangs in the midline from the vertex down to the first white matter, the corpus callosum.
        """
        leaks = [((self.brain[_low(a)] > 0) & (self.brain[_high(a)] > 0)).astype(np.float32) for a in range(3)]
        if 0 < self.falx < len(self.brain):
            white = self.share(self.tissue == Tissue.WM)
            through = np.minimum(white[self.falx - 1], white[self.falx]) > 0.3
            below = np.logical_or.accumulate(through[:, :: -self.up], 1)[:, :: -self.up]
            leaks[0][self.falx - 1][~below] *= np.float32(FALX_LEAK)
        return leaks

    @cached_property
    def doors(self) -> list[np.ndarray]:
        """`leaks` times how much of each face is brain: what volume can pass."""
        return [
            leak * np.minimum(self.brain[_low(axis)], self.brain[_high(axis)]) for axis, leak in enumerate(self.leaks)
        ]

    def velocity(self, source: np.ndarray, yielding: np.ndarray) -> np.ndarray:
        """(3, x, y, z) float32 mm: the stationary flow out of `source`, into what is `yielding`.

        Args:
            source: logarithm of the local volume's change, on the cells.
            yielding: 1/mm2 on the cells, how readily volume is given up under pressure.
        """
        pressure = solve(self.doors, self.size, source, yielding)
        out = np.zeros((3, *source.shape), np.float32)
        for axis in range(3):
            flux = np.diff(pressure, axis=axis) * self.leaks[axis] * np.float32(-0.5 / self.size[axis])
            out[axis][_low(axis)] += flux  # a cell's middle moves by the mean of what passes its two faces
            out[axis][_high(axis)] += flux
        return out

    def flow(self, velocity: np.ndarray) -> np.ndarray:
        """(3, x, y, z) mm: how far each cell's middle is carried in unit time, by scaling and squaring."""
        moved = velocity * np.float32(0.5**_SQUARINGS)
        for _ in range(_SQUARINGS):
            places = self._places(moved)
            for part, step in zip(moved, [_linear(part, places) for part in moved], strict=True):
                part[self._inside] += step
        return moved

    def carried(self, share: np.ndarray, displacement: np.ndarray) -> float:
        """How many times as much there is of `share` after a backward `displacement` (mm at the cells' middles)."""
        there = _linear(share, self._places(displacement))
        return float(there.sum(dtype=np.float64) / share.sum(dtype=np.float64))

    def field(self, displacement: np.ndarray) -> SplineField:
        """A displacement in mm at the cells' middles as a spline in voxels of the layout's grid."""
        per_mm = [step / size for step, size in zip(self.steps, self.size, strict=True)]
        controls = np.moveaxis(displacement, 0, -1) * np.asarray(per_mm, np.float32)
        for axis in range(3):  # so that the spline, which smooths, passes through the values again
            controls[_inner(axis)] -= np.diff(controls, 2, axis=axis) / np.float32(6)
        first = [
            part.start - lead + (1 - RIM) * step + (step - 1) / 2
            for part, (lead, _), step in zip(self.box, self.margin, self.steps, strict=True)
        ]
        controls = np.rint(np.clip(controls, -60, 60) * 128).astype(np.float64) / 128
        return SplineField(tuple(first), tuple(float(s) for s in self.steps), controls)

    @cached_property
    def _inside(self) -> np.ndarray:
        return self.brain > 0

    def _places(self, displacement) -> list[np.ndarray]:
        """Where the cells of the brain are displaced to, in cells: three (n,) float64."""
        indices = np.nonzero(self._inside)
        return [i + part[self._inside] / s for i, part, s in zip(indices, displacement, self.size, strict=True)]


def solve(doors: list[np.ndarray], size, source: np.ndarray, yielding: np.ndarray) -> np.ndarray:
    """Pressure with `yielding * p - div(doors grad p) = source` on cells of `size` mm.

    Conjugate gradients on the symmetrically scaled equations, a fixed number of steps, sums in whole numbers.

    Args:
        doors: per axis, openness of the faces between neighbours, 0..1.
        size: (3,) mm.
        source: per cell.
        yielding: 1/mm2 per cell; somewhere above 0 in each connected part of the brain.
    """
    inside = yielding > 0
    for axis, door in enumerate(doors):
        inside[_low(axis)] |= door > 0
        inside[_high(axis)] |= door > 0
    count = int(np.count_nonzero(inside))
    number = np.zeros(inside.shape, np.int32)
    number[inside] = np.arange(count, dtype=np.int32)
    total, rows, columns, values = yielding[inside].astype(float), [], [], []
    for axis, door in enumerate(doors):
        open_ = door > 0
        low, high = number[_low(axis)][open_], number[_high(axis)][open_]
        weight = door[open_] / float(size[axis]) ** 2
        total += np.bincount(low, weight, count) + np.bincount(high, weight, count)
        rows += [low, high]
        columns += [high, low]
        values += [-weight, -weight]
    scale = 1 / np.sqrt(total)
    rows, columns, values = (np.concatenate(parts) for parts in (rows, columns, values))
    matrix = csr_array((values * scale[rows] * scale[columns], (rows, columns)), shape=(count, count))
    out = np.zeros(inside.shape, np.float32)
    out[inside] = scale * _conjugate_gradients(matrix, source[inside].astype(float) * scale)
    return out


def _conjugate_gradients(matrix, right: np.ndarray) -> np.ndarray:
    """The solution of `(1 + matrix) x = right`."""
    solution, rest, way = np.zeros_like(right), right.copy(), right.copy()
    size = _dot(rest, rest)
    for _ in range(STEPS):
        if size == 0:
            break
        there = matrix @ way
        there += way
        length = size / _dot(way, there)
        solution += length * way
        rest -= length * there
        size, before = _dot(rest, rest), size
        way *= size / before
        way += rest
    return solution


def _dot(a: np.ndarray, b: np.ndarray) -> float:
    """Scalar product by a sum of whole numbers: the same whatever the order in which a processor adds."""
    product = a * b
    most = np.abs(product).max(initial=0.0)
    if most == 0:
        return 0.0
    unit = 2.0 ** (44 - int(np.frexp(most)[1]))
    return int(np.rint(product * unit).astype(np.int64).sum()) / unit


def _low(axis):
    return (*(slice(None),) * axis, slice(None, -1), *(slice(None),) * (2 - axis))


def _inner(axis):
    return (*(slice(None),) * axis, slice(1, -1))


def _high(axis):
    return (*(slice(None),) * axis, slice(1, None), *(slice(None),) * (2 - axis))


def _linear(values: np.ndarray, places) -> np.ndarray:
    """Values between the cells, linearly."""
    return map_coordinates(values, places, output=np.float32, order=1, mode="nearest")


def min_jacobian(field: SplineField) -> float:
    """The smallest determinant of `x + field(x)`: at every control point, and between them where those are small.

    `Warp.min_jacobian` asks eight times as many points, which on a lattice this fine takes a second.
    """
    plain, slope = (1 / 6, 4 / 6, 1 / 6), (-0.5, 0.0, 0.5)
    columns = [  # of the derivative's matrix, three components each, at the inner control points
        _filtered(field.controls, [slope if axis == a else plain for a in range(3)]) / np.float32(field.step[axis])
        for axis in range(3)
    ]
    at_controls = _determinant(columns)
    low = np.argwhere(at_controls < at_controls.min() + 0.15)
    points = [
        line[2 * first : 2 * last + 3]
        for line, first, last in zip(field.lattice(), np.maximum(low.min(0) - 1, 0), low.max(0), strict=True)
    ]
    between = _determinant(np.moveaxis(field.gradient(points), 2, 0))
    return float(min(at_controls.min(), between.min()))


def _filtered(controls: np.ndarray, taps) -> np.ndarray:
    """(x - 2, y - 2, z - 2, 3) float32: the lattice filtered by three weights along each axis."""
    out = controls.astype(np.float32)
    for axis, (before, here, after) in enumerate(taps):
        ahead, n = (slice(None),) * axis, out.shape[axis]
        parts = (out[(*ahead, slice(i, n - 2 + i))] for i in range(3))
        out = sum(np.float32(w) * part for w, part in zip((before, here, after), parts, strict=True) if w)
    return out


def _determinant(columns) -> np.ndarray:
    """Determinant of the unit matrix plus three `columns`, each (..., 3)."""
    (a, d, g), (b, e, h), (c, f, i) = (np.moveaxis(column, -1, 0) for column in columns)
    a, e, i = a + 1, e + 1, i + 1
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
