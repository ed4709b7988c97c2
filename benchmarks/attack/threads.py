"""Whether a run's bytes depend on how many threads there are, or on the machine's load.

    python benchmarks/attack/threads.py [--runs 30] [--threads 1,2,4] [--n 3] [--load 2]

Each run is `synth generate --n 3 --seed 5` with the shipped networks in a process of its own, with OMP_NUM_THREADS,
OPENBLAS_NUM_THREADS and TF_NUM_INTRAOP_THREADS set, beside processes that keep all cores busy. One line a run, with the
checksum of all its files; exit code 1 where there is more than one, and then the files that differ.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path

SYNTH = [sys.executable, "-c", "from synth.cli import main; main()"]
BUSY = "import numpy as np\nwhile True: np.sort(np.random.default_rng(0).normal(size=400_000))"


def main() -> int:
    """Print a line a run and the verdict."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--threads", default="1,2,4")
    parser.add_argument("--n", type=int, default=3)
    parser.add_argument("--load", type=int, default=os.cpu_count(), help="busy processes beside the run")
    parser.add_argument("--more", default="", help="options of `synth generate`, such as --no-scores")
    options = parser.parse_args()
    counts = [int(count) for count in options.threads.split(",")]
    seen: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for run in range(options.runs):
            threads, out = counts[run % len(counts)], Path(temporary) / f"run{run}"
            begin = time.perf_counter()
            files = made(out, threads, options.n, options.load, options.more.split())
            whole = sha256(repr(sorted(files.items())).encode()).hexdigest()[:16]
            seen.setdefault(whole, files)
            took = time.perf_counter() - begin
            print(f"run {run + 1}, {threads} threads: {len(files)} files, {whole}, {took:.0f} s", flush=True)
    first, *others = seen.values()
    for other in others:
        print("differ:", *sorted(name for name in first.keys() | other.keys() if first.get(name) != other.get(name)))
    print(f"{len(seen)} result{'s' if len(seen) > 1 else ''} of {options.runs} runs")
    return 1 if others else 0


def made(out: Path, threads: int, n: int, load: int, more: list[str]) -> dict[str, str]:
    """Make a set; the checksum of each of its files."""
    count = str(threads)
    settings = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"), count)
    busy = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(load)]
    try:
        line = ["generate", "--n", str(n), "--seed", "5", "--quiet", "--out", str(out), *more]
        subprocess.run([*SYNTH, *line], env={**os.environ, **settings}, check=True, stdout=subprocess.DEVNULL)
    finally:
        for process in busy:
            process.kill()
            process.wait()
    paths = sorted(path for path in out.rglob("*") if path.is_file())
    return {str(path.relative_to(out)): sha256(path.read_bytes()).hexdigest() for path in paths}


if __name__ == "__main__":
    sys.exit(main())
