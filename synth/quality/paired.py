"""A reconstruction beside the scan it reconstructs: six measures of similarity, in brain, tumour and healthy tissue.

Normalisation: every modality of the real scan is scaled so that its own 0.5 and 99.5 percentiles in the brain are 0
and 1; the synthetic one goes through the *same* scaling, so a wrong brightness counts as an error. Values beyond 0 and
1 are kept (for NMI only, cut). Outside the real scan's brain both are 0.

The yardstick is `measure_between`: two different patients, registered to the same atlas. Scanners' units are
arbitrary, so there each scan is scaled by its own percentiles: otherwise any reconstruction would look good beside it.
"""

from collections.abc import Sequence

import nibabel as nib
import numpy as np

from synth.brats import MODALITIES, Tissue
from synth.datasets.grids import spacing_of
from synth.errors import DataError
from synth.quality.prepared import Prepared
from synth.quality.similarity import healthy_tissue, mae, ms_ssim_in, nmi, nmse, painter_image, psnr, scaled, ssim_map
from synth.show.contact_sheet import upright
from synth.style.scale import Window, moved_image

VERSION = "1"  # raise it when something is measured differently
REGIONS = ("brain", "tumour", "healthy")
METRICS = ("ssim", "ms_ssim", "psnr", "nmse", "mae", "nmi")
PLANES = ("sagittal", "coronal", "axial")  # across the first, second and third upright axis
MARGIN = 4  # voxels around the brain, as in `reconstruct.compare`
LEAST_VOXELS = 100  # of a region; in fewer nothing is measured


def measure_pair(
    real: Prepared, synthetic: Prepared, scale: tuple[Window, Window] | None = None
) -> dict[str, np.ndarray]:
    """Compare a reconstruction with its real scan, normalised as the head of this module says.

    Regions are those of the real case: brain; tumour (NCR, ED and ET); healthy (CSF, GM and WM a voxel away from
    tumour and background). SSIM, PSNR, NMSE, MAE and NMI are of the region's voxels (SSIM windows reach 3 voxels
    beyond), MS-SSIM is weighted by the region at each scale (`similarity.ms_ssim`).

    Args:
        real: the scan.
        synthetic: on the same grid.
        scale: the windows of the two, where the synthetic one is written on another scale than the real one
            (`runs.reconstruct.scales_of`): it is brought to the real one's first.

    Returns:
        similarity: (4, 3, 6) float64, `brats.MODALITIES` x `REGIONS` x `METRICS`; NaN where a region has fewer than
            `LEAST_VOXELS` voxels; PSNR in dB, infinite for equal scans; NMSE and MAE are errors: lower is better.
        painter: (4, 3, 2) SSIM and PSNR of the plain painter's image (each class in its median in the real scan),
            as `synth reconstruct` tells them.
        voxels: (3,) int64 size of the regions.
        sagittal, coronal, axial: (4, 2, height, width) uint8, real and synthetic slices through the tumour, upright
            as radiologists read them, 0 and 255 the ends of the scale above.
        sagittal_labels, coronal_labels, axial_labels: (height, width) uint8, tumour labels of the real case.
        mm: (3,) size of a voxel along the upright axes.

    Raises:
        DataError: the two are not on one grid.
    """
    return _measure(real, synthetic, own=False, scale=scale)


def measure_between(real: Prepared, other: Prepared) -> dict[str, np.ndarray]:
    """As `measure_pair` for two different patients, each scaled by its own percentiles: the yardstick of a pair."""
    return _measure(real, other, own=True)


def strangers(ids: Sequence[str], count: int = 6, seed: int = 0) -> list[tuple[str, str]]:
    """Up to `count` pairs of different cases, drawn by seed; no case is in two pairs before all were in one.

    Give one id per patient: two visits of one patient are no yardstick.
    """
    ids, rng, pairs = sorted(set(ids)), np.random.default_rng(seed), []
    possible = len(ids) * (len(ids) - 1) // 2
    while len(pairs) < min(count, possible):
        order = [ids[k] for k in rng.permutation(len(ids))]
        for pair in zip(order[::2], order[1::2], strict=False):
            if len(pairs) < count and not {pair, pair[::-1]} & set(pairs):
                pairs.append(pair)
    return pairs


