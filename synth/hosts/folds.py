"""The folded cortex: sulci that no atlas has, different in every brain, as distances on the atlas's grid.

A sulcus is a sheet of fluid that runs inwards from the brain's surface: where a pattern of waves that is drawn on the
surface, and bends with depth, is zero. Cortex is what lies within its thickness of the surface or of a sheet, and white
matter is what is left: so gyri have blades of white matter, an even ribbon of grey, and fluid only where it is thin.
The cerebellum is folded finer, in sheets about its own axis. Where there is no cortex (deep nuclei, brainstem, around
the ventricles) the atlas's own log ratios are taken for distances.

Distances are told in whole sixteenths of a mm, in which a comparison is the same on every machine.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter

from synth.brats import AFFINE
from synth.layout.atlas import LINING_MM, SoftAtlas, soft_atlas
from synth.layout.priors.fields import smooth_noise
from synth.layout.priors.stored import in_bytes, of_bytes, shipped_arrays
from synth.layout.space import MIDLINE, components, near, spacing

SHIPPED = Path(__file__).parent / "weights" / "surface.npz"
PER_MM = 16
REACH_MM = 4  # up to which distances are told
_PARTS = 64  # that a place and a share are counted in
_TURN = 1024  # parts of a wave
_WAVES = 20
_SPREAD = 0.2  # of the waves' lengths
_BEND, _BEND_MM = 0.2, 8.0
_FOOT_MM = 2.5  # over which feet are averaged: a rough surface tears sheets
_DEEPEST_MM = 22.0  # below the brain's surface
_DEPTH_MM, _WIDTH_MM = 8.0, 8.0
_OPENS, _OPENS_MM = 14.0, 4.0  # how much wider sulci are at the surface, and how far below
_SURELY_GREY = 1.3  # log ratio by which the atlas says that there is no white matter
_FOLIUM = 0.55  # of the cerebrum's: thickness of the cerebellum's cortex and fluid
_STEEP = 0.04  # the least slope of the pattern: where it is flat a zero is no sheet
_FOLIUM_TURNS = 18  # sheets of the cerebellum in a full turn about its axis
_AXIS = (158.0, 46.0)  # y, z of that axis
_FLAT = np.cos(np.arange(_TURN) * (2 * np.pi / _TURN)).astype(np.float32)


@dataclass(frozen=True)
class Pattern:
    """How one brain's cortex is folded; lengths in mm.

    Attributes:
        wave_mm: length of the surface's waves; sheets are half of one apart.
        depth: how deep sulci are, times the usual.
        width_mm: half the width of a sheet of fluid.
        cortex_mm: thickness of the cortex.
    """

    wave_mm: float
    depth: float
    width_mm: float
    cortex_mm: float


@dataclass(frozen=True)
class _Surface:
    """What all brains' cortices have in common, on the atlas's box.

    Attributes:
        fluid: (x, y, z) mm outside the cortex's surface, negative below it.
        places: (n,) flat indices of the voxels that may be folded.
        halves: (n,) the same on the grid of every second voxel.
        foot: (3, n) float32, the place on the surface above each of them, in voxels.
        deep: (n,) mm below the surface.
        share: (n,) 0..1, how far they are cortex's rather than the atlas's own.
        left: (n,) bool, of the hemisphere that comes first on the grid.
        folia: (n,) bool, of the cerebellum.
        turn: parts of a wave about the cerebellum's axis, of the voxels of `folia`.
        white: (n,) mm by which they lie in what is surely white matter, where a sulcus ends.
        opening: (n,) float32, how much wider a sulcus is there than deep inside.
    """

    fluid: np.ndarray
    places: np.ndarray
    halves: np.ndarray
    foot: np.ndarray
    deep: np.ndarray
    share: np.ndarray
    left: np.ndarray
    folia: np.ndarray
    turn: np.ndarray
    white: np.ndarray
    opening: np.ndarray

    def save(self, path: str | Path) -> None:
        """Write what is slow to make, as `_surface` reads it: without loss, as it is whole 64ths and squares of mm."""
        share = np.zeros(self.fluid.shape, np.uint8)
        share.reshape(-1)[self.places] = self.share * _PARTS
        above = np.where(self.fluid > -REACH_MM, self.fluid + 0.5, 0)
        rows = np.stack([*(self.foot * _PARTS), np.rint(np.square(self.deep + 0.5, dtype=float))]).astype(np.int16)
        changes = np.diff(rows, 2, prepend=np.zeros((len(rows), 2), np.int16))  # of changes, modulo 2 ** 16
        squares = np.rint(np.square(above, dtype=float)).astype(np.uint8)
        np.savez_compressed(path, mm2=squares, share=share, **in_bytes(changes))


def folded(atlas: SoftAtlas, pattern: Pattern, csf, white, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """How far inside fluid, and how far inside white matter where it is not fluid, each voxel of the atlas's box lies.

    Args:
        atlas: the brain before it is folded.
        pattern: of its folds.
        csf: log weight of CSF, a number or an array on the box: for where nothing folds.
        white: log weight of white matter, likewise.
        rng: what the folds are drawn from.

    Returns:
        two (x, y, z) int16, mm times `PER_MM`, cut at `REACH_MM`; negative outside.
    """
    ground = _surface()
    away = _distance_to_sheets(ground, pattern, atlas, rng)
    wide, thick = _fields(ground, atlas, _WIDTH_MM, rng, 2)
    fine = np.where(ground.folia, np.float32(_FOLIUM), np.float32(1))
    wide = pattern.width_mm * fine * np.clip(1 + 0.5 * wide, 0.4, 2) * ground.opening
    thick = pattern.cortex_mm * fine * np.clip(1 + 0.1 * thick, 0.7, 1.3)
    fluid, pale = np.maximum(atlas.csf + csf, ground.fluid), atlas.white + white
    wet, known = (part.ravel()[ground.places] for part in (fluid, pale))
    sheets = np.maximum.reduce([wide - away, -ground.deep, wet])
    cortex = np.minimum(np.minimum(ground.deep, away - wide) - thick, known + _SURELY_GREY)
    for levels, there, own in ((fluid, wet, sheets), (pale, known, cortex)):
        there, own = (np.clip(part, -REACH_MM, REACH_MM) for part in (there, own))
        levels.reshape(-1)[ground.places] = there + ground.share * (own - there)
    return tuple(np.rint(np.clip(part, -REACH_MM, REACH_MM) * PER_MM).astype(np.int16) for part in (fluid, pale))


def _distance_to_sheets(ground: _Surface, pattern: Pattern, atlas: SoftAtlas, rng) -> np.ndarray:
    """(n,) mm from the middle of the nearest sheet of fluid, sideways or below its end."""
    bent = _BEND * np.minimum(ground.deep, _DEEPEST_MM)
    look = ground.foot + bent * _fields(ground, atlas, _BEND_MM, rng, 3)
    depth, turn = _fields(ground, atlas, _DEPTH_MM, rng, 2)
    height = np.empty(len(ground.places), np.float32)
    for side in (ground.left, ~ground.left):
        height[side] = _waves(look[:, side], pattern.wave_mm, rng)
    height[ground.folia] = _wave(ground.turn + (0.4 * _TURN) * turn[ground.folia])
    full = np.zeros(atlas.csf.shape, np.float32)
    full.reshape(-1)[ground.places] = height
    full = _softened(full)
    slope = sum(np.square(np.gradient(full, axis=axis)).ravel()[ground.places] for axis in range(3))
    away = np.abs(full.ravel()[ground.places]) / np.maximum(np.sqrt(slope), _STEEP)
    ends = pattern.depth * np.interp(depth, (-1.3, -0.6, 1.2), (2, 9, _DEEPEST_MM))  # some are dimples, some go deep
    ends = np.where(ground.folia, np.interp(depth, (-1.5, 1.5), (4, 12)), ends)
    below = np.maximum(ground.deep - ends, 0) + ground.white
    return np.sqrt(np.square(away) + np.square(below)).astype(np.float32)


def _fields(ground: _Surface, atlas: SoftAtlas, scale_mm: float, rng, count: int) -> np.ndarray:
    """(count, n) random fields of unit variance, smooth over `scale_mm`, where the cortex may fold."""
    fields = smooth_noise(atlas.half_shape, (2.0, 2.0, 2.0), scale_mm, rng, count)
    return fields.reshape(count, -1).take(ground.halves, 1)


def _waves(places: np.ndarray, length: float, rng) -> np.ndarray:
    """Waves of about one length from all sides, of unit variance together, at (3, n) places."""
    waves = rng.standard_normal((_WAVES, 3))
    waves *= _TURN / length / np.linalg.norm(waves, axis=1, keepdims=True)
    waves *= rng.uniform(1 - _SPREAD, 1 + _SPREAD, (_WAVES, 1))
    total = np.zeros(places.shape[1], np.float32)
    for wave, start in zip(np.rint(waves * 64) / 64, rng.integers(_TURN, size=_WAVES), strict=True):
        total += _wave(
            sum(np.float32(along) * place for along, place in zip(wave, places, strict=True)) + np.float32(start)
        )
    return total * np.float32(np.sqrt(2 / _WAVES))


def _wave(phase: np.ndarray) -> np.ndarray:
    """The cosine of phases in parts of a turn."""
    return _FLAT.take(np.rint(phase).astype(np.int32) & (_TURN - 1))


def _softened(values: np.ndarray) -> np.ndarray:
    """Means over three voxels along each axis, the middle one twice: where two flanks meet, waves do not."""
    for axis in range(3):
        line = np.moveaxis(values, axis, 0)
        out = np.empty_like(line)
        out[1:-1] = (line[:-2] + line[2:] + 2 * line[1:-1]) / 4
        out[[0, -1]] = line[[0, -1]]
        values = np.moveaxis(out, 0, axis)
    return values


@cache
def _surface() -> _Surface:
    """The atlas's as it is shipped, `_made_surface` stored by `benchmarks/store_atlas.py`; read once per process.

    Raises:
        LayoutError: the file is missing or damaged.
    """
    atlas = soft_atlas()
    with shipped_arrays(SHIPPED, "the cortex's surface") as stored:
        rows = of_bytes(stored)
        for _ in range(2):
            np.cumsum(rows, 1, np.int16, rows)
        surface = _derived(atlas, stored["mm2"], stored["share"], rows[3], rows[:3])
    soft_atlas.cache_clear()  # 28 MB: brains are bent from it as the prior corrects it
    return surface


def _made_surface() -> _Surface:
    """The atlas's: a second."""
    atlas = soft_atlas()
    brain = atlas.outside <= 0
    _, y, z, side = _lines(atlas)
    inner = atlas.inner <= LINING_MM
    open_ = ~brain | brain & ~inner & (atlas.csf > 0.2) | (side <= 1) & (atlas.csf > -1.0)
    pieces, _ = components(open_)
    open_ = pieces == pieces[0, 0, 0]  # fissures that reach the outside; what is enclosed is no surface
    deep, feet = distance_transform_edt(~open_, return_indices=True)
    above = np.minimum(near(~open_, REACH_MM, spacing(AFFINE)), REACH_MM)
    cerebrum = (z > np.where(y > 140, 62, 44)) | (y > 140)
    core = (side < 32) & (y > 85) & (y < 165) & (z < 84)  # basal ganglia, thalamus
    share = gaussian_filter((brain & cerebrum & ~core & ~inner).astype(np.float32), 1.5)
    under = brain & ~open_
    share = np.clip(np.rint(_PARTS * (2 * share - 0.5)), 0, _PARTS) * under
    places = np.flatnonzero(share)
    above, deep = (np.rint(np.square(part, dtype=float)).astype(np.int16) for part in (above, deep.ravel()[places]))
    return _derived(atlas, above, share, deep, _evened(feet, under, places))


