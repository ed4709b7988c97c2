"""All judges of a case, one after the other."""

import numpy as np

from synth.datasets.voxels.alignment import judge_alignment
from synth.datasets.voxels.modalities import judge_modalities
from synth.datasets.voxels.sample import LEAST_ML, sample
from synth.datasets.voxels.skull import judge_skull
from synth.datasets.voxels.verdict import Verdict


def judge_case(images: np.ndarray) -> tuple[Verdict, ...]:
    """What is wrong with the four modalities of a case, by their voxels; about 0.2 s.

    Args:
        images: (X, Y, Z, 4), as `Case` has them: background exactly 0, no NaN, nothing negative.

    Returns:
        Nothing for real cases, for other grids than BraTS's and for brains of less than 500 ml. Where a skull is
        shown, a modality shows less than 500 ml or fewer than 32 grey levels, nothing else is judged.
    """
    seen = sample(images)
    if seen is None:
        return ()
    skulls = judge_skull(seen)
    if any(said.kind == "skull" for said in skulls) or min(seen.volumes) < LEAST_ML or seen.few_levels:
        return tuple(skulls)
    return (*skulls, *judge_modalities(seen), *judge_alignment(seen))
