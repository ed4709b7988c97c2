"""Section "paired": how near reconstructions come to the very scans they reconstruct.

The yardstick is what two different patients' scans have in common, once registered to one atlas. A reconstruction has
to come clearly nearer to its scan than that, in every case; and nearer than flat painting, which has nothing but the
layout and each class's median brightness.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from synth.brats import MODALITIES
from synth.quality.bootstrap import paired_bootstrap
from synth.quality.paired import METRICS, REGIONS
from synth.report.core.judge import SMALL, Check, Figure, Section, Table, Verdict, Yardstick, finite, not_judged, number
from synth.report.core.material import Material
from synth.report.core.sets import Sets
from synth.report.paired.pairs import measured_pairs
from synth.report.paired.plots import difference_figure, strip_figure

ASTRAY = 0.2  # share of pairs no nearer than strangers, from which a check fails; 0 in 4 reconstructions of `val`
ROWS = 50  # of the table of cases
NAMES = {"ssim": "SSIM", "ms_ssim": "MS-SSIM", "psnr": "PSNR", "nmse": "NMSE", "mae": "MAE", "nmi": "NMI"}
PLACES = {"brain": "the brain", "tumour": "the tumour", "healthy": "healthy tissue"}
STRANGERS = "scans of two different patients, each scaled by its own percentiles"
JUDGED = (("ssim", REGIONS), ("ms_ssim", ("brain",)), ("psnr", ("brain",)), ("nmi", ("brain",)))
_SSIM, _PSNR = METRICS.index("ssim"), METRICS.index("psnr")
_PAINTED_SSIM = 0  # place of it in a pair's "painter"
_BRAIN = REGIONS.index("brain")
_NOTES = (
    "Normalisation: in each modality the real scan's 0.5 and 99.5 percentiles in the brain are 0 and 1, and the "
    "synthetic scan goes through the same scaling, so that a wrong brightness counts. Scans of different patients are "
    "scaled each by its own percentiles, since scanners' units are arbitrary. Regions are those of the real case.",
    "SSIM: windows of 7x7x7 voxels (Wang 2004). MS-SSIM: Gaussian windows of 11 voxels, as many of the five scales as "
    "leave 11 voxels along every axis, four for a brain on the BraTS grid (Wang 2003). PSNR and MAE: on the scale from "
    "0 to 1. NMSE: squared error over the squares of the real scan. NMI: 100 bins, 1 says nothing is shared and 2 "
    "everything (Studholme 1999).",
    "Flat painting gives every voxel of a class the median that the real scan has there. It is judged by SSIM only: "
    "texture that is lifelike and yet drawn anew costs PSNR and NMI, and flat painting has none.",
    "These measures reward smoothness: a blurred scan comes near its original. Sharpness and texture are judged under "
    "fidelity.",
)


@dataclass(frozen=True)
class _Values:
    """All pairs: similarity (pairs, 4, 3, 6), painter (pairs, 4, 3, 2), strangers (k, 4, 3, 6), and the pairs' ids."""

    ids: tuple[str, ...]
    pairs: np.ndarray
    painter: np.ndarray
    strangers: np.ndarray


def section(material: Material) -> Section:
    """The section, with all pairs measured; without checks where the sets are not paired."""
    return section_of(material.sets, *measured_pairs(material))


def section_of(
    sets: Sets, pairs: Mapping[str, Mapping[str, np.ndarray]], between: Sequence[Mapping[str, np.ndarray]]
) -> Section:
    """The section; without pairs it has no checks and says so.

    Args:
        sets: which cases are paired.
        pairs: id -> what `quality.paired.measure_pair` gave. Every entry is read once, and of two the slices, so a
            mapping that opens files when asked keeps memory flat.
        between: what `quality.paired.measure_between` gave for pairs of different real cases (`strangers`).
    """
    question = "How near do reconstructions come to the very scans whose layout and style they were painted from?"
    if not pairs:
        note = "The sets are not paired: no synthetic case has the id of a real one. Pairs come from synth reconstruct."
        return Section("paired", "Paired similarity", question, notes=(note,))
    values = _collected(pairs, between)
    checks = [
        _check(values, metric, region, modality)
        for metric, regions in JUDGED
        for region in regions
        for modality in MODALITIES
    ]
    tables = (_summary_table(values), _case_table(values))
    return Section(
        "paired",
        "Paired similarity",
        question,
        tuple(checks),
        _figures(values, pairs),
        tables,
        (*_sample_notes(sets, values), *_NOTES),
    )


