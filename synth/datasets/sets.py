"""The one door to every set of cases: what a folder or file is, and its cases, one at a time.

`open_set` goes by names alone and opens nothing but HDF5 indices and a `dataset.json`; a case is read when it is asked
for. It knows folders of BraTS cases of any year (what `synth generate` writes is one), sets in nnU-Net's raw format and
in the Decathlon's, bare segmentations, folders of layouts, sets that synth wrote as HDF5 (also one that was interrupted
and has only its staging), and every format of `synth.exporters` that can find its own cases again.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, partial
from itertools import islice
from pathlib import Path

from synth.brats import NAMINGS, Naming
from synth.case import Case, CaseFiles
from synth.datasets.case_files import ForeignDataError, refuse_any, scan_folder
from synth.datasets.described import described
from synth.datasets.findings import Findings, listing
from synth.datasets.foreign import family_of
from synth.datasets.layout_files import list_layouts, map_path
from synth.datasets.members import CASE, ExporterMember, FilesMember, Hdf5Member, LayoutMember, Member
from synth.datasets.reading import AUTO, PLAIN, Reading
from synth.disk.manifest import MANIFEST, records_of
from synth.disk.objects import COPY_FIRST, refuse_address
from synth.errors import DataError, SynthError, printable
from synth.exporters import Finder, finders, open_exporter
from synth.exporters.hdf5_cases import is_hdf5, open_cases
from synth.lineage import REAL, ancestors, patient_of

BRATS, HDF5, LAYOUTS = "brats", "hdf5", "layouts"  # how a set is stored; further formats go by their exporter's name


@dataclass(frozen=True, repr=False)
class CaseSet:
    """A set of cases (or layouts) on the disk; iterating reads its cases, one after the other.

    Attributes:
        path: the folder or file.
        format: `BRATS`, `HDF5`, `LAYOUTS`, or the name of an exporter.
        members: its cases, not read yet, sorted by id.
        findings: what is wrong with the set as a whole, such as an id in two places.
        reading: what its user stated about the files.

    Example:
        >>> for case in open_set("BraTS2021_TrainingData"):  # doctest: +SKIP
        ...     print(case.id, case.images.shape, case.labels is None)
    """

    path: Path
    format: str
    members: tuple[Member, ...] = field(repr=False)
    findings: Findings = field(default_factory=lambda: Findings(""), repr=False, compare=False)
    reading: Reading = PLAIN

    @property
    def ids(self) -> list[str]:
        """Ids in order."""
        return [member.id for member in self.members]

    def __repr__(self) -> str:
        """One line: where, what, how many."""
        return f"CaseSet({str(self.path)!r}, {self.format}, {len(self)} members)"

    def __fspath__(self) -> str:
        """Where it lies: a set may be given wherever its path may."""
        return str(self.path)

    __str__ = __fspath__

    def __len__(self) -> int:
        """How many cases there are."""
        return len(self.members)

    def __iter__(self) -> Iterator[Case]:
        """The cases, read when it is their turn; labels are there where they are known.

        Raises:
            DataError: a case cannot be used.
        """
        return (member.read("optional") for member in self.members)

    def __getitem__(self, case_id: str) -> Member:
        """The member of this id, not read yet; `KeyError` where there is none."""
        return self._by_id[case_id]

    def record(self, member: Member) -> dict | None:
        """What the manifest of the set that a case belongs to says of it; None for a case that no set of ours claims.

        None too for a real scan, which `synth export` puts beside painted cases.

        Raises:
            DataError: the manifest is damaged, or does not know the case, whose lineage is then unknown.
        """
        record = self._entry(member)
        return None if record is None or record.get(REAL) else record

    def claimed(self, member: Member) -> bool:
        """Whether a manifest of synth stands above a case, so that the names of its files say what its labels mean."""
        return self._manifest(member) is not None

    def is_painted(self, member: Member) -> bool:
        """Whether the manifest of a set of ours claims a case as painted, or should."""
        records = self._manifest(member)
        return records is not None and not records.get(member.id, {}).get(REAL)

    def patients(self, member: Member) -> frozenset[str]:
        """Whose anatomy is in a case: its own patient's, or those that a painted one descends from (maybe nobody)."""
        record = self._entry(member)
        if record is None or record.get(REAL):
            return frozenset((record or {}).get("patients") or {patient_of(member.id)})
        return ancestors(record)

    def _entry(self, member: Member) -> dict | None:
        """The manifest's record of a case, painted or real; None where no manifest claims it."""
        records = self._manifest(member)
        if records is None:
            return None
        if member.id not in records:
            raise DataError(
                f"{printable(self.path)}: case {printable(member.id)} is not in {MANIFEST}, so its lineage is unknown; "
                "finish the run or take the case out."
            )
        return records[member.id]

    def synthetic_note(self) -> str | None:
        """One line where cases are synthetic, by a manifest or, copied out of their set, by their files; else None.

        Raises:
            DataError: a manifest is damaged.
        """
        cases = [member for member in self.members if member.kind == CASE]
        painted = [m.id for m in cases if self.is_painted(m) or (not self.claimed(m) and m.says_synthetic)]
        if not painted:
            return None
        return (
            f"{printable(self.path)}: {len(painted)} of {len(cases)} cases are synthetic, painted by synth "
            f"({listing(painted)}): what is learnt from them, no patient's scan has shown."
        )

    def refuse_painted(self, why: str) -> None:
        """Refuse a set of which synth painted any case, where only real ones will do.

        Args:
            why: only real ones will do; half a sentence.

        Raises:
            DataError: it holds one, by the manifest nearest above it; or the lineage of one is unknown.
        """
        painted = [member.id for member in self.members if self.record(member) is not None]
        if painted:
            raise DataError(
                f"{printable(self.path)}: expected real scans, found {len(painted)} of {len(self)} cases that synth "
                f"painted ({listing(painted)}); {why}: give the folder of the real ones alone."
            )

    @property
    def records(self) -> dict[str, dict] | None:
        """The records of the manifest in the set's folder by id; None where there is none.

        Raises:
            DataError: the manifest is damaged.
        """
        return self._records(self.path) if self.path.is_dir() else None

    @cached_property
    def _by_id(self) -> dict[str, Member]:
        return {
            member.id: member for member in reversed(self.members)
        }  # of two places the first; the other is a finding

    @cached_property
    def _known(self) -> dict[Path, dict[str, dict] | None]:
        return {}

    def _records(self, folder: Path) -> dict[str, dict] | None:
        if folder not in self._known:
            self._known[folder] = records_of(folder)
        return self._known[folder]

    def _manifest(self, member: Member) -> dict[str, dict] | None:
        """The nearest manifest above a case, as far as the set's folder: it may hold several sets of ours."""
        if self.format == HDF5:
            return self._records(self.path if self.path.is_dir() else self.path.parent)
        folder = member.path
        while True:
            if (records := self._records(folder)) is not None or folder in (self.path, folder.parent):
                return records
            folder = folder.parent


