"""Layouts of `synth export` that `synth generate` writes at once, as formats of their own: cases as they are painted.

The same writers as an export's: the files of a case are those that `synth export` makes of a NIfTI set, to the byte.
The tables of the whole set are written when the run is complete.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from synth.brats import MODALITIES, NAMINGS, Naming, Tumour, recoded
from synth.case import Case
from synth.datasets.members import ExporterMember
from synth.disk.files import case_path, changed_files
from synth.disk.manifest import MANIFEST, read_entries
from synth.disk.staging import remove_left
from synth.errors import OutputError
from synth.exporters import Exporter, exporter_class, open_exporter, register
from synth.runs.export import bids, msd, nnunet
from synth.runs.export.content import Content, Values
from synth.runs.export.items import Item
from synth.runs.export.target import PARTS, Options, Target


@dataclass(frozen=True)
class Painted(Content):
    """A case that is in memory already."""

    held: Case

    @property
    def labelled(self) -> bool:
        """Whether it has labels."""
        return self.held.labels is not None

    @property
    def case(self) -> Case:
        """The case itself."""
        return self.held


class TargetExporter:
    """Write painted cases in a layout of `synth export`; `close` writes the tables of the set.

    Args:
        out: the set's folder.
        naming: how cases are called; label values and file names are the layout's own.
        model: name and hash of the generator, for layouts that tell them.

    Attributes:
        notes: what the user must know of the set, once it is closed.
    """

    name: str
    layout: type[Target]
    values: Values

    def __init__(
        self, out: str | os.PathLike, *, naming: Naming = NAMINGS["brats2020"], model: Mapping[str, Any] | None = None
    ):
        self.out, self.naming = Path(out), naming
        self.notes: tuple[str, ...] = ()
        self._target = self.layout(self.out, Options())
        self._model = {key: str(model[key]) for key in ("name", "hash") if key in model} if model else {}
        self._written: dict[int, dict[str, Any]] = {}
        self._swept: set[Path] | None = set()  # None: other processes write there too

    def write(self, case: Case) -> dict[str, str]:
        """Write one case; return the SHA-256 of each file by its path relative to `out`.

        Raises:
            OutputError: the disk is full, or the folder cannot be written.
        """
        case_path(self.out, case.id)  # a plain name, or it is refused
        item = self._item({"index": len(self._written), **case.meta, "id": case.id})
        if self._swept is not None:
            for folder in {(self.out / name).parent for name in self._target.names([item])} - self._swept:
                remove_left(folder)
                self._swept.add(folder)
        with self._target.put.together():
            (files,) = self._target.write([Painted(item, case)])
        self._written[item.index] = {**item.record, "files": files}
        return files

    def elsewhere(self) -> "TargetExporter":
        """What writes cases in other processes; the tables are written here."""
        return self

    def __reduce__(self) -> tuple:
        """Another process writes beside others: files that look left behind may be theirs."""
        return _beside_others, (type(self), self.out, self.naming, self._model)

    def verify(self, files: Mapping[str, str]) -> list[str]:
        """What is wrong with the files of one manifest record, a sentence each; empty when they are as written."""
        return changed_files(self.out, files)

    def read(self, case_id: str) -> Case:
        """The case as it was written.

        Raises:
            OutputError: it is not there, or damaged.
        """
        places = self._places(self._item({"index": 0, "id": case_id}))
        try:
            volumes = {part: nib.load(self.out / name) for part, (name, _) in places.items() if self._there(part, name)}
            arrays = {part: np.asanyarray(volume.dataobj) for part, volume in volumes.items()}
            images = [arrays[m] if (k := places[m][1]) is None else arrays[m][..., k] for m in MODALITIES]
            labels = recoded(arrays["seg"], self._classes()) if "seg" in arrays else None
            return Case(case_id, np.stack(images, -1), labels, volumes["t1"].affine, {"naming": self.naming.name})
        except Exception as error:
            raise OutputError(
                f"{self.out}: case {case_id} cannot be read back ({error}); write it again with --resume."
            ) from error

    @classmethod
    def names(cls, out: Path, ids: Iterable[str], naming: Naming) -> set[str]:
        """The files of these cases and the tables, relative to `out`."""
        own = cls(out, naming=naming)
        names = own._target.names([own._item({"index": k, "id": case_id}) for k, case_id in enumerate(ids)])
        return {*names, *cls.layout.tables}

    def close(self) -> None:
        """Write the tables of what the manifest vouches for; without one, of what was written here."""
        there = (self.out / MANIFEST).is_file()
        records = read_entries(self.out) if there else list(self._written.values())
        if records:
            self.notes = tuple(self._target.finish([self._item(record) for record in records], records))

    def __enter__(self) -> "TargetExporter":
        """Return the exporter itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        """Close; after an exception the tables are left to the run that resumes."""
        if kind is None:
            self.close()

    def _item(self, record: dict[str, Any]) -> Item:
        member = ExporterMember(record["id"], self.out, self, lambda: None)
        return Item(record["index"], record["id"], member, False, frozenset(), record, self._model, self.out)

    def _places(self, item: Item) -> dict[str, tuple[str, int | None]]:
        """The file of each modality and of "seg", and the channel in it; None: it holds no other."""
        volumes = [name for name in self._target.names([item]) if name.endswith(".nii.gz")]
        return {part: (name, None) for part, name in zip(PARTS, volumes, strict=True)}

    def _there(self, part: str, name: str) -> bool:
        return part != "seg" or (self.out / name).exists()

    def _classes(self) -> np.ndarray:
        classes = np.zeros(max(self.values) + 1, np.uint8)
        classes[list(self.values)] = np.arange(len(Tumour), dtype=np.uint8)
        return classes