def _collected(pairs: Mapping, between: Sequence[Mapping]) -> _Values:
    ids, similarity, painter = tuple(sorted(pairs)), [], []
    for case in ids:
        arrays = pairs[case]
        similarity.append(arrays["similarity"])
        painter.append(arrays["painter"])
    strangers = [np.asarray(arrays["similarity"]) for arrays in between]
    empty = np.empty((0, *similarity[0].shape))
    return _Values(ids, np.array(similarity), np.array(painter), np.array(strangers) if strangers else empty)


def _check(values: _Values, metric: str, region: str, modality: str) -> Check:
    """One measure in one region of one modality, judged; every measure judged here grows with similarity."""
    m, r, k = MODALITIES.index(modality), REGIONS.index(region), METRICS.index(metric)
    check_id, group = f"paired.{metric}.{region}.{modality}", f"{NAMES[metric]} in {PLACES[region]}"
    title = f"{NAMES[metric]} of {modality} in {PLACES[region]}, the median pair"
    similarity, stranger = values.pairs[:, m, r, k], values.strangers[:, m, r, k]
    there, stranger = ~np.isnan(similarity), stranger[np.isfinite(stranger)]  # infinite: one scan under two ids
    if not there.any():
        return not_judged(check_id, group, title, f"no case has enough of {PLACES[region]} to be measured in.")
    ids, similarity = np.array(values.ids)[there], similarity[there]
    gain = similarity - values.painter[there, m, r, _PAINTED_SSIM] if metric == "ssim" else None
    yardstick = None
    if stranger.size:
        low, middle, high = (float(v) for v in np.percentile(stranger, (5, 50, 95)))
        yardstick = Yardstick(middle, low, high, STRANGERS)
    copies = np.isinf(values.pairs[there, m, r, _PSNR])
    verdict, reason, cases = _judged(similarity, ids, yardstick, gain, copies)
    return Check(
        id=check_id,
        group=group,
        title=title,
        value=finite(np.median(similarity)),
        unit="dB" if metric == "psnr" else "",
        verdict=verdict,
        reason=reason,
        yardstick=yardstick,
        interval=_interval(similarity),
        n={"pairs": len(similarity), "different patients": len(stranger)},
        cases=cases,
    )


def _judged(
    similarity: np.ndarray, ids: np.ndarray, yardstick: Yardstick | None, gain: np.ndarray | None, copies: np.ndarray
) -> tuple[Verdict, str, tuple[str, ...]]:
    """Verdict, reason and the cases to look at; `gain` is over flat painting, `copies` are equal to the scan."""
    said = f"{_told(np.median(similarity))} in the median pair, {_told(similarity.min())} in the worst"
    if copies.any():
        reason = f"{copies.sum()} of {len(ids)} are the real scan itself, voxel for voxel: copies, not reconstructions."
        return Verdict.LOOK, reason, _names(ids[copies])
    if yardstick is None:
        return Verdict.NONE, f"{said}; there are no two real patients to compare it with.", ()
    said += f", where different patients' scans reach {_told(yardstick.high)}"
    astray = _names(ids[similarity <= yardstick.high])
    if np.median(similarity) <= yardstick.high:
        return Verdict.FAIL, f"{said}: no nearer to its own scan than another patient's scan is.", astray
    if astray:
        verdict = Verdict.FAIL if len(astray) > ASTRAY * len(ids) else Verdict.LOOK
        return verdict, f"{said}: {len(astray)} of {len(ids)} are no nearer than another patient's scan is.", astray
    if gain is not None and np.median(gain) <= 0:
        nearer = f"nearer still, by {_told(abs(np.median(gain)))}" if np.median(gain) < 0 else "just as near"
        return Verdict.LOOK, f"{said}, but painting each class flat comes {nearer}.", _names(ids[gain <= 0])
    better = "" if gain is None else f", and {_told(np.median(gain))} more than flat painting"
    return Verdict.PASS, f"{said}: clearly nearer{better}.", ()


def _names(ids: np.ndarray) -> tuple[str, ...]:
    return tuple(str(name) for name in ids)


def _interval(similarity: np.ndarray) -> tuple[float, float] | None:
    """Of the median, over resampled cases; of fewer than three pairs there is none."""
    if len(similarity) < 3 or not np.isfinite(similarity).all():
        return None
    _, low, high = paired_bootstrap(similarity, similarity, lambda a, _: np.median(a, -1))
    return float(low), float(high)


