"""Painting a brain slab by slab: the bits of painting it at once, in half the memory.

At full resolution a generator that is conditioned on detail sees 21 channels, and packs as many again: a gibibyte of a
brain that lives for a second, and that the system pages in anew for every step. Only what is done at half the
resolution and below needs the whole brain, for its norms. What comes before looks `_REACH` voxels far, and what comes
after one at half the resolution, so both are done slab by slab across the first axis; between them a third is kept,
the voxels of the brain (docs/decisions.md).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from synth.brats import CLASSES, MODALITIES
from synth.layout.detail import MAPS as DETAIL
from synth.models.networks.generator import Compose
from synth.models.painter import box_coordinates, paint, style_tensors_spec, wetness, white_noise
from synth.models.runtime import FLOAT32, tf

if TYPE_CHECKING:
    import keras

_SLAB = 16  # voxels: an even number
_PAINTER, _TWO = 3, 2  # voxels that the painter, and two convolutions one after the other, look far
_REACH = _PAINTER + _TWO
_KEPT = [*(3 * [len(MODALITIES)]), 1]  # channels that are kept of a voxel
_VOLUME = (1, None, None, None)


class Slabs:
    """A network of `build_generator` that is conditioned on detail, painting in slabs on a CPU.

    Args:
        generator: see `suits`.
    """

    def __init__(self, generator: "keras.Model"):
        self._layer = generator.get_layer
        first, last = (self._layer(name).output for name in ("down0_conv", "up0_act"))
        self._body = tf.keras.Model(first, last)
        pair, labels = tf.TensorSpec((2,), tf.int32), _spec(dtype=tf.uint8)
        layers, kept = _spec(len(DETAIL), dtype=tf.uint8), tf.TensorSpec((None, sum(_KEPT)), tf.float32)
        seen = [labels, _spec(3), layers, style_tensors_spec(), pair, pair, pair, pair]
        self._before = _compiled(self._see, seen)
        self._whole = _compiled(lambda x: self._body(x, training=False), [_spec(first.shape[-1])])
        self._after = _compiled(self._compose, [_spec(last.shape[-1]), labels, kept, pair])

    @staticmethod
    def suits(generator: "keras.Model | None") -> bool:
        """Whether a network can be run so: one of `build_generator` with detail, in float32, where there is no GPU.

        A GPU has memory of its own, and may choose other kernels for slabs.
        """
        if generator is None or "detail" not in generator.input or tf.config.list_physical_devices("GPU"):
            return False
        layers = {layer.name: layer for layer in generator.layers}
        ours = "near" in layers and isinstance(layers.get("compose"), Compose)
        return ours and layers["near"].compute_dtype == FLOAT32

    def __call__(
        self,
        classes: np.ndarray,
        shape: tuple[int, int, int],
        box: Sequence[slice],
        tensors: Mapping[str, np.ndarray],
        seed: tuple[int, int],
        layers: np.ndarray,
    ) -> np.ndarray:
        """The image, (x, y, z, 4) float32, of what `painter.paint` takes: without a batch.

        Args:
            classes: (x, y, z) uint8; sides are multiples of 16.
            shape: of the grid.
            box: where the classes lie in it, or beyond.
            tensors: batched `style_tensors`.
            seed: of the noise.
            layers: (x, y, z, 8) uint8.
        """
        size, firsts, kept = len(classes), [], []
        starts = range(0, size, _SLAB)
        for start in starts:
            stop = min(start + _SLAB, size)
            low, high = max(start - _REACH, 0), min(stop + _REACH, size)
            rows, first = slice(low, high), box[0].start
            coordinates = box_coordinates(shape, [slice(first + low, first + high), *box[1:]])
            unseen = [_PAINTER * (low > 0), _PAINTER * (high < size)]  # rows at the ends that only the painter looks at
            ends = [start == 0, stop == size]
            arrays = classes[None, rows], coordinates[None], layers[None, rows]
            first, own = self._before(*arrays, tensors, seed, [low, size], unseen, np.int32(ends))
            firsts.append(first)
            kept.append(own)
        first = tf.concat(firsts, 1)
        del firsts
        last = self._whole(first)
        del first
        out = np.empty((*classes.shape, len(MODALITIES)), np.float32)
        for k, start in enumerate(starts):
            stop = min(start + _SLAB, size)
            ends = [start == 0, stop == size]
            half = slice(start // 2 - (not ends[0]), stop // 2 + (not ends[1]))
            out[start:stop] = self._after(last[:, half], classes[None, start:stop], kept[k], np.int32(ends))[0]
            kept[k] = None
        return out

    def _see(self, classes, coordinates, layers, tensors, seed, place, unseen, ends):
        """What is done before half the resolution on a slab with its surroundings.

        `place`: its first row, and the rows of the volume; `unseen`: rows at either end that only the painter looks at;
        `ends`: 1 where the volume ends. Returns the first convolution's result, and (n, 13) of the slab's n voxels
        within the brain, a third of it: the painted image, noise, what the network adds at full resolution, and what
        is wet.
        """
        pads = _pads(ends)
        shape = tf.concat([[1], place[1:], tf.shape(classes)[2:], [len(MODALITIES)]], 0)
        noise = white_noise(shape, seed, place[0], tf.shape(classes)[1])
        inputs = paint(classes, coordinates, tensors, seed, layers, noise)
        rows = _between(unseen, tf.shape(classes)[1])
        condition, detail, noise, coordinates = (
            rows(inputs[name]) for name in ("condition", "detail", "noise", "coordinates")
        )
        seen = self._layer("layers")([condition, detail])
        near = self._convolved("nearby", self._convolved("near", seen, pads), pads)
        halves = (part[:, ::2, ::2, ::2] for part in (noise, coordinates))
        entry = tf.concat([self._layer("pack")(seen), next(halves) * 20.0, next(halves)], -1)
        first = self._convolved("down0_conv", entry, pads)
        around = _TWO * (1 - ends)
        own = _between(around, tf.shape(seen)[1])
        wet = own(wetness(detail))
        kept = tf.concat([own(condition)[..., len(CLASSES) :], own(noise), near, wet], -1)
        left_out = unseen + around
        brain = classes[:, left_out[0] : tf.shape(classes)[1] - left_out[1]] > 0
        return first, tf.gather_nd(kept, tf.where(brain))

    def _convolved(self, name: str, x, pads):
        """A layer's 3x3x3 convolution of what is padded with 0."""
        layer = self._layer(name)
        x = tf.nn.conv3d(tf.pad(x, pads), layer.kernel, [1] * 5, "VALID")
        return layer.activation(tf.nn.bias_add(x, layer.bias) if layer.use_bias else x)

    def _compose(self, last, classes, kept, ends):
        """The image of a slab: `last` are the network's last features, a row more at either end that has one."""
        shape = tf.concat([tf.shape(classes), [sum(_KEPT)]], 0)
        kept = tf.scatter_nd(tf.where(classes > 0), kept, tf.cast(shape, tf.int64))
        painted, noise, near, wet = tf.split(kept, _KEPT, -1)
        residual = self._layer("unpack")(self._convolved("residual", last, _pads(ends)))
        residual = self._layer("both")([residual, near])
        brain = tf.cast(classes > 0, tf.float32)[..., None]
        own = _between(1 - ends, tf.shape(last)[1])(last)
        log_gain = self._layer("log_gain_bound")(self._layer("log_gain")(own))
        log_gain = self._layer("log_gain_even")([log_gain, wet])
        return self._layer("compose")([painted, residual, log_gain, noise, brain])[0]


def _pads(ends):
    """One voxel where the volume ends and nowhere else across the slabs."""
    return tf.stack([(0, 0), tf.unstack(ends), (1, 1), (1, 1), (0, 0)])


def _between(ends, rows) -> Callable:
    """What leaves out as many of the `rows` at either end of a volume (1, X, Y, Z, C)."""
    first, last = tf.unstack(ends)
    begin, size = (tf.stack(part) for part in ([0, first, 0, 0, 0], [-1, rows - first - last, -1, -1, -1]))

    def cut(volume):
        part = tf.slice(volume, begin, size)
        part.set_shape((*_VOLUME, volume.shape[-1]))
        return part

    return cut


def _compiled(function: Callable, signature: list):
    return tf.function(function, input_signature=signature, autograph=False)


def _spec(*channels: int, dtype=tf.float32) -> tf.TensorSpec:
    return tf.TensorSpec((*_VOLUME, *channels), dtype)
