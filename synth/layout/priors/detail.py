"""The detail prior: what scans show beyond one tissue a voxel, as a statistic of places, and detail drawn from it.

A voxel's place is told by the tissue map alone: how its surroundings are mixed, how far it lies from white matter
(the fluid of a sulcus is what lies farther from white matter than the cortex is thick), how deep below the brain's
surface and how high in the brain (sulci are widest at the vertex). For each kind of place the prior knows how often
which share of CSF, of white matter, of vessels and of void occurs in real brains; random fields as smooth as what
real maps have beyond that choose among them, so that sheets and banks move together. Shares are then averaged as
scans are that detail is taken from (`nonlocal_means`): what is flat becomes flat, sheets stay; and curves bring back
how often which share occurs. Vessels are trees (`vessels`), and what belongs to none lies where two random fields
both vanish: lines. Their blood takes the place of fluid, and void is more frequent in them than in fluid. Brains
differ: each has a leaning of its own in every layer. Fitted on training scans by `benchmarks/fit_detail_prior.py`; no
place in any brain can be read back from it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter, uniform_filter
from scipy.special import ndtr, ndtri

from synth.brats import Tissue
from synth.layout.detail import EIGHTHS, MIXED, Detail, softened
from synth.layout.nonlocal_means import averaged
from synth.layout.priors.fields import nearest_score, smooth_noise
from synth.layout.priors.stored import Stored
from synth.layout.priors.vessels import MIDDLE_MM, vessel_trees
from synth.layout.space import Box, box_of, eroded, midline, near, spacing, widened

SHIPPED = Path(__file__).parent / "weights" / "detail_prior.npz"
SCALES_MM = (1.0, 2.5, 6.0)  # deviations of the fields' blurs
VESSEL_MM = 4.0
_FAR_MM = (3.0, 4.5)  # from white matter
_DEPTHS_MM = (1.01, 2.1, 4.0, 6.0, 10.0, 25.0)  # below the brain's surface
_EXACT_MM = 7.0  # up to which it is told exactly
_HEIGHTS = (0.25, 0.75)  # of the brain's, from its base
_NEIGHBOURS = (1, 4, 9, 18)  # of 27 voxels that are fluid
MIXED_PLACES = (len(_FAR_MM) + 1, len(_HEIGHTS) + 1, len(_DEPTHS_MM) + 1, (EIGHTHS + 1) * (EIGHTHS + 2) // 2)
SHELLS = MIXED_PLACES[1] * MIXED_PLACES[2]
LINED_PLACES = (2, len(_DEPTHS_MM) + 1, len(_NEIGHBOURS) + 1, 3)
_MOST, _SCORES = 4.0, 513  # normal scores that are told apart: from -4 to 4
_PARTS, _FARTHEST = 64, 24  # how finely, and up to which, the squared distance from a line is told
_RIM = 2  # of the depths: what is the brain's rim
_OF_CSF, _OF_VESSELS = (1, 3, 6, 8), (1, 2, 4)  # levels from which void is another matter
GAINED = (2, len(_OF_CSF) + 1, len(_OF_VESSELS) + 1)
_BLOOD = np.array([0, 0.06, 0.18, 0.27, 0.55], np.float32)  # of a voxel, by levels of a vessel; it takes fluid's place
_LIKE_WHITE = np.float32(6.2)  # eighths of it look like white matter, the rest like grey
_FALX_MM, _FALX_THIN, _FALX_LEANS = 12.0, 1.5, 0.7  # patches; scores lost for each mm beside it; brains' own
_RARE, _PASSING = 1e-4, 5  # vessels are nowhere rarer; voxels over which how often they are passes smoothly
_LED = (0.9, 0.5)  # of the variance of scores of CSF and of white matter: what known levels decide
_SMOOTH_MM = 0.7  # of white matter's surface: single noisy voxels are none
_NOISE = 0.4  # eighths: of what is drawn, for averaging
_SOFTER = 0.9  # of white matter's deviations: ribbons and blades stand out more in geometry than in scans
FINER = 8  # parts of an eighth that are told apart in what is averaged


@dataclass(frozen=True)
class DetailPrior(Stored):
    """The fitted statistics; arrays as `benchmarks/fit_detail_prior.py` stores them.

    Attributes:
        shares: (2, places, 8) for each of `MIXED_PLACES` the probability of at most 0 to 7 eighths of CSF; and of what
            CSF leaves of a voxel, at most 0 to 7 eighths of white matter.
        lined: (2, places, 4) for each of `LINED_PLACES` the probability of at most 0 to 3 levels of vessels, of void.
        weights: (4, s) for each layer the parts of its variance that are smooth at `SCALES_MM`; vessels' are not used.
        leaning: (4,) deviation between brains of each layer's mean normal score.
        often: (60, 60, 39) how often real brains have a vessel at places of the BraTS grid, `vessels.STEP` apart, the
            same on both sides.
        gained: (`GAINED`) normal scores that void gains inside the brain and in its rim by how much CSF, and how much
            of a vessel, a voxel has (`among`).
        curves: (2, `SHELLS`, 65) eighths of CSF, and of white matter, that what is averaged stands for, by how high
            and how deep below the brain's surface it lies (`shell_of`); a `FINER` part of an eighth apart.
    """

    what = "detail prior"
    dtype = np.float16

    shares: np.ndarray
    lined: np.ndarray
    weights: np.ndarray
    leaning: np.ndarray
    often: np.ndarray
    gained: np.ndarray
    curves: np.ndarray

    def draw(
        self, tissue: np.ndarray, affine: np.ndarray, rng: np.random.Generator, levels: Sequence[np.ndarray] = ()
    ) -> Detail:
        """The detail of a brain of which only tissues are known, without tones.

        Args:
            tissue: (X, Y, Z) uint8 `Tissue`, complete underneath a tumour.
            affine: (4, 4) of the grid.
            rng: what it is drawn from; the same state gives the same detail.
            levels: where it is known how far inside fluid, and white matter, each voxel lies: two (X, Y, Z) of any
                unit. Shares then follow them, among voxels of one kind of place.
        """
        layers = [np.zeros(tissue.shape, np.uint8) for _ in MIXED]
        inside = box_of(tissue)
        if inside is None:
            return Detail(*layers)
        box = widened(inside, 2.0, spacing(affine), tissue.shape)
        flat, shell, vessels, banks = self.flat(tissue, affine, rng, box, levels)
        curves, place = self.curves.astype(np.float32), shell * self.curves.shape[2]
        csf, white = (curve.take(place + part) for curve, part in zip(curves, flat, strict=True))
        white = _softer(white, shell, tissue[box] > 0)
        blood = _BLOOD.take(vessels)
        csf, white = csf * (1 - blood), white * (1 - blood) + blood * _LIKE_WHITE
        csf, white = (np.rint(part).astype(np.uint8) for part in (csf, white))
        white = np.minimum(white, EIGHTHS - csf)
        void = self._void(*banks, csf, vessels)
        for layer, part in zip(layers, (csf, white, vessels, void), strict=True):
            layer[box] = part * (tissue[box] > 0)
        return Detail(*layers)

    def flat(
        self, tissue: np.ndarray, affine: np.ndarray, rng: np.random.Generator, box: Box, levels=()
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """What `draw` draws, before its curves, on a box around the brain.

        Returns:
            (2, x, y, z) uint8 `FINER` parts of eighths of CSF and of white matter; (x, y, z) which of `curves` holds;
            levels of vessels; and what `_void` takes, once shares are known.
        """
        zooms, brain = spacing(affine), tissue[box] > 0
        mixed, lined = places_of(tissue, zooms, box)
        found = []
        for k, (name, table) in enumerate(zip(MIXED, (*self.shares, *self.lined), strict=True)):
            place = mixed if k < len(self.shares) else lined
            known = levels[k][box] if k < len(levels) else None
            if name == "vessels":
                scores = _lines(place, brain, zooms, rng)
            else:
                scores = self._sheets(k, place, zooms, rng, known)
            if place is lined:
                _pass(scores, place, table, brain & rim_of(place) if name == "void" else brain)
            lean = np.clip(rng.standard_normal(), -2, 2)
            if name == "void":
                banks = place, scores, lean
            else:
                found.append(self._levels(k, table, place, scores, lean))
        csf, white, vessels = found
        vessels = np.maximum(vessels, vessel_trees(tissue[box], affine, box, self.often, rng))
        white = np.rint((EIGHTHS - csf) * (white / np.float32(EIGHTHS)))
        shares = np.stack([csf, white]).astype(np.float32) / np.float32(_NOISE)
        flat = averaged(shares, brain)
        _even_edge(flat, brain)
        return np.rint(flat * np.float32(_NOISE * FINER)).astype(np.uint8), shell_of(mixed), vessels, banks

    def _levels(self, k: int, table: np.ndarray, place: np.ndarray, scores: np.ndarray, lean: float) -> np.ndarray:
        """(x, y, z) uint8 levels of a layer that scores stand for in their kinds of place, in a brain of this lean."""
        own = np.sqrt(1 - self.leaning[k] ** 2) * _VALUES + self.leaning[k] * lean
        level = _above(ndtr(own), table.T[..., None])  # (places, scores)
        return level.ravel().take(place * _SCORES + nearest_score(scores, _MOST, _SCORES))

    def _void(self, place: np.ndarray, scores: np.ndarray, lean: float, csf: np.ndarray, vessels: np.ndarray):
        """(x, y, z) uint8 levels of void: rarer in fluid, more often where a vessel runs, whose blood flows away."""
        scores = scores + self.gained.astype(np.float32)[among(place, csf, vessels)]
        return self._levels(3, self.lined[1], place, scores, lean)

    def _sheets(self, k: int, place: np.ndarray, zooms, rng: np.random.Generator, levels=None) -> np.ndarray:
        """(x, y, z) float32: a smooth field of normal scores, or mostly what `levels` have."""
        total, left = np.zeros(place.shape, np.float32), 1.0
        if levels is not None:
            total += np.float32(np.sqrt(_LED[k])) * _standard(levels, place)
            left -= _LED[k]
        for scale, weight in zip(SCALES_MM, self.weights[k], strict=True):
            if weight:
                total += np.float32(np.sqrt(left * weight)) * smooth_noise(place.shape, zooms, scale, rng)[0]
        return total


def _softer(white: np.ndarray, shell: np.ndarray, brain: np.ndarray) -> np.ndarray:
    """White matter's eighths, where there is some and not all, nearer to their mean in the same shell by `_SOFTER`."""
    count = np.maximum(np.bincount(shell[brain], minlength=SHELLS), 1)
    mean = (np.bincount(shell[brain], white[brain], SHELLS) / count).astype(np.float32).take(shell)
    pure = np.abs(white - EIGHTHS / 2) >= (EIGHTHS - 1) / 2
    return np.where(pure, white, mean + np.float32(_SOFTER) * (white - mean))


