"""The step with a discriminator: a generator learns from its task and from what the discriminator sees."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from synth.trainers import losses
from synth.trainers.config import TrainConfig, choose_strategy, set_precision
from synth.trainers.step import BEST, AdversarialTask, Batch, Parts
from synth.trainers.updates import adam, dropout_states, follow, in_parts, mean_of


class AdversarialStep:
    """Trains a generator against a discriminator, and keeps a running mean of the generator.

    Args:
        build_networks: makes (generator, discriminator); called under the strategy and the precision policy.
        task: what they see and minimise (`painting.task.PaintingTask`, `segmentation.task.SegmentationTask`).
        config: how long and how.
        strategy: from `choose_strategy`.

    Attributes:
        averaged: the running mean of the generator's weights, which is what is kept.
    """

    def __init__(
        self,
        build_networks: Callable[[], tuple[keras.Model, keras.Model]],
        task: AdversarialTask,
        config: TrainConfig,
        strategy: tf.distribute.Strategy | None = None,
    ):
        self.task, self.config, self.strategy = task, config, strategy or choose_strategy()
        config.check_shares(self.strategy)
        policy = set_precision(config.precision)
        with self.strategy.scope():
            self.generator, self.discriminator = build_networks()
            self.averaged = mean_of(self.generator)
            rate = config.learning_rate
            self.generator_optimizer = adam(config, rate, policy, self.generator)
            self.discriminator_optimizer = adam(config, rate * config.discriminator_rate, policy, self.discriminator)

    def checkpointed(self) -> dict[str, Any]:
        """Both networks with their optimisers, the mean, and the generator's dropout."""
        return {
            "generator": self.generator,
            "averaged": self.averaged,
            "generator_optimizer": self.generator_optimizer,
            "discriminator": self.discriminator,
            "discriminator_optimizer": self.discriminator_optimizer,
            "dropout": dropout_states(self.generator),
        }

    def kept(self) -> dict[str, keras.Model]:
        """The mean."""
        return {BEST: self.averaged}

    def __call__(self, batch: Batch, number: tf.Variable) -> Parts:
        """Learn from a batch: "generator" and "discriminator" are the total losses, beside the generator's parts."""
        gradients, judging, parts = in_parts(lambda part: self._gradients(part, number), batch, self.config.accumulate)
        self.generator_optimizer.apply_gradients(zip(gradients, self.generator.trainable_variables, strict=True))
        self.discriminator_optimizer.apply_gradients(zip(judging, self.discriminator.trainable_variables, strict=True))
        return parts

    def average(self, number: tf.Variable) -> None:
        """Move the mean on."""
        follow(self.averaged, self.generator, number, self.config.average)

    def summary(self, means: dict[str, float]) -> dict[str, float]:
        """As the task has it."""
        return self.task.summary(means)

    def _gradients(self, batch: Batch, number: tf.Variable) -> tuple[list, list, Parts]:
        """Gradients of generator and discriminator on a batch, and the parts of their losses."""
        task, replicas = self.task, float(self.strategy.num_replicas_in_sync)  # Keras adds up the replicas' gradients
        inputs = task.inputs(batch)
        condition, real = task.judged_under(inputs, batch), task.real(batch)
        with tf.GradientTape() as generator_tape, tf.GradientTape() as discriminator_tape:
            outputs = self.generator(inputs, training=True)
            fake = task.fake(outputs)
            real_views = self.discriminator({"condition": condition, "image": real}, training=True)
            fake_views = self.discriminator({"condition": condition, "image": fake}, training=True)
            trust = tf.minimum(tf.cast(number, tf.float32) / max(self.config.trust_after, 1), 1.0)
            total, parts = task.generator_loss(batch, outputs, real_views, fake_views, trust)
            where = task.judged_where(batch)
            judged = 0.5 * (
                losses.least_squares(real_views[-1], 1.0, where) + losses.least_squares(fake_views[-1], 0.0, where)
            )
            generator_loss = self.generator_optimizer.scale_loss(total / replicas)
            discriminator_loss = self.discriminator_optimizer.scale_loss(judged / replicas)
        return (
            generator_tape.gradient(generator_loss, self.generator.trainable_variables),
            discriminator_tape.gradient(discriminator_loss, self.discriminator.trainable_variables),
            {"generator": total, **parts, "discriminator": judged},
        )
