"""Whether t1, t1ce, t2 and flair are what their names say, by the voxels of all four together.

Each of the 24 ways to give the four names gets a score: a sum of what each modality shows (how bright, by rank, CSF,
grey and white matter of the atlas are in it; how far its brightest voxels stand out) and of what each pair shows
(how their ranks correlate; which of the two has the brighter extremes, as vessels and tumour have after contrast).
A logistic choice among the 24, its weights fitted on 24 cases by `benchmarks/fit_modality_judge.py`: with each case
left out in turn the right one won in all, by at least 2.9 in log odds.
"""

from dataclasses import dataclass
from itertools import combinations, permutations

import numpy as np

from synth.brats import MODALITIES
from synth.datasets.voxels.sample import MARGIN as PADDING
from synth.datasets.voxels.sample import STEP, Sample
from synth.datasets.voxels.verdict import Verdict
from synth.layout.atlas import atlas_probabilities

PAIRS = tuple(combinations(range(len(MODALITIES)), 2))  # t1 t1ce, t1 t2, t1 flair, t1ce t2, t1ce flair, t2 flair
ORDERS = tuple(permutations(range(len(MODALITIES))))
CLINICAL = ("T1", "T1 after contrast", "T2", "FLAIR")
MARGIN = 1.5  # in log odds, by which another order has to beat the names; less is left unsaid
IN_PLACE = 0.6  # of the brain's voxels, those that are in the atlas's; 24 cases: at least 0.79
DARK = 0.4  # of the median: below, ratios of two modalities are not told apart
COPY = 0.97  # correlation of ranks; 24 cases: at most 0.89

# of each name: ranks of CSF, grey and white matter, two heights of the brightest voxels
OWN_WEIGHTS = np.array(
    [
        [-7.632, -17.511, 4.442, -2.344, -2.830],
        [3.188, -19.746, 4.163, 2.869, 1.295],
        [6.543, 6.881, -3.423, -0.155, 0.006],
        [-2.099, 30.375, -5.182, -0.369, 1.529],
    ]
)
# of each pair of names: correlation, and extremes of the second over those of the first
PAIR_WEIGHTS = np.array(
    [
        [1.622, 0.314],
        [-1.503, 0.267],
        [1.528, -0.021],
        [-2.327, 0.105],
        [-1.435, -0.363],
        [2.115, -1.456],
    ]
)


@dataclass(frozen=True)
class Traits:
    """What the score is made of.

    Attributes:
        own: (4, 5), of each modality the mean rank (-0.5..0.5) of CSF, GM and WM, and the logs of how much higher the
            99.8th and the 99th percentile stand than the 90th.
        pair: (4, 4, 2), of each two modalities the correlation of ranks, and the tails of the log of their ratio.
    """

    own: np.ndarray
    pair: np.ndarray


def judge_modalities(seen: Sample) -> list[Verdict]:
    """The modalities that are another than their name says, or that are one scan under two contrasts.

    Returns:
        A verdict for each modality that is misnamed, or one for two that are copies (equal voxels are left to
        `datasets.cases`, which compares files); nothing where it is unsure, or where the brain lies elsewhere.
    """
    found = traits(seen)
    if found is None:
        return []
    copies = [pair for pair in PAIRS if abs(found.pair[(*pair, 0)]) > COPY]
    if copies:
        return [_copy(a, b) for a, b in copies if not np.array_equal(seen.images[a], seen.images[b])]
    totals = scores(found)
    best = int(np.argmax(totals))
    if totals[best] < totals[0] + MARGIN:
        return []
    looks = np.argsort(ORDERS[best])  # of each file, which name would be its own
    return [
        Verdict(
            "modality",
            (MODALITIES[m],),
            f"looks like a {CLINICAL[looks[m]]} where a {CLINICAL[m]} is expected; check which file is which.",
        )
        for m in range(len(MODALITIES))
        if looks[m] != m
    ]


def _copy(a: int, b: int) -> Verdict:
    text = (
        f"shows the same scan as {MODALITIES[a]} with its grey levels changed, where a {CLINICAL[a]} and a "
        f"{CLINICAL[b]} are expected; find the right file of the one that is not what its name says."
    )
    return Verdict("copy", (MODALITIES[a], MODALITIES[b]), text)


def scores(found: Traits) -> np.ndarray:
    """(24,) of each of `ORDERS` (for each name the place of its scan); the first is as the files are named."""
    own = OWN_WEIGHTS @ found.own.T
    pair = found.pair @ PAIR_WEIGHTS.T
    names = range(len(MODALITIES))
    return np.array(
        [
            sum(own[name, order[name]] for name in names)
            + sum(pair[order[a], order[b], k] for k, (a, b) in enumerate(PAIRS))
            for order in ORDERS
        ]
    )


def traits(seen: Sample) -> Traits | None:
    """Those of a case, on every fourth voxel; None where the brain does not lie where the atlas has it."""
    shape = seen.shown.shape
    where = tuple(slice(PADDING + start % 2, size - PADDING, 2) for start, size in zip(seen.corner, shape, strict=True))
    shown = seen.shown[where]
    images = np.array([image[where][shown] for image in seen.images], float)
    place = tuple(
        slice((start + start % 2) // 2, (start + start % 2) // 2 + size)
        for start, size in zip(seen.corner, shown.shape, strict=True)
    )
    weights = atlas_probabilities(2 * STEP)[place][shown]
    if np.mean(weights.sum(1) > 0.5) < IN_PLACE:
        return None
    weights = weights**2
    ranks = np.stack([ranks_of(image) for image in images]) / images.shape[1] - 0.5
    tissue = ranks @ (weights / weights.sum(0))
    middle, high, higher, highest = np.quantile(images, [0.5, 0.9, 0.99, 0.998], axis=1)
    stands = np.log(np.array([highest - middle, higher - middle]) / np.maximum(high - middle, 1e-6 * middle) + 1e-6)
    logs = np.log(np.maximum(images / middle[:, None], DARK))  # the darkest voxels are noise, and no two scans' alike
    pair = np.zeros((len(images), len(images), 2))
    pair[..., 0] = np.corrcoef(ranks)
    for a, b in PAIRS:
        low, centre, top = np.quantile(logs[b] - logs[a], [0.005, 0.5, 0.995])
        pair[a, b, 1] = top + low - 2 * centre
        pair[b, a, 1] = -pair[a, b, 1]
    return Traits(np.column_stack([tissue, stands.T]), pair)


def ranks_of(values: np.ndarray) -> np.ndarray:
    """(n,) ranks from 1, equals sharing theirs: `scipy.stats.rankdata`, without the quarter second of its import."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]
