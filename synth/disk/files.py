"""Files that appear under their final name only when complete, and the checksums that vouch for them.

Everything is written under a temporary name in the same folder (`disk.staging`), flushed to the disk and then renamed,
which a file system does in one step: whoever looks, at whatever moment the power goes, sees either the whole file or
none. What a killed process left under such a name goes when the same name is written again.
"""

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from synth.disk.staging import delete, partial_name, remove_left_of, staging
from synth.errors import OutputError

_BLOCK = 1 << 18  # bytes copied at a time
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
    remove_left_of(path)
    try:
        with staging(partial), _explained(path, partial):
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
    stack = contextlib.ExitStack()

    def name(path: Path) -> Path:
        partial = partial_name(path)
        partials[partial] = path
        stack.enter_context(staging(partial))
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
    finally:
        stack.close()


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
        with staging(partial), _explained(path, partial):
            path.parent.mkdir(parents=True, exist_ok=True)
            remove_left_of(path)
            partial.mkdir()
            yield partial
            for file in sorted(partial.iterdir()):
                _sync(file, os.O_RDWR)
            sync_folder(partial)
            _replace_folder(partial, path, old)
    except BaseException:
        delete(partial)
        if old.exists() and not path.exists():
            os.rename(old, path)
        raise
    delete(old)
    sync_folder(path.parent)


def _replace_folder(partial: Path, path: Path, old: Path) -> None:
    """Give a folder its final name; one that has it, perhaps put there by another process a moment ago, gives way."""
    while True:
        try:
            os.rename(partial, path)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
        delete(old)
        with contextlib.suppress(FileNotFoundError):  # a folder that is not empty cannot be replaced in one step
            os.rename(path, old)


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


def sync_folder(folder: str | os.PathLike) -> None:
    """Ask the system to put the folder's list of names on the disk; best effort, some file systems cannot."""
    with contextlib.suppress(OSError):
        _sync(folder, os.O_RDONLY)


class NotRegularError(OSError, ValueError):
    """A folder, pipe or device lies where a file is expected."""

    def __str__(self) -> str:
        """The sentence alone: whoever asked knows the path."""
        return str(self.strerror)


def regular(path: str | os.PathLike) -> str | os.PathLike:
    """The path, if it is a regular file's or a link's to one: opening a pipe waits for ever, reading a device may.

    Raises:
        NotRegularError: it is another's.
        OSError: it is nothing's.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise NotRegularError(errno.EINVAL, "expected a file, found a folder, pipe or device", os.fspath(path))
    return path


def sha256_file(path: str | os.PathLike) -> str:
    """The SHA-256 of a regular file's bytes, as hex digits; raises `OSError` as `regular`."""
    with open(regular(path), "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(handle)


def copy_file(source: str | os.PathLike, path: str | os.PathLike) -> str:
    """Copy a regular file's bytes; return their SHA-256, for which they are read once.

    Raises:
        OSError: as `regular`, or it cannot be read or the copy not written; a file is left half-way then.
    """
    digest, block = hashlib.sha256(), memoryview(bytearray(_BLOCK))
    with open(regular(source), "rb", buffering=0) as own, open(path, "wb") as handle:
        while size := own.readinto(block):
            digest.update(block[:size])
            handle.write(block[:size])
    return digest.hexdigest()


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
