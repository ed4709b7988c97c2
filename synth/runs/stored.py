"""A run whose output goes to object storage: a sample's files as soon as they are whole, then its record.

What the run keeps of itself waits in a scratch folder of this machine: settings, manifest, tables, contact sheets. The
manifest grows in the store as objects of some records each (`manifest/...`), put after the files that they vouch for;
at the end it is put as one, with all that is left in the scratch folder, and the pieces go. A run that goes on begins
with the manifest and the pieces that are there, and with a list of the objects: what is on it is not read again.
"""

import contextlib
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any

from synth.brats import NAMINGS
from synth.case import Case
from synth.datasets.case_files import QUARANTINE
from synth.disk.claim import Owner, claim_objects
from synth.disk.files import make_folder
from synth.disk.json_files import parse
from synth.disk.lock import LOCK
from synth.disk.manifest import FREE, MANIFEST, RUN, Manifest
from synth.disk.objects import Objects
from synth.disk.run_schemas import RECORD
from synth.disk.staging import delete, scratch
from synth.errors import OutputError
from synth.exporters import Exporter, exporter_class
from synth.runs.export.formats import open_output

PIECES = "manifest/"  # of the manifest, while a run is under way
_MOST, _SECONDS = 100, 10.0  # records in a piece, and how long one waits: so much is made again after a kill


class Stored:
    """The output of a run below an address; `with` gives it a scratch folder.

    Args:
        address: of the set, `s3://bucket/prefix`.
        shared: other processes write there, too.

    Attributes:
        folder: the scratch folder.

    Raises:
        OutputError: the address is none, or other processes do not see what is there.
    """

    def __init__(self, address: str, *, shared: bool = False):
        self.store, self.out = Objects(address), address
        if shared and self.store.store == "memory":
            raise OutputError(f"{address}: is this process's memory, which workers do not see; give another address.")
        self._there: dict[str, int] = {}
        self._manifests: list[StoredManifest] = []
        self._replaces = False
        self._stack = ExitStack()

    def __enter__(self) -> "Stored":
        """Make the scratch folder: with the set's name, which tables of some formats tell."""
        self.folder = self._stack.enter_context(scratch()) / self.out.rpartition("/")[2]
        make_folder(self.folder)
        return self

    def __exit__(self, *exc: object) -> None:
        """Delete it."""
        self._stack.close()

    def claim(self, by: Owner, form: str, *, resume: bool, force: bool, reads: Iterable[Path]) -> "Stored":
        """Make sure that a run may write there, and fetch what it is to go on with; see `disk.claim.claim`.

        Raises:
            OutputError: it may not, or not in this format.
        """
        kind = exporter_class(form)
        if hasattr(kind, "take") or not hasattr(kind, "names"):
            why = "is assembled on a disk" if hasattr(kind, "take") else "does not tell the names of its files"
            raise OutputError(
                f"{self.out}: the format {form} {why}; write the set to a folder and copy that, or choose another "
                "format."
            )
        self._there = self.store.sizes()
        there = claim_objects(self.store, self._there, by, resume=resume, force=force)
        self._replaces = there and force
        if there:
            self._fetch()
        return self

    def clear(
        self, names: Callable[[Path], Iterable[str]], beside: Iterable[str], parts: Mapping[str, Iterable[str]]
    ) -> None:
        """Delete the run that is to be replaced, if there is one, its settings last; other objects stay."""
        if not self._replaces:
            return
        own: set[str] = set()
        for part, also in {"": beside, **parts}.items():
            if (self.folder / part / RUN).is_file():
                listed = {*names(self.folder / part), *also, MANIFEST, RUN, *self._pieces(part)}
                own |= {_below(part, name) for name in listed}
        self.store.delete(sorted((own & self._there.keys()) - {RUN}))
        self.store.delete([RUN])
        for path in self.folder.iterdir():
            delete(path)
        self._there = {}

    def manifest(self, settings: dict, part: str = "", *, shared: bool = False) -> "StoredManifest":
        """The manifest of the run, or of a part of it."""
        try:
            manifest = StoredManifest(self.store, part, self.folder / part, self._pieces(part), settings)
        except OutputError as error:
            raise OutputError(str(error).replace(str(self.folder), self.out)) from error
        self._manifests.append(manifest)
        return manifest

    def output(self, settings: Mapping[str, Any], part: str = "") -> "Sent":
        """What writes the run's cases, or those of a part of it."""
        make_folder(self.folder / part)
        return Sent(self.store, part, settings, self.folder / part, frozenset(self._there))

    @property
    def there(self) -> Collection[str]:
        """Names of the objects that are kept of a run that goes on."""
        return self._there.keys()

    def sweep(self) -> None:
        """Nothing: what workers leave is on their own machines."""

    def finish(self) -> None:
        """Put what is left in the scratch folder, manifests last, then delete the manifests' pieces.

        Raises:
            OutputError: the store does not take it; start again with --resume.
        """
        left = {path.relative_to(self.folder).as_posix(): path for path in self.folder.rglob("*") if path.is_file()}
        left = {name: path for name, path in left.items() if path.name != LOCK}
        self.store.put({name: path for name, path in left.items() if path.name != MANIFEST})
        for manifest in self._manifests:
            manifest.put_whole()

    def _pieces(self, part: str) -> list[str]:
        """Names of a manifest's pieces, relative to its part."""
        start = _below(part, PIECES)
        return [name[len(_below(part, "")) :] for name in self._there if name.startswith(start)]

    def _fetch(self) -> None:
        """Bring settings and manifests to the scratch folder."""
        for part in ("", QUARANTINE):
            marks = [_below(part, name) for name in (RUN, MANIFEST)]
            self.store.get([name for name in marks if name in self._there], self.folder)
            if pieces := self.store.read(_below(part, name) for name in self._pieces(part)):
                _join(self.folder / part / MANIFEST, pieces, self.out)