def open_set(
    path: "str | Path | CaseSet", *, scans: bool = False, strict: bool = True, reading: Reading | None = None
) -> CaseSet:
    """Find out what a folder or file holds; nothing is read yet.

    Args:
        path: a folder of BraTS cases or a single case's; a set in nnU-Net's or the Decathlon's format; a segmentation,
            or a folder of those; a folder of layouts or a single layout's; an HDF5 set of synth, its folder or one of
            its files; a set in any other format of `synth.exporters` that finds its cases again. An open set is given
            back.
        scans: only scans will do: layouts are passed over.
        strict: refuse a set in which something is wrong as a whole (an id in two places); False: its `findings` say so.
        reading: what its user states about the files; None: nothing, or what an open set was opened with.

    Raises:
        DataError: nothing is there, nothing of the kind, or (strict) a finding.

    Example:
        >>> open_set("synthetic").ids  # doctest: +SKIP
        ['Synth_00000', 'Synth_00001']
    """
    if not isinstance(reading, Reading | None):
        raise SynthError(f'reading must be a Reading, such as Reading(labels="msd"); found {reading!r}.')
    if isinstance(path, CaseSet):
        if reading in (None, path.reading) and not (scans and path.format == LAYOUTS):
            if strict:
                refuse_any(path.findings)
            return path
        reading = reading or path.reading
    refuse_address(path, DataError, COPY_FIRST)
    path, reading = Path(path), reading or PLAIN
    if not path.exists():
        raise DataError(f"{printable(path)}: expected the folder of a dataset, found nothing; check the path.")
    if path.is_file():
        return _file(path, scans, reading)
    for look in (_hdf5, _described, *(_formatted(name, find) for name, find in finders())):
        if (cases := look(path, reading)) is not None:
            return cases
    layouts = _layouts(path, reading)
    if layouts is None:
        return _brats(path, strict, reading)
    if not scans:
        return layouts
    try:
        return _brats(path, strict, reading)  # layouts may lie among the scans that they were extracted from
    except DataError as error:
        raise DataError(
            f"{printable(path)}: expected scans, found {len(layouts)} layouts; give the cases, or paint the layouts "
            "with `synth generate --data`."
        ) from error


