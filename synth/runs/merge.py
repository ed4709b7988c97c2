"""Merging: the shards of one run, made apart from each other (`--shard i/m`), become the set that one run had written.

Nothing is renumbered or made again: files are linked or copied, each against the checksum that its record has, and the
records come in the order of the samples. Records are passed on line by line: memory does not grow with their number.
"""

import heapq
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

from synth.datasets.case_files import QUARANTINE
from synth.disk.claim import GENERATE, claim
from synth.disk.files import atomic_write, copy_file, make_folder, sha256_file
from synth.disk.json_files import parse, read
from synth.disk.lock import FolderLock
from synth.disk.manifest import MANIFEST, RUN, keep_settings, other_settings, read_run, settings_differences
from synth.disk.run_schemas import RECORD
from synth.disk.staging import partial_name, remove_left
from synth.errors import DataError, OutputError, SynthError, printable
from synth.exporters import Exporter
from synth.layout.sampling.coverage import Coverage
from synth.runs.coverage import keep_coverage, shard_indices
from synth.runs.export.formats import open_output
from synth.runs.export.put import HARD, LINKS, SOFT
from synth.runs.folder import COVERAGE, SHEET, names_of_run, scores_note
from synth.show.contact_sheet import MAX_ROWS, ContactSheet


@dataclass(frozen=True)
class Merged:
    """What was done: the folder, how many cases are in it, how many were quarantined, the plan's coverage."""

    out: Path
    cases: int
    quarantined: int
    shards: int
    seconds: float
    coverage: Coverage | None = None

    def sentence(self) -> str:
        """One line for the user."""
        refused = f" and {self.quarantined} quarantined" if self.quarantined else ""
        return f"{self.cases} cases{refused} of {self.shards} shards merged in {self.out}; {self.seconds:.1f} s."


