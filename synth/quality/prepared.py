"""One case made ready to be measured: cut to its brain, z-scored, with tissue found as in any scan."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from synth.case import Case, zscored
from synth.errors import DataError
from synth.layout.layout import Layout, classes_of
from synth.layout.tissue import extract_layout


@dataclass(frozen=True)
class Prepared:
    """A case with labels, and what several measurements of it share.

    Tissue is found in the scan itself, in real and synthetic ones alike (`layout.tissue.extract_layout`), never taken
    from the layout that a synthetic scan was painted from: both are measured with one rule.

    Attributes:
        case: with labels, on the BraTS grid.
        layout: tissue and tumour on the same grid.
        box: the brain's bounding box.
    """

    case: Case
    layout: Layout
    box: tuple[slice, slice, slice]

    @cached_property
    def brain(self) -> np.ndarray:
        """(x, y, z) bool, in the box."""
        return self.case.images[self.box].any(-1)

    @cached_property
    def z(self) -> np.ndarray:
        """(x, y, z, 4) float32 in the box: each modality with mean 0 and deviation 1 in the brain, 0 outside."""
        return zscored(self.case.images[self.box], self.brain)

    @cached_property
    def classes(self) -> np.ndarray:
        """(x, y, z) uint8 in the box: 0 outside, 1..6 CSF, GM, WM, NCR, ED, ET (`Layout.classes`)."""
        return classes_of(self.layout.tissue[self.box], self.layout.tumour[self.box])

    @cached_property
    def labels(self) -> np.ndarray:
        """(x, y, z) uint8 in the box: `brats.Tumour`."""
        return self.case.labels[self.box]


def prepare(case: Case) -> Prepared:
    """Find tissue and the brain's box.

    Raises:
        DataError: the case has no labels.
        LayoutError: it has too little healthy brain to find tissue in.
    """
    if case.labels is None:
        raise DataError(f"{case.id}: a report compares scans with labels; add its segmentation or leave the case out.")
    layout = extract_layout(case)
    return Prepared(case, layout, layout.bounding_box())
