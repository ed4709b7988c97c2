"""Detail carried along with what edits did to a brain: all their warps at once, so that it is interpolated only once.

Edits change label maps one after the other; detail follows once, when a layout is finished. Where each voxel of it
comes from is found by going back through the edits, on every second voxel of the grid; then shares are mixed linearly
out of the eight voxels around that place, in whole numbers: the same on every machine.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import map_coordinates, uniform_filter

from synth.layout.cortex import STEPS_PER_MM
from synth.layout.detail import EIGHTHS, MIXED, VESSEL_LEVELS, VOID_LEVELS, Detail
from synth.layout.layout import Layout
from synth.layout.space import Box, box_of
from synth.layout.warp import Warp

_EVERY = 2  # voxels between the places that are followed: fields are smooth
_PARTS = 8  # of a voxel: how finely a place is told
_BITS = 13  # of a share times its weights; vessels and void, which are smaller, need one less: together 63
_FIELD = (1 << _BITS) - 1


@dataclass(frozen=True)
class Moved:
    """Where an edit of a whole layout took each voxel from.

    Attributes:
        warp: of the layout itself; None where all stays in place.
        donor: of the donor's layout; None where nothing is taken from one.
        taken: (x, y, z) bool on `box`, the voxels that are the donor's.
        box: where in the grid `taken`, `faces` and `relabelled` lie.
        faces: (x, y, z) each on `box`, `cortex.face_steps` by which the cortex became thicker, and sulci wider.
        relabelled: (x, y, z) bool on `box`, voxels that were given another tissue beside that.
    """

    warp: Warp | None = None
    donor: Warp | None = None
    taken: np.ndarray | None = None
    box: Box | None = None
    faces: tuple[np.ndarray, np.ndarray] | None = None
    relabelled: np.ndarray | None = None


class Trail:
    """What edits did to a brain, one after the other, for its detail to follow when all is done.

    Attributes:
        moves: of the edits that moved it.
        known: whether each change of its tissue is among them.
    """

    def __init__(self):
        self.moves: list[Moved] = []
        self.known = True

    def note(self, before: Layout, after: Layout, moved: Moved | None) -> None:
        """An edit made `after` of `before`, and says how."""
        if moved is not None:
            self.moves.append(moved)
        elif after.tissue is not before.tissue and not np.array_equal(after.tissue, before.tissue):
            self.known = False

    @property
    def mixed(self) -> bool:
        """Whether a part of the brain is a donor's."""
        return any(move.donor is not None for move in self.moves)

    def join(self, later: "Trail") -> None:
        """What was done after this."""
        self.moves += later.moves
        self.known &= later.known

    def followed(self, layout: Layout, host: Layout, donor: Layout | None = None) -> Layout:
        """`layout`, at the end of the trail, with the detail that the host (and a donor) had at its beginning.

        Without detail where it cannot be told: the host has none, or a donor of whom a part was taken, or an edit
        changed the brain and did not say how. Tones are kept by a tumour that is as it was, where it was.
        """
        if not self.known or host.detail is None or (self.mixed and (donor is None or donor.detail is None)):
            return replace(layout, detail=None)
        if self.moves:
            return replace(layout, detail=carried(layout, self.moves, host, donor))
        same = layout.tumour is host.tumour or np.array_equal(layout.tumour, host.tumour)
        return replace(layout, detail=host.detail if same else Detail(*host.detail.mixed))


@dataclass(frozen=True)
class _Branch:
    """What comes from one layout: which voxels of the result, and where every second one is found there."""

    source: Layout
    where: list[np.ndarray]
    voxels: np.ndarray


def carried(layout: Layout, moves: Sequence[Moved], host: Layout, donor: Layout | None = None) -> Detail:
    """The detail of a layout that edits made of its host (and a donor), without tones.

    Where the cortex's faces moved, shares move with them, by as much as they change over that distance. A voxel to
    which an edit gave another tissue in another way trades the shares of the two.

    Args:
        layout: after the edits.
        moves: of the edits, in order.
        host: as it was before them, with its detail.
        donor: the same of the donor, where a move takes something from it.
    """
    box = box_of(layout.tissue)
    out = {name: np.zeros_like(layout.tissue) for name in MIXED}
    if box is None:
        return Detail(**out)
    labels = layout.tissue[box]
    inside = np.flatnonzero(labels)
    tissue = labels.ravel()[inside]
    found = np.zeros((len(MIXED), len(inside)), np.uint8)
    branches, faces, relabelled = _followed(moves, host, donor, box, labels.shape, inside)
    for branch in branches:
        places = [_at_voxels(part, labels.shape, inside[branch.voxels]) for part in branch.where]
        found[:, branch.voxels] = _mixed(branch.source, places, tissue[branch.voxels], relabelled[branch.voxels])
    parts = [np.zeros(labels.size, np.uint8) for _ in found]
    for part, values in zip(parts, found, strict=True):
        part[inside] = values
    parts = [part.reshape(labels.shape) for part in parts]
    for steps in faces:
        _move_faces(parts, labels > 0, *steps)
    for layer, part in zip(out.values(), parts, strict=True):
        layer[box] = part
    return Detail(**out)


