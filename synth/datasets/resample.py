"""Scans of another size, spacing or orientation: brought to the BraTS grid, and labels taken back to theirs.

Where the header puts the brain about where BraTS has it, the header is followed. Otherwise (scanner coordinates,
another template's origin) the scan is moved rigidly: onto the atlas's centre, and turned too where the head lies askew.
Real cases lie up to 18 degrees and 16 mm from the atlas (24 cases, `benchmarks/other_grids.py`), which is left alone.
"""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import nibabel as nib
import numpy as np

from synth.brats import AFFINE, GRID
from synth.datasets.atlas_fit import AtlasFit, fit_to_atlas, overlap, turned
from synth.datasets.grids import Landing, corners, landing, pull_labels, pull_scan, spacing_of
from synth.datasets.volume import Volume, geometry_problems, same_place
from synth.errors import DataError
from synth.layout.layout import bounding_box

BY_HEADER, SHIFTED, TURNED = "by the header", "shifted", "shifted and turned"  # how a scan was brought to the grid
HOME_MM, HOME_DEGREES = 25.0, 25.0  # from the atlas's brain, up to which a brain lies where BraTS has it
UPRIGHT_DEGREES = 8.0  # up to which a brain that has to be moved is only shifted; 22 of 24 real cases lie within
ALIGNED_MM = 15.0  # between the middles of a case's modalities; 0.4 in real ones
LEAST_OVERLAP = 0.75  # Dice of a brain with the atlas's, at its best place; of real ones 0.89-0.97
SURE_OVERLAP, BETTER_OVERLAP = 0.93, 0.02  # flipped, real ones reach 0.84-0.90, and at least 0.034 less than upright
MOST_ASKEW = 40.0  # degrees by which a head is turned back; what needs more has its axes in another order
SMALLEST_ML = 300.0
MOST_CUT = 0.03  # share of a brain outside the grid; BraTS itself cuts the lower brainstem off
Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Resampling:
    """How a scan was brought to the BraTS grid.

    Attributes:
        shape: of the scan's own grid, its t1's.
        affine: (4, 4), its voxels to mm as its header says.
        move: (4, 4) rigid, these mm to mm in the BraTS grid.
        done: `BY_HEADER` (`move` is the identity), `SHIFTED` or `TURNED`.
        cut: share of the brain that lies outside the BraTS grid and is lost, 0 to `MOST_CUT`.
    """

    shape: tuple[int, int, int]
    affine: Matrix
    move: Matrix
    done: str
    cut: float = 0.0

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Mm between the scan's own voxels."""
        x, y, z = spacing_of(np.array(self.affine)).tolist()
        return x, y, z

    @property
    def axes(self) -> str:
        """Where the scan's own axes point, such as RAS."""
        return "".join(nib.aff2axcodes(np.array(self.affine)))

    def sentence(self) -> str:
        """One line for the user: from what, and how."""
        size, voxel = "x".join(map(str, self.shape)), " x ".join(f"{mm:.4g}" for mm in self.spacing)
        move = np.array(self.move)
        how = {
            BY_HEADER: "placed by its header",
            SHIFTED: "shifted to where BraTS has the brain",
            TURNED: f"turned by {turned(move[:3, :3]):.0f} degrees and shifted to where BraTS has the brain",
        }[self.done]
        lost = f"; {self.cut:.1%} of the brain lies outside the grid and is left out" if self.cut else ""
        return f"resampled to the BraTS grid from {size} voxels of {voxel} mm ({self.axes}), {how}{lost}."

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON has it, with what a reader would have to work out."""
        return {
            "shape": list(self.shape),
            "spacing_mm": [round(mm, 6) for mm in self.spacing],
            "axes": self.axes,
            "affine": [list(row) for row in self.affine],
            "move": [list(row) for row in self.move],
            "done": self.done,
            "cut": self.cut,
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "Resampling":
        """From `to_dict`."""
        shape = tuple(record["shape"])
        return cls(shape, _matrix(record["affine"]), _matrix(record["move"]), record["done"], record["cut"])

    def seen_from(self, own: Volume) -> "Resampling":
        """The same move for another volume of the case: its grid instead of the t1's."""
        return Resampling(own.array.shape, _matrix(own.affine), self.move, self.done, self.cut)