def _standard(levels: np.ndarray, place: np.ndarray) -> np.ndarray:
    """(x, y, z) float32: levels in deviations from the mean of those in the same kind of place."""
    shape, place, levels = place.shape, place.ravel(), levels.ravel().astype(np.float64)
    count = np.maximum(np.bincount(place), 1)
    mean = np.bincount(place, levels) / count
    spread = np.sqrt(np.maximum(np.bincount(place, levels * levels) / count - mean**2, 1e-6))
    out = levels.astype(np.float32)
    out -= mean.astype(np.float32).take(place)
    out /= spread.astype(np.float32).take(place)
    return out.reshape(shape)


def _lines(place: np.ndarray, brain: np.ndarray, zooms, rng: np.random.Generator) -> np.ndarray:
    """(x, y, z) float32: normal scores that are highest along lines, where two smooth fields vanish.

    In the middle, where the falx is a sheet, they are highest in patches of that (`_falx`).
    """
    first, second = smooth_noise(place.shape, zooms, VESSEL_MM, rng, 2)
    away = first * first  # with the other's an exponential variable: how rarely a place lies nearer
    away += second * second
    away *= np.float32(_PARTS)
    nearest = ndtri(np.exp(-0.5 * (np.arange(_FARTHEST * _PARTS) + 0.5) / _PARTS)).astype(np.float32)
    scores = nearest.take(away.astype(np.int32), mode="clip")
    middle = brain & (place >= np.prod(LINED_PLACES[1:]))
    scores[middle] = _falx(place, middle, zooms, rng)
    return scores


