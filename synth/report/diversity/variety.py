"""How much the cases of a set differ from one another, beside real patients; and whether some are there twice.

A check of variety fails where there is too little: pass down to the 5th percentile of random groups of real cases
or a tenth below their median, whichever is lower; fail when more than twice as far below.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.fft import fft, rfft
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from synth.brats import MODALITIES
from synth.errors import printable
from synth.layout.space import box_of
from synth.lineage import patient_of
from synth.quality.distances import effective_number, squared_distances
from synth.quality.neighbours import FEATURE_CASES, LEVELS, feature_distances, neighbours
from synth.quality.records import Record, all_have, stack
from synth.quality.similarity import MS_WINDOW, ms_scales, ms_ssim
from synth.quality.thumbnail import HIGH, LOW, decoded
from synth.report.core.feature_space import scaled
from synth.report.core.judge import FAIL_AT, LEAST, SPLITS, Check, Verdict, Yardstick, not_judged, number
from synth.report.core.nearest import COPY, TITLES, ancestors_of, kept_brain
from synth.report.core.sets import Sets

MOST_PAIRS = 30  # for MS-SSIM: 0.1 s each at most; the mean of so many is sure to 0.01
QUERIES = 200  # samples whose images are compared at all shifts: 0.1 s each and more
SCREEN = 5 * COPY["features"]  # copies are below 0.02, noisy and shifted ones too; two patients above 0.43
# Between fingerprints of images. Measured on 16 patients and 50 samples: copies that were mirrored or shifted by 9 mm
# 0.00, given noise 0.004, blurred 0.02, given a gamma of 1.5 0.04; two patients at least 0.7, two samples 0.4.
PRINT = 0.25
SAME = 1e-4  # between fingerprints: a copy without noise; nothing else comes so near
WAVES = 6  # harmonics of the thumbnail's grid along an axis, down to waves of 40 mm
BLOCK = 512  # samples that are compared with all others at a time
NONE_AT_ALL = 1e-6  # variety of copies, but for rounding
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


@dataclass(frozen=True)
class _Screened:
    """All samples compared with all others: which are copies, and how far each is from the nearest one.

    Attributes:
        near: (n, n) bool.
        nearest: (n,) infinite where there is no other.
    """

    near: np.ndarray
    nearest: np.ndarray

    @classmethod
    def by(cls, count: int, distances: Callable[[slice], np.ndarray], limit: float) -> "_Screened":
        """From a function that gives the distances of some samples from all, (rows, n)."""
        near, nearest = np.zeros((count, count), bool), np.full(count, np.inf)
        for first in range(0, count, BLOCK):
            rows = slice(first, min(first + BLOCK, count))
            apart = distances(rows)
            apart[np.arange(len(apart)), np.arange(count)[rows]] = np.inf
            near[rows], nearest[rows] = apart <= limit, apart.min(1)
        return cls(near, nearest)


def repeats(sets: Sets, synthetic: Sequence[Record], real: Sequence[Record]) -> list[Check]:
    """Whether samples are copies of one another, at the levels that were measured; all samples are looked at.

    Args:
        sets: gives the seed.
        synthetic: all samples.
        real: cases that tell how much patients differ; a drawn part of them will do.
    """
    every, count = (*synthetic, *real), len(synthetic)
    features = None
    if count > 1 and len(real) >= FEATURE_CASES and all_have(every, "embedding"):
        ours, theirs = (stack(records, "embedding", "pooled") for records in (synthetic, real))
        features = _Screened.by(count, lambda rows: feature_distances(ours[rows], ours, theirs), COPY["features"])
    few = f"fewer than {FEATURE_CASES} real cases, whose features tell how far apart samples are."
    checks = []
    for level in ("image", "features"):
        id, title = f"diversity.repeats.{level}", f"samples that have a twin in the set, {TITLES[level]}"
        if count > 1 and level == "image" and all_have(every, "thumbnail"):
            near, how = _image_twins(synthetic, real, features)
            checks.append(_repeats_check(id, title, sets, synthetic, near, how, COPY[level]))
        elif features is not None and level == "features":
            checks.append(_repeats_check(id, title, sets, synthetic, features.near, "all were compared", COPY[level]))
        else:
            why = few if level == "features" and len(real) < FEATURE_CASES else None
            checks.append(not_judged(id, "Repeats", title, why or "fewer than 2 samples, or it was not measured."))
    return checks


def _image_twins(
    synthetic: Sequence[Record], real: Sequence[Record], features: _Screened | None
) -> tuple[np.ndarray, str]:
    """(n, n) bool: which samples' images are copies, mirrored and shifted ones too; and how they were looked for.

    All samples are screened by a fingerprint of the image, and by features where these are known. Samples that come
    near another one are compared at all shifts: at most `QUERIES`, the nearest first.
    """
    prints = _fingerprints(synthetic, real)
    screened = _Screened.by(len(synthetic), lambda rows: 1 - prints[rows] @ prints.T, SAME)
    near, nearest = screened.near, screened.nearest / PRINT
    if features is not None:
        nearest = np.minimum(nearest, features.nearest / SCREEN)
    close = np.flatnonzero((nearest <= 1) & ~near.any(0))  # the others' twins are known
    chosen = np.sort(close[np.argsort(nearest[close], kind="stable")[:QUERIES]])
    by = "a fingerprint of the image" + (" and by features" if features is not None else "")
    said = f"all were screened by {by}"
    if len(chosen):
        said += f", {len(chosen)} that come near another one were compared at all shifts"
    if len(chosen) < len(close):
        said += f", {len(close) - len(chosen)} more that come less near were not"
    if len(chosen):
        cases = [synthetic[i] for i in chosen]
        partners = np.flatnonzero(nearest <= 1)
        level = next(level for level in LEVELS if level.name == "image")
        others = [synthetic[i] for i in partners]
        (compared,) = neighbours(cases, [others], level, skip=lambda a, b: a is b)
        near[np.ix_(chosen, partners)] |= compared.distances <= COPY["image"]
        twins = np.flatnonzero(compared.nearest <= COPY["image"])
        near[chosen[twins], partners[compared.index[twins]]] = True
    return near, said


def _fingerprints(synthetic: Sequence[Record], real: Sequence[Record]) -> np.ndarray:
    """(n, d) float32 of length 1: what sets a sample apart, whatever the shift and the mirror; products are alikeness.

    Roots of the strengths of the image's long waves, which no shift changes, the mean of the brain and its mirror, less
    what the two sets have in common; without real cases nothing is taken away, and all samples come near each other.
    """
    ours, theirs = ([_waves(decoded(record("thumbnail", "image"))) for record in side] for side in (synthetic, real))
    apart = np.stack(ours)
    if theirs:
        apart = apart - (apart.mean(0) + np.mean(theirs, 0)) / 2
    return apart / np.maximum(np.linalg.norm(apart, axis=1, keepdims=True), 1e-12)


def _waves(image: np.ndarray) -> np.ndarray:
    """(d,) float32 roots of the amplitudes of a (channels, x, y, z) image's long waves, in any direction."""
    around = np.r_[0:WAVES, 1 - WAVES : 0]
    waves = rfft(image, axis=3)[..., :WAVES]  # an axis at a time: what is not wanted is not transformed
    waves = fft(waves, axis=2)[:, :, around]
    strength = np.abs(fft(waves, axis=1)[:, around])
    mirrored = strength[:, np.r_[0, -1 : -len(around) : -1]]
    return np.sqrt(strength + mirrored).ravel()


