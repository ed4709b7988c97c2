"""The Medical Segmentation Decathlon's layout (Task01): one 4-D image a case, label maps, `dataset.json`.

Channels, label values and the words of `dataset.json` are those of Task01_BrainTumour. nnU-Net's converter splits the
folder's name at its one underscore and wants `imagesTs` too; MONAI knows the ten names of the Decathlon alone.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from synth.disk.files import make_folder
from synth.runs.export.content import Content, Values
from synth.runs.export.items import Item
from synth.runs.export.target import Target

CHANNELS = {"flair": "FLAIR", "t1": "T1w", "t1ce": "t1gd", "t2": "T2w"}  # in this order
VALUES: Values = (0, 2, 1, 3)  # of nothing, NCR, ED, ET
LABELS = {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"}
_NAME = re.compile(r"Task\d+_[^_]+")


class Msd(Target):
    """`imagesTr/ID.nii.gz` (X, Y, Z, 4) and `labelsTr/ID.nii.gz`."""

    name = "msd"
    options = ()
    labelled = True
    flushed = 1  # packing takes longer
    tables = ("dataset.json",)

    def names(self, items: Sequence[Item]) -> list[str]:
        """Image and label map."""
        return [f"{folder}/{item.id}.nii.gz" for item in items for folder in ("imagesTr", "labelsTr")]

    def write(self, batch: Iterable[Content]) -> list[dict[str, str]]:
        """Images are always written: their channels come from files of their own."""
        return [self._write(content) for content in batch]

    def finish(self, items: Sequence[Item], records: Sequence[Mapping[str, Any]]) -> list[str]:
        """`dataset.json`; a word where the folder's name keeps programs from taking it."""
        make_folder(self.out / "imagesTs")
        name, painted = self.out.resolve().name, sum(not item.real for item in items)
        self.put.json(
            "dataset.json",
            {
                "name": name,
                "description": f"{painted} synthetic cases painted by synth and {len(items) - painted} real ones",
                "reference": "synth",
                "licence": "see the scans' own",
                "release": "1.0",
                "tensorImageSize": "4D",
                "modality": {str(k): channel for k, channel in enumerate(CHANNELS.values())},
                "labels": LABELS,
                "numTraining": len(items),
                "numTest": 0,
                "training": [
                    {"image": f"./imagesTr/{item.id}.nii.gz", "label": f"./labelsTr/{item.id}.nii.gz"} for item in items
                ],
                "test": [],
            },
        )
        if _NAME.fullmatch(name):
            return []
        return [
            f"nnUNetv2_convert_MSD_dataset takes folders named like Task501_Synth, MONAI's DecathlonDataset "
            f"Task01_BrainTumour: rename {name} for them."
        ]

    def _write(self, content: Content) -> dict[str, str]:
        image, labels = self.names([content.item])
        volumes = [content.image(modality) for modality in CHANNELS]
        arrays = _of_one_type([array for array, _ in volumes])
        return {
            image: self.put.channels(image, arrays, volumes[0][1], content),
            labels: self.put.labels(labels, content, VALUES),
        }


def _of_one_type(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Int16 where all values are whole numbers that fit, else float32."""
    dtype = np.int16 if all(map(_is_int16, arrays)) else np.float32
    return [array.astype(dtype, copy=False) for array in arrays]


def _is_int16(array: np.ndarray) -> bool:
    if array.dtype == np.int16:
        return True
    if array.min() < -(2**15) or array.max() >= 2**15:
        return False
    return array.dtype.kind in "iu" or np.array_equal(np.rint(array), array)
