"""Whose anatomy is in a case: the patient behind an id, and the patients that a synthetic case descends from."""

import re
from pathlib import Path

from synth.errors import DataError, OutputError
from synth.manifest import MANIFEST, read_entries

_TIMEPOINT = re.compile(r"^(brats1[789]_.+)_\d{1,2}$|^(BraTS-[A-Z]+-\d+)-\d{3}$", re.IGNORECASE)
_ATLAS = "atlas-"


def patient_of(case_id: str) -> str:
    """The patient behind a case id: BraTS appends the scan's number (`_1` up to 2019, `-000` from 2023).

    >>> patient_of("Brats18_TCIA02_370_1"), patient_of("BraTS-GLI-00005-001"), patient_of("BraTS2021_00002")
    ('Brats18_TCIA02_370', 'BraTS-GLI-00005', 'BraTS2021_00002')
    """
    found = _TIMEPOINT.match(case_id)
    return (found[1] or found[2]) if found else case_id


def ancestors(record: dict) -> frozenset[str]:
    """The patients that a manifest's record names: host and donor, unless they are atlas anatomies."""
    names = [record.get("host"), record.get("donor")]
    return frozenset(patient_of(name) for name in names if name and not name.startswith(_ATLAS))


def records_of(folder: Path) -> dict[str, dict] | None:
    """The manifest's records of a set by case id; None where it has no manifest.

    Raises:
        DataError: the manifest is damaged.
    """
    if not (folder / MANIFEST).is_file():
        return None
    try:
        return {record["id"]: record for record in read_entries(folder)}
    except (OutputError, KeyError, TypeError) as error:
        raise DataError(f"{folder / MANIFEST}: cannot be read ({error}); the set's lineage is unknown.") from error
