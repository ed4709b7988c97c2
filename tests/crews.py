"""Work for crews, in a module that their workers can import."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from synth.cluster.workers import Place
from synth.errors import LayoutError
from synth.runs.generate import Generation


@dataclass
class Squares:
    """Squares of numbers; a folder says what is to happen to whom, once each: `kill-3`, `break-4`."""

    folder: Path
    prepared: int = 0

    def prepare(self, place: Place) -> None:
        self.prepared += 1
        self.threads = place.threads

    def __call__(self, items):
        for item in items:
            if self.once("kill", item):
                os.kill(os.getpid(), signal.SIGKILL)
            if self.once("break", item):
                raise OSError(5, "the disk sighs")
            if (self.folder / f"refuse-{item}").exists():
                raise LayoutError(f"no layout {item}.")
            time.sleep(0.05 if item % 5 == 0 else 0)
            yield item * item, self.prepared, self.threads

    def once(self, what, item) -> bool:
        try:
            (self.folder / f"{what}-{item}").unlink()
        except FileNotFoundError:
            return False
        return True


class Plain(Generation):
    """Paints without a network, and without TensorFlow: what a run does around it is the same."""

    sees_detail = False

    @property
    def painter(self):
        return plain

    def ready(self, place=None):
        return self.settings()

    def model_settings(self):
        return {"name": "plain", "hash": "0", "kernels": "none"}


def plain(layout, style, seed):
    """A grey image with noise, in the brain's box."""
    inside = layout.classes[layout.bounding_box()]
    noise = np.random.default_rng(seed).normal(0, 0.02, (*inside.shape, 4))
    return np.where(inside[..., None] > 0, inside[..., None] / 8 + noise, 0).astype(np.float32)
