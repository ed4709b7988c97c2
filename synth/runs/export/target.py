"""What a layout of other programs is to the run that exports to it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synth.brats import MODALITIES
from synth.runs.export.content import Content
from synth.runs.export.items import Item
from synth.runs.export.put import Put

PARTS = (*MODALITIES, "seg")


@dataclass(frozen=True)
class Options:
    """What users choose; each layout says which of these it has (`Target.options`).

    Attributes:
        link: "soft" or "hard" links in place of copies; None: copies.
        in_place: nnU-Net: point to the images where they are.
        regions: nnU-Net: the overlapping regions WT, TC, ET in place of labels.
        folds: nnU-Net: of the split.
        seed: nnU-Net: of the order in which patients are dealt out to folds.
        per_shard: TFRecord: cases a file.
    """

    link: str | None = None
    in_place: bool = False
    regions: bool = False
    folds: int = 5  # what nnU-Net trains
    seed: int = 0
    per_shard: int = 8  # about 300 MB: within the 100 to 200 MB and more that TensorFlow advises


class Target:
    """One layout; the run writes its cases batch by batch, then its tables.

    Attributes:
        name: as users give it to `--to`.
        options: the fields of `Options` that it heeds.
        labelled: whether every case needs labels.
        at_a_time: threads that write; each has a case in memory where its voxels are needed.
        flushed: batches of a thread whose files are flushed to the disk together; a kill costs as many.
        prints: whether the records of real cases need fingerprints.
        tables: files of the whole set, relative to the folder.
    """

    name: str
    options: tuple[str, ...] = ("link",)
    labelled = False
    prints = False
    at_a_time = 3
    flushed = 4
    tables: tuple[str, ...] = ()

    def __init__(self, out: Path, options: Options):
        self.out, self.chosen = out, options
        self.put = Put(out, options.link)

    @staticmethod
    def key(case_id: str) -> str:
        """What becomes of an id in file names; ids that become one are refused."""
        return case_id

    def batches(self, items: Sequence[Item]) -> list[Sequence[Item]]:
        """The cases that are written together, in order."""
        return [[item] for item in items]

    def names(self, items: Sequence[Item]) -> list[str]:
        """The files that a writer of a batch may have left, relative to the folder."""
        raise NotImplementedError

    def write(self, batch: Iterable[Content]) -> list[dict[str, str]]:
        """Write a batch, which comes case by case; return the checksums of each case's files by name."""
        raise NotImplementedError

    def finish(self, items: Sequence[Item], records: Sequence[Mapping[str, Any]]) -> list[str]:
        """Write the tables of the whole set; return what the user must know."""
        return []
