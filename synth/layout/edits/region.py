"""Edits of one region's size: grow and shrink by signed distance, nesting kept."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from synth.brats import REGIONS, Tumour
from synth.layout.edits.edit import Edit, Outcome, register
from synth.layout.edits.placing import settled, tumour_box
from synth.layout.law import MAX_BRAIN_SHARE
from synth.layout.space import near, spacing, widened, without_holes

HOLE_MM3 = 1000.0  # annotators leave smaller ones, which shrinking must not widen; larger ones are structure
GROWABLE = (*REGIONS, "NCR")  # whole tumour, core, enhancing part, and the necrosis inside


class _Resize(Edit):
    """What growing and shrinking share."""

    @classmethod
    def draw(cls, layout, rng, *, target="tumour", donor=None, region=None, mm=(1.0, 4.0)):
        """A region that this tumour has (or `region`) and a distance within `mm`."""
        box = tumour_box(cls.name, layout)
        present = [name for name in cls._offered(layout) if _region(layout.tumour[box], name).any()]
        chosen = region or present[int(rng.integers(len(present)))]
        return cls(region=chosen, mm=round(float(rng.uniform(*mm)), 1))

    @classmethod
    def _offered(cls, layout) -> tuple[str, ...]:
        return GROWABLE

    def __post_init__(self):
        """Check the parameters."""
        super().__post_init__()
        self._require(self.region in GROWABLE, f"a region out of {', '.join(GROWABLE)}")
        self._require(0 < self.mm <= 50, "0 to 50 mm")

    def run(self, layout, donor=None):
        """See `Edit.run`."""
        zooms = spacing(layout.affine)
        box = widened(tumour_box(self.name, layout), self.mm + 2, zooms, layout.shape)
        labels = layout.tumour[box]
        region = _region(labels, self.region)
        if not region.any():
            return Outcome(layout)  # an earlier edit of the recipe may have taken the last of it
        edited = settled(layout, self._resized(labels, region, zooms), box, native=labels > 0).layout
        return Outcome(edited)  # what could not grow is not lost


@register
@dataclass(frozen=True)
class Grow(_Resize):
    """Let `region` take everything within `mm` of it that it may take.

    WT: new tissue becomes oedema. TC: oedema and new tissue take the class of the nearest core voxel (a rim stays
    a rim). ET: takes oedema and necrosis. NCR: takes enhancing tumour, and so thins the rim.
    """

    region: str
    mm: float

    name: ClassVar[str] = "grow"

    @classmethod
    def _offered(cls, layout):
        # a tumour near the law's largest volume only grows inside
        large = np.count_nonzero(layout.tumour) > 0.7 * MAX_BRAIN_SHARE * np.count_nonzero(layout.tissue)
        return tuple(name for name in GROWABLE if not (large and name == "WT"))

    def _resized(self, labels, region, zooms):
        reached = np.isfinite(near(region, self.mm, zooms)) & ~region
        out = labels.copy()
        if self.region == "WT":
            out[reached] = Tumour.ED
        elif self.region == "TC":
            necrotic = near(labels == Tumour.NCR, self.mm, zooms) < near(labels == Tumour.ET, self.mm, zooms)
            out[reached] = np.where(necrotic[reached], Tumour.NCR, Tumour.ET)
        elif self.region == "ET":
            out[reached & (labels > 0)] = Tumour.ET
        else:
            out[reached & (labels == Tumour.ET)] = Tumour.NCR
        return out


@register
@dataclass(frozen=True)
class Shrink(_Resize):
    """Take from `region` everything within `mm` of what is not it.

    WT: freed tissue is healthy again (a core that reached the surface shrinks with it). TC: freed voxels become
    oedema. ET: they become what is nearest, necrosis or oedema. NCR: they become enhancing tumour.
    """

    region: str
    mm: float

    name: ClassVar[str] = "shrink"

    def _resized(self, labels, region, zooms):
        freed = np.isfinite(near(~without_holes(region, zooms, HOLE_MM3), self.mm, zooms)) & region
        out = labels.copy()
        if self.region == "WT":
            out[freed] = Tumour.NONE
        elif self.region == "TC":
            out[freed] = Tumour.ED
        elif self.region == "ET":
            necrotic = near(labels == Tumour.NCR, self.mm, zooms) <= near(labels == Tumour.ED, self.mm, zooms)
            out[freed] = np.where(necrotic[freed], Tumour.NCR, Tumour.ED)
        else:
            out[freed] = Tumour.ET
        return out


def _region(labels: np.ndarray, name: str) -> np.ndarray:
    """Where `labels` belong to the region: bool."""
    member = np.zeros(len(Tumour), bool)
    member[list(REGIONS.get(name, (Tumour.NCR,)))] = True
    return member[labels]
