"""Layouts and styles of a whole dataset, stored as small files."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from synth.case import Case
from synth.datasets.findings import folded_lines
from synth.datasets.fingerprint import fingerprint
from synth.datasets.inspection import Inspection
from synth.datasets.layout_files import (
    load_ancestors,
    load_tumour,
    load_warnings,
    map_path,
    save_layout,
    scan_path,
    style_path,
)
from synth.datasets.members import Member
from synth.datasets.sets import CaseSet, open_set
from synth.disk.claim import EXTRACT, claim
from synth.disk.json_files import read
from synth.errors import OutputError, SynthError
from synth.layout.detail import MAPS as DETAIL
from synth.layout.layout import Layout
from synth.layout.tissue import extract_layout
from synth.lineage import ancestors
from synth.style.shares import measure_detail
from synth.style.style import Style, measure_style

VERSION = "5"  # raise it when tissue, style or detail are measured differently: kept layouts are made anew


@dataclass(frozen=True)
class Extracted:
    """What became of one case: its folder, whether it was there already, or why it failed; what else is to be known."""

    id: str
    folder: Path
    kept: bool
    problem: str = ""
    warnings: tuple[str, ...] = ()


def layout_and_style(case: Case, *, detail: bool = False) -> tuple[Layout, Style]:
    """Layout (with detail if it is to be) and style found in a scan.

    Raises:
        LayoutError: as `layout.tissue.extract_layout`.
    """
    layout = extract_layout(case)
    style = measure_style(case, layout)
    if detail:
        found, style = measure_detail(case, layout, style)
        layout = replace(layout, detail=found)
    return layout, style


def extract_case(member: Member, *, detail: bool = False) -> tuple[Layout, Style, Case]:
    """Layout (with detail if it is to be) and style of one case on disk, and the case.

    Raises:
        SynthError: the case cannot be read, has no segmentation though nobody states that it is healthy
            (`Reading.healthy`), or has too little healthy brain.
    """
    case = member.read("required")
    return *layout_and_style(case, detail=detail), case


def extract_layouts(
    data: str | Path | CaseSet,
    out: str | Path,
    *,
    detail: bool = False,
    force: bool = False,
    progress: Callable[[Iterable], Iterable] = iter,
    tell: Callable[[str], None] = lambda line: None,
) -> list[Extracted]:
    """Write tissue, tumour and style (and detail) of every case of a dataset below `out`, a folder each.

    A layout that is there and was made from the same files is kept (its style file remembers their sizes and times),
    so an interrupted run is simply started again. A case that cannot be used is reported, not fatal; one without a
    segmentation is such a case, unless its user states that it is healthy (`Reading.healthy`).

    Args:
        data: a set of cases (`open_set`).
        out: where the layouts go.
        detail: take shares of tissue and vessels from the scans too; what is there without is then made anew.
        force: make all anew.
        progress: wraps the list of cases (`tqdm`).
        tell: called with each warning about a case or the set, alike ones folded.

    Raises:
        DataError: `data` holds no case, or the labels of its cases mean something else than they are read as.
        OutputError: `out` is a file, another command's folder, or cannot be written.
    """
    cases = open_set(data, scans=True)
    claim(out, EXTRACT)
    if note := cases.synthetic_note():
        tell(note)
    results, inspection = [], Inspection(cases.path, cases.reading)
    for member in progress(cases.members):
        folder, signature = Path(out) / member.id, member.signature(VERSION)
        record = cases.record(member)
        descent = None if record is None else ancestors(record)
        known = member.annotated and (descent is None or load_ancestors(folder) == descent)
        try:
            there = not detail or all(map_path(folder, name).is_file() for name in DETAIL)
            if not force and known and there and _stored_signature(folder) == signature:
                inspection.see(member.id, load_tumour(folder))
                results.append(Extracted(member.id, folder, kept=True, warnings=load_warnings(folder)))
                continue
            layout, style, case = extract_case(member, detail=detail)
        except SynthError as error:
            results.append(Extracted(member.id, folder, kept=False, problem=str(error)))
            continue
        inspection.see(member.id, case.labels, case.images)
        said = case.meta.get("warnings", ())
        _store(layout, out, style, signature, fingerprint(case.images), descent, said)
        results.append(Extracted(member.id, folder, kept=False, warnings=tuple(said)))
    for line in folded_lines((result.id, line) for result in results for line in result.warnings):
        tell(line)
    inspection.conclude(tell)
    return results


def _store(layout: Layout, out: str | Path, *known) -> None:
    try:
        folder = Path(out) / layout.id
        for path in (*_files(folder), scan_path(folder)):  # never a new style beside an old map; nothing else
            path.unlink(missing_ok=True)
        save_layout(layout, out, *known)
    except OSError as error:
        raise OutputError(f"{Path(out) / layout.id}: cannot be written ({error.strerror or error}).") from error


def _stored_signature(folder: Path) -> str | None:
    try:
        record = read(style_path(folder))
    except (OSError, ValueError):
        return None
    complete = all(path.is_file() for path in _files(folder))
    return record.get("source") if complete and isinstance(record, dict) else None


def _files(folder: Path) -> list[Path]:
    """What `save_layout` writes into every layout's folder; it sees to detail itself."""
    return [map_path(folder, "tissue"), map_path(folder, "tumour"), style_path(folder)]
