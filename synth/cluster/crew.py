"""A crew of Dask workers: a job that every process prepares once, its items in chunks, results in the items' order.

What a worker does is the job's affair; here it is given out, given out again where it was lost or failed, and awaited.
Dask itself gives the tasks of a worker that died to others, and the nannies of this machine's workers start new ones.
"""

import asyncio
import contextlib
import logging
import os
import socket
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import islice, takewhile
from typing import Any, Protocol, TypeVar
from uuid import uuid4

import dask
from distributed import Client, KilledWorker, LocalCluster, WorkerPlugin, get_worker, performance_report, wait
from distributed.comm import CommClosedError
from distributed.system import MEMORY_LIMIT

from synth.cluster.workers import Place, Workers
from synth.errors import OutputError, SynthError

Result = TypeVar("Result")
MOST_IN_CHUNK = 8  # samples: more than a minute's work is not to be lost with a worker
CHUNKS_EACH = 4  # given out to each worker ahead: those after the one that is late need not wait for it
_LOW = 0.75  # of these, at which more are given out
_TOGETHER = 64  # chunks whose results are fetched at once
PATIENCE = 300.0  # seconds without any worker until the run gives up
_LOOK = 10.0  # seconds between two looks at who is there
_KILLS = 3  # workers that a task may lose before Dask gives it back to us
_SHARE = 0.75  # of a worker's memory, that work may need: beyond 0.8 Dask gives a worker nothing new to do
_KILLED = object()  # outcome of a task that ended too many workers
_LOST = "the Dask scheduler was lost ({}); start again with --resume, what is recorded is kept."


class Job(Protocol[Result]):
    """What every worker process has a copy of, unpickled once."""

    def prepare(self, place: Place) -> None:
        """Load what the items need; called once a process, before its first items."""

    def __call__(self, items: Sequence[int]) -> Iterable[Result]:
        """The results of items, in their order; the same for the same item, wherever and however often."""


