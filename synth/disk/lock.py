"""One writer per output folder: a lock that names its owner and that a dead process cannot leave behind."""

import contextlib
import errno
import json
import os
import socket
import stat
from pathlib import Path

from synth.disk.json_files import TEXT, WHOLE, Schema, fields, parse
from synth.disk.staging import is_running
from synth.errors import OutputError

try:
    import fcntl
except ImportError:  # Windows has none: there a lock left by a dead process must be deleted by hand
    fcntl = None

LOCK = ".synth.lock"
_OWNER = Schema("the owner of a folder", fields({"host": TEXT, "pid": WHOLE}))


class FolderLock:
    """Hold `<folder>/.synth.lock` until `release`, or until the process dies.

    The open handle is the lock, so the system itself frees it on `kill -9`. The file's text (process and host) is for
    the message, and decides alone where a file system has no locks, as on some clusters.

    Raises:
        OutputError: another process holds it, or the folder cannot be written.
    """

    def __init__(self, folder: str | os.PathLike):
        self._path = Path(folder) / LOCK
        self._handle: int | None = None
        while self._handle is None:
            self._handle = self._try()

    def release(self) -> None:
        """Let go of the folder; a second call does nothing."""
        if self._handle is None:
            return
        if fcntl is None:
            os.close(self._handle)  # Windows deletes no open file
        with contextlib.suppress(OSError):
            self._path.unlink()  # while it is still locked, or another's might be deleted
        if fcntl is not None:
            os.close(self._handle)
        self._handle = None

    def _try(self) -> int | None:
        """The handle of the locked file; None if its owner deleted it meanwhile and we must look again."""
        try:
            # a link of that name is not followed: what it points to is not ours to empty
            extra = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK"))  # nor is a pipe waited for
            flags = os.O_RDWR | os.O_CREAT | extra | (os.O_EXCL if fcntl is None else 0)
            handle = os.open(self._path, flags, 0o644)
        except FileExistsError as error:
            raise self._refusal(self._path.read_text(errors="replace")) from error
        except OSError as error:
            raise OutputError(f"{self._path.parent}: the folder cannot be written ({error.strerror}).") from error
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise OutputError(f"{self._path}: expected a file, found a folder, pipe or device; remove it.")
            locked = _flock(handle)
            owner = os.read(handle, 4096).decode(errors="replace")
            if locked is False or _may_run(owner, dead_if_here=bool(locked)):
                raise self._refusal(owner)
            if not _is_file(handle, self._path):
                os.close(handle)
                return None
            os.lseek(handle, 0, os.SEEK_SET)
            os.ftruncate(handle, 0)
            os.write(handle, json.dumps({"host": socket.gethostname(), "pid": os.getpid()}).encode())
        except BaseException:
            os.close(handle)
            raise
        return handle

    def _refusal(self, owner: str) -> OutputError:
        record = _owner(owner)
        who = f"process {record[1]} on {record[0]}" if record else "another process"
        return OutputError(
            f"{self._path.parent}: {who} is writing to this folder; wait for it or choose another folder (if it is "
            f"not running any more, delete {self._path})."
        )


def _flock(handle: int) -> bool | None:
    """True: locked by us now; False: by another process; None: this file system has no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in (errno.EWOULDBLOCK, errno.EACCES) else None
    return True


def _owner(text: str) -> tuple[str, int] | None:
    """Host and process that a lock file names; None if it is empty or torn: its writer died while making it."""
    try:
        owner = parse(text, _OWNER)
    except ValueError:
        return None
    return owner["host"], owner["pid"]


def _may_run(text: str, *, dead_if_here: bool) -> bool:
    """Whether the process that a lock file names may be running; one on another host may, we cannot see it."""
    owner = _owner(text)
    if owner is None:
        return False
    host, pid = owner
    if host != socket.gethostname():
        return True
    if dead_if_here or pid <= 0 or pid == os.getpid():
        return False
    return is_running(pid)


def _is_file(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False
