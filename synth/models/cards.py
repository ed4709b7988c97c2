"""What a model's card says: of its network, its training, its scores and its identity; readable without TensorFlow."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from synth.errors import ModelError
from synth.lineage import hash_id
from synth.models.architectures import generator_config
from synth.models.configs import SegmenterConfig
from synth.models.postprocess import Postprocess

CARD = "card.json"
PACKAGED = Path(__file__).parent / "weights"
DEFAULT_MODEL = "default"


@dataclass(frozen=True)
class Kind:
    """One kind of network.

    Attributes:
        name: also the card's entry that rebuilds it.
        config: the settings in that entry.
        shipped: folder of what ships, by name.
    """

    name: str
    config: Callable[[dict], Any]
    shipped: dict[str, str]

    @property
    def weights(self) -> str:
        """The weights' file."""
        return f"{self.name}.weights.h5"


GENERATOR = Kind("generator", generator_config, {DEFAULT_MODEL: "default"})
SEGMENTER = Kind("segmenter", lambda entry: SegmenterConfig(**entry), {DEFAULT_MODEL: "segmenter"})


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
        kind.config(card[kind.name])
        return card
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path}: not the card of a {kind.name} ({error}); copy the model folder again.") from error


def model_hash(card: dict) -> str:
    """Short identity of a model for recipes: of its weights and everything in the card that changes a painting."""
    parts = json.dumps([card["weights_sha256"], card["generator"], card.get("texture_gain", 1.0)], sort_keys=True)
    return hashlib.sha256(parts.encode()).hexdigest()[:16]


def median_postprocess(cards: Sequence[dict]) -> Postprocess:
    """The thresholds in a model's card; of several cards the median of each threshold."""
    rows = [Postprocess.from_card(card).to_dict() for card in cards]
    return Postprocess(**{key: float(np.median([row[key] for row in rows])) for key in rows[0]})


def segmenter_hash(card: dict) -> str:
    """Short identity of a segmenter: of all that changes what it finds."""
    parts = [card["weights_sha256"], card["segmenter"], card["window"], card.get("postprocess")]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def trained_on(ids: Iterable[str], cards: Sequence[dict]) -> tuple[str, ...]:
    """Ids whose hash is among those that a card lists as trained on."""
    known = {hashed for card in cards for hashed in card.get("training", {}).get("ids_sha256", ())}
    return tuple(i for i in ids if hash_id(i) in known)