def _repeats_check(
    id: str, title: str, sets: Sets, synthetic: Sequence[Record], near: np.ndarray, how: str, limit: float
) -> Check:
    near = near | near.T
    twins, count = np.flatnonzero(near.any(0)), len(near)
    share = len(twins) / count
    groups, group_of = connected_components(csr_matrix(near), directed=False)
    if not len(twins):
        verdict = Verdict.PASS
        reason = f"No two of {count} samples are copies (closer than {number(limit)}): {how}."
    else:
        kept = [kept_brain(sets, record) for record in synthetic]
        designed = all(kept[a] & kept[b] for a, b in np.argwhere(near))
        verdict = Verdict.LOOK if share <= REPEATED or designed else Verdict.FAIL
        first, other = synthetic[twins[0]], synthetic[int(np.flatnonzero(near[twins[0]])[0])]
        shared = sorted(ancestors_of(sets, first) & ancestors_of(sets, other))
        both = f"{printable(first.id)} and {printable(other.id)}"
        both += f", both from {' and '.join(map(printable, shared))}" if shared else ", for example"
        most = int(np.bincount(group_of).max())
        reason = (
            f"{len(twins)} of {count} samples are copies of another one ({both}): {groups} "
            f"different samples in all, one of them {most} times; {how}."
        )
        if designed:
            reason += " They keep one brain by design (`--edits gentle`, or edits of the tumour alone)."
    cases = tuple(synthetic[i].id for i in twins)
    return Check(id, "Repeats", title, 100 * share, "%", verdict, reason, None, None, {"synthetic": count}, cases)


def image_pairs(synthetic: Sequence[Record], real: Sequence[Record], seed: int) -> tuple[PairValues, PairValues]:
    """1 - MS-SSIM of pairs of thumbnails, mean of `SHOWN`, in the union of two brains; pairs drawn with the seed."""
    if not all_have((*synthetic, *real), "thumbnail"):
        return _none(synthetic), _none(real)
    return _unlike(synthetic, seed), _unlike(real, seed)


def _unlike(records: Sequence[Record], seed: int) -> PairValues:
    rng, wanted, unlike = np.random.default_rng(seed), [MODALITIES.index(name) for name in SHOWN], []
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
        unlike.append(1 - np.mean(alike))
    return PairValues(np.array(unlike), pairs, len(records))


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
    count, pairs = len(patients), {}
    if count < 2:
        return np.empty((0, 2), int)
    for _ in range(20 * MOST_PAIRS):
        a, b = sorted(int(i) for i in rng.choice(count, 2, replace=False))
        if patients[a] != patients[b]:
            pairs[a, b] = True
        if len(pairs) >= min(MOST_PAIRS, count * (count - 1) // 2):
            break
    return np.array(sorted(pairs), int).reshape(-1, 2)


def feature_pairs(synthetic: Sequence[Record], real: Sequence[Record], seed: int) -> tuple[PairValues, PairValues]:
    """Distance of all pairs in the segmenter's features, root mean square over these, in real standard deviations."""
    if not synthetic or len(real) < LEAST or not all_have((*synthetic, *real), "embedding"):
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
    if size < LEAST or not all_have((*synthetic, *real), "embedding"):
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
    if not median > NONE_AT_ALL:
        return replace(not_judged(id, "Variety", title, "real cases are copies of one another: no yardstick."), n=n)
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
