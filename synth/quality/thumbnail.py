"""Thumbnails: each case at 3 mm on the BraTS grid, small enough that whole sets are compared voxel by voxel.

Arrays of the probe `thumbnail`, with X, Y, Z = 80, 80, 52 on the BraTS grid (the last slice covers 2 mm only):

- `image`: (4, X, Y, Z) uint8, the modalities in the order of `brats.MODALITIES`: mean of the z-scored scan over
  3x3x3 voxels, in steps of 12/255 deviations from -4 (0) to 8 (255); 0 deviations is 85, and so is everything outside
  the brain. `decoded` gives deviations back;
- `brain`: (X, Y, Z) uint8, the share of a block that is brain, 255 is all of it;
- `layout`: (6, X, Y, Z) uint8, likewise the share of each class of `brats.CLASSES` (tissue as found in the scan).

Voxels are not turned: axis 0 runs from the patient's right to left as in every BraTS file, and flipping it mirrors
the brain about the grid's midline.
"""

import numpy as np

from synth.brats import CLASSES
from synth.quality.prepared import Prepared
from synth.quality.probes import Probe

BLOCK = 3  # voxels, mm on the BraTS grid: gyri and tumour parts are still to be seen, noise is down to a fifth
LOW, HIGH = -4.0, 8.0  # deviations; 0 falls on the whole step 85, so that the background is exact
STEP = (HIGH - LOW) / 255
ZERO = round(-LOW / STEP)


def measure_thumbnail(prepared: Prepared) -> dict[str, np.ndarray]:
    """The thumbnails of one case, as the head of this module lists them; 0.1 s, some 300 KB when compressed."""
    grid, box = prepared.case.images.shape[:3], prepared.box
    brain = np.zeros(_small(grid), np.uint8)
    brain[block_place(box)] = _share(prepared.brain, box)
    return {
        "image": image_thumbnail(prepared.z, box, grid),
        "brain": brain,
        "layout": layout_thumbnail(prepared.classes, box, grid),
    }


def image_thumbnail(z: np.ndarray, box: tuple[slice, slice, slice], grid: tuple[int, int, int]) -> np.ndarray:
    """`image` of the probe, of a z-scored scan (x, y, z, M) that lies in `box` of `grid`."""
    image = np.full((z.shape[-1], *_small(grid)), ZERO, np.uint8)
    for small, modality in zip(image, np.moveaxis(z, -1, 0), strict=True):
        sums, place = block_sums(modality, box)
        small[place] = np.rint((sums / BLOCK**3 - LOW) / STEP).clip(0, 255).astype(np.uint8)
    return image


def layout_thumbnail(classes: np.ndarray, box: tuple[slice, slice, slice], grid: tuple[int, int, int]) -> np.ndarray:
    """`layout` of the probe, of classes (x, y, z) that lie in `box` of `grid`."""
    layout, place = np.zeros((len(CLASSES), *_small(grid)), np.uint8), block_place(box)
    for k in range(len(CLASSES)):
        layout[k][place] = _share(classes == k + 1, box)
    return layout


def decoded(image: np.ndarray) -> np.ndarray:
    """`image` of the probe in deviations, float32, exactly 0 outside the brain."""
    return (image.astype(np.float32) - ZERO) * np.float32(STEP)


def block_sums(
    volume: np.ndarray, box: tuple[slice, slice, slice], block: int = BLOCK
) -> tuple[np.ndarray, tuple[slice, slice, slice]]:
    """Sums of a volume over the grid's blocks, and where they stand in the grid of blocks.

    Args:
        volume: (x, y, z, ...) what lies in `box`; 0 around it.
        box: in the whole grid, whose first voxel begins the first block.
        block: voxels along an edge.

    Returns:
        (a, b, c, ...) float32 or int32 sums, and three slices of the grid of blocks.
    """
    place = block_place(box, block)
    margins = [
        (part.start - at.start * block, at.stop * block - part.stop) for part, at in zip(box, place, strict=True)
    ]
    out = np.pad(volume, margins + [(0, 0)] * (volume.ndim - 3))
    out = out.astype(np.float32 if out.dtype.kind == "f" else np.int32, copy=False)
    for axis in range(3):
        out = sum(out[(slice(None),) * axis + (slice(first, None, block),)] for first in range(block))
    return out, place


def block_place(box: tuple[slice, slice, slice], block: int = BLOCK) -> tuple[slice, ...]:
    """The blocks that hold a box of the grid."""
    return tuple(slice(part.start // block, -(-part.stop // block)) for part in box)


def _small(grid: tuple[int, int, int]) -> tuple[int, ...]:
    return tuple(-(-n // BLOCK) for n in grid)


def _share(mask: np.ndarray, box: tuple[slice, slice, slice]) -> np.ndarray:
    sums, _ = block_sums(mask.astype(np.uint8), box)
    return np.rint(sums * (255 / BLOCK**3)).astype(np.uint8)


PROBE = Probe("thumbnail", "1", measure_thumbnail)
