"""The painting direction: layout in a style to four modalities, as a task for `adversarial.AdversarialStep`."""

from collections.abc import Mapping
from dataclasses import dataclass

import tensorflow as tf

from synth.brats import CLASSES
from synth.models.painter import paint
from synth.trainers import losses
from synth.trainers.step import Batch, Parts, Views

TABLES = ("mean", "shading", "offset", "texture", "kernel", "blur")


@dataclass(frozen=True)
class PaintingLoss:
    """Weights of the generator's loss; the reasons and trials are in docs/decisions.md."""

    adversarial: float = 0.03  # its gradient on the image is then as large as the structure term's (measured)
    absolute: float = 10.0  # L1 in the brain, on the image without its noise: noise cannot be predicted
    structure: float = 4.0  # 1 - SSIM, likewise
    features: float = 2.0  # feature matching
    texture: float = 1.0  # fine texture as strong as the real scan's
    bands: float = 0.0  # fine structure as strong as the real scan's, edges and vessels included
    tumour: float = 3.0  # weight of a tumour voxel against a healthy one in the reconstruction terms

    @property
    def judged(self) -> bool:
        """Whether a discriminator has a say."""
        return bool(self.adversarial or self.features)


class PaintingTask:
    """Says what the networks see and what the generator is to minimise."""

    def __init__(self, loss: PaintingLoss | None = None):
        self.loss = loss or PaintingLoss()

    def inputs(self, batch: Batch) -> dict[str, tf.Tensor]:
        """The generator's inputs for a batch of `patches.patch_dataset`."""
        tables = {name: batch[name] for name in TABLES}
        return paint(batch["classes"], batch["coordinates"], tables, batch["noise_seed"][0], batch.get("detail"))

    def judged_under(self, inputs: Mapping[str, tf.Tensor], batch: Batch) -> tf.Tensor:
        """What the discriminator sees beside the image: the painted layout."""
        return inputs["condition"][..., len(CLASSES) :]

    def real(self, batch: Batch) -> tf.Tensor:
        """The image the generator should have made."""
        return batch["images"]

    def fake(self, outputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """The image it made."""
        return outputs["image"]

    def judged_where(self, batch: Batch) -> tf.Tensor:
        """Where real and fake can differ: the brain, (B, X, Y, Z, 1)."""
        return tf.cast(batch["classes"] > 0, tf.float32)[..., None]

    def generator_loss(
        self,
        batch: Batch,
        outputs: Mapping[str, tf.Tensor],
        real_views: Views,
        fake_views: Views,
        trust: tf.Tensor | float,
    ) -> tuple[tf.Tensor, Parts]:
        """Total loss and its parts.

        Args:
            batch: of `patches.patch_dataset`.
            outputs: the generator's.
            real_views: what the discriminator makes of the real image, [features..., scores].
            fake_views: the same of the fake one.
            trust: 0 to 1, how far the discriminator has been trained: an untrained one only does harm.
        """
        total, parts = self.supervised_loss(batch, outputs)
        judged = {
            "adversarial": losses.least_squares(fake_views[-1], 1.0, self.judged_where(batch)),
            "features": losses.feature_matching(real_views[:-1], fake_views[:-1]),
        }
        return total + trust * self._weighted(judged), {**judged, **parts}

    def supervised_loss(self, batch: Batch, outputs: Mapping[str, tf.Tensor]) -> tuple[tf.Tensor, Parts]:
        """Total loss without a discriminator, and its parts."""
        real, classes = batch["images"], batch["classes"]
        weights = losses.voxel_weights(classes, self.loss.tumour)
        clean, image = (tf.cast(outputs[name], tf.float32) for name in ("clean", "image"))
        exact = tf.reduce_mean(batch["exact"])  # a warped patch has been interpolated: its texture is weaker
        parts = {
            "absolute": losses.absolute_error(real, clean, weights),
            "structure": losses.structural_dissimilarity(real, clean, weights),
            "texture": losses.texture_mismatch(real, image, classes) * exact,
        }
        if self.loss.bands:
            parts["bands"] = losses.band_mismatch(real, image, classes) * exact
        return self._weighted(parts), parts

    def _weighted(self, parts: Parts) -> tf.Tensor:
        return tf.add_n([getattr(self.loss, name) * value for name, value in parts.items()])

    def summary(self, means: dict[str, float]) -> dict[str, float]:
        """What is logged of the parts' means: themselves."""
        return means
