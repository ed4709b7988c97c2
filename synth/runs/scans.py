"""Scans of any origin to be segmented (BraTS folders, synth's HDF5), and segmentations written on their very grid."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path

import nibabel as nib
import numpy as np

from synth.brats import MODALITIES, NAMINGS
from synth.case import Case
from synth.datasets.cases import find_cases, read_case
from synth.disk.files import atomic_folder, case_path, sha256_file
from synth.errors import DataError, OutputError, printable
from synth.exporters.deflate import gzip_bytes
from synth.exporters.hdf5_cases import is_hdf5, open_cases
from synth.exporters.nifti import nifti_bytes

_GEOMETRY = (
    *("qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
    *("srow_x", "srow_y", "srow_z", "xyzt_units"),
)


@dataclass(frozen=True)
class Scan:
    """One case to segment, not read yet.

    Attributes:
        id: of the case.
        read: gives the Case, `meta["naming"]` the convention of its labels.
        checksum: gives the SHA-256 of what `read` reads.
        header: gives the header of its scan; None where it has none of its own (HDF5).
    """

    id: str
    read: Callable[[], Case]
    checksum: Callable[[], str]
    header: Callable[[], nib.Nifti1Header | None]


def find_scans(path: str | Path) -> list[Scan]:
    """The cases of a folder, sorted by id; BraTS files, or synth's HDF5.

    Raises:
        DataError: no such folder, no case in it, or one without all modalities.
    """
    path = Path(path)
    if is_hdf5(path):
        cases = open_cases(path)

        def read(name: str) -> Case:
            packed = cases.load(name)
            case = packed.unpack()
            if not case.brain.any():
                raise DataError(f"{path}: case {printable(name)} is 0 everywhere; expected a brain: exclude it.")
            return replace(case, meta={"naming": packed.naming})

        return [Scan(i, partial(read, i), lambda i=i: cases.load(i).digest, lambda: None) for i in cases.ids]
    found = find_cases(path)
    for files in found:
        if not set(MODALITIES) <= set(files.paths):
            read_case(files, labels="ignore")  # raises its sentence now, not when the cases before it are done
    return [
        Scan(
            files.id,
            partial(read_case, files, labels="optional"),
            lambda files=files: _checksum(files.paths[name] for name in sorted(files.paths)),
            lambda files=files: nib.load(files.paths["t1"]).header,
        )
        for files in found
    ]


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


def _checksum(paths: Iterable[Path]) -> str:
    """SHA-256 over the contents of files."""
    return sha256("".join(sha256_file(path) for path in paths).encode()).hexdigest()
