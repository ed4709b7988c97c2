"""Sets that a `dataset.json` describes: nnU-Net's raw format, and the Medical Segmentation Decathlon's.

The file says which channel is which modality and what the labels mean, by names; both are understood or refused, never
guessed. Of nnU-Net's, cases are files like any others; of the Decathlon's, each image holds all modalities.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from synth.brats import AFFINE, LABEL_TABLES, MODALITIES, NAMINGS, Tumour
from synth.case import Case, CaseFiles
from synth.datasets.case_files import modality_called
from synth.datasets.findings import listing
from synth.datasets.geometry import in_place
from synth.datasets.grids import spacing_of
from synth.datasets.labels import told_classes
from synth.datasets.members import ArraysMember, FilesMember, Member
from synth.datasets.reading import AUTO, Reading
from synth.datasets.resample import to_brats_grid
from synth.datasets.volume import LONGEST, Volume, open_image, read_volume
from synth.disk.files import sha256_file
from synth.disk.json_files import Schema, fields, read
from synth.errors import DataError, printable

TABLE = "dataset.json"
_TABLE = Schema("a table of a set", fields({}))
NNUNET, MSD = "nnunet", "msd"
Records = Callable[[], dict[str, dict] | None]
_CHANNEL = re.compile(r"(.+)_(\d{4})")
_NAMING = NAMINGS["brats2020"]  # of what is written of its cases, where values are not asked for
_IMAGES = {"imagesTr": "labelsTr", "imagesTs": ""}


@dataclass(frozen=True)
class MsdMember(ArraysMember):
    """A case whose modalities are the channels of one 4-D image.

    Attributes:
        path: the image.
        channels: the modality of each channel.
        seg: the label map, or None.
    """

    id: str
    path: Path
    channels: tuple[str, ...]
    seg: Path | None
    records: Records = field(repr=False, compare=False)
    reading: Reading
    values: tuple[int, ...] | None = None

    @property
    def labelled(self) -> bool:
        """Whether there is a label map."""
        return self.seg is not None

    def header(self) -> nib.Nifti1Header:
        """Of the image."""
        return open_image(self.path).header

    def checksum(self) -> str:
        """Of image and label map."""
        return "".join(sha256_file(path)[:32] for path in (self.path, self.seg) if path)

    def signature(self, version: str = "") -> str:
        """Of the files' sizes and times too: no manifest need vouch for them."""
        files = [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in (self.path, self.seg) if p]
        return super().signature(version + repr(files) + self.reading.tag)

    def volumes(self) -> tuple[list[Volume], Volume | None]:
        """Of the channels, and of the label map."""
        images, affine = self._images()
        spacing = spacing_of(affine).tolist()
        channels = [Volume(images[..., k], affine, tuple(spacing), True) for k in range(len(MODALITIES))]
        if self.seg is None:
            return channels, None
        seg = read_volume(self.seg, None)
        return channels, replace(seg, array=told_classes(self.id, self.seg, seg, self.naming, self.reading))

    def _load(self) -> Case:
        images, affine = self._images()
        labels, meta = None, {"naming": self.naming.name}
        if self.seg is not None:
            volume = read_volume(self.seg, images.shape[:3])
            labels = told_classes(self.id, self.seg, volume, self.naming, self.reading)
            meta["labels"] = self.reading.labels
        if self.reading.resample:
            return self._on_grid(Case(self.id, images, labels, affine, meta))
        return Case(self.id, images, labels, affine, meta)

    def _on_grid(self, case: Case) -> Case:
        """The case on the BraTS grid; itself where it is on it already."""
        arrays = {modality: case.images[..., k] for k, modality in enumerate(MODALITIES)}
        given = arrays if case.labels is None else {**arrays, "seg": case.labels}
        spacing = spacing_of(case.affine)
        volumes = {name: Volume(array, case.affine, tuple(spacing.tolist()), True) for name, array in given.items()}
        if case.images.min() < 0 or in_place(volumes):
            return case
        moved, how = to_brats_grid(volumes)
        if how is None:
            return case
        labels, images = moved.pop("seg", None), np.stack([moved[modality] for modality in MODALITIES], -1)
        if labels is not None:
            labels[~images.any(-1)] = Tumour.NONE  # at the brain's edge: from interpolation
        return Case(case.id, images, labels, np.array(AFFINE), {**case.meta, "resampling": how.to_dict()})

    def _images(self) -> tuple[np.ndarray, np.ndarray]:
        """(X, Y, Z, 4) in our order, int16 where the file's numbers are, else float32; and the affine."""
        try:
            image = open_image(self.path)
            shape = image.shape
            if len(shape) == 4 and shape[3] == len(self.channels) and max(shape) <= LONGEST:
                order = [self.channels.index(modality) for modality in MODALITIES]
                array = np.asanyarray(image.dataobj)
                whole = array.dtype.kind in "iu" and array.min() >= -(2**15) and array.max() < 2**15
                images = np.empty((*shape[:3], len(MODALITIES)), np.int16 if whole else np.float32, order="F")
                for place, channel in enumerate(order):
                    images[..., place] = array[..., channel]
                return images, np.asarray(image.affine, np.float64)
        except Exception as error:
            raise DataError(f"{printable(self.path)}: cannot be read ({error}); copy or download it again.") from error
        raise DataError(
            f"{printable(self.path)}: expected an image of {len(self.channels)} channels ({', '.join(self.channels)}), "
            f"found the shape {shape}; the set's {TABLE} is of other images."
        )


