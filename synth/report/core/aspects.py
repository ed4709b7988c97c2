"""Aspects of a set's look: numbers of every case that belong together, and how far two sets lie apart in them.

The distance of two sets in an aspect is the Wasserstein distance of order 1 of each of its numbers, in standard
deviations between real patients, averaged over the numbers. Two sets of equal size are compared, so that it is the
mean difference of the ordered values (Ramdas, Garcia and Cuturi 2017, doi:10.3390/e19020047, section 2.3).

A mean over many numbers hides a single one that is far off. So the number that is furthest off is judged as well, by
the median difference of its ordered values, which a few odd scans cannot move, beside that of the number furthest off
between two real halves. It decides only where it says more than the mean, and later: look beyond `FAIL_AT` times what
real scans allow, fail beyond `ALONE_AT` times. Measured on 60 random splits of 12 and 16 patients (6 and 6, 4 and 12,
8 and 8), 33 aspects each: the means alone give 2.6 looks and 0.05 failures a split; the single number adds 0.2 and
0.07, the failures all where 6 patients stand for real ones.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from synth.quality.records import Record, stack
from synth.report.core.judge import FAIL_AT, ORDER, Check, Verdict, compare, distance_check, not_judged, number

TOLERANCE = 0.3  # sd between patients: two such sets overlap by nine tenths (Cohen 1988 calls 0.2 small, 0.5 medium)
BEYOND = 5.0  # sd; a case further off counts as this far in a mean, so that one odd scan cannot decide for its set
ALONE = 0.5  # sd; the furthest of many numbers is allowed more than their mean (Cohen's medium)
ALONE_AT = 3.0  # times what passes: the furthest of many is further off by chance than their mean
UNIT = "sd between patients"
_MOST = 0.5  # of the cases of either set must have a number for it to take part
_NAMED = 2  # numbers and cases that a reason names


class Side:
    """One side of a comparison: arrays of all its cases, each read from the disk once."""

    def __init__(self, records: Sequence[Record]):
        self.ids = tuple(record.id for record in records)
        self._records, self._kept = records, {}

    def __len__(self) -> int:
        """How many cases."""
        return len(self.ids)

    def __call__(self, probe: str, name: str) -> np.ndarray:
        """(cases, ...) float64 of one array of a probe; not to be written into."""
        if (probe, name) not in self._kept:
            self._kept[probe, name] = stack(self._records, probe, name).astype(np.float64)
        return self._kept[probe, name]


@dataclass(frozen=True)
class Aspect:
    """Numbers of every case that are judged together.

    Attributes:
        id: of the check.
        group: its heading.
        title: what it measures.
        names: of the numbers, as a reason names them.
        read: (cases, numbers) float, NaN where a case lacks what is measured.
        least: the smallest standard deviation between patients, in the numbers' units, one for all or one for each: a
            difference is never divided by less, so that what hardly differs among a few real cases judges nothing.
        tolerance: in standard deviations between patients.
    """

    id: str
    group: str
    title: str
    names: tuple[str, ...]
    read: Callable[[Side], np.ndarray]
    least: float | tuple[float, ...]
    tolerance: float = TOLERANCE


@dataclass(frozen=True)
class Values:
    """What both sets have of an aspect.

    Attributes:
        names: of the numbers that most cases of both sets have.
        synthetic: (cases, numbers) without NaN, in standard deviations between patients about their mean.
        real: the same.
        ids: of the synthetic cases that have all of these numbers.
    """

    names: tuple[str, ...]
    synthetic: np.ndarray
    real: np.ndarray
    ids: tuple[str, ...]

    def clipped(self) -> "Values":
        """With no value more than `BEYOND` off."""
        sides = (side.clip(-BEYOND, BEYOND) for side in (self.synthetic, self.real))
        return Values(self.names, *sides, self.ids)


def ordered_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Wasserstein distance of order 1 of two samples (n, numbers) of one size, averaged over the numbers."""
    return float(np.abs(np.sort(a, 0) - np.sort(b, 0)).mean())


def furthest_distance(a: np.ndarray, b: np.ndarray) -> float:
    """The median difference of ordered values (n, numbers) of the number where it is largest."""
    return float(np.median(np.abs(np.sort(a, 0) - np.sort(b, 0)), 0).max())