def _lattice(box: Box) -> list[np.ndarray]:
    """Every second voxel of a box, as three arrays of one shape."""
    lines = [
        np.arange(part.start, part.stop + _EVERY, _EVERY, np.float32).reshape(
            [-1 if a == axis else 1 for a in range(3)]
        )
        for axis, part in enumerate(box)
    ]
    return list(np.broadcast_arrays(*lines))


def _move_faces(parts: list[np.ndarray], brain: np.ndarray, thicker: np.ndarray, wider: np.ndarray) -> None:
    """Move the cortex's faces in the layers of a detail, in place: by steps as `cortex.face_steps` has them."""
    csf, wm = (part.astype(np.float32) for part in parts[:2])
    gm = np.where(brain, EIGHTHS - csf - wm, 0)
    fluid = np.pad(np.where(brain, csf, EIGHTHS), 1, constant_values=EIGHTHS)  # outside counts as such, as for labels
    beside = np.clip(uniform_filter(gm, 3) / (EIGHTHS / 4), 0, 1) / np.float32(STEPS_PER_MM)  # there is cortex
    from_wm = thicker * beside * _slope(wm)
    from_wm = np.clip(from_wm, -gm, wm)
    gm, wm = gm + from_wm, wm - from_wm
    to_csf = np.clip(wider * beside * _slope(fluid)[1:-1, 1:-1, 1:-1], -csf, gm)
    csf = np.clip(np.rint(csf + to_csf), 0, EIGHTHS)
    wm = np.minimum(np.rint(wm), EIGHTHS - csf)
    parts[0][...], parts[1][...] = csf, wm


def _slope(values: np.ndarray) -> np.ndarray:
    """How much the values change over a voxel."""
    total = np.zeros_like(values)
    for axis in range(3):
        ahead = (slice(None),) * axis
        step = (values[(*ahead, slice(2, None))] - values[(*ahead, slice(None, -2))]) / 2
        total[(*ahead, slice(1, -1))] += step * step
    return np.sqrt(total, out=total)


def _followed(moves, host: Layout, donor: Layout | None, box: Box, shape, inside: np.ndarray):
    """What is found by going back from the last edit to the first.

    Returns:
        What comes from the host and what from the donor (`_Branch`); by how much the faces of the cortex moved on `box`
        with each edit that moved any, from the first to the last: pairs of (x, y, z) float32; and (n,) bool, which
        voxels were given another tissue.
    """
    where, branches, faces = _lattice(box), [], []
    rest, relabelled = np.ones(len(inside), bool), np.zeros(len(inside), bool)
    for move in reversed(moves):
        if move.box is not None:
            places = [np.rint(_at_voxels(part, shape, inside)).astype(np.intp) for part in where]
        if move.faces is not None:
            steps = [np.zeros(shape, np.float32) for _ in move.faces]
            for part, face in zip(steps, move.faces, strict=True):
                part.reshape(-1)[inside] = _looked_up(face, move.box, places) * rest
            faces.insert(0, steps)
        if move.relabelled is not None:
            relabelled |= rest & _looked_up(move.relabelled, move.box, places)
        if move.donor is not None:
            theirs = rest & _looked_up(move.taken, move.box, places)
            branches.append(_Branch(donor, _through(move.donor, where), theirs))
            rest = rest & ~theirs
        if move.warp is not None:
            where = _through(move.warp, where)
    return [*branches, _Branch(host, where, rest)], faces, relabelled


def _through(warp: Warp, where: list[np.ndarray]) -> list[np.ndarray]:
    """The source of every place, by a warp whose displacement is taken linearly from every second voxel."""
    moved = where
    for spline in warp.fields:
        lines = [np.arange(np.floor(p.min()), np.ceil(p.max()) + 2 * _EVERY, _EVERY) for p in where]
        places = [(part - line[0]) / _EVERY for part, line in zip(where, lines, strict=True)]
        shifts = (part.astype(np.float32) for part in spline.on_grid(lines))
        moved = [
            part + map_coordinates(shift, places, order=1, mode="nearest")
            for part, shift in zip(moved, shifts, strict=True)
        ]
    return [
        (sum(warp.matrix[row, axis] * moved[axis] for axis in range(3)) + warp.offset[row]).astype(np.float32)
        for row in range(3)
    ]


def _at_voxels(values: np.ndarray, shape, voxels: np.ndarray) -> np.ndarray:
    """What is given at every second voxel, linearly between them, at flat indices of a box of `shape`."""
    for axis, size in enumerate(shape):
        ahead = (slice(None),) * axis
        low, high = values[(*ahead, slice(None, -1))], values[(*ahead, slice(1, None))]
        both = np.stack([low, (low + high) / 2], axis + 1)
        values = both.reshape(*low.shape[:axis], -1, *low.shape[axis + 1 :])[(*ahead, slice(size))]
    return values.ravel()[voxels]


