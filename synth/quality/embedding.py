"""Probes of a segmenter: how a brain looks to it ("embedding"), and whether its labels are the case's ("dice").

Arrays of `record("embedding", ...)`:

- `fine`, `middle`, `deep`: (2C,) float32, mean and standard deviation over the brain of C activations at a half, a
  quarter and a sixteenth of the resolution (shipped model: 64, 128 and 512 numbers);
- `tumour`: (sum of C,) float32, mean over the labelled tumour minus mean over the brain of all these activations; 0
  without tumour;
- `pooled`: the four above one after the other, float32, never NaN: the case as one vector.

Array of `record("dice", ...)`:

- `dice`: (3,) float32, Dice of WT, TC and ET (`brats.REGIONS`) between the case's labels and those that
  `Segmenter.labels_in_box` finds, with no mirroring and no post-processing: `synth segment --no-postprocess`.

The embedding takes the network's way down alone, half of what labels cost; so Dice can be asked of fewer cases.

A network trained to find tumours sees contrast, texture and sharpness of the four modalities together: the place that
ImageNet's Inception has for photographs (Heusel et al. 2017, arXiv:1706.08500), without its ignorance of MRI (on
which see Konz et al. 2024, arXiv:2412.01496). It judges what it was trained to see, and no more.
"""

import weakref
from collections.abc import Callable
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from synth.brats import MODALITIES, REGIONS
from synth.case import zscored
from synth.layout.layout import bounding_box
from synth.models.cards import DEFAULT_MODEL, SEGMENTER, read_card, segmenter_hash
from synth.models.ensembles import load_segmenter
from synth.quality.prepared import Prepared
from synth.quality.probes import Probe
from synth.quality.segmentation_metrics import region_dice

NAME, DICE = "embedding", "dice"
VERSION = 1  # of what is pooled and how; the probe's version has the segmenter's hash besides
LEVELS = {  # name -> the layer that ends it, by architecture, and its stride
    "unet3d": {"fine": ("down0b_act", 2), "middle": ("down1b_act", 4), "deep": ("down3b_act", 16)},
    "vox2vox": {"fine": ("down0_act", 2), "middle": ("down1_act", 4), "deep": ("bottom3_act", 16)},
}
PARTS = (*LEVELS["unet3d"], "tumour")


def probes(model: str | Path | None = None) -> tuple[Probe, Probe]:
    """The probes "dice" and "embedding" of a segmenter, to be measured in this order: both take one pass then.

    It is loaded when the first case is measured, and once in a process.

    Args:
        model: a shipped segmenter's name or a model's folder; None: the packaged one.

    Raises:
        ModelError: there is no such model.
    """
    card = read_card(DEFAULT_MODEL if model is None else model, SEGMENTER)
    identity = segmenter_hash(card)
    embedder = _embedder(model, card["segmenter"].get("arch", "unet3d"), identity)
    version = f"{VERSION}-{identity}"
    return Probe(DICE, version, embedder.dice), Probe(NAME, version, embedder.pooled)


@lru_cache(maxsize=1)
def _embedder(model: str | Path | None, arch: str, identity: str) -> "Embedder":
    """The embedder last asked for is kept: loading and tracing a network take as long as half a case."""
    return Embedder(model, arch)