def pooled_distance(a: np.ndarray, b: np.ndarray) -> float:
    """The same of all values of (n, k) pooled: of two mixtures in which every case counts alike."""
    return float(np.abs(np.sort(a, None) - np.sort(b, None)).mean())


def values_of(aspect: Aspect, synthetic: Side, real: Side) -> Values:
    """Read an aspect of both sets, leave out what most cases of one lack, and scale it by the real patients."""
    ours, theirs = aspect.read(synthetic), aspect.read(real)
    shared = np.minimum(np.isfinite(ours).mean(0), np.isfinite(theirs).mean(0)) > _MOST
    ours, theirs = ours[:, shared], theirs[:, shared]
    whole = np.isfinite(ours).all(1)
    ids = tuple(name for name, has in zip(synthetic.ids, whole, strict=True) if has)
    ours, theirs = ours[whole], theirs[np.isfinite(theirs).all(1)]
    if len(theirs):
        least = np.broadcast_to(aspect.least, shared.shape)[shared]
        centre, scale = theirs.mean(0), np.maximum(theirs.std(0), least)
        ours, theirs = ((side - centre) / scale for side in (ours, theirs))
    names = np.array(aspect.names, object)
    return Values(tuple(names[shared]), ours, theirs, ids)


def aspect_check(aspect: Aspect, synthetic: Side, real: Side, seed: int) -> Check:
    """An aspect judged; where it does not pass, the reason names the numbers that are furthest off, and cases."""
    values = values_of(aspect, synthetic, real)
    if not values.names:
        return not_judged(aspect.id, aspect.group, aspect.title, "most cases of one set have none of it.")
    clipped = values.clipped()
    comparison = compare(clipped.synthetic, clipped.real, ordered_distance, seed)
    check = distance_check(aspect.id, aspect.group, aspect.title, UNIT, comparison, aspect.tolerance)
    alone = _alone(aspect, values, seed)
    if alone is not None and ORDER.index(alone.verdict) > ORDER.index(check.verdict):
        check = alone
    if check.verdict not in (Verdict.LOOK, Verdict.FAIL):
        return check
    return replace(check, reason=f"{check.reason[:-1]}; {furthest(clipped)}.", cases=outermost(clipped))


def _alone(aspect: Aspect, values: Values, seed: int) -> Check | None:
    """The number that is furthest off as a check; None where nothing is to be said of it."""
    comparison = compare(values.synthetic, values.real, furthest_distance, seed) if len(values.names) > 1 else None
    if comparison is None:
        return None
    yardstick = comparison.yardstick
    limit = max(yardstick.high, ALONE, aspect.tolerance)
    times = comparison.value / limit
    if times <= FAIL_AT:
        return None
    verdict, at = (Verdict.LOOK, FAIL_AT) if times <= ALONE_AT else (Verdict.FAIL, ALONE_AT)
    reason = (
        f"a single one of {len(values.names)} numbers is {number(comparison.value)} off in half the samples or more, "
        f"where that of two real halves is {number(yardstick.median)} (95 %: {number(yardstick.high)}): "
        f"{times:.1f} times what real scans allow, more than {at:g}."
    )
    n = {"synthetic": comparison.size, "real": comparison.size}
    title = f"{aspect.title}; the number furthest off"
    return Check(aspect.id, aspect.group, title, comparison.value, UNIT, verdict, reason, yardstick, None, n)


def furthest(values: Values) -> str:
    """The numbers whose distributions differ most, and where the synthetic ones lie."""
    levels = (np.arange(20) + 0.5) / 20
    ours, theirs = np.quantile(values.synthetic, levels, 0), np.quantile(values.real, levels, 0)
    apart, shift = np.abs(ours - theirs).mean(0), (ours - theirs).mean(0)
    said = []
    for k in np.argsort(-apart)[:_NAMED]:
        spread = ours[:, k].std() / max(theirs[:, k].std(), 1e-9)
        how = "higher" if shift[k] > 0 else "lower"
        if abs(shift[k]) < 0.5 * apart[k]:
            how = "varies more" if spread > 1 else "varies less"
        said.append(f"{values.names[k]} ({how}, {apart[k]:.1f} sd)")
    return f"furthest off: {' and '.join(said)}"


def outermost(values: Values) -> tuple[str, ...]:
    """The synthetic cases that lie furthest from the middle of the real ones."""
    order = np.argsort(-np.abs(values.synthetic).mean(1))[:_NAMED]
    return tuple(values.ids[k] for k in order)
