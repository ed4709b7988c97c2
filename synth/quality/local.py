"""Statistics of slices and of small blocks: what a simple classifier is shown to tell painted scans from real ones.

Arrays of the probe `local`, of intensities z-scored in the brain:

- `slices`: (n, 24) float32, up to 16 axial slices, `SLICE_STATISTICS`: in each modality the power of three levels of a
  Laplacian pyramid (Burt and Adelson 1983), mean and steep gradients, and the kurtosis of the finest level;
- `blocks`: (n, 36) float32, up to 16 blocks of 32 x 32 x 32 voxels inside the brain, `BLOCK_STATISTICS`: in each
  modality the deviation, differences to neighbours 1, 2 and 4 voxels away, the kurtosis and steepest of the nearest,
  and for each pair of modalities how far intensities, and nearest differences, go together.
"""

from itertools import combinations

import numpy as np
from scipy.ndimage import binary_fill_holes, gaussian_filter

from synth.brats import MODALITIES
from synth.layout.space import eroded
from synth.quality.fine import STEEP, kurtosis
from synth.quality.prepared import Prepared
from synth.quality.probes import Probe

MOST = 16  # slices, and blocks, of a case
EDGE = 32  # voxels
STEPS = (1, 2, 4)  # voxels
_LEVELS = ("1 mm", "2 mm", "4 mm")
_SMALLEST = 4000  # voxels of brain that a slice must have to count
_FULL = 0.95  # of a block must be brain
_PAIRS = tuple(combinations(range(len(MODALITIES)), 2))
_LEAST = 1e-4

SLICE_STATISTICS = tuple(
    f"{modality}: {name}"
    for modality in MODALITIES
    for name in (*(f"power at {level}" for level in _LEVELS), "mean gradient", "steep gradients", "kurtosis")
)
BLOCK_STATISTICS = (
    *(
        f"{modality}: {name}"
        for modality in MODALITIES
        for name in ("deviation", *(f"differences over {level}" for level in _LEVELS), "steep edges", "kurtosis")
    ),
    *(f"{MODALITIES[a]} with {MODALITIES[b]}: {what}" for what in ("intensities", "differences") for a, b in _PAIRS),
)


def measure_local(prepared: Prepared) -> dict[str, np.ndarray]:
    """The statistics of one case, as the head of this module lists them; 0 rows where the brain is too small."""
    return {"slices": _slices(prepared), "blocks": _blocks(prepared)}


def _slices(prepared: Prepared) -> np.ndarray:
    thick = np.flatnonzero(prepared.brain.sum((0, 1)) >= _SMALLEST)
    rows = []
    for z in _spread(thick):
        inside = eroded(binary_fill_holes(prepared.brain[:, :, z]), 2)
        rows.append([number for m in range(len(MODALITIES)) for number in _of_slice(prepared.z[:, :, z, m], inside)])
    return np.array(rows, np.float32).reshape(-1, len(SLICE_STATISTICS))


def _of_slice(image: np.ndarray, inside: np.ndarray) -> list[float]:
    levels, low, mask = [], image, inside
    for _ in _LEVELS:
        smooth = gaussian_filter(low, 1)
        levels.append((low - smooth)[mask])
        low, mask = smooth[::2, ::2], mask[::2, ::2]
    steep = np.hypot(*np.gradient(image))[inside]
    powers = [np.log(np.var(level) + _LEAST) for level in levels]
    return [*powers, steep.mean(), np.percentile(steep, 95), np.log(kurtosis(levels[0]) + 1)]


def _blocks(prepared: Prepared) -> np.ndarray:
    shape = prepared.brain.shape
    corners = [
        corner
        for corner in np.ndindex(*(max((n - EDGE) // (EDGE // 2) + 1, 0) for n in shape))
        if prepared.brain[_block(corner)].mean() >= _FULL
    ]
    rows = [_of_block(prepared.z[_block(corners[k])].transpose(3, 0, 1, 2)) for k in _spread(np.arange(len(corners)))]
    return np.array(rows, np.float32).reshape(-1, len(BLOCK_STATISTICS))


def _block(corner: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(EDGE // 2 * k, EDGE // 2 * k + EDGE) for k in corner)


def _of_block(block: np.ndarray) -> list[float]:
    """Of (4, x, y, z)."""
    curved = [_differences(block, step).reshape(len(MODALITIES), -1) for step in STEPS]
    out = []
    for m, image in enumerate(block):
        sizes = [np.log(part[m].std() + _LEAST) for part in curved]
        out += [np.log(image.std() + _LEAST), *sizes]
        out += [np.log(np.percentile(np.abs(curved[0][m]), STEEP) + _LEAST), np.log(kurtosis(curved[0][m]) + 1)]
    for part in (block.reshape(len(MODALITIES), -1), curved[0]):
        together = (part - part.mean(1, keepdims=True)) / (part.std(1, keepdims=True) + _LEAST)
        out += [float((together[a] * together[b]).mean()) for a, b in _PAIRS]
    return out


def _differences(block: np.ndarray, step: int) -> np.ndarray:
    """How far voxels are from the mean of their six neighbours `step` away; (4, x - 2 step, ...)."""
    middle = (slice(None), *(slice(step, -step),) * 3)
    out = -6 * block[middle]
    for axis in (1, 2, 3):
        for side in (slice(None, -2 * step), slice(2 * step, None)):
            out += block[(*middle[:axis], side, *middle[axis + 1 :])]
    return out / 6


def _spread(places: np.ndarray) -> np.ndarray:
    """At most `MOST` of them, evenly."""
    return places[np.unique(np.linspace(0, len(places) - 1, MOST).round().astype(int))] if len(places) else places


PROBE = Probe("local", "1", measure_local)
