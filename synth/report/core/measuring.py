"""Measuring whole sets: what there is to do for each case, and how it is done."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from synth.ahead import ahead
from synth.datasets.findings import ERROR
from synth.datasets.fingerprint import Fingerprint
from synth.datasets.inspection import Inspection
from synth.datasets.members import Member
from synth.datasets.sets import CaseSet
from synth.datasets.voxels.label_order import LabelFacts
from synth.errors import SynthError
from synth.hosts.extract import VERSION
from synth.quality.prepared import Prepared, prepare
from synth.quality.probes import Probe
from synth.quality.records import Record, case_folder, kept_facts, missing, store, store_facts
from synth.report.core.facts import FACTS, case_facts, finding_dict, law_facts
from synth.report.core.facts import VERSION as FACTS_VERSION

_FACTS = f"case-{FACTS_VERSION}"
_PREPARED = f"prepared-{VERSION}"  # what all measurements rest on; raised in `hosts.extract`


@dataclass(frozen=True)
class Measured:
    """A measured set.

    Attributes:
        records: of the cases that can be used, in the order of the set.
        facts: of every case, usable or not: `id`, `findings`, and what `core.facts` measures.
        files: case id -> checksum of each of its files.
    """

    records: tuple[Record, ...]
    facts: tuple[dict, ...]
    files: dict[str, dict[str, str]]

    @property
    def fingerprints(self) -> dict[str, Fingerprint]:
        """Case id -> fingerprint of its scan, of the cases that can be used."""
        return {facts["id"]: tuple(facts["fingerprint"]) for facts in self.facts if "fingerprint" in facts}

    def inspected(self, cases: CaseSet) -> Inspection:
        """The cases that can be used, as a set."""
        inspection = Inspection(cases.path, cases.reading)
        for facts in self.facts:
            if "labels" in facts:
                inspection.see(facts["id"], LabelFacts(**facts["labels"]), scan=tuple(facts["fingerprint"]))
        return inspection


@dataclass(frozen=True)
class Job:
    """A case that is to be measured, or was.

    Attributes:
        member: where it lies.
        files: checksum of each of its files.
        folder: of its records.
        facts: what is known of it already; None: it has to be read.
        todo: what has to be measured.
        versions: of all probes that are asked for, by name.
    """

    member: Member
    files: dict[str, str]
    folder: Path
    facts: dict | None
    todo: tuple[Probe, ...]
    versions: dict[str, str]

    @property
    def done(self) -> bool:
        """Whether all is known."""
        return self.facts is not None and not self.todo


def measure_here(jobs: Iterable[Job]) -> Iterator[dict]:
    """The facts of every case, in order; one is read and prepared while the one before it is measured."""
    for job, facts, prepared in ahead((job, *_read(job)) for job in jobs):
        yield _measured(job, facts, prepared)
        del prepared  # the next case is in memory already


def measure_case(job: Job) -> dict:
    """Read, prepare and measure a case; its facts. What was measured is in the cache then.

    Raises:
        OutputError: it cannot be written there.
    """
    return job.facts if job.done else _measured(job, *_read(job))


def measure_set(
    cases: CaseSet,
    probes: Sequence[Probe],
    cache: Path,
    progress: Callable[[Iterable], Iterable] = iter,
    few: Mapping[str, Collection[str]] | None = None,
    measuring: Callable[[Iterable[Job]], Iterable[dict]] = measure_here,
) -> Measured:
    """Measure every case of a set; what was measured before, on the same bytes, is taken from the cache.

    Args:
        cases: from `open_set`.
        probes: what to measure.
        cache: folder of the records. It holds slices and thumbnails of scans: keep it where these may be kept.
        progress: wraps the cases (`tqdm`).
        few: name of a probe -> ids of the cases that it is measured on; all others are measured on every case.
        measuring: gives the facts of jobs, in order.
    """
    asked = {
        member.id: [probe for probe in probes if member.id in (few or {}).get(probe.name, (member.id,))]
        for member in cases.members
    }
    seen: list[Job] = []

    def jobs() -> Iterator[Job]:
        for member in cases.members:
            seen.append(_job(member, asked[member.id], cache))
            yield seen[-1]

    facts = [known for _, known in zip(progress(cases.members), measuring(jobs()), strict=True)]
    records = [
        Record(job.member.id, job.folder, job.versions)
        for job, known in zip(seen, facts, strict=True)
        if "digests" in known
    ]
    return Measured(tuple(records), tuple(facts), {job.member.id: job.files for job in seen})


def joint_checksum(member: Member) -> str:
    """One checksum of a case's files, whatever folder they are in."""
    return _joint(member.checksums())


def _stated(member: Member) -> dict[str, str]:
    """What is not in its bytes: how its files are called, and what the user stated, may make other labels of them."""
    stated = {"reading": member.reading.tag} if member.reading.tag else {}
    return {**stated, "names": " ".join([member.naming.name, *member.endings])}


def _joint(files: dict[str, str]) -> str:
    return sha256("".join(digest for _, digest in sorted(files.items())).encode()).hexdigest()


def read_prepared(member: Member) -> Prepared:
    """A case of a set once more, ready to be measured.

    Raises:
        SynthError: it cannot be used.
    """
    return prepare(member.read())


def _job(member: Member, probes: Sequence[Probe], cache: Path) -> Job:
    files = member.checksums()
    folder = case_folder(cache / _PREPARED, _joint({**files, **_stated(member)}))
    kept = kept_facts(folder, _FACTS, FACTS)
    facts = None if kept is None else {**kept, "id": member.id}
    versions = {probe.name: probe.version for probe in probes}
    return Job(member, files, folder, facts, tuple(missing(folder, probes)), versions)


def _read(job: Job) -> tuple[dict, Prepared | None]:
    """The facts of a case and, where it has to be measured, the case."""
    return (job.facts, None) if job.done else _examined(job.member)


def _measured(job: Job, facts: dict, prepared: Prepared | None) -> dict:
    if prepared is not None:
        for probe in job.todo:
            store(job.folder, probe, probe.measure(prepared))
        store_facts(job.folder, _FACTS, facts)
    return facts


def _examined(member: Member) -> tuple[dict, Prepared | None]:
    """The facts of a case, and the case ready to be measured; None where it cannot be used."""
    case, findings = member.examine()
    facts = {"id": member.id, "findings": [finding_dict(finding) for finding in findings]}
    if case is None:
        return facts, None
    if case.labels is None:
        message = "has no labels; a report compares scans with labels: add its segmentation or leave the case out."
        return _unusable(facts, "labels", message), None
    try:
        prepared = prepare(case)
    except SynthError as error:
        return _unusable(facts, "intensities", str(error)), None
    return {**facts, **case_facts(case), **law_facts(prepared.layout)}, prepared


def _unusable(facts: dict, topic: str, message: str) -> dict:
    problem = {"severity": ERROR, "topic": topic, "message": message}
    return {**facts, "findings": [*facts["findings"], problem]}
