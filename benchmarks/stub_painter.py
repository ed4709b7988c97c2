"""A generation whose samples cost next to nothing, for benchmarks of what is around the painting."""

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from synth.brats import AFFINE
from synth.case import Case
from synth.hosts.sources import embedded_sources
from synth.layout.layout import Layout
from synth.runs.generate import GenerateConfig, Generation

SHAPE = (24, 32, 20)


@dataclass(frozen=True)
class StubRecipe:
    """What stands for a recipe."""

    index: int
    attempt: int = 0
    layout: None = None


@dataclass(frozen=True)
class Trace:
    """What a stub does beside painting.

    Attributes:
        seconds: that each sample takes.
        log: file to which each painting adds a line; None: none.
        kills: file with the number of kills so far: sample k waits until `share * k` are done; None: it does not wait.
        share: kills a sample.
    """

    seconds: float = 0.0
    log: Path | None = None
    kills: Path | None = None
    share: float = 0.0
    lag: int = field(default=3)


class StubGeneration(Generation):
    """Noise in an egg, by the sample's number; no network, no TensorFlow."""

    trace = Trace()

    def __init__(self, sources=None, model=None, config=None, trace: Trace | None = None):
        super().__init__(sources or embedded_sources(), model, config or GenerateConfig(seed=1))
        self.trace = trace or Trace()

    def __reduce__(self):
        """As `Generation`, with what it does beside painting."""
        return type(self), (self.sources, self.model, self.config, self.trace)

    def ready(self, place=None):
        """Nothing to load."""
        return self.settings()

    def model_settings(self):
        """No generator's."""
        return {"name": "stub", "hash": "0", "kernels": "none"}

    def draw(self, index, attempt=0, *, detail=None):
        """An egg with a tumour."""
        grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij"), -1)
        egg = (grid**2).sum(-1)
        tissue = ((egg < 0.9).astype(np.uint8) + (egg < 0.6) + (egg < 0.3)).astype(np.uint8)
        tumour = np.where(egg < 0.05 + 0.001 * (index % 50), 2, 0).astype(np.uint8)
        return Layout(tissue, tumour, np.array(AFFINE), self.ids(index)), StubRecipe(index)

    def paint(self, layout, recipe):
        """Noise."""
        if self.trace.log:
            with open(self.trace.log, "a") as log:
                log.write(f"{recipe.index} {os.getpid()}\n")
        time.sleep(self.trace.seconds)
        end = time.monotonic() + 120
        while self.trace.kills and time.monotonic() < end:
            if int(self.trace.kills.read_text() or 0) >= self.trace.share * recipe.index - self.trace.lag:
                break
            time.sleep(0.05)
        rng = np.random.default_rng(recipe.index)
        images = rng.integers(1, 1000, (*SHAPE, 4)).astype(np.int16) * layout.brain[..., None]
        meta = {"index": recipe.index, "id": layout.id, "redraws": [], "host": "stub", "edits": []}
        return Case(layout.id, images, layout.tumour, layout.affine, meta)
