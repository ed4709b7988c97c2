"""How a report is made."""

from dataclasses import dataclass

from synth.errors import SynthError

PICTURES = ("all", "charts", "none")


@dataclass(frozen=True)
class ReportConfig:
    """How a report is made.

    Attributes:
        seed: of every random choice: halves, pairs, the sample of a large set.
        sample: at most so many cases of each set, chosen by the seed; None for all.
        paired: whether synthetic cases reconstruct the real ones of the same id; None: where `synth reconstruct` wrote
            them.
        segmenter: a shipped segmenter's name or a model's folder, for features and Dice.
        generator: folder of the model that painted the set, where it does not ship.
        viewer: synthetic cases in the page's viewer, and as many real ones; 0 for none. About 5 MB for each pair.
        pictures: "all"; "charts": no scan is on the page, so that it can be shown to others; or "none".
    """

    seed: int = 0
    sample: int | None = None
    paired: bool | None = None
    segmenter: str = "default"
    generator: str | None = None
    viewer: int = 2
    pictures: str = "all"

    def __post_init__(self) -> None:
        """Raise `SynthError` on numbers that mean nothing."""
        if self.sample is not None and self.sample < 1:
            raise SynthError(f"a sample of at least 1 case of each set is needed, found {self.sample}.")
        if not 0 <= self.viewer <= 3:
            raise SynthError(f"the viewer takes 0 to 3 cases of each set (the page grows by 5 MB each), {self.viewer}.")
        if self.pictures not in PICTURES:
            raise SynthError(f"pictures: expected one of {', '.join(PICTURES)}, found {self.pictures!r}.")
