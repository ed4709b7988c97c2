"""Annotated scans prepared for a segmenter, and the patches it is trained on, drawn by step number.

As for painting: each case's brain box lies uncompressed on the disk and is memory-mapped, and slot j of step k draws
everything from `randomness.step_rng`, so that a resumed run sees the same patches.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import tensorflow as tf

from synth.brats import MODALITIES
from synth.case import Case, zscored
from synth.datasets.fingerprint import Fingerprint, fingerprint
from synth.errors import DataError
from synth.layout.layout import bounding_box
from synth.randomness import step_rng
from synth.trainers.augment import SegmentationAugment
from synth.trainers.batches import batches_by_step
from synth.trainers.cutting import PatchConfig, crop, patch_centre, patch_start
from synth.trainers.prepared import IMAGES, SCAN, WARNINGS, once, read_array, read_record, store

CODES = "coded"
HEALTHY = 1  # in `LabelledCase.coded`; the tumour's classes follow


@dataclass(frozen=True)
class LabelledCase:
    """One prepared case: its box of z-scored images and labels on the disk, and the fingerprint of its scan."""

    id: str
    folder: Path
    fingerprint: Fingerprint = ()
    warnings: tuple[str, ...] = ()  # of reading the scan

    @property
    def images(self) -> np.ndarray:
        """(x, y, z, 4) float16, memory-mapped: z-scored in the brain, 0 outside."""
        return read_array(self.folder, IMAGES)

    @property
    def coded(self) -> np.ndarray:
        """(x, y, z) uint8, memory-mapped: 0 outside the brain, else 1 + `Tumour`."""
        return read_array(self.folder, CODES)

    @property
    def labels(self) -> np.ndarray:
        """(x, y, z) uint8 class indices, `Tumour`."""
        return np.maximum(self.coded, HEALTHY) - HEALTHY

    @property
    def anatomy(self) -> str:
        """Checksum of brain and labels, which a scan painted anew from a layout has in common with the first."""
        return hashlib.sha256(np.ascontiguousarray(self.coded).tobytes()).hexdigest()


def store_labelled(case: Case, folder: Path, record: dict | None = None) -> LabelledCase:
    """Write one annotated case into `folder`, ready for `load_labelled`.

    Raises:
        DataError: the case has no labels, or no brain.
    """
    brain = case.brain
    if case.labels is None or not brain.any():
        raise DataError(f"{case.id}: training needs a scan with labels; add its segmentation or leave the case out.")
    box = bounding_box(brain)
    images = zscored(case.images[box], brain[box])
    coded = np.where(brain[box], case.labels[box] + HEALTHY, 0).astype(np.uint8)
    arrays = {IMAGES: np.ascontiguousarray(images, np.float16), CODES: coded}
    scan = fingerprint(case.images)
    said = case.meta.get(WARNINGS, [])
    store(folder, arrays, {**(record or {}), "id": case.id, SCAN: scan, **({WARNINGS: said} if said else {})})
    return LabelledCase(case.id, folder, scan, tuple(said))


def load_labelled(folder: Path) -> LabelledCase:
    """A case written by `store_labelled`.

    Raises:
        DataError: it is damaged, or another kind of case.
    """
    record = read_record(folder, CODES)
    return LabelledCase(record["id"], folder, tuple(record[SCAN]), tuple(record.get(WARNINGS, ())))


class Pool(Protocol):
    """Where patches come from: the cases that step `step` may draw from."""

    def at(self, step: int) -> Sequence[LabelledCase]:
        """The cases to choose from at this step; the same at every call."""


@dataclass(frozen=True)
class FixedPool:
    """The same cases at every step."""

    cases: Sequence[LabelledCase]

    def at(self, step: int) -> Sequence[LabelledCase]:
        """All of them."""
        return self.cases


@dataclass(frozen=True)
class Mix:
    """Pools and the share of patches that each gives."""

    pools: tuple[Pool, ...]
    shares: tuple[float, ...]

    def __post_init__(self):
        """Raise `DataError` on shares that cannot be drawn with."""
        if len(self.pools) != len(self.shares) or not self.pools or min(self.shares) < 0 or sum(self.shares) <= 0:
            raise DataError(f"a mix needs one share of at least 0 for each of its pools, found {self.shares}.")


def draw_labelled_patch(
    mix: Mix, step: int, slot: int, seed: int, patch: PatchConfig, augment: SegmentationAugment
) -> dict[str, np.ndarray]:
    """Patch `slot` of step `step`: images (s, s, s, 4) float32 and labels (s, s, s) uint8 class indices."""
    rng = step_rng(seed, step, slot)
    shares = np.asarray(mix.shares, float)
    pool = mix.pools[rng.choice(len(shares), p=shares / shares.sum())]
    cases = pool.at(step)
    case = cases[rng.integers(len(cases))]
    images, coded = case.images, case.coded
    drawn = augment.draw(rng)
    centre = patch_centre(coded, HEALTHY, patch.tumour_share, rng)
    edge = patch.edge(drawn.warps)
    images, coded = crop(images, coded, patch_start(centre, edge, coded.shape), edge)
    images, coded = drawn.apply(images, coded, patch.size)
    images = images * (coded > 0)[..., None]
    return {
        "images": np.ascontiguousarray(images, np.float32),
        "labels": np.ascontiguousarray(np.maximum(coded, HEALTHY) - HEALTHY),
    }


def labelled_dataset(
    mix: Mix, *, start: int, stop: int, batch: int, seed: int, patch: PatchConfig, augment: SegmentationAugment
) -> tf.data.Dataset:
    """Batches of steps `start` to `stop`, drawn ahead of the training step."""
    size = (patch.size,) * 3
    specs = {
        "images": tf.TensorSpec((*size, len(MODALITIES)), tf.float32),
        "labels": tf.TensorSpec(size, tf.uint8),
    }
    draw = partial(draw_labelled_patch, mix, seed=seed, patch=patch, augment=augment)
    return batches_by_step(draw, specs, start=start, stop=stop, batch=batch)


def prepare_labelled(
    cases: Iterable, cache: Path, read: Callable, progress: Callable[[Iterable], Iterable] = iter
) -> list[LabelledCase]:
    """Prepare cases once below `cache`; later calls reuse what is there, whole and unchanged.

    Args:
        cases: whatever `read` takes; each with `id` and `signature`.
        cache: where the arrays go. They hold voxels: keep it where the scans may be kept.
        read: gives the Case.
        progress: wraps the cases (`tqdm`).
    """
    out = []
    for item in progress(cases):
        # sets have ids in common: what lies under another signature may be in use by another training
        folder = Path(cache) / f"{item.id}-{hashlib.sha256(item.signature.encode()).hexdigest()[:12]}"
        make, scan = partial(_prepare, item, read, folder), partial(_fingerprint, item, read)
        out.append(once(folder, item.signature, load_labelled, make, scan))
    return out


def _prepare(item, read: Callable, folder: Path) -> LabelledCase:
    return store_labelled(read(item), folder, {"signature": item.signature})


def _fingerprint(item, read: Callable) -> Fingerprint:
    return fingerprint(read(item).images)
