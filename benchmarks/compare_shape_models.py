"""Principal directions or a small variational autoencoder for tumour shapes? Print what each explains of left-out maps.

Usage: python benchmarks/compare_shape_models.py DATA [--epochs 120] [--latents 48]

Both see the same signed distances (`fit_tumour_prior.distances`) of three quarters of the maps; the rest is judged.
The autoencoder (convolutions 16-32-64, dense 48) is stopped at the epoch that is best on an eighth of its maps.
"""

import argparse
from pathlib import Path

import numpy as np
from fit_tumour_prior import LATTICE, distances, real_maps
from sklearn.model_selection import KFold

from synth.models.runtime import tf

layers = tf.keras.layers


def build(latents: int, spread: float):
    """Encoder to (mean, log variance) and decoder of (24, 24, 24, 3) distances."""
    inputs = layers.Input((LATTICE, LATTICE, LATTICE, 3))
    hidden = inputs
    for width in (16, 32, 64):
        hidden = layers.Conv3D(width, 3, strides=2, padding="same", activation="gelu")(hidden)
    hidden = layers.Dropout(0.1)(layers.Flatten()(hidden))
    encoder = tf.keras.Model(inputs, [layers.Dense(latents)(hidden), layers.Dense(latents)(hidden)])
    code = layers.Input((latents,))
    hidden = layers.Reshape((3, 3, 3, 64))(layers.Dense(27 * 64, activation="gelu")(code))
    for width in (32, 16, 16):
        hidden = layers.Conv3D(width, 3, padding="same", activation="gelu")(layers.UpSampling3D(2)(hidden))
    decoder = tf.keras.Model(code, spread * layers.Conv3D(3, 3, padding="same")(hidden))
    return encoder, decoder


def explained(encoder, decoder, shapes, mean) -> float:
    """Share of the variance about `mean` that the autoencoder gives back."""
    rest = shapes - mean
    back = decoder.predict(encoder.predict(rest, verbose=0)[0], verbose=0)
    return float(1 - ((rest - back) ** 2).sum() / (rest**2).sum())


def train(shapes, latents: int, epochs: int, weight: float):
    """The autoencoder with the best epoch's weights, and the mean it was trained about."""
    tf.keras.utils.set_random_seed(0)
    mean, held = shapes.mean(0), shapes[::8]
    fitted = np.delete(shapes, np.s_[::8], axis=0) - mean
    encoder, decoder = build(latents, 1.0)
    optimizer = tf.keras.optimizers.Adam(1e-3)
    variables = encoder.trainable_variables + decoder.trainable_variables

    @tf.function
    def step(batch):
        with tf.GradientTape() as tape:
            centre, log_variance = encoder(batch, training=True)
            code = centre + tf.exp(0.5 * log_variance) * tf.random.normal(tf.shape(centre))
            error = tf.reduce_mean(tf.reduce_sum((decoder(code, training=True) - batch) ** 2, [1, 2, 3, 4]))
            divergence = -0.5 * tf.reduce_mean(tf.reduce_sum(1 + log_variance - centre**2 - tf.exp(log_variance), -1))
            loss = error + weight * divergence
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    dataset = tf.data.Dataset.from_tensor_slices(fitted).shuffle(512, seed=0).batch(16, drop_remainder=True)
    best, kept = -np.inf, None
    for epoch in range(epochs):
        for batch in dataset:
            step(batch)
        if epoch % 5 == 4:
            score = explained(encoder, decoder, held, mean)
            if score > best:
                best, kept = score, [encoder.get_weights(), decoder.get_weights()]
    encoder.set_weights(kept[0])
    decoder.set_weights(kept[1])
    return encoder, decoder, mean


def main():
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--epochs", type=int, default=120)
    parser.add_argument("--latents", type=int, default=48)
    args = parser.parse_args()
    shapes = np.stack([distances(m) for m in real_maps(args.data)])
    a, b = next(KFold(4, shuffle=True, random_state=0).split(shapes))
    flat, mean = shapes[a].reshape(len(a), -1), shapes[a].reshape(len(a), -1).mean(0)
    directions = np.linalg.svd(flat - mean, full_matrices=False)[2][: args.latents]
    rest = shapes[b].reshape(len(b), -1) - mean
    left = rest - rest @ directions.T @ directions
    print(
        f"{args.latents} principal directions: {1 - (left**2).sum() / (rest**2).sum():.3f} of left-out maps explained"
    )
    for weight in (0.1, 1.0, 10.0):
        encoder, decoder, middle = train(shapes[a], args.latents, args.epochs, weight)
        share = explained(encoder, decoder, shapes[b], middle)
        print(f"autoencoder, weight of the divergence {weight}: {share:.3f}")


if __name__ == "__main__":
    main()
