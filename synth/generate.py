"""The run: sample a layout, paint it, write it; sample k depends on the seed, k and the settings alone.

Sampling, painting and writing overlap in three threads with short queues between them, so that memory does not grow
with n. What is written is vouched for by the manifest, line by line (see `manifest`); a run that was interrupted is
resumed by giving the same settings.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from synth import __version__
from synth.ahead import ahead
from synth.brats import MODALITIES, NAMINGS
from synth.case import Case
from synth.contact_sheet import ContactSheet
from synth.errors import OutputError, SynthError
from synth.exporters import EXPORTERS, open_exporter
from synth.exporters.files import atomic_write
from synth.layout.coverage import Coverage, coverage, survey
from synth.layout.edits.recipe import Recipe, is_preset
from synth.layout.layout import Layout
from synth.layout.plan import Plan
from synth.layout.sampler import LayoutRecipe, LayoutSampler
from synth.manifest import Manifest, json_text, read_run, recorded_files, remove_run
from synth.sources import Sources
from synth.style import Style

SHEET = "contact_sheet.png"
RECIPES = "recipes.jsonl"
COVERAGE = "coverage.json"
_DRAWS = {"noise": 1, "style": 2}  # branches of a sample's seed sequence; the layout has the trunk


@dataclass(frozen=True)
class GenerateConfig:
    """The settings of a run that its samples depend on."""

    seed: int = 0
    format: str = "nifti"
    naming: str = "brats2020"
    edits: Recipe | str | Path | tuple[str, ...] | None = None  # what names a recipe (`Recipe.of`); None: "standard"
    style: str | None = None  # None: "own" where hosts have a scan, else "sampled"
    plan: Plan | str | Path | None = None  # what names a plan (`Plan.of`); None: as it comes

    def __post_init__(self):
        """Raise `SynthError` on values that make no run."""
        if self.naming not in NAMINGS:
            raise SynthError(f"naming must be one of {', '.join(NAMINGS)}, found {self.naming!r}.")
        if self.format not in EXPORTERS:
            raise SynthError(f"format must be one of {', '.join(EXPORTERS)}, found {self.format!r}.")
        if not isinstance(self.seed, int) or not 0 <= self.seed < 2**63:
            raise SynthError(f"the seed must be a whole number from 0 to 2^63 - 1, found {self.seed!r}.")
        # files are read once, and refused before anything else is done; a preset waits for the hosts it is to suit
        if self.edits is not None and not is_preset(self.edits):
            object.__setattr__(self, "edits", Recipe.of(self.edits))
        if self.plan is not None:
            object.__setattr__(self, "plan", Plan.of(self.plan))


@dataclass(frozen=True)
class SampleRecipe:
    """Everything sample k is made of; JSON-able but for the layout itself, which the layout recipe rebuilds."""

    layout: LayoutRecipe
    style_kind: str
    style: Style

    def to_dict(self) -> dict:
        """One manifest record without its files."""
        style = self.style.to_dict()
        return {**self.layout.to_dict(), "style": {"kind": self.style_kind, **style}}


@dataclass(frozen=True)
class Outcome:
    """What a run did."""

    out: Path
    written: int
    kept: int
    redraws: int
    seconds: float
    coverage: Coverage | None = None  # of the plan, if there was one

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
        self.style_kind = self.config.style or ("sampled" if sources.own_style is None else "own")
        sources.style(self.style_kind, sources.hosts[0].id, np.random.default_rng(0))  # refuse before the work begins
        self._painter = None
        self._naming = NAMINGS[self.config.naming]

    def settings(self) -> dict:
        """What `run.json` says; a resumed run must agree."""
        from synth.models.weights import model_hash, read_card

        card = read_card(self.model)
        return {
            "synth": __version__,
            "format": self.config.format,
            "naming": self.config.naming,
            **self.layout_settings(),
            "model": {"name": card["name"], "hash": model_hash(card)},
        }

    def layout_settings(self) -> dict:
        """The part of the settings that layouts and styles depend on: recipe and plan with all they say."""
        return {
            "seed": self.config.seed,
            "edits": self.sampler.recipe.to_dict(),
            "plan": self.sampler.plan.to_dict() if self.sampler.plan else None,
            "style": self.style_kind,
            "sources": self.sources.name,
        }

    def draw(self, index: int) -> tuple[Layout, SampleRecipe]:
        """Layout and recipe of a sample; no network is needed."""
        layout, recipe = self.sampler.draw(index)
        style = self.sources.style(self.style_kind, recipe.host, self._rng(index, "style"))
        return layout, SampleRecipe(recipe, self.style_kind, style)

    def paint(self, layout: Layout, recipe: SampleRecipe) -> Case:
        """The case of a drawn sample: int16 intensities on the style's scanner scale, 0 outside the brain."""
        index = recipe.layout.index
        noise = self._rng(index, "noise").integers(2**31 - 1, size=2)
        image = self.painter(layout, recipe.style, tuple(int(v) for v in noise))
        meta = {**recipe.to_dict(), "id": self._naming.case_pattern.format(index)}
        return to_case(meta["id"], layout, image, recipe.style, meta)

    def cases(self, indices) -> Iterator[Case]:
        """Painted cases, one after the other; layouts are drawn ahead in a thread."""
        for layout, recipe in ahead(map(self.draw, indices)):
            yield self.paint(layout, recipe)

    @property
    def painter(self):
        """The generator, loaded when first used."""
        if self._painter is None:
            from synth.models.weights import load_generator

            self._painter, _ = load_generator(self.model)
        return self._painter

    def _rng(self, index: int, branch: str) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self.config.seed, spawn_key=(index, _DRAWS[branch])))


