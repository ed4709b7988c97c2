"""The report: measure both sets, ask every section, write the page and the numbers."""

from collections.abc import Collection
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from synth import __version__
from synth.datasets.case_files import refuse_any
from synth.datasets.findings import Findings
from synth.datasets.sets import CaseSet, open_set
from synth.disk.claim import REPORT, claim
from synth.disk.files import atomic_files, make_folder
from synth.disk.manifest import json_text
from synth.disk.staging import remove_left
from synth.errors import DataError, OutputError, printable
from synth.models.cards import SEGMENTER, read_card, trained_on
from synth.quality.embedding import DICE
from synth.report.build import probes_of, sections_of
from synth.report.core.config import ReportConfig
from synth.report.core.judge import LEAST, ORDER, Section, Verdict, told
from synth.report.core.material import Material, Progress, records_of_members
from synth.report.core.measuring import Measured, joint_checksum, measure_here, measure_set
from synth.report.core.processes import as_many_as_pay, measuring_in
from synth.report.core.sets import Sets
from synth.report.page import NUMBERS, render
from synth.report.roles import Split, split_real
from synth.report.usefulness.utility import read_utility

SCHEMA, VERSION = "synth.report", 1
PAGE = "report.html"
CACHE = "features"  # in the report's folder, where no other is given
RECONSTRUCTED = "reconstruct.json"
MOST_DICE = 32  # cases of a set: the mean is known to 0.06 (WT), 0.08 (TC) and 0.09 (ET), less than what is looked at


@dataclass(frozen=True)
class Report:
    """What was found.

    Attributes:
        sections: in the order of the page.
        about: sets, counts, settings and versions, JSON-able.
    """

    sections: tuple[Section, ...]
    about: dict[str, Any]

    def to_dict(self) -> dict:
        """Everything but the pictures, JSON-able; `schema` and `version` say what to expect."""
        return {
            "schema": SCHEMA,
            "version": VERSION,
            "synth": __version__,
            **self.about,
            "verdicts": {section.id: section.verdict.value for section in self.sections},
            "sections": [section.to_dict() for section in self.sections],
        }

    def lines(self) -> list[str]:
        """For the terminal: a line per section, and below it the worst of its checks."""
        out = []
        for section in self.sections:
            out.append(f"{section.title:<20}{section.verdict.value.upper():<12}{told(section.counts)}")
            if section.verdict in (Verdict.LOOK, Verdict.FAIL):
                bad = [check for check in section.checks if check.verdict == section.verdict]
                out += [f"  {check.title}: {check.reason}" for check in bad[:_SHOWN]]
                out += [f"  and {len(bad) - _SHOWN} more"] if len(bad) > _SHOWN else []
        return out

    def below(self, bars: dict[str, Verdict | float]) -> list[str]:
        """The sections that do not reach what is asked of them, a sentence each.

        Args:
            bars: section id, or "" for all others -> the worst verdict that is allowed, or the least share (0..1) of
                the checks that could be judged that must pass. A section in which nothing could be judged, or a named
                one that is not there, reaches no bar but 0: it is not a pass.
        """
        made = {section.id for section in self.sections}
        absent = [f"{name}: is not in this report" for name, bar in bars.items() if name and bar and name not in made]
        return absent + [
            said for section in self.sections if (said := _below(section, bars.get(section.id, bars.get(""))))
        ]


_SHOWN = 3  # checks a section in the terminal


