"""Segmentations written on the very grid of their scans, and read back."""

from functools import reduce
from hashlib import sha256
from pathlib import Path

import nibabel as nib
import numpy as np

from synth.brats import NAMINGS, inverse, recoded
from synth.case import Case
from synth.datasets.members import Member
from synth.datasets.resample import Resampling, from_brats_grid, labels_to_grid
from synth.datasets.volume import same_place
from synth.disk.files import atomic_folder, atomic_write, case_path
from synth.errors import OutputError
from synth.exporters.deflate import gzip_bytes
from synth.exporters.nifti import nifti_bytes

Values = tuple[int, ...]  # on the disk, of `Tumour`
_GEOMETRY = (
    *("qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
    *("srow_x", "srow_y", "srow_z", "xyzt_units"),
)


def resampling_of(case: Case) -> Resampling | None:
    """How a case came to the BraTS grid; None where its files were on it."""
    record = case.meta.get("resampling")
    return record and Resampling.from_dict(record)


def on_own_grid(
    scan: Member, labels: np.ndarray, resampling: Resampling
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray] | None]:
    """Labels of a resampled scan on its own grid, within its brain; and a pair to measure: the truth and they.

    Args:
        scan: whose files are read once more for that.
        labels: (240, 240, 155) uint8 class indices, found on the BraTS grid.
        resampling: how it came there.

    Returns:
        The labels on the t1's grid, and the scan's segmentation with the labels on its grid (as a rule the same); None
        in its place where there is no segmentation.
    """
    own = from_brats_grid(labels, resampling)
    volumes, truth = scan.volumes()
    t1 = volumes[0]
    alike = [volume for volume in volumes if volume.array.shape == t1.array.shape and same_place(volume, t1)]
    own[~reduce(np.logical_or, (volume.array > 0 for volume in alike))] = 0
    if truth is None:
        return own, None
    if truth.array.shape == own.shape and same_place(truth, t1):
        return own, (truth.array, own)
    return own, (truth.array, from_brats_grid(labels, resampling.seen_from(truth)))


def write_segmentation(
    case: Case,
    labels: np.ndarray,
    header: nib.Nifti1Header | None,
    out: Path,
    affine: np.ndarray | None = None,
    values: Values | None = None,
) -> dict[str, str]:
    """Write `<out>/<id>/<id>_seg.nii.gz` (or the name of 2023) as uint8; return its SHA-256 by its path below `out`.

    Of a set that a `dataset.json` describes it is `<out>/<id>.nii.gz`, as in its `labelsTr`.

    Args:
        case: gives id, naming and affine.
        labels: (X, Y, Z) uint8 class indices.
        header: of the case's scan: its geometry is taken over to the bit. None: BraTS's own for the affine.
        out: the output folder.
        affine: of the labels, where they are not on the case's grid.
        values: of the classes in such a set (`Member.values`); None: those of the case's naming, in a folder.
    """
    path, affine = segmentation_path(case, out, values), case.affine if affine is None else affine
    data = nifti_bytes(recoded(labels, values or NAMINGS[case.meta["naming"]].label_values), affine)
    if header is not None:
        own = nib.Nifti1Header(bytes(data[: nib.Nifti1Header.sizeof_hdr]), endianness="<")
        for key in _GEOMETRY:
            own[key] = header[key]
        own["pixdim"][:4] = header["pixdim"][:4]  # the first is the handedness of the quaternion
        data[: own.sizeof_hdr] = own.binaryblock
    packed = gzip_bytes(data)
    if values is None:
        with atomic_folder(path.parent) as folder:
            (folder / path.name).write_bytes(packed)
    else:
        with atomic_write(path) as handle:
            handle.write(packed)
    return {str(path.relative_to(out)): sha256(packed).hexdigest()}


def read_segmentation(case: Case, out: Path, values: Values | None = None) -> np.ndarray:
    """What `write_segmentation` wrote for a case, (X, Y, Z) uint8 class indices, on the case's grid.

    Raises:
        OutputError: it is not there, or damaged.
    """
    path = segmentation_path(case, out, values)
    try:
        written = np.asanyarray(nib.load(path).dataobj)
        labels = recoded(written, inverse(values or NAMINGS[case.meta["naming"]].label_values))
    except Exception as error:
        raise OutputError(f"{path}: cannot be read back ({error}); run again with --resume.") from error
    resampling = resampling_of(case)
    return labels if resampling is None else labels_to_grid(labels, resampling)


def segmentation_path(case: Case, out: Path, values: Values | None = None) -> Path:
    """Where the segmentation of a case goes."""
    if values is not None:
        return case_path(out, case.id, ".nii.gz")
    return case_path(out, case.id) / (NAMINGS[case.meta["naming"]].stem(case.id, "seg") + ".nii.gz")
