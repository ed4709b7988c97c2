"""HDF5: cases as groups of one file, or of shards of a given size (`synth.exporters.hdf5_packed` tells the layout).

Safe against `kill -9` by never changing an HDF5 file in place, since a kill within its metadata costs the whole file.
Each case is first staged as a small file of its own below `.staging/`, whole or not at all. When enough are
staged to fill a shard, their blocks are copied, in the order of their ids and without being decoded, into a new file
that gets its name when it is complete; then the staged ones go. So at every moment each finished case is in exactly
a staged file or a shard (or, between two steps, identical in both); a killed run loses at most the case it was at; and
since a shard is always built afresh from the same blocks in the same order, a resumed run ends with the same bytes as
an undisturbed one. The price is that blocks are written twice, about 20 ms a case.

Shards are cut by the size of their cases in the order of ids, so neither the order of writing nor a replaced case
changes the outcome: a shard that no longer fits the cut is taken apart into staged files and built again.
"""

import contextlib
import io
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py

from synth import __version__
from synth.brats import NAMINGS, Naming, Tumour
from synth.case import Case
from synth.disk.files import atomic_path, atomic_write, case_path, make_folder
from synth.disk.staging import remove_left
from synth.errors import DataError, OutputError
from synth.exporters.hdf5_cases import STAGING, Hdf5Cases, open_cases, shard_paths
from synth.exporters.hdf5_packed import COMPRESSIONS, PackedCase, pack

__all__ = ["Hdf5Exporter", "open_cases"]

ONE_FILE = "synth.h5"
SHARD = "synth-{:05d}.h5"
FORMAT = "synth-hdf5 1"


