"""How near a sample is to the host that it began from, in the measures of the report's section "memorisation".

A distance is 0 for a copy and about 1 for two patients (`quality.neighbours`): at the level of the tissue map, and of
the image where the host's scan is at hand.
"""

from collections.abc import Callable
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np

from synth.brats import GRID
from synth.case import Case, zscored
from synth.errors import SynthError
from synth.layout.layout import Layout, bounding_box
from synth.layout.sampling.recipe import LayoutRecipe
from synth.layout.sampling.sampler import LayoutSampler
from synth.quality.neighbours import LEVELS, neighbours
from synth.quality.thumbnail import image_thumbnail, layout_thumbnail

_KEPT = 64  # hosts, 3 MB each
_DIGITS = 3


class Nearness:
    """Measures samples of a run against their hosts, whose thumbnails are made when first asked for.

    Args:
        sampler: of the run. Samples of endless atlas brains have no host whom they could be near to: nothing is
            measured.
        scan: gives a host's scan by its id; None where there is none.
    """

    def __init__(self, sampler: LayoutSampler, scan: Callable[[str], Case] | None):
        self._sampler, self._scan = sampler, scan
        self._host = lru_cache(_KEPT)(self._measured)

    def of(self, layout: Layout, recipe: LayoutRecipe, case: Case | None = None) -> dict[str, Any]:
        """What a sample's manifest record says of its host; nothing where there is none.

        Args:
            layout: of the sample.
            recipe: of the layout.
            case: the sample painted, if it was.

        Returns:
            `{"from_host": {"kept": whether the brain is the host's by design, "tissue": distance, "image": distance}}`.
        """
        if self._sampler.deck is None or layout.shape != GRID:
            return {}
        ours, theirs = _thumbnails(layout, case), self._host(recipe.host)
        shared = [level for level in LEVELS if level.name in ours and level.name in theirs]
        distances = {level.name: neighbours([_One(ours)], [[_One(theirs)]], level)[0].nearest[0] for level in shared}
        rounded = {name: round(float(distance), _DIGITS) for name, distance in distances.items()}
        return {"from_host": {"kept": recipe.keeps_brain, **rounded}}

    def _measured(self, host: str) -> MappingProxyType:
        try:
            scan = self._scan(host) if self._scan else None
        except SynthError:  # the layout was kept from an earlier run, its scan is gone
            scan = None
        return MappingProxyType(_thumbnails(self._sampler.source(host), scan))


class _One:
    """A case's thumbnails, asked for as a `Record` is."""

    def __init__(self, thumbnails):
        self._thumbnails = thumbnails

    def __call__(self, probe: str, name: str) -> np.ndarray:
        return self._thumbnails["image" if name == "image" else "tissue"]


def _thumbnails(layout: Layout, case: Case | None) -> dict[str, np.ndarray]:
    """Level -> what it reads."""
    box = layout.bounding_box()
    out = {"tissue": layout_thumbnail(layout.classes[box], box, layout.shape)}
    if case is not None:
        box = bounding_box(case.brain)
        out["image"] = image_thumbnail(zscored(case.images[box], case.brain[box]), box, layout.shape)
    return out
