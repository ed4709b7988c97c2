"""Edits that move: shift, turn, scale, stretch, mirror; the tumour, or the whole layout."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from synth.errors import LayoutError
from synth.layout.carry import Moved
from synth.layout.edits.edit import Edit, Outcome, log_uniform, register, span, uniform
from synth.layout.edits.placing import Ground, direction, find_shift, nearby, place, tumour_box, tumour_points
from synth.layout.law import MAX_BRAIN_SHARE, MIN_VOLUME_ML
from synth.layout.layout import Layout
from synth.layout.space import Box, box_of, centroid, midline, mirrored, spacing, widened
from synth.layout.warp import Warp

IDENTITY = np.eye(3)
IDENTITY.flags.writeable = False
FACTORS = (0.1, 10.0)  # of a length: beyond, nothing of a map's pattern is left


@register
@dataclass(frozen=True)
class Move(Edit):
    """Shift the tumour by `mm` (three numbers along the array axes: left, posterior, up on the BraTS grid)."""

    mm: tuple

    name: ClassVar[str] = "move"
    options: ClassVar[Mapping[str, Any]] = {"mm": (8.0, 45.0)}

    @classmethod
    def draw(cls, layout, rng, *, target="tumour", donor=None, mm=options["mm"]):
        """A direction and a distance within `mm` (a range) at which the tumour fits into this brain.

        The default range is one that leaves the neighbourhood (the median tumour has a radius of 29 mm) but
        mostly stays in the hemisphere.
        """
        mm = span(cls.name, "mm", mm, 0)
        tumour_box(cls.name, layout)
        points, core = tumour_points(layout)
        offers = (direction(rng) * rng.uniform(*mm) for _ in itertools.count())
        return cls(mm=find_shift(points, core, Ground(layout), offers))

    def run(self, layout, donor=None):
        """See `Edit.run`."""
        tumour_box(self.name, layout)
        return place(layout, layout.tumour, Warp.about((0, 0, 0), IDENTITY, spacing(layout.affine), self.mm))


@dataclass(frozen=True, kw_only=True)
class _Linear(Edit):
    """What is a matrix about the middle, of the tumour or of the brain, and then a shift.

    Attributes:
        shift_mm: as far as it takes for a tumour to fit again.
        target: what is edited: the tumour, or the whole layout.
    """

    shift_mm: tuple = (0.0, 0.0, 0.0)
    target: str = "tumour"

    targets: ClassVar[tuple[str, ...]] = ("tumour", "layout")

    @property
    def matrix(self) -> np.ndarray:
        """(3, 3) the forward map, in mm."""
        raise NotImplementedError

    @classmethod
    def _fitted(cls, layout: Layout, rng, target: str, **parameters):
        """The edit with these parameters; a tumour is shifted to where it fits into its brain."""
        edit = cls(target=target, **parameters)
        if target == "layout":
            return edit
        points, core = tumour_points(layout)
        moved = Warp.about(points.mean(0), edit.matrix, spacing(layout.affine)).forward(points)
        return cls(shift_mm=find_shift(moved, core, Ground(layout), nearby(rng)), target=target, **parameters)

    def run(self, layout, donor=None):
        """See `Edit.run`."""
        zooms = spacing(layout.affine)
        if self.target == "layout":
            box = brain_box(layout)
            middle = [(part.start + part.stop - 1) / 2 for part in box]
            return warp_layout(layout, Warp.about(middle, self.matrix, zooms, self.shift_mm), box)
        box = tumour_box(self.name, layout)
        middle = centroid(layout.tumour[box] > 0, box)
        return place(layout, layout.tumour, Warp.about(middle, self.matrix, zooms, self.shift_mm))


@register
@dataclass(frozen=True)
class Rotate(_Linear):
    """Turn by `degrees` about `axis` through the tumour's centroid, or through the middle of the brain."""

    degrees: float
    axis: tuple

    name: ClassVar[str] = "rotate"
    options: ClassVar[Mapping[str, Any]] = {"degrees": None}

    @classmethod
    def draw(cls, layout, rng, *, target="tumour", donor=None, degrees=None):
        """A random axis and an angle within the range `degrees`.

        Defaults: up to 40 for a tumour, up to 5 for a layout: what registration to the template leaves of a tilted
        head.
        """
        default = {"tumour": (0, 40), "layout": (0, 5)}[target]
        limits = span(cls.name, "degrees", default if degrees is None else degrees, 0, 180)
        if target == "tumour":
            tumour_box(cls.name, layout)
        axis = tuple(round(float(v), 4) for v in direction(rng))  # either way round: the angle needs no sign
        return cls._fitted(layout, rng, target, degrees=round(uniform(rng, limits), 2), axis=axis)

    def __post_init__(self):
        """Check the parameters."""
        super().__post_init__()
        self._require(np.linalg.norm(self.axis) > 1e-3, "an axis that is not zero")

    @property
    def matrix(self):
        """See `_Linear.matrix`."""
        return rotation(self.degrees, self.axis)


