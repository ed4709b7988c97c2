"""TensorFlow without graphs, for trainings of a few steps: building graphs takes longer than running them."""

from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf


@contextmanager
def eagerly() -> Iterator[None]:
    """Run `tf.function`s as plain Python, operation by operation; the numbers are the same but for rounding."""
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)
