"""The discriminator: a PatchGAN that judges images together with the layout they should show."""

import keras
from keras import layers

from synth.models.layers import SpaceToDepth, convolution_block


def build_discriminator(condition_channels: int, image_channels: int, width: int = 32) -> keras.Model:
    """A 3D PatchGAN (Isola et al. 2017, arXiv:1611.07004) on 2x2x2-packed voxels, least-squares output.

    The packing keeps single-voxel texture in its view (a first stride-2 convolution would discard half of it) at
    half-resolution cost. Inputs: condition (B, X, Y, Z, C) and image (B, X, Y, Z, M). Outputs: a list, the features of
    each level (for feature matching) and last the patch scores (B, X/8, Y/8, Z/8, 1).
    """
    condition = keras.Input((None, None, None, condition_channels), name="condition")
    image = keras.Input((None, None, None, image_channels), name="image")
    x = layers.Concatenate()([condition, image])
    x = SpaceToDepth(name="pack")(x)
    features = []
    x = convolution_block(x, width, "d0", normalise=False)
    features.append(x)
    for level in (1, 2):
        x = convolution_block(x, width * 2**level, f"d{level}", strides=2)
        features.append(x)
    score = layers.Conv3D(1, 3, padding="same", name="score")(x)
    return keras.Model({"condition": condition, "image": image}, [*features, score], name="discriminator")