def _sample_notes(sets: Sets, values: _Values) -> list[str]:
    notes = []
    if len(values.ids) < len(sets.paired):
        notes.append(f"{len(values.ids)} of {len(sets.paired)} pairs were compared.")
    if min(len(values.ids), len(values.strangers)) < SMALL:
        notes.append(
            f"Small samples: {len(values.ids)} pairs and {len(values.strangers)} pairs of different patients; the "
            "percentiles are little more than the smallest and largest value."
        )
    return notes


def _summary_table(values: _Values) -> Table:
    """Medians of every measure in every region."""
    rows = []
    for m, modality in enumerate(MODALITIES):
        for r, region in enumerate(REGIONS):
            flat = np.full((len(values.ids), len(METRICS)), np.nan)
            flat[:, [_SSIM, _PSNR]] = values.painter[:, m, r]
            kinds = (
                ("reconstruction", values.pairs[:, m, r]),
                ("flat painting", flat),
                ("different patients", values.strangers[:, m, r]),
            )
            rows += [(modality, region, kind, *_medians(numbers)) for kind, numbers in kinds]
    return Table(
        "paired.summary",
        "All measures, medians",
        ("modality", "region", "real scan beside", *(_heading(metric) for metric in METRICS)),
        tuple(rows),
        "Higher is nearer, except for NMSE and MAE, which are errors. PSNR in dB.",
    )


def _case_table(values: _Values) -> Table:
    """A row a case, means over the modalities, the worst first."""
    order = np.argsort(_rank(values))[:ROWS]
    wanted = [("ssim", region) for region in REGIONS] + [("ms_ssim", "brain"), ("psnr", "brain"), ("nmi", "brain")]
    columns = [values.pairs[:, :, REGIONS.index(region), METRICS.index(metric)].mean(1) for metric, region in wanted]
    rows = tuple((values.ids[i], *(_cell(column[i]) for column in columns)) for i in order)
    caption = "Means over the four modalities." + (
        f" The worst {ROWS} of {len(values.ids)}." if len(values.ids) > ROWS else ""
    )
    heads = tuple(f"{_heading(metric)}, {region}" for metric, region in wanted)
    return Table("paired.cases", "Cases, the worst first", ("case", *heads), rows, caption)


def _figures(values: _Values, pairs: Mapping) -> tuple[Figure, ...]:
    strip = partial(
        strip_figure, values.pairs[..., _SSIM], values.painter[..., _PAINTED_SSIM], values.strangers[..., _SSIM]
    )
    caption = (
        "SSIM with the real scan, a dot a case: its reconstruction, the same layout painted flat, and another patient."
    )
    figures = [Figure("paired.ssim", "Nearness to the real scan", caption, strip)]
    rank = _rank(values)
    chosen = {"worst": int(rank.argmin()), "best": int(rank.argmax())}
    if chosen["worst"] == chosen["best"]:
        chosen = {"only": chosen["best"]}
    for kind, i in chosen.items():
        case = values.ids[i]
        caption = (
            f"{case}: real, synthetic, and synthetic minus real (red brighter, blue darker), in the planes that hold "
            f"most tumour (outlined); the patient's right is on the left. Mean SSIM in the brain {rank[i]:.3f}."
        )
        figures.append(_difference(f"paired.{kind}", f"The {kind} pair, {case}", caption, pairs, case))
    return tuple(figures)


def _difference(id: str, title: str, caption: str, pairs: Mapping, case: str) -> Figure:
    return Figure(id, title, caption, lambda: difference_figure(pairs[case]), scans=True)


def _rank(values: _Values) -> np.ndarray:
    """(pairs,) mean SSIM in the brain."""
    return values.pairs[:, :, _BRAIN, _SSIM].mean(1)


def _medians(numbers: np.ndarray) -> list[float | str]:
    """Of each column, over what is there."""
    return [_cell(np.median(part)) if (part := column[~np.isnan(column)]).size else "" for column in numbers.T]


def _cell(value: float) -> float | str:
    return "" if finite(value) is None else round(float(value), 3)


def _heading(metric: str) -> str:
    return f"{NAMES[metric]} (dB)" if metric == "psnr" else NAMES[metric]


def _told(value: float) -> str:
    return "infinity" if np.isinf(value) else number(float(value))