class Embedder:
    """A segmenter that also tells what it sees on the way.

    Args:
        model: as for `probes`.
        arch: of its network: a key of `LEVELS`.
    """

    def __init__(self, model: str | Path | None, arch: str):
        self.model, self.levels = model, LEVELS[arch]
        self._last: tuple[Callable[[], Prepared | None], dict[str, np.ndarray]] = (lambda: None, {})

    def pooled(self, prepared: Prepared) -> dict[str, np.ndarray]:
        """The arrays of the probe "embedding", of one case.

        Windows overlap, and count by the weights with which their probabilities are blended.
        """
        case, pooled = self._last
        if case() is prepared:
            return pooled
        segmenter, down, _ = self._loaded
        padded, _, _, parts = segmenter.tiled(_seen(prepared)[0])
        sums = []
        for part in parts:
            if padded[part].any():
                sums.append([total.numpy() for total in down(padded[part][None])])
        return self._pooled(sums)

    def dice(self, prepared: Prepared) -> dict[str, np.ndarray]:
        """The array of the probe "dice", of one case; its embedding is at hand then."""
        segmenter, _, whole = self._loaded
        seen, brain, labels = _seen(prepared)
        sums = []

        def run(window):
            probabilities, totals = whole(window)
            sums.append([total.numpy() for total in totals])
            return probabilities

        probabilities = segmenter.slide(run, seen)
        self._last = weakref.ref(prepared), self._pooled(sums)
        scores = region_dice(labels, np.where(brain, probabilities.argmax(-1), 0).astype(np.uint8))
        return {"dice": np.array([scores[name] for name in REGIONS], np.float32)}

    def _pooled(self, sums: list[list[np.ndarray]]) -> dict[str, np.ndarray]:
        out, tumours = {}, []
        for name, parts in zip(self.levels, zip(*sums, strict=True), strict=True):
            total = np.sum(parts, 0, np.float64)
            weight, tumour_weight = total[0, -1], total[2, -1]
            mean, square = total[0, :-1] / weight, total[1, :-1] / weight
            out[name] = np.concatenate([mean, np.sqrt(np.maximum(square - mean**2, 0))]).astype(np.float32)
            tumours.append(total[2, :-1] / tumour_weight - mean if tumour_weight else np.zeros_like(mean))
        out["tumour"] = np.concatenate(tumours).astype(np.float32)
        return {**out, "pooled": np.concatenate([out[part] for part in PARTS])}

    @cached_property
    def _loaded(self):
        """The segmenter, and two functions of a window (1, x, y, z, 4 + 2 masks).

        They give the weighted sums of each level, and the probabilities together with these.
        """
        import keras
        import tensorflow as tf

        from synth.models.runtime import one_at_a_time
        from synth.models.sliding_window import blending

        segmenter, _ = load_segmenter(self.model)
        network = segmenter.networks[0]
        levels = [network.get_layer(layer).output for layer, _ in self.levels.values()]
        strides = [stride for _, stride in self.levels.values()]
        spec = [tf.TensorSpec((1, None, None, None, len(MODALITIES)), tf.float32)]

        def forward(outputs):
            seeing = keras.Model(network.inputs, outputs)
            return tf.function(lambda x: seeing(x, training=False), input_signature=spec, autograph=False)

        down, through = forward(levels), forward([network.get_layer("probabilities").output, *levels])

        @tf.function(reduce_retracing=True, autograph=False)
        def pool(features, masks):
            sums = []
            for seen, stride in zip(features, strides, strict=True):
                weights = tf.nn.avg_pool3d(masks, stride, stride, "VALID")[0]  # (x, y, z, brain and tumour)
                seen = tf.concat([seen[0], tf.ones_like(seen[0, ..., :1])], -1)  # the last column sums the weights
                brain, tumour = weights[..., :1], weights[..., 1:]
                rows = (brain * seen, brain * seen**2, tumour * seen)
                sums.append(tf.stack([tf.reduce_sum(row, (0, 1, 2)) for row in rows]))
            return sums

        def masks(window):
            return window[..., len(MODALITIES) :] * blending(tuple(window.shape[1:4]))

        def embedded(window):
            with one_at_a_time:
                return pool(down(window[..., : len(MODALITIES)]), masks(window))

        def whole(window):
            probabilities, *features = through(window[..., : len(MODALITIES)])
            return probabilities, pool(features, masks(window))

        return segmenter, embedded, whole


def _seen(prepared: Prepared) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the brain's box: images and the masks of brain and tumour (x, y, z, 4 + 2); brain; labels."""
    case = prepared.case
    brain = case.brain
    box = bounding_box(brain)
    same = box == prepared.box and np.array_equal(prepared.brain, brain[box])
    z = prepared.z if same else zscored(case.images[box], brain[box])
    masks = np.stack([brain[box], brain[box] & (case.labels[box] > 0)], -1).astype(np.float32)
    return np.concatenate([z, masks], -1), brain[box], case.labels[box]
