"""The BraTS conventions: modalities, label values, file names per year, regions and the grid.

In memory there is one convention only: modalities in the order of `MODALITIES` on the last axis, labels
as consecutive class indices (`Tissue`, `Tumour`). File names and on-disk label values exist in this
module alone and are applied where files are read and written.

Sources: Menze et al. 2015 (doi:10.1109/TMI.2014.2377694), Bakas et al. 2017 (doi:10.1038/sdata.2017.117),
Baid et al. 2021 (arXiv:2107.02314); BraTS 2023 renamed the files and made ET = 3. Other tables: Antonelli et al. 2022
(doi:10.1038/s41467-022-30695-9) for the Decathlon, nnU-Net's own conversion of BraTS, Kazerooni et al. 2024
(arXiv:2404.15009) for children.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

import numpy as np

MODALITIES = ("t1", "t1ce", "t2", "flair")
GRID = (240, 240, 155)
SPACING = (1.0, 1.0, 1.0)  # mm
AFFINE = np.array([[-1.0, 0, 0, 0], [0, -1.0, 0, 239], [0, 0, 1.0, 0], [0, 0, 0, 1]])  # voxel -> mm, LPS axes
AFFINE.flags.writeable = False


class Tissue(IntEnum):
    """Values of a layout's `tissue` map."""

    OUTSIDE = 0
    CSF = 1
    GM = 2
    WM = 3


class Tumour(IntEnum):
    """Values of a layout's `tumour` map and of a case's `labels`: consecutive, whatever the file said."""

    NONE = 0
    NCR = 1  # necrotic and non-enhancing tumour core
    ED = 2  # peritumoural oedema
    ET = 3  # enhancing tumour


TISSUES = ("CSF", "GM", "WM")  # classes 1 to 3 of a layout, as in `Tissue`
TUMOUR_PARTS = ("NCR", "ED", "ET")  # classes 4 to 6: those of `Tumour` after the tissues
CLASSES = (*TISSUES, *TUMOUR_PARTS)  # the rows of a Style and the one-hot channels of a layout

REGIONS = {
    "WT": (Tumour.NCR, Tumour.ED, Tumour.ET),
    "TC": (Tumour.NCR, Tumour.ET),
    "ET": (Tumour.ET,),
}


def recoded(values: np.ndarray, table: Sequence[int] | np.ndarray) -> np.ndarray:
    """`table[value]` for each value, uint8, in the memory order of `values`; ten times as fast as indexing.

    Args:
        values: whole numbers from 0 up that the table has.
        table: uint8 numbers, at most 256.

    Raises:
        IndexError: a value is beyond the table.
    """
    if values.size and values.max() >= len(table):
        raise IndexError(f"expected values below {len(table)}, found {values.max()}")
    values = values.astype(np.uint8, order="K", copy=False)
    order: Literal["F", "C"] = "F" if values.flags.f_contiguous else "C"
    codes = bytes(np.asarray(table, np.uint8)).ljust(256, b"\0")
    flat = bytearray(values.tobytes(order)).translate(codes)
    return np.frombuffer(flat, np.uint8).reshape(values.shape, order=order)


def inverse(label_values: Sequence[int]) -> np.ndarray:
    """The table for `recoded` that gives class indices 0..3 (`Tumour`) for their values on the disk."""
    table = np.zeros(max(label_values) + 1, np.uint8)
    table[list(label_values)] = np.arange(len(Tumour), dtype=np.uint8)
    return table