def _lines(atlas: SoftAtlas) -> tuple[np.ndarray, ...]:
    """x, y and z of the grid along the atlas's box, and voxels from the midline, along x."""
    x, y, z = (part.astype(np.int32) for part in np.ogrid[atlas.box])
    return x, y, z, np.abs(x - MIDLINE)


def _derived(atlas: SoftAtlas, above, share, deep, foot) -> _Surface:
    """The surface, of what is slow to make.

    Args:
        atlas: whose surface it is.
        above: (x, y, z) whole mm² outside the surface, at most those of `REACH_MM`; 0 below it.
        share: (x, y, z) in 64ths; 0 where nothing folds.
        deep: (n,) whole mm² below the surface where it is not.
        foot: (3, n) the places above, in 64ths.
    """
    places = np.flatnonzero(share)
    index = np.unravel_index(places, share.shape)
    x, y, z, side = _lines(atlas)
    folia = ((y > 135) & (z < 44 + 0.6 * np.maximum(30 - side, 0))).ravel()[places]
    angle = np.arctan2(index[2][folia] + z.min() - _AXIS[1], index[1][folia] + y.min() - _AXIS[0])
    known = np.sqrt(np.arange(deep.max() + 1)).astype(np.float32) - np.float32(0.5)  # mm by mm²
    opening = np.rint(64 * (1 + _OPENS * np.exp(-known / _OPENS_MM))).astype(np.float32) / 64
    fluid = known[: REACH_MM**2 + 1].copy()
    fluid[0] = -REACH_MM
    return _Surface(
        fluid=fluid[above],
        places=places,
        halves=np.ravel_multi_index([part // 2 for part in index], atlas.half_shape),
        foot=foot / np.float32(_PARTS),
        deep=known[deep],
        share=share.ravel()[places] / np.float32(_PARTS),
        left=index[0] < round(MIDLINE) - x.min(),
        folia=folia,
        turn=np.rint(angle * (_FOLIUM_TURNS / 2 * _TURN / (2 * np.pi))).astype(np.float32),
        white=1.5 * np.maximum(atlas.white.ravel()[places] - np.float32(2.4), 0),
        opening=opening[deep],
    )


def _evened(feet: np.ndarray, under: np.ndarray, places: np.ndarray) -> np.ndarray:
    """(3, n) means over `_FOOT_MM` of the feet that lie `under` it, in whole 64ths: the same on every machine."""

    def blurred(values: np.ndarray) -> np.ndarray:
        return gaussian_filter(values.astype(np.float32), _FOOT_MM, truncate=2.0).ravel()[places]

    weight = np.maximum(blurred(under), 1e-3)
    return np.stack([np.rint(_PARTS * blurred(under * part) / weight) for part in feet])