@register
@dataclass(frozen=True)
class Scale(_Linear):
    """Make the tumour, or the whole layout, `factor` times as long along every axis, about its middle."""

    factor: float

    name: ClassVar[str] = "scale"
    options: ClassVar[Mapping[str, Any]] = {"factor": None}

    @classmethod
    def draw(cls, layout, rng, *, target="tumour", donor=None, factor=None):
        """A factor within the range `factor`, uniform in its logarithm.

        Defaults: 0.75 to 1.3 for a tumour (0.4 to 2.2 times its volume, as far as the law allows); 0.95 to 1.05
        for a layout, brain volumes differing by about 10 %.
        """
        default = {"tumour": (0.75, 1.3), "layout": (0.95, 1.05)}[target]
        low, high = span(cls.name, "factor", default if factor is None else factor, *FACTORS)
        if target == "tumour" and factor is None:
            low, high = np.clip((low, high), *scale_limits(cls.name, layout))
        elif target == "tumour":
            tumour_box(cls.name, layout)
        return cls._fitted(layout, rng, target, factor=round(log_uniform(rng, (low, high)), 4))

    def __post_init__(self):
        """Check the parameters."""
        super().__post_init__()
        self._require(FACTORS[0] <= self.factor <= FACTORS[1], "a factor of 0.1 to 10")

    @property
    def matrix(self):
        """See `_Linear.matrix`."""
        return self.factor * IDENTITY


@register
@dataclass(frozen=True)
class Stretch(_Linear):
    """Make the tumour, or the whole layout, `factors` times as long along the three array axes, about its middle."""

    factors: tuple

    name: ClassVar[str] = "stretch"
    options: ClassVar[Mapping[str, Any]] = {"anisotropy": None, "volume": (1.0, 1.0)}

    @classmethod
    def draw(cls, layout, rng, *, target="tumour", donor=None, anisotropy=None, volume=options["volume"]):
        """Three factors whose largest is `anisotropy` (a range) times the smallest, and whose product is `volume`.

        Defaults: an anisotropy of 1.1 to 1.6 for a tumour; 1.01 to 1.08 for a layout: the width of heads relative
        to their length varies by 4 to 5 % between people. The range `volume` is a factor of the volume; by default
        it is kept.
        """
        default = {"tumour": (1.1, 1.6), "layout": (1.01, 1.08)}[target]
        limits = span(cls.name, "anisotropy", default if anisotropy is None else anisotropy, 1, 10)
        volume = span(cls.name, "volume", volume, 0.01, 100)
        if target == "tumour":
            tumour_box(cls.name, layout)
        logs = rng.permutation([0.0, rng.random(), 1.0]) * np.log(log_uniform(rng, limits))
        logs += np.log(log_uniform(rng, volume)) / 3 - logs.mean()
        return cls._fitted(layout, rng, target, factors=tuple(round(float(v), 4) for v in np.exp(logs)))

    def __post_init__(self):
        """Check the parameters."""
        super().__post_init__()
        self._require(all(FACTORS[0] <= f <= FACTORS[1] for f in self.factors), "factors of 0.1 to 10")

    @property
    def matrix(self):
        """See `_Linear.matrix`."""
        return np.diag(self.factors)


