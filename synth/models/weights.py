"""Trained networks on disk: a folder with `generator.weights.h5` (or `segmenter...`) and `card.json`, read safely.

The weights are plain HDF5 arrays, one per variable (float16 on disk, float32 in memory): no pickle, no code. The card
says what the network is, what it was trained on, what it scores, what it is for, and the checksum of the weights.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from synth.disk.files import atomic_write, make_folder, sha256_file
from synth.errors import ModelError
from synth.models.architectures import build_network
from synth.models.cards import (
    CARD,
    DEFAULT_MODEL,
    GENERATOR,
    SEGMENTER,
    Kind,
    model_folder,
    noise_gains,
    read_card,
    write_card,
)
from synth.models.inference import LayoutPainter
from synth.models.networks.segmenter import build_segmenter
from synth.models.runtime import computing_in, precision, tf

if TYPE_CHECKING:
    import keras  # at run time by the networks, which silence TensorFlow's greetings first


def save_generator(folder: str | Path, generator: "keras.Model", card: dict) -> Path:
    """Write weights (float16) and card into `folder`; the card gets the weights' checksum. Returns the folder."""
    return _save(folder, GENERATOR, generator, card)


def save_segmenter(folder: str | Path, segmenter: "keras.Model", card: dict) -> Path:
    """As `save_generator`, for a network from `build_segmenter`."""
    return _save(folder, SEGMENTER, segmenter, card)


def load_generator(model: str | Path = DEFAULT_MODEL, policy: str | None = None) -> tuple[LayoutPainter, dict]:
    """A painter with a model's weights, and its card.

    Args:
        model: name or folder.
        policy: what it computes in, `runtime.MIXED` or `runtime.FLOAT32`; None: `runtime.precision` says it.

    Raises:
        ModelError: no such model, weights that do not match the card's checksum or network.
    """
    with computing_in(policy or precision()):
        generator, card = _load(model, GENERATOR, build_network)
    return LayoutPainter(generator, **noise_gains(card)), card


def load_segmenter_network(model: str | Path = DEFAULT_MODEL) -> "tuple[keras.Model, dict]":
    """A segmenter's network with a model's weights, and its card.

    Raises:
        ModelError: no such model, weights that do not match the card's checksum or network.
    """
    return _load(model, SEGMENTER, build_segmenter)


def _save(folder: str | Path, kind: Kind, network: "keras.Model", card: dict) -> Path:
    folder = Path(folder)
    make_folder(folder)
    with atomic_write(folder / kind.weights) as handle, h5py.File(handle, "w") as file:
        for variable in network.weights:
            # the path is unique in the model; slashes make HDF5 groups of it
            file.create_dataset(variable.path, data=np.asarray(variable, np.float16), compression="gzip", shuffle=True)
    write_card(folder / CARD, {**card, "weights_sha256": sha256_file(folder / kind.weights)})
    return folder


def _load(model: str | Path, kind: Kind, build: Callable) -> "tuple[keras.Model, dict]":
    card = read_card(model, kind)
    path = model_folder(model, kind) / kind.weights
    if not path.is_file():
        raise ModelError(f"{path}: expected the weights beside {CARD}, found none; copy the model folder again.")
    checksum = sha256_file(path)
    if checksum != card.get("weights_sha256"):
        raise ModelError(
            f"{path}: checksum {checksum[:12]} differs from the card's {str(card.get('weights_sha256'))[:12]}; "
            "the file is damaged or belongs to another card. Copy the model folder again."
        )
    with _begun_anywhere():
        network = build(kind.config(card[kind.name]))
    _fill(network, path)
    return network, card


def _begun_anywhere() -> AbstractContextManager:
    """Networks that are built in the block, by this thread, begin with zeros where Keras would draw numbers.

    They are read over at once, and to draw them takes as long as all else that building does.
    """
    zeros = tf.keras.initializers.Zeros
    return tf.keras.utils.custom_object_scope(dict.fromkeys(("glorot_uniform", "he_normal"), zeros))


def _fill(network: "keras.Model", path: Path) -> None:
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
