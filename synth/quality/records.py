"""Records: what was measured on each case, kept on the disk under the checksum of the case's files.

Only one case is in memory while a set is measured, and afterwards none: comparisons read the few arrays they need.
Every file holds a checksum of its own content, the archives as their comment: what was changed since counts as missing.
"""

import io
import json
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from synth.disk.files import atomic_write, make_folder
from synth.disk.json_files import Schema, check_seal, read, read_bytes, seal
from synth.errors import DataError
from synth.quality.probes import Probe

# what a changed byte makes of an archive
_MOST_BYTES = 1 << 29  # of an archive; those of a case have up to a few megabytes
DAMAGED = (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Record:
    """One measured case.

    Attributes:
        id: of the case.
        folder: where its arrays lie, a file per probe.
        versions: probe -> version.
    """

    id: str
    folder: Path
    versions: dict[str, str]

    def __call__(self, probe: str, name: str) -> np.ndarray:
        """One array of a probe.

        Raises:
            DataError: it is not there or damaged.
        """
        return self.arrays(probe, (name,))[name]

    def arrays(self, probe: str, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
        """Arrays of a probe by name; all of them by default.

        Raises:
            DataError: one is not there or damaged.
        """
        path = array_path(self.folder, probe, self.versions.get(probe, ""))
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in (arrays.files if names is None else names)}
        except DAMAGED as error:
            raise DataError(f"{path}: cannot be read ({error}); delete the file and run again.") from error

    def has(self, probe: str) -> bool:
        """Whether a probe was measured."""
        return probe in self.versions


def all_have(records: Iterable[Record], probe: str) -> bool:
    """Whether a probe was measured on all of the records."""
    return all(record.has(probe) for record in records)


def stack(records: Sequence[Record], probe: str, name: str) -> np.ndarray:
    """(cases, ...) the array of every record, in order."""
    return np.stack([record(probe, name) for record in records])


def case_folder(cache: Path, checksum: str) -> Path:
    """Where the arrays of a case go, by the checksum of its files: a copy under another id is measured once."""
    return cache / checksum[:2] / checksum[2:24]


def array_path(folder: Path, probe: str, version: str) -> Path:
    """The file of one probe."""
    return folder / f"{probe}-{version}.npz"


def missing(folder: Path, probes: Iterable[Probe]) -> list[Probe]:
    """The probes that have not been measured yet, or whose file is damaged."""
    return [probe for probe in probes if not _readable(array_path(folder, probe.name, probe.version))]


def store(folder: Path, probe: Probe, arrays: dict[str, np.ndarray]) -> None:
    """Keep what a probe gave, whole or not at all.

    Raises:
        OutputError: the disk is full or it cannot be written there.
    """
    make_folder(folder)
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)
    with atomic_write(array_path(folder, probe.name, probe.version)) as handle:
        handle.write(_sealed(packed.getvalue()))


def store_facts(folder: Path, name: str, facts: dict) -> None:
    """Keep JSON-able facts beside the arrays; raises as `store`."""
    make_folder(folder)
    with atomic_write(folder / f"{name}.json") as handle:
        handle.write(json.dumps(seal(facts), sort_keys=True).encode())


def kept_facts(folder: Path, name: str, schema: Schema) -> dict | None:
    """What `store_facts` kept, if it is unchanged and such facts; else None."""
    try:
        return check_seal(read(folder / f"{name}.json", schema))
    except (OSError, ValueError):
        return None


def _readable(path: Path) -> bool:
    """Whether an archive is there and as it was written."""
    try:
        packed = read_bytes(path, _MOST_BYTES)
    except (OSError, ValueError):
        return False
    return len(packed) > 66 and packed == _sealed(packed[:-66] + b"\0\0")


def _sealed(archive: bytes) -> bytes:
    """A ZIP archive, which ends in the length of its comment (0), with its checksum as the comment."""
    seal = sha256(archive).hexdigest().encode()
    return archive[:-2] + len(seal).to_bytes(2, "little") + seal
