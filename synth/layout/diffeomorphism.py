"""Large smooth deformations of a brain: velocities on the control points of the anatomy prior's finer lattice, flowed.

A stationary velocity that flows for unit time never folds (Arsigny et al. 2006, doi:10.1007/11866565_113: scaling and
squaring), whatever its strength; what is left to check is the sampling. Everything is in voxels of the BraTS grid,
and brought to the layout's own grid at the end, which is taken to show the same head.
"""

import numpy as np
from scipy.ndimage import distance_transform_edt, map_coordinates

from synth.brats import GRID
from synth.layout.priors.anatomy import LATTICE, affine_map
from synth.layout.space import Box
from synth.layout.warp import SplineField, Warp

FINE = LATTICE.finer()
_SQUARINGS = 4
_CELL_MM = 4  # of the mask that depths are measured on


def values_at_controls(controls: np.ndarray) -> np.ndarray:
    """(gx, gy, gz, c) what a cubic B-spline is at its control points; at the border the controls themselves."""
    for axis in range(3):
        line = np.moveaxis(controls, axis, 0)
        inner = (line[:-2] + 4 * line[1:-1] + line[2:]) / 6
        controls = np.moveaxis(np.concatenate([line[:1], inner, line[-1:]]), 0, axis)
    return controls


def curl(potential: np.ndarray) -> np.ndarray:
    """(gx, gy, gz, 3) curl of a field on `FINE`: a flow that changes no volume."""
    slopes = [np.gradient(potential, step, axis=axis) for axis, step in enumerate(FINE.step)]
    pairs = ((1, 2), (2, 0), (0, 1))
    return np.stack([slopes[a][..., b] - slopes[b][..., a] for a, b in pairs], -1)


def flowed(velocity: np.ndarray) -> np.ndarray:
    """(gx, gy, gz, 3) displacement at the controls of `FINE` after unit time."""
    moved = velocity * 0.5**_SQUARINGS
    index = np.indices(velocity.shape[:3])
    for _ in range(_SQUARINGS):
        places = index + np.moveaxis(moved, -1, 0) / np.reshape(FINE.step, (3, 1, 1, 1))
        parts = np.moveaxis(moved, -1, 0)
        moved = moved + np.stack([map_coordinates(part, places, order=1, mode="nearest") for part in parts], -1)
    return moved


def field_on(values: np.ndarray, shape: tuple[int, int, int], *, scaled: bool = True) -> SplineField:
    """The spline that has `values` at the controls of `FINE`, on a grid of `shape`.

    Args:
        values: (gx, gy, gz, 3) displacements in voxels of the BraTS grid, or (gx, gy, gz, c) of anything else.
        shape: of the grid.
        scaled: make them voxels of that grid; no if they are no displacements.
    """
    controls = values
    for axis in range(3):  # so that the spline, which smooths, passes through the values again
        line = np.moveaxis(controls, axis, 0)
        inner = line[1:-1] - np.diff(line, 2, axis=0) / 6
        controls = np.moveaxis(np.concatenate([line[:1], inner, line[-1:]]), 0, axis)
    per_voxel = np.array(GRID) / shape
    controls = np.rint(controls / (per_voxel if scaled else 1) * 128) / 128
    origin = (np.array(FINE.origin) + 0.5) / per_voxel - 0.5
    return SplineField(tuple(map(float, origin)), tuple(map(float, np.array(FINE.step) / per_voxel)), controls)


def affine_on(numbers, shape: tuple[int, int, int], fields: tuple[SplineField, ...] = ()) -> Warp:
    """The backward warp of a prior's 12 numbers (`AnatomyPrior.affine_mean`) on a grid of `shape`."""
    matrix, offset = affine_map(numbers)
    per_voxel = np.array(GRID) / shape
    half = 0.5 * per_voxel - 0.5  # BraTS voxel = per_voxel * own voxel + half
    own = matrix * per_voxel / per_voxel[:, None]
    return Warp(own, (matrix @ half + offset - half) / per_voxel, fields)


def depth_at_controls(tissue: np.ndarray) -> np.ndarray:
    """(gx, gy, gz) mm from outside the brain at the controls of `FINE`; a scan that ends in the brain is no outside."""
    every = [max(round(_CELL_MM * n / size), 1) for n, size in zip(tissue.shape, GRID, strict=True)]
    mask = tissue[tuple(slice(step // 2, None, step) for step in every)] > 0
    cell = [step * size / n for step, size, n in zip(every, GRID, tissue.shape, strict=True)]
    depth = distance_transform_edt(mask, sampling=cell)
    lines = [(FINE.positions(axis) + 0.5) / size - 0.5 for axis, size in enumerate(cell)]
    return map_coordinates(depth, np.meshgrid(*lines, indexing="ij"), order=1, mode="nearest")


def at_half(field: SplineField, box: Box) -> list[np.ndarray]:
    """The components of a field between every two voxels of `box` along each axis: eight times fewer numbers."""
    origin = tuple((o - part.start - 0.5) / 2 for o, part in zip(field.origin, box, strict=True))
    half = SplineField(origin, tuple(step / 2 for step in field.step), field.controls)
    return half.displacement(tuple(slice(0, -(-(part.stop - part.start) // 2)) for part in box))


def doubled(values: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """What `at_half` gives for every two voxels, for every one of a box of `shape`."""
    for axis, size in enumerate(shape):
        values = np.repeat(values, 2, axis)[(slice(None),) * axis + (slice(size),)]
    return values
