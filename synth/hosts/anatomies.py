"""The embedded default anatomy: healthy brains, the ICBM152 atlas bent and re-weighted as real brains differ.

No data of the user's are needed and no real case is copied: shape and tissue shares come from `AnatomyPrior`, the
folds of the cortex from random fields. The tumour is an edit's business.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, lru_cache

import numpy as np

from synth.brats import AFFINE, GRID, Tissue
from synth.errors import LayoutError
from synth.hosts.folds import PER_MM, REACH_MM, Pattern, folded
from synth.layout.atlas import RIM_MM, SoftAtlas, soft_atlas
from synth.layout.detail import Detail
from synth.layout.diffeomorphism import FINE, doubled
from synth.layout.layout import Layout
from synth.layout.mixing import PARTS, WHOLE, around, in_parts, weighted
from synth.layout.priors.anatomy import LATTICE, Draw, affine_map, refined, shipped_prior
from synth.layout.priors.detail import shipped_detail_prior
from synth.layout.space import MIDLINE, Box
from synth.layout.warp import MIN_JACOBIAN, SplineField, Warp, checked
from synth.randomness import AnatomyBranch, anatomy_seed

SMOOTH_MM = 24.0  # controls of the fields that make ventricles here wider and there narrower
CSF_SHARE, CSF_SPREAD = 0.20, 0.034  # of the brain, in the tissue maps of the 24 training cases: mean and deviation
PRESSED = 0.022  # of the brain: CSF that tumours press out of it, in the mean; real maps have lost theirs
WHITE_SHARE, WHITE_SPREAD = 0.326, 0.02
_RIM_UNEVEN_MM = 4.0  # the rim's deviation from place to place: gyri touch the skull here and not there
_MOST_MM = 0.8  # by which faces of tissue are moved to meet such shares
_PREFIX = "atlas-blood-"  # another word, or none, was of an earlier synth's brains
_MIDDLE, _BITS = REACH_MM * PER_MM, 20  # a level, made positive, and what its weighted sum takes


@dataclass(frozen=True)
class Anatomy:
    """How one brain departs from the atlas.

    Attributes:
        affine: (12,) size, proportions, tilt: see `AnatomyPrior.affine_mean`.
        shape: (k,) standard deviations along the prior's directions of deformation.
        rest: share of the prior's unexplained deformation that is added at random; 1 unless that would fold.
        fine_mm: root mean square of the finest deformation, which bends gyri.
        csf: log weight of CSF against grey and white matter where nothing folds: the larger, the wider ventricles.
        white: log weight of white matter against grey there.
        csf_share: of the brain, that is CSF.
        white_share: that is white matter.
        rim_mm: CSF around the atlas's brain, in the mean; cut at 0 where it is less.
        uneven: standard deviation, in log weight, of the CSF weight from place to place.
        folds: of the cortex: the numbers of a `folds.Pattern`.
        seed: of all fields.
    """

    affine: tuple[float, ...]
    shape: tuple[float, ...]
    rest: float
    fine_mm: float
    csf: float
    white: float
    csf_share: float
    white_share: float
    rim_mm: float
    uneven: float
    folds: tuple[float, ...]
    seed: int

    def to_dict(self) -> dict:
        """A JSON-able dict."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    def grown(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(240, 240, 155) uint8 tissue map on the BraTS grid; how far inside fluid, and white matter, its voxels lie.

        The latter are int8, in mm times `folds.PER_MM`, as `DetailPrior.draw` takes them.

        Raises:
            LayoutError: the deformation folds.
        """
        warp = checked(self.warp(), "anatomy")
        box, (fluid, white, inside) = warped_levels(_atlas(), self._levels(_atlas()), warp)
        brain = inside > 0
        csf = brain & (fluid > _level_of(fluid[brain], self.csf_share))
        rest = brain & ~csf
        pale = rest & (white > _level_of(white[rest], self.white_share / (1 - self.csf_share)))
        out = np.zeros(GRID, np.uint8)
        out[box] = Tissue.GM * rest + np.uint8(Tissue.CSF) * csf + np.uint8(Tissue.WM - Tissue.GM) * pale
        levels = np.zeros((2, *GRID), np.int8)
        for whole, part in zip(levels, (fluid, white), strict=True):
            whole[box] = part // WHOLE
        return out, *levels

    def warp(self) -> Warp:
        """The deformation of the atlas."""
        rng = np.random.default_rng(anatomy_seed(self.seed, AnatomyBranch.DEFORMATION))
        prior = shipped_prior()
        controls = refined(prior.controls(self.shape, self.rest * rng.standard_normal((*LATTICE.shape, 3))))
        controls += self.fine_mm * _fine(rng)
        matrix, offset = affine_map(self.affine)
        return Warp(matrix, offset, (SplineField(FINE.origin, FINE.step, controls),))

    def _levels(self, atlas: SoftAtlas) -> list[np.ndarray]:
        """How far inside fluid, white matter and brain voxels of the atlas's box lie, as `folds.folded` tells it."""
        shape = atlas.csf.shape
        csf, white, rim = (
            np.ascontiguousarray(doubled(part, shape), np.float32)
            for part in smooth_fields(
                atlas.half_shape, SMOOTH_MM / 2, anatomy_seed(self.seed, AnatomyBranch.WEIGHTS), 3
            )
        )
        csf = self.csf + self.uneven * csf
        white = self.white + 0.35 * self.uneven * white
        rng = np.random.default_rng(anatomy_seed(self.seed, AnatomyBranch.FOLDS))
        fluid, white = folded(atlas, Pattern(*self.folds), csf, white, rng)
        rim = np.clip(self.rim_mm + _RIM_UNEVEN_MM * rim, 0, RIM_MM)
        inside = np.where(atlas.outside > 0, rim - np.minimum(atlas.outside, REACH_MM + RIM_MM), REACH_MM)
        return [fluid, white, np.rint(np.clip(inside, -REACH_MM, REACH_MM) * PER_MM).astype(np.int16)]


