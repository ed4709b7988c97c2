"""Painting whole layouts with a trained generator."""

import numpy as np

from synth.brats import CLASSES, TISSUES
from synth.layout.detail import MAPS as DETAIL
from synth.layout.detail import softened
from synth.layout.layout import Layout
from synth.models.configs import DIVISOR
from synth.models.painter import box_coordinates, paint, style_tensors, style_tensors_spec
from synth.models.runtime import give_back, one_at_a_time, tf
from synth.models.slabs import Slabs
from synth.style.style import Style

MARGIN = 2  # voxels around the brain: what the painter's blur reaches


class LayoutPainter:
    """A generator ready to paint whole layouts, each inside its brain's box.

    Args:
        generator: network from `build_generator`; None paints without one (the painter: classes in their style's
            colours, shading, blur and noise).
            Where it is conditioned on detail, a layout without is painted from softened tissue.
        texture_gain: factor on the style's texture level, one or one per modality, found on training cases when the
            weights were made (`trainers.painting.validation.calibrate_texture`).
        grain_gain: likewise, factor on the widths of its grain (`calibrate_grain`, there too).
    """

    def __init__(self, generator=None, texture_gain=1.0, grain_gain=1.0):
        self.generator = generator
        self.texture_gain = texture_gain
        self.grain_gain = grain_gain
        self.sees_detail = generator is not None and "detail" in generator.input
        volume = (1, None, None, None)
        tables = style_tensors_spec()
        signature = [
            tf.TensorSpec(volume, tf.uint8),
            tf.TensorSpec((*volume, 3), tf.float32),
            tables,
            tf.TensorSpec((2,), tf.int32),
        ]
        if self.sees_detail:
            signature.append(tf.TensorSpec((*volume, len(DETAIL)), tf.uint8))
        self._run = tf.function(self._paint, input_signature=signature, autograph=False)
        self._slabs = Slabs(generator) if Slabs.suits(generator) else None

    def _paint(self, classes, coordinates, tensors, seed, detail=None):
        inputs = paint(classes, coordinates, tensors, seed, detail)
        if self.generator is None:
            return inputs["condition"][..., len(CLASSES) :] + inputs["noise"]
        return self.generator(inputs, training=False)["image"]

    def box(self, layout: Layout) -> tuple[tuple[slice, slice, slice], list[slice]]:
        """The brain's box and the same grown to multiples of 16 (it may reach beyond the grid)."""
        inside = layout.bounding_box()
        grown = []
        for part in inside:
            size = part.stop - part.start + 2 * MARGIN
            size = -(-size // DIVISOR) * DIVISOR
            start = part.start - (size - (part.stop - part.start)) // 2
            grown.append(slice(start, start + size))
        return inside, grown

    def __call__(self, layout: Layout, style: Style, seed: tuple[int, int]) -> np.ndarray:
        """Paint a layout.

        Args:
            layout: what to paint.
            style: how.
            seed: two int32 that the noise depends on alone.

        Returns:
            (x, y, z, 4) float32 in normalised units for `layout.bounding_box()`; 0 outside the brain.
        """
        inside, grown = self.box(layout)
        classes = np.zeros([part.stop - part.start for part in grown], np.uint8)
        target = tuple(slice(i.start - g.start, i.stop - g.start) for i, g in zip(inside, grown, strict=True))
        visible = layout.tissue[inside]
        tumour = layout.tumour[inside]
        classes[target] = np.where(tumour > 0, tumour + len(TISSUES), visible)
        tensors = {
            name: value[None]
            for name, value in style_tensors(
                style,
                self.texture_gain,
                self.grain_gain,
                mixed=self.sees_detail,
                pure=self.sees_detail and layout.detail is not None,
            ).items()
        }
        inputs = [tensors, np.asarray(seed, np.int32)]
        if self.sees_detail:
            layers = np.zeros((*classes.shape, len(DETAIL)), np.uint8)
            known = softened(np.where(tumour > 0, 0, visible)) if layout.detail is None else layout.detail
            for k, layer in enumerate(known.layers):
                layers[(*target, k)] = layer if layout.detail is None else layer[inside]
            inputs.append(layers)
        with one_at_a_time:
            give_back()
            image = self._painted(classes, layout.shape, grown, *inputs)[target]
            give_back()
        return image

    def _painted(self, classes, shape, grown, tensors, seed, *layers) -> np.ndarray:
        """(x, y, z, 4) float32 on the grown box; in slabs where that can be, to the same bits."""
        if self._slabs is not None:
            return self._slabs(classes, shape, grown, tensors, seed, *layers)
        coordinates = box_coordinates(shape, grown)[None]
        return self._run(classes[None], coordinates, tensors, seed, *(part[None] for part in layers)).numpy()[0]
