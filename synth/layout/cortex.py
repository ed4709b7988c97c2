"""The cortex's two faces, moved: against white matter (its thickness) and against fluid (its sulci)."""

import numpy as np

from synth.brats import Tissue

FULL = 9**3  # what a voxel in the midst of a mask counts
SHARE_PER_MM = 0.28  # by which what `summed` counts changes a mm further from a flat face: 0.33, then 0.22
_STEPS = 32  # of a share: whole numbers of two bytes are twice as fast as floats
STEPS_PER_MM = SHARE_PER_MM * _STEPS
_SLAB = 200_000  # voxels at once


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
    out = np.empty_like(tissue)
    rows = max(_SLAB // max(tissue[0].size, 1), 1)
    for start in range(0, len(tissue), rows):
        part = slice(start, start + rows)
        out[part] = _recontoured(tissue, part, thicker[part], wider[part])
    return out


def _recontoured(tissue: np.ndarray, part: slice, thicker: np.ndarray, wider: np.ndarray) -> np.ndarray:
    """What `recontoured` gives for a `part` of the rows, so few that all of it stays in the cache."""
    around = slice(max(part.start - 2, 0), part.stop + 2)
    own = slice(part.start - around.start, part.start - around.start + len(thicker))
    fluid = summed((tissue[around] <= Tissue.CSF).view(np.uint8))[own].view(np.int16)
    white = summed((tissue[around] == Tissue.WM).view(np.uint8), beyond=0)[own].view(np.int16)
    out = tissue[part].copy()
    grey = out == Tissue.GM
    # above 0 where as much grey (or fluid) is around as the moved face asks for
    inner = (FULL - fluid) * (thicker + _STEPS // 2) - white * _STEPS
    outer = FULL * (wider - _STEPS // 2) + fluid * _STEPS
    to_grey = (out == Tissue.WM) & (thicker > 0) & (inner > 0)
    to_white = grey & (thicker < 0) & (inner < 0)
    to_fluid = grey & (wider > 0) & (outer > 0)
    from_fluid = (out == Tissue.CSF) & (wider < 0) & (outer < 0)
    out += to_white
    out -= to_grey
    out[from_fluid] = Tissue.GM
    out[to_fluid] = Tissue.CSF  # where both faces pass, the outer one counts
    return out
