"""Noise taken out of a scan before its voxels are told apart: non-local means over all four modalities at once."""

import numpy as np

from synth.layout.nonlocal_means import averaged
from synth.style.style import GRAINS, P20_OF_RMS, Style

_LEAST_NOISE = 0.004  # of an image without any


def noise_of(style: Style) -> np.ndarray:
    """(4,) standard deviation of each modality's noise, in normalised units: its texture, which grain makes smaller."""
    lag = np.exp(-0.25 * (np.arange(1, 3) / np.clip(np.asarray(style.sharpness), *GRAINS)[..., None]) ** 2)
    together = ((3 + 4 * lag[..., 0] + 2 * lag[..., 1]) / 9).prod(-1)
    return np.maximum(np.asarray(style.texture) / (P20_OF_RMS * np.sqrt(1 - together)), _LEAST_NOISE)


def denoised(images: np.ndarray, brain: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """(4, x, y, z) float32: images without most of their noise.

    Args:
        images: (x, y, z, 4) float32.
        brain: (x, y, z) bool; nothing outside has a say.
        noise: (4,) deviation of each modality's.
    """
    out = np.where(brain, np.moveaxis(images, -1, 0) / noise.astype(np.float32)[:, None, None, None], 0)
    return averaged(out, brain) * noise.astype(np.float32)[:, None, None, None]
