"""How much fine structure an image has, beside the real one that it stands for: bands of frequency, edges, tails.

Blur takes power from high frequencies, steepness from edges and, where there is structure, weight from the tails of the
Laplacian, which noise (kurtosis 3) does not have. Each is a ratio to the real image; 1 is as it should be.
"""

import numpy as np
from scipy.fft import rfftn
from scipy.ndimage import binary_erosion, gaussian_filter, laplace

BANDS = ((0.1, 0.2), (0.2, 0.3), (0.3, 0.5))  # cycles a voxel
STEEP = 99  # percentile of the gradient
_RIM, _SOFT = 3, 1.5  # voxels that are left out at the brain's edge, and the softness of what is left
_LOW = 1.5  # voxels: a Gaussian that lets half of the amplitude at 0.125 cycles a voxel pass


def fine_ratios(real: np.ndarray, image: np.ndarray, brain: np.ndarray) -> dict[str, float]:
    """Ratios of an image to the real one: `power_0.1` and so on (by where bands begin), `gradient`, `kurtosis`.

    Args:
        real: (x, y, z) float32.
        image: of the same shape and units.
        brain: (x, y, z) bool; what lies within three voxels of its edge does not count.

    Returns:
        NaN where the real image has nothing to compare with.
    """
    inside = binary_erosion(brain, iterations=_RIM)
    if not inside.any():
        return dict.fromkeys((*(f"power_{low:g}" for low, _ in BANDS), "gradient", "kurtosis"), float("nan"))
    window = gaussian_filter(inside.astype(np.float32), _SOFT)
    frequency = _frequencies(real.shape)
    power = [_power(part, inside, window, frequency) for part in (real, image)]
    steep = [np.percentile(np.sqrt(sum(g * g for g in np.gradient(part)))[inside], STEEP) for part in (real, image)]
    tails = [_kurtosis(laplace(part)[inside]) for part in (real, image)]
    out = {f"power_{low:g}": _ratio(power[1][k], power[0][k]) for k, (low, _) in enumerate(BANDS)}
    return {**out, "gradient": _ratio(steep[1], steep[0]), "kurtosis": _ratio(tails[1], tails[0])}


def low_passed(image: np.ndarray) -> np.ndarray:
    """The image without what is finer than about 8 voxels."""
    return gaussian_filter(image, _LOW)


def _frequencies(shape) -> np.ndarray:
    lines = [np.fft.fftfreq(n) for n in shape[:-1]] + [np.fft.rfftfreq(shape[-1])]
    return np.sqrt(sum(part**2 for part in np.meshgrid(*lines, indexing="ij", sparse=True)))


def _power(image, inside, window, frequency) -> list[float]:
    waves = rfftn((image - image[inside].mean()) * window)
    strength = waves.real**2 + waves.imag**2
    return [float(strength[(frequency >= low) & (frequency < high)].sum()) for low, high in BANDS]


def _kurtosis(values: np.ndarray) -> float:
    second = float((values**2).mean())
    return float((values**4).mean()) / second**2 if second else 0.0


def _ratio(value: float, real: float) -> float:
    return float(value / real) if real > 0 else float("nan")
