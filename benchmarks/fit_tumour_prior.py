"""Fit the tumour prior on real label maps and store its statistics.

Usage: python benchmarks/fit_tumour_prior.py DATA [--out synth/layout/priors/weights/tumour_prior.npz] [--modes 48]

DATA has labels/full, labels/brats20_128.npz, brats/train and brats/val (the development data). Maps of one patient in
several of them are used once; those of validation patients are left out (Dice above 0.95 on the coarse grid).
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from measure_real_maps import read
from scipy.ndimage import distance_transform_edt
from scipy.special import ndtri
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import KFold

from synth.brats import GRID, Tumour
from synth.layout.priors.tumour import REACH, SHIPPED, TumourPrior
from synth.layout.space import MIDLINE, ball_radius

COARSE = (128, 128, 128)
LATTICE = 24
QUANTILES = 41
COMPONENTS = 5  # of the mixture; the likelihood of left-out maps is highest there
RIDGE = 0.05  # added to each component's variances
ENHANCING_ML = 0.05  # less is an annotator's dot
REGIONS = ((Tumour.NCR, Tumour.ED, Tumour.ET), (Tumour.NCR, Tumour.ET), (Tumour.NCR,))


@dataclass
class RealMap:
    """One tumour: classes on a grid whose voxels have `zooms` mm, first voxel's centre at `origin` mm."""

    name: str
    labels: np.ndarray
    zooms: np.ndarray
    origin: np.ndarray

    @property
    def points(self) -> np.ndarray:
        """(n, 3) mm of the tumour's voxels, in BraTS voxel indices."""
        return np.argwhere(self.labels) * self.zooms + self.origin


def real_maps(data: Path) -> list[RealMap]:
    """All different tumours but the validation patients'."""
    packed = np.load(data / "labels" / "brats20_128.npz", allow_pickle=False)
    coarse = np.where(packed["labels"] == 4, np.uint8(Tumour.ET), packed["labels"])
    full = {path.name.split(".")[0]: path for path in sorted((data / "labels" / "full").glob("*.nii.gz"))}
    full |= {path.parent.name: path for path in sorted(data.glob("brats/train/*/*_seg.nii.gz"))}
    held_out = [read(path) for path in sorted(data.glob("brats/val/*/*_seg.nii.gz"))]
    one, zero = np.ones(3), np.zeros(3)
    maps = [RealMap(name, read(path), one, zero) for name, path in full.items()]
    zooms = np.array(GRID) / COARSE
    maps += [
        RealMap(str(name), labels, zooms, zooms / 2 - 0.5) for name, labels in zip(packed["ids"], coarse, strict=True)
    ]
    masks = [_shrunk(m.labels).ravel() for m in maps]
    taken = [_shrunk(labels).ravel() for labels in held_out]
    kept = []
    for m, mask in zip(maps, masks, strict=True):
        if not any(2 * np.count_nonzero(mask & other) > 0.95 * (mask.sum() + other.sum()) for other in taken):
            kept.append(m)
            taken.append(mask)
    print(f"{len(maps)} maps, {len(kept)} different ones without the validation patients'")
    return kept


def _shrunk(labels: np.ndarray) -> np.ndarray:
    if labels.shape == COARSE:
        return labels > 0
    picks = [np.minimum(((np.arange(c) + 0.5) * n / c).astype(int), n - 1) for n, c in zip(GRID, COARSE, strict=True)]
    return labels[np.ix_(*picks)] > 0


def describe(m: RealMap) -> np.ndarray:
    """Whole ml, core share, necrosis share, |x - midline|, y, z, enhancing ml."""
    counts = np.bincount(m.labels.ravel(), minlength=4)[1:] * np.prod(m.zooms) / 1000
    core = counts[0] + counts[2]
    x, y, z = m.points.mean(0)
    return np.array([counts.sum(), core / counts.sum(), counts[0] / max(core, 1e-6), abs(x - MIDLINE), y, z, counts[2]])


def distances(m: RealMap) -> np.ndarray:
    """(g, g, g, 3) signed distances in radii, at most 1, on the lattice around the centroid, tumour on the left."""
    centre = m.points.mean(0)
    radius = ball_radius(np.count_nonzero(m.labels) * np.prod(m.zooms))
    fine = 2 * LATTICE
    line = ((np.arange(fine) + 0.5) / fine * 2 - 1) * REACH
    side = np.array([1 if centre[0] > MIDLINE else -1, 1, 1])
    index = [
        np.clip(np.rint((centre[a] + side[a] * line * radius - m.origin[a]) / m.zooms[a]).astype(int), -1, n) + 1
        for a, n in enumerate(m.labels.shape)
    ]
    crop = np.pad(m.labels, 1)[np.ix_(*index)]
    out = [_signed(np.isin(crop, region)) * (2 * REACH / fine) for region in REGIONS]
    blocks = np.clip(np.stack(out, -1), -1, 1).reshape(LATTICE, 2, LATTICE, 2, LATTICE, 2, 3)
    return blocks.mean((1, 3, 5)).astype(np.float32)


