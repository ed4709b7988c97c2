"""Training: data, augmentation, losses, the adversarial trainer, and the run that makes weights and a card."""

import synth.models.runtime  # noqa: F401
