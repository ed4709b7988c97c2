"""Section "memorisation": is a sample a copy of a training scan, or nearer to training scans than a new patient is?

Four levels: the image, the tissue and the tumour of the thumbnails (`quality.neighbours`), and the features of the
shipped segmenter. At each, three questions:

- is any sample a copy: at a distance that no two patients have, but a mirrored, shifted, noisy or rescaled copy has;
- how many samples are nearer to a training case than any two real patients are to each other. The nearest pair of
  real cases is one of m (m - 1) / 2, so where samples are as far off as patients these stand for
  e = m (m - 1) / 2 / training cases independent ones, (m - 1) / 2 if all are trained on; the k nearest of n samples
  and e patients are all samples with the chance of an urn, n / (n + e) times (n - 1) / (n + e - 1) and so on. It passes
  what chance explains in 95 % of sets, and fails beyond 99 %. (Points drawn from one normal distribution in 10, 30
  and 50 dimensions, 4 to 200 samples and 10 to 200 real: beyond the one in 1 to 6 %, beyond the other in 0 to 2 %.)
- are samples nearer to training than to hold-out cases, by more than real patients are: see `memorisation.ratio`.

Samples that are copies of one another count once in the last two.

Where cases are alike by design (a reconstruction and its scan, a sample that carries a training case's anatomy, or was
to keep its brain), that is said, with how near they are, and the pair is left out where that explains it.
"""

from collections.abc import Sequence

import numpy as np

from synth.errors import printable
from synth.quality.neighbours import FEATURE_CASES
from synth.report.core.judge import SMALL, Check, Section, Table, Verdict, Yardstick, no_cases, not_judged, number
from synth.report.core.material import Material
from synth.report.core.nearest import (
    COPY,
    OWN_COPY,
    TITLES,
    Nearest,
    ancestors_of,
    kept_brain,
    kept_distances,
    levels,
    own_distances,
    with_features,
)
from synth.report.core.sets import Sets
from synth.report.memorisation.plots import figures
from synth.report.memorisation.ratio import ratio_check, ratio_table

CHANCE, HARDLY = 0.05, 0.01  # of sets without fault that are to be looked at, and that fail
_CLOSEST = 8  # pairs in the table, at each level
_NAMED = 5
_PATIENTS = "real cases to the nearest other patient"


def section(material: Material) -> Section:
    """The section of these sets."""
    if not material.sets.synthetic:
        return no_cases(
            "memorisation", "Memorisation", "Are samples copies of the scans that the generator was trained on?"
        )
    return section_of(material.sets)


def section_of(sets: Sets) -> Section:
    """The section; needs the probe `thumbnail`, and uses `embedding` and `slices` where they were measured."""
    held = {record.id for record in sets.holdout}
    known = sets.training is not None
    training = tuple(sets.training if known else (record for record in sets.real if record.id not in held))
    trained = {record.id for record in training}
    holdout = tuple(record for record in sets.holdout if record.id not in trained)
    by_level = levels(sets, training, holdout) if sets.synthetic and (training or holdout) else []
    ratios = [ratio_check(level, sets.seed) for level in by_level]
    checks = _designed(sets)
    for level, (ratio, _) in zip(by_level, ratios, strict=True):
        checks += [_copies(level), closer_check(level), ratio]
    means = {level.level: means for level, (_, means) in zip(by_level, ratios, strict=True) if means is not None}
    few = bool(by_level) and len(training) + len(holdout) < FEATURE_CASES
    few = few and with_features([*sets.synthetic, *training, *holdout])
    if few:
        checks += _without_unit(len(training) + len(holdout))
    if not by_level:
        checks.append(not_judged("memorisation.cases", "Cases", "cases to compare", "there are no cases to compare."))
    return Section(
        "memorisation",
        "Memorisation",
        "Is any sample a copy of a scan that the generator was trained on, or nearer to these than a new patient is?",
        tuple(checks),
        figures(by_level),
        tables(by_level) + ((ratio_table(means, sets.seed),) if means else ()),
        tuple(_notes(sets, training, holdout, by_level, few)),
    )


