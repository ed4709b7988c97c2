"""Simple nested random tumours, for brains that have none: smooth blobs with a rim, in oedema.

Volumes, composition and place are drawn from distributions measured on 148 real maps
(`benchmarks/measure_real_maps.py`); the outline is an ellipsoid roughened by smooth random fields. No real shape is
copied or stored.
"""

from dataclasses import asdict, dataclass, fields

import numpy as np
from scipy.ndimage import uniform_filter

from synth.brats import GRID, Tissue, Tumour
from synth.errors import LayoutError
from synth.layout.edits.motion import rotation
from synth.layout.edits.placing import Ground, direction, find_shift, nearby, settled
from synth.layout.law import MAX_BRAIN_SHARE
from synth.layout.layout import Layout
from synth.layout.space import Box, box_of, components, midline, spacing, ventricles, without_holes
from synth.layout.warp import random_field

# Mean and standard deviation over the 148 maps
LOG_WHOLE_ML = (4.393, 0.782)  # natural logarithm of the whole tumour's volume
LOGIT_CORE_SHARE = (-0.774, 1.111)  # TC of WT
LOGIT_NECROSIS_SHARE = (-0.345, 1.961)  # NCR of TC
NO_ENHANCEMENT = 0.06  # 9 of 148 have no ET
PLACE = ((28.9, 9.1), (128.6, 23.7), (80.3, 16.2))  # voxels: distance from the midline, y, z of the centroid
SIZE_PLACE = -0.3  # correlation of log volume and distance from the midline: the largest lie more central
WHOLE_ML = (7.0, 220.0)  # drawn volumes stay between the 1st and the 97th percentile
VENTRICLE = 0.5  # how much a core avoids ventricles, relative to the tumour's radius
OTHER_SIDE = 0.4  # how much a tumour avoids the other hemisphere, likewise


@dataclass(frozen=True)
class TumourShape:
    """One tumour before it is painted: size, composition, place, outline.

    Attributes:
        whole_ml: volume of NCR, ED and ET together.
        core_share: of it, NCR and ET; 0 to 1.
        necrosis_share: of these, NCR; 0 to 1.
        centre: (3,) voxel index.
        axes: (3,) relative lengths of the ellipsoid, product about 1.
        degrees: the ellipsoid's turn about `axis`.
        axis: (3,) its axis.
        roughness: of the outline, relative to the radius.
        white_matter: how strongly oedema prefers it, relative to the radius.
        seed: of the random fields.
    """

    whole_ml: float
    core_share: float
    necrosis_share: float
    centre: tuple[float, float, float]
    axes: tuple[float, float, float]
    degrees: float
    axis: tuple[float, float, float]
    roughness: float
    white_matter: float
    seed: int

    @property
    def radius(self) -> float:
        """Of a ball of the same volume, mm."""
        return (3000 * self.whole_ml / (4 * np.pi)) ** (1 / 3)

    def to_dict(self) -> dict:
        """A JSON-able dict; `from_dict` reads it back."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, record: dict) -> "TumourShape":
        """The shape of a dict made by `to_dict`.

        Raises:
            LayoutError: an entry is missing or unknown.
        """
        names = {spec.name for spec in fields(cls)}
        if set(record) != names:
            raise LayoutError(f"tumour shape: expected the entries {sorted(names)}, found {sorted(record)}.")
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in record.items()})

    def apply(self, layout: Layout) -> Layout:
        """`layout` with this tumour in place of its own; its volumes are met as far as the anatomy has room."""
        zooms = spacing(layout.affine)
        box = self._box(layout, zooms)
        tissue = layout.tissue[box]
        deep = ventricles(layout.tissue, zooms, box)
        outline, oedema, inner = self._fields(box, zooms)
        outline += OTHER_SIDE * self.radius * self._beyond(box, layout.shape)
        voxels = self.whole_ml * 1000 / np.prod(zooms)
        # a core rather grows elsewhere, but it swallows a ventricle that it has surrounded
        core = _lowest(outline + VENTRICLE * self.radius * deep, tissue > 0, self.core_share * voxels)
        core = without_holes(core, zooms) & (tissue > 0)
        # oedema surrounds the core: what is near it, in white matter first, never in a ventricle
        reach = 0.75 * outline + oedema + self.white_matter * self.radius * (1 - _blurred(tissue == Tissue.WM, zooms))
        whole = core | _lowest(np.where(core, -np.inf, reach), (tissue > 0) & ~deep | core, voxels)
        necrosis = _lowest(outline + 1.5 * inner, core, self.necrosis_share * np.count_nonzero(core))
        labels = np.where(whole, np.uint8(Tumour.ED), np.uint8(0))
        labels[core] = Tumour.ET
        labels[necrosis] = Tumour.NCR
        return settled(layout, np.where(_largest(whole), labels, np.uint8(0)), box).layout

    def _beyond(self, box: Box, shape) -> np.ndarray:
        """1 on the other side of the midline than the centre, 0 on this one; broadcastable."""
        side = np.arange(box[0].start, box[0].stop) - midline(shape)
        return (side * (self.centre[0] - midline(shape)) < 0).astype(np.float32)[:, None, None]

    def _box(self, layout: Layout, zooms) -> Box:
        reach = 1.75 * self.radius * max(self.axes)
        return tuple(
            slice(max(int(c - reach / z), 0), min(int(c + reach / z) + 2, n))
            for c, z, n in zip(self.centre, zooms, layout.shape, strict=True)
        )

    def _fields(self, box: Box, zooms) -> list[np.ndarray]:
        """The outline's level (mm from the centre of the ellipsoid, roughened) and two more rough fields, in mm."""
        turn = rotation(self.degrees, self.axis) / np.asarray(self.axes)[:, None]
        lines = [
            (np.arange(p.start, p.stop, dtype=np.float32) - np.float32(c)) * np.float32(z)
            for p, c, z in zip(box, self.centre, zooms, strict=True)
        ]
        x, y, z = lines[0][:, None, None], lines[1][None, :, None], lines[2][None, None, :]
        level = sum((np.float32(a) * x + np.float32(b) * y + np.float32(c) * z) ** 2 for a, b, c in turn)
        level = np.sqrt(level, out=level)
        coarse = random_field(box, zooms, self.roughness * self.radius, max(0.8 * self.radius, 6), self.seed)
        fine = random_field(box, zooms, 0.4 * self.roughness * self.radius, max(0.3 * self.radius, 4), self.seed + 1)
        rough = [
            (a + b) * np.float32(z)
            for a, b, z in zip(coarse.displacement(box), fine.displacement(box), zooms, strict=True)
        ]
        return [level + rough[0], rough[1], rough[2]]


