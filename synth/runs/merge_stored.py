"""Merging shards that lie in an object store: the store copies their objects, what the set says of itself is made here.

As where a run goes on there, objects are believed to be whole and none is read (`runs.stored`).
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from synth.case import Case
from synth.datasets.case_files import QUARANTINE
from synth.disk.claim import GENERATE
from synth.disk.manifest import MANIFEST, RUN, keep_settings
from synth.disk.objects import Objects, address_of
from synth.disk.staging import scratch
from synth.errors import DataError, printable
from synth.runs.folder import COVERAGE, SHEET, names_of_run
from synth.runs.shards import Shard
from synth.runs.stored import PIECES, Stored

_TOGETHER = 500  # objects that the store is asked to copy at once


def fetched(stack: ExitStack, places: Sequence[str | Path], out: str) -> Iterator[Shard]:
    """What shards in a store say of themselves, in scratch folders; all are addresses of the store of `out`.

    Raises:
        DataError: one is in another store or in a folder, is no shard, or is not finished.
        OutputError: the store does not answer.
    """
    for place in places:
        address = address_of(place)
        if address is None or address.partition("://")[0] != out.partition("://")[0]:
            raise DataError(
                f"{printable(place)}: expected an address of the store that the set goes to ({printable(out)}); put "
                "the shard there, or copy all of them to folders and merge these."
            )
        store, folder = Objects(address), stack.enter_context(scratch())
        marks = [f"{part}{name}" for part in ("", f"{QUARANTINE}/") for name in (RUN, MANIFEST, COVERAGE)]
        there = {name for name in marks if store.has(name)}
        if RUN not in there:
            raise DataError(f"{printable(address)}: expected a shard that `synth generate` wrote, found no {RUN}.")
        if MANIFEST not in there or Objects(f"{address}/{PIECES.rstrip('/')}").sizes():
            raise DataError(f"{printable(address)}: expected a whole shard, found a part; finish it with --resume.")
        store.get(sorted(there), folder)
        yield Shard.of(folder, address)


class StoredMerge:
    """An address to which shards of the same store are merged; `with` gives it a scratch folder.

    Args:
        address: of the set.

    Attributes:
        folder: the scratch folder, for what the set says of itself.

    Raises:
        OutputError: the address is none.
    """

    def __init__(self, address: str):
        self._stored = Stored(address)

    def __enter__(self) -> "StoredMerge":
        """Make the scratch folder."""
        self.folder = self._stored.__enter__().folder
        return self

    def __exit__(self, *exc: object) -> None:
        """Delete it."""
        self._stored.__exit__(*exc)

    def claim(self, settings: dict[str, Any], *, resume: bool, force: bool, reads: Sequence[Path]) -> None:
        """As `Stored.claim`; an earlier run there goes, or is gone on with."""
        self._stored.claim(GENERATE, settings["format"], resume=resume, force=force, reads=reads)
        self._stored.clear(names_of_run, (SHEET, COVERAGE), parts={QUARANTINE: (SHEET,)})
        keep_settings(self.folder, settings, "choose another address, or start over with --force")
        self._stored.store.put({RUN: self.folder / RUN})

    def part(self, settings: dict[str, Any], part: str, shards: Sequence[Shard]) -> "StoredPart":
        """The run, or what its gate refused."""
        return StoredPart(self._stored, settings, part)

    def finish(self) -> None:
        """Put what is in the scratch folder, manifests last."""
        self._stored.finish()
        for name in (f"{QUARANTINE}/{MANIFEST}", MANIFEST):
            if (self.folder / name).is_file():
                self._stored.store.put({name: self.folder / name})


class StoredPart:
    """The cases of a merged set, or those that the gate refused, copied by the store."""

    def __init__(self, stored: Stored, settings: dict[str, Any], part: str):
        self._there, self._start = stored.there, f"{part}/" if part else ""
        self._store = Objects(f"{stored.out}/{part}".rstrip("/"))
        if part:
            keep_settings(stored.folder / part, settings, "choose another address, or start over with --force")
        self._sent = stored.output(settings, part)
        self._waiting: dict[str, list[str]] = {}  # names of objects by the address that they are copied from

    def __enter__(self) -> "StoredPart":
        """Nothing is to be made ready."""
        return self

    def __exit__(self, *exc: Any) -> None:
        """Let go of the scratch folder."""
        self._sent.__exit__(*exc)

    def take(self, source: Shard, files: Mapping[str, str]) -> None:
        """Have a record's objects copied, some records later, where they are not there yet."""
        waiting = self._waiting.setdefault(source.name, [])
        waiting += [name for name in files if self._start + name not in self._there]
        if len(waiting) >= _TOGETHER:
            self._store.copy(Objects(source.name), waiting)
            waiting.clear()

    def settle(self) -> None:
        """Copy what waits."""
        for address, names in self._waiting.items():
            self._store.copy(Objects(address), names)
        self._waiting.clear()

    def close(self) -> None:
        """Write the tables of the set."""
        self._sent.close()

    def read(self, case_id: str) -> Case:
        """A case that is there."""
        return self._sent.read(case_id)
