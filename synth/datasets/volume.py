"""One NIfTI volume, read with suspicion: the header is judged before memory is taken for the voxels.

Nothing in the file is believed: the shape the header claims has to be the grid that was asked for, never more bytes
than that are unpacked (so a gzip bomb stays packed), and the file has to end, checksum included, where the header
says it does. Each refusal is one sentence: what was expected, what was found, what to do.
"""

import math
import os
import stat
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import nibabel as nib
import numpy as np

from synth.brats import AFFINE, GRID, SPACING
from synth.datasets.grids import spacing_of
from synth.disk.files import regular
from synth.errors import FileError, printable
from synth.exporters.deflate import DAMAGED, open_gzip

_GZIP_MAGIC = b"\x1f\x8b"
LONGEST = 512  # voxels along an axis where any grid will do: twice what a head at 1 mm needs
_LONGEST_HEADER = 1 << 24  # bytes before the voxels; real ones have up to 11 kB of processing history
_TOLERANCE = 1e-3  # mm; headers hold float32 and rotations that went through a quaternion
_ONE_PLACE = 1.0  # mm between qform and sform, up to which programs that go by the one or the other agree
_AGAIN = "copy or download it again"
_DAMAGED = f"the header is damaged, {_AGAIN}"
_RESAMPLE = "resample the case to the BraTS grid, or give --resample"


@dataclass(frozen=True)
class Volume:
    """The voxels of one file, scaled as its header says, and where they are.

    Attributes:
        array: (X, Y, Z), Fortran order as on disk, native byte order; the type of the file, float32 where it scales.
        affine: (4, 4) float64, voxel to mm; NaN where the header's cannot be understood.
        spacing: voxel size in mm as the header states it apart from the affine.
        placed: whether the header has an affine at all (qform or sform code above 0).
        qform: (4, 4) float64, the header's other affine where it has two (`affine` is then the sform); NaN where it
            cannot be understood.
        scaled: the slope and intercept that the voxels went through; None where the header scales nothing.
    """

    array: np.ndarray
    affine: np.ndarray
    spacing: tuple[float, float, float]
    placed: bool
    qform: np.ndarray | None = None
    scaled: tuple[float, float] | None = None


class _UnfitError(Exception):
    """Why a file is refused; `read_volume` adds which file."""


def read_volume(path: str | os.PathLike, grid: tuple[int, int, int] | None = GRID) -> Volume:
    """Read a `.nii` or `.nii.gz` volume whose shape is `grid`; None: any three axes that a head scan may have.

    Raises:
        FileError: the file cannot be opened, is no NIfTI, is cut off or damaged, holds something else than one real
            number per voxel, or its header claims another shape. Position and spacing are not judged here, see
            `geometry_problems`.
    """
    try:
        with _opened(path) as stream:
            header, used = _header(stream)
            dtype, start, shape = _claims(header, grid and tuple(grid))
            stream.read(start - used)
            array = _voxels(stream, dtype, shape)
        scaled = _scaling(header)
        return Volume(_scaled(array, scaled), *_placement(header), scaled)
    except _UnfitError as problem:
        raise FileError(path, str(problem)) from None
    except DAMAGED as error:
        raise FileError(path, f"the compressed data are damaged or cut off ({error}); {_AGAIN}.") from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise FileError(path, f"cannot be read ({reason}); check the file, its permissions and its links.") from error


def open_image(path: str | os.PathLike) -> nib.spatialimages.SpatialImage:
    """The image in a file as nibabel opens it, its header alone read.

    Raises:
        FileError: nibabel stumbles over it, in whatever way; or it is no regular file.
    """
    try:
        return nib.load(regular(path))
    except Exception as error:  # damaged headers raise nearly everything: OverflowError, for a place at infinity
        reason = printable(getattr(error, "strerror", None) or error)
        raise FileError(path, f"cannot be read ({reason}); {_AGAIN}.") from error


def geometry_problems(volume: Volume) -> list[str]:
    """Where a volume breaks the BraTS geometry (1 mm voxels, axes to the left, back and up); a sentence each."""
    if unknown := affine_problem(volume):
        return [unknown]
    problems = []
    in_affine = _affine_spacing(volume)
    for source, present in (("affine", in_affine), ("voxel size", volume.spacing)):
        if not problems and not np.allclose(present, SPACING, atol=_TOLERANCE):
            problems.append(
                f"expected voxels of 1 x 1 x 1 mm, found {' x '.join(f'{v:.4g}' for v in present)} mm in the header's "
                f"{source}; {_RESAMPLE}."
            )
    axes = "".join(code or "?" for code in nib.aff2axcodes(volume.affine))
    expected = "".join(nib.aff2axcodes(AFFINE))
    if axes != expected:
        problems.append(
            f"expected voxel axes {expected} (as BraTS has them), found {axes}; reorient all its files, or give "
            "--resample."
        )
    elif not problems and not np.allclose(volume.affine[:3, :3], AFFINE[:3, :3], atol=_TOLERANCE):
        problems.append(f"its axes are oblique; expected the straight axes of BraTS: {_RESAMPLE}.")
    return problems


