"""Slices: the few pictures of a case that a report shows, cut once so that no scan has to be read again.

Arrays of the probe `slices`, all planes cropped to the brain and turned as a radiologist reads them:

- `axial`, `coronal`, `sagittal`: (4, rows, columns) uint8, the modalities in the order of `brats.MODALITIES`, cut
  through the tumour (through its voxel nearest to its centroid; without a tumour, through the brain's middle);
  0 is background, 1..255 the scan between the ends of its window;
- `middle`: the same, axial, through the middle of the brain's box: the place to compare the anatomy of two cases at;
- `axial_labels`, `coronal_labels`, `sagittal_labels`, `middle_labels`: (rows, columns) uint8 (`brats.Tumour`);
- `windows`: (4, 2) float32, the scan's own 0.5 and 99.5 percentiles in the brain, shown as 1 and 255;
- `at`: (4,) int32, indices of the cuts (sagittal, coronal, axial, middle) in the upright volume;
- `mm`: (3,) float32, voxel size of the upright volume: right to left, front to back, bottom to top.

Axial and coronal planes show the patient's right on the left, front or top above; sagittal planes have the front on
the left.
"""

import numpy as np

from synth.brats import MODALITIES
from synth.layout.layout import bounding_box
from synth.layout.space import spacing
from synth.quality.prepared import Prepared
from synth.quality.probes import Probe
from synth.show.contact_sheet import upright

PLANES = ("axial", "coronal", "sagittal")
CUTS = (*PLANES, "middle")
AXIS = {"axial": 2, "coronal": 1, "sagittal": 0, "middle": 2}  # of the upright volume, across the plane
PERCENTILES = (0.5, 99.5)
_EVERY = 3  # voxels looked at for the window; the percentiles of half a million are those of all


def measure_slices(prepared: Prepared) -> dict[str, np.ndarray]:
    """The pictures of one case, as the head of this module lists them; below 400 KB when compressed.

    Args:
        prepared: a case with labels; only its images, labels and affine are used.
    """
    images, affine = prepared.case.images[prepared.box], prepared.case.affine
    windows = np.array([_window(images[..., m]) for m in range(len(MODALITIES))], np.float32)
    labels, shown = upright(prepared.labels, affine), [upright(images[..., m], affine) for m in range(len(MODALITIES))]
    at = cuts(labels)
    out = {}
    for plane, index in zip(CUTS, (at[2], at[1], at[0], labels.shape[2] // 2), strict=True):
        out[plane] = np.stack(
            [grey(cut(image, plane, index), *window) for image, window in zip(shown, windows, strict=True)]
        )
        out[f"{plane}_labels"] = cut(labels, plane, index).astype(np.uint8)
    out["windows"] = windows
    out["at"] = _in_volume((*at, labels.shape[2] // 2), prepared)
    out["mm"] = np.array(upright_mm(affine), np.float32)
    return out


def cuts(labels: np.ndarray) -> tuple[int, int, int]:
    """Where the planes of an upright volume go: through the labelled voxel nearest to the centroid of all of them.

    So no plane misses a tumour that is bent or in pieces. Without labels, the middle.
    """
    if not labels.any():
        return tuple(n // 2 for n in labels.shape)
    voxels = np.argwhere(labels)
    return tuple(int(v) for v in voxels[((voxels - voxels.mean(0)) ** 2).sum(1).argmin()])


def cut(volume: np.ndarray, plane: str, index: int) -> np.ndarray:
    """One plane of an upright volume as rows (from the top) and columns (from the left) of a picture."""
    picture = volume[(*(slice(None),) * AXIS[plane], index)].T
    return np.ascontiguousarray(picture if AXIS[plane] == 2 else picture[::-1])  # z grows upwards, rows downwards


def grey(picture: np.ndarray, low: float, high: float) -> np.ndarray:
    """A slice of a scan as uint8: 0 where it is 0, else 1..255 between the ends of the window."""
    share = (picture.astype(np.float32) - low) / ((high - low) or 1)
    return np.where(picture != 0, 1 + np.rint(share.clip(0, 1) * 254), 0).astype(np.uint8)


def upright_mm(affine: np.ndarray) -> tuple[float, float, float]:
    """Voxel size along the axes of the upright volume: right to left, front to back, bottom to top."""
    order, zooms = np.argmax(np.abs(affine[:3, :3]), axis=0), spacing(affine)
    return tuple(float(zooms[int(np.flatnonzero(order == axis)[0])]) for axis in range(3))


def _window(image: np.ndarray) -> tuple[float, float]:
    inside = image[image != 0][::_EVERY]
    return tuple(np.percentile(inside, PERCENTILES)) if inside.size else (0.0, 1.0)


def _in_volume(at: tuple[int, ...], prepared: Prepared) -> np.ndarray:
    """Indices in the box as indices in the whole upright volume, so that a reader finds the slice again."""
    inside = np.zeros(prepared.case.images.shape[:3], bool)
    inside[prepared.box] = True
    start = [part.start for part in bounding_box(upright(inside, prepared.case.affine))]
    return np.array([index + start[axis] for index, axis in zip(at, (0, 1, 2, 2), strict=True)], np.int32)


PROBE = Probe("slices", "1", measure_slices)
