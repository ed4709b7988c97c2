"""How tumours pass into what lies around them, in the style that they are painted in.

An annotator draws a border amid a fading: in real scans the outermost millimetre of a class is nearly as bright as what
lies beside it there, whatever the class is deeper inside. How bright that is hangs on the style, so tones that were
drawn without one are brought to it when a layout is painted. Fitted on training scans by `benchmarks/fit_fading.py`.
"""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter

from synth.brats import MODALITIES, TISSUES, Tumour
from synth.layout.detail import EIGHTHS, EVEN, TONE_LEVELS, TONE_STEP, TONES, Detail
from synth.layout.layout import Layout
from synth.layout.priors.stored import load_arrays, save_arrays
from synth.layout.space import box_of, spacing, widened
from synth.style.style import Style

SHIPPED = Path(__file__).parent / "weights" / "fading.npz"
DEPTHS_MM = (1.0, 1.5, 2.0, 3.0, 4.0)
KINDS = tuple(Tumour)[1:]
_LAST_MM = 7.0  # where tones are as they were
_BESIDE_MM = 2.0  # deviation of the weights with which voxels beside a class say how bright it is there
_MARGIN_MM = 6.0
_VOID = 2  # quarters of void that have no say
_LEAST = 0.02  # of those weights
_FEW = 20  # voxels of a depth: fewer have no mean of their own


@dataclass(frozen=True)
class Fading:
    """Tones near a class's border, by what lies beside it; by class (`KINDS`), modality and depth (`DEPTHS_MM`).

    A tone is `level` + `far` times the mean difference from class to what lies beside it + `near` times how much more
    that difference is here than in the mean + `kept` times what the tone was beyond its mean at that depth.

    Attributes:
        level, far, near, kept: (3, 4, d), in normalised units or without one.
    """

    level: np.ndarray
    far: np.ndarray
    near: np.ndarray
    kept: np.ndarray

    def save(self, path: str | Path) -> None:
        """Write it as `load` reads it."""
        save_arrays(path, self, np.float32)

    @classmethod
    def load(cls, path: str | Path) -> "Fading":
        """Read what `save` wrote.

        Raises:
            LayoutError: the file is missing or no such statistic.
        """
        return cls(**load_arrays(path, cls, "fading"))

    def faded(self, layout: Layout, style: Style) -> Layout:
        """A layout whose tumour passes into its surroundings as in scans of that style; without tones as it is."""
        if layout.detail is None or not any(tone.any() for tone in layout.detail.tones):
            return layout
        tones = [tone.copy() for tone in layout.detail.tones]
        for k, border in enumerate(borders(layout, style)):
            if border is None:
                continue
            inner = np.clip((_LAST_MM - border.depth) / (_LAST_MM - DEPTHS_MM[-1]), 0, 1)
            for m, (tone, beside) in enumerate(zip(tones, border.beside, strict=True)):
                own = border.tones(layout)[m]
                own += inner * (self._tones(k, m, border.depth, own, beside) - own)
                tone[border.at] = np.clip(np.rint(EVEN + own / TONE_STEP), 1, TONE_LEVELS)
        detail = Detail(*layout.detail.mixed, **dict(zip(TONES, tones, strict=True)))
        return replace(layout, detail=detail)

    def _tones(self, k: int, m: int, depth: np.ndarray, own: np.ndarray, beside: np.ndarray) -> np.ndarray:
        """(n,) tones by the statistic, in normalised units."""
        level, far, near, kept = (np.interp(depth, DEPTHS_MM, table[k, m]) for table in self._tables)
        mean = np.interp(depth, DEPTHS_MM, means_by_depth(depth, own))
        away = beside.mean()
        return level + far * away + near * (beside - away) + kept * (own - mean)

    @property
    def _tables(self) -> tuple[np.ndarray, ...]:
        return self.level, self.far, self.near, self.kept


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
    tumour, brain = layout.tumour[box], layout.tissue[box] > 0
    mean = np.asarray(style.mean, np.float32)
    tissues = mean[: len(TISSUES)] if style.pure is None else np.asarray(style.pure, np.float32)
    shares = layout.detail.shares(layout.tissue)[box].astype(np.float32) / EIGHTHS
    bright = np.where(tumour[..., None] > 0, mean[len(TISSUES) - 1 + tumour.astype(np.intp)], shares @ tissues)
    told = brain & (layout.detail.void[box] < _VOID)
    sigma = [_BESIDE_MM / zoom for zoom in zooms]
    out: list[Border | None] = []
    for k, kind in enumerate(KINDS):
        own = tumour == kind
        within = tumour > 0 if kind == Tumour.ED else own
        others = (told & ~within).astype(np.float32)
        weight = gaussian_filter(others, sigma)
        depth = distance_transform_edt(np.pad(within, 1, mode="edge"), zooms)[1:-1, 1:-1, 1:-1]
        here = np.nonzero(own & (depth <= _LAST_MM) & (weight > _LEAST))
        if len(here[0]) < _FEW:
            out.append(None)
            continue
        beside = [gaussian_filter(bright[..., m] * others, sigma)[here] / weight[here] for m in range(len(MODALITIES))]
        at = tuple(part + axis.start for part, axis in zip(here, box, strict=True))
        differs = np.stack(beside) - mean[len(TISSUES) + k][:, None]
        out.append(Border(at, depth[here].astype(np.float32), differs))
    return out


def means_by_depth(depth: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(d,) mean of (n,) values about each of `DEPTHS_MM`; of all where few voxels are so deep."""
    nearest = np.abs(depth[:, None] - np.array(DEPTHS_MM)).argmin(1)
    parts = [values[nearest == d] for d in range(len(DEPTHS_MM))]
    return np.array([part.mean() if len(part) >= _FEW else values.mean() for part in parts])


@cache
def shipped_fading() -> Fading:
    """The statistic that comes with the package."""
    return Fading.load(SHIPPED)
