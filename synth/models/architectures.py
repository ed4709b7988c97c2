"""Which architectures a generator can have: settings and what builds them, behind one registry; without TensorFlow.

Whatever the architecture, a generator takes what `painter.paint` makes (a dict of `condition`, `noise` and
`coordinates`, sizes multiples of `configs.DIVISOR`) and gives a dict of `image` and `clean` (the same without its
noise), (B, X, Y, Z, 4) in normalised units, 0 outside the brain. The rest of the house asks for nothing else.
"""

from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from synth.errors import ModelError
from synth.models.configs import GeneratorConfig

if TYPE_CHECKING:
    import keras

VOX2VOX = "vox2vox"  # of cards that name none
_ARCH = "arch"


@dataclass(frozen=True)
class Architecture:
    """One architecture.

    Attributes:
        name: as cards have it.
        config: frozen dataclass of its settings; JSON-able by its `to_dict`, which the constructor takes back.
        build: gives the Keras network of a config; or `module:function`, imported when a network is built. Every layer
            that has weights has a name: they are stored by it.
    """

    name: str
    config: type
    build: "str | Callable[[Any], keras.Model]"


GENERATORS: dict[str, Architecture] = {
    VOX2VOX: Architecture(VOX2VOX, GeneratorConfig, "synth.models.networks.generator:build_generator"),
}


def register_generator(name: str, config: type, build: "str | Callable[[Any], keras.Model]") -> Architecture:
    """Make a generator's architecture known: models of it are then trained, saved, loaded and painted with.

    Args:
        name: stands in the cards of its models; whoever loads one has to register it first.
        config: see `Architecture`.
        build: likewise.

    Raises:
        ModelError: the name is taken by another one, or the settings are no frozen dataclass with `to_dict`.

    Example:
        >>> register_generator("blurred", BlurredConfig, build_blurred)  # doctest: +SKIP
        >>> train_generator(data, val, run, GeneratorTraining(generator=BlurredConfig(width=8)))  # doctest: +SKIP
    """
    frozen = is_dataclass(config) and vars(config)["__dataclass_params__"].frozen
    if not frozen or not callable(getattr(config, "to_dict", None)) or not (isinstance(build, str) or callable(build)):
        raise ModelError(
            f"generator {name!r}: expected a frozen dataclass with to_dict and a function that builds the network, "
            f"found {config!r} and {build!r}."
        )
    architecture = Architecture(name, config, build)
    if GENERATORS.get(name, architecture) != architecture:
        raise ModelError(f"the generator {name!r} exists already; give yours another name.")
    GENERATORS[name] = architecture
    return architecture


def generator_entry(config: Any) -> dict[str, Any]:
    """What a card says of a generator: its settings, and its architecture unless that is Vox2Vox.

    Raises:
        ModelError: the settings are of no known architecture.
    """
    name = _architecture_of(config).name
    return config.to_dict() if name == VOX2VOX else {_ARCH: name, **config.to_dict()}


def generator_config(entry: dict[str, Any]) -> Any:
    """The settings that a card's entry holds.

    Raises:
        ModelError: its architecture is not known here, or the settings make no network.
    """
    settings = {key: value for key, value in entry.items() if key != _ARCH}
    name = entry.get(_ARCH, VOX2VOX)
    if name not in GENERATORS:
        raise ModelError(
            f"the generator {name!r} is not known here (known: {', '.join(GENERATORS)}); import the package that "
            "registers it."
        )
    return GENERATORS[name].config(**settings)


def build_network(config: Any) -> "keras.Model":
    """The network of a generator's settings, untrained.

    Raises:
        ModelError: the settings are of no known architecture.
    """
    build = _architecture_of(config).build
    if isinstance(build, str):
        module, _, function = build.partition(":")
        build = getattr(import_module(module), function)
    return build(config)


def _architecture_of(config: Any) -> Architecture:
    for architecture in GENERATORS.values():
        if type(config) is architecture.config:
            return architecture
    raise ModelError(
        f"expected the settings of a generator ({', '.join(GENERATORS)}), found {type(config).__name__}; register its "
        "architecture first."
    )
