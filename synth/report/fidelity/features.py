"""Fidelity in a feature space: are synthetic scans where real ones are, as the shipped segmenter sees them?

Features (probe `embedding`) are brought to real standard deviations, with a soft end at two (`distances.bounded`).

- At each of the network's levels, and for the tumour, the kernel distance of KID (`distances.mmd`): unbiased, so it is
  taken over all cases. It fails only where its whole interval (jackknife) lies beyond what real scans allow.
- Over all levels the Frechet distance per feature, on the principal axes of both sets together, as many as a compared
  group has cases and 32 at most. A group of n cases shows n - 1 directions: with few cases a gross measure.
- The share of samples that lie beyond the reach of real cases (1 - precision). A share is never more than 1: it is not
  judged where so few cases are compared that real halves reach half of that (`share_check`).

Measured on real against real, 160 random splits of 12 patients into 6 and 6 or of 16 into 4 and 12: no failure, 30
with something to look at. On 4 altered scans against 12 real ones, times what real scans allow: shuffled modalities
4.7 (fine) and 9.7 (tumour), flat painting 3.1 (deep), labels enlarged by 1.3 1.8 (tumour). Blur of 1.5 mm and noise
of 0.3 sd are not seen at all: a network trained to overlook them is no judge of sharpness; spectrum and texture are.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from synth.quality import radiomics
from synth.quality.distances import MOST_AXES, Space, bounded, frechet, manifolds, mmd, mmd_interval, principal_axes
from synth.quality.embedding import PARTS
from synth.quality.records import Record, all_have, stack
from synth.report.core.charts import canvas, png
from synth.report.core.feature_space import drawn, scaled, share_check
from synth.report.core.judge import (
    LEAST,
    Check,
    Figure,
    Verdict,
    compare,
    distance_check,
    not_judged,
    number,
)
from synth.report.core.sets import Sets

GROUP = "Feature space"
MMD_TOLERANCE = 0.1  # kernel units: a shift of 0.18 real standard deviations in every feature
FRECHET_TOLERANCE = 0.05  # squared standard deviations a feature: a shift of 0.22
OUTSIDE_TOLERANCE = 0.1  # share of samples: equal sets have a few beyond each other's reach
LEVELS = {
    "fine": "fine detail (2 mm)",
    "middle": "texture and small structures (4 mm)",
    "deep": "whole structures (16 mm)",
    "tumour": "the tumour against the brain",
}
_COLOURS = ("#8a8a8a", "#0b6e99", "#d98c00")  # real, hold-out, synthetic: told apart by the colour-blind too


def checks(sets: Sets) -> tuple[list[Check], list[Figure]]:
    """Checks "fidelity.features.*" and a map of both sets; needs the probe `embedding`."""
    synthetic, real = drawn(sets.synthetic, sets.seed), drawn(sets.real, sets.seed)
    if min(len(real) // 2, len(synthetic)) < LEAST:
        reason = f"{len(synthetic)} synthetic and {len(real)} real cases: at least {LEAST} and {2 * LEAST} are needed."
        return [not_judged("fidelity.features", GROUP, "distance in feature space", reason)], []
    made = [_level(name, synthetic, real, sets.seed) for name in PARTS]
    ours, theirs = scaled(synthetic, real, "pooled")
    frechet_id = "fidelity.features.frechet"
    made += [_frechet(ours, theirs, sets.seed, frechet_id, "Frechet distance of all features")]
    made += [_outside(ours, theirs, sets.seed)]
    return [*made, _radiomic(synthetic, real, sets.seed)], [_map(ours, theirs, real, sets.holdout)]


def _level(name: str, synthetic: Sequence[Record], real: Sequence[Record], seed: int) -> Check:
    ours, theirs = scaled(synthetic, real, name)
    comparison = compare(ours, theirs, mmd, seed)
    comparison = replace(comparison, value=mmd(ours, theirs))  # unbiased: all cases say it best
    title = f"kernel distance (KID), {LEVELS[name]}"
    check = distance_check(f"fidelity.features.mmd.{name}", GROUP, title, "", comparison, MMD_TOLERANCE)
    interval = mmd_interval(ours, theirs)
    sizes = {"synthetic": len(ours), "real": len(theirs)}
    check = replace(check, interval=interval if np.isfinite(interval).all() else None, n=sizes)
    return _sure(check, max(comparison.yardstick.high, MMD_TOLERANCE))


def _sure(check: Check, limit: float) -> Check:
    """A failure only where the whole interval lies beyond what real scans allow: one odd case makes none."""
    if check.verdict != Verdict.FAIL or (check.interval is not None and check.interval[0] > limit):
        return check
    reach = "has no interval with so few cases" if check.interval is None else f"may be {number(check.interval[0])}"
    return replace(check, verdict=Verdict.LOOK, reason=f"{check.reason[:-1]}; but it {reach}, so it is no failure.")


def _frechet(ours: np.ndarray, theirs: np.ndarray, seed: int, id: str, what: str) -> Check:
    size = min(len(theirs) // 2, len(ours))
    axes, shares = principal_axes([ours, theirs], int(np.clip(size, 2, MOST_AXES)))
    scale = np.sqrt(ours.shape[1])
    comparison = compare(ours @ axes.T / scale, theirs @ axes.T / scale, frechet, seed)
    title = f"{what}, on {len(axes)} axes with {shares.sum():.0%} of the variance"
    return distance_check(id, GROUP, title, "", comparison, FRECHET_TOLERANCE)


def _outside(ours: np.ndarray, theirs: np.ndarray, seed: int) -> Check:
    comparison = compare(ours, theirs, lambda a, b: 1 - manifolds(a, b).precision, seed)
    title = "samples beyond the reach of real cases (1 - precision)"
    return share_check("fidelity.features.outside", GROUP, title, comparison, OUTSIDE_TOLERANCE)


def _radiomic(synthetic: Sequence[Record], real: Sequence[Record], seed: int) -> Check:
    """The Frechet distance of PyRadiomics's features, where they were measured."""
    id, title = "fidelity.features.radiomic", "radiomic Frechet distance"
    if not all_have((*synthetic, *real), radiomics.NAME):
        reason = f"PyRadiomics was not installed when the cases were measured; to have it: {radiomics.INSTALL}"
        return not_judged(id, GROUP, title, reason)
    ours, theirs = (stack(records, radiomics.NAME, "features") for records in (synthetic, real))
    kept = np.isfinite(theirs).all(0) & np.isfinite(ours).all(0)
    if not kept.any():
        return not_judged(id, GROUP, title, "no radiomic feature has a value in every case.")
    space = Space.of(theirs[:, kept])
    return _frechet(bounded(space(ours[:, kept])), bounded(space(theirs[:, kept])), seed, id, title)


