"""A folder of BraTS cases: found, read, and checked, with a sentence for everything that is wrong.

Nothing is repaired in silence. What is certainly harmless (a handful of stray voxels) is put right and noted as a
warning; everything else is refused, a label map of another year's convention too (`synth.datasets.labels` says why).

Negative intensities come from z-scoring or from interpolation. BraTS itself has none, its background is exactly 0,
and "0 means outside the brain" is what every step here rests on; z-scored scans are refused, since they have lost
the scanner's scale. A few voxels that interpolation pushed below zero are set to 0.
"""

import glob
import math
import os
from collections.abc import Iterator
from dataclasses import replace
from functools import reduce
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import binary_dilation

from synth.brats import AFFINE, GRID, MODALITIES, Tumour
from synth.case import Case, CaseFiles
from synth.datasets.case_files import CANDIDATES, find_cases, nearly_named, parse_name
from synth.datasets.cohorts import cohort_of
from synth.datasets.findings import STRAY_FRACTION, STRAY_VOXELS, Findings, listing
from synth.datasets.geometry import check_geometry, check_placement, check_qforms, in_place, voxels_of_grid
from synth.datasets.labels import keep_inside, label_classes
from synth.datasets.ranges import range_note
from synth.datasets.reading import AUTO, PLAIN, Reading
from synth.datasets.resample import BY_HEADER, Resampling, to_brats_grid
from synth.datasets.volume import Volume, open_image, read_volume
from synth.datasets.voxels.judge import judge_case
from synth.datasets.voxels.place import judge_place
from synth.errors import DataError, FileError, SynthError, printable
from synth.layout.layout import bounding_box

__all__ = ["find_cases", "read_case"]

LABEL_USES = ("required", "optional", "ignore")
FULLEST = 0.5  # of the grid; a skull-stripped brain fills 0.14-0.19 of it (16 cases), a scan with background all of it
EMPTIEST = 0.5  # of the brain; a modality that covers less gets a warning (16 cases: at least 0.993)
INT16 = np.iinfo(np.int16)
_IMAGES = (".nii", ".nii.gz", ".nii.gz.gz", ".nrrd", ".mha", ".mhd", ".npy", ".npz")
_FEW_FILES = 32  # in a folder that may all be of one case


def read_case(
    files: CaseFiles, *, labels: str = "required", grid: tuple[int, int, int] = GRID, reading: Reading = PLAIN
) -> Case:
    """Read the files of one case, refusing whatever does not fit together.

    Args:
        files: from `find_cases`.
        labels: "required" (no segmentation is an error), "optional" (None then) or "ignore" (not even opened).
        grid: the shape that every file must have.
        reading: what the user states about the files: what the label values mean, and whether a case without a
            segmentation is a healthy brain (all labels 0, unless they are ignored), whether other grids are brought to
            that of BraTS (`resample.to_brats_grid`), which `grid` must then be.

    Returns:
        A Case whose images are int16 if all four files hold whole numbers that fit, else float32; each modality is
        contiguous in memory. `meta` holds the naming, the sentences of what was put right ("warnings") and, where the
        user's word decided, "labels" (the name of the table), "healthy" (True) and "resampling" (`Resampling.to_dict`).

    Raises:
        DataError: any of the problems that `check.check_dataset` reports as an error.
    """
    return usable(*examine_case(files, labels=labels, grid=grid, reading=reading))


def usable(case: Case | None, findings: Findings) -> Case:
    """An examined case, or `DataError` with the first of its errors and how many more there are."""
    if case is None:
        errors = findings.errors
        more = f" ({len(errors) - 1} more problems of this case; `synth check` lists all.)" if len(errors) > 1 else ""
        raise DataError(f"{errors[0]}{more}")
    return case


