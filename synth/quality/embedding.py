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
    return Embedder(model, arch, identity)


class Embedder:
    """A segmenter that also tells what it sees on the way.

    Args:
        model: as for `probes`.
        arch: of its network: a key of `LEVELS`.
        identity: of its weights.
    """

    def __init__(self, model: str | Path | None, arch: str, identity: str):
        self.model, self.levels, self._key = model, LEVELS[arch], (model, arch, identity)
        self._last: tuple[Callable[[], Prepared | None], dict[str, np.ndarray]] = (lambda: None, {})

    def __reduce__(self) -> tuple:
        """In another process it is the one last asked for there."""
        return _embedder, self._key

    def pooled(self, prepared: Prepared) -> dict[str, np.ndarray]:
        """The arrays of the probe "embedding", of one case.

        Windows overlap, and count by the weights with which their probabilities are blended.
        """
        case, pooled = self._last
        if case() is prepared:
            return pooled
        segmenter, down, _ = self._loaded
        images, sums = _seen(prepared), []
        _, inner, _, parts = segmenter.tiled(images.shape[:3])
        for part in parts:
            seen = segmenter.seen_through(part, images, inner)
            if seen.any():
                sums.append([total.numpy() for total in down(seen[None])])
        return self._pooled(sums)

    def dice(self, prepared: Prepared) -> dict[str, np.ndarray]:
        """The array of the probe "dice", of one case; its embedding is at hand then."""
        segmenter, _, whole = self._loaded
        sums = []

        def run(window):
            probabilities, totals = whole(window)
            sums.append([total.numpy() for total in totals])
            return probabilities

        probabilities = segmenter.slide(run, _seen(prepared))
        self._last = weakref.ref(prepared), self._pooled(sums)
        found = np.where(prepared.brain, probabilities.argmax(-1), 0).astype(np.uint8)
        scores = region_dice(prepared.labels, found)
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
        from synth.models.runtime import one_at_a_time, tf  # before Keras: TensorFlow greets whoever is first
        from synth.models.sliding_window import blending

        segmenter, _ = load_segmenter(self.model)
        import keras

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
                weights = tf.nn.avg_pool3d(masks, stride, stride, "VALID")
                weights = tf.reshape(weights, (-1, 2))  # (n, brain and tumour)
                seen = tf.reshape(seen, (-1, seen.shape[-1]))  # (n, C)
                first = tf.matmul(weights, seen, transpose_a=True)  # (2, C)
                second = tf.matmul(weights[:, :1], tf.square(seen), transpose_a=True)
                rows = tf.concat([first[:1], second, first[1:]], 0)
                total = tf.reduce_sum(weights, 0)
                sums.append(tf.concat([rows, tf.gather(total, (0, 0, 1))[:, None]], 1))
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


def _seen(prepared: Prepared) -> np.ndarray:
    """(x, y, z, 4 + 2) float32 of the brain's box: images, and the masks of brain and tumour."""
    masks = prepared.brain, prepared.brain & (prepared.labels > 0)
    return np.concatenate([prepared.z, np.stack(masks, -1).astype(np.float32)], -1)
