"""Edits that move and bend: move, rotate, scale, mirror, elastic; of the tumour, or of the whole layout."""

import itertools
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from synth.errors import LayoutError
from synth.layout.edits.edit import Edit, Outcome, register
from synth.layout.edits.placing import Ground, direction, find_shift, nearby, place, tumour_box, tumour_points
from synth.layout.law import MAX_BRAIN_SHARE, MIN_VOLUME_ML
from synth.layout.layout import Layout
from synth.layout.space import Box, box_of, centroid, midline, mirrored, spacing, widened
from synth.layout.warp import MIN_JACOBIAN, Warp, checked, random_field

_IDENTITY = np.eye(3)
_STILL = (0.0, 0.0, 0.0)


@register
@dataclass(frozen=True)
class Move(Edit):
    """Shift the tumour by `mm` (three numbers along the array axes: left, posterior, up on the BraTS grid)."""

    mm: tuple

    name: ClassVar[str] = "move"

    @classmethod
    def draw(cls, layout, rng, *, target="tumour", donor=None, mm=(8.0, 45.0)):
        """A direction and a distance within `mm` (a range) at which the tumour fits into this brain.

        The default range is one that leaves the neighbourhood (the median tumour has a radius of 29 mm) but
        mostly stays in the hemisphere.
        """
        points, core = _points(cls, layout)
        offers = (direction(rng) * rng.uniform(*mm) for _ in itertools.count())
        return cls(mm=find_shift(points, core, Ground(layout), offers))

    def run(self, layout, donor=None):
        """See `Edit.run`."""
        tumour_box(self.name, layout)
        return place(layout, layout.tumour, Warp.about((0, 0, 0), _IDENTITY, spacing(layout.affine), self.mm))


@register
@dataclass(frozen=True)
class Rotate(Edit):
    """Turn by `degrees` about `axis` through the tumour's centroid, or through the middle of the brain.

    Then shift by `shift_mm`: as far as it takes for a tumour to fit again; like it in the edits below.
    """

    degrees: float
    axis: tuple
    shift_mm: tuple = (0.0, 0.0, 0.0)
    target: str = "tumour"

    name: ClassVar[str] = "rotate"
    targets: ClassVar[tuple[str, ...]] = ("tumour", "layout")

    @classmethod
    def draw(cls, layout, rng, *, target="tumour", donor=None, degrees=None):
        """A random axis and an angle up to `degrees`.

        Defaults: 40 for a tumour, 5 for a layout: what registration to the template leaves of a tilted head.
        """
        limit = degrees if degrees is not None else {"tumour": 40.0, "layout": 5.0}[target]
        axis = tuple(round(float(v), 4) for v in direction(rng))
        degrees = round(float(rng.uniform(-limit, limit)), 2)
        shift = _refit(cls, layout, rng, rotation(degrees, axis)) if target == "tumour" else _STILL
        return cls(degrees=degrees, axis=axis, shift_mm=shift, target=target)

    def __post_init__(self):
        """Check the parameters."""
        super().__post_init__()
        self._require(np.linalg.norm(self.axis) > 1e-3, "an axis that is not zero")

    def run(self, layout, donor=None):
        """See `Edit.run`."""
        return _linear(self, layout, rotation(self.degrees, self.axis), self.shift_mm)


