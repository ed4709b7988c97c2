"""A folder of BraTS cases: found, read, and checked, with a sentence for everything that is wrong.

Nothing is repaired in silence. What is certainly harmless (a handful of stray voxels) is put right and noted as a
warning; everything else is refused, a label map of another year's convention too (`synth.datasets.labels` says why).

Negative intensities come from z-scoring or from interpolation. BraTS itself has none, its background is exactly 0,
and "0 means outside the brain" is what every step here rests on; z-scored scans are refused, since they have lost
the scanner's scale. A few voxels that interpolation pushed below zero are set to 0.
"""

from collections.abc import Iterator
from functools import reduce
from itertools import combinations
from pathlib import Path

import nibabel as nib
import numpy as np

from synth.brats import AFFINE, GRID, MODALITIES
from synth.case import Case, CaseFiles
from synth.datasets.case_files import CANDIDATES, find_cases, nearly_named
from synth.datasets.cohorts import cohort_of
from synth.datasets.findings import STRAY_FRACTION, STRAY_VOXELS, Findings, listing
from synth.datasets.labels import keep_inside, label_classes
from synth.datasets.ranges import range_note
from synth.datasets.reading import AUTO, PLAIN, Reading
from synth.datasets.volume import Volume, geometry_problems, read_volume, same_place
from synth.datasets.voxels.judge import judge_case
from synth.errors import DataError, FileError, SynthError, printable

__all__ = ["find_cases", "read_case"]

LABEL_USES = ("required", "optional", "ignore")
FULLEST = 0.5  # of the grid; a skull-stripped brain fills 0.14-0.19 of it (16 cases), a scan with background all of it
EMPTIEST = 0.5  # of the brain; a modality that covers less gets a warning (16 cases: at least 0.993)
INT16 = np.iinfo(np.int16)


def read_case(
    files: CaseFiles, *, labels: str = "required", grid: tuple[int, int, int] = GRID, reading: Reading = PLAIN
) -> Case:
    """Read the files of one case, refusing whatever does not fit together.

    Args:
        files: from `find_cases`.
        labels: "required" (no segmentation is an error), "optional" (None then) or "ignore" (not even opened).
        grid: the shape that every file must have.
        reading: what the user states about the files: what the label values mean, and whether a case without a
            segmentation is a healthy brain (all labels 0, unless they are ignored).

    Returns:
        A Case whose images are int16 if all four files hold whole numbers that fit, else float32; each modality is
        contiguous in memory. `meta` holds the naming, the sentences of what was put right ("warnings") and, where the
        user's word decided, "labels" (the name of the table) and "healthy" (True).

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
    notes = Findings(files.id, "files")
    _check_names(files, labels, reading.healthy, notes)
    volumes = {}
    for name in MODALITIES if labels == "ignore" else (*MODALITIES, "seg"):
        if name in files.paths:
            try:
                volumes[name] = read_volume(files.paths[name], grid)
            except FileError as problem:
                by_shape = "the header says" in problem.reason
                notes.error(problem.file, (_axes_problem(name, files, grid) if by_shape else "") or problem.reason)
    notes.topic = "geometry"
    _check_geometry(files, volumes, notes)
    notes.topic = "intensities"
    arrays = {m: _intensities(files.paths[m], volumes[m].array, notes) for m in MODALITIES if m in volumes}
    classes, notes.topic = None, "labels"
    if "seg" in volumes:
        scaled = getattr(volumes["seg"], "scaled", None)
        classes = label_classes(files.paths["seg"], volumes["seg"].array, files.naming, notes, reading, scaled)
    elif cohort := cohort_of(files.id):
        notes.warning(files.folder, cohort.caution)
    if len(arrays) < len(MODALITIES) or any(array is None for array in arrays.values()):
        return None, notes
    brain = reduce(np.logical_or, (array != 0 for array in arrays.values()))
    notes.topic = "intensities"
    _check_coverage(files, arrays, brain, notes)
    images = _stack(list(arrays.values()))
    for modality, said, refused in voxel_notes(images, brain):
        (notes.error if refused else notes.warning)(files.paths[modality], said)
    notes.topic = "labels"
    if classes is not None:
        keep_inside(files.paths["seg"], classes, brain, notes)
    if notes.errors:
        return None, notes
    meta: dict[str, object] = {"naming": files.naming.name, "warnings": [str(finding) for finding in notes]}
    if classes is not None and reading.labels != AUTO:
        meta["labels"] = reading.labels
    if classes is None and reading.healthy and labels != "ignore":
        classes, meta["healthy"] = np.zeros(brain.shape, np.uint8, order="F"), True
    return Case(files.id, images, classes, volumes["t1"].affine, meta), notes


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
    elif unlabelled and "seg" in likely:
        notes.warning(
            files.folder,
            f"case {printable(files.id)} counts as one without a segmentation, but {_hint(files, 'seg', likely)}.",
        )


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
        shape = nib.load(files.paths[name]).shape
    except (OSError, ValueError, EOFError, nib.filebasedimages.ImageFileError, nib.spatialimages.HeaderDataError):
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


def _check_geometry(files: CaseFiles, volumes: dict[str, Volume], notes: Findings) -> None:
    """Each file against BraTS, and against the affine that most files of the case share."""
    good = {}
    for name, volume in volumes.items():
        problems = geometry_problems(volume)
        for problem in problems:
            notes.error(files.paths[name], problem)
        if not problems:
            good[name] = volume
    if not good:
        return
    usual = max(good, key=lambda name: sum(same_place(good[name], other) for other in good.values()))
    origin = _origin(good[usual])
    if good[usual].array.shape == GRID and not np.allclose(good[usual].affine, AFFINE, atol=0.5):
        notes.warning(
            files.paths[usual],
            f"expected the first voxel at (0, 239, 0) mm as in BraTS, found {origin}; that is kept, but the atlas is "
            "placed by voxel: make sure that the brain lies in the grid as in BraTS.",
        )
    for name, volume in good.items():
        if not same_place(volume, good[usual]):
            notes.error(
                files.paths[name],
                f"its affine differs from that of {printable(files.paths[usual].name)} (first voxel at "
                f"{_origin(volume)} mm against {origin}); register the files of the case to one grid, or copy the "
                "header if only that is wrong.",
            )


def _origin(volume: Volume) -> str:
    return "({:g}, {:g}, {:g})".format(*(volume.affine[:3, 3].round(4) + 0.0))  # + 0.0: -0 reads oddly


def _intensities(path: Path, array: np.ndarray, notes: Findings) -> np.ndarray | None:
    """One modality as int16 if it holds whole numbers that fit, else float32; None if it cannot be used."""
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
    if filled > FULLEST * array.size:
        notes.error(
            path,
            f"{filled / array.size:.0%} of the voxels are not 0; expected a skull-stripped brain and background "
            "exactly 0: strip the skull, or set the background to 0.",
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
        yield verdict.modalities[0], verdict.text, verdict.kind == "skull"


def _stack(arrays: list[np.ndarray]) -> np.ndarray:
    """(X, Y, Z, 4), channels last in shape but each one contiguous: what follows works modality by modality."""
    images = np.empty((*arrays[0].shape, len(arrays)), np.result_type(*arrays), order="F")
    for channel, array in enumerate(arrays):
        images[..., channel] = array
    return images
