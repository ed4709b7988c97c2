"""Whether a brain lies in BraTS's grid as BraTS's brains do: upright, looking to the front, in the middle."""

import numpy as np

from synth.brats import GRID
from synth.datasets.voxels.sample import LEAST_ML
from synth.datasets.voxels.verdict import Verdict
from synth.layout.atlas import atlas_probabilities

STEP = 4  # voxels, and mm
LEAST_DICE = 0.76  # of the outline with the atlas's: real brains 0.80 to 0.96; back to front at most 0.73, turned 0.73


def judge_place(brain: np.ndarray) -> list[Verdict]:
    """One verdict for a brain that does not lie as the atlas's does; none on other grids, and below 500 ml.

    Args:
        brain: (X, Y, Z) bool.
    """
    if brain.shape != GRID:
        return []
    ours, atlas = brain[::STEP, ::STEP, ::STEP], atlas_probabilities(STEP).sum(-1) > 0.5
    size = np.count_nonzero(ours)
    if size * STEP**3 / 1000 < LEAST_ML:
        return []
    dice = 2 * np.count_nonzero(ours & atlas) / (size + np.count_nonzero(atlas))
    if dice >= LEAST_DICE:
        return []
    text = (
        f"the brain does not lie as in BraTS (Dice of its outline with the atlas's {dice:.2f}; of BraTS's brains at "
        "least 0.80), as where axes are exchanged or turned, or the origin is another; tissue is found by voxel: "
        "bring the voxels of all files into BraTS's order and place."
    )
    return [Verdict("place", ("t1",), text)]
