"""How well one label map agrees with another, per region, defined for empty regions as BraTS does.

*The conventions.* Dice, sensitivity and specificity count voxels of the whole grid, HD95 is in mm, and a region that is
missing from both maps is perfectly found: Dice 1, HD95 0, sensitivity 1. A region that only one of them has: Dice 0,
sensitivity 0, and HD95 the diagonal of the BraTS grid (373.13 mm). Lesion-wise Dice, sensitivity and specificity are
those of the BraTS 2023 evaluation (github.com/rachitsaluja/BraTS-2023-Metrics, synapse.org/brats, glioma settings).
HD95 is the percentile of both directions' surface distances together, over surface voxels, as in MedPy and panoptica,
on which BraTS's own package `brats-evaluation` rests. BraTS 2023 took a percentile for each direction over surface
elements weighted by area and 374 for a miss: HD95 within a millimetre of ours on two real tumours, not equal.
"""

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import binary_dilation, binary_erosion, distance_transform_edt, generate_binary_structure
from scipy.spatial import cKDTree

from synth.brats import GRID, REGIONS, SPACING, Tumour
from synth.errors import DataError
from synth.layout.space import box_of, components, widened

HD95_MISSED = float(np.linalg.norm(np.multiply(GRID, SPACING)))
"""Distance in mm where just one of two masks is empty: 373.13, the diagonal of the BraTS grid, on every grid."""

LESION_GAP = 3  # voxel steps of dilation: parts of the truth that then touch are one lesion (BraTS 2023, glioma)
LESION_MM3 = 50.0  # a true lesion up to this volume is not scored (BraTS 2023, glioma)

_TREE_POINTS = 100_000
"""Surface voxels up to which a search tree finds the nearest: 0.02 s for two real tumours however far apart (a distance
transform of their box: up to 2 s), but half a minute for the noise of an untrained network (transform: 4 s)."""

METRICS = {  # name in `measure` -> (title, format) in `table`
    "dice": ("Dice", ".3f"),
    "hd95": ("HD95 (mm)", ".2f"),
    "sensitivity": ("sensitivity", ".3f"),
    "specificity": ("specificity", ".4f"),
    "lesion_dice": ("lesion-wise Dice", ".3f"),
}

Scores = dict[str, dict[str, float]]


def dice(truth: np.ndarray, segmented: np.ndarray) -> float:
    """Dice overlap of two masks of one shape, 0 to 1; 1 if both are empty."""
    truth, segmented = _masks(truth, segmented)
    sizes = int(np.count_nonzero(truth)) + int(np.count_nonzero(segmented))
    return 2 * int(np.count_nonzero(truth & segmented)) / sizes if sizes else 1.0


def sensitivity(truth: np.ndarray, segmented: np.ndarray) -> float:
    """Share of the truth that was found, 0 to 1; of an empty truth 1 if nothing was found there, otherwise 0."""
    truth, segmented = _masks(truth, segmented)
    size = int(np.count_nonzero(truth))
    return int(np.count_nonzero(truth & segmented)) / size if size else float(not segmented.any())


def specificity(truth: np.ndarray, segmented: np.ndarray, size: int | None = None) -> float:
    """Share of the voxels outside the truth that were left alone, 0 to 1; 0 if the truth leaves none.

    As in BraTS the whole grid counts, not the brain: near 1 for every sensible segmentation, and not comparable
    between grids.

    Args:
        truth: mask.
        segmented: mask of the same shape.
        size: voxels of the whole grid, if the masks are a cut-out of it beyond which both are empty.
    """
    truth, segmented = _masks(truth, segmented)
    size = truth.size if size is None else size
    outside = size - int(np.count_nonzero(truth))
    return (size - int(np.count_nonzero(truth | segmented))) / outside if outside else 0.0


