"""Ways to end or hinder a process: at its k-th file-system call, after some time, with a full disk."""

import errno
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

CHANGING = {  # audited events of Python that change a file system
    "os.rename",
    "os.link",
    "os.symlink",
    "os.mkdir",
    "os.rmdir",
    "os.remove",
    "os.truncate",
    "shutil.rmtree",
}
HANG = 60.0  # seconds, after which a process is taken for hanging
MEMORY = 1536  # MiB


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes:
        code: its exit code; minus the signal where one ended it.
        seconds: it took.
        after: seconds from the blow to the end; as `seconds` without a blow.
        memory: most that was resident, in MiB.
        said: its output.
    """

    code: int
    seconds: float
    after: float
    memory: int
    said: str

    @property
    def traceback(self) -> bool:
        """Whether a traceback or a fault of the machine was shown."""
        return "Traceback" in self.said or "Fatal Python error" in self.said or self.code in (-signal.SIGSEGV, -6, 99)


def at_call(number: int, act: Callable[[], None], *, writes: bool = True) -> Callable[[], list[int]]:
    """Act before the process's `number`-th call that opens a file for writing, renames, makes, deletes or flushes.

    Returns a function that gives how many there were so far.
    """
    count = [0]

    def counted() -> None:
        count[0] += 1
        if count[0] == number:
            act()

    def hook(event: str, args: tuple) -> None:
        if event in CHANGING or (event == "open" and writes and _writes(args)):
            counted()

    flush = os.fsync

    def fsync(handle: int) -> None:
        counted()  # what was written is there by now, under its temporary name
        flush(handle)

    os.fsync = fsync
    sys.addaudithook(hook)
    return lambda: count


def _writes(args: tuple) -> bool:
    path, mode, flags = args
    if isinstance(path, int) or str(path).startswith(("/dev/", "/proc/")):
        return False
    return bool((flags or 0) & (os.O_WRONLY | os.O_RDWR)) or bool(mode and set(str(mode)) & set("wax+"))


def kill() -> None:
    """End this process: no handler runs."""
    os.kill(os.getpid(), signal.SIGKILL)


def full_from(number: int) -> None:
    """From the `number`-th call on the disk is full, for this process."""
    seen = [0]

    def refuse() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def hook(event: str, args: tuple) -> None:
        if event in ("os.mkdir", "os.link", "os.symlink") or (event == "open" and _writes(args)):
            seen[0] += 1
            if seen[0] >= number:
                refuse()

    sys.addaudithook(hook)


def run(work: Callable[[], int], log: Path, blow: tuple[float, int] | None = None, hang: float = HANG) -> Ended:
    """Run something in a fork.

    Args:
        work: gives the exit code.
        log: where its output goes.
        blow: seconds after which a signal is sent, and the signal.
        hang: seconds after which it is killed.
    """
    sys.stdout.flush()
    begin = time.monotonic()
    child = os.fork()
    if not child:
        code = 99
        try:
            with open(log, "wb") as sink:
                os.dup2(sink.fileno(), 1)
                os.dup2(sink.fileno(), 2)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            code = work()
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    struck = begin
    done = threading.Event()

    def strike() -> None:
        nonlocal struck
        if blow and not done.wait(blow[0]):
            struck = time.monotonic()
            os.kill(child, blow[1])
        if not done.wait(hang):
            os.kill(child, signal.SIGKILL)

    watcher = threading.Thread(target=strike, daemon=True)
    watcher.start()
    _, status, usage = os.wait4(child, 0)
    done.set()
    watcher.join()
    now = time.monotonic()
    return Ended(
        os.waitstatus_to_exitcode(status),
        now - begin,
        now - struck,
        usage.ru_maxrss // 1024,
        log.read_text(errors="replace"),
    )