def on_brats_grid(volumes: Mapping[str, Volume]) -> bool:
    """Whether all volumes have the size, spacing and axes of BraTS and one place, wherever that is."""
    first = next(iter(volumes.values()))
    return all(
        volume.array.shape == GRID and not geometry_problems(volume) and same_place(volume, first)
        for volume in volumes.values()
    )


def to_brats_grid(volumes: Mapping[str, Volume]) -> tuple[dict[str, np.ndarray], Resampling | None]:
    """Bring the volumes of a case to the BraTS grid (240x240x155, 1 mm, LPS, `brats.AFFINE`).

    Args:
        volumes: skull-stripped modalities, background 0 and nothing below, "t1" among them, and perhaps "seg" with
            class indices (`brats.Tumour`); placed, with finite affines, aligned in mm, on grids that may differ.

    Returns:
        The arrays by the same names, (240, 240, 155): background 0 and, within the brain, values between the lowest and
        the highest of the scan's own, float32 or (what was int16 with many levels) int16; "seg" uint8. And what was
        done; None where the case is on the grid and the brain in place: the arrays are then those that were given.

    Raises:
        DataError: the modalities do not lie on each other, the brain is no brain by its size or shape, or it does not
            fit the grid.
    """
    scans = {name: volume for name, volume in volumes.items() if name != "seg"}
    _require_alignment(scans)
    move, done = _move(volumes)
    if done is None:
        return {name: volume.array for name, volume in volumes.items()}, None
    t1 = volumes["t1"]
    cut = _share_outside(t1, move)
    if cut > MOST_CUT:
        size = " x ".join(f"{mm:.0f}" for mm in _extent(t1, move))
        raise DataError(
            f"the brain does not fit the BraTS grid: {cut:.0%} of it lies outside (it measures {size} mm); expected a "
            "skull-stripped brain: strip the skull, or correct the voxel size in the header."
        )
    arrays = _images(scans, move)
    if "seg" in volumes:
        seg = volumes["seg"]
        arrays["seg"] = pull_labels(seg.array, np.linalg.inv(move @ seg.affine) @ AFFINE, GRID)
    return arrays, Resampling(t1.array.shape, _matrix(t1.affine), _matrix(move), done, round(cut, 6))


def labels_to_grid(labels: np.ndarray, resampling: Resampling) -> np.ndarray:
    """Labels (uint8 class indices) from the scan's own grid to the BraTS grid."""
    return pull_labels(labels, np.linalg.inv(_own(resampling)) @ AFFINE, GRID)


def from_brats_grid(labels: np.ndarray, resampling: Resampling) -> np.ndarray:
    """Labels on the BraTS grid, (240, 240, 155) uint8 class indices, taken back to the scan's own grid.

    Returns:
        (X, Y, Z) uint8 of `resampling.shape`, in the order of the scan's own voxels.
    """
    return pull_labels(labels, np.linalg.inv(AFFINE) @ _own(resampling), resampling.shape)


def _own(resampling: Resampling) -> np.ndarray:
    """The scan's own voxels to mm in the BraTS grid."""
    return np.array(resampling.move) @ np.array(resampling.affine)


def _require_alignment(scans: Mapping[str, Volume]) -> None:
    """Refuse brains that are not where the t1's is, or that are too small to be one."""
    middles = {}
    for name, volume in scans.items():
        thin = volume.array[::2, ::2, ::2] != 0
        count, at = np.count_nonzero(thin), np.argwhere(thin)
        millilitres = 8 * count * abs(np.linalg.det(volume.affine[:3, :3])) / 1000
        if millilitres < SMALLEST_ML:
            raise DataError(
                f"the brain of the {name} measures {millilitres:.3g} ml by the header's voxels of "
                f"{' x '.join(f'{mm:.4g}' for mm in spacing_of(volume.affine))} mm; expected {SMALLEST_ML:.0f} ml or "
                "more: correct the header, or exclude the case."
            )
        middles[name] = volume.affine[:3, :3] @ (2 * at.mean(0)) + volume.affine[:3, 3]
    for name, middle in middles.items():
        if (away := np.linalg.norm(middle - middles["t1"])) > ALIGNED_MM:
            raise DataError(
                f"the brain of the {name} lies {away:.0f} mm from that of the t1 by their headers; expected whole, "
                "aligned modalities: register the files of the case to one another."
            )


