"""The sets that a report compares: synthetic cases, real ones, and which of these the generator was trained on."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from synth.quality.records import Record


@dataclass(frozen=True)
class Sets:
    """Measured cases, by the side they stand on.

    Attributes:
        synthetic: the set in question.
        real: all real cases, `training` and `holdout` among them.
        training: those that the generator was trained on; None where that is unknown (then all of `real` count).
        holdout: those that it certainly never saw; empty where none were given.
        split: how that is known, one sentence.
        paired: synthetic records whose id a real record has: reconstructions of it. Empty unless the set is paired.
        lineage: manifest records of the synthetic cases by id; empty where there is no manifest.
        seed: of everything that is drawn.
    """

    synthetic: Sequence[Record]
    real: Sequence[Record]
    training: Sequence[Record] | None = None
    holdout: Sequence[Record] = ()
    split: str = ""
    paired: Sequence[Record] = ()
    lineage: dict[str, dict] = field(default_factory=dict)
    seed: int = 0
