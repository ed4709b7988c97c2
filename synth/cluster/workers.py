"""Who computes: worker processes on this machine, or those of a Dask scheduler; nothing of Dask is imported here."""

from dataclasses import dataclass
from pathlib import Path

from synth.errors import SynthError


@dataclass(frozen=True)
class Workers:
    """The processes that share the work of a run; the result is that of one process, to the byte.

    Attributes:
        count: worker processes to start on this machine; None with a scheduler.
        scheduler: address of a running Dask scheduler (`tcp://host:8786`) or the path of its scheduler file.
        threads: cores that each worker computes with; None: this machine's shared out, or what a cluster's workers say.
        memory: most memory of each worker on this machine (`8GB`), which is ended beyond; None: the machine's shared
            out.
        chunk: samples a task; None: up to 8, fewer where there are few.
        retries: how often a task that failed, or that ended several workers, is given out again.
        report: where Dask's performance report (HTML) of the run goes; None: nowhere.
    """

    count: int | None = None
    scheduler: str | None = None
    threads: int | None = None
    memory: str | None = None
    chunk: int | None = None
    retries: int = 3
    report: Path | None = None

    def __post_init__(self) -> None:
        """Raise `SynthError` on values that make no crew."""
        if (self.count is None) == (self.scheduler is None):
            raise SynthError("give either a number of workers on this machine or the address of a Dask scheduler.")
        for name, value, least in (
            ("workers", self.count, 1),
            ("threads of a worker", self.threads, 1),
            ("samples a task", self.chunk, 1),
            ("retries", self.retries, 0),
        ):
            if value is not None and value < least:
                raise SynthError(f"the number of {name} must be at least {least}, found {value}.")
        if self.memory is not None and self.scheduler is not None:
            raise SynthError("a scheduler's workers have their own limits of memory; set those where they are started.")


@dataclass(frozen=True)
class Place:
    """Where a job finds itself.

    Attributes:
        threads: cores that it may use.
        number: of the worker among those of this machine, from 0; None where a scheduler's workers have other names.
    """

    threads: int
    number: int | None = None
