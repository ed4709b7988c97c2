"""Smooth warps of label maps: an affine, a B-spline displacement, or both, gathered from the nearest voxel.

Everything is a *backward* warp: for each output voxel it says where in the source its label comes from. Nearest
neighbour keeps labels legal and, since all labels of a voxel travel together, keeps them nested.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from synth.errors import LayoutError
from synth.layout.space import Box

SLAB = 400_000  # voxels that are warped at once: they stay in the cache
_CUBIC_RMS = 0.479**1.5  # root mean square of a uniform cubic B-spline field whose controls are standard normal
MIN_JACOBIAN = 0.15  # a warp whose local volume falls below this share is refused: safely above folding


@dataclass(frozen=True)
class SplineField:
    """A displacement field: cubic B-splines over a regular lattice of control points.

    Attributes:
        origin: (3,) voxel index of the first corner of the region the lattice covers.
        step: (3,) distance of control points in voxels.
        controls: (gx, gy, gz, 3) displacements in voxels, float64.
    """

    origin: tuple[float, float, float]
    step: tuple[float, float, float]
    controls: np.ndarray = field(repr=False)

    def displacement(self, box: Box) -> list[np.ndarray]:
        """The three displacement components in voxels on `box`, float32 each; separable, three small products."""
        return list(_along(*self.factors(box)))

    def factors(self, box: Box) -> tuple[np.ndarray, np.ndarray]:
        """(3, nx, ny, gz) and (gz, nz) float32: the displacement on `box` is their product, exactly.

        They are rounded to binary fractions so short that every product and sum is exact: the same bits whatever
        order, thread count or fused instruction a processor's matrix product uses, hence the same labels.
        """
        x, y, z = (
            np.rint(self._basis(axis, np.arange(part.start, part.stop)) * 1024) / 1024 for axis, part in enumerate(box)
        )
        controls = np.moveaxis(np.rint(self.controls * 128) / 128, 3, 0)
        planes = x @ controls.reshape(*controls.shape[:2], -1)
        lines = y @ planes.reshape(*planes.shape[:2], *controls.shape[2:])
        lines *= 128
        lines = np.rint(lines, out=lines).astype(np.float32)
        lines /= 128
        return lines, np.ascontiguousarray(z.T, np.float32)

    def at(self, points: np.ndarray) -> np.ndarray:
        """(n, 3) displacements at (n, 3) scattered voxel positions."""
        cells, weights = zip(*(self._cell(axis, points[:, axis]) for axis in range(3)), strict=True)
        x, y, z = (cell[:, None] + np.arange(4) for cell in cells)  # (n, 4) each: the controls around each point
        block = self.controls[x[:, :, None, None], y[:, None, :, None], z[:, None, None, :]]  # (n, 4, 4, 4, 3)
        for weight in reversed(weights):
            block = np.einsum("...kc,...k->...c", block, weight.reshape(len(points), *(1,) * (block.ndim - 3), 4))
        return block

    def lattice(self, per_step: int = 2) -> list[np.ndarray]:
        """Positions along each axis, `per_step` for each step between control points, in voxels."""
        return [
            o + s * np.arange(0, (g - 3) * per_step + 1) / per_step
            for o, s, g in zip(self.origin, self.step, self.controls.shape[:3], strict=True)
        ]

    def on_grid(self, points: list[np.ndarray]) -> list[np.ndarray]:
        """The three displacement components in voxels on the grid that three lines of `points` span, float64."""
        return self._product([self._basis(axis, p) for axis, p in enumerate(points)])

    def reach(self) -> np.ndarray:
        """(3,) the largest displacement along each axis in voxels, with a tenth to spare between the samples."""
        return np.array([1.1 * np.abs(part).max() for part in self.on_grid(self.lattice())])

    def gradient(self, points: list[np.ndarray]) -> np.ndarray:
        """(n, 3, 3) derivatives d(component)/d(axis) on the grid that three lines of `points` span."""
        plain = [self._basis(axis, p) for axis, p in enumerate(points)]
        rows = []
        for axis in range(3):
            slope = [self._basis(a, p, derivative=True) if a == axis else plain[a] for a, p in enumerate(points)]
            rows.append(np.stack([c.ravel() for c in self._product(slope)], -1))
        return np.stack(rows, -1)

    def _product(self, bases) -> list[np.ndarray]:
        x, y, z = bases
        return [line @ z.T for line in self._lines(x, y, self.controls)]

    @staticmethod
    def _lines(x, y, controls) -> np.ndarray:
        planes = np.tensordot(x, controls, (1, 0))  # (nx, gy, gz, 3)
        return np.ascontiguousarray(np.einsum("yg,xgzc->cxyz", y, planes, optimize=True))  # (3, nx, ny, gz)

    def _basis(self, axis: int, points: np.ndarray, derivative: bool = False) -> np.ndarray:
        """(points, controls) weights of the four control points around each point."""
        cell, weights = self._cell(axis, points, derivative)
        out = np.zeros((len(cell), self.controls.shape[axis]))
        np.put_along_axis(out, cell[:, None] + np.arange(4), weights, 1)
        return out

    def _cell(self, axis: int, points: np.ndarray, derivative: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """(n,) first of the four control points around each point, and their (n, 4) weights."""
        count, step = self.controls.shape[axis], self.step[axis]
        position = (np.asarray(points, float) - self.origin[axis]) / step
        cell = np.clip(np.floor(position), 0, count - 4)
        t = np.clip(position - cell, 0, 1)  # beyond the lattice the displacement stays what it is at its edge
        if derivative:
            weights = (-0.5 * (1 - t) ** 2, 1.5 * t**2 - 2 * t, -1.5 * t**2 + t + 0.5, 0.5 * t**2)
            return cell.astype(int), np.stack(weights, 1) / step
        weights = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
        return cell.astype(int), np.stack(weights, 1) / 6


def _along(lines: np.ndarray, z: np.ndarray) -> np.ndarray:
    """(3, nx, ny, nz) product of a field's `factors`; one plain product: a broadcast one is far slower."""
    return (lines.reshape(-1, len(z)) @ z).reshape(*lines.shape[:-1], z.shape[1])