def _map(ours: np.ndarray, theirs: np.ndarray, real: Sequence[Record], holdout: Sequence[Record]) -> Figure:
    caption = (
        "Each point is a scan as the segmenter sees it, on the two axes along which both sets together vary most. "
        "Synthetic and real points should mix: a cloud apart is a difference in kind, a tight one a lack of variety."
    )
    title = "Real and synthetic scans in feature space"
    return Figure("features-map", title, caption, partial(_drawn_map, ours, theirs, real, holdout))


def _drawn_map(ours: np.ndarray, theirs: np.ndarray, real: Sequence[Record], holdout: Sequence[Record]) -> bytes:
    axes, shares = principal_axes([ours, theirs], 2)
    held = {record.id for record in holdout}
    is_held = np.array([record.id in held for record in real])
    figure = canvas(6, 4.6, left=0.75)
    plot = figure.add_subplot()
    groups = (("real", theirs[~is_held], "o"), ("real, hold-out", theirs[is_held], "s"), ("synthetic", ours, "^"))
    for (name, rows, marker), colour in zip(groups, _COLOURS, strict=True):
        if len(rows):
            x, y = (rows @ axes.T).T
            plot.scatter(x, y, s=28, marker=marker, c=colour, alpha=0.75, linewidths=0, label=f"{name} ({len(rows)})")
    plot.set_xlabel(f"first axis ({shares[0]:.0%} of the variance)")
    plot.set_ylabel(f"second axis ({shares[1]:.0%})")
    figure.legend(loc="upper center", ncols=len(groups), frameon=False, borderaxespad=0)
    return png(figure)
