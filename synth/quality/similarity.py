"""Similarity of a painted scan to the real one, and texture: the numbers that training and reports share."""

import numpy as np
from scipy.ndimage import binary_erosion, uniform_filter

from synth.style import local_std

SSIM_WINDOW = 7


def ssim_map(real: np.ndarray, other: np.ndarray, data_range: float = 1.0) -> np.ndarray:
    """Local structural similarity of two volumes, same shape as they, -1..1.

    Uniform 7x7x7 windows, sample covariance, K1 = 0.01, K2 = 0.03 (Wang et al. 2004,
    doi:10.1109/TIP.2003.819861): equal to `skimage.metrics.structural_similarity(..., full=True)`.
    """
    x, y = real.astype(np.float64), other.astype(np.float64)
    n = SSIM_WINDOW**x.ndim
    sample = n / (n - 1)
    mean_x, mean_y = uniform_filter(x, SSIM_WINDOW), uniform_filter(y, SSIM_WINDOW)
    var_x = sample * (uniform_filter(x * x, SSIM_WINDOW) - mean_x**2)
    var_y = sample * (uniform_filter(y * y, SSIM_WINDOW) - mean_y**2)
    covariance = sample * (uniform_filter(x * y, SSIM_WINDOW) - mean_x * mean_y)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    return ((2 * mean_x * mean_y + c1) * (2 * covariance + c2)) / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))


def psnr(real: np.ndarray, other: np.ndarray, mask: np.ndarray, data_range: float = 1.0) -> float:
    """Peak signal-to-noise ratio in dB over the voxels of `mask`; infinite for equal images."""
    error = float(np.mean((real[mask].astype(np.float64) - other[mask]) ** 2))
    return float("inf") if error == 0 else float(10 * np.log10(data_range**2 / error))


def healthy_tissue(classes: np.ndarray) -> np.ndarray:
    """Voxels of CSF, GM and WM one voxel away from tumour and background; `classes` as `Layout.classes`."""
    return binary_erosion((classes > 0) & (classes < 4))


def texture_level(image: np.ndarray, healthy: np.ndarray) -> float:
    """Fine texture where it is flat: the 20th percentile of the 3x3x3 local standard deviation in `healthy`."""
    return float(np.percentile(local_std(image)[healthy], 20)) if healthy.any() else 0.0


def scaled(image: np.ndarray, reference: np.ndarray, brain: np.ndarray) -> np.ndarray:
    """`image` in units where 0 and 1 are the 0.5 and 99.5 percentiles of `reference` in `brain`; 0 outside."""
    low, high = np.percentile(reference[brain], (0.5, 99.5))
    return np.where(brain, (image.astype(np.float32) - low) / max(high - low, 1e-6), 0).astype(np.float32)
