"""How much the cases of a set differ from one another, beside real patients; and whether some are there twice.

A check of variety fails where there is too little: pass down to the 5th percentile of random groups of real cases
or a tenth below their median, whichever is lower; fail when more than twice as far below.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from synth.brats import MODALITIES
from synth.layout.space import box_of
from synth.lineage import patient_of
from synth.quality.distances import effective_number, squared_distances
from synth.quality.neighbours import LEVELS, feature_distances, neighbours
from synth.quality.records import Record, stack
from synth.quality.similarity import MS_WINDOW, ms_scales, ms_ssim
from synth.quality.thumbnail import HIGH, LOW, decoded
from synth.report.feature_space import scaled
from synth.report.judge import FAIL_AT, LEAST, SPLITS, Check, Verdict, Yardstick, not_judged, number
from synth.report.nearest import COPY, TITLES
from synth.report.sets import Sets

MOST_PAIRS = 30  # for MS-SSIM: 0.1 s each at most; the mean of so many is sure to 0.01
QUERIES = 200  # cases whose images are compared with the rest of their set: 0.1 s each and more
SCREEN = 5 * COPY["features"]  # copies are below 0.02, noisy, shifted and mirrored ones too; two patients above 0.43
SHORTFALL = 0.1  # of real variety; less than this nobody could care about
SHOWN = ("t1ce", "flair")  # modalities for MS-SSIM: what makes a tumour; all four cost twice the time
REPEATED = 0.05  # share of samples that may have a twin before it is a failure and not a warning


@dataclass(frozen=True)
class PairValues:
    """A number for pairs of a set's cases.

    Attributes:
        values: (p,) how unlike the two are, 0 for copies.
        pairs: (p, 2) which cases.
        cases: how many cases the set has.
    """

    values: np.ndarray
    pairs: np.ndarray
    cases: int

    def mean(self, chosen: np.ndarray | None = None) -> float:
        """Mean over all pairs, or over those between chosen cases (n,) bool; NaN where there is none."""
        kept = self.values if chosen is None else self.values[chosen[self.pairs].all(1)]
        return float(kept.mean()) if kept.size else float("nan")


def repeats(sets: Sets, synthetic: Sequence[Record], real: Sequence[Record]) -> list[Check]:
    """Whether samples are copies of one another, at the levels that were measured."""
    checks, every = [], (*synthetic, *real)
    apart = None
    if len(synthetic) > 1 and real and all(record.has("embedding") for record in every):
        ours, theirs = (stack(records, "embedding", "pooled") for records in (synthetic, real))
        apart = feature_distances(ours, ours, theirs)
        np.fill_diagonal(apart, np.inf)
    near = {
        "image": _image_twins(synthetic, apart, sets.seed) if all(r.has("thumbnail") for r in every) else None,
        "features": None if apart is None else apart <= COPY["features"],
    }
    for level, found in near.items():
        id, title = f"diversity.repeats.{level}", f"samples that have a twin in the set, {TITLES[level]}"
        if found is None or len(synthetic) < 2:
            checks.append(not_judged(id, "Repeats", title, "fewer than 2 samples, or it was not measured."))
        else:
            checks.append(_repeats_check(id, title, synthetic, found, COPY[level]))
    return checks


def _image_twins(synthetic: Sequence[Record], apart: np.ndarray | None, seed: int) -> np.ndarray:
    """(n, n) bool: which samples' images are copies, mirrored and shifted ones too.

    Only samples that are near another one in features are looked at, where these are known (`SCREEN`), and at most
    `QUERIES`, drawn with the seed.
    """
    level = next(one for one in LEVELS if one.name == "image")
    close = np.arange(len(synthetic)) if apart is None else np.flatnonzero((apart <= SCREEN).any(0))
    chosen = np.sort(np.random.default_rng(seed).permutation(close)[:QUERIES])
    near = np.zeros((len(synthetic),) * 2, bool)
    if len(chosen) < 2:
        return near
    cases = [synthetic[i] for i in chosen]
    (found,) = neighbours(cases, [cases], level, skip=lambda a, b: a is b)
    near[np.ix_(chosen, chosen)] = found.distances <= COPY["image"]
    twins = np.flatnonzero(found.nearest <= COPY["image"])
    near[chosen[twins], chosen[found.index[twins]]] = True
    return near


def _repeats_check(id: str, title: str, synthetic: Sequence[Record], near: np.ndarray, limit: float) -> Check:
    near = near | near.T
    twins, count = np.flatnonzero(near.any(0)), len(near)
    share = len(twins) / count
    groups, group_of = connected_components(csr_matrix(near), directed=False)
    if not len(twins):
        verdict, reason = Verdict.PASS, f"No two of {count} samples are copies (closer than {number(limit)})."
    else:
        verdict = Verdict.LOOK if share <= REPEATED else Verdict.FAIL
        first = synthetic[twins[0]].id
        other = synthetic[int(np.flatnonzero(near[twins[0]])[0])].id
        most = int(np.bincount(group_of).max())
        reason = (
            f"{len(twins)} of {count} samples are copies of another one ({first} and {other}, for example): {groups} "
            f"different samples in all, one of them {most} times."
        )
    cases = tuple(synthetic[i].id for i in twins)
    return Check(id, "Repeats", title, 100 * share, "%", verdict, reason, None, None, {"synthetic": count}, cases)


def image_pairs(synthetic: Sequence[Record], real: Sequence[Record], seed: int) -> tuple[PairValues, PairValues]:
    """1 - MS-SSIM of pairs of thumbnails, mean of `SHOWN`, in the union of two brains; pairs drawn with the seed."""
    if not all(record.has("thumbnail") for record in (*synthetic, *real)):
        return _none(synthetic), _none(real)
    return _unlike(synthetic, seed), _unlike(real, seed)


def _unlike(records: Sequence[Record], seed: int) -> PairValues:
    rng, wanted, found = np.random.default_rng(seed), [MODALITIES.index(name) for name in SHOWN], []
    pairs = _drawn_pairs([patient_of(record.id) for record in records], rng)
    for a, b in pairs:
        images = [records[i]("thumbnail", "image")[wanted] for i in (a, b)]
        brain = (records[a]("thumbnail", "brain") > 0) | (records[b]("thumbnail", "brain") > 0)
        box = _window(brain)
        if not ms_scales(brain[box].shape):
            return _none(records)
        alike = [
            ms_ssim(decoded(x[box]), decoded(y[box]), brain[box], HIGH - LOW) for x, y in zip(*images, strict=True)
        ]
        found.append(1 - np.mean(alike))
    return PairValues(np.array(found), pairs, len(records))


def _window(brain: np.ndarray) -> tuple[slice, ...]:
    """A box around two brains with room for as many scales as the grid has: half the voxels, half the time."""
    side = (MS_WINDOW - 1) * 2 ** max(ms_scales(brain.shape) - 1, 0) + 1
    box = []
    for part, size in zip(box_of(brain) or (slice(0, n) for n in brain.shape), brain.shape, strict=True):
        first = max(min(part.start, size - side), 0)
        box.append(slice(first, max(part.stop, min(first + side, size))))
    return tuple(box)


def _drawn_pairs(patients: Sequence[str], rng: np.random.Generator) -> np.ndarray:
    """(p, 2) at most `MOST_PAIRS` different pairs of cases of different patients."""
    count, found = len(patients), {}
    if count < 2:
        return np.empty((0, 2), int)
    for _ in range(20 * MOST_PAIRS):
        a, b = sorted(int(i) for i in rng.choice(count, 2, replace=False))
        if patients[a] != patients[b]:
            found[a, b] = True
        if len(found) >= min(MOST_PAIRS, count * (count - 1) // 2):
            break
    return np.array(sorted(found), int).reshape(-1, 2)


def feature_pairs(synthetic: Sequence[Record], real: Sequence[Record], seed: int) -> tuple[PairValues, PairValues]:
    """Distance of all pairs in the segmenter's features, root mean square over these, in real standard deviations."""
    if not synthetic or len(real) < LEAST or not all(record.has("embedding") for record in (*synthetic, *real)):
        return _none(synthetic), _none(real)
    sides = []
    for rows in scaled(synthetic, real, "pooled"):
        a, b = np.triu_indices(len(rows), 1)
        distances = np.sqrt(squared_distances(rows, rows) / rows.shape[1])
        sides.append(PairValues(distances[a, b], np.stack([a, b], 1), len(rows)))
    return sides[0], sides[1]


