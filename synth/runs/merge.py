"""Merging: the shards of one run, made apart from each other (`--shard i/m`), become the set that one run had written.

Nothing is renumbered or made again: files are linked or copied, each against the checksum that its record has, and the
records come in the order of the samples. Records are passed on line by line: memory does not grow with their number.
Between addresses of one object store files are copied by the store itself (`runs.merge_stored`).
"""

import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from synth.case import Case
from synth.datasets.case_files import QUARANTINE
from synth.disk.claim import GENERATE, claim
from synth.disk.files import atomic_write, copy_file, make_folder, sha256_file
from synth.disk.lock import FolderLock
from synth.disk.manifest import MANIFEST, keep_settings
from synth.disk.objects import address_of
from synth.disk.staging import partial_name, remove_left
from synth.errors import DataError, OutputError, SynthError, printable
from synth.layout.sampling.coverage import Coverage
from synth.runs.coverage import keep_coverage
from synth.runs.export.formats import open_output
from synth.runs.export.put import HARD, LINKS, SOFT
from synth.runs.folder import COVERAGE, SHEET, names_of_run, scores_note
from synth.runs.merge_stored import StoredMerge, fetched
from synth.runs.shards import Shard, coverage_of, in_order, of_one_run, refused_of
from synth.show.contact_sheet import MAX_ROWS, ContactSheet


@dataclass(frozen=True)
class Merged:
    """What was done: where, how many cases are in it, how many were quarantined, the plan's coverage."""

    out: Path | str
    cases: int
    quarantined: int
    shards: int
    seconds: float
    coverage: Coverage | None = None

    def sentence(self) -> str:
        """One line for the user."""
        refused = f" and {self.quarantined} quarantined" if self.quarantined else ""
        return f"{self.cases} cases{refused} of {self.shards} shards merged in {self.out}; {self.seconds:.1f} s."


def merge(
    shards: Sequence[str | Path],
    out: str | Path,
    *,
    link: str | None = None,
    resume: bool = False,
    force: bool = False,
    progress: Callable[[Iterable], Iterable] = iter,
) -> Merged:
    """Join the shards of a run into `out`: files, manifest, coverage, contact sheet and quarantine, as one run's.

    Args:
        shards: folders that `synth generate --shard i/m` wrote, all m of them, in any order; or addresses of an object
            store, `s3://bucket/part0`.
        out: a folder that does not exist or is empty, unless `resume` or `force`; of addresses one of the same store.
        link: "hard" or "soft": links to the files of the shards; None: copies. HDF5 is always copied, a store has none.
        resume: go on with an interrupted merge of the same shards.
        force: remove what an earlier run wrote there first.
        progress: wraps the records (`tqdm`).

    Raises:
        DataError: a shard is missing, incomplete or damaged, or there twice.
        OutputError: the shards are of different runs, or the folder is not ours to write to.
    """
    begin = time.perf_counter()
    if link not in (None, *LINKS):
        raise SynthError(f"link must be {HARD!r}, {SOFT!r} or None for copies, found {link!r}.")
    addresses = [address_of(place) for place in (*shards, out)]
    with ExitStack() as stack:
        place: _Place
        if (address := addresses.pop()) is not None:
            if link is not None:
                raise SynthError(f"{printable(address)}: an object store has no links; leave --link out.")
            place = stack.enter_context(StoredMerge(address))
            parts = of_one_run(fetched(stack, shards, address))
        else:
            if (strange := next(filter(None, addresses), None)) is not None:
                raise DataError(
                    f"{printable(strange)}: expected shards where the set goes, a folder, found an address; give an "
                    "address of the same store for the set too, or copy the shards to folders first."
                )
            place = _Folder(Path(out), link)
            parts = of_one_run(Shard.of(Path(folder)) for folder in shards)
        settings = {**parts[0].settings, "shard": [0, 1]}
        refused = refused_of(parts)
        place.claim(settings, resume=resume, force=force, reads=[part.folder for part in parts])
        title = f"synth {settings['synth']}, seed {settings['seed']}"
        cases, quarantined = _merge(parts, place, settings, "", progress, title, settings["n"]), 0
        if refused:
            told = f"{title}, refused by the gate"
            quarantined = _merge(refused, place, settings, QUARANTINE, iter, told, None)
        covered = keep_coverage(coverage_of(parts), place.folder) if settings.get("plan") else None
        place.finish()
    where = Path(out) if address is None else address
    return Merged(where, cases, quarantined, len(parts), time.perf_counter() - begin, covered)


class _Part(Protocol):
    """The run, or what its gate refused, where it goes to: a context manager."""

    def __enter__(self) -> "_Part": ...

    def __exit__(self, *exc: object) -> None: ...

    def take(self, source: Shard, files: dict[str, str]) -> None:
        """Bring the files of a record there."""

    def settle(self) -> None:
        """Be sure that all are there."""

    def close(self) -> None:
        """Write the tables of the set; its manifest is there."""

    def read(self, case_id: str) -> Case:
        """A case that is there."""


class _Place(Protocol):
    """Where the merged set goes to; `folder` is where what it says of itself is written."""

    folder: Path

    def claim(self, settings: dict[str, Any], *, resume: bool, force: bool, reads: Sequence[Path]) -> None:
        """See `disk.claim.claim`; an earlier run goes."""

    def part(self, settings: dict[str, Any], part: str, shards: Sequence[Shard]) -> _Part:
        """The run, or what its gate refused."""

    def finish(self) -> None:
        """All is in the folder."""


