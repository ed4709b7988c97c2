"""Whether a reconstruction depends on the scale that a scan comes on: real cases as 0..1, int16, 0..60000 and uint8.

    python benchmarks/intensity_scale.py DATA              # DATA: a folder with brats/val; one line a case and scale
    python benchmarks/intensity_scale.py DATA --cases 1 --kinds unit,eight --split train

Each output goes through the window that it was written with and is compared with that of the case as it is. Bars: 500
grey levels in every modality; within 1/1000 of the window in 99 % of the brain's voxels (uint8: 8/1000). Eight bits
spread up to a scan's brightest vessel leave some 100 levels for its tissue: what becomes of that is told, not judged.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from synth.brats import MODALITIES
from synth.case import Case
from synth.datasets.sets import open_set
from synth.hosts.extract import layout_and_style
from synth.models.weights import load_generator
from synth.runs.painted_case import to_case
from synth.style.scale import INT16_MAX, LEAST_LEVELS, WINDOW_PERCENTILES, Window, output_window

CUT = 99.5  # percentile of the brain that "eight" puts at 255 (what is above it, too), as converters to 8 bits do
KINDS = {  # name: the highest intensity of each modality, whether rounded, and the tolerance
    "unit": (1.0, False, 1e-3),
    "sixty": (60_000.0, True, 1e-3),
    "tiny": (1e-6, False, 1e-3),
    "eight": (255.0, True, 8e-3),
    "eight-by-maximum": (255.0, True, None),
    "hundred": (100.0, True, None),
    "twenty": (20.0, True, None),
    "five": (5.0, True, None),
}
SHARE = 0.99


def main() -> int:
    """Print a line for each case and scale; exit code 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", default="val", choices=("train", "val"))
    parser.add_argument("--cases", type=int, default=4)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--kinds", default=",".join(KINDS))
    options = parser.parse_args()
    painter, _ = load_generator("default")
    missed = 0
    for member in open_set(options.data / "brats" / options.split, scans=True).members[options.first :][
        : options.cases
    ]:
        case = member.read("optional")
        truth, window = painted(case, painter)
        missed += told(f"{case.id} as it is", truth, window, case.brain)
        for kind in options.kinds.split(","):
            highest, rounded, tolerance = KINDS[kind]
            given = cut(case) if kind == "eight" else case
            other, scale = painted(rescaled(given, highest, rounded), painter)
            missed += told(f"{case.id} {kind}", other, scale, case.brain)
            missed += compared(normalised(truth, window), normalised(other, scale), case.brain, tolerance)
    print("every bar is kept" if not missed else f"{missed} bars are missed")
    return 1 if missed else 0


def rescaled(case: Case, highest: float, rounded: bool) -> Case:
    """The case with every modality's highest intensity at `highest`, float32 as the door leaves it."""
    images = case.images * (highest / case.images.max((0, 1, 2)).astype(np.float64))
    return Case(case.id, (np.rint(images) if rounded else images).astype(np.float32), case.labels, case.affine)


def cut(case: Case) -> Case:
    """The case with every modality cut at its `CUT` percentile."""
    above = [np.percentile(part[part > 0], CUT) for part in np.moveaxis(case.images, -1, 0)]
    return Case(case.id, np.minimum(case.images, np.array(above, np.float32)), case.labels, case.affine)


def painted(case: Case, painter) -> tuple[Case, Window]:
    """The case painted anew as samples are, and the window it is written on."""
    layout, style = layout_and_style(case, detail=painter.sees_detail)
    window = output_window(style)
    return to_case(case.id, layout, painter(layout, style, (1, 2)), window), window


def normalised(case: Case, window: Window) -> np.ndarray:
    """(X, Y, Z, 4) float32."""
    low, high = np.array(window, np.float32).T
    return (case.images - low) / (high - low)


def told(name: str, case: Case, window: Window, brain: np.ndarray) -> int:
    """Print the windows, grey levels and ends of an output; how many modalities have too few levels."""
    print(name, flush=True)
    few = 0
    for m, modality in enumerate(MODALITIES):
        values = case.images[..., m][brain & (case.images[..., m] > 0)]
        low, high = np.percentile(values, WINDOW_PERCENTILES)
        counts = np.bincount(values)
        levels, inner = np.count_nonzero(counts), np.count_nonzero(counts[int(low) : int(high) + 1])
        a, b = window[m]
        few += levels < LEAST_LEVELS
        print(
            f"  {modality:6} window {a:9.3f} to {b:9.3f}: {levels} levels, {inner} between the percentiles, "
            f"{(values.min() - a) / (b - a):.2f} to {(values.max() - a) / (b - a):.2f}; "
            f"cut below {np.mean(values == 1):.5f}, above {np.mean(values == INT16_MAX):.5f}"
        )
    return few


def compared(truth: np.ndarray, other: np.ndarray, brain: np.ndarray, tolerance: float | None) -> int:
    """Print how near two outputs are, modality by modality; how many miss the bar."""
    missed = 0
    for m, modality in enumerate(MODALITIES):
        error = np.abs(truth[..., m] - other[..., m])[brain]
        line = f"  {modality:6} 50, 99, 99.9 % of voxels within " + " ".join(
            f"{1000 * q:.3f}" for q in np.percentile(error, (50, 99, 99.9))
        )
        if tolerance is None:
            print(f"{line} thousandths")
            continue
        share = float(np.mean(error <= tolerance))
        missed += share < SHARE
        print(f"{line} thousandths; {share:.5f} within {1000 * tolerance:g}" + " MISSED" * (share < SHARE))
    return missed


if __name__ == "__main__":
    sys.exit(main())
