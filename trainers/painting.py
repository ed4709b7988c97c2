"""The painting direction: layout in a style to four modalities, as a task for the adversarial trainer."""

from dataclasses import dataclass

import tensorflow as tf

from synth.brats import CLASSES
from synth.models.painter import paint
from synth.trainers import losses

TABLES = ("mean", "shading", "offset", "texture", "kernel")


@dataclass(frozen=True)
class PaintingLoss:
    """Weights of the generator's loss; the reasons and trials are in docs/decisions.md."""

    adversarial: float = 1.0
    absolute: float = 10.0  # L1 in the brain, on the image without its noise: noise cannot be predicted
    structure: float = 4.0  # 1 - SSIM, likewise
    features: float = 4.0  # feature matching
    texture: float = 1.0  # fine texture as strong as the real scan's
    tumour: float = 3.0  # weight of a tumour voxel against a healthy one in the reconstruction terms


class PaintingTask:
    """Says what the networks see and what the generator is to minimise."""

    def __init__(self, loss: PaintingLoss | None = None):
        self.loss = loss or PaintingLoss()

    def inputs(self, batch) -> dict:
        """The generator's inputs for a batch of `data.patch_dataset`."""
        tables = {name: batch[name] for name in TABLES}
        return paint(batch["classes"], batch["coordinates"], tables, batch["noise_seed"][0])

    def judged_under(self, inputs, batch):
        """What the discriminator sees beside the image: the painted layout."""
        return inputs["condition"][..., len(CLASSES) :]

    def real(self, batch):
        """The image the generator should have made."""
        return batch["images"]

    def fake(self, outputs):
        """The image it made."""
        return outputs["image"]

    def generator_loss(self, batch, outputs, real_views, fake_views) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Total loss and its parts, from the discriminator's views ([features..., scores]) of real and fake."""
        real, w = batch["images"], self.loss
        weights = losses.voxel_weights(batch["classes"], w.tumour)
        clean = tf.cast(outputs["clean"], tf.float32)
        texture = losses.texture_mismatch(real, tf.cast(outputs["image"], tf.float32), batch["classes"])
        parts = {
            "adversarial": losses.least_squares(fake_views[-1], 1.0),
            "absolute": losses.absolute_error(real, clean, weights),
            "structure": losses.structural_dissimilarity(real, clean, weights),
            "features": losses.feature_matching(real_views[:-1], fake_views[:-1]),
            # a warped patch has been interpolated: its texture is weaker than the scan's
            "texture": texture * tf.reduce_mean(batch["exact"]),
        }
        return tf.add_n([getattr(w, name) * value for name, value in parts.items()]), parts