def draw_tumour(layout: Layout, rng: np.random.Generator) -> TumourShape:
    """A tumour that fits into this brain, with the volumes, composition and place of real ones.

    Args:
        layout: the brain; a tumour it has is ignored.
        rng: where the numbers come from.

    Raises:
        LayoutError: the brain is too small for any place.
    """
    zooms = np.array(spacing(layout.affine))
    brain_ml = np.count_nonzero(layout.tissue) * np.prod(zooms) / 1000
    if not brain_ml:
        raise LayoutError(f"layout {layout.id or '(unnamed)'}: it has no brain to put a tumour into.")
    deviation = rng.standard_normal()
    largest = min(WHOLE_ML[1], 0.8 * MAX_BRAIN_SHARE * brain_ml)
    whole = float(np.clip(np.exp(LOG_WHOLE_ML[0] + LOG_WHOLE_ML[1] * deviation), min(WHOLE_ML[0], largest), largest))
    core = _logistic(rng.normal(*LOGIT_CORE_SHARE))
    necrosis = 1.0 if rng.random() < NO_ENHANCEMENT else _logistic(rng.normal(*LOGIT_NECROSIS_SHARE))
    axes = np.exp(rng.normal(0, 0.18, 3))
    axes /= np.prod(axes) ** (1 / 3)
    rest = {
        "whole_ml": round(whole, 2),
        "core_share": round(core, 3),
        "necrosis_share": round(necrosis, 3),
        "axes": tuple(round(float(v), 3) for v in axes),
        "degrees": round(float(rng.uniform(0, 180)), 1),
        "axis": tuple(round(float(v), 4) for v in direction(rng)),
        "roughness": round(float(rng.uniform(0.12, 0.28)), 3),
        "white_matter": round(float(rng.uniform(0.2, 0.6)), 3),
        "seed": int(rng.integers(2**31)),
    }
    return TumourShape(centre=_draw_centre(layout, rest, deviation, rng), **rest)


def _draw_centre(layout: Layout, rest: dict, deviation: float, rng) -> tuple[float, float, float]:
    """A place as in real tumours, shifted until a ball of this volume lies mostly in one hemisphere's tissue."""
    zooms, shape = np.array(spacing(layout.affine)), np.array(layout.shape)
    radius = (3000 * rest["whole_ml"] / (4 * np.pi)) ** (1 / 3)
    points = rng.standard_normal((1500, 3))
    points *= (rng.random((1500, 1)) ** (1 / 3) * radius) / np.linalg.norm(points, axis=1, keepdims=True)
    core = np.linalg.norm(points, axis=1) < radius * rest["core_share"] ** (1 / 3)
    ground, scale = Ground(layout), shape / np.array(GRID)
    side = 1 if rng.random() < 0.5 else -1
    (x_mean, x_spread), y, z = PLACE
    lateral = rng.normal(x_mean + SIZE_PLACE * x_spread * deviation, x_spread * np.sqrt(1 - SIZE_PLACE**2))
    start = np.array(
        [midline(layout.shape) + side * abs(lateral) * scale[0], rng.normal(*y) * scale[1], rng.normal(*z) * scale[2]]
    )
    placed = (start + points / zooms).astype(np.float32)
    shift = find_shift(placed, core, ground, nearby(rng, growth_mm=0.6), across=0.12)
    return tuple(round(float(v), 1) for v in start + np.array(shift) / zooms)


def _lowest(level: np.ndarray, room: np.ndarray, voxels: float) -> np.ndarray:
    """The `voxels` voxels of `room` with the lowest level."""
    values = level[room]
    count = min(round(voxels), values.size)
    if count <= 0:
        return np.zeros(level.shape, bool)
    return room & (level <= np.partition(values, count - 1)[count - 1])


def _blurred(mask: np.ndarray, zooms) -> np.ndarray:
    """`mask` averaged over about 5 mm, twice: close to a Gaussian and much faster."""
    size = [max(round(5.0 / z), 1) for z in zooms]
    return uniform_filter(uniform_filter(mask.astype(np.float32), size), size)


def _largest(mask: np.ndarray) -> np.ndarray:
    out, box = np.zeros_like(mask), box_of(mask)
    if box is not None:
        pieces, sizes = components(mask[box])
        out[box] = pieces == sizes.argmax()
    return out


def _logistic(value: float) -> float:
    return float(np.clip(1 / (1 + np.exp(-value)), 0.02, 0.98))