@register
@dataclass(frozen=True)
class Scale(Edit):
    """Make the tumour, or the whole layout, `factor` times as long along every axis, about its middle."""

    factor: float
    shift_mm: tuple = (0.0, 0.0, 0.0)
    target: str = "tumour"

    name: ClassVar[str] = "scale"
    targets: ClassVar[tuple[str, ...]] = ("tumour", "layout")

    @classmethod
    def draw(cls, layout, rng, *, target="tumour", donor=None, factor=None):
        """A factor within the range `factor`, uniform in its logarithm.

        Defaults: 0.75 to 1.3 for a tumour (0.4 to 2.2 times its volume, as far as the law allows); 0.95 to 1.05
        for a layout, brain volumes differing by about 10 %.
        """
        low, high = factor or {"tumour": (0.75, 1.3), "layout": (0.95, 1.05)}[target]
        if target == "tumour" and factor is None:
            low, high = np.clip((low, high), *_scale_limits(cls, layout))
        factor = round(float(np.exp(rng.uniform(np.log(low), np.log(high)))), 4)
        shift = _refit(cls, layout, rng, factor * _IDENTITY) if target == "tumour" else _STILL
        return cls(factor=factor, shift_mm=shift, target=target)

    def __post_init__(self):
        """Check the parameters."""
        super().__post_init__()
        self._require(0.1 <= self.factor <= 10, "a factor of 0.1 to 10")

    def run(self, layout, donor=None):
        """See `Edit.run`."""
        return _linear(self, layout, self.factor * _IDENTITY, self.shift_mm)


@register
@dataclass(frozen=True)
class Mirror(Edit):
    """Reflect left-right about the mid-sagittal plane (no other reflection is anatomy)."""

    shift_mm: tuple = (0.0, 0.0, 0.0)
    target: str = "layout"

    name: ClassVar[str] = "mirror"
    targets: ClassVar[tuple[str, ...]] = ("layout", "tumour")

    @classmethod
    def draw(cls, layout, rng, *, target="layout", donor=None):
        """The shift with which a mirrored tumour fits into a brain that is not symmetric."""
        if target == "layout":
            return cls(target=target)
        points, core = _points(cls, layout)
        points[:, 0] = 2 * midline(layout.shape) - points[:, 0]
        return cls(shift_mm=find_shift(points, core, Ground(layout), nearby(rng)), target=target)

    def run(self, layout, donor=None):
        """See `Edit.run`."""
        tumour = mirrored(layout.tumour)
        if self.target == "layout":
            return Outcome(Layout(mirrored(layout.tissue), tumour, layout.affine, layout.id))
        tumour_box(self.name, layout)
        return place(layout, tumour, Warp.about((0, 0, 0), _IDENTITY, spacing(layout.affine), self.shift_mm))


@register
@dataclass(frozen=True)
class Elastic(Edit):
    """Bend smoothly: a cubic B-spline field whose components have root mean square `mm`, controls every `step_mm`.

    `seed` stands for the control points (some hundreds of numbers). The warp is a diffeomorphism: its Jacobian
    is checked before anything is bent.
    """

    mm: float
    step_mm: float
    seed: int
    shift_mm: tuple = (0.0, 0.0, 0.0)
    target: str = "tumour"

    name: ClassVar[str] = "elastic"
    targets: ClassVar[tuple[str, ...]] = ("tumour", "layout")

    @classmethod
    def draw(cls, layout, rng, *, target="tumour", donor=None, mm=None):
        """A field of strength within the range `mm`, weakened until it is safely free of folds.

        Defaults: a tumour is bent by 4 to 9 % of its diameter with two or three control points across it, which
        changes its outline and keeps its structure; a layout by 1 to 2.5 mm with controls every 45 mm, which
        brains' differences exceed and in which no sulcus is torn.
        """
        if target == "tumour":
            box = tumour_box(cls.name, layout)
            volume = np.count_nonzero(layout.tumour[box]) * np.prod(spacing(layout.affine))
            diameter = 2 * (3 * volume / (4 * np.pi)) ** (1 / 3)
            step, strength = float(np.clip(0.45 * diameter, 12, 45)), mm or (0.04 * diameter, 0.09 * diameter)
        else:
            step, strength = 45.0, mm or (1.0, 2.5)
        strength = float(rng.uniform(*strength))
        seed = int(rng.integers(2**32))
        for _ in range(20):
            edit = cls(mm=round(strength, 2), step_mm=round(step, 1), seed=seed, target=target)
            warp = edit._warp(layout)[0]
            if warp.min_jacobian() >= MIN_JACOBIAN + 0.05:
                break
            strength *= 0.85
        if target == "layout":
            return edit
        points, core = _points(cls, layout)
        return replace(edit, shift_mm=find_shift(warp.forward(points), core, Ground(layout), nearby(rng)))

    def __post_init__(self):
        """Check the parameters."""
        super().__post_init__()
        self._require(self.mm >= 0 and self.step_mm > 0 and self.seed >= 0, "mm >= 0, step_mm > 0 and seed >= 0")

    def run(self, layout, donor=None):
        """See `Edit.run`."""
        warp, box = self._warp(layout)
        checked(warp, self.name)
        return place(layout, layout.tumour, warp) if self.target == "tumour" else _warp_layout(layout, warp, box)

    def _warp(self, layout: Layout) -> tuple[Warp, Box]:
        zooms = spacing(layout.affine)
        box = tumour_box(self.name, layout) if self.target == "tumour" else _brain_box(layout)
        field = random_field(widened(box, 3 * self.mm, zooms, layout.shape), zooms, self.mm, self.step_mm, self.seed)
        return Warp.about((0, 0, 0), _IDENTITY, zooms, self.shift_mm, (field,)), box


