"""How long and how networks are trained, on which devices, in which precision."""

from dataclasses import dataclass

import keras
import tensorflow as tf

from synth.errors import ModelError

PRECISIONS = ("auto", "float32", "mixed_float16", "mixed_bfloat16")


@dataclass(frozen=True)
class TrainConfig:
    """How long and how networks are trained; a step without a discriminator has no use for what is said of one."""

    steps: int = 20_000
    batch: int = 1  # patches a step, over all devices; Vox2Vox has 4, one fits every machine
    accumulate: int = 1  # parts that each device's share of a batch is computed in, to save memory
    learning_rate: float = 2e-4  # Adam, as pix2pix and Vox2Vox
    beta_1: float = 0.5
    beta_2: float = 0.999
    discriminator_rate: float = 1.0  # its learning rate over the generator's
    trust_after: int = 300  # steps over which the discriminator's say grows from nothing to full
    decay_from: float = 0.6  # share of the steps after which the learning rate falls linearly to a tenth
    average: float = 0.998  # decay of the running mean of the generator's weights: that mean is what is kept
    validate_every: int = 500
    checkpoint_every: int = 250
    log_every: int = 25
    seed: int = 0
    precision: str = "auto"  # mixed_float16 on a GPU, float32 on CPU (bfloat16 is 1.4 times slower there)

    def __post_init__(self):
        """Raise `ModelError` on values that cannot be trained with."""
        if self.steps < 1 or self.batch < 1 or self.learning_rate <= 0:
            raise ModelError(f"steps, batch and learning rate must be positive, found {self}.")
        if self.accumulate < 1 or self.batch % self.accumulate:
            raise ModelError(f"accumulate must divide the batch of {self.batch}, found {self.accumulate}.")
        if self.precision not in PRECISIONS:
            raise ModelError(f"precision must be one of {', '.join(PRECISIONS)}, found {self.precision!r}.")

    def check_shares(self, strategy: tf.distribute.Strategy) -> None:
        """Raise `ModelError` if the devices of a strategy cannot share a batch evenly."""
        devices = strategy.num_replicas_in_sync
        parts = devices * self.accumulate
        if self.batch % parts:
            raise ModelError(
                f"a batch of {self.batch} cannot be shared evenly by {devices} devices "
                f"in {self.accumulate} parts each; choose a multiple of {parts}."
            )


def choose_strategy(devices: list[str] | None = None) -> tf.distribute.Strategy:
    """MirroredStrategy over several GPUs (or the devices given), else the default strategy."""
    if devices is None and len(tf.config.list_logical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    if devices and len(devices) > 1:
        return tf.distribute.MirroredStrategy(devices)
    return tf.distribute.get_strategy()


def set_precision(precision: str) -> str:
    """Set Keras's global policy; "auto" takes mixed_float16 where there is a GPU. Returns the policy's name."""
    if precision == "auto":
        precision = "mixed_float16" if tf.config.list_logical_devices("GPU") else "float32"
    keras.mixed_precision.set_dtype_policy(precision)
    return precision