def affine_problem(volume: Volume) -> str | None:
    """One sentence where a header does not tell where its voxels are, on any grid."""
    if not volume.placed:
        return (
            "the header says nothing about orientation (qform and sform code 0); expected the BraTS affine: "
            "copy the header of the original scan."
        )
    if not np.isfinite(volume.affine).all():
        return "the header's affine is not made of finite numbers; copy the header of the original scan."
    return None


def spacing_problem(volume: Volume) -> str | None:
    """One sentence where the header's two voxel sizes, its affine's and its own, differ or are no sizes."""
    in_affine = _affine_spacing(volume)
    whole = abs(np.linalg.det(volume.affine[:3, :3])) > 0.5 * np.prod(in_affine) > 0  # else two axes are nearly one
    if whole and np.allclose(in_affine, volume.spacing, rtol=1e-2):
        return None
    sizes = (" x ".join(f"{v:.4g}" for v in size) for size in (in_affine, volume.spacing))
    return "the header's affine has voxels of {} mm, its voxel size says {} mm; correct the header.".format(*sizes)


def placement_problem(volume: Volume) -> str | None:
    """One sentence where the header's two affines put the scan in different places; None where they agree.

    Nibabel goes by the sform. ITK (and so ITK-SNAP and nnU-Net) goes by the qform, in newer versions
    (5.4 is one) by the sform where its code is 1.
    """
    if volume.qform is None or not np.isfinite(volume.affine).all():
        return None
    if not np.isfinite(volume.qform).all():
        return (
            "the header's qform cannot be understood; the sform is followed here, programs built on ITK may refuse the "
            "file: set both to one affine."
        )
    corners = np.array(np.meshgrid(*((0, n - 1) for n in volume.array.shape), indexing="ij")).reshape(3, -1)
    apart = volume.qform[:3, :3] @ corners + volume.qform[:3, 3:]
    apart -= volume.affine[:3, :3] @ corners + volume.affine[:3, 3:]
    if (most := np.linalg.norm(apart, axis=0).max()) <= _ONE_PLACE:
        return None
    ours, theirs = ("".join(code or "?" for code in nib.aff2axcodes(a)) for a in (volume.affine, volume.qform))
    axes = f", and its axes along {theirs} instead of {ours}" if ours != theirs else ""
    return (
        f"the header's qform puts voxels up to {most:.4g} mm from where its sform has them{axes}; the sform is "
        "followed here, programs built on ITK may place the file by the other: set both to the right one."
    )


def _affine_spacing(volume: Volume) -> tuple[float, float, float]:
    x, y, z = spacing_of(volume.affine)
    return float(x), float(y), float(z)


def same_place(a: Volume, b: Volume) -> bool:
    """Whether two volumes of one shape cover the same voxels in the world, within a thousandth of a mm."""
    return np.allclose(a.affine, b.affine, atol=_TOLERANCE, equal_nan=True)


