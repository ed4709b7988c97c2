"""The discriminator: a PatchGAN that judges images together with the layout they should show."""

import keras
from keras import layers

from synth.models.networks.layers import SpaceToDepth, convolution_block


@keras.saving.register_keras_serializable(package="synth")
class Detail(layers.Layer):
    """Brings out what tells a painted image from a real one: (condition, image) to condition, difference, grain.

    A scan's texture is 2 % of its range: on plain intensities a discriminator stays at chance, and so it did for 1400
    steps (docs/decisions.md). Difference to the painted layout and high-pass are scaled to about unit size.
    """

    def call(self, inputs):
        """(B, X, Y, Z, C) twice to (B, X, Y, Z, 3C)."""
        condition, image = inputs
        smooth = keras.ops.average_pool(image, 3, 1, "same")
        return keras.ops.concatenate([3 * (condition - 0.4), 6 * (image - condition), 25 * (image - smooth)], -1)

    def compute_output_shape(self, shapes):
        """Three times the channels."""
        return (*shapes[0][:-1], 3 * shapes[0][-1])


def build_discriminator(
    condition_channels: int, image_channels: int, width: int = 32, *, detail: bool = False
) -> keras.Model:
    """A 3D PatchGAN (Isola et al. 2017, arXiv:1611.07004) on 2x2x2-packed voxels, least-squares output.

    The packing keeps single-voxel texture in its view (a first stride-2 convolution would discard half of it) at
    half-resolution cost. No normalisation: instance norm would wipe out the level of the texture, which is half of
    what there is to judge. Inputs: condition (B, X, Y, Z, C) and image (B, X, Y, Z, M). Outputs: a list, the features
    of each level (for feature matching) and last the patch scores (B, X/8, Y/8, Z/8, 1).

    Args:
        condition_channels: C.
        image_channels: M.
        width: base filters.
        detail: the condition is what the image would be without detail (the painted layout); C must equal M.
    """
    condition = keras.Input((None, None, None, condition_channels), name="condition")
    image = keras.Input((None, None, None, image_channels), name="image")
    x = Detail(name="detail")([condition, image]) if detail else layers.Concatenate()([condition, image])
    x = SpaceToDepth(name="pack")(x)
    features = []
    for level, strides in enumerate((1, 2, 2, 1)):
        x = convolution_block(x, width * 2 ** min(level, 2), f"d{level}", strides=strides, normalise=False)
        features.append(x)
    score = layers.Conv3D(1, 3, padding="same", name="score")(x)
    return keras.Model({"condition": condition, "image": image}, [*features, score], name="discriminator")