def _file(path: Path, scans: bool, reading: Reading) -> CaseSet:
    if known := family_of(path):
        raise DataError(f"{printable(path)}: this is one of the {known[0].what}; {known[0].advice}.")
    if path.suffix == ".h5":
        return _hdf5_set(path, reading)
    if scans:
        raise DataError(f"{printable(path)}: expected the folder of a dataset, found a file; check the path.")
    for naming in NAMINGS.values():
        if (parsed := naming.parse(path.name)) and parsed[1] == "seg":
            member = FilesMember(_bare(path, parsed[0], naming), path.parent, reading)
            return CaseSet(path, BRATS, (member,), reading=reading)
    folder = path.parent.resolve()
    is_map = path.name in {map_path(folder, name).name for name in ("tissue", "tumour")}
    if is_map and (layout := _layouts(folder, reading)) is not None:
        return layout
    raise DataError(
        f"{printable(path)}: expected a folder of cases, a segmentation named ID_seg.nii.gz (labels 0, 1, 2, 4) or "
        "ID-seg.nii.gz (labels 0 to 3), or an .h5 set of synth, found another file; rename it, the name tells what the "
        "labels mean."
    )


def _bare(path: Path, case_id: str, naming: Naming) -> CaseFiles:
    return CaseFiles(case_id, path.parent, naming, {"seg": path})


def _hdf5(path: Path, reading: Reading) -> CaseSet | None:
    return _hdf5_set(path, reading) if is_hdf5(path) else None


def _hdf5_set(path: Path, reading: Reading) -> CaseSet:
    cases = open_cases(path)
    # of a single file the manifest lies beside it; it is read when lineage is asked for
    records = cache(partial(records_of, path if path.is_dir() else path.parent))
    members = tuple(Hdf5Member(name, path, cases, records, reading) for name in cases.ids)
    return CaseSet(path, HDF5, members, reading=reading)


def _described(path: Path, reading: Reading) -> CaseSet | None:
    """A set in nnU-Net's raw format or the Decathlon's."""
    known = described(path, reading, cache(partial(records_of, path)))
    return None if known is None else CaseSet(path, known[0], known[1], reading=reading)


def _layouts(path: Path, reading: Reading) -> CaseSet | None:
    own = path.resolve()
    folders = [own] if map_path(own, "tissue").is_file() else list_layouts(path)
    return CaseSet(path, LAYOUTS, tuple(map(LayoutMember, folders)), reading=reading) if folders else None


def _formatted(name: str, find: Finder) -> Callable[[Path, Reading], CaseSet | None]:
    """How a format's own finder looks at a folder."""

    def look(path: Path, reading: Reading) -> CaseSet | None:
        known = find(path)
        if known is None:
            return None
        members: list[Member] = [FilesMember(case, path, reading) for case in known if isinstance(case, CaseFiles)]
        if ids := [case for case in known if isinstance(case, str)]:
            exporter, records = open_exporter(name, path), cache(partial(records_of, path))
            members += [ExporterMember(case_id, path, exporter, records, reading) for case_id in ids]
        return CaseSet(path, name, tuple(sorted(members, key=lambda member: member.id)), reading=reading)

    return look


def _brats(path: Path, strict: bool, reading: Reading) -> CaseSet:
    try:
        cases, findings = scan_folder(path)
    except ForeignDataError:
        raise
    except DataError as error:
        raise DataError(f"{error} {_known_as(path)}") from error
    if strict:
        refuse_any(findings)
    members = [FilesMember(files, path, reading) for files in cases]
    if reading.labels != AUTO:  # said of other people's files: what synth wrote is in the convention of its names
        plain = CaseSet(path, BRATS, tuple(members))
        members = [
            replace(member, reading=replace(reading, labels=AUTO)) if plain.claimed(member) else member
            for member in members
        ]
    return CaseSet(path, BRATS, tuple(members), findings, reading)


def _known_as(path: Path) -> str:
    """What else a folder might have been."""
    names = [printable(entry.name) for entry in islice(sorted(path.iterdir()), 4)] if path.is_dir() else []
    listed = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"It holds no layouts (ID/ID_tissue.nii.gz) and no HDF5 set of synth either ({listed or 'nothing at all'})."
