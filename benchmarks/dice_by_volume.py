"""Print how well one segmenter finds a region in two sets, all cases alike, and at equal volumes of the region.

Usage: python benchmarks/dice_by_volume.py REAL REAL_SEGMENTED DRAWN DRAWN_SEGMENTED [--region ET] [--nearest 5]

Folders of cases with labels, and what `synth segment` wrote for each. Small regions are harder to find, and one set may
have more of them: each real case is therefore compared with the mean of those drawn cases whose volume of the region is
nearest to its own, by the logarithm of ml and a half.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from synth import open_set
from synth.brats import REGIONS
from synth.quality.bootstrap import difference, paired_bootstrap

EDGES_ML = (1, 8, 20, 60)


def found(cases: str, segmented: str, region: str) -> np.ndarray:
    """(n, 2) ml of the region in each case, and its Dice."""
    scores = json.loads((Path(segmented) / "scores.json").read_text())["cases"]
    volumes = {}
    for member in open_set(cases).members:
        labels = member.read().labels
        volumes[member.id] = np.isin(labels, [int(kind) for kind in REGIONS[region]]).sum() / 1000
    return np.array([[volumes[name], score[region]["dice"]] for name, score in scores.items()], float)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("real", "real_segmented", "drawn", "drawn_segmented"):
        parser.add_argument(name)
    parser.add_argument("--region", choices=list(REGIONS), default="ET")
    parser.add_argument("--nearest", type=int, default=5)
    options = parser.parse_args()
    real = found(options.real, options.real_segmented, options.region)
    drawn = found(options.drawn, options.drawn_segmented, options.region)
    for name, rows in (("real", real), ("drawn", drawn)):
        print(f"{name:6s} {len(rows)} cases, {np.median(rows[:, 0]):.1f} ml: Dice {rows[:, 1].mean():.3f}")
        part = np.digitize(rows[:, 0], EDGES_ML)
        for k, ends in enumerate(zip((0, *EDGES_ML), (*EDGES_ML, "more"), strict=True)):
            if k in part:
                print(f"  {ends[0]} to {ends[1]} ml: {rows[part == k, 1].mean():.3f} ({np.sum(part == k)})")
    places = [np.log(rows[:, 0] + 0.5) for rows in (real, drawn)]
    nearest = [np.argsort(np.abs(places[1] - place))[: options.nearest] for place in places[0]]
    matched = np.array([drawn[rows, 1].mean() for rows in nearest])
    middle, low, high = paired_bootstrap(matched, real[:, 1], difference)
    print(f"at equal volumes: drawn {matched.mean():.3f}, drawn less real {middle:+.3f} [{low:+.3f}, {high:+.3f}]")


if __name__ == "__main__":
    main()
