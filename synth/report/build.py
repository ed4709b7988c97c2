"""From measured sets to sections: every section asked in turn, pairs measured, cases chosen for the viewer."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np

from synth.brats import REGIONS
from synth.lineage import patient_of
from synth.models.cards import trained_on
from synth.quality import anatomy, embedding, intensity, radiomics, slices, spectrum, texture, thumbnail
from synth.quality import paired as pairs
from synth.quality.probes import Probe
from synth.quality.records import Record, missing, store
from synth.report import diversity, feature_space, fidelity, memorisation, paired, usefulness, validity
from synth.report.core import pictures
from synth.report.core.config import ReportConfig
from synth.report.core.judge import Figure, Section, not_judged
from synth.report.core.measuring import Measured, read_prepared
from synth.report.core.sets import Sets
from synth.report.sources import CaseSet
from synth.show.viewer import ViewerCase, compact, viewer_fragment

VIEWER_MM = 1.5  # voxels of the page's viewer: a case of 3 MB; `synth view` shows the full resolution
_PAIR = "pair"


@dataclass(frozen=True)
class Material:
    """All that sections are made from.

    Attributes:
        sets: the sides of the comparison.
        ours: the synthetic set, measured.
        theirs: the real one, hold-out cases included.
        painted: where `ours` lies.
        scans: where `theirs` lie.
        card: of the segmenter.
        utility: result of `synth utility`, or None.
        plot: its PNG, or None.
        config: of the report.
        progress: gives for a description a function that wraps an iterable.
    """

    sets: Sets
    ours: Measured
    theirs: Measured
    painted: CaseSet
    scans: CaseSet
    card: dict
    utility: dict | None
    plot: bytes | None
    config: ReportConfig
    progress: Callable[[str], Callable[[Iterable], Iterable]]


def probes_of(segmenter: str) -> list[Probe]:
    """What a report measures on every case.

    Raises:
        ModelError: there is no such segmenter.
    """
    own = [one.PROBE for one in (anatomy, intensity, texture, spectrum, thumbnail, slices)]
    optional = [radiomics.PROBE] if radiomics.available() else []
    return [*own, *optional, embedding.probe(segmenter)]


def sections_of(material: Material) -> tuple[list[Section], str]:
    """The sections, and the viewer's part of the page."""
    sets = material.sets
    steps = {
        "validity": lambda: _validity(material),
        "fidelity": lambda: _fidelity(material),
        "paired": lambda: _paired(material),
        "diversity": lambda: diversity.section(sets),
        "memorisation": lambda: memorisation.section(sets),
        "usefulness": lambda: _usefulness(material),
    }
    if not sets.paired:
        del steps["paired"]
    found = []
    for name in material.progress("judging")(list(steps)):
        section = steps[name]() if name == "validity" or sets.synthetic else _nothing(name)
        found.append(replace(section, figures=_shown(section.figures, material.config.pictures)))
    return found, _viewer(material) if material.config.pictures == "all" else ""


def _shown(figures: Sequence[Figure], wanted: str) -> tuple[Figure, ...]:
    return tuple(one for one in figures if wanted == "all" or (wanted == "charts" and not one.scans))


_NAMES = {
    "fidelity": ("Fidelity", "Do the scans look like real ones, modality by modality and tissue by tissue?"),
    "diversity": ("Diversity", "Do the samples differ as real patients do?"),
    "memorisation": ("Memorisation", "Are samples copies of the scans that the generator was trained on?"),
    "usefulness": ("Usefulness", "Do the labels fit the scans, and does training on the pairs help?"),
}


def _nothing(name: str) -> Section:
    title, question = _NAMES[name]
    check = not_judged(
        f"{name}.cases", "Cases", "usable synthetic cases", "no synthetic case can be used: see Validity."
    )
    return Section(name, title, question, (check,))


def _validity(material: Material) -> Section:
    ours, painted, scans = material.ours, material.painted, material.scans
    changed = validity.changed_files(painted.records, ours.files)
    return validity.section(ours.facts, material.theirs.facts, painted.problems, changed, scans.problems)


def _fidelity(material: Material) -> Section:
    sets = material.sets
    extra, figures = feature_space.checks(sets)
    side_by_side = pictures.gallery(sets)
    return fidelity.section(sets, extra, [*side_by_side, *figures])


