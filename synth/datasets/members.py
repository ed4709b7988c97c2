"""The members of a set: cases (or layouts) not read yet, however they are stored."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import nibabel as nib
import numpy as np

from synth.brats import AFFINE, GRID, MODALITIES, NAMINGS, Naming
from synth.case import Case, CaseFiles
from synth.datasets.cases import LABEL_USES, examine_case, usable, voxel_notes
from synth.datasets.findings import Findings
from synth.datasets.labels import keep_inside, told_classes
from synth.datasets.layout_files import load_detail, load_layout, load_style, map_path, style_path
from synth.datasets.reading import PLAIN, Reading
from synth.datasets.volume import Volume, open_image, read_volume
from synth.disk.files import sha256_file
from synth.errors import DataError, SynthError, printable
from synth.exporters import Exporter
from synth.exporters.hdf5_cases import Hdf5Cases
from synth.exporters.hdf5_packed import PackedCase
from synth.exporters.nifti import is_synthetic
from synth.layout.detail import MAPS as DETAIL
from synth.layout.detail import Detail
from synth.layout.layout import Layout
from synth.style.style import Style

CASE, SEGMENTATION, LAYOUT = "case", "segmentation", "layout"  # what a member of a set is
Grid = tuple[int, int, int]


class Member(ABC):
    """One case (or layout) of a set, not read yet.

    Attributes:
        id: of the case.
        path: the file or folder it lies in, for sentences.
        kind: `CASE`, `SEGMENTATION` (labels without scans) or `LAYOUT`.
        naming: the convention of its labels.
        labelled: whether labels come with it.
        reading: what the user states about its files.
        values: label values of `Tumour` in a set that a `dataset.json` describes; None: those of `naming`.
    """

    id: str
    path: Path
    kind: str = CASE
    naming: Naming = NAMINGS["brats2020"]
    labelled: bool = True
    reading: Reading = PLAIN
    values: tuple[int, ...] | None = None

    @abstractmethod
    def examine(self, labels: str = "required", grid: Grid | None = None) -> tuple[Case | None, Findings]:
        """The case, None where it cannot be used, and all that is wrong with it; arguments as for `read`."""

    @abstractmethod
    def checksums(self) -> dict[str, str]:
        """SHA-256 of each of its files (of its content, in HDF5) by path below the set's folder."""

    @abstractmethod
    def checksum(self) -> str:
        """SHA-256 of all that is read, whatever the files are called."""

    @abstractmethod
    def signature(self, version: str = "") -> str:
        """A text that changes when its files do, told without reading them; `version` of what is made of it."""

    def volumes(self) -> tuple[list[Volume], Volume | None]:
        """The modalities as their files have them, whatever `reading` says of grids, and the labels as class indices.

        Raises:
            DataError: a file cannot be read, or the set's format has no grid but BraTS's.
        """
        raise DataError(f"{printable(self.path)}: has no files on a grid of their own.")

    @property
    def annotated(self) -> bool:
        """Whether its labels are known: stored, or stated to be those of a healthy brain."""
        return self.labelled or (self.reading.healthy and self.kind == CASE)

    @property
    def endings(self) -> tuple[str, ...]:
        """How the names of its files end, each with what the file is: a reader goes by it."""
        return ()

    def header(self) -> nib.Nifti1Header | None:
        """The header of its scan; None where it has none of its own."""
        return None

    @property
    def says_synthetic(self) -> bool:
        """Whether its own file says that synth painted it, wherever it lies by now; False where it cannot be read."""
        try:
            header = self.header()
        except Exception:  # reading the case gives the sentence
            return False
        return isinstance(header, nib.Nifti1Header) and is_synthetic(header)

    def read(self, labels: str = "required", grid: Grid | None = None) -> Case:
        """The case.

        Args:
            labels: "required" (a case without is refused), "optional", or "ignore" (not even opened).
            grid: the shape that it must have; None: BraTS's.

        Raises:
            DataError: it cannot be used; the sentence says why, and how many reasons more there are.
        """
        return usable(*self.examine(labels, grid))


