"""Models that become networks once a process: to trace the graph of one takes a second, to run it on a phantom none."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import keras
import pytest

from synth.disk.files import sha256_file
from synth.errors import SynthError

KEPT = 16  # networks, and what runs them


@contextmanager
def built_once() -> Iterator[None]:
    """Load a model anew, and check it, whenever it is asked for; but build and trace the same weights once."""
    from synth.models import sliding_window, weights

    load, networks = weights._load, {}

    def loaded(model, kind, build):
        key = _key(weights, model, kind)
        if key not in networks:
            network, card = load(model, kind, build)
            if key is None:
                return network, card
            networks[key] = network
            if len(networks) > KEPT:
                del networks[next(iter(networks))]
        return networks[key], weights.read_card(model, kind)

    @lru_cache(KEPT)
    def segmenter(networks, window, options, make=sliding_window.Segmenter):
        return make(networks, window, **dict(options))

    @lru_cache(KEPT)
    def painter(network, gains, make=weights.LayoutPainter):
        return make(network, **json.loads(gains))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "_load", loaded)
        patch.setattr(weights, "LayoutPainter", lambda network, **gains: painter(network, json.dumps(gains)))
        patch.setattr(
            sliding_window,
            "Segmenter",
            lambda networks, window, **options: segmenter(tuple(networks), window, tuple(sorted(options.items()))),
        )
        yield


def _key(weights, model, kind) -> tuple[str, ...] | None:
    """What a model's network is a function of, precision too; None where loading has something to refuse."""
    policy = keras.config.dtype_policy().name
    try:
        card = weights.read_card(model, kind)
        kind.config(card[kind.name])
        digest = sha256_file(weights.model_folder(model, kind) / kind.weights)
    except (SynthError, OSError, KeyError, TypeError):
        return None
    return (policy, kind.name, json.dumps(card[kind.name]), digest) if digest == card.get("weights_sha256") else None
