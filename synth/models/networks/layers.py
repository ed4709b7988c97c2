"""Layers shared by the networks."""

import keras
import tensorflow as tf
from keras import layers


@keras.saving.register_keras_serializable(package="synth")
class SpaceToDepth(layers.Layer):
    """Packs each 2x2x2 block of voxels into channels: (B, X, Y, Z, C) to (B, X/2, Y/2, Z/2, 8C)."""

    def call(self, x):
        """Pack; X, Y and Z must be even."""
        b, sx, sy, sz, c = _sizes(x)
        x = tf.reshape(x, (b, sx // 2, 2, sy // 2, 2, sz // 2, 2, c))
        x = tf.transpose(x, (0, 1, 3, 5, 2, 4, 6, 7))
        return tf.reshape(x, (b, sx // 2, sy // 2, sz // 2, 8 * c))

    def compute_output_shape(self, shape):
        """Half the size, eight times the channels."""
        return (shape[0], *[None if s is None else s // 2 for s in shape[1:4]], 8 * shape[4])


@keras.saving.register_keras_serializable(package="synth")
class DepthToSpace(layers.Layer):
    """Undoes `SpaceToDepth`: (B, X, Y, Z, 8C) to (B, 2X, 2Y, 2Z, C)."""

    def call(self, x):
        """Unpack; the channels must be a multiple of 8."""
        return _unpacked(x)

    def compute_output_shape(self, shape):
        """Twice the size, an eighth of the channels."""
        return (shape[0], *[None if s is None else s * 2 for s in shape[1:4]], shape[4] // 8)


def doubled(x):
    """(B, X, Y, Z, C) to (B, 2X, 2Y, 2Z, C), each voxel eight times: `UpSampling3D(2)` in a third of its operations."""
    size = tf.unstack(tf.shape(x))
    for axis in (1, 2, 3):  # what follows an axis in memory, twice
        line = tf.reshape(x, [*size[: axis + 1], -1])
        size[axis] *= 2
        x = tf.reshape(tf.concat([line, line], -1), [*size[:4], x.shape[-1]])
    return x


@keras.saving.register_keras_serializable(package="synth")
class Doubled(layers.Layer):
    """`doubled` as a layer."""

    def call(self, x):
        """(B, X, Y, Z, C) to (B, 2X, 2Y, 2Z, C)."""
        return doubled(x)

    def compute_output_shape(self, shape):
        """Twice the size."""
        return (shape[0], *[None if s is None else s * 2 for s in shape[1:4]], shape[4])


@keras.saving.register_keras_serializable(package="synth")
class Interleave(layers.Layer):
    """Ends a transposed convolution of kernel 4 and stride 2 that was done as a plain one (see `grow`)."""

    def call(self, x):
        """(B, X+1, Y+1, Z+1, 8C), the taps of the 8 output voxels of each cell, to (B, 2X, 2Y, 2Z, C)."""
        _, sx, sy, sz, c = _sizes(x)
        n, c = (sx - 1, sy - 1, sz - 1), c // 8
        parts = []
        for k in range(8):
            i, j, m = (k >> 2) & 1, (k >> 1) & 1, k & 1
            parts.append(x[:, i : i + n[0], j : j + n[1], m : m + n[2], k * c : (k + 1) * c])
        return _unpacked(tf.concat(parts, -1))

    def compute_output_shape(self, shape):
        """Twice the size, an eighth of the channels."""
        return (shape[0], *[None if s is None else 2 * (s - 1) for s in shape[1:4]], shape[4] // 8)


def grow(x, filters: int, name: str):
    """A transposed convolution of kernel 4, stride 2 and "same" padding, computed as a convolution of kernel 2.

    Output voxel 2i + p takes two taps an axis, inputs i - 1 + p and i + p: on the input padded by one, a plain
    convolution has them all, for 8 times the filters. The same sums at the same cost on paper, and several times as
    fast on a CPU where filters are few.
    """
    x = layers.ZeroPadding3D(1, name=f"{name}_pad")(x)
    x = layers.Conv3D(8 * filters, 2, kernel_initializer="he_normal", name=f"{name}_conv")(x)
    return Interleave(name=f"{name}_grow")(x)


def _unpacked(x):
    """(B, X, Y, Z, 8C) to (B, 2X, 2Y, 2Z, C): the eight parts of the channels are the voxels of a 2x2x2 block."""
    b, sx, sy, sz, c = _sizes(x)
    x = tf.reshape(x, (b, sx, sy, sz, 2, 2, 2, c // 8))
    x = tf.transpose(x, (0, 1, 4, 2, 5, 3, 6, 7))
    return tf.reshape(x, (b, sx * 2, sy * 2, sz * 2, c // 8))


def _sizes(x):
    dynamic = tf.unstack(tf.shape(x))
    return [there if size is None else size for there, size in zip(dynamic, x.shape, strict=True)]


@keras.saving.register_keras_serializable(package="synth")
class InstanceNormalization(layers.GroupNormalization):
    """Instance normalisation (Ulyanov et al. 2016, arXiv:1607.08022): group norm with one channel a group.

    Keras's sums, to the bit, in half its operations: of a network's graph most were norms, and most of the time
    that tracing it takes.
    """

    def call(self, inputs):
        """Normalise (B, X, Y, Z, C), each channel by itself; statistics are float32 in any policy."""
        x = tf.expand_dims(tf.cast(inputs, tf.float32), -1)  # as Keras has it: other shapes are fused otherwise
        mean, variance = tf.nn.moments(x, [1, 2, 3, 5], keepdims=True)
        gamma, beta = (tf.expand_dims(tf.cast(part, tf.float32), -1) for part in (self.gamma, self.beta))
        scale = tf.math.rsqrt(variance + self.epsilon) * gamma
        x = x * scale + (-mean * scale + beta)
        return tf.cast(tf.squeeze(x, -1), inputs.dtype)


def instance_norm(x, name: str):
    """`InstanceNormalization` of a volume."""
    return InstanceNormalization(groups=-1, epsilon=1e-5, name=name)(x)


def convolution_block(x, filters: int, name: str, *, strides: int = 1, normalise: bool = True):
    """3x3x3 convolution, instance norm, LeakyReLU(0.2)."""
    x = layers.Conv3D(
        filters, 3, strides, "same", use_bias=not normalise, kernel_initializer="he_normal", name=f"{name}_conv"
    )(x)
    if normalise:
        x = instance_norm(x, f"{name}_norm")
    return layers.LeakyReLU(negative_slope=0.2, name=f"{name}_act")(x)
