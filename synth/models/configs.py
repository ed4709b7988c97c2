"""What a network is, as a model's card has it and enough to rebuild it; readable without TensorFlow."""

from dataclasses import asdict, dataclass

from synth.brats import Tumour
from synth.errors import ModelError

CONDITIONINGS = ("painted", "onehot", "detail")
ARCHITECTURES = ("vox2vox", "unet3d")
DIVISOR = 16  # every spatial size of a network's input must be a multiple of it
LABELS = len(Tumour)  # none, NCR, ED, ET
MIRRORS = ("none", "x", "xyz")
"""Test-time mirroring: no views but the scan itself, left and right, or all eight."""


@dataclass(frozen=True)
class GeneratorConfig:
    """What the generator is; stored in the model card and enough to rebuild it."""

    width: int = 32  # base filters; 8 x width at the bottom. 32: best quality under 1 s a brain on 2 CPU cores
    bottleneck: int = 2  # densely joined blocks at the bottom (Vox2Vox has 4: half of all weights)
    dropout: float = 0.0  # Vox2Vox has 0.2 at the bottom; noise is given explicitly here
    conditioning: str = "painted"  # "onehot": labels alone, the baseline to beat; "detail": a layout's detail as well
    tissue_gain: float = 7.4  # times the style's noise, or one over it, at most, away from fluid; 7.4: no bound
    fluid_gain: float = 7.4  # the same where there is fluid or a vessel

    def __post_init__(self):
        """Raise `ModelError` on values that make no network."""
        if self.conditioning not in CONDITIONINGS:
            raise ModelError(f"conditioning must be one of {', '.join(CONDITIONINGS)}, found {self.conditioning!r}.")
        if (
            self.width < 4
            or self.bottleneck < 1
            or not 0 <= self.dropout < 1
            or not min(self.tissue_gain, self.fluid_gain) >= 1
        ):
            raise ModelError(
                f"generator: width >= 4, bottleneck >= 1, 0 <= dropout < 1 and gains >= 1 expected, found {self}."
            )

    def to_dict(self) -> dict:
        """JSON-able; `GeneratorConfig(**d)` reads it back."""
        return asdict(self)


@dataclass(frozen=True)
class SegmenterConfig:
    """What the segmenter is; stored in its card and enough to rebuild it."""

    arch: str = "unet3d"
    width: int = 32  # base filters; the paper's Vox2Vox has 64
    dropout: float = 0.25  # at the bottom (the calibrated Vox2Vox; its public code has 0.2)
    deep_supervision: bool = False  # unet3d only: losses at half and quarter resolution too

    def __post_init__(self):
        """Raise `ModelError` on values that make no network."""
        if self.arch not in ARCHITECTURES:
            raise ModelError(f"arch must be one of {', '.join(ARCHITECTURES)}, found {self.arch!r}.")
        if self.width < 4 or not 0 <= self.dropout < 1:
            raise ModelError(f"segmenter: width >= 4 and 0 <= dropout < 1 expected, found {self}.")
        if self.deep_supervision and self.arch != "unet3d":
            raise ModelError("deep supervision is for unet3d; the Vox2Vox has a discriminator.")

    def to_dict(self) -> dict:
        """JSON-able; `SegmenterConfig(**d)` reads it back."""
        return asdict(self)
