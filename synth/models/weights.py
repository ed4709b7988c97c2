"""Trained networks on disk: a folder with `generator.weights.h5` (or `segmenter...`) and `card.json`, read safely.

The weights are plain HDF5 arrays, one per variable (float16 on disk, float32 in memory): no pickle, no code. The card
says what the network is, what it was trained on, what it scores, what it is for, and the checksum of the weights.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import keras
import numpy as np

from synth.disk.files import atomic_write, sha256_file
from synth.errors import ModelError
from synth.models.generator import GeneratorConfig, build_generator
from synth.models.inference import LayoutPainter
from synth.models.segmenter import SegmenterConfig, build_segmenter

CARD = "card.json"
PACKAGED = Path(__file__).parent / "weights"
DEFAULT_MODEL = "default"


@dataclass(frozen=True)
class Kind:
    """One kind of network: its name (also the card's entry that rebuilds it), and what ships under which name."""

    name: str
    config: type
    shipped: dict[str, str]

    @property
    def weights(self) -> str:
        """The weights' file."""
        return f"{self.name}.weights.h5"


GENERATOR = Kind("generator", GeneratorConfig, {DEFAULT_MODEL: "default"})
SEGMENTER = Kind("segmenter", SegmenterConfig, {DEFAULT_MODEL: "segmenter"})


def save_generator(folder: str | Path, generator, card: dict) -> Path:
    """Write weights (float16) and card into `folder`; the card gets the weights' checksum. Returns the folder."""
    return _save(folder, GENERATOR, generator, card)


def save_segmenter(folder: str | Path, segmenter, card: dict) -> Path:
    """As `save_generator`, for a network from `build_segmenter`."""
    return _save(folder, SEGMENTER, segmenter, card)


def model_folder(model: str | Path, kind: Kind = GENERATOR) -> Path:
    """The folder of a model: a name that the package ships (`default`) or a folder made by `synth train`.

    Raises:
        ModelError: neither exists.
    """
    place = kind.shipped.get(str(model))
    folder = PACKAGED / place if place and (PACKAGED / place).is_dir() else Path(model)
    if not (folder / CARD).is_file():
        names = [name for name, place in kind.shipped.items() if (PACKAGED / place / CARD).is_file()]
        raise ModelError(
            f"model {model}: expected a folder with {CARD} and {kind.weights}, or one of "
            f"{', '.join(names) or '(none)'}; found neither. Train one with `synth train {kind.name}`."
        )
    return folder


def read_card(model: str | Path, kind: Kind = GENERATOR) -> dict:
    """The card of a model.

    Raises:
        ModelError: there is no such model, or the card is damaged or another kind's.
    """
    path = model_folder(model, kind) / CARD
    try:
        card = json.loads(path.read_text())
        kind.config(**card[kind.name])
        return card
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path}: not the card of a {kind.name} ({error}); copy the model folder again.") from error


def load_generator(model: str | Path = DEFAULT_MODEL) -> tuple[LayoutPainter, dict]:
    """A painter with a model's weights, and its card.

    Raises:
        ModelError: no such model, weights that do not match the card's checksum or network.
    """
    generator, card = _load(model, GENERATOR, build_generator)
    return LayoutPainter(generator, card.get("texture_gain", 1.0)), card


def load_segmenter(model: str | Path = DEFAULT_MODEL) -> tuple[keras.Model, dict]:
    """A segmenter's network with a model's weights, and its card.

    Raises:
        ModelError: no such model, weights that do not match the card's checksum or network.
    """
    return _load(model, SEGMENTER, build_segmenter)


def _save(folder: str | Path, kind: Kind, network, card: dict) -> Path:
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / kind.weights) as handle, h5py.File(handle, "w") as file:
        for variable in network.weights:
            # the path is unique in the model; slashes make HDF5 groups of it
            file.create_dataset(variable.path, data=np.asarray(variable, np.float16), compression="gzip", shuffle=True)
    card = {**card, "weights_sha256": sha256_file(folder / kind.weights)}
    with atomic_write(folder / CARD) as handle:
        handle.write((json.dumps(card, indent=1, sort_keys=True) + "\n").encode())
    return folder


def _load(model: str | Path, kind: Kind, build: Callable) -> tuple[keras.Model, dict]:
    card = read_card(model, kind)
    path = model_folder(model, kind) / kind.weights
    if not path.is_file():
        raise ModelError(f"{path}: expected the weights beside {CARD}, found none; copy the model folder again.")
    found = sha256_file(path)
    if found != card.get("weights_sha256"):
        raise ModelError(
            f"{path}: checksum {found[:12]} differs from the card's {str(card.get('weights_sha256'))[:12]}; "
            "the file is damaged or belongs to another card. Copy the model folder again."
        )
    network = build(kind.config(**card[kind.name]))
    _fill(network, path)
    return network, card


def _fill(network, path: Path) -> None:
    try:
        with h5py.File(path, "r") as file:
            for variable in network.weights:
                data = file.get(variable.path)
                if not isinstance(data, h5py.Dataset) or data.shape != tuple(variable.shape):
                    shape = getattr(data, "shape", None)
                    raise ModelError(
                        f"{path}: expected {variable.path} of shape {tuple(variable.shape)}, found {shape}; the "
                        "weights do not belong to this card."
                    )
                variable.assign(data[...].astype(np.float32))
    except OSError as error:
        raise ModelError(f"{path}: cannot be read as HDF5 ({error}); copy the model folder again.") from error


def model_hash(card: dict) -> str:
    """Short identity of a model for recipes: of its weights and everything in the card that changes a painting."""
    parts = json.dumps([card["weights_sha256"], card["generator"], card.get("texture_gain", 1.0)], sort_keys=True)
    return hashlib.sha256(parts.encode()).hexdigest()[:16]
