"""The Layout: what is to be painted, as two label maps on one grid."""

from dataclasses import dataclass, replace

import numpy as np

from synth.brats import CLASSES, TISSUES, Tissue, Tumour
from synth.errors import LayoutError
from synth.layout.detail import Detail
from synth.layout.space import box_of


@dataclass(frozen=True, repr=False)
class Layout:
    """Tissue and tumour label maps of one brain, on one grid.

    Two maps, not one: tissue is complete *also underneath the tumour*, so that a tumour can be moved,
    shrunk or taken out and healthy anatomy is there to fill its place.

    Attributes:
        tissue: (X, Y, Z) uint8, values of `synth.brats.Tissue`; 0 is outside the brain.
        tumour: (X, Y, Z) uint8, values of `synth.brats.Tumour`; 0 is no tumour.
        affine: (4, 4) float64, voxel to mm.
        id: the case or sample the layout comes from.
        detail: what is finer than the tissue map, on the same grid; None where nobody knows.
    """

    tissue: np.ndarray
    tumour: np.ndarray
    affine: np.ndarray
    id: str = ""
    detail: Detail | None = None

    def __repr__(self) -> str:
        """One line: id, size and volumes."""
        grid = "x".join(map(str, self.shape))
        return (
            f"Layout({self.id!r}, {grid}, {', '.join(f'{name} {ml:.1f}' for name, ml in self.volumes_ml().items())} ml)"
        )

    def __post_init__(self) -> None:
        """Check shapes, types and values once; raise `LayoutError` if the layout is not lawful."""
        for name, limit in (("tissue", max(Tissue)), ("tumour", max(Tumour))):
            array = getattr(self, name)
            if array.dtype != np.uint8 or array.ndim != 3:
                raise LayoutError(
                    f"layout {self.id or '(unnamed)'}: {name} must be a 3D uint8 array, "
                    f"found {array.ndim}D {array.dtype}."
                )
            if array.size and array.max() > limit:
                raise LayoutError(
                    f"layout {self.id or '(unnamed)'}: {name} values must be 0..{int(limit)}, found {array.max()}."
                )
        if self.tissue.shape != self.tumour.shape:
            raise LayoutError(
                f"layout {self.id or '(unnamed)'}: tissue {self.tissue.shape} and tumour "
                f"{self.tumour.shape} must have one shape."
            )
        if outside := _outside(self.tissue, self.tumour):
            raise LayoutError(f"layout {self.id or '(unnamed)'}: {outside} tumour voxels lie outside the brain.")
        if self.detail is not None and self.detail.shape != self.tissue.shape:
            raise LayoutError(
                f"layout {self.id or '(unnamed)'}: tissue {self.tissue.shape} and detail {self.detail.shape} must have "
                "one shape."
            )

    @property
    def brain(self) -> np.ndarray:
        """(X, Y, Z) bool: the voxels inside the brain."""
        return self.tissue > 0

    @property
    def shape(self) -> tuple[int, int, int]:
        """Grid size in voxels."""
        x, y, z = self.tissue.shape
        return x, y, z

    @property
    def classes(self) -> np.ndarray:
        """(X, Y, Z) uint8: 0 outside, 1..3 CSF, GM, WM, 4..6 NCR, ED, ET; the order of `brats.CLASSES` plus one."""
        return classes_of(self.tissue, self.tumour)

    def volumes_ml(self) -> dict[str, float]:
        """Volume in ml of each tissue (without the tumour's part), each tumour class, and WT."""
        voxel = abs(np.linalg.det(self.affine[:3, :3])) / 1000
        box = box_of(self.tissue) or ()
        classes = classes_of(self.tissue[box], self.tumour[box])
        counts = np.bincount(classes.ravel(), minlength=1 + len(CLASSES)) * voxel
        names = ("CSF", "GM", "WM", "NCR", "ED", "ET")
        out = {name: float(counts[i + 1]) for i, name in enumerate(names)}
        out["WT"] = out["NCR"] + out["ED"] + out["ET"]
        return out

    def named(self, name: str) -> "Layout":
        """The same layout under another id."""
        return replace(self, id=name)

    def with_tumour(self, labels: np.ndarray | None = None, box: tuple[slice, slice, slice] | None = None) -> "Layout":
        """The same brain with this tumour and no other; without labels, with none.

        Args:
            labels: uint8 tumour classes, on the whole grid or on `box`.
            box: where in the grid the labels lie; none elsewhere.
        """
        if labels is None or box is not None:
            tumour = np.zeros(self.shape, np.uint8)
            if labels is not None:
                tumour[box] = labels
        else:
            tumour = labels
        return replace(self, tumour=tumour)

    def bounding_box(self, margin: int = 0) -> tuple[slice, slice, slice]:
        """The smallest box around the brain, widened by `margin` voxels and cut at the grid's edge."""
        return bounding_box(self.brain, margin)


def classes_of(tissue: np.ndarray, tumour: np.ndarray) -> np.ndarray:
    """`Layout.classes` of two maps, or of a part of them."""
    return np.where(tumour > 0, tumour + len(TISSUES), tissue).astype(np.uint8)


def _outside(tissue: np.ndarray, tumour: np.ndarray) -> int:
    """Tumour voxels that lie outside the brain; looked for where there is tumour."""
    box = box_of(tumour) if tumour.size else None
    return 0 if box is None else int(np.count_nonzero((tumour[box] > 0) & (tissue[box] == 0)))


def bounding_box(mask: np.ndarray, margin: int = 0) -> tuple[slice, slice, slice]:
    """The smallest box of slices around the true voxels of a 3D mask, widened by `margin`, cut at the edge.

    Raises:
        LayoutError: the mask is empty.
    """
    box: list[slice] = []
    for axis in range(3):
        hit = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        if not hit.size:
            raise LayoutError("the mask is empty: there is nothing to put a box around.")
        box.append(slice(max(int(hit[0]) - margin, 0), min(int(hit[-1]) + 1 + margin, mask.shape[axis])))
    x, y, z = box
    return x, y, z
