"""The embedded default anatomy: healthy brains, the ICBM152 atlas bent and re-weighted as real brains differ.

No data of the user's are needed and no real case is copied: shape and tissue shares come from `AnatomyPrior`, the
folds of the cortex from random fields. The tumour is an edit's business.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache

import numpy as np

from synth.brats import AFFINE, GRID
from synth.errors import LayoutError
from synth.layout.atlas import RIM_MM, SoftAtlas, soft_atlas
from synth.layout.diffeomorphism import FINE, doubled
from synth.layout.layout import Layout
from synth.layout.priors.anatomy import LATTICE, Draw, affine_map, refined, shipped_prior
from synth.layout.space import MIDLINE
from synth.layout.warp import MIN_JACOBIAN, SplineField, Warp, checked
from synth.randomness import AnatomyBranch, anatomy_seed

SMOOTH_MM = 24.0  # controls of the fields that make sulci here wider and there narrower
FOLD_MM = 8.0  # controls of the fold pattern; gyri are about as wide as one and a half of these

SULCUS, CROWN = 3.5, 1.6  # log weights that open a sulcus, and that bring white matter up into a gyrus


@dataclass(frozen=True)
class Anatomy:
    """How one brain departs from the atlas.

    Attributes:
        affine: (12,) size, proportions, tilt: see `AnatomyPrior.affine_mean`.
        shape: (k,) standard deviations along the prior's directions of deformation.
        rest: share of the prior's unexplained deformation that is added at random; 1 unless that would fold.
        fine_mm: root mean square of the finest deformation, which bends gyri.
        csf: log weight of CSF against grey and white matter: the larger, the wider sulci and ventricles.
        white: log weight of white matter against grey.
        rim_mm: CSF around the atlas's brain.
        uneven: standard deviation, in log weight, of the CSF weight from place to place.
        folds: strength of the folds that this brain has and the atlas has not.
        seed: of all fields.
    """

    affine: tuple[float, ...]
    shape: tuple[float, ...]
    rest: float
    fine_mm: float
    csf: float
    white: float
    rim_mm: float
    uneven: float
    folds: float
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
        warp = checked(self.warp(), "anatomy")
        csf, white, rim = self._weights(atlas)
        return gather_tissue(atlas, atlas.labels(csf, white, rim), warp)

    def warp(self) -> Warp:
        """The deformation of the atlas."""
        rng = np.random.default_rng(anatomy_seed(self.seed, AnatomyBranch.DEFORMATION))
        prior = shipped_prior()
        controls = refined(prior.controls(self.shape, self.rest * rng.standard_normal((*LATTICE.shape, 3))))
        controls += self.fine_mm * _fine(rng)
        matrix, offset = affine_map(self.affine)
        return Warp(matrix, offset, (SplineField(FINE.origin, FINE.step, controls),))

    def _weights(self, atlas: SoftAtlas) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Log weights and rim at each voxel of the atlas's box."""
        shape = atlas.csf.shape
        csf, white, rim = smooth_fields(
            atlas.half_shape, SMOOTH_MM / 2, anatomy_seed(self.seed, AnatomyBranch.WEIGHTS), 3
        )
        csf = self.csf + self.uneven * csf
        white = self.white + 0.35 * self.uneven * white
        rim = np.clip(self.rim_mm + 0.8 * rim, 0, RIM_MM)
        csf, white, rim = (np.ascontiguousarray(doubled(part, shape), np.float32) for part in (csf, white, rim))
        if self.folds:
            pattern = smooth_fields(shape, FOLD_MM, anatomy_seed(self.seed, AnatomyBranch.FOLDS), 1)[0]
            height = np.abs(pattern).reshape(-1)[atlas.foot]  # 0 along sulci, above 1 on crowns of gyri
            csf.reshape(-1)[atlas.band] += self.folds * SULCUS * (np.maximum(1 - height / 0.35, 0) - 0.14)
            white.reshape(-1)[atlas.band] += self.folds * CROWN * (np.minimum(height, 2) - 0.8)
        return csf, white, rim


