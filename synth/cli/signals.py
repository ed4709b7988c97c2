"""What ends a command from outside: Ctrl-C and SIGTERM, once and at once, whatever its threads are at."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator

from synth.disk.staging import discard_staged

_SAID = {signal.SIGINT: "Interrupted.", signal.SIGTERM: "Terminated."}


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """While the block runs, Ctrl-C ends the process with exit code 130 and SIGTERM with 143, with one line.

    What is staged is deleted and worker processes are ended; nothing else is waited for or unwound. Threads may be
    painting or within HDF5 at that moment: an interpreter that shuts down around them ended in a segmentation fault.
    That is safe, since every output stands a `kill -9` at any moment. Training hears signals itself meanwhile. A signal
    that is ignored, as Ctrl-C by a job in the background, stays ignored; outside the main thread nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    owner, before = os.getpid(), {}

    def end(number: int, frame: object) -> None:
        for other in before:  # once: an impatient user, or a program that signals a process and then its group
            signal.signal(other, signal.SIG_IGN)
        if os.getpid() == owner:  # a forked worker hears Ctrl-C too, and has nothing to say
            _end_workers()
            discard_staged()
            with contextlib.suppress(Exception):  # the signal may have come in the midst of a line
                sys.stdout.flush()
            with contextlib.suppress(OSError):
                os.write(2, f"\n{_SAID[signal.Signals(number)]}\n".encode())
        os._exit(128 + number)

    for number in _SAID:
        if signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, end)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, signal.SIG_DFL if old is None else old)  # None: set by no Python code


def _end_workers() -> None:
    processes = sys.modules.get("multiprocessing")  # not imported: there are none
    for worker in processes.active_children() if processes else ():
        with contextlib.suppress(Exception):
            worker.kill()
