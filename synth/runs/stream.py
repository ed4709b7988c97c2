"""Data that never repeat: layouts and painted pairs made while a trainer runs, nothing written.

`layouts` and `dataset` are also `synth.layouts` and `synth.dataset`. Sample k is the one that `synth generate` with the
same seed and settings writes as sample k, whatever the number of workers.
"""

import itertools
import warnings
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from synth.ahead import ahead
from synth.brats import GRID, MODALITIES, Tumour
from synth.datasets.sets import CaseSet
from synth.errors import SynthError
from synth.hosts.plans import read_plan
from synth.hosts.sources import Sources, data_sources, embedded_sources
from synth.layout.edits.presets import AnyPolicy
from synth.layout.layout import Layout
from synth.layout.plans.plan_file import AnyPlan
from synth.layout.sampling.recipe import LayoutRecipe
from synth.layout.sampling.sampler import LayoutSampler
from synth.models.cards import DEFAULT_MODEL, read_card, sees_detail
from synth.runs.generate import GenerateConfig, Generation
from synth.runs.patches import Cut, Volume, next_round

if TYPE_CHECKING:
    import tensorflow as tf


def layouts(
    data: str | Path | CaseSet | Sources | None = None,
    *,
    edits: AnyPolicy | None = None,
    plan: AnyPlan | None = None,
    seed: int = 0,
    start: int = 0,
    n: int | None = None,
    shard: tuple[int, int] = (0, 1),
    kept: str | Path | None = None,
) -> Iterator[tuple[Layout, LayoutRecipe]]:
    """Lawful layouts without end (or `n` of them), each with the recipe that made it; no TensorFlow.

    Args:
        data: BraTS cases or layouts to draw from; None: the embedded anatomies; or `Sources`.
        edits: what names a policy, as for `synth generate --edits`; also an `EditPolicy` or its dict.
        plan: what names a plan, as for `synth generate --plan`; also a `Plan` or its dict.
        seed: of the draws.
        start: number of the first sample: go on where an earlier iterator ended.
        n: how many samples from `start` on; None: endless.
        shard: (i, m): of these only samples k with k mod m = i, for m workers.
        kept: where layouts of BraTS cases are kept; None: `<data>-layouts`.

    Raises:
        SynthError: unusable data, unknown edits or numbers out of range; at once, not at the first draw.

    Example:
        >>> for layout, recipe in synth.layouts(seed=7, n=100): print(layout.volumes_ml())  # doctest: +SKIP
    """
    wanted = None if plan is None else read_plan(plan)
    sampler = LayoutSampler(_sources(data, kept).hosts, edits, seed, wanted)
    return map(partial(sampler.draw, detail=True), sample_numbers(start, n, shard))


def dataset(
    data: str | Path | CaseSet | Sources | None = None,
    *,
    model: str | Path | None = None,
    edits: AnyPolicy | None = None,
    plan: AnyPlan | None = None,
    style: str | None = None,
    seed: int = 0,
    start: int = 0,
    n: int | None = None,
    patch: int | tuple[int, int, int] | None = None,
    patches: int = 8,
    tumour_share: float = 0.6,
    batch: int | None = 1,
    normalise: str | None = "zscore",
    one_hot: bool = False,
    shard: tuple[int, int] = (0, 1),
    prefetch: int = 1,
    kept: str | Path | None = None,
) -> "tf.data.Dataset":
    """Freshly edited, freshly painted pairs (images, labels) for `model.fit`, without end or `n` samples of them.

    Painting runs in a thread of its own and ends with the iterator. It costs about 1.4 s a volume on two CPU cores,
    so several `patches` are cut from each; they are spread over as many volumes, so that a batch of up to `patches`
    holds different brains (after the first few).

    Args:
        data: BraTS cases or layouts; None: the embedded anatomies; or `Sources`.
        model: name or folder of the generator; None: the packaged one.
        edits: what names a policy, as for `synth generate --edits`; also an `EditPolicy` or its dict.
        plan: what names a plan, as for `synth generate --plan`; also a `Plan` or its dict.
        style: "mixed", "own" or "sampled", as for `synth generate --style`.
        seed: of everything.
        start: number of the first sample.
        n: how many samples (volumes) from `start` on; None: endless, then `model.fit` needs `steps_per_epoch`.
        patch: edge of cubic patches in voxels, or three edges; None: whole volumes, (240, 240, 155).
        patches: how many from each volume.
        tumour_share: of patches centred on a tumour voxel; the others on any voxel of the brain. 0 to 1.
        batch: examples a batch; None: no batches.
        normalise: "zscore": each modality has mean 0 and standard deviation 1 in the brain, background 0 (what the
            trainers here and the Vox2Vox paper take); None: scanner intensities, background 0.
        one_hot: labels as float32 channels (none, NCR, ED, ET) in place of uint8 class indices 0..3.
        shard: (i, m): only samples k with k mod m = i, one i for each of m workers.
        prefetch: batches made ahead.
        kept: where layouts of BraTS cases are kept; None: `<data>-layouts`.

    Returns:
        Images (B, X, Y, Z, 4) float32, modalities in the order of `brats.MODALITIES`, and labels (B, X, Y, Z) uint8 or
        (B, X, Y, Z, 4) float32.

    Raises:
        SynthError: unusable data, unknown names or numbers out of range.

    Example:
        >>> pairs = synth.dataset(seed=7, patch=128, batch=4)  # doctest: +SKIP
        >>> segmenter.fit(pairs, steps_per_epoch=250, epochs=100)  # doctest: +SKIP
    """
    cut = Cut(patch, patches, tumour_share, normalise, one_hot)
    if batch is not None and batch < 1:
        raise SynthError(f"batch must be at least 1, or None for no batches; found {batch}.")
    indices = sample_numbers(start, n, shard)
    generation = generation_of(data, kept, model, GenerateConfig(seed=seed, edits=edits, style=style, plan=plan))
    return _tf_dataset(generation, indices, cut, batch=batch, prefetch=prefetch)


