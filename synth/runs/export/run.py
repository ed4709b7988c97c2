"""Exporting: the cases of sets, and real ones along with them, in the layout that another program reads.

Cases are written one after the other and vouched for by a line of the manifest each, as in every run: one that was
killed goes on with `resume` and leaves the same tree as an undisturbed one. The tables of the whole set come last.
"""

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from synth import __version__
from synth.brats import NAMINGS
from synth.datasets.reading import PLAIN, Reading
from synth.datasets.sets import CaseSet, open_set
from synth.disk.claim import EXPORT, claim
from synth.disk.files import changed_files
from synth.disk.manifest import Manifest, json_text, read_run, recorded_files
from synth.errors import DataError, OutputError, SynthError, printable
from synth.runs.export.bids import Bids
from synth.runs.export.brats import Brats2020, Brats2023
from synth.runs.export.content import Content
from synth.runs.export.huggingface import HuggingFace
from synth.runs.export.items import Item, collect
from synth.runs.export.msd import Msd
from synth.runs.export.nnunet import NnUNet
from synth.runs.export.target import Options, Target
from synth.runs.export.tfrecord import TfRecord
from synth.runs.ids import CaseIds

FORMAT = "export"  # what `run.json` says where a set of cases has its file format
TARGETS: dict[str, type[Target]] = {
    cls.name: cls for cls in (NnUNet, Msd, Bids, TfRecord, HuggingFace, Brats2020, Brats2023)
}
AnySet = str | Path | CaseSet


@dataclass(frozen=True)
class Exported:
    """What was done.

    Attributes:
        out: the folder.
        painted: painted cases in it.
        real: real cases in it.
        written: cases written now; the others were there already.
        seconds: for all of it.
        notes: what the user must know of the result.
    """

    out: Path
    painted: int
    real: int
    written: int
    seconds: float
    notes: tuple[str, ...] = ()

    def sentence(self) -> str:
        """One line for the user."""
        kept = self.painted + self.real - self.written
        there = f", {kept} were there already" if kept else ""
        return f"{self.painted} painted and {self.real} real cases in {self.out}{there}; {self.seconds:.1f} s."


def export(
    sets: Sequence[AnySet],
    out: str | Path,
    *,
    to: str,
    real: Sequence[AnySet] = (),
    options: Options | None = None,
    prefix: str | None = None,
    first: int | None = None,
    reading: Reading = PLAIN,
    resume: bool = False,
    force: bool = False,
    progress: Callable[[Iterable], Iterable] = iter,
) -> Exported:
    """Write sets that synth painted, and folders of real cases, to `out` in another program's layout.

    Args:
        sets: NIfTI or HDF5 sets with their manifests.
        out: a folder that does not exist or is empty, unless `resume` or `force`.
        to: the layout, one of `TARGETS`.
        real: folders of real cases.
        options: what the layout lets users choose.
        prefix: painted cases are numbered anew, after this; None: ids stay, unless `first` is given.
        first: the first number; None: 0.
        reading: what the user states about the files.
        resume: go on with an interrupted run of the same settings.
        force: remove what an earlier export wrote there first.
        progress: wraps the cases still to be written (`tqdm`).

    Raises:
        DataError: a set or case is not what it has to be, or two cases have one id.
        OutputError: the folder is not ours to write to, belongs to another run, or the disk is full.

    Example:
        >>> export(["set"], "Dataset501_Synth", to="nnunet", real=["BraTS2021_TrainingData"])  # doctest: +SKIP
    """
    begin, out, options = time.perf_counter(), Path(out), options or Options()
    target = _target(to, out, options)
    ours, theirs = ([open_set(path, scans=True, reading=reading) for path in part] for part in (sets, real))
    for cases in (*ours, *theirs):
        where = ("the cases", cases.path) if cases.path.is_dir() else None
        claimed = claim(out, EXPORT, resume=resume, force=force, apart=where, reads=[cases.path])
    items = collect(ours, theirs, _numbering(to, prefix, first), target.key)
    _refuse_unlabelled(target, items)
    settings = _settings(target, options, ours, theirs, items, reading)
    claimed.clear(partial(_names_of_run, items, target), links=True)
    with Manifest(out, settings) as manifest:
        written = _write(target, items, manifest, progress)
        notes = target.finish(items, manifest.entries())
    painted = sum(not item.real for item in items)
    return Exported(out, painted, len(items) - painted, written, time.perf_counter() - begin, tuple(notes))


