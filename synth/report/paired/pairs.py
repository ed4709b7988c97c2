"""Pairs measured once: each reconstruction beside its own scan, and scans of different patients beside each other."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from hashlib import sha256

import numpy as np

from synth.datasets.sets import CaseSet
from synth.lineage import patient_of
from synth.quality.paired import VERSION, measure_between, measure_pair, strangers
from synth.quality.probes import Probe
from synth.quality.records import Record, missing, store
from synth.report.core.material import Material
from synth.report.core.measuring import read_prepared
from synth.runs.reconstruct import Scale, scales_of

_PAIR = "pair"  # the probe


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


def measured_pairs(material: Material) -> tuple[Mapping[str, dict[str, np.ndarray]], list[dict[str, np.ndarray]]]:
    """Every reconstruction beside its own scan, by id, and scans of different patients beside each other.

    Nothing is measured where no case is paired.
    """
    sets, scans, painted = material.sets, material.scans, material.painted
    if not sets.paired:
        return _Pairs(()), []
    real = {record.id: record for record in sets.real}
    by_patient = {patient_of(name): name for name in sorted(real)}  # two visits of one patient are no strangers
    between = strangers(list(by_patient.values()), seed=sets.seed)
    scales = scales_of(painted.path)
    jobs = [(real[record.id], record, painted, *_as_written(scales.get(record.id))) for record in sets.paired]
    jobs += [(real[first], real[second], scans, "b", measure_between) for first, second in between]
    records = [_measured(scans, *job) for job in material.progress("comparing pairs")(jobs)]
    count = len(sets.paired)
    return _Pairs(records[:count]), [record.arrays(_PAIR) for record in records[count:]]


def _as_written(scale: Scale | None) -> tuple[str, Callable]:
    """Kind and function of a comparison with a reconstruction on its scan's own scale, or on another."""
    if scale is None:
        return "o", measure_pair
    key = sha256(repr((scale.real, scale.written)).encode()).hexdigest()[:12]
    return f"o-{key}", partial(measure_pair, scale=(scale.real, scale.written))


def _measured(scans: CaseSet, first: Record, second: Record, cases: CaseSet, kind: str, measure) -> Record:
    """A real case and another one of `cases`, compared once; the record has the probe `_PAIR`."""
    key = sha256(first.folder.name.encode()).hexdigest()[:12]  # tells which bytes the first case was
    probe = Probe(
        _PAIR,
        f"{VERSION}-{kind}-{key}",
        lambda other: measure(read_prepared(scans[first.id]), other),
    )
    if missing(second.folder, [probe]):
        store(second.folder, probe, probe.measure(read_prepared(cases[second.id])))
    return Record(second.id, second.folder, {_PAIR: probe.version})
