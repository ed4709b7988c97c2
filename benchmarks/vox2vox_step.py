"""Cost of a training step of our Vox2Vox beside the plain public architecture's, and how long it waits for input.

The plain one is Vox2Vox as its authors describe it (Cirillo et al. 2020, arXiv:2003.13653; github.com/mdciri/Vox2Vox),
rebuilt with Keras layers: kernels of 4, stride 2, instance norm, a transposed convolution as the last layer, and its
PatchGAN; least squares + 5 generalised Dice, Adam. Both see the same kind of batch, by turns, in one process.

    python benchmarks/vox2vox_step.py                          # 64 filters, 128^3, batch 1: some minutes on 2 cores
    python benchmarks/vox2vox_step.py --width 16 --patch 96 --steps 10
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from synth.case import Case
from synth.models.networks.segmenter import build_patchgan, build_segmenter
from synth.trainers.adversarial import AdversarialStep
from synth.trainers.cutting import PatchConfig
from synth.trainers.loop import TrainingLoop
from synth.trainers.segmentation.patches import FixedPool, Mix, labelled_dataset, store_labelled
from synth.trainers.segmentation.task import SegmentationTask
from synth.trainers.segmentation.training import SegmenterTraining


def plain_networks(width: int) -> tuple[keras.Model, keras.Model]:
    """Generator and discriminator of the public architecture, plain layer by layer."""

    def block(x, filters, strides, normalise=True):
        x = layers.Conv3D(filters, 4, strides, "same", kernel_initializer="he_normal")(x)
        x = layers.GroupNormalization(groups=-1, epsilon=1e-3)(x) if normalise else x
        return layers.LeakyReLU(negative_slope=0.2)(x)

    images = keras.Input((None, None, None, 4))
    x, skips = images, []
    for level in range(4):
        x = block(x, width * 2**level, 2, level > 0)
        skips.append(x)
    for _ in range(4):
        y = layers.Conv3D(width * 8, 4, 1, "same", kernel_initializer="he_normal")(layers.Dropout(0.2)(x))
        x = layers.LeakyReLU(negative_slope=0.2)(layers.GroupNormalization(groups=-1, epsilon=1e-3)(y))
        x = layers.Concatenate()([x, y])
    for level in (2, 1, 0):
        x = layers.Conv3DTranspose(width * 2**level, 4, 2, "same", kernel_initializer="he_normal")(x)
        x = layers.LeakyReLU(negative_slope=0.2)(layers.GroupNormalization(groups=-1, epsilon=1e-3)(x))
        x = layers.Concatenate()([x, skips[level]])
    last = layers.Conv3DTranspose(4, 4, 2, "same", kernel_initializer="he_normal", activation="softmax")(x)
    generator = keras.Model(images, last)
    scan, labels = keras.Input((None, None, None, 4)), keras.Input((None, None, None, 4))
    x = layers.Concatenate()([scan, labels])
    for level in range(3):
        x = block(x, width * 2**level, 2, level > 0)
    x = layers.Conv3D(width * 8, 4, 1, "valid", kernel_initializer="he_normal")(layers.ZeroPadding3D()(x))
    x = layers.LeakyReLU(negative_slope=0.2)(layers.GroupNormalization(groups=-1, epsilon=1e-3)(x))
    score = layers.Conv3D(1, 4, 1, "valid", kernel_initializer="he_normal")(layers.ZeroPadding3D()(x))
    return generator, keras.Model([scan, labels], score)


def plain_step(width: int):
    """A compiled training step of the plain architecture: images, one-hot labels -> loss."""
    generator, judge = plain_networks(width)
    optimizers = [keras.optimizers.Adam(2e-4, 0.5) for _ in range(2)]
    for optimizer, model in zip(optimizers, (generator, judge), strict=True):
        optimizer.build(model.trainable_variables)

    @tf.function
    def step(images, truth):
        with tf.GradientTape() as generator_tape, tf.GradientTape() as judge_tape:
            made = generator(images, training=True)
            real, fake = judge([images, truth], training=True), judge([images, made], training=True)
            weights = 1 / tf.square(tf.reduce_sum(truth, (0, 1, 2, 3)) + 1)
            both = tf.reduce_sum(weights * tf.reduce_sum(truth * made, (0, 1, 2, 3)))
            sizes = tf.reduce_sum(weights * tf.reduce_sum(truth + made, (0, 1, 2, 3)))
            total = 5 * (1 - 2 * both / sizes) + tf.reduce_mean((fake - 1) ** 2)
            judged = 0.5 * (tf.reduce_mean((real - 1) ** 2) + tf.reduce_mean(fake**2))
        for optimizer, tape, loss, model in zip(
            optimizers, (generator_tape, judge_tape), (total, judged), (generator, judge), strict=True
        ):
            gradients = tape.gradient(loss, model.trainable_variables)
            optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return total

    return step


def made_case(seed: int) -> Case:
    """A scan of a brain's size, of noise: what is timed does not depend on what is shown."""
    rng, shape = np.random.default_rng(seed), (144, 176, 144)
    labels = np.zeros(shape, np.uint8)
    labels[40:80, 60:100, 50:90] = rng.integers(0, 4, (40, 40, 40))
    return Case(f"case{seed}", rng.integers(1, 1000, (*shape, 4)).astype(np.int16), labels, np.eye(4))


def main():
    """Print seconds a step, their ratio, and the share of a step spent waiting for input."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--patch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=4, help="timed steps of each; the medians are printed")
    given = parser.parse_args()
    config = SegmenterTraining.of("vox2vox", width=given.width)
    config = replace(config, train=replace(config.train, batch=1, steps=1000), patch=PatchConfig(given.patch))
    with tempfile.TemporaryDirectory() as folder:
        step = AdversarialStep(
            lambda: (build_segmenter(config.segmenter), build_patchgan(given.width)),
            SegmentationTask(config.loss),
            config.train,
        )
        loop = TrainingLoop(step, config.train, Path(folder) / "run")
        mix = Mix((FixedPool([store_labelled(made_case(k), Path(folder) / str(k)) for k in range(3)]),), (1.0,))
        batches = iter(
            labelled_dataset(mix, start=0, stop=1000, batch=1, seed=0, patch=config.patch, augment=config.augment)
        )
        batch = next(batches)
        truth = tf.one_hot(batch["labels"], 4)
        plain, ours = plain_step(given.width), loop.advance
        float(plain(batch["images"], truth)), float(ours(batch)["generator"])  # compiled
        seconds = {"plain": [], "ours": [], "waiting": [], "with input": []}
        for _ in range(given.steps):
            seconds["plain"].append(timed(lambda: float(plain(batch["images"], truth))))
            seconds["ours"].append(timed(lambda: float(ours(batch)["generator"])))
        next(batches)
        for _ in range(max(given.steps, 6)):  # as training does: the next patch is cut while this one is learnt from
            begin = time.perf_counter()
            drawn = next(batches)
            seconds["waiting"].append(time.perf_counter() - begin)
            float(ours(drawn)["generator"])
            seconds["with input"].append(time.perf_counter() - begin)
    median = {name: float(np.median(values)) for name, values in seconds.items()}
    print(f"width {given.width}, patch {given.patch}, batch 1, float32, median of {given.steps}")
    print(f"plain {median['plain']:.2f} s, ours {median['ours']:.2f} s: ratio {median['ours'] / median['plain']:.2f}")
    waiting = sum(seconds["waiting"]) / sum(seconds["with input"])
    print(f"with augmented input {median['with input']:.2f} s a step, of which waiting {100 * waiting:.2f} %")


def timed(call) -> float:
    """Seconds that a call takes."""
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
