"""Facts of a report and how they are judged: a number, its real-versus-real yardstick, a verdict and the reason.

The yardstick of a distance is the same distance between two random halves of the real set, with as many cases on
either side as the synthetic set is compared with: what real scans differ by among themselves. A distance passes up to
the yardstick's 95th percentile (or the measure's tolerance, below which nobody could care), is to be looked at up to
twice that, and fails beyond. No grand score is formed: a section is as good as its worst check.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum
from functools import cached_property

import numpy as np

SPLITS = 200  # random halves: the 95th percentile of the yardstick then wavers by a few percent
LEAST = 2  # cases on a side; fewer than this and there is nothing to compare
FAIL_AT = 2.0  # times what passes
SMALL = 10  # cases on a side below which a report says that samples are small


class Verdict(str, Enum):
    """What a check says, from good to bad; `NONE` where it could not be judged."""

    NONE = "not judged"
    PASS = "pass"
    LOOK = "look"
    FAIL = "fail"


ORDER = tuple(Verdict)


@dataclass(frozen=True)
class Yardstick:
    """The same number among real scans alone: median, 5th and 95th percentile, and what was compared."""

    median: float
    low: float
    high: float
    what: str = "two random halves of the real cases"


@dataclass(frozen=True)
class Check:
    """One number of a report.

    Attributes:
        id: dotted, stable between versions: "fidelity.intensity.t1.WM".
        group: heading within the section.
        title: what was measured, in words.
        value: None where there is none.
        unit: of the value; empty for a pure number.
        verdict: what it means.
        reason: one sentence, with the numbers it rests on.
        yardstick: what real scans give; None for rules that hold or not.
        interval: 95 % interval of the value where it has one.
        n: how many cases on each side, by name.
        cases: ids that the reader should look at.
    """

    id: str
    group: str
    title: str
    value: float | None
    unit: str
    verdict: Verdict
    reason: str
    yardstick: Yardstick | None = None
    interval: tuple[float, float] | None = None
    n: dict[str, int] = field(default_factory=dict)
    cases: tuple[str, ...] = ()

    def to_dict(self) -> dict:
        """JSON-able."""
        out = {**asdict(self), "verdict": self.verdict.value, "value": finite(self.value)}
        if self.interval is not None and not np.isfinite(self.interval).all():
            out["interval"] = None
        if self.yardstick is not None:
            out["yardstick"] |= {name: finite(out["yardstick"][name]) for name in ("median", "low", "high")}
        return out


@dataclass(frozen=True)
class Figure:
    """A picture of a section, drawn when it is asked for.

    Attributes:
        id: unique in a report.
        title: as the page shows it.
        caption: says what to see in it.
        draw: gives the bytes of a PNG or SVG.
        scans: whether slices of scans are in it; a chart has none.
        kind: "png" or "svg".
    """

    id: str
    title: str
    caption: str
    draw: Callable[[], bytes]
    scans: bool = False
    kind: str = "png"

    @cached_property
    def data(self) -> bytes:
        """What `draw` gives, drawn once."""
        return self.draw()


@dataclass(frozen=True)
class Table:
    """Rows of text and numbers below a section's checks."""

    id: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple, ...]
    caption: str = ""


