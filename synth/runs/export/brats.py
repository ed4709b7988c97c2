"""BraTS: a folder a case, five files in it, the names and label values of a year."""

from collections.abc import Iterable, Sequence

from synth.brats import MODALITIES, NAMINGS, Naming
from synth.runs.export.content import Content
from synth.runs.export.items import Item
from synth.runs.export.target import PARTS, Target


class CaseFolders(Target):
    """A folder a case below `place`, with its files named and labelled as a year of BraTS does."""

    naming: Naming
    place = ""

    def names(self, items: Sequence[Item]) -> list[str]:
        """The volumes: `ID/ID_t1.nii.gz` and so on."""
        return [self._name(item, part) for item in items for part in PARTS]

    def write(self, batch: Iterable[Content]) -> list[dict[str, str]]:
        """Each case in its folder; without a segmentation where there is none."""
        return [self._write(content) for content in batch]

    def _write(self, content: Content) -> dict[str, str]:
        item = content.item
        names = {part: self._name(item, part) for part in PARTS}
        files = {names[modality]: self.put.image(names[modality], content, modality) for modality in MODALITIES}
        if content.labelled:
            files[names["seg"]] = self.put.labels(names["seg"], content, self.naming.label_values)
        return files

    def _name(self, item: Item, part: str) -> str:
        return f"{self.place}{item.id}/{self.naming.stem(item.id, part)}.nii.gz"


class Brats2020(CaseFolders):
    """Names and labels (1, 2, 4) of 2017 to 2021."""

    name = "brats2020"
    naming = NAMINGS["brats2020"]


class Brats2023(CaseFolders):
    """Names and labels (1, 2, 3) of 2023 and later."""

    name = "brats2023"
    naming = NAMINGS["brats2023"]
