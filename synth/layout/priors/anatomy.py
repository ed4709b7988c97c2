"""How brains differ: statistics of the deformations that take the atlas to real tissue maps.

Fitted by `benchmarks/fit_anatomy_prior.py` on the 12 training cases and their mirror images. Few numbers are kept,
none of them a case: the mean, the leading directions with their spread, and the strength of all the rest.
"""

from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

import numpy as np

from synth.errors import LayoutError
from synth.layout.space import MIDLINE

SHIPPED = Path(__file__).parent / "weights" / "anatomy_prior.npz"
REACH = 2.2  # standard deviations of a factor: beyond, a brain fitted on twelve is made up
TISSUE_REACH = 1.6  # the same for tissue weights: the twelve brains' shares have short tails
_MIDDLE_KEPT, _MIDDLE_MM = 0.25, 30.0  # what is left of sideways shifts at the falx, and how fast they come back
_SIDEWAYS, _SIDEWAYS_KEPT = (1, 2, 9), 0.5  # the affine's numbers that tilt or shift the falx; much of it tumours' push


@dataclass(frozen=True)
class Lattice:
    """Control points of the cubic B-splines: origin and step in voxels as in `SplineField`, and their counts."""

    origin: tuple[float, float, float]
    step: tuple[float, float, float]
    shape: tuple[int, int, int]

    def finer(self) -> "Lattice":
        """Twice as many cells over the same place."""
        return Lattice(self.origin, tuple(s / 2 for s in self.step), tuple(2 * n - 3 for n in self.shape))

    def positions(self, axis: int) -> np.ndarray:
        """Voxel index of each control along an axis."""
        return self.origin[axis] + self.step[axis] * (np.arange(self.shape[axis]) - 1)


LATTICE = Lattice((MIDLINE - 80, 20.0, 0.0), (20.0, 20.0, 20.0), (11, 13, 11))
"""Symmetric about the falx, so that a brain's mirror image has controls at the same places."""

CENTRE = np.array([MIDLINE, 120.0, 75.0])  # voxels: the affine's fixed point


@dataclass(frozen=True)
class Draw:
    """One brain's numbers.

    Attributes:
        affine: (12,) as `AnatomyPrior.affine_mean`.
        shape: (k,) standard deviations along each direction of the deformation.
        tissue: (2,) logarithms of the CSF's and white matter's weight.
    """

    affine: np.ndarray
    shape: np.ndarray
    tissue: np.ndarray


@dataclass(frozen=True)
class Standing:
    """Where a brain stands among others, in standard deviations of a prior.

    Attributes:
        affine: (j,) along the directions of size, proportions and tilt.
        shape: (k,) along the directions of the deformation.
    """

    affine: np.ndarray
    shape: np.ndarray