def described(path: Path, reading: Reading, records: Records) -> tuple[str, tuple[Member, ...]] | None:
    """The format and the cases of a folder that a `dataset.json` describes; None for a folder of another kind.

    Args:
        path: the set's folder: its training cases; or its `imagesTr` or `imagesTs` alone.
        reading: what the user states; labels as the file names them, where nothing is stated.
        records: gives the records of the manifest in it by id.

    Raises:
        DataError: the file does not say what channels or labels are, or a case is incomplete.
    """
    root, images = (path.parent, path.name) if path.name in _IMAGES else (path, "imagesTr")
    table = _table(root / TABLE)
    if table is None:
        return None
    named = table.get("channel_names") or table.get("modality")
    if not isinstance(named, dict) or not ((root / images).is_dir() or isinstance(table.get("dataset"), dict)):
        return None
    channels = _channels(root / TABLE, named)
    labels, values = _IMAGES[images], _written(table, reading)
    reading = replace(reading, labels=_labels(root / TABLE, table, reading)) if labels else reading
    if isinstance(table.get("dataset"), dict) and path == root:
        found = {key: _listed(root, key, entry) for key, entry in table["dataset"].items()}
    else:
        found = _by_name(root / images, root / labels if labels else None)
    members: list[Member] = []
    for case_id, (volumes, seg) in sorted(found.items()):
        if len(volumes) == 1 and len(channels) > 1:
            members.append(MsdMember(case_id, volumes[0], channels, seg, records, reading, values))
            continue
        if len(volumes) != len(channels):
            raise DataError(
                f"{printable(root)}: case {printable(case_id)}: expected {len(channels)} channels as {TABLE} has them, "
                f"found {len(volumes)} files; complete it or take it out."
            )
        paths = {channel: volume for channel, volume in zip(channels, volumes, strict=True) if channel in MODALITIES}
        files = CaseFiles(case_id, volumes[0].parent, _NAMING, paths | ({"seg": seg} if seg else {}))
        members.append(FilesMember(files, path, reading, values))
    if not members:
        raise DataError(f"{printable(path)}: its {TABLE} describes a set, but there is no image; check the path.")
    return MSD if isinstance(members[0], MsdMember) else NNUNET, tuple(members)


def _table(path: Path) -> dict[str, Any] | None:
    try:
        return read(path, _TABLE) if path.is_file() else None
    except (OSError, ValueError):
        return None  # the names of the files are told by what they are alone


def _channels(path: Path, named: Mapping[str, Any]) -> tuple[str, ...]:
    """The modality of each channel; a name that is none stays."""
    names = [str(named[key]) for key in sorted(named, key=lambda key: (len(key), key))]
    channels = tuple(modality_called(name) or name for name in names)
    if missing := [modality for modality in MODALITIES if channels.count(modality) != 1]:
        raise DataError(
            f"{printable(path)}: expected channels named T1, T1ce, T2 and FLAIR, found {listing(names)}, of which "
            f"none, or more than one, is {', '.join(missing)}; correct the names of the channels."
        )
    return channels


