"""Print what real tumour maps do: the table behind the limits in `synth.layout.law`.

Usage: python benchmarks/measure_real_maps.py /path/to/data   (with labels/full, atlas and brats/val below it)
"""

import sys
from pathlib import Path

import nibabel as nib
import numpy as np

from synth.brats import AFFINE, Tumour
from synth.layout.law import measure, violations
from synth.layout.layout import Layout

SHARES = (0, 1, 5, 25, 50, 75, 95, 97, 99, 100)


def read(path: Path) -> np.ndarray:
    """A label map in C order with ET = 3."""
    labels = np.ascontiguousarray(np.asanyarray(nib.load(path).dataobj).astype(np.uint8))
    labels[labels == 4] = Tumour.ET
    return labels


def row(name: str, values):
    """One line of percentiles."""
    print(f"{name:24s}", "  ".join(f"{v:8.4f}" for v in np.percentile(np.asarray(values, float), SHARES)))


def main(data: Path):
    """Read every map once, measure it on the SRI24 tissue, and print."""
    tissue = read(data / "atlas" / "sri24_tissues.nii.gz")
    held_out = [read(path) > 0 for path in sorted(data.glob("brats/val/*/*_seg.nii.gz"))]
    facts, outside, unlawful = [], [], 0
    for path in sorted((data / "labels" / "full").glob("*.nii.gz")):
        labels = read(path)
        mask = labels > 0
        if any(2 * np.count_nonzero(mask & other) > 0.95 * (mask.sum() + other.sum()) for other in held_out):
            print(f"left out, a validation case: {path.name}")
            continue
        outside.append(np.count_nonzero(mask & (tissue == 0)) / mask.sum())
        layout = Layout(tissue, np.where(tissue > 0, labels, 0).astype(np.uint8), AFFINE, path.name)
        facts.append(measure(layout))
        unlawful += bool(violations(layout, lost=outside[-1]))
    print(f"{len(facts)} maps on the SRI24 tissue; percentiles {SHARES}")
    row("outside_atlas_brain", outside)
    for name in vars(facts[0]):
        row(name, [getattr(f, name) for f in facts])
    print(f"beyond at least one limit: {unlawful} of {len(facts)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
