"""Print how steady and how large the detail is that is taken from scans.

Usage: python benchmarks/detail_of_scans.py DATA [--cases 16]

For each case: the share of healthy voxels whose CSF, GM or WM differ by more than an eighth between two copies of the
scan to which noise of its own level and grain was added (layout, style and detail found anew in each); the share of
deep white matter that is all white; of healthy voxels that are of one tissue; bits a voxel of the brain that detail
takes when compressed, beside those of the tissue map; and CPU seconds.
"""

import argparse
import time
from dataclasses import replace

import numpy as np
from scipy.ndimage import binary_erosion, gaussian_filter

from synth import Case, open_set
from synth.brats import MODALITIES, Tissue
from synth.layout.detail import EIGHTHS, Detail, bits_a_voxel
from synth.layout.layout import Layout
from synth.layout.tissue import extract_layout
from synth.style.shares import measure_detail
from synth.style.style import Style, local_std, measure_style

MOST_GRAIN = 1.2  # voxels, as painted


def found(case: Case) -> tuple[Layout, Style, Detail, float]:
    """Layout, style and detail of a scan, and the CPU seconds of the detail."""
    layout = extract_layout(case)
    style = measure_style(case, layout)
    start = time.process_time()
    detail, _ = measure_detail(case, layout, style)
    return layout, style, detail, time.process_time() - start


def noisier(case: Case, style: Style, seed: int) -> Case:
    """The scan with as much noise added as it has."""
    rng = np.random.default_rng(seed)
    images = case.images.astype(np.float32)
    for m in range(len(MODALITIES)):
        grain = np.clip(style.sharpness[m], 0.25, MOST_GRAIN)
        noise = gaussian_filter(rng.standard_normal(images.shape[:3]).astype(np.float32), grain)
        local = local_std(noise)
        low, high = style.window[m]
        noise *= style.texture[m] * (high - low) / np.percentile(local[::4, ::4, ::4], 20)
        images[..., m] += noise
    images = np.rint(np.maximum(images, 1)) * case.brain[..., None]
    return replace(case, images=images.astype(case.images.dtype))


def main():
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--cases", type=int, default=16)
    args = parser.parse_args()
    rows = []
    for member in open_set(args.data, scans=True).members[: args.cases]:
        case = member.read()
        layout, style, detail, seconds = found(case)
        healthy = layout.brain & (layout.tumour == 0)
        shares = detail.shares(layout.tissue)
        copies = []
        for seed in (1, 2):
            other, _, again, _ = found(noisier(case, style, seed))
            copies.append(again.shares(other.tissue).astype(np.int8))
        changed = (np.abs(copies[0] - copies[1]) > 1).any(-1)[healthy].mean()
        deep = binary_erosion(layout.tissue == Tissue.WM, iterations=3) & healthy
        rows.append(
            (
                changed,
                (detail.wm[deep] == EIGHTHS).mean(),
                (shares.max(-1) == EIGHTHS)[healthy].mean(),
                bits_a_voxel(detail.layers, layout.brain),
                bits_a_voxel([layout.tissue], layout.brain),
                seconds,
            )
        )
        changed, white, pure, taken, plain, seconds = rows[-1]
        print(
            f"{member.id}: changed {changed:.1%}, deep white all white {white:.0%}, of one tissue {pure:.0%}, "
            f"{taken:.2f} bits a voxel (tissue {plain:.2f}), {seconds:.1f} s",
            flush=True,
        )
    names = ("changed", "deep white all white", "of one tissue", "bits a voxel", "bits of tissue", "seconds")
    for name, values in zip(names, np.transpose(rows), strict=True):
        print(f"{name:21s} median {np.median(values):.3f}, mean {values.mean():.3f}, largest {values.max():.3f}")


if __name__ == "__main__":
    main()
