"""What is in a case that is exported: its files where they can be taken as they are, else its arrays."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import nibabel as nib
import numpy as np

from synth.brats import LABEL_TABLES, MODALITIES, Tumour
from synth.case import Case
from synth.datasets.fingerprint import Fingerprint, fingerprint
from synth.datasets.labels import told_classes
from synth.datasets.members import FilesMember
from synth.datasets.reading import AUTO
from synth.datasets.volume import open_image, read_volume
from synth.errors import DataError, printable
from synth.exporters.nifti import is_synthetic, to_int16
from synth.runs.export.items import Item

Values = tuple[int, int, int, int]  # on the disk, of Tumour.NONE, NCR, ED, ET
_NEAR = 1e-3  # mm between the affines of one case's files


@dataclass(frozen=True)
class Content:
    """One case while it is exported: at most its arrays are in memory, and no longer than for its turn."""

    item: Item

    @property
    def labelled(self) -> bool:
        """Whether its labels are known."""
        return self.item.member.annotated

    def path(self, part: str) -> Path | None:
        """The `.nii.gz` file that holds a modality or "seg" as it is to be; None where arrays have to be written."""
        member = self.item.member
        if not isinstance(member, FilesMember) or self._case_needed or part not in member.files.paths:
            return None
        path = member.files.paths[part]
        return path if path.name.endswith(".nii.gz") else None

    def image(self, modality: str) -> tuple[np.ndarray, np.ndarray]:
        """Voxels and affine of a modality, (X, Y, Z) and (4, 4)."""
        if isinstance(self.item.member, FilesMember) and not self._case_needed:
            volume = read_volume(self.item.member.files.paths[modality], None)
            return volume.array, volume.affine
        return to_int16(self.case.images[..., MODALITIES.index(modality)]), self.case.affine

    @cached_property
    def labels(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Class indices (X, Y, Z) uint8 and affine; None where they are not known.

        Raises:
            DataError: the segmentation cannot be read, or has values that the stated table does not have.
        """
        member = self.item.member
        if not self.labelled:
            return None
        if not isinstance(member, FilesMember) or self._case_needed or not member.labelled:
            return None if self.case.labels is None else (self.case.labels, self.case.affine)
        path = member.files.paths["seg"]
        volume = read_volume(path, None)
        classes = told_classes(member.id, path, volume, member.naming, member.reading.of(member.naming))
        return classes, volume.affine

    def has_values(self, values: Values) -> bool:
        """Whether the segmentation's file has these label values already."""
        member = self.item.member
        return isinstance(member, FilesMember) and self._meaning(member) == dict(zip(values, Tumour, strict=True))

    def table(self) -> dict[int, Tumour] | None:
        """What the values of a painted case's segmentation mean; None for a case whose labels have to be looked at."""
        member = self.item.member
        return self._meaning(member) if isinstance(member, FilesMember) and not self.item.real else None

    @staticmethod
    def _meaning(member: FilesMember) -> dict[int, Tumour]:
        stated = member.reading.of(member.naming).labels
        return LABEL_TABLES[member.naming.name if stated == AUTO else stated].meaning

    @cached_property
    def case(self) -> Case:
        """All of it in memory, read with suspicion."""
        return self.item.member.read("optional")

    @property
    def print(self) -> Fingerprint:
        """What its scan is known by under other names."""
        member = self.item.member
        if not isinstance(member, FilesMember) or self._case_needed:
            return fingerprint(self.case.images)
        parts = (read_volume(member.files.paths[name], None).array[..., None] for name in MODALITIES)
        return tuple(digest for part in parts for digest in fingerprint(part))

    def check(self) -> None:
        """Refuse a real case that is none, or whose files are not on one grid, by their headers.

        Painted cases have checksums.

        Raises:
            DataError: a header cannot be read, says that synth painted the file, or differs from the t1's.
        """
        member = self.item.member
        if not self.item.real:
            return
        if not isinstance(member, FilesMember) or self._case_needed:
            if member.says_synthetic:
                raise _painted(member.path)
            return
        first = None
        for part in (*MODALITIES, "seg"):
            if part not in member.files.paths:
                continue
            path = member.files.paths[part]
            image = open_image(path)
            grid = image.shape, np.asarray(image.affine)
            if isinstance(image.header, nib.Nifti1Header) and is_synthetic(image.header):
                raise _painted(path)
            first = first or grid
            if grid[0] != first[0] or len(grid[0]) != 3 or not np.allclose(grid[1], first[1], atol=_NEAR):
                raise DataError(
                    f"{printable(path)}: expected the grid of the t1, {first[0]}, in the same place, found {grid[0]}; "
                    "look at it with `synth check`, or give --resample."
                )

    @cached_property
    def _case_needed(self) -> bool:
        """Whether the files cannot stand as they are: they are on another grid, which the user wants to be BraTS's."""
        return self.item.member.reading.resample and "resampling" in self.case.meta


def _painted(path: Path) -> DataError:
    return DataError(
        f"{printable(path)}: expected a patient's scan, found one that synth painted, by its header; take it out, or "
        "give the set that it comes from, with its manifest."
    )
