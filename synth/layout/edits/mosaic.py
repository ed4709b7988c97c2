"""The edit that makes one brain of two: patches of another host's cortex and white matter in this one."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np
from scipy.ndimage import gaussian_filter

from synth.brats import Tissue
from synth.layout.carry import Moved
from synth.layout.diffeomorphism import (
    FINE,
    affine_on,
    at_half,
    depth_at_controls,
    doubled,
    field_on,
    flowed,
    values_at_controls,
)
from synth.layout.edits.edit import Edit, Outcome, register, span, uniform
from synth.layout.edits.exchange import check_donor
from synth.layout.edits.motion import brain_box, mirroring
from synth.layout.layout import Layout
from synth.layout.lobes import LOBES, lobe_index
from synth.layout.priors.anatomy import LATTICE, refined, shipped_prior
from synth.layout.priors.standing import fits_prior, standing, way_between
from synth.layout.space import Box, mirrored, trimmed
from synth.layout.warp import Warp, checked

DEEP_MM, DEEP_OVER_MM = 24.0, 8.0  # ventricles and basal ganglia stay the host's: patches end there, over so many mm
SEAM = 0.35  # deviations of the field on either side of a seam in which the two outlines are averaged
OUTLINE = 1.5  # half-grid cells by which outlines are blurred for that
_OUT = 4.0  # deviations by which the field is lowered where there are to be no patches
_BEYOND = 0.05  # of the host's blurred outline: about 5 mm outside


@register
@dataclass(frozen=True)
class Mosaic(Edit):
    """Take `share` of the brain, in patches of some centimetres, from `donor`, brought to this brain's stature.

    Patches reach from the surface to where the ventricles' surroundings begin, which stay this brain's own, as do
    cerebellum and brainstem. At a seam the brain's outline lies between both. The tumour stays, but for what would lie
    outside. `mirror` takes the donor's mirror image; `affine` and `shape` bring it to the host's size, proportions and
    shape (as in `individual`); `seed` stands for the patches.
    """

    donor: str
    share: float
    mirror: bool
    affine: tuple[float, ...]
    shape: tuple[float, ...]
    seed: int
    target: str = "layout"

    name: ClassVar[str] = "mosaic"
    needs_tumour: ClassVar[bool] = False
    needs_donor: ClassVar[bool] = True
    targets: ClassVar[tuple[str, ...]] = ("layout",)
    options: ClassVar[Mapping[str, Any]] = {"share": (0.3, 0.5)}

    @classmethod
    def draw(cls, layout, rng, *, target="layout", donor=None, share=options["share"]):
        """A share within the range, and whether the donor is mirrored.

        Raises:
            LayoutError: there is no brain or no donor, or they lie on different grids.
        """
        limits = span(cls.name, "share", share, 0, 0.9)
        check_donor(cls.name, layout, donor, tumour=False)
        reflect = bool(rng.random() < 0.5)
        affine, shape = way_between(standing(_turned(donor, reflect)), standing(layout))
        return cls(
            donor=donor.id,
            share=round(uniform(rng, limits), 2),
            mirror=reflect,
            affine=affine,
            shape=shape,
            seed=int(rng.integers(2**32)),
            target=target,
        )

    def __post_init__(self):
        """Check the parameters."""
        super().__post_init__()
        self._require(fits_prior(self.affine, self.shape), "as many numbers as the prior has")
        self._require(0 <= self.share <= 0.9 and self.seed >= 0, "a share of 0 to 0.9 and no negative seed")

    def run(self, layout, donor=None):
        """See `Edit.run`; `donor` must be the layout the edit was drawn with."""
        check_donor(self.name, layout, donor, self.donor, tumour=False)
        box = brain_box(layout)
        warp = self._brought(layout.shape)
        other, place = self._other(warp, _turned(donor, self.mirror), layout.shape)
        box = tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(box, place, strict=True))
        theirs = np.zeros([part.stop - part.start for part in box], np.uint8)
        theirs[tuple(slice(b.start - a.start, b.stop - a.start) for a, b in zip(box, place, strict=True))] = other
        tissue = layout.tissue.copy(order="K")
        patches = self._patches(layout, box)
        taken = doubled(patches > 0, theirs.shape)
        tissue[box] = self._joined(layout.tissue[box], theirs, patches, taken)
        tumour = np.where(tissue > 0, layout.tumour, np.uint8(0))
        lost = 1 - np.count_nonzero(tumour) / max(np.count_nonzero(layout.tumour), 1) if layout.tumour.any() else 0.0
        came = mirroring(layout.shape, warp) if self.mirror else warp
        moved = Moved(donor=came, taken=taken, box=box)
        return Outcome(Layout(tissue, tumour, layout.affine, layout.id), lost, moved)

    def _brought(self, shape) -> Warp:
        """The warp that brings the donor to the host's stature."""
        prior = shipped_prior()
        controls = prior.controls(self.shape, np.zeros((*LATTICE.shape, 3))) - prior.mean
        warp = affine_on(self.affine, shape, (field_on(flowed(values_at_controls(refined(controls))), shape),))
        return checked(warp, self.name)

    def _other(self, warp: Warp, donor: Layout, shape) -> tuple[np.ndarray, Box]:
        """The donor's tissue, and where it lies."""
        box = brain_box(donor)
        place = warp.output_box(box, shape)
        place, tissue = trimmed(place, warp.gather(donor.tissue[box], [part.start for part in box], place, extend=True))
        return tissue, place

    def _patches(self, layout: Layout, box: Box) -> np.ndarray:
        """(x, y, z) float32 on every second voxel of the box: above 0 in the donor's patches, in deviations."""
        drawn = np.random.default_rng(self.seed).standard_normal((*LATTICE.shape, 1))
        depth = depth_at_controls(layout.tissue)
        field = refined(drawn)[..., 0] - _OUT * np.clip((depth - DEEP_MM) / DEEP_OVER_MM, 0, 1)
        field -= _OUT * _infratentorial()
        inside = depth > 0
        level = np.quantile(field[inside], 1 - self.share) if inside.any() else 0.0
        return at_half(field_on((field - level)[..., None], layout.shape, scaled=False), box)[0]

    def _joined(self, own: np.ndarray, other: np.ndarray, patches: np.ndarray, taken: np.ndarray) -> np.ndarray:
        out = np.where(taken, other, own)
        # an outline between both at the seams: fluid where it lies outside what was taken
        every = (slice(None, None, 2),) * 3
        weight = np.clip(0.5 + patches / (2 * SEAM), 0, 1)
        ours, theirs = (gaussian_filter((part[every] > 0).astype(np.float32), OUTLINE) for part in (own, other))
        brain = (1 - weight) * ours + weight * theirs > 0.5
        seam = doubled((weight > 0) & (weight < 1), own.shape)
        brain = doubled(brain & (ours > _BEYOND), own.shape)
        out[seam & ~brain] = Tissue.OUTSIDE
        out[seam & brain & (out == 0)] = Tissue.CSF
        return out


@cache
def _infratentorial() -> np.ndarray:
    """(gx, gy, gz) 1 at the controls of `FINE` that lie in cerebellum or brainstem, less around them."""
    lines = [FINE.positions(axis) for axis in range(3)]
    points = np.stack(np.meshgrid(*lines, indexing="ij"), -1).reshape(-1, 3)
    below = (lobe_index(points) == LOBES.index("infratentorial")).reshape(FINE.shape)
    return gaussian_filter(below.astype(float), 0.5)


def _turned(donor: Layout, mirror: bool) -> Layout:
    return Layout(mirrored(donor.tissue), mirrored(donor.tumour), donor.affine, donor.id) if mirror else donor
