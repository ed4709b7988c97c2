"""What a replay made, compared with what the run recorded: by bytes, or by content where these were packed otherwise.

Checksums are of packed files. Where one differs and the run's own file is still there as it was recorded, both are
unpacked and compared, but for the header's word of which version of synth wrote them; where it is gone, nothing can be
said but that the bytes differ.
"""

import gzip
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import nibabel as nib
import numpy as np

from synth.disk.files import sha256_file
from synth.errors import DataError
from synth.exporters.deflate import gzip_bytes
from synth.exporters.hdf5_cases import is_hdf5, open_cases
from synth.exporters.hdf5_packed import PackedCase, whole

_TYPE, _NOTE = nib.nifti1.header_dtype.fields["descrip"][:2]  # where a header says what a file is


@dataclass(frozen=True)
class Replayed:
    """What became of one sample.

    Attributes:
        id: of the sample.
        compared: files (or contents) that were compared with the record.
        differing: names of those that differ.
        reason: why they probably do; empty when all are equal.
        repacked: names of those whose content is equal, packed or told of otherwise by the run's version.
    """

    id: str
    compared: int
    differing: tuple[str, ...] = ()
    reason: str = ""
    repacked: tuple[str, ...] = ()

    def sentence(self) -> str:
        """One line for the user."""
        if self.differing:
            names = ", ".join(self.differing)
            return f"{self.id}: {len(self.differing)} of {self.compared} files differ ({names}): {self.reason}"
        if not self.compared:
            return f"{self.id}: written; its record has nothing that a layout alone could be compared with."
        files = f"{self.id}: {self.compared} file{'s' * (self.compared > 1)} equal to the "
        if self.repacked:
            return f"{files}run's, {len(self.repacked)} of them in content alone: another version wrote the run."
        return f"{files}recorded checksums."


def compared(
    record: dict, written: dict[str, str], folder: Path, out: Path, reason: Callable[[tuple[str, ...]], str]
) -> Replayed:
    """Compare what was written with the record; the name of an HDF5 shard is no part of the comparison.

    Args:
        record: of the run's manifest.
        written: SHA-256 of what was made again, by name.
        folder: the run's.
        out: where the files made again lie.
        reason: why files of these names probably differ.
    """
    recorded = {_place(name): (name, digest) for name, digest in record["files"].items()}
    unequal = [name for name, digest in written.items() if recorded.get(_place(name), ("", ""))[1] != digest]
    repacked = [
        name for name in unequal if _place(name) in recorded and _equal(folder, *recorded[_place(name)], out, name)
    ]
    differing = tuple(_last(name) for name in unequal if name not in repacked)
    told = reason(differing) if differing else ""
    return Replayed(record["id"], len(written), differing, told, tuple(map(_last, repacked)))


def recorded_or_own(recorded: str, kept: Path, made: bytes | bytearray) -> str:
    """The recorded SHA-256 where the file that has it holds these bytes; else that of the file they make."""
    own = sha256(gzip_bytes(made)).hexdigest()
    return recorded if own != recorded and _intact(kept, recorded) and _content(kept) == _untold(made) else own


def _place(name: str) -> str:
    return name.rpartition(".h5/")[2]


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _equal(folder: Path, recorded: str, digest: str, out: Path, name: str) -> bool:
    """Whether the run's file is there as recorded and holds what was made again."""
    if name.endswith(".nii.gz"):
        kept = folder / recorded
        return _intact(kept, digest) and _content(kept) == _content(out / name)
    if not (is_hdf5(folder) and is_hdf5(out)):
        return False
    try:
        before, again = (open_cases(place).load(_last(name)) for place in (folder, out))
    except (DataError, KeyError):
        return False
    return before.digest == digest and _same_content(before, again)


def _intact(path: Path, digest: str) -> bool:
    return path.is_file() and sha256_file(path) == digest


def _content(path: Path) -> bytes | None:
    """A NIfTI file's bytes, unpacked and without its note; None where it is damaged."""
    try:
        return _untold(gzip.decompress(path.read_bytes()))
    except (OSError, EOFError, zlib.error):
        return None


def _untold(data: bytes | bytearray) -> bytes:
    return bytes(data[:_NOTE] + data[_NOTE + _TYPE.itemsize :])


def _same_content(a: PackedCase, b: PackedCase) -> bool:
    plain = [replace(case, arrays={}) for case in (a, b)]
    if plain[0].digest != plain[1].digest or a.arrays.keys() != b.arrays.keys():
        return False
    box = whole(a.arrays["images"].shape)
    return all(
        a.arrays[name].shape == b.arrays[name].shape and np.array_equal(a.array(name, box), b.array(name, box))
        for name in a.arrays
    )
