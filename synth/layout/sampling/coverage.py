"""The coverage table of a plan: what was planned, what the same hosts and policy give without it, what was made."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from synth.errors import LayoutError
from synth.layout.facts import TumourFacts, describe
from synth.layout.plans.plan import Plan, cell_of, level_name
from synth.layout.sampling.sampler import LayoutSampler

SURVEYED = 40  # unplanned samples are enough to see what is rare; they cost as much as planned ones
OTHER = "other"  # none of the plan's levels


@dataclass(frozen=True)
class Coverage:
    """Counts for each level of each planned axis.

    Attributes:
        planned: axis -> level -> how many of these samples the plan asks for.
        made: the same, of the samples that are there.
        unplanned: the same, of the first samples of the same hosts, policy and seed without a plan.
        n: how many samples there are.
        surveyed: how many unplanned ones were looked at.
    """

    planned: dict[str, dict[str, int]]
    made: dict[str, dict[str, int]]
    unplanned: dict[str, dict[str, int]]
    n: int
    surveyed: int

    @property
    def met(self) -> bool:
        """Whether the samples are exactly those planned."""
        return self.made == self.planned

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able dict."""
        return dict(vars(self))

    def __add__(self, other: "Coverage") -> "Coverage":
        """Of the samples of both, parts of one run: the unplanned ones are the same."""
        planned, made = (
            {axis: dict(Counter(ours[axis]) + Counter(theirs[axis])) for axis in ours}
            for ours, theirs in ((self.planned, other.planned), (self.made, other.made))
        )
        return Coverage(planned, made, self.unplanned, self.n + other.n, self.surveyed)

    def table(self) -> str:
        """The table as text."""
        lines = [f"{'':14}{'':16}{'planned':>9}{'unplanned':>11}{'made':>7}"]
        for axis, levels in self.planned.items():
            rows = [*levels, *([OTHER] if self.unplanned[axis].get(OTHER) or self.made[axis].get(OTHER) else [])]
            for number, level in enumerate(rows):
                share = self.unplanned[axis].get(level, 0) / max(self.surveyed, 1)
                counts = (levels.get(level, 0), f"{share:.0%}", self.made[axis].get(level, 0))
                lines.append(f"{axis if not number else '':14}{level:16}{counts[0]:>9}{counts[1]:>11}{counts[2]:>7}")
        end = "as planned" if self.met else "NOT as planned"
        return "\n".join([*lines, f"{self.n} samples, {end}; unplanned: {self.surveyed} samples without the plan."])


def coverage(
    plan: Plan, seed: int, indices: Sequence[int], made: Iterable[Mapping[str, Any]], unplanned: Sequence[TumourFacts]
) -> Coverage:
    """The coverage of samples.

    Args:
        plan: what they were made by.
        seed: of the run.
        indices: which samples there should be.
        made: what each of those that are there is, as `Wish.to_dict` (the `plan` of a manifest's record).
        unplanned: tumours of unplanned samples (`survey`).
    """
    wishes = [plan.wish(seed, index).to_dict() for index in indices]
    cells = [_cell(plan, facts) for facts in unplanned]
    counted = [
        {axis: _counts(plan, axis, [_name(cell[axis], axis) for cell in group]) for axis in plan.axes}
        for group in (wishes, list(made), cells)
    ]
    return Coverage(*counted, n=len(indices), surveyed=len(cells))


def survey(sampler: LayoutSampler, n: int, progress: Callable = iter) -> list[TumourFacts]:
    """The tumours that a sampler's hosts and policy give without its plan: those of the first samples."""
    plain = LayoutSampler(sampler.hosts, sampler.policy, sampler.seed)
    tumours = []
    for index in progress(range(min(n, SURVEYED))):
        try:
            tumours.append(describe(plain.draw(index)[0]))
        except LayoutError:  # what cannot be sampled without the plan is not covered without it
            continue
    return tumours


def _cell(plan: Plan, facts: TumourFacts) -> dict[str, Any]:
    volume = facts.volume_ml["WT"]
    inside = [level for level in plan.levels("volume_ml") if level[0] <= volume < level[1]]
    return {**cell_of(facts), "volume_ml": inside[0] if inside else None}


def _name(level: Any, axis: str) -> str:
    return OTHER if level is None else level_name(level, axis)


def _counts(plan: Plan, axis: str, names: list[str]) -> dict[str, int]:
    """How often each of the plan's levels comes, in their order, then what is none of them."""
    counts, known = Counter(names), [level_name(level, axis) for level in plan.levels(axis)]
    out = {name: counts[name] for name in known}
    other = sum(counts.values()) - sum(out.values())
    return {**out, OTHER: other} if other else out
