"""Spectrum: how much of a scan lies at which spatial frequency, in all directions and along each axis.

Arrays of the probe `spectrum`; modalities in the order of `brats.MODALITIES`:

- `power`: (4, 64) float32, decibels (10 log10) of the mean power in shells of frequency of 1/128 cycles per mm, from 0
  to 0.5 (`FREQUENCIES` holds their middles);
- `axes`: (4, 3, 5) float32, decibels within 30 degrees of the x, y and z axis of the array, in `BANDS`.

The cube of 128 mm about the brain's centre, z-scored in the brain (0 outside), its mean taken off, under a Hann window
along each axis: the window keeps the edge of the brain, which skull-stripping makes, from showing.
"""

from functools import lru_cache

import numpy as np
from scipy.fft import rfftn

from synth.brats import MODALITIES
from synth.quality.prepared import Prepared
from synth.quality.probes import Probe

SIZE = 128  # voxels of 1 mm, an edge of the cube
FREQUENCIES = (np.arange(SIZE // 2) + 0.5) / SIZE  # cycles per mm
BANDS = ((0.02, 0.05), (0.05, 0.1), (0.1, 0.2), (0.2, 0.35), (0.35, 0.5))  # cycles per mm
BAND_NAMES = tuple(f"{low:g} to {high:g} per mm" for low, high in BANDS)
_CONE = np.cos(np.deg2rad(30))
_FLOOR = 1e-12  # power of nothing at all: -120 dB


def measure_spectrum(prepared: Prepared) -> dict[str, np.ndarray]:
    """The spectrum of one case, as the head of this module lists it."""
    shells, cones = _places()
    places = np.argwhere(prepared.brain)
    corner = np.rint(places.mean(0)).astype(int) - SIZE // 2
    power, axes = [], []
    for m in range(len(MODALITIES)):
        strength = _power(_cube(prepared.z[..., m], corner)).ravel()
        power.append(_mean_by(shells, strength, SIZE // 2))
        axes.append(_mean_by(cones, strength, 3 * len(BANDS)).reshape(3, len(BANDS)))
    return {name: _decibels(values) for name, values in (("power", power), ("axes", axes))}


def _cube(volume: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """The cube of SIZE voxels from `corner`, 0 where it reaches out of the volume."""
    out = np.zeros((SIZE,) * 3, np.float32)
    start, stop = np.maximum(corner, 0), np.minimum(corner + SIZE, volume.shape)
    inner = tuple(slice(a - c, b - c) for a, b, c in zip(start, stop, corner, strict=True))
    out[inner] = volume[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]
    return out


def _power(cube: np.ndarray) -> np.ndarray:
    """(128, 128, 65) power; 1 a voxel for white noise of deviation 1."""
    line = np.hanning(SIZE).astype(np.float32)
    window = line[:, None, None] * line[None, :, None] * line
    waves = rfftn((cube - (cube * window).sum() / window.sum()) * window)
    return (waves.real**2 + waves.imag**2) / np.sum(window.astype(np.float64) ** 2)


@lru_cache(1)
def _places() -> tuple[np.ndarray, np.ndarray]:
    """For each wave of `_power`, flat: its shell, and its cone and band; one past the last where it has none."""
    lines = np.fft.fftfreq(SIZE), np.fft.fftfreq(SIZE), np.fft.rfftfreq(SIZE)
    waves = np.stack(np.meshgrid(*lines, indexing="ij"), -1).reshape(-1, 3)
    radius = np.linalg.norm(waves, axis=1)
    shells = np.minimum((radius * SIZE).astype(np.int32), SIZE // 2)
    band = np.searchsorted([low for low, _ in BANDS], radius, side="right") - 1
    near = np.abs(waves) >= _CONE * np.maximum(radius, 1e-9)[:, None]  # at 30 degrees no two axes are near
    inside = near.any(1) & (band >= 0) & (radius < BANDS[-1][1])
    return shells, np.where(inside, near.argmax(1) * len(BANDS) + band, 3 * len(BANDS)).astype(np.int32)


def _mean_by(group: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    total = np.bincount(group, values, minlength=count + 1)[:count]
    return total / np.maximum(np.bincount(group, minlength=count + 1)[:count], 1)


def _decibels(power) -> np.ndarray:
    return (10 * np.log10(np.maximum(power, _FLOOR))).astype(np.float32)


PROBE = Probe("spectrum", "1", measure_spectrum)