def examine_case(
    files: CaseFiles, *, labels: str = "required", grid: tuple[int, int, int] = GRID, reading: Reading = PLAIN
) -> tuple[Case | None, Findings]:
    """The case (None if it cannot be used) and all its problems; `read_case` and `check.check_dataset` in one."""
    if labels not in LABEL_USES:
        raise SynthError(f"labels must be one of {', '.join(LABEL_USES)}; found {labels!r}.")
    resample = reading.resample
    if resample and tuple(grid) != GRID:
        raise SynthError(f"cases are resampled to the BraTS grid {GRID} alone; found the grid {tuple(grid)}.")
    notes = Findings(files.id, "files")
    _check_names(files, labels, reading.healthy, notes)
    volumes = {}
    for name in MODALITIES if labels == "ignore" else (*MODALITIES, "seg"):
        if name in files.paths:
            try:
                volumes[name] = read_volume(files.paths[name], None if resample else grid)
            except FileError as problem:
                by_shape = "the header says" in problem.reason
                notes.error(problem.file, (_axes_problem(name, files, grid) if by_shape else "") or problem.reason)
    notes.topic = "geometry"
    resample = resample and not in_place(volumes)
    (check_placement if resample else check_geometry)(files, volumes, notes)
    check_qforms(files, volumes, notes)
    notes.topic = "intensities"
    room = {m: voxels_of_grid(volumes[m]) if resample else None for m in volumes}
    arrays = {m: _intensities(files.paths[m], volumes[m].array, notes, room[m]) for m in MODALITIES if m in volumes}
    classes, notes.topic = None, "labels"
    if "seg" in volumes:
        seg = volumes["seg"]
        classes = label_classes(files.paths["seg"], seg.array, files.naming, notes, reading, seg.scaled)
    elif cohort := cohort_of(files.id):
        notes.warning(files.folder, cohort.caution)
    if len(arrays) < len(MODALITIES) or any(array is None for array in arrays.values()):
        return None, notes
    affine, how = volumes["t1"].affine, None
    if resample:
        arrays, classes, how = _resampled(files, volumes, arrays, classes, notes)
        if notes.errors:
            return None, notes
        affine = affine if how is None else AFFINE
    brain = reduce(np.logical_or, (array != 0 for array in arrays.values()))
    notes.topic = "intensities"
    _check_coverage(files, arrays, brain, notes)
    images = _stack(list(arrays.values()))
    for modality, said, refused in voxel_notes(images, brain):
        (notes.error if refused else notes.warning)(files.paths[modality], said)
    notes.topic = "labels"
    if classes is not None:
        keep_inside(files.paths["seg"], classes, brain if how is None else _widened(brain, max(how.spacing)), notes)
        if how is not None:
            classes[~brain] = Tumour.NONE  # within a voxel of the brain's edge: from interpolation
    if notes.errors:
        return None, notes
    meta: dict[str, Any] = {"naming": files.naming.name, "warnings": [str(finding) for finding in notes]}
    if classes is not None and reading.labels != AUTO:
        meta["labels"] = reading.labels
    if classes is None and reading.healthy and labels != "ignore":
        classes, meta["healthy"] = np.zeros(brain.shape, np.uint8, order="F"), True
    if how is not None:
        meta["resampling"] = how.to_dict()
    return Case(files.id, images, classes, np.array(affine), meta), notes


def _check_names(files: CaseFiles, labels: str, healthy: bool, notes: Findings) -> None:
    """Whether the id can travel (into JSON, HDF5, file names) and all files are there."""
    if not files.id.isprintable():
        notes.error(
            next(iter(files.paths.values())), "the name holds bytes that are no readable UTF-8 text; rename the file."
        )
    wanted = (*MODALITIES, "seg") if labels == "required" else MODALITIES
    missing = [name for name in wanted if name not in files.paths]
    unlabelled = labels != "ignore" and "seg" not in files.paths
    if not missing and not unlabelled:
        return
    likely, beside = nearly_named(files)
    if "seg" not in likely and any((files.folder / CANDIDATES).glob("*_seg.nii*")):
        likely["seg"] = sorted(f"{CANDIDATES}/{path.name}" for path in (files.folder / CANDIDATES).glob("*_seg.nii*"))
    if healthy and "seg" not in likely:
        missing = [name for name in missing if name != "seg"]
    if missing or (healthy and unlabelled and "seg" in likely):
        notes.error(files.folder, _lacking(files, missing or ["seg"], likely, beside))
    elif healthy and unlabelled and (others := _unclaimed(files)):
        wanted = printable(files.naming.stem(files.id, "seg"))
        notes.error(
            files.folder,
            f"case {printable(files.id)} is stated to be healthy (--healthy), but {listing(others)} lies beside its "
            f"scans: name it {wanted}.nii.gz if it is the segmentation, else move it away.",
        )
    elif unlabelled and "seg" in likely:
        notes.warning(
            files.folder,
            f"case {printable(files.id)} counts as one without a segmentation, but {_hint(files, 'seg', likely)}.",
        )


