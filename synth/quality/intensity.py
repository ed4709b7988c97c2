"""Intensities: the distribution of each modality in each class, contrasts between classes, and steps at label borders.

Arrays of the probe `intensity`; modalities in the order of `brats.MODALITIES`, classes in that of `brats.CLASSES`
(CSF, GM, WM, NCR, ED, ET), values z-scored in the brain, so that the unit is the brain's standard deviation:

- `quantiles`: (4, 6, 101) float32, the 0th to 100th percentile; NaN where the class has fewer than 200 voxels;
- `mean`, `sd`: (4, 6) float32, NaN likewise;
- `count`: (6,) int32, voxels of the class;
- `contrast`: (4, 6) float32, difference of the medians of two classes, as `CONTRASTS` names them; NaN where either is;
- `profile`: (3, 4, 12) float32, mean value by signed distance from the border of WT, TC and ET: shells of 1 mm, six
  inside (deepest first) and six outside, inside the brain; NaN where a shell has fewer than 50 voxels;
- `step`: (3, 4) float32, mean of the two shells inside the border minus that of the two outside, NaN likewise.
"""

import numpy as np

from synth.brats import CLASSES, MODALITIES, REGIONS
from synth.layout.space import box_of, near, spacing
from synth.quality.prepared import Prepared
from synth.quality.probes import Probe

LEAST = 200  # voxels of a class; a percentile of fewer says more about chance than about the scan
CONTRASTS = (("GM", "CSF"), ("WM", "GM"), ("ED", "WM"), ("ET", "WM"), ("ET", "NCR"), ("ET", "ED"))
CONTRAST_NAMES = tuple(f"{a} - {b}" for a, b in CONTRASTS)
REACH = 6  # mm on either side of a border; shells further inside are empty in many tumours
SHELL_LEAST = 50
_PERCENTILES = np.arange(101)


def measure_intensity(prepared: Prepared) -> dict[str, np.ndarray]:
    """The intensities of one case, as the head of this module lists them."""
    shape = (len(MODALITIES), len(CLASSES))
    quantiles = np.full((*shape, len(_PERCENTILES)), np.nan, np.float32)
    mean, sd = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
    count = np.bincount(prepared.classes.ravel(), minlength=len(CLASSES) + 1)[1:].astype(np.int32)
    for k in np.flatnonzero(count >= LEAST):
        inside = prepared.classes == k + 1
        values = np.stack([prepared.z[..., m][inside] for m in range(len(MODALITIES))])  # (4, n)
        quantiles[:, k] = sorted_quantiles(values, _PERCENTILES / 100)
        mean[:, k], sd[:, k] = values.mean(1, dtype=np.float64), values.std(1, dtype=np.float64)
    median = quantiles[..., 50]
    index = [[CLASSES.index(name) for name in pair] for pair in CONTRASTS]
    profiles = profile(prepared)
    return {
        "quantiles": quantiles,
        "mean": mean,
        "sd": sd,
        "count": count,
        "contrast": np.stack([median[:, a] - median[:, b] for a, b in index], 1),
        "profile": profiles,
        "step": profiles[..., REACH - 2 : REACH].mean(-1) - profiles[..., REACH : REACH + 2].mean(-1),
    }


def sorted_quantiles(values: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """(rows, levels) quantiles along the last axis, linear between order statistics: those of `np.quantile`."""
    ordered = np.sort(values, -1)
    place = levels * (ordered.shape[-1] - 1)
    low = np.floor(place).astype(int)
    high = np.minimum(low + 1, ordered.shape[-1] - 1)
    return ordered[..., low] + (place - low) * (ordered[..., high] - ordered[..., low])


def profile(prepared: Prepared) -> np.ndarray:
    """(3, 4, 12) mean of each modality by signed distance from the border of WT, TC, ET; negative inside comes first.

    A border that follows what is seen has a step at 0; where labels are too large, too small or beside the tumour,
    the step is elsewhere. Distances are those between voxel centres, so the border itself lies half a voxel off.
    """
    out = np.full((len(REGIONS), len(MODALITIES), 2 * REACH), np.nan, np.float32)
    zooms = spacing(prepared.case.affine)
    for r, members in enumerate(REGIONS.values()):
        region_box = box_of(np.isin(prepared.labels, members))
        if region_box is None:
            continue
        pad = [int(np.ceil((REACH + 1) / zoom)) for zoom in zooms]
        box = tuple(slice(max(part.start - n, 0), part.stop + n) for part, n in zip(region_box, pad, strict=True))
        mask = np.isin(prepared.labels[box], members)
        outside = near(mask, REACH, zooms)
        inside = near(~np.pad(mask, 1), REACH, zooms)[1:-1, 1:-1, 1:-1]
        # the first voxels on either side are 1 mm from the other's centre: shells (0, 1], (1, 2], ...; -1: beyond
        away = np.where(mask, 1 - np.ceil(inside), np.ceil(outside))
        shell = np.where(np.isinf(away), -1, REACH - 1 + away).astype(int)
        used = prepared.brain[box] & (shell >= 0) & (shell < 2 * REACH)
        shell = shell[used]
        counts = np.bincount(shell, minlength=2 * REACH)
        for m in range(len(MODALITIES)):
            sums = np.bincount(shell, prepared.z[box][..., m][used], minlength=2 * REACH)
            out[r, m] = np.where(counts >= SHELL_LEAST, sums / np.maximum(counts, 1), np.nan)
    return out


PROBE = Probe("intensity", "1", measure_intensity)
