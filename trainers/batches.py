"""Batches drawn by step number: a resumed run sees what an undisturbed one would."""

from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

_CUTTERS = 2  # patches cut at a time
_THREADS = 3  # of the dataset's own: drawing may wait for a sample to be painted, not in threads that painting needs


def batches_by_step(
    draw: Callable[[int, int], Mapping[str, np.ndarray]],
    specs: Mapping[str, tf.TensorSpec],
    *,
    start: int,
    stop: int,
    batch: int,
) -> tf.data.Dataset:
    """Batches of steps `start` to `stop`, drawn ahead of the training step.

    Args:
        draw: gives sample `slot` of step `step`, the same at every call (`randomness.step_rng`).
        specs: shape and type of every array of a sample.
        start: the first step.
        stop: the step after the last.
        batch: samples a step.
    """

    def load(index):
        def drawn(i):
            sample = draw(int(i) // batch, int(i) % batch)
            return [sample[name] for name in specs]

        values = tf.numpy_function(drawn, [index], [spec.dtype for spec in specs.values()])
        return {
            name: tf.ensure_shape(value, spec.shape) for (name, spec), value in zip(specs.items(), values, strict=True)
        }

    samples = tf.data.Dataset.range(start * batch, stop * batch)
    batches = samples.map(load, num_parallel_calls=_CUTTERS, deterministic=True).batch(batch, drop_remainder=True)
    options = tf.data.Options()
    options.threading.private_threadpool_size = _THREADS
    return batches.prefetch(2).with_options(options)


def specs_of(sample: Mapping[str, np.ndarray]) -> dict[str, tf.TensorSpec]:
    """Shape and type of every array of a sample."""
    return {name: tf.TensorSpec(np.shape(value), np.asarray(value).dtype) for name, value in sample.items()}
