"""Files that appear under their final name only when complete, and the checksums that vouch for them.

Everything is written under a temporary name in the same folder (`.<name>.<pid>.partial`), flushed to the disk and
then renamed, which a file system does in one step: whoever looks, at whatever moment the power goes, sees either
the whole file or none.
"""

import contextlib
import errno
import glob
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from synth.errors import OutputError

PARTIAL = ".partial"
_LEFT = re.compile(r"\.\d+\.partial$")
_TOGETHER = 8  # files flushed at a time: they wait for the same turn of the disk
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """Open a binary handle whose bytes become `path` when the block ends, and vanish if the block fails.

    The folder must exist. A file already at `path` is replaced in one step; after an exception it is untouched.

    Raises:
        OutputError: the disk is full or the file cannot be created there.

    Example:
        >>> with atomic_write("note.txt") as handle:  # doctest: +SKIP
        ...     handle.write(b"whole or not at all")
    """
    with atomic_path(path) as partial, open(partial, "wb") as handle:
        yield handle


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """As `atomic_write`, for libraries that open files themselves: yield the temporary name to be written.

    Raises:
        OutputError: the disk is full or the file cannot be created there.
    """
    path = Path(path)
    partial = partial_name(path)
    try:
        with _explained(path, partial):
            yield partial
            _sync(partial, os.O_RDWR)
            os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextlib.contextmanager
def atomic_files() -> Iterator[Callable[[Path], Path]]:
    """Yield a function that gives the temporary name of a file to be; all become what they are to be at the end.

    Each is whole or not at all, as with `atomic_path`. They are flushed to the disk together, which takes the time of
    one. A name at which the caller puts a link is renamed alone: what it points to is not ours.

    Raises:
        OutputError: the disk is full or a file cannot be created there.
    """
    partials: dict[Path, Path] = {}

    def name(path: Path) -> Path:
        partial = partial_name(path)
        partials[partial] = path
        return partial

    try:
        yield name
        with ThreadPoolExecutor(_TOGETHER) as pool:
            ours = [partial for partial in partials if not partial.is_symlink() and os.stat(partial).st_nlink == 1]
            list(pool.map(lambda partial: _sync(partial, os.O_RDWR), ours))
            for partial, path in partials.items():
                os.replace(partial, path)
                partial.unlink(missing_ok=True)  # of two links to one file the system renames neither
            list(pool.map(sync_folder, {path.parent for path in partials.values()}))
    except BaseException as error:
        for partial in partials:
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and partials:
            partial = Path(os.fsdecode(error.filename or next(reversed(partials))))
            with _explained(partials.get(partial, partial), partial):
                raise
        raise


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike) -> Iterator[Path]:
    """Yield an empty folder that becomes `path`, with all its files, when the block ends; it vanishes if that fails.

    So a folder of files that belong together (the five of a case) is seen whole or not at all. A folder already at
    `path` is replaced.

    Raises:
        OutputError: the disk is full or the folder cannot be created there.
    """
    path = Path(path)
    partial, old = partial_name(path), partial_name(path, "old")
    try:
        with _explained(path, partial):
            path.parent.mkdir(parents=True, exist_ok=True)
            remove_partials(path.parent, glob.escape(path.name))
            partial.mkdir()
            yield partial
            for file in sorted(partial.iterdir()):
                _sync(file, os.O_RDWR)
            sync_folder(partial)
            if path.exists():  # a folder that is not empty cannot be replaced in one step: move it aside first
                os.rename(path, old)
            os.rename(partial, path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        if old.exists() and not path.exists():
            os.rename(old, path)
        raise
    shutil.rmtree(old, ignore_errors=True)
    sync_folder(path.parent)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, if they are not there.

    Raises:
        OutputError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: the folder cannot be made ({error.strerror}).") from error


def case_path(folder: Path, case_id: str, suffix: str = "") -> Path:
    """Where a case goes: `<folder>/<id><suffix>`.

    Raises:
        OutputError: the id is no plain name: it would lead out of the folder or hide the case.
    """
    if not case_id or case_id.startswith(".") or Path(case_id).name != case_id or "\\" in case_id:
        raise OutputError(f"{folder}: the case id {case_id!r} cannot name a file; expected a name without / or \\.")
    return folder / (case_id + suffix)


def partial_name(path: Path, role: str = "") -> Path:
    """The temporary name for `path`: hidden, in the same folder, with the process id."""
    return path.with_name(f".{path.name}.{role and role + '.'}{os.getpid()}{PARTIAL}")


def remove_partials(folder: str | os.PathLike, names: str = "*") -> int:
    """Delete what killed writers left behind in `folder`, for final names of this glob pattern; return how many.

    Only for a folder that no other process writes to at the moment (`synth.disk.manifest` holds the lock).
    """
    left = [path for path in Path(folder).glob(f".{names}.*{PARTIAL}") if _LEFT.search(path.name)]
    for path in left:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return len(left)


def sync_folder(folder: str | os.PathLike) -> None:
    """Ask the system to put the folder's list of names on the disk; best effort, some file systems cannot."""
    with contextlib.suppress(OSError):
        _sync(folder, os.O_RDONLY)


def sha256_file(path: str | os.PathLike) -> str:
    """The SHA-256 of a file's bytes, as hex digits."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(handle)


def changed_files(folder: str | os.PathLike, files: Mapping[str, str]) -> list[str]:
    """What is wrong with files of a folder, given by relative name and SHA-256, a sentence each; empty if nothing."""
    problems = []
    for name, expected in files.items():
        path = Path(folder) / name
        if not path.is_file():
            problems.append(f"{path}: expected from the manifest, not found.")
        elif sha256_file(path) != expected:
            problems.append(f"{path}: the checksum differs from the manifest's; the file was changed or damaged.")
    return problems


def _digest(handle: BinaryIO) -> str:
    digest = hashlib.sha256()  # Python 3.10 has no hashlib.file_digest
    while block := handle.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def _sync(path: str | os.PathLike, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _explained(path: Path, partial: Path) -> Iterator[None]:
    """Turn the system's refusal to write `path` into an `OutputError`; errors about other files pass."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise OutputError(
                f"{path}: the disk is full or a quota is used up; free some space and start again with --resume."
            ) from error
        about = Path(os.fsdecode(error.filename or partial))  # writing to an open handle names no file
        if about in (path, partial) or about in path.parents or partial in about.parents:
            raise OutputError(f"{path}: cannot be written ({error.strerror or error}); check the folder.") from error
        raise
