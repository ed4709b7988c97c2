"""Whose anatomy is in a case: the patient behind an id, and the patients that a synthetic case descends from."""

import hashlib
import re
from collections.abc import Iterable

_TIMEPOINT = re.compile(r"^(brats1[789]_.+)_\d{1,2}$|^(BraTS-[A-Z]+-\d+)-\d{3}$", re.IGNORECASE)
_ATLAS = "atlas-"
REAL = "real"  # marks the records of real scans, in the manifest of a set that holds such beside painted cases


def patient_of(case_id: str) -> str:
    """The patient behind a case id: BraTS appends the scan's number (`_1` up to 2019, `-000` from 2023).

    >>> patient_of("Brats18_TCIA02_370_1"), patient_of("BraTS-GLI-00005-001"), patient_of("BraTS2021_00002")
    ('Brats18_TCIA02_370', 'BraTS-GLI-00005', 'BraTS2021_00002')
    """
    match = _TIMEPOINT.match(case_id)
    return (match[1] or match[2]) if match else case_id


def ancestors(record: dict) -> frozenset[str]:
    """The patients that a manifest's record names: host and donor, unless they are atlas anatomies.

    Where one of these was painted or drawn itself, `descended` has put whom they descend from into the record.
    """
    if record.get("ancestors") is not None:
        return frozenset(record["ancestors"])
    names = [record.get("host"), record.get("donor")]
    return frozenset(patient_of(name) for name in names if name and not name.startswith(_ATLAS))


def descended(sources: Iterable[tuple[str, frozenset[str] | None]]) -> tuple[str, ...] | None:
    """The patients that a sample descends from, sorted, where host or donor descend from others; None where neither.

    Args:
        sources: host and donor: the id of each, and whom it descends from itself, None for a patient's own anatomy.
    """
    sources = list(sources)
    if all(own is None for _, own in sources):
        return None
    return tuple(sorted(set().union(*(ancestors({"host": name}) if own is None else own for name, own in sources))))


def hash_id(case_id: str) -> str:
    """An id that tells whether a case was used, to those who know its name, and nothing to others."""
    return hashlib.sha256(case_id.encode("utf-8", "surrogateescape")).hexdigest()[:16]