def _move(volumes: Mapping[str, Volume]) -> tuple[np.ndarray, str | None]:
    """The scan's mm to mm in the BraTS grid, and how it was found; None: it is in place as it is."""
    t1 = volumes["t1"]
    if on_brats_grid(volumes):
        if np.allclose(t1.affine, AFFINE, atol=0.5):
            return np.eye(4), None
        voxelwise = AFFINE @ np.linalg.inv(t1.affine)
    else:
        voxelwise = None
    fit = _upright(t1)
    if voxelwise is not None and _at_home(fit, voxelwise):
        return voxelwise, None
    if _at_home(fit, np.eye(4)):
        move, done = np.eye(4), BY_HEADER
    elif turned(fit.move[:3, :3]) <= UPRIGHT_DEGREES:
        move, done = _shift(fit, t1.affine), SHIFTED
    else:
        move, done = fit.move, TURNED
    return move, done


def _upright(t1: Volume) -> AtlasFit:
    """Where a brain lies, refused where it is none or its header has the axes wrong (left and right apart)."""
    fit = fit_to_atlas(t1)
    best = overlap(t1, fit.move)
    if best < LEAST_OVERLAP:
        raise DataError(
            f"no place was found where the brain lies as the atlas's (Dice {best:.2f}, real ones have "
            f"{LEAST_OVERLAP} and more); make sure that it is whole and skull-stripped, and that the header's "
            "voxel size is right."
        )
    if (askew := turned(fit.move[:3, :3])) > MOST_ASKEW:
        raise DataError(
            f"by the header the head is turned by {askew:.0f} degrees (at most {MOST_ASKEW:.0f} are put right); "
            "its axes seem to be in another order: correct the header's orientation."
        )
    if best < SURE_OVERLAP:
        for axis, how in ((1, "back to front"), (2, "upside down")):
            mirror = np.eye(4)
            mirror[axis, axis] = -1
            flipped = replace(t1, affine=mirror @ t1.affine)
            if (other := overlap(flipped, fit_to_atlas(flipped).move)) > best + BETTER_OVERLAP:
                raise DataError(
                    f"by the header the brain is {how} (it then lies on the atlas's with Dice {best:.2f}, flipped with "
                    f"{other:.2f}); correct the header's orientation."
                )
    return fit


def _images(scans: Mapping[str, Volume], move: np.ndarray) -> dict[str, np.ndarray]:
    """The modalities on the BraTS grid; those that show the same voxels of the brain share the work."""
    places: list[tuple[Volume, Landing]] = []
    with ThreadPoolExecutor(2) as pool:  # scipy lets go of Python's lock
        jobs = {}
        for name, scan in scans.items():
            mask = scan.array != 0
            for other, known in places:
                if same_place(scan, other) and np.array_equal(mask, known.mask):
                    place = known
                    break
            else:
                place = landing(mask, np.linalg.inv(move @ scan.affine) @ AFFINE, GRID)
                places.append((scan, place))
            jobs[name] = pool.submit(pull_scan, scan.array, place)
        return {name: job.result() for name, job in jobs.items()}


def _at_home(fit: AtlasFit, move: np.ndarray) -> bool:
    degrees, mm = fit.apart(move)
    return degrees <= HOME_DEGREES and mm <= HOME_MM


def _shift(fit: AtlasFit, affine: np.ndarray) -> np.ndarray:
    """The move without its turn; rounded, so that voxels that are as those of BraTS are copied, not interpolated."""
    move = np.eye(4)
    move[:3, 3] = fit.centre - fit.source
    first = np.linalg.inv(AFFINE) @ move @ affine[:, 3]
    move[:3, 3] += AFFINE[:3, :3] @ (np.rint(first) - first)[:3]
    return move


def _share_outside(scan: Volume, move: np.ndarray) -> float:
    """Share of the brain whose voxels' centres lie outside the BraTS grid."""
    into = np.linalg.inv(AFFINE) @ move @ scan.affine
    at = 2 * np.argwhere(scan.array[::2, ::2, ::2] != 0)
    voxels = at @ into[:3, :3].T + into[:3, 3]
    inside = ((voxels > -1) & (voxels < np.array(GRID))).all(1)
    return 1 - np.count_nonzero(inside) / len(at)


def _extent(scan: Volume, move: np.ndarray) -> np.ndarray:
    """Mm that the brain's box measures along the axes of the BraTS grid."""
    ends = (move @ scan.affine)[:3, :3] @ corners(bounding_box(scan.array != 0))
    return np.ptp(ends, axis=1)


def _matrix(rows: Iterable[Iterable[float]]) -> Matrix:
    return tuple(tuple(float(value) for value in row) for row in rows)
