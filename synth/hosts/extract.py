"""Layouts and styles of a whole dataset, stored as small files."""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from synth.datasets.case_files import CaseFiles
from synth.datasets.cases import find_cases, read_case
from synth.datasets.layout_files import save_layout
from synth.errors import OutputError, SynthError
from synth.layout.layout import Layout
from synth.layout.tissue import extract_layout
from synth.style.style import Style, measure_style

VERSION = "1"  # of tissue and style: raise it when either measures differently, and kept layouts are made anew


@dataclass(frozen=True)
class Extracted:
    """What became of one case: its folder, and whether it was there already, or why it failed."""

    id: str
    folder: Path
    kept: bool
    problem: str = ""


def extract_case(files: CaseFiles) -> tuple[Layout, Style]:
    """Layout and style of one case on disk.

    Raises:
        SynthError: the case cannot be read or has too little healthy brain.
    """
    case = read_case(files, labels="optional")
    layout = extract_layout(case)
    return layout, measure_style(case, layout)


def extract_layouts(
    data: str | Path, out: str | Path, *, force: bool = False, progress: Callable[[Iterable], Iterable] = iter
) -> list[Extracted]:
    """Write tissue, tumour and style of every case of a dataset below `out`, a folder each.

    A layout that is there and was made from the same files is kept (its style file remembers their sizes and times),
    so an interrupted run is simply started again. A case that cannot be used is reported, not fatal.

    Args:
        data: a folder of BraTS cases.
        out: where the layouts go.
        force: make all anew.
        progress: wraps the list of cases (`tqdm`).

    Raises:
        DataError: `data` holds no case.
    """
    files = find_cases(data)
    results = []
    for one in progress(files):
        folder, signature = Path(out) / one.id, source_signature(one)
        if not force and _stored_signature(folder) == signature:
            results.append(Extracted(one.id, folder, kept=True))
            continue
        try:
            layout, style = extract_case(one)
        except SynthError as error:
            results.append(Extracted(one.id, folder, kept=False, problem=str(error)))
            continue
        _store(layout, style, out, signature)
        results.append(Extracted(one.id, folder, kept=False))
    return results


def _store(layout: Layout, style: Style, out: str | Path, signature: str) -> None:
    try:
        for name in _file_names(layout.id):  # never a new style beside an old map; nothing else that may be there
            (Path(out) / layout.id / name).unlink(missing_ok=True)
        save_layout(layout, out, style, source=signature)
    except OSError as error:
        raise OutputError(f"{Path(out) / layout.id}: cannot be written ({error.strerror or error}).") from error


def source_signature(files: CaseFiles) -> str:
    """Changes whenever a file of the case, or the way layouts are made, does."""
    parts = [VERSION]
    for name, path in sorted(files.paths.items()):
        stat = path.stat()
        parts.append(f"{name}:{path.name}:{stat.st_size}:{stat.st_mtime_ns}")
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:32]


def _stored_signature(folder: Path) -> str | None:
    name = folder.name
    try:
        record = json.loads((folder / f"{name}_style.json").read_text())
    except (OSError, ValueError):
        return None
    complete = all((folder / part).is_file() for part in _file_names(name))
    return record.get("source") if complete and isinstance(record, dict) else None


def _file_names(case_id: str) -> list[str]:
    """What `save_layout` writes for a case."""
    return [f"{case_id}_tissue.nii.gz", f"{case_id}_tumour.nii.gz", f"{case_id}_style.json"]
