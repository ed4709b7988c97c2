"""Usefulness: do scans and labels belong together, and does training on them pay?"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from synth.brats import REGIONS
from synth.models.cards import names_alone, trained_on
from synth.quality.bootstrap import mean_of_first, paired_bootstrap
from synth.quality.embedding import DICE
from synth.quality.records import Record, stack
from synth.report.core.judge import (
    LEAST,
    SMALL,
    Check,
    Figure,
    Section,
    Table,
    Verdict,
    Yardstick,
    no_cases,
    not_judged,
    number,
)
from synth.report.core.material import Material
from synth.report.core.pictures import extremes

LOSS_LOOK, LOSS_FAIL = 0.10, 0.25  # of Dice, below the real scans' mean; the segmenter's cases differ by 0.1 (sd)
TSTR_LEAST = 0.85  # of the Dice that training on real scans gives


def section(material: Material) -> Section:
    """The section, with the cases of the highest and the lowest Dice as pictures."""
    sets, card = material.sets, material.card
    if not sets.synthetic:
        question = "Do the labels fit the scans, and does training on the pairs help?"
        return no_cases("usefulness", "Usefulness", question)
    scans = material.theirs.fingerprints
    learnt = set(trained_on({record.id: scans.get(record.id, ()) for record in sets.real}, [card]))
    asked = [record for record in sets.real if record.has(DICE)]
    unseen = [record for record in asked if record.id not in learnt]
    fair = len(unseen) >= LEAST  # a single case is no yardstick
    name = card.get("name", "default")
    painted = [record for record in sets.synthetic if record.has(DICE)]
    judged = section_of(painted, unseen if fair else asked, fair, name, material.utility, material.plot)
    notes = [*judged.notes, *filter(None, [names_alone([card])])]
    if len(painted) < len(sets.synthetic) or len(asked) < len(sets.real):
        notes.append(
            f"Dice is asked of {len(painted)} of the {len(sets.synthetic)} synthetic and of {len(asked)} of the "
            f"{len(sets.real)} real cases, chosen by the seed ({sets.seed}), unseen ones first: the interval says how "
            "well their mean is known. The cases with the highest and the lowest Dice are of these."
        )
    if drawn := (card.get("training") or {}).get("synthetic"):
        notes.append(
            f"The segmenter {name} learnt from {drawn} synthetic cases too: it knows painted tumours, and finds them."
        )
    measured_on = (material.utility or {}).get("settings", {}).get("synthetic")
    if measured_on is not None and Path(measured_on).resolve() != material.painted.path.resolve():
        notes.append(f"The table of `synth utility` was measured on {measured_on}, not on {material.painted.path}.")
    figures = (*judged.figures, *extremes(sets, whole_tumour_dice(sets.synthetic)))
    return replace(judged, notes=tuple(notes), figures=figures)


def section_of(
    synthetic: Sequence[Record],
    real: Sequence[Record],
    unseen: bool,
    segmenter: str,
    utility: dict | None = None,
    plot: bytes | None = None,
) -> Section:
    """The section.

    Args:
        synthetic: records with the probe "dice".
        real: the real ones that the segmenter's Dice is compared with.
        unseen: whether the segmenter never learnt from these real cases.
        segmenter: its name, for the reader.
        utility: what `synth utility` wrote (`utility.read_utility`), None where it was not run.
        plot: its PNG.
    """
    ours, theirs = (dice_of(records) for records in (synthetic, real))
    checks = [_dice_check(region, synthetic, ours[:, i], theirs[:, i], unseen) for i, region in enumerate(REGIONS)]
    checks += _utility_checks(utility)
    notes = [
        f"Dice: the segmenter {segmenter} finds the tumour in each scan; its labels are compared with those that come "
        "with the scan. High Dice says that scan and labels belong together, not that they teach anything new."
    ]
    if min(len(synthetic), len(real)) < SMALL:
        notes.append(
            f"Small samples: {len(synthetic)} synthetic and {len(real)} real cases; where the interval is wide, a pass "
            "says little."
        )
    if not unseen:
        notes.append(
            "The real cases beside it are (also) those that the segmenter learnt from: their Dice is too high, and "
            "the synthetic set looks worse for it. Give hold-out cases for a fair yardstick."
        )
    tables = [_case_table(synthetic, ours)] if synthetic else []
    if utility is not None:
        tables.append(_utility_table(utility))
        notes += list(utility.get("notes", ()))
    figures = (
        [Figure("usefulness.utility", "Trained on real, on synthetic, on both", _CAPTION, lambda: plot)] if plot else []
    )
    return Section(
        "usefulness",
        "Usefulness",
        "Do the labels fit the scans, and does training on the pairs help on real scans?",
        tuple(checks),
        tuple(figures),
        tuple(tables),
        tuple(notes),
    )


_CAPTION = "Dice on real test cases: every line is one case, dots are means with their 95 % interval over cases."


def dice_of(records: Sequence[Record]) -> np.ndarray:
    """(cases, 3) Dice of WT, TC and ET between a case's labels and those that the segmenter finds."""
    return stack(records, DICE, "dice") if records else np.empty((0, len(REGIONS)))