def _merge(
    parts: Sequence[Shard],
    place: _Place,
    settings: dict[str, Any],
    part: str,
    progress: Callable,
    title: str,
    n: int | None,
) -> int:
    """Make one run of several; how many cases it has. Its sheet is spread over `n` samples; None: shows the first."""
    folder = place.folder / part
    make_folder(folder)
    sheet, wanted, count = ContactSheet(n, title=title), [], 0
    with place.part(settings, part, parts) as own:
        with atomic_write(folder / MANIFEST) as handle:
            for source, index, line, record in progress(in_order(parts)):
                own.take(source, record["files"])
                if sheet.wants(index if n else count):
                    wanted.append((index if n else count, record["id"], scores_note(record)))
                handle.write(line)
                count += 1
            own.settle()  # before the manifest that vouches for them
        own.close()
        for row, case_id, note in wanted[: MAX_ROWS if n is None else None]:
            sheet.add(own.read(case_id), row, note)
        if wanted:
            sheet.save(folder / SHEET)
    return count


class _Folder:
    """A folder of this machine."""

    def __init__(self, folder: Path, link: str | None):
        self.folder, self._link = folder, link

    def claim(self, settings: dict[str, Any], *, resume: bool, force: bool, reads: Sequence[Path]) -> None:
        ours = claim(self.folder, GENERATE, resume=resume, force=force, reads=reads)
        ours.clear(names_of_run, (SHEET, COVERAGE), parts={QUARANTINE: (SHEET,)})

    def part(self, settings: dict[str, Any], part: str, shards: Sequence[Shard]) -> "_FolderPart":
        return _FolderPart(self.folder / part, settings, shards, self._link)

    def finish(self) -> None:
        """Nothing: all is there."""


class _FolderPart:
    def __init__(self, out: Path, settings: dict[str, Any], shards: Sequence[Shard], link: str | None):
        self._out, self._settings, self._shards, self._link = out, settings, shards, link
        self._places = {part.folder: part.folder.resolve() for part in shards}
        self._made = ""

    def __enter__(self) -> "_FolderPart":
        with ExitStack() as stack:
            stack.callback(FolderLock(self._out).release)
            remove_left(self._out, locked=True)
            keep_settings(self._out, self._settings, "choose another folder, or start over with --force")
            self._exporter = stack.enter_context(open_output(self._settings, self._out))
            self._joins = hasattr(self._exporter, "join")
            if self._joins:
                self._exporter.join(part.folder for part in self._shards)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._stack.__exit__(*exc)

    def take(self, source: Shard, files: dict[str, str]) -> None:
        if self._joins:
            if problems := self._exporter.verify(files):
                raise DataError(f"{source.name}: {problems[0]}")
            return
        for name, digest in files.items():
            if (folder := os.path.dirname(name)) != self._made:
                make_folder(self._out / folder)
                self._made = folder
            _place(f"{self._places[source.folder]}/{name}", f"{self._out}/{name}", digest, self._link)

    def settle(self) -> None:
        if not self._joins and hasattr(os, "sync"):
            os.sync()  # links and copies together

    def close(self) -> None:
        self._exporter.close()

    def read(self, case_id: str) -> Case:
        return self._exporter.read(case_id)


def _place(source: str, path: str, digest: str, link: str | None) -> None:
    """Bring a file to its place, if it is not there, and see that it is what the record says; both are strings.

    A shard has tens of thousands: nothing is asked of the system that it does not tell anyway.
    """
    if link is None and os.path.isfile(path) and sha256_file(path) == digest:
        return
    try:
        if link is None:
            _copy(source, path, digest)
            return
        _vouch_file(sha256_file(source), digest, source)
    except OSError as error:
        if error.filename != source:
            raise _unwritten(path, error, "free some space, then go on with --resume") from error
        wrong = f"cannot be read ({error.strerror})"
        if isinstance(error, FileNotFoundError):
            wrong = "expected from the manifest, not found"
        raise DataError(f"{printable(source)}: {wrong}; make it again with --resume.") from error
    try:
        try:
            _link(source, path, link)
        except FileExistsError:
            os.unlink(path)
            _link(source, path, link)
    except OSError as error:
        raise _unwritten(path, error, "give another --link or none") from error


def _unwritten(path: str, error: OSError, advice: str) -> OutputError:
    return OutputError(f"{printable(path)}: cannot be written ({error.strerror}); {advice}.")


def _copy(source: str, path: str, digest: str) -> None:
    partial = partial_name(Path(path))
    try:
        _vouch_file(copy_file(source, partial), digest, source)
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _link(source: str, path: str, link: str) -> None:
    if os.path.islink(source):  # to what it points to, which may stay where the link does not
        source = os.path.realpath(source)
    if link == HARD:
        os.link(source, path)
    else:
        os.symlink(source, path)


def _vouch_file(own: str, digest: str, source: str) -> None:
    if own != digest:
        raise DataError(
            f"{printable(source)}: the checksum differs from the manifest's, the file was changed or damaged; make it "
            "again with --resume."
        )
