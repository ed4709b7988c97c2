"""The cortex's two faces, moved: against white matter (its thickness) and against fluid (its sulci)."""

import numpy as np

from synth.brats import TISSUES, Tissue

FULL = 9**3  # what a voxel in the midst of a mask counts
SHARE_PER_MM = 0.28  # by which what `summed` counts changes a mm further from a flat face: 0.33, then 0.22
_STEPS = 32  # of a share: whole numbers of two bytes are twice as fast as floats
_INNER, _OUTER = (np.zeros(len(TISSUES) + 1, np.int16) for _ in range(2))  # which side of a face a tissue is on
_INNER[[Tissue.WM, Tissue.GM]] = 1, -1
_OUTER[[Tissue.GM, Tissue.CSF]] = 1, -1


def summed(mask: np.ndarray, beyond: int = 1) -> np.ndarray:
    """Weighted count of ones in the 5 x 5 x 5 voxels around each, uint16, 0 to `FULL`; `beyond` the array all alike."""
    total = np.pad(mask, 2, constant_values=beyond)
    for axis in range(3):
        total = total.astype(np.uint16) if axis == 2 else total  # 81 so far
        ahead = (slice(None),) * axis
        for _ in range(2):
            n = total.shape[axis]
            parts = [total[(*ahead, slice(i, n - 2 + i))] for i in range(3)]
            total = parts[0] + parts[1]
            total += parts[2]
    return total


def face_steps(mm: np.ndarray) -> np.ndarray:
    """A distance in mm as `recontoured` takes it: int16, in steps of 0.1 mm, at most 1.5 mm either way."""
    return np.rint(np.clip(mm, -1.5, 1.5) * (SHARE_PER_MM * _STEPS)).astype(np.int16)


def recontoured(tissue: np.ndarray, thicker: np.ndarray, wider: np.ndarray) -> np.ndarray:
    """Tissue whose cortex is `thicker` towards white matter, and its sulci `wider` on either side.

    A face moves to where the share of its tissue in the 5 mm around has changed accordingly; nothing else moves.

    Args:
        tissue: (x, y, z) uint8 `Tissue` on voxels of about 1 mm; beyond it is no brain.
        thicker: (x, y, z) int16 `face_steps`; below 0 thinner.
        wider: (x, y, z) int16 `face_steps`; below 0 narrower.
    """
    fluid = summed((tissue <= Tissue.CSF).view(np.uint8)).view(np.int16)
    white = summed((tissue == Tissue.WM).view(np.uint8), beyond=0).view(np.int16)
    solid = FULL - fluid
    out = tissue.view(np.int8).copy()
    # above 0 where as much grey (or fluid) is around as the moved face asks for
    inner = _crossed(_INNER[tissue], thicker, solid * (thicker + _STEPS // 2) - white * _STEPS)
    outer = _crossed(_OUTER[tissue], wider, FULL * (wider - _STEPS // 2) + fluid * _STEPS)
    out -= np.where(outer, _OUTER[tissue], inner * _INNER[tissue]).astype(np.int8)
    return out.view(np.uint8)


def _crossed(side: np.ndarray, way: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Voxels (bool) that a face passes: those on the side that it moves into, as far as the level goes."""
    return (side * way > 0) & (side * level > 0)
