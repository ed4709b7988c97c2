"""How files come to their place in an export: copied, linked or written, each whole or not at all."""

import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import local
from typing import Any

import nibabel as nib
import numpy as np

from synth.brats import recoded
from synth.disk.files import atomic_files, atomic_path, copy_file, make_folder, sha256_file
from synth.errors import DataError, OutputError, printable
from synth.exporters.deflate import DAMAGED, gunzip_blocks, gzip_bytes, gzip_parts
from synth.exporters.nifti import PROVENANCE, nifti_bytes, nifti_parts
from synth.runs.export.content import Content, Values

SOFT, HARD = "soft", "hard"
LINKS = (SOFT, HARD)
_BLOCK = 1 << 18  # bytes unpacked at a time
_HEADER = nib.Nifti1Header.single_vox_offset  # bytes before the voxels, as synth writes them; divisible by 8
_room = local()  # of each thread: where label maps are unpacked


class Put:
    """Puts files below a folder; each method returns the SHA-256 of the file's bytes. Threads may share it.

    Args:
        out: the folder of the export.
        link: "soft" or "hard": files that can be taken as they are, are linked; None: they are copied.
    """

    def __init__(self, out: Path, link: str | None = None):
        self.out, self.link = out, link
        self._made: set[Path] = set()
        self._batch = local()  # of each thread: what gives temporary names to the files of its batch

    def image(self, name: str, content: Content, modality: str) -> str:
        """One modality of a case as `.nii.gz`."""
        source = content.path(modality)
        return (
            self.array(name, *content.image(modality), content) if source is None else self.file(name, source, content)
        )

    def labels(self, name: str, content: Content, values: Values) -> str:
        """The labels of a case as `.nii.gz`, with the given values of `Tumour`; the case must have some.

        The file is taken as it is where it has these values; of a real case it is read for that all the same.
        """
        source = content.path("seg")
        taken = source is not None and content.has_values(values)
        if source is not None and taken and (not content.item.real or content.labels is not None):
            return self.file(name, source, content)
        if source is not None and content.labelled and (table := content.table()) is not None:
            own = {value: values[tumour] for value, tumour in table.items()}
            if (data := _relabelled(source, own, _recorded(source, content.item.record))) is not None:
                return self._bytes(name, data)
        if (known := content.labels) is None:
            raise DataError(f"case {printable(content.item.id)}: has no labels; add them or take the case out.")
        classes, affine = known
        return self.array(name, recoded(classes, values), affine, content)

    def array(self, name: str, array: np.ndarray, affine: np.ndarray, content: Content) -> str:
        """A volume of a case, written; its header says so where the case is synthetic."""
        note = "" if content.item.real else PROVENANCE
        return self._bytes(name, gzip_bytes(nifti_bytes(array, affine, note=note)))

    def channels(self, name: str, arrays: Sequence[np.ndarray], affine: np.ndarray, content: Content) -> str:
        """Volumes of a case and of one type, written as one with four axes."""
        note = "" if content.item.real else PROVENANCE
        return self._bytes(name, gzip_parts(nifti_parts(arrays, affine, note=note)))

    def file(self, name: str, source: Path, content: Content) -> str:
        """A file of a case as it is: a link to it, or a copy.

        Raises:
            DataError: its bytes are not those that the manifest of its set vouches for.
            OutputError: it cannot be linked there, or the disk is full.
        """
        expected = _recorded(source, content.item.record)
        with self._partial(name) as partial:
            digest = copy_file(source, partial) if self.link is None else sha256_file(source)
            _vouch(source, digest, expected)
            if self.link is not None:
                _link(source, partial, self.out / name, hard=self.link == HARD)
        return digest

    def text(self, name: str, text: str) -> str:
        """A text file, UTF-8."""
        return self._bytes(name, text.encode())

    def json(self, name: str, content: Mapping[str, Any]) -> str:
        """A JSON file, keys in their order: nnU-Net's regions depend on it."""
        return self.text(name, json.dumps(content, indent=2, allow_nan=False) + "\n")

    @contextmanager
    def together(self) -> Iterator[None]:
        """What this thread puts in the block appears when it ends, in the time that one file takes to be flushed."""
        with atomic_files() as self._batch.name:
            try:
                yield
            finally:
                self._batch.name = None

    def _bytes(self, name: str, data: bytes) -> str:
        with self._partial(name) as partial:
            partial.write_bytes(data)
        return hashlib.sha256(data).hexdigest()

    @contextmanager
    def _partial(self, name: str) -> Iterator[Path]:
        """The temporary name of a file."""
        path = self.out / name
        if path.parent not in self._made:
            make_folder(path.parent)
            self._made.add(path.parent)
        name: Callable[[Path], Path] | None = getattr(self._batch, "name", None)
        if name is None:
            with atomic_path(path) as partial:
                yield partial
        else:
            yield name(path)


