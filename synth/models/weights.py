"""Trained generators on disk: a folder with `generator.weights.h5` and `card.json`, read safely.

The weights are plain HDF5 arrays, one per variable (float16 on disk, float32 in memory): no pickle, no code. The card
says what the network is, what it was trained on, what it scores, what it is for, and the checksum of the weights.
"""

import hashlib
import json
from pathlib import Path

import h5py
import numpy as np

from synth.errors import ModelError
from synth.exporters.files import atomic_write, sha256_file
from synth.models.generator import GeneratorConfig, build_generator
from synth.models.inference import LayoutPainter

WEIGHTS, CARD = "generator.weights.h5", "card.json"
PACKAGED = Path(__file__).parent / "weights"
DEFAULT_MODEL = "default"


def save_generator(folder: str | Path, generator, card: dict) -> Path:
    """Write weights (float16) and card into `folder`; the card gets the weights' checksum. Returns the folder."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / WEIGHTS) as handle, h5py.File(handle, "w") as file:
        for variable in generator.weights:
            # the path is unique in the model; slashes make HDF5 groups of it
            file.create_dataset(variable.path, data=np.asarray(variable, np.float16), compression="gzip", shuffle=True)
    card = {**card, "weights_sha256": sha256_file(folder / WEIGHTS)}
    with atomic_write(folder / CARD) as handle:
        handle.write((json.dumps(card, indent=1, sort_keys=True) + "\n").encode())
    return folder


def model_folder(model: str | Path) -> Path:
    """The folder of a model: a name that the package ships (`default`) or a folder made by `synth train generator`.

    Raises:
        ModelError: neither exists.
    """
    shipped = PACKAGED / str(model)
    folder = shipped if shipped.is_dir() and "/" not in str(model) else Path(model)
    if not (folder / CARD).is_file():
        names = sorted(path.parent.name for path in PACKAGED.glob(f"*/{CARD}"))
        raise ModelError(
            f"model {model}: expected a folder with {CARD} and {WEIGHTS}, or one of {', '.join(names) or '(none)'}; "
            "found neither. Train one with `synth train generator`."
        )
    return folder


def read_card(model: str | Path) -> dict:
    """The card of a model.

    Raises:
        ModelError: there is no such model, or the card is damaged.
    """
    path = model_folder(model) / CARD
    try:
        card = json.loads(path.read_text())
        GeneratorConfig(**card["generator"])
        return card
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: not the card of a generator ({error}); copy the model folder again.") from error


def load_generator(model: str | Path = DEFAULT_MODEL) -> tuple[LayoutPainter, dict]:
    """A painter with a model's weights, and its card.

    Raises:
        ModelError: no such model, weights that do not match the card's checksum or network.
    """
    card = read_card(model)
    path = model_folder(model) / WEIGHTS
    if not path.is_file():
        raise ModelError(f"{path}: expected the weights beside {CARD}, found none; copy the model folder again.")
    found = sha256_file(path)
    if found != card.get("weights_sha256"):
        raise ModelError(
            f"{path}: checksum {found[:12]} differs from the card's {str(card.get('weights_sha256'))[:12]}; "
            "the file is damaged or belongs to another card. Copy the model folder again."
        )
    generator = build_generator(GeneratorConfig(**card["generator"]))
    _fill(generator, path)
    return LayoutPainter(generator, card.get("texture_gain", 1.0)), card


def _fill(generator, path: Path) -> None:
    try:
        with h5py.File(path, "r") as file:
            for variable in generator.weights:
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
