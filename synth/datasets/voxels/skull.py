"""Heads that are not skull-stripped."""

import numpy as np

from synth.brats import MODALITIES
from synth.datasets.voxels.sample import LEAST_ML, Sample
from synth.datasets.voxels.verdict import Verdict

LARGEST_ML = 2200.0  # 24 brains: 1,174 to 1,729 ml; the largest that are measured come to 2,000
EXCESS = 1.4  # times what the other modalities show at the median; 24 brains: at most 1.03
LEFT = 1.15  # times the others: something that stripping left there
LOOSE_ML = 1800.0  # above which such an excess counts: less is no skull, but others that lack something


def judge_skull(seen: Sample) -> list[Verdict]:
    """The modalities that show more than a brain: above 2.2 l, or 1.8 l and 1.4 times what the others show.

    Kind "skull"; "outline" for one that shows 1.15 times what the others do, which agree.
    """
    verdicts = []
    for m, (modality, volume) in enumerate(zip(MODALITIES, seen.volumes, strict=True)):
        rest = np.delete(seen.volumes, m)
        others = float(np.median(rest))
        more = volume > max(EXCESS * others, LOOSE_ML)
        beside = f", where the other modalities show {others / 1000:.2g} l" if more else ""
        if volume > LARGEST_ML or more:
            text = (
                f"{volume / 1000:.2g} l are not 0{beside}; expected a skull-stripped brain, which measures up to 2 l: "
                "strip the skull, or find the stripped file."
            )
            verdicts.append(Verdict("skull", (modality,), text))
        elif volume > LEFT * others > LEFT * LEAST_ML and max(rest) < LEFT * min(rest):
            text = (
                f"{volume / 1000:.3g} l are not 0, where the other modalities show {others / 1000:.3g} l; expected one "
                "outline: strip the skull of all in the same way."
            )
            verdicts.append(Verdict("outline", (modality,), text))
    return verdicts
