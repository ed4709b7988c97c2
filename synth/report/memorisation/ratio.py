"""Are samples nearer to training than to hold-out cases? The ratio of the two, beside that of real patients.

The number is (s_T / s_H) / (h_T / t_H), of mean distances to the nearest case: samples to training (s_T) and to
hold-out cases (s_H), hold-out patients to training (h_T) and training patients to hold-out cases (t_H). Real patients
who are not among those they are compared with so say what unequal numbers and the choice of patients do to the first
ratio, whatever the samples are: 1 is as near as a new patient. It is the comparison of the data-copying test of Meehan,
Chaudhuri and Dasgupta 2020 ("A Non-Parametric Test to Detect Data-Copying in Generative Models": s_T beside h_T),
divided by the same with hold-out cases, so that samples that are nearer to all brains, as smooth ones are, or further
from them show no copying by that alone, nor hide it.

The yardstick is the same number with real patients alone: dealt at random into pretended samples, training and hold-out
cases, in the proportions of the sets; no sample has a part in it. Few cases make it wide. It passes down to its 5th
percentile p, is to be looked at down to p squared (as many times less again), and fails below. Where p is below
`POWER`, samples at half a new patient's distance would pass, so that a pass says nothing: not judged. Measured on the
16 real cases, 6 of them as samples, 5 as training and 5 as hold-out cases: 1 to 3 % of 150 ways to be looked at, none
fails; on points of a normal distribution in 10 and 30 dimensions 0 to 5 % and none. Samples drawn together to 0.6 of
the patients' spread, all near the same central patients, are to be looked at in 4 to 22 %, and fail in up to 1 %.
"""

from dataclasses import dataclass

import numpy as np

from synth.quality.bootstrap import paired_bootstrap, ratio
from synth.quality.neighbours import expected_nearest
from synth.report.core.judge import FAIL_AT, Check, Table, Verdict, Yardstick, finite, not_judged, number
from synth.report.core.nearest import TITLES, Nearest

TOLERANCE = 0.05  # below 1: less cannot be told by sets of tens of cases
POWER = 0.5  # of a new patient's distance: who is nearer than that must not pass
FEWEST = 6  # different real patients; dealt into three groups, fewer leave a handful of ways
DEALS = 200


@dataclass(frozen=True)
class Means:
    """Distances to the nearest training and hold-out case, of samples and of real patients.

    Attributes:
        samples: (n,) to training and (n,) to hold-out cases.
        equal: the same, expected for as many cases on either side as the smaller one has (`expected_nearest`).
        patients: mean of hold-out patients to training cases, and of training patients to hold-out cases.
        dealt: (k,) the section's number with real patients in the place of samples.
    """

    samples: tuple[np.ndarray, np.ndarray]
    equal: tuple[np.ndarray, np.ndarray]
    patients: tuple[float, float]
    dealt: np.ndarray

    def ratio(self, seed: int) -> tuple[float, float, float]:
        """The number and its 95 % interval, which resamples the samples; NaN or infinite where it has none."""
        new = self.patients[0] / self.patients[1]
        value, low, high = (float(v) / new for v in paired_bootstrap(*self.samples, ratio, seed=seed))
        return (np.inf if self.samples[0].any() and not self.samples[1].any() else value), low, high


def ratio_check(level: Nearest, seed: int) -> tuple[Check, Means | None]:
    """The check `memorisation.<level>.ratio`, and what it rests on where there is something to compare."""
    id, group = f"memorisation.{level.level}.ratio", "Training against hold-out"
    title = f"distance to training over distance to hold-out cases, beside new patients', {TITLES[level.level]}"
    if level.to_training is None or level.to_holdout is None:
        lacking = "hold-out" if level.to_training is not None else "training"
        return not_judged(id, group, title, f"no {lacking} cases are known: give --holdout or --train-ids."), None
    if level.explained:
        why = "samples carry real cases' anatomy by design, so distances say nothing."
        return not_judged(id, group, title, why), None
    if len(level.samples) < 2:
        return not_judged(id, group, title, "fewer than 2 samples."), None
    means = measured(level, seed)
    if means is None:
        why = f"fewer than {FEWEST} different real patients, or none held out that is not trained on, to go by."
        return not_judged(id, group, title, why), None
    value, *interval = means.ratio(seed)
    yardstick = Yardstick(
        *(float(v) for v in np.percentile(means.dealt, (50, 5, 95))), "real patients alone, dealt into three groups"
    )
    verdict, said = _judged(value, yardstick, level)
    interval = tuple(interval) if np.isfinite([value, *interval]).all() else None
    shown = [number(round(v, 3)) for v in (value, *(interval or ()))]
    between = f" (95 % interval {shown[1]} to {shown[2]})" if interval else ""
    reason = (
        f"{shown[0]}{between} where 1 is a new patient; real patients alone give {number(yardstick.low)} to "
        f"{number(yardstick.high)}: {said}."
        if not np.isnan(value)
        else "samples are copies of training and hold-out cases alike."
    )
    n = {"synthetic": len(level.samples), "training": len(level.training), "hold-out": len(level.holdout)}
    return Check(id, group, title, finite(value), "", verdict, reason, yardstick, interval, n), means