class StoredManifest(Manifest):
    """A manifest in a scratch folder that is put, piece by piece, below an address.

    Args:
        store: the address.
        part: of the run.
        folder: where it waits.
        pieces: that it was made of, relative to the part.
        settings: the run's.

    Raises:
        OutputError: as `Manifest`, or the store cannot be written.
    """

    def __init__(self, store: Objects, part: str, folder: Path, pieces: Collection[str], settings: dict):
        self._store, self._part, self._pieces = store, part, set(pieces)
        self._waiting: list[int] = []
        self._since = time.monotonic()
        super().__init__(folder, settings, free=FREE)
        try:  # says whether it can be written, before the work
            store.write(_below(part, RUN), (folder / RUN).read_bytes())
        except BaseException:
            self.close()
            raise

    def append(self, record: dict) -> None:
        """Add one sample's record; it is put within some seconds or records."""
        if not self._waiting:
            self._since = time.monotonic()
        super().append(record)
        self._waiting.append(record["index"])
        if len(self._waiting) >= _MOST or time.monotonic() - self._since > _SECONDS:
            self.send()

    def send(self) -> None:
        """Put the records that wait, as an object that no other has the name of."""
        data = b"".join(self._lines[index] for index in self._waiting)
        if data:
            name = f"{PIECES}{self._waiting[0]:09d}-{sha256(data).hexdigest()[:16]}.jsonl"
            self._store.write(_below(self._part, name), data)
            self._pieces.add(name)
            self._waiting = []

    def put_whole(self) -> None:
        """Put the manifest as one object, in place of its pieces."""
        self._store.write(_below(self._part, MANIFEST), self.path.read_bytes() if self.path.exists() else b"")
        self._store.delete(_below(self._part, name) for name in self._pieces)
        self._pieces, self._waiting = set(), []

    def verified(self, problems: Callable[[dict[str, str]], list[str]]) -> set[int]:
        """As `Manifest.verified`; where records were taken out, the store's manifest is put anew without them."""
        before = len(self)
        good = super().verified(problems)
        if len(good) < before:
            self.put_whole()
        return good

    def __exit__(self, kind: type[BaseException] | None = None, *exc: object) -> None:
        """Put what waits, also after an exception, and close."""
        try:
            with contextlib.suppress(OutputError) if kind else contextlib.nullcontext():
                self.send()
        finally:
            self.close()


