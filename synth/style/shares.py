"""What a scan shows beyond one class a voxel: shares of CSF, grey and white matter, vessels, tones of its tumour.

A voxel of healthy brain is as bright as its mixture of the three tissues (Santago & Gage 1993, doi:10.1109/42.241881),
in all modalities alike; the nearest of the 45 mixtures in eighths is taken. Noise would make mixtures of its own, so it
is taken out before (`denoising`). What no mixture explains but one with a dark part does is partly void. What t1ce has
beyond its mixture are vessels and dura, filled by the contrast agent, so t1ce has a say in the mixture only where it is
near one. In a tumour each modality has a tone: how bright a voxel is within its class, noise taken out.
"""

from dataclasses import replace

import numpy as np
from scipy.ndimage import binary_erosion

from synth.brats import MODALITIES, TISSUES
from synth.case import Case
from synth.layout.detail import (
    EIGHTHS,
    EVEN,
    MIXED,
    NATIVE,
    TONE_LEVELS,
    TONE_STEP,
    VESSEL_LEVELS,
    VESSEL_STEP,
    VOID_LEVELS,
    Detail,
    softened,
)
from synth.layout.layout import Layout
from synth.layout.space import box_of, mirrored, widened
from synth.shading import shading_field
from synth.style.denoising import denoised, noise_of
from synth.style.style import RIM, Style

_T1CE = MODALITIES.index("t1ce")
_ODD = 6.0  # squared deviations within a class, over those three: what no mixture explains may be partly void
_MOST = 6.0  # squared deviations that t1ce counts at most: the contrast agent adds any number
_VESSEL_FROM = 0.2  # above the mixture in t1ce, in normalised units
_AT_ONCE = 50_000  # voxels
_REACH = 4  # voxels that softened tissue has a say in
MIXTURES = np.array([(a, EIGHTHS - a - b, b) for a in range(EIGHTHS + 1) for b in range(EIGHTHS + 1 - a)], np.uint8)
"""(45, 3) eighths of CSF, GM and WM."""


def measure_detail(case: Case, layout: Layout, style: Style) -> tuple[Detail, Style]:
    """The detail of a scan's layout, and its style with the brightness of pure tissue (`Style.pure`).

    Underneath a tumour, and where the scan lacks a modality, the other hemisphere's shares stand, or those of softened
    tissue where there are none.

    Args:
        case: the scan.
        layout: its layout (`layout.tissue.extract_layout`).
        style: measured under that (`style.measure_style`): its tissues are near enough to tell mixtures, from which
            pure ones are solved (least squares).
    """
    box = layout.bounding_box(2)
    tissue = layout.tissue[box]
    brain = tissue > 0
    healthy = brain & (layout.tumour[box] == 0) & (case.images[box] > 0).all(-1)  # a scan may end within the brain
    images = _even(case.images[box], style, layout.shape, box)
    mixture = np.full(tissue.shape, -1, np.int16)
    still = denoised(images, brain, noise_of(style))
    mixture[healthy], void = _nearest(still[:, healthy].T, style)
    shares = MIXTURES[mixture[healthy]].astype(np.float32) / EIGHTHS
    # the rim is half outside the brain and half removed by the skull stripping: not the colour of fluid
    sure = ((shares[:, 0] == 0) | binary_erosion(brain, iterations=RIM)[healthy]) & (void == 0)
    pure = _solved(shares[sure], images[healthy][sure], np.asarray(style.mean)[: len(TISSUES)])
    dark = _dark(style)[_T1CE]
    there = 1 - void / np.float32(VOID_LEVELS)
    beyond = images[..., _T1CE][healthy] - (there * (shares @ pure[:, _T1CE].astype(np.float32) - dark) + dark)
    vessels = np.where(beyond > _VESSEL_FROM, np.clip(np.rint(beyond / VESSEL_STEP), 0, VESSEL_LEVELS), 0)
    layers = [np.zeros(layout.shape, np.uint8) for _ in MIXED]
    nearest = MIXTURES[mixture[healthy]]
    for layer, part in zip(layers, (nearest[:, 0], nearest[:, 2], vessels, void), strict=True):
        layer[box][healthy] = part
    gap = layout.brain
    gap[box] &= ~healthy
    mixed = _completed(Detail(*layers), layout.tissue, gap).mixed
    tones = [np.zeros(layout.shape, np.uint8) for _ in MODALITIES]
    inside = layout.tumour[box] > 0
    rows = layout.tumour[box][inside].astype(np.intp) + len(TISSUES) - 1
    for tone, image, mean in zip(tones, still, np.transpose(style.mean), strict=True):
        steps = (image[inside] - mean[rows]) / TONE_STEP
        tone[box][inside] = np.clip(np.rint(EVEN + steps), 1, TONE_LEVELS)
    return Detail(*mixed, *tones), replace(style, pure=pure)