@dataclass(frozen=True)
class FilesMember(Member):
    """A case whose modalities are files of their own, as BraTS has it.

    Attributes:
        files: where they are.
        root: the set's folder.
        reading: what the user says of them.
    """

    files: CaseFiles
    root: Path
    reading: Reading = PLAIN
    values: tuple[int, ...] | None = None

    @property
    def id(self) -> str:
        """What the file names share."""
        return self.files.id

    @property
    def path(self) -> Path:
        """The folder of the files."""
        return self.files.folder

    @property
    def kind(self) -> str:
        """`SEGMENTATION` where there is no scan."""
        return SEGMENTATION if set(self.files.paths) == {"seg"} else CASE

    @property
    def naming(self) -> Naming:
        """The convention of its names."""
        return self.files.naming

    @property
    def labelled(self) -> bool:
        """Whether there is a segmentation."""
        return "seg" in self.files.paths

    def examine(self, labels: str = "required", grid: Grid | None = None) -> tuple[Case | None, Findings]:
        """As `cases.examine_case`."""
        return examine_case(self.files, labels=labels, grid=grid or GRID, reading=self.reading.of(self.naming))

    def checksums(self) -> dict[str, str]:
        """By file."""
        out = {}
        for path in self.files.paths.values():
            name = str(path.relative_to(self.root) if path.is_relative_to(self.root) else path)
            try:
                out[name] = sha256_file(path)
            except OSError as error:  # reading it gives the sentence
                out[name] = f"unreadable: {error.strerror}"
        return out

    def checksum(self) -> str:
        """Of all files, modality by modality."""
        paths = (self.files.paths[name] for name in sorted(self.files.paths))
        return hashlib.sha256("".join(sha256_file(path) for path in paths).encode()).hexdigest()

    def signature(self, version: str = "") -> str:
        """Of names, sizes and times, and of what the user stated."""
        parts = [version + self.reading.tag]
        for name, path in sorted(self.files.paths.items()):
            stat = path.stat()
            parts.append(f"{name}:{path.name}:{stat.st_size}:{stat.st_mtime_ns}")
        return hashlib.sha256("|".join(parts).encode()).hexdigest()[:32]

    @property
    def endings(self) -> tuple[str, ...]:
        """`t1.nii.gz` and so on."""
        return tuple(name + path.name[path.name.rfind(".nii") :] for name, path in sorted(self.files.paths.items()))

    def volumes(self) -> tuple[list[Volume], Volume | None]:
        """Of its files."""
        images = [read_volume(self.files.paths[modality], None) for modality in MODALITIES]
        if not self.labelled:
            return images, None
        path = self.files.paths["seg"]
        seg = read_volume(path, None)
        classes = told_classes(self.id, path, seg, self.naming, self.reading.of(self.naming))
        return images, replace(seg, array=classes)

    def header(self) -> nib.Nifti1Header:
        """Of its t1."""
        return open_image(self.files.paths["t1"]).header


class ArraysMember(Member):
    """A case that comes as arrays from a format of its own: what `cases.examine_case` asks of files is asked of these.

    Attributes:
        records: gives the records of the manifest beside it by id, or None.
        reading: what the user states; only `healthy` counts, the format itself says what its labels mean.
    """

    records: Callable[[], dict[str, dict] | None]

    @abstractmethod
    def _load(self) -> Case:
        """The case as it is stored, `meta["naming"]` the convention of its labels; raises `SynthError`."""

    def examine(self, labels: str = "required", grid: Grid | None = None) -> tuple[Case | None, Findings]:
        """Grid, place, intensities and labels."""
        if labels not in LABEL_USES:
            raise SynthError(f"labels must be one of {', '.join(LABEL_USES)}; found {labels!r}.")
        notes = Findings(self.id, "files")
        try:
            case = self._load()
        except SynthError as error:
            notes.error(self.path, str(error))
            return None, notes
        if labels == "ignore":
            case = replace(case, labels=None)
        elif case.labels is None and self.reading.healthy:
            healthy = np.zeros(case.images.shape[:3], np.uint8, order="F")
            case = replace(case, labels=healthy, meta={**case.meta, "healthy": True})
        self._check(case, labels == "required", grid or GRID, notes)
        return (None if notes.errors else case), notes

    def checksums(self) -> dict[str, str]:
        """Of its content."""
        try:
            return {self.id: self.checksum()}
        except SynthError as error:
            return {self.id: f"unreadable: {error}"}

    def signature(self, version: str = "") -> str:
        """Of its record in the manifest; of the file where it has none."""
        state = (self.records() or {}).get(self.id) or [str(self.path.resolve()), self.path.stat().st_mtime_ns]
        stated = "healthy" if self.reading.healthy else ""
        return hashlib.sha256((version + stated).encode() + repr(state).encode()).hexdigest()

    def _check(self, case: Case, labels_required: bool, grid: Grid, notes: Findings) -> None:
        name = printable(self.id)
        notes.topic = "geometry"
        if case.images.shape[:3] != grid:
            notes.error(self.path, f"case {name}: expected the grid {grid}, found {case.images.shape[:3]}.")
        elif not np.allclose(case.affine, AFFINE, atol=0.5):
            notes.warning(
                self.path, f"case {name}: expected the BraTS affine, found the first voxel elsewhere; that is kept."
            )
        notes.topic = "intensities"
        empty = sum(not case.images[..., m].any() for m in range(len(MODALITIES)))
        if case.images.min() < 0:
            notes.error(self.path, f"case {name}: intensities below 0; expected 0 outside the brain and more inside.")
        elif empty == len(MODALITIES):
            notes.error(self.path, f"case {name} is 0 everywhere; expected a brain: exclude it.")
        elif empty:
            notes.error(self.path, f"case {name}: {empty} of its modalities are 0 everywhere; expected a brain.")
        if not notes.errors:
            for modality, said, refused in voxel_notes(case.images, case.brain):
                (notes.error if refused else notes.warning)(self.path, f"case {name}, {modality}: {said}")
        notes.topic = "labels"
        if case.labels is None and labels_required:
            notes.error(
                self.path, f"case {name}: has no labels; add them, leave it out, or, if healthy, say so (--healthy)."
            )
        elif case.labels is not None and not notes.errors:
            keep_inside(self.path, case.labels, case.brain, notes)


