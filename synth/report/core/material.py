"""What sections are made from: the sets, what was measured on them, and how the report is to be made."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from synth.datasets.sets import CaseSet
from synth.report.core.config import ReportConfig
from synth.report.core.measuring import Measured
from synth.report.core.sets import Sets

Progress = Callable[[str], Callable[[Iterable], Iterable]]  # gives for a description what wraps an iterable (`tqdm`)


@dataclass(frozen=True)
class Material:
    """All that sections are made from.

    Attributes:
        sets: the sides of the comparison.
        ours: the synthetic set, measured.
        theirs: the real one, hold-out cases included.
        painted: where `ours` lies.
        scans: where `theirs` lie.
        card: of the segmenter.
        utility: result of `synth utility`, or None.
        plot: its PNG, or None.
        config: of the report.
        progress: gives for a description a function that wraps an iterable.
    """

    sets: Sets
    ours: Measured
    theirs: Measured
    painted: CaseSet
    scans: CaseSet
    card: dict
    utility: dict | None
    plot: bytes | None
    config: ReportConfig
    progress: Progress


def records_of_members(cases: CaseSet) -> dict[str, dict] | None:
    """What a set's manifest says of the cases that are compared; None where it has none."""
    records = cases.records
    return None if records is None else {name: records[name] for name in cases.ids if name in records}
