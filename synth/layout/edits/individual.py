"""The edit that makes a host's brain another one: its size, proportions, ventricles, folds and cortex are drawn anew.

The brain is carried by one diffeomorphism, the flow of a velocity on control points of 10 mm, and turned and scaled by
one linear map; then its cortex is made thicker or thinner, and its sulci wider or narrower, here and there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, ClassVar

import numpy as np

from synth.brats import Tissue
from synth.errors import LayoutError
from synth.layout.carry import Moved
from synth.layout.cortex import face_steps, recontoured
from synth.layout.diffeomorphism import (
    FINE,
    affine_on,
    at_half,
    curl,
    depth_at_controls,
    doubled,
    field_on,
    flowed,
    values_at_controls,
)
from synth.layout.edits.edit import Edit, Outcome, register, span, uniform
from synth.layout.edits.motion import brain_box, placed, warped_maps
from synth.layout.flow import min_jacobian
from synth.layout.layout import Layout
from synth.layout.memory import once_for_each_map
from synth.layout.priors.anatomy import LATTICE, refined, shipped_prior
from synth.layout.priors.standing import fits_prior, standing, way_between
from synth.layout.space import MIDLINE, enclosed, trimmed
from synth.layout.warp import MIN_JACOBIAN, SplineField

SKULL_MM = 12.0  # below the brain's surface, from where on gyri are bent at full strength
FALX_MM, FALX_BENT = 16.0, 0.1  # the same beside the falx, and how much of it is left there
DEEP_MM, DEEP_BENT = 35.0, 0.5  # and around ventricles and basal ganglia, which are no gyri
_UNIT = 0.5365  # root mean square of a field that is standard normal at its controls, cut at `_CUT`
_SMOOTHED = 2  # times that the gyri's field is smoothed over neighbouring controls
_CUT = 2.5  # deviations of a control point


class _Field(IntEnum):
    """What is drawn from an edit's seed."""

    REST = 0
    GYRI = 1
    CORTEX = 2