def _without_unit(real: int) -> list[Check]:
    """The checks of the features, where it is not known how far apart patients are."""
    why = f"{real} real cases do not tell how much features vary among patients, which takes {FEATURE_CASES}."
    groups = {"copies": "Copies", "closer": "Nearer than patients are", "ratio": "Training against hold-out"}
    return [
        not_judged(f"memorisation.features.{name}", group, f"{name}, {TITLES['features']}", why)
        for name, group in groups.items()
    ]


def _copies(level: Nearest) -> Check:
    """Whether any sample is a copy of any real case, trained on or not."""
    id, group = f"memorisation.{level.level}.copies", "Copies"
    title = f"closest sample and real case, {TITLES[level.level]}"
    nearest = np.min([side.nearest for _, _, side in level.sides], axis=0)
    if not np.isfinite(nearest).any():
        return not_judged(id, group, title, "every pair is alike by design.")
    value, limit = float(nearest.min()), COPY[level.level]
    copies = [int(i) for i in np.argsort(nearest, kind="stable") if nearest[i] <= limit]
    yardstick = _yardstick(level.real)
    least = f"; real patients are at least {number(level.real.min())} apart" if level.real.size else ""
    n = {"synthetic": len(level.samples), "real": len(level.training) + len(level.holdout)}
    if not copies:
        reason = f"No sample is a copy: the closest is {number(value)} from a real case{least}."
        return Check(id, group, title, value, "distance", Verdict.PASS, reason, yardstick, None, n)
    sample = level.samples[copies[0]].id
    side, real = min(((side.nearest[copies[0]], cases[side.index[copies[0]]].id) for _, cases, side in level.sides))
    reason = (
        f"{len(copies)} of {len(level.samples)} samples {'is a copy' if len(copies) == 1 else 'are copies'} of a real "
        f"case (closer than {number(limit)}{least}): {printable(sample)} is {number(side)} from {printable(real)}."
    )
    cases = tuple(level.samples[i].id for i in copies)
    return Check(id, group, title, value, "distance", Verdict.FAIL, reason, yardstick, None, n, cases)


def closer_check(level: Nearest) -> Check:
    """How many samples are nearer to a training case than any two patients are."""
    id, group = f"memorisation.{level.level}.closer", "Nearer than patients are"
    title = f"samples nearer to a training case than any two patients are, {TITLES[level.level]}"
    if level.to_training is None:
        return not_judged(id, group, title, "none of the real cases is known to be trained on.")
    if level.real.size < 2:
        return not_judged(id, group, title, "fewer than 2 real cases have another patient to be compared with.")
    nearest, kept = level.to_training.nearest, level.different
    if np.isinf(nearest).all():
        return not_judged(id, group, title, "every pair is alike by design.")
    closer = np.flatnonzero(nearest < level.real.min())
    count, closest = len(kept), int(np.isin(kept, closer).sum())
    allowed, hardly = (chance_closer(count, level.patients, chance) for chance in (CHANCE, HARDLY))
    expected = 100 / (1 + level.patients)
    yardstick = Yardstick(expected, 0.0, 100 * allowed / count, "new patients, by chance")
    verdict = Verdict.PASS if closest <= allowed else Verdict.LOOK if closest <= hardly else Verdict.FAIL
    what = f"{count}{' different' * (count < len(nearest))} samples"
    reason = (
        f"{closest} of {what}; with {level.real.size} real cases to go by, chance explains up to {allowed} of {count}."
    )
    if allowed >= count:
        verdict, reason = Verdict.NONE, f"{what} and {level.real.size} real cases are too few: chance explains any."
    order = closer[np.argsort(nearest[closer], kind="stable")]
    cases = tuple(level.samples[i].id for i in order) if verdict in (Verdict.LOOK, Verdict.FAIL) else ()
    n = {"synthetic": count, "training": len(level.training), "real": int(level.real.size)}
    return Check(id, group, title, 100 * closest / count, "%", verdict, reason, yardstick, None, n, cases)


