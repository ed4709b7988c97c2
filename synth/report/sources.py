"""Where a report's cases come from: BraTS folders or synth's HDF5, with what is wrong with them and their manifest."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np

from synth.brats import AFFINE, GRID
from synth.case import Case, CaseFiles
from synth.datasets.case_files import scan_folder
from synth.datasets.cases import examine_case
from synth.datasets.findings import Findings
from synth.datasets.labels import keep_inside
from synth.disk.files import sha256_file
from synth.disk.manifest import records_of
from synth.errors import SynthError, printable
from synth.exporters.hdf5_cases import is_hdf5, open_cases


@dataclass(frozen=True)
class Source:
    """One case of a set, not read yet.

    Attributes:
        id: of the case.
        examine: gives the case, or None where it cannot be used, and all findings.
        checksums: gives the SHA-256 of each of its files (of the case, in HDF5), by path below the set's folder.
    """

    id: str
    examine: Callable[[], tuple[Case | None, Findings]]
    checksums: Callable[[], dict[str, str]]


@dataclass(frozen=True)
class CaseSet:
    """A set of cases on the disk.

    Attributes:
        path: the folder or file.
        sources: its cases, sorted by id.
        problems: what is wrong with the set as a whole, in sentences.
        records: the manifest's records by id; None where there is no manifest.
    """

    path: Path
    sources: tuple[Source, ...]
    problems: tuple[str, ...] = ()
    records: dict[str, dict] | None = field(default=None, repr=False)

    def source(self, case_id: str) -> Source:
        """The case of this id, which must be there."""
        return next(source for source in self.sources if source.id == case_id)

    @property
    def ids(self) -> set[str]:
        """Ids of all cases."""
        return {source.id for source in self.sources}


def open_set(path: str | Path, *, synthetic: bool = False) -> CaseSet:
    """The cases of a folder of BraTS cases, or of synth's HDF5, without reading one.

    Args:
        path: the folder, or an HDF5 file.
        synthetic: read the manifest too; beside real cases one is none of ours.

    Raises:
        DataError: no such folder, no case in it, or a damaged manifest.
    """
    path = Path(path)
    sources, problems = _hdf5(path) if is_hdf5(path) else _nifti(path)
    records = records_of(path) if synthetic and path.is_dir() else None  # a file's neighbours may be another set's
    return CaseSet(path, sources, problems, records)


def _nifti(folder: Path) -> tuple[tuple[Source, ...], tuple[str, ...]]:
    found, findings = scan_folder(folder)
    seen, sources = set(), []
    for files in found:
        if files.id not in seen:  # the second of two places is a finding already
            seen.add(files.id)
            sources.append(Source(files.id, partial(examine_case, files), partial(_checksums, files, folder)))
    return tuple(sources), tuple(map(str, findings))


def _checksums(files: CaseFiles, folder: Path) -> dict[str, str]:
    out = {}
    for path in files.paths.values():
        try:
            out[str(path.relative_to(folder))] = sha256_file(path)
        except OSError as error:  # reading it gives the sentence
            out[str(path.relative_to(folder))] = f"unreadable: {error.strerror}"
    return out


def _hdf5(path: Path) -> tuple[tuple[Source, ...], tuple[str, ...]]:
    cases = open_cases(path)

    def examine(name: str) -> tuple[Case | None, Findings]:
        notes = Findings(name, "files")
        try:
            packed = cases.load(name)
            case = packed.unpack()
        except SynthError as error:
            notes.error(path, str(error))
            return None, notes
        _check_arrays(case, path, notes)
        return (None if notes.errors else case), notes

    def checksums(name: str) -> dict[str, str]:
        try:
            return {name: cases.load(name).digest}
        except SynthError as error:
            return {name: f"unreadable: {error}"}

    return tuple(Source(name, partial(examine, name), partial(checksums, name)) for name in cases.ids), ()


def _check_arrays(case: Case, path: Path, notes: Findings) -> None:
    """What `examine_case` asks of files, asked of a case that comes from one HDF5 group."""
    name = printable(case.id)
    notes.topic = "geometry"
    if case.images.shape[:3] != GRID:
        notes.error(path, f"case {name}: expected the BraTS grid {GRID}, found {case.images.shape[:3]}.")
    elif not np.allclose(case.affine, AFFINE, atol=0.5):
        notes.warning(path, f"case {name}: expected the BraTS affine, found the first voxel elsewhere; that is kept.")
    notes.topic = "intensities"
    if case.images.min() < 0:
        notes.error(path, f"case {name}: intensities below 0; expected 0 outside the brain and more inside.")
    elif empty := [m for m in range(case.images.shape[-1]) if not case.images[..., m].any()]:
        notes.error(path, f"case {name}: {len(empty)} of its modalities are 0 everywhere; expected a brain.")
    notes.topic = "labels"
    if case.labels is None:
        notes.error(path, f"case {name}: has no labels; a report compares scans with labels.")
    elif not notes.errors:
        keep_inside(path, case.labels, case.brain, notes)


def checksum(files: dict[str, str]) -> str:
    """One checksum of a case's files, whatever folder they are in."""
    return sha256("".join(digest for _, digest in sorted(files.items())).encode()).hexdigest()
