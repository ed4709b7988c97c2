"""What `synth view` does: cases and layouts, however they are kept, in one page of the viewer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from synth.datasets.members import CASE, Member
from synth.datasets.sets import CaseSet, open_set
from synth.disk.claim import VIEW, claim_file
from synth.disk.files import atomic_write
from synth.errors import OutputError, printable
from synth.hosts.inputs import Input, find_inputs
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
    places: Sequence[str | Path | CaseSet],
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
        OutputError: the file exists and `force` is not given, it is no page that this wrote (a scan is never replaced),
            or its folder does not exist.
    """
    out = Path(out)
    claim_file(out, VIEW, force=force)
    if not out.absolute().parent.is_dir():
        raise OutputError(f"{printable(out)}: its folder does not exist; make it first.")
    by_place = [find_shown(place) for place in places]
    chosen = _in_turn(by_place, limit)
    cases = []
    for number, shown in enumerate(progress(chosen)):
        cases.append(ViewerCase(f"{number}", printable(shown.id), shown.volumes()))
    title = cases[0].title if len(cases) == 1 else f"{len(cases)} cases"
    page = viewer_html(cases, f"{title} · synth view")
    with atomic_write(out) as handle:
        handle.write(page.encode())
    return View(out, tuple(shown.id for shown in chosen), sum(map(len, by_place)) - len(chosen))


def find_shown(place: str | Path | CaseSet) -> list[Shown]:
    """What can be shown at a place, sorted by id; files are found by name, none is read.

    Raises:
        DataError: nothing is there, or nothing of the kind.
    """
    cases = open_set(place)
    if any(member.kind == CASE for member in cases.members):
        return [Shown(member.id, partial(_scans, member)) for member in cases.members]
    return [Shown(given.id, partial(_layout, given)) for given in find_inputs(cases)]


def _scans(member: Member) -> dict[str, bytes]:
    return compact(member.read("optional"))


def _layout(given: Input) -> dict[str, bytes]:
    return compact_layout(given.load())


def _in_turn(by_place: Sequence[Sequence[Shown]], limit: int) -> list[Shown]:
    """The first of every place, then the second, until `limit`; kept together by place."""
    counts = [0] * len(by_place)
    while sum(counts) < limit and any(n < len(part) for n, part in zip(counts, by_place, strict=True)):
        for k, part in enumerate(by_place):
            if counts[k] < len(part) and sum(counts) < limit:
                counts[k] += 1
    return [shown for n, part in zip(counts, by_place, strict=True) for shown in part[:n]]
