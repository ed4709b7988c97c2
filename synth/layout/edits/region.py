"""Edits of one region's size: grow and shrink by signed distance, resize to a volume; nesting kept."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from synth.brats import REGIONS, Tissue, Tumour
from synth.layout.edits.depth import blurred, lowest, nearest
from synth.layout.edits.edit import Edit, Outcome, choice, log_uniform, register, span, uniform
from synth.layout.edits.motion import lawful_voxels
from synth.layout.edits.placing import settled, tumour_box
from synth.layout.law import MAX_BRAIN_SHARE
from synth.layout.space import ball_radius, near, spacing, ventricles, widened, without_holes

HOLE_MM3 = 1000.0  # annotators leave smaller ones, which shrinking must not widen; larger ones are structure
GROWABLE = (*REGIONS, "NCR")  # whole tumour, core, enhancing part, and the necrosis inside
MAX_MM = 50.0
MAX_ML = 1000.0
TOLERANCE = 0.01  # of the volume asked for
_GREY = 3.0  # oedema grows through grey matter 1 + this times slower than through white
_STAGE_MM = 4.0  # growth in stages goes round a sulcus instead of across it
_PASSES = 4


class _Sized(Edit):
    """What growing, shrinking and resizing share."""

    @classmethod
    def _drawn(cls, layout, rng, region, offered=GROWABLE) -> str:
        """A region that this tumour has, out of those asked for or else of those offered."""
        box = tumour_box(cls.name, layout)
        asked = choice(cls.name, "region", offered if region is None else region, GROWABLE)
        present = [name for name in asked if region_of(layout.tumour[box], name).any()]
        names = present or asked  # one that is absent is recorded, and changes nothing
        return names[int(rng.integers(len(names)))]

    def __post_init__(self):
        """Check the parameters."""
        super().__post_init__()
        self._require(self.region in GROWABLE, f"a region out of {', '.join(GROWABLE)}")


class _ByDistance(_Sized):
    """What growing and shrinking share."""

    options: ClassVar[Mapping[str, Any]] = {"region": None, "mm": (1.0, 4.0)}

    @classmethod
    def draw(cls, layout, rng, *, target="tumour", donor=None, region=None, mm=options["mm"]):
        """A region that this tumour has and a distance within the range `mm`.

        `region` is one of WT, TC, ET, NCR or a list of some; by default any of them, but a tumour near the law's
        largest volume only grows inside.
        """
        limits = span(cls.name, "mm", mm, 0.1, MAX_MM)
        region = cls._drawn(layout, rng, region, cls._offered(layout))
        return cls(region=region, mm=round(uniform(rng, limits), 1))

    @classmethod
    def _offered(cls, layout) -> tuple[str, ...]:
        return GROWABLE

    def __post_init__(self):
        """Check the parameters."""
        super().__post_init__()
        self._require(0 < self.mm <= MAX_MM, "0 to 50 mm")

    def run(self, layout, donor=None):
        """See `Edit.run`."""
        zooms = spacing(layout.affine)
        box = widened(tumour_box(self.name, layout), self.mm + 2, zooms, layout.shape)
        labels = layout.tumour[box]
        region = region_of(labels, self.region)
        if not region.any():
            return Outcome(layout)  # an earlier edit of the policy may have taken the last of it
        edited = settled(layout, self._resized(labels, region, zooms), box, native=labels > 0).layout
        return Outcome(edited)  # what could not grow is not lost


@register
@dataclass(frozen=True)
class Grow(_ByDistance):
    """Let `region` take everything within `mm` of it that it may take.

    WT: new tissue becomes oedema. TC: oedema and new tissue take the class of the nearest core voxel (a rim stays
    a rim). ET: takes oedema and necrosis. NCR: takes enhancing tumour, and so thins the rim.
    """

    region: str
    mm: float

    name: ClassVar[str] = "grow"

    @classmethod
    def _offered(cls, layout):
        large = np.count_nonzero(layout.tumour) > 0.7 * MAX_BRAIN_SHARE * np.count_nonzero(layout.tissue)
        return tuple(name for name in GROWABLE if not (large and name == "WT"))

    def _resized(self, labels, region, zooms):
        reached = np.isfinite(near(region, self.mm, zooms)) & ~region
        return grown(labels, self.region, reached, self.mm, zooms)


@register
@dataclass(frozen=True)
class Shrink(_ByDistance):
    """Take from `region` everything within `mm` of what is not it.

    WT: freed tissue is healthy again (a core that reached the surface shrinks with it). TC: freed voxels become
    oedema. ET: they become what is nearest, necrosis or oedema. NCR: they become enhancing tumour.
    """

    region: str
    mm: float

    name: ClassVar[str] = "shrink"

    def _resized(self, labels, region, zooms):
        freed = np.isfinite(near(~without_holes(region, zooms, HOLE_MM3), self.mm, zooms)) & region
        return shrunk(labels, self.region, freed, self.mm, zooms)


@register
@dataclass(frozen=True)
class Resize(_Sized):
    """Grow or shrink `region` until it has `ml`, to within one per cent where the anatomy has room.

    What grows and shrinks, and what new and freed voxels become, is as in `Grow` and `Shrink`; the nearest voxels
    go first. Oedema goes more slowly through grey matter and fluid than through white matter, in stages of 4 mm, so
    that it runs along the tracts and round the sulci. A region that is not there stays away.
    """

    region: str
    ml: float

    name: ClassVar[str] = "resize"
    options: ClassVar[Mapping[str, Any]] = {"region": None, "ml": None, "factor": (0.6, 1.6)}

    @classmethod
    def draw(cls, layout, rng, *, target="tumour", donor=None, region=None, ml=None, factor=options["factor"]):
        """A region that this tumour has and its new volume, uniform in the logarithm.

        Args:
            layout: to be edited.
            rng: where the numbers come from.
            target: the tumour.
            donor: none.
            region: one of WT, TC, ET, NCR or a list of some; by default any of them.
            ml: range of the volume; by default it is `factor` times the present one.
            factor: range of that factor. Either is cut to what the law, or the region around, allows.
        """
        limits = span(cls.name, "factor", factor, 0.01, 100) if ml is None else span(cls.name, "ml", ml, 0.01, MAX_ML)
        name = cls._drawn(layout, rng, region)
        labels = layout.tumour[tumour_box(cls.name, layout)]
        unit = np.prod(spacing(layout.affine)) / 1000
        wanted = log_uniform(rng, limits) * (np.count_nonzero(region_of(labels, name)) * unit if ml is None else 1)
        return cls(region=name, ml=round(max(float(np.clip(wanted, *cls._limits(layout, labels, name))), 0.01), 2))

    @staticmethod
    def _limits(layout, labels, name) -> tuple[float, float]:
        """The volumes in ml that the law and the region around allow; a whole tumour beyond the law may stay as is."""
        unit, whole = np.prod(spacing(layout.affine)) / 1000, np.count_nonzero(labels)
        if name == "WT":
            least, most = lawful_voxels(layout)
            return min(least, whole) * unit, max(most, whole) * unit
        around = {"TC": whole, "ET": whole, "NCR": np.count_nonzero(region_of(labels, "TC"))}[name]
        return 0.0, 0.95 * around * unit

    def __post_init__(self):
        """Check the parameters."""
        super().__post_init__()
        self._require(0 < self.ml <= MAX_ML, "0 to 1000 ml")

    def run(self, layout, donor=None):
        """See `Edit.run`."""
        zooms = spacing(layout.affine)
        inner = tumour_box(self.name, layout)
        present = np.count_nonzero(region_of(layout.tumour[inner], self.region))
        goal = max(round(self.ml * 1000 / np.prod(zooms)), 1)
        if not present:
            return Outcome(layout)
        if goal <= present:
            return self._shrunk(layout, widened(inner, 2, zooms, layout.shape), goal, zooms)
        radii = [ball_radius(n * np.prod(zooms)) for n in (present, goal)]
        reach = 1.6 * (radii[1] - radii[0]) + 8  # more than a ball needs: it may grow to one side only
        return self._grown(layout, widened(inner, reach, zooms, layout.shape), goal, zooms)

    def _shrunk(self, layout, box, goal, zooms) -> Outcome:
        labels = layout.tumour[box]
        region = region_of(labels, self.region)
        outside, aim = ~without_holes(region, zooms, HOLE_MM3), goal
        for _ in range(_PASSES):  # crumbs that fall off were not counted
            freed = nearest(outside, region, np.count_nonzero(region) - aim, zooms)
            out = shrunk(labels, self.region, freed, _STAGE_MM, zooms)
            if self.region != "WT":
                return Outcome(layout.with_tumour(out, box))
            edited = settled(layout, out, box, native=labels > 0).layout
            short = goal - np.count_nonzero(region_of(edited.tumour[box], self.region))
            if short <= TOLERANCE * goal:
                break
            aim += short
        return Outcome(edited)

    def _grown(self, layout, box, goal, zooms) -> Outcome:
        labels, tissue = layout.tumour[box], layout.tissue[box]
        room = {"ET": labels > 0, "NCR": region_of(labels, "TC")}.get(self.region)
        if room is None:  # not in a ventricle, not outside the brain
            room = ((tissue > 0) & ~ventricles(layout.tissue, zooms, box)) | (labels > 0)
        if self.region in ("ET", "NCR"):
            return Outcome(layout.with_tumour(self._in_stages(labels, room, np.float32(1), goal, zooms), box))
        slow = 1 + _GREY * (1 - blurred(tissue == Tissue.WM, zooms)) if self.region == "WT" else np.float32(1)
        for _ in range(_PASSES):  # what the falx stops must go elsewhere
            out = self._in_stages(labels, room, slow, goal, zooms)
            edited = settled(layout, out, box, native=labels > 0).layout
            cut = (out > 0) & (labels == 0) & (edited.tumour[box] == 0)
            if np.count_nonzero(cut) <= TOLERANCE * goal:
                break
            room &= ~cut
        return Outcome(edited)

    def _in_stages(self, labels, room, slow, goal, zooms):
        stage = max(_STAGE_MM, 1.5 * max(zooms))
        while True:
            region = region_of(labels, self.region)
            missing = goal - np.count_nonzero(region)
            if missing <= 0:
                return labels
            level = near(region, stage, zooms) * slow
            free = room & ~region & (level <= stage)
            if np.count_nonzero(free) > missing:
                free = lowest(level - blurred(region, zooms), free, missing)
            elif not free.any():
                return labels
            labels = grown(labels, self.region, free, stage, zooms)


def region_of(labels: np.ndarray, name: str) -> np.ndarray:
    """Where `labels` belong to the region (WT, TC, ET or NCR): bool."""
    member = np.zeros(len(Tumour), bool)
    member[list(REGIONS.get(name, (Tumour.NCR,)))] = True
    return member[labels]


def grown(labels: np.ndarray, name: str, reached: np.ndarray, mm: float, zooms) -> np.ndarray:
    """`labels` after the region took what it may of the voxels `reached`, all within `mm` of it; see `Grow`."""
    out = labels.copy()
    if name == "WT":
        out[reached] = Tumour.ED
    elif name == "TC":
        necrotic = near(labels == Tumour.NCR, mm, zooms) < near(labels == Tumour.ET, mm, zooms)
        out[reached] = np.where(necrotic[reached], Tumour.NCR, Tumour.ET)
    elif name == "ET":
        out[reached & (labels > 0)] = Tumour.ET
    else:
        out[reached & (labels == Tumour.ET)] = Tumour.NCR
    return out


def shrunk(labels: np.ndarray, name: str, freed: np.ndarray, mm: float, zooms) -> np.ndarray:
    """`labels` after the region gave up the voxels `freed`; see `Shrink`. Its neighbours are sought within `mm`."""
    out = labels.copy()
    if name == "WT":
        out[freed] = Tumour.NONE
    elif name == "TC":
        out[freed] = Tumour.ED
    elif name == "ET":
        necrotic = near(labels == Tumour.NCR, mm, zooms) <= near(labels == Tumour.ED, mm, zooms)
        out[freed] = np.where(necrotic[freed], Tumour.NCR, Tumour.ED)
    else:
        out[freed] = Tumour.ET
    return out
