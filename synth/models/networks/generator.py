"""The generator: a layout painted in a style to four modalities.

A Vox2Vox U-Net (Cirillo et al. 2020, arXiv:2003.13653) with the direction reversed. Three things differ, each with
its measurement in docs/decisions.md: the first and last stride-2 (transposed) convolutions are replaced by packing
2x2x2 voxels into channels and back, which keeps full-resolution detail at a fifth of the time; the output is added to
the painted image; and the noise of the style enters twice, as a channel and as texture with a learned gain.
"""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from synth.brats import CLASSES, MODALITIES, TISSUES
from synth.models.configs import GeneratorConfig
from synth.models.networks.layers import DepthToSpace, Doubled, SpaceToDepth, convolution_block, doubled
from synth.models.painter import wetness

DETAIL_CHANNELS = len(TISSUES) + 1  # shares and vessels
LOCAL_WIDTH = 8


@keras.saving.register_keras_serializable(package="synth")
class Compose(layers.Layer):
    """Adds residual and scaled noise to the painted image and clears the outside of the brain."""

    def call(self, inputs):
        """(painted, residual, log_gain, noise, brain) to (image, image without noise), each (B, X, Y, Z, 4)."""
        painted, residual, log_gain, noise, brain = inputs
        clean = (painted + residual) * brain
        return clean + doubled(tf.exp(log_gain)) * noise, clean

    def compute_output_shape(self, shapes):
        """Two images of the painted image's shape."""
        return shapes[1], shapes[1]


@keras.saving.register_keras_serializable(package="synth")
class HalfResolution(layers.Layer):
    """Every second voxel along each axis: (B, X, Y, Z, C) to (B, X/2, Y/2, Z/2, C)."""

    def call(self, x):
        """Subsample."""
        return x[:, ::2, ::2, ::2]

    def compute_output_shape(self, shape):
        """Half the size."""
        return (shape[0], *[None if s is None else s // 2 for s in shape[1:4]], shape[4])


@keras.saving.register_keras_serializable(package="synth")
class Bounded(layers.Layer):
    """2 tanh(x / 2): near 0 the identity, never beyond 2; the gain stays between 1/7 and 7."""

    def call(self, x):
        """Bound."""
        return 2 * tf.tanh(x / 2)


@keras.saving.register_keras_serializable(package="synth")
class EvenNoise(layers.Layer):
    """Keeps the logarithm of the gain within bounds either way: `wet` where there is fluid or a vessel, else `dry`.

    A scanner's noise is nearly the same all over a brain. In fluid more than noise has no cause in a layout (flow,
    pulsation, small vessels), and the gain stands for that too; what is beyond the bounds is grain that no scan has.
    """

    def __init__(self, dry: float, wet: float, **kwargs):
        """Take the bounds."""
        super().__init__(**kwargs)
        self.dry, self.wet = dry, wet

    def call(self, inputs):
        """(log_gain (B, X/2, Y/2, Z/2, 4), what is wet (B, X, Y, Z, 1), above 0) to the bounded log_gain."""
        log_gain, wet = inputs
        most = tf.where(tf.nn.max_pool3d(wet, 2, 2, "VALID") > 0, self.wet, self.dry)
        return tf.maximum(tf.minimum(log_gain, most), -most)

    def compute_output_shape(self, shapes):
        """That of the gain."""
        return shapes[0]

    def get_config(self):
        """What rebuilds the layer."""
        return {**super().get_config(), "dry": self.dry, "wet": self.wet}


def build_generator(config: GeneratorConfig | None = None) -> keras.Model:
    """The generator network, in the policy of `runtime.computing_in`; its last steps are float32 in any.

    Inputs (a dict, as `painter.paint` makes it): condition (B, X, Y, Z, 10), noise (B, X, Y, Z, 4), coordinates
    (B, X, Y, Z, 3), and where it is conditioned on detail that, (B, X, Y, Z, 4); X, Y, Z multiples of 16. Outputs:
    image and the same without its noise, both (B, X, Y, Z, 4) in normalised units, 0 outside the brain.
    """
    config = config or GeneratorConfig()
    width, classes, modalities = config.width, len(CLASSES), len(MODALITIES)
    condition = keras.Input((None, None, None, classes + modalities), name="condition")
    noise = keras.Input((None, None, None, modalities), name="noise")
    coordinates = keras.Input((None, None, None, 3), name="coordinates")
    onehot = condition[..., :classes]
    brain = keras.ops.sum(onehot, -1, keepdims=True)
    inputs = {"condition": condition, "noise": noise, "coordinates": coordinates}
    seen = onehot if config.conditioning == "onehot" else condition
    if config.conditioning == "detail":
        inputs["detail"] = keras.Input((None, None, None, DETAIL_CHANNELS), name="detail")
        seen = layers.Concatenate(name="layers")([condition, inputs["detail"]])
    x = layers.Concatenate(name="entry")(
        [SpaceToDepth(name="pack")(seen), HalfResolution()(noise) * 20.0, HalfResolution()(coordinates)]
    )
    x = convolution_block(x, width, "down0")  # (B, X/2, Y/2, Z/2, width)
    skips = []
    for level in (1, 2, 3):
        skips.append(x)
        x = convolution_block(x, width * 2**level, f"down{level}", strides=2)
        x = convolution_block(x, width * 2**level, f"down{level}b")
    for block in range(config.bottleneck):
        y = layers.Dropout(config.dropout, name=f"bottom{block}_drop")(x)
        y = convolution_block(y, width * 8, f"bottom{block}")
        x = layers.Concatenate(name=f"bottom{block}_join")([x, y]) if block + 1 < config.bottleneck else y
    for level in (2, 1, 0):
        x = layers.Conv3D(width * 2**level, 1, name=f"up{level}_reduce")(x)
        x = Doubled(name=f"up{level}_grow")(x)
        x = layers.Concatenate(name=f"up{level}_join")([x, skips[level]])
        x = convolution_block(x, width * 2**level, f"up{level}")
    residual = layers.Conv3D(
        8 * modalities, 3, padding="same", kernel_initializer=keras.initializers.RandomNormal(0, 1e-3), name="residual"
    )(x)
    residual = DepthToSpace(name="unpack")(residual)  # (B, X, Y, Z, 4)
    if config.conditioning == "detail":  # at full resolution: detail that packing would have to remember
        near = layers.Conv3D(LOCAL_WIDTH, 3, padding="same", activation="leaky_relu", name="near")(seen)
        near = layers.Conv3D(
            modalities, 3, padding="same", kernel_initializer=keras.initializers.RandomNormal(0, 1e-3), name="nearby"
        )(near)
        residual = layers.Add(name="both")([residual, near])
    log_gain = Bounded(name="log_gain_bound", dtype="float32")(
        layers.Conv3D(modalities, 1, kernel_initializer="zeros", name="log_gain")(x)
    )
    wet = onehot[..., :1]  # fluid
    if config.conditioning == "detail":
        wet = wetness(inputs["detail"])  # and what is partly so, and vessels
    bounds = float(np.log(config.tissue_gain)), float(np.log(config.fluid_gain))
    log_gain = EvenNoise(*bounds, name="log_gain_even", dtype="float32")([log_gain, wet])
    painted = keras.ops.zeros_like(noise) if config.conditioning == "onehot" else condition[..., classes:]
    image, clean = Compose(name="compose", dtype="float32")([painted, residual, log_gain, noise, brain])
    return keras.Model(inputs, {"image": image, "clean": clean}, name="generator")
