"""Print how tissue spreads over atlas anatomies, beside real cases: the table of bar 5.

python benchmarks/atlas_fractions.py --data DATA   # scans (tissue is found first, about 3 s a case) or their layouts
python benchmarks/atlas_fractions.py --folds 1000  # the smallest Jacobian of so many drawn anatomies instead
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from synth.brats import AFFINE, GRID
from synth.datasets.case_files import find_cases
from synth.datasets.layout_files import list_layouts, load_layout
from synth.hosts.anatomies import AtlasAnatomies, draw_anatomy
from synth.hosts.extract import extract_case
from synth.layout.space import spacing, ventricles

NAMES = ("CSF share", "GM share", "WM share", "brain ml", "ventricle ml")
JUDGED = 4  # of these, the ones the bar speaks of
WHOLE = tuple(slice(0, n) for n in GRID)


def facts(tissue: np.ndarray) -> list[float]:
    """Shares of the brain, its volume, and that of ventricles and deep cisterns, all in the order of `NAMES`."""
    count = np.bincount(tissue.ravel(), minlength=4)[1:]
    deep = np.count_nonzero(ventricles(tissue, spacing(AFFINE), WHOLE))
    return [*(count / count.sum()), count.sum() / 1000, deep / 1000]


def real_tissue(data: Path) -> Iterator[np.ndarray]:
    """The tissue map of each case below `data`."""
    stored = list_layouts(data)
    if stored:
        yield from (load_layout(folder).tissue for folder in stored)
    else:
        yield from (extract_case(files)[0].tissue for files in find_cases(data))


def main() -> None:
    """Measure, print, and say whether the bar is met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--folds", type=int)
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.folds:
        least = [draw_anatomy(np.random.default_rng(k)).warp().min_jacobian() for k in range(options.folds)]
        print(f"{len(least)} anatomies, smallest Jacobian {min(least):.3f}, median {np.median(least):.3f}")
        return
    if options.data is None:
        parser.error("give --data or --folds")
    real = np.array([facts(tissue) for tissue in real_tissue(options.data)])
    hosts = AtlasAnatomies()
    hosts[0].load()
    ours, seconds = [], []
    for number in range(options.n):
        start = time.process_time()
        layout = hosts[number].load()
        seconds.append(time.process_time() - start)
        ours.append(facts(layout.tissue))
    ours = np.array(ours)
    rows = {}
    for index, name in enumerate(NAMES):
        mean, spread = (f([group[:, index] for group in (real, ours)]) for f in (_means, _spreads))
        met = abs(mean[1] / mean[0] - 1) <= 0.10 and spread[1] >= 0.6 * spread[0]
        rows[name] = {"real": (mean[0], spread[0]), "atlas": (mean[1], spread[1]), "range": _range(ours[:, index]),
                      "real range": _range(real[:, index]), "met": bool(met)}  # fmt: skip
    if options.json:
        print(json.dumps(rows))
        return
    print(f"{len(real)} real cases, {len(ours)} atlas anatomies; {np.median(seconds):.2f} s CPU each (median)")
    print(f"{'':14s}{'real mean':>10s}{'atlas':>9s}{'ratio':>7s}{'real sd':>9s}{'atlas':>9s}{'ratio':>7s}   ranges")
    for index, (name, row) in enumerate(rows.items()):
        (m0, s0), (m1, s1) = row["real"], row["atlas"]
        verdict = ("met" if row["met"] else "NOT MET") if index < JUDGED else ""
        print(
            f"{name:14s}{m0:10.3f}{m1:9.3f}{m1 / m0:7.2f}{s0:9.3f}{s1:9.3f}{s1 / s0:7.2f}   "
            f"{row['real range'][0]:.3f}..{row['real range'][1]:.3f} | {row['range'][0]:.3f}..{row['range'][1]:.3f}  "
            f"{verdict}"
        )


def _means(groups) -> list[float]:
    return [float(group.mean()) for group in groups]


def _spreads(groups) -> list[float]:
    return [float(group.std(ddof=1)) for group in groups]


def _range(values) -> tuple[float, float]:
    return float(values.min()), float(values.max())


if __name__ == "__main__":
    main()