def generation_of(
    data: str | Path | CaseSet | Sources | None,
    kept: str | Path | None,
    model: str | Path | None,
    config: GenerateConfig,
) -> Generation:
    """What paints the samples of a stream; arguments as for `dataset`."""
    detail = sees_detail(read_card(DEFAULT_MODEL if model is None else model))
    return Generation(_sources(data, kept, detail), model, config)


def _sources(data: str | Path | CaseSet | Sources | None, kept: str | Path | None, detail: bool = False) -> Sources:
    if data is None:
        return embedded_sources()
    if isinstance(data, Sources):
        return data
    tell = partial(warnings.warn, stacklevel=5)
    sources, problems = data_sources(data, kept or f"{str(data).rstrip('/')}-layouts", tell=tell, detail=detail)
    for problem in problems:
        warnings.warn(f"left out: {problem}", stacklevel=3)
    return sources


def sample_numbers(start: int, n: int | None, shard: tuple[int, int]) -> Iterable[int]:
    """Sample numbers of this worker, a fresh iterator each time."""
    i, m = shard
    if start < 0 or (n is not None and n < 1) or m < 1 or not 0 <= i < m:
        raise SynthError(
            f"start must be at least 0, n at least 1 or None, and shard (i, m) with 0 <= i < m; "
            f"found start={start}, n={n}, shard={shard}."
        )
    first = start + (i - start) % m
    if n is None:
        return _Endless(first, m)
    indices = range(first, start + n, m)
    if not indices:
        raise SynthError(f"shard {i} of {m} of {n} samples is empty; use fewer shards.")
    return indices


@dataclass(frozen=True)
class _Endless:
    first: int
    step: int

    def __iter__(self) -> Iterator[int]:
        return itertools.count(self.first, self.step)


def _tf_dataset(
    generation: Generation, indices: Iterable[int], cut: Cut, *, batch: int | None, prefetch: int
) -> "tf.data.Dataset":
    from synth.models.runtime import tf

    _ = generation.painter  # what is wrong with the model is said now, not in a thread

    def stream() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        # closed by TensorFlow when its iterator goes: the painting thread ends with it
        with closing(ahead(examples(generation, indices, cut), depth=cut.per_sample)) as line:
            yield from line

    size = cut.edges or _grid(generation)
    labels = ((*size, len(Tumour)), tf.float32) if cut.one_hot else (size, tf.uint8)
    signature = (tf.TensorSpec((*size, len(MODALITIES)), tf.float32), tf.TensorSpec(*labels))
    stream_of = tf.data.Dataset.from_generator(stream, output_signature=signature)
    count = len(indices) * cut.per_sample if isinstance(indices, range) else tf.data.INFINITE_CARDINALITY
    stream_of = stream_of.apply(tf.data.experimental.assert_cardinality(count))
    if batch is not None:
        stream_of = stream_of.batch(batch, drop_remainder=not isinstance(indices, range))
    options = tf.data.Options()
    # `shard` says who paints what: TensorFlow's own sharding would paint everything and throw most of it away
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    # the stream waits for the painter, so it must not wait in the threads that the painter needs
    options.threading.private_threadpool_size = 2
    return stream_of.prefetch(prefetch).with_options(options)


def _grid(generation: Generation) -> tuple[int, int, int]:
    """The grid of whole volumes: BraTS's, or that of the user's layouts."""
    if generation.sources.own_style is None:
        return GRID
    return generation.sources.hosts[0].load().shape


def examples(generation: Generation, indices: Iterable[int], cut: Cut) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Images and labels, whole volumes or patches, one after the other; what `dataset` batches."""
    waiting: list[Volume] = []
    for case in generation.cases(indices):
        volume = Volume.of(case, generation.config.seed, cut)
        if cut.patch is None:
            yield volume.whole(case.images.shape[:3])
            continue
        waiting.append(volume)
        yield from next_round(waiting)
    while waiting:
        yield from next_round(waiting)
