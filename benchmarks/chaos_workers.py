"""Kill workers at random while they share a run, and compare every byte with a run that nothing happened to.

    python benchmarks/chaos_workers.py [--n 60] [--kills 50] [--workers 2] [--format nifti|hdf5] [--scheduler-too]

The painter is a stub (`stub_painter.py`); everything else is the real run. Sample k waits until its share of the kills
is done, so that all of them fall into the run; which process is killed, and when, is drawn. With --scheduler-too the
scheduler of a second run is killed in the middle, and the run is resumed without one.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import psutil
from kill_and_resume import differences, files_of
from stub_painter import StubGeneration, Trace

from synth.cluster.workers import Workers
from synth.errors import SynthError
from synth.runs.generate import GenerateConfig, generate


def main() -> int:
    """Print what was killed and what came of it; exit code 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=60)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    parser.add_argument("--format", choices=("nifti", "hdf5"), default="nifti")
    parser.add_argument("--scheduler-too", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work, config = Path(temporary), GenerateConfig(seed=1, format=options.format)
        generate(StubGeneration(config=config), options.n, work / "A")
        problems = workers_die(options, work, config)
        if options.scheduler_too:
            problems += scheduler_dies(options, work, config)
    print("FAILED" if problems else "same bytes as undisturbed, nothing left over")
    return 1 if problems else 0


def workers_die(options, work: Path, config: GenerateConfig) -> list[str]:
    """A run in which workers are killed; what is wrong with it."""
    count, log = work / "kills", work / "log"
    count.write_text("0")
    trace = Trace(0.1, log, count, options.kills / options.n)
    over, killed = threading.Event(), Counter()
    killer = threading.Thread(target=kill_workers, args=(options, count, over, killed), daemon=True)
    begin = time.perf_counter()
    killer.start()
    outcome = generate(
        StubGeneration(config=config, trace=trace), options.n, work / "B", workers=Workers(options.workers)
    )
    over.set()
    killer.join()
    painted = Counter(line.split()[0] for line in log.read_text().splitlines())
    more = sum(times - 1 for times in painted.values())
    print(
        f"{options.format}: {sum(killed.values())} kills of {options.workers} workers in a run of {options.n}: "
        f"{outcome.written} written, {more} paintings begun again, {time.perf_counter() - begin:.0f} s"
    )
    return told(work / "A", work / "B")


def kill_workers(options, count: Path, over: threading.Event, killed: Counter) -> None:
    """SIGKILL a worker process again and again, at moments of chance."""
    dice = random.Random(options.seed)
    while sum(killed.values()) < options.kills and not over.is_set():
        time.sleep(dice.expovariate(0.7))
        workers = [p for p in psutil.Process().children(recursive=True) if is_worker(p)]
        if workers and Path(count).exists():
            victim = dice.choice(workers)
            victim.send_signal(signal.SIGKILL)
            killed[victim.pid] += 1
            partial = count.with_suffix(".new")
            partial.write_text(str(sum(killed.values())))
            os.replace(partial, count)
            if sum(killed.values()) % 10 == 0:
                print(f"{sum(killed.values())} kills", flush=True)


def is_worker(process: psutil.Process) -> bool:
    """Whether a child has come so far that it is a worker: it listens."""
    try:
        return "spawn_main" in " ".join(process.cmdline()) and bool(process.net_connections("tcp"))
    except psutil.Error:
        return False


def scheduler_dies(options, work: Path, config: GenerateConfig) -> list[str]:
    """A run whose scheduler is killed in the middle, resumed in this process; what is wrong with it."""
    place = work / "scheduler.json"
    dask = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--scheduler-file", str(place), "--no-dashboard"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    scheduler = subprocess.Popen([*dask, "--host", "127.0.0.1", "--port", "0"], **quiet)
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", str(place), "--nthreads", "1"]
    path = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
    env = {**os.environ, "PYTHONPATH": path}
    workers = [subprocess.Popen([*worker, "--no-dashboard", "--host", "127.0.0.1"], env=env, **quiet) for _ in range(2)]
    seen = []

    def watched(samples):
        for sample in samples:
            seen.append(sample)
            if len(seen) == options.n // 3:
                scheduler.kill()
            yield sample

    try:
        while not place.exists():
            time.sleep(0.1)
        generation = StubGeneration(config=config, trace=Trace(0.1))
        try:
            generate(
                generation, options.n, work / "C", workers=Workers(scheduler=str(place), chunk=1), progress=watched
            )
            problems = ["the run did not notice that its scheduler was killed"]
        except SynthError as error:
            print(f"scheduler killed after {len(seen)} samples: {error}")
            problems = []
    finally:
        for process in (scheduler, *workers):
            process.kill()
            process.wait()
    outcome = generate(StubGeneration(config=config), options.n, work / "C", resume=True)
    print(f"resumed: {outcome.sentence()}")
    return problems + told(work / "A", work / "C")


def told(ours: Path, theirs: Path) -> list[str]:
    """Print and return what differs between two runs."""
    different = differences(ours, theirs)
    print(f"{len(files_of(ours))} files compared, {len(different)} differ", *different, sep="\n  ")
    return different


if __name__ == "__main__":
    sys.exit(main())
