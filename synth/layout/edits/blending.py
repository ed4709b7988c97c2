"""The edit that blends two tumours' shapes by their signed distances."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.ndimage import distance_transform_edt

from synth.brats import Tissue, Tumour
from synth.layout.edits.depth import blurred, lowest
from synth.layout.edits.edit import Edit, Outcome, choice, register, span, uniform
from synth.layout.edits.exchange import check_donor
from synth.layout.edits.placing import Ground, find_shift, nearby, settled, tumour_box, tumour_points
from synth.layout.edits.region import region_of
from synth.layout.space import Box, block_share, box_of, centroid, midline, mirrored, spacing, widened

_BLOCK_MM = 2.0  # signed distances are made on blocks of about this size, eight times fewer than voxels
_WHITE_MM = 6.0  # by which an outline halfway between two recedes in grey matter and fluid
_MIRRORS = ("auto", "never", "always")


@register
@dataclass(frozen=True)
class Blend(Edit):
    """Give the tumour a shape between its own and that of `donor`: `weight` 0 is the host's, 1 the donor's.

    Both are laid centroid on centroid at the host's place, the donor's reflected left-right if `mirror`. Whole
    tumour, core and necrosis are cut from the weighted means of both signed distances at the weighted mean of both
    volumes, each inside the one before; then the tumour is shifted by `shift_mm` to where it fits. The more it is of
    both, the more its outline also prefers the white matter it lies in: a mean of two outlines alone is too smooth.
    """

    donor: str
    weight: float
    mirror: bool
    shift_mm: tuple = (0.0, 0.0, 0.0)

    name: ClassVar[str] = "blend"
    needs_donor: ClassVar[bool] = True
    options: ClassVar[Mapping[str, Any]] = {"donor_share": (0.25, 0.75), "mirror": "auto"}

    @classmethod
    def draw(
        cls, layout, rng, *, target="tumour", donor=None, donor_share=options["donor_share"], mirror=options["mirror"]
    ):
        """A weight within the range `donor_share`, and the shift at which the blend fits.

        `mirror` is "auto" (the donor's tumour is reflected if it lies on the other side than the host's, so that
        lateral meets lateral), "never" or "always".
        """
        limits, mirror = (
            span(cls.name, "donor_share", donor_share, 0, 1),
            choice(cls.name, "mirror", mirror, _MIRRORS)[0],
        )
        tumour_box(cls.name, layout)
        check_donor(cls.name, layout, donor)
        weight = round(uniform(rng, limits), 3)
        (own, own_core), (other, other_core) = tumour_points(layout), tumour_points(donor)
        middle = midline(layout.shape)
        across = (own[:, 0].mean() - middle) * (other[:, 0].mean() - middle) < 0
        reflect = mirror == "always" or (mirror == "auto" and bool(across))
        if reflect:
            other[:, 0] = 2 * middle - other[:, 0]
        other += own.mean(0) - other.mean(0)
        # where the blend will lie, as nearly as a place can be judged: some voxels of either
        kept, new = rng.random(len(own)) >= weight, rng.random(len(other)) < weight
        points, core = np.concatenate([own[kept], other[new]]), np.concatenate([own_core[kept], other_core[new]])
        shift = find_shift(points, core, Ground(layout), nearby(rng))
        return cls(donor=donor.id, weight=weight, mirror=reflect, shift_mm=shift)

    def __post_init__(self):
        """Check the parameters."""
        super().__post_init__()
        self._require(0 <= self.weight <= 1, "a weight of 0 to 1")

    def run(self, layout, donor=None):
        """See `Edit.run`; `donor` must be the layout the edit was drawn with."""
        tumour_box(self.name, layout)
        check_donor(self.name, layout, donor, self.donor)
        zooms = spacing(layout.affine)
        own, other, origin = _aligned(layout.tumour, mirrored(donor.tumour) if self.mirror else donor.tumour, zooms)
        origin = origin + np.rint(np.array(self.shift_mm) / zooms).astype(int)
        box, inner = _on_grid(origin, own.shape, layout.shape)
        foreign = np.ones(own.shape, np.float32)
        foreign[inner] -= blurred(layout.tissue[box] == Tissue.WM, zooms)
        pull = np.float32(4 * self.weight * (1 - self.weight) * _WHITE_MM)
        labels = _blended(own, other, self.weight, pull * foreign, zooms)
        inside = np.count_nonzero(labels[inner]) / np.count_nonzero(labels)
        if not inside:
            return Outcome(layout.with_tumour(), 1.0)
        native = None if any(self.shift_mm) else own[inner] > 0
        edited, lost, _ = settled(layout, labels[inner], box, native=native)
        return Outcome(edited, 1 - inside * (1 - lost))


def _on_grid(origin, size, shape) -> tuple[Box, Box]:
    """Where a canvas lies in the grid, and which part of it does."""
    first = [min(max(int(o), 0), n) for o, n in zip(origin, shape, strict=True)]
    last = [min(max(int(o) + s, 0), n) for o, s, n in zip(origin, size, shape, strict=True)]
    box = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
    return box, tuple(slice(a - int(o), b - int(o)) for a, b, o in zip(first, last, origin, strict=True))


def _aligned(own: np.ndarray, other: np.ndarray, zooms) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Crops of both maps, centroid on centroid, on one canvas; and the canvas's place in the host's grid."""
    boxes = [widened(box_of(labels), 2 * _BLOCK_MM, zooms, labels.shape) for labels in (own, other)]
    middles = [centroid(labels[box] > 0, box) for labels, box in zip((own, other), boxes, strict=True)]
    starts = [np.array([part.start for part in box]) for box in boxes]
    starts[1] = starts[1] + np.rint(middles[0] - middles[1]).astype(int)
    crops = [own[boxes[0]], other[boxes[1]]]
    ends = [start + crop.shape for start, crop in zip(starts, crops, strict=True)]
    origin, end = np.minimum(*starts), np.maximum(*ends)
    canvases = []
    for crop, start in zip(crops, starts, strict=True):
        canvas = np.zeros(end - origin, np.uint8)
        canvas[tuple(slice(s, s + n) for s, n in zip(start - origin, crop.shape, strict=True))] = crop
        canvases.append(canvas)
    return *canvases, origin


