"""What a judge of voxels says."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """One thing that is wrong with a case, or a set, by its voxels.

    Attributes:
        kind: of a case "skull", "modality", "copy", "mirror", "shift"; of a set's labels "order", "binary", "lacking".
        modalities: which are at fault, in the order of `brats.MODALITIES`; empty where the labels are.
        text: what was found, what was expected and what to do, without file names; ends with a full stop.
        sure: whether real data are never like this; else it deserves a line, and a second look.
        cases: positions of the cases at fault in what a judge of sets was given; empty for the whole set.
        order: for "order", what the labels read as NCR, ED and ET are, in the same words; "" where that is not known.
    """

    kind: str
    modalities: tuple[str, ...]
    text: str
    sure: bool = True
    cases: tuple[int, ...] = ()
    order: tuple[str, ...] = ()
