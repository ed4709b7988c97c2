"""Sets of layouts on disk: sampled without painting, or edited from others; with a manifest, resumable.

Sample k of `sample_layouts` is the very layout (and style) that sample k of `generate` paints with the same seed and
settings, and `synth generate --data` takes the set as hosts. Files and manifest follow the rules of `generate`: an
entry vouches for complete files, and `n` may grow when a set is resumed.
"""

import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import overload

from threadpoolctl import threadpool_limits

from synth import __version__
from synth.ahead import ahead
from synth.cluster.gathering import gather
from synth.cluster.workers import Place, Workers
from synth.datasets.layout_files import map_path, save_layout, style_path
from synth.disk.claim import LAYOUTS, claim
from synth.disk.files import changed_files, sha256_file
from synth.disk.manifest import Manifest, json_text, read_entries, recorded_files
from synth.disk.staging import remove_left
from synth.errors import LayoutError, OutputError, SynthError
from synth.hosts.inputs import Input
from synth.layout.detail import MAPS as DETAIL
from synth.layout.edits.presets import AnyPolicy
from synth.layout.layout import Layout
from synth.layout.sampling.coverage import Coverage
from synth.layout.sampling.sampler import LayoutSampler
from synth.runs.coverage import write_coverage
from synth.runs.folder import COVERAGE
from synth.runs.generate import Generation
from synth.style.style import Style

FORMAT = "layouts"  # what `run.json` of such a set says where a set of cases has its file format
PATTERN = "Layout_{:06d}"
MEMORY = 1.3 * 2**30  # bytes that a process which draws needs at most: 1.2 measured
STRIDE = 1_000_000  # sample numbers between one edited input and the next: room for more copies


@dataclass(frozen=True)
class LayoutSet:
    """What was done: the folder, how many layouts were written, how many were there, redraws, a plan's coverage."""

    out: Path
    written: int
    kept: int
    redraws: int
    seconds: float
    coverage: Coverage | None = None

    def sentence(self) -> str:
        """One line for the user."""
        kept = f", {self.kept} were there already" if self.kept else ""
        return f"{self.written} layouts written to {self.out}{kept}; {self.redraws} redrawn; {self.seconds:.1f} s."


def sample_layouts(
    generation: Generation,
    n: int,
    out: str | Path,
    *,
    resume: bool = False,
    force: bool = False,
    shard: tuple[int, int] = (0, 1),
    workers: Workers | None = None,
    progress: Callable = iter,
    surveying: Callable = iter,
) -> LayoutSet:
    """Write the layouts of samples 0 to n-1 below `out`, each with the style it would be painted in; no network.

    Args:
        generation: what draws them; its model is not touched.
        n: how many.
        out: a folder that does not exist or is empty, unless `resume` or `force`.
        resume: go on with an interrupted set of the same settings (n may have grown).
        force: remove what an earlier run wrote there first.
        shard: (i, m): only samples k with k mod m = i; each shard has its own `out`.
        workers: processes that share the work, and see the same folders; None: this one. The bytes are the same.
        progress: wraps the indices still to be drawn (`tqdm`).
        surveying: wraps the indices of the unplanned samples that a plan's coverage is compared with.

    Raises:
        OutputError: the folder is not ours to write to, belongs to another run, or the disk is full.
        LayoutError: no lawful layout could be drawn.
        SynthError: Dask is missing, or the workers do not come, are too small, or are lost again and again.
    """
    i, m = shard
    if n < 1 or m < 1 or not 0 <= i < m or not range(i, n, m):
        raise SynthError(f"no sample to draw: --n {n}, --shard {i}/{m}; n must be at least 1 and 0 <= i < min(m, n).")
    settings = {
        "synth": __version__,
        "format": FORMAT,
        "naming": "brats2020",  # of the labels, should they be painted
        **generation.layout_settings(),
        "shard": list(shard),
        "n": n,
    }

    indices, reads = range(i, n, m), generation.sources.reads
    job = _Writing(Path(out).resolve() if workers else Path(out), partial(_sampled, generation))
    done = _write(
        Path(out),
        settings,
        indices,
        job,
        resume=resume,
        force=force,
        workers=workers,
        progress=progress,
        reads=reads,
    )
    if generation.sampler.plan is None:
        return done
    made = [record["plan"] for record in read_entries(out) if record["index"] in indices]
    return replace(done, coverage=write_coverage(generation, n, shard, made, done.out, surveying))


