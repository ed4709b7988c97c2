"""The segmentation direction: four modalities to labels, as a task for a step with a discriminator or without."""

from collections.abc import Mapping
from dataclasses import dataclass

import tensorflow as tf

from synth.brats import REGIONS
from synth.errors import ModelError
from synth.models.configs import LABELS
from synth.trainers import losses
from synth.trainers.step import Batch, Parts, Views

OVERLAPS = ("tversky", "generalised_dice")
TARGETS = ("labels", "regions")
_LOWER = {"half": (2, 0.5), "quarter": (4, 0.25)}  # deep supervision: shrinking and weight of each lower output


@dataclass(frozen=True)
class SegmentationLoss:
    """What a segmenter minimises: adversarial + weight * overlap + cross_entropy; the defaults are Vox2Vox's.

    The calibrated Vox2Vox has the Tversky loss of the four labels in place of generalised Dice, 5 times as heavy as the
    least-squares adversarial term.
    """

    overlap: str = "tversky"
    weight: float = 5.0  # of the overlap: the paper's alpha
    alpha: float = 0.3  # Tversky: weight of voxels wrongly marked
    beta: float = 0.7  # Tversky: weight of voxels missed
    targets: str = "labels"  # or "regions": the overlap of WT, TC and ET, which BraTS scores
    adversarial: float = 1.0  # 0 without a discriminator
    cross_entropy: float = 0.0

    def __post_init__(self):
        """Raise `ModelError` on names and numbers that make no loss."""
        if self.overlap not in OVERLAPS or self.targets not in TARGETS:
            raise ModelError(
                f"overlap must be one of {', '.join(OVERLAPS)} and its targets one of {', '.join(TARGETS)}, "
                f"found {self.overlap!r} and {self.targets!r}."
            )
        if min(self.weight, self.alpha, self.beta, self.adversarial, self.cross_entropy) < 0:
            raise ModelError(f"weights of a loss must not be negative, found {self}.")


SUPERVISED = SegmentationLoss(weight=1.0, alpha=0.5, beta=0.5, targets="regions", adversarial=0.0, cross_entropy=1.0)
"""The 3D U-Net's loss: soft Dice of the three regions plus cross-entropy of the labels."""


class SegmentationTask:
    """Says what the networks see and what the segmenter is to minimise."""

    def __init__(self, loss: SegmentationLoss | None = None):
        self.loss = loss or SegmentationLoss()

    def inputs(self, batch: Batch) -> dict[str, tf.Tensor]:
        """The segmenter's inputs for a batch of `patches.labelled_dataset`."""
        return {"images": batch["images"]}

    def judged_under(self, inputs: Mapping[str, tf.Tensor], batch: Batch) -> tf.Tensor:
        """What the discriminator sees beside the labels: the scan."""
        return batch["images"]

    def real(self, batch: Batch) -> tf.Tensor:
        """The labels as probabilities, (B, X, Y, Z, 4)."""
        return tf.one_hot(batch["labels"], LABELS)

    def fake(self, outputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """The probabilities the segmenter gave."""
        return tf.cast(outputs["probabilities"], tf.float32)

    def judged_where(self, batch: Batch) -> None:
        """Everywhere, as in the paper."""
        return None

    def generator_loss(
        self,
        batch: Batch,
        outputs: Mapping[str, tf.Tensor],
        real_views: Views,
        fake_views: Views,
        trust: tf.Tensor | float,
    ) -> tuple[tf.Tensor, Parts]:
        """Total loss and its parts against a discriminator, with the counts that `summary` makes Dice of.

        Args:
            batch: of `patches.labelled_dataset`.
            outputs: the segmenter's.
            real_views: unused; the discriminator's on the real labels.
            fake_views: the discriminator's on these.
            trust: 0 to 1, how far the discriminator has been trained.
        """
        total, parts = self.supervised_loss(batch, outputs)
        parts["adversarial"] = losses.least_squares(fake_views[-1], 1.0)
        return total + self.loss.adversarial * trust * parts["adversarial"], parts

    def supervised_loss(self, batch: Batch, outputs: Mapping[str, tf.Tensor]) -> tuple[tf.Tensor, Parts]:
        """Total loss without a discriminator and its parts, with the counts that `summary` makes Dice of."""
        truth, probabilities = self.real(batch), self.fake(outputs)
        total, parts = self.supervised(truth, probabilities)
        for name, (factor, weight) in _LOWER.items():
            if name in outputs:
                smaller = tf.nn.avg_pool3d(truth, factor, factor, "SAME")
                total += weight * self.supervised(smaller, tf.cast(outputs[name], tf.float32))[0]
        return total, {**parts, **_counts(batch["labels"], probabilities)}

    def supervised(self, truth: tf.Tensor, probabilities: tf.Tensor) -> tuple[tf.Tensor, Parts]:
        """The loss of probabilities (B, X, Y, Z, 4) against one-hot labels, and its parts."""
        w = self.loss
        both = (truth, probabilities)
        if w.targets == "regions":
            both = tuple(losses.region_probabilities(values) for values in both)
        overlap = (
            losses.tversky_loss(*both, w.alpha, w.beta)
            if w.overlap == "tversky"
            else losses.generalised_dice_loss(*both)
        )
        parts = {w.overlap: overlap}
        total = w.weight * overlap
        if w.cross_entropy:
            parts["cross_entropy"] = losses.cross_entropy(truth, probabilities)
            total += w.cross_entropy * parts["cross_entropy"]
        return total, parts

    def summary(self, means: dict[str, float]) -> dict[str, float]:
        """What is logged of the parts' means: the counts become `dice_wt`, `dice_tc` and `dice_et` of all patches."""
        out = {name: value for name, value in means.items() if not name.startswith("count_")}
        for name in map(str.lower, REGIONS):
            both, sizes = means[f"count_both_{name}"], means[f"count_sizes_{name}"]
            out[f"dice_{name}"] = 2 * both / sizes if sizes else 1.0
        return out


def _counts(labels: tf.Tensor, probabilities: tf.Tensor) -> Parts:
    """Per region, voxels in truth and prediction both, and in either summed; means over steps make a Dice."""
    truth = losses.region_probabilities(tf.one_hot(labels, LABELS))
    marked = losses.region_probabilities(tf.one_hot(tf.argmax(probabilities, -1), LABELS))
    both, sizes = tf.reduce_sum(truth * marked, (0, 1, 2, 3)), tf.reduce_sum(truth + marked, (0, 1, 2, 3))
    out = {}
    for i, name in enumerate(map(str.lower, REGIONS)):
        out[f"count_both_{name}"], out[f"count_sizes_{name}"] = both[i], sizes[i]
    return out
