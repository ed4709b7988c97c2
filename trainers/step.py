"""What a step of training has to be for `TrainingLoop`, and what a task has to be for the steps there are.

A step holds networks and optimisers and knows how they learn from a batch; the loop counts, logs, saves and resumes. A
new kind of training (a cycle of four networks) is a class with the members of `Step` in a file of its own; what most
of them need (Adam with a late decay, a running mean of weights, a batch in parts) is in `updates`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import keras
import tensorflow as tf

Batch = Mapping[str, tf.Tensor]
Parts = dict[str, tf.Tensor]  # parts of a loss by name, scalars
Views = Sequence[tf.Tensor]  # of a discriminator: [features..., scores]
BEST = "best"  # what a step with one network to keep calls it in `kept`


class Step(Protocol):
    """Networks that learn from one batch after the other."""

    strategy: tf.distribute.Strategy
    """The devices that share a batch."""

    def checkpointed(self) -> dict[str, Any]:
        """All that a resumed run needs, by the name it has in a checkpoint; `step` and `best` are the loop's."""

    def kept(self) -> dict[str, keras.Model]:
        """The networks whose best weights are kept, by the name of their file `<name>.weights.h5`."""

    def __call__(self, batch: Batch, number: tf.Variable) -> Parts:
        """Learn from one device's share of a batch; returns what is logged. Part of the graph of the step.

        It is traced without AutoGraph: what depends on a tensor's value takes `tf.cond`, not Python's `if`.

        Args:
            batch: of the dataset that is trained on.
            number: steps done before this one.
        """

    def average(self, number: tf.Variable) -> None:
        """Move running means of weights on, once all devices have learnt; `number` as above."""

    def summary(self, means: dict[str, float]) -> dict[str, float]:
        """What is logged of the means of what steps returned."""


class SupervisedTask(Protocol):
    """What a network sees and minimises, without an adversary."""

    def inputs(self, batch: Batch) -> dict[str, tf.Tensor]:
        """The network's inputs."""

    def supervised_loss(self, batch: Batch, outputs: Mapping[str, tf.Tensor]) -> tuple[tf.Tensor, Parts]:
        """Total loss of the network's outputs, and its parts."""

    def summary(self, means: dict[str, float]) -> dict[str, float]:
        """What is logged of the means of the parts."""


class AdversarialTask(Protocol):
    """What a generator and its discriminator see, and what the generator minimises."""

    def inputs(self, batch: Batch) -> dict[str, tf.Tensor]:
        """The generator's inputs."""

    def judged_under(self, inputs: Mapping[str, tf.Tensor], batch: Batch) -> tf.Tensor:
        """What the discriminator sees beside what it judges."""

    def real(self, batch: Batch) -> tf.Tensor:
        """What the generator should have made."""

    def fake(self, outputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """What it made."""

    def judged_where(self, batch: Batch) -> tf.Tensor | None:
        """Where real and fake can differ, (B, X, Y, Z, 1); None for everywhere."""

    def generator_loss(
        self,
        batch: Batch,
        outputs: Mapping[str, tf.Tensor],
        real_views: Views,
        fake_views: Views,
        trust: tf.Tensor | float,
    ) -> tuple[tf.Tensor, Parts]:
        """Total loss and its parts; `trust` (0 to 1) is how far the discriminator has been trained."""

    def summary(self, means: dict[str, float]) -> dict[str, float]:
        """What is logged of the means of the parts."""
