"""Examples for training, cut from a case: whole volumes, or patches that are placed by their number alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from synth.brats import MODALITIES, Tumour
from synth.case import Case
from synth.errors import SynthError
from synth.layout.layout import bounding_box
from synth.randomness import Branch, sample_rng

NORMALISATIONS = ("zscore", None)


@dataclass(frozen=True)
class Cut:
    """What is cut from a volume, and in which form."""

    patch: int | tuple[int, int, int] | None
    patches: int
    tumour_share: float
    normalise: str | None
    one_hot: bool

    def __post_init__(self) -> None:
        """Raise `SynthError` on values out of range."""
        size = (self.patch,) * 3 if isinstance(self.patch, int) else self.patch
        if size is not None and (len(size) != 3 or any(not isinstance(n, int) or n < 1 for n in size)):
            raise SynthError(f"patch must be one or three edges in voxels of at least 1, found {self.patch!r}.")
        if self.patches < 1 or not 0 <= self.tumour_share <= 1:
            raise SynthError(
                f"patches must be at least 1 and tumour_share 0 to 1, found {self.patches} and {self.tumour_share}."
            )
        if self.normalise not in NORMALISATIONS:
            raise SynthError(f"normalise must be 'zscore' or None, found {self.normalise!r}.")

    @property
    def edges(self) -> tuple[int, int, int] | None:
        """Of a patch along each axis; None: whole volumes."""
        if self.patch is None:
            return None
        x, y, z = (self.patch,) * 3 if isinstance(self.patch, int) else self.patch
        return x, y, z

    @property
    def per_sample(self) -> int:
        """Examples from each volume."""
        return 1 if self.patch is None else self.patches


@dataclass
class Volume:
    """The brain's box of a case, from which examples are cut."""

    index: int
    seed: int
    cut: Cut
    images: np.ndarray  # (x, y, z, 4) int16
    labels: np.ndarray  # (x, y, z) uint8
    box: tuple[slice, slice, slice]
    grid: tuple[int, int, int]
    shift: np.ndarray | np.floating  # (4,) or one number, float32, to be taken off
    scale: np.ndarray | np.floating  # likewise, to be multiplied with
    given: int = 0

    @classmethod
    def of(cls, case: Case, seed: int, cut: Cut) -> "Volume":
        """Of a case with labels; `meta["index"]` is its number, which places patches."""
        box = bounding_box(case.images[..., 0] > 0)
        images = np.ascontiguousarray(case.images[box])
        shift, scale = np.zeros(len(MODALITIES)), np.ones(len(MODALITIES))
        if cut.normalise == "zscore":
            values = images[images[..., 0] > 0].astype(np.float32)
            shift, scale = values.mean(0, np.float64), 1 / np.maximum(values.std(0, dtype=np.float64), 1e-6)
        labels = np.ascontiguousarray(cast(np.ndarray, case.labels)[box])  # a painted case has them
        grid, index = case.images.shape[:3], case.meta["index"]
        return cls(index, seed, cut, images, labels, box, grid, np.float32(shift), np.float32(scale))

    def whole(self, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """The whole grid."""
        return self._example([part.start for part in self.box], (0, 0, 0), shape)

    def next_patch(self) -> tuple[np.ndarray, np.ndarray]:
        """The next of this volume's patches, each placed by its number alone."""
        rng = sample_rng(self.seed, self.index, Branch.PATCHES, self.given)
        self.given += 1
        wanted = self.labels > 0 if rng.random() < self.cut.tumour_share and self.labels.any() else None
        places = np.flatnonzero(self.images[..., 0] if wanted is None else wanted)
        centre = np.unravel_index(places[rng.integers(len(places))], self.labels.shape)
        offset = [part.start for part in self.box]
        edges = self.cut.edges or self.grid
        corner = []
        for middle, start, edge, size in zip(centre, offset, edges, self.grid, strict=True):
            room = size - edge  # a patch stays in the grid where it fits, else it is centred on it
            first = int(middle) + start - edge // 2
            corner.append(min(max(first, 0), room) if room >= 0 else room // 2)
        return self._example(offset, corner, edges)

    def _example(
        self, offset: Sequence[int], corner: Sequence[int], size: Sequence[int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """The box of `size` at `corner` of the grid, 0 outside the brain."""
        images, labels = np.zeros((*size, len(MODALITIES)), np.float32), np.zeros(size, np.uint8)
        low = [max(c - o, 0) for c, o in zip(corner, offset, strict=True)]
        high = [min(c + n - o, m) for c, n, o, m in zip(corner, size, offset, self.labels.shape, strict=True)]
        if all(a < b for a, b in zip(low, high, strict=True)):
            source = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
            target = tuple(slice(a + o - c, b + o - c) for a, b, o, c in zip(low, high, offset, corner, strict=True))
            values = self.images[source]
            images[target] = (values - self.shift) * self.scale * (values[..., :1] > 0)
            labels[target] = self.labels[source]
        return images, np.eye(len(Tumour), dtype=np.float32)[labels] if self.cut.one_hot else labels


def next_round(waiting: list["Volume"]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """One patch of each waiting volume, the newest first; those that have given all their patches leave.

    So between two patches of one volume lie as many of others as a volume gives.
    """
    for volume in reversed(list(waiting)):
        yield volume.next_patch()
        if volume.given == volume.cut.patches:
            waiting.remove(volume)
