"""Layouts from whatever people have: layout folders, BraTS cases, bare segmentations, sets of synth in any format.

Nothing is opened before it is asked for. Where only the tumour is known (a case, a segmentation), its tissue is a
stand-in: the atlas brain on the BraTS grid, so that the tumour can be placed and shown. `extracted` finds the true
tissue of a case instead.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path

import numpy as np

from synth.brats import AFFINE, GRID, Tissue
from synth.datasets.labels import told_classes
from synth.datasets.layout_files import load_ancestors
from synth.datasets.members import CASE, LAYOUT, SEGMENTATION, FilesMember, LayoutMember, Member
from synth.datasets.sets import CaseSet, open_set
from synth.datasets.volume import geometry_problems, read_volume
from synth.errors import DataError, printable
from synth.hosts.extract import extract_case
from synth.layout.atlas import atlas_probabilities
from synth.layout.detail import Detail
from synth.layout.layout import Layout
from synth.layout.space import box_of
from synth.lineage import ancestors
from synth.style.style import Style

_PLURAL = {LAYOUT: "layouts", CASE: "cases", SEGMENTATION: "segmentations"}


@dataclass(frozen=True)
class Input:
    """One layout that could be read.

    Attributes:
        member: the case, segmentation or layout of a set that it is.
        read: gives the layout.
        measured: gives the style of the scan that it comes from; None where that is not known.
        complete: whether the tissue is the brain's own and not a stand-in.
        record: gives what a manifest of synth's says of the case; None where it stands in none.
        layers: gives the detail of the layout, with tones or without; None where there is none to be had.
    """

    member: Member
    read: Callable[[], Layout] = field(repr=False, compare=False)
    measured: Callable[[], Style | None] | None = field(default=None, repr=False, compare=False)
    complete: bool = False
    record: Callable[[], dict | None] = field(default=lambda: None, repr=False, compare=False)
    layers: Callable[[bool], Detail | None] | None = field(default=None, repr=False, compare=False)

    @property
    def id(self) -> str:
        """Of the case or layout."""
        return self.member.id

    @property
    def path(self) -> Path:
        """The file or folder it was found in."""
        return self.member.path

    @property
    def kind(self) -> str:
        """What it was made from: `members.CASE`, `SEGMENTATION` or `LAYOUT`."""
        return self.member.kind

    def load(self) -> Layout:
        """The layout; reading twice gives the same one.

        Raises:
            SynthError: a file cannot be read or is not what it has to be.
        """
        return self.read()

    @property
    def ancestors(self) -> frozenset[str] | None:
        """The patients that it descends from, where it was drawn or painted; None for a patient's own anatomy."""
        if (record := self.record()) is not None:
            return ancestors(record)
        return load_ancestors(self.path) if self.kind == LAYOUT else None

    def style(self) -> Style | None:
        """The measured style of the scan that a layout comes from, where it is known."""
        return self.measured() if self.measured else None

    def detail(self, tones: bool = True) -> Detail | None:
        """The detail of a layout, where it has any, at least with tones where they are asked for."""
        return self.layers(tones) if self.layers else None

    def backdrop(self) -> np.ndarray | None:
        """(X, Y, Z) flair (or another modality) of a case, to show a tumour on; None where there is no scan."""
        paths = self.member.files.paths if isinstance(self.member, FilesMember) else {}
        for modality in ("flair", "t1ce", "t1", "t2"):
            if modality in paths:
                return read_volume(paths[modality], GRID).array
        return None


def find_inputs(path: str | Path | CaseSet) -> list[Input]:
    """The layouts, cases or segmentations at `path` (what `open_set` takes), sorted by id.

    Raises:
        DataError: nothing is there, or none of these; cases among them have no segmentation.
    """
    cases = open_set(path)
    without = [member for member in cases.members if not member.annotated]
    if without:
        raise DataError(
            f"{printable(cases.path)}: {len(without)} of {len(cases)} cases have no segmentation "
            f"({printable(without[0].id)}, ...); expected one each: add them, or leave these cases out."
        )
    return [replace(_input(member), record=partial(cases.record, member)) for member in cases.members]


def _input(member: Member) -> Input:
    if isinstance(member, LayoutMember):
        style = member.style if member.styled else None
        return Input(member, member.load, style, complete=True, layers=member.detail)
    if isinstance(member, FilesMember):
        return Input(member, partial(_read_labels, member))
    return Input(member, partial(_from_case, member))


def only_layouts(path: str | Path | CaseSet) -> list[Input]:
    """As `find_inputs`, for what has or can get tissue of its own: layouts, and cases, whose tissue is then found.

    Raises:
        DataError: nothing of the kind is there.
    """
    cases = open_set(path)
    inputs = find_inputs(cases)
    kinds = {given.kind for given in inputs}
    if kinds == {LAYOUT}:
        return inputs
    if kinds == {CASE}:
        return [extracted(given) for given in inputs]
    raise DataError(
        f"{printable(cases.path)}: expected layouts or whole BraTS cases, found {_PLURAL[SEGMENTATION]} without "
        "tissue; give the scans too, or layouts."
    )


def extracted(case: Input, *, detail: bool = False) -> Input:
    """A case as an input whose tissue (and detail, if it is to have any) is found when it is loaded."""
    styles: list[Style] = []  # small, and wanted after the layout: the layout itself is not kept

    def read() -> Layout:
        layout, style, _ = extract_case(case.member, detail=detail)
        styles[:] = [style]
        return layout

    def style() -> Style:
        if not styles:
            read()
        return styles[0]

    layers = (lambda tones: read().detail) if detail else None
    return Input(case.member, read, style, complete=True, record=case.record, layers=layers)


def _read_labels(member: FilesMember) -> Layout:
    """The tumour of a segmentation, without a look at the scans beside it."""
    if not member.labelled:  # stated to be healthy
        return on_stand_in(np.zeros(GRID, np.uint8), AFFINE, member.id)
    path = member.files.paths["seg"]
    volume = read_volume(path, GRID)
    problems = [f"{printable(path)}: {problem}" for problem in geometry_problems(volume)]
    if problems:
        raise DataError(problems[0])
    labels = told_classes(member.id, path, volume, member.naming, member.reading.of(member.naming))
    return on_stand_in(labels, volume.affine, member.id)


def _from_case(member: Member) -> Layout:
    case = member.read("required")
    if case.labels is None:  # a member that breaks its promise
        raise DataError(f"{printable(case.id)}: has no labels; add them or leave the case out.")
    return on_stand_in(case.labels, case.affine, case.id)


def on_stand_in(labels: np.ndarray, affine: np.ndarray, case_id: str = "") -> Layout:
    """A layout of a tumour alone: on the atlas brain if the grid is BraTS's, else with no brain but the tumour."""
    labels = np.ascontiguousarray(labels, np.uint8)  # read in Fortran order, which all that follows is slow in
    tissue = _atlas_tissue().copy() if labels.shape == GRID else np.zeros(labels.shape, np.uint8)
    if (box := box_of(labels)) is not None:
        tissue[box][(labels[box] > 0) & (tissue[box] == 0)] = Tissue.GM
    return Layout(tissue, labels, np.asarray(affine, float), case_id)


@cache
def _atlas_tissue() -> np.ndarray:
    probabilities = atlas_probabilities()
    return np.where(probabilities.sum(-1) > 0.5, probabilities.argmax(-1) + 1, 0).astype(np.uint8)