def _falx(place: np.ndarray, middle: np.ndarray, zooms, rng: np.random.Generator) -> np.ndarray:
    """(n,) float32: normal scores of voxels in the middle, highest in patches of a sheet in the fluid there.

    The sheet is one voxel, where each line from left to right has most fluid around it; brains differ in how much of
    it shows.
    """
    inside = box_of(middle)
    if inside is None:
        return np.empty(0, np.float32)
    columns = inside[0]
    fluid = np.where(middle[columns], 1 + place[columns] // LINED_PLACES[3] % LINED_PLACES[2], 0).astype(np.float32)
    across = np.arange(len(fluid), dtype=np.float32)
    sigma = [_FALX_MM / 2 / zoom for zoom in zooms[1:]]
    total, where = (gaussian_filter(np.tensordot(part, fluid**2, 1), sigma) for part in (np.ones_like(across), across))
    apart = np.abs(across[:, None, None] - where / np.maximum(total, 1e-6)) * zooms[0]
    patches = smooth_noise((1, *place.shape[1:]), zooms, _FALX_MM, rng)[0]
    sheet = (patches - _FALX_THIN * np.maximum(apart - zooms[0] / 2, 0))[middle[columns]]
    ranks = np.empty(len(sheet))
    ranks[sheet.argsort(kind="stable")] = (np.arange(len(sheet)) + 0.5) / len(sheet)
    return np.sqrt(1 - _FALX_LEANS**2) * ndtri(ranks) + _FALX_LEANS * np.clip(rng.standard_normal(), -2, 2)


def _pass(scores: np.ndarray, place: np.ndarray, table: np.ndarray, there: np.ndarray) -> None:
    """Let how rarely a kind of place has any pass smoothly from voxel to voxel, among those `there`.

    Lines and banks are torn else, where kinds of place meet.
    """
    often = np.clip(1 - table[:, 0].astype(np.float32), _RARE, 1 - _RARE)
    own, weight = often.take(place), there.astype(np.float32)
    weight, around = (uniform_filter(part, _PASSING)[there] for part in (weight, weight * own))
    scores[there] += ndtri(np.clip(around / weight, _RARE, 1 - _RARE)) - ndtri(often).take(place[there])


def _even_edge(flat: np.ndarray, brain: np.ndarray) -> None:
    """Let voxels at the brain's very edge, which have few like them to be averaged with, be as those around them."""
    edge = brain & ~eroded(brain, 1)
    weight = brain.astype(np.float32)
    around = uniform_filter(weight, 3, mode="constant")[edge]
    for part in flat:
        part[edge] = uniform_filter(part * weight, 3, mode="constant")[edge] / around


def places_of(tissue: np.ndarray, zooms, box: Box) -> tuple[np.ndarray, np.ndarray]:
    """What kind of place each voxel of a box is: (x, y, z) int32 among `MIXED_PLACES`, and among `LINED_PLACES`.

    Args:
        tissue: (X, Y, Z) uint8 `Tissue`.
        zooms: mm of a voxel.
        box: around the brain, and two voxels more where the grid goes on.
    """
    labels = tissue[box]
    around = softened(labels)
    mixture = _MIXTURE[around.csf, around.wm]
    white = gaussian_filter((labels == Tissue.WM).astype(np.float32), [_SMOOTH_MM / zoom for zoom in zooms]) > 0.5
    far = _above(near(white, max(_FAR_MM) + 1, zooms), _FAR_MM)
    deep = _above(_depth(labels > 0, zooms), _DEPTHS_MM)
    levels = np.flatnonzero(labels.any((0, 1)))
    high = _above((np.arange(labels.shape[2]) - levels[0]) / max(len(levels) - 1, 1), _HEIGHTS)
    fluid = uniform_filter((labels == Tissue.CSF).astype(np.float32), 3, mode="constant")
    fluid = _above(fluid, (np.array(_NEIGHBOURS) - 0.5) / 27)
    left = np.arange(box[0].start, box[0].stop) - midline(tissue.shape)
    middle = (np.abs(left) * zooms[0] <= MIDDLE_MM)[:, None, None]
    own = np.maximum(labels, 1) - np.uint8(1)
    return _place((far, high, deep, mixture), MIXED_PLACES), _place((middle, deep, fluid, own), LINED_PLACES)


def _above(values: np.ndarray, edges) -> np.ndarray:
    """How many of a few edges values reach: uint8, as `numpy.digitize` tells, in a fifth of the time."""
    return sum((values >= edge).view(np.uint8) for edge in edges)


def _place(kinds, counts: Sequence[int]) -> np.ndarray:
    """The number, int32, of each combination of kinds, of which there are so many each."""
    place = np.int32(0)
    for kind, count in zip(kinds, counts, strict=True):
        place = place * np.int32(count) + kind
    return place


def shell_of(mixed: np.ndarray) -> np.ndarray:
    """Which of `SHELLS`, by height and depth, places are in; of the curves too. The outermost two are one."""
    shell = mixed // MIXED_PLACES[3] % SHELLS
    return shell + (shell % MIXED_PLACES[2] == 0)


def rim_of(lined: np.ndarray) -> np.ndarray:
    """Whether places among `LINED_PLACES` are in the brain's rim, where void lies in banks."""
    return lined // np.prod(LINED_PLACES[2:], dtype=np.int32) % LINED_PLACES[1] < _RIM


def among(lined: np.ndarray, csf: np.ndarray, vessels: np.ndarray) -> tuple[np.ndarray, ...]:
    """Indices of `DetailPrior.gained`: for places among `LINED_PLACES`, eighths of CSF and levels of vessels there."""
    return rim_of(lined).astype(np.int32), _above(csf, _OF_CSF), _above(vessels, _OF_VESSELS)


def _depth(brain: np.ndarray, zooms) -> np.ndarray:
    """Mm from outside the brain: exact near the surface, told on every third voxel where it is deep."""
    coarse = distance_transform_edt(np.pad(brain[::3, ::3, ::3], 1), [3 * z for z in zooms])[1:-1, 1:-1, 1:-1]
    rough = coarse.repeat(3, 0).repeat(3, 1).repeat(3, 2)[tuple(map(slice, brain.shape))]
    exact = near(~np.pad(brain, 1), _EXACT_MM, zooms)[1:-1, 1:-1, 1:-1]
    return np.where(np.isfinite(exact), exact, np.maximum(rough, _EXACT_MM))


def _mixtures() -> np.ndarray:
    """(9, 9) number of each mixture by its eighths of CSF and of white matter."""
    out, known = np.zeros((EIGHTHS + 1, EIGHTHS + 1), np.int32), np.add.outer(*[np.arange(EIGHTHS + 1)] * 2) <= EIGHTHS
    out[known] = np.arange(known.sum())
    return out


_MIXTURE = _mixtures()
_VALUES = np.linspace(-_MOST, _MOST, _SCORES)


@cache
def shipped_detail_prior() -> DetailPrior:
    """The prior that comes with the package."""
    return DetailPrior.load(SHIPPED)
