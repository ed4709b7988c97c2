"""Carrying detail, against slow and obvious versions of the same."""

from itertools import product

import numpy as np
import pytest
from scipy.ndimage import map_coordinates, uniform_filter

from synth.brats import Tissue
from synth.layout.carry import Moved, carried
from synth.layout.cortex import STEPS_PER_MM
from synth.layout.detail import EIGHTHS, Detail
from synth.layout.edits.motion import mirroring
from synth.layout.layout import Layout
from synth.layout.mixing import Source, mixed, move_faces
from synth.layout.space import box_of
from synth.layout.warp import Warp, random_field

SHAPE = (26, 31, 23)


def drawn(seed, first=0):
    """A small brain of a few holes, with drawn layers, most of whose shares are whole and few of whose voxels void."""
    rng = np.random.default_rng(seed)
    tissue = np.zeros(SHAPE, np.uint8)
    tissue[3:-4, 2:-3] = rng.integers(1, 4, SHAPE)[3:-4, 2:-3]
    tissue[:, :, :first] = 0
    tissue[rng.random(SHAPE) < 0.04] = 0
    csf = np.where(tissue == Tissue.CSF, 8 - rng.integers(0, 3, SHAPE), rng.integers(0, 4, SHAPE))
    wm = np.minimum(np.where(tissue == Tissue.WM, 8 - rng.integers(0, 3, SHAPE), rng.integers(0, 4, SHAPE)), 8 - csf)
    few = [rng.integers(0, 5, SHAPE) * (rng.random(SHAPE) < 0.03) for _ in range(2)]
    layers = [(part * (tissue > 0)).astype(np.uint8) for part in (csf, wm, *few)]
    return Layout(tissue, np.zeros_like(tissue), np.eye(4), "", Detail(*layers))


