"""Section "memorisation": is a sample a copy of a training scan, or nearer to training scans than a new patient is?

Four levels: the image, the tissue and the tumour of the thumbnails (`quality.neighbours`), and the features of the
shipped segmenter. At each, three questions:

- is any sample a copy: at a distance that no two patients have, but a mirrored, shifted, noisy or rescaled copy has;
- how many samples are nearer to a training case than any two real patients are to each other. Where samples are as
  far off as patients, the k nearest of n samples and m patients are all samples with probability n! / (n - k)! times
  (n + m - k)! / (n + m)!, which gives the share that chance explains in 95 % of sets;
- are samples nearer to training than to hold-out cases: the ratio of the mean distances to the nearest, both for as
  many cases as the smaller side has (`expected_nearest`). The yardstick deals the same cases into training and
  hold-out at random, which must not matter if nothing was memorised (a permutation test; Good 2005, Permutation,
  Parametric and Bootstrap Tests of Hypotheses). The interval resamples the samples.

Where cases are alike by design (a reconstruction and its scan, a sample that carries a training case's anatomy), that
is said, and the pair is left out where that explains it.
"""

from collections.abc import Sequence

import numpy as np

from synth.quality.bootstrap import paired_bootstrap, ratio
from synth.quality.neighbours import expected_nearest
from synth.report.judge import FAIL_AT, SMALL, Check, Section, Table, Verdict, Yardstick, not_judged, number
from synth.report.memorisation_plots import figures
from synth.report.nearest import COPY, OWN_COPY, TITLES, Found, ancestors_of, levels, own_distances
from synth.report.sets import Sets

CHANCE = 0.05
RATIO_TOLERANCE = 0.05  # below 1: less cannot be told by sets of tens of cases
PERMUTATIONS = 200
_ROWS = 200  # samples whose distances are dealt anew for the yardstick
_CLOSEST = 8  # pairs in the table, at each level
_NAMED = 5
_PATIENTS = "real cases to the nearest other patient"


def section(sets: Sets) -> Section:
    """The section; needs the probe `thumbnail`, and uses `embedding` and `slices` where they were measured."""
    held = {record.id for record in sets.holdout}
    known = sets.training is not None
    training = tuple(sets.training if known else (one for one in sets.real if one.id not in held))
    trained = {record.id for record in training}
    holdout = tuple(record for record in sets.holdout if record.id not in trained)
    found = levels(sets, training, holdout) if sets.synthetic and (training or holdout) else []
    checks = [*_designed(sets), *(check for level in found for check in _checks(level, sets))]
    if not found:
        checks.append(not_judged("memorisation.cases", "Cases", "cases to compare", "there are no cases to compare."))
    return Section(
        "memorisation",
        "Memorisation",
        "Is any sample a copy of a scan that the generator was trained on, or nearer to these than a new patient is?",
        tuple(checks),
        figures(found),
        tables(found),
        tuple(_notes(sets, training, holdout, found)),
    )


def _checks(found: Found, sets: Sets) -> list[Check]:
    return [_copies(found), _closer(found), _ratio(found, sets)]


def _copies(found: Found) -> Check:
    """Whether any sample is a copy of any real case, trained on or not."""
    id, group = f"memorisation.{found.level}.copies", "Copies"
    title = f"closest sample and real case, {TITLES[found.level]}"
    nearest = np.min([side.nearest for _, _, side in found.sides], axis=0)
    if not np.isfinite(nearest).any():
        return not_judged(id, group, title, "every pair is alike by design.")
    value, limit = float(nearest.min()), COPY[found.level]
    copies = [int(i) for i in np.argsort(nearest, kind="stable") if nearest[i] <= limit]
    yardstick = _yardstick(found.real)
    least = f"; real patients are at least {number(found.real.min())} apart" if found.real.size else ""
    n = {"synthetic": len(found.samples), "real": len(found.training) + len(found.holdout)}
    if not copies:
        reason = f"No sample is a copy: the closest is {number(value)} from a real case{least}."
        return Check(id, group, title, value, "distance", Verdict.PASS, reason, yardstick, None, n)
    sample = found.samples[copies[0]].id
    side, real = min(((side.nearest[copies[0]], cases[side.index[copies[0]]].id) for _, cases, side in found.sides))
    reason = (
        f"{len(copies)} of {len(found.samples)} samples {'is a copy' if len(copies) == 1 else 'are copies'} of a real "
        f"case (closer than {number(limit)}{least}): {sample} is {number(side)} from {real}."
    )
    cases = tuple(found.samples[i].id for i in copies)
    return Check(id, group, title, value, "distance", Verdict.FAIL, reason, yardstick, None, n, cases)


