"""Cubes cut out of prepared scans: about what, from where, with zeros beyond the box."""

from dataclasses import dataclass

import numpy as np

from synth.errors import DataError
from synth.models.configs import DIVISOR

_POINTS = 4096  # drawn to find a voxel of the wanted kind: the tumour is 5 % of a brain


@dataclass(frozen=True)
class PatchConfig:
    """How patches are cut."""

    size: int = 128
    tumour_share: float = 0.6  # of patches centred in the tumour: it is 5 % of the brain and what users need most

    def __post_init__(self):
        """Raise `DataError` if no network takes such patches."""
        if self.size % DIVISOR or self.size <= 0:
            raise DataError(f"patch size must be a positive multiple of {DIVISOR}, found {self.size}.")

    def edge(self, warped: bool) -> int:
        """Edge of the cube to be cut: with a margin where it is warped, to turn corners in from."""
        return self.size + 2 * (self.size // 8) if warped else self.size


def patch_centre(coded: np.ndarray, healthy: int, tumour_share: float, rng: np.random.Generator) -> np.ndarray:
    """A voxel of the tumour (values above `healthy`) with probability `tumour_share`, else of the brain (above 0)."""
    in_tumour = rng.random() < tumour_share
    draws = rng.random((_POINTS, coded.ndim))
    points = (draws * coded.shape).astype(int)
    values = coded[tuple(points.T)]
    for wanted in (values > healthy, values > 0) if in_tumour else (values > 0,):
        if wanted.any():
            return points[wanted][0]
    return np.array(coded.shape) // 2


def patch_start(centre: np.ndarray, size: int, shape: tuple[int, ...]) -> np.ndarray:
    """First voxel of a cube about `centre`, moved inwards where it would leave the box and fits."""
    start = np.asarray(centre) - size // 2
    room = np.asarray(shape) - size
    return np.where(room >= 0, np.clip(start, 0, np.maximum(room, 0)), room // 2)


def crop(images: np.ndarray, coded: np.ndarray, start: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The cube at `start` of (x, y, z, channels) and (x, y, z), zero beyond them; float32 and uint8."""
    cube = (size,) * coded.ndim
    image_cube, coded_cube = np.zeros((*cube, images.shape[-1]), np.float32), np.zeros(cube, np.uint8)
    low, high = np.maximum(start, 0), np.minimum(start + size, coded.shape)
    source = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    target = tuple(slice(a, b) for a, b in zip(low - start, high - start, strict=True))
    image_cube[target], coded_cube[target] = images[source], coded[source]
    return image_cube, coded_cube
