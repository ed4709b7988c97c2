"""What a set of layouts is like: volumes, composition, places and shapes, beside those of another (real) set.

Distances between two sets are Kolmogorov-Smirnov's for numbers and total variation for kinds, both 0 (alike) to 1.
Beside each stands its yardstick: the same distance between two random halves of the real set, averaged over splits.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from synth.disk.files import atomic_write
from synth.disk.manifest import json_text
from synth.errors import DataError
from synth.hosts.inputs import Input
from synth.layout.detail import EIGHTHS, TONE_STEP, VOID_LEVELS, Detail
from synth.layout.facts import SIDES, describe
from synth.layout.layout import Layout
from synth.layout.lobes import LOBES, mni
from synth.layout.space import spacing

SPLITS = 50  # random halves that the yardstick is averaged over; its own error is then below a tenth of it
_KINDS = {
    "side": SIDES,
    "lobe": LOBES,
    "enhancing": ("yes", "no"),
    "pieces": ("one", "several"),
}
UNITS = {
    "WT": "ml",
    "TC": "ml",
    "NCR": "ml",
    "ED": "ml",
    "ET": "ml",
    "NCR share": "of WT",
    "ED share": "of WT",
    "ET share": "of WT",
    "sphericity": "1 = ball",
    "components": "pieces",
    "diameter": "mm",
    "x": "mm MNI, right +",
    "y": "mm MNI, front +",
    "z": "mm MNI, up +",
    "brain": "ml",
    "CSF": "of brain",
    "GM": "of brain",
    "WM": "of brain",
    "mixed": "of healthy voxels",
    "vessels": "ml",
    "void": "of brain",
    "tones": "of window",
}


@dataclass(frozen=True)
class Summary:
    """One measure over a set: how many layouts have it, and its distribution."""

    n: int
    mean: float
    sd: float
    median: float
    p5: float
    p95: float


@dataclass(frozen=True)
class Distance:
    """How far a set is from the real one in one measure, and two real halves from each other; 0 to 1."""

    to_real: float
    real_halves: float


@dataclass(frozen=True)
class Statistics:
    """A set of layouts in numbers.

    Attributes:
        rows: for each layout a JSON-able dict of id, measures (`UNITS`) and kinds; None where it has no such thing.
        measures: summaries by name, in the order of `UNITS`, those that no layout has left out.
        kinds: for side, lobe, enhancing and pieces the number of tumours of each kind.
        healthy: layouts without tumour.
    """

    rows: tuple[dict, ...]
    measures: dict[str, Summary]
    kinds: dict[str, dict[str, int]]
    healthy: int

    def to_dict(self) -> dict:
        """A JSON-able dict."""
        return {
            "layouts": len(self.rows),
            "healthy": self.healthy,
            "measures": {name: {"unit": UNITS[name], **asdict(s)} for name, s in self.measures.items()},
            "kinds": self.kinds,
            "rows": list(self.rows),
        }


def layout_statistics(inputs: Sequence[Input], progress: Callable[[Iterable], Iterable] = iter) -> Statistics:
    """The statistics of a set.

    Args:
        inputs: from `inputs.find_inputs`.
        progress: wraps the inputs while they are read (`tqdm`).

    Raises:
        DataError: nothing was given, or an input cannot be read.

    Example:
        >>> layout_statistics(find_inputs("layouts")).measures["WT"].median  # doctest: +SKIP
        92.4
    """
    if not inputs:
        raise DataError("statistics need at least one layout, none was given.")
    rows = tuple(_row(layout_input) for layout_input in progress(inputs))
    ill = [row for row in rows if row["side"] is not None]
    measures = {name: _summary([row[name] for row in rows if row[name] is not None]) for name in UNITS}
    kinds = {kind: {name: sum(row[kind] == name for row in ill) for name in names} for kind, names in _KINDS.items()}
    return Statistics(rows, {k: v for k, v in measures.items() if v is not None}, kinds, len(rows) - len(ill))


def distances(statistics: Statistics, real: Statistics, seed: int = 0) -> dict[str, Distance]:
    """For each measure and kind that both sets have: how far the set is from a random half of the real one.

    The other half's distance to the same half is the yardstick: real data differ by that much from themselves.

    Raises:
        DataError: the real set has fewer than four tumours.
    """
    rng = np.random.default_rng(seed)
    ill = [row for row in real.rows if row["side"] is not None]
    if len(ill) < 4:
        raise DataError(f"a comparison needs at least 4 real tumours to be halved, found {len(ill)}.")
    order = np.array([rng.permutation(len(ill)) for _ in range(SPLITS)])
    halves = order[:, : len(ill) // 2], order[:, len(ill) // 2 :]
    out = {}
    for name in (*UNITS, *_KINDS):
        ours = [row[name] for row in statistics.rows if row[name] is not None]
        theirs = [row[name] for row in ill]
        if not ours or None in theirs:
            continue
        distance = _variation if name in _KINDS else _kolmogorov
        values = np.array(theirs)
        pairs = [(values[a], values[b]) for a, b in zip(*halves, strict=True)]
        out[name] = Distance(
            to_real=round(float(np.mean([distance(np.array(ours), a) for a, _ in pairs])), 4),
            real_halves=round(float(np.mean([distance(b, a) for a, b in pairs])), 4),
        )
    return out


def table_lines(statistics: Statistics, compared: dict[str, Distance] | None = None) -> list[str]:
    """The statistics as lines of text, with the distances to the real set where given."""
    head = f"{'':<12}{'mean':>9}{'sd':>9}{'median':>9}{'5 %':>9}{'95 %':>9}  {'unit':<16}"
    extra = f"{'to real':>9}{'real halves':>13}{'ratio':>7}" if compared else ""
    lines = [_title(statistics), (head + extra).rstrip()]
    for name, summary in statistics.measures.items():
        values = (summary.mean, summary.sd, summary.median, summary.p5, summary.p95)
        few = f" (n {summary.n})" if summary.n < len(statistics.rows) else ""
        lines.append(f"{name:<12}" + "".join(f"{_number(v):>9}" for v in values) + f"  {UNITS[name] + few:<16}")
        lines[-1] = (lines[-1] + _distance(compared, name)).rstrip()
    for kind, counts in statistics.kinds.items():
        total = max(sum(counts.values()), 1)
        told = ", ".join(f"{name} {n} ({n / total:.0%})" for name, n in counts.items())
        lines.append(f"{kind:<12}{told}")
        if compared and kind in compared:
            lines.append(f"{'':<12}to real {compared[kind].to_real:.3f}, real halves {compared[kind].real_halves:.3f}")
    return lines


def _row(layout_input: Input) -> dict:
    layout = layout_input.load()
    facts = describe(layout)
    volumes, whole = facts.volume_ml, facts.volume_ml["WT"]
    row = {"id": layout_input.id, **dict.fromkeys(UNITS), **dict.fromkeys(_KINDS)}
    if layout_input.complete:
        tissue = layout.volumes_ml()
        brain = sum(tissue[name] for name in ("CSF", "GM", "WM", "WT"))
        row["brain"] = round(brain, 3)
        row |= {name: round(tissue[name] / brain, 4) for name in ("CSF", "GM", "WM") if brain}
        row |= _of_detail(layout, layout_input.detail())
    if not whole:
        return row
    position = mni(np.array([facts.centroid]), layout.shape)[0]
    return {
        **row,
        **volumes,
        **{f"{name} share": round(volumes[name] / whole, 4) for name in ("NCR", "ED", "ET")},
        "sphericity": facts.sphericity,
        "components": facts.pieces,
        "diameter": facts.diameter_mm,
        **{axis: round(float(v), 1) for axis, v in zip("xyz", position, strict=True)},
        "side": facts.side,
        "lobe": facts.lobe,
        "enhancing": "yes" if facts.enhancing else "no",
        "pieces": "several" if facts.multifocal else "one",
    }


def _of_detail(layout: Layout, detail: Detail | None) -> dict:
    """How many healthy voxels are mixed, how much vessel there is, how tones vary; nothing where nobody knows."""
    healthy = layout.brain & (layout.tumour == 0)
    if detail is None or not healthy.any():
        return {}
    pure = detail.shares(layout.tissue)[healthy].max(-1) == EIGHTHS
    ml = np.count_nonzero(detail.vessels) * np.prod(spacing(layout.affine)) / 1000
    void = detail.void[layout.brain].mean() / VOID_LEVELS
    out = {"mixed": round(float(1 - pure.mean()), 4), "vessels": round(float(ml), 3), "void": round(float(void), 4)}
    known = [tone[layout.tumour > 0] for tone in detail.tones if tone.any()]
    if known:
        out["tones"] = round(float(np.mean([TONE_STEP * tone.std() for tone in known])), 4)
    return out


def _summary(values: list[float]) -> Summary | None:
    if not values:
        return None
    p5, median, p95 = np.percentile(values, (5, 50, 95))
    sd = np.std(values, ddof=1) if len(values) > 1 else 0.0
    return Summary(len(values), *(round(float(v), 4) for v in (np.mean(values), sd, median, p5, p95)))


def _kolmogorov(a: np.ndarray, b: np.ndarray) -> float:
    """Largest distance between two empirical distribution functions."""
    points = np.concatenate([a, b])
    shares = [np.searchsorted(np.sort(values), points, side="right") / len(values) for values in (a, b)]
    return float(np.abs(shares[0] - shares[1]).max())


def _variation(a: np.ndarray, b: np.ndarray) -> float:
    """Total variation: half the sum of the differences of the kinds' shares."""
    return sum(abs(np.mean(a == kind) - np.mean(b == kind)) for kind in np.union1d(a, b)) / 2


def _title(statistics: Statistics) -> str:
    count = len(statistics.rows)
    healthy = f", {statistics.healthy} without tumour" if statistics.healthy else ""
    return f"{count} layout{'' if count == 1 else 's'}{healthy}"


def _number(value: float) -> str:
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"


def _distance(compared: dict[str, Distance] | None, name: str) -> str:
    if not compared or name not in compared:
        return ""
    distance = compared[name]
    ratio = f"{distance.to_real / distance.real_halves:.2f}" if distance.real_halves else "-"
    return f"{distance.to_real:>9.3f}{distance.real_halves:>13.3f}{ratio:>7}"


def write_json(path: str | Path, statistics: Statistics, compared: dict[str, Distance] | None = None) -> None:
    """Write everything as JSON, whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    against = {name: asdict(distance) for name, distance in compared.items()} if compared else None
    text = json_text({**statistics.to_dict(), "against": against}, what=f"the statistics for {path}", indent=1)
    with atomic_write(path) as handle:
        handle.write(text.encode())