def _even(images: np.ndarray, style: Style, shape, box) -> np.ndarray:
    """(x, y, z, 4) float32 the images in normalised units, without shading."""
    out = np.empty(images.shape, np.float32)
    for m, ((low, high), shading) in enumerate(zip(style.window, style.shading, strict=True)):
        field = shading_field(np.asarray(shading), shape, box)
        out[..., m] = (images[..., m] / field - low) / (high - low)
    return out


def _dark(style: Style) -> np.ndarray:
    """(4,) what no signal is in normalised units."""
    low, high = np.asarray(style.window, np.float32).T
    return -low / (high - low)


def _nearest(points: np.ndarray, style: Style) -> tuple[np.ndarray, np.ndarray]:
    """(n,) index of the mixture nearest to (n, 4) voxels, images counted by how much their tissues vary; (n,) void."""
    spread = np.maximum(np.asarray(style.spread, np.float32)[: len(TISSUES)].mean(0), 0.03)
    mixed = ((MIXTURES / EIGHTHS) @ (np.asarray(style.mean)[: len(TISSUES)] / spread)).astype(np.float32)
    points = points / spread
    out, apart = _nearest_of(points, mixed)
    void = np.zeros(len(points), np.uint8)
    odd = np.flatnonzero(apart > _ODD)
    dark = (_dark(style) / spread).astype(np.float32)
    parts = np.arange(1, VOID_LEVELS + 1) / np.float32(VOID_LEVELS)
    darker = np.concatenate([mixed + part * (dark - mixed) for part in parts])
    index, left = _nearest_of(points[odd], darker)
    better = left + _ODD / 2 < apart[odd]
    out[odd[better]] = index[better] % len(MIXTURES)
    void[odd[better]] = index[better] // len(MIXTURES) + 1
    return out, void


def _nearest_of(points: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n,) index of the nearest of (k, 4) places to each of (n, 4) points, and its squared distance but for t1ce."""
    out, apart = np.empty(len(points), np.int16), np.empty(len(points), np.float32)
    plain, contrast = np.ascontiguousarray(places[:, NATIVE]), places[:, _T1CE]
    size = (plain * plain).sum(1)
    for start in range(0, len(points), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        distance = points[part][:, NATIVE] @ (-2 * plain.T)
        distance += size
        beside = points[part, _T1CE, None] - contrast
        beside *= beside
        distance += np.minimum(beside, _MOST, out=beside)
        out[part] = nearest = distance.argmin(1)
        here = np.arange(len(nearest)), nearest
        apart[part] = distance[here] - beside[here] + (points[part][:, NATIVE] ** 2).sum(1)
    return out, apart


def _solved(shares: np.ndarray, images: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """(3, 4) the brightness of pure tissue from which (n, 3) shares make the (n, 4) images with the least error.

    A tissue that hardly occurs keeps its `mean`, which counts as a thousandth of the voxels.
    """
    weight = len(shares) / 1000
    square = shares.T.astype(float) @ shares + weight * np.eye(len(TISSUES))
    return np.linalg.solve(square, shares.T.astype(float) @ images + weight * mean)


def _completed(detail: Detail, tissue: np.ndarray, gap: np.ndarray) -> Detail:
    """Shares also in the gap: those of the mirrored place where they are known, else those of tissue alone."""
    box = box_of(gap)
    if box is None:
        return detail
    box = widened(box, _REACH, (1, 1, 1), gap.shape)
    other = gap & (mirrored(np.where(gap, 0, tissue)) > 0)
    layers = []
    for layer, own in zip(detail.mixed, softened(tissue[box]).mixed, strict=True):
        layer = np.where(other, mirrored(layer), layer)
        layer[box] = np.where((gap & ~other)[box], own, layer[box])
        layers.append(layer)
    return Detail(*layers)