def rotation(degrees: float, axis) -> np.ndarray:
    """(3, 3) rotation by Rodrigues' formula."""
    x, y, z = np.asarray(axis, float) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.deg2rad(degrees)
    return _IDENTITY + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def _linear(edit: Edit, layout: Layout, matrix: np.ndarray, shift_mm) -> Outcome:
    zooms = spacing(layout.affine)
    if edit.target == "layout":
        box = _brain_box(layout)
        middle = [(part.start + part.stop - 1) / 2 for part in box]
        return _warp_layout(layout, Warp.about(middle, matrix, zooms, shift_mm), box)
    box = tumour_box(edit.name, layout)
    middle = centroid(layout.tumour[box] > 0, box)
    return place(layout, layout.tumour, Warp.about(middle, matrix, zooms, shift_mm))


def _scale_limits(edit, layout: Layout) -> tuple[float, float]:
    """The factors that leave a tumour well within the law's volumes and room for it; 1 is always among them."""
    voxels = np.count_nonzero(layout.tumour[tumour_box(edit.name, layout)])
    least = MIN_VOLUME_ML * 1000 / np.prod(spacing(layout.affine))
    most = MAX_BRAIN_SHARE * np.count_nonzero(layout.tissue)
    return min((1.2 * least / voxels) ** (1 / 3), 1.0), max((0.65 * most / voxels) ** (1 / 3), 1.0)


def _refit(edit, layout: Layout, rng: np.random.Generator, matrix: np.ndarray) -> tuple[float, float, float]:
    """The shift with which the tumour, after `matrix` about its centroid, fits into its brain."""
    points, core = _points(edit, layout)
    middle = points.mean(0)
    moved = Warp.about(middle, matrix, spacing(layout.affine)).forward(points)
    return find_shift(moved, core, Ground(layout), nearby(rng))


def _warp_layout(layout: Layout, warp: Warp, box: Box) -> Outcome:
    # both maps travel as one code, so that tissue and tumour of a voxel cannot part
    code = layout.tissue[box] | (layout.tumour[box] << 2)
    target = warp.output_box(box, layout.shape)
    moved = warp.gather(code, [part.start for part in box], target, extend=True)
    tissue, tumour = np.zeros_like(layout.tissue), np.zeros_like(layout.tumour)
    tissue[target], tumour[target] = moved & 3, moved >> 2
    return Outcome(Layout(tissue, tumour, layout.affine, layout.id))


def _brain_box(layout: Layout) -> Box:
    """The brain's box with a rim of background, except where the scan itself ends in the brain."""
    box = box_of(layout.tissue)
    if box is None:
        raise LayoutError(f"layout {layout.id or '(unnamed)'}: it has no brain to edit.")
    return tuple(slice(max(p.start - 1, 0), min(p.stop + 1, n)) for p, n in zip(box, layout.shape, strict=True))


def _points(edit, layout: Layout):
    tumour_box(edit.name, layout)
    return tumour_points(layout)