def warped_levels(atlas: SoftAtlas, levels: Sequence[np.ndarray], warp: Warp) -> tuple[Box, list[np.ndarray]]:
    """Levels on the atlas's box, deformed: the box of the grid that they lie on then, and each there.

    Args:
        atlas: on whose box they lie.
        levels: three (x, y, z) int16 of at most `REACH_MM`, by `PER_MM`.
        warp: the deformation.

    Returns:
        the box, and three int32 arrays: mm by `PER_MM` times `mixing.WHOLE`, linear between voxels.
    """
    packed = np.zeros(levels[0].shape, np.uint64)
    for k, level in enumerate(levels):
        packed |= (level + _MIDDLE).astype(np.uint64) << np.uint64(k * _BITS)
    packed, shape = packed.ravel(), levels[0].shape
    strides, box = (shape[1] * shape[2], shape[2], 1), warp.output_box(atlas.box, GRID)
    out = [np.empty([part.stop - part.start for part in box], np.int32) for _ in levels]
    for rows, places in warp.sources(box, [part.start for part in atlas.box]):
        # the last place is a part short of the last voxel, which has none behind it
        parts = [in_parts(place, size - 1 - 1 / PARTS) for place, size in zip(places, shape, strict=True)]
        index, weights = around(parts, strides)
        weights = [weight.astype(np.uint64) for weight in weights]
        total = weighted(lambda step, at=index: packed[step:].take(at), strides, weights)
        for k, part in enumerate(out):
            part[rows] = (total >> np.uint64(k * _BITS) & np.uint64((1 << _BITS) - 1)).astype(np.int32)
            part[rows] -= _MIDDLE * WHOLE
    return box, out


def _level_of(levels: np.ndarray, share: float) -> int:
    """The level that this share of them is above, at most `_MOST_MM` from 0."""
    most, place = round(_MOST_MM * PER_MM * WHOLE), round((1 - share) * len(levels))
    return int(np.clip(np.partition(levels, place)[place], -most, most))


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
    prior = shipped_prior()
    drawn: Draw = prior.draw(rng)
    lean = (drawn.tissue - prior.tissue_mean) / np.sqrt(np.square(prior.tissue_factors).sum(0))
    anatomy = Anatomy(
        affine=tuple(round(float(v), 3) for v in drawn.affine),
        shape=tuple(round(float(v), 3) for v in drawn.shape),
        rest=1.0,
        fine_mm=round(float(rng.uniform(0.6, 1.0)), 2),
        csf=round(float(drawn.tissue[0]), 3),
        white=round(float(drawn.tissue[1]), 3),
        csf_share=round(float(CSF_SHARE + PRESSED + CSF_SPREAD * lean[0]), 3),
        white_share=round(float(WHITE_SHARE + WHITE_SPREAD * lean[1]), 3),
        rim_mm=round(float(rng.uniform(-2.5, -0.5)), 2),
        uneven=round(float(rng.uniform(0.2, 0.6)), 2),
        folds=tuple(
            round(float(rng.uniform(*limits)), 2) for limits in ((22, 29), (0.65, 0.9), (0.1, 0.14), (2.8, 3.4))
        ),
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
        """`atlas-blood-` and ten digits."""
        return f"{_PREFIX}{self.number:010d}"

    def load(self) -> Layout:
        """The brain, healthy: its tumour map is empty."""
        tissue = _grown(self.number)[0]
        return Layout(tissue, np.zeros_like(tissue), np.array(AFFINE), self.id)

    def detail(self, tones: bool = True) -> Detail:
        """What is finer than its tissue map; no tones, as it has no tumour."""
        tissue, *levels = _grown(self.number)
        rng = np.random.default_rng(anatomy_seed(self.number, AnatomyBranch.DETAIL))
        _grown.cache_clear()  # what is asked for last
        return shipped_detail_prior().draw(tissue, np.array(AFFINE), rng, levels)


@lru_cache(1)  # 27 MB: the brain is asked for first, its detail when what became of it is to be written
def _grown(number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`Anatomy.grown` of a brain."""
    return draw_anatomy(np.random.default_rng(np.random.SeedSequence(number))).grown()


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
        if re.fullmatch(r"atlas-([a-z]+-)?\d{10}", source_id) and not source_id.startswith(_PREFIX):
            raise LayoutError(
                f"the atlas anatomy {source_id!r} was drawn by an earlier synth, whose brains were folded otherwise; "
                "install that version, or draw the set anew."
            )
        match = re.fullmatch(_PREFIX + r"(\d{10})", source_id)
        if not match or int(match[1]) >= self.count:
            raise LayoutError(f"the layout {source_id!r} is not an atlas anatomy; give the data it was made from.")
        return AtlasSource(int(match[1]))
