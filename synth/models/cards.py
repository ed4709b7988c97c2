"""What a model's card says: of its network, its training, its scores and its identity; readable without TensorFlow."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from synth.datasets.fingerprint import Fingerprint
from synth.disk.files import atomic_write
from synth.disk.json_files import DIGEST, TEXT, WHOLE, Rules, Schema, fields, listed, optional, read
from synth.errors import ModelError, printable
from synth.lineage import hash_id
from synth.models.architectures import generator_config
from synth.models.configs import SegmenterConfig
from synth.models.postprocess import Postprocess

CARD = "card.json"
PACKAGED = Path(__file__).parent / "weights"
DEFAULT_MODEL = "default"
NOISE_GAINS = ("texture_gain", "grain_gain")
"""Factors on a style's noise in a generator's card: on its level and on the widths of its grain."""


@dataclass(frozen=True)
class Kind:
    """One kind of network.

    Attributes:
        name: also the card's entry that rebuilds it.
        config: the settings in that entry.
        shipped: folder of what ships, by name.
        entries: of its card alone, and what they have to be.
    """

    name: str
    config: Callable[[dict], Any]
    shipped: dict[str, str]
    entries: dict[str, Rules]

    @property
    def weights(self) -> str:
        """The weights' file."""
        return f"{self.name}.weights.h5"

    @cached_property
    def schema(self) -> Schema:
        """What its cards have to be."""
        return Schema(
            f"the card of a {self.name}",
            fields({**_IDENTITY, **self.entries}, {**_HISTORY, **_GAINS, "postprocess": _THRESHOLDS}),
        )


_CASES = {"cases": WHOLE, "ids_sha256": optional(listed(TEXT)), "fingerprints_sha256": optional(listed(TEXT))}
_USED = optional(fields({}, {**_CASES, "settings": optional({"type": "object"})}))
_HISTORY = {"training": _USED, "validation": _USED}
_PARENT = Schema("the card that a model was begun from", fields({}, _HISTORY))
_IDENTITY = {"name": TEXT, "weights_sha256": DIGEST}
_FACTOR = {"minimum": 0, "maximum": 100}
_GAIN = {
    **_FACTOR,
    **listed({"type": "number", **_FACTOR}, 4, 4),
    "type": ["number", "array"],
}  # one, or one a modality
_GAINS = dict.fromkeys(NOISE_GAINS, _GAIN)
_THRESHOLDS = {"type": "object", "additionalProperties": {"type": "number", "minimum": 0}}
_NETWORK = fields(
    {},
    {
        "arch": TEXT,
        "conditioning": TEXT,
        "width": {"type": "integer", "minimum": 1, "maximum": 512},  # of 512 the bottom alone takes a gibibyte
        "bottleneck": {"type": "integer", "minimum": 1, "maximum": 64},
    },
)

GENERATOR = Kind(
    "generator",
    generator_config,
    {DEFAULT_MODEL: "default"},
    {"generator": _NETWORK},
)
SEGMENTER = Kind(
    "segmenter",
    lambda entry: SegmenterConfig(**entry),
    {DEFAULT_MODEL: "segmenter"},
    {"segmenter": _NETWORK, "window": {"type": "integer"}},
)


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
        card = read(path, kind.schema)
        kind.config(card[kind.name])
        _check_parents(card)
        return card
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ModelError) as error:
        said = f"{printable(path)}: not the card of a {kind.name} ({printable(error)}); copy the model folder again."
        raise ModelError(said) from error


def write_card(path: str | Path, card: dict) -> None:
    """Write a card to its file, whole or not at all."""
    with atomic_write(path) as handle:
        handle.write((json.dumps(card, indent=1, sort_keys=True) + "\n").encode())


def _check_parents(card: dict) -> None:
    """Raise `ValueError` where what a card says of the models it was begun from is not what cards say."""
    while parent := (card.get("training") or {}).get("begun from"):
        card = _PARENT.check(parent)


def sees_detail(card: dict) -> bool:
    """Whether the generator of a card is conditioned on a layout's detail."""
    return card[GENERATOR.name].get("conditioning") == "detail"


def noise_gains(card: dict) -> dict[str, Any]:
    """The factors on a style's noise in the card of a generator, by name; 1 where it has none."""
    return {name: card.get(name, 1.0) for name in NOISE_GAINS}


def model_hash(card: dict) -> str:
    """Short identity of a model for recipes: of its weights and everything in the card that changes a painting."""
    texture, *others = noise_gains(card).values()
    parts = [card["weights_sha256"], card["generator"], texture, *(gain for gain in others if gain != 1.0)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def median_postprocess(cards: Sequence[dict]) -> Postprocess:
    """The thresholds in a model's card; of several cards the median of each threshold."""
    rows = [Postprocess.from_card(card).to_dict() for card in cards]
    return Postprocess(**{key: float(np.median([row[key] for row in rows])) for key in rows[0]})


def segmenter_hash(card: dict) -> str:
    """Short identity of a segmenter: of all that changes what it finds."""
    parts = [card["weights_sha256"], card["segmenter"], card["window"], card.get("postprocess")]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Known:
    """Which cases a model has used, as hashes: they tell nothing to those who have not the scans.

    Attributes:
        ids: of their ids.
        scans: of the digests of their fingerprints (`datasets.fingerprint`).
        by_id_alone: whether some of them are known by their ids alone, as in cards of synth 0.1.
    """

    ids: frozenset[str]
    scans: frozenset[str]
    by_id_alone: bool

    def has(self, case_id: str, scan: Iterable[str] = ()) -> bool:
        """Whether this scan is among them, under whatever name, or a case of this id."""
        return hash_id(case_id) in self.ids or any(hash_id(digest) in self.scans for digest in filter(None, scan))


def used_cases(cases: Mapping[str, Fingerprint]) -> dict[str, Any]:
    """The entries of a card on cases that a model has used, by id; `known_cases` reads them."""
    scans = {hash_id(digest) for scan in cases.values() for digest in filter(None, scan)}
    return {
        "cases": len(cases),
        "ids_sha256": [hash_id(case_id) for case_id in cases],
        "fingerprints_sha256": sorted(scans),
    }


def known_cases(card: dict, part: str) -> Known:
    """What a model, and the models it was begun from, used for "training" or "validation"."""
    entry = card.get(part) or {}
    ids, scans = frozenset(entry.get("ids_sha256") or ()), frozenset(entry.get("fingerprints_sha256") or ())
    known = Known(ids, scans, bool(ids) and not scans)
    parent = (card.get("training") or {}).get("begun from") or {}
    if not parent:
        return known
    older = known_cases(parent, part)
    return Known(known.ids | older.ids, known.scans | older.scans, known.by_id_alone or older.by_id_alone)


def trained_on(cases: Mapping[str, Fingerprint], cards: Sequence[dict]) -> tuple[str, ...]:
    """Ids of the cases that one of the cards lists as trained on, by their scan or by their id."""
    known = [known_cases(card, "training") for card in cards]
    return tuple(case_id for case_id, scan in cases.items() if any(one.has(case_id, scan) for one in known))


def names_alone(cards: Sequence[dict]) -> str:
    """The sentence on cards that list ids alone; empty where they know their training cases by the scan."""
    old = [str(card.get("name")) for card in cards if known_cases(card, "training").by_id_alone]
    if not old:
        return ""
    return (
        f"The card of {printable(old[0])} lists ids alone: a training scan under another name is not recognised as one."
    )