def _relabelled(source: Path, values: Mapping[int, int], expected: str | None) -> bytes | None:
    """A label map as synth wrote it, with other values, without taking it apart; None where it has to be read.

    Args:
        source: the file.
        values: new ones by those in the file.
        expected: the checksum that vouches for it.
    """
    if expected is None or hashlib.sha256(packed := source.read_bytes()).hexdigest() != expected:
        return None
    if (volume := _unpacked(packed)) is None or len(volume) < _HEADER:
        return None
    header = nib.Nifti1Header(volume[: nib.Nifti1Header.sizeof_hdr].tobytes(), check=False)
    start = int(header["vox_offset"])
    plain = header["scl_slope"] in (0, 1) and header["scl_inter"] == 0
    if header.get_data_dtype() != np.uint8 or not plain or start != _HEADER:
        return None
    header["descrip"] = PROVENANCE.encode()
    codes = np.zeros(256, np.uint8)
    codes[list(values)] = list(values.values())
    # most voxels are 0 and stay 0: those are passed over, eight at a time
    last = len(volume) - (len(volume) - start) % 8
    words = volume[start:last].view(np.uint64)
    where = np.flatnonzero(words != 0)
    words[where] = codes[words[where].view(np.uint8)].view(np.uint64)
    volume[last:] = codes[volume[last:]]
    volume[:start] = np.frombuffer(header.binaryblock + bytes(start - header.sizeof_hdr), np.uint8)
    return gzip_bytes(volume)


def _unpacked(packed: bytes) -> np.ndarray | None:
    """What a gzip file holds, until this thread asks for that of another; None where it is damaged.

    The memory is kept from one to the next: asking the system for 9 MB anew takes longer than unpacking them.
    """
    size, at = int.from_bytes(packed[-4:], "little"), 0
    room: np.ndarray | None = getattr(_room, "volume", None)
    if room is None or len(room) < size:
        room = _room.volume = np.zeros(size, np.uint8)
    try:
        for block in gunzip_blocks(packed, _BLOCK):
            if at + len(block) > size:
                return None
            room[at : at + len(block)] = np.frombuffer(block, np.uint8)
            at += len(block)
    except DAMAGED:
        return None
    return room[:size] if at == size else None


def _vouch(source: Path, digest: str, expected: str | None) -> None:
    if expected not in (None, digest):
        raise DataError(
            f"{printable(source)}: the checksum differs from the manifest's, the file was changed or damaged; "
            "make the sample again with `synth replay`."
        )


def _link(source: Path, partial: Path, path: Path, *, hard: bool) -> None:
    """Make a link to a file."""
    source = source.resolve()
    partial.unlink(missing_ok=True)
    try:
        os.link(source, partial) if hard else os.symlink(source, partial)
    except OSError as error:
        across = hard and error.errno in (errno.EXDEV, errno.EPERM, errno.EMLINK)
        advice = "give --link soft, or leave --link out for copies" if across else "leave --link out for copies"
        raise OutputError(
            f"{printable(path)}: cannot be linked to {printable(source)} ({error.strerror}); {advice}."
        ) from error


def _recorded(source: Path, record: Mapping[str, Any]) -> str | None:
    """The checksum that a case's record has of a file; None where it has none."""
    files = record.get("files")
    known = files.items() if isinstance(files, dict) else ()
    return next((digest for name, digest in known if source.as_posix().endswith(f"/{name}")), None)
