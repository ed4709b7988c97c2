"""How tumours pass into what lies around them, in the style that they are painted in.

An annotator draws a border amid a fading: in real scans the outermost millimetre of a class is nearly as bright as what
lies beside it there, whatever the class is deeper inside. How bright that is hangs on the style, so tones that were
drawn without one are brought to it when a layout is painted. Fitted on training scans by `benchmarks/fit_fading.py`.
"""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from synth.brats import MODALITIES, TISSUES, Tumour
from synth.layout.detail import EIGHTHS, EVEN, TONE_LEVELS, TONE_STEP, TONES, Detail
from synth.layout.layout import Layout
from synth.layout.priors.stored import Stored
from synth.layout.priors.tones import KINDS, depth_mm
from synth.layout.space import box_of, spacing, widened
from synth.style.style import Style

SHIPPED = Path(__file__).parent / "weights" / "fading.npz"
DEPTHS_MM = (1.0, 1.5, 2.0, 3.0, 4.0)
_LAST_MM = 7.0  # where tones are as they were
_BESIDE_MM = 2.0  # deviation of the weights with which voxels beside a class say how bright it is there
_MARGIN_MM = 6.0
_VOID = 2  # quarters of void that have no say
_LEAST = 0.02  # of those weights
_FEW = 20  # voxels of a depth: fewer have no mean of their own


@dataclass(frozen=True)
class Fading(Stored):
    """Tones near a class's border, by what lies beside it; by class (`KINDS`), modality and depth (`DEPTHS_MM`).

    A tone is `level` + `far` times the mean difference from class to what lies beside it + `near` times how much more
    that difference is here than in the mean + `kept` times what the tone was beyond its mean at that depth.

    Attributes:
        level, far, near, kept: (3, 4, d), in normalised units or without one.
    """

    what = "fading"
    dtype = np.float32

    level: np.ndarray
    far: np.ndarray
    near: np.ndarray
    kept: np.ndarray

    def faded(self, layout: Layout, style: Style) -> Layout:
        """A layout whose tumour passes into its surroundings as in scans of that style; without tones as it is."""
        if layout.detail is None or not layout.detail.toned:
            return layout
        tones = [tone.copy() for tone in layout.detail.tones]
        for k, border in enumerate(borders(layout, style)):
            if border is None:
                continue
            inner = np.clip((_LAST_MM - border.depth) / (_LAST_MM - DEPTHS_MM[-1]), 0, 1)
            nearest = nearest_depth(border.depth)
            for m, (tone, own, beside) in enumerate(zip(tones, border.tones(layout), border.beside, strict=True)):
                mean = np.interp(border.depth, DEPTHS_MM, _means(nearest, own))
                own += inner * (self._tones(k, m, border.depth, own - mean, beside) - own)
                tone[border.at] = np.clip(np.rint(EVEN + own / TONE_STEP), 1, TONE_LEVELS)
        detail = Detail(*layout.detail.mixed, **dict(zip(TONES, tones, strict=True)))
        return replace(layout, detail=detail)

    def _tones(self, k: int, m: int, depth: np.ndarray, beyond: np.ndarray, beside: np.ndarray) -> np.ndarray:
        """(n,) tones by the statistic, of what they were beyond the mean at their depth: in normalised units."""
        tables = (self.level, self.far, self.near, self.kept)
        level, far, near, kept = (np.interp(depth, DEPTHS_MM, table[k, m]) for table in tables)
        away = beside.mean()
        return level + far * away + near * (beside - away) + kept * beyond


@dataclass(frozen=True)
class Border:
    """The voxels of a class near its border.

    Attributes:
        at: three (n,) indices of them.
        depth: (n,) mm below the border, at most `_LAST_MM`: of oedema the whole tumour's, else the class's own.
        beside: (4, n) how much brighter than the class what lies beside it there is, in normalised units.
    """

    at: tuple[np.ndarray, ...]
    depth: np.ndarray
    beside: np.ndarray

    def tones(self, layout: Layout) -> np.ndarray:
        """(4, n) the tones there, in normalised units."""
        return TONE_STEP * (np.stack([tone[self.at] for tone in layout.detail.tones]).astype(np.float32) - EVEN)


def borders(layout: Layout, style: Style) -> list[Border | None]:
    """Of each class (`KINDS`) what lies near its border; None where there is no such class, or nothing beside it."""
    inside, zooms = box_of(layout.tumour), spacing(layout.affine)
    if inside is None:
        return [None] * len(KINDS)
    box = widened(inside, _MARGIN_MM, zooms, layout.shape)
    tumour, tissue, detail = layout.tumour[box], layout.tissue[box], Detail(*(p[box] for p in layout.detail.mixed))
    tissues, classes = np.split(style.means(pure=True), [len(TISSUES)])
    shares = detail.shares(tissue).astype(np.float32) / EIGHTHS
    bright = np.where(tumour[..., None] > 0, classes[tumour.astype(np.intp) - 1], shares @ tissues)
    told = (tissue > 0) & (detail.void < _VOID)
    sigma = [_BESIDE_MM / zoom for zoom in zooms]
    out: list[Border | None] = []
    for kind, mean in zip(KINDS, classes, strict=True):
        own = tumour == kind
        if np.count_nonzero(own) < _FEW:
            out.append(None)
            continue
        others = (told & ~(tumour > 0 if kind == Tumour.ED else own)).astype(np.float32)
        weight = gaussian_filter(others, sigma)
        depth = depth_mm(tumour, kind, zooms)
        near = (depth <= _LAST_MM) & (weight[own] > _LEAST)
        if np.count_nonzero(near) < _FEW:
            out.append(None)
            continue
        here = tuple(part[near] for part in np.nonzero(own))
        beside = [gaussian_filter(bright[..., m] * others, sigma)[here] / weight[here] for m in range(len(MODALITIES))]
        at = tuple(part + axis.start for part, axis in zip(here, box, strict=True))
        out.append(Border(at, depth[near].astype(np.float32), np.stack(beside) - mean[:, None]))
    return out


def nearest_depth(depth: np.ndarray) -> np.ndarray:
    """(n,) which of `DEPTHS_MM` is nearest to each depth in mm."""
    return np.abs(depth[:, None] - np.array(DEPTHS_MM)).argmin(1)


def _means(nearest: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(d,) mean of (n,) values at each of `DEPTHS_MM`; of all where few voxels are so deep."""
    parts = [values[nearest == d] for d in range(len(DEPTHS_MM))]
    return np.array([part.mean() if len(part) >= _FEW else values.mean() for part in parts])


@cache
def shipped_fading() -> Fading:
    """The statistic that comes with the package."""
    return Fading.load(SHIPPED)
