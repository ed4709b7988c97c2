"""`synth train segmenter`: from annotated cases of any origin to a segmenter's weights and card."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from synth.models.cards import SEGMENTER, used_cases
from synth.models.configs import SegmenterConfig
from synth.models.networks.segmenter import build_patchgan, build_segmenter
from synth.models.postprocess import Postprocess
from synth.models.weights import save_segmenter
from synth.runs.generate import GenerateConfig, Generation
from synth.trainers.adversarial import AdversarialStep
from synth.trainers.augment import SegmentationAugment
from synth.trainers.config import TrainConfig, choose_strategy
from synth.trainers.cutting import PatchConfig
from synth.trainers.loop import TrainingLoop, kept_best
from synth.trainers.segmentation.annotated import Annotated, fingerprinted, inspect_annotated, prepare
from synth.trainers.segmentation.folds import refuse_relatives
from synth.trainers.segmentation.fresh import FreshPool
from synth.trainers.segmentation.leaks import refuse_copies, twin_notes
from synth.trainers.segmentation.mix import TrainingMix, hashed
from synth.trainers.segmentation.patches import FixedPool, LabelledCase, Mix, labelled_dataset
from synth.trainers.segmentation.task import SUPERVISED, SegmentationLoss, SegmentationTask
from synth.trainers.segmentation.validation import SegmentationValidation
from synth.trainers.settings import keep_settings, origin
from synth.trainers.supervised import SupervisedStep


@dataclass(frozen=True)
class SegmenterTraining:
    """Everything a segmenter's training is configured by; `of` gives each architecture its own defaults."""

    segmenter: SegmenterConfig = field(default_factory=SegmenterConfig)
    discriminator_width: int = 64  # vox2vox only
    loss: SegmentationLoss = SUPERVISED
    train: TrainConfig = field(default_factory=TrainConfig)
    patch: PatchConfig = field(default_factory=PatchConfig)
    augment: SegmentationAugment = field(default_factory=SegmentationAugment)

    @classmethod
    def of(cls, arch: str, **segmenter) -> "SegmenterTraining":
        """The defaults of an architecture: the calibrated Vox2Vox of the paper, or the 3D U-Net.

        Vox2Vox: 64 filters, patches of 128, batch 4, Adam 2e-4 (0.5, 0.999), least squares + 5 Tversky, the four
        augmentations on 75 % of the samples. U-Net: 32 filters, patches of 128, batch 1, Adam 1e-3 (0.9, 0.999), soft
        Dice of the regions + cross-entropy, and intensities varied too.
        """
        if arch == "vox2vox":
            network = SegmenterConfig(arch, **{"width": 64, **segmenter})
            return cls(network, network.width, SegmentationLoss(), TrainConfig(batch=4))
        return cls(
            SegmenterConfig(arch, **segmenter),
            train=TrainConfig(learning_rate=1e-3, beta_1=0.9),
            augment=SegmentationAugment(contrast=0.5, shading=0.5),
        )


def train_segmenter(
    data: TrainingMix,
    val: Sequence[Annotated],
    out: str | Path,
    config: SegmenterTraining,
    *,
    thresholds: Postprocess | None = None,
    name: str = "",
    devices: list[str] | None = None,
    quiet: bool = False,
    progress: Callable[[Iterable], Iterable] = iter,
    tell: Callable[[str], None] = lambda note: None,
) -> Path | None:
    """Train a segmenter, or go on with the run in `out`; at the end write weights and card to `out/model`.

    Args:
        data: what is learnt from.
        val: cases that pick the best weights and are never learnt from; without any, the last weights are kept.
        out: the run: cache of prepared cases, checkpoints, logs, and `model/` when it is done.
        config: the settings; a run is continued only with those it was begun with (`steps` may grow).
        thresholds: post-processing for the card, chosen elsewhere on training cases (`cross_validate`).
        name: of the model, for its card; none takes the folder's.
        devices: TensorFlow device names for MirroredStrategy; None takes all GPUs.
        quiet: show no progress of training.
        progress: wraps the cases while they are prepared.
        tell: called with what cannot be refused but must be known, such as a generator that knows held-out cases.

    Returns:
        The model's folder, or None if the run was stopped before its end (start it again to go on).

    Raises:
        SynthError: a case cannot be read or is related to one held out, or the settings differ from the run's.
    """
    out = Path(out)
    refuse_relatives([*data.real, *data.synthetic], val)
    data = data.without(frozenset().union(*(case.patients for case in val)))
    keep_settings(out, config, mix=data.described(), val=hashed(val))
    for cases, what in ((data.real, "the training cases"), (val, "the validation cases")):
        inspect_annotated(cases, prepare(cases, out / "cache" / "real", progress), what, tell)
    return train_on_mix(
        data,
        val,
        out,
        config,
        cache=out / "cache",
        name=name or out.name,
        thresholds=thresholds,
        devices=devices,
        quiet=quiet,
        progress=progress,
        tell=tell,
    )


