"""Layouts from whatever people have: layout folders, BraTS cases, bare segmentations, HDF5 sets.

`find_inputs` goes by file names alone; nothing is opened before it is asked for. Where only the tumour is known (a
case, a segmentation), its tissue is a stand-in: the atlas brain on the BraTS grid, so that the tumour can be placed
and shown. `extracted` finds the true tissue of a case instead.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np

from synth.brats import GRID, NAMINGS, Naming, Tissue
from synth.datasets.case_files import CaseFiles, find_cases, scan_folder
from synth.datasets.findings import Findings
from synth.datasets.labels import label_classes
from synth.datasets.layout_files import list_layouts, load_layout, load_style
from synth.datasets.volume import geometry_problems, read_volume
from synth.errors import DataError, printable
from synth.exporters.hdf5_cases import open_cases
from synth.exporters.hdf5_packed import whole
from synth.hosts.extract import extract_case
from synth.layout.atlas import atlas_probabilities
from synth.layout.layout import Layout
from synth.layout.space import box_of
from synth.style.style import Style

KINDS = ("layout", "case", "segmentation", "hdf5")
_PLURAL = {"layout": "layouts", "case": "cases", "segmentation": "segmentations", "hdf5": "HDF5 cases"}


@dataclass(frozen=True)
class Input:
    """One layout that could be read.

    Attributes:
        id: of the case or layout.
        path: the file or folder it was found in.
        kind: one of `KINDS`; only a "layout" knows its tissue.
        files: the files of a "case" or of what was extracted from one.
    """

    id: str
    path: Path
    kind: str
    read: Callable[[], Layout] = field(repr=False, compare=False)
    files: CaseFiles | None = field(default=None, repr=False, compare=False)
    measured: Callable[[], Style] | None = field(default=None, repr=False, compare=False)

    @property
    def complete(self) -> bool:
        """Whether the tissue is the brain's own and not a stand-in."""
        return self.kind == "layout"

    def load(self) -> Layout:
        """The layout; reading twice gives the same one.

        Raises:
            SynthError: a file cannot be read or is not what it has to be.
        """
        return self.read()

    def style(self) -> Style | None:
        """The measured style of the scan that a layout comes from, where it is known."""
        return self.measured() if self.measured else None

    def backdrop(self) -> np.ndarray | None:
        """(X, Y, Z) flair (or another modality) of a case, to show a tumour on; None where there is no scan."""
        paths = self.files.paths if self.files else {}
        for modality in ("flair", "t1ce", "t1", "t2"):
            if modality in paths:
                return read_volume(paths[modality], GRID).array
        return None