def whole_tumour_dice(records: Sequence[Record]) -> dict[str, float]:
    """Dice of WT by id, of the cases that the segmenter was asked for."""
    records = [record for record in records if record.has(DICE)]
    values = dice_of(records)[:, list(REGIONS).index("WT")]
    return {record.id: float(value) for record, value in zip(records, values, strict=True)}


def _dice_check(region: str, synthetic: Sequence[Record], ours: np.ndarray, theirs: np.ndarray, unseen: bool) -> Check:
    id, group, title = f"usefulness.dice.{region}", "Labels fit the scans", f"Dice of the segmenter, {region}"
    if not len(ours) or not len(theirs):
        return not_judged(id, group, title, "no case that could be measured.")
    mean, low, high = paired_bootstrap(ours, ours, mean_of_first)
    p5, p95 = np.percentile(theirs, (5, 95))
    what = f"single real cases{'' if unseen else ', learnt from'}; their mean in the middle"
    yardstick = Yardstick(float(theirs.mean()), float(p5), float(p95), what)
    loss = yardstick.median - mean
    said = f"mean {number(mean)} where {len(theirs)} real scans have {number(yardstick.median)}"
    if loss <= LOSS_LOOK:
        verdict = Verdict.PASS
        more = "; painted tumours are easier to find than real ones" if loss < -LOSS_LOOK else ""
        verdict = Verdict.LOOK if more else verdict
        reason = f"{said}{more}."
    else:
        verdict = Verdict.LOOK if loss <= LOSS_FAIL else Verdict.FAIL
        reason = f"{said}: labels and scans fit worse by {number(loss)}."
    worst = tuple(synthetic[i].id for i in np.argsort(ours)[:3] if ours[i] < p5) if verdict != Verdict.PASS else ()
    n = {"synthetic": len(ours), "real": len(theirs)}
    return Check(id, group, title, mean, "Dice", verdict, reason, yardstick, (low, high), n, worst)


def _utility_checks(utility: dict | None) -> list[Check]:
    group = "Training on the pairs"
    if utility is None:
        return [
            not_judged(
                "usefulness.utility",
                group,
                "what training on the set is worth",
                "`synth utility` was not run on this set; run it and give its folder with --utility.",
            )
        ]
    return [
        check
        for region in REGIONS
        for check in (_tstr_check(utility, region, group), _gain_check(utility, region, group))
    ]


def _tstr_check(utility: dict, region: str, group: str) -> Check:
    ratio = utility["tstr_ratio"][region]
    id, title = f"usefulness.tstr.{region}", f"trained on synthetic, tested on real, {region} (over real)"
    value = ratio["estimate"]
    if value is None:
        return not_judged(id, group, title, "training on real scans finds nothing there: no ratio.")
    low, high = ratio["interval"]
    verdict = Verdict.PASS if value >= TSTR_LEAST else Verdict.LOOK if high >= TSTR_LEAST else Verdict.FAIL
    reason = f"{number(value)} of the Dice that the same training on real scans gives ({TSTR_LEAST} expected)."
    return Check(id, group, title, value, "ratio", verdict, reason, _ONE, (low, high), _sizes(utility))


def _gain_check(utility: dict, region: str, group: str) -> Check:
    gain = utility["gain"][region]
    id, title = f"usefulness.gain.{region}", f"real and synthetic together, less real alone, {region}"
    value = gain["estimate"]
    if value is None:
        return not_judged(id, group, title, "no gain could be measured there.")
    low, high = gain["interval"]
    verdict = Verdict.PASS if value >= 0 else Verdict.LOOK if high >= 0 else Verdict.FAIL
    real = utility["summary"]["real"][region]["mean"]
    reason = f"{value:+.3f} Dice beside {number(real)} of real scans alone (95 %: {low:+.3f} to {high:+.3f})."
    return Check(id, group, title, value, "Dice", verdict, reason, _ZERO, (low, high))


_ONE = Yardstick(1.0, 1.0, 1.0, "the same training on real scans")
_ZERO = Yardstick(0.0, 0.0, 0.0, "the same training on real scans")


def _sizes(utility: dict) -> dict[str, int]:
    return {name: int(n) for name, n in utility["sizes"].items()}


def _case_table(synthetic: Sequence[Record], dice: np.ndarray) -> Table:
    order = np.argsort(dice[:, 0], kind="stable")[:20]
    rows = tuple((synthetic[i].id, *(round(float(v), 3) for v in dice[i])) for i in order)
    return Table("usefulness.cases", "Lowest Dice of whole tumour", ("case", *REGIONS), rows, "At most 20 cases.")


def _utility_table(utility: dict) -> Table:
    rows = []
    for arm, regions in utility["summary"].items():
        for region, scores in regions.items():
            low, high = scores["interval"]
            rows.append((arm, region, round(scores["mean"], 3), f"{low:.3f} to {high:.3f}", round(scores["median"], 3)))
    settings = ", ".join(f"{key} {utility['settings'][key]}" for key in _TOLD if key in utility["settings"])
    columns = ("trained on", "region", "mean Dice", "95 % interval", "median")
    return Table("usefulness.utility", "synth utility", columns, tuple(rows), settings)


_TOLD = ("arch", "width", "steps", "patch", "seeds", "cases")
