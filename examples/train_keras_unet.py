"""Train a small 3D U-Net of your own on pairs that never repeat.

    python examples/train_keras_unet.py --steps 200 --out unet.keras

Every patch comes from a tumour drawn anew and a scan painted while the network trains; no data are needed, and nothing
but the model is written. One sees the loss fall from about 2.5, unevenly, as no two batches are alike. Painting is what
takes the time here (about 1.5 s a scan on two cores): eight patches are cut from every scan.
"""

import argparse

import keras
import tensorflow as tf

from synth import dataset

CLASSES = 4  # none, NCR, ED, ET


def unet(width: int) -> keras.Model:
    """Three levels; takes four modalities of any size divisible by 4, gives a probability for each class."""

    def convolved(x, filters: int):
        for _ in range(2):
            x = keras.layers.Conv3D(filters, 3, padding="same", use_bias=False)(x)
            x = keras.layers.GroupNormalization(4)(x)
            x = keras.layers.Activation("relu")(x)
        return x

    inputs = x = keras.Input((None, None, None, 4))
    skips = []
    for level in range(2):
        skips.append(convolved(x, width << level))
        x = keras.layers.MaxPooling3D(2)(skips[-1])
    x = convolved(x, width << 2)
    for level in (1, 0):
        x = keras.layers.Concatenate()([keras.layers.UpSampling3D(2)(x), skips[level]])
        x = convolved(x, width << level)
    return keras.Model(inputs, keras.layers.Conv3D(CLASSES, 1, activation="softmax")(x), name="unet")


def dice(truth: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
    """Mean soft Dice of the three tumour classes."""
    both = tf.reduce_sum(truth * probabilities, (0, 1, 2, 3))[1:]
    either = tf.reduce_sum(truth + probabilities, (0, 1, 2, 3))[1:]
    return tf.reduce_mean((2 * both + 1) / (either + 1))


def loss(truth: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
    """Cross-entropy, and what the Dice lacks of 1."""
    return tf.reduce_mean(keras.losses.categorical_crossentropy(truth, probabilities)) + 1 - dice(truth, probabilities)


def main(arguments: list[str] | None = None) -> None:
    """Train, print the loss, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="your BraTS cases, or layouts [default: none needed]")
    parser.add_argument("--model", help="name or folder of the generator that paints [default: the packaged one]")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--patch", type=int, default=32, help="edge in voxels, divisible by 4")
    parser.add_argument("--width", type=int, default=8, help="filters of the first level, divisible by 4")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="unet.keras")
    options = parser.parse_args(arguments)

    keras.utils.set_random_seed(options.seed)
    pairs = dataset(options.data, model=options.model, seed=options.seed, patch=options.patch, batch=2, one_hot=True)
    network = unet(options.width)
    network.compile(keras.optimizers.Adam(2e-3), loss, metrics=[dice])
    for step, (images, labels) in enumerate(pairs.take(options.steps), start=1):
        value, overlap = network.train_on_batch(images, labels, return_dict=False)
        network.reset_metrics()
        print(f"step {step:4d}  loss {value:.3f}  dice {overlap:.3f}", flush=True)
    network.save(options.out)
    print(
        f"saved to {options.out}; loss and dice come with it: give them as custom_objects, or load with compile=False"
    )


if __name__ == "__main__":
    main()
