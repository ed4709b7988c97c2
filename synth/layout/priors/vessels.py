"""Vessel trees: arteries and veins that run in the fluid and join until they reach sinuses.

The cheapest ways from many places in the fluid and on the brain's surface to the confluence of sinuses and to the
arteries of the base, where a way is cheap along which real brains often have vessels, and by chance; ways that meet run
on together. A vessel of n ends is n^(1/3) times as wide as one of a single end (Murray 1926,
doi:10.1073/pnas.12.3.207).
"""

import numpy as np
from scipy.ndimage import map_coordinates
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from synth.brats import AFFINE, Tissue
from synth.layout.detail import VESSEL_LEVELS
from synth.layout.priors.fields import smooth_noise
from synth.layout.space import MIDLINE, Box, block_share, eroded, spacing

MIDDLE_MM = 2.5  # from the midline: falx and sagittal sinus
STEP = 4  # voxels of the BraTS grid between places of the map of how often there is a vessel
_COARSE = 2  # voxels of a node along each axis
_ROOTS = ((120.0, 218.0, 52.0), (120.0, 105.0, 47.0))  # on the BraTS grid: confluence of sinuses, basilar artery's end
_ENDS = 75.0  # for each ml in which there is always a vessel
_END_MM = 0.52  # radius of a vessel of one end
_WIDEST_MM = 3.5
_CHANCE = 0.7  # deviation of the log cost by chance
_CHANCE_MM = 3.0
_LEAST = 0.004  # vessels are nowhere rarer
_NOT_FALX = 0.85  # how much of what often shines in the middle is not the falx
_NOT_FLUID = 3.0  # times as dear where there is no fluid
_LEANS = 0.45  # deviation between brains of the log number of ends
_FILLED, _FILLS = 1.0, 0.1  # how much of the brightness vessels have; more by so much where there are more of them


