"""Where a run's output goes: a folder, or an address of object storage (`runs.stored`), by the same methods."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from synth.disk.claim import Claim, Owner, claim
from synth.disk.manifest import FREE, Manifest
from synth.disk.objects import address_of
from synth.disk.staging import remove_left
from synth.exporters import Exporter
from synth.runs.export.formats import open_output
from synth.runs.stored import Sent, Stored, StoredManifest

AnyManifest = Manifest | StoredManifest
AnyOutput = Exporter | Sent


class Folder:
    """The output of a run in a folder.

    Args:
        out: the folder.
        shared: other processes write there, too.

    Attributes:
        folder: where the run's own files are.
    """

    def __init__(self, out: str | os.PathLike, *, shared: bool = False):
        self.out = self.folder = Path(out)
        self._shared = shared
        self._claim: Claim | None = None

    def __enter__(self) -> "Folder":
        """Nothing is to be made ready."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Nothing is to be let go."""

    def claim(self, by: Owner, form: str, *, resume: bool, force: bool, reads: Iterable[Path]) -> Claim:
        """See `disk.claim.claim`."""
        return claim(self.folder, by, resume=resume, force=force, reads=reads)

    def manifest(self, settings: dict, part: str = "", *, shared: bool = False) -> Manifest:
        """The manifest of the run, or of a part of it; `shared` as for `Manifest`."""
        return Manifest(self.folder / part, settings, free=FREE, shared=shared)

    def output(self, settings: Mapping[str, Any], part: str = "") -> Exporter:
        """What writes the run's cases, or those of a part of it."""
        place = self.folder.resolve() if self._shared else self.folder  # where workers find it too
        return open_output(settings, place / part)

    def sweep(self) -> None:
        """Delete what workers left that were ended."""
        remove_left(self.folder, locked=True)

    def finish(self) -> None:
        """Nothing: all is there."""


Destination = Folder | Stored


def open_destination(out: str | os.PathLike, *, shared: bool = False) -> Destination:
    """The folder or address that a run writes to, to be entered with `with`.

    Args:
        out: a path, or `s3://bucket/prefix`.
        shared: other processes write there, too.

    Raises:
        OutputError: an address that is none of an object store, or that other processes do not see.
    """
    address = address_of(out)
    return Folder(out, shared=shared) if address is None else Stored(address, shared=shared)
