"""Segmenting scans: tumour labels for every case of a folder, on its own grid, measured where the truth is known.

A case's folder in the output appears when its segmentation is complete, and the manifest's line after it: a run that
was killed goes on and leaves the same bytes as an undisturbed one. A line also holds the checksum of the case's input
files, so that a resumed run does anew what has changed since.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from synth import __version__
from synth.brats import MODALITIES, NAMINGS, REGIONS
from synth.cluster.gathering import gather
from synth.cluster.workers import Workers
from synth.datasets.findings import folded_lines
from synth.datasets.fingerprint import Fingerprint
from synth.datasets.inspection import Inspection
from synth.datasets.members import FilesMember, Member
from synth.datasets.sets import CaseSet, open_set
from synth.disk.claim import SEGMENT, claim
from synth.disk.files import atomic_write, changed_files
from synth.disk.manifest import Manifest, json_text, recorded_files
from synth.disk.staging import remove_left
from synth.errors import SynthError
from synth.models.cards import median_postprocess, names_alone, trained_on
from synth.models.postprocess import Postprocess
from synth.quality.segmentation_metrics import summary, table
from synth.runs.making import MEMORY
from synth.runs.segmenting import Model, Segmenting
from synth.show.contact_sheet import MAX_ROWS, ContactSheet

if TYPE_CHECKING:
    from synth.cluster.crew import Crew

FORMAT = "segmentations"  # what `run.json` says where a set of cases has its file format
SCORES = "scores.json"
SHEET = "contact_sheet.png"
MIRRORS = ("none", "x", "xyz")
MOST_OVERLAP = 0.9  # beyond it a brain takes tens of thousands of windows


@dataclass(frozen=True)
class Segmentations:
    """What was done: cases written, cases that were there already, and how good they are where that is known.

    Attributes:
        out: the output folder.
        written: cases segmented now.
        kept: cases that an earlier run had segmented.
        seconds: for all of it.
        scores: id -> region -> metric -> value (`quality.segmentation_metrics.measure`) of cases that came with labels.
        summary: region -> metric -> mean and median over these cases; empty without any.
        trained_on: ids among them that the model was trained on: their scores say nothing about new scans.
        caution: a sentence where the model's card lists ids alone, so that scans under other names are not recognised.
    """

    out: Path
    written: int
    kept: int
    seconds: float
    scores: dict[str, dict] = field(default_factory=dict)
    summary: dict = field(default_factory=dict)
    trained_on: tuple[str, ...] = ()
    caution: str = ""

    def table(self) -> list[str]:
        """Lines for a terminal: every metric and region, mean and median; none without labelled cases."""
        return table(self.summary) if self.summary else []

    def sentence(self) -> str:
        """One line for the user."""
        kept = f", {self.kept} were there already" if self.kept else ""
        rate = f" ({self.seconds / self.written:.1f} s a case)" if self.written else ""
        return f"{self.written} cases segmented to {self.out}{kept}; {self.seconds:.1f} s{rate}."


def segment(
    scans: str | Path | CaseSet,
    out: str | Path,
    *,
    model: str | Path | None = None,
    ensemble: bool = False,
    mirror: str = "none",
    overlap: float = 0.5,
    postprocess: bool = True,
    resume: bool = False,
    force: bool = False,
    workers: Workers | None = None,
    progress: Callable[[Iterable], Iterable] = iter,
    tell: Callable[[str], None] = lambda line: None,
) -> Segmentations:
    """Segment every case below `scans` into `out/<id>/<id>_seg.nii.gz`: naming, label values and geometry as its own.

    Cases of a set that a `dataset.json` describes (nnU-Net's, the Decathlon's) go to `out/<id>.nii.gz`, with the label
    values that it names.

    Cases with a segmentation of their own are measured against it: `out/scores.json`. `out/contact_sheet.png` shows
    the scans with what was found (below the truth, where there is one): it shows patients, keep it with the dataset.

    Args:
        scans: BraTS cases, with or without labels; or what synth wrote as HDF5 (folder or `.h5` file). In a set opened
            with `Reading(resample=True)`, scans of another size, spacing or orientation (skull-stripped, aligned with
            one another) are segmented on the BraTS grid and measured, like all, on their own.
        out: a folder that does not exist or is empty, unless `resume` or `force`.
        model: a shipped segmenter's name or a model's folder; None: the packaged one.
        ensemble: `model` is a run of `synth train segmenter --folds`: the folds' probabilities are averaged.
        mirror: "none"; "x": also the scan mirrored left to right; "xyz": all eight mirrored views, averaged.
        overlap: share of a window that its neighbour covers again, 0 to 0.9.
        postprocess: apply the thresholds in the model's card (of an ensemble: the medians of its cards).
        resume: go on with an interrupted run of the same settings; cases may have been added or taken out.
        force: remove what an earlier run wrote there first.
        progress: wraps the scans still to be segmented (`tqdm`).
        workers: processes that share the work, and see the same folders; None: this one. The bytes are the same.
        tell: called with each warning about the scans segmented now, alike ones folded.

    Raises:
        DataError: no case, one that cannot be read, or whose modalities are not all there or not on one BraTS grid.
        ModelError: no such model or fold, or damaged weights.
        OutputError: the folder is not ours to write to, belongs to another run, or the disk is full.
        SynthError: Dask is missing, or the workers do not come, are too small, or are lost again and again.

    Example:
        >>> segment("BraTS2021_ValidationData", "found", mirror="x").summary["WT"]["dice"]  # doctest: +SKIP
        {'mean': 0.88, 'median': 0.9}
    """
    begin = time.perf_counter()
    if mirror not in MIRRORS or not 0 <= overlap <= MOST_OVERLAP:
        raise SynthError(
            f"mirror must be one of {', '.join(MIRRORS)} and overlap 0 to {MOST_OVERLAP}; found {mirror!r}, {overlap}."
        )
    out = Path(out)
    # what may be refused comes before anything is removed
    ours = claim(out, SEGMENT, resume=resume, force=force, apart=("the scans", scans))
    cases = _complete(open_set(scans, scans=True))
    how = Model(model, ensemble, mirror, overlap)
    segmenter, cards = how.load()
    weights = [card["weights_sha256"] for card in cards]
    after = median_postprocess(cards) if postprocess else Postprocess()
    settings = {
        "made_by": f"synth segment {__version__}",  # not "synth": it marks what `synth generate --force` may replace
        "format": FORMAT,
        "cases": len(cases),
        "model": {"name": cards[0].get("name"), "weights_sha256": weights},
        "mirror": mirror,
        "overlap": overlap,
        "postprocess": after.to_dict(),
        **({"reading": stated} if (stated := cases.reading.to_dict()) else {}),  # earlier runs had no choice
        **({"values": list(values)} if (values := cases.members[0].values) else {}),
    }
    with ExitStack() as stack:
        crew = stack.enter_context(gather(workers, MEMORY)) if workers else None
        ours.clear(partial(_names_of_run, cases.members), (SCORES, SHEET))
        manifest = stack.enter_context(Manifest(out, settings, free=("cases",)))
        place, path = (out.resolve(), cases.path.resolve()) if crew else (out, cases.path)  # where workers find them
        job = Segmenting(path, cases.reading, how, weights, after, place)
        job.use(segmenter, cases.members)
        run = _Run(cases, manifest, job, f"synth {__version__}, segmenter {cards[0].get('name')}")
        written = run.go(progress, crew)
        for line in [*folded_lines(run.said), *(note.message for note in run.inspection.findings())]:
            tell(line)
        scores = {member.id: scores for member in cases.members if (scores := run.scores(member))}
        done = Segmentations(
            out,
            written,
            len(cases) - written,
            time.perf_counter() - begin,
            scores,
            _summary(list(scores.values())),
            trained_on({scan: run.fingerprint(cases[scan]) for scan in scores}, cards),
            names_alone(cards) if scores else "",
        )
        _save_scores(done, settings)
    return done


class _Run:
    """Segments what the manifest does not vouch for, case by case, and draws the contact sheet meanwhile."""

    def __init__(self, cases: CaseSet, manifest: Manifest, job: Segmenting, title: str):
        scans = cases.members
        self.inspection = Inspection(cases.path, cases.reading)
        self.said: list[tuple[str, str]] = []
        self.scans, self.manifest, self.job, self.out = scans, manifest, job, manifest.folder
        # a case keeps its number when others are added or taken out: first come, first numbered
        self.numbers = {record["id"]: record["index"] for record in manifest.entries()}
        for scan in scans:
            self.numbers.setdefault(scan.id, max(self.numbers.values(), default=-1) + 1)
        job.numbers = self.numbers
        self.sheet = ContactSheet(len(scans), max_rows=MAX_ROWS // 2, title=title)

    def scores(self, scan: Member) -> dict | None:
        """What a case that is done was measured at, regions in their order (JSON has them sorted)."""
        record = self.manifest.get(self.numbers[scan.id])
        scores = record and record["scores"]
        return scores and {region: scores[region] for region in REGIONS}

    def fingerprint(self, scan: Member) -> Fingerprint:
        """Of the scan of a case that is done; empty where a synth without fingerprints segmented it."""
        return tuple((self.manifest.get(self.numbers[scan.id]) or {}).get("fingerprint", ()))

    def go(self, progress: Callable, crew: "Crew | None") -> int:
        """Segment and measure, here or in a crew; save the contact sheet. Returns how many cases were segmented."""
        self._check_done()
        todo = [place for place, scan in enumerate(self.scans) if self.numbers[scan.id] not in self.manifest]
        self.job.shown = frozenset(place for place in todo if self.sheet.wants(place))
        done = crew.map(self.job, todo) if crew else self.job(todo)
        with closing(done):
            for place, made in zip(progress(todo), done, strict=True):
                case_id = made.record["id"]
                self.inspection.see(case_id, made.labels)
                self.said += [(case_id, line) for line in made.warnings]
                self.manifest.append(made.record)
                self.sheet.put(made.rows, place)
        if crew:
            crew.release()
            remove_left(self.out, locked=True)  # by workers that were ended
        for place in sorted(set(range(len(self.scans))) - set(todo)):
            if self.sheet.wants(place):
                scan = self.scans[place]
                self.sheet.put(self.job.rows(scan, scan.read("optional")), place)
        self.sheet.save(self.out / SHEET)
        return len(todo)

    def _check_done(self) -> None:
        """Strike out records whose output is damaged, or whose input has changed since."""
        good = self.manifest.verified(partial(changed_files, self.out))
        for scan in self.scans:
            number = self.numbers[scan.id]
            record = self.manifest.get(number)
            if number in good and record and record["source"] != scan.checksum():
                self.manifest.discard(number)


def _complete(cases: CaseSet) -> CaseSet:
    """The set, refused now, not when the cases before it are done, where a case has not all modalities."""
    for member in cases.members:
        if isinstance(member, FilesMember) and not set(MODALITIES) <= set(member.files.paths):
            member.read("ignore")  # raises its sentence
    return cases


def _summary(rows: Sequence[dict]) -> dict:
    return summary(rows) if rows else {}


def _save_scores(done: Segmentations, settings: dict) -> None:
    path = done.out / SCORES
    if not done.scores:
        path.unlink(missing_ok=True)
        return
    content = {"settings": settings, "cases": done.scores, "summary": done.summary, "trained_on": done.trained_on}
    with atomic_write(path) as handle:
        handle.write(json_text(content, what=str(path), indent=1).encode())


def _names_of_run(scans: Sequence[Member], out: Path) -> Iterator[str]:
    """Files of an earlier run, relative to `out`, with those that a kill kept out of its manifest."""
    yield from recorded_files(out)
    for scan in scans:
        for naming in NAMINGS.values():
            yield f"{scan.id}/{naming.stem(scan.id, 'seg')}.nii.gz"
        yield f"{scan.id}.nii.gz"
