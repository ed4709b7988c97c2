"""Thick slices: most scans average over some millimetres along one axis, where detail is carried or drawn at 1 mm.

More than half of the BraTS scans that we have were taken in slices of 4 to 6 mm in one modality or more, and were
brought to 1 mm by interpolation (docs/decisions.md). A style tells by the width of its noise along an axis; here what
is painted is averaged over such slices, and lines are drawn between their middles.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from synth.brats import MODALITIES
from synth.errors import SynthError
from synth.layout.detail import NATIVE
from synth.style.style import Style

THICK = 1.1  # voxels: width of a scan's noise along an axis (`Style.sharpness`) from which its slices are thick
_WIDEST = 1.5  # voxels: what is wider is measured as this
_MM = (2.0, 4.0)  # mean thickness at these two
_VARIES = 0.2  # share of that, both ways
_LOST = 1.12  # times less texture after averaging


@dataclass(frozen=True)
class Slices:
    """The slices of one modality of a scan.

    Attributes:
        axis: 0, 1 or 2, across the slices.
        mm: thickness, which is also the distance of their middles.
        first: mm from the first voxel of the painted box to the middle of a slice, 0 to `mm`.
    """

    axis: int
    mm: float
    first: float

    def __post_init__(self) -> None:
        """Raise `SynthError` on numbers that are no slices."""
        if self.axis not in (0, 1, 2) or not 1 <= self.mm <= 20 or not 0 <= self.first <= self.mm:
            raise SynthError(f"slices: an axis of 0 to 2, 1 to 20 mm and a first middle within expected, found {self}.")


ScanSlices = Mapping[str, Slices]
"""The modalities that have thick slices, by name."""


def drawn_slices(style: Style, host: Style | None, rng: np.random.Generator) -> ScanSlices:
    """The slices that a scanner of this style has: across the axis along which a modality's noise is widest, if it is.

    Args:
        style: of the sample.
        host: the style of the scan that its layout was taken from; None where there is none. What is thick there in
            t1, t2 and flair is thick in the layout already, and is not averaged again.
        rng: of the sample's slices; always drawn from as often.
    """
    known = np.zeros(3) if host is None else np.asarray(host.sharpness)[NATIVE].min(0)
    out = {}
    for modality, widths in zip(MODALITIES, style.sharpness, strict=True):
        varied, phase = rng.random(2)
        axis = int(np.argmax(widths))
        if widths[axis] < THICK or known[axis] >= THICK:
            continue
        mean = np.interp(widths[axis], (THICK, _WIDEST), _MM)
        mm = round(float(mean * (1 + _VARIES * (2 * varied - 1))), 3)
        out[modality] = Slices(axis, mm, round(float(phase * mm), 3))
    return out


def noisier(style: Style, slices: ScanSlices) -> Style:
    """The style with as much more noise as averaging over the slices takes away."""
    factors = [_LOST if modality in slices else 1.0 for modality in MODALITIES]
    return replace(style, texture=np.asarray(style.texture) * factors) if slices else style


def averaged(image: np.ndarray, brain: np.ndarray, slices: ScanSlices) -> np.ndarray:
    """A painted image as its slices show it.

    Sums are taken plane by plane: the same on any number of threads.

    Args:
        image: (x, y, z, 4) float32, 0 outside the brain.
        brain: (x, y, z) bool.
        slices: by modality; the others stay as they are.
    """
    out = image.copy() if slices else image
    for m, modality in enumerate(MODALITIES):
        if modality in slices:
            out[..., m] = _averaged(image[..., m], brain, slices[modality])
    return out


def _averaged(image: np.ndarray, brain: np.ndarray, slices: Slices) -> np.ndarray:
    planes = np.ascontiguousarray(np.moveaxis(image, slices.axis, 0))
    inside = np.ascontiguousarray(np.moveaxis(brain, slices.axis, 0)).astype(np.float32)
    middles = np.arange(slices.first - slices.mm, len(planes) + slices.mm, slices.mm)
    means, there = zip(*(_slice(planes, inside, middle, slices.mm) for middle in middles), strict=True)
    out = np.empty_like(planes)
    for k in range(len(planes)):
        i, share = divmod((k - middles[0]) / slices.mm, 1)
        left, right = (1 - share) * there[int(i)], share * there[int(i) + 1]
        mixed = left * means[int(i)] + right * means[int(i) + 1]
        out[k] = np.where(left + right > 0, mixed / np.maximum(left + right, 1e-6), planes[k]) * inside[k]
    return np.moveaxis(out, 0, slices.axis)


def _slice(planes: np.ndarray, inside: np.ndarray, middle: float, mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean over the brain of one slice, and where there is any: float32 both."""
    low, high = middle - mm / 2, middle + mm / 2
    total, weight = np.zeros_like(planes[0]), np.zeros_like(planes[0])
    for k in range(max(int(np.floor(low + 0.5)), 0), min(int(np.ceil(high + 0.5)), len(planes))):
        share = np.float32(min(k + 0.5, high) - max(k - 0.5, low))  # a voxel reaches half of one to both sides
        if share > 0:
            total += share * planes[k]
            weight += share * inside[k]
    return total / np.maximum(weight, np.float32(1e-6)), (weight > 0).astype(np.float32)


def slices_to_dict(slices: ScanSlices) -> dict[str, list[float]]:
    """JSON-able: modality -> axis, mm, first."""
    return {modality: [s.axis, s.mm, s.first] for modality, s in slices.items()}


def slices_from_dict(record: Any) -> ScanSlices:
    """The slices of a dict made by `slices_to_dict`.

    Raises:
        SynthError: it is none.
    """
    try:
        out = {modality: Slices(int(axis), float(mm), float(first)) for modality, (axis, mm, first) in record.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise SynthError(f"slices: axis, mm and first middle by modality expected, found {record!r}.") from error
    if not set(out) <= set(MODALITIES):
        raise SynthError(f"slices: modalities of {', '.join(MODALITIES)} expected, found {', '.join(out)}.")
    return out