def gather_tissue(atlas: SoftAtlas, labels: np.ndarray, warp: Warp) -> np.ndarray:
    """(240, 240, 155) uint8: `labels` on the atlas's box, deformed."""
    box = warp.output_box(atlas.box, GRID)
    out = np.zeros(GRID, np.uint8)
    out[box] = warp.gather(labels, [part.start for part in atlas.box], box)
    return out


def smooth_fields(shape, step: float, seed, count: int) -> list[np.ndarray]:
    """`count` random fields of about unit variance, with controls every `step` voxels; the same bits everywhere."""
    cells = [int(np.ceil((n - 1) / step)) for n in shape]
    controls = np.random.default_rng(seed).standard_normal((*(c + 3 for c in cells), count)) / 0.479**1.5
    spline = SplineField((0.0, 0.0, 0.0), (step,) * 3, controls)
    return spline.displacement(tuple(slice(0, n) for n in shape))


def _fine(rng: np.random.Generator) -> np.ndarray:
    """Controls on `FINE` of a field of unit root mean square that bends gyri, and hardly moves the falx."""
    controls = np.clip(rng.standard_normal((*FINE.shape, 3)), -2.5, 2.5) / 0.479**1.5
    away = np.abs(FINE.positions(0) - MIDLINE)
    controls[..., 0] *= np.clip(away / 20, 0.2, 1)[:, None, None]
    return controls


@cache
def _atlas() -> SoftAtlas:
    return soft_atlas().biased(shipped_prior().bias)


def draw_anatomy(rng: np.random.Generator) -> Anatomy:
    """A brain as the prior has them: size, proportions, tilt, ventricles, sulci.

    Deformations that fold or nearly do are made weaker until they do not.
    """
    drawn: Draw = shipped_prior().draw(rng)
    anatomy = Anatomy(
        affine=tuple(round(float(v), 3) for v in drawn.affine),
        shape=tuple(round(float(v), 3) for v in drawn.shape),
        rest=1.0,
        fine_mm=round(float(rng.uniform(0.6, 1.0)), 2),
        csf=round(float(drawn.tissue[0]), 3),
        white=round(float(drawn.tissue[1]), 3),
        rim_mm=round(float(rng.uniform(0.5, 2.5)), 2),
        uneven=round(float(rng.uniform(0.2, 0.6)), 2),
        folds=round(float(rng.uniform(0.5, 1.0)), 2),
        seed=int(rng.integers(2**31)),
    )
    while anatomy.warp().min_jacobian() < MIN_JACOBIAN + 0.05:
        anatomy = replace(
            anatomy,
            rest=round(0.85 * anatomy.rest, 3),
            fine_mm=round(0.85 * anatomy.fine_mm, 3),
            shape=tuple(round(0.97 * v, 3) for v in anatomy.shape),
        )
    return anatomy


@dataclass(frozen=True)
class AtlasSource:
    """Anatomy number `number`; everything is drawn from that number."""

    number: int

    @property
    def id(self) -> str:
        """`atlas-` and ten digits."""
        return f"atlas-{self.number:010d}"

    def load(self) -> Layout:
        """The brain, healthy: its tumour map is empty."""
        tissue = draw_anatomy(np.random.default_rng(np.random.SeedSequence(self.number))).tissue()
        return Layout(tissue, np.zeros_like(tissue), np.array(AFFINE), self.id)


class AtlasAnatomies(Sequence):
    """Hosts for a `LayoutSampler` that need no data: endless healthy brains, each made when it is loaded.

    Args:
        count: how many different ones.

    Example:
        >>> layout, recipe = LayoutSampler(AtlasAnatomies(), seed=1).draw(0)
    """

    healthy = True  # no brain has a tumour: a preset begins by making one

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
        match = re.fullmatch(r"atlas-(\d{10})", source_id)
        if not match or int(match[1]) >= self.count:
            raise LayoutError(f"the layout {source_id!r} is not an atlas anatomy; give the data it was made from.")
        return AtlasSource(int(match[1]))
