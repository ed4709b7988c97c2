"""The edit that makes a tumour multifocal: further lesions in the same brain."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.spatial import cKDTree

from synth.brats import Tissue, Tumour
from synth.layout.edits.depth import blurred, lowest
from synth.layout.edits.edit import Edit, Outcome, choice, log_uniform, register, span, uniform
from synth.layout.edits.motion import rotation
from synth.layout.edits.placing import BRAIN, Ground, direction, tumour_box, tumour_points
from synth.layout.law import MAX_ACROSS, MAX_PIECES, MIN_LARGEST_SHARE, PIECE_MM3
from synth.layout.layout import Layout
from synth.layout.space import (
    Box,
    ball_radius,
    box_of,
    centroid,
    components,
    midline,
    spacing,
    ventricles,
    without_holes,
)
from synth.layout.warp import Warp, random_field

KINDS = ("blob", "copy")
NECROTIC_ML = 1.5  # a smaller lesion enhances through and through
_LEAST_ML = 0.15  # above what counts as a piece
_ROUGH = 0.18  # of the outline, relative to the radius: the middle of what whole tumours are drawn with
_WHITE_MATTER = 0.4  # how strongly oedema prefers it, relative to the radius
_WHITE_SHARE = 0.45  # of a lesion at least: gliomas spread along white matter
_OFFERS = 4000  # random places, of which a few per cent lie at the distance asked for
_TRIES = 60


@register
@dataclass(frozen=True)
class Satellites(Edit):
    """Add further lesions, each with a core and oedema of its own; the tumour that is there stays as it is.

    A "blob" is a ball roughened by a smooth random field, its oedema running into white matter, its core enhancing
    around a necrosis (or not enhancing at all, where the tumour does not). A "copy" is the whole tumour made small
    and turned. A lesion stays on its side of the falx and out of the ventricles; what does not fit is left away.

    Attributes:
        kind: blob or copy.
        centres: voxel positions, three numbers for each lesion.
        ml: volume of each lesion, oedema included.
        core: share of the core in each lesion; not used for copies.
        necrosis: share of necrosis in each core; not used for copies.
        seed: of the roughness and the turns.
    """

    kind: str
    centres: tuple[float, ...]
    ml: tuple[float, ...]
    core: tuple[float, ...]
    necrosis: tuple[float, ...]
    seed: int

    name: ClassVar[str] = "satellites"
    options: ClassVar[Mapping[str, Any]] = {
        "count": (1, 3),
        "ml": (0.3, 8.0),
        "distance": (4.0, 40.0),
        "other_side": 0.15,
        "core": (0.3, 0.8),
        "necrosis": (0.1, 0.5),
        "kind": KINDS,
    }

    @classmethod
    def draw(
        cls,
        layout,
        rng,
        *,
        target="tumour",
        donor=None,
        count=options["count"],
        ml=options["ml"],
        distance=options["distance"],
        other_side=options["other_side"],
        core=options["core"],
        necrosis=options["necrosis"],
        kind=options["kind"],
    ):
        """Lesions at places that suit them.

        Args:
            layout: to be edited.
            rng: where the numbers come from.
            target: the tumour.
            donor: none.
            count: range of how many; fewer where the law's largest number of pieces is reached.
            ml: range of each volume, uniform in its logarithm; smaller where the lesions together would exceed
                a fifth of the tumour.
            distance: range of the gap in mm between a lesion and the tumour; not kept on the other side.
            other_side: probability, for each lesion, of lying in the other hemisphere.
            core: range of the core's share of a lesion.
            necrosis: range of the necrosis' share of the core, for lesions of at least 1.5 ml.
            kind: blob or copy, or a list of which one is drawn.
        """
        kinds = choice(cls.name, "kind", kind, KINDS)
        count, ml = span(cls.name, "count", count, 1, 20), span(cls.name, "ml", ml, 0.05, 100)
        distance, other = span(cls.name, "distance", distance, 0), span(cls.name, "other_side", other_side, 0, 1)[0]
        core, necrosis = span(cls.name, "core", core, 0, 1), span(cls.name, "necrosis", necrosis, 0, 1)
        box = tumour_box(cls.name, layout)
        pieces, largest, whole = _pieces(layout, box)
        wanted = min(int(rng.integers(round(count[0]), round(count[1]) + 1)), max(MAX_PIECES - pieces, 1))
        volumes = np.array([log_uniform(rng, ml) for _ in range(wanted)])
        budget = max(0.9 * (largest / MIN_LARGEST_SHARE - whole), 0.02 * whole)  # of the law's largest piece
        volumes = np.round(np.clip(volumes * min(1, budget / volumes.sum()), min(_LEAST_ML, ml[0]), None), 2)
        enhancing = np.any(layout.tumour[box] == Tumour.ET)
        cores = [round(uniform(rng, core), 2) for _ in volumes]
        shares = [round(uniform(rng, necrosis), 2) for _ in volumes]
        shares = [share if volume >= NECROTIC_ML else 0.0 for share, volume in zip(shares, volumes, strict=True)]
        finder = _Places(layout, rng)
        centres = [finder.place(volume, distance, rng.random() < other) for volume in volumes]
        return cls(
            kind=kinds[int(rng.integers(len(kinds)))],
            centres=tuple(float(v) for v in np.ravel(centres)),
            ml=tuple(volumes),
            core=tuple(cores),
            necrosis=tuple(shares) if enhancing else (1.0,) * wanted,
            seed=int(rng.integers(2**31)),
        )

    def __post_init__(self):
        """Check the parameters."""
        super().__post_init__()
        lengths = {len(self.centres) / 3, len(self.ml), len(self.core), len(self.necrosis)}
        self._require(self.kind in KINDS and len(lengths) == 1, f"{' or '.join(KINDS)} and as many of each number")
        shares = all(0 <= v <= 1 for v in (*self.core, *self.necrosis))
        self._require(shares and all(0 < v <= 1000 for v in self.ml) and self.seed >= 0, "shares, ml and seed >= 0")

    @property
    def further_pieces(self) -> int:
        """As many as there are lesions."""
        return len(self.ml)

    def run(self, layout, donor=None):
        """See `Edit.run`."""
        tumour_box(self.name, layout)
        out = layout.tumour.copy()
        for number, volume in enumerate(self.ml):
            centre = np.array(self.centres[3 * number : 3 * number + 3])
            box = _box_around(centre, volume, layout)
            if box is None:
                continue  # the record was drawn for another brain
            room = (layout.tissue[box] > 0) & ~ventricles(layout.tissue, spacing(layout.affine), box)
            side = (np.arange(box[0].start, box[0].stop) - midline(layout.shape)) * np.sign(
                centre[0] - midline(layout.shape)
            )
            room &= (side > 0)[:, None, None]
            make = self._blob if self.kind == "blob" else self._copy
            _merge(out[box], make(layout, number, centre, box, room))
        return Outcome(layout.with_tumour(out))

    def _blob(self, layout, number, centre, box, room):
        zooms = spacing(layout.affine)
        radius = ball_radius(1000 * self.ml[number])
        lines = [(np.arange(p.start, p.stop) - c) * z for p, c, z in zip(box, centre, zooms, strict=True)]
        level = np.sqrt(sum(line**2 for line in np.ix_(*lines)))
        rough = random_field(box, zooms, _ROUGH * radius, max(0.8 * radius, 5.0), self.seed + number)
        rough = [part * z for part, z in zip(rough.displacement(box), zooms, strict=True)]
        voxels = self.ml[number] * 1000 / np.prod(zooms)
        core = lowest(level + rough[0], room, round(self.core[number] * voxels))
        grey = _WHITE_MATTER * radius * (1 - blurred(layout.tissue[box] == Tissue.WM, zooms))
        oedema = lowest(0.8 * level + rough[1] + grey, room & ~core, round(voxels) - np.count_nonzero(core))
        whole = without_holes(core | oedema, zooms) & room
        necrosis = lowest(level + 0.8 * rough[2], core, round(self.necrosis[number] * np.count_nonzero(core)))
        labels = np.where(whole, np.uint8(Tumour.ED), np.uint8(0))
        labels[core] = Tumour.ET
        labels[necrosis] = Tumour.NCR
        return labels

    def _copy(self, layout, number, centre, box, room):
        zooms, home = spacing(layout.affine), box_of(layout.tumour)
        whole = np.count_nonzero(layout.tumour[home]) * np.prod(zooms) / 1000
        rng = np.random.default_rng(self.seed + number)
        turn = rotation(float(rng.uniform(0, 180)), direction(rng))
        middle = centroid(layout.tumour[home] > 0, home)
        warp = Warp.about(middle, (self.ml[number] / whole) ** (1 / 3) * turn, zooms, (centre - middle) * zooms)
        labels = warp.gather(layout.tumour[home], [part.start for part in home], box)
        return np.where(room, labels, np.uint8(0))


class _Places:
    """Finds places for lesions in one brain, and remembers those it gave."""

    def __init__(self, layout: Layout, rng: np.random.Generator):
        self.ground, self.rng, self.tissue = Ground(layout), rng, layout.tissue
        self.points = tumour_points(layout)[0]
        self.side = np.sign(np.mean(self.points[:, 0]) - self.ground.middle) or 1.0
        across = float(np.mean((self.points[:, 0] - self.ground.middle) * self.side < 0))
        self.free = (0.9 * MAX_ACROSS - across) * _ml(layout)  # ml that the law leaves on the other side
        ball = rng.standard_normal((200, 3))
        self.ball = ball * (rng.random((200, 1)) ** (1 / 3) / np.linalg.norm(ball, axis=1, keepdims=True))

    def place(self, ml: float, distance: tuple[float, float], other: bool) -> list[float]:
        """A centre, (3,) voxels, for a lesion of that volume at that distance from all tumour so far."""
        if other and ml > self.free:
            other = False
        radius, zooms = ball_radius(1000 * ml), self.ground.zooms
        offers = self.rng.random((_OFFERS, 3)) * self.ground.kind.shape + self.ground.origin
        index = (offers - self.ground.origin).astype(int)
        gaps = cKDTree(self.points * zooms).query(offers * zooms)[0] - radius
        wrong = np.where(gaps < distance[0], distance[0] - gaps, 0.0)
        if not other:
            wrong += np.maximum(gaps - distance[1], 0)
        sides = (offers[:, 0] - self.ground.middle) * self.side * (-1 if other else 1)
        wrong += 1000 * (self.ground.kind[tuple(index.T)] != BRAIN) + 500 * (sides * zooms[0] < 1.1 * radius)
        best, least = None, np.inf
        for place in offers[np.argsort(wrong, kind="stable")[:_TRIES]]:
            points = (place + radius * self.ball / zooms).astype(np.float32)
            misfit = self.ground.misfit(points, np.ones(len(points), bool), 0.02)
            misfit = max(misfit, _WHITE_SHARE / max(self._white(points), 0.01))
            if misfit < least:
                best, least = place, misfit
            if misfit <= 1:
                break
        self.points = np.concatenate([self.points, (best + radius * self.ball / zooms).astype(np.float32)])
        self.free -= ml * other
        return [round(float(v), 1) for v in best]

    def _white(self, points: np.ndarray) -> float:
        """The share of white matter among the points."""
        index = np.clip(np.rint(points).astype(int), 0, np.array(self.tissue.shape) - 1)
        return float(np.mean(self.tissue[tuple(index.T)] == Tissue.WM))


def _merge(there: np.ndarray, labels: np.ndarray):
    """Write a lesion's largest piece into `there`: it leaves all tumour alone but oedema under a core of its own."""
    pieces, sizes = components(labels > 0)
    labels = np.where(pieces == sizes.argmax(), labels, np.uint8(0)) if sizes.any() else labels
    new = ((there == 0) & (labels > 0)) | ((there == Tumour.ED) & ((labels == Tumour.NCR) | (labels == Tumour.ET)))
    there[new] = labels[new]


def _box_around(centre, ml: float, layout: Layout) -> Box | None:
    reach = 2.2 * ball_radius(1000 * ml) + 3
    box = tuple(
        slice(max(int(c - reach / z), 0), min(int(c + reach / z) + 2, n))
        for c, z, n in zip(centre, spacing(layout.affine), layout.shape, strict=True)
    )
    return box if all(part.start < part.stop for part in box) else None


def _pieces(layout: Layout, box: Box) -> tuple[int, float, float]:
    """How many pieces the tumour has, and the volumes in ml of the largest and of all."""
    unit = np.prod(spacing(layout.affine)) / 1000
    sizes = components(layout.tumour[box] > 0)[1] * unit
    return int(np.count_nonzero(sizes * 1000 >= PIECE_MM3)), float(sizes.max()), float(sizes.sum())


def _ml(layout: Layout) -> float:
    return float(np.count_nonzero(layout.tumour) * np.prod(spacing(layout.affine)) / 1000)
