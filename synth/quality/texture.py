"""Texture: how neighbouring voxels of one class differ: co-occurrence, gradients, local deviation and noise.

Array of the probe `texture`:

- `features`: (4, 4, 9) float32, modality x class (`CLASSES` here: GM, WM, ED, ET) x feature (`FEATURES`); NaN where
  the class has fewer than 500 voxels whose 26 neighbours all lie in the brain.

Values are z-scored in the brain. Co-occurrence (Haralick et al. 1973, doi:10.1109/TSMC.1973.4309314) counts the
pairs of neighbours in the 13 directions of 3D, both in the class, symmetrically, over 64 levels of fixed width from
-3 to 5: contrast, homogeneity (inverse difference moment), correlation, energy (root of the angular second moment)
and entropy (bits). The others: `gradient` and `gradient90`, mean and 90th percentile of the length of the gradient by
central differences, per mm; `local_sd`, mean deviation in 3x3x3 voxels; `noise`, the deviation of white noise that
would leave what the mean of the six face neighbours does not explain (median absolute, so that edges count little;
after Immerkaer 1996, doi:10.1006/cviu.1996.0060).
"""

import numpy as np

from synth.brats import CLASSES as ALL
from synth.brats import MODALITIES
from synth.layout.space import spacing
from synth.quality.prepared import Prepared
from synth.quality.probes import Probe

CLASSES = ("GM", "WM", "ED", "ET")
FEATURES = (
    "contrast",
    "homogeneity",
    "correlation",
    "energy",
    "entropy",
    "gradient",
    "gradient90",
    "local_sd",
    "noise",
)
LEVELS, RANGE = 64, (-3.0, 5.0)
LEAST = 500  # voxels; few pairs leave most of a co-occurrence matrix empty
MOST = 30_000  # voxels of a class, evenly spread; on two scans features are within 4 % of those of all voxels
_STEPS = np.array(list(np.ndindex(3, 3, 3))) - 1  # (27, 3)
_FORWARD = np.flatnonzero([tuple(step) > (0, 0, 0) for step in _STEPS])  # one of each opposite two
_CENTRE = 13
_FACES = np.array([[4, 22], [10, 16], [12, 14]])  # neighbours before and after, along each axis
_MAD = 1.4826  # median absolute deviation of a normal distribution to its standard deviation


def measure_texture(prepared: Prepared) -> dict[str, np.ndarray]:
    """The texture of one case, as the head of this module lists it."""
    out = np.full((len(MODALITIES), len(CLASSES), len(FEATURES)), np.nan, np.float32)
    classes, zooms = np.pad(prepared.classes, 1), spacing(prepared.case.affine)
    z = [np.pad(prepared.z[..., m], 1).ravel() for m in range(len(MODALITIES))]
    flat, offsets = classes.ravel(), _STEPS @ _strides(classes.shape)
    for c, name in enumerate(CLASSES):
        value = ALL.index(name) + 1
        around = _around(np.flatnonzero(flat == value), flat, offsets)
        if len(around) < LEAST:
            continue
        same = flat[around[:, _FORWARD]] == value
        for m in range(len(MODALITIES)):
            out[m, c] = _features(z[m][around], same, zooms)
    return {"features": out}


def _strides(shape: tuple[int, ...]) -> np.ndarray:
    return np.array([shape[1] * shape[2], shape[2], 1])


def _around(places: np.ndarray, flat: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """(n, 27) flat indices of the neighbourhoods that lie in the brain, of at most `MOST` places evenly spread."""
    around = places[:: max(len(places) // (2 * MOST), 1), None] + offsets
    around = around[(flat[around] > 0).all(1)]
    return around[:: -(-len(around) // MOST)] if len(around) else around


def _features(values: np.ndarray, same: np.ndarray, zooms) -> np.ndarray:
    """(9,) features of (n, 27) values; `same` (n, 13) says which forward neighbours are of the same class."""
    levels = quantised(values)
    first = np.broadcast_to(levels[:, _CENTRE, None], same.shape)[same]
    matrix = cooccurrence(first, levels[:, _FORWARD][same])
    lengths = gradient_length(values, zooms)
    residual = values[:, _CENTRE] - values[:, _FACES.ravel()].mean(1)
    noise = _MAD * np.median(np.abs(residual)) / np.sqrt(1 + 1 / _FACES.size)
    return np.array([*haralick(matrix), lengths.mean(), np.quantile(lengths, 0.9), values.std(1).mean(), noise])


def quantised(values: np.ndarray) -> np.ndarray:
    """Grey level 0..63 of z-scored values; what lies beyond `RANGE` takes the outermost levels."""
    low, high = RANGE
    return ((values - low) * (LEVELS / (high - low))).clip(0, LEVELS - 1).astype(np.int32)


def cooccurrence(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(64, 64) symmetric co-occurrence matrix of pairs of levels, sum 1."""
    counts = np.bincount(first * LEVELS + second, minlength=LEVELS**2).reshape(LEVELS, LEVELS)
    counts = counts + counts.T
    return counts / max(counts.sum(), 1)


def haralick(matrix: np.ndarray) -> tuple[float, float, float, float, float]:
    """Contrast, homogeneity, correlation, energy and entropy (bits) of a symmetric co-occurrence matrix.

    As `skimage.feature.graycoprops`; the correlation of a single level is 1.
    """
    i, j = np.indices(matrix.shape)
    squared = (i - j) ** 2
    share = matrix.sum(1)
    mean = share @ np.arange(len(share))
    variance = share @ (np.arange(len(share)) - mean) ** 2
    covariance = (matrix * (i - mean) * (j - mean)).sum()
    seen = matrix[matrix > 0]
    return (
        float((matrix * squared).sum()),
        float((matrix / (1 + squared)).sum()),
        float(covariance / variance) if variance > 1e-12 else 1.0,
        float(np.sqrt((matrix**2).sum())),
        float(-(seen * np.log2(seen)).sum()),
    )


def gradient_length(values: np.ndarray, zooms) -> np.ndarray:
    """(n,) length of the gradient in the middle of (n, 27) neighbourhoods, per mm, by central differences."""
    parts = (values[:, _FACES[:, 1]] - values[:, _FACES[:, 0]]) / (2 * np.asarray(zooms, np.float32))
    return np.sqrt((parts**2).sum(1))


PROBE = Probe("texture", "1", measure_texture)
