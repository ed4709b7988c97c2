"""Fidelity to a judge: can a simple classifier tell synthetic scans from real ones?

Boosted trees are shown statistics of slices, and of blocks of 32 voxels' edge (probe `local`), of some cases and judge
those of the others: no case is judged by trees that have met it. The area under the ROC curve over all held-out rows is
0.5 where they guess and 1 where they know. Beside it stands the same between two halves of the real cases. A classifier
two-sample test (Lopez-Paz and Oquab 2017, arXiv:1610.06545), which finds what no distance here was made to find.

A set passes up to `PASSES`, or up to the yardstick's 95th percentile, and fails beyond `FAILS`.
"""

from collections.abc import Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from synth.quality.local import BLOCK_STATISTICS, SLICE_STATISTICS
from synth.quality.records import Record
from synth.report.core.judge import Check, Verdict, Yardstick, not_judged, number

GROUP = "Told apart"
KINDS = {"slices": ("axial slices", SLICE_STATISTICS), "blocks": ("blocks of 32 mm", BLOCK_STATISTICS)}
LEAST = 6  # cases on a side: below, folds have one or two
MOST = 60  # cases of a side
PASSES, FAILS = 0.7, 0.9
_FOLDS, _HALVES, _NAMED = 6, 6, 3

Rows = Sequence[np.ndarray]  # a case's statistics each, (rows, statistics)


def checks(synthetic: Sequence[Record], real: Sequence[Record], seed: int = 0) -> list[Check]:
    """Checks "fidelity.told.slices" and "fidelity.told.blocks"; they need the probe `local`."""
    return [_check(kind, synthetic, real, seed) for kind in KINDS]


def _check(kind: str, synthetic: Sequence[Record], real: Sequence[Record], seed: int) -> Check:
    (what, names), id, rng = KINDS[kind], f"fidelity.told.{kind}", np.random.default_rng(seed)
    ours, theirs = (_rows(records, kind, rng) for records in (synthetic, real))
    title = f"a classifier on statistics of {what}: area under its ROC curve"
    if len(ours) < LEAST or len(theirs) < 2 * LEAST:
        few = f"{len(ours)} synthetic and {len(theirs)} real cases: {LEAST} and {2 * LEAST} are needed."
        return not_judged(id, GROUP, title, few)
    value = separability(ours, theirs, seed)
    orders = [rng.permutation(len(theirs)) for _ in range(_HALVES)]
    halves = [[[theirs[k] for k in part] for part in np.array_split(order, 2)] for order in orders]
    among = [separability(*pair, seed) for pair in halves]
    low, median, high = np.percentile(among, (5, 50, 95))
    limit = max(PASSES, high)
    verdict = Verdict.PASS if value <= limit else Verdict.LOOK if value <= FAILS else Verdict.FAIL
    reason = (
        f"{number(value)} (0.5 is a guess, 1 always right) where two real halves have {number(median)} (95 %: "
        f"{number(high)}); most telling: {telling(ours, theirs, names)}."
    )
    n = {"synthetic": len(ours), "real": len(theirs)}
    return Check(id, GROUP, title, value, "", verdict, reason, Yardstick(median, low, high), None, n)


def separability(ours: Rows, theirs: Rows, seed: int = 0) -> float:
    """Area under the ROC curve of boosted trees on cases they have not met; 0.5 where the sets are alike.

    Args:
        ours: the statistics of every case of a set, (rows, statistics) each; at least 2 cases.
        theirs: those of the other.
        seed: of the folds.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedGroupKFold

    cases = [*ours, *theirs]
    rows, group = np.concatenate(cases), np.repeat(np.arange(len(cases)), [len(case) for case in cases])
    label, score = (group >= len(ours)).astype(int), np.zeros(len(rows))
    folds = StratifiedGroupKFold(min(_FOLDS, len(ours), len(theirs)), shuffle=True, random_state=seed)
    with threadpool_limits(1):  # more are slower on so few rows
        for known, held in folds.split(rows, label, group):
            trees = HistGradientBoostingClassifier(max_depth=3, max_iter=80, random_state=seed)
            score[held] = trees.fit(rows[known], label[known]).predict_proba(rows[held])[:, 1]
    return float(roc_auc_score(label, score))


def telling(ours: Rows, theirs: Rows, names: Sequence[str]) -> str:
    """The statistics that alone rank most pairs of rows right, and on which side synthetic ones lie."""
    from sklearn.metrics import roc_auc_score

    rows = [np.concatenate(side) for side in (ours, theirs)]
    label = np.repeat([1, 0], [len(side) for side in rows])
    areas = np.array([roc_auc_score(label, column) for column in np.concatenate(rows).T])
    order = np.argsort(-np.abs(areas - 0.5))[:_NAMED]
    said = [f"{names[k]} {'higher' if areas[k] > 0.5 else 'lower'} ({max(areas[k], 1 - areas[k]):.2f})" for k in order]
    return ", ".join(said)


def _rows(records: Sequence[Record], kind: str, rng: np.random.Generator) -> list[np.ndarray]:
    chosen = sorted(rng.permutation(len(records))[:MOST])
    rows = (records[k]("local", kind) for k in chosen)
    return [case for case in rows if len(case)]