def chance_closer(samples: int, patients: float, chance: float = CHANCE) -> int:
    """The most samples that chance puts nearer than all patients in all but a share of sets, if both are drawn alike.

    Args:
        samples: how many, all different.
        patients: as how many independent ones the real cases count (`Nearest.patients`).
        chance: that share.

    >>> chance_closer(50, 7.5), chance_closer(50, 7.5, 0.01), chance_closer(4, 5.5)
    (17, 24, 2)
    """
    left, k = 1.0, 0
    while k < samples:
        left *= (samples - k) / (samples + patients - k)  # that the k + 1 nearest of all are samples
        if left <= chance:
            break
        k += 1
    return k


def _yardstick(real: np.ndarray) -> Yardstick | None:
    if not real.size:
        return None
    low, median, high = np.percentile(real, (5, 50, 95))
    return Yardstick(float(median), float(low), float(high), _PATIENTS)


def _designed(sets: Sets) -> list[Check]:
    """What is alike by design, as checks: reconstructions, and samples with a real case's anatomy."""
    checks = []
    if sets.paired:
        checks.append(_own(sets))
    patients = {record.id: ancestors_of(sets, record) for record in sets.synthetic}
    if carriers := [name for name, whose in patients.items() if whose]:
        checks.append(
            Check(
                "memorisation.lineage",
                "By design",
                "samples that carry the brain or tumour of a real case",
                100 * len(carriers) / len(patients),
                "%",
                Verdict.LOOK,
                f"{len(carriers)} of {len(patients)} samples were given the anatomy of real cases, by design (`synth "
                "generate --data`), with its sulci and vessels where the generator sees detail: share these only where "
                "you may share the label maps of their patients.",
                n={"synthetic": len(patients)},
                cases=tuple(carriers),
            )
        )
    if kept := [record.id for record in sets.synthetic if kept_brain(sets, record)]:
        checks.append(_kept(sets, kept))
    return checks


def _kept(sets: Sets, kept: Sequence[str]) -> Check:
    distances = kept_distances(sets)
    said = f"{len(kept)} of {len(sets.synthetic)} samples keep the brain of a real case, by design (`--edits gentle`, "
    said += "or edits of the tumour alone)"
    if distances.size:
        least, middle = (number(float(value)) for value in (distances.min(), np.median(distances)))
        said += f": they are {least} (nearest) and {middle} (median) from that patient's own scan, a copy at 0"
    said += (
        ". They show their patients: share them only where you may share the scans, or generate without these edits."
    )
    value = float(np.median(distances)) if distances.size else None
    n = {"synthetic": len(kept), "pairs": int(distances.size)}
    title = "samples that keep a brain and its patient's scan, image"
    return Check("memorisation.kept", "By design", title, value, "distance", Verdict.LOOK, said, n=n, cases=tuple(kept))


def _own(sets: Sets) -> Check:
    distances = own_distances(sets)
    same = [sets.paired[i].id for i in np.flatnonzero(distances <= OWN_COPY)]
    reason = (
        f"{len(same)} of {len(distances)} samples that bear a real case's id are that scan itself, not painted anew."
        if same
        else f"{len(distances)} samples are reconstructions of real cases, nearest to their own scan by design and no "
        "nearer than painting anew leaves them."
    )
    return Check(
        "memorisation.paired",
        "By design",
        "closest reconstruction and its own scan, image",
        float(distances.min()),
        "distance",
        Verdict.FAIL if same else Verdict.PASS,
        reason,
        n={"synthetic": len(distances)},
        cases=tuple(same),
    )


