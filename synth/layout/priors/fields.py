"""Random fields that are smooth over millimetres: white noise, blurred, of unit variance."""

from functools import cache

import numpy as np
from scipy.ndimage import gaussian_filter

_REACH = 3.0  # deviations at which a blur is cut
_FINE_MM = 1.2  # blurs of so many times this are made on so much coarser a grid


def smooth_noise(shape, zooms, scale_mm: float, rng: np.random.Generator, count: int = 1) -> np.ndarray:
    """(count, x, y, z) float32 fields of unit variance, independent of one another.

    Args:
        shape: in voxels.
        zooms: mm of a voxel along each axis.
        scale_mm: deviation of the blur; fields correlate over it as exp(-d^2 / (4 scale^2)).
        rng: what they are drawn from.
        count: of fields.
    """
    every = max(int(scale_mm / _FINE_MM), 1)
    sigma = [scale_mm / (zoom * every) for zoom in zooms]
    margin = [int(np.ceil(_REACH * s)) for s in sigma]
    size = [-(-n // every) + 1 + 2 * more for n, more in zip(shape, margin, strict=True)]
    out = np.empty((count, *shape), np.float32)
    for part in out:
        field = gaussian_filter(rng.standard_normal(size, np.float32), sigma, truncate=_REACH)
        field = field[tuple(slice(more, n - more) for n, more in zip(size, margin, strict=True))]
        field /= np.float32(_deviation(tuple(sigma), every))
        part[...] = _finer(field, every, shape)
    return out


def nearest_score(scores: np.ndarray, most: float, count: int) -> np.ndarray:
    """Which of `count` numbers, evenly from -`most` to `most`, is nearest to each score; scores are overwritten."""
    kind = scores.dtype.type
    scores += kind(most)
    scores *= kind((count - 1) / (2 * most))
    return np.clip(np.rint(scores, out=scores), 0, count - 1, out=scores).astype(np.int32)


@cache
def _deviation(sigma: tuple[float, ...], every: int) -> float:
    """What white noise of unit variance keeps under a blur, and linearly between places `every` voxels apart."""
    power = 1.0
    for width in sigma:
        reach = int(_REACH * width + 0.5)
        taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
        taps /= taps.sum()
        between = [np.convolve(taps, [1 - k / every, k / every]) for k in range(every)]
        power *= np.mean([(part**2).sum() for part in between])
    return float(np.sqrt(power))


def _finer(values: np.ndarray, every: int, shape) -> np.ndarray:
    """What is given at places `every` voxels apart at each voxel of `shape`, linearly between them."""
    if every == 1:
        return values[tuple(map(slice, shape))]
    for axis, size in enumerate(shape):
        place = np.arange(size) / np.float32(every)
        share = (place - place.astype(np.intp)).astype(np.float32).reshape([-1 if k == axis else 1 for k in range(3)])
        whole, ahead = values.shape[axis], (slice(None),) * axis
        near, far = values[(*ahead, slice(whole - 1))], values[(*ahead, slice(1, whole))]
        steps = far - near
        values = np.empty([size if k == axis else n for k, n in enumerate(values.shape)], np.float32)
        for first in range(every):
            own = (*ahead, slice(first, None, every))
            part = (*ahead, slice(len(range(first, size, every))))
            np.add(near[part], steps[part] * share[own], out=values[own])
    return values
