"""Every second voxel of a case: all that the judges of a case look at."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from synth.brats import GRID
from synth.layout.space import box_of

STEP = 2  # voxels, and mm: the judges are for BraTS's grid
MARGIN = 3  # sampled voxels of nothing around the brain
FEWEST_LEVELS = 32
LEAST_ML = 500.0  # of brain: phantoms and fragments are not judged
_VOXEL_ML = STEP**3 / 1000


@dataclass(frozen=True)
class Sample:
    """Every second voxel of four modalities on the BraTS grid, cut to the brain.

    Attributes:
        images: four (x, y, z) float32 in Fortran order, as `brats.MODALITIES`; the cut lies evenly about the
            mid-sagittal plane, so that a reversed first axis is the mirror image; `MARGIN` voxels of 0 around it.
        corner: where in the grid of every second voxel `images[0][MARGIN, MARGIN, MARGIN]` lies.
        shown: (x, y, z) bool, where every modality shows something.
        volumes: ml of voxels other than 0 of each modality.
    """

    images: tuple[np.ndarray, ...]
    corner: tuple[int, int, int]
    shown: np.ndarray
    volumes: tuple[float, ...]

    @cached_property
    def few_levels(self) -> bool:
        """Whether a modality has so few grey levels that neither ranks nor edges say much."""
        return min(np.unique(image[self.shown][::5]).size for image in self.images) < FEWEST_LEVELS


def sample(images: np.ndarray) -> Sample | None:
    """What the judges look at, or None where they have nothing to say.

    Args:
        images: (X, Y, Z, 4), background exactly 0; fastest with each modality in Fortran order, as files are.

    Returns:
        None on another grid than BraTS's, and where no modality shows 500 ml.
    """
    if images.shape[:3] != GRID:
        return None
    every = slice(None, None, STEP)
    coarse = [np.asfortranarray(images[every, every, every, m]) for m in range(images.shape[3])]
    filled = [image != 0 for image in coarse]
    volumes = tuple(float(np.count_nonzero(mask) * _VOXEL_ML) for mask in filled)
    if max(volumes) < LEAST_ML:
        return None
    left, *rest = box_of(np.logical_or.reduce(filled))
    size = coarse[0].shape[0]
    first = min(left.start, size - left.stop)
    box = (slice(first, size - first), *rest)

    def cut(array: np.ndarray, dtype) -> np.ndarray:
        out = np.zeros([part.stop - part.start + 2 * MARGIN for part in box], dtype, order="F")
        out[(slice(MARGIN, -MARGIN),) * 3] = array[box]
        return out

    parts = tuple(cut(image, np.float32) for image in coarse)
    return Sample(parts, tuple(part.start for part in box), cut(np.logical_and.reduce(filled), bool), volumes)