def hausdorff95(truth: np.ndarray, segmented: np.ndarray, spacing: Sequence[float] = SPACING) -> float:
    """95th percentile in mm of the distances between the surfaces of two masks, both directions together.

    0 if both masks are empty, `HD95_MISSED` if one is. The surface is every voxel of the mask with a face on its
    outside; the grid's edge is outside. Percentile with linear interpolation. Symmetric.

    Args:
        truth: (X, Y, Z) mask.
        segmented: mask of the same shape.
        spacing: voxel size in mm along each axis.

    Raises:
        DataError: if the shapes differ, are not 3D, or the spacing is not three positive numbers.
    """
    (truth, segmented), spacing = _volumes(truth, segmented), _voxel_size(spacing)
    box = box_of(truth | segmented)
    if box is None:
        return 0.0
    if not (truth.any() and segmented.any()):
        return HD95_MISSED
    surfaces = _surface(truth[box]), _surface(segmented[box])
    distances = [_distances(here, there, spacing) for here, there in (surfaces, surfaces[::-1])]
    return float(np.percentile(np.concatenate(distances), 95))


def lesion_wise_dice(truth: np.ndarray, segmented: np.ndarray, spacing: Sequence[float] = SPACING) -> float:
    """Mean Dice over lesions as in BraTS 2023: missed lesions and false ones count as 0; 1 if there are none of either.

    A true lesion is what hangs together (26 neighbours) once the truth is dilated by `LESION_GAP` steps; it is
    compared with all pieces of the other map that touch it so dilated. A piece that touches none is a false lesion,
    however small. True lesions up to `LESION_MM3` are not scored, nor are the pieces that touch them false.

    Args:
        truth: (X, Y, Z) mask.
        segmented: mask of the same shape.
        spacing: voxel size in mm along each axis; the dilation goes by voxels, as in BraTS, whatever their size.

    Raises:
        DataError: if the shapes differ, are not 3D, or the spacing is not three positive numbers.
    """
    (truth, segmented), spacing = _volumes(truth, segmented), _voxel_size(spacing)
    if not truth.any():
        return 0.0 if segmented.any() else 1.0
    pieces, piece_sizes = components(segmented)
    box = widened(box_of(truth), LESION_GAP, (1, 1, 1), truth.shape)
    truth, pieces = truth[box], pieces[box]
    reach = binary_dilation(truth, generate_binary_structure(3, 2), LESION_GAP)
    # A dilated component is exactly the dilation of the lesion in it, so one labelling of `reach` serves all lesions.
    lesions, reach_sizes = components(reach)
    n = len(reach_sizes)
    meeting = reach & (pieces > 0)
    touching = np.unique(np.stack([lesions[meeting], pieces[meeting]], 1), axis=0)  # (pairs, 2): lesion, piece
    truth_sizes = np.bincount(lesions[truth], minlength=n)
    found_sizes = np.bincount(touching[:, 0], piece_sizes[touching[:, 1]], minlength=n)
    common = np.bincount(lesions[truth & meeting], minlength=n)
    scored = truth_sizes * spacing.prod() > LESION_MM3
    false = len(piece_sizes) - 1 - len(np.unique(touching[:, 1]))
    count = int(np.count_nonzero(scored)) + false
    return float((2 * common[scored] / (truth_sizes + found_sizes)[scored]).sum() / count) if count else 1.0


def region_dice(truth: np.ndarray, segmented: np.ndarray) -> dict[str, float]:
    """Dice of WT, TC and ET (`brats.REGIONS`) of two maps of class indices."""
    return {name: dice(_region(truth, name), _region(segmented, name)) for name in REGIONS}


def measure(truth: np.ndarray, segmented: np.ndarray, spacing: Sequence[float] = SPACING) -> Scores:
    """All `METRICS` of WT, TC and ET of two label maps: region -> metric -> value.

    Args:
        truth: (X, Y, Z) class indices (`brats.Tumour`), any integer type.
        segmented: the same grid's labels from elsewhere.
        spacing: voxel size in mm along each axis.

    Raises:
        DataError: if the shapes differ or are not 3D, a map holds anything but class indices, or the spacing is not
            three positive numbers.
    """
    for name, labels in (("true", truth), ("found", segmented)):
        if labels.dtype.kind not in "iu":
            raise DataError(f"the {name} labels must be class indices of an integer type, found {labels.dtype}.")
        if labels.size and not 0 <= labels.min() <= labels.max() <= max(Tumour):
            raise DataError(
                f"the {name} labels must be class indices 0..{max(Tumour):d}, found {labels.min()}..{labels.max()}; "
                "read files with `read_case`, which translates the values on disk."
            )
    _same_shape(truth, segmented, volume=True)
    size = truth.size
    tumour = box_of(truth | segmented) or (slice(0, 0),) * 3
    box = widened(tumour, LESION_GAP, (1, 1, 1), truth.shape)  # an edge of the box is then nowhere an edge of a lesion
    truth, segmented = truth[box], segmented[box]
    scores = {}
    for name in REGIONS:
        pair = _region(truth, name), _region(segmented, name)
        scores[name] = {
            "dice": dice(*pair),
            "hd95": hausdorff95(*pair, spacing),
            "sensitivity": sensitivity(*pair),
            "specificity": specificity(*pair, size),
            "lesion_dice": lesion_wise_dice(*pair, spacing),
        }
    return scores


