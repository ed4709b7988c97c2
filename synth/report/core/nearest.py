"""The nearest real case of every sample, and of every real case among other patients: what memorisation rests on."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from synth.lineage import ancestors, patient_of
from synth.quality.neighbours import FEATURE_CASES, LEVELS, Level, Neighbours, feature_distances, neighbours
from synth.quality.records import Record, all_have, stack
from synth.report.core.sets import Sets

# Below this distance a sample is a copy. Measured on 16 patients, and for thumbnails on 50 samples of the default
# generator: two patients, or sample and patient, are at least 0.41 (image), 0.43 (tissue), 0.25 (tumour) and 0.43
# (features) apart; copies of four patients that were mirrored and shifted by 8 mm, given noise of 0.3 sd, blurred by
# 1.5 mm, rescaled or given a gamma of 1.5 at most 0.04, 0.24 and 0.03. Features find only copies that were shifted,
# rescaled or given noise (0.004) or blurred by 1 mm (0.03): a mirror changes them (0.18 to 0.65), gamma too (0.13).
# Scans painted anew from their own layout are at 0.05 to 0.15 (image), 0.03 to 0.10 (tissue) and 0 (tumour).
COPY = {"image": 0.25, "tissue": 0.33, "tumour": 0.12, "features": 0.05}
OWN_COPY = 0.02  # a reconstruction is 0.05 to 0.15 from its own scan, the scan with noise or blur below 0.01
TITLES = {"image": "image", "tissue": "tissue map", "tumour": "tumour labels", "features": "segmenter's features"}
YARDSTICK = 200  # real cases, drawn with the seed, that are compared with all others; up to half of them hold-out
REPEAT = 0.01  # samples whose distances to all real cases differ by less (root mean square) count as one sample
FEATURES = Level("features", lambda record: record("embedding", "pooled"))

Relation = Callable[[Record, Record], bool]


@dataclass(frozen=True)
class Nearest:
    """One level: whom each sample is nearest to.

    Attributes:
        level: "image", "tissue", "tumour" or "features".
        samples: the synthetic cases.
        training: real cases that the generator was trained on.
        holdout: those that it was not.
        to_training: of the samples; None without training cases.
        to_holdout: of the samples; None without hold-out cases.
        real: (patients,) distance of real cases to the nearest other patient; infinite ones left out.
        drawn: (rows,) the real cases that were compared with all others, as they stand in `training` + `holdout`.
        among: (rows, real cases) their distances, as `Neighbours.distances`; infinite for scans of one patient.
        copied: (rows,) bool, which of them are copies of another real case; left out of `real`.
        explained: whether some pairs were left out, as they are alike by design.
    """

    level: str
    samples: Sequence[Record]
    training: Sequence[Record]
    holdout: Sequence[Record]
    to_training: Neighbours | None
    to_holdout: Neighbours | None
    real: np.ndarray
    drawn: np.ndarray
    among: np.ndarray
    copied: np.ndarray
    explained: bool

    @property
    def alike(self) -> tuple[str, ...]:
        """Ids of real cases that are copies of one another."""
        real = [*self.training, *self.holdout]
        return tuple(real[i].id for i in self.drawn[self.copied])

    @property
    def different(self) -> np.ndarray:
        """(k,) the first of each group of samples that are copies of one another, by their distances to real cases."""
        rows = np.concatenate([side.distances for _, _, side in self.sides], axis=1).astype(float)
        return _different(rows)

    @property
    def patients(self) -> float:
        """As how many patients the pairs of real cases count beside samples that are compared with training cases.

        The nearest pair of real cases is the nearest of m (m - 1) / 2 pairs, a sample's of as many as there are
        training cases: m real cases among which all are trained on count as (m - 1) / 2.
        """
        pairs = np.isfinite(self.among)
        twice = pairs[:, self.drawn].sum() / 2
        return float((pairs.sum() - twice) / np.isfinite(self.to_training.distances).sum(1).mean())

    @property
    def sides(self) -> list[tuple[str, Sequence[Record], Neighbours]]:
        """Name, real cases and neighbours of the sides that there are."""
        both = (("training", self.training, self.to_training), ("hold-out", self.holdout, self.to_holdout))
        return [side for side in both if side[2] is not None]


def levels(sets: Sets, training: Sequence[Record], holdout: Sequence[Record]) -> list[Nearest]:
    """Every level that was measured on all cases; features only where their unit is known (`FEATURE_CASES`).

    Args:
        sets: of the report.
        training: real cases that count as trained on.
        holdout: real cases that do not.
    """
    every = [*sets.synthetic, *training, *holdout]
    known = with_features(every) and len(training) + len(holdout) >= FEATURE_CASES
    return [nearest_at(level, sets, training, holdout) for level in [*LEVELS] + [FEATURES] * known]


def with_features(records: Sequence[Record]) -> bool:
    """Whether all of them have the segmenter's features."""
    return all_have(records, "embedding")


