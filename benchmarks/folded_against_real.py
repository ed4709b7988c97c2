"""Print what atlas brains' cortex, shares and vessels are like beside those found in real scans: medians and ratios.

Usage: python benchmarks/folded_against_real.py LAYOUTS [-n 8 | --drawn SAMPLED]

LAYOUTS is a folder of layouts that were extracted with `--detail`; the tumour's voxels do not count. SAMPLED is what
`synth layouts sample` wrote: brains that tumours pressed. Distances are in voxels of 1 mm.
"""

import argparse
from pathlib import Path

import numpy as np
from scipy.ndimage import distance_transform_edt

from synth.brats import AFFINE, Tissue
from synth.datasets.layout_files import folder_sources
from synth.hosts.anatomies import AtlasAnatomies
from synth.layout.detail import EIGHTHS, VESSEL_LEVELS, Detail
from synth.layout.layout import Layout
from synth.layout.space import components, near, spacing

ABOVE = 95  # the lowest slice of the part where all grey matter is cortex
DEPTHS_MM = ((2, 6), (6, 14), (14, 25))
BRIGHT = 2  # levels of vessels from which pieces are counted
SURFACE_MM, SPECK = 3.0, 3  # depth of the brain's surface; voxels of the largest piece that is dust


def cortex(tissue: np.ndarray) -> dict[str, float]:
    """How far white and grey matter lie from fluid or outside, and how much fluid is thinner than 3 mm."""
    upper = tissue[:, :, ABOVE:]
    depth = near(upper <= Tissue.CSF, 30.0, spacing(AFFINE))
    white, grey = depth[upper == Tissue.WM], depth[upper == Tissue.GM]
    thin = near(upper != Tissue.CSF, 3.0, spacing(AFFINE))[upper == Tissue.CSF] <= 1.5
    return {
        "white matter's depth, 20 %": np.percentile(white, 20),
        "grey matter's depth, 50 %": np.median(grey),
        "grey matter's depth, 80 %": np.percentile(grey, 80),
        "fluid in sheets": thin.mean(),
    }


def shares(layout: Layout, detail: Detail) -> dict[str, float]:
    """Mean shares, voxels of one tissue, and how steeply t1 of unit contrast would change by depth."""
    known = layout.brain & (layout.tumour == 0)
    grey = detail.gm(layout.tissue)
    pure = np.maximum(np.maximum(detail.csf, detail.wm), grey) == EIGHTHS
    image = (0.15 * detail.csf + 0.6 * grey + 0.75 * detail.wm) / EIGHTHS
    slope = np.hypot(*np.gradient(image, axis=(0, 1)))
    depth = distance_transform_edt(layout.brain)
    out = {
        "CSF": detail.csf[known].mean() / EIGHTHS,
        "white matter": detail.wm[known].mean() / EIGHTHS,
        "voxels of one tissue": pure[known].mean(),
    }
    for low, high in DEPTHS_MM:
        out[f"slope at {low} to {high} mm"] = np.median(slope[known & (depth > low) & (depth <= high)])
    return out


def dust(layout: Layout, detail: Detail) -> dict[str, float]:
    """How much of what is mostly fluid, void or vessel at the brain's surface is in pieces of a few voxels."""
    known = layout.brain & (layout.tumour == 0)
    surface = known & (near(~layout.brain, SURFACE_MM + 1, spacing(AFFINE)) <= SURFACE_MM)
    out = {}
    for name, much in (("fluid", detail.csf > 5), ("void", detail.void > 1), ("vessels", detail.vessels >= BRIGHT)):
        pieces, sizes = components(much & known)
        at = surface & (pieces > 0)
        out[f"{name} at the surface"] = at.sum() / surface.sum()
        out[f"{name}, of it dust"] = (sizes[pieces[at]] <= SPECK).mean()
    return out


def vessels(layout: Layout, detail: Detail) -> dict[str, float]:
    """How much there is, in how many pieces, and how bright the neighbours of the brightest voxels are."""
    known = layout.brain & (layout.tumour == 0)
    levels = detail.vessels * known
    beside = sum(np.roll(levels, step, axis) for step in (-1, 1) for axis in range(3)) / 6
    _, sizes = components(levels >= BRIGHT)
    return {
        "mean vessels": levels[known].mean(),
        "pieces": len(sizes) - 1,
        "largest piece": sizes[1:].max(),
        "beside the brightest": beside[levels == VESSEL_LEVELS].mean(),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("layouts", type=Path)
    parser.add_argument("-n", type=int, default=8, help="atlas brains")
    parser.add_argument("--drawn", type=Path, help="samples in place of atlas brains")
    options = parser.parse_args()
    rows = []
    drawn = folder_sources(options.drawn) if options.drawn else AtlasAnatomies(options.n)
    for sources in (folder_sources(options.layouts), drawn):
        found = []
        for source in sources:
            layout, detail = source.load(), source.detail(False)
            parts = (shares(layout, detail), vessels(layout, detail), dust(layout, detail))
            found.append(cortex(layout.tissue) | parts[0] | parts[1] | parts[2])
        rows.append({name: float(np.median([one[name] for one in found])) for name in found[0]})
    print(f"{'':28s}{'real':>10s}{'drawn':>10s}{'ratio':>8s}")
    for name, real in rows[0].items():
        print(f"{name:28s}{real:10.4g}{rows[1][name]:10.4g}{rows[1][name] / real:8.2f}")


if __name__ == "__main__":
    main()
