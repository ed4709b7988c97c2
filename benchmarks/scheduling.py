"""What it costs to give out a case: a crew of simulated workers whose samples take time and no work.

    python benchmarks/scheduling.py [--workers 1000] [--n 4000] [--seconds 7]

The workers are Dask's own, without nannies, in one process with the scheduler and the client: so the CPU seconds told
are those of all three, and more than a client and a scheduler on machines of their own take. What workers do for
themselves is left out as far as it can be: no profiles, and a heartbeat every half minute (Dask: every 5 s), since a
thousand of them, answered and made in one process, would take more than a core. A record has the size of a
real one and is written to a manifest as in a run.
"""

import argparse
import gc
import logging
import resource
import tempfile
import time
from dataclasses import dataclass

import dask
import distributed.scheduler
from distributed import LocalCluster

from synth.cluster.gathering import gather
from synth.cluster.workers import Workers
from synth.disk.manifest import Manifest

# what each worker does for itself has no place here: a real one does it on a machine of its own
ALONE = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.interval": "1h",
    "distributed.admin.tick.interval": "1h",  # else each of a thousand is called 50 times a second
    "distributed.admin.tick.cycle": "1h",
    "distributed.scheduler.worker-ttl": None,
    "distributed.comm.timeouts.connect": "600s",
}
RECORD = 9000  # bytes of a line of the manifest of `synth generate` without data


@dataclass
class Idle:
    """Takes time."""

    seconds: float

    def prepare(self, place) -> None:
        """Nothing."""

    def __call__(self, items):
        """A record each."""
        for item in items:
            time.sleep(self.seconds)
            yield {"index": item, "id": f"Synth_{item:05d}", "text": "x" * RECORD, "files": {}}


def cpu() -> float:
    """CPU seconds of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Print a line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--n", type=int, default=4000)
    parser.add_argument("--seconds", type=float, default=7.0)
    parser.add_argument("--chunk", type=int)
    options = parser.parse_args()
    distributed.scheduler.heartbeat_interval = lambda workers: 30.0
    begin = time.perf_counter()
    with (
        dask.config.set(ALONE),
        LocalCluster(
            n_workers=options.workers,
            threads_per_worker=1,
            processes=False,
            protocol="tcp://",
            host="127.0.0.1",
            dashboard_address=None,
            memory_limit=0,
            silence_logs=logging.CRITICAL,
        ) as cluster,
        gather(Workers(scheduler=cluster.scheduler_address, chunk=options.chunk), need=0) as crew,
        tempfile.TemporaryDirectory() as out,
        Manifest(out, {}) as manifest,
    ):
        print(f"{options.workers} workers after {time.perf_counter() - begin:.0f} s", flush=True)
        gc.freeze()  # a thousand workers' objects in one process: looking through them all takes seconds
        begin, used = time.perf_counter(), cpu()
        for record in crew.map(Idle(options.seconds), range(options.n)):
            manifest.append(record)
        wall, used = time.perf_counter() - begin, cpu() - used
    ideal = options.n * options.seconds / options.workers
    print(
        f"{options.n} cases of {options.seconds:g} s: {wall:.1f} s, where the cases alone would take {ideal:.1f}; "
        f"CPU {1000 * used / options.n:.1f} ms a case for client, scheduler and workers together; "
        f"{options.n / wall:.0f} cases a second"
    )


if __name__ == "__main__":
    main()