def _usefulness(material: Material) -> Section:
    sets, card = material.sets, material.card
    learnt = set(trained_on([record.id for record in sets.real], [card]))
    unseen = [record for record in sets.real if record.id not in learnt]
    fair = len(unseen) >= 2  # one case is no yardstick
    name = card.get("name", "default")
    section = usefulness.section(
        sets.synthetic, unseen if fair else sets.real, fair, name, material.utility, material.plot
    )
    painted = (card.get("training") or {}).get("synthetic")
    note = f"The segmenter {name} learnt from {painted} synthetic cases too: it knows painted tumours, and finds them."
    notes = (*section.notes, note) if painted else section.notes
    measured = (material.utility or {}).get("settings", {}).get("synthetic")
    if measured is not None and Path(measured).resolve() != material.painted.path.resolve():
        notes = (*notes, f"The table of `synth utility` was measured on {measured}, not on {material.painted.path}.")
    return replace(section, notes=notes, figures=(*section.figures, *pictures.extremes(sets, _dice(sets.synthetic))))


def _dice(records: Sequence[Record]) -> dict[str, float]:
    """Whole-tumour Dice by id."""
    values = usefulness.dice_of(records)[:, list(REGIONS).index("WT")]
    return {record.id: float(value) for record, value in zip(records, values, strict=True)}


class _Pairs(Mapping):
    """Measured pairs by id, read from the disk when asked for: memory stays flat."""

    def __init__(self, records: Iterable[Record]):
        self._records = {record.id: record for record in records}

    def __getitem__(self, name: str) -> dict[str, np.ndarray]:
        return self._records[name].arrays(_PAIR)

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)


def _paired(material: Material) -> Section:
    sets, scans, painted = material.sets, material.scans, material.painted
    real = {record.id: record for record in sets.real}
    by_patient = {patient_of(name): name for name in sorted(real)}  # two visits of one patient are no strangers
    strange = pairs.strangers(list(by_patient.values()), seed=sets.seed)
    jobs = [(real[one.id], one, painted, "o", pairs.measure_pair) for one in sets.paired]
    jobs += [(real[a], real[b], scans, "b", pairs.measure_between) for a, b in strange]
    records = [_measured_pair(scans, *job) for job in material.progress("comparing pairs")(jobs)]
    count = len(sets.paired)
    return paired.section(sets, _Pairs(records[:count]), [record.arrays(_PAIR) for record in records[count:]])


def _measured_pair(scans: CaseSet, first: Record, second: Record, cases: CaseSet, kind: str, measure) -> Record:
    """A real case and another one of `cases`, compared once; the record has the probe `_PAIR`."""
    key = sha256(first.folder.name.encode()).hexdigest()[:12]  # tells which bytes the first case was
    probe = Probe(
        _PAIR,
        f"{pairs.VERSION}-{kind}-{key}",
        lambda other: measure(read_prepared(scans.source(first.id)), other),
    )
    for one in missing(second.folder, [probe]):
        store(second.folder, one, one.measure(read_prepared(cases.source(second.id))))
    return Record(second.id, second.folder, {_PAIR: probe.version})


def _viewer(material: Material) -> str:
    """The viewer's part of the page: the synthetic cases with the highest and the lowest Dice, and real ones."""
    sets = material.sets
    if not material.config.viewer or not sets.synthetic:
        return ""
    dice = _dice(sets.synthetic)
    ranked = sorted(sets.synthetic, key=lambda record: -dice[record.id])
    ends = [ranked[0], ranked[-1], ranked[len(ranked) // 2]]
    chosen = list(dict.fromkeys(record.id for record in ends[: material.config.viewer]))
    jobs = [(name, material.painted, f"synthetic, Dice {dice[name]:.2f}") for name in chosen]
    jobs += [(record.id, material.scans, "real") for record in sets.real[: material.config.viewer]]
    shown = []
    for name, cases, what in material.progress("preparing the viewer")(jobs):
        case, _ = cases.source(name).examine()
        shown.append(ViewerCase(f"{what.split(',')[0]}-{name}", f"{name} ({what})", compact(case, spacing=VIEWER_MM)))
    return viewer_fragment(shown)