class Crew:
    """Workers that were gathered; `with` starts and releases them.

    Args:
        workers: who they are.
        need: memory that the work takes in each, in bytes.

    Raises:
        SynthError: on entering: no scheduler answers, no worker comes, or they have too little memory.
    """

    def __init__(self, workers: Workers, need: float):
        self.workers, self._need = workers, need
        self._stack = ExitStack()
        self._size, self._counted = 1, 0.0
        self._cluster: LocalCluster | None = None

    def __enter__(self) -> "Crew":
        """Start the workers, or connect with their scheduler."""
        with ExitStack() as stack:
            if self.workers.scheduler is None:
                self._client = self._local(stack, self.workers.count or 1)
            else:
                self._client = self._remote(stack, self.workers.scheduler)
            if self.workers.report is not None:
                stack.enter_context(_reported(os.fspath(self.workers.report)))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        """Release them."""
        self.release()

    def release(self) -> None:
        """Let the workers go: this machine's end, a scheduler's forget the job; a second call does nothing."""
        self._stack.close()

    def ask(self, function: Callable[[Place], Result]) -> Result:
        """What a function says in one of the workers.

        Raises:
            SynthError: as raised by it.
        """
        (answer,) = self.map(_Question(function), [0])
        return answer

    def map(self, job: Job[Result], items: Sequence[int]) -> Generator[Result, None, None]:
        """The results of all items, in their order; at most a few chunks a worker are under way.

        Raises:
            SynthError: as raised by the job; a chunk ended or failed too many workers; the scheduler is gone.
        """
        name = f"synth-{uuid4().hex}"
        line: deque[_Task] = deque()
        with _scheduler_there():
            self._post(name, _Post(job, self.workers.threads or self._threads))
        try:
            yield from self._in_order(name, items, line)
        finally:
            with contextlib.suppress(Exception):  # whatever ended the run is what is to be told
                self._client.cancel([task.future for task in line])
                self._client.unregister_worker_plugin(name)

    def _post(self, name: str, post: "_Post") -> None:
        """Hand the job to the workers there are and to those that will come; one may die at that very moment."""
        for tries_left in reversed(range(self.workers.retries + 1)):
            try:
                self._client.register_plugin(post, name=name)
                return
            except CommClosedError:
                if not tries_left or self._client.status != "running":
                    raise
                time.sleep(1)

    def _in_order(self, name: str, items: Sequence[int], line: "deque[_Task]") -> Iterator[Any]:
        rest = iter(_chunks(items, self._chunk(len(items))))
        while True:
            with _scheduler_there():
                ahead = self._crew() * CHUNKS_EACH
                if len(line) <= ahead * _LOW:  # many at once: a scheduler takes as long for one as for a thousand
                    more = [_Task(chunk) for chunk in islice(rest, max(ahead - len(line), 0))]
                    self._give_out(name, more)
                    line.extend(more)
            if not line:
                return
            self._wait(line[0])
            ready = list(takewhile(lambda task: task.future.status == "finished", islice(line, _TOGETHER)))
            ready = ready or [line[0]]
            for task, outcome in zip(ready, self._outcomes(ready), strict=True):
                results = self._settled(name, task, outcome)
                line.popleft()
                yield from results

    def _give_out(self, name: str, tasks: "Sequence[_Task]") -> None:
        keys = [f"{name}-{task.items[0]}-{len(task.items)}-{task.failures}" for task in tasks]
        if tasks:
            chunks = [task.items for task in tasks]
            futures = self._client.map(_carry_out, [name] * len(tasks), chunks, key=keys, pure=False)
            for task, future in zip(tasks, futures, strict=True):
                task.future = future

    def _outcomes(self, tasks: "Sequence[_Task]") -> list:
        """What tasks gave, fetched together; they are finished, or one is waited for."""
        futures = [task.future for task in tasks]
        if len(tasks) == 1:
            self._wait(tasks[0])
            if futures[0].status == "error" and isinstance(futures[0].exception(), KilledWorker):
                return [_KILLED]

        async def fetch() -> list:
            return await self._client.gather(futures, asynchronous=True)

        # asked for once, however long it takes: begun anew every ten seconds, it would never end on a slow network
        fetched = asyncio.run_coroutine_threadsafe(fetch(), self._client.loop.asyncio_loop)
        try:
            return self._patiently(lambda asked: asked.result(_LOOK), fetched)
        except KilledWorker:  # by what happened since they were finished
            return [outcome for task in tasks for outcome in self._outcomes([task])]
        finally:
            fetched.cancel()

    def _wait(self, task: "_Task") -> None:
        with self._client.as_current():
            self._patiently(partial(wait, timeout=_LOOK), [task.future])

    def _settled(self, name: str, task: "_Task", outcome: Any) -> list:
        """The results of a task, given out again as often as that may help."""
        while True:
            problem: Exception
            if outcome is _KILLED:
                if len(task.items) > 1:  # one of them may be to blame, the others are done alone
                    ones = [_Task([item]) for item in task.items]
                    with _scheduler_there():
                        self._give_out(name, ones)
                    return [result for one in ones for result in self._settled(name, one, *self._outcomes([one]))]
                problem = SynthError(
                    f"sample {task.items[0]} ended {(task.failures + 1) * (_KILLS + 1)} workers before it was done; "
                    "look for lack of memory on their machines, give each more, then start again with --resume."
                )
            elif isinstance(outcome, _Failure):
                problem = outcome.error
                if isinstance(problem, SynthError) and not isinstance(problem, OutputError):
                    raise problem  # it would be the same elsewhere
            else:
                return outcome
            if task.failures >= self.workers.retries:
                raise problem
            time.sleep(min(0.5 * 2**task.failures, 10.0))  # a disk or a network may come back
            task.failures += 1
            with _scheduler_there():
                self._give_out(name, [task])
            (outcome,) = self._outcomes([task])

    def _patiently(self, ask: Callable[[Any], Any], of: Any) -> Any:
        """The answer to a question that is asked for some seconds at a time, as long as there are workers."""
        alone = None
        while True:
            with _scheduler_there():
                try:
                    return ask(of)
                except (TimeoutError, asyncio.TimeoutError, FutureTimeoutError):  # three kinds in Python 3.10
                    there = self._crew(fresh=True, least=0)
            if there:
                alone = None
                continue
            alone = alone or time.monotonic()
            if time.monotonic() - alone > PATIENCE:
                raise SynthError(
                    f"no worker has been there for {PATIENCE:.0f} s; start some, then start again with --resume."
                )

    def _crew(self, *, fresh: bool = False, least: int = 1) -> int:
        """How many workers there are, looked up now and then: a cluster may grow while a run is under way."""
        now = time.monotonic()
        if fresh or now - self._counted > _LOOK:
            self._size, self._counted = len(self._client.nthreads()), now
            if self._cluster is not None and self._size < (self.workers.count or 1):
                # a worker that dies while it starts takes its nanny along; nothing happens where one is on its way
                self._cluster.scale(self.workers.count or 1)
        return max(self._size, least)

    def _chunk(self, count: int) -> int:
        if self.workers.chunk is not None:
            return self.workers.chunk
        return max(1, min(MOST_IN_CHUNK, count // (self._crew() * CHUNKS_EACH)))

    def _local(self, stack: ExitStack, count: int) -> Client:
        memory = MEMORY_LIMIT / count if self.workers.memory is None else _bytes(self.workers.memory)
        if memory * _SHARE < self._need:
            most = int(MEMORY_LIMIT * _SHARE // self._need)
            raise SynthError(
                f"each of {count} workers would have {memory / 2**30:.1f} GiB of memory and needs "
                f"{self._need / _SHARE / 2**30:.1f}; this machine has {MEMORY_LIMIT / 2**30:.1f} GiB, room for {most}."
            )
        self._threads = self.workers.threads or max((os.cpu_count() or 1) // count, 1)
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="synth-workers-", ignore_cleanup_errors=True))
        # Dask has workers give freed memory back at once: each volume then costs its page faults anew
        spawned = dask.config.get("distributed.nanny.pre-spawn-environ")
        own = {
            "distributed.scheduler.allowed-failures": _KILLS,
            "distributed.deploy.lost-worker-timeout": "5s",
            "distributed.nanny.pre-spawn-environ": {k: v for k, v in spawned.items() if not k.startswith("MALLOC_")},
        }
        stack.enter_context(dask.config.set(own))
        self._cluster = cluster = stack.enter_context(
            LocalCluster(
                n_workers=count,
                threads_per_worker=1,  # one sample at a time; the job itself uses the cores
                memory_limit=int(memory),
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",  # None is port 8787 of every address
                scheduler_kwargs={"dashboard": False},
                local_directory=folder,
                silence_logs=logging.CRITICAL,
            )
        )
        client = stack.enter_context(Client(cluster))
        self._expect_workers(client, "on this machine")
        return client

    def _remote(self, stack: ExitStack, scheduler: str) -> Client:
        self._threads = None
        given = {"scheduler_file": scheduler} if os.path.isfile(scheduler) else {"address": scheduler}
        try:
            client = stack.enter_context(Client(**given, set_as_default=False))
        except (OSError, ValueError, CommClosedError) as error:
            raise SynthError(
                f"{scheduler}: expected a Dask scheduler, found none that answers ({error}); give the address that "
                "`dask scheduler` prints, or its scheduler file."
            ) from error
        self._expect_workers(client, f"with the scheduler {scheduler}")
        for address, worker in client.scheduler_info()["workers"].items():
            limit = worker.get("memory_limit") or 0
            if 0 < limit * _SHARE < self._need:
                raise SynthError(
                    f"worker {address} has a limit of {limit / 2**30:.1f} GiB of memory and needs "
                    f"{self._need / _SHARE / 2**30:.1f}; start it with a larger --memory-limit."
                )
        return client

    def _expect_workers(self, client: Client, where: str) -> None:
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError as error:
            raise SynthError(f"no worker came {where} in {PATIENCE:.0f} s.") from error


@dataclass
class _Task:
    items: list[int]
    failures: int = 0
    future: Any = None


@dataclass(frozen=True)
class _Failure:
    error: Exception


@dataclass
class _Question:
    """A job of a single item: what a function says."""

    function: Callable[[Place], Any]
    place: Place = field(default_factory=lambda: Place(1))

    def prepare(self, place: Place) -> None:
        self.place = place

    def __call__(self, items: Sequence[int]) -> list:
        return [self.function(self.place)]


class _Post(WorkerPlugin):
    """Holds a worker process's copy of a job; prepared when the first items come, since loading takes a while."""

    def __init__(self, job: Job, threads: int | None):
        self.job, self._threads, self._lock = job, threads, None
        self._ready = False

    def __getstate__(self) -> dict:
        return {"job": self.job, "_threads": self._threads, "_ready": False, "_lock": None}

    def setup(self, worker: Any) -> None:
        """Called by Dask in the worker."""
        self._lock = threading.Lock()  # a worker of several threads has one generator all the same
        self._place = Place(self._threads or worker.state.nthreads, worker.name if _numbered(worker.name) else None)

    def carry_out(self, items: Sequence[int]) -> list:
        """The results of items."""
        with self._lock:
            if not self._ready:
                self.job.prepare(self._place)
                self._ready = True
            return list(self.job(items))


def _carry_out(name: str, items: Sequence[int]) -> "list | _Failure":
    """The task: in a worker; failures that are told in a sentence come back as values."""
    try:
        return get_worker().plugins[name].carry_out(items)
    except (SynthError, OSError, MemoryError) as error:
        if not isinstance(error, SynthError):
            error = OutputError(f"worker on {socket.gethostname()}: {type(error).__name__}: {error}.")
        return _Failure(error)


@contextlib.contextmanager
def _scheduler_there() -> Iterator[None]:
    """Say in a sentence that the scheduler is gone."""
    try:
        yield
    except (CancelledError, CommClosedError) as error:
        raise SynthError(_LOST.format(type(error).__name__)) from error


@contextlib.contextmanager
def _reported(path: str) -> Iterator[None]:
    """Dask's own report on what happens in the block."""
    try:
        with performance_report(filename=path):
            yield
    except ImportError as error:
        raise SynthError(
            f"Dask's performance report needs bokeh ({error}); install it with: pip install bokeh."
        ) from error


def _chunks(items: Sequence[int], size: int) -> Iterator[list[int]]:
    return (list(items[start : start + size]) for start in range(0, len(items), size))


def _numbered(name: object) -> bool:
    return isinstance(name, int) and not isinstance(name, bool)


def _bytes(memory: str) -> float:
    try:
        return dask.utils.parse_bytes(memory)
    except ValueError as error:
        raise SynthError(f"the memory of a worker must be a size such as 8GB, found {memory!r}.") from error