def find_inputs(path: str | Path) -> list[Input]:
    """The layouts, cases or segmentations at `path`, sorted by id.

    Args:
        path: a layout's folder or a folder of those; one BraTS case or a folder of cases (what `synth generate`
            writes is one); a folder of `ID_seg.nii.gz` (labels 0/1/2/4) or `ID-seg.nii.gz` (0-3), or one such file;
            an HDF5 set of ours.

    Raises:
        DataError: nothing is there, or none of these.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{printable(path)}: expected layouts, cases or segmentations, found nothing; check the path.")
    for look in (_as_file, _as_layouts, _as_hdf5, _as_cases):
        if found := look(path):
            return sorted(found, key=lambda one: one.id)
    raise DataError(
        f"{printable(path)}: expected layout folders (ID/ID_tissue.nii.gz), BraTS cases, ID_seg.nii.gz or an HDF5 set "
        f"of synth, found {_listing(path)}; make layouts with `synth layouts extract` or `synth layouts sample`."
    )


def only_layouts(path: str | Path) -> list[Input]:
    """As `find_inputs`, for what has or can get tissue of its own: layouts, and cases, whose tissue is then found.

    Raises:
        DataError: nothing of the kind is there.
    """
    found = find_inputs(path)
    kinds = {one.kind for one in found}
    if kinds == {"layout"}:
        return found
    if kinds == {"case"}:
        return [extracted(one) for one in found]
    raise DataError(
        f"{printable(path)}: expected layouts or whole BraTS cases, found {_PLURAL[max(kinds)]} without tissue; "
        "give the scans too, or layouts."
    )


def extracted(one: Input) -> Input:
    """A case as an input whose tissue is found (in about 3 s) when it is loaded."""
    styles = []  # small, and wanted after the layout: the layout itself is not kept

    def read() -> Layout:
        layout, style = extract_case(one.files)
        styles[:] = [style]
        return layout

    def style() -> Style:
        if not styles:
            read()
        return styles[0]

    return Input(one.id, one.path, "layout", read, one.files, style)


def _as_file(path: Path) -> list[Input]:
    if not path.is_file():
        return []
    if path.suffix == ".h5":
        return _hdf5(path)
    for naming in NAMINGS.values():
        if (parsed := naming.parse(path.name)) and parsed[1] == "seg":
            return [_segmentation(path, parsed[0], naming)]
    if path.name.endswith(("_tissue.nii.gz", "_tumour.nii.gz")) and path.name.startswith(path.parent.name):
        return _as_layouts(path.parent)
    raise DataError(
        f"{printable(path)}: expected a segmentation named ID_seg.nii.gz (labels 0, 1, 2, 4) or ID-seg.nii.gz "
        "(labels 0 to 3), or an .h5 set of synth; rename the file, the name tells what the labels mean."
    )


def _as_layouts(path: Path) -> list[Input]:
    own = (path / f"{path.resolve().name}_tissue.nii.gz").is_file()
    folders = [path.resolve()] if own else list_layouts(path)
    return [_layout(folder) for folder in folders]


def _layout(folder: Path) -> Input:
    styled = (folder / f"{folder.name}_style.json").is_file()
    measured = (lambda: load_style(folder)) if styled else None
    return Input(folder.name, folder, "layout", lambda: load_layout(folder), measured=measured)


def _as_hdf5(path: Path) -> list[Input]:
    return _hdf5(path) if any(path.glob("synth*.h5")) else []


def _hdf5(path: Path) -> list[Input]:
    cases = open_cases(path)

    def read(case_id: str) -> Layout:
        packed = cases.load(case_id)
        labels = packed.labels(whole(packed.arrays["images"].shape[:3]))
        if labels is None:
            raise DataError(f"{printable(path)}: case {case_id} has no labels; leave it out.")
        return on_stand_in(labels, packed.affine, case_id)

    return [Input(case_id, path, "hdf5", lambda case_id=case_id: read(case_id)) for case_id in cases.ids]


def _as_cases(path: Path) -> list[Input]:
    if not path.is_dir():
        return []
    try:
        cases, findings = scan_folder(path)
    except DataError:  # not a single case: the sentence that names all we take follows
        return []
    if findings:
        find_cases(path)  # raises
    without = [case.id for case in cases if "seg" not in case.paths]
    if without:
        raise DataError(
            f"{printable(path)}: {len(without)} of {len(cases)} cases have no segmentation ({printable(without[0])}, "
            "...); expected one each: add them, or leave these cases out."
        )
    return [_case(case) for case in cases]


def _case(case: CaseFiles) -> Input:
    kind = "segmentation" if set(case.paths) == {"seg"} else "case"
    return Input(case.id, case.folder, kind, lambda: _read_seg(case.paths["seg"], case.id, case.naming), case)


def _segmentation(path: Path, case_id: str, naming: Naming) -> Input:
    return Input(case_id, path, "segmentation", lambda: _read_seg(path, case_id, naming))


def _read_seg(path: Path, case_id: str, naming: Naming) -> Layout:
    volume = read_volume(path, GRID)
    problems = [f"{printable(path)}: {problem}" for problem in geometry_problems(volume)]
    notes = Findings(case_id)
    labels = None if problems else label_classes(path, volume.array, naming, notes)
    if labels is None:
        raise DataError([*problems, *map(str, notes.errors)][0])
    return on_stand_in(labels, volume.affine, case_id)


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


def _listing(path: Path) -> str:
    names = [printable(entry.name) for entry in islice(path.iterdir(), 4)]
    return ("nothing" if not names else ", ".join(names[:3])) + (", ..." if len(names) > 3 else "")
