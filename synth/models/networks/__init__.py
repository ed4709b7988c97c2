"""The networks, in plain Keras. Importing this package imports TensorFlow, quietly."""

import synth.models.runtime  # noqa: F401  before Keras is imported: it silences the greetings
