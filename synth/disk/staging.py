"""Names of what is being written, and what the dead left under such names.

A staged file or folder is called `.<name>.<process>-<token>.partial`. The token is drawn by each process, since another
process, or the same number in a container that was started again, may have the number of one that was killed; its first
half tells the host, whose processes alone can be asked whether they run.
"""

import contextlib
import os
import re
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

PARTIAL = ".partial"
_STAGED = re.compile(r"\.(?P<pid>\d+)(?:-(?P<host>[0-9a-f]{4})(?P<own>[0-9a-f]{4}))?\.partial$")
_FORGOTTEN = 86400.0  # seconds without a change, after which what a process on another host staged is taken for left
_token: tuple[int, str] = (0, "")  # of this process; a fork draws its own
_live: set[Path] = set()
_clean: set[Path] = set()  # folders
_MOST_CLEAN = 10_000


def partial_name(path: Path, role: str = "") -> Path:
    """The temporary name for `path`: hidden, in the same folder, of this process alone."""
    return path.with_name(f".{path.name}.{role and role + '.'}{os.getpid()}-{_own_token()}{PARTIAL}")


@contextlib.contextmanager
def staging(*paths: Path) -> Iterator[None]:
    """While the block runs these are this process's to delete, should a signal end it (`discard_staged`)."""
    _live.update(paths)
    try:
        yield
    finally:
        _live.difference_update(paths)


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """An empty folder among this machine's temporary files, deleted when the block ends; a killed process's by a later.

    Raises:
        OSError: it cannot be made.
    """
    name = Path(tempfile.gettempdir()) / "synth-scratch"
    remove_left_of(name)
    folder = partial_name(name, secrets.token_hex(4))
    with staging(folder):
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            delete(folder)


def discard_staged() -> None:
    """Delete what this process is writing: it ends now."""
    for path in tuple(_live):
        delete(path)


def remove_left(folder: str | os.PathLike, name: str | None = None, *, locked: bool = False) -> int:
    """Delete what killed writers left in a folder and all below it, links not followed; return how many.

    Args:
        folder: need not exist.
        name: a final name: what was staged for it, in the folder itself; None: whatever was staged.
        locked: the folder is this process's (`FolderLock`), so nobody else can be writing there; otherwise what a
            running process may be writing stays.
    """
    count = 0
    for place, folders, files in os.walk(folder):
        for entry in (*folders, *files):
            staged = _STAGED.search(entry) if entry.startswith("." if name is None else f".{name}.") else None
            if staged and (locked or _is_left(Path(place) / entry, staged)):
                delete(Path(place) / entry)
                count += 1
        if name is not None:
            break
        folders[:] = [entry for entry in folders if not _STAGED.search(entry)]
    return count


def remove_left_of(path: Path) -> None:
    """Delete what killed writers staged for `path`, before it is written.

    A folder where nothing staged was seen is not looked through again by this process: with ten thousand files in one,
    that would take longer than writing them.
    """
    folder = path.parent.absolute()
    if folder in _clean:
        return
    remove_left(folder, path.name)
    with contextlib.suppress(OSError):
        if not any(_STAGED.search(entry) for entry in os.listdir(folder)):
            if len(_clean) >= _MOST_CLEAN:
                _clean.clear()
            _clean.add(folder)


def _is_left(path: Path, staged: re.Match) -> bool:
    """Whether the process that staged something is dead."""
    pid, host, own = int(staged["pid"]), staged["host"], staged["own"]
    if host is not None and host != _own_token()[:4]:
        with contextlib.suppress(OSError):
            return time.time() - path.lstat().st_mtime > _FORGOTTEN
        return False
    if pid == os.getpid():
        return own != _own_token()[4:]
    return not is_running(pid)


def is_running(pid: int) -> bool:
    """Whether a process of this host runs."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _own_token() -> str:
    global _token
    if _token[0] != os.getpid():
        _token = os.getpid(), sha256(socket.gethostname().encode()).hexdigest()[:4] + secrets.token_hex(2)
        _live.clear()  # those of the process that this one was forked from
    return _token[1]


def delete(path: Path) -> None:
    """Delete a file, link or whole folder as far as that is possible."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()
