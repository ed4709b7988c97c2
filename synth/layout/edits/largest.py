"""The edit that takes out what is apart: a tumour's largest pieces stay."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from synth.layout.edits.edit import Edit, Outcome, register
from synth.layout.edits.placing import tumour_box
from synth.layout.space import components


@register
@dataclass(frozen=True)
class Largest(Edit):
    """Keep the `count` largest 26-connected pieces of the tumour, take all others out."""

    count: int = 1

    name: ClassVar[str] = "largest"
    options: ClassVar[Mapping[str, Any]] = {"count": 1}

    @classmethod
    def draw(cls, layout, rng, *, target="tumour", donor=None, count=options["count"]):
        """Nothing is drawn: the largest `count` pieces stay."""
        tumour_box(cls.name, layout)
        return cls(count=count)

    def __post_init__(self):
        """Check the parameters."""
        super().__post_init__()
        self._require(self.count >= 1, "a count of at least 1")

    def run(self, layout, donor=None):
        """See `Edit.run`."""
        box = tumour_box(self.name, layout)
        pieces, sizes = components(layout.tumour[box] > 0)
        keep = np.zeros(len(sizes), bool)
        keep[np.argsort(-sizes, kind="stable")[: self.count]] = True
        keep[0] = False  # the background, where there are fewer pieces
        return Outcome(layout.with_tumour(np.where(keep[pieces], layout.tumour[box], np.uint8(0)), box))