class Hdf5Exporter:
    """Write cases into `<out>/synth.h5`, or `<out>/synth-00000.h5` and so on; `close` completes the last file.

    Left by an exception or a kill, finished cases wait in `.staging/` for the next exporter on the folder;
    `open_cases` reads them there too.

    Args:
        out: the output folder.
        naming: the convention that the stored labels follow.
        shard_gb: size of a file, in 10^9 bytes of compressed voxels (at least one case each); None: one file.
        compression: "gzip" (shuffle + deflate 1), or "none": 3.6 times the room, patches read several times faster.

    Raises:
        OutputError: an option is out of range.
    """

    name = "hdf5"

    def __init__(
        self,
        out: str | os.PathLike,
        *,
        naming: Naming = NAMINGS["brats2020"],
        shard_gb: float | None = None,
        compression: str = "gzip",
    ):
        if shard_gb is not None and not shard_gb > 0:
            raise OutputError(f"shard_gb must be above 0, found {shard_gb}; leave it out for one file.")
        if compression not in COMPRESSIONS:
            raise OutputError(f"unknown HDF5 compression {compression!r}: expected one of {', '.join(COMPRESSIONS)}.")
        self.out = Path(out)
        self.naming = naming
        self._compression = compression
        self._limit = None if shard_gb is None else int(shard_gb * 1e9)
        self._staging = self.out / STAGING
        remove_left(self.out)
        self._cases = Hdf5Cases()  # whatever earlier writers left
        self._take_in(shard_paths(self.out), staged=False)
        self._take_in(sorted(self._staging.glob("*.h5")), staged=True)
        self._staged_bytes = sum(self._cases.sizes[case_id] for case_id in self._cases.staged)

    def write(self, case: Case) -> dict[str, str]:
        """Stage one case, durably, and complete a shard when enough are there; return its checksum.

        Raises:
            OutputError: the disk is full, or the folder cannot be written.
        """
        packed = pack(case, self.naming, self._compression)
        self._stage(packed)
        self._fill()
        return {self._key(case.id): packed.digest}

    def elsewhere(self) -> "Staging":
        """What stages cases in other processes; the files of the set are assembled here (`take`)."""
        return Staging(self._staging, self.naming, self._compression, self._key(""))

    def take(self, case_id: str) -> None:
        """Take in a case that was staged elsewhere, as `write` does those of this process.

        Raises:
            OutputError: the disk is full.
        """
        if case_id in self._cases.staged:
            self._staged_bytes -= self._cases.sizes[case_id]
        self._cases.add_file(case_path(self._staging, case_id, ".h5"), staged=True)
        self._staged_bytes += self._cases.sizes[case_id]
        self._fill()

    def read(self, case_id: str) -> Case:
        """The case as it was written.

        Raises:
            OutputError: it is not there, or damaged.
        """
        try:
            return self._cases.load(case_id).unpack()
        except (DataError, KeyError) as error:
            raise OutputError(f"{self.out}: case {case_id} cannot be read back ({error}); resume the run.") from error

    def verify(self, files: Mapping[str, str]) -> list[str]:
        """What is wrong with the case of one manifest record, a sentence each; empty when it is as written."""
        problems = []
        for key, expected in files.items():
            case_id = key.rpartition("/")[2]
            if case_id not in self._cases:
                problems.append(f"{self.out / key}: expected from the manifest, not found.")
                continue
            try:
                digest = self._cases.load(case_id).digest
            except DataError as error:
                problems.append(str(error))
                continue
            if digest != expected:
                problems.append(f"{self.out / key}: the checksum differs from the manifest's; the case was changed.")
        return problems

    @staticmethod
    def names(out: Path, ids: Iterable[str], naming: Naming) -> set[str]:
        """All shards and staged cases, relative to `out`."""
        paths = [*shard_paths(out), *(out / STAGING).glob("*.h5")]
        return {str(path.relative_to(out)) for path in paths}

    def close(self) -> None:
        """Complete the last file and remove the staging folder; a second call does nothing.

        Raises:
            OutputError: the disk is full. Nothing is lost; free some space and resume.
        """
        self._assemble(last=True)
        self._cases.close()
        if self._staging.exists():
            shutil.rmtree(self._staging, ignore_errors=True)

    def __enter__(self) -> "Hdf5Exporter":
        """Return the exporter itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        """Close; after an exception leave the staged cases as they are, for the run that resumes."""
        if kind is None:
            self.close()
        else:
            self._cases.close()

    def join(self, folders: Iterable[Path]) -> None:
        """Take in the cases of other sets of this format, which stay as they are; `close` copies them.

        Raises:
            OutputError: a set cannot be read.
        """
        for folder in folders:
            self._take_in([*shard_paths(folder), *sorted((folder / STAGING).glob("*.h5"))], staged=True)

    def _key(self, case_id: str) -> str:
        """How the manifest names a case: which shard it ends in depends on cases still to come."""
        return f"{ONE_FILE if self._limit is None else 'synth-*.h5'}/{case_id}"

    def _take_in(self, paths: list[Path], *, staged: bool) -> None:
        """Index files of earlier writers; what cannot be read counts as missing and gives way to new cases."""
        for path in paths:
            try:
                self._cases.add_file(path, staged=staged)
            except DataError as error:
                if getattr(error.__cause__, "errno", None):  # the system refused: the file itself may be sound
                    raise OutputError(str(error)) from error
                if not staged:
                    self._cases.shards[path] = []

    def _stage(self, packed: PackedCase) -> None:
        """Write a case as a file of its own."""
        if packed.id in self._cases.staged:
            self._staged_bytes -= self._cases.sizes[packed.id]
        self._cases.add_staged(_staged(packed, self._staging), packed)
        self._staged_bytes += packed.size

    def _fill(self) -> None:
        """Complete a shard when enough cases are staged."""
        if self._limit is not None and self._staged_bytes > self._limit:
            self._assemble(last=False)

    def _assemble(self, *, last: bool) -> None:
        """Bring the shards in line with the cut of all cases; the last one only if no more cases will come."""
        plan = self._cut()
        if not last:
            plan.popitem()
        cases = self._cases
        good = {p for p, ids in plan.items() if cases.shards.get(p) == ids and not cases.staged.keys() & set(ids)}
        for path in [path for path in cases.shards if path not in good]:
            for case_id in cases.shards[path]:
                if case_id not in cases.staged:
                    self._stage(cases.load(case_id))
            cases.forget(path)
            path.unlink()
        for path, ids in plan.items():
            if path not in good:
                self._build(path, ids)

    def _cut(self) -> dict[Path, list[str]]:
        """Which cases belong into which file: filled up in the order of ids."""
        plan, room = {}, 0
        for case_id in self._cases.ids:
            size = self._cases.sizes[case_id]
            if not plan or (self._limit is not None and size > room):
                name = ONE_FILE if self._limit is None else SHARD.format(len(plan))
                path = self.out / name
                plan[path], room = [], self._limit or 0
            plan[path].append(case_id)
            room -= size
        return plan

    def _build(self, path: Path, ids: list[str]) -> None:
        """Make one shard of staged cases, then let these go."""
        with atomic_path(path) as partial, _explained(partial), _new_file(partial) as file:
            for case_id in ids:
                self._cases.load(case_id).save(file)
            file.flush()
        for case_id in ids:
            self._staged_bytes -= self._cases.sizes[case_id]
            self._cases.unstage(case_id, self._staging)
        self._cases.add_file(path)


@dataclass(frozen=True)
class Staging:
    """Where cases of an HDF5 set wait, a file each, until an exporter takes them in; any process may write there.

    Attributes:
        folder: of the staged files.
        naming: the convention that the stored labels follow.
        compression: as for `Hdf5Exporter`.
        key: what stands before a case's id in the manifest.
    """

    folder: Path
    naming: Naming
    compression: str
    key: str

    def write(self, case: Case) -> dict[str, str]:
        """Stage one case, durably; return its checksum.

        Raises:
            OutputError: the disk is full, or the folder cannot be written.
        """
        packed = pack(case, self.naming, self.compression)
        _staged(packed, self.folder)
        return {self.key + case.id: packed.digest}


def _staged(packed: PackedCase, folder: Path) -> Path:
    """The file of a case, built in memory, so that HDF5 never meets a full disk."""
    make_folder(folder)
    path = case_path(folder, packed.id, ".h5")
    image = io.BytesIO()
    with _new_file(image) as file:
        packed.save(file)
    with atomic_write(path) as handle:
        handle.write(image.getbuffer())
    return path


def _new_file(target: Path | io.BytesIO) -> h5py.File:
    """An empty file that says what it is; the conventions of a case are with the case.

    By h5py's lower level, because its `File` stores the time of making in the root group. In the format of HDF5 1.10
    (2016): checksums on metadata, room for recipes above 64 kB.
    """
    creation, access = h5py.h5p.create(h5py.h5p.FILE_CREATE), h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    creation.set_obj_track_times(False)
    access.set_libver_bounds(h5py.h5f.LIBVER_V110, h5py.h5f.LIBVER_V110)
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
    if isinstance(target, io.BytesIO):
        access.set_fileobj_driver(h5py.h5fd.fileobj_driver, target)
    name = b"memory" if isinstance(target, io.BytesIO) else os.fsencode(target)
    file = h5py.File(h5py.h5f.create(name, h5py.h5f.ACC_TRUNC, fcpl=creation, fapl=access))
    file.attrs["format"] = FORMAT
    file.attrs["synth_version"] = __version__
    file.attrs["label_names"] = [label.name for label in Tumour]
    return file


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn HDF5's many ways to say that the system refused a write into the system's own error.

    On a full disk writing fails, and then closing too, with an error of another class that hides the first.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        number = re.search(r"errno = (\d+)", f"{error} {error.__context__}")
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error