def variety_check(id: str, title: str, ours: PairValues, theirs: PairValues, seed: int) -> Check:
    """The mean over pairs of samples, beside that in random groups of at most as many real cases, half of all."""
    if not ours.values.size or theirs.cases < 2 * LEAST or not theirs.values.size:
        return not_judged(id, "Variety", title, "too few cases, or it was not measured.")
    rng = np.random.default_rng(seed)
    size = min(theirs.cases // 2, ours.cases)  # the mean of few cases wavers more
    groups = [rng.permutation(theirs.cases) < size for _ in range(SPLITS)]
    among = np.array([theirs.mean(group) for group in groups])
    among = among[np.isfinite(among)]
    if not among.size:
        return not_judged(id, "Variety", title, "too few real cases.")
    n = {"synthetic": ours.cases, "real": theirs.cases}
    return _lack(id, title, "", ours.mean(), among, n)


def number_check(synthetic: Sequence[Record], real: Sequence[Record], seed: int) -> Check:
    """The Vendi score in the segmenter's features, of as many samples as half the real set has cases."""
    id, title = "diversity.variety.number", "how many different cases a group of samples amounts to (Vendi score)"
    size = min(len(real) // 2, len(synthetic))
    if size < LEAST or not all(record.has("embedding") for record in (*synthetic, *real)):
        return not_judged(id, "Variety", title, "too few cases, or the embedding was not measured.")
    ours, theirs = scaled(synthetic, real, "pooled")
    width = float(np.sqrt(np.median(squared_distances(theirs, theirs)[np.triu_indices(len(theirs), 1)]))) / 2
    if not width:
        return not_judged(id, "Variety", title, "all real cases are alike.")
    rng, score = np.random.default_rng(seed), lambda rows: effective_number(rows, width)
    among = np.array(_drawn(theirs, size, score, rng))
    value = float(np.median(_drawn(ours, size, score, rng)))
    return _lack(id, title, f"of {size}", value, among, {"synthetic": size, "real": size})


def _drawn(rows: np.ndarray, size: int, score: Callable[[np.ndarray], float], rng: np.random.Generator) -> list[float]:
    return [score(rows[rng.permutation(len(rows))[:size]]) for _ in range(SPLITS)]


def _lack(id: str, title: str, unit: str, value: float, among: np.ndarray, n: dict[str, int]) -> Check:
    """Too little is a fault, more than real is none."""
    low, median, high = (float(v) for v in np.percentile(among, (5, 50, 95)))
    yardstick = Yardstick(median, low, high, "random groups of real cases")
    short, allowed = 1 - value / median, max(1 - low / median, SHORTFALL)
    said = f"{number(value)} where real cases have {number(median)} (5 %: {number(low)})"
    if short <= allowed:
        verdict, reason = Verdict.PASS, f"{said}."
    else:
        verdict = Verdict.LOOK if short <= FAIL_AT * allowed else Verdict.FAIL
        reason = f"{said}: {short:.0%} less variety than real patients have; {allowed:.0%} would be chance."
    return Check(id, "Variety", title, value, unit, verdict, reason, yardstick, None, n)


def _none(records: Sequence[Record]) -> PairValues:
    return PairValues(np.empty(0), np.empty((0, 2), int), len(records))