def random_field(box: Box, zooms, mm: float, step_mm: float, seed: int) -> SplineField:
    """A smooth random field on `box` whose components have root mean square `mm`, with controls every `step_mm`."""
    sizes = [part.stop - part.start - 1 for part in box]
    cells = [max(int(np.ceil(n * z / step_mm)), 1) for n, z in zip(sizes, zooms, strict=True)]
    normal = np.random.default_rng(seed).standard_normal((*(c + 3 for c in cells), 3))
    # beyond three deviations a single control point could fold the field; they are rare enough to be cut
    controls = np.clip(normal, -3, 3) * (mm / _CUBIC_RMS) / np.asarray(zooms)
    return SplineField(
        origin=tuple(float(part.start) for part in box),
        step=tuple(step_mm / z for z in zooms),
        controls=controls,
    )


@dataclass(frozen=True)
class Warp:
    """Where the label of each output voxel comes from: `matrix @ (voxel + displacement) + offset`, in voxels."""

    matrix: np.ndarray
    offset: np.ndarray
    fields: tuple[SplineField, ...] = ()

    @classmethod
    def about(cls, centre, matrix_mm, zooms, shift_mm=(0, 0, 0), fields=()) -> "Warp":
        """The backward warp of the forward motion `x -> matrix (x - centre) + centre + shift`, in mm.

        Args:
            centre: (3,) fixed point, voxel indices.
            matrix_mm: (3, 3) forward linear map along the array axes, in mm.
            zooms: voxel sizes in mm.
            shift_mm: (3,) mm along the array axes.
            fields: displacements added to the output position before the linear map.
        """
        scale = np.diag(zooms)
        backward = np.linalg.inv(scale) @ np.linalg.inv(np.asarray(matrix_mm, float)) @ scale
        centre = np.asarray(centre, float)
        offset = centre - backward @ (centre + np.asarray(shift_mm, float) / zooms)
        return cls(backward, offset, tuple(fields))

    def forward(self, points: np.ndarray) -> np.ndarray:
        """Where (n, 3) source voxels go, float32: the linear map inverted, the fields by fixed-point iteration."""
        landed = (np.asarray(points, float) - self.offset) @ np.linalg.inv(self.matrix).T
        points = landed
        for _ in range(4 if self.fields else 0):  # each step at least halves the error of an ordinary field
            points = landed - sum(f.at(points) for f in self.fields)
        return points.astype(np.float32)

    def min_jacobian(self) -> float:
        """The smallest determinant of the displacement's derivative, sampled twice per control point; 1 if none."""
        if not self.fields:
            return 1.0
        points = min(self.fields, key=lambda f: np.prod(f.step)).lattice()
        return float(np.linalg.det(np.eye(3) + sum(f.gradient(points) for f in self.fields)).min())

    def output_box(self, box: Box, shape) -> Box:
        """A box of the output grid that holds all of what `box` of the source becomes."""
        corners = np.stack(np.meshgrid(*[(part.start - 1, part.stop) for part in box], indexing="ij"), -1).reshape(
            -1, 3
        )
        landed = (corners - self.offset) @ np.linalg.inv(self.matrix).T
        reach = sum((f.reach() for f in self.fields), np.zeros(3))
        low = np.clip(np.floor(landed.min(0) - reach), 0, np.asarray(shape) - 1).astype(int)
        high = np.clip(np.ceil(landed.max(0) + reach) + 1, low + 1, shape).astype(int)
        return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))

    def gather(self, labels: np.ndarray, origin, box: Box, extend: bool = False) -> np.ndarray:
        """Labels on `box` of the output grid, taken from the nearest source voxel.

        Args:
            labels: (a, b, c) uint8 source crop.
            origin: (3,) grid index of the crop's first voxel.
            box: where in the output grid.
            extend: continue the crop's faces beyond it (a brain cut by the scan's lowest slice); else 0 there.
        """
        if not extend:  # a rim of zeros, so that clipping an index is all it takes
            labels, origin = np.pad(labels, 1), np.asarray(origin) - 1
        flat, (_, ny, nz) = np.ascontiguousarray(labels).ravel(), labels.shape
        out = np.empty([part.stop - part.start for part in box], labels.dtype)
        for rows, places in self.sources(box, origin):
            index = [
                np.clip(np.rint(place, out=place), 0, size - 1, out=place).astype(np.int32)
                for place, size in zip(places, labels.shape, strict=True)
            ]
            np.take(flat, (index[0] * ny + index[1]) * nz + index[2], out=out[rows])
        return out

    def sources(self, box: Box, origin=(0, 0, 0)) -> Iterator[tuple[slice, list[np.ndarray]]]:
        """Slab by slab of `box`, which of its rows and per axis where their voxels come from, as arrays that broadcast.

        Args:
            box: where in the output grid.
            origin: (3,) index of the source grid that places are counted from.
        """
        factors = [spline.factors(box) for spline in self.fields]
        count, *others = [part.stop - part.start for part in box]
        slab = max(int(SLAB / max(np.prod(others), 1)), 1)
        for start in range(0, count, slab):
            rows = slice(start, min(start + slab, count))
            moved = [_along(lines[:, rows], z) for lines, z in factors]
            place = slice(box[0].start + rows.start, box[0].start + rows.stop), *box[1:]
            yield rows, self._sources(place, origin, sum(moved[1:], *moved[:1]))

    def _sources(self, box: Box, origin, moved) -> list[np.ndarray]:
        """Per axis the source of each voxel, float32, in arrays that broadcast; `moved`: the displacement or 0."""
        lines = [
            np.arange(p.start, p.stop, dtype=np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
            for axis, p in enumerate(box)
        ]
        places = []
        for row in range(3):
            source = np.float32(self.offset[row] - origin[row])
            for axis in range(3):
                weight = np.float32(self.matrix[row, axis])
                if weight:  # an identity row stays a thin, broadcastable line
                    source = source + weight * lines[axis]
            for axis in range(3):
                weight = np.float32(self.matrix[row, axis])
                if self.fields and weight:
                    source = np.add(source, part := weight * moved[axis], out=part)
            places.append(source)
        return places


def checked(warp: Warp, name: str) -> Warp:
    """`warp` itself if it nowhere folds.

    Raises:
        LayoutError: its Jacobian falls below `MIN_JACOBIAN` somewhere.
    """
    smallest = warp.min_jacobian()
    if smallest < MIN_JACOBIAN:
        raise LayoutError(
            f"edit {name}: the deformation folds or nearly folds the layout (smallest Jacobian {smallest:.2f}, "
            f"at least {MIN_JACOBIAN} expected); give fewer mm or a wider step_mm."
        )
    return warp
