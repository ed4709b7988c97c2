"""Cases a second of `synth generate --workers` beside the process alone, in turns, start-up left out.

    python benchmarks/bench_workers.py [--workers 2] [--n 8] [--rounds 2]

What a case costs is the difference between a run of n + few cases and one of few, so that neither imports nor the first
case count. Wall seconds depend on what else the machine does; CPU seconds hardly.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path
from statistics import median

from synth.cluster.workers import Workers
from synth.hosts.sources import embedded_sources
from synth.runs.gate import Gate
from synth.runs.generate import GenerateConfig, Generation, generate

FEW = 2


def cpu() -> float:
    """CPU seconds of this process and of those it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def cost(n: int, workers: Workers | None, scores: bool) -> tuple[float, float]:
    """Wall and CPU seconds of a run of n cases."""
    with tempfile.TemporaryDirectory() as folder:
        begin, used = time.perf_counter(), cpu()
        generation = Generation(embedded_sources(), config=GenerateConfig(seed=1))
        generate(generation, n, Path(folder) / "run", gate=Gate() if scores else None, workers=workers)
        return time.perf_counter() - begin, cpu() - used


def main() -> None:
    """Print a line for each round and the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--n", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--scores", action="store_true", help="with the gate's scores, as the command has them")
    options = parser.parse_args()
    ratios = []
    cost(1, None, options.scores)  # TensorFlow is in this process from now on
    for number in range(options.rounds):
        both = []
        for workers in (None, Workers(options.workers, chunk=1)):
            few, many = (cost(n, workers, options.scores) for n in (FEW, FEW + options.n))
            both.append([(b - a) / options.n for a, b in zip(few, many, strict=True)])
        (wall, used), (their_wall, their_used) = both
        ratios.append((wall / their_wall, used / their_used))
        print(
            f"round {number + 1}: alone {wall:.1f} s and {used:.1f} CPU s a case, {options.workers} workers "
            f"{their_wall:.1f} s and {their_used:.1f} CPU s",
            flush=True,
        )
    walls, useds = zip(*ratios, strict=True)
    print(f"workers' throughput over the process alone: {median(walls):.2f} by the wall, {median(useds):.2f} by CPU")


if __name__ == "__main__":
    main()
