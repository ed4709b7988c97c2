"""Edits that change whose tumour it is: swap takes a donor's, remove takes it out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from synth.errors import LayoutError
from synth.layout.edits.edit import Edit, Outcome, register, span
from synth.layout.edits.placing import Ground, find_shift, nearby, place, tumour_points
from synth.layout.layout import Layout
from synth.layout.space import box_of, spacing
from synth.layout.warp import Warp


@register
@dataclass(frozen=True)
class Swap(Edit):
    """Take out the host's tumour and put in that of `donor`, `mm` from its place there in the standard space."""

    donor: str
    mm: tuple

    name: ClassVar[str] = "swap"
    needs_tumour: ClassVar[bool] = False
    needs_donor: ClassVar[bool] = True
    options: ClassVar[Mapping[str, Any]] = {"jitter_mm": 6.0}

    @classmethod
    def draw(cls, layout, rng, *, target="tumour", donor=None, jitter_mm=options["jitter_mm"]):
        """A place near the donor tumour's own in the standard space at which it fits into this brain.

        Random shifts of up to `jitter_mm` are tried first; each that does not fit widens the search.
        """
        check_donor(cls.name, layout, donor)
        reach = span(cls.name, "jitter_mm", jitter_mm, 0)[1]
        points, core = tumour_points(donor)
        return cls(donor=donor.id, mm=find_shift(points, core, Ground(layout), nearby(rng, reach)))

    def run(self, layout, donor=None):
        """See `Edit.run`; `donor` must be the layout the edit was drawn with."""
        check_donor(self.name, layout, donor, self.donor)
        return place(layout, donor.tumour, Warp.about((0, 0, 0), np.eye(3), spacing(layout.affine), self.mm))


@register
@dataclass(frozen=True)
class Remove(Edit):
    """Take the tumour out: the tissue underneath is complete."""

    name: ClassVar[str] = "remove"
    needs_tumour: ClassVar[bool] = False
    leaves_tumour: ClassVar[bool] = False

    @classmethod
    def draw(cls, layout, rng, *, target="tumour", donor=None):
        """Nothing to draw."""
        return cls()

    def run(self, layout, donor=None):
        """See `Edit.run`."""
        return Outcome(layout.with_tumour())


def check_donor(name: str, layout: Layout, donor: Layout | None, expected: str | None = None, *, tumour: bool = True):
    """Raise `LayoutError` in the name of an edit unless `donor` has the host's grid, the expected id and a tumour.

    Args:
        name: of the edit.
        layout: the host.
        donor: what is to be judged.
        expected: its id; None: any.
        tumour: whether it has to have one.
    """
    if donor is None or (tumour and box_of(donor.tumour) is None):
        given = "none" if donor is None else f"the layout {donor.id or '(unnamed)'} without tumour"
        raise LayoutError(f"edit {name}: expected a donor layout{' with a tumour' * tumour}, found {given}.")
    if donor.shape != layout.shape or not np.allclose(spacing(donor.affine), spacing(layout.affine), atol=1e-3):
        raise LayoutError(
            f"edit {name}: host {layout.id or '(unnamed)'} {layout.shape} and donor {donor.id or '(unnamed)'} "
            f"{donor.shape} must be on one grid; resample one to the other."
        )
    if expected is not None and donor.id != expected:
        raise LayoutError(f"edit {name}: expected the donor {expected!r}, found the layout {donor.id!r}.")
