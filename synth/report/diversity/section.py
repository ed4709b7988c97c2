"""Section "diversity": do samples differ from one another as real patients do, and do they cover what patients have?

- *Repeats*: samples that are a copy of another sample, by the distances and thresholds of section "memorisation".
- *Variety*: how unlike two samples are (MS-SSIM of thumbnails, distance of features), and how many different cases a
  set amounts to (`distances.effective_number`); beside it the same among real cases. Only too little of it is a fault
  here: a set that varies more than patients do shows under Fidelity.
- *Coverage*: the share of real cases that have no sample nearby (1 - coverage; Naeem et al. 2020): nearer than their
  third-nearest real case, in a compared group. By volumes, place, composition, style and the segmenter's features;
  for the last the share beyond every sample's reach too (1 - recall; Kynkaanniemi et al. 2019). Where so
  few cases are compared that one case over and over would pass, a pass is not given (`feature_space.share_check`): of
  four cases, say, three neighbours are all the others.
"""

from collections.abc import Sequence

import numpy as np

from synth.brats import TISSUES
from synth.quality.distances import NEIGHBOURS, Space, manifolds, squared_distances
from synth.quality.records import Record, all_have, stack
from synth.report.core.feature_space import drawn, scaled, share_check
from synth.report.core.judge import (
    LEAST,
    SPLITS,
    Check,
    Comparison,
    Figure,
    Section,
    Table,
    compare,
    no_cases,
    not_judged,
    small_note,
)
from synth.report.core.material import Material
from synth.report.core.sets import Sets
from synth.report.diversity.plots import coverage_figure, pair_figure
from synth.report.diversity.variety import MOST_PAIRS, feature_pairs, image_pairs, number_check, repeats, variety_check

UNCOVERED = 0.2  # share of real cases, or one and a half of the compared group's: fewer cannot be told from chance
_COVERED = {  # what is covered: (probe, array, transformation)
    "volume": ("anatomy", "volume_ml", lambda v: np.log10(v + 1)),  # six volumes over three orders of magnitude
    "composition": ("anatomy", "composition", None),
    "place": ("anatomy", "centroid_mm", None),
    # of the tissues, which all cases have
    "style": ("intensity", "mean", lambda v: v[:, :, : len(TISSUES)].reshape(len(v), -1)),
}
_TITLES = {
    "volume": "volumes of brain and tumour",
    "composition": "composition of the tumour",
    "place": "place of the tumour",
    "style": "style (means of CSF, GM and WM in each modality)",
}


def section(material: Material) -> Section:
    """The section of these sets."""
    if not material.sets.synthetic:
        question = "Do the samples differ as real patients do?"
        return no_cases("diversity", "Diversity", question)
    return section_of(material.sets)


def section_of(sets: Sets) -> Section:
    """The section; uses the probes `embedding`, `thumbnail`, `anatomy` and `intensity`, those that were measured."""
    synthetic, real = drawn(sets.synthetic, sets.seed), drawn(sets.real, sets.seed)
    checks, figures, tables = [*repeats(sets, sets.synthetic, real)], [], []
    for more in (_variety(synthetic, real, sets.seed), _coverage(synthetic, real, sets.seed)):
        checks, figures, tables = checks + more[0], figures + more[1], tables + more[2]
    return Section(
        "diversity",
        "Diversity",
        "Do samples differ from one another as real patients do, and is every kind of patient among them?",
        tuple(checks),
        tuple(figures),
        tuple(tables),
        tuple(_notes(sets, synthetic, real)),
    )


def _variety(synthetic: Sequence[Record], real: Sequence[Record], seed: int) -> tuple[list, list, list]:
    """How unlike two cases are."""
    checks, shown = [], []
    for name, title, measured in (
        ("image", "how unlike two samples' images are (1 - MS-SSIM)", image_pairs),
        ("features", "how unlike two samples are to the segmenter", feature_pairs),
    ):
        ours, theirs = measured(synthetic, real, seed)
        checks.append(variety_check(f"diversity.variety.{name}", title, ours, theirs, seed))
        if ours.values.size and theirs.values.size:
            shown.append((title, ours.values, theirs.values))
    checks.append(number_check(synthetic, real, seed))
    return checks, [pair_figure(shown)] if shown else [], []


