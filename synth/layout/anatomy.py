"""The embedded default anatomy: the ICBM152 atlas on the BraTS grid, each time bent anew, with a drawn tumour.

No data of the user's are needed and no real case is copied: brains differ by an affine, a smooth diffeomorphism and
the width of their CSF spaces, tumours are those of `shapes`.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache

import numpy as np

from synth.brats import AFFINE, Tissue
from synth.errors import LayoutError
from synth.layout.edits.motion import rotation
from synth.layout.edits.placing import direction
from synth.layout.law import violations
from synth.layout.layout import Layout
from synth.layout.shapes import draw_tumour
from synth.layout.space import box_of, near, spacing, widened
from synth.layout.warp import MIN_JACOBIAN, Warp, checked, random_field

COARSE_STEP_MM = 60.0  # proportions of lobes
FINE_STEP_MM = 28.0  # course of gyri
RIM_MM = 3.0
TUMOUR_TRIES = 30


@dataclass(frozen=True)
class Anatomy:
    """How one brain departs from the atlas.

    Attributes:
        scale: (3,) of the brain along the array axes.
        degrees: turn of the head about `axis`.
        axis: (3,) its axis.
        coarse_mm: root mean square of the field with controls every `COARSE_STEP_MM`.
        fine_mm: the same for `FINE_STEP_MM`.
        csf: weight of the atlas's CSF against grey and white matter: the larger, the wider sulci and ventricles.
        white: weight of white matter against grey.
        rim_mm: CSF around the atlas's brain, which is stripped closer than scans are; 0 to `RIM_MM`.
        seed: of the fields.
    """

    scale: tuple[float, float, float]
    degrees: float
    axis: tuple[float, float, float]
    coarse_mm: float
    fine_mm: float
    csf: float
    white: float
    rim_mm: float
    seed: int

    def to_dict(self) -> dict:
        """A JSON-able dict."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    def tissue(self) -> np.ndarray:
        """(240, 240, 155) uint8 tissue map on the BraTS grid.

        Raises:
            LayoutError: the deformation folds.
        """
        atlas = _atlas()
        labels = np.where(atlas.white > 1 / self.white, np.uint8(Tissue.WM), np.uint8(Tissue.GM))
        labels[(atlas.csf * self.csf > 1) | (atlas.outside > 0)] = Tissue.CSF
        labels[atlas.outside > self.rim_mm] = Tissue.OUTSIDE
        warp = checked(self.warp(), "anatomy")
        box = warp.output_box(atlas.box, atlas.shape)
        out = np.zeros(atlas.shape, np.uint8)
        out[box] = warp.gather(labels, [part.start for part in atlas.box], box)
        return out

    def warp(self) -> Warp:
        """The deformation of the atlas."""
        atlas, zooms = _atlas(), spacing(AFFINE)
        grid = tuple(slice(0, n) for n in atlas.shape)
        fields = (
            random_field(grid, zooms, self.coarse_mm, COARSE_STEP_MM, self.seed),
            random_field(grid, zooms, self.fine_mm, FINE_STEP_MM, self.seed + 1),
        )
        middle = [(part.start + part.stop - 1) / 2 for part in atlas.box]
        return Warp.about(middle, np.diag(self.scale) @ rotation(self.degrees, self.axis), zooms, fields=fields)


def draw_anatomy(rng: np.random.Generator) -> Anatomy:
    """A brain: size, proportions, tilt, bending and CSF spaces.

    Against the 12 training scans: volume 1506 ml (standard deviation 120), CSF 18 % (4.5), GM 44 % (4), WM 31 % (4).
    """
    size = rng.normal(0, 0.02)  # logarithm; with the next line and the rim, volumes spread by 8 % as the real ones do
    scale = np.exp(size + rng.normal(0, 0.015, 3))
    strength = rng.uniform(0.6, 1.2)
    csf, white, rim = np.exp(rng.normal(0.6, 0.35)), np.exp(rng.normal(0, 0.12)), rng.uniform(0.5, RIM_MM)
    axis, degrees, seed = direction(rng), rng.normal(0, 2.0), int(rng.integers(2**31))
    while True:
        anatomy = Anatomy(
            scale=tuple(round(float(v), 4) for v in scale),
            degrees=round(float(degrees), 2),
            axis=tuple(round(float(v), 4) for v in axis),
            coarse_mm=round(3.0 * strength, 2),
            fine_mm=round(1.2 * strength, 2),
            csf=round(float(csf), 3),
            white=round(float(white), 3),
            rim_mm=round(float(rim), 2),
            seed=seed,
        )
        if anatomy.warp().min_jacobian() >= MIN_JACOBIAN + 0.05:
            return anatomy
        strength *= 0.85