def report(
    synthetic: str | Path | CaseSet,
    real: str | Path | CaseSet,
    out: str | Path,
    *,
    holdout: str | Path | CaseSet | None = None,
    train_ids: Collection[str] | None = None,
    utility: str | Path | None = None,
    cache: str | Path | None = None,
    config: ReportConfig | None = None,
    force: bool = False,
    workers: int | None = 1,
    progress: Progress = lambda _: iter,
) -> Report:
    """Compare a synthetic set with real scans; write `report.html` and `report.json` below `out`.

    Args:
        synthetic: a folder of BraTS cases or synth's HDF5, with labels.
        real: real cases, with labels.
        out: new, empty, or with `force` an earlier report's.
        holdout: real cases that the generator never saw.
        train_ids: ids of the real cases that it was trained on; None: its card is asked (`roles.split_real`).
        utility: what `synth utility --out` wrote on this set.
        cache: folder for what is measured on each case; None for `out/features`. It holds slices of scans.
        config: everything else.
        force: replace an earlier report; what was measured is kept and used.
        workers: processes that measure cases; 1: this one; None: as many as there are cores and cases for. Only a
            program whose main module may be imported again (`if __name__ == "__main__"`) may ask for several.
        progress: gives for a description a function that wraps an iterable (`tqdm`).

    Raises:
        SynthError: a set cannot be opened, no case of it can be used, a model is missing, or `out` is not ours.

    Example:
        >>> report("set", "BraTS2021_TrainingData", "checked").below({"": Verdict.LOOK})  # doctest: +SKIP
        []
    """
    config, out = config or ReportConfig(), Path(out)
    cache = Path(cache) if cache is not None else out / CACHE
    _claim(out, cache, force)
    painted, scans = _opened(synthetic), _opened(real)
    held = _opened(holdout) if holdout is not None else None
    for cases in filter(None, (scans, held)):
        cases.refuse_painted("a synthetic set is measured against them")
    _ = painted.records  # a damaged manifest is told now
    worth: tuple[dict | None, bytes | None] = read_utility(utility) if utility is not None else (None, None)
    tell_apart = partial(split_real, scans, held, train_ids, painted, config.generator)
    split = tell_apart()
    scans, paired = _pooled(scans, held), _is_paired(painted, config)
    painted = sampled(painted, config)
    scans = sampled(scans, config, keep=painted.ids if paired else (), apart=split.holdout)
    card = read_card(config.segmenter, SEGMENTER)
    probes = probes_of(config.segmenter)
    make_folder(out)
    make_folder(cache)
    for folder in (out, cache):
        remove_left(folder)
    few = [{DICE: asked_for_dice(cases, card, config)} for cases in (painted, scans)]
    count = as_many_as_pay(max(len(painted.members), len(scans.members)), workers)
    with measuring_in(count) if count > 1 else nullcontext(measure_here) as measuring:
        ours = measure_set(painted, probes, cache, progress("measuring the synthetic set"), few[0], measuring)
        theirs = measure_set(scans, probes, cache, progress("measuring the real scans"), few[1], measuring)
    if not theirs.records:
        raise DataError(f"{scans.path}: none of its {len(theirs.facts)} cases can be used; {_first_problem(theirs)}")
    split = tell_apart(theirs.fingerprints)
    notes = theirs.inspected(scans).findings()
    refuse_any(notes)
    split = replace(split, said=" ".join([split.said, *(note.message for note in notes)]))
    sets = _sets(ours, theirs, split, painted, paired, config.seed)
    material = Material(sets, ours, theirs, painted, scans, card, *worth, config, progress)
    sections, viewer = sections_of(material)
    result = Report(tuple(sections), _about(material, split, config))
    numbers = result.to_dict()
    write_together(
        out, {NUMBERS: json_text(numbers, what="the report", indent=1), PAGE: render(numbers, sections, viewer)}
    )
    return result


def write_together(out: Path, texts: dict[str, str]) -> None:
    """Files of a report by name: all or none, so that a page never stands beside the numbers of another report.

    Raises:
        OutputError: the disk is full or they cannot be created there.
    """
    with atomic_files() as partial:
        for name, text in texts.items():
            # names of files may hold bytes that are no text
            partial(out / name).write_bytes(text.encode("utf-8", "backslashreplace"))


def _claim(out: Path, cache: Path, force: bool) -> None:
    """Refuse a folder that is not ours to write to."""
    if cache.resolve() == out.resolve():
        advice = "choose another folder, or leave it out"
        raise OutputError.unexpected(cache, "a folder for measurements apart from --out", "that very folder", advice)
    own = cache.resolve().relative_to(out.resolve()).parts[:1] if cache.resolve().is_relative_to(out.resolve()) else ()
    claim(out, REPORT, force=force, beside=own)


def _opened(path: str | Path | CaseSet) -> CaseSet:
    """The cases at a path, of an id in two places the first: the other is a finding of the set."""
    cases = open_set(path, scans=True, strict=False)
    return replace(cases, members=tuple(cases[name] for name in dict.fromkeys(cases.ids)))


def _pooled(scans: CaseSet, held: CaseSet | None) -> CaseSet:
    """Real and hold-out cases as one set; a case that is in both is there once."""
    if held is None:
        return scans
    twice = {member.id: member for member in held.members if member.id in set(scans.ids)}
    for member in scans.members:
        if member.id in twice and joint_checksum(member) != joint_checksum(twice[member.id]):
            raise DataError(
                f"{printable(member.id)}: is one case in {scans.path} and another in {held.path}; give different cases "
                "different ids."
            )
    own = [member for member in scans.members if member.id not in twice]
    return replace(scans, members=(*own, *held.members), findings=Findings.joined(scans.findings, held.findings))


