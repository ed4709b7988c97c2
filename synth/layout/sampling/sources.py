"""Where a sampler's layouts come from: anything with an id that loads a layout when asked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from synth.errors import LayoutError
from synth.layout.detail import Detail
from synth.layout.layout import Layout
from synth.layout.space import box_of


class LayoutSource(Protocol):
    """Where a layout comes from: an id, and the layout when it is asked for."""

    @property
    def id(self) -> str:
        """What it is called; unique among the sources of a run."""

    def load(self) -> Layout:
        """The layout; loading twice gives the same one.

        A source that has detail gives it by a method `detail` of its own: it is not read for layouts that are not
        kept, which are most.
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

    def detail(self) -> Detail | None:
        """Its detail."""
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
    return Layout(*map(_in_rows, (layout.tissue, layout.tumour)), layout.affine, layout.id)


def layers_of(source: LayoutSource) -> Detail | None:
    """The detail of a source, in C order; None where it has none."""
    detail = source.detail() if hasattr(source, "detail") else None
    return None if detail is None else Detail(*map(_in_rows, detail.layers))


def _in_rows(labels: np.ndarray) -> np.ndarray:
    if labels.flags.c_contiguous:
        return labels
    out, box = np.zeros(labels.shape, labels.dtype), box_of(labels.T)  # read along its own rows
    if box is not None:
        out[box[::-1]] = labels[box[::-1]]  # the rest is 0
    return out