@dataclass(frozen=True)
class Naming:
    """How one generation of BraTS names the files of a case and numbers its labels."""

    name: str
    separator: str
    suffixes: dict[str, str]  # our modality name (and "seg") -> the suffix on disk
    label_values: tuple[int, int, int, int]  # on-disk value of Tumour.NONE, NCR, ED, ET
    prefix: str  # of the ids of painted cases, before their number
    suffix: str  # behind it
    years: str

    def stem(self, case_id: str, modality: str) -> str:
        """File name without extension for one modality (or "seg") of a case."""
        return f"{case_id}{self.separator}{self.suffixes[modality]}"

    def parse(self, file_name: str) -> tuple[str, str] | None:
        """Case id and modality (or "seg") of a `.nii` or `.nii.gz` name of this convention; None for other names.

        Upper and lower case are one in the suffix, as people have `_T1.nii.gz` too.
        """
        name = file_name.removesuffix(".gz")
        case_id, _, suffix = name.removesuffix(".nii").rpartition(self.separator)
        modality = {disk: ours for ours, disk in self.suffixes.items()}.get(suffix.lower())
        return (case_id, modality) if name.endswith(".nii") and case_id and modality else None

    def to_disk(self, labels: np.ndarray) -> np.ndarray:
        """Class indices 0..3 to this convention's label values, uint8."""
        return recoded(labels, self.label_values)

    def from_disk(self, values: np.ndarray) -> np.ndarray:
        """This convention's label values to class indices 0..3, uint8; the values must be legal."""
        return recoded(values, inverse(self.label_values))


NAMINGS = {
    "brats2020": Naming(
        name="brats2020",
        separator="_",
        suffixes={"t1": "t1", "t1ce": "t1ce", "t2": "t2", "flair": "flair", "seg": "seg"},
        label_values=(0, 1, 2, 4),
        prefix="Synth_",
        suffix="",
        years="2017-2021",
    ),
    "brats2023": Naming(
        name="brats2023",
        separator="-",
        suffixes={"t1": "t1n", "t1ce": "t1c", "t2": "t2w", "flair": "t2f", "seg": "seg"},
        label_values=(0, 1, 2, 3),
        prefix="Synth-GLI-",
        suffix="-000",
        years="2023 and later",
    ),
}


@dataclass(frozen=True)
class LabelTable:
    """What the label values of a segmentation mean.

    Attributes:
        name: as users give it to `--labels`.
        meaning: value on disk -> class; several values may be one class.
        source: whose table it is.
    """

    name: str
    meaning: dict[int, Tumour]
    source: str

    def __str__(self) -> str:
        """The values in words: `1 NCR, 2 ED, 4 ET`."""
        return ", ".join(f"{value} {tumour.name}" for value, tumour in self.meaning.items() if tumour)

    @property
    def values(self) -> "dict[Tumour, int]":
        """The value of each class: its first, where several have one meaning."""
        return {tumour: value for value, tumour in reversed(self.meaning.items())}

    def from_disk(self, values: np.ndarray) -> np.ndarray:
        """Label values to class indices 0..3 (`Tumour`), uint8; the values must be of this table."""
        classes = np.zeros(max(self.meaning) + 1, np.uint8)
        for value, tumour in self.meaning.items():
            classes[value] = tumour
        return recoded(values, classes)


_NONE, _NCR, _ED, _ET = Tumour
_DECATHLON = {0: _NONE, 1: _ED, 2: _NCR, 3: _ET, 4: _ET}  # 4: where ET alone kept its value of BraTS
LABEL_TABLES = {
    table.name: table
    for table in (
        *(
            LabelTable(naming.name, dict(zip(naming.label_values, Tumour, strict=True)), f"BraTS {naming.years}")
            for naming in NAMINGS.values()
        ),
        LabelTable("brats2015", {0: _NONE, 1: _NCR, 2: _ED, 3: _NCR, 4: _ET}, "BraTS 2013-2016"),
        LabelTable("msd", _DECATHLON, "Medical Segmentation Decathlon, Task01"),
        LabelTable("nnunet", _DECATHLON, "nnU-Net's own conversion of BraTS"),
        LabelTable("ped", {0: _NONE, 1: _ET, 2: _NCR, 3: _NCR, 4: _ED}, "BraTS-PED from 2024 on"),
    )
}
