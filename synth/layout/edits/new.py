"""The edit that makes a tumour nobody has had: drawn from the learned prior, grown in this brain."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from synth.errors import LayoutError
from synth.layout.edits.edit import Edit, register, span, uniform
from synth.layout.edits.placing import Ground, find_shift, nearby
from synth.layout.edits.shapes import grow_tumour, shape_points
from synth.layout.facts import side_of
from synth.layout.law import MAX_BRAIN_SHARE
from synth.layout.layout import Layout
from synth.layout.lobes import LOBES, lobe_index
from synth.layout.priors.tumour import TumourDraw, on_grid, shipped_prior
from synth.layout.space import MIDLINE, ball_radius, spacing

ACROSS = 0.18  # share that may cross the midline
MIDDLE_LATERAL = 29.7  # mm from the midline: the median of the real maps' centroids
SPREAD = 1.1  # of the distance from the midline about its middle: fitting into a brain takes that much away again
ROOM = 0.95  # of the largest lawful tumour
ENOUGH = 3.0  # misfit of a place that is taken: the tumour grows into its brain, what is cut off grows elsewhere
IRREGULARITY = (0.085, 0.45)  # radii: of left-out maps' outlines to the principal directions; spread of its logarithm
RAGGEDNESS = (0.5, 0.65)  # mm, likewise


@register
@dataclass(frozen=True)
class New(Edit):
    """Take out the tumour, if there is one, and grow a new one with these volumes, this place and this shape.

    `core_share` is NCR and ET of the whole tumour, `necrosis_share` NCR of those; `centre` a voxel; `latents` the
    coordinates along the prior's principal directions of shape; `irregularity` how far the outline departs from them,
    in radii; `raggedness` how rough the annotator's hand is, in mm; `white_matter` by how many mm oedema prefers it;
    `seed` of the random fields. One piece, and crumbs as real maps have them; `satellites` adds further ones.
    """

    whole_ml: float
    core_share: float
    necrosis_share: float
    centre: tuple
    latents: tuple[float, ...]
    irregularity: float
    raggedness: float
    white_matter: float
    seed: int

    name: ClassVar[str] = "new"
    needs_tumour: ClassVar[bool] = False
    heeds_wish: ClassVar[bool] = True
    options: ClassVar[Mapping[str, Any]] = {
        "whole_ml": None,
        "irregularity": None,
        "raggedness": None,
        "white_matter": (0.5, 5.0),
    }

    @classmethod
    def draw(
        cls, layout, rng, *, target="tumour", donor=None, wish=None,
        whole_ml=None, irregularity=None, raggedness=None, white_matter=options["white_matter"],
    ):  # fmt: skip
        """A tumour as real ones are, at a place near the drawn one where it fits into this brain.

        Args:
            layout: the brain.
            rng: where the numbers come from.
            target: always the tumour.
            donor: not used.
            wish: a `plan.Wish`; volume, side, lobe and enhancement are drawn accordingly.
            whole_ml: range of the volume, within the real maps' distribution; None takes all of it.
            irregularity: range in radii; None draws as in real maps.
            raggedness: range in mm; None draws as in real maps.
            white_matter: range in mm.

        Raises:
            LayoutError: there is no brain, or the prior has no such tumour.
        """
        prior, zooms = shipped_prior(), np.array(spacing(layout.affine))
        drawn = prior.draw(rng, _acceptable(layout, wish, whole_ml))
        start, radius = _place(drawn, layout), ball_radius(1000 * drawn.whole_ml)
        points, core = shape_points(prior.levels(drawn.latents), start, radius, layout.shape, zooms, drawn.core_share)
        shift = find_shift(points, core, Ground(layout), nearby(rng, growth_mm=0.6), across=ACROSS, enough=ENOUGH)
        return cls(
            whole_ml=drawn.whole_ml,
            core_share=drawn.core_share,
            necrosis_share=drawn.necrosis_share,
            centre=tuple(round(float(v), 1) for v in start + np.array(shift) / zooms),
            latents=drawn.latents,
            irregularity=round(_strength(rng, "irregularity", irregularity, IRREGULARITY), 3),
            raggedness=round(_strength(rng, "raggedness", raggedness, RAGGEDNESS), 2),
            white_matter=round(uniform(rng, span(cls.name, "white_matter", white_matter, 0, 50)), 2),
            seed=int(rng.integers(2**31)),
        )

    def __post_init__(self):
        """Check the parameters."""
        super().__post_init__()
        self._require(self.whole_ml > 0, "a volume above 0 ml")
        self._require(0 <= self.core_share <= 1 and 0 <= self.necrosis_share <= 1, "shares of 0 to 1")
        self._require(min(self.irregularity, self.raggedness, self.white_matter, self.seed) >= 0, "nothing below 0")

    def run(self, layout, donor=None):
        """See `Edit.run`."""
        return grow_tumour(layout, self, shipped_prior())


def _acceptable(layout: Layout, wish, whole_ml):
    """Whether a draw is one that this brain can hold, and as wished."""
    brain_ml = np.count_nonzero(layout.tissue) * np.prod(spacing(layout.affine)) / 1000
    if not brain_ml:
        raise LayoutError(f"layout {layout.id or '(unnamed)'}: it has no brain to put a tumour into.")
    low, high = span("new", "whole_ml", whole_ml, 0) if whole_ml is not None else (0.0, np.inf)
    high = min(high, ROOM * MAX_BRAIN_SHARE * brain_ml)
    if wish and wish.volume_ml:
        low, high = max(low, 1.02 * wish.volume_ml[0]), min(high, 0.97 * wish.volume_ml[1])

    def accept(drawn: TumourDraw) -> bool:
        if not low <= drawn.whole_ml <= high:
            return False
        if wish is None:
            return True
        place = _place(drawn, layout)[None]
        return (
            wish.enhancing in (None, drawn.enhancing)
            and wish.side in (None, side_of(place, layout))
            and wish.lobe in (None, LOBES[lobe_index(place, layout.shape)[0]])
        )

    return accept


def _place(drawn: TumourDraw, layout: Layout) -> np.ndarray:
    """The voxel to begin at."""
    side = 1 if drawn.centre[0] > MIDLINE else -1
    lateral = MIDDLE_LATERAL + SPREAD * (abs(drawn.centre[0] - MIDLINE) - MIDDLE_LATERAL)
    return on_grid((MIDLINE + side * max(lateral, 1.0), *drawn.centre[1:]), layout.shape)


def _strength(rng: np.random.Generator, key: str, given, usual: tuple[float, float]) -> float:
    """Within the range given, else log-normal about the usual."""
    if given is not None:
        return uniform(rng, span("new", key, given, 0, 20))
    centre, spread = usual
    return float(centre * np.exp(spread * np.clip(rng.standard_normal(), -2, 2)))