def train_on_mix(
    data: TrainingMix,
    val: Sequence[Annotated],
    out: Path,
    config: SegmenterTraining,
    *,
    cache: Path,
    name: str,
    thresholds: Postprocess | None = None,
    pick: bool = True,
    devices: list[str] | None = None,
    quiet: bool = False,
    progress: Callable[[Iterable], Iterable] = iter,
    tell: Callable[[str], None] = lambda note: None,
) -> Path | None:
    """Prepare the cases of a mix, train on them, and write weights and card: `train_segmenter` past its refusals.

    Args:
        data: what is learnt from, related to nobody in `val`.
        val: as for `train_segmenter`.
        out: as for `train_segmenter`; its settings are kept by whoever calls.
        config: the settings.
        cache: where prepared cases are kept; folds share it.
        name: of the model, for its card.
        thresholds: as for `train_segmenter`.
        pick: as for `fit_segmenter`.
        devices: as for `train_segmenter`.
        quiet: as for `train_segmenter`.
        progress: as for `train_segmenter`.
        tell: as for `train_segmenter`.

    Returns:
        The model's folder, or None if the run was stopped before its end.
    """
    # real and synthetic ids may coincide
    real = prepare(data.real, cache / "real", progress)
    painted = prepare(data.synthetic, cache / "painted", progress)
    pools = [FixedPool(cases) for cases in (real, painted) if cases]
    shares = [share for cases, share in ((real, data.real_share), (painted, data.synthetic_share)) if cases]
    held_out = prepare(val, cache / "real", progress)
    refuse_copies([*real, *painted], held_out)
    data = replace(data, real=fingerprinted(data.real, real), synthetic=fingerprinted(data.synthetic, painted))
    val = fingerprinted(val, held_out)
    data = data.without(frozenset(), [case.fingerprint for case in val])
    if data.fresh is not None:
        generation = Generation(data.fresh, data.model, GenerateConfig(seed=config.train.seed))
        pools.append(FreshPool(generation, out / "fresh"))
        shares.append(data.fresh_share)
    for note in [*data.notes(val), *twin_notes(data.real), *twin_notes(data.synthetic, "synthetic cases")]:
        tell(note)
    mix = Mix(tuple(pools), tuple(shares))
    step = fit_segmenter(mix, held_out, out, config, pick=pick, devices=devices, quiet=quiet)
    if step is None:
        return None
    card = _card(name, config, data, val, thresholds, out)
    card["validation"] |= {"picked the weights": bool(val) and pick, "notes": data.notes(val, named=False)}
    return save_segmenter(out / "model", step.averaged, card)


def fit_segmenter(
    mix: Mix,
    held_out: Sequence[LabelledCase],
    out: str | Path,
    config: SegmenterTraining,
    *,
    pick: bool = True,
    devices: list[str] | None = None,
    quiet: bool = False,
) -> SupervisedStep | AdversarialStep | None:
    """Train a segmenter on prepared cases, or go on with the run in `out`.

    Args:
        mix: the pools that patches are drawn from.
        held_out: cases that are never learnt from; Dice on them is logged.
        out: the run: checkpoints and logs.
        config: the settings.
        pick: keep the weights with the best mean Dice on the held-out cases; else, or without any, the last ones.
        devices: TensorFlow device names for MirroredStrategy; None takes all GPUs.
        quiet: show no progress.

    Returns:
        What was trained, its `averaged` network holding the weights to be kept; None if it was stopped before its end.
    """
    out = Path(out)
    keras.utils.set_random_seed(config.train.seed)
    task = SegmentationTask(config.loss)
    step = _step(config, task, choose_strategy(devices))
    loop = TrainingLoop(step, config.train, out, quiet=quiet)
    validation = None
    if held_out:
        judge = getattr(step, "discriminator", None)
        validation = SegmentationValidation(held_out, step.averaged, judge, task, config.patch.size)

    def batches(start: int) -> tf.data.Dataset:
        return labelled_dataset(
            mix,
            start=start,
            stop=config.train.steps,
            batch=config.train.batch,
            seed=config.train.seed,
            patch=config.patch,
            augment=config.augment,
        )

    if not loop.train(batches, validation):
        return None
    if pick:
        loop.keep_best()
    return step


def _step(
    config: SegmenterTraining, task: SegmentationTask, strategy: tf.distribute.Strategy
) -> SupervisedStep | AdversarialStep:
    """Vox2Vox learns against a discriminator, the U-Net from its loss alone."""
    network = partial(build_segmenter, config.segmenter)
    if config.segmenter.arch != "vox2vox":
        return SupervisedStep(network, task, config.train, strategy)

    def networks() -> tuple[keras.Model, keras.Model]:
        judge = build_patchgan(config.discriminator_width)  # first: the order decides what each begins from
        return network(), judge

    return AdversarialStep(networks, task, config.train, strategy)


def _card(
    name: str,
    config: SegmenterTraining,
    data: TrainingMix,
    val: Sequence[Annotated],
    thresholds: Postprocess | None,
    out: Path,
) -> dict[str, Any]:
    return {
        **origin(),
        "name": name,
        "kind": "segmenter: t1, t1ce, t2, flair -> none, NCR, ED, ET",
        SEGMENTER.name: config.segmenter.to_dict(),
        "window": config.patch.size,
        "postprocess": (thresholds or Postprocess()).to_dict(),
        "training": {
            **used_cases({case.id: case.fingerprint for case in data.real}),
            "synthetic": len(data.synthetic),
            "shares": data.shares,
            "settings": asdict(config),
        },
        "validation": {
            **used_cases({case.id: case.fingerprint for case in val}),
            "best": kept_best(out),
        },
        "grid": "240x240x155, 1 mm, LPS; the brain z-scored, 0 outside",
        "intended use": "segmentation of gliomas for research: quality of synthetic scans, a downstream baseline.",
        "limits": "Not for diagnosis. Trained on adult gliomas as BraTS shows them; nothing else was seen.",
    }