def _looked_up(values: np.ndarray, box: Box, places: list[np.ndarray]) -> np.ndarray:
    """`values` (on `box` of the grid) at voxels of the grid; 0 or False outside the box."""
    inside, index = np.ones(len(places[0]), bool), []
    for place, part in zip(places, box, strict=True):
        inside &= (place >= part.start) & (place < part.stop)
        index.append(np.clip(place - part.start, 0, part.stop - part.start - 1))
    return np.where(inside, values[tuple(index)], values.dtype.type(0))


def _mixed(source: Layout, places: list[np.ndarray], tissue: np.ndarray, relabelled: np.ndarray) -> np.ndarray:
    """(4, n) uint8, `Detail.mixed` at n places of a layout, for voxels that are of these tissues now.

    Those that were `relabelled` trade shares.
    """
    box = box_of(source.tissue)
    labels = np.ascontiguousarray(source.tissue[box])
    _, ny, nz = labels.shape
    index, weights = np.zeros(len(tissue), np.int32), []
    nearest, beyond = np.zeros(len(tissue), np.int32), np.zeros(len(tissue), bool)
    for place, part, size, stride in zip(places, box, source.shape, (ny * nz, nz, 1), strict=True):
        if part.start > 0:
            beyond |= place < part.start - 0.5
        if part.stop < size:
            beyond |= place > part.stop - 0.5
        last = part.stop - part.start - 1  # a brain goes on where the scan ends; elsewhere there is nothing to mix in
        eighths = np.rint(np.clip(place - part.start, 0, last) * _PARTS).astype(np.int32)
        low = np.minimum(eighths // _PARTS, max(last - 1, 0))
        index += low * np.int32(stride)
        nearest += (eighths + _PARTS // 2) // _PARTS * np.int32(stride)
        weights.append((_PARTS - (eighths - low * _PARTS), eighths - low * _PARTS, min(last, 1) * stride))
    packed, total = _packed(source, box).ravel(), np.zeros(len(tissue), np.int64)
    for corner in np.ndindex(2, 2, 2):
        weight, step = np.int64(1), 0
        for axis, far in enumerate(corner):
            weight = weight * weights[axis][far]
            step += far * weights[axis][2]
        total += weight * packed[index + step]
    csf, gm, wm = (total >> (k * _BITS) & _FIELD for k in range(3))
    sum_ = np.maximum(csf + gm + wm, 1)  # what lies outside the brain has no say
    lit, dark = total >> (3 * _BITS) & (_FIELD >> 1), total >> (4 * _BITS - 1)
    csf, wm, vessels, void = ((EIGHTHS * part + sum_ // 2) // sum_ for part in (csf, wm, lit, dark))
    shares = np.stack([csf, EIGHTHS - csf - np.minimum(wm, EIGHTHS - csf), np.minimum(wm, EIGHTHS - csf)])
    before = np.where(beyond, np.uint8(0), labels.ravel()[nearest])
    _relabel(shares, np.where(relabelled, before, tissue), tissue)
    empty = np.flatnonzero(before == 0)  # nothing was there: all is what the voxel is now
    shares[:, empty] = 0
    shares[tissue[empty].astype(np.intp) - 1, empty] = EIGHTHS
    smaller = np.minimum(vessels, VESSEL_LEVELS), np.minimum(void, VOID_LEVELS)
    return np.stack([shares[0], shares[2], *smaller]).astype(np.uint8)


def _packed(source: Layout, box: Box) -> np.ndarray:
    """(x, y, z) int64: shares of CSF, GM and WM, vessels and void in one number each, to be weighted and added."""
    code = np.uint16(0)
    for layer, most in zip(source.detail.mixed, MIXED.values(), strict=True):
        code = code * np.uint16(most + 1) + layer[box]
    code[source.tissue[box] == 0] = len(_NUMBERS) - 1
    return _NUMBERS.take(code)


def _numbers() -> np.ndarray:
    """What each combination of a detail's layers is in one number, in the order of `_packed`; the last is nothing."""
    csf, wm, vessels, void = np.indices([most + 1 for most in MIXED.values()], np.int64)
    gm = np.maximum(EIGHTHS - csf - wm, 0)
    numbers = csf | gm << _BITS | wm << 2 * _BITS | vessels << 3 * _BITS | void << (4 * _BITS - 1)
    return np.append(numbers.ravel(), 0)


_NUMBERS = _numbers()


def _relabel(shares: np.ndarray, before: np.ndarray, now: np.ndarray) -> None:
    """Let (3, n) shares follow tissues that edits changed: the two trade their shares where the new one has less."""
    at = np.flatnonzero((before != now) & (before > 0))
    old, new = before[at].astype(np.intp) - 1, now[at].astype(np.intp) - 1
    less = shares[new, at] < shares[old, at]
    at, old, new = at[less], old[less], new[less]
    shares[new, at], shares[old, at] = shares[old, at], shares[new, at]