class Sent:
    """Writes cases by an exporter into scratch folders, and puts their files below an address.

    Args:
        store: the address.
        part: of the run.
        settings: the run's.
        folder: where the tables of the set are made.
        there: names of all objects below the address.
    """

    def __init__(
        self, store: Objects, part: str, settings: Mapping[str, Any], folder: Path, there: Collection[str] = ()
    ):
        self._store, self._part, self._settings, self._there = store, part, settings, there
        self._tables = open_output(settings, folder)
        self.name = self._tables.name

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user must know of the set, once it is closed."""
        return getattr(self._tables, "notes", ())

    def write(self, case: Case) -> dict[str, str]:
        """Write one case and put its files; as the exporter's `write`."""
        return self.elsewhere().write(case)

    def elsewhere(self) -> "Sender":
        """What does so in other processes."""
        return Sender(self._store, self._part, self._settings)

    def verify(self, files: Mapping[str, str]) -> list[str]:
        """Which files of a record are not in the store; what they hold is not read."""
        missing = [name for name in files if _below(self._part, name) not in self._there]
        return [f"{self._store.address}/{_below(self._part, name)}: expected from the manifest." for name in missing]

    def read(self, case_id: str) -> Case:
        """The case as it was written.

        Raises:
            OutputError: it is not there, or damaged.
        """
        with _opened(self._settings) as (folder, exporter):
            names = exporter_class(self.name).names(folder, [case_id], NAMINGS[self._settings["naming"]])
            below = Objects(f"{self._store.address}/{self._part}".rstrip("/"))
            below.get([name for name in sorted(names) if below.has(name)], folder)
            return exporter.read(case_id)

    def close(self) -> None:
        """Write the tables of the set into its folder."""
        self._tables.close()

    def __enter__(self) -> "Sent":
        """Return the exporter itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        """Let go of the folder; after an exception the tables are left to the run that resumes."""
        self._tables.__exit__(kind, *exc)


class Sender:
    """Writes cases and puts their files, in whatever process."""

    def __init__(self, store: Objects, part: str, settings: Mapping[str, Any]):
        self._store, self._part, self._settings = store, part, settings

    def write(self, case: Case) -> dict[str, str]:
        """Write one case in a scratch folder and put its files; return their checksums by name.

        Raises:
            OutputError: the scratch folder is full, or the store does not take them.
        """
        with _opened(self._settings) as (folder, exporter):
            files = exporter.write(case)
            self._store.put({_below(self._part, name): folder / name for name in files})
        return files


@contextlib.contextmanager
def _opened(settings: Mapping[str, Any]) -> Iterator[tuple[Path, Exporter]]:
    """An exporter on a scratch folder of its own; it writes no tables."""
    with scratch() as folder:
        exporter = open_output(settings, folder)
        try:
            yield folder, exporter
        finally:
            exporter.__exit__(OutputError, None, None)


def _below(part: str, name: str) -> str:
    return f"{part}/{name}" if part else name


def _join(path: Path, pieces: Iterable[bytes], address: str) -> None:
    """Take the records of pieces into a manifest; the same ones may be in several."""
    lines: dict[int, bytes] = {}
    for data in ([path.read_bytes()] if path.exists() else []) + list(pieces):
        for line in data.splitlines(keepends=True):
            try:
                index = parse(line, RECORD)["index"]
            except ValueError as error:
                raise OutputError(
                    f"{address}: a piece of the manifest is damaged ({error}); start over with --force."
                ) from error
            if lines.setdefault(index, line) != line:
                raise OutputError(
                    f"{address}: sample {index} is recorded twice and differently, by kinds of machines that compute "
                    "differently; start over with --force."
                )
    path.write_bytes(b"".join(line for _, line in sorted(lines.items())))
