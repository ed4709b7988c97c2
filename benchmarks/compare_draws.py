"""Print how many times as long this checkout takes to draw a layout as another one does, sample by sample in turn.

Usage: python benchmarks/compare_draws.py OTHER_CHECKOUT [--layouts FOLDER] [-n 40] [--edits PRESET] [--seed 0]
       [--detail]

Two processes, one for each checkout, take turns at every sample, so that what else the machine does slows both alike.
Without --layouts the atlas anatomies are used. With --detail this checkout carries the layouts' detail, the other does
not (it may be the same checkout). CPU seconds of one thread; the first `--warm` samples do not count.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

DRAWER = """
import sys, time
from synth.datasets.layout_files import folder_sources
from synth.hosts.anatomies import AtlasAnatomies
from synth.layout.sampling.sampler import LayoutSampler
folder, edits, seed, detail = sys.argv[1:]
options = {"detail": True} if detail else {}
sampler = LayoutSampler(folder_sources(folder) if folder else AtlasAnatomies(), edits or None, int(seed))
for line in sys.stdin:
    start = time.process_time()
    sampler.draw(int(line), **options)
    print(time.process_time() - start, flush=True)
"""


def drawer(checkout: Path, arguments: list[str]) -> subprocess.Popen:
    """A process that draws with the code of a checkout: a number in, seconds out."""
    environment = os.environ | {"PYTHONPATH": str(checkout), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
    return subprocess.Popen([sys.executable, "-c", DRAWER, *arguments], env=environment, cwd=checkout, **pipes)


def seconds(process: subprocess.Popen, index: int) -> float:
    """CPU seconds that a process takes for a sample."""
    print(index, file=process.stdin, flush=True)
    return float(process.stdout.readline())


def main():
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path)
    parser.add_argument("--layouts", default="")
    parser.add_argument("-n", type=int, default=40)
    parser.add_argument("--edits", default="")
    parser.add_argument("--seed", default="0")
    parser.add_argument("--warm", type=int, default=4)
    parser.add_argument("--detail", action="store_true")
    args = parser.parse_args()
    folder = str(Path(args.layouts).resolve()) if args.layouts else ""
    checkouts = Path(__file__).resolve().parents[1], args.other.resolve()
    details = ("yes" if args.detail else "", "")
    processes = [
        drawer(checkout, [folder, args.edits, args.seed, detail])
        for checkout, detail in zip(checkouts, details, strict=True)
    ]
    taken = np.array([[seconds(p, k) for p in processes] for k in range(args.n + args.warm)])[args.warm :]
    for checkout, name in enumerate(("here", "there")):
        part = taken[:, checkout]
        print(
            f"{name:6s} CPU s: mean {part.mean():.2f}, median {np.median(part):.2f}, 90 % {np.percentile(part, 90):.2f}"
        )
    rng = np.random.default_rng(0)
    drawn = taken[rng.integers(len(taken), size=(2000, len(taken)))].mean(1)
    low, high = np.percentile(drawn[:, 0] / drawn[:, 1], (2.5, 97.5))
    print(f"here / there: {taken[:, 0].mean() / taken[:, 1].mean():.2f} [{low:.2f}, {high:.2f}] of {args.n} samples")
    for process in processes:
        process.stdin.close()
        process.wait()


if __name__ == "__main__":
    main()
