"""The step without a discriminator: one network, one supervised loss."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from synth.trainers.config import TrainConfig, choose_strategy, set_precision
from synth.trainers.step import BEST, Batch, Parts, SupervisedTask
from synth.trainers.updates import adam, dropout_states, follow, in_parts, mean_of


class SupervisedStep:
    """Trains one network on a task's loss, and keeps a running mean of its weights.

    Args:
        build_network: makes the network; called under the strategy and the precision policy.
        task: what it sees and minimises.
        config: how long and how.
        strategy: from `choose_strategy`.

    Attributes:
        generator: the network (the name it has in checkpoints).
        averaged: the running mean of its weights, which is what is kept.
    """

    def __init__(
        self,
        build_network: Callable[[], keras.Model],
        task: SupervisedTask,
        config: TrainConfig,
        strategy: tf.distribute.Strategy | None = None,
    ):
        self.task, self.config, self.strategy = task, config, strategy or choose_strategy()
        config.check_shares(self.strategy)
        policy = set_precision(config.precision)
        with self.strategy.scope():
            self.generator = build_network()
            self.averaged = mean_of(self.generator)
            self.optimizer = adam(config, config.learning_rate, policy, self.generator)

    def checkpointed(self) -> dict[str, Any]:
        """The network, its mean, its optimiser and its dropout."""
        return {
            "generator": self.generator,
            "averaged": self.averaged,
            "generator_optimizer": self.optimizer,
            "dropout": dropout_states(self.generator),
        }

    def kept(self) -> dict[str, keras.Model]:
        """The mean."""
        return {BEST: self.averaged}

    def __call__(self, batch: Batch, number: tf.Variable) -> Parts:
        """Learn from a batch: "generator" is the total loss, beside its parts."""
        gradients, parts = in_parts(self._gradients, batch, self.config.accumulate)
        self.optimizer.apply_gradients(zip(gradients, self.generator.trainable_variables, strict=True))
        return parts

    def average(self, number: tf.Variable) -> None:
        """Move the mean on."""
        follow(self.averaged, self.generator, number, self.config.average)

    def summary(self, means: dict[str, float]) -> dict[str, float]:
        """As the task has it."""
        return self.task.summary(means)

    def _gradients(self, batch: Batch) -> tuple[list, Parts]:
        replicas = float(self.strategy.num_replicas_in_sync)  # Keras adds up the replicas' gradients
        inputs = self.task.inputs(batch)
        with tf.GradientTape() as tape:
            total, parts = self.task.supervised_loss(batch, self.generator(inputs, training=True))
            loss = self.optimizer.scale_loss(total / replicas)
        return tape.gradient(loss, self.generator.trainable_variables), {"generator": total, **parts}