def _coverage(synthetic: Sequence[Record], real: Sequence[Record], seed: int) -> tuple[list, list, list]:
    """What real cases have that samples have not."""
    checks, rows, group = [], [], "Coverage"
    for name, title in _TITLES.items():
        ours, theirs = (_described(records, name) for records in (synthetic, real))
        check = f"diversity.coverage.{name}"
        if min(len(theirs) // 2, len(ours)) < LEAST:
            checks.append(not_judged(check, group, f"real cases not covered: {title}", "too few cases have it."))
            continue
        space = Space.of(theirs)
        ours, theirs = space(ours), space(theirs)
        checks.append(_uncovered(check, f"real cases not covered: {title}", ours, theirs, seed))
        rows.append(_row(title, ours, theirs))
    if min(len(real) // 2, len(synthetic)) >= LEAST and all_have((*synthetic, *real), "embedding"):
        ours, theirs = scaled(synthetic, real, "pooled")
        checks.append(_uncovered("diversity.coverage.features", "real cases not covered: features", ours, theirs, seed))
        checks.append(_unreached(ours, theirs, seed))
        rows.append(_row("features", ours, theirs))
    table = Table(
        "manifolds",
        "Precision, recall, density and coverage of all cases",
        ("what", "precision", "recall", "density", "coverage", "spread, of the real"),
        tuple(rows),
        "Real on one side, samples on the other, with three neighbours; sets of unequal size: no yardstick. Spread: "
        "root mean square deviation from the set's mean, over that of the real set.",
    )
    figure = _places(synthetic, real)
    return checks, [figure] if figure else [], [table] if rows else []


def _described(records: Sequence[Record], name: str) -> np.ndarray:
    """(n, d) of the cases that have it."""
    probe, array, transformed = _COVERED[name]
    if not records or not all_have(records, probe):
        return np.empty((0, 1))
    values = stack(records, probe, array).astype(np.float64)
    values = (transformed(values) if transformed else values).reshape(len(values), -1)
    return values[np.isfinite(values).all(1)]


def _uncovered(id: str, title: str, ours: np.ndarray, theirs: np.ndarray, seed: int) -> Check:
    comparison = compare(ours, theirs, lambda a, b: 1 - manifolds(a, b).coverage, seed)
    most = _collapsed(len(ours), theirs, seed)
    return share_check(id, "Coverage", title, comparison, _tolerance(comparison), most)


def _collapsed(count: int, theirs: np.ndarray, seed: int) -> float:
    """The share that a real case, over and over, leaves uncovered; median over cases and the groups of `compare`."""
    size, squared = min(len(theirs) // 2, count), squared_distances(theirs, theirs)
    np.fill_diagonal(squared, 0)
    rng, left = np.random.default_rng(seed), []
    for _ in range(SPLITS):
        group = rng.permutation(len(theirs))[:size]
        rng.permutation(count)  # `compare` draws samples here
        reach = np.partition(squared[np.ix_(group, group)], min(NEIGHBOURS, size - 1), axis=1)
        left.append((squared[group] > reach[:, min(NEIGHBOURS, size - 1), None]).mean(0))
    return float(np.median(np.median(left, 0)))


def _unreached(ours: np.ndarray, theirs: np.ndarray, seed: int) -> Check:
    comparison = compare(ours, theirs, lambda a, b: 1 - manifolds(a, b).recall, seed)
    title = "real cases beyond the reach of samples (1 - recall): features"
    return share_check("diversity.recall.features", "Coverage", title, comparison, _tolerance(comparison))


def _tolerance(comparison: Comparison | None) -> float:
    return UNCOVERED if comparison is None else max(UNCOVERED, 1.5 / comparison.size)


def _row(title: str, ours: np.ndarray, theirs: np.ndarray) -> tuple:
    shares = manifolds(ours, theirs)
    spread = np.sqrt(ours.var(0).sum() / max(theirs.var(0).sum(), 1e-12))
    values = (shares.precision, shares.recall, shares.density, shares.coverage, spread)
    return (title, *(round(float(value), 3) for value in values))


def _places(synthetic: Sequence[Record], real: Sequence[Record]) -> Figure | None:
    if not synthetic or not real or not all_have((*synthetic, *real), "anatomy"):
        return None
    sides = []
    for records in (real, synthetic):
        place, volume = (stack(records, "anatomy", name) for name in ("centroid_mm", "volume_ml"))
        sides.append((place, volume[:, 1]))
    return coverage_figure(*sides)


def _notes(sets: Sets, synthetic: Sequence[Record], real: Sequence[Record]) -> list[str]:
    notes = [small_note(len(sets.synthetic), len(sets.real))]
    if len(synthetic) < len(sets.synthetic) or len(real) < len(sets.real):
        notes.append(
            f"{len(synthetic)} of {len(sets.synthetic)} samples and {len(real)} of {len(sets.real)} real cases were "
            "compared, drawn with the seed; for repeats all samples were."
        )
    notes.append(
        f"MS-SSIM: of {MOST_PAIRS} pairs of a set at most, on thumbnails of 3 mm, mean of t1ce and flair, within the "
        "two brains. Variety fails where it is too small; more than real patients have is no fault here."
    )
    return [note for note in notes if note]