@dataclass(frozen=True)
class _Shard:
    folder: Path
    settings: dict[str, Any]

    @property
    def place(self) -> tuple[int, int]:
        i, m = self.settings["shard"]
        return i, m


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
        shards: folders that `synth generate --shard i/m` wrote, all m of them, in any order.
        out: a folder that does not exist or is empty, unless `resume` or `force`.
        link: "hard" or "soft": links to the files of the shards; None: copies. HDF5 is always copied.
        resume: go on with an interrupted merge of the same shards.
        force: remove what an earlier run wrote there first.
        progress: wraps the records (`tqdm`).

    Raises:
        DataError: a shard is missing, incomplete or damaged, or there twice.
        OutputError: the shards are of different runs, or the folder is not ours to write to.
    """
    begin, out = time.perf_counter(), Path(out)
    if link not in (None, *LINKS):
        raise SynthError(f"link must be {HARD!r}, {SOFT!r} or None for copies, found {link!r}.")
    parts = _of_one_run([Path(folder) for folder in shards])
    ours = claim(out, GENERATE, resume=resume, force=force, reads=[part.folder for part in parts])
    settings = {**parts[0].settings, "shard": [0, 1]}
    ours.clear(names_of_run, (SHEET, COVERAGE), parts={QUARANTINE: (SHEET,)})
    refused = [_Shard(part.folder / QUARANTINE, part.settings) for part in parts]
    refused = [part for part in refused if (part.folder / RUN).is_file()]
    _check_complete(parts, refused)
    title = f"synth {settings['synth']}, seed {settings['seed']}"
    cases = _merge(parts, out, settings, link, progress, title, settings["n"])
    quarantined = 0
    if refused:
        quarantined = _merge(refused, out / QUARANTINE, settings, link, iter, f"{title}, refused by the gate", None)
    covered = _coverage(parts, out) if settings["plan"] else None
    return Merged(out, cases, quarantined, len(parts), time.perf_counter() - begin, covered)


def _of_one_run(folders: Sequence[Path]) -> list[_Shard]:
    """The shards in their order, all of one run and none missing."""
    parts: dict[int, _Shard] = {}
    for folder in folders:
        part = _Shard(folder, read_run(folder))
        if not GENERATE.known(part.settings):
            raise DataError(f"{printable(folder)}: expected a shard that `synth generate` wrote, found another run.")
        first = next(iter(parts.values()), part)
        ours, theirs = ({k: v for k, v in shard.settings.items() if k != "shard"} for shard in (first, part))
        if differing := settings_differences(ours, theirs):
            raise other_settings(
                folder, differing, f"leave it out, it is of another run than {printable(first.folder)}"
            )
        i, m = part.place
        if m != first.place[1]:
            like = f"i/{first.place[1]}, as {printable(first.folder)}"
            raise DataError(f"{printable(folder)}: expected a shard {like}, found {i}/{m}.")
        if i in parts:
            raise DataError(f"{printable(folder)}: shard {i}/{m} is there twice, also as {printable(parts[i].folder)}.")
        parts[i] = part
    if not parts:
        raise DataError("there is no shard to merge; give the folders of all.")
    m = next(iter(parts.values())).place[1]
    if missing := [i for i in range(m) if i not in parts]:
        raise DataError(f"shard {missing[0]}/{m} is missing ({len(missing)} of {m} are); give the folders of all.")
    return [parts[i] for i in range(m)]


def _check_complete(parts: Sequence[_Shard], refused: Sequence[_Shard]) -> None:
    """Refuse shards in which samples are missing; read as records they are later."""
    for part in parts:
        wanted = shard_indices(part.settings["n"], part.place)
        folders = [part.folder, *(other.folder for other in refused if other.place == part.place)]
        there = sum(map(_lines, folders))
        if there != len(wanted):
            raise DataError(
                f"{printable(part.folder)}: has {there} of the {len(wanted)} samples of shard "
                f"{part.place[0]}/{part.place[1]}; make the others with --resume."
            )


def _merge(
    parts: Sequence[_Shard],
    out: Path,
    settings: dict[str, Any],
    link: str | None,
    progress: Callable,
    title: str,
    n: int | None,
) -> int:
    """Make one run of several; how many cases it has. Its sheet is spread over `n` samples; None: shows the first."""
    make_folder(out)
    with ExitStack() as stack:
        stack.callback(FolderLock(out).release)
        remove_left(out, locked=True)
        keep_settings(out, settings, "choose another folder, or start over with --force")
        exporter = stack.enter_context(open_output(settings, out))
        joins = hasattr(exporter, "join")
        if joins:
            exporter.join(part.folder for part in parts)
        sheet, wanted, count, made = ContactSheet(n, title=title), [], 0, ""
        lines = heapq.merge(*map(_records, (part.folder for part in parts)), key=lambda entry: entry[0])
        sources = {part.place[0]: part.folder.resolve() for part in parts}
        with atomic_write(out / MANIFEST) as handle:
            for index, line, record in progress(lines):
                source = sources[index % parts[0].place[1]]
                if joins:
                    _vouch(exporter, record["files"], source)
                else:
                    for name, digest in record["files"].items():
                        if (folder := os.path.dirname(name)) != made:
                            make_folder(out / folder)
                            made = folder
                        _place(f"{source}/{name}", f"{out}/{name}", digest, link)
                if sheet.wants(index if n else count):
                    wanted.append((index if n else count, record["id"], scores_note(record)))
                handle.write(line)
                count += 1
            if not joins and hasattr(os, "sync"):
                os.sync()  # links and copies together, before the manifest that vouches for them
        exporter.close()
        for place, case_id, note in wanted[: MAX_ROWS if n is None else None]:
            sheet.add(exporter.read(case_id), place, note)
        if wanted:
            sheet.save(out / SHEET)
    return count


def _lines(folder: Path) -> int:
    """How many whole lines a manifest has."""
    if not (folder / MANIFEST).exists():
        return 0
    with open(folder / MANIFEST, "rb") as handle:
        return sum(line.endswith(b"\n") for line in handle)


def _records(folder: Path) -> Iterator[tuple[int, bytes, dict[str, Any]]]:
    """Index, line and content of a manifest's records, one at a time."""
    path, last = folder / MANIFEST, -1
    if not path.exists():
        return
    with open(path, "rb") as handle:
        for number, line in enumerate(handle, 1):
            try:
                record = parse(line, RECORD)
            except ValueError as error:
                raise DataError(
                    f"{path}, line {number}: expected a record of one sample, found damaged text."
                ) from error
            index = record["index"]
            if not line.endswith(b"\n") or index <= last:
                raise DataError(f"{path}, line {number}: expected whole records in order; resume the shard first.")
            last = index
            yield index, line, record


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


def _vouch(exporter: Exporter, files: Mapping[str, str], source: Path) -> None:
    if problems := exporter.verify(files):
        raise DataError(f"{printable(source)}: {problems[0]}")


def _coverage(parts: Sequence[_Shard], out: Path) -> Coverage:
    """The coverage of all samples, kept in the run's folder."""
    tables = []
    for part in parts:
        path = part.folder / COVERAGE
        try:
            tables.append(Coverage(**read(path)))
        except (OSError, ValueError, TypeError) as error:
            raise DataError(f"{path}: cannot be read ({error}); make it again with --resume.") from error
    return keep_coverage(reduce(add, tables), out)