def ancestors_of(sets: Sets, record: Record) -> frozenset[str]:
    """The patients whose anatomy a sample carries, by the manifest; empty where it tells of none."""
    return ancestors(sets.lineage[record.id]) if record.id in sets.lineage else frozenset()


def kept_brain(sets: Sets, record: Record) -> frozenset[str]:
    """The patients whose brain a sample keeps because its user asked for that; empty where it became another one."""
    made = sets.lineage.get(record.id, {})
    near = made.get("from_host")
    if not isinstance(near, dict) or not near.get("kept"):
        return frozenset()
    return ancestors({**made, "donor": None})


def by_design(sets: Sets, level: str) -> Relation:
    """Tells which sample and real case are alike by design at a level.

    A reconstruction is, of its own scan. A sample that was given a real case's anatomy is, in its layout; its image is
    painted anew and has to be nobody's, unless its user asked for the host's brain as it is.
    """
    pairs = {record.id for record in sets.paired}
    carriers = ancestors_of if level in ("tissue", "tumour") else kept_brain
    carried = {record.id: carriers(sets, record) for record in sets.synthetic}

    def related(sample: Record, real: Record) -> bool:
        own = sample.id in pairs and sample.id == real.id
        return own or patient_of(real.id) in carried.get(sample.id, ())

    return related


def own_distances(sets: Sets) -> np.ndarray:
    """(pairs,) distance of each reconstruction from its own scan, at the level of the image."""
    real = {record.id: record for record in sets.real}
    return _image_distances((record, real[record.id]) for record in sets.paired)


def kept_distances(sets: Sets) -> np.ndarray:
    """(pairs,) distance of each sample that keeps a brain from the scans of its patient, at the level of the image."""
    whose = [(record, kept_brain(sets, record)) for record in sets.synthetic]
    return _image_distances(
        (record, scan) for record, patients in whose for scan in sets.real if patient_of(scan.id) in patients
    )


def _image_distances(pairs: Iterable[tuple[Record, Record]]) -> np.ndarray:
    return np.array([neighbours([sample], [[scan]], LEVELS[0])[0].nearest[0] for sample, scan in pairs])


def nearest_at(level: Level, sets: Sets, training: Sequence[Record], holdout: Sequence[Record]) -> Nearest:
    """One level of `levels`."""
    related = by_design(sets, level.name)
    real = [*training, *holdout]
    to = [
        side_neighbours if side else None
        for side, side_neighbours in zip(
            (training, holdout), _search(level, sets.synthetic, (training, holdout), real, related), strict=True
        )
    ]
    explained = any(np.isinf(side_neighbours.distances).any() for side_neighbours in to if side_neighbours is not None)
    patients = _among_real(level, real, len(training), sets.seed)
    return Nearest(level.name, sets.synthetic, training, holdout, *to, *patients, explained)


def _among_real(level: Level, real: Sequence[Record], training: int, seed: int) -> tuple[np.ndarray, ...]:
    """`real`, `drawn`, `among` and `copied` of `Nearest`."""
    drawn = _drawn(training, len(real) - training, seed)
    queries = [real[i] for i in drawn]
    others = _search(level, queries, [real], real, lambda a, b: patient_of(a.id) == patient_of(b.id))[0]
    copied = others.nearest <= COPY[level.name]
    return others.nearest[np.isfinite(others.nearest) & ~copied], drawn, others.distances, copied


def _drawn(training: int, holdout: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rest = rng.permutation(holdout)[: max(YARDSTICK // 2, YARDSTICK - training)]
    return np.sort(np.concatenate([rng.permutation(training)[: YARDSTICK - len(rest)], training + rest]))


def _different(rows: np.ndarray) -> np.ndarray:
    """(k,) rows of (n, m) that are not a repeat of an earlier one of them."""
    rows = np.where(np.isfinite(rows), rows, 0)
    rows = rows - rows.mean(0)
    squares, kept, different = (rows**2).sum(1), np.empty_like(rows), []
    for i, row in enumerate(rows):
        earlier = kept[: len(different)]
        apart = squares[different] + squares[i] - 2 * earlier @ row
        if not different or apart.min() > rows.shape[1] * REPEAT**2:
            kept[len(different)] = row
            different.append(i)
    return np.array(different, int)


def _search(level: Level, queries, sides, real, skip: Relation) -> list[Neighbours]:
    if level is not FEATURES:
        return neighbours(queries, sides, level, skip)
    return [_by_features(queries, side, real, skip) for side in sides]


def _by_features(queries, references, real, skip: Relation) -> Neighbours | None:
    if not references:
        return None
    arrays = [stack(side, "embedding", "pooled").astype(np.float64) for side in (queries, references, real)]
    distances = feature_distances(*arrays)
    distances[np.array([[skip(query, reference) for reference in references] for query in queries])] = np.inf
    return Neighbours.plain(distances)
