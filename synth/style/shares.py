"""What a scan shows beyond one class a voxel: shares of CSF, grey and white matter, vessels, tones of its tumour.

A voxel of healthy brain is as bright as its mixture of the three tissues (Santago & Gage 1993, doi:10.1109/42.241881),
in t1, t2 and flair alike; the nearest of the 45 mixtures in eighths is taken. Noise would make mixtures of its own, so
it is taken out before, by averaging each voxel with those of its neighbours that look alike in all three (a bilateral
filter, Tomasi & Manduchi 1998, doi:10.1109/ICCV.1998.710815): edges stay, flat tissue becomes flat. What no mixture
explains but one with a dark part does is partly void. What t1ce has beyond its mixture are vessels and dura, filled by
the contrast agent. In a tumour each modality has a tone: how bright a voxel is within its class, noise averaged out.
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
    SHARES_FROM,
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
from synth.style.style import RIM, Style

CHANNELS = tuple(MODALITIES.index(name) for name in SHARES_FROM)
_T1CE = MODALITIES.index("t1ce")
_ALIKE = 3.5  # deviations of noise within which neighbours are averaged
_ROUNDS = 3  # of averaging, each with what the one before gave
_LEAST_NOISE = 0.004  # of an image without any
_ODD = 6.0  # squared deviations within a class, over the three modalities: what no mixture explains may be partly void
_LEVEL = 0.77  # texture (a 20th percentile) over the noise's deviation
_VESSEL_FROM = 0.2  # above the mixture in t1ce, in normalised units
_AT_ONCE = 200_000  # voxels
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
    noise = np.maximum(np.asarray(style.texture) / _LEVEL, _LEAST_NOISE)
    still = averaged([images[..., k] for k in CHANNELS], brain, noise[list(CHANNELS)])
    mixture[healthy], void = _nearest([part[healthy] for part in still], style)
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
    for tone, part in zip(tones, _tones(images, layout.tumour[box], brain, noise, style), strict=True):
        tone[box] = part
    return Detail(*mixed, *tones), replace(style, pure=pure)


def _tones(images: np.ndarray, tumour: np.ndarray, brain: np.ndarray, noise: np.ndarray, style: Style) -> np.ndarray:
    """(4, x, y, z) uint8, the tones of a tumour."""
    tones = np.zeros((len(MODALITIES), *tumour.shape), np.uint8)
    inner = box_of(tumour)
    if inner is None:
        return tones
    inner = widened(inner, _ROUNDS, (1, 1, 1), tumour.shape)
    still = averaged([images[(*inner, m)] for m in range(len(MODALITIES))], brain[inner], noise)
    inside = tumour[inner] > 0
    rows = tumour[inner][inside].astype(np.intp) + len(TISSUES) - 1
    for tone, image, mean in zip(tones, still, np.transpose(style.mean), strict=True):
        steps = (image[inside] - mean[rows]) / TONE_STEP
        tone[inner][inside] = np.clip(np.rint(EVEN + steps), 1, TONE_LEVELS)
    return tones


def averaged(images: list[np.ndarray], brain: np.ndarray, noise: np.ndarray) -> list[np.ndarray]:
    """Images without most of their noise: each voxel is the mean of itself and those of the 26 around that look alike.

    Args:
        images: (x, y, z) float32 each.
        brain: (x, y, z) bool; nothing outside has a say.
        noise: deviation of each image's.
    """
    values = [np.where(brain, image / np.float32(level), 0) for image, level in zip(images, noise, strict=True)]
    shifts = [shift for shift in np.ndindex(3, 3, 3) if shift > (1, 1, 1)]
    for _ in range(_ROUNDS):
        sums, weights = [part.copy() for part in values], np.ones(brain.shape, np.float32)
        for shift in shifts:
            here, there = zip(*(_overlap(s - 1, n) for s, n in zip(shift, brain.shape, strict=True)), strict=True)
            apart = np.zeros([s.stop - s.start for s in here], np.float32)
            for part in values:
                step = part[here] - part[there]
                apart += step * step
            alike = np.exp(apart * np.float32(-0.5 / _ALIKE**2))
            alike *= brain[here] & brain[there]
            weights[here] += alike
            weights[there] += alike
            for total, part in zip(sums, values, strict=True):
                total[here] += alike * part[there]
                total[there] += alike * part[here]
        values = [total / weights for total in sums]
    return [part * np.float32(level) for part, level in zip(values, noise, strict=True)]


def _even(images: np.ndarray, style: Style, shape, box) -> np.ndarray:
    """(x, y, z, 4) float32 the images in normalised units, without shading."""
    out = np.empty(images.shape, np.float32)
    for m, ((low, high), shading) in enumerate(zip(style.window, style.shading, strict=True)):
        field = shading_field(np.asarray(shading), shape, box)
        out[..., m] = (images[..., m] / field - low) / (high - low)
    return out


def _overlap(step: int, size: int) -> tuple[slice, slice]:
    return slice(max(step, 0), size + min(step, 0)), slice(max(-step, 0), size - max(step, 0))


def _dark(style: Style) -> np.ndarray:
    """(4,) what no signal is in normalised units."""
    low, high = np.asarray(style.window, np.float32).T
    return -low / (high - low)


def _nearest(values: list[np.ndarray], style: Style) -> tuple[np.ndarray, np.ndarray]:
    """(n,) index of the mixture that comes nearest, each image counted by how much its tissues vary; (n,) void."""
    columns = list(CHANNELS)
    spread = np.maximum(np.asarray(style.spread)[: len(TISSUES), columns].mean(0), 0.03)
    mean = np.asarray(style.mean)[: len(TISSUES), columns]
    mixed = ((MIXTURES / EIGHTHS) @ (mean / spread)).astype(np.float32)
    points = np.stack([part / np.float32(s) for part, s in zip(values, spread, strict=True)], 1)
    out, apart = _nearest_of(points, mixed)
    void = np.zeros(len(points), np.uint8)
    odd = np.flatnonzero(apart > _ODD)
    dark = (_dark(style)[columns] / spread).astype(np.float32)
    parts = np.arange(1, VOID_LEVELS + 1) / np.float32(VOID_LEVELS)
    darker = np.concatenate([mixed + part * (dark - mixed) for part in parts])
    index, left = _nearest_of(points[odd], darker)
    better = left + _ODD / 2 < apart[odd]
    out[odd[better]] = index[better] % len(MIXTURES)
    void[odd[better]] = index[better] // len(MIXTURES) + 1
    return out, void


def _nearest_of(points: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n,) index of the nearest of the (k, 3) places to each of (n, 3) points, and its squared distance."""
    out, apart = np.empty(len(points), np.int16), np.empty(len(points), np.float32)
    size = (places * places).sum(1)
    for start in range(0, len(points), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        distance = points[part] @ (-2 * places.T)
        distance += size
        out[part] = nearest = distance.argmin(1)
        apart[part] = distance[np.arange(len(nearest)), nearest] + (points[part] ** 2).sum(1)
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
