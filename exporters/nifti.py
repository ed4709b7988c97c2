"""NIfTI as BraTS has it: one folder per case, five `.nii.gz` in it, int16 intensities and uint8 labels.

The header is that of the BraTS intensity files, for intensities and labels alike: sform code 1 (scanner), qform
code 2 (aligned), both saying the same, units mm. Its `descrip` says that a case is synthetic, so that a file that was
copied out of its set still does. Bytes depend on the voxels, the affine, synth's version and `deflate.COMPRESSOR` only:
no time stamp, no file name, no thread count.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from hashlib import sha256
from pathlib import Path

import nibabel as nib
import numpy as np

from synth import __version__
from synth.brats import MODALITIES, NAMINGS, Naming
from synth.case import Case
from synth.disk.files import atomic_folder, atomic_write, case_path, changed_files
from synth.errors import OutputError
from synth.exporters.deflate import gzip_bytes

INT16_MAX = 32767
PROVENANCE = f"synth {__version__} synthetic"  # what a painted file says of itself
_SYNTHETIC = re.compile(rb"synth \S+ synthetic")


class NiftiExporter:
    """Write cases as `<out>/<id>/<id>_{t1,t1ce,t2,flair,seg}.nii.gz` (or the names of 2023).

    A case's folder appears when all its files are complete. Their headers say that they are synthetic.

    Args:
        out: folder that receives one folder per case.
        naming: file names and label values.
        threads: files compressed at the same time; changes the speed, never the bytes.
    """

    name = "nifti"

    def __init__(self, out: str | os.PathLike, *, naming: Naming = NAMINGS["brats2020"], threads: int = 2):
        self.out = Path(out)
        self.naming = naming
        self._threads = threads
        self._pool = ThreadPoolExecutor(max(1, threads), thread_name_prefix="nifti")

    def write(self, case: Case) -> dict[str, str]:
        """Write one case; return the SHA-256 of each file by its path relative to `out`.

        Raises:
            OutputError: the disk is full, or the folder cannot be written.
        """
        volumes = {m: (lambda i=i: to_int16(case.images[..., i])) for i, m in enumerate(MODALITIES)}
        if case.labels is not None:
            volumes["seg"] = lambda: self.naming.to_disk(case.labels)
        with atomic_folder(case_path(self.out, case.id)) as folder:
            jobs = {}
            for modality, volume in volumes.items():
                path = folder / (self.naming.stem(case.id, modality) + ".nii.gz")
                jobs[path.name] = self._pool.submit(_encode_to, path, volume, case.affine)
            wait(jobs.values())  # all, also when one fails: none may still write into a folder that is being removed
            sums = {name: job.result() for name, job in jobs.items()}
        return {f"{case.id}/{name}": digest for name, digest in sums.items()}

    def read(self, case_id: str) -> Case:
        """The case as it was written.

        Raises:
            OutputError: it is not there, or damaged.
        """
        images, labels, affine = [], None, None
        folder = self.out / case_id
        try:
            for modality in MODALITIES:
                image = nib.load(folder / (self.naming.stem(case_id, modality) + ".nii.gz"))
                images.append(np.asanyarray(image.dataobj))
                affine = image.affine
            seg = folder / (self.naming.stem(case_id, "seg") + ".nii.gz")
            if seg.exists():
                labels = self.naming.from_disk(np.asanyarray(nib.load(seg).dataobj))
        except Exception as error:
            raise OutputError(f"{folder}: case cannot be read back ({error}); write it again.") from error
        return Case(case_id, np.stack(images, -1), labels, affine, {"naming": self.naming.name})

    @staticmethod
    def names(out: Path, ids: Iterable[str], naming: Naming) -> set[str]:
        """The files of these cases, relative to `out`."""
        parts = (*MODALITIES, "seg")
        return {f"{case_id}/{naming.stem(case_id, part)}.nii.gz" for case_id in ids for part in parts}

    def elsewhere(self) -> "NiftiExporter":
        """What writes cases in other processes: it is picklable, and cases are in folders of their own."""
        return self

    def __reduce__(self) -> tuple:
        """Another process has threads of its own."""
        return partial(NiftiExporter, naming=self.naming, threads=self._threads), (self.out,)

    def verify(self, files: Mapping[str, str]) -> list[str]:
        """What is wrong with the files of one manifest record, a sentence each; empty when they are as written."""
        return changed_files(self.out, files)

    def close(self) -> None:
        """Stop the threads; every case returned by `write` is on the disk already."""
        self._pool.shutdown()

    def __enter__(self) -> "NiftiExporter":
        """Return the exporter itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close."""
        self.close()


def write_nifti(
    path: str | os.PathLike, array: np.ndarray, affine: np.ndarray, dtype=None, *, note: str = "", small: bool = False
) -> str:
    """Write one volume as NIfTI-1, whole or not at all; return the SHA-256 of the file's bytes.

    Args:
        path: ends in `.nii.gz` or `.nii`.
        array: (X, Y, Z) values, stored as they are (no scaling) in `dtype`.
        affine: (4, 4) voxel to mm; stored to the bit of float32.
        dtype: type on disk; the array's own if None.
        note: the header's `descrip`.
        small: compress further (`deflate.gzip_bytes`).

    Raises:
        OutputError: the disk is full, the path has another ending, or the type is none of NIfTI's.
    """
    data = nifti_bytes(array, affine, dtype, note)
    if str(path).endswith(".gz"):
        data = gzip_bytes(data, small=small)
    elif not str(path).endswith(".nii"):
        raise OutputError(f"{path}: expected a name ending in .nii.gz or .nii.")
    with atomic_write(path) as handle:
        handle.write(data)
    return sha256(data).hexdigest()


def to_int16(image: np.ndarray) -> np.ndarray:
    """Intensities as they go to disk: rounded to the nearest whole number, cut to 0..32767, int16."""
    if image.dtype == np.int16:
        return image if image.min(initial=0) >= 0 else np.maximum(image, 0)
    rounded = np.rint(image)
    return np.clip(rounded, 0, INT16_MAX, out=rounded).astype(np.int16)


def is_synthetic(header: nib.Nifti1Header) -> bool:
    """Whether a header says that synth painted the file."""
    return "descrip" in header and _SYNTHETIC.match(bytes(header["descrip"].item())) is not None


def nifti_bytes(array: np.ndarray, affine: np.ndarray, dtype=None, note: str = "") -> bytearray:
    """An uncompressed NIfTI-1 file: header (`note` is its `descrip`), four empty bytes, voxels in Fortran order."""
    dtype = np.dtype(dtype or array.dtype)
    header = nifti_header(array.shape, dtype, affine)
    header["descrip"] = note.encode()
    start = int(header["vox_offset"])
    data = bytearray(start + array.size * dtype.itemsize)  # zeros: only the box around the brain needs copying
    data[: header.sizeof_hdr] = header.binaryblock
    voxels = np.frombuffer(data, dtype.newbyteorder("<"), offset=start).reshape(array.shape, order="F")
    box = _box(array)
    voxels[box] = array[box]
    return data


def nifti_parts(arrays: Sequence[np.ndarray], affine: np.ndarray, note: str = "") -> Iterator[bytes | np.ndarray]:
    """An uncompressed NIfTI-1 file with four axes as it comes: what stands before the voxels, then each volume.

    Args:
        arrays: (X, Y, Z) volumes of one shape and type.
        affine: (4, 4) voxel to mm.
        note: the header's `descrip`.
    """
    dtype = arrays[0].dtype
    header = nifti_header((*arrays[0].shape, len(arrays)), dtype, affine)
    header["descrip"] = note.encode()
    yield header.binaryblock + bytes(int(header["vox_offset"]) - header.sizeof_hdr)
    for array in arrays:
        yield array.astype(dtype.newbyteorder("<"), copy=False).ravel(order="F")


def nifti_header(shape: tuple[int, ...], dtype: np.dtype, affine: np.ndarray) -> nib.Nifti1Header:
    """The little-endian header of a BraTS intensity file for this shape, type and affine."""
    if not np.linalg.det(affine[:3, :3]):
        raise OutputError(f"the affine {np.asarray(affine).tolist()} maps the volume to a plane; correct it.")
    header = nib.Nifti1Header(endianness="<")
    try:
        header.set_data_dtype(dtype)
    except nib.spatialimages.HeaderDataError as error:
        raise OutputError(f"NIfTI holds no voxels of type {dtype}; convert them to int16, uint8 or float32.") from error
    header.set_data_shape(shape)
    header["regular"] = b"r"
    header["vox_offset"] = header.single_vox_offset
    header["magic"] = header.single_magic
    header["pixdim"][len(shape) + 1 :] = 0  # as in BraTS; nibabel says 1 for axes that do not exist
    header["scl_slope"], header["scl_inter"] = 1, 0
    header.set_xyzt_units("mm")
    header.set_sform(affine, code="scanner")
    header.set_qform(affine, code="aligned", strip_shears=True)
    if not np.allclose(header.get_qform(), affine, atol=1e-3):
        header["qform_code"] = 0  # a sheared affine has no quaternion: better none than a wrong one
    return header


def _encode_to(path: Path, volume, affine: np.ndarray) -> str:
    """Fetch, encode and write one volume inside a folder that is not visible yet; return its SHA-256."""
    data = gzip_bytes(nifti_bytes(volume(), affine, note=PROVENANCE))
    path.write_bytes(data)
    return sha256(data).hexdigest()


def _box(array: np.ndarray) -> tuple[slice, ...]:
    """The smallest box that holds all values other than zero."""
    box = []
    for axis in range(array.ndim):
        hit = np.flatnonzero(array.any(axis=tuple(a for a in range(array.ndim) if a != axis)))
        box.append(slice(int(hit[0]), int(hit[-1]) + 1) if hit.size else slice(0, 0))
    return tuple(box)
