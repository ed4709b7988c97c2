"""What steps of training have in common: Adam with a late decay, running means of weights, a batch in parts."""

from collections.abc import Callable, Mapping
from typing import TypeVar

import keras
import tensorflow as tf

from synth.trainers.config import TrainConfig

Nest = TypeVar("Nest")


def adam(config: TrainConfig, rate: float, policy: str, network: keras.Model) -> keras.optimizers.Optimizer:
    """Adam of a network, built; its rate falls from `decay_from` on, and losses are scaled where float16 needs it.

    Args:
        config: steps, decay and momenta.
        rate: the learning rate at the start.
        policy: from `set_precision`.
        network: whose variables it moves.
    """
    start = int(config.decay_from * config.steps)
    schedule = keras.optimizers.schedules.PolynomialDecay(rate, max(config.steps - start, 1), rate / 10)
    optimizer = keras.optimizers.Adam(_Delayed(schedule, start), config.beta_1, config.beta_2)
    if policy == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    optimizer.build(network.trainable_variables)
    return optimizer


def mean_of(network: keras.Model) -> keras.Model:
    """A copy of a network, to become the running mean of its weights (`follow`)."""
    copy = keras.models.clone_model(network)
    copy.set_weights(network.get_weights())
    return copy


def follow(mean: keras.Model, network: keras.Model, number: tf.Variable, decay: float) -> None:
    """Move a running mean of weights on; young networks change fast, so its memory is short at first."""
    step = tf.cast(number, tf.float32)
    decay = tf.minimum(decay, (1.0 + step) / (10.0 + step))
    for average, value in zip(mean.weights, network.weights, strict=True):
        average.assign_sub((1.0 - tf.cast(decay, average.dtype)) * (average - value))


def in_parts(compute: Callable[[Mapping[str, tf.Tensor]], Nest], batch: Mapping[str, tf.Tensor], parts: int) -> Nest:
    """The mean of what `compute` gives for equal parts of a batch, one after the other, to save memory.

    Args:
        compute: gives gradients and losses, nested as it likes, of a part.
        batch: tensors with the samples on their first axis.
        parts: how many; 1 computes the batch as it is.
    """
    if parts == 1:
        return compute(batch)
    pieces = {name: tf.stack(tf.split(value, parts)) for name, value in batch.items()}
    part = lambda i: compute({name: value[i] for name, value in pieces.items()})  # noqa: E731
    # a loop of TensorFlow's, one turn after the other: unrolled, all parts would be in memory at once
    _, sums = tf.while_loop(
        lambda i, _: i < parts,
        lambda i, sums: (i + 1, tf.nest.map_structure(tf.add, sums, part(i))),
        (tf.constant(1), part(0)),
        parallel_iterations=1,
    )
    return tf.nest.map_structure(lambda value: value / parts, sums)


def dropout_states(network: keras.Model) -> list[tf.Variable]:
    """Where the random streams of a network's dropout are: no weights, yet a resumed run must go on there."""
    generators = [getattr(layer, "seed_generator", None) for layer in network.layers]
    return [generator.state.value for generator in generators if generator is not None]


@keras.saving.register_keras_serializable(package="synth")
class _Delayed(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule that begins at step `start`; before, its first value."""

    def __init__(self, schedule, start: int):
        self.schedule, self.start = schedule, start

    def __call__(self, step):
        return self.schedule(tf.maximum(tf.cast(step, tf.float32) - float(self.start), 0.0))

    def get_config(self):
        return {"schedule": self.schedule, "start": self.start}