def to_case(case_id: str, layout: Layout, image: np.ndarray, style: Style, meta: dict | None = None) -> Case:
    """A Case on the full grid from a painted brain box: scanner intensities, at least 1 in the brain, 0 outside."""
    box = layout.bounding_box()
    low, high = np.asarray(style.window, np.float32).T
    brain = layout.brain[box]
    # modality by modality in planes of their own: what the writers read, and contiguous
    planes = np.zeros((4, *layout.shape), np.int16)
    for m in range(4):
        values = np.rint(image[..., m] * (high[m] - low[m]) + low[m])
        planes[m][box] = np.where(brain, np.clip(values, 1, 32767), 0)
    return Case(case_id, np.moveaxis(planes, 0, -1), layout.tumour, layout.affine, meta or {})


def generate(
    generation: Generation,
    n: int,
    out: str | Path,
    *,
    resume: bool = False,
    force: bool = False,
    shard: tuple[int, int] = (0, 1),
    progress: Callable = iter,
    surveying: Callable = iter,
) -> Outcome:
    """Write samples 0 to n-1 below `out`, with manifest, contact sheet and, if there is a plan, its coverage.

    Args:
        generation: what makes the samples.
        n: how many.
        out: a folder that does not exist or is empty, unless `resume` or `force`.
        resume: go on with an interrupted run of the same settings (n may have grown).
        force: remove what an earlier run of synth wrote there first; other files outside its cases' folders stay.
        shard: (i, m): only samples k with k mod m = i, for a cluster; each shard has its own `out`.
        progress: wraps an iterator of the finished samples (`tqdm` with `total`).
        surveying: wraps the indices of the unplanned samples that a plan's coverage is compared with.

    Raises:
        OutputError: the folder is not ours to write to, belongs to another run, or the disk is full.
        LayoutError: no lawful layout could be drawn.
    """
    begin = time.perf_counter()
    out = Path(out)
    indices = _shard_indices(n, shard)
    # what may be refused comes before anything is removed
    settings = {**generation.settings(), "n": n, "shard": list(shard)}
    repeatable()
    _ = generation.painter
    _claim(out, resume=resume, force=force)
    redraws = written = 0
    with ExitStack() as stack:
        manifest = stack.enter_context(Manifest(out, settings, free=("n",)))
        naming = NAMINGS[generation.config.naming]
        exporter = stack.enter_context(open_exporter(generation.config.format, out, naming=naming))
        done = manifest.verified(exporter.verify)
        todo = [k for k in indices if k not in done]
        sheet = ContactSheet(len(indices), title=f"synth {__version__}, seed {generation.config.seed}")
        position = {k: i for i, k in enumerate(indices)}
        samples = stack.enter_context(closing(ahead(_written(generation, exporter, todo))))  # closed before the writer
        for case, record in progress(samples):
            manifest.append(record)
            sheet.add(case, position[record["index"]])
            redraws += len(record["redraws"])
            written += 1
        exporter.close()  # only now is the output complete
        for k in done:
            if k in position and sheet.wants(position[k]):
                sheet.add(exporter.read(manifest.get(k)["id"]), position[k])
        sheet.save(out / SHEET)
        covered = None
        if generation.sampler.plan:
            made = [record["plan"] for record in manifest.entries() if record["index"] in position]
            covered = write_coverage(generation, n, shard, made, out, surveying)
    return Outcome(out, written, len(indices) - written, redraws, time.perf_counter() - begin, covered)


