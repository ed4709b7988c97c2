"""What could be gained by a layer of deep grey nuclei: how like painted scans are real ones there, and elsewhere.

Usage: python benchmarks/deep_grey.py REAL PAINTED [--cases N]

PAINTED are the cases of REAL, painted from their own layouts (`benchmarks/paint_unseen.py`, `synth reconstruct`). For
each modality, medians over the cases: SSIM and the mean absolute difference (in the brain's deviations) where the
nuclei and the thalami lie in MNI space and in healthy tissue as far from the brain's edge but elsewhere, without fluid;
then what the whole brain's SSIM would be if the nuclei were painted as well as that.
"""

import argparse
from pathlib import Path

import numpy as np
from scipy.ndimage import distance_transform_edt

from synth import open_set
from synth.brats import MODALITIES, Tissue
from synth.layout.lobes import mni
from synth.layout.tissue import extract_layout
from synth.quality.similarity import ssim_map

LOW, HIGH = np.array([-34, -28, -8]), np.array([34, 18, 16])  # mm MNI: caudate heads, putamen, pallidum, thalamus
DEPTH_MM = 20  # below the brain's edge: the nuclei are deeper


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("real", type=Path)
    parser.add_argument("painted", type=Path)
    parser.add_argument("--cases", type=int)
    args = parser.parse_args()
    real, painted = (open_set(path, scans=True) for path in (args.real, args.painted))
    rows = [of_case(real[name].read(), painted[name].read()) for name in real.ids[: args.cases]]
    names = ("SSIM, nuclei", "elsewhere", "|d|, nuclei", "elsewhere", "SSIM, brain", "at most")
    print(f"{len(rows)} cases; nuclei are {np.median([row[1] for row in rows]):.1%} of the brain")
    print(f"{'':8}{''.join(f'{name:>15}' for name in names)}")
    for modality, values in zip(MODALITIES, np.median([row[0] for row in rows], 0), strict=True):
        print(f"{modality:8}{''.join(f'{value:15.3f}' for value in values)}")


def of_case(real, painted):
    """(modality, six numbers), and the nuclei's share of the brain."""
    layout = extract_layout(real)
    box = layout.bounding_box()
    tissue, brain = layout.tissue[box], layout.tissue[box] > 0
    points = np.argwhere(brain) + [part.start for part in box]
    near = np.zeros(brain.shape, bool)
    mm = mni(points, layout.shape)
    near[brain] = ((mm >= LOW) & (mm <= HIGH)).all(1)
    solid = brain & (tissue != Tissue.CSF) & (layout.tumour[box] == 0)
    deep = solid & (distance_transform_edt(brain) > DEPTH_MM)
    nuclei, rest = deep & near, deep & ~near
    out = []
    for m in range(len(MODALITIES)):
        images = [case.images[box][..., m].astype(np.float32) for case in (real, painted)]
        scaled = [(image - image[brain].mean()) / image[brain].std() * brain for image in images]
        likeness = ssim_map(*scaled, data_range=float(np.ptp(np.percentile(scaled[0][brain], (0.5, 99.5)))))
        apart, whole = np.abs(scaled[0] - scaled[1]), likeness[brain].mean()
        gain = max(likeness[rest].mean() - likeness[nuclei].mean(), 0) * nuclei.sum() / brain.sum()
        numbers = [values[where].mean() for values in (likeness, apart) for where in (nuclei, rest)]
        out.append((*numbers, whole, whole + gain))
    return np.array(out), nuclei.sum() / brain.sum()


if __name__ == "__main__":
    main()
