"""Whether the four modalities lie on one another: none is shifted, none is mirrored left to right.

Edges are in one place whatever the contrast, so maps of edges (the length of the gradient, standardised well inside
the brain, where no mask can help or hide) are compared: at shifts of up to 6 mm along each axis, and, for a mirror
image, by what in them differs from left to right. That part correlates between the modalities of a case (24 cases:
at least 0.20), and changes its sign when one is mirrored.
"""

from itertools import combinations

import numpy as np

from synth.brats import MODALITIES
from synth.datasets.voxels.sample import MARGIN, STEP, Sample
from synth.datasets.voxels.verdict import Verdict

REACH = 3  # sampled voxels: 6 mm
IN_PLANE_MM = 1.8  # 24 cases: at most 1.1
THROUGH_MM = 2.15  # along the body, where slices are thick; 24 cases: at most 2.12, but for two displaced t1ce
SURE_THROUGH_MM = 4.5  # BraTS2021_00011 has 3.2
MASK_MM = 2.0  # between the middles of what two modalities show; 24 cases: at most 0.4
SAME_SIZE = 0.02  # by which volumes may differ for middles to be compared
MIRROR = 0.2  # mean correlation of left-right differences, signs as the split wants them; 24 cases: at least 0.39
LEAST_INNER_ML = 200  # well inside the brain, shown by all
_CLIP = 2.5  # standard deviations: a few bright rims must not speak for the whole
_LEVELS = 2, 98  # percentiles of each modality between which edges count
_AXES = ("to the side", "to the back or front", "up or down")


def judge_alignment(seen: Sample) -> list[Verdict]:
    """The modalities that are shifted by about 2 mm or more, or mirrored, against the rest.

    Returns:
        A verdict for each; not `sure` where the shift is along the body and no larger than real scans have it.
    """
    found = _edge_maps(seen)
    if found is None:
        return []
    edges, inner = found
    mirrored = _mirrored(edges, inner)
    rest = " and ".join(MODALITIES[m] for m in range(len(MODALITIES)) if m not in mirrored)
    advice = "flip back the pair that is wrong" if len(mirrored) == 2 else "flip it back, or find the right file"
    verdicts = [
        Verdict("mirror", (MODALITIES[m],), f"is mirrored left to right against {rest}; {advice}.") for m in mirrored
    ]
    if mirrored:  # which its edges lie off by
        return verdicts
    moved = offsets(edges, inner)
    masks = _mask_offsets(seen)
    return [said for m, modality in enumerate(MODALITIES) for said in _shifted(modality, moved[m], masks[m])]


def _shifted(modality: str, moved: np.ndarray, mask: np.ndarray) -> list[Verdict]:
    """None, or one verdict; both offsets are (3,) mm."""
    in_plane, through = np.hypot(*moved[:2]), abs(moved[2])
    by_mask = np.linalg.norm(mask) >= MASK_MM
    if np.hypot(in_plane / IN_PLANE_MM, through / THROUGH_MM) < 1 and not by_mask:
        return []
    sure = by_mask or in_plane >= IN_PLANE_MM or through >= SURE_THROUGH_MM
    if by_mask:
        moved = mask
    axis = int(np.argmax(np.abs(moved)))
    about = "about" if np.abs(moved).max() < STEP * REACH else "at least"
    text = (
        f"lies {about} {np.linalg.norm(moved):.0f} mm off the other modalities, mostly {_AXES[axis]}; "
        "expected all four registered to one another: register it again, or find the right file."
    )
    return [Verdict("shift", (modality,), text, bool(sure))]


