"""Probe "embedding": how a brain looks to the shipped segmenter, and how well its labels agree with the case's.

Arrays of `record("embedding", ...)`:

- `fine`, `middle`, `deep`: (2C,) float32, mean and standard deviation over the brain of C activations at a half, a
  quarter and a sixteenth of the resolution (shipped model: 64, 128 and 512 numbers);
- `tumour`: (sum of C,) float32, mean over the labelled tumour minus mean over the brain of all these activations; 0
  without tumour;
- `pooled`: the four above one after the other, float32, never NaN: the case as one vector;
- `dice`: (3,) float32, Dice of WT, TC and ET (`brats.REGIONS`) between the case's labels and those that
  `Segmenter.labels_in_box` finds, with no mirroring and no post-processing: `synth segment --no-postprocess`.

A network trained to find tumours sees contrast, texture and sharpness of the four modalities together: the place that
ImageNet's Inception has for photographs (Heusel et al. 2017, arXiv:1706.08500), without its ignorance of MRI (on
which see Konz et al. 2024, arXiv:2412.01496). It judges what it was trained to see, and no more.
"""

from functools import cached_property, lru_cache, partial
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

NAME = "embedding"
VERSION = 1  # of what is pooled and how; the probe's version has the segmenter's hash besides
LEVELS = {  # name -> the layer that ends it, by architecture, and its stride
    "unet3d": {"fine": ("down0b_act", 2), "middle": ("down1b_act", 4), "deep": ("down3b_act", 16)},
    "vox2vox": {"fine": ("down0_act", 2), "middle": ("down1_act", 4), "deep": ("bottom3_act", 16)},
}
PARTS = (*LEVELS["unet3d"], "tumour")


def probe(model: str | Path | None = None) -> Probe:
    """The probe of a segmenter; it is loaded when the first case is measured, and once in a process.

    Args:
        model: a shipped segmenter's name or a model's folder; None: the packaged one.

    Raises:
        ModelError: there is no such model.
    """
    card = read_card(DEFAULT_MODEL if model is None else model, SEGMENTER)
    identity = segmenter_hash(card)
    embedder = _embedder(model, card["segmenter"].get("arch", "unet3d"), identity)
    return Probe(NAME, f"{VERSION}-{identity}", partial(measure, embedder))


@lru_cache(maxsize=1)
def _embedder(model: str | Path | None, arch: str, identity: str) -> "Embedder":
    """The embedder last asked for is kept: loading and tracing a network take as long as half a case."""
    return Embedder(model, arch)


def measure(embedder: "Embedder", prepared: Prepared) -> dict[str, np.ndarray]:
    """The arrays at the head of this module, of one case."""
    case = prepared.case
    brain = case.brain
    box = bounding_box(brain)
    same = box == prepared.box and np.array_equal(prepared.brain, brain[box])
    z = prepared.z if same else zscored(case.images[box], brain[box])
    pooled, segmented = embedder(z, brain[box], case.labels[box])
    dice = region_dice(case.labels[box], segmented)
    return {**pooled, "dice": np.array([dice[name] for name in REGIONS], np.float32)}


class Embedder:
    """A segmenter that also tells what it saw on the way, in the one pass that labels take.

    Args:
        model: as for `probe`.
        arch: of its network: a key of `LEVELS`.
    """

    def __init__(self, model: str | Path | None, arch: str):
        self.model, self.levels = model, LEVELS[arch]

    def __call__(
        self, z: np.ndarray, brain: np.ndarray, labels: np.ndarray
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Pooled activations by name, and the labels (x, y, z) uint8 that the network finds.

        Windows overlap, and count by the weights with which their probabilities are blended.

        Args:
            z: (x, y, z, 4) z-scored images of a brain's box.
            brain: (x, y, z) bool.
            labels: (x, y, z) `brats.Tumour`: whose activations are the tumour's.
        """
        import tensorflow as tf

        segmenter, network = self._loaded
        sums = []

        def run(window):
            probabilities, activations = network(tf.constant(window))
            sums.append([part.numpy() for part in activations])
            return probabilities

        masks = np.stack([brain, brain & (labels > 0)], -1).astype(np.float32)
        probabilities = segmenter.slide(run, np.concatenate([z, masks], -1))
        totals = [np.sum(parts, 0, np.float64) for parts in zip(*sums, strict=True)]
        return self._pooled(totals), np.where(brain, probabilities.argmax(-1), 0).astype(np.uint8)

    def _pooled(self, totals: list[np.ndarray]) -> dict[str, np.ndarray]:
        out, tumours = {}, []
        for name, total in zip(self.levels, totals, strict=True):
            weight, tumour_weight = total[0, -1], total[2, -1]
            mean, square = total[0, :-1] / weight, total[1, :-1] / weight
            out[name] = np.concatenate([mean, np.sqrt(np.maximum(square - mean**2, 0))]).astype(np.float32)
            tumours.append(total[2, :-1] / tumour_weight - mean if tumour_weight else np.zeros_like(mean))
        out["tumour"] = np.concatenate(tumours).astype(np.float32)
        return {**out, "pooled": np.concatenate([out[part] for part in PARTS])}

    @cached_property
    def _loaded(self):
        """The segmenter, and a function from a window (1, x, y, z, 4 + 2 masks) to probabilities and weighted sums."""
        import keras
        import tensorflow as tf

        from synth.models.sliding_window import blending

        segmenter, _ = load_segmenter(self.model)
        network = segmenter.networks[0]
        wanted = [network.get_layer(layer).output for layer, _ in self.levels.values()]
        seeing = keras.Model(network.inputs, [network.get_layer("probabilities").output, *wanted])
        strides = [stride for _, stride in self.levels.values()]

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

        spec = [tf.TensorSpec((1, None, None, None, len(MODALITIES)), tf.float32)]
        forward = tf.function(lambda x: seeing(x, training=False), input_signature=spec, autograph=False)

        def run(window):
            probabilities, *features = forward(window[..., : len(MODALITIES)])
            return probabilities, pool(features, window[..., len(MODALITIES) :] * blending(tuple(window.shape[1:4])))

        return segmenter, run