def _closer(found: Found) -> Check:
    """How many samples are nearer to a training case than any two patients are."""
    id, group = f"memorisation.{found.level}.closer", "Nearer than patients are"
    title = f"samples nearer to a training case than any two patients are, {TITLES[found.level]}"
    if found.to_training is None:
        return not_judged(id, group, title, "none of the real cases is known to be trained on.")
    if found.real.size < 2:
        return not_judged(id, group, title, "fewer than 2 real cases have another patient to be compared with.")
    nearest, count = found.to_training.nearest, len(found.samples)
    closer = np.flatnonzero(nearest < found.real.min())
    allowed = chance_closer(count, found.real.size)
    value = 100 * len(closer) / count
    yardstick = Yardstick(100 / (found.real.size + 1), 0.0, 100 * allowed / count, "new patients, by chance")
    verdict = _graded(len(closer), allowed)
    if np.isinf(nearest).all():
        return not_judged(id, group, title, "every pair is alike by design.")
    reason = (
        f"{len(closer)} of {count} samples; with {found.real.size} real cases to go by, chance explains up to {allowed}"
        f" of {count}."
    )
    order = closer[np.argsort(nearest[closer], kind="stable")]
    cases = tuple(found.samples[i].id for i in order) if verdict is not Verdict.PASS else ()
    n = {"synthetic": count, "training": len(found.training), "real": int(found.real.size)}
    return Check(id, group, title, value, "%", verdict, reason, yardstick, None, n, cases)


def _ratio(found: Found, sets: Sets) -> Check:
    """Whether samples are nearer to training than to hold-out cases."""
    id, group = f"memorisation.{found.level}.ratio", "Training against hold-out"
    title = f"distance to the nearest training case over that to the nearest hold-out case, {TITLES[found.level]}"
    if found.to_training is None or found.to_holdout is None:
        lacking = "hold-out" if found.to_training is not None else "training"
        return not_judged(id, group, title, f"no {lacking} cases are known: give --holdout or --train-ids.")
    if found.explained:
        return not_judged(id, group, title, "samples carry real cases' anatomy by design, so distances say nothing.")
    if len(found.samples) < 2:
        return not_judged(id, group, title, "fewer than 2 samples.")
    two = found.to_training.distances, found.to_holdout.distances
    size = min(one.shape[1] for one in two)
    near = [expected_nearest(one.astype(float), size) for one in two]
    value, low, high = (float(v) for v in paired_bootstrap(*near, ratio, seed=sets.seed))
    dealt = _dealt(np.concatenate(two, axis=1), two[0].shape[1], sets.seed)
    yardstick = Yardstick(
        *(float(v) for v in np.percentile(dealt, (50, 5, 95))), "the real cases dealt into training and hold-out anew"
    )
    short, allowed = 1 - value, max(1 - yardstick.low, RATIO_TOLERANCE)
    verdict = _graded(short, allowed) if np.isfinite(value) else Verdict.NONE
    nearer = "no nearer" if verdict is Verdict.PASS else "nearer"
    reason = (
        f"{number(value)} (95 % interval {number(low)} to {number(high)}): samples are {nearer} to training than to "
        f"hold-out cases than chance explains; dealing the real cases anew gives {number(yardstick.low)} to "
        f"{number(yardstick.high)}."
    )
    n = {"synthetic": len(found.samples), "training": len(found.training), "hold-out": len(found.holdout)}
    return Check(id, group, title, value, "", verdict, reason, yardstick, (low, high), n)


def chance_closer(samples: int, patients: int) -> int:
    """The most samples that chance puts nearer than all patients in 95 % of sets, if both are drawn alike.

    >>> chance_closer(50, 16), chance_closer(4, 12)
    (9, 1)
    """
    chance, k = 1.0, 0
    while k < samples:
        chance *= (samples - k) / (samples + patients - k)  # that the k + 1 nearest of all are samples
        if chance <= CHANCE:
            break
        k += 1
    return k


