"""Print how far tumours press midline and ventricles aside: in real brains, and in drawn ones.

Usage: python benchmarks/pressed_aside.py LAYOUTS [-n 20] [--seed 7]

LAYOUTS is a folder of layouts that were extracted from real scans; beside them n samples of the default. Of the fluid
more than 24 mm below the brain's surface that the tumour does not cover:

- midline shift: how far the middle of what lies within 12 mm of the brain's middle is away from the tumour, in mm
- ventricles: logarithm of the volume on the tumour's side over the other (more than 3 mm from the middle)
"""

import argparse
from pathlib import Path

import numpy as np
from scipy.ndimage import distance_transform_edt

from synth.brats import Tissue
from synth.datasets.layout_files import folder_sources
from synth.hosts.anatomies import AtlasAnatomies
from synth.layout.layout import Layout
from synth.layout.sampling.sampler import LayoutSampler

DEEP_MM, MIDDLE_MM, ASIDE_MM = 24, 12, 3
LARGE_ML = 80
LEAST = 200  # voxels added to both sides, so that a closed ventricle counts
FEW = 100


def pressed(layout: Layout) -> tuple[float, float, float]:
    """The tumour's ml, midline shift in mm, logarithm of the ventricles' ratio."""
    brain, tumour = layout.brain, layout.tumour > 0
    deep = (2 * distance_transform_edt(brain[::2, ::2, ::2]) > DEEP_MM).repeat(2, 0).repeat(2, 1).repeat(2, 2)
    fluid = (layout.tissue == Tissue.CSF) & deep[tuple(map(slice, brain.shape))] & ~tumour
    ends = np.flatnonzero(brain.any((1, 2)))[[0, -1]]
    side = np.sign(np.flatnonzero(tumour.any((1, 2))).mean() - ends.mean())
    towards = np.broadcast_to((np.arange(len(brain)) - ends.mean())[:, None, None] * side, fluid.shape)[fluid]
    middle = towards[np.abs(towards) < MIDDLE_MM]
    ratio = np.log((np.sum(towards > ASIDE_MM) + LEAST) / (np.sum(towards < -ASIDE_MM) + LEAST))
    return tumour.sum() / 1000, -middle.mean() if len(middle) > FEW else np.nan, ratio


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("layouts", type=Path)
    parser.add_argument("-n", type=int, default=20, help="samples")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    sampler = LayoutSampler(AtlasAnatomies(), seed=options.seed)
    real = (source.load() for source in folder_sources(options.layouts))
    print(f"{'':24s}{'cases':>6s}{'ml':>6s}{'shift (mm)':>16s}{'ventricles':>16s}")
    for name, layouts in (("real", real), ("drawn", (sampler.draw(k)[0] for k in range(options.n)))):
        found = np.array([pressed(layout) for layout in layouts])
        for label, rows in ((name, found), (f"{name}, {LARGE_ML} ml and more", found[found[:, 0] >= LARGE_ML])):
            means, spreads = np.nanmean(rows, 0), np.nanstd(rows, 0)
            parts = [f"{mean:+8.2f} ± {spread:5.2f}" for mean, spread in zip(means[1:], spreads[1:], strict=True)]
            print(f"{label:24s}{len(rows):6d}{np.median(rows[:, 0]):6.0f}{parts[0]:>16s}{parts[1]:>16s}")


if __name__ == "__main__":
    main()
