"""The tumour prior: what real glioma label maps are like, as statistics from which no map can be read back.

Three parts, fitted on 451 different ground-truth maps by `benchmarks/fit_tumour_prior.py`:

- composition and place: volume of the whole tumour, core share, necrosis share, distance of the centroid from the
  midline, its position front to back and bottom to top. Each has its own distribution (quantiles); how they hang
  together is a mixture of Gaussians on their normal scores (a Gaussian-mixture copula), with one component for
  tumours without enhancement.
- shape: signed distances of the nested regions WT, TC and NCR on a coarse lattice, centred, scaled by the radius of a
  ball of the same volume and brought to one side of the head: mean and principal directions (Leventon et al. 2000,
  doi:10.1109/CVPR.2000.855835; Tsai et al. 2003, doi:10.1109/TMI.2002.808355), given composition and place by linear
  regression.
- scale: how far from the mean shape a tumour is as a whole; real ones have heavier tails than a Gaussian.

What the principal directions leave out is added as random fields when the shape is made (`shapes`).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from scipy.special import ndtr

from synth.brats import GRID
from synth.errors import LayoutError
from synth.layout.priors.stored import load_arrays, save_arrays
from synth.layout.space import MIDLINE

SHIPPED = Path(__file__).parent / "weights" / "tumour_prior.npz"
VARIABLES = ("whole_ml", "core_share", "necrosis_share", "lateral", "y", "z")
REACH = 2.4  # radii from the centroid to the lattice's faces
_CUT = 2.6  # normal scores beyond are not drawn: one in a hundred and a tenth is cut
_LATENT_CUT = 3.0
_TRIES = 4000


@dataclass(frozen=True)
class TumourDraw:
    """One draw from the prior, before it meets a brain.

    Attributes:
        whole_ml: volume of the whole tumour.
        core_share: of it, NCR and ET; 0..1.
        necrosis_share: of the core, NCR; 0..1; 1 where nothing enhances.
        centre: (3,) voxel index of the centroid on the BraTS grid.
        latents: (k,) coordinates along the principal directions, in standard deviations.
    """

    whole_ml: float
    core_share: float
    necrosis_share: float
    centre: tuple[float, float, float]
    latents: tuple[float, ...]

    @property
    def enhancing(self) -> bool:
        """Whether there is enhancing tumour."""
        return self.necrosis_share < 1


@dataclass(frozen=True)
class TumourPrior:
    """The fitted statistics; arrays as `benchmarks/fit_tumour_prior.py` stores them.

    Attributes:
        quantiles: (2, 6, q) values of `VARIABLES` at q equally spaced probabilities; tumours with enhancement, without.
        weights: (c,) of the mixture; the last component is that of tumours without enhancement.
        means: (c, 6) of normal scores.
        factors: (c, 6, 6) Cholesky factors of the covariances.
        regression: (6, k) from normal scores to latents.
        residual: (k, k) Cholesky factor of the latents' covariance given the scores.
        stretch: (q,) quantiles of a tumour's common factor on its latents.
        mean: (g, g, g, 3) signed distances of WT, TC, NCR in radii, of a tumour on the patient's left.
        modes: (k, g, g, g, 3) principal directions, each times its standard deviation.
    """

    quantiles: np.ndarray
    weights: np.ndarray
    means: np.ndarray
    factors: np.ndarray
    regression: np.ndarray
    residual: np.ndarray
    stretch: np.ndarray
    mean: np.ndarray
    modes: np.ndarray

    def draw(self, rng: np.random.Generator, accept: Callable[[TumourDraw], bool] | None = None) -> TumourDraw:
        """A new tumour.

        Args:
            rng: where the numbers come from.
            accept: draws of composition and place are repeated until it says yes (their latents are still empty).

        Raises:
            LayoutError: it never did.
        """
        below = np.cumsum(self.weights) / self.weights.sum()
        for _ in range(_TRIES if accept else 1):
            component = int(below.searchsorted(rng.random(), side="right"))  # what `rng.choice` does, ten times as fast
            scores = self.means[component] + self.factors[component] @ rng.standard_normal(len(VARIABLES))
            scores = np.clip(scores, -_CUT, _CUT)
            drawn = self._values(scores, component == len(self.weights) - 1, rng)
            if accept is None or accept(drawn):
                return replace(drawn, latents=self._latents(scores, rng))
        raise LayoutError(f"no tumour of {_TRIES} drawn ones was as wished for; ask for something less rare.")

    def levels(self, latents) -> np.ndarray:
        """(g, g, g, 3) signed distances in radii of the regions WT, TC and NCR; negative inside.

        Raises:
            LayoutError: there are more latents than principal directions.
        """
        latents = np.asarray(latents, float)
        if len(latents) > len(self.modes):
            raise LayoutError(f"a tumour shape has at most {len(self.modes)} latents, found {len(latents)}.")
        out = self.mean.astype(float)
        for value, mode in zip(latents, self.modes, strict=False):
            out += value * mode
        return out

    def save(self, path: str | Path) -> None:
        """Write a compressed `.npz`; shapes in float16, the rest in float32."""
        save_arrays(path, self, np.float32, mean=np.float16, modes=np.float16)

    @classmethod
    def load(cls, path: str | Path) -> "TumourPrior":
        """Read what `save` wrote.

        Raises:
            LayoutError: the file is damaged or another one.
        """
        arrays = load_arrays(path, cls, "tumour prior")
        arrays["weights"] /= arrays["weights"].sum()
        return cls(**{**arrays, "modes": arrays["modes"].astype(np.float32)})

    def _values(self, scores, plain: bool, rng) -> TumourDraw:
        table = self.quantiles[int(plain)]
        whole, core, necrosis, lateral, y, z = (
            float(np.interp(u, self._levels, row)) for u, row in zip(ndtr(scores), table, strict=True)
        )
        side = 1 if rng.random() < 0.5 else -1
        return TumourDraw(
            whole_ml=round(whole, 2),
            core_share=round(core, 4),
            necrosis_share=1.0 if plain else round(min(necrosis, 0.995), 4),
            centre=(round(MIDLINE + side * lateral, 1), round(y, 1), round(z, 1)),
            latents=(),
        )

    @cached_property
    def _levels(self) -> np.ndarray:
        """The probabilities at which `quantiles` are told."""
        return np.linspace(0, 1, self.quantiles.shape[-1])

    def _latents(self, scores, rng) -> tuple[float, ...]:
        spread = self.residual @ rng.standard_normal(len(self.residual))
        stretch = np.interp(rng.random(), np.linspace(0, 1, len(self.stretch)), self.stretch)
        latents = scores @ self.regression + stretch * spread
        return tuple(round(float(v), 2) for v in np.clip(latents, -_LATENT_CUT, _LATENT_CUT))


@cache
def shipped_prior() -> TumourPrior:
    """The prior that comes with the package."""
    return TumourPrior.load(SHIPPED)


def on_grid(centre, shape) -> np.ndarray:
    """A place on the BraTS grid, as a voxel of a grid of `shape` that shows the same head."""
    return np.asarray(centre, float) * (np.array(shape) / GRID)
