"""How much fine structure an image has: bands of frequency, edges, tails; alone, or beside the real one it stands for.

Blur takes power from high frequencies, steepness from edges and, where there is structure, weight from the tails of the
Laplacian, which noise (kurtosis 3) does not have. `fine_ratios` compares an image with its original. The array of the
probe `fine` is of one scan alone:

- `tails`: (4, 2) float32, modality x `TAILS`, of z-scored intensities at voxels spread over the brain; NaN where the
  brain is too thin to have any.
"""

import numpy as np
from scipy.fft import rfftn
from scipy.ndimage import gaussian_filter, laplace

from synth.brats import MODALITIES
from synth.layout.space import eroded
from synth.quality.prepared import Prepared
from synth.quality.probes import Probe

BANDS = ((0.1, 0.2), (0.2, 0.3), (0.3, 0.5))  # cycles a voxel
STEEP = 99  # percentile of the gradient
_RIM, _SOFT = 3, 1.5  # voxels that are left out at the brain's edge, and the softness of what is left
TAILS = ("steepest gradients", "kurtosis of the Laplacian")
MOST = 60_000  # voxels, evenly spread; on two scans gradients are within 2 % of those of all, kurtosis within 23 %
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
    inside = eroded(brain, _RIM)
    if not inside.any():
        return dict.fromkeys((*(f"power_{low:g}" for low, _ in BANDS), "gradient", "kurtosis"), float("nan"))
    window = gaussian_filter(inside.astype(np.float32), _SOFT)
    frequency = _frequencies(real.shape)
    power = [_power(part, inside, window, frequency) for part in (real, image)]
    steep = [np.percentile(np.sqrt(sum(g * g for g in np.gradient(part)))[inside], STEEP) for part in (real, image)]
    tails = [kurtosis(laplace(part)[inside]) for part in (real, image)]
    out = {f"power_{low:g}": _ratio(power[1][k], power[0][k]) for k, (low, _) in enumerate(BANDS)}
    return {**out, "gradient": _ratio(steep[1], steep[0]), "kurtosis": _ratio(tails[1], tails[0])}


def measure_fine(prepared: Prepared) -> dict[str, np.ndarray]:
    """The fine structure of one case, as the head of this module lists it."""
    out = np.full((len(MODALITIES), len(TAILS)), np.nan, np.float32)
    inside = np.flatnonzero(eroded(prepared.brain, _RIM))
    places = inside[:: max(len(inside) // MOST, 1)]
    if len(places):
        for m in range(len(MODALITIES)):
            _, lengths, curved = neighbourhood(prepared.z[..., m], places)
            out[m] = np.percentile(lengths, STEEP), kurtosis(curved)
    return {"tails": out}


def neighbourhood(image: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values, lengths of the gradient and Laplacian at some voxels of an image, without a look at the others.

    Args:
        image: (x, y, z).
        places: (n,) their flat indices; none at the image's border.
    """
    _, y, z = image.shape
    flat = image.ravel()
    values, sides = flat[places], [(flat[places - step], flat[places + step]) for step in (y * z, z, 1)]
    lengths = np.sqrt(sum((after - before) ** 2 for before, after in sides)) / 2
    return values, lengths, sum(before + after for before, after in sides) - 6 * values


def kurtosis(values: np.ndarray) -> float:
    """Their fourth moment about 0 over the square of the second; 3 for Gaussian noise, 0 where all are 0."""
    squares = values**2
    second = float(squares.mean())
    return float((squares**2).mean()) / second**2 if second else 0.0


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


def _ratio(value: float, real: float) -> float:
    return float(value / real) if real > 0 else float("nan")


PROBE = Probe("fine", "1", measure_fine)
