"""Validation of a segmenter on whole brains that it is never fitted to."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from synth.brats import REGIONS, Tumour
from synth.models.configs import DIVISOR, LABELS
from synth.models.sliding_window import Segmenter
from synth.quality.segmentation_metrics import region_dice
from synth.trainers.segmentation.patches import LabelledCase
from synth.trainers.segmentation.task import SegmentationTask


class SegmentationValidation:
    """Segments whole held-out cases, never augmented: loss, its parts and Dice per region, averaged over the cases.

    "score" is the mean Dice of the regions.
    """

    def __init__(
        self,
        cases: Sequence[LabelledCase],
        network: keras.Model,
        discriminator: keras.Model | None,
        task: SegmentationTask,
        window: int,
    ):
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
        probabilities[coded == 0] = np.eye(LABELS)[Tumour.NONE]
        truth = tf.one_hot(case.labels[None], probabilities.shape[-1])
        total, parts = self.task.supervised(truth, tf.constant(probabilities[None]))
        if self.discriminator is not None:
            real, fake = (self._judged(images, np.asarray(labels)) for labels in (truth[0], probabilities))
            parts["adversarial"] = float(np.mean((fake - 1) ** 2))
            parts["discriminator"] = 0.5 * float(np.mean((real - 1) ** 2) + np.mean(fake**2))
            total += self.task.loss.adversarial * parts["adversarial"]
        dices = {f"dice_{k.lower()}": v for k, v in region_dice(case.labels, probabilities.argmax(-1)).items()}
        return {"loss": float(total), **{k: float(v) for k, v in parts.items()}, **dices}

    def _judged(self, images: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        """The discriminator's scores of a whole brain, its box filled up to multiples of `DIVISOR`."""
        rest = [(0, -n % DIVISOR) for n in images.shape[:3]]
        views = self.discriminator(
            {
                "condition": np.pad(images, [*rest, (0, 0)])[None],
                "image": np.pad(probabilities, [*rest, (0, 0)])[None],
            },
            training=False,
        )
        return np.asarray(views[-1], np.float32)
