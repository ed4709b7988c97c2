"""The ICBM152 2009 atlas that nilearn carries, brought to the BraTS grid by one fixed affine."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import nibabel as nib
import nilearn
import numpy as np
from scipy.ndimage import affine_transform, binary_opening, gaussian_filter, map_coordinates

from synth.brats import AFFINE, GRID, TISSUES, Tissue
from synth.layout.priors.stored import in_bytes, of_bytes, shipped_arrays
from synth.layout.space import Box, box_of, near, spacing, ventricles, widened

SHIPPED = Path(__file__).parent / "weights" / "atlas.npz"
_RATIO = 256  # parts that a log ratio is counted in
_FAR = 255  # stored for an infinite distance
RIM_MM = 3.5  # CSF is added around the atlas's brain, which is stripped closer than scans are, up to this
BIAS_STEP = 6  # voxels between the samples of a correction of the atlas
LINING_MM = 6.0  # around the ventricles no cortex folds
WALL_SLOPE = 0.7  # log ratio per mm outside the ventricles

# BraTS voxel -> ICBM152 voxel. Found once by `benchmarks/fit_atlas_affine.py` (affine, correlation of tissue maps
# smoothed by 1 mm) against the SRI24 tissue map that BraTS is registered to: Dice 0.96 brain, 0.75 GM, 0.79 WM.
BRATS_TO_ICBM = np.array(
    [
        [-1.09266279e00, -8.57987228e-03, 6.31540210e-03, 2.28582269e02],
        [-1.25615775e-02, -1.02927832e00, 2.21929283e-01, 2.36658374e02],
        [-5.83371938e-03, 2.32738124e-01, 1.16209103e00, -3.72319427e01],
        [0.0, 0.0, 0.0, 1.0],
    ]
)


@cache
def atlas_probabilities(step: int = 1) -> np.ndarray:
    """CSF, GM and WM probabilities at every `step`-th voxel of the BraTS grid: (x, y, z, 3) float32, 0..1, read-only.

    Outside the atlas brain all three are 0; inside they sum to about 1. CSF is what grey and white matter
    leave of the brain. Kept for the next call: 107 MB at every voxel. Source: ICBM152 2009 nonlinear symmetric (Fonov
    et al. 2011, doi:10.1016/j.neuroimage.2010.07.033), from nilearn's wheel: no download.
    """
    return _probabilities(step)


def _probabilities(step: int = 1) -> np.ndarray:
    folder = Path(nilearn.__file__).parent / "datasets" / "data"
    maps = [_load(folder / f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz") for name in ("t1", "gm", "wm")]
    t1, gm, wm = maps
    csf = np.clip((t1 > 0) - gm / 255 - wm / 255, 0, 1)
    shape, matrix = tuple(-(-n // step) for n in GRID), BRATS_TO_ICBM @ np.diag([step, step, step, 1.0])
    end = _end((t1 > 0) | (gm > 0) | (wm > 0), matrix, shape)
    out = np.zeros((*shape, len(TISSUES)), np.float32)
    for index, source in enumerate((csf, gm / 255, wm / 255)):
        part = out[: end[0], : end[1], : end[2], index]
        affine_transform(source, matrix, output=part, output_shape=end, order=1)
    out.flags.writeable = False
    return out


def _end(mask: np.ndarray, matrix: np.ndarray, shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """One past the last voxel of a grid that `matrix` takes to where `mask`, interpolated, is not 0.

    What is cut off is cut at the ends alone: places are told from the first voxel, to the bit as without the cut.
    """
    x, y = np.nonzero(mask.any(-1))
    lines = mask[x, y]
    first, last = lines.argmax(-1), lines.shape[-1] - 1 - lines[:, ::-1].argmax(-1)
    ends = np.concatenate([np.stack([x, y, z], 1) for z in (first, last)])  # of lines along z: the furthest is there
    inverse = np.linalg.inv(matrix)
    reach = np.abs(inverse[:3, :3]).sum(1)  # of a neighbour, with which it is interpolated
    furthest = np.floor((ends @ inverse[:3, :3].T).max(0) + inverse[:3, 3] + reach)
    return tuple(int(min(n + 1, size)) for n, size in zip(furthest, shape, strict=True))


def _load(path: Path) -> np.ndarray:
    """In C order: from Fortran's, as files have it, the way to another grid takes three times as long."""
    return np.asanyarray(nib.load(path).dataobj).astype(np.float32, order="C")


