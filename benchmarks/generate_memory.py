"""What `synth generate` holds, by what it is doing: the resident size, sampled every 5 ms, at its greatest in a stage.

    python benchmarks/generate_memory.py [--n 3] [--seed 7] [--scores] [--data DIR] [--arrays]

Stages overlap (a sample is drawn while the one before is painted): a row is a set of stages under way at once. What
ended is followed by the size then. --arrays prints the largest arrays of NumPy alive after each drawing (tracemalloc:
slow).
"""

import argparse
import os
import resource
import tempfile
import threading
import time
import tracemalloc
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")


class Sampler:
    """Samples this process's resident size in a thread; `stage` says what goes on."""

    def __init__(self):
        self.active: dict[int, str] = {}
        self.most: dict[tuple[str, ...], float] = defaultdict(float)
        self.seconds: dict[tuple[str, ...], float] = defaultdict(float)
        self.marks: list[tuple[str, float, float]] = []
        self._begin = time.perf_counter()
        threading.Thread(target=self._run, daemon=True).start()

    def resident(self) -> float:
        """MiB."""
        return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE / 2**20

    def _run(self) -> None:
        before = time.perf_counter()
        while True:
            time.sleep(0.005)
            key = tuple(sorted(self.active.copy().values()))
            now = time.perf_counter()
            self.most[key] = max(self.most[key], self.resident())
            self.seconds[key] += now - before
            before = now

    @contextmanager
    def stage(self, name: str):
        """What this thread does in the block."""
        me = threading.get_ident()
        outer = self.active.get(me)
        self.active[me] = name
        try:
            yield
        finally:
            if outer is None:
                self.active.pop(me)
            else:
                self.active[me] = outer
            self.marks.append((name, time.perf_counter() - self._begin, self.resident()))

    def staged(self, owner, name: str, stage: str) -> None:
        """Have a method counted as a stage."""
        method = getattr(owner, name)

        def wrapped(*given, **named):
            with self.stage(stage):
                return method(*given, **named)

        setattr(owner, name, wrapped)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=3)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--scores", action="store_true")
    parser.add_argument("--data")
    parser.add_argument("--arrays", action="store_true")
    options = parser.parse_args()
    if options.arrays:
        tracemalloc.start(8)
    sampler = Sampler()
    from synth.process import claim_process

    claim_process()  # as the command does
    with sampler.stage("import"):
        from synth.exporters.nifti import NiftiExporter
        from synth.hosts.sources import data_sources, embedded_sources
        from synth.models.inference import LayoutPainter
        from synth.runs.gate import Gate
        from synth.runs.generate import GenerateConfig, Generation, generate
    for owner, name, stage in (
        (Generation, "ready", "weights"),
        (Generation, "_drawn", "draw"),
        (LayoutPainter, "__call__", "network"),
        (Generation, "paint", "paint"),
        (Gate, "judge", "score"),
        (NiftiExporter, "write", "write"),
    ):
        sampler.staged(owner, name, stage)
    if options.arrays:
        listing(Generation)
    with tempfile.TemporaryDirectory() as folder:
        layouts = Path(folder) / "layouts"
        sources = data_sources(options.data, layouts)[0] if options.data else embedded_sources()
        generation = Generation(sources, config=GenerateConfig(seed=options.seed))
        before = os.times()
        gate = Gate() if options.scores else None
        outcome = generate(generation, options.n, Path(folder) / "run", gate=gate)
        after = os.times()
        user, system = after.user - before.user, after.system - before.system
        print(f"{outcome.seconds:.1f} s, {user + system:.1f} CPU-seconds, {system:.1f} of them the system's")
    print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10:.0f} MiB")
    print(f"\n{'stages under way':32}{'seconds':>9}{'most MiB':>10}")
    for key, most in sorted(sampler.most.items(), key=lambda row: -row[1]):
        print(f"{' + '.join(key) or '-':32}{sampler.seconds[key]:9.1f}{most:10.0f}")
    print(f"\n{'ended':12}{'at s':>8}{'MiB':>8}")
    for name, at, size in sampler.marks:
        print(f"{name:12}{at:8.1f}{size:8.0f}")


def listing(generation) -> None:
    """Print the largest arrays alive after each drawing."""
    method = generation._drawn

    def wrapped(*given, **named):
        result = method(*given, **named)
        for statistic in tracemalloc.take_snapshot().statistics("traceback")[:14]:
            frames = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in statistic.traceback]
            print(f"{statistic.size / 2**20:8.1f} MiB  {' < '.join(reversed(frames))}")
        print(f"{tracemalloc.get_traced_memory()[0] / 2**20:8.1f} MiB in all\n")
        return result

    generation._drawn = wrapped


if __name__ == "__main__":
    main()
