"""Samples painted while a segmenter trains: a pool that moves on with the steps and never repeats."""

import shutil
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from synth.runs.generate import Generation
from synth.trainers.prepared import once
from synth.trainers.segmentation.patches import LabelledCase, load_labelled, store_labelled

_BEHIND = 2  # samples kept beyond the pool: patches of earlier steps may still be being cut


class FreshPool:
    """The `keep` newest of endless freshly generated samples; every `steps_each` steps one more is painted.

    Which samples a step draws from follows from its number alone, and sample k from the generation's seed and k, so a
    resumed run sees what an undisturbed one would. Painting (about 1.4 s on two cores) runs in a thread of its own, one
    sample ahead; patches are cut from what lies on the disk.

    Args:
        generation: makes the samples.
        folder: where they are kept for the time being.
        keep: samples in the pool, once it is full.
        steps_each: steps between two samples.
    """

    def __init__(self, generation: Generation, folder: str | Path, *, keep: int = 16, steps_each: int = 10):
        self.generation, self.folder, self.keep, self.steps_each = generation, Path(folder), keep, steps_each
        self._painting = ThreadPoolExecutor(1, thread_name_prefix="synth-fresh")
        self._made: dict[int, Future] = {}
        self._lock = threading.Lock()

    def at(self, step: int) -> list[LabelledCase]:
        """The samples that step `step` may draw from, painted by now."""
        newest = step // self.steps_each
        oldest = max(newest - self.keep + 1, 0)
        with self._lock:
            futures = [self._wanted(index) for index in range(oldest, newest + 1)]
            self._wanted(newest + 1)  # ahead
            for index in [k for k in self._made if k < oldest - _BEHIND]:
                del self._made[index]
                shutil.rmtree(self._place(index), ignore_errors=True)
        return [future.result() for future in futures]

    def _wanted(self, index: int) -> Future:
        if index not in self._made:
            self._made[index] = self._painting.submit(self._paint, index)
        return self._made[index]

    def _paint(self, index: int) -> LabelledCase:
        folder = self._place(index)
        return once(folder, None, load_labelled, lambda: store_labelled(next(self.generation.cases([index])), folder))

    def _place(self, index: int) -> Path:
        return self.folder / f"{index:08d}"
