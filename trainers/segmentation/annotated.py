"""Annotated cases of any origin for a segmenter: real folders, synthetic folders (NIfTI or our HDF5), with lineage.

A synthetic case descends from the patients whose brain or tumour it took (`host` and `donor` in the manifest), so that
a split can keep relatives together. Cases drawn from the atlas descend from nobody.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from synth.case import Case
from synth.datasets.cases import find_cases, read_case
from synth.disk.manifest import MANIFEST, records_of
from synth.errors import DataError, printable
from synth.exporters.hdf5_cases import is_hdf5, open_cases
from synth.hosts.extract import source_signature
from synth.lineage import ancestors, patient_of
from synth.trainers.segmentation.patches import LabelledCase, prepare_labelled


@dataclass(frozen=True)
class Annotated:
    """One case with labels, not read yet.

    Attributes:
        id: of the case.
        signature: changes when its files do.
        patients: whose anatomy is in it (`patient_of`); empty for one drawn from the atlas.
        synthetic: whether it was painted.
        read: gives the Case.
    """

    id: str
    signature: str
    patients: frozenset[str]
    synthetic: bool
    read: Callable[[], Case]


def find_annotated(folder: str | Path) -> list[Annotated]:
    """All annotated cases below a folder, sorted by id; a synthetic set is known by its manifest.

    Raises:
        DataError: no such folder or no case in it; a synthetic case that its manifest does not know.
    """
    folder = Path(folder)
    records = records_of(folder)
    if is_hdf5(folder):
        return _in_hdf5(folder, records)
    out = []
    for files in find_cases(folder):
        if "seg" not in files.paths:
            raise DataError(
                f"{printable(files.folder)}: case {printable(files.id)} has no segmentation; training needs labels: "
                "add it or take the case out."
            )
        patients, synthetic = _lineage(files.id, records, folder)
        out.append(
            Annotated(files.id, source_signature(files), patients, synthetic, lambda files=files: read_case(files))
        )
    return out


def prepare(
    cases: Sequence[Annotated], cache: str | Path, progress: Callable[[Iterable], Iterable] = iter
) -> list[LabelledCase]:
    """Prepare cases below `cache`, once; raise `DataError` on one that cannot be read or has no labels."""
    return prepare_labelled(cases, Path(cache), lambda case: case.read(), progress)


def _lineage(case_id: str, records: dict[str, dict] | None, folder: Path) -> tuple[frozenset[str], bool]:
    if records is None:
        return frozenset({patient_of(case_id)}), False
    if case_id not in records:
        raise DataError(
            f"{folder}: case {printable(case_id)} is not in {MANIFEST}, so its lineage is unknown; finish the run "
            "with --resume or take the case out."
        )
    return ancestors(records[case_id]), True


def _in_hdf5(path: Path, records: dict[str, dict] | None) -> list[Annotated]:
    cases, out = open_cases(path), []
    if path.is_file() and records is None:  # a single shard: its manifest lies beside it
        records = records_of(path.parent)
    for index, case_id in enumerate(cases.ids):
        patients, synthetic = _lineage(case_id, records, path)
        record = (records or {}).get(case_id)
        state = record or [str(path.resolve()), path.stat().st_mtime_ns]
        signature = hashlib.sha256(repr(state).encode()).hexdigest()
        out.append(Annotated(case_id, signature, patients, synthetic, lambda i=index: cases.read(i)))
    return out