def offsets(edges: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """(4, 3) mm by which each modality is moved against the other three, the median of them; at most 6 an axis."""
    flat = edges.reshape(len(edges), -1)
    room = inner.ravel(order="K").astype(np.float32)
    between = np.zeros((len(edges), len(edges), 3))
    upper = [*combinations(range(len(edges)), 2)]
    at_rest = flat @ flat.T / (room @ room)
    for axis, step in enumerate(_strides(inner)):
        curves = np.empty((2 * REACH + 1, *at_rest.shape))
        curves[REACH] = at_rest
        for n in range(1, REACH + 1):
            k = n * step
            there = flat[:, :-k] @ flat[:, k:].T / (room[:-k] @ room[k:])
            curves[REACH + n], curves[REACH - n] = there, there.T
        for a, b in upper:
            between[a, b, axis] = STEP * (_peak(curves[:, a, b]) - REACH)
    between -= between.transpose(1, 0, 2)
    return np.array([np.median(np.delete(between[:, m], m, 0), 0) for m in range(len(edges))])


def _peak(curve: np.ndarray) -> float:
    """Where a sampled curve is highest, by a parabola through the three highest samples."""
    k = int(curve.argmax())
    if k in (0, len(curve) - 1):
        return k
    before, top, after = curve[k - 1 : k + 2]
    bend = before - 2 * top + after
    return k + (0.5 * (before - after) / bend if bend else 0.0)


def _edge_maps(seen: Sample) -> tuple[np.ndarray, np.ndarray] | None:
    """(4, n) float32 edges, the voxels of the cut in Fortran order, and (x, y, z) bool where they count.

    None where the modalities show too little in common.
    """
    steps = _strides(seen.shown)
    shown = seen.shown.ravel(order="K")
    inner = shown.copy()
    for step in steps:
        inner[MARGIN * step :] &= shown[: -MARGIN * step]
        inner[: -MARGIN * step] &= shown[MARGIN * step :]
    if np.count_nonzero(inner) * STEP**3 < LEAST_INNER_ML * 1000:
        return None
    out = np.zeros((len(seen.images), inner.size), np.float32)
    for edges, image in zip(out, seen.images, strict=True):
        flat = image.ravel(order="K")
        low, high = np.percentile(flat[inner][::7], _LEVELS)
        levels = np.clip((flat - low) / max(high - low, 1e-9), 0, 1)
        for step in steps:
            slope = levels[2 * step :] - levels[: -2 * step]
            edges[step:-step] += slope * slope
        np.sqrt(edges, out=edges)
        within = edges[inner]
        spread = within.std()
        np.clip((edges - within.mean()) / (spread if spread > 0 else 1), -_CLIP, _CLIP, out=edges)
        edges *= inner
    return out, inner.reshape(seen.shown.shape, order="F")


def _strides(array: np.ndarray) -> tuple[int, int, int]:
    """How far apart neighbours along each axis lie in Fortran order."""
    return 1, array.shape[0], array.shape[0] * array.shape[1]


def _mirrored(edges: np.ndarray, inner: np.ndarray) -> tuple[int, ...]:
    """Positions of the modalities that are mirrored against the rest, the lesser part; of two and two the later."""
    counted = _blocks(inner.astype(np.float32))
    both = (counted > 4) & (counted > 4)[::-1]
    parts = []
    for flat in edges:
        coarse = _blocks(flat.reshape(inner.shape, order="F"))
        parts.append((coarse - coarse[::-1])[both])
    likeness = np.corrcoef(parts) if both.any() else np.ones((len(edges), len(edges)))
    splits = [(m,) for m in range(len(edges))] + [(1, 2), (1, 3), (2, 3)]
    upper = np.triu_indices(len(edges), 1)
    best, found = 0.0, ()
    for split in splits:
        sign = np.ones(len(edges))
        sign[[*split]] = -1
        signed = (likeness * np.outer(sign, sign))[upper]
        if np.median(signed) > best and np.sort(signed)[1] > 0 and signed.mean() > MIRROR:
            best, found = float(np.median(signed)), split
    return found if best > np.median(likeness[upper]) else ()


def _blocks(array: np.ndarray) -> np.ndarray:
    """Sums of 2x2x2; the first axis has an even number of voxels, so that reversing stays a mirror image."""
    even = array[tuple(slice(0, n - n % 2) for n in array.shape)]
    for axis in range(3):
        first, second = [slice(None)] * 3, [slice(None)] * 3
        first[axis], second[axis] = slice(0, None, 2), slice(1, None, 2)
        even = even[tuple(first)] + even[tuple(second)]
    return even


def _mask_offsets(seen: Sample) -> np.ndarray:
    """(4, 3) mm from the median of the others' middles to that of what each shows; 0 where one is cut off."""
    middles = []
    for image in seen.images:
        filled = image != 0
        middles.append(
            [
                STEP * (counts @ np.arange(len(counts))) / counts.sum()
                for axis in range(3)
                for counts in [np.count_nonzero(filled, axis=tuple(a for a in range(3) if a != axis))]
            ]
        )
    middles, volumes = np.array(middles), np.array(seen.volumes)
    whole = np.abs(volumes / np.median(volumes) - 1) < SAME_SIZE
    others = np.array([np.median(np.delete(middles, m, 0), 0) for m in range(len(middles))])
    return (middles - others) * whole[:, None]
