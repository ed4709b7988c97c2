"""Segmenting whole brains: sliding windows blended by a Gaussian, mirrored views, several networks."""

from collections.abc import Sequence
from itertools import product

import numpy as np

from synth.brats import MODALITIES
from synth.case import Case, zscored
from synth.layout.layout import bounding_box
from synth.layout.space import Box
from synth.models.configs import DIVISOR, LABELS
from synth.models.runtime import give_back, one_at_a_time, tf

STRETCH = 1.25  # sides of a brain up to so many windows long are seen in one piece: two windows would nearly coincide


class Segmenter:
    """One or several trained networks, ready to segment cases.

    Args:
        networks: from `build_segmenter`, of one kind; their probabilities are averaged.
        window: edge of the windows in voxels, a multiple of 16: that of the patches they were trained on. A side of the
            brain that is at most a quarter longer is not cut.
        overlap: share of a window that its neighbour covers again, 0 to below 1.
        mirror: one of `MIRRORS`.
    """

    def __init__(self, networks: Sequence, window: int, *, overlap: float = 0.5, mirror: str = "none"):
        self.networks, self.window, self.overlap, self.mirror = list(networks), window, overlap, mirror
        spec = [tf.TensorSpec((1, None, None, None, len(MODALITIES)), tf.float32)]
        self._runs = [
            tf.function(
                lambda x, net=net: net({"images": x}, training=False)["probabilities"],
                input_signature=spec,
                autograph=False,
            )
            for net in self.networks
        ]

    def __call__(self, case: Case) -> np.ndarray:
        """The labels on the case's grid, (X, Y, Z) uint8 class indices, 0 outside the brain."""
        box, inside = self.labels_in_box(case)
        labels = np.zeros(case.images.shape[:3], np.uint8)
        labels[box] = inside
        return labels

    def in_box(self, case: Case) -> tuple[tuple[slice, slice, slice], np.ndarray]:
        """The brain's box and the probabilities of none, NCR, ED and ET there, (x, y, z, 4) float32."""
        brain = case.brain
        box = bounding_box(brain)
        return box, self.probabilities(zscored(case.images[box], brain[box]))

    def labels_in_box(self, case: Case) -> tuple[tuple[slice, slice, slice], np.ndarray]:
        """The brain's box and the labels there, (x, y, z) uint8 class indices, 0 outside the brain."""
        box, probabilities = self.in_box(case)
        brain = case.images[box].any(-1)
        return box, np.where(brain, probabilities.argmax(-1), 0).astype(np.uint8)

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Probabilities (x, y, z, 4) float32 of z-scored images (x, y, z, 4), 0 outside the brain."""
        give_back()  # z-scoring leaves a brain's volumes behind
        axes = {"none": (), "x": (0,), "xyz": (0, 1, 2)}[self.mirror]
        views = [tuple(a for a, used in zip(axes, on, strict=True) if used) for on in product((0, 1), repeat=len(axes))]
        total = np.zeros((*images.shape[:3], LABELS), np.float32)
        for view in views:
            flipped = np.flip(images, view) if view else images
            for run in self._runs:
                seen = self.slide(run, flipped)
                total += np.flip(seen, view) if view else seen
        return total / (len(views) * len(self._runs))

    def slide(self, run, images: np.ndarray) -> np.ndarray:
        """Blended probabilities (x, y, z, 4) float32 of all windows of one view.

        Args:
            run: takes a window (1, x, y, z, C) and gives its probabilities (1, x, y, z, 4), a tensor.
            images: (x, y, z, C); zero-padded where the brain is smaller than a window.
        """
        shape, inner, window, parts = self.tiled(images.shape[:3])
        total = np.zeros((*shape, LABELS), np.float32)
        weight = np.zeros((*shape, 1), np.float32)
        blend = blending(window)
        for part in parts:
            seen = self.seen_through(part, images, inner)
            weight[part] += blend
            if seen.any():
                with one_at_a_time:
                    found = run(seen[None]).numpy()[0]
                total[part] += found * blend
                del found  # as large as the window, and the next one needs more than that
            else:  # nothing of the brain
                total[part][..., 0:1] += blend
        return total[inner] / weight[inner]

    def tiled(self, size: tuple[int, int, int]) -> tuple[tuple[int, ...], Box, tuple[int, ...], list[Box]]:
        """How images are cut: a grid of a window at least, where they lie in it, a window's sides, all windows."""
        window = tuple(_side(n, self.window) for n in size)
        shape = tuple(max(n, w) for n, w in zip(size, window, strict=True))
        before = [(s - n) // 2 for s, n in zip(shape, size, strict=True)]
        starts = [_starts(n, w, self.overlap) for n, w in zip(shape, window, strict=True)]
        parts = [tuple(slice(c, c + w) for c, w in zip(corner, window, strict=True)) for corner in product(*starts)]
        return shape, tuple(slice(b, b + n) for b, n in zip(before, size, strict=True)), window, parts

    @staticmethod
    def seen_through(part: Box, images: np.ndarray, inner: Box) -> np.ndarray:
        """A window (x, y, z, C) on images (x, y, z, C) that lie in `inner` of its grid; 0 beyond them."""
        places = [(p.start - i.start, p.stop - i.start) for p, i in zip(part, inner, strict=True)]
        there = [(max(a, 0), min(b, n)) for (a, b), n in zip(places, images.shape[:3], strict=True)]
        known = images[tuple(slice(*ends) for ends in there)]
        if there == places:
            return known
        out = np.zeros((*(b - a for a, b in places), images.shape[3]), images.dtype)
        out[tuple(slice(a - c, b - c) for (a, b), (c, _) in zip(there, places, strict=True))] = known
        return out


def _side(size: int, window: int) -> int:
    """How long a window is on a side of `size` voxels."""
    return -(-size // DIVISOR) * DIVISOR if window < size <= STRETCH * window else window


def _starts(size: int, window: int, overlap: float) -> list[int]:
    """First voxels of evenly spread windows that cover `size` and overlap by at least the share."""
    if size <= window:
        return [0]
    count = int(np.ceil((size - window) / max(window * (1 - overlap), 1))) + 1
    return np.rint(np.linspace(0, size - window, count)).astype(int).tolist()


def blending(window: tuple[int, int, int]) -> np.ndarray:
    """(x, y, z, 1): 1 in the middle, falling with a standard deviation of an eighth of each side, as nnU-Net's."""
    x, y, z = (np.exp(-0.5 * ((np.arange(n) - (n - 1) / 2) / (n / 8)) ** 2) for n in window)
    return np.maximum(x[:, None, None] * y[:, None] * z, 1e-4).astype(np.float32)[..., None]