@dataclass(frozen=True)
class Hdf5Member(ArraysMember):
    """A case in an HDF5 set of synth."""

    id: str
    path: Path
    cases: Hdf5Cases = field(repr=False)
    records: Callable[[], dict[str, dict] | None] = field(repr=False, compare=False)
    reading: Reading = PLAIN

    @property
    def naming(self) -> Naming:
        """The convention that its labels are stored in."""
        return NAMINGS[self._corner.naming]

    @property
    def labelled(self) -> bool:
        """Whether labels are stored."""
        return "labels" in self._corner.arrays

    @property
    def says_synthetic(self) -> bool:
        """Always: what writes this format is synth."""
        return True

    def checksum(self) -> str:
        """Of its content."""
        return self.cases.load(self.id).digest

    @cached_property
    def _corner(self) -> PackedCase:  # what is asked of every case of a set, from one look at the file
        return self.cases.load(self.id, (slice(0, 1),) * 3)

    def _load(self) -> Case:
        packed = self.cases.load(self.id)
        case = packed.unpack()
        return replace(case, meta={**case.meta, "naming": packed.naming})


@dataclass(frozen=True)
class ExporterMember(ArraysMember):
    """A case that an exporter reads back."""

    id: str
    path: Path
    exporter: Exporter = field(repr=False, compare=False)
    records: Callable[[], dict[str, dict] | None] = field(repr=False, compare=False)
    reading: Reading = PLAIN

    @cached_property
    def labelled(self) -> bool:
        """Whether labels are stored; the case is read for that, once."""
        return self._load().labels is not None

    def checksum(self) -> str:
        """Of its arrays."""
        case = self._load()
        sha = hashlib.sha256(np.ascontiguousarray(case.affine).tobytes())
        for array in (case.images, case.labels):
            sha.update(b"none" if array is None else np.ascontiguousarray(array).tobytes())
        return sha.hexdigest()

    def _load(self) -> Case:
        try:
            case = self.exporter.read(self.id)
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise DataError(f"{printable(self.path)}: case {printable(self.id)} cannot be read ({error}).") from error
        return replace(case, meta={"naming": self.naming.name, **case.meta})


@dataclass(frozen=True)
class LayoutMember(Member):
    """A layout in a folder of its own."""

    path: Path
    kind = LAYOUT

    @property
    def id(self) -> str:
        """The folder's name."""
        return self.path.name

    def load(self) -> Layout:
        """The layout (`layout_files.load_layout`)."""
        return load_layout(self.path)

    def detail(self, tones: bool = True) -> Detail | None:
        """Its detail (`layout_files.load_detail`)."""
        return load_detail(self.path, tones)

    @property
    def styled(self) -> bool:
        """Whether the style of the scan it comes from lies beside it."""
        return style_path(self.path).is_file()

    def style(self) -> Style | None:
        """The style of the scan that it comes from, where it is known."""
        return load_style(self.path) if self.styled else None

    def examine(self, labels: str = "required", grid: Grid | None = None) -> tuple[Case | None, Findings]:
        """A layout has no scan: no case, and one finding that says so."""
        notes = Findings(self.id, "files")
        notes.error(self.path, "is a layout without scans; expected a case: paint it, or give the scans.")
        return None, notes

    def checksums(self) -> dict[str, str]:
        """By file."""
        return {f"{self.id}/{path.name}": sha256_file(path) for path in self._files()}

    def checksum(self) -> str:
        """Of all files."""
        return hashlib.sha256("".join(sha256_file(path) for path in self._files()).encode()).hexdigest()

    def signature(self, version: str = "") -> str:
        """Of its content: layouts are small."""
        return hashlib.sha256(version.encode() + self.checksum().encode()).hexdigest()

    def _files(self) -> list[Path]:
        maps = [map_path(self.path, name) for name in ("tissue", "tumour", *DETAIL)]
        return [path for path in (style_path(self.path), *maps) if path.is_file()]
