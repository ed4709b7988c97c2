"""Places and distances on a layout's grid: spacing, midline, boxes, short distances, the ventricles.

Everything here works in millimetres by the layout's affine, on a crop where it can: a full-size grid has nine
million voxels and a draw has half a second.
"""

import numpy as np
from scipy.ndimage import label

from synth.brats import GRID, Tissue
from synth.layout.memory import once_for_each_map

MIDLINE = 119.0
"""Voxel index of the mid-sagittal plane on axis 0 of the BraTS grid. Measured on the SRI24 T1: of all flips
i -> c - i of the three axes, axis 0 with c = 238 correlates best with the unflipped image (0.78; axis 1 and 2: 0.07
and 0.14); the atlas affine puts ICBM152's plane of symmetry at 119.0 too."""

VENTRICLE_DEPTH = 25.0  # mm from outside the brain; nearer CSF is sulci and the Sylvian fissure
_LOW_STEP = 3.0  # mm: the ventricles are found on a coarse grid, 27 times faster and free of single noisy voxels
_SLAB = 100_000  # voxels at once: they stay in the cache

Box = tuple[slice, slice, slice]


def spacing(affine: np.ndarray) -> tuple[float, float, float]:
    """Voxel size in mm along each array axis of a (4, 4) voxel-to-mm affine."""
    return tuple(float(v) for v in np.linalg.norm(np.asarray(affine, float)[:3, :3], axis=0))


def midline(shape: tuple[int, int, int]) -> float:
    """Index on axis 0 of the mid-sagittal plane; on another grid than BraTS's the middle of the grid."""
    return MIDLINE if tuple(shape) == GRID else (shape[0] - 1) / 2


def mirrored(labels: np.ndarray) -> np.ndarray:
    """`labels` reflected left-right about the mid-sagittal plane; what has no counterpart on the grid becomes 0."""
    flip = round(2 * midline(labels.shape))  # voxel i comes from flip - i
    out = np.zeros_like(labels)
    first, last = max(flip - labels.shape[0] + 1, 0), min(flip, labels.shape[0] - 1)
    out[first : last + 1] = labels[flip - last : flip - first + 1][::-1]
    return out


def box_of(labels: np.ndarray) -> Box | None:
    """The smallest box around the non-zero voxels of a 3D array, or None if there are none."""
    plain = labels.view(np.uint8) if labels.dtype == bool else labels
    hit = np.flatnonzero(plain.reshape(len(plain), -1).max(1))  # maxima run ten times faster than find_objects
    if not hit.size:
        return None
    first = slice(int(hit[0]), int(hit[-1]) + 1)
    plane = plain[first].max(0)
    lines = [np.flatnonzero(plane.any(axis)) for axis in (1, 0)]
    return first, *(slice(int(line[0]), int(line[-1]) + 1) for line in lines)


def trimmed(place: Box, *maps: np.ndarray) -> tuple[np.ndarray | Box, ...]:
    """The part of the grid's box `place` where the first of the `maps` on it is not zero, and all maps there.

    One voxel of the box where it is zero everywhere.
    """
    inner = box_of(maps[0]) or tuple(slice(0, 1) for _ in range(3))
    place = tuple(slice(p.start + i.start, p.start + i.stop) for p, i in zip(place, inner, strict=True))
    return place, *(np.ascontiguousarray(part[inner]) for part in maps)


def widened(box: Box, margin_mm: float, zooms, shape) -> Box:
    """`box` with at least `margin_mm` more on every side, cut at the edge of a grid of `shape`."""
    steps = [int(np.ceil(margin_mm / z)) for z in zooms]
    return tuple(
        slice(max(part.start - step, 0), min(part.stop + step, size))
        for part, step, size in zip(box, steps, shape, strict=True)
    )


def ball_radius(mm3: float) -> float:
    """Radius in mm of a ball of that volume."""
    return float((3 * mm3 / (4 * np.pi)) ** (1 / 3))