def plainly_mixed(source, places, tissue, relabelled):
    """The layers at places, voxel by voxel."""
    box = box_of(source.tissue)
    shares = source.detail.shares(source.tissue)
    out = []
    for place, now, trades in zip(np.transpose(places), tissue, relabelled, strict=True):
        beyond, at = False, []
        for value, part, size in zip(place, box, source.shape, strict=True):
            beyond |= (part.start > 0 and value < part.start - 0.5) or (part.stop < size and value > part.stop - 0.5)
            at.append(int(np.rint(min(max(value, part.start), part.stop - 1) * 8)))
        total, lit, dark = np.zeros(3, int), 0, 0
        for corner in product((0, 1), repeat=3):
            voxel = tuple(a // 8 + far for a, far in zip(at, corner, strict=True))
            ways = [(0, 0, 1, 2, 4, 6, 7, 8)[a % 8] for a in at]
            weight = int(np.prod([way if far else 8 - way for way, far in zip(ways, corner, strict=True)]))
            if weight:
                total += weight * shares[voxel].astype(int)
                lit += weight * int(source.detail.vessels[voxel])
                dark += weight * int(source.detail.void[voxel])
        whole = max(total.sum(), 1)
        csf, _, wm = (int(v) for v in (8 * total + whole // 2) // whole)
        found = [csf, 8 - csf - min(wm, 8 - csf), min(wm, 8 - csf)]
        before = 0 if beyond else int(source.tissue[tuple((a + 4) // 8 for a in at)])
        if trades and before and found[now - 1] < found[before - 1]:
            found[now - 1], found[before - 1] = found[before - 1], found[now - 1]
        if beyond or not total.sum():
            found = [8 * (kind == now) for kind in (1, 2, 3)]
        out.append([found[0], found[2], (8 * lit + whole // 2) // whole, (8 * dark + whole // 2) // whole])
    return np.array(out).T


@pytest.mark.parametrize("seed", range(4))
def test_shares_are_mixed_as_a_slow_version_mixes_them(seed):
    source, rng, count = drawn(seed), np.random.default_rng(seed), 1500
    places = [(rng.random(count) * (n + 2) - 1.5).astype(np.float32) for n in SHAPE]
    for place in places:
        place[:300] = np.rint(place[:300] * 2) / 2
    tissue, relabelled = rng.integers(1, 4, count).astype(np.uint8), rng.random(count) < 0.2
    found = mixed(Source(source), places, tissue, relabelled)
    assert found.dtype == np.uint8
    assert np.array_equal(found, plainly_mixed(source, places, tissue, relabelled))


def test_what_is_moved_by_a_part_of_a_voxel_has_no_other_shares_at_the_edge_than_beside_it():
    tissue = np.zeros(SHAPE, np.uint8)
    tissue[5:20, 5:20, 5:20] = Tissue.CSF
    layers = [np.where(tissue > 0, value, 0).astype(np.uint8) for value in (2, 1, 0, 0)]
    source = Source(Layout(tissue, np.zeros_like(tissue), np.eye(4), "", Detail(*layers)))
    edge = [np.array([place]) for place in (4.4, 10.0, 10.0)]  # nearer to what is outside than to the brain
    inner = [np.array([place]) for place in (4.6, 10.0, 10.0)]
    now, same = np.array([Tissue.CSF], np.uint8), np.zeros(1, bool)
    assert mixed(source, edge, now, same)[:2, 0].tolist() == [EIGHTHS, 0]  # of a whole voxel away there is nothing
    assert mixed(source, inner, now, same)[:2, 0].tolist() == [2, 1]
    holed = tissue.copy()
    holed[10, 10, 10] = 0
    source = Source(Layout(holed, np.zeros_like(tissue), np.eye(4), "", Detail(*[a * (holed > 0) for a in layers])))
    hole = [np.array([place]) for place in (10.2, 10.0, 10.0)]
    assert mixed(source, hole, now, same)[:2, 0].tolist() == [2, 1]


def plainly_through(warp, where):
    for spline in warp.fields:
        lines = [np.arange(np.floor(p.min()), np.ceil(p.max()) + 4, 2) for p in where]
        places = [(part - line[0]) / 2 for part, line in zip(where, lines, strict=True)]
        shifts = [map_coordinates(s.astype(np.float32), places, order=1, mode="nearest") for s in spline.on_grid(lines)]
        where = [part + shift for part, shift in zip(where, shifts, strict=True)]
    moved = np.tensordot(warp.matrix, np.array(where, float), 1) + warp.offset[:, None, None, None]
    return list(moved.astype(np.float32))


def plainly_at(where, box):
    """Where the voxels of a box come from, of what is known at every second of them."""
    voxels = np.indices([part.stop - part.start for part in box]) / 2
    return [map_coordinates(part, voxels, order=1).ravel() for part in where]


def plainly_carried(layout, moves, host, donor):
    """The layers on the layout's box, every move on all voxels."""
    box = box_of(layout.tissue)
    tissue = layout.tissue[box]
    where = list(np.meshgrid(*(np.arange(p.start, p.stop + 2, 2, np.float32) for p in box), indexing="ij"))
    rest, relabelled, found, faces = (
        tissue.ravel() > 0,
        np.zeros(tissue.size, bool),
        np.zeros((4, tissue.size), int),
        [],
    )

    def mix(source, places, part):
        found[:, part] = plainly_mixed(source, [p[part] for p in places], tissue.ravel()[part], relabelled[part])

    for move in reversed(moves):
        places = plainly_at(where, box)
        nearest = tuple(np.rint(p).astype(int) for p in places)

        def looked_up(values, move=move, nearest=nearest, rest=rest):
            whole = np.zeros([n + 40 for n in SHAPE], values.dtype)
            whole[tuple(slice(p.start + 20, p.stop + 20) for p in move.box)] = values
            return whole[tuple(n + 20 for n in nearest)] * rest

        if move.faces is not None:
            faces.insert(0, [looked_up(steps).reshape(tissue.shape) for steps in move.faces])
        if move.relabelled is not None:
            relabelled |= looked_up(move.relabelled)
        if move.donor is not None:
            theirs = looked_up(move.taken)
            mix(donor, plainly_at(plainly_through(move.donor, where), box), theirs)
            rest = rest & ~theirs
        if move.warp is not None:
            where = plainly_through(move.warp, where)
    mix(host, plainly_at(where, box), rest)
    parts = found.reshape(4, *tissue.shape)
    for steps in faces:
        parts[:2] = plainly_shifted(*parts[:2], tissue > 0, *steps)
    return parts


def plainly_shifted(csf, wm, brain, thicker, wider):
    """Shares of CSF and WM after the cortex's faces moved."""

    def slope(values):
        steps = [np.gradient(values.astype(float), axis=axis) for axis in range(3)]
        for axis, step in enumerate(steps):
            np.moveaxis(step, axis, 0)[[0, -1]] = 0
        return np.sqrt(sum(step**2 for step in steps))

    csf, wm = csf.astype(int), wm.astype(int)
    gm = np.where(brain, EIGHTHS - csf - wm, 0)
    fluid = np.pad(np.where(brain, csf, EIGHTHS), 1, constant_values=EIGHTHS)
    beside = np.clip(uniform_filter(gm.astype(float), 3) / 2, 0, 1) / STEPS_PER_MM
    from_wm = np.clip(thicker * beside * slope(wm), -gm, wm)
    to_csf = np.clip(wider * beside * slope(fluid)[1:-1, 1:-1, 1:-1], -csf, gm + from_wm)
    after = np.clip(np.rint(csf + to_csf), 0, EIGHTHS)
    return after, np.minimum(np.rint(wm - from_wm), EIGHTHS - after)


@pytest.mark.parametrize("seed", range(3))
def test_faces_move_shares_as_in_a_slow_version(seed):
    layout, rng = drawn(seed), np.random.default_rng(seed)
    steps = [rng.integers(-13, 14, SHAPE).astype(np.int16) for _ in range(2)]
    parts = np.stack(layout.detail.mixed)
    move_faces(parts, layout.brain, *steps)
    assert np.array_equal(parts[:2], plainly_shifted(*layout.detail.mixed[:2], layout.brain, *steps))
    assert np.array_equal(parts[2:], layout.detail.mixed[2:])


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("seed", range(2))
def test_detail_is_carried_as_a_slow_version_carries_it(seed, mirrored, monkeypatch):
    monkeypatch.setattr("synth.layout.space._SLAB", 3000)
    monkeypatch.setattr("synth.layout.carry._POINTS", 200)
    rng = np.random.default_rng(seed)
    host, donor, layout = drawn(seed), drawn(seed + 10, 4), drawn(seed + 20)
    whole = tuple(slice(0, n) for n in SHAPE)
    part = (slice(2, 20), slice(1, 30), slice(3, 23))
    size = [p.stop - p.start for p in part]
    turned = np.array([[0.98, 0.05, 0.0], [-0.04, 1.03, 0.02], [0.01, 0.0, 0.95]])
    first, second, third = (random_field(whole, (1, 1, 1), 0.7, 9, seed + k) for k in range(3))
    taken = np.zeros(size, bool)
    taken[8:, :14] = True
    moves = [
        Moved(donor=Warp(turned, np.array([0.3, -0.4, 0.2]), (first,)), taken=taken, box=part),
        Moved(
            Warp(turned.T, np.array([-0.2, 0.4, 0.1]), (second,)),
            faces=tuple(rng.integers(-9, 10, size).astype(np.int16) for _ in range(2)),
            box=part,
        ),
        Moved(Warp(np.eye(3), np.zeros(3), (third,)), relabelled=rng.random(SHAPE) < 0.1, box=whole),
        *([Moved(mirroring(SHAPE))] if mirrored else []),
    ]
    plain = plainly_carried(layout, moves, host, donor)
    after = np.stack(carried(layout, moves, host, donor).mixed)
    box = box_of(layout.tissue)
    assert np.array_equal(after[(slice(None), *box)], plain)
    after[(slice(None), *box)] = 0
    assert not after.any()