@dataclass(frozen=True)
class AtlasSource:
    """Anatomy and tumour number `number`; everything is drawn from that number."""

    number: int

    @property
    def id(self) -> str:
        """`atlas-` and ten digits."""
        return f"atlas-{self.number:010d}"

    def load(self) -> Layout:
        """The brain, with its tumour.

        Raises:
            LayoutError: no lawful tumour was found in `TUMOUR_TRIES` draws.
        """
        rng = np.random.default_rng(np.random.SeedSequence(self.number))
        anatomy = draw_anatomy(rng)
        tissue = anatomy.tissue()
        healthy = Layout(tissue, np.zeros_like(tissue), np.array(AFFINE), self.id)
        for _ in range(TUMOUR_TRIES):
            layout = draw_tumour(healthy, rng).apply(healthy)
            found = violations(layout)
            if not found:
                return layout
        raise LayoutError(f"{self.id}: none of {TUMOUR_TRIES} drawn tumours was lawful; the last: {found[0]}.")


class AtlasAnatomies(Sequence):
    """Hosts for a `LayoutSampler` that need no data: endless brains, each made when it is loaded.

    Args:
        count: how many different ones.

    Example:
        >>> layout, recipe = LayoutSampler(AtlasAnatomies(), seed=1).draw(0)
    """

    edits = "fresh"  # the preset that suits them: brain and tumour are new already

    def __init__(self, count: int = 2**31):
        if count < 1:
            raise LayoutError(f"the number of atlas anatomies must be at least 1, found {count}.")
        self.count = int(count)

    def __len__(self) -> int:
        """How many there are."""
        return self.count

    def __getitem__(self, number: int) -> AtlasSource:
        """Source number `number`, from 0."""
        if not 0 <= number < self.count:
            raise IndexError(f"atlas anatomies are numbered 0 to {self.count - 1}, found {number}")
        return AtlasSource(int(number))

    def find(self, source_id: str) -> AtlasSource:
        """The source of that id; raises `LayoutError` for an id that is none of these."""
        found = re.fullmatch(r"atlas-(\d{10})", source_id)
        if not found or int(found[1]) >= self.count:
            raise LayoutError(f"the layout {source_id!r} is not an atlas anatomy; give the data it was made from.")
        return AtlasSource(int(found[1]))


@dataclass(frozen=True)
class _Atlas:
    """The atlas on the BraTS grid, cut to its brain, as ratios that one comparison turns into tissue."""

    shape: tuple[int, int, int]
    box: tuple[slice, slice, slice]
    outside: np.ndarray  # mm from its brain, up to `RIM_MM`, then infinity
    white: np.ndarray  # white over grey matter
    csf: np.ndarray  # CSF over the greater of the two


@cache
def _atlas() -> _Atlas:
    from synth.layout.atlas import atlas_probabilities

    probabilities = atlas_probabilities()
    brain = probabilities.sum(-1) > 0.5
    box = widened(box_of(brain), RIM_MM, spacing(AFFINE), brain.shape)
    csf, grey, white = (probabilities[box][..., k] for k in range(3))
    tiny = np.float32(1e-6)
    outside = near(brain[box], RIM_MM, spacing(AFFINE))
    return _Atlas(brain.shape, box, outside, white / (grey + tiny), csf / (np.maximum(grey, white) + tiny))
