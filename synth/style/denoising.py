"""Noise taken out of a scan before its voxels are told apart: non-local means over all four modalities at once.

A voxel becomes the mean of those around it whose own surroundings look alike (Buades et al. 2005,
doi:10.1109/CVPR.2005.38): flat tissue becomes flat, sheets and edges stay, which a filter that compares single voxels
blurs for the same calm. The second pass looks at every second voxel (à trous, Dammertz et al. 2010), since noise is
the same over a voxel or two where a scan was interpolated.
"""

import numpy as np

from synth.layout.space import Box, sums_of_27
from synth.style.style import GRAINS, P20_OF_RMS, Style

_PASSES = ((1, 3.0, 1.0), (2, 2.0, 0.0))  # voxels to a neighbour; deviations within which all count; noise still there
_LEAST_NOISE = 0.004  # of an image without any
_AROUND = 27  # voxels, each with its own, that are compared
_VOXELS = 250_000  # at once: they stay in the cache


def noise_of(style: Style) -> np.ndarray:
    """(4,) standard deviation of each modality's noise, in normalised units: its texture, which grain makes smaller."""
    lag = np.exp(-0.25 * (np.arange(1, 3) / np.clip(np.asarray(style.sharpness), *GRAINS)[..., None]) ** 2)
    together = ((3 + 4 * lag[..., 0] + 2 * lag[..., 1]) / 9).prod(-1)
    return np.maximum(np.asarray(style.texture) / (P20_OF_RMS * np.sqrt(1 - together)), _LEAST_NOISE)


def denoised(images: np.ndarray, brain: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """(4, x, y, z) float32: images without most of their noise.

    Args:
        images: (x, y, z, 4) float32.
        brain: (x, y, z) bool; nothing outside has a say.
        noise: (4,) deviation of each modality's.
    """
    out = np.where(brain, np.moveaxis(images, -1, 0) / noise.astype(np.float32)[:, None, None, None], 0)
    for step, within, left in _PASSES:
        out = _pass(out, brain, step, within, left)
    return out * noise.astype(np.float32)[:, None, None, None]


def _pass(values: np.ndarray, brain: np.ndarray, step: int, within: float, left: float) -> np.ndarray:
    """Images of deviation 1, each voxel averaged with the 26 that lie so many steps from it."""
    sums, weights = values.copy(), np.ones(brain.shape, np.float32)
    free, scale = np.float32(_AROUND * left * len(values)), np.float32(-0.5 / (_AROUND * within**2))
    for shift in np.ndindex(3, 3, 3):
        if shift <= (1, 1, 1):  # pairs are met once
            continue
        ends = [_overlap((part - 1) * step, size) for part, size in zip(shift, brain.shape, strict=True)]
        for rows in _slabs(ends[0][0], brain[0].size):
            alike = _unlike(values, ends, rows)
            alike -= free
            np.maximum(alike, 0, out=alike)
            alike *= scale
            np.exp(alike, out=alike)
            here, there = _places(ends, rows)
            alike *= brain[here] & brain[there]
            weights[here] += alike
            weights[there] += alike
            for total, part in zip(sums, values, strict=True):
                total[here] += alike * part[there]
                total[there] += alike * part[here]
    sums /= weights
    return sums


def _overlap(step: int, size: int) -> tuple[slice, int]:
    """Where on an axis a voxel has another so many steps on, and the steps."""
    return slice(max(-step, 0), size - max(step, 0)), step


def _places(ends, rows: slice) -> tuple[Box, Box]:
    """Some rows of voxels, and where their neighbours lie."""
    here = rows, *(part for part, _ in ends[1:])
    return here, tuple(slice(p.start + step, p.stop + step) for p, (_, step) in zip(here, ends, strict=True))


def _slabs(rows: slice, size: int) -> list[slice]:
    """Rows of so many voxels each in parts that stay in the cache."""
    many = max(_VOXELS // size, 1)
    return [slice(start, min(start + many, rows.stop)) for start in range(rows.start, rows.stop, many)]


def _unlike(values: np.ndarray, ends, rows: slice) -> np.ndarray:
    """(x, y, z) float32 squared differences of some rows' voxels from their neighbours', summed over the 27 around."""
    wide = slice(max(rows.start - 1, ends[0][0].start), min(rows.stop + 1, ends[0][0].stop))
    here, there = _places(ends, wide)
    size = [part.stop - part.start for part in here]
    apart = np.zeros([n + 2 for n in (rows.stop - rows.start, *size[1:])], np.float32)
    inner = apart[wide.start - rows.start + 1 :, 1:-1, 1:-1][: size[0]]
    for part in values:
        difference = part[here] - part[there]
        difference *= difference
        inner += difference
    return sums_of_27(apart)