def _measure(
    real: Prepared, other: Prepared, own: bool, scale: tuple[Window, Window] | None = None
) -> dict[str, np.ndarray]:
    if real.case.images.shape != other.case.images.shape:
        raise DataError(
            f"{other.case.id}: a pair needs one grid, found {other.case.images.shape[:3]} beside the real case's "
            f"{real.case.images.shape[:3]}; give both on the BraTS grid."
        )
    box = real.layout.bounding_box(MARGIN)
    classes = real.layout.classes[box]
    brain = classes > 0
    masks = (brain, classes > Tissue.WM, healthy_tissue(classes))
    similarity, painter, shown = [], [], []
    for m in range(len(MODALITIES)):
        truth, image = real.case.images[..., m][box], other.case.images[..., m][box]
        if scale:
            image = moved_image(image, scale[1][m], scale[0][m])
        x = scaled(truth, truth, brain)
        y = scaled(image, image if own else truth, brain)
        similarity.append(_metrics(x, y, masks))
        painter.append(_painter(x, painter_image(x, classes), masks))
        shown.append([np.rint(255 * v.clip(0, 1)).astype(np.uint8) for v in (x, y)])
    return {
        "similarity": np.array(similarity),
        "painter": np.array(painter),
        "voxels": np.array([np.count_nonzero(mask) for mask in masks], np.int64),
        **_slices(shown, real.case.labels[box], real.case.affine),
    }


def _metrics(x: np.ndarray, y: np.ndarray, masks: Sequence[np.ndarray]) -> list[list[float]]:
    """Regions x metrics of one modality."""
    local, multi = ssim_map(x, y), ms_ssim_in(x, y, masks)
    cut_x, cut_y = x.clip(0, 1), y.clip(0, 1)
    rows = []
    for mask, ms in zip(masks, multi, strict=True):
        if np.count_nonzero(mask) < LEAST_VOXELS:
            rows.append([np.nan] * len(METRICS))
            continue
        errors = psnr(x, y, mask), nmse(x, y, mask), mae(x, y, mask)
        rows.append([local[mask].mean(), ms, *errors, nmi(cut_x, cut_y, mask)])
    return rows


def _painter(x: np.ndarray, y: np.ndarray, masks: Sequence[np.ndarray]) -> list[list[float]]:
    """Regions x (SSIM, PSNR) of one modality."""
    local = ssim_map(x, y)
    return [
        [np.nan] * 2 if np.count_nonzero(mask) < LEAST_VOXELS else [local[mask].mean(), psnr(x, y, mask)]
        for mask in masks
    ]


def _slices(shown: list[list[np.ndarray]], labels: np.ndarray, affine: np.ndarray) -> dict[str, np.ndarray]:
    """The planes that hold most tumour, or the middle ones, rows from the top as radiologists read them."""
    labels = upright(labels, affine)  # right to left, anterior to posterior, inferior to superior
    volumes = [[upright(volume, affine) for volume in pair] for pair in shown]
    order = np.argsort(nib.io_orientation(affine)[:, 0])
    out = {"mm": spacing_of(affine)[order]}
    for axis, plane in enumerate(PLANES):
        area = (labels > 0).sum(tuple(a for a in range(3) if a != axis))
        k = int(area.argmax()) if area.any() else labels.shape[axis] // 2
        out[plane] = np.array([[_picture(v, axis, k) for v in pair] for pair in volumes])
        out[f"{plane}_labels"] = _picture(labels, axis, k)
    return out


def _picture(volume: np.ndarray, axis: int, k: int) -> np.ndarray:
    """An upright plane as rows from superior (or anterior, in the axial one) downwards."""
    plane = np.take(volume, k, axis).T
    return plane if axis == 2 else plane[::-1]