@dataclass(frozen=True)
class Section:
    """One question of a report: its checks, figures, tables, and what a reader must know about them.

    Attributes:
        id: the name of its folder, such as "validity"; ids of its checks begin with it.
        title: as the page shows it.
        question: what the section answers, one sentence.
        checks: the numbers. A section without any does not apply to the sets: a report leaves it out.
        figures: pictures.
        tables: further numbers.
        notes: sentences: how it was measured, small samples, what was left out.
    """

    id: str
    title: str
    question: str
    checks: tuple[Check, ...] = ()
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The worst of its checks."""
        return worst(check.verdict for check in self.checks)

    @property
    def counts(self) -> dict[Verdict, int]:
        """How many checks have each verdict."""
        return {verdict: sum(check.verdict == verdict for check in self.checks) for verdict in ORDER}

    def to_dict(self) -> dict:
        """JSON-able; figures are on the page only."""
        return {
            "id": self.id,
            "title": self.title,
            "question": self.question,
            "verdict": self.verdict.value,
            "counts": {verdict.value: count for verdict, count in self.counts.items()},
            "checks": [check.to_dict() for check in self.checks],
            "tables": [asdict(table) for table in self.tables],
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class Comparison:
    """A distance of the synthetic to the real set, its yardstick, and how many cases stood on either side."""

    value: float
    yardstick: Yardstick
    size: int


def worst(verdicts) -> Verdict:
    """The worst of several; `NONE` of none."""
    return max(verdicts, key=ORDER.index, default=Verdict.NONE)


def told(counts: Mapping[Verdict, int]) -> str:
    """Counts of verdicts in words, the worst first: "1 fail, 3 pass"; empty where there is none."""
    return ", ".join(f"{counts[verdict]} {verdict.value}" for verdict in reversed(ORDER) if counts[verdict])


def compare(
    synthetic: Sequence, real: Sequence, distance: Callable[[np.ndarray, np.ndarray], float], seed: int = 0
) -> Comparison | None:
    """A distance between sets of equal size, beside that of two random halves of the real set.

    Both are medians over `SPLITS` random draws: of two disjoint groups of real cases, and of one of these groups and
    as many synthetic cases. So a distance that grows as samples shrink grows alike in both.

    Args:
        synthetic: (n, ...) one entry per synthetic case.
        real: (m, ...) one entry per real case.
        distance: of two arrays (k, ...), 0 or more.
        seed: of the draws.

    Returns:
        None where there are fewer than `LEAST` cases for a side.
    """
    synthetic, real = np.asarray(synthetic), np.asarray(real)
    size = min(len(real) // 2, len(synthetic))
    if size < LEAST:
        return None
    rng, between, within = np.random.default_rng(seed), [], []
    for _ in range(SPLITS):
        order = rng.permutation(len(real))
        half = real[order[:size]]
        within.append(distance(real[order[size : 2 * size]], half))
        between.append(distance(synthetic[rng.permutation(len(synthetic))[:size]], half))
    low, median, high = np.percentile(within, (5, 50, 95))
    return Comparison(float(np.median(between)), Yardstick(float(median), float(low), float(high)), size)


def judge(comparison: Comparison | None, tolerance: float) -> tuple[Verdict, str]:
    """Verdict and reason of a distance, by the rule at the head of this module.

    Args:
        comparison: from `compare`.
        tolerance: in the measure's unit; what is below passes whatever the yardstick says.
    """
    if comparison is None:
        return Verdict.NONE, f"fewer than {2 * LEAST} real or {LEAST} synthetic cases have it: nothing to compare."
    limit = max(comparison.yardstick.high, tolerance)
    said = (
        f"{number(comparison.value)} where two real halves differ by {number(comparison.yardstick.median)}"
        f" (95 %: {number(comparison.yardstick.high)})"
    )
    if comparison.value <= limit:
        return Verdict.PASS, f"{said}."
    times = comparison.value / limit if limit else np.inf
    if times <= FAIL_AT:
        return Verdict.LOOK, f"{said}: {times:.1f} times what real scans allow."
    return Verdict.FAIL, f"{said}: {times:.1f} times what real scans allow, more than {FAIL_AT:g}."


def distance_check(
    id: str,
    group: str,
    title: str,
    unit: str,
    comparison: Comparison | None,
    tolerance: float,
    cases: tuple[str, ...] = (),
) -> Check:
    """A distance as a check, judged."""
    verdict, reason = judge(comparison, tolerance)
    if comparison is None:
        return Check(id, group, title, None, unit, verdict, reason, cases=cases)
    n = {"synthetic": comparison.size, "real": comparison.size}
    return Check(id, group, title, comparison.value, unit, verdict, reason, comparison.yardstick, None, n, cases)


def not_judged(id: str, group: str, title: str, reason: str) -> Check:
    """A check that could not be made, with the reason."""
    return Check(id, group, title, None, "", Verdict.NONE, reason)


def no_cases(id: str, title: str, question: str) -> Section:
    """A section in which nothing can be judged, as no synthetic case can be used."""
    check = not_judged(f"{id}.cases", "Cases", "usable synthetic cases", "no synthetic case can be used: see Validity.")
    return Section(id, title, question, (check,))


def small_note(synthetic: int, real: int) -> str | None:
    """The sentence that says that samples are small, where they are."""
    least = min(synthetic, real // 2)
    if least >= SMALL:
        return None
    return (
        f"Small samples: groups of {least} are compared ({synthetic} synthetic, {real} real cases); only gross "
        "differences can be seen, and a pass says little."
    )


def number(value: float) -> str:
    """A number as a reason tells it."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def finite(value: float | None) -> float | None:
    """The value, or None where JSON has no word for it."""
    return None if value is None or not np.isfinite(value) else float(value)
