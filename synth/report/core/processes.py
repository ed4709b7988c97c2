"""Cases measured in several processes: each reads, prepares and measures whole cases with one core and its own network.

A process costs some 6 CPU-seconds until it measures, and 2.5 GiB, so that few are started for few cases. What a case
measures does not depend on who measures it: bytes depend neither on the number of threads nor on the processes.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial

from synth.errors import SynthError
from synth.report.core.measuring import Job, measure_case

LEAST = 4  # cases for each process, below which starting it does not pay
MOST = 8  # unless more are asked for: where there is a GPU they share it
MEMORY = 2.5 * 2**30  # bytes of a process, at most
_ONE_CORE = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    **dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1"),
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",  # several share a GPU: none takes all its memory at once
}


def as_many_as_pay(cases: int, most: int | None = None) -> int:
    """How many processes to measure so many cases with: 1 is this one.

    Args:
        cases: that are to be measured.
        most: as many at most; None: as many as there are cores, and memory for, up to `MOST`.
    """
    if most is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        room = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else MEMORY
        most = min(cores, int(room / MEMORY), MOST)
    return max(min(most, cases // LEAST), 1)


@contextlib.contextmanager
def measuring_in(count: int) -> Iterator[Callable[[Iterable[Job]], Iterator[dict]]]:
    """Measuring in `count` processes, for as many sets as are measured in the block: facts of every case, in order.

    None is started before a case is to be measured that is not done already. What is given raises SynthError: as
    `measure_case`, or a process was ended from outside.
    """
    context = multiprocessing.get_context("spawn")  # threads of TensorFlow do not survive a fork
    with _environment(_ONE_CORE), ProcessPoolExecutor(count, context, initializer=_begin) as pool:
        try:
            yield partial(_measure, pool, 2 * count)
        finally:
            pool.shutdown(cancel_futures=True)


def _measure(pool: ProcessPoolExecutor, most: int, jobs: Iterable[Job]) -> Iterator[dict]:
    waiting: deque = deque()
    try:
        for job in jobs:
            waiting.append(job.facts if job.done else pool.submit(measure_case, job))
            if len(waiting) > most:
                yield _facts(waiting.popleft())
        while waiting:
            yield _facts(waiting.popleft())
    except BrokenProcessPool as error:
        raise SynthError(
            "a process that measured cases was ended, by lack of memory perhaps; start again with --workers 1."
        ) from error


def _facts(answer: dict | Future) -> dict:
    return answer.result() if isinstance(answer, Future) else answer


def _begin() -> None:
    """In a new process: deaf to Ctrl-C, since whoever started it ends it, and gone when whoever started it is."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(multiprocessing.parent_process(),), daemon=True).start()


def _end_with(parent) -> None:
    parent.join()
    os._exit(1)


@contextlib.contextmanager
def _environment(settings: dict[str, str]) -> Iterator[None]:
    """What processes that are started in the block inherit."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
