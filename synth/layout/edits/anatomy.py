"""Edits of the brain around a tumour: mass effect and atrophy.

Both are a flow in a closed skull (`synth.layout.flow`): the brain mask stays as it is to the voxel, and the
deformation inside it is a diffeomorphism.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from synth.brats import Tissue, Tumour
from synth.layout.carry import Moved
from synth.layout.cortex import FULL, summed
from synth.layout.edits.edit import Edit, Outcome, register
from synth.layout.edits.placing import tumour_box
from synth.layout.flow import Cells, min_jacobian
from synth.layout.layout import Layout
from synth.layout.space import Box
from synth.layout.warp import MIN_JACOBIAN, SplineField, Warp

# How readily a tissue gives way under pressure. Set by eye and by midline shift (`benchmarks/mass_effect.py`): with
# them the ventricle beside a tumour narrows first, then the sulci around it, and the rest reaches the midline.
SULCI_MM = 45.0  # the distance that pressure carries in pure sulcal CSF
DEEP_GIVES = 30.0  # times what sulci do: a ventricle drains, and so shields the other side
TISSUE_GIVES = 0.02  # of what sulci do: tissue keeps its volume but for its blood
ATROPHY_MM = 40.0  # how far from a widening ventricle tissue is lost: mostly in the white matter around it
MOST = 0.75  # of a volume that may be displaced or relieved: the tissue left in place is then squeezed to a quarter
_TRIES = 4
_CLOSE = 0.03


@register
@dataclass(frozen=True)
class MassEffect(Edit):
    """Let the tumour press its surroundings aside: ventricles and sulci narrow, the midline shifts, the skull stays.

    The tumour map stays where it is. The tissue that filled its place before is squeezed and pushed outwards, as if
    `strength` of the core's volume, and `oedema` of the oedema's, had been added there and the rest had grown
    into tissue. Negative shares draw tissue in again: they relieve a real tumour's own mass effect, and belong
    before the edit that takes this tumour out. An edit does as it is told: a host whose own tumour stays has its
    mass effect already, so a policy lets this one follow `swap`, `new` and the like only.

    Where the brain has no room for that much, the flow is weakened until nothing is squeezed to less than
    `MIN_JACOBIAN` of its volume. Where an earlier edit has taken the tumour away, nothing moves.
    """

    strength: float
    oedema: float
    target: str = "layout"

    name: ClassVar[str] = "mass_effect"
    targets: ClassVar[tuple[str, ...]] = ("layout",)
    after_placing: ClassVar[bool] = True
    options: ClassVar[Mapping[str, Any]] = {"strength": (0.25, 0.75), "oedema": (0.0, 0.2)}

    @classmethod
    def draw(cls, layout, rng, *, target="layout", donor=None, strength=options["strength"], oedema=options["oedema"]):
        """Shares within the ranges `strength` and `oedema`.

        Oedema takes up water: from 70 to 80 % of white matter would be a third of its volume, at its worst. Three
        glioblastomas in four shift the midline visibly (Gamburg et al. 2000, doi:10.1016/S0360-3016(00)01410-3); with
        this range of `strength` forty real tumours put into a healthy brain do so by 2.4 mm in the median, by 6 mm
        at the 95th percentile (`benchmarks/mass_effect.py`).
        """
        tumour_box(cls.name, layout)
        shares = (round(float(rng.uniform(*limits)), 3) for limits in (strength, oedema))
        return cls(*shares, target=target)

    def __post_init__(self):
        """Check the parameters."""
        super().__post_init__()
        worst = max(abs(self.strength), abs(self.oedema))
        self._require(worst <= MOST, f"strength and oedema of -{MOST} to {MOST}")

    def field(self, layout: Layout) -> SplineField | None:
        """The backward displacement of the tissue; None if nothing moves."""
        return self._field(layout, Cells.of(layout))

    def run(self, layout, donor=None):
        """See `Edit.run`."""
        cells = Cells.of(layout)
        field = self._field(layout, cells)
        if field is None:
            return Outcome(layout)
        tissue = _pasted(layout.tissue, _carried(cells.tissue, field, cells.box), cells.box)
        return Outcome(Layout(tissue, layout.tumour, layout.affine, layout.id), moved=Moved(_flow(field)))

    def _field(self, layout, cells):
        labels = layout.tumour[cells.box]
        swollen = cells.share(labels == Tumour.ED)
        core = cells.share(labels > 0) - swollen
        source = (core * _growth(self.strength) + swollen * _growth(self.oedema)) * (1 - cells.csf)
        gives = cells.csf * np.where(cells.deep, np.float32(DEEP_GIVES), np.float32(1))
        gives = (gives + cells.brain * np.float32(TISSUE_GIVES)) * np.float32(SULCI_MM**-2)
        return _unfolded(cells, cells.velocity(source, gives))


@register
@dataclass(frozen=True)
class Atrophy(Edit):
    """Make the ventricles `ventricles` times, the other CSF spaces `sulci` times as large; tissue gives way.

    Factors above 1 age a brain, below 1 they make it young and tight. Ventricles grow by flow, so what surrounds
    them moves outwards, the tumour with it. Sulci, finer than the flow can see, take the grey matter that has most
    fluid around it, or give up the CSF that has least.
    """

    ventricles: float
    sulci: float
    target: str = "layout"

    name: ClassVar[str] = "atrophy"
    needs_tumour: ClassVar[bool] = False
    targets: ClassVar[tuple[str, ...]] = ("layout",)
    options: ClassVar[Mapping[str, Any]] = {"ventricles": (0.6, 2.0), "sulci": (0.8, 1.35)}

    @classmethod
    def draw(
        cls, layout, rng, *, target="layout", donor=None, ventricles=options["ventricles"], sulci=options["sulci"]
    ):
        """Factors within the ranges `ventricles` and `sulci`, uniform in their logarithm, large ones mostly together.

        Ventricles of healthy people measure 16 ml in their twenties and 25 ml in their forties on average (Neurosci.
        Lett. 395:155, 2006, doi:10.1016/j.neulet.2005.10.066) and more later; a host has its own age already, so
        the default goes about a generation and a half either way.
        """
        first = rng.uniform()
        places = first, (first + rng.uniform()) / 2
        drawn = [
            np.exp(np.interp(t, (0, 1), np.log(limits))) for t, limits in zip(places, (ventricles, sulci), strict=True)
        ]
        return cls(*(round(float(factor), 3) for factor in drawn), target=target)

    def __post_init__(self):
        """Check the parameters."""
        super().__post_init__()
        self._require(min(self.ventricles, self.sulci) >= 0.25, "factors of at least 0.25")
        self._require(max(self.ventricles, self.sulci) <= 4, "factors of at most 4")

    def field(self, layout: Layout) -> SplineField | None:
        """The backward displacement that resizes the ventricles; None if nothing moves."""
        return self._field(Cells.of(layout))

    def run(self, layout, donor=None):
        """See `Edit.run`."""
        cells = Cells.of(layout)
        field = self._field(cells)
        tissue, tumour = cells.tissue, layout.tumour
        if field is not None:
            # both maps travel as one code, so that tissue and tumour of a voxel cannot part
            code = _carried(tissue | (tumour[cells.box] << 2), field, cells.box)
            tissue, tumour = code & 3, _pasted(tumour, code >> 2, cells.box)
        moved = tissue
        if self.sulci != 1:
            tissue = _resized_sulci(tissue, cells, self.sulci)
        edited = Layout(_pasted(layout.tissue, tissue, cells.box), tumour, layout.affine, layout.id)
        warp = None if field is None else _flow(field)
        return Outcome(edited, moved=Moved(warp, box=cells.box, relabelled=tissue != moved))

    def _field(self, cells):
        """The flow that meets the factor: what was asked for is not quite what a smooth flow makes of it."""
        if self.ventricles == 1 or not cells.ventricles.any():
            return None
        gives = np.maximum(cells.brain - cells.csf, 0) + cells.brain * np.float32(TISSUE_GIVES)
        velocity = cells.velocity(cells.ventricles, gives * np.float32(ATROPHY_MM**-2))
        wanted = np.log(self.ventricles)
        rate = wanted * (1.75 + 0.45 * wanted)  # the usual answer
        for _ in range(_TRIES):
            rate = round(float(np.clip(rate, -4, 4)), 4)
            reached = np.log(cells.carried(cells.ventricles, cells.flow(velocity * np.float32(-rate))))
            if abs(reached - wanted) < _CLOSE or reached * wanted <= 0:
                break
            rate *= wanted / reached
        return _unfolded(cells, velocity * np.float32(rate))


def _unfolded(cells: Cells, velocity: np.ndarray) -> SplineField | None:
    """The backward displacement of a flow, weakened until it nowhere nearly folds; None if nothing moves."""
    if not velocity.any():
        return None
    while True:
        field = cells.field(cells.flow(-velocity))
        if min_jacobian(field) >= MIN_JACOBIAN:
            return field
        velocity = velocity * np.float32(0.85)


def _carried(labels: np.ndarray, field: SplineField, brain: Box) -> np.ndarray:
    """`labels` (on the box `brain`) carried along `field`; nothing comes from outside the brain or goes there."""
    box = _moved_box(field, brain)
    if box is None:
        return labels
    moved = _flow(field).gather(labels, [part.start for part in brain], box, extend=True)
    inner = tuple(slice(b.start - o.start, b.stop - o.start) for b, o in zip(box, brain, strict=True))
    out, here = labels.copy(), labels[inner]
    out[inner] = np.where((here > 0) & (moved > 0), moved, here)
    return out


def _flow(field: SplineField) -> Warp:
    return Warp(np.eye(3), np.zeros(3), (field,))


def _pasted(labels: np.ndarray, part: np.ndarray, box: Box) -> np.ndarray:
    """A copy of `labels`, in the same memory order, with `part` on `box`."""
    out = labels.copy(order="K")
    out[box] = part
    return out


def _moved_box(field: SplineField, brain: Box) -> Box | None:
    """The part of the box `brain` where something moves by half a voxel."""
    moving = np.argwhere(np.abs(field.controls).max(-1) > 0.4)
    if not len(moving):
        return None
    ends = np.stack([moving.min(0) - 3, moving.max(0) + 1]) * field.step + field.origin  # a control reaches two steps
    return tuple(
        slice(max(int(first), part.start), min(int(last) + 2, part.stop))
        for first, last, part in zip(*ends, brain, strict=True)
    )


def _resized_sulci(tissue: np.ndarray, cells: Cells, factor: float) -> np.ndarray:
    """`tissue` with as much CSF near the brain's surface as `factor` times what `cells` had; ranked by fluid around."""
    near_surface = ~cells.spread(cells.deep)
    wanted = round(factor * np.count_nonzero((cells.tissue == Tissue.CSF) & near_surface))
    missing = wanted - np.count_nonzero((tissue == Tissue.CSF) & near_surface)
    fluid = summed((tissue <= Tissue.CSF).view(np.uint8))
    old, new = (Tissue.GM, Tissue.CSF) if missing > 0 else (Tissue.CSF, Tissue.GM)
    offered = np.where((tissue == old) & near_surface, fluid if missing > 0 else FULL + 1 - fluid, np.uint16(0))
    counts = np.bincount(offered.ravel(), minlength=FULL + 2)
    counts[0] = 0  # neither offered, nor any fluid within reach
    taken = np.cumsum(counts[::-1])[::-1]  # by taking all that are ranked so high or higher
    least = int(np.abs(taken - abs(missing))[1:].argmin()) + 1
    return np.where(offered >= least, np.uint8(new), tissue)


def _growth(share: float) -> np.float32:
    """Logarithm of a volume's change of which `share` was displaced; what is relieved shrinks by as much."""
    return np.float32(-np.sign(share) * np.log(1 - abs(share)))