def sampled(cases: CaseSet, config: ReportConfig, keep: Collection[str] = (), apart: Collection[str] = ()) -> CaseSet:
    """At most `config.sample` cases of a set, chosen by the seed, in their order.

    Args:
        cases: the set.
        config: of the report.
        keep: ids that are taken whatever the sample's size: the originals of reconstructions.
        apart: ids that are sampled by themselves, as many again: few hold-out cases would be lost among many others.
    """
    if config.sample is None:
        return cases
    kept = set(keep)
    for group in (set(cases.ids) - set(apart), set(cases.ids) & set(apart)):
        order = np.random.default_rng(config.seed).permutation(len(group))
        kept |= {sorted(group)[i] for i in order[: config.sample]}
    return replace(cases, members=tuple(member for member in cases.members if member.id in kept))


def asked_for_dice(cases: CaseSet, card: dict, config: ReportConfig) -> frozenset[str]:
    """The ids, at most `MOST_DICE` chosen by the seed, of the cases whose labels the segmenter is asked for.

    Cases that its card lists as learnt from are left out, unless fewer than two others are there.
    """
    learnt = set(trained_on(dict.fromkeys(cases.ids, ()), [card]))
    names = sorted(set(cases.ids) - learnt)
    names = names if len(names) >= LEAST else sorted(cases.ids)
    order = np.random.default_rng(config.seed).permutation(len(names))
    return frozenset(names[i] for i in order[:MOST_DICE])


def _is_paired(painted: CaseSet, config: ReportConfig) -> bool:
    """Whether the set reconstructs real cases: as the user says, else where `synth reconstruct` wrote it."""
    if config.paired is not None:
        return config.paired
    return painted.path.is_dir() and (painted.path / RECONSTRUCTED).is_file()


def _first_problem(measured: Measured) -> str:
    messages = [finding["message"] for facts in measured.facts for finding in facts["findings"]]
    return f"such as {messages[0]}" if messages else "none of them has a brain."


def _sets(ours: Measured, theirs: Measured, split: Split, painted: CaseSet, paired: bool, seed: int) -> Sets:
    """The sides of the comparison."""
    known = {record.id for record in theirs.records}
    pairs = tuple(record for record in ours.records if record.id in known) if paired else ()
    if paired and not pairs and ours.records:
        raise DataError(f"{painted.path}: no case has the id of a real one, so nothing is paired; give its originals.")
    training = None
    if split.training is not None:
        training = tuple(record for record in theirs.records if record.id in split.training)
    return Sets(
        synthetic=ours.records,
        real=theirs.records,
        training=training,
        holdout=tuple(record for record in theirs.records if record.id in split.holdout),
        split=split.said,
        paired=pairs,
        lineage=records_of_members(painted) or {},
        seed=seed,
    )


def _below(section: Section, bar: Verdict | float | None) -> str | None:
    if bar is None:
        return None
    judged = [check for check in section.checks if check.verdict != Verdict.NONE]
    if not judged and bar:
        return f"{section.id}: nothing could be judged, which is not a pass"
    if isinstance(bar, Verdict):
        if ORDER.index(section.verdict) <= ORDER.index(bar):
            return None
        return f"{section.id}: {section.verdict.value}, expected {bar.value} or better"
    share = sum(check.verdict == Verdict.PASS for check in judged) / max(len(judged), 1)
    return f"{section.id}: {share:.0%} of its checks pass, expected {bar:.0%} or more" if share < bar else None


def _about(material: Material, split: Split, config: ReportConfig) -> dict[str, Any]:
    """What was compared, JSON-able."""
    sets = material.sets
    return {
        "sets": {
            "synthetic": _set_facts(material.painted, material.ours),
            "real": _set_facts(material.scans, material.theirs),
            "training": None if sets.training is None else len(sets.training),
            "holdout": len(sets.holdout),
            "paired": len(sets.paired),
            "split": split.said,
        },
        "settings": asdict(config),
        "segmenter": {"name": material.card.get("name"), "weights_sha256": material.card.get("weights_sha256")},
    }


def _set_facts(cases: CaseSet, measured: Measured) -> dict[str, Any]:
    return {"path": str(cases.path), "cases": len(measured.facts), "usable": len(measured.records)}