def _beside_others(kind: type[TargetExporter], out: Path, naming: Naming, model: dict[str, str]) -> TargetExporter:
    exporter = kind(out, naming=naming, model=model)
    exporter._swept = None
    return exporter


@register
class NnUNetFormat(TargetExporter):
    """nnU-Net's raw format."""

    name, layout, values = nnunet.NnUNet.name, nnunet.NnUNet, nnunet.VALUES


@register
class MsdFormat(TargetExporter):
    """The Decathlon's."""

    name, layout, values = msd.Msd.name, msd.Msd, msd.VALUES

    def _places(self, item: Item) -> dict[str, tuple[str, int | None]]:
        image, labels = self._target.names([item])
        return {**{part: (image, k) for k, part in enumerate(msd.CHANNELS)}, "seg": (labels, None)}


@register
class BidsFormat(TargetExporter):
    """A BIDS derivative."""

    name, layout, values = bids.Bids.name, bids.Bids, bids.VALUES


def open_output(settings: Mapping[str, Any], out: str | os.PathLike) -> Exporter:
    """The exporter of a run with these settings (`run.json`), ready to write below `out`.

    Raises:
        OutputError: no format has the name.
    """
    name, options = settings["format"], {"naming": NAMINGS[settings["naming"]]}
    if "model" in signature(exporter_class(name)).parameters:
        options["model"] = settings["model"]
    if "shard_gb" in settings:
        options["shard_gb"] = settings["shard_gb"]
    return open_exporter(name, out, **options)


def refuse_others(settings: Mapping[str, Any], ids: Sequence[str], out: Path) -> None:
    """Refuse a folder with files of others where the format's tables tell of all that is in it.

    Raises:
        OutputError: there is one; samples made again would have tables that leave it out.
    """
    kind = exporter_class(settings["format"])
    if not issubclass(kind, TargetExporter):
        return
    own = kind.names(out, ids, NAMINGS[settings["naming"]])
    there = sorted(path.relative_to(out).as_posix() for path in out.rglob("[!.]*") if path.is_file())
    other = next((name for name in there if name not in own), None)
    if other is not None:
        expected = f"nothing but these samples, as {kind.layout.tables[0]} tells of all that is in the folder"
        raise OutputError.unexpected(out, expected, other, "choose another folder")
