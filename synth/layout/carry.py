"""Detail carried along with what edits did to a brain: all their warps at once, so that it is interpolated only once.

Edits change label maps one after the other; detail follows once, when a layout is finished. Where each voxel of it
comes from is found by going back through the edits, on every second voxel of the grid; then shares are mixed linearly
out of the eight voxels around that place, in whole numbers: the same on every machine.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from synth.layout.detail import MIXED, Detail
from synth.layout.layout import Layout
from synth.layout.mixing import Source, mixed, move_faces
from synth.layout.space import Box, box_of, slabs
from synth.layout.warp import Warp

_EVERY = 2  # voxels between the places that are followed: fields are smooth
_POINTS = 30_000  # places that are followed at once


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
class _Stop:
    """A stop on the way back from the last edit to the first: where every second voxel is found, and what waits there.

    Attributes:
        where: (3, x, y, z) float32.
        move: whose faces, relabelled and taken voxels lie on this grid; None at the end of the way.
        way: from here to the source; None where it is the source's grid.
        source: what is mixed here for the voxels that are taken, or for all at the end.
        faces: two maps on the layout's box that get the steps found here.
    """

    where: np.ndarray
    move: Moved | None = None
    way: "_Way | None" = None
    source: "Source | None" = None
    faces: tuple[np.ndarray, ...] = ()


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
    out = {name: np.zeros(layout.shape, np.uint8) for name in MIXED}
    if box is None:
        return Detail(**out)
    labels = np.ascontiguousarray(layout.tissue[box])
    stops = _stops(moves, host, donor, box, labels.shape)
    parts = np.zeros((len(MIXED), *labels.shape), np.uint8)
    for place in slabs(labels, _EVERY):
        parts[(slice(None), *place)] = _found(stops, labels[place], place)
    for stop in reversed(stops):
        if stop.faces:
            move_faces(parts, labels > 0, *stop.faces)
    for layer, part in zip(out.values(), parts, strict=True):
        layer[box] = part
    return Detail(**out)


def _stops(moves, host: Layout, donor: Layout | None, box: Box, shape) -> list[_Stop]:
    """The way back from the last edit to the first."""
    where, stops, brought = _lattice(box), [], None
    for move in reversed(moves):
        way = None
        if move.donor is not None:
            way, brought = _Way(move.donor, where), brought or Source(donor)
        if move.box is not None:
            faces = tuple(np.zeros(shape, np.int16) for _ in move.faces or ())
            stops.append(_Stop(where, _in_rows(move), way, brought, faces))
        if move.warp is not None:
            where = _Way(move.warp, where).through()
    return [*stops, _Stop(where, source=Source(host))]


def _in_rows(move: Moved) -> Moved:
    """The same move, whose maps are looked up without being copied."""
    faces = move.faces and tuple(map(np.ascontiguousarray, move.faces))
    maps = {name: getattr(move, name) for name in ("taken", "relabelled")}
    maps = {name: part if part is None else np.ascontiguousarray(part) for name, part in maps.items()}
    return replace(move, faces=faces, **maps)


def _lattice(box: Box) -> np.ndarray:
    """(3, x, y, z) float32: every second voxel of a box."""
    lines = [np.arange(part.start, part.stop + _EVERY, _EVERY, np.float32) for part in box]
    return np.stack(np.meshgrid(*lines, indexing="ij"))


class _Way:
    """A warp whose displacement is taken linearly from every second voxel of the grid that places lie on.

    Args:
        warp: where places come from.
        where: (3, x, y, z) float32, all places that will be asked for.
    """

    def __init__(self, warp: Warp, where: np.ndarray):
        self._warp, self._where = warp, where

    @cached_property
    def _fields(self) -> list[tuple[list[float], list[np.ndarray]]]:
        """Of each field the first place it is known at, and its displacements there and at every second voxel on."""
        lines = [np.arange(np.floor(p.min()), np.ceil(p.max()) + 2 * _EVERY, _EVERY) for p in self._where]
        return [
            ([line[0] for line in lines], [part.astype(np.float32).astype(float) for part in spline.on_grid(lines)])
            for spline in self._warp.fields
        ]

    def through(self) -> np.ndarray:
        """The source of every place, (3, x, y, z) float32."""
        if (lines := _known_lines(self._where)) is None:
            shifts = None
        else:  # there is nothing to interpolate
            shifts = [[part.astype(np.float32).ravel() for part in f.on_grid(lines)] for f in self._warp.fields]
        flat = self._where.reshape(3, -1)
        out = np.empty_like(flat)
        for start in range(0, flat.shape[1], _POINTS):
            part = slice(start, start + _POINTS)
            if shifts is None:
                out[:, part] = self.at(flat[:, part])
            else:
                out[:, part] = self._moved(flat[:, part], ([axis[part] for axis in shift] for shift in shifts))
        return out.reshape(self._where.shape)

    def at(self, places: np.ndarray) -> np.ndarray:
        """The sources of (3, n) of the places, float32."""
        return self._moved(places, (_interpolated(places, *field) for field in self._fields))

    def _moved(self, places: np.ndarray, shifts: Iterable[Sequence[np.ndarray]]) -> np.ndarray:
        moved = list(places)
        for shift in shifts:
            moved = [part + by for part, by in zip(moved, shift, strict=True)]
        moved, out = [part.astype(float) for part in moved], np.empty_like(places)
        for row, (weights, offset) in enumerate(zip(self._warp.matrix, self._warp.offset, strict=True)):
            out[row] = sum(weight * part for weight, part in zip(weights, moved, strict=True) if weight) + offset
        return out


def _known_lines(where: np.ndarray) -> list[np.ndarray] | None:
    """The lines that span a lattice (3, x, y, z) of every second voxel; None if it is none."""
    lines = []
    for axis, part in enumerate(where):
        line = np.moveaxis(part, axis, 0)[:, 0, 0]
        if (np.abs(np.diff(line)) != _EVERY).any() or line[0] % 1:
            return None
        if (part != line.reshape([-1 if a == axis else 1 for a in range(3)])).any():
            return None
        lines.append(line)
    return lines


def _interpolated(places: np.ndarray, first: list[float], shifts: list[np.ndarray]) -> list[np.ndarray]:
    """Three maps, known at every second voxel from `first` on, linearly between these at (3, n) places: float32."""
    index, weights, (_, ny, nz) = 0, [], shifts[0].shape
    for place, origin, size in zip(places, first, shifts[0].shape, strict=True):
        steps = (place - origin) / _EVERY
        cell = np.floor(steps)
        steps -= cell
        weights.append((1 - steps, steps))
        index = index * size + cell
    index = index.astype(np.intp)
    out = [np.zeros(len(index)) for _ in shifts]
    for x, y, z in np.ndindex(2, 2, 2):
        weight = weights[0][x] * weights[1][y]
        weight *= weights[2][z]
        for total, shift in zip(out, shifts, strict=True):
            part = shift.ravel()[(x * ny + y) * nz + z :].take(index)
            part *= weight
            total += part
    return [part.astype(np.float32) for part in out]


def _found(stops: list[_Stop], labels: np.ndarray, place: Box) -> np.ndarray:
    """(4, x, y, z) uint8, `Detail.mixed` on a place in a layout's box, but for what moves with faces."""
    found, relabelled = np.zeros((len(MIXED), labels.size), np.uint8), np.zeros(labels.size, bool)
    shape, labels = labels.shape, labels.ravel()
    inside = np.flatnonzero(labels)
    lattice = slice(None), *(slice(part.start // _EVERY, part.stop // _EVERY + 1) for part in place)
    where = grid = None

    def mix(source, places, voxels):
        values = mixed(source, places, labels.take(voxels), relabelled.take(voxels))
        for layer, part in zip(found, values, strict=True):
            layer[voxels] = part

    for stop in stops:
        if stop.where is not where:
            where, grid = stop.where, _at_voxels(stop.where[lattice], shape)
        move = stop.move
        places = [part.take(inside) for part in grid]
        if move is None:
            mix(stop.source, places, inside)
            break
        looked_up = _Looking(places, move.box)
        for steps, face in zip(stop.faces, move.faces or (), strict=True):
            part = np.zeros(labels.size, steps.dtype)
            part[inside] = looked_up(face)
            steps[place] = part.reshape(shape)
        if move.relabelled is not None:
            relabelled[inside] |= looked_up(move.relabelled)
        if move.taken is not None:
            theirs = looked_up(move.taken)
            voxels, inside = inside[theirs], inside[~theirs]
            if len(voxels):
                mix(stop.source, _asked(stop.way, stop.where[lattice], shape, voxels), voxels)
    return found.reshape(-1, *shape)


def _asked(way: _Way, where: np.ndarray, shape, voxels: np.ndarray) -> list[np.ndarray]:
    """Where n voxels of a box come from by a way, told at those places of its lattice that they need."""
    needed = np.zeros(shape, bool)
    needed.reshape(-1)[voxels] = True
    for axis in range(3):
        ahead = (slice(None),) * axis
        even, odd = needed[(*ahead, slice(None, None, 2))], needed[(*ahead, slice(1, None, 2))]
        size = where.shape[axis + 1]
        around = np.zeros((*needed.shape[:axis], size, *needed.shape[axis + 1 :]), bool)
        around[(*ahead, slice(even.shape[axis]))] = even
        around[(*ahead, slice(odd.shape[axis]))] |= odd
        around[(*ahead, slice(1, odd.shape[axis] + 1))] |= odd
        needed = around
    points = np.flatnonzero(needed)
    there = np.zeros(where.shape, np.float32)
    there.reshape(3, -1)[:, points] = way.at(where.reshape(3, -1).take(points, 1))
    return [part.take(voxels) for part in _at_voxels(there, shape)]


def _at_voxels(values: np.ndarray, shape) -> np.ndarray:
    """(3, n): what is given at every second voxel (3, x, y, z), linearly between them, on all of a box of `shape`."""
    for axis, size in enumerate(shape, 1):
        ahead = (slice(None),) * axis
        low, high = values[(*ahead, slice((size + 1) // 2))], values[(*ahead, slice(1, size // 2 + 1))]
        both = np.empty((*values.shape[:axis], size, *values.shape[axis + 1 :]), np.float32)
        both[(*ahead, slice(None, None, 2))] = low
        between = low[(*ahead, slice(size // 2))] + high
        between /= 2
        both[(*ahead, slice(1, None, 2))] = between
        values = both
    return values.reshape(3, -1)


class _Looking:
    """Looks up what lies on a box of the grid at the voxels nearest to n places; 0 or False outside the box."""

    def __init__(self, places: list[np.ndarray], box: Box):
        self._index, self._beyond = 0, None
        for place, part in zip(places, box, strict=True):
            size = part.stop - part.start
            steps = np.rint(place).astype(np.int32)
            steps -= part.start
            if len(steps) and (steps.min() < 0 or steps.max() >= size):
                on = np.clip(steps, 0, size - 1)
                beyond, steps = on != steps, on
                self._beyond = beyond if self._beyond is None else self._beyond | beyond
            self._index = self._index * np.int32(size) + steps
        self._index = self._index.astype(np.intp)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Those of `values`, which lie on the box."""
        out = values.take(self._index)
        if self._beyond is not None:
            out[self._beyond] = 0
        return out
