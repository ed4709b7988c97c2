"""What sections are made from: the sets, what was measured on them, and how the report is to be made."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from synth.report.core.config import ReportConfig
from synth.report.core.measuring import Measured
from synth.report.core.sets import Sets
from synth.report.sources import CaseSet

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
