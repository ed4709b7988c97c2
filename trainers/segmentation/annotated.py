"""Annotated cases of any origin for a segmenter: real folders, synthetic folders (NIfTI or our HDF5), with lineage.

A synthetic case descends from the patients whose brain or tumour it took (`host` and `donor` in the manifest), so that
a split can keep relatives together. Cases drawn from the atlas descend from nobody.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from synth.case import Case
from synth.datasets.fingerprint import Fingerprint
from synth.datasets.reading import PLAIN, Reading
from synth.datasets.sets import HDF5, CaseSet, open_set
from synth.errors import DataError, printable
from synth.hosts.extract import VERSION
from synth.trainers.prepared import inspect
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
        fingerprint: of its scan; empty as long as the case was not read (`fingerprinted`).
        reading: what the user stated about its files.
    """

    id: str
    signature: str
    patients: frozenset[str]
    synthetic: bool
    read: Callable[[], Case]
    fingerprint: Fingerprint = ()
    reading: Reading = PLAIN


def find_annotated(folder: str | Path | CaseSet) -> list[Annotated]:
    """All annotated cases below a folder, sorted by id; a synthetic set is known by its manifest.

    Raises:
        DataError: no such folder or no case in it; a synthetic case that its manifest does not know.
    """
    cases = open_set(folder, scans=True)
    annotated = []
    for member in cases.members:
        if not member.annotated:
            raise DataError(
                f"{printable(member.path)}: case {printable(member.id)} has no segmentation; training needs labels: "
                "add it or take the case out."
            )
        version = "" if cases.format == HDF5 else VERSION  # the files of a case have been cached under both
        synthetic = cases.record(member) is not None
        annotated.append(
            Annotated(
                member.id,
                member.signature(version),
                cases.patients(member),
                synthetic,
                member.read,
                reading=member.reading,
            )
        )
    return annotated


def prepare(
    cases: Sequence[Annotated], cache: str | Path, progress: Callable[[Iterable], Iterable] = iter
) -> list[LabelledCase]:
    """Prepare cases below `cache`, once; raise `DataError` on one that cannot be read or has no labels."""
    return prepare_labelled(cases, Path(cache), lambda case: case.read(), progress if cases else iter)


def inspect_annotated(
    cases: Sequence[Annotated], prepared: Sequence[LabelledCase], what: str, tell: Callable[[str], None]
) -> None:
    """As `prepared.inspect`, by what the user stated; cases that synth painted are not doubted."""
    real = [(case, made) for case, made in zip(cases, prepared, strict=True) if not case.synthetic]
    if real:
        inspect([made for _, made in real], what, tell, real[0][0].reading)


def fingerprinted(cases: Sequence[Annotated], prepared: Sequence[LabelledCase]) -> list[Annotated]:
    """Cases with the fingerprints of their scans, once `prepare` has read them."""
    return [replace(case, fingerprint=made.fingerprint) for case, made in zip(cases, prepared, strict=True)]