def _labels(path: Path, table: Mapping[str, Any], reading: Reading) -> str:
    """The label table that a `dataset.json` describes, unless the user states one."""
    if reading.labels != AUTO:
        return reading.labels
    given = table.get("labels")
    values = _values(given)
    for name in ("nnunet", "brats2023", "brats2020"):
        meaning = LABEL_TABLES[name].meaning
        if values and all(meaning.get(value) == kind for kind, value in values.items()):
            return name
    raise DataError(
        f"{printable(path)}: expected labels named edema, non-enhancing (or necrosis) and enhancing, found "
        f"{json.dumps(given)}; state what they mean, such as --labels nnunet ({LABEL_TABLES['nnunet']})."
    )


def _written(table: Mapping[str, Any], reading: Reading) -> tuple[int, ...] | None:
    """The label values of `Tumour` in the set: as stated, else as it names them; None where neither tells."""
    values = {} if reading.labels == AUTO else LABEL_TABLES[reading.of(_NAMING).labels].values
    values = values or {Tumour.NONE: 0, **_values(table.get("labels"))}
    lawful = len({*values.values()} & {*range(256)}) == len(Tumour)
    return tuple(values[kind] for kind in Tumour) if lawful else None


def _values(given: Any) -> dict[Tumour, int]:
    """The value of each part of the tumour by the names of labels or of nested regions; empty if they do not tell."""
    labels: dict[str, Any] = {}
    if not isinstance(given, dict):
        return {}
    for key, value in given.items():
        name, what = (str(value), int(key)) if str(key).isdigit() else (str(key), value)  # the Decathlon's, nnU-Net's
        labels[name.lower()] = what[0] if isinstance(what, list) and len(what) == 1 else what
    regions = sorted((set(v) for v in labels.values() if isinstance(v, list)), key=len)
    if regions:
        enhancing = {v for name, v in labels.items() if isinstance(v, int) and v and "enh" in name}
        if [len(region) for region in regions] != [2, 3] or len(enhancing) != 1 or not enhancing <= regions[0]:
            return {}
        (et,), (ncr,), (ed,) = enhancing, regions[0] - enhancing, regions[1] - regions[0]
        return {Tumour.NCR: ncr, Tumour.ED: ed, Tumour.ET: et}
    out: dict[Tumour, int] = {}
    for name, value in labels.items():
        if value != 0 and (kind := _kind(name)):
            out[kind] = value
    return out if len(out) == len(Tumour) - 1 and len(out) == sum(v != 0 for v in labels.values()) else {}


def _kind(name: str) -> Tumour | None:
    if re.search(r"o?edema|^ed$", name):
        return Tumour.ED
    if re.search(r"necro|non.?enh|^ncr|^net$", name):
        return Tumour.NCR
    return Tumour.ET if re.search(r"enh|^et$", name) else None


def _listed(root: Path, case_id: str, entry: Any) -> tuple[list[Path], Path]:
    """The files of a case that nnU-Net's `dataset` entry names."""
    try:
        return [root / name for name in entry["images"]], root / entry["label"]
    except (KeyError, TypeError) as error:
        raise DataError(
            f"{printable(root / TABLE)}: case {printable(case_id)}: expected `images` and `label`, found "
            f"{printable(entry)[:80]}; correct the entry."
        ) from error


def _by_name(images: Path, labels: Path | None) -> dict[str, tuple[Sequence[Path], Path | None]]:
    """The channels of each case in their order (or its one image), and its label map where it is there."""
    found: dict[str, dict[int, Path]] = {}
    for path in sorted(images.iterdir()):
        stem, dot, ending = path.name.partition(".nii")
        if path.name.startswith(".") or not dot or ending not in ("", ".gz"):
            continue
        match = _CHANNEL.fullmatch(stem)
        case_id, channel = (match[1], int(match[2])) if match else (stem, 0)
        found.setdefault(case_id, {})[channel] = path
    out: dict[str, tuple[Sequence[Path], Path | None]] = {}
    for case_id, volumes in found.items():
        maps = [labels / f"{case_id}{ending}" for ending in (".nii.gz", ".nii")] if labels else []
        out[case_id] = [volumes[k] for k in sorted(volumes)], next((path for path in maps if path.is_file()), None)
    return out