def _target(to: str, out: Path, options: Options) -> Target:
    if to not in TARGETS:
        raise SynthError(f"unknown layout {to!r}: expected one of {', '.join(TARGETS)}.")
    for field in fields(Options):
        if getattr(options, field.name) != field.default and field.name not in TARGETS[to].options:
            having = [name for name, cls in TARGETS.items() if field.name in cls.options]
            option = "--" + field.name.replace("_", "-")
            raise SynthError(f"{option} is of --to {', '.join(having)}; found --to {to}: leave it out.")
    return TARGETS[to](out, options)


def _numbering(to: str, prefix: str | None, first: int | None) -> Callable[[int, int], str] | None:
    if prefix is None and first is None:
        return None
    ids = CaseIds.of(NAMINGS.get(to, NAMINGS["brats2020"]), prefix, first or 0)
    return lambda k, n: replace(ids, digits=max(ids.digits, len(str(ids.first + n - 1))))(k)


def _refuse_unlabelled(target: Target, items: Sequence[Item]) -> None:
    if not target.labelled:
        return
    bare = next((item for item in items if not item.member.annotated), None)
    if bare is not None:
        raise DataError(
            f"{printable(bare.member.path)}: case {printable(bare.member.id)} has no segmentation; --to {target.name} "
            "is for training: add it, leave the case out, or, if it is healthy, say so (--healthy)."
        )


def _settings(
    target: Target,
    options: Options,
    ours: Sequence[CaseSet],
    theirs: Sequence[CaseSet],
    items: Sequence[Item],
    reading: Reading,
) -> dict[str, Any]:
    """What `run.json` says; a resumed run must agree."""
    ids = json_text([[item.id, item.member.id] for item in items], what="ids")
    models = {tuple(item.model.items()): item.model for item in items if not item.real}
    return {
        "made_by": f"synth export {__version__}",
        "format": FORMAT,
        "to": target.name,
        "sets": [str(cases.path) for cases in ours],
        "real": [str(cases.path) for cases in theirs],
        "cases": len(items),
        "ids": hashlib.sha256(ids.encode()).hexdigest()[:16],
        "options": {name: getattr(options, name) for name in target.options},
        **({"model": next(iter(models.values()))} if len(models) == 1 and all(models) else {}),
        **({"reading": stated} if (stated := reading.to_dict()) else {}),
    }


def _write(target: Target, items: Sequence[Item], manifest: Manifest, progress: Callable) -> int:
    """Write the batches that the manifest does not vouch for; return how many cases that were."""
    out = manifest.folder
    good, batches = manifest.verified(partial(changed_files, out)), target.batches(items)
    todo = [batch for batch in batches if not all(item.index in good for item in batch)]
    cases = iter(progress([item for batch in todo for item in batch]))
    for item, files, more in _in_turn(target, (list(islice(cases, len(batch))) for batch in todo)):
        manifest.append({**item.to_record(), **more, "files": files})
    return sum(map(len, todo))


Written = tuple[Item, dict[str, str], dict[str, Any]]  # a case, its files, what else its record says


def _in_turn(target: Target, batches: Iterator[Sequence[Item]]) -> Iterator[Written]:
    """Write batches, some at a time: one is packed or copied while another waits for the disk; give cases in order."""

    def write(group: Sequence[Sequence[Item]]) -> list[Written]:
        done: list[Written] = []
        with target.put.together():
            for batch in group:
                prints: dict[int, Any] = {}
                files = target.write(_contents(target, batch, prints))
                done += [(item, own, prints.get(item.index, {})) for item, own in zip(batch, files, strict=True)]
        return done

    pending: deque[Future[list[Written]]] = deque()
    with ThreadPoolExecutor(target.at_a_time, thread_name_prefix="export") as pool:
        try:
            while group := list(islice(batches, target.flushed)):
                pending.append(pool.submit(write, group))
                if len(pending) == 2 * target.at_a_time:  # nobody waits for the manifest, nor much for a slow one
                    yield from pending.popleft().result()
            while pending:
                yield from pending.popleft().result()
        finally:
            for one in pending:
                one.cancel()


def _contents(target: Target, batch: Sequence[Item], prints: dict[int, Any]) -> Iterator[Content]:
    """The cases of a batch, one in memory at a time; fingerprints of real ones are taken after their turn."""
    for item in batch:
        content = Content(item)
        content.check()
        yield content
        if item.real and target.prints:
            prints[item.index] = {"fingerprint": content.print}


def _names_of_run(items: Sequence[Item], target: Target, out: Path) -> set[str]:
    """Files of an earlier export, relative to `out`, with those that a kill kept out of its manifest."""
    try:
        earlier = TARGETS[read_run(out)["to"]](out, target.chosen)
    except (OutputError, KeyError):
        earlier = target
    return {*recorded_files(out), *earlier.tables, *(name for b in earlier.batches(items) for name in earlier.names(b))}
