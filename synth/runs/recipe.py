"""How one painted sample is made: the recipe of its layout, its style and the scale that it is written on."""

from dataclasses import dataclass, field

from synth.layout.sampling.recipe import LayoutRecipe
from synth.style.scale import Window, output_window, recorded_window
from synth.style.slices import ScanSlices, slices_from_dict, slices_to_dict
from synth.style.style import Style


@dataclass(frozen=True)
class SampleRecipe:
    """Everything sample k is made of; JSON-able but for the layout itself, which the layout recipe rebuilds."""

    layout: LayoutRecipe
    style_kind: str
    style: Style
    attempt: int = 0  # how many earlier paintings of this sample a gate refused
    window: Window | None = None  # that it is written on; None: the style's own
    slices: ScanSlices = field(default_factory=dict)  # over which the painted image is averaged

    @classmethod
    def of(
        cls, layout: LayoutRecipe, style_kind: str, style: Style, attempt: int = 0, slices: ScanSlices | None = None
    ) -> "SampleRecipe":
        """The recipe of a new sample, with the window that `scale.output_window` chooses for its style."""
        window = output_window(style)
        return cls(layout, style_kind, style, attempt, None if window == style.window else window, slices or {})

    @property
    def written(self) -> Window:
        """What intensities 0 and 1 of the painted image are written as."""
        return self.style.window if self.window is None else self.window

    def to_dict(self) -> dict:
        """One manifest record without its files."""
        out = {**self.layout.to_dict(), "style": {"kind": self.style_kind, **self.style.to_dict()}}
        out = {**out, "output_window": self.window} if self.window else out
        out = {**out, "slices": slices_to_dict(self.slices)} if self.slices else out
        return {**out, "attempt": self.attempt} if self.attempt else out

    @classmethod
    def from_dict(cls, record: dict) -> "SampleRecipe":
        """The recipe of a manifest's record.

        Raises:
            SynthError: its style, its window or its slices are damaged.
        """
        style, window = Style.from_dict(record["style"]), record.get("output_window")
        return cls(
            LayoutRecipe.from_dict(record),
            record["style"]["kind"],
            style,
            record.get("attempt", 0),
            None if window is None else recorded_window(window),
            slices_from_dict(record.get("slices", {})),
        )
