"""Where a sampler's layouts come from: anything with an id that loads a layout when asked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from synth.errors import LayoutError
from synth.layout.detail import Detail
from synth.layout.layout import Layout
from synth.layout.space import Box, box_of


class LayoutSource(Protocol):
    """Where a layout comes from: an id, and the layout when it is asked for."""

    @property
    def id(self) -> str:
        """What it is called; unique among the sources of a run."""

    def load(self) -> Layout:
        """The layout; loading twice gives the same one.

        A source that has detail gives it by a method `detail(tones)` of its own: it is not read for layouts that are
        not kept, which are most, nor its tones for a tumour that does not stay as it was.
        """


@dataclass(frozen=True)
class MemorySource:
    """A layout that is in memory already."""

    layout: Layout

    @property
    def id(self) -> str:
        """The layout's id."""
        return self.layout.id

    def load(self) -> Layout:
        """The layout."""
        return self.layout

    def detail(self, tones: bool = True) -> Detail | None:
        """Its detail, at least with tones where they are asked for."""
        return self.layout.detail


def finder(hosts: Sequence[LayoutSource]) -> Callable[[str], LayoutSource]:
    """The function that finds a source by its id: the hosts' own `find`, where they are made lazily.

    Raises:
        LayoutError: two sources have one id.
    """
    if own := getattr(hosts, "find", None):
        return own
    by_id = {}
    for source in hosts:
        if source.id in by_id:
            raise LayoutError(f"two host layouts have the id {source.id!r}; ids must be unique.")
        by_id[source.id] = source

    def find(source_id: str) -> LayoutSource:
        if source_id not in by_id:
            raise LayoutError(f"the layout {source_id!r} is not among the {len(by_id)} sources; give the same data.")
        return by_id[source_id]

    return find


def in_rows(layout: Layout) -> Layout:
    """The same layout in C order: NIfTI files are read in Fortran order, which the edits' crops are slow in."""
    if layout.tissue.flags.c_contiguous and layout.tumour.flags.c_contiguous:
        return replace(layout, detail=None)
    box = box_of(layout.tissue.T)  # read along its own rows; a tumour lies in the brain
    box = box and box[::-1]
    return Layout(_in_rows(layout.tissue, box), _in_rows(layout.tumour, box), layout.affine, layout.id)


def layers_of(source: LayoutSource, box: Box | None, tones: bool = True) -> Detail | None:
    """The detail of a source, in C order, with tones where they are asked for; None where it has none.

    Args:
        source: of which.
        box: of its brain.
        tones: whether they are asked for.
    """
    detail = source.detail(tones) if hasattr(source, "detail") else None
    if detail is None or all(layer.flags.c_contiguous for layer in detail.layers):
        return detail
    layers = detail.layers if tones else detail.mixed
    return Detail(*(_in_rows(layer, box) for layer in layers))


def _in_rows(labels: np.ndarray, box: Box | None) -> np.ndarray:
    """`labels` in C order; all but 0 lies in `box`."""
    if labels.flags.c_contiguous:
        return labels
    out = np.zeros(labels.shape, labels.dtype)
    if box is not None:
        out[box] = labels[box]
    return out
