"""nnU-Net's raw format (version 2): channels and label maps by case, `dataset.json`, and a split that does not leak.

Label values are those of nnU-Net's own conversion of BraTS 2021 (1 ED, 2 NCR, 3 ET), channels in its order. The split
is read by nnU-Net from its folder of preprocessed data, as `splits_final.json`; without it, it would deal relatives out
to training and validation alike.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from synth.brats import MODALITIES
from synth.runs.export.content import Content, Values
from synth.runs.export.items import Item
from synth.runs.export.splits import splits
from synth.runs.export.target import PARTS, Target

VALUES: Values = (0, 2, 1, 3)  # of nothing, NCR, ED, ET
CHANNELS = {"t1": "T1", "t1ce": "T1ce", "t2": "T2", "flair": "Flair"}
LABELS = {"background": 0, "edema": 1, "non_enhancing_and_necrosis": 2, "enhancing_tumor": 3}
REGIONS = {"background": 0, "whole_tumor": [1, 2, 3], "tumor_core": [2, 3], "enhancing_tumor": [3]}
CLASS_ORDER = [1, 2, 3]  # what is left of each region once the next ones are taken out of it
ENDING = ".nii.gz"
SPLITS = "splits_final.json"


class NnUNet(Target):
    """`imagesTr/ID_0000.nii.gz` to `_0003`, `labelsTr/ID.nii.gz`."""

    name = "nnunet"
    options = ("link", "in_place", "regions", "folds", "seed")
    labelled = True
    prints = True
    tables = ("dataset.json", SPLITS)

    def names(self, items: Sequence[Item]) -> list[str]:
        """Channels and label maps."""
        return [self._name(item, part) for item in items for part in PARTS]

    def write(self, batch: Iterable[Content]) -> list[dict[str, str]]:
        """What cannot be pointed to in its place is written, linked or copied."""
        return [self._write(content) for content in batch]

    def finish(self, items: Sequence[Item], records: Sequence[Mapping[str, Any]]) -> list[str]:
        """`splits_final.json` where it can be told, then `dataset.json`: what is there with it is complete."""
        painted = sum(not item.real for item in items)
        folds = splits(records, self.chosen.folds, self.chosen.seed)
        if folds:
            self.put.json(SPLITS, folds)
        regions = {"labels": REGIONS, "regions_class_order": CLASS_ORDER}
        table: dict[str, Any] = {
            "channel_names": {str(k): CHANNELS[modality] for k, modality in enumerate(MODALITIES)},
            **(regions if self.chosen.regions else {"labels": LABELS}),
            "numTraining": len(items),
            "file_ending": ENDING,
            "name": self.out.resolve().name,
            "description": f"{painted} synthetic cases painted by synth and {len(items) - painted} real ones",
        }
        if self.chosen.in_place:
            written = {name for record in records for name in record["files"]}
            table["dataset"] = {item.id: self._entry(Content(item), written) for item in items}
        self.put.json("dataset.json", table)
        return [self._note(len(folds))]

    def _write(self, content: Content) -> dict[str, str]:
        files = {}
        for modality in MODALITIES:
            if not (self.chosen.in_place and content.path(modality)):
                name = self._name(content.item, modality)
                files[name] = self.put.image(name, content, modality)
        name = self._name(content.item, "seg")
        files[name] = self.put.labels(name, content, VALUES)
        return files

    def _entry(self, content: Content, written: set[str]) -> dict[str, Any]:
        """Where the files of a case are: nnU-Net takes absolute paths, and those below the dataset's folder."""
        names = [self._name(content.item, modality) for modality in MODALITIES]
        files = [
            name if name in written else os.path.abspath(content.path(modality) or "")
            for name, modality in zip(names, MODALITIES, strict=True)
        ]
        return {"images": files, "label": self._name(content.item, "seg")}

    def _note(self, folds: int) -> str:
        """What to do with the split, or without one."""
        if not folds:
            return (
                f"no {SPLITS}: validation needs real cases of two patients or more (--real); the split that nnU-Net "
                "makes of its own mixes relatives, so train its fold `all`."
            )
        few = f" ({folds} folds, as there are no more patients)" if folds < self.chosen.folds else ""
        return (
            f"copy {SPLITS}{few} to nnUNet_preprocessed/{self.out.resolve().name}/ before training: without it nnU-Net "
            "validates on relatives of what it trains on."
        )

    @staticmethod
    def _name(item: Item, part: str) -> str:
        if part == "seg":
            return f"labelsTr/{item.id}{ENDING}"
        return f"imagesTr/{item.id}_{MODALITIES.index(part):04d}{ENDING}"
