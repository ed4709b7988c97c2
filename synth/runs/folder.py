"""The folder that a run writes to: the names of its files, and its quarantine."""

from collections.abc import Container
from contextlib import ExitStack
from pathlib import Path

from synth.brats import NAMINGS
from synth.case import Case
from synth.datasets.case_files import QUARANTINE
from synth.disk.manifest import RUN, read_run, recorded_files
from synth.errors import OutputError
from synth.exporters import Writer, exporter_class, take_in, writer_elsewhere
from synth.runs.destination import Destination
from synth.runs.ids import ids_of_run
from synth.show.contact_sheet import MAX_ROWS, ContactSheet

SHEET = "contact_sheet.png"
RECIPES = "recipes.jsonl"
COVERAGE = "coverage.json"


class Quarantine:
    """Where a run puts the samples that its gate refused: a run of its own in `<out>/quarantine`.

    It has manifest, settings and contact sheet as any run, so that its samples can be looked at and replayed; the
    folder is made for the first of them. Those who read the run's cases pass it over (`case_files`).

    Args:
        destination: of the run.
        settings: the run's.
        shared: other processes write its cases (`elsewhere`).
    """

    def __init__(self, destination: Destination, settings: dict, *, shared: bool = False):
        self.folder, self._settings, self._shared = destination.folder / QUARANTINE, settings, shared
        self._destination = destination
        self._stack, self._manifest, self._exporter = ExitStack(), None, None

    def verified(self) -> set[int]:
        """Indices of the samples that are there and whole; the others' records are taken out."""
        if self._manifest is None and not (self.folder / RUN).is_file():
            return set()
        self._open()
        return self._manifest.verified(self._exporter.verify)

    def write(self, case: Case) -> dict[str, str]:
        """As an exporter's `write`."""
        self._open()
        return self._exporter.write(case)

    def elsewhere(self) -> Writer:
        """What writes refused cases in other processes."""
        return writer_elsewhere(self._destination.output(self._settings, QUARANTINE))

    def append(self, record: dict) -> None:
        """Add the record of a written case."""
        self._open(shared=self._shared)
        if self._shared:
            take_in(self._exporter, record["id"])
        self._manifest.append(record)

    def entries(self, indices: Container[int]) -> list[dict]:
        """The records of samples among `indices`, in order."""
        return [record for record in self._manifest.entries() if record["index"] in indices] if self._manifest else []

    def finish(self, title: str) -> None:
        """Complete the output, and show the first samples in a contact sheet."""
        if self._manifest is None:
            return
        self._exporter.close()
        sheet = ContactSheet(title=title)
        for number, record in enumerate(self._manifest.entries()[:MAX_ROWS]):
            sheet.add(self._exporter.read(record["id"]), number, scores_note(record))
        if len(self._manifest):
            sheet.save(self.folder / SHEET)

    def __enter__(self):
        """Return the quarantine itself."""
        return self

    def __exit__(self, *exc):
        """Let go of the folder; after an exception what an exporter has staged stays for the run that resumes."""
        return self._stack.__exit__(*exc)

    def _open(self, *, shared: bool = False) -> None:
        if self._manifest is not None:
            return
        manifest = self._destination.manifest(self._settings, QUARANTINE, shared=shared)
        self._stack.enter_context(manifest)
        self._exporter = self._stack.enter_context(self._destination.output(self._settings, QUARANTINE))
        self._manifest = manifest


def scores_note(record: dict) -> str:
    """A sample's scores as a line of the contact sheet; empty where it has none."""
    gate = record.get("gate")
    return "Dice {WT:.2f} {TC:.2f} {ET:.2f}".format(**gate) if gate else ""


def names_of_run(out: Path) -> set[str]:
    """Files of an earlier run, relative to `out`, with those that a kill kept out of its manifest."""
    run = read_run(out)
    naming = NAMINGS[run["naming"]]
    try:
        names = getattr(exporter_class(run["format"]), "names", None)
    except OutputError:  # a format of another package, which is not imported now
        names = None
    ids = map(ids_of_run(run), range(run["n"]))
    return recorded_files(out) | (set(names(out, ids, naming)) if names else set())
