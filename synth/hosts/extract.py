"""Layouts and styles of a whole dataset, stored as small files."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from synth.datasets.layout_files import map_path, save_layout, style_path
from synth.datasets.members import Member
from synth.datasets.sets import open_set
from synth.disk.claim import EXTRACT, claim
from synth.errors import OutputError, SynthError
from synth.layout.layout import Layout
from synth.layout.tissue import extract_layout
from synth.style.style import Style, measure_style

VERSION = "2"  # of tissue and style: raise it when either measures differently, and kept layouts are made anew


@dataclass(frozen=True)
class Extracted:
    """What became of one case: its folder, and whether it was there already, or why it failed."""

    id: str
    folder: Path
    kept: bool
    problem: str = ""


def extract_case(member: Member) -> tuple[Layout, Style]:
    """Layout and style of one case on disk.

    Raises:
        SynthError: the case cannot be read or has too little healthy brain.
    """
    case = member.read("optional")
    layout = extract_layout(case)
    return layout, measure_style(case, layout)


def extract_layouts(
    data: str | Path, out: str | Path, *, force: bool = False, progress: Callable[[Iterable], Iterable] = iter
) -> list[Extracted]:
    """Write tissue, tumour and style of every case of a dataset below `out`, a folder each.

    A layout that is there and was made from the same files is kept (its style file remembers their sizes and times),
    so an interrupted run is simply started again. A case that cannot be used is reported, not fatal.

    Args:
        data: a set of cases (`open_set`).
        out: where the layouts go.
        force: make all anew.
        progress: wraps the list of cases (`tqdm`).

    Raises:
        DataError: `data` holds no case.
        OutputError: `out` is a file, another command's folder, or cannot be written.
    """
    cases = open_set(data, scans=True)
    claim(out, EXTRACT)
    results = []
    for member in progress(cases.members):
        folder, signature = Path(out) / member.id, member.signature(VERSION)
        if not force and _stored_signature(folder) == signature:
            results.append(Extracted(member.id, folder, kept=True))
            continue
        try:
            layout, style = extract_case(member)
        except SynthError as error:
            results.append(Extracted(member.id, folder, kept=False, problem=str(error)))
            continue
        _store(layout, style, out, signature)
        results.append(Extracted(member.id, folder, kept=False))
    return results


def _store(layout: Layout, style: Style, out: str | Path, signature: str) -> None:
    try:
        for path in _files(
            Path(out) / layout.id
        ):  # never a new style beside an old map; nothing else that may be there
            path.unlink(missing_ok=True)
        save_layout(layout, out, style, source=signature)
    except OSError as error:
        raise OutputError(f"{Path(out) / layout.id}: cannot be written ({error.strerror or error}).") from error


def _stored_signature(folder: Path) -> str | None:
    try:
        record = json.loads(style_path(folder).read_text())
    except (OSError, ValueError):
        return None
    complete = all(path.is_file() for path in _files(folder))
    return record.get("source") if complete and isinstance(record, dict) else None


def _files(folder: Path) -> list[Path]:
    """What `save_layout` writes into a layout's folder."""
    return [map_path(folder, "tissue"), map_path(folder, "tumour"), style_path(folder)]
