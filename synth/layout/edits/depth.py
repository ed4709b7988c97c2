"""Cuts of a map at an exact volume: which voxels are nearest, deepest, lowest. Ties are broken smoothly."""

import numpy as np
from scipy.ndimage import uniform_filter

from synth.layout.space import near

_BLUR_MM = 5.0


def lowest(level: np.ndarray, room: np.ndarray, count: int) -> np.ndarray:
    """The `count` voxels of `room` with the lowest level (all of them if there are fewer): bool.

    Equal levels are taken in the order of the array, so that the count is met exactly.
    """
    out = np.zeros(level.shape, bool)
    values = level[room]
    count = min(count, values.size)
    if count > 0:
        cut = np.partition(values, count - 1)[count - 1]
        chosen = values < cut
        chosen[np.flatnonzero(values == cut)[: count - np.count_nonzero(chosen)]] = True
        out[room] = chosen
    return out


def nearest(mask: np.ndarray, room: np.ndarray, count: int, zooms) -> np.ndarray:
    """The `count` voxels of `room` nearest to `mask` (fewer if the room ends); of equally near ones those in a bay.

    Distances on a grid come in few values: without that rule a cut inside one of them would take one side only.
    """
    level = reach(mask, room, count, zooms)
    return lowest(level - blurred(mask, zooms), room & np.isfinite(level), count)


def reach(mask: np.ndarray, room: np.ndarray, count: int, zooms) -> np.ndarray:
    """Distance in mm to `mask`, exact as far as it takes to reach `count` voxels of `room`; infinity beyond."""
    count = min(count, np.count_nonzero(room))
    limit, far = 4.0 * max(1.0, max(zooms) / 4), float(np.linalg.norm(np.multiply(mask.shape, zooms)))
    while True:
        level = near(mask, limit, zooms)
        if limit > far or np.count_nonzero(np.isfinite(level) & room) >= count:
            return level
        limit *= 2


def peeled(mask: np.ndarray, count: int, zooms, whole: np.ndarray | None = None) -> np.ndarray:
    """`mask` without all but its `count` deepest voxels: it is peeled from outside, of `whole` where that is given."""
    whole = mask if whole is None else whole
    return mask & ~nearest(~whole, mask, np.count_nonzero(mask) - count, zooms)


def blurred(mask: np.ndarray, zooms) -> np.ndarray:
    """`mask` averaged over about 5 mm, 0..1 float32."""
    return uniform_filter(mask.astype(np.float32), [max(round(_BLUR_MM / z), 1) for z in zooms])
