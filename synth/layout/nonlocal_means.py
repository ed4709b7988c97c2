"""Non-local means: flat parts become flat, sheets and edges stay.

A voxel becomes the mean of those around it whose own surroundings look alike (Buades et al. 2005,
doi:10.1109/CVPR.2005.38); a filter that compares single voxels blurs edges for the same calm. The second pass looks at
every second voxel (à trous, Dammertz et al. 2010), since noise is the same over a voxel or two where a scan was
interpolated.
"""

import numpy as np

from synth.layout.space import Box, slabs, sums_of_27

_PASSES = ((1, 3.0, 1.0), (2, 2.0, 0.0))  # voxels to a neighbour; deviations within which all count; noise still there
_AROUND = 27  # voxels, each with its own, that are compared
_VOXELS = 250_000  # at once: they stay in the cache


def averaged(values: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """(k, x, y, z) float32 images in deviations of their noise, without most of it.

    Args:
        values: (k, x, y, z) float32.
        inside: (x, y, z) bool; nothing outside has a say.
    """
    for step, within, left in _PASSES:
        values = _pass(values, inside, step, within, left)
    return values


def _pass(values: np.ndarray, inside: np.ndarray, step: int, within: float, left: float) -> np.ndarray:
    """Each voxel averaged with those of the 26 around it whose own surroundings are like its own.

    Args:
        values: (k, x, y, z) float32 images, in deviations of their noise.
        inside: (x, y, z) bool; nothing outside has a say.
        step: voxels to a neighbour.
        within: deviations by which surroundings of 27 voxels may differ, in the mean, and still count.
        left: squared deviations by which alike ones differ: what noise makes them.
    """
    sums, weights = values.copy(), np.ones(inside.shape, np.float32)
    free, scale = np.float32(_AROUND * left * len(values)), np.float32(-0.5 / (_AROUND * within**2))
    parts = slabs(inside, voxels=_VOXELS)
    for shift in np.ndindex(3, 3, 3):
        if shift <= (1, 1, 1):  # pairs are met once
            continue
        steps = [(part - 1) * step for part in shift]
        pairs = tuple(slice(max(-far, 0), size - max(far, 0)) for far, size in zip(steps, inside.shape, strict=True))
        for part in parts:
            here = _common(part, pairs)
            there = _moved(here, steps)
            alike = _unlike(values, here, steps, pairs)
            alike -= free
            np.maximum(alike, 0, out=alike)
            alike *= scale
            np.exp(alike, out=alike)
            alike *= inside[here] & inside[there]
            weights[here] += alike
            weights[there] += alike
            for total, image in zip(sums, values, strict=True):
                total[here] += alike * image[there]
                total[there] += alike * image[here]
    sums /= weights
    return sums


def _moved(box: Box, steps) -> Box:
    """A box so many voxels further on."""
    return tuple(slice(part.start + far, part.stop + far) for part, far in zip(box, steps, strict=True))


def _common(box: Box, other: Box) -> Box:
    """What two boxes have in common; empty if they do not meet."""
    parts = [(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(box, other, strict=True)]
    return tuple(slice(first, max(first, last)) for first, last in parts)


def _unlike(values: np.ndarray, here: Box, steps, pairs: Box) -> np.ndarray:
    """(x, y, z) float32 squared differences of a box's voxels from those some steps on, summed over the 27 around.

    Args:
        values: (k, x, y, z) float32 images.
        here: the box.
        steps: voxels to the others, along each axis.
        pairs: where there are others.
    """
    wide = _common(tuple(slice(part.start - 1, part.stop + 1) for part in here), pairs)
    there = _moved(wide, steps)
    apart = np.zeros([part.stop - part.start + 2 for part in here], np.float32)
    inner = apart[tuple(slice(w.start - h.start + 1, w.stop - h.start + 1) for w, h in zip(wide, here, strict=True))]
    for part in values:
        difference = part[wide] - part[there]
        difference *= difference
        inner += difference
    return sums_of_27(apart)
