"""The Case: four modalities and, where known, the label map, on one grid."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from synth.brats import MODALITIES, Naming, Tumour
from synth.errors import DataError


@dataclass(frozen=True, repr=False)
class Case:
    """Four modalities of one brain and, where known, its tumour labels; it validates itself when made.

    Attributes:
        id: case id.
        images: (X, Y, Z, 4) int16 or float32, modalities in the order of `brats.MODALITIES`; background exactly 0.
        labels: (X, Y, Z) uint8 class indices (`brats.Tumour`), or None where unknown.
        affine: (4, 4) float64, voxel to mm.
        meta: anything that travels with the case (recipe of a synthetic one, naming of a read one).
    """

    id: str
    images: np.ndarray
    labels: np.ndarray | None
    affine: np.ndarray
    meta: dict = field(default_factory=dict, compare=False)

    def __repr__(self) -> str:
        """One line: id, size, type and what the tumour is made of."""
        grid = "x".join(map(str, self.images.shape[:3]))
        if self.labels is None:
            return f"Case({self.id!r}, {grid}, {self.images.dtype}, no labels)"
        counts = np.bincount(self.labels.ravel(), minlength=len(Tumour)) * self.voxel_ml
        tumour = ", ".join(f"{label.name} {counts[label]:.1f}" for label in Tumour if label)
        return f"Case({self.id!r}, {grid}, {self.images.dtype}, {tumour} ml)"

    def __post_init__(self) -> None:
        """Check shapes, values and agreement once; raise `DataError` naming the case."""
        if self.images.ndim != 4 or self.images.shape[-1] != len(MODALITIES):
            raise DataError(f"{self.id}: images must be (X, Y, Z, {len(MODALITIES)}), found {self.images.shape}.")
        if self.affine.shape != (4, 4) or not np.isfinite(self.affine).all():
            raise DataError(f"{self.id}: the affine must be 4x4 and finite, found shape {self.affine.shape}.")
        if self.images.dtype.kind == "f" and not np.isfinite(self.images).all():
            raise DataError(f"{self.id}: the images contain NaN or Inf; repair or exclude the scan.")
        if self.labels is None:
            return
        if self.labels.shape != self.images.shape[:3] or self.labels.dtype != np.uint8:
            raise DataError(
                f"{self.id}: labels must be uint8 of shape {self.images.shape[:3]}, "
                f"found {self.labels.dtype} {self.labels.shape}."
            )
        if self.labels.size and self.labels.max() > max(Tumour):
            raise DataError(f"{self.id}: labels must be class indices 0..3, found {self.labels.max()}.")

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in ml."""
        return abs(float(np.linalg.det(self.affine[:3, :3]))) / 1000

    @property
    def brain(self) -> np.ndarray:
        """(X, Y, Z) bool: voxels where any modality is non-zero."""
        out = self.images[..., 0] != 0
        for m in range(1, self.images.shape[-1]):
            out |= self.images[..., m] != 0
        return out


@dataclass(frozen=True)
class CaseFiles:
    """The files of one case, found by their names; nothing has been opened yet.

    Attributes:
        id: what the file names share; the folder may be called differently.
        folder: the folder that holds the files.
        naming: the convention of the names.
        paths: path of each modality (`brats.MODALITIES`) and of "seg", as far as present.
    """

    id: str
    folder: Path
    naming: Naming
    paths: dict[str, Path]


def zscored(images: np.ndarray, brain: np.ndarray) -> np.ndarray:
    """Each modality with mean 0 and standard deviation 1 in the brain, exactly 0 outside, float32.

    In memory one modality lies after the other: most of what measures a scan takes them one by one.
    Beyond -8 and 12 deviations (vessels in some scans) values are cut: no network has to know them.

    Args:
        images: (X, Y, Z, M), any numeric type.
        brain: (X, Y, Z) bool, not empty.
    """
    out = np.moveaxis(np.zeros((images.shape[-1], *images.shape[:-1]), np.float32), 0, -1)
    for m in range(images.shape[-1]):
        values = images[..., m][brain].astype(np.float64)
        mean = values.mean()
        spread = max(values.std(), 1e-6 * abs(mean)) or 1.0  # of a constant: rounding is no signal
        out[..., m][brain] = ((values - mean) / spread).clip(-8, 12)
    return out