def tables(by_level: Sequence[Nearest]) -> tuple[Table, ...]:
    """The closest pairs over all levels, and for each level the nearest training and hold-out case of every sample."""
    closest = [row for level in by_level for row in _closest(level)]
    out = [
        Table(
            "memorisation.closest",
            "Closest pairs",
            ("level", "sample", "real case", "set", "distance", "percentile among real", "mirrored", "shift (mm)"),
            tuple(closest),
            "The percentile is the share of real cases that are nearer to another patient than this.",
        )
    ]
    for level in by_level:
        columns = ("sample", *(name for side, _, _ in level.sides for name in (f"nearest {side} case", "distance")))
        rows = []
        for i, sample in enumerate(level.samples):
            cells = [
                cell for _, cases, side in level.sides for cell in (_name(cases, side, i), _value(side.nearest[i]))
            ]
            rows.append((sample.id, *cells))
        title = f"Nearest cases of every sample: {TITLES[level.level]}"
        out.append(Table(f"memorisation.nearest.{level.level}", title, columns, tuple(rows)))
    return tuple(out) if by_level else ()


def _closest(level: Nearest) -> list[tuple]:
    rows = []
    for name, cases, side in level.sides:
        for i in np.flatnonzero(np.isfinite(side.nearest)):
            share = 100 * float((level.real < side.nearest[i]).mean()) if level.real.size else None
            shift = " ".join(f"{mm:+.0f}" for mm in side.shift_mm[i])
            where = ("yes" if side.mirrored[i] else "no", shift) if level.level != "features" else ("", "")
            real = cases[side.index[i]].id
            rows.append((level.level, level.samples[i].id, real, name, _value(side.nearest[i]), share, *where))
    return sorted(rows, key=lambda row: row[4])[:_CLOSEST]


def _name(cases, side, i: int) -> str:
    return cases[side.index[i]].id if side.index[i] >= 0 else ""


def _value(distance: float) -> float | None:
    return round(float(distance), 4) if np.isfinite(distance) else None


def _notes(sets: Sets, training, holdout, by_level: Sequence[Nearest], few: bool) -> list[str]:
    notes = [
        "A distance is 0 for a copy. Image and tissue: one minus the correlation at 6 mm of what the atlas does not "
        "predict; tumour: one minus the cosine of its labels; the best over a mirror image and shifts up to 9 mm. "
        "Features: 1 is as far as two patients usually are; they know no mirror and no shift."
    ]
    if sets.split:
        notes.append(sets.split)
    if sets.training is None:
        notes.append("Which cases were trained on is not known: all real cases that are not hold-out count as such.")
    if not training:
        notes.append("No training case is among the real ones: whether they were memorised cannot be seen here.")
    if not holdout:
        notes.append("No hold-out set was given: whether samples are nearer to training cases than to others is open.")
    if training and holdout:
        notes.append(
            "Training against hold-out: 1 where samples are, for their distance to hold-out cases, as far from "
            "training cases as new patients are. That is taken from hold-out patients, compared with training cases, "
            "and the reverse, which also corrects for unequal numbers; the interval resamples the samples."
        )
    if any(len(level.different) < len(level.samples) for level in by_level):
        notes.append("Samples that are copies of one another count once where chance is judged.")
    if training and holdout and min(len(training), len(holdout)) < SMALL:
        notes.append(
            f"Small samples: {len(training)} training and {len(holdout)} hold-out cases; the ratio of distances to "
            "them hangs on a few patients. Its yardstick shows how much: it deals real patients alone."
        )
    if sets.paired:
        notes.append("Reconstructions are nearest to their own scan by design; that scan is left out for each.")
    names = [level.level for level in by_level]
    if by_level and "features" not in names and not few:
        notes.append("Features were not measured in this run: that level is left out.")
    for level in by_level:
        if level.alike:
            more = f" and {len(level.alike) - _NAMED} more" if len(level.alike) > _NAMED else ""
            notes.append(
                f"Real cases as alike as copies ({TITLES[level.level]}), perhaps one patient under two ids, are left "
                f"out of the yardstick: {', '.join(map(printable, level.alike[:_NAMED]))}{more}."
            )
    return notes