@dataclass(frozen=True)
class SoftAtlas:
    """The atlas on the BraTS grid, cut to its brain, as log ratios that one comparison turns into tissue.

    Attributes:
        box: where in the grid the arrays lie.
        csf: log of CSF over the greater of grey and white matter.
        white: log of white over grey matter.
        outside: mm from the brain, up to `RIM_MM`, then infinity.
        inner: mm from the ventricles, up to 8, then infinity.
    """

    box: Box
    csf: np.ndarray
    white: np.ndarray
    outside: np.ndarray
    inner: np.ndarray

    @property
    def half_shape(self) -> tuple[int, int, int]:
        """Of the grid with every second voxel of the box."""
        return tuple(-(-n // 2) for n in self.csf.shape)

    def biased(self, bias: np.ndarray) -> "SoftAtlas":
        """This atlas with (2, a, b, c) corrections, every `BIAS_STEP` voxels, added to `csf` and `white`."""
        csf, white = (_rounded(part, self.csf.shape) for part in bias)
        return SoftAtlas(self.box, self.csf + csf, self.white + white, self.outside, self.inner)

    def save(self, path: str | Path) -> None:
        """Write it as `soft_atlas` reads it; without loss where ratios are whole 256ths and voxels 1 mm."""
        ratios = np.rint(np.stack([self.csf, self.white]) * _RATIO).astype(np.int16)
        distances = np.stack([self.outside, self.inner])
        squares = np.where(np.isinf(distances), _FAR, np.rint(np.square(distances, dtype=float))).astype(np.uint8)
        box = [(part.start, part.stop) for part in self.box]
        np.savez_compressed(path, box=box, **in_bytes(ratios), mm2=squares)


def _rounded(coarse: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Values at every `BIAS_STEP`-th voxel, linear between them, as whole parts of a log ratio: (x, y, z) float32.

    Thresholds must not hang on the last bit of an interpolation. An axis at a time is a tenth of the time of
    `map_coordinates`, which is asked where the last bit would say to which part a value is rounded.
    """
    lines = [np.arange(n) / BIAS_STEP for n in shape]
    values = _between(_between(coarse * float(_RATIO), lines[2], 2), lines[1], 1)
    out = np.empty(shape, np.float32)
    for x, plane in enumerate(out):
        exact = _between(values, lines[0][x : x + 1], 0)[0]
        np.rint(exact, out=plane, casting="same_kind")
        even = np.nonzero(np.abs(np.abs(exact - plane) - 0.5) < 1e-6)
        if even[0].size:
            points = [np.full(even[0].size, lines[0][x]), lines[1][even[0]], lines[2][even[1]]]
            plane[even] = np.rint(map_coordinates(coarse, points, order=1, mode="nearest") * _RATIO)
    return out / np.float32(_RATIO)


def _between(values: np.ndarray, places: np.ndarray, axis: int) -> np.ndarray:
    """Linear between values along an axis, the last ones beyond them."""
    places = np.minimum(places, values.shape[axis] - 1)
    low = np.minimum(places.astype(int), values.shape[axis] - 2)
    share = np.expand_dims(places - low, [k for k in range(values.ndim) if k != axis])
    return values.take(low, axis) * (1 - share) + values.take(low + 1, axis) * share


@cache
def soft_atlas() -> SoftAtlas:
    """The atlas as it is shipped, `made_atlas` stored by `benchmarks/store_atlas.py`; read once per process.

    Raises:
        LayoutError: the file is missing or damaged.
    """
    with shipped_arrays(SHIPPED, "the atlas") as stored:
        box = tuple(slice(int(start), int(stop)) for start, stop in stored["box"])
        csf, white = of_bytes(stored).astype(np.float32) / np.float32(_RATIO)
        known = np.sqrt(np.arange(_FAR + 1, dtype=float)).astype(np.float32)
        known[_FAR] = np.inf
        return SoftAtlas(box, csf, white, *known[stored["mm2"]])


def made_atlas() -> SoftAtlas:
    """The atlas, from nilearn's maps: two seconds."""
    probabilities = _probabilities()
    brain = gaussian_filter(probabilities.sum(-1), 1.2) > 0.5  # the atlas's own edge is frayed at the base
    box = widened(box_of(brain), RIM_MM + 1, spacing(AFFINE), brain.shape)
    csf, grey, white = (probabilities[box][..., k] for k in range(len(TISSUES)))
    small = np.float32(1 / 512)
    ratios = (csf + small) / (np.maximum(grey, white) + small), (white + small) / (grey + small)
    soft, pale = (np.rint(np.log(ratio) * _RATIO).astype(np.float32) / _RATIO for ratio in ratios)
    soft[csf + grey + white < 0.5] = 1.0
    brain = brain[box]
    fluid = _distance_to_ventricles(brain, soft, pale, box)
    pale[_lining(brain, soft, pale) & (fluid <= LINING_MM)] = 2.0
    # near ventricles the ratio falls by distance, not as steeply as the atlas's: a weight moves their walls evenly
    soft = np.maximum(soft, np.rint((0.3 - WALL_SLOPE * fluid) * _RATIO) / _RATIO).astype(np.float32)
    outside = near(brain, RIM_MM, spacing(AFFINE))
    return SoftAtlas(box, soft, pale, outside, fluid)


def _distance_to_ventricles(brain, csf, white, box: Box) -> np.ndarray:
    """Mm, infinite beyond 8 mm."""
    tissue = np.zeros(GRID, np.uint8)
    tissue[box] = np.where(csf > -0.5, Tissue.CSF, np.where(white > 0, Tissue.WM, Tissue.GM)) * brain
    return near(ventricles(tissue, spacing(AFFINE), box), 8.0, spacing(AFFINE))


def _lining(brain, csf, white) -> np.ndarray:
    """Thin grey matter: along ventricles it is CSF and white matter averaged, as bright as grey in T1."""
    grey = brain & (csf <= 0) & (white < 0)
    ball = np.sum(np.square(np.indices((5, 5, 5)) - 2), 0) <= 5
    return grey & ~binary_opening(grey, ball)