def _unclaimed(files: CaseFiles) -> list[str]:
    """Images of any kind beside the scans of a case, or in `labels` beside its folder, that are of no case."""
    names = sorted(os.listdir(files.folder))
    if len(names) > _FEW_FILES:
        names = [name for name in names if name.startswith(files.id)]
    taken = {path.name for path in files.paths.values()}
    beside = [name for name in names if name not in taken and name.lower().endswith(_IMAGES) and not parse_name(name)]
    apart = [
        f"../{folder}/{path.name}"
        for folder in ("labels", "labelsTr", "segmentations", "seg")
        for path in sorted((files.folder.parent / folder).glob(f"{glob.escape(files.id)}*"))
    ]
    return beside + apart


def _lacking(files: CaseFiles, missing: list[str], likely: dict[str, list[str]], beside: list[str]) -> str:
    """What a case lacks, what is there instead, and what to do."""
    names = ", ".join(printable(files.naming.stem(files.id, name)) for name in missing)
    present = ", ".join(name for name in (*MODALITIES, "seg") if name in files.paths)
    hints = [_hint(files, name, likely) for name in missing if name in likely]
    if others := [name for name in beside if not any(name in found for found in likely.values())]:
        present += f" and {listing(others)}" + (", which may need renaming" if not hints else "")
    elif missing == ["seg"] and not hints:
        present += "; a healthy brain is read with --healthy, and where no labels are needed, --no-labels allows for it"
    id_ = printable(files.id)
    lacks = f"case {id_} lacks {', '.join(missing)}: expected {names} (.nii.gz or .nii), found {present}"
    return "; ".join([lacks, *hints]) + "."


def _hint(files: CaseFiles, missing: str, likely: dict[str, list[str]]) -> str:
    """Which file most likely is the missing one, and the name that it needs."""
    names, what = likely[missing], "segmentation" if missing == "seg" else missing
    wanted = printable(files.naming.stem(files.id, missing))
    if len(names) > 1 or "/" in names[0] or (missing == "seg" and "mask" in names[0].lower()):
        verb = "are" if len(names) > 1 else "is"
        return f"{listing(names)} {verb} perhaps the {what}: put the right one beside the scans as {wanted}.nii.gz"
    suffix = ".nii.gz" if names[0].endswith(".gz") else ".nii"
    return f"{printable(names[0])} most likely is the {what}: name it {wanted}{suffix}"


def _axes_problem(name: str, files: CaseFiles, grid: tuple[int, int, int]) -> str:
    """What is wrong with a file that has four axes, for those kinds that can be told; empty for all others."""
    try:
        shape = open_image(files.paths[name]).shape
    except FileError:
        return ""
    while len(shape) > 4 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 4 or grid not in (shape[:3], shape[1:]):
        return ""
    size, said = ("x".join(map(str, axes)) for axes in (grid, shape))
    begins = f"expected {size} voxels, the header says {said}"
    if shape[1:] == grid and shape[0] == 1:
        return (
            f"{begins}: one channel, stored as the first axis (as MONAI and PyTorch have it), for which the header's "
            "affine does not hold; save the volume without that axis."
        )
    if name == "seg":
        values = ", ".join(map(str, files.naming.label_values))
        return (
            f"{begins}: a channel for each class or region, as in one-hot maps and a network's output; save one map "
            f"with labels {values} instead."
        )
    return ""


def _resampled(
    files: CaseFiles,
    volumes: dict[str, Volume],
    arrays: dict[str, np.ndarray],
    classes: np.ndarray | None,
    notes: Findings,
) -> tuple[dict[str, np.ndarray], np.ndarray | None, Resampling | None]:
    """Modalities and labels on the BraTS grid and how they came there; what went wrong is noted."""
    if notes.errors:
        return arrays, classes, None
    notes.topic = "geometry"
    given = {name: replace(volumes[name], array=array) for name, array in arrays.items()}
    if classes is not None:
        given["seg"] = replace(volumes["seg"], array=classes)
    try:
        moved, how = to_brats_grid(given)
    except DataError as error:
        notes.error(files.folder, str(error))
        return arrays, classes, None
    classes = moved.pop("seg", None)
    if how is None:
        check_geometry(files, volumes, notes)
    elif how.done != BY_HEADER or how.cut:
        notes.warning(files.folder, how.sentence())
    return {name: _narrowed(array) for name, array in moved.items()}, classes, how


