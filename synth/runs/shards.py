"""The shards of one run (`--shard i/m`): all of them, complete, their records in the order of the samples."""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

from synth.datasets.case_files import QUARANTINE
from synth.disk.claim import GENERATE
from synth.disk.json_files import parse, read
from synth.disk.manifest import LIBRARIES, MANIFEST, RUN, other_settings, read_run, settings_differences
from synth.disk.run_schemas import RECORD, SHARD
from synth.errors import DataError, printable
from synth.layout.sampling.coverage import Coverage
from synth.runs.coverage import shard_indices
from synth.runs.folder import COVERAGE


@dataclass(frozen=True)
class Shard:
    """A shard, or the samples of one that the gate refused.

    Attributes:
        folder: where its settings, manifest and coverage are.
        name: as the user gave it.
        settings: its `run.json`.
    """

    folder: Path
    name: str
    settings: dict[str, Any]

    @classmethod
    def of(cls, folder: Path, name: str = "") -> "Shard":
        """The shard in a folder.

        Raises:
            OutputError: it has no settings that could be read.
        """
        return cls(folder, printable(name or folder), read_run(folder))

    @property
    def place(self) -> tuple[int, int]:
        """Which of how many."""
        i, m = self.settings["shard"]
        return i, m


def of_one_run(shards: Iterable[Shard]) -> list[Shard]:
    """The shards in their order, all of one run and none missing.

    Raises:
        DataError: one is missing, there twice or of another number of shards, or no shard.
        OutputError: one is of another run.
    """
    parts: dict[int, Shard] = {}
    for part in shards:
        if not GENERATE.known(part.settings):
            raise DataError(f"{part.name}: expected a shard that `synth generate` wrote, found another run.")
        try:
            SHARD.check(part.settings)
        except ValueError as error:
            raise DataError(f"{part.name}/{RUN}: {error}; restore the file.") from error
        first = next(iter(parts.values()), part)
        own = ("shard", LIBRARIES)
        ours, theirs = ({k: v for k, v in shard.settings.items() if k not in own} for shard in (first, part))
        if differing := settings_differences(ours, theirs):
            raise other_settings(part.name, differing, f"leave it out, it is of another run than {first.name}")
        i, m = part.place
        if m != first.place[1]:
            raise DataError(f"{part.name}: expected a shard i/{first.place[1]}, as {first.name}, found {i}/{m}.")
        if i in parts:
            raise DataError(f"{part.name}: shard {i}/{m} is there twice, also as {parts[i].name}.")
        parts[i] = part
    if not parts:
        raise DataError("there is no shard to merge; give the folders of all.")
    m = next(iter(parts.values())).place[1]
    if missing := [i for i in range(m) if i not in parts]:
        raise DataError(f"shard {missing[0]}/{m} is missing ({len(missing)} of {m} are); give the folders of all.")
    return [parts[i] for i in range(m)]


def refused_of(parts: Sequence[Shard]) -> list[Shard]:
    """What the gate refused of them, where there is something; the parts are complete with it.

    Raises:
        DataError: samples are missing; read as records they are later.
    """
    found = [Shard(part.folder / QUARANTINE, f"{part.name}/{QUARANTINE}", part.settings) for part in parts]
    refused = [part for part in found if (part.folder / RUN).is_file()]
    for part in parts:
        wanted = shard_indices(part.settings["n"], part.place)
        there = sum(_lines(own.folder) for own in (part, *refused) if own.place == part.place)
        if there != len(wanted):
            raise DataError(
                f"{part.name}: has {there} of the {len(wanted)} samples of shard {part.place[0]}/{part.place[1]}; make "
                "the others with --resume."
            )
    return refused


def in_order(parts: Sequence[Shard]) -> Iterator[tuple[Shard, int, bytes, dict[str, Any]]]:
    """Shard, index, line and content of all records, in the order of the samples, one at a time.

    Raises:
        DataError: a record is damaged.
    """
    sources = {part.place[0]: part for part in parts}
    for index, line, record in heapq.merge(*map(_records, parts), key=lambda entry: entry[0]):
        yield sources[index % parts[0].place[1]], index, line, record


def coverage_of(parts: Sequence[Shard]) -> Coverage:
    """The coverage of all their samples.

    Raises:
        DataError: a shard's cannot be read.
    """
    tables = []
    for part in parts:
        try:
            tables.append(Coverage(**read(part.folder / COVERAGE)))
        except (OSError, ValueError, TypeError) as error:
            where = f"{part.name}/{COVERAGE}"
            raise DataError(f"{where}: cannot be read ({error}); make it again with --resume.") from error
    return reduce(add, tables)


def _lines(folder: Path) -> int:
    """How many whole lines a manifest has."""
    if not (folder / MANIFEST).exists():
        return 0
    with open(folder / MANIFEST, "rb") as handle:
        return sum(line.endswith(b"\n") for line in handle)


def _records(part: Shard) -> Iterator[tuple[int, bytes, dict[str, Any]]]:
    path, last = part.folder / MANIFEST, -1
    if not path.exists():
        return
    with open(path, "rb") as handle:
        for number, line in enumerate(handle, 1):
            where = f"{part.name}/{MANIFEST}, line {number}"
            try:
                record = parse(line, RECORD)
            except ValueError as error:
                raise DataError(f"{where}: expected a record of one sample, found damaged text.") from error
            index = record["index"]
            if not line.endswith(b"\n") or index <= last:
                raise DataError(f"{where}: expected whole records in order; resume the shard first.")
            last = index
            yield index, line, record
