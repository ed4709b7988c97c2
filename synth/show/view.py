"""What `synth view` does: cases and layouts, however they are kept, in one page of the viewer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from synth.case import Case
from synth.datasets.case_files import CaseFiles, scan_folder
from synth.datasets.cases import read_case
from synth.disk.files import atomic_write
from synth.errors import DataError, OutputError, printable
from synth.exporters.hdf5_cases import is_hdf5, open_cases
from synth.hosts.inputs import find_inputs
from synth.show.viewer import ViewerCase, compact, compact_layout, viewer_html

LIMIT = 6  # cases of a page: 1 mm voxels take about 7 MB each, and a browser reads the whole page at once


@dataclass(frozen=True)
class Shown:
    """One case or layout that can be shown, not read yet.

    Attributes:
        id: of the case or layout.
        volumes: reads it and gives what `ViewerCase` takes.
    """

    id: str
    volumes: Callable[[], dict[str, bytes]]


@dataclass(frozen=True)
class View:
    """A page that was written.

    Attributes:
        path: of the HTML file.
        shown: ids in the page.
        left_out: how many more there were.
    """

    path: Path
    shown: tuple[str, ...]
    left_out: int

    def sentence(self) -> str:
        """What was left out; empty where all is shown."""
        if not self.left_out:
            return ""
        total = len(self.shown) + self.left_out
        return f"the page shows {len(self.shown)} of {total} cases; name cases one by one, or raise the limit with -n."


def view(
    places: Sequence[str | Path],
    out: str | Path = "view.html",
    *,
    limit: int = LIMIT,
    force: bool = False,
    progress: Callable = iter,
) -> View:
    """Write one page that shows cases and layouts at full resolution.

    Args:
        places: folders of cases, of one case or of layouts, HDF5 sets of synth, or segmentations.
        out: the HTML file.
        limit: cases at most; of each place equally many, the first by id.
        force: replace the file.
        progress: wraps the list of cases while they are read.

    Raises:
        DataError: there is nothing that can be shown at one of the places, or a case cannot be read.
        OutputError: the file exists and `force` is not given, it is no HTML file (a scan is never replaced), or its
            folder does not exist.
    """
    out = Path(out)
    if out.is_dir():
        raise OutputError(f"{printable(out)}: is a folder; give the name of an HTML file.")
    if out.suffix.lower() not in (".html", ".htm") or out.is_symlink() or (out.exists() and not out.is_file()):
        raise OutputError(f"{printable(out)}: expected the name of an HTML file of its own, such as view.html.")
    if out.exists() and not force:
        raise OutputError(f"{printable(out)}: exists; give --force to replace it, or another name with --out.")
    if not out.absolute().parent.is_dir():
        raise OutputError(f"{printable(out)}: its folder does not exist; make it first.")
    found = [find_shown(place) for place in places]
    chosen = _in_turn(found, limit)
    cases = []
    for number, one in enumerate(progress(chosen)):
        cases.append(ViewerCase(f"{number}", printable(one.id), one.volumes()))
    title = cases[0].title if len(cases) == 1 else f"{len(cases)} cases"
    page = viewer_html(cases, f"{title} · synth view")
    with atomic_write(out) as handle:
        handle.write(page.encode())
    return View(out, tuple(one.id for one in chosen), sum(map(len, found)) - len(chosen))


def find_shown(place: str | Path) -> list[Shown]:
    """What can be shown at a place, sorted by id; files are found by name, none is read.

    Raises:
        DataError: nothing is there, or nothing of the kind.
    """
    path = Path(place)
    if is_hdf5(path):
        cases = open_cases(path)
        return [Shown(name, partial(_from_hdf5, cases, name)) for name in cases.ids]
    if path.is_dir() and (files := _case_files(path)):
        return [Shown(one.id, partial(_from_files, one)) for one in files]
    return [Shown(one.id, lambda one=one: compact_layout(one.load())) for one in find_inputs(path)]


def _case_files(folder: Path) -> list[CaseFiles]:
    """Cases with scans below a folder; none where it holds layouts or bare segmentations."""
    try:
        found, findings = scan_folder(folder)
    except DataError:  # no case at all: `find_inputs` looks for the rest and names all that fits
        return []
    if findings.errors:
        raise DataError(str(findings.errors[0]))
    return found if any(set(one.paths) != {"seg"} for one in found) else []


def _from_files(files: CaseFiles) -> dict[str, bytes]:
    return compact(read_case(files, labels="optional"))


def _from_hdf5(cases, name: str) -> dict[str, bytes]:
    case: Case = cases.load(name).unpack()
    if not case.brain.any():
        raise DataError(f"{printable(case.id)}: is 0 everywhere; expected a brain: exclude the case.")
    return compact(case)


def _in_turn(found: Sequence[Sequence[Shown]], limit: int) -> list[Shown]:
    """The first of every place, then the second, until `limit`; kept together by place."""
    counts = [0] * len(found)
    while sum(counts) < limit and any(n < len(part) for n, part in zip(counts, found, strict=True)):
        for k, part in enumerate(found):
            if counts[k] < len(part) and sum(counts) < limit:
                counts[k] += 1
    return [one for n, part in zip(counts, found, strict=True) for one in part[:n]]
