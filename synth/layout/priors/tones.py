"""The tone prior: how the inside of real gliomas varies in brightness, as a small statistic, and fields drawn from it.

Fitted on training scans by `benchmarks/fit_tone_prior.py`. In each class (necrosis, oedema, enhancing tumour) tones
of the four modalities have their own distribution (quantiles) and hang together (a Gaussian copula, Sklar 1959); how
far they spread differs between tumours; they change with depth, as oedema fades towards the edge of the tumour and
rims are brightest inside, and vary less there than at the edge; and they are smooth over millimetres: white noise
blurred at a few scales, whose weights give the measured correlation over distance. Around a tumour white matter fades
too: it has less of a voxel in the last millimetres before the border, which annotators draw amid the fading. No place
in any tumour can be read back from it.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from scipy.ndimage import distance_transform_edt
from scipy.special import ndtr

from synth.brats import MODALITIES, Tumour
from synth.layout.detail import EVEN, TONE_LEVELS, TONE_STEP
from synth.layout.priors.fields import nearest_score, smooth_noise
from synth.layout.priors.stored import Stored
from synth.layout.space import box_of, spacing, widened

SHIPPED = Path(__file__).parent / "weights" / "tone_prior.npz"
KINDS = tuple(Tumour)[1:]
SCALES_MM = (1.2, 2.5, 5.0, 10.0)  # deviations of the blurs
AROUND_MM = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)  # outside a tumour, where white matter's share is told
DEPTHS_MM = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 9.0, 13.0)  # where a class's tones are told (`depth_mm`)
_FAR_MM = 10.0  # up to where white matter beyond `AROUND_MM` is looked at
_MOST, _SCORES = 5.0, 4001  # normal scores that are told apart: from -5 to 5


@dataclass(frozen=True)
class TonePrior(Stored):
    """The fitted statistics; arrays as `benchmarks/fit_tone_prior.py` stores them, classes in the order of `KINDS`.

    Attributes:
        quantiles: (3, 4, q) tones at q equally spaced probabilities, in deviations of their tumour's.
        spread: (3, 4) median over tumours of that deviation, in normalised units.
        varies: (3, 4) deviation of its logarithm between tumours.
        together: (3, 4, 4) correlations of the modalities' normal scores.
        depth: (3, 4, d) mean normal score at `DEPTHS_MM`.
        wide: (3, 4, d) deviation of normal scores from that mean there.
        weights: (3, 4, s) shares of the variance at `SCALES_MM`; they sum to 1.
        around: (a,) white matter's share in voxels `AROUND_MM` outside a tumour, over that far away.
    """

    what = "tone prior"
    dtype = np.float32

    quantiles: np.ndarray
    spread: np.ndarray
    varies: np.ndarray
    together: np.ndarray
    depth: np.ndarray
    wide: np.ndarray
    weights: np.ndarray
    around: np.ndarray

    def draw(self, tumour: np.ndarray, affine: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
        """Tones of a new tumour: four (X, Y, Z) uint8 as `Detail.tones`, 0 outside it.

        Args:
            tumour: (X, Y, Z) uint8 `Tumour`.
            affine: (4, 4) of the grid.
            rng: what they are drawn from; the same state gives the same tones.
        """
        tones = [np.zeros(tumour.shape, np.uint8) for _ in MODALITIES]
        inside, zooms = box_of(tumour), spacing(affine)
        if inside is None:
            return tones
        box = widened(inside, 2.0, zooms, tumour.shape)
        labels = tumour[box]
        varied = rng.standard_normal((len(KINDS), len(MODALITIES)))
        noise = np.stack([smooth_noise(labels.shape, zooms, scale, rng, len(MODALITIES)) for scale in SCALES_MM])
        noise = noise.reshape(len(SCALES_MM), len(MODALITIES), -1)  # the same for all classes
        for k, kind in enumerate(KINDS):
            here = labels == kind
            if not here.any():
                continue
            at, deep = np.flatnonzero(here), depth_mm(labels, kind, zooms)
            scores = np.einsum("ms,smn->mn", np.sqrt(self.weights[k]), noise.take(at, -1))
            scores = np.linalg.cholesky(self.together[k]) @ scores
            for m, tone in enumerate(tones):
                score = np.interp(deep, DEPTHS_MM, self.depth[k, m])
                wide = np.interp(deep, DEPTHS_MM, self.wide[k, m])
                # so that all together are as varied as the statistic says, whatever depths this tumour has
                score -= score.mean()
                wide *= np.sqrt(max(1 - score.var(), 0.05) / np.square(wide).mean())
                score += scores[m] * wide
                tone[box][here] = self._tones_of(k, m, varied[k, m]).take(nearest_score(score, _MOST, _SCORES))
        return tones

    def faded(self, wm: np.ndarray, tumour: np.ndarray, affine: np.ndarray) -> np.ndarray:
        """White matter's eighths (X, Y, Z) around a tumour, less towards its border, unless they are already.

        What a scan says of a tumour's surroundings goes along with it where a brain is mirrored, bent or cropped.
        """
        inside, zooms = box_of(tumour), spacing(affine)
        if inside is None:
            return wm
        box = widened(inside, _FAR_MM, zooms, tumour.shape)
        away = distance_transform_edt(tumour[box] == 0, zooms)
        white = (away > 0) & (wm[box] > 0)
        near, far = white & (away <= max(AROUND_MM[0], *zooms)), white & (away > AROUND_MM[-1]) & (away <= _FAR_MM)
        if not near.any() or not far.any() or wm[box][near].mean() < (1 + self.around[0]) / 2 * wm[box][far].mean():
            return wm
        part = np.where(away > 0, np.interp(away, (*AROUND_MM, AROUND_MM[-1] + 1), (*self.around, 1)), 1)
        out = wm.copy()
        out[box] = np.rint(out[box] * part)
        return out

    def _tones_of(self, k: int, m: int, varied: float) -> np.ndarray:
        """(`_SCORES`,) uint8: the tone of each normal score in a tumour that varies by so much."""
        probability = ndtr(np.linspace(-_MOST, _MOST, _SCORES))
        value = np.interp(probability, np.linspace(0, 1, self.quantiles.shape[-1]), self.quantiles[k, m])
        value *= self.spread[k, m] * np.exp(self.varies[k, m] * varied)
        return np.clip(np.rint(EVEN + value / TONE_STEP), 1, TONE_LEVELS).astype(np.uint8)


def depth_mm(tumour: np.ndarray, kind: Tumour, zooms: tuple[float, ...]) -> np.ndarray:
    """How deep each voxel of a class lies, (n,) in mm: oedema below the tumour's surface, the others below their own.

    Args:
        tumour: (X, Y, Z) `Tumour`, a border of at least one voxel without around it.
        kind: the class; n voxels have it.
        zooms: mm a voxel.
    """
    here = tumour == kind
    inside = tumour > 0 if kind == Tumour.ED else here
    box = widened(box_of(inside), 1, (1, 1, 1), tumour.shape)
    return distance_transform_edt(inside[box], zooms)[here[box]]


@cache
def shipped_tone_prior() -> TonePrior:
    """The prior that comes with the package."""
    return TonePrior.load(SHIPPED)