@contextmanager
def _opened(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """The plain bytes of the file, unpacked on the fly; links are followed, anything but a file is refused."""
    mode = os.stat(path)
    if stat.S_ISDIR(mode.st_mode):
        raise _UnfitError("expected a file, found a folder; put the file itself here.")
    if not stat.S_ISREG(mode.st_mode):
        raise _UnfitError("expected a file, found a device or pipe; put the file itself here.")
    if mode.st_size == 0:
        raise _UnfitError("the file is empty (0 bytes); copy or download it again.")
    with open(path, "rb") as raw:
        packed = raw.read(2) == _GZIP_MAGIC
        raw.seek(0)
        if packed != os.fspath(path).lower().endswith(".gz"):
            raise _UnfitError(
                "the name says .nii.gz, but the file is not gzip-compressed; rename it to .nii if it is whole, "
                "or download it again."
                if not packed
                else "the name says .nii, but the file is gzip-compressed; rename it to .nii.gz."
            )
        if not packed:
            yield raw
            return
        with open_gzip(raw) as stream:
            yield stream


def _header(stream: BinaryIO) -> tuple[nib.Nifti1Header, int]:
    """The header of a NIfTI-1 or -2 file and its length in bytes."""
    block = stream.read(348)
    if len(block) < 348:
        raise _UnfitError(f"the file ends inside its header, after {len(block)} bytes; it was cut off, {_AGAIN}.")
    for kind, endianness in ((k, e) for k in (nib.Nifti1Header, nib.Nifti2Header) for e in "<>"):
        if int.from_bytes(block[:4], "little" if endianness == "<" else "big") == kind.sizeof_hdr:
            block += stream.read(kind.sizeof_hdr - len(block))
            break
    else:
        raise _UnfitError(f"this is no NIfTI file (it begins with {block[:8]!r}); download or convert it again.")
    if len(block) < kind.sizeof_hdr:
        raise _UnfitError(f"the file ends inside its header, after {len(block)} bytes; it was cut off, {_AGAIN}.")
    header = kind(block, endianness=endianness, check=False)
    magic = header["magic"].item()
    if magic != kind.single_magic:
        known = "the header of a two-file NIfTI (.hdr and .img)" if magic == kind.pair_magic else f"magic {magic!r}"
        raise _UnfitError(
            f"expected a single-file NIfTI (magic {kind.single_magic!r}), found {known}; convert it to .nii.gz."
        )
    return header, len(block)


def _claims(header: nib.Nifti1Header, grid: tuple[int, int, int] | None) -> tuple[np.dtype, int, tuple]:
    """Type of the voxels, the byte they start at and their shape, after judging all that the header claims of size."""
    try:
        dtype = header.get_data_dtype()
    except (KeyError, nib.spatialimages.HeaderDataError):
        raise _UnfitError(f"unknown voxel type {int(header['datatype'])} in the header; {_DAMAGED}.") from None
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        name = "RGB colours" if dtype.names else f"{dtype.name} numbers"
        raise _UnfitError(f"expected one real number of up to 64 bits per voxel, found {name}; convert it to int16.")
    dimensions = int(header["dim"][0])
    if not 1 <= dimensions <= 7:
        raise _UnfitError(f"the header claims {dimensions} dimensions, NIfTI has 1 to 7; {_DAMAGED}.")
    shape = tuple(int(n) for n in header["dim"][1 : dimensions + 1])
    while len(shape) > 3 and shape[-1] == 1:  # some programs write one volume as a series of one
        shape = shape[:-1]
    if shape != grid if grid else len(shape) != 3 or not 1 <= min(shape) <= max(shape) <= LONGEST:
        present = "x".join(map(str, shape))
        size = math.prod(shape) * dtype.itemsize
        bulk = f" ({size / 1e9:.3g} GB; nothing was read)" if size > 1e9 else ""
        advice = "register the case to the BraTS grid, or give --resample" if grid else "crop or resample it"
        if len(shape) > 3:
            advice = "split it into one file per modality"
        if bulk or min(shape) < 1:
            advice = _DAMAGED
        wanted = f"{'x'.join(map(str, grid))} voxels" if grid else f"three axes of at most {LONGEST} voxels"
        raise _UnfitError(f"expected {wanted}, the header says {present}{bulk}; {advice}.")
    start = float(header["vox_offset"]) or header.single_vox_offset
    if not header.sizeof_hdr <= start <= _LONGEST_HEADER or start != int(start):  # NaN fails too
        raise _UnfitError(f"the header says that the voxels begin at byte {start:g}, which cannot be; {_DAMAGED}.")
    return dtype, int(start), shape


def _voxels(stream: BinaryIO, dtype: np.dtype, grid: tuple[int, int, int]) -> np.ndarray:
    """The voxels, which have to be all that is left of the stream."""
    array = np.empty(grid, dtype, order="F")
    view = memoryview(array.ravel(order="K").view(np.uint8))
    got = 0
    while got < len(view) and (n := stream.readinto(view[got:])):
        got += n
    if got < len(view):
        raise _UnfitError(
            f"the header promises {len(view)} bytes of voxels, the file holds {got}; it was cut off, {_AGAIN}."
        )
    if stream.read(1):  # at the end of a gzip file this also compares the checksum
        raise _UnfitError(
            f"the file goes on after the {len(view)} bytes of voxels that its header promises; "
            f"one of the two is wrong, {_AGAIN}."
        )
    return array if dtype.isnative else array.astype(dtype.newbyteorder("="))


def _scaling(header: nib.Nifti1Header) -> tuple[float, float] | None:
    """Slope and intercept; a slope of 0 or NaN means none, by the standard."""
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if not math.isfinite(slope) or slope == 0 or (slope, intercept) == (1, 0):
        return None
    if not math.isfinite(intercept):
        raise _UnfitError(f"the header scales the voxels by an intercept of {intercept}; {_DAMAGED}.")
    return slope, intercept


def _scaled(array: np.ndarray, scaling: tuple[float, float] | None) -> np.ndarray:
    if scaling is None:
        return array
    slope, intercept = scaling
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is reported as Inf
        return (array * slope + intercept).astype(np.float32)


def _placement(header: nib.Nifti1Header) -> tuple[np.ndarray, tuple[float, float, float], bool, np.ndarray | None]:
    """Affine, spacing, whether there is an affine, and the qform where there is an sform too."""
    codes = int(header["sform_code"]), int(header["qform_code"])
    affine = _affine(header.get_best_affine)
    qform = _affine(header.get_qform) if min(codes) > 0 else None
    x, y, z = (abs(float(v)) for v in header["pixdim"][1:4])
    return affine, (x, y, z), max(codes) > 0, qform


def _affine(get: Callable[[], np.ndarray]) -> np.ndarray:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return get().astype(np.float64)
        except (ValueError, nib.spatialimages.HeaderDataError):  # a quaternion that is none
            return np.full((4, 4), np.nan)
