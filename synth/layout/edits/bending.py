"""The edit that bends: a smooth random deformation of the tumour, or of the whole layout."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from synth.layout.edits.edit import Edit, register, span, uniform
from synth.layout.edits.motion import IDENTITY, brain_box, warp_layout
from synth.layout.edits.placing import Ground, find_shift, nearby, place, tumour_box, tumour_points
from synth.layout.layout import Layout
from synth.layout.space import Box, ball_radius, spacing, widened
from synth.layout.warp import MIN_JACOBIAN, Warp, checked, random_field

_STEPS = (12.0, 45.0)  # mm between controls for the smallest and the largest tumours


@register
@dataclass(frozen=True)
class Elastic(Edit):
    """Bend smoothly: a cubic B-spline field whose components have root mean square `mm`, controls every `step_mm`.

    `seed` stands for the control points (some hundreds of numbers). The warp is a diffeomorphism: its Jacobian
    is checked before anything is bent. A tumour is shifted by `shift_mm` to where it fits again.
    """

    mm: float
    step_mm: float
    seed: int
    shift_mm: tuple = (0.0, 0.0, 0.0)
    target: str = "tumour"

    name: ClassVar[str] = "elastic"
    targets: ClassVar[tuple[str, ...]] = ("tumour", "layout")
    options: ClassVar[Mapping[str, Any]] = {"mm": None, "step_mm": None}

    @classmethod
    def draw(cls, layout, rng, *, target="tumour", donor=None, mm=None, step_mm=None):
        """A field of strength within the range `mm` and control distance within `step_mm`, weakened until unfolded.

        Defaults: a tumour is bent by 4 to 9 % of its diameter with two or three control points across it, which
        changes its outline and keeps its structure; a layout by 1 to 2.5 mm with controls every 45 mm, which
        brains' differences exceed and in which no sulcus is torn.
        """
        step, strength = 45.0, (1.0, 2.5)
        if target == "tumour":
            box = tumour_box(cls.name, layout)
            volume = np.count_nonzero(layout.tumour[box]) * np.prod(spacing(layout.affine))
            diameter = 2 * ball_radius(volume)
            step, strength = float(np.clip(0.45 * diameter, *_STEPS)), (0.04 * diameter, 0.09 * diameter)
        strength = uniform(rng, strength if mm is None else span(cls.name, "mm", mm, 0))
        if step_mm is not None:
            step = uniform(rng, span(cls.name, "step_mm", step_mm, 4))
        seed = int(rng.integers(2**32))
        for _ in range(20):
            edit = cls(mm=round(strength, 2), step_mm=round(step, 1), seed=seed, target=target)
            warp = edit._warp(layout)[0]
            if warp.min_jacobian() >= MIN_JACOBIAN + 0.05:
                break
            strength *= 0.85
        if target == "layout":
            return edit
        points, core = tumour_points(layout)
        return replace(edit, shift_mm=find_shift(warp.forward(points), core, Ground(layout), nearby(rng)))

    def __post_init__(self):
        """Check the parameters."""
        super().__post_init__()
        self._require(self.mm >= 0 and self.step_mm > 0 and self.seed >= 0, "mm >= 0, step_mm > 0 and seed >= 0")

    def run(self, layout, donor=None):
        """See `Edit.run`."""
        warp, box = self._warp(layout)
        checked(warp, self.name)
        return place(layout, layout.tumour, warp) if self.target == "tumour" else warp_layout(layout, warp, box)

    def _warp(self, layout: Layout) -> tuple[Warp, Box]:
        zooms = spacing(layout.affine)
        box = tumour_box(self.name, layout) if self.target == "tumour" else brain_box(layout)
        field = random_field(widened(box, 3 * self.mm, zooms, layout.shape), zooms, self.mm, self.step_mm, self.seed)
        return Warp.about((0, 0, 0), IDENTITY, zooms, self.shift_mm, (field,)), box
