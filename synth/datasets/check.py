"""A whole set inspected: what it holds, and everything that is wrong with it."""

from collections.abc import Callable, Iterable
from functools import reduce
from pathlib import Path

import numpy as np

from synth.brats import Tumour
from synth.case import Case
from synth.datasets.findings import CaseSummary, DatasetReport, Findings
from synth.datasets.fingerprint import fingerprint
from synth.datasets.inspection import Inspection
from synth.datasets.members import Grid, Member
from synth.datasets.sets import CaseSet, open_set
from synth.errors import SynthError, printable


def check_dataset(
    path: str | Path | CaseSet,
    *,
    labels: str = "required",
    grid: Grid | None = None,
    progress: Callable[[Iterable], Iterable] = iter,
) -> DatasetReport:
    """Read every case of a set and report all that is wrong with any of them.

    Args:
        path: what `open_set` takes, but for layouts.
        labels: as for `sets.Member.read`.
        grid: likewise.
        progress: wraps the cases while they are read; `tqdm.tqdm` fits.

    Raises:
        DataError: there is nothing, or no case at all.
    """
    cases = open_set(path, scans=True, strict=False)
    summaries, findings = [], list(cases.findings)
    inspection = Inspection(cases.path, cases.reading)
    for member in progress(cases.members):
        case, problems = member.examine(labels, grid)
        findings += problems
        summaries.append(_summary(member, case))
        findings += _lineage(cases, member)
        if case is not None:
            inspection.see(member.id, case.labels, case.images, fingerprint(case.images))
    findings += inspection.findings()
    return DatasetReport(printable(path), tuple(summaries), tuple(findings))


def _lineage(cases: CaseSet, member: Member) -> Findings:
    """What is wrong with the manifest beside a case of ours: other commands ask it whose anatomy is in the case."""
    notes = Findings(member.id, "files")
    try:
        cases.record(member)
    except SynthError as error:
        file, _, sentence = str(error).partition(": ")
        notes.error(file, sentence)
    return notes


def _summary(member: Member, case: Case | None) -> CaseSummary:
    """Names, and volumes where the case could be read."""
    brain_ml = tumour_ml = None
    if case is not None:
        voxel = case.voxel_ml
        filled = (case.images[..., m] != 0 for m in range(case.images.shape[-1]))  # one by one: 4 times faster
        brain_ml = round(float(np.count_nonzero(reduce(np.logical_or, filled)) * voxel), 3)
        if case.labels is not None:
            counts = {tumour: np.count_nonzero(case.labels == tumour) for tumour in Tumour if tumour}
            tumour_ml = {tumour.name: round(float(n * voxel), 3) for tumour, n in counts.items()}
            tumour_ml["WT"] = round(float(sum(counts.values()) * voxel), 3)
    try:
        naming, labelled = member.naming.name, member.labelled
    except SynthError:  # a case that cannot even be looked into is a finding already
        naming, labelled = "", False
    return CaseSummary(printable(member.id), printable(member.path), naming, labelled, brain_ml, tumour_ml)
