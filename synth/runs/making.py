"""The making of samples: drawn, painted, judged, written; the same work in this process and in those of a crew.

Sample k depends on the seed, k and the settings alone, so it does not matter who makes it: what comes back is what the
run's folder, which one process keeps, has to record of it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from synth.ahead import ahead
from synth.case import Case
from synth.cluster.workers import Place
from synth.errors import ModelError
from synth.exporters import Writer
from synth.runs.folder import scores_note
from synth.runs.gate import Gate, painted
from synth.show.contact_sheet import Row, row

if TYPE_CHECKING:
    from synth.runs.generate import Generation

MEMORY = 2.2 * 2**30  # bytes that a process with a gate needs at most: 1.8 measured (`benchmarks/generate_memory.py`)


@dataclass(frozen=True)
class Made:
    """A sample whose files are complete.

    Attributes:
        record: for the manifest.
        passed: whether the gate let it pass.
        row: of the contact sheet, if it is shown there.
    """

    record: dict[str, Any]
    passed: bool
    row: Row | None


@dataclass(frozen=True)
class Making:
    """Makes samples by their numbers; a job for a crew.

    Attributes:
        generation: draws and paints them.
        gate: judges them; None: all pass.
        writers: whether a sample passed -> what writes it.
        shown: numbers of the samples that the contact sheet shows.
        settings: `Generation.settings` of the run, in a crew.
    """

    generation: "Generation"
    gate: Gate | None
    writers: Mapping[bool, Writer]
    shown: frozenset[int]
    settings: Mapping[str, Any] | None = None

    def prepare(self, place: Place) -> None:
        """Load generator and segmenter in a worker's process.

        Raises:
            ModelError: a model is missing or damaged, or the samples would come out otherwise than in other workers.
        """
        found = ready(self.generation, self.gate, place)["model"]
        if self.settings is not None and found != self.settings["model"]:
            raise ModelError(
                f"the workers of a run must compute alike: expected the model {self.settings['model']}, found {found}; "
                "give them the same files and the same kind of machine."
            )

    def __call__(self, items: Iterable[int]) -> Iterator[Made]:
        """The samples, each when its files are complete; the next ones are drawn and painted meanwhile."""
        for case, found, passed in ahead(painted(self.generation, self.gate, items)):
            files = self.writers[passed].write(case)
            record = {**case.meta, **found, "files": files}
            made = Made(record, passed, self._row(case, record) if passed else None)
            del case  # the next one is there before this would be gone
            yield made

    def _row(self, case: Case, record: Mapping[str, Any]) -> Row | None:
        return row(case, scores_note(record)) if record["index"] in self.shown else None


def ready(generation: "Generation", gate: Gate | None, place: Place | None = None) -> dict[str, Any]:
    """Load what this process, perhaps a worker, needs to make samples; say the settings that they will have.

    Raises:
        ModelError: a model is missing or damaged.
    """
    settings = generation.ready(place)
    _ = gate and gate.segmenter
    return settings