def centroid(mask: np.ndarray, box: Box | None = None) -> np.ndarray:
    """Mean index of the true voxels, (3,) float64; `box` says where in the grid `mask` was cut from."""
    total = np.count_nonzero(mask)
    out = np.empty(3)
    for axis in range(3):
        counts = np.count_nonzero(mask, axis=tuple(a for a in range(3) if a != axis))
        out[axis] = counts @ np.arange(len(counts)) / total + (box[axis].start if box else 0)
    return out


def slabs(labels: np.ndarray, of: int = 1, voxels: int | None = None) -> list[Box]:
    """The parts of a map that hold all that is not 0, so few voxels each that they stay in the cache.

    Args:
        labels: (x, y, z).
        of: a part begins at a whole multiple of so many voxels.
        voxels: of a part, about, before what is 0 around it is cut off; None: `_SLAB`.
    """
    rows, places = max((voxels or _SLAB) // (labels[0].size * of), 1) * of, []
    for start in range(0, len(labels), rows):
        inner = box_of(labels[start : start + rows])
        if inner is not None:
            first = slice(start, min(start + rows, len(labels)))
            places.append((first, *(slice(part.start // of * of, part.stop) for part in inner[1:])))
    return places


def near(mask: np.ndarray, limit: float, zooms) -> np.ndarray:
    """Exact distance in mm to the nearest true voxel where it is at most `limit`, infinity beyond; float32.

    Squared distances are made axis by axis as the lower envelope of shifted parabolas, only as many as `limit`
    needs: for a few voxels five times faster than a full distance transform. Of voxels of 1 mm they are whole numbers,
    and where bytes hold them, bytes are taken: a fifth of the time.
    """
    most = int(limit) ** 2
    bytes_do = all(zoom == 1 for zoom in zooms) and 255 - most > (limit + 1) ** 2
    far = np.uint8(255 - most) if bytes_do else np.float32(np.inf)  # a step further is 255
    squared = np.where(mask, far.dtype.type(0), far)
    for axis, zoom in enumerate(zooms):
        source = squared
        squared = source.copy()
        for step in range(1, min(int(limit / zoom), source.shape[axis] - 1) + 1):
            cost = far.dtype.type((step * zoom) ** 2)
            ahead, behind = [slice(None)] * 3, [slice(None)] * 3
            ahead[axis], behind[axis] = slice(step, None), slice(None, -step)
            ahead, behind = tuple(ahead), tuple(behind)
            np.minimum(squared[ahead], source[behind] + cost, out=squared[ahead])
            np.minimum(squared[behind], source[ahead] + cost, out=squared[behind])
    distance = np.sqrt(squared, dtype=np.float32, out=None if bytes_do else squared)
    distance[distance > limit + 1e-4] = np.inf
    return distance


def sums_of_27(values: np.ndarray) -> np.ndarray:
    """The sums of 27 values around each but those at the faces of an array."""
    for axis in range(3):
        ahead = (slice(None),) * axis
        total = values[(*ahead, slice(-2))] + values[(*ahead, slice(1, -1))]
        total += values[(*ahead, slice(2, None))]
        values = total
    return values


def eroded(mask: np.ndarray, steps: int) -> np.ndarray:
    """`mask` without what is within `steps` voxels, by faces, of what it leaves out or of the array's faces.

    As `scipy.ndimage.binary_erosion`, in a fifth of the time.
    """
    for _ in range(steps):
        out = mask.copy()
        for axis in range(mask.ndim):
            inside, neighbours = np.moveaxis(out, axis, 0), np.moveaxis(mask, axis, 0)
            inside[1:] &= neighbours[:-1]
            inside[:-1] &= neighbours[1:]
            inside[0] = inside[-1] = False
        mask = out
    return mask


def dilated(mask: np.ndarray, steps: int) -> np.ndarray:
    """`mask` with what is within `steps` voxels of it by faces; as `scipy.ndimage.binary_dilation`."""
    for _ in range(steps):
        out = mask.copy()
        for axis in range(mask.ndim):
            inside, neighbours = np.moveaxis(out, axis, 0), np.moveaxis(mask, axis, 0)
            inside[1:] |= neighbours[:-1]
            inside[:-1] |= neighbours[1:]
        mask = out
    return mask


def components(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """26-connected pieces: an int label map (0 background) and the voxel count of each label, background as 0."""
    pieces, _ = label(mask, np.ones((3, 3, 3), bool))
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return pieces, sizes


def without_holes(mask: np.ndarray, zooms, limit_mm3: float = np.inf) -> np.ndarray:
    """`mask` with its enclosed holes of less than `limit_mm3` filled; the largest piece of background stays."""
    holes, _ = label(~mask)
    sizes = np.bincount(holes.ravel()) * np.prod(zooms)
    sizes[0] = 0
    fill = (sizes > 0) & (sizes < limit_mm3)
    fill[sizes.argmax()] = False
    return mask | fill[holes]


def enclosed(mask: np.ndarray) -> np.ndarray:
    """What `mask` encloses: bool, background that does not hang together with that on the array's faces."""
    pieces, count = label(~mask)
    outer = np.zeros(count + 1, bool)
    for axis in range(3):
        outer[pieces.take((0, -1), axis)] = True
    outer[0] = True  # the mask
    return np.zeros(mask.shape, bool) if outer.all() else ~outer.take(pieces)


def ventricles(tissue: np.ndarray, zooms, box: Box) -> np.ndarray:
    """Deep CSF inside `box`: bool, the shape of the box.

    CSF further than `VENTRICLE_DEPTH` from outside the brain, in coarse blocks that are mostly CSF and hang
    together to at least 1 ml: lateral and third ventricles and the deep cisterns, not single mislabelled voxels.
    """
    whole, steps, deep = _deep(tissue, zooms)
    if whole is None:
        return np.zeros([part.stop - part.start for part in box], bool)
    index = [
        np.clip((np.arange(part.start, part.stop) - first.start) // step, -1, n) + 1
        for part, first, step, n in zip(box, whole, steps, deep.shape, strict=True)
    ]
    out = np.pad(deep, 1)
    for axis, lines in enumerate(index):  # an axis at a time: five times faster than all at once
        out = out.take(lines, axis)
    return out & (tissue[box] == Tissue.CSF)


@once_for_each_map(8)
def _deep(tissue: np.ndarray, zooms) -> tuple[Box | None, list[int], np.ndarray]:
    """Box of the brain, voxels along a coarse block, and which blocks of the box are ventricle."""
    steps = [max(round(_LOW_STEP / z), 1) for z in zooms]
    whole = box_of(tissue)
    if whole is None:
        return None, steps, np.zeros((0, 0, 0), bool)
    low = tissue[whole]
    low = np.pad(low, [(0, -n % step) for n, step in zip(low.shape, steps, strict=True)])  # whole blocks
    middles = low[tuple(slice(step // 2, None, step) for step in steps)]
    coarse = [z * s for z, s in zip(zooms, steps, strict=True)]
    # the box's own faces are brain's edge, except where the grid (the scan) ends
    rim = [(int(part.start > 0), int(part.stop < size)) for part, size in zip(whole, tissue.shape, strict=True)]
    edge = near(np.pad(middles == 0, rim, constant_values=True), VENTRICLE_DEPTH, coarse)
    depth = edge[tuple(slice(a, a + n) for (a, _), n in zip(rim, middles.shape, strict=True))]
    deep, sizes = components((block_share(low == Tissue.CSF, steps) >= 0.5) & np.isinf(depth))
    return whole, steps, (sizes * np.prod(coarse) >= 1000)[deep]


def block_share(mask: np.ndarray, steps) -> np.ndarray:
    """Share of true voxels in each block of `steps` voxels; the mask holds whole blocks only."""
    total = np.zeros([n // step for n, step in zip(mask.shape, steps, strict=True)], np.uint16)
    for offset in np.ndindex(*steps):
        total += mask[tuple(slice(o, None, step) for o, step in zip(offset, steps, strict=True))]
    return total / np.float32(np.prod(steps))