def edit_layouts(
    inputs: Sequence[Input],
    out: str | Path,
    edits: AnyPolicy,
    *,
    copies: int = 1,
    seed: int = 0,
    donors: Sequence[Input] = (),
    resume: bool = False,
    force: bool = False,
    progress: Callable = iter,
) -> LayoutSet:
    """Apply a policy to each of `inputs`, `copies` times with other draws, and write what comes of it to `out`.

    Copy c of input i is `<id>_<c>`, drawn as sample i * `STRIDE` + c of `seed`: more copies leave the first ones as
    they are. A measured style goes along with its brain.

    Args:
        inputs: from `inputs.only_layouts`.
        out: as for `sample_layouts`.
        edits: what names a policy, as for `LayoutSampler`.
        copies: how many of each.
        seed: of the draws.
        donors: whose tumours may be swapped in; none given: the other inputs'.
        resume: go on with an interrupted set of the same inputs and settings (copies may have grown).
        force: remove what an earlier run wrote there first.
        progress: wraps the indices still to be drawn (`tqdm`).

    Raises:
        OutputError: as `sample_layouts`.
        LayoutError: two inputs share an id, or no lawful layout could be drawn.
    """
    if not 1 <= copies <= STRIDE:
        raise SynthError(f"the number of copies must be 1 to {STRIDE}, found {copies}.")
    if not inputs:
        raise LayoutError("there are no layouts to edit; give at least one.")
    sampler = LayoutSampler(_Pool(inputs, donors), edits, seed)
    settings = {
        "synth": __version__,
        "format": FORMAT,
        "naming": "brats2020",
        "seed": seed,
        "edits": sampler.policy.to_dict(),
        "inputs": _described(inputs),
        "donors": _described(donors) if donors else None,
        "n": len(inputs) * copies,
    }

    def make(index: int) -> Made:
        given, copy = inputs[index // STRIDE], index % STRIDE
        layout, recipe = sampler.draw(index, host=given.id, detail=True)
        named = layout.named(f"{given.id}_{copy:03d}")
        return named, {**recipe.to_dict(), "id": named.id}, given.style()

    indices = [i * STRIDE + copy for i in range(len(inputs)) for copy in range(copies)]
    reads = [given.path for given in (*inputs, *donors)]
    job = _Writing(Path(out), make)
    return _write(Path(out), settings, indices, job, reads=reads, resume=resume, force=force, progress=progress)


def write_layout(layout: Layout, out: Path, style: Style | None) -> dict[str, str]:
    """Save a drawn or edited layout below `out`; return the SHA-256 of each file by its path relative to `out`.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        folder = save_layout(layout, out, style, synthetic=True)
    except OSError as error:
        raise OutputError(f"{out / layout.id}: cannot be written ({error.strerror or error}).") from error
    paths = [style_path(folder)] if style else []
    paths += [map_path(folder, name) for name in ("tissue", "tumour", *(DETAIL if layout.detail else ()))]
    return {f"{layout.id}/{path.name}": sha256_file(path) for path in paths}


class _Pool(Sequence[Input]):
    """Hosts for a sampler: draws fall on donors (or the inputs themselves), while any of both is found by its id."""

    def __init__(self, inputs: Sequence[Input], donors: Sequence[Input]):
        self._known: dict[str, Input] = {}
        for given in (*inputs, *donors):
            known = self._known.setdefault(given.id, given)
            if known is not given and known.path != given.path:
                raise LayoutError(
                    f"two layouts have the id {given.id!r}, in {known.path} and {given.path}; rename one."
                )
        # a sampler looks for donors where there are at least two layouts: a single donor stands there twice
        self._drawn = list(donors or inputs) * (2 if len(donors) == 1 else 1)

    def __len__(self) -> int:
        return len(self._drawn)

    @overload
    def __getitem__(self, index: int) -> Input: ...

    @overload
    def __getitem__(self, index: slice) -> list[Input]: ...

    def __getitem__(self, index: int | slice) -> Input | list[Input]:
        return self._drawn[index]

    def find(self, source_id: str) -> Input:
        """The layout of an id."""
        if source_id not in self._known:
            raise LayoutError(f"the layout {source_id!r} is not among the {len(self._known)} given.")
        return self._known[source_id]


Made = tuple[Layout, dict, Style | None]  # and its record, less the files


def _sampled(generation: Generation, index: int) -> Made:
    layout, recipe = generation.draw(index, detail=True)
    named = layout.named(PATTERN.format(index))
    near = generation.nearness.of(layout, recipe.layout)
    return named, {**recipe.to_dict(), "id": named.id, **near}, recipe.style


@dataclass(frozen=True)
class _Writing:
    """Makes layouts by their numbers and writes them; gives their records. A job for a crew, if `make` is picklable."""

    out: Path
    make: Callable[[int], Made]

    def prepare(self, place: Place) -> None:
        """Nothing is loaded; products of matrices keep to the worker's cores."""
        threadpool_limits(place.threads)

    def __call__(self, items: Sequence[int]) -> Generator[dict, None, None]:
        """The records, each when its files are complete; the next layout is made meanwhile."""
        with closing(ahead(map(self.make, items))) as made:
            for index, (layout, record, style) in zip(items, made, strict=True):
                yield {**record, "index": index, "files": write_layout(layout, self.out, style)}


def _write(
    out: Path,
    settings: dict,
    indices: Sequence[int],
    job: _Writing,
    *,
    resume: bool,
    force: bool,
    workers: Workers | None = None,
    progress: Callable,
    reads: Iterable[Path],
) -> LayoutSet:
    begin = time.perf_counter()
    ours = claim(out, LAYOUTS, resume=resume, force=force, reads=reads)
    redraws = written = 0
    with ExitStack() as stack:
        crew = stack.enter_context(gather(workers, MEMORY)) if workers else None
        ours.clear(recorded_files, (COVERAGE,))
        manifest = stack.enter_context(Manifest(out, settings, free=("n",)))
        done = manifest.verified(partial(changed_files, out))
        todo = [k for k in indices if k not in done]
        with closing(crew.map(job, todo) if crew else job(todo)) as records:
            for _, record in zip(progress(todo), records, strict=True):
                manifest.append(record)
                redraws += len(record["redraws"])
                written += 1
        if crew:
            crew.release()
            remove_left(out, locked=True)  # by workers that were ended
    return LayoutSet(out, written, len(indices) - written, redraws, time.perf_counter() - begin)


def _described(inputs: Iterable[Input]) -> str:
    """Count and checksum of ids: no names of patients, no paths."""
    ids = sorted(given.id for given in inputs)
    return f"{len(ids)} layouts {sha256(json_text(ids, what='the ids').encode()).hexdigest()[:16]}"
