"""Training: data, augmentation, losses, the steps and the loop around them, the runs that make models."""

import synth.models.runtime  # noqa: F401