def vessel_trees(
    tissue: np.ndarray, affine: np.ndarray, box: Box, often: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """How brightly a contrast agent fills trees of vessels: (x, y, z) uint8, 0 to `VESSEL_LEVELS`, on the box.

    Args:
        tissue: (x, y, z) uint8 `Tissue`, the box's.
        affine: (4, 4) of the whole grid.
        box: where on it.
        often: how often real brains have a vessel, `STEP` voxels of the BraTS grid apart.
        rng: what ends and ways are drawn from.
    """
    out = np.zeros(tissue.shape, np.uint8)
    zooms = np.asarray(spacing(affine))
    ways = _surface_and_fluid(tissue)
    room = _blocks(ways)
    open_, fluid = room > 0, _blocks(tissue == Tissue.CSF) > 0
    nodes = np.argwhere(open_)
    if not len(nodes):
        return out
    places, room = _middles(ways, nodes), room[open_]
    to_brats = np.linalg.inv(AFFINE) @ affine
    whole = places + [part.start for part in box]
    standard = whole @ to_brats[:3, :3].T + to_brats[:3, 3]
    known = map_coordinates(often, standard.T / STEP, order=1, mode="nearest")
    known[np.abs(standard[:, 0] - MIDLINE) <= MIDDLE_MM] *= _NOT_FALX
    lean = np.clip(rng.standard_normal(), -2, 2)
    ends = _ENDS * np.exp(_LEANS * lean - _LEANS**2 / 2)
    count = round(ends * known.sum() * np.prod(zooms * _COARSE) / 1000)
    chance = smooth_noise(open_.shape, zooms * _COARSE, _CHANCE_MM, rng)[0][open_]
    cost = np.exp(_CHANCE * chance) / np.maximum(known, _LEAST) * np.where(fluid[open_], 1.0, _NOT_FLUID)
    roots = [int(np.square(standard - root).sum(1).argmin()) for root in _ROOTS]
    away, before, _ = dijkstra(
        _graph(open_, nodes, cost, zooms), directed=False, indices=roots, min_only=True, return_predecessors=True
    )
    reached = np.flatnonzero(np.isfinite(away) & (known > 0))
    if not count or not len(reached):
        return out
    here = rng.choice(reached, count, p=known[reached] / known[reached].sum())
    flow = np.zeros(len(nodes))
    while len(here):
        np.add.at(flow, here, 1)
        here = before[here]
        here = here[here >= 0]
    used = np.flatnonzero(flow)
    places[used] += room[used, None] * rng.uniform(-0.5, 0.5, (len(used), 3))
    ahead = np.where(before[used] >= 0, before[used], used)
    radius = np.minimum(_END_MM * np.cbrt(flow[used]), _WIDEST_MM)
    along = [places[used] + part * (places[ahead] - places[used]) for part in (0.0, 0.25, 0.5, 0.75)]
    _stamp(out, np.concatenate(along), np.tile(radius, len(along)), zooms, _FILLED + _FILLS * lean)
    return out * (tissue > 0)


def _surface_and_fluid(tissue: np.ndarray) -> np.ndarray:
    """(x, y, z) bool where vessels may run: fluid, and brain beside what is none."""
    brain = tissue > 0
    return (tissue == Tissue.CSF) | brain & ~eroded(brain, 1)


def _blocks(mask: np.ndarray) -> np.ndarray:
    """How much of a node is marked."""
    return block_share(_whole(mask), (_COARSE,) * 3)


def _whole(mask: np.ndarray) -> np.ndarray:
    """A mask with as many voxels more as the last nodes need."""
    return np.pad(mask, [(0, -size % _COARSE) for size in mask.shape])


def _middles(mask: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """(n, 3) in voxels: the middle of what is marked of each node, all of which have some."""
    mask, first = _whole(mask), nodes * _COARSE
    total, count = np.zeros(nodes.shape), np.zeros((len(nodes), 1))
    for step in np.ndindex((_COARSE,) * 3):
        there = mask[tuple((first + step).T)][:, None]
        total += there * np.array(step)
        count += there
    return first + total / count


def _graph(open_: np.ndarray, nodes: np.ndarray, cost: np.ndarray, zooms: np.ndarray) -> coo_array:
    """Nodes joined to those of the 26 around that are there, as dear as the mean of both by the mm between them."""
    number = np.full([n + 2 for n in open_.shape], -1)
    number[1:-1, 1:-1, 1:-1][open_] = np.arange(len(nodes))
    rows, columns, lengths = [], [], []
    for shift in np.ndindex(3, 3, 3):
        if shift <= (1, 1, 1):
            continue
        other = number[tuple((nodes + shift).T)]
        there = np.flatnonzero(other >= 0)
        rows.append(there)
        columns.append(other[there])
        mm = np.linalg.norm((np.array(shift) - 1) * zooms * _COARSE)
        lengths.append(mm * (cost[there] + cost[other[there]]) / 2)
    size = (len(nodes), len(nodes))
    return coo_array((np.concatenate(lengths), (np.concatenate(rows), np.concatenate(columns))), size).tocsr()


def _stamp(out: np.ndarray, places: np.ndarray, radius: np.ndarray, zooms: np.ndarray, filled: float) -> None:
    """Mark what lies within a radius (mm) of places (in voxels): as bright as the share of a voxel that is `filled`."""
    widest = np.argsort(-radius, kind="stable")  # those that reach a voxel are the first so many
    places, radius = places[widest], radius[widest]
    middle = np.rint(places).astype(int)
    apart, most = (middle - places) * zooms, np.minimum(2 * radius, 1)
    reach = np.ceil((radius.max() + 0.5) / zooms).astype(int)
    margin = reach + 1  # a place may be half a voxel outside
    room = np.zeros([size + 2 * more for size, more in zip(out.shape, margin, strict=True)], np.uint8)
    voxel = np.ravel_multi_index(tuple((middle + margin).T), room.shape)
    for shift in np.ndindex(*(2 * reach + 1)):
        steps = shift - reach
        nearest = np.linalg.norm(np.maximum(np.abs(steps) - 0.5, 0) * zooms)
        count = np.searchsorted(-radius, 0.5 - nearest)
        away = np.linalg.norm(apart[:count] + steps * zooms, axis=1)
        inside = np.clip(radius[:count] + 0.5 - away, 0, most[:count])
        level = np.rint(VESSEL_LEVELS * np.minimum(filled * inside, 1)).astype(np.uint8)
        np.maximum.at(room.reshape(-1), voxel[:count] + steps @ room.strides, level)
    inner = tuple(slice(more, more + size) for more, size in zip(margin, out.shape, strict=True))
    np.maximum(out, room[inner], out=out)
