"""Print seconds per edit and per drawn layout, the redraw rate, and whether every layout is lawful.

Usage: python benchmarks/bench_layouts.py [--layouts FOLDER] [-n 50] [--edits PRESET] [--seed 0]

Without --layouts the atlas anatomies are used. Times are wall-clock and CPU seconds of this process; run with
OMP_NUM_THREADS=1 to see what one core does.
"""

import argparse
import time
from collections import Counter

import numpy as np

from synth.datasets.layout_files import folder_sources
from synth.hosts.anatomies import AtlasAnatomies
from synth.layout.edits import EDITS
from synth.layout.sampling.sampler import LayoutSampler


def timed(action, *args, **options):
    """The result, wall-clock and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = action(*args, **options)
    return result, time.perf_counter() - wall, time.process_time() - cpu


def line(name: str, seconds: list[tuple[float, float]]):
    """Median, 90th percentile and maximum of wall-clock and CPU seconds."""
    wall, cpu = np.array(seconds).T
    parts = [f"{np.median(s):7.3f} {np.percentile(s, 90):7.3f} {s.max():7.3f}" for s in (wall, cpu)]
    print(f"{name:28s} wall {parts[0]}   cpu {parts[1]}   (n={len(seconds)})")


def bench_edits(hosts, repeats: int = 3):
    """Draw and apply every edit on each target, on a few hosts."""
    tumours = ["new"] if getattr(hosts, "healthy", False) else "none"  # atlas brains have none of their own
    sampler = LayoutSampler(hosts, tumours)
    layouts = [sampler.draw(i)[0] for i in range(min(len(hosts), repeats + 1))]
    print("seconds: median, 90 %, maximum")
    for name, cls in sorted(EDITS.items()):
        for target in cls.targets:
            draws, applications = [], []
            for n in range(min(repeats, len(layouts) - 1)):
                rng, donor = np.random.default_rng(n), layouts[n + 1] if cls.needs_donor else None
                edit, *spent = timed(cls.draw, layouts[n], rng, target=target, donor=donor)
                draws.append(spent)
                applications.append(timed(edit.apply, layouts[n], donor)[1:])
            line(f"{name}:{target} draw", draws)
            line(f"{name}:{target} apply", applications)


def bench_draws(hosts, edits, seed: int, n: int):
    """Draw n samples, judge them again and replay one in ten."""
    sampler = LayoutSampler(hosts, edits, seed)
    seconds, reasons, redrawn, unlawful, replayed = [], Counter(), 0, 0, 0
    for k in range(n):
        (layout, recipe), *spent = timed(sampler.draw, k)
        seconds.append(spent)
        reasons.update(" ".join(w for w in r.split(",")[0].split() if not w[0].isdigit()) for r in recipe.redraws)
        redrawn += bool(recipe.redraws)
        unlawful += bool(sampler.judge(layout, recipe))
        if k % 10 == 0:
            replayed += 1
            again = sampler.replay(recipe)
            if not (np.array_equal(again.tissue, layout.tissue) and np.array_equal(again.tumour, layout.tumour)):
                raise SystemExit(f"sample {k} did not replay exactly")
    line("draw(k)", seconds)
    total = sum(reasons.values())
    print(f"redraws: {total} of {n + total} attempts ({total / (n + total):.1%}), in {redrawn} of {n} samples")
    for reason, count in reasons.most_common():
        print(f"  {count:4d}  {reason}")
    print(f"unlawful: {unlawful} of {n}; replayed exactly: {replayed} of {replayed}")


def main():
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layouts", help="folder written by `synth layouts extract`")
    parser.add_argument("-n", type=int, default=50)
    parser.add_argument("--edits", help="a preset, a policy file, or edits by comma")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    hosts = folder_sources(args.layouts) if args.layouts else AtlasAnatomies()
    bench_edits(hosts)
    bench_draws(hosts, args.edits, args.seed, args.n)


if __name__ == "__main__":
    main()
