"""Cases prepared once and kept as arrays on the disk: whole or not at all, made anew when they are damaged.

Each case is a folder with one `.npy` file an array, uncompressed, to be memory-mapped, and `case.json`, its record.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from synth.brats import MODALITIES
from synth.datasets.findings import folded_lines
from synth.datasets.fingerprint import Fingerprint
from synth.datasets.inspection import Inspection
from synth.datasets.reading import PLAIN, Reading
from synth.disk.files import atomic_folder, atomic_write
from synth.disk.json_files import TEXT, Schema, fields, listed, read
from synth.errors import DataError, SynthError, printable

RECORD = "case.json"
IMAGES = "images"
SCAN = "fingerprint"  # in a record: of the scan that was prepared
WARNINGS = "warnings"  # in a record, and in the `meta` of a case: what was said when it was read
_CASE = Schema("the record of a prepared case", fields({"id": TEXT}, {WARNINGS: listed(TEXT)}))
Kept = TypeVar("Kept")


class Prepared(Protocol):
    """A case as it lies there."""

    @property
    def id(self) -> str:
        """Of the case."""

    @property
    def images(self) -> np.ndarray:
        """(x, y, z, 4)."""

    @property
    def labels(self) -> np.ndarray:
        """(x, y, z) uint8 class indices, `Tumour`."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was said when it was read."""


def store(folder: Path, arrays: Mapping[str, np.ndarray], record: Mapping[str, Any]) -> None:
    """Write the arrays and the record of a case; `folder` holds all of them or is what it was before.

    Raises:
        OutputError: the folder cannot be written.
    """
    with atomic_folder(folder) as place:
        for name, array in arrays.items():
            np.save(place / f"{name}.npy", array)
        (place / RECORD).write_text(json.dumps(record))


def read_array(folder: Path, name: str) -> np.ndarray:
    """An array of a prepared case, memory-mapped.

    Raises:
        DataError: the file is missing, torn, or something else.
    """
    path = folder / f"{name}.npy"
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise damaged(path, error) from error
    if not isinstance(array, np.ndarray):
        raise damaged(path, "no array")
    return array


def read_record(folder: Path, codes: str) -> dict[str, Any]:
    """The record of a prepared case whose arrays are there, whole, and fit each other; `SCAN` is its fingerprint.

    Args:
        folder: of the case.
        codes: name of the array (x, y, z) uint8 that lies beside `images` (x, y, z, 4) float16.

    Raises:
        DataError: the record or an array is missing, torn, or something else.
    """
    record = _record(folder)
    if not isinstance(scan := record.get(SCAN), list) or not all(isinstance(digest, str) for digest in scan):
        raise damaged(folder / RECORD, "no fingerprint of the scan")
    images, coded = read_array(folder, IMAGES), read_array(folder, codes)
    if (coded.ndim, coded.dtype, images.dtype) != (3, np.uint8, np.float16):
        raise damaged(folder, f"{IMAGES} of {images.dtype} and {codes} of {coded.dtype}")
    if images.shape != (*coded.shape, len(MODALITIES)):
        raise damaged(folder, f"{IMAGES} of shape {images.shape} and {codes} of {coded.shape}")
    return record


def once(
    folder: Path,
    signature: str | None,
    load: Callable[[Path], Kept],
    make: Callable[[], Kept],
    scan: Callable[[], Fingerprint] | None = None,
) -> Kept:
    """The case that lies in `folder`; made where there is none, and anew where it is damaged or of other files.

    Args:
        folder: of the case.
        signature: of the files it is prepared from; None where nothing else can lie there.
        load: reads what `store` wrote; raises `SynthError` on what is damaged.
        make: stores the case there.
        scan: gives the fingerprint, for a case that a synth without them prepared: that alone is then added.
    """
    try:
        if signature is None or _record(folder).get("signature") == signature:
            if scan is not None and SCAN not in (record := _record(folder)):
                with atomic_write(folder / RECORD) as handle:
                    handle.write(json.dumps({**record, SCAN: scan()}).encode())
            return load(folder)
    except SynthError:
        pass  # whatever it was
    return make()


def inspect(cases: Sequence[Prepared], what: str, tell: Callable[[str], None], reading: Reading = PLAIN) -> None:
    """Judge prepared cases as a set, and tell what was said when they were read.

    Args:
        cases: of one set.
        what: how sentences call it.
        tell: called with each warning, alike ones folded.
        reading: what the user stated about their files.

    Raises:
        DataError: their labels mean something else than they were read as.
    """
    inspection = Inspection(what, reading)
    for case in cases:
        inspection.see(case.id, case.labels, case.images)
    for line in folded_lines((case.id, line) for case in cases for line in case.warnings):
        tell(line)
    inspection.conclude(tell)


def damaged(path: Path, reason: object) -> DataError:
    """The error of a prepared case that is not what `store` wrote."""
    return DataError(
        f"{printable(path)}: not what a prepared case has ({printable(reason)}); delete its folder and start again: "
        "it is prepared anew."
    )


def _record(folder: Path) -> dict[str, Any]:
    path = folder / RECORD
    try:
        return read(path, _CASE)
    except (OSError, ValueError) as error:
        raise damaged(path, error) from error