def _signed(mask: np.ndarray) -> np.ndarray:
    if not mask.any():
        return np.full(mask.shape, np.inf)
    return distance_transform_edt(~mask) - distance_transform_edt(mask) + mask - 0.5


def fit(maps: list[RealMap], count: int) -> TumourPrior:
    """The prior of these maps with `count` principal directions."""
    facts = np.array([describe(m) for m in maps])
    values, plain = facts[:, :6], facts[:, 6] < ENHANCING_ML
    values[plain, 2] = 1
    ranks = values.argsort(0).argsort(0)
    scores = ndtri((ranks + 0.5) / len(values))
    scores[plain, 2] = 0
    mixture = GaussianMixture(COMPONENTS, reg_covar=RIDGE, n_init=8, random_state=0).fit(scores[~plain])
    spread = np.cov(scores[~plain].T)
    covariances = [*mixture.covariances_, 0.5 * np.cov(scores[plain].T) + 0.5 * spread]  # few: shrunk to the others'
    shapes = np.stack([distances(m) for m in maps]).reshape(len(maps), -1)
    mean = shapes.mean(0)
    values_, vectors = np.linalg.eigh((shapes - mean) @ (shapes - mean).T)
    top = slice(-1, -count - 1, -1)
    latents = vectors[:, top] * np.sqrt(len(maps))
    modes = latents.T @ (shapes - mean) / len(maps)
    print(f"{count} directions explain {values_[top].sum() / values_.sum():.3f} of the variance")
    regression = np.linalg.lstsq(scores, latents, rcond=None)[0]
    rest = latents - scores @ regression
    stretch = np.sqrt((rest**2).mean(1))
    lattice = (LATTICE,) * 3 + (3,)
    grid = np.linspace(0, 1, QUANTILES)
    tables = [_quantiles(values, grid), _quantiles(np.where(plain[:, None], values, np.nan), grid)]
    tables[1][[0, 3, 4, 5]] = tables[0][[0, 3, 4, 5]]  # too few for tails of their own: the scores' means shift them
    tables[1][1] = tables[0][1]
    return TumourPrior(
        quantiles=np.array(tables),
        weights=np.append(mixture.weights_ * (1 - plain.mean()), plain.mean()),
        means=np.array([*mixture.means_, scores[plain].mean(0)]),
        factors=np.array([np.linalg.cholesky(c + 1e-3 * np.eye(6)) for c in covariances]),
        regression=regression,
        residual=np.linalg.cholesky(np.cov((rest / stretch[:, None]).T) + 1e-4 * np.eye(count)),
        stretch=np.quantile(stretch, np.linspace(0.02, 0.98, 15)),
        mean=mean.reshape(lattice),
        modes=modes.reshape(count, *lattice),
    )


def _quantiles(values, grid) -> np.ndarray:
    """(variables, q); the outermost are means over the outer hundredth, so that no single map stands there."""
    inner = np.nanquantile(values, np.clip(grid, 0.01, 0.99), axis=0).T
    return np.array([_smooth(row) for row in inner])


def _smooth(row) -> np.ndarray:
    padded = np.concatenate([[2 * row[0] - row[1]], row, [2 * row[-1] - row[-2]]])
    out = (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4
    return np.clip(out, row.min(), row.max())


def residuals(maps: list[RealMap], counts=(12, 24, 48, 96)) -> None:
    """Print how much of left-out shapes the directions explain, and what remains near the outlines."""
    shapes = np.stack([distances(m) for m in maps]).reshape(len(maps), -1)
    for count in counts:
        explained, left = [], []
        for a, b in KFold(4, shuffle=True, random_state=0).split(shapes):
            mean = shapes[a].mean(0)
            vectors = np.linalg.svd(shapes[a] - mean, full_matrices=False)[2][:count]
            rest = shapes[b] - mean
            rest = rest - rest @ vectors.T @ vectors
            explained.append(1 - (rest**2).sum() / ((shapes[b] - mean) ** 2).sum())
            near = np.abs(shapes[b]) < 0.2
            field, near = (v.reshape(-1, LATTICE, LATTICE, LATTICE, 3) for v in (rest, near))
            row = []
            for c in range(3):
                power = (field[..., c] ** 2)[near[..., c]].mean()
                both = near[:, :-1, ..., c] & near[:, 1:, ..., c]
                row += [power**0.5, (field[:, :-1, ..., c] * field[:, 1:, ..., c])[both].mean() / power]
            left.append(row)
        print(count, f"left-out explained {np.mean(explained):.3f}; rms, neighbours' correlation of WT, TC, NCR:",
              np.mean(left, 0).round(3))  # fmt: skip


def main():
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=SHIPPED)
    parser.add_argument("--modes", type=int, default=48)
    parser.add_argument("--residuals", action="store_true", help="print what the directions leave out; write nothing")
    args = parser.parse_args()
    maps = real_maps(args.data)
    if args.residuals:
        return residuals(maps)
    fit(maps, args.modes).save(args.out)
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
