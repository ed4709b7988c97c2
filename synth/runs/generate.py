"""The run: sample a layout, paint it, write it; sample k depends on the seed, k and the settings alone.

Sampling, painting and writing overlap in three threads with short queues between them, so that memory does not grow
with n. What is written is vouched for by the manifest, line by line (see `manifest`); a run that was interrupted is
resumed by giving the same settings.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from copy import copy
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synth import __version__
from synth.ahead import ahead, begun
from synth.brats import NAMINGS
from synth.case import Case
from synth.cluster.gathering import gather
from synth.cluster.workers import Place, Workers
from synth.datasets.case_files import QUARANTINE
from synth.disk.claim import DRY_RUN, GENERATE, claim_file
from synth.disk.files import atomic_write, make_folder
from synth.disk.manifest import LIBRARIES, RUN, json_text, read_run
from synth.disk.objects import refuse_address
from synth.errors import OutputError, SynthError
from synth.exporters import EXPORTERS, take_in, writer_elsewhere
from synth.exporters.deflate import COMPRESSOR
from synth.hosts.plans import read_plan
from synth.hosts.sources import Sources
from synth.layout.edits.presets import AnyPolicy, is_preset, policy_of
from synth.layout.layout import Layout
from synth.layout.plans.plan_file import AnyPlan
from synth.layout.sampling.coverage import Coverage
from synth.layout.sampling.recipe import LayoutRecipe
from synth.layout.sampling.sampler import LayoutSampler
from synth.models.cards import model_hash, read_card, sees_detail
from synth.randomness import Branch, sample_rng
from synth.runs.coverage import shard_indices, write_coverage
from synth.runs.destination import open_destination
from synth.runs.folder import COVERAGE, RECIPES, SHEET, Quarantine, names_of_run, scores_note
from synth.runs.gate import Gate, GateReport
from synth.runs.ids import OLD_DIGITS, CaseIds
from synth.runs.making import MEMORY, Making, ready
from synth.runs.nearness import Nearness
from synth.runs.painted_case import to_case
from synth.runs.recipe import SampleRecipe
from synth.show.contact_sheet import ContactSheet
from synth.style.fading import shipped_fading
from synth.style.slices import ScanSlices, averaged, drawn_slices, noisier
from synth.style.style import Style

if TYPE_CHECKING:
    from synth.models.inference import LayoutPainter


@dataclass(frozen=True)
class GenerateConfig:
    """The settings of a run that its samples depend on."""

    seed: int = 0
    format: str = "nifti"
    naming: str = "brats2020"
    edits: AnyPolicy | None = None  # what names a policy (`policy_of`); None: "standard"
    style: str | None = None  # None: "mixed" where hosts have a scan, else "sampled"
    plan: AnyPlan | None = None  # what names a plan; None: as it comes
    prefix: str | None = None  # of ids, before their number; None: the naming's
    first: int = 0  # the number in the id of sample 0
    shard_gb: float | None = None  # HDF5: 10^9 bytes a file; None: one file

    def __post_init__(self) -> None:
        """Raise `SynthError` on values that make no run."""
        if self.naming not in NAMINGS:
            raise SynthError(f"naming must be one of {', '.join(NAMINGS)}, found {self.naming!r}.")
        if self.format not in EXPORTERS:
            raise SynthError(f"format must be one of {', '.join(EXPORTERS)}, found {self.format!r}.")
        if not isinstance(self.seed, int) or not 0 <= self.seed < 2**63:
            raise SynthError(f"the seed must be a whole number from 0 to 2^63 - 1, found {self.seed!r}.")
        if self.shard_gb is not None and (self.format != "hdf5" or not 0 < self.shard_gb < float("inf")):
            raise SynthError(
                f"the size of HDF5 files (shard_gb) must be above 0, with the format hdf5; found {self.shard_gb}, "
                f"{self.format}."
            )
        _ = self.ids  # refused where they cannot name a file
        # files are read once, and refused before anything else is done; a preset waits for the hosts it is to suit
        if self.edits is not None and not is_preset(self.edits):
            object.__setattr__(self, "edits", policy_of(self.edits))
        if self.plan is not None:
            object.__setattr__(self, "plan", read_plan(self.plan))

    @property
    def ids(self) -> CaseIds:
        """How the cases are called."""
        return CaseIds.of(NAMINGS[self.naming], self.prefix, self.first)


@dataclass(frozen=True)
class Outcome:
    """What a run did."""

    out: Path | str  # str: an address
    written: int
    kept: int
    redraws: int
    seconds: float
    coverage: Coverage | None = None  # of the plan, if there was one
    gate: GateReport | None = None  # if there was one
    notes: tuple[str, ...] = ()  # what the user must know of the format's output

    def sentence(self) -> str:
        """One line for the user."""
        kept = f", {self.kept} were there already" if self.kept else ""
        minutes = f"{self.seconds / 60:.1f} min" if self.seconds >= 90 else f"{self.seconds:.1f} s"
        return f"{self.written} cases written to {self.out}{kept}; {self.redraws} layouts redrawn; {minutes}."


class Generation:
    """Makes the samples of one run: recipes, layouts and painted cases, by index.

    Args:
        sources: brains, tumours, styles (`sources.embedded_sources`, `sources.data_sources`).
        model: name or folder of the generator; None is the packaged default.
        config: the settings.

    Example:
        >>> generation = Generation(embedded_sources(), config=GenerateConfig(seed=7))  # doctest: +SKIP
        >>> for case in generation.cases(range(10)): train_on(case.images, case.labels)  # doctest: +SKIP
    """

    def __init__(self, sources: Sources, model: str | Path | None = None, config: GenerateConfig | None = None):
        self.sources, self.config = sources, config or GenerateConfig()
        self.model = "default" if model is None else model
        self.sampler = LayoutSampler(sources.hosts, self.config.edits, self.config.seed, self.config.plan)
        self.style_kind = self.config.style or sources.usual_style
        sources.style(self.style_kind, sources.hosts[0].id, np.random.default_rng(0))  # refuse before the work begins
        self.nearness = Nearness(self.sampler, sources.scan)
        self.ids = self.config.ids
        self._painter: LayoutPainter | None = None
        self._begun: dict[int, Callable[[], tuple[Layout, SampleRecipe]]] = {}

    def __reduce__(self) -> tuple:
        """Other processes load the generator for themselves."""
        return _again, (type(self), self.sources, self.model, self.config, self.ids)

    def ready(self, place: Place | None = None) -> dict:
        """Load the generator in this process, perhaps a worker at its place; `settings`.

        Raises:
            ModelError: the generator is missing or damaged.
        """
        from synth.models.runtime import repeatable, take_place

        if place is not None:
            take_place(place.threads, place.number)
        repeatable()
        _ = self.painter
        return self.settings()

    def settings(self) -> dict:
        """What `run.json` says; a resumed run must agree, but for the versions of libraries."""
        from synth.models.runtime import versions

        return {
            "synth": __version__,
            "format": self.config.format,
            "naming": self.config.naming,
            **({} if self.config.shard_gb is None else {"shard_gb": self.config.shard_gb}),
            **({} if self.ids.digits == OLD_DIGITS else {"ids": self._form_of_ids()}),
            **self.layout_settings(),
            "model": self.model_settings(),
            LIBRARIES: {**versions(), "compressor": COMPRESSOR},
        }

    def model_settings(self) -> dict:
        """The part of the settings that says by what samples are painted, and with which kernels in this process."""
        from synth.models.runtime import FLOAT32, kernels, precision

        card = read_card(self.model)
        policy = {} if precision() == FLOAT32 else {"precision": precision()}
        return {"name": card["name"], "hash": model_hash(card), "kernels": kernels(), **policy}

    def layout_settings(self) -> dict:
        """The part of the settings that layouts and styles depend on: policy and plan with all they say."""
        return {
            "seed": self.config.seed,
            "edits": self.sampler.policy.to_dict(),
            "plan": self.sampler.plan.to_dict() if self.sampler.plan else None,
            "style": self.style_kind,
            "sources": self.sources.name,
            **({} if self.sampler.deck is None else {"deck": self.sampler.deck.version}),
            **({"reading": stated} if (stated := self.sources.reading.to_dict()) else {}),
        }

    def _form_of_ids(self) -> dict[str, Any]:
        own = {} if self.config.prefix is None else {"prefix": self.config.prefix}
        return {**own, "first": self.ids.first, "digits": self.ids.digits}

    def continuing(self, out: Path) -> "Generation":
        """The same, with ids of six digits where the run in a folder, begun by an earlier version, has those."""
        usual, naming = self.config.ids, NAMINGS[self.config.naming]
        if usual != CaseIds.of(naming) or not (out / RUN).is_file() or "ids" in read_run(out):
            return self
        other = copy(self)
        other.ids = CaseIds.of(naming, digits=OLD_DIGITS)
        return other

    def begin(self, index: int) -> None:
        """Begin to draw a sample in a thread, such as the first while TensorFlow is imported; `draw` waits for it."""
        self._begun[index] = begun(partial(self._drawn, index, 0, None))

    def draw(self, index: int, attempt: int = 0, *, detail: bool | None = None) -> tuple[Layout, SampleRecipe]:
        """Layout (with `detail`; None: where the generator sees it) and recipe of a sample or a further attempt."""
        early = self._begun.pop(index, None) if not attempt and detail is None else None
        return early() if early else self._drawn(index, attempt, detail)

    def _drawn(self, index: int, attempt: int, detail: bool | None) -> tuple[Layout, SampleRecipe]:
        detail = self.sees_detail if detail is None else detail
        layout, recipe = self.sampler.draw(index, attempt=attempt, detail=detail)
        style = self.sources.style(
            self.style_kind, recipe.host, sample_rng(self.config.seed, index, Branch.STYLE, attempt=attempt)
        )
        return layout, SampleRecipe.of(recipe, self.style_kind, style, attempt, self._slices(recipe, style, attempt))

    def _slices(self, recipe: LayoutRecipe, style: Style, attempt: int) -> ScanSlices:
        """The slices of a sample; none for a generator that sees no detail, and paints nothing so fine."""
        if not self.sees_detail:
            return {}
        host = self.sources.own_style(recipe.host) if self.sources.own_style else None
        rng = sample_rng(self.config.seed, recipe.index, Branch.SLICES, attempt=attempt)
        return drawn_slices(style, host, rng)

    def paint(self, layout: Layout, recipe: SampleRecipe) -> Case:
        """The case of a drawn sample: int16 intensities on the scale of its recipe, 0 outside the brain."""
        index = recipe.layout.index
        rng = sample_rng(self.config.seed, index, Branch.NOISE, attempt=recipe.attempt)
        noise = rng.integers(2**31 - 1, size=2)
        style = noisier(recipe.style, recipe.slices)
        image = self.painter(shipped_fading().faded(layout, recipe.style), style, (int(noise[0]), int(noise[1])))
        if recipe.slices:
            image = averaged(image, layout.brain[layout.bounding_box()], recipe.slices)
        meta = {**recipe.to_dict(), "id": self.ids(index)}
        return to_case(meta["id"], layout, image, recipe.written, meta)

    def cases(self, indices: Iterable[int]) -> Iterator[Case]:
        """Painted cases, one after the other; layouts are drawn ahead in a thread."""
        for layout, recipe in ahead(map(self.draw, indices)):
            yield self.paint(layout, recipe)

    @cached_property
    def sees_detail(self) -> bool:
        """Whether the generator is conditioned on the detail of layouts."""
        return sees_detail(read_card(self.model))

    @property
    def painter(self) -> "LayoutPainter":
        """The generator, loaded when first used."""
        if self._painter is None:
            from synth.models.weights import load_generator

            self._painter, _ = load_generator(self.model)
        return self._painter


def _again(
    kind: type[Generation], sources: Sources, model: str | Path, config: GenerateConfig, ids: CaseIds
) -> Generation:
    generation = kind(sources, model, config)
    generation.ids = ids
    return generation


def generate(
    generation: Generation,
    n: int,
    out: str | Path,
    *,
    gate: Gate | None = None,
    resume: bool = False,
    force: bool = False,
    shard: tuple[int, int] = (0, 1),
    workers: Workers | None = None,
    progress: Callable = iter,
    surveying: Callable = iter,
) -> Outcome:
    """Write samples 0 to n-1 below `out`, with manifest, contact sheet and, if there is a plan, its coverage.

    A sample that the gate refuses is drawn again under its own number; one that is refused every time is written to
    `out/quarantine`, a run of its own, and its number stays empty in `out`: sample k never depends on other samples.

    Args:
        generation: what makes the samples.
        n: how many.
        out: a folder that does not exist or is empty, unless `resume` or `force`; or an address of object storage,
            `s3://bucket/prefix`, with nothing below it.
        gate: scores every sample, and refuses those below its thresholds; None: no scores.
        resume: go on with an interrupted run of the same settings (n may have grown).
        force: remove what an earlier run of synth wrote there first; other files outside its cases' folders stay.
        shard: (i, m): only samples k with k mod m = i, for a cluster; each shard has its own `out`.
        workers: processes that share the work, and write to `out` themselves; None: this one. The bytes are the same.
        progress: wraps an iterator of the finished samples (`tqdm` with `total`).
        surveying: wraps the indices of the unplanned samples that a plan's coverage is compared with.

    Raises:
        OutputError: the folder is not ours to write to, belongs to another run, or the disk is full.
        LayoutError: no lawful layout could be drawn.
        ModelError: the generator is missing or damaged.
        SynthError: Dask is missing, or the workers do not come, are too small, or are lost again and again.
    """
    begin = time.perf_counter()
    indices = shard_indices(n, shard)
    position = {k: i for i, k in enumerate(indices)}
    title = f"synth {__version__}, seed {generation.config.seed}"
    redraws = written = 0
    with ExitStack() as stack:
        destination = open_destination(out, shared=workers is not None)
        stack.enter_context(destination)
        folder, form = destination.folder, generation.config.format
        # what may be refused comes before anything is removed
        ours = destination.claim(GENERATE, form, resume=resume, force=force, reads=generation.sources.reads)
        generation = generation.continuing(folder) if resume and not force else generation
        crew = stack.enter_context(gather(workers, MEMORY)) if workers else None
        if crew is None and not resume:
            generation.begin(indices[0])
        own = crew.ask(partial(ready, generation, gate)) if crew else ready(generation, gate)
        settings = {**own, "n": n, "shard": list(shard), **({"gate": gate.settings()} if gate else {})}
        ours.clear(names_of_run, (SHEET, COVERAGE), parts={QUARANTINE: (SHEET,)})
        manifest = stack.enter_context(destination.manifest(settings))
        quarantine = stack.enter_context(Quarantine(destination, settings, shared=crew is not None))
        exporter = stack.enter_context(destination.output(settings))
        done = manifest.verified(exporter.verify)
        there = done | quarantine.verified()
        todo = [k for k in indices if k not in there]
        sheet = ContactSheet(len(indices), title=title)
        shown = frozenset(k for k in todo if sheet.wants(position[k]))
        if crew is None:
            samples = ahead(Making(generation, gate, {True: exporter, False: quarantine}, shown)(todo))
        else:
            writers = {True: writer_elsewhere(exporter), False: quarantine.elsewhere()}
            samples = crew.map(Making(generation, gate, writers, shown, own), todo)
        with closing(samples):  # before the writers
            for made in progress(samples):
                if made.passed:
                    if crew is not None:
                        take_in(exporter, made.record["id"])
                    manifest.append(made.record)
                    if made.row is not None:
                        sheet.put([made.row], position[made.record["index"]])
                else:
                    quarantine.append(made.record)
                redraws += len(made.record["redraws"])
                written += made.passed
        if crew is not None:
            crew.release()
            destination.sweep()
        exporter.close()  # only now is the output complete
        quarantine.finish(f"{title}, refused by the gate")
        kept = [record for record in manifest.entries() if record["index"] in position]
        for record in kept:
            if record["index"] in done and sheet.wants(position[record["index"]]):
                sheet.add(exporter.read(record["id"]), position[record["index"]], scores_note(record))
        if kept:  # else the gate refused all
            sheet.save(folder / SHEET)
        covered = report = None
        if generation.sampler.plan:
            covered = write_coverage(generation, n, shard, [record["plan"] for record in kept], folder, surveying)
        if gate:
            report = GateReport.of(gate, kept, quarantine.entries(position))
        destination.finish()
    notes = getattr(exporter, "notes", ())
    return Outcome(
        destination.out, written, len(kept) - written, redraws, time.perf_counter() - begin, covered, report, notes
    )


def write_recipes(
    generation: Generation,
    n: int,
    out: str | Path,
    *,
    force: bool = False,
    shard: tuple[int, int] = (0, 1),
    progress: Callable = iter,
) -> Path:
    """Draw the recipes of samples 0 to n-1 without painting, into `out/recipes.jsonl`: a dry run.

    Raises:
        OutputError: the file exists and `force` is not given, or it cannot be written.
    """
    refuse_address(out, OutputError, "recipes of a dry run go to a folder")
    path, indices = Path(out) / RECIPES, shard_indices(n, shard)
    claim_file(path, DRY_RUN, force=force)
    make_folder(path.parent)
    with atomic_write(path) as handle:
        for _, recipe in progress(map(partial(generation.draw, detail=False), indices)):
            handle.write(json_text(recipe.to_dict(), what="recipe").encode())
    return path