@register
@dataclass(frozen=True)
class Individual(Edit):
    """Make the brain another one, with all in it: nobody's size, proportions, ventricles, folds and cortex.

    Size, proportions, tilt and the leading deformations (`affine`, `shape`) are the difference between a brain drawn
    from the prior of anatomies and this one, as it stands in that prior; `rest` is the share of what the prior leaves
    unexplained, drawn anew. Gyri are bent by `gyri_mm` (root mean square) without a change of volume: along the skull
    and the falx, not across. The cortex becomes `cortex_mm` thicker (below 0 thinner) and sulci `sulci_mm` wider on
    either side, both by `uneven_mm` more or less from place to place. `seed` stands for the fields.
    """

    affine: tuple[float, ...]
    shape: tuple[float, ...]
    rest: float
    gyri_mm: float
    cortex_mm: float
    sulci_mm: float
    uneven_mm: float
    seed: int
    target: str = "layout"

    name: ClassVar[str] = "individual"
    needs_tumour: ClassVar[bool] = False
    another_brain: ClassVar[bool] = True
    targets: ClassVar[tuple[str, ...]] = ("layout",)
    options: ClassVar[Mapping[str, Any]] = {
        "strength": (1.0, 1.3),
        "gyri_mm": (3.0, 5.0),
        "cortex_mm": (-0.35, 0.35),
        "sulci_mm": (-0.35, 0.35),
        "uneven_mm": (0.2, 0.78),
    }

    @classmethod
    def draw(
        cls,
        layout,
        rng,
        *,
        target="layout",
        donor=None,
        strength=options["strength"],
        gyri_mm=options["gyri_mm"],
        cortex_mm=options["cortex_mm"],
        sulci_mm=options["sulci_mm"],
        uneven_mm=options["uneven_mm"],
    ):
        """A brain `strength` times the way from this one to one of the prior; the rest within the ranges given.

        A deformation that nearly folds is made weaker until it does not.

        Raises:
            LayoutError: there is no brain, or an option is not lawful.
        """
        way = uniform(rng, span(cls.name, "strength", strength, 0, 2))
        gyri, cortex, sulci, uneven = (
            uniform(rng, span(cls.name, name, limits, *least))
            for name, limits, least in (
                ("gyri_mm", gyri_mm, (0, 10)),
                ("cortex_mm", cortex_mm, (-1, 1)),
                ("sulci_mm", sulci_mm, (-1, 1)),
                ("uneven_mm", uneven_mm, (0, 1.5)),
            )
        )
        affine, shape = way_between(standing(layout), shipped_prior().deviations(rng), way)
        edit = cls(
            affine=affine,
            shape=shape,
            rest=round(min(way, 1.0), 2),
            gyri_mm=round(gyri, 2),
            cortex_mm=round(cortex, 2),
            sulci_mm=round(sulci, 2),
            uneven_mm=round(uneven, 2),
            seed=int(rng.integers(2**32)),
            target=target,
        )
        while min_jacobian(edit._field(layout)) < MIN_JACOBIAN + 0.05:
            edit = replace(
                edit,
                shape=tuple(round(0.9 * v, 3) for v in edit.shape),
                rest=round(0.85 * edit.rest, 3),
                gyri_mm=round(0.85 * edit.gyri_mm, 3),
            )
        return edit

    def __post_init__(self):
        """Check the parameters."""
        super().__post_init__()
        self._require(fits_prior(self.affine, self.shape), "as many numbers as the prior has")
        self._require(min(self.rest, self.gyri_mm, self.uneven_mm, self.seed) >= 0, "no negative strength or seed")

    def run(self, layout, donor=None):
        """See `Edit.run`."""
        field = self._field(layout)
        if min_jacobian(field) < MIN_JACOBIAN:
            raise LayoutError(f"edit {self.name}: the deformation nearly folds; give fewer gyri_mm or less strength.")
        warp = affine_on(self.affine, layout.shape, (field,))
        tissue, tumour, place = warped_maps(layout, warp, brain_box(layout))
        place, tissue, tumour = trimmed(place, tissue, tumour)  # a warp has left as much background around
        faces = self._faces(tissue.shape, place, layout.shape)
        if faces is not None:
            tissue = recontoured(tissue, *faces)
        tissue[enclosed(tissue > 0)] = Tissue.CSF
        return Outcome(placed(layout, tissue, tumour, place), moved=Moved(warp, faces=faces, box=place))

    def _field(self, layout: Layout) -> SplineField:
        """The backward displacement."""
        return _displacement(layout.tissue, self)

    def _velocity(self, depth: np.ndarray) -> np.ndarray:
        """(gx, gy, gz, 3) at the controls of `FINE`, at so many mm from outside the brain."""
        prior = shipped_prior()
        rest = self.rest * self._rng(_Field.REST).standard_normal((*LATTICE.shape, 3))
        return values_at_controls(refined(prior.controls(self.shape, rest) - prior.mean)) + self._bending(depth)

    def _bending(self, depth: np.ndarray) -> np.ndarray:
        """The part of the velocity without divergence: no gyrus gains or loses volume."""
        beside = np.clip(np.abs(FINE.positions(0) - MIDLINE) / FALX_MM, FALX_BENT, 1)[:, None, None]
        held = np.clip(depth / SKULL_MM, 0, 1) * beside
        held *= 1 - (1 - DEEP_BENT) * np.clip((depth - DEEP_MM / 2) / (DEEP_MM / 2), 0, 1)
        potential = np.clip(self._rng(_Field.GYRI).standard_normal((*FINE.shape, 3)), -_CUT, _CUT)
        for _ in range(_SMOOTHED):  # so that what lies between the controls moves as they do
            potential = values_at_controls(potential)
        velocity = curl(potential * held[..., None])
        usual = np.sqrt((velocity[depth > 0] ** 2).mean()) if (depth > 0).any() else 1.0
        return velocity * (self.gyri_mm / usual)

    def _faces(self, size, place, shape) -> tuple[np.ndarray, np.ndarray] | None:
        """By how much the cortex becomes thicker and sulci wider, on a box of `size` at `place`; None: not at all."""
        if not (self.cortex_mm or self.sulci_mm or self.uneven_mm):
            return None
        controls = np.clip(self._rng(_Field.CORTEX).standard_normal((*FINE.shape, 3)), -_CUT, _CUT) / _UNIT
        uneven = at_half(field_on(controls[..., :2] * self.uneven_mm, shape, scaled=False), place)
        thicker, wider = (
            doubled(face_steps(part + np.float32(mm)), size)
            for part, mm in zip(uneven, (self.cortex_mm, self.sulci_mm), strict=True)
        )
        return thicker, wider

    def _rng(self, field: _Field) -> np.random.Generator:
        return np.random.default_rng((self.seed, int(field)))


@once_for_each_map(2)
def _displacement(tissue: np.ndarray, edit: Individual) -> SplineField:
    """Asked for when an edit is drawn, and again when it is applied."""
    return field_on(flowed(edit._velocity(depth_at_controls(tissue))), tissue.shape)