def _dealt(distances: np.ndarray, training: int, seed: int) -> np.ndarray:
    """(PERMUTATIONS,) the ratio, with the columns dealt into training and hold-out cases at random."""
    rng, count = np.random.default_rng(seed), distances.shape[1]
    rows = distances[rng.permutation(len(distances))[:_ROWS]].astype(float)
    size, out = min(training, count - training), []
    for _ in range(PERMUTATIONS):
        order = rng.permutation(count)
        near = [expected_nearest(rows[:, part], size).mean() for part in (order[:training], order[training:])]
        out.append(near[0] / near[1] if near[1] else np.nan)
    return np.nan_to_num(out, nan=1.0)


def _graded(value: float, allowed: float) -> Verdict:
    if value <= allowed:
        return Verdict.PASS
    return Verdict.LOOK if value <= FAIL_AT * allowed else Verdict.FAIL


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
                "generate --data`): share these only where you may share the label maps of their patients.",
                n={"synthetic": len(patients)},
                cases=tuple(carriers),
            )
        )
    return checks


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


def tables(found: Sequence[Found]) -> tuple[Table, ...]:
    """The closest pairs over all levels, and for each level the nearest training and hold-out case of every sample."""
    closest = [row for level in found for row in _closest(level)]
    out = [
        Table(
            "memorisation.closest",
            "Closest pairs",
            ("level", "sample", "real case", "set", "distance", "percentile among real", "mirrored", "shift (mm)"),
            tuple(closest),
            "The percentile is the share of real cases that are nearer to another patient than this.",
        )
    ]
    for level in found:
        columns = ("sample", *(name for side, _, _ in level.sides for name in (f"nearest {side} case", "distance")))
        rows = []
        for i, sample in enumerate(level.samples):
            cells = [
                cell for _, cases, side in level.sides for cell in (_name(cases, side, i), _value(side.nearest[i]))
            ]
            rows.append((sample.id, *cells))
        title = f"Nearest cases of every sample: {TITLES[level.level]}"
        out.append(Table(f"memorisation.nearest.{level.level}", title, columns, tuple(rows)))
    return tuple(out) if found else ()


def _closest(found: Found) -> list[tuple]:
    rows = []
    for name, cases, side in found.sides:
        for i in np.flatnonzero(np.isfinite(side.nearest)):
            share = 100 * float((found.real < side.nearest[i]).mean()) if found.real.size else None
            shift = " ".join(f"{mm:+.0f}" for mm in side.shift_mm[i])
            where = ("yes" if side.mirrored[i] else "no", shift) if found.level != "features" else ("", "")
            real = cases[side.index[i]].id
            rows.append((found.level, found.samples[i].id, real, name, _value(side.nearest[i]), share, *where))
    return sorted(rows, key=lambda row: row[4])[:_CLOSEST]


def _name(cases, side, i: int) -> str:
    return cases[side.index[i]].id if side.index[i] >= 0 else ""


def _value(distance: float) -> float | None:
    return round(float(distance), 4) if np.isfinite(distance) else None


def _notes(sets: Sets, training, holdout, found: Sequence[Found]) -> list[str]:
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
    if training and holdout and min(len(training), len(holdout)) < SMALL:
        notes.append(
            f"Small samples: {len(training)} training and {len(holdout)} hold-out cases; the ratio of their distances "
            "hangs on a few patients, which its yardstick shows."
        )
    if sets.paired:
        notes.append("Reconstructions are nearest to their own scan by design; that scan is left out for each.")
    names = [level.level for level in found]
    if found and "features" not in names:
        notes.append("Features were not measured in this run: that level is left out.")
    for level in found:
        if level.alike:
            more = f" and {len(level.alike) - _NAMED} more" if len(level.alike) > _NAMED else ""
            notes.append(
                f"Real cases as alike as copies ({TITLES[level.level]}), perhaps one patient under two ids, are left "
                f"out of the yardstick: {', '.join(level.alike[:_NAMED])}{more}."
            )
    return notes