@dataclass(frozen=True)
class AnatomyPrior:
    """A distribution of anatomies; lengths in voxels of 1 mm.

    Attributes:
        affine_mean: (12,) backward matrix minus identity in percent, row by row, then the shift, about `CENTRE`.
        affine_factors: (j, 12) directions times their spread.
        mean: (gx, gy, gz, 3) controls on `LATTICE` of the mean displacement.
        factors: (k, gx, gy, gz, 3) directions times their spread.
        rest: (3,) standard deviation, per component, of the controls that the directions leave unexplained.
        tissue_mean: (2,) mean logarithm of the CSF's and white matter's weight.
        tissue_factors: (2, 2) their directions times spread.
        bias: (2, a, b, c) added to the atlas's log ratios (CSF, white matter) on a coarse grid over its box.
    """

    affine_mean: np.ndarray
    affine_factors: np.ndarray
    mean: np.ndarray
    factors: np.ndarray
    rest: np.ndarray
    tissue_mean: np.ndarray
    tissue_factors: np.ndarray
    bias: np.ndarray

    def draw(self, rng: np.random.Generator) -> Draw:
        """The numbers of a brain; normal, cut at `REACH`."""
        place = self.deviations(rng)
        affine = with_upright_falx(self.affine_mean + place.affine @ self.affine_factors)
        tissue = self.tissue_mean + _normal(rng, len(self.tissue_factors), TISSUE_REACH) @ self.tissue_factors
        return Draw(affine, place.shape, tissue)

    def deviations(self, rng: np.random.Generator) -> "Standing":
        """Where a drawn brain stands, its tissue left out."""
        return Standing(_normal(rng, len(self.affine_factors)), _normal(rng, len(self.factors)))

    def controls(self, shape, rest: np.ndarray) -> np.ndarray:
        """(gx, gy, gz, 3) controls of a brain on `LATTICE`: mean, directions, and `rest` (standard normal)."""
        moved = np.tensordot(np.asarray(shape, float), self.factors, 1) + rest * self.rest
        return self.mean + with_still_middle(moved)

    def save(self, path: Path = SHIPPED) -> None:
        """Write half-precision numbers."""
        path.parent.mkdir(exist_ok=True)
        np.savez_compressed(path, **{spec.name: getattr(self, spec.name).astype(np.float16) for spec in fields(self)})

    @classmethod
    def load(cls, path: Path = SHIPPED) -> "AnatomyPrior":
        """The prior of a file written by `save`.

        Raises:
            LayoutError: the file is missing or damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as stored:
                return cls(**{spec.name: stored[spec.name].astype(float) for spec in fields(cls)})
        except (OSError, ValueError, KeyError) as error:
            raise LayoutError(f"{path}: expected the prior of anatomies ({error}); install synth again.") from error


def affine_map(numbers) -> tuple[np.ndarray, np.ndarray]:
    """Matrix and offset, output voxel to source voxel, of an `AnatomyPrior.affine_mean` or the like."""
    numbers = np.asarray(numbers, float)
    matrix = np.eye(3) + numbers[:9].reshape(3, 3) / 100
    return matrix, numbers[9:] + CENTRE - matrix @ CENTRE


@cache
def shipped_prior() -> AnatomyPrior:
    """The prior in the wheel."""
    return AnatomyPrior.load()


def mirrored_field(controls: np.ndarray) -> np.ndarray:
    """The field on `LATTICE` of the mirror image."""
    return controls[::-1] * np.array([-1.0, 1.0, 1.0])


def with_upright_falx(affine: np.ndarray) -> np.ndarray:
    """The 12 numbers of an affine with less of what tilts the falx or shifts it sideways."""
    out = affine.copy()
    out[[*_SIDEWAYS]] *= _SIDEWAYS_KEPT
    return out


def with_still_middle(controls: np.ndarray) -> np.ndarray:
    """`controls` with little sideways shift of the falx, which stays where midline rules expect it."""
    even = 0.5 * (controls[..., 0] + controls[::-1, ..., 0])  # the part that shifts rather than widens
    away = np.abs(LATTICE.positions(0) - MIDLINE) / _MIDDLE_MM
    fade = (1 - _MIDDLE_KEPT) * np.exp(-0.5 * away**2)
    out = controls.copy()
    out[..., 0] -= fade[:, None, None] * even
    return out


def refined(controls: np.ndarray) -> np.ndarray:
    """The same cubic B-spline field on `Lattice.finer()`: exact knot insertion, axis by axis."""
    for axis in range(3):
        controls = np.moveaxis(controls, axis, 0)
        out = np.empty((2 * len(controls) - 3, *controls.shape[1:]))
        out[0::2] = (controls[:-1] + controls[1:]) / 2
        out[1::2] = (controls[:-2] + 6 * controls[1:-1] + controls[2:]) / 8
        controls = np.moveaxis(out, 0, axis)
    return controls


def _normal(rng: np.random.Generator, count: int, reach: float = REACH) -> np.ndarray:
    return np.clip(rng.standard_normal(count), -reach, reach)