@register
@dataclass(frozen=True)
class Mirror(Edit):
    """Reflect left-right about the mid-sagittal plane (no other reflection is anatomy)."""

    shift_mm: tuple = (0.0, 0.0, 0.0)
    target: str = "layout"

    name: ClassVar[str] = "mirror"
    targets: ClassVar[tuple[str, ...]] = ("layout", "tumour")
    swaps_sides: ClassVar[bool] = True

    @classmethod
    def draw(cls, layout, rng, *, target="layout", donor=None):
        """The shift with which a mirrored tumour fits into a brain that is not symmetric."""
        if target == "layout":
            return cls(target=target)
        tumour_box(cls.name, layout)
        points, core = tumour_points(layout)
        points[:, 0] = 2 * midline(layout.shape) - points[:, 0]
        return cls(shift_mm=find_shift(points, core, Ground(layout), nearby(rng)), target=target)

    def run(self, layout, donor=None):
        """See `Edit.run`."""
        tumour = mirrored(layout.tumour)
        if self.target == "layout":
            edited = Layout(mirrored(layout.tissue), tumour, layout.affine, layout.id)
            return Outcome(edited, moved=Moved(mirroring(layout.shape)))
        tumour_box(self.name, layout)
        return place(layout, tumour, Warp.about((0, 0, 0), IDENTITY, spacing(layout.affine), self.shift_mm))


def mirroring(shape: tuple[int, int, int], warp: Warp | None = None) -> Warp:
    """The warp that mirrors left and right, as `mirrored` does; after `warp`, where one is given."""
    matrix, offset = np.diag([-1.0, 1.0, 1.0]), np.array([round(2 * midline(shape)), 0.0, 0.0])
    return (
        Warp(matrix, offset) if warp is None else Warp(matrix @ warp.matrix, matrix @ warp.offset + offset, warp.fields)
    )


def rotation(degrees: float, axis) -> np.ndarray:
    """(3, 3) rotation by Rodrigues' formula."""
    x, y, z = np.asarray(axis, float) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.deg2rad(degrees)
    return IDENTITY + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def scale_limits(name: str, layout: Layout) -> tuple[float, float]:
    """The factors that leave a tumour well within the law's volumes and room for it; 1 is always among them."""
    voxels = np.count_nonzero(layout.tumour[tumour_box(name, layout)])
    least, most = lawful_voxels(layout)
    return min((least / voxels) ** (1 / 3), 1.0), max((most / voxels) ** (1 / 3), 1.0)


def lawful_voxels(layout: Layout) -> tuple[float, float]:
    """Voxels of a whole tumour well within the law's least and largest volume."""
    least = 1.2 * MIN_VOLUME_ML * 1000 / np.prod(spacing(layout.affine))
    return least, max(0.65 * MAX_BRAIN_SHARE * np.count_nonzero(layout.tissue), least)


def warp_layout(layout: Layout, warp: Warp, box: Box) -> Outcome:
    """Brain and tumour, both within `box`, warped together."""
    return Outcome(placed(layout, *warped_maps(layout, warp, box)), moved=Moved(warp))


def placed(layout: Layout, tissue: np.ndarray, tumour: np.ndarray, place: Box) -> Layout:
    """A layout with these maps on `place` and nothing around them; grid, affine and id are those of `layout`."""
    maps = np.zeros_like(layout.tissue), np.zeros_like(layout.tumour)
    for whole, part in zip(maps, (tissue, tumour), strict=True):
        whole[place] = part
    return Layout(*maps, layout.affine, layout.id)


def warped_maps(layout: Layout, warp: Warp, box: Box) -> tuple[np.ndarray, np.ndarray, Box]:
    """Tissue and tumour of a brain within `box`, warped, on the part of the grid where they then lie; that part."""
    # both maps travel as one code, so that tissue and tumour of a voxel cannot part
    code = layout.tissue[box] | (layout.tumour[box] << 2)
    target = warp.output_box(box, layout.shape)
    moved = warp.gather(code, [part.start for part in box], target, extend=True)
    return moved & 3, moved >> 2, target


def brain_box(layout: Layout) -> Box:
    """The brain's box with a rim of background, except where the scan itself ends in the brain."""
    box = box_of(layout.tissue)
    if box is None:
        raise LayoutError(f"layout {layout.id or '(unnamed)'}: it has no brain to edit.")
    return widened(box, 1e-3, (1, 1, 1), layout.shape)
