"""Segmentations written on the very grid of their scans, and read back."""

from hashlib import sha256
from pathlib import Path

import nibabel as nib
import numpy as np

from synth.brats import NAMINGS
from synth.case import Case
from synth.disk.files import atomic_folder, case_path
from synth.errors import OutputError
from synth.exporters.deflate import gzip_bytes
from synth.exporters.nifti import nifti_bytes

_GEOMETRY = (
    *("qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
    *("srow_x", "srow_y", "srow_z", "xyzt_units"),
)


def write_segmentation(case: Case, labels: np.ndarray, header: nib.Nifti1Header | None, out: Path) -> dict[str, str]:
    """Write `<out>/<id>/<id>_seg.nii.gz` (or the name of 2023) as uint8; return its SHA-256 by its path below `out`.

    Args:
        case: gives id, naming and affine.
        labels: (X, Y, Z) uint8 class indices.
        header: of the case's scan: its geometry is taken over to the bit. None: BraTS's own for the affine.
        out: the output folder.
    """
    path = segmentation_path(case, out)
    data = nifti_bytes(NAMINGS[case.meta["naming"]].to_disk(labels), case.affine)
    if header is not None:
        own = nib.Nifti1Header(bytes(data[: nib.Nifti1Header.sizeof_hdr]), endianness="<")
        for key in _GEOMETRY:
            own[key] = header[key]
        own["pixdim"][:4] = header["pixdim"][:4]  # the first is the handedness of the quaternion
        data[: own.sizeof_hdr] = own.binaryblock
    packed = gzip_bytes(data)
    with atomic_folder(path.parent) as folder:
        (folder / path.name).write_bytes(packed)
    return {str(path.relative_to(out)): sha256(packed).hexdigest()}


def read_segmentation(case: Case, out: Path) -> np.ndarray:
    """What `write_segmentation` wrote for a case, (X, Y, Z) uint8 class indices.

    Raises:
        OutputError: it is not there, or damaged.
    """
    path = segmentation_path(case, out)
    try:
        return NAMINGS[case.meta["naming"]].from_disk(np.asanyarray(nib.load(path).dataobj))
    except Exception as error:
        raise OutputError(f"{path}: cannot be read back ({error}); run again with --resume.") from error


def segmentation_path(case: Case, out: Path) -> Path:
    """Where the segmentation of a case goes."""
    return case_path(out, case.id) / (NAMINGS[case.meta["naming"]].stem(case.id, "seg") + ".nii.gz")