def _judged(value: float, yardstick: Yardstick, level: Nearest) -> tuple[Verdict, str]:
    if np.isnan(value):
        return Verdict.NONE, ""
    passes = min(yardstick.low, 1 - TOLERANCE)
    if value < passes:
        verdict = Verdict.FAIL if value < passes**FAIL_AT else Verdict.LOOK
        return verdict, "samples are nearer to training cases than new patients are"
    if yardstick.low < POWER:
        few = f"{len(level.training)} training and {len(level.holdout)} hold-out cases"
        return Verdict.NONE, f"{few} are too few to tell samples at half a new patient's distance"
    return Verdict.PASS, "samples are no nearer to training cases than new patients are"


def measured(level: Nearest, seed: int) -> Means | None:
    """What the check rests on; None where there are too few patients.

    Real cases that are copies of others, and hold-out cases of patients who were trained on, have no part.
    """
    trained, rng = len(level.training), np.random.default_rng(seed)
    among = level.among.astype(float)
    apart = np.isfinite(among[:, :trained]).all(1)
    rows = np.flatnonzero(~level.copied & ((level.drawn < trained) | apart))
    held = rows[level.drawn[rows] >= trained]
    if not held.size or len(rows) < FEWEST:
        return None
    ours = level.to_training.distances.astype(float), level.to_holdout.distances[:, level.drawn[held] - trained]
    size = min(side.shape[1] for side in ours)
    between = among[held, :trained]
    columns = np.concatenate([np.setdiff1d(np.arange(trained), level.drawn[level.copied]), level.drawn[held]])
    shares = len(level.different), len(held) / len(columns)
    dealt = _dealt(among[rows], level.drawn[rows], columns, shares, rng)
    if len(dealt) < DEALS // 2:  # mostly scans of one patient, whom nobody else can be compared with
        return None
    return Means(
        tuple(side.min(1).astype(float) for side in ours),
        tuple(expected_nearest(side.astype(float), size) for side in ours),
        (float(between.min(1).mean()), float(between.min(0).mean())),
        dealt,
    )


def _dealt(among: np.ndarray, drawn: np.ndarray, columns: np.ndarray, shares, rng: np.random.Generator) -> np.ndarray:
    """(DEALS,) the number with patients dealt into pretended samples, hold-out and training cases.

    Args:
        among: (rows, real cases) distances.
        drawn: (rows,) which real cases the rows are.
        columns: the real cases that may be dealt, those of the rows among them.
        shares: how many different samples there are, and the share of hold-out cases among real ones.
        rng: deals.
    """
    different, held = shares
    samples = max(1, min(different, len(columns) // 3, len(drawn) // 2))
    left = len(columns) - samples
    holdout = int(np.clip(round(left * held), 1, min(len(drawn) - samples, left - 1)))
    free, out = np.isin(np.arange(among.shape[1]), columns), []
    for _ in range(DEALS):
        order = rng.permutation(len(drawn))
        ours, theirs = order[:samples], order[samples : samples + holdout]
        rest = free.copy()
        rest[drawn[order[: samples + holdout]]] = False
        between = among[theirs][:, rest]
        ends = (
            among[ours][:, rest].min(1),
            among[ours][:, drawn[theirs]].min(1),
            between.min(1),
            between.min(0),
        )
        to_training, to_holdout, back, forth = (_mean(distances) for distances in ends)
        out.append(to_training / to_holdout / (back / forth))
    return np.array(out)[np.isfinite(out)]


def _mean(distances: np.ndarray) -> float:
    """Without those who have nobody but themselves to be compared with; NaN of none."""
    known = distances[np.isfinite(distances)]
    return float(known.mean()) if known.size else float("nan")


def ratio_table(measured: dict[str, Means], seed: int) -> Table:
    """The four mean distances by level, and the plain ratio at equal numbers with its interval."""
    rows = []
    for level, means in measured.items():
        equal = (finite(float(v)) for v in paired_bootstrap(*means.equal, ratio, seed=seed))
        numbers = (*(float(side.mean()) for side in means.samples), *means.patients, *equal)
        rows.append((level, *(None if v is None else round(v, 4) for v in numbers)))
    return Table(
        "memorisation.ratio",
        "Mean distances to the nearest case, and their ratio at equal numbers",
        (
            "level",
            "samples to training",
            "samples to hold-out",
            "hold-out to training",
            "training to hold-out",
            "ratio at equal numbers",
            "from",
            "to",
        ),
        tuple(rows),
        "The last three columns: samples' distance to training over that to hold-out cases, as if both sides had as "
        "many cases as the smaller one, with the 95 % interval over samples; one memorised case among many hardly "
        "shows in it. The check divides the first two numbers' ratio by that of the next two.",
    )