def _widened(brain: np.ndarray, mm: float) -> np.ndarray:
    """A brain on the BraTS grid, with what lies within about `mm` of it."""
    reach = math.ceil(mm)
    box, out = bounding_box(brain, reach), np.zeros_like(brain)
    out[box] = binary_dilation(brain[box], iterations=reach)
    return out


def _intensities(path: Path, array: np.ndarray, notes: Findings, room: float | None = None) -> np.ndarray | None:
    """One modality as int16 if it holds whole numbers that fit, else float32; None if it cannot be used.

    `room` is how many voxels the grid has that a brain is to fill a part of; None: as many as the array.
    """
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):
            array = array.astype(np.float32, copy=False)
        if broken := array.size - np.count_nonzero(np.isfinite(array)):
            notes.error(path, f"{broken} voxels are NaN or Inf; repair or exclude the scan.")
            return None
    filled, low = np.count_nonzero(array), array.min()
    if low < 0:
        below = np.count_nonzero(array < 0)
        if below > max(STRAY_VOXELS, STRAY_FRACTION * filled):
            notes.error(
                path,
                f"{below} of {filled} voxels other than 0 are negative (lowest {low:.6g}), as after z-scoring; "
                "expected intensities as BraTS has them, from 0 with background exactly 0: use the original files.",
            )
            return None
        notes.warning(path, f"{below} voxels are negative (lowest {low:.6g}); they are set to 0.")
        array = np.maximum(array, 0)
        filled = np.count_nonzero(array)
    if not filled:
        notes.error(path, "every voxel is 0; expected a scan: exclude the case or find the right file.")
        return None
    if filled > FULLEST * (room or array.size):
        notes.error(
            path,
            f"{filled / (room or array.size):.0%} of the voxels are not 0; expected a skull-stripped brain and "
            "background exactly 0: strip the skull, or set the background to 0.",
        )
        return None
    highest = array.max()
    if np.count_nonzero(array == highest) == filled:
        notes.error(path, f"every voxel of the brain is {highest:g}; expected a scan, this looks like a mask.")
        return None
    return _narrowed(array)


def _narrowed(array: np.ndarray) -> np.ndarray:
    if array.max() > INT16.max or (array.dtype.kind == "f" and not np.array_equal(array, np.rint(array))):
        return array.astype(np.float32, copy=False)
    return array.astype(np.int16, copy=False)


def _check_coverage(files: CaseFiles, arrays: dict[str, np.ndarray], brain: np.ndarray, notes: Findings) -> None:
    """Modalities that show little of the brain, or that are one file under two names."""
    size = np.count_nonzero(brain)
    for modality, array in arrays.items():
        share = np.count_nonzero(array) / size
        if share < EMPTIEST:
            notes.warning(
                files.paths[modality],
                f"covers {share:.0%} of the brain that the modalities show together; the rest of it is 0 here.",
            )
    for a, b in combinations(MODALITIES, 2):
        if arrays[a].max() == arrays[b].max() and np.array_equal(arrays[a], arrays[b]):
            notes.warning(files.paths[b], f"holds the same voxels as {printable(files.paths[a].name)}; is one a copy?")


def voxel_notes(images: np.ndarray, brain: np.ndarray) -> Iterator[tuple[str, str, bool]]:
    """What the voxels of a case say against its files: their range, what they show, where it lies.

    Args:
        images: (X, Y, Z, 4), background 0.
        brain: (X, Y, Z) bool.

    Yields:
        Modality, sentence, and whether the case is to be refused for it (a head that is not skull-stripped).
    """
    for m, name in enumerate(MODALITIES):
        if said := range_note(images[..., m], brain):
            yield name, said, False
    for verdict in judge_case(images):
        if not verdict.sure:  # real scans can be like that
            continue
        yield verdict.modalities[-1], verdict.text, verdict.kind == "skull"  # of a copy: the later of the two
    for verdict in judge_place(brain):
        yield verdict.modalities[0], verdict.text, False


def _stack(arrays: list[np.ndarray]) -> np.ndarray:
    """(X, Y, Z, 4), channels last in shape but each one contiguous: what follows works modality by modality."""
    images = np.empty((*arrays[0].shape, len(arrays)), np.result_type(*arrays), order="F")
    for channel, array in enumerate(arrays):
        images[..., channel] = array
    return images