def _blended(own: np.ndarray, other: np.ndarray, weight: float, outward: np.ndarray, zooms) -> np.ndarray:
    """Labels whose nested regions are cut from the mean signed distances of two maps on one canvas.

    `outward` (mm) is added to the whole tumour's distance.
    """
    out, room, box = np.zeros(own.shape, np.uint8), np.ones(own.shape, bool), (slice(None),) * 3
    for name, label in (("WT", Tumour.ED), ("TC", Tumour.ET), ("NCR", Tumour.NCR)):
        pair = [region_of(labels[box], name) for labels in (own, other)]
        sizes = [np.count_nonzero(region_of(labels, name)) for labels in (own, other)]
        count = round((1 - weight) * sizes[0] + weight * sizes[1])
        if not count:
            break
        # a region that one of them lacks would begin in the depth of the region around
        pair = [mask if mask.any() else room[box] for mask in pair]
        level = _mean_distance(pair, weight, zooms)
        room[box] = lowest(level + outward if name == "WT" else level, room[box], count)
        out[room] = label
        box = box_of(room)  # all that is inside lies in it
    return out


def _mean_distance(masks, weight: float, zooms) -> np.ndarray:
    """The weighted mean of two masks' signed distances in mm, negative inside, float32 on the masks' grid."""
    steps = [max(round(_BLOCK_MM / z), 1) for z in zooms]
    first, second = (_signed(mask, steps, zooms) for mask in masks)
    return _upsampled(np.float32(1 - weight) * first + np.float32(weight) * second, steps, masks[0].shape)


def _signed(mask: np.ndarray, steps, zooms) -> np.ndarray:
    """Signed distance at the middles of blocks, exact to a fraction of a voxel: mixed blocks tell by their share."""
    filled = block_share(np.pad(mask, [(0, -n % s) for n, s in zip(mask.shape, steps, strict=True)]), steps)
    coarse = [z * s for z, s in zip(zooms, steps, strict=True)]
    inside, block = filled >= 0.5, float(np.mean(coarse))
    level = distance_transform_edt(~inside, sampling=coarse) if inside.any() else np.zeros(inside.shape)
    inner = box_of(np.pad(inside, 1))
    if inner is not None:  # distances inside need only the region's own box
        depth = distance_transform_edt(np.pad(inside, 1)[tuple(slice(p.start - 1, p.stop + 1) for p in inner)], coarse)
        level[tuple(slice(p.start - 1, p.stop - 1) for p in inner)] -= depth[1:-1, 1:-1, 1:-1]
    level = level - np.where(inside, -0.5, 0.5) * block  # the surface lies half a block from the nearest middle
    return np.where((filled > 0) & (filled < 1), (0.5 - filled) * block, level).astype(np.float32)


def _upsampled(level: np.ndarray, steps, shape) -> np.ndarray:
    """`level`, given at the middles of blocks, at every voxel: linear between them, constant at the margin."""
    for axis, (step, size) in enumerate(zip(steps, shape, strict=True)):
        if step == 1:
            continue
        last = level.shape[axis] - 1
        position = np.clip((np.arange(size) + 0.5) / step - 0.5, 0, last)
        first = np.floor(position).astype(int)
        part = (position - first).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
        level = level.take(first, axis) * (1 - part) + level.take(np.minimum(first + 1, last), axis) * part
    return level