def plan_coverage(generation: Generation, n: int, shard: tuple[int, int], made, surveying: Callable = iter) -> Coverage:
    """How well a run's samples cover its plan; `made` are the `plan` entries of their records."""
    sampler = generation.sampler
    return coverage(sampler.plan, sampler.seed, _shard_indices(n, shard), made, survey(sampler, n, surveying))


def write_coverage(generation: Generation, n: int, shard, made, out: Path, surveying: Callable = iter) -> Coverage:
    """`plan_coverage`, kept in the run's folder too."""
    covered = plan_coverage(generation, n, shard, made, surveying)
    with atomic_write(out / COVERAGE) as handle:
        handle.write(json_text(covered.to_dict(), what=f"{out / COVERAGE}", indent=1).encode())
    return covered


def repeatable() -> None:
    """Ask TensorFlow for the same bits every time: it matters on a GPU; on one kind of CPU they are the same anyway."""
    from synth.models import tf

    tf.config.experimental.enable_op_determinism()
    # operations one after the other, each on all cores: as fast, and about 0.1 GiB less at the peak
    with suppress(RuntimeError):  # too late if TensorFlow runs already in this process; then it stays as it is
        tf.config.threading.set_inter_op_parallelism_threads(1)


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
    path, indices = Path(out) / RECIPES, _shard_indices(n, shard)
    if path.exists() and not force:
        raise OutputError(f"{path}: exists; give --force to replace it, or another --out.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out}: the folder cannot be made ({error.strerror}); choose another --out.") from error
    with atomic_write(path) as handle:
        for _, recipe in progress(map(generation.draw, indices)):
            handle.write(json_text(recipe.to_dict(), what="recipe").encode())
    return path


def _written(generation: Generation, exporter, todo) -> Iterator[tuple[Case, dict]]:
    """Cases once their files are complete, with the manifest's record; runs in the writer's thread."""
    for case in ahead(generation.cases(todo)):
        files = exporter.write(case)
        yield case, {**case.meta, "files": files}


def _shard_indices(n: int, shard: tuple[int, int]) -> list[int]:
    i, m = shard
    if n < 1:
        raise SynthError(f"--n must be at least 1, found {n}.")
    if m < 1 or not 0 <= i < m:
        raise SynthError(f"--shard i/m needs 0 <= i < m, found {i}/{m}.")
    indices = list(range(i, n, m))
    if not indices:
        raise SynthError(f"shard {i}/{m} of {n} samples is empty; use fewer shards.")
    return indices


def _claim(out: Path, *, resume: bool, force: bool) -> None:
    """Make sure the folder is ours: new, empty, or an earlier run's that is to be resumed or replaced."""
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out}: is a file; give a folder for --out.")
    ours = _is_ours(out)
    present = sorted(out.iterdir()) if out.is_dir() else []
    present = [path for path in present if not path.name.startswith(".") and path.name != RECIPES]
    if not present or (resume and ours and not force):
        return
    if not ours:
        raise OutputError(
            f"{out}: expected a new or empty folder, found {len(present)} entries that synth did not write "
            f"({present[0].name}, ...); choose another --out."
        )
    if not force:
        raise OutputError(
            f"{out}: holds an earlier run; give --resume to go on with it, --force to replace it, or another --out."
        )
    remove_run(out, _names_of_run, (SHEET, COVERAGE))


def _is_ours(out: Path) -> bool:
    """Whether the settings of a run of synth are there; `run.json` alone is a name that others use too."""
    try:
        return "synth" in read_run(out)
    except OutputError:
        return False


def _names_of_run(out: Path) -> set[str]:
    """Files of an earlier run, relative to `out`, with those that a kill kept out of its manifest."""
    run, names = read_run(out), recorded_files(out)
    if run["format"] == "hdf5":
        from synth.exporters.hdf5_cases import STAGING, shard_paths

        found = [*shard_paths(out), *(out / STAGING).glob("*.h5")]
        return {str(path.relative_to(out)) for path in found}
    naming = NAMINGS[run["naming"]]
    for case_id in map(naming.case_pattern.format, range(run["n"])):
        names |= {f"{case_id}/{naming.stem(case_id, part)}.nii.gz" for part in (*MODALITIES, "seg")}
    return names
