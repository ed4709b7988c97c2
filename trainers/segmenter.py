"""`synth train segmenter`: from annotated cases of any origin to a segmenter's weights and card."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from synth.brats import REGIONS
from synth.models.segmenter import SegmenterConfig, build_patchgan, build_segmenter
from synth.models.segmenting import Segmenter
from synth.quality.segmentation import region_dice
from synth.trainers.augment import SegmentationAugment
from synth.trainers.data import PatchConfig
from synth.trainers.patches import HEALTHY, LabelledCase, Mix, labelled_dataset
from synth.trainers.segmentation import SUPERVISED, SegmentationLoss, SegmentationTask
from synth.trainers.vox2vox import AdversarialTrainer, TrainConfig, choose_strategy


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
        augmentations on 75 % of the samples. U-Net: 32 filters, patches of 96, batch 1, Adam 1e-3 (0.9, 0.999), soft
        Dice of the regions + cross-entropy, and intensities varied too.
        """
        if arch == "vox2vox":
            return cls(
                SegmenterConfig(arch, **{"width": 64, **segmenter}),
                loss=SegmentationLoss(),
                train=TrainConfig(batch=4),
            )
        return cls(
            SegmenterConfig(arch, **segmenter),
            train=TrainConfig(learning_rate=1e-3, beta_1=0.9),
            patch=PatchConfig(96),
            augment=SegmentationAugment(contrast=0.5),
        )


def fit_segmenter(
    mix: Mix,
    held_out: Sequence[LabelledCase],
    out: str | Path,
    config: SegmenterTraining,
    *,
    devices: list[str] | None = None,
) -> AdversarialTrainer | None:
    """Train a segmenter on prepared cases, or go on with the run in `out`.

    Args:
        mix: the pools that patches are drawn from.
        held_out: cases that are never learnt from; the weights with the best mean Dice on them are kept. Without any,
            the last weights are.
        out: the run: checkpoints and logs.
        config: the settings.
        devices: TensorFlow device names for MirroredStrategy; None takes all GPUs.

    Returns:
        The trainer, its `averaged` network holding the weights to be kept; None if it was stopped before its end.
    """
    out = Path(out)
    keras.utils.set_random_seed(config.train.seed)
    task = SegmentationTask(config.loss)

    def networks():
        judge = build_patchgan(config.discriminator_width) if config.segmenter.arch == "vox2vox" else None
        return build_segmenter(config.segmenter), judge

    trainer = AdversarialTrainer(networks, task, config.train, out, choose_strategy(devices))
    validation = None
    if held_out:
        validation = SegmentationValidation(held_out, trainer.averaged, trainer.discriminator, task, config.patch.size)

    def batches(start: int):
        return labelled_dataset(
            mix,
            start=start,
            stop=config.train.steps,
            batch=config.train.batch,
            seed=config.train.seed,
            patch=config.patch,
            augment=config.augment,
        )

    if not trainer.train(batches, validation):
        return None
    best = out / "best.weights.h5"
    if best.is_file():
        trainer.averaged.load_weights(best)
    return trainer


class SegmentationValidation:
    """Segments whole held-out cases, never augmented: loss, its parts and Dice per region, averaged over the cases.

    "score" is the mean Dice of the regions.
    """

    def __init__(self, cases: Sequence[LabelledCase], network, discriminator, task: SegmentationTask, window: int):
        self.cases, self.task, self.discriminator = list(cases), task, discriminator
        self.segmenter = Segmenter([network], window, overlap=0.25)

    def __call__(self, step: int) -> dict:
        """Numbers at this step."""
        rows = [self._row(case) for case in self.cases]
        numbers = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
        return {**numbers, "score": float(np.mean([numbers[f"dice_{name.lower()}"] for name in REGIONS]))}

    def _row(self, case: LabelledCase) -> dict[str, float]:
        coded = np.asarray(case.coded)
        images = np.asarray(case.images, np.float32)
        probabilities = self.segmenter.probabilities(images)
        probabilities[coded == 0] = (1, 0, 0, 0)
        labels = np.maximum(coded, HEALTHY) - HEALTHY
        truth = tf.one_hot(labels[None], probabilities.shape[-1])
        total, parts = self.task.supervised(truth, tf.constant(probabilities[None]))
        if self.discriminator is not None:
            real, fake = (self._judged(images, np.asarray(one)) for one in (truth[0], probabilities))
            parts["adversarial"] = float(np.mean((fake - 1) ** 2))
            parts["discriminator"] = 0.5 * float(np.mean((real - 1) ** 2) + np.mean(fake**2))
            total += self.task.loss.adversarial * parts["adversarial"]
        dices = {f"dice_{k.lower()}": v for k, v in region_dice(labels, probabilities.argmax(-1)).items()}
        return {"loss": float(total), **{k: float(v) for k, v in parts.items()}, **dices}

    def _judged(self, images: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        """The discriminator's scores of a whole brain, its box filled up to multiples of 16."""
        rest = [(0, -n % 16) for n in images.shape[:3]]
        views = self.discriminator(
            {
                "condition": np.pad(images, [*rest, (0, 0)])[None],
                "image": np.pad(probabilities, [*rest, (0, 0)])[None],
            },
            training=False,
        )
        return np.asarray(views[-1], np.float32)
