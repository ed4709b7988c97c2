"""From a drawn tumour to labels in a brain: level sets of the learned shape, roughened, fitted to the anatomy.

The regions are sub-level sets, cut where they have the volumes that were drawn: so volume and composition are met
exactly as far as the brain has room, whatever the anatomy does to the outline.
"""

from typing import Protocol

import numpy as np
from scipy.ndimage import spline_filter

from synth.brats import Tissue, Tumour
from synth.layout.edits.depth import blurred, lowest
from synth.layout.edits.edit import Outcome
from synth.layout.edits.placing import settled
from synth.layout.law import PIECE_MM3
from synth.layout.layout import Layout
from synth.layout.priors.tumour import REACH, TumourPrior
from synth.layout.space import Box, ball_radius, components, midline, spacing, ventricles
from synth.layout.warp import SplineField, random_field

REST_STEP = 0.36  # radii: reach of what the principal directions leave out, by its correlation in left-out maps
FINE_STEP_MM = 1.7  # of the annotator's hand
INNER_HAND = 0.6  # how much of its roughness core and necrosis have
VENTRICLE = 0.5  # radii by which a core avoids ventricles
OTHER_SIDE = 0.13  # radii by which a tumour avoids the other hemisphere


class Shape(Protocol):
    """What `grow_tumour` needs to know; `edits.new.New` has it."""

    whole_ml: float
    core_share: float
    necrosis_share: float
    centre: tuple[float, float, float]
    latents: tuple[float, ...]
    irregularity: float
    raggedness: float
    white_matter: float
    seed: int


def grow_tumour(layout: Layout, shape: Shape, prior: TumourPrior) -> Outcome:
    """`layout` with this tumour in place of its own; its volumes are met as far as the anatomy has room."""
    zooms = spacing(layout.affine)
    radius = ball_radius(1000 * shape.whole_ml)
    field = shape_field(prior.levels(shape.latents) * radius, shape.centre, radius, layout.shape, zooms)
    box = _box(field, layout.shape, margin=0.35 * radius)
    tissue = layout.tissue[box]
    deep = ventricles(layout.tissue, zooms, box)
    whole_level, core_level, necrosis_level = _levels(shape, field, box, zooms, radius)
    aside = np.float32(OTHER_SIDE * radius) * _beyond(shape.centre[0], box, layout.shape)
    voxels = shape.whole_ml * 1000 / np.prod(zooms)
    # a core rather grows elsewhere, but it swallows a ventricle that it has surrounded
    core_level += aside + np.float32(VENTRICLE * radius) * deep
    core = lowest(core_level, tissue > 0, round(shape.core_share * voxels))
    # oedema surrounds the core: what is near, in white matter first, never in a ventricle
    whole_level += aside + np.float32(shape.white_matter) * (1 - blurred(blurred(tissue == Tissue.WM, zooms), zooms))
    whole_level[core] = -np.inf
    room = (tissue > 0) & ~deep | core
    whole = _in_one_piece(whole_level, room, voxels, zooms)
    core &= whole
    necrosis = lowest(necrosis_level, core, round(shape.necrosis_share * np.count_nonzero(core)))
    labels = np.where(whole, np.uint8(Tumour.ED), np.uint8(0))
    labels[core] = Tumour.ET
    labels[necrosis] = Tumour.NCR
    return settled(layout, labels, box, crumbs=True)


def shape_field(levels: np.ndarray, centre, radius: float, grid_shape, zooms) -> SplineField:
    """The splines that interpolate lattice values (g, g, g, 3) around `centre`; mirrored on the patient's right."""
    if centre[0] < midline(grid_shape):
        levels = levels[::-1]
    controls = np.stack([spline_filter(levels[..., c], 3, mode="mirror") for c in range(3)], -1)
    step = 2 * REACH * radius / len(levels)
    first = [c - (REACH * radius - step / 2) / z for c, z in zip(centre, zooms, strict=True)]
    controls = np.pad(controls, [(1, 1)] * 3 + [(0, 0)], "edge")
    return SplineField(origin=tuple(first), step=tuple(step / z for z in zooms), controls=controls)


def shape_points(levels: np.ndarray, centre, radius: float, grid_shape, zooms, core_share: float):
    """(n, 3) voxels that stand for the tumour, and which of them are core: the lattice, cut at its volumes."""
    if centre[0] < midline(grid_shape):
        levels = levels[::-1]
    step = 2 * REACH * radius / len(levels)
    count = round(4 / 3 * np.pi * radius**3 / step**3)
    whole = lowest(levels[..., 0], np.ones(levels.shape[:3], bool), count)
    core = lowest(levels[..., 1], whole, round(core_share * count))
    index = np.argwhere(whole)
    points = (index - (len(levels) - 1) / 2) * step / np.asarray(zooms) + np.asarray(centre)
    return points.astype(np.float32), core[whole]


def _levels(shape: Shape, field: SplineField, box: Box, zooms, radius: float) -> list[np.ndarray]:
    """Levels in mm of WT, TC and NCR: the shape, what it leaves out, and the annotator's hand."""
    rest = random_field(box, zooms, shape.irregularity * radius, REST_STEP * radius, shape.seed)
    fine = random_field(box, zooms, shape.raggedness, FINE_STEP_MM, shape.seed + 1)
    out = field.displacement(box)
    hands = (1.0, INNER_HAND, INNER_HAND)
    for level, a, b, hand, z in zip(out, rest.displacement(box), fine.displacement(box), hands, zooms, strict=True):
        level += (a + b * np.float32(hand)) * np.float32(z)
    return out


def _box(field: SplineField, grid_shape, margin: float) -> Box:
    """Where the tumour may be, by the lattice: where its WT level is below `margin` mm."""
    inside = field.controls[1:-1, 1:-1, 1:-1, 0] < margin
    box = []
    for axis in range(3):
        hit = np.flatnonzero(inside.any(axis=tuple(a for a in range(3) if a != axis)))
        first, last = (hit[0] - 1, hit[-1] + 1) if hit.size else (0, inside.shape[axis] - 1)
        low = field.origin[axis] + first * field.step[axis]
        high = field.origin[axis] + last * field.step[axis]
        n = grid_shape[axis]
        low, high = int(np.clip(np.floor(low), 0, n - 1)), int(np.clip(np.ceil(high) + 1, 1, n))
        box.append(slice(low, max(high, low + 1)))
    return tuple(box)


def _beyond(x: float, box: Box, shape) -> np.ndarray:
    """1 on the other side of the midline than the centre, 0 on this one; broadcastable."""
    side = np.arange(box[0].start, box[0].stop) - midline(shape)
    return (side * (x - midline(shape)) < 0).astype(np.float32)[:, None, None]


def _in_one_piece(level, room, voxels: float, zooms) -> np.ndarray:
    """The lowest `voxels` of `room` in one large piece and crumbs; what other large pieces held grows elsewhere."""
    room = room.copy()
    for _ in range(3):
        whole = lowest(level, room, round(voxels))
        labels, sizes = components(whole)
        others = sizes * np.prod(zooms) >= PIECE_MM3
        others[sizes.argmax()] = False
        if not others.any():
            break
        others = others[labels]
        whole &= ~others
        room &= ~others
    return whole
