"""A generator of one hidden layer: what is done with a network does not depend on its depth, but its time does."""

from dataclasses import asdict, dataclass

import keras

from synth.models.architectures import register_generator


@dataclass(frozen=True)
class ShallowConfig:
    """Settings of `build_shallow`."""

    width: int = 8
    dropout: float = 0.0

    def to_dict(self):
        return asdict(self)


def build_shallow(config: ShallowConfig) -> keras.Model:
    """Adds what one hidden layer makes of the condition to the painted image, within the brain."""
    condition = keras.Input((None, None, None, 10), name="condition")
    noise = keras.Input((None, None, None, 4), name="noise")
    coordinates = keras.Input((None, None, None, 3), name="coordinates")
    brain = keras.ops.sum(condition[..., :6], -1, keepdims=True)
    x = keras.layers.Conv3D(config.width, 3, padding="same", activation="relu", name="hidden")(condition)
    x = keras.layers.Dropout(config.dropout, name="drop")(x)
    small = keras.initializers.RandomNormal(0, 0.1)
    clean = (condition[..., 6:] + keras.layers.Conv3D(4, 1, kernel_initializer=small, name="out")(x)) * brain
    inputs = {"condition": condition, "noise": noise, "coordinates": coordinates}
    return keras.Model(inputs, {"image": clean + noise * brain, "clean": clean}, name="shallow")


register_generator("shallow", ShallowConfig, build_shallow)