def summary(rows: Sequence[Scores]) -> dict[str, dict[str, dict[str, float]]]:
    """Mean and median over cases: region -> metric -> {"mean", "median"}.

    Args:
        rows: what `measure` returned for each case; regions and metrics of the first are taken.

    Raises:
        DataError: if there is no row.
    """
    if not rows:
        raise DataError("no case was measured, so there is no mean and no median; give at least one with labels.")
    return {
        region: {
            metric: {
                "mean": float(np.mean([row[region][metric] for row in rows])),
                "median": float(np.median([row[region][metric] for row in rows])),
            }
            for metric in metrics
        }
        for region, metrics in rows[0].items()
    }


def table(summary: dict[str, dict[str, dict[str, float]]]) -> list[str]:
    """What `summary` returned as lines for a terminal: a row for each metric, mean and median for each region."""
    titles = max(len(title) for title, _ in METRICS.values())
    lines = [
        f"{'':{titles}}" + "".join(f"{region:>20}" for region in summary),
        f"{'':{titles}}" + f"{'mean':>12}{'median':>8}" * len(summary),
    ]
    for metric, (title, form) in METRICS.items():
        values = [region[metric] for region in summary.values()]
        lines.append(f"{title:{titles}}" + "".join(f"{v['mean']:>12{form}}{v['median']:>8{form}}" for v in values))
    return lines


def _region(labels: np.ndarray, name: str) -> np.ndarray:
    """The mask of a region in a map of class indices."""
    return np.isin(labels, list(map(int, REGIONS[name])))


def _surface(mask: np.ndarray) -> np.ndarray:
    """The voxels of a mask that have a face on its outside; beyond the array is outside."""
    return mask & ~binary_erosion(mask)


def _distances(here: np.ndarray, there: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Distance in mm from every voxel of `here` to the nearest of `there`, neither of them empty."""
    if np.count_nonzero(here) + np.count_nonzero(there) > _TREE_POINTS:
        return distance_transform_edt(~there, sampling=spacing)[here]
    return cKDTree(np.argwhere(there) * spacing).query(np.argwhere(here) * spacing)[0]


def _masks(truth: np.ndarray, segmented: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as bool, of one shape: numpy would stretch the smaller one without a word."""
    _same_shape(truth, segmented)
    return np.asarray(truth, bool), np.asarray(segmented, bool)


def _volumes(truth: np.ndarray, segmented: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as bool, of one three-dimensional shape."""
    _same_shape(truth, segmented, volume=True)
    return _masks(truth, segmented)


def _same_shape(truth: np.ndarray, segmented: np.ndarray, *, volume: bool = False) -> None:
    """Raise `DataError` unless the two have one shape, a three-dimensional one for a `volume`."""
    if np.shape(truth) != np.shape(segmented):
        raise DataError(
            f"truth and found must be on one grid, found shapes {np.shape(truth)} and {np.shape(segmented)}; "
            "bring both to the same grid first."
        )
    if volume and np.ndim(truth) != 3:
        raise DataError(f"distances and lesions need (X, Y, Z) volumes, found shape {np.shape(truth)}.")


def _voxel_size(spacing: Sequence[float]) -> np.ndarray:
    """`spacing` as (3,) float64; raise `DataError` unless it is three positive finite numbers."""
    size = np.asarray(spacing, np.float64)
    if size.shape != (3,) or not np.isfinite(size).all() or size.min() <= 0:
        raise DataError(f"the spacing must be three positive voxel sizes in mm, found {spacing}.")
    return size
