"""The segmenting of single cases: read, segmented, measured, written; here or in the processes of a crew."""

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synth.ahead import ahead
from synth.brats import REGIONS, Tumour
from synth.case import Case
from synth.cluster.workers import Place
from synth.datasets.fingerprint import fingerprint
from synth.datasets.grids import spacing_of
from synth.datasets.members import Member
from synth.datasets.reading import Reading
from synth.datasets.sets import open_set
from synth.datasets.voxels.label_order import LabelFacts, label_surface
from synth.errors import ModelError
from synth.models.ensembles import load_segmenter
from synth.models.postprocess import Postprocess
from synth.quality.segmentation_metrics import measure
from synth.runs.segmentations import on_own_grid, read_segmentation, resampling_of, write_segmentation
from synth.show.contact_sheet import Row, pair_rows, row

if TYPE_CHECKING:
    from synth.models.sliding_window import Segmenter


@dataclass(frozen=True)
class Segmented:
    """A case whose segmentation is written.

    Attributes:
        record: for the manifest.
        warnings: about its scans.
        labels: what is kept of its own labels, to judge them with those of the others; None: it has none.
        rows: of the contact sheet, if it is shown there.
    """

    record: dict[str, Any]
    warnings: tuple[str, ...]
    labels: LabelFacts | None
    rows: list[Row] = field(default_factory=list)


@dataclass(frozen=True)
class Model:
    """What segments: the arguments of `load_segmenter`."""

    name: str | Path | None
    ensemble: bool
    mirror: str
    overlap: float

    def load(self) -> tuple["Segmenter", list[dict]]:
        """See `load_segmenter`."""
        return load_segmenter(self.name, ensemble=self.ensemble, mirror=self.mirror, overlap=self.overlap)


@dataclass
class Segmenting:
    """Segments cases by their place in the set; a job for a crew.

    Attributes:
        path: of the set.
        reading: what is stated about it.
        model: what segments.
        weights: checksums of its weights.
        after: of the labels.
        out: where they go.
        numbers: the number of each case, by id.
        shown: places that the contact sheet shows.
    """

    path: Path
    reading: Reading
    model: Model
    weights: Sequence[str]
    after: Postprocess
    out: Path
    numbers: dict[str, int] = field(default_factory=dict)
    shown: frozenset[int] = frozenset()

    def prepare(self, place: Place) -> None:
        """Load the segmenter in a worker's process, and find the cases.

        Raises:
            ModelError: it is missing, damaged, or another one than the run began with.
        """
        from synth.models.runtime import take_place

        take_place(place.threads, place.number)
        segmenter, cards = self.model.load()
        if (found := [card["weights_sha256"] for card in cards]) != list(self.weights):
            raise ModelError(
                f"the workers of a run must compute alike: expected weights {list(self.weights)}, found {found}; give "
                "them the same files."
            )
        self.use(segmenter, open_set(self.path, scans=True, strict=False, reading=self.reading).members)

    def use(self, segmenter: "Segmenter", scans: Sequence[Member]) -> None:
        """Work with what is loaded already."""
        self._segmenter, self._scans = segmenter, scans

    def __getstate__(self) -> dict[str, Any]:
        """Another process loads for itself."""
        return {name: value for name, value in self.__dict__.items() if not name.startswith("_")}

    def __call__(self, items: Sequence[int]) -> Generator[Segmented, None, None]:
        """The cases at these places, in order; the next one is read meanwhile."""
        reads = ((self._scans[place].read("optional"), self._scans[place].checksum()) for place in items)
        with closing(ahead(reads)) as cases:
            for place, (case, source) in zip(items, cases, strict=True):
                facts = None if case.labels is None else label_surface(case.labels, case.images)
                warnings = tuple(case.meta.get("warnings", ()))
                labels = self.after.apply(self._segmenter(case), case.voxel_ml)
                record = self._written(self._scans[place], case, labels, source)
                rows = self.rows(self._scans[place], case, labels) if place in self.shown else []
                yield Segmented(record, warnings, facts, rows)

    def rows(self, scan: Member, case: Case, labels: np.ndarray | None = None) -> list[Row]:
        """What the contact sheet shows of a case that is done; labels as found, None: as they were written."""
        if labels is None or resampling_of(case) is not None:
            labels = read_segmentation(case, self.out, scan.values)
        if case.labels is None:
            return [row(replace(case, labels=labels), "found")]
        return pair_rows(case, replace(case, labels=labels), notes=("truth", "found"))

    def _written(self, scan: Member, case: Case, labels: np.ndarray, source: str) -> dict[str, Any]:
        affine, pair = case.affine, None if case.labels is None else (case.labels, labels)
        resampling = resampling_of(case)
        if resampling is not None:
            affine = np.array(resampling.affine)
            labels, pair = on_own_grid(scan, labels, resampling)
        counts = np.bincount(labels.ravel(), minlength=len(Tumour)) * abs(np.linalg.det(affine[:3, :3])) / 1000
        spacing = tuple(map(float, spacing_of(affine)))
        record = {
            "index": self.numbers[case.id],
            "id": case.id,
            "source": source,
            "fingerprint": fingerprint(case.images),
            "volumes_ml": {name: round(float(counts[list(region)].sum()), 3) for name, region in REGIONS.items()},
            "scores": None if pair is None else measure(*pair, spacing),
        }
        if resampling is not None:
            record["resampling"] = case.meta["resampling"]
        files = write_segmentation(case, labels, scan.header(), self.out, affine, scan.values)
        return {**record, "files": files}
