"""Fit the prior of anatomies that ships with synth, on the training cases only.

python benchmarks/fit_anatomy_prior.py LAYOUTS   # a folder made by `synth layouts extract` from the training cases

Each case's tissue map is met by the atlas: first an affine, then a cubic B-spline displacement, by least squares on
blurred maps, with what lies in or near a tumour left out. What is kept is statistics: see `AnatomyPrior`.
"""

import argparse
from pathlib import Path

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter, map_coordinates
from scipy.optimize import minimize

from synth.brats import AFFINE, GRID, Tissue
from synth.datasets.layout_files import list_layouts, load_layout
from synth.layout.atlas import BIAS_STEP, SoftAtlas, soft_atlas
from synth.layout.priors.anatomy import CENTRE, LATTICE, SHIPPED, AnatomyPrior, mirrored_field
from synth.layout.space import spacing, ventricles
from synth.layout.warp import SplineField, Warp

STRIDE = 4  # voxels: blurred maps need no more
FACTORS = 5  # directions of deformation that are kept of 24 fields, mirror images included
START = (0.6, 0.0, 1.5)  # log weight of CSF and white matter, mm of rim: the atlas that is fitted first
STIFFNESS = 1e-7  # of the field
WEIGHTS = np.array([1.0, 0.7, 1.0, 1.0, 2.0])  # CSF, GM, WM, outside, ventricles
WHOLE = tuple(slice(0, n) for n in GRID)
COARSE = tuple(slice(1, n, STRIDE) for n in GRID)


def channels(tissue: np.ndarray, sigma: float) -> np.ndarray:
    """(5, x, y, z) float32 blurred indicators of CSF, GM, WM, outside and ventricles."""
    deep = ventricles(tissue, spacing(AFFINE), WHOLE)
    masks = [tissue == k for k in (Tissue.CSF, Tissue.GM, Tissue.WM, Tissue.OUTSIDE)] + [deep]
    return np.stack([gaussian_filter(m.astype(np.float32), sigma, truncate=3) for m in masks])


def with_slopes(maps: np.ndarray) -> np.ndarray:
    """(x, y, z, 20): the five maps and their derivatives along each axis."""
    slopes = [np.gradient(maps, axis=1 + axis) for axis in range(3)]
    return np.moveaxis(np.concatenate([maps, *slopes]), 0, -1).copy()


def trust(tumour: np.ndarray) -> np.ndarray:
    """Weight of each voxel: 0 in the tumour and 4 mm around it, rising to 1 at 24 mm, where its pressure is spent."""
    if not tumour.any():
        return np.ones(tumour.shape, np.float32)
    distance = distance_transform_edt(tumour == 0)
    return np.clip((distance - 4) / 20, 0, 1).astype(np.float32)


class Matching:
    """The least-squares problem of one case: atlas channels against the case's."""

    def __init__(self, atlas: np.ndarray, case: np.ndarray, weight: np.ndarray):
        """Sample the case on the coarse grid; keep the atlas with its slopes, a row of numbers for each voxel."""
        sure = weight[COARSE].ravel() > 0
        self.case = case[(slice(None), *COARSE)].reshape(5, -1)[:, sure].T
        self.weight = (weight[COARSE].ravel()[sure] / weight[COARSE].sum())[:, None] * WEIGHTS
        self.atlas = atlas
        self.lines = [np.arange(part.start, part.stop, STRIDE) for part in COARSE]
        self.points = np.stack(np.meshgrid(*self.lines, indexing="ij")).reshape(3, -1)[:, sure].astype(float)
        self.sure = sure
        empty = SplineField(LATTICE.origin, LATTICE.step, np.zeros((*LATTICE.shape, 3)))
        self.bases = [empty._basis(axis, line) for axis, line in enumerate(self.lines)]

    def moved(self, controls) -> np.ndarray:
        """(3, n) displacements of the coarse grid."""
        x, y, z = self.bases
        planes = np.tensordot(x, controls, (1, 0))  # (X, gy, gz, 3)
        lines = np.tensordot(y, planes, (1, 1))  # (Y, X, gz, 3)
        dense = np.tensordot(z, lines, (1, 2))  # (Z, Y, X, 3)
        return dense.transpose(3, 2, 1, 0).reshape(3, -1)[:, self.sure]

    def pulled(self, slope) -> np.ndarray:
        """The transpose of `moved`."""
        dense = np.zeros((3, len(self.sure)))
        dense[:, self.sure] = slope
        dense = dense.reshape(3, *map(len, self.lines))
        x, y, z = self.bases
        planes = np.tensordot(dense, x, (1, 0))  # (3, Y, Z, gx)
        lines = np.tensordot(planes, y, (1, 0))  # (3, Z, gx, gy)
        return np.tensordot(lines, z, (1, 0)).transpose(1, 2, 3, 0)

    def loss(self, source) -> tuple[float, np.ndarray]:
        """Mean squared difference where `source` (3, n) atlas positions are looked up, and its gradient there."""
        limit = np.array(GRID)[:, None] - 1
        nearest = np.clip(np.rint(source), 0, limit).astype(int)
        beyond = np.clip(source - nearest, -0.5, 0.5)
        rows = self.atlas[tuple(nearest)]  # (n, 20): the maps are so smooth that a plane through the voxel will do
        values, slopes = rows[:, :5], rows[:, 5:].reshape(-1, 3, 5)
        difference = values + np.einsum("an,nac->nc", beyond, slopes) - self.case
        scaled = difference * self.weight
        return float((scaled * difference).sum()), 2 * np.einsum("nc,nac->an", scaled, slopes)

    def fit_affine(self) -> tuple[np.ndarray, np.ndarray]:
        """Matrix and offset that take case voxels to atlas voxels."""
        local = self.points - CENTRE[:, None]

        def cost(theta):
            matrix, shift = theta[:9].reshape(3, 3) / 100, theta[9:, None]
            total, slope = self.loss(matrix @ local + local + shift + CENTRE[:, None])
            total += 2e-6 * float(theta @ theta)
            gradient = np.concatenate([(slope @ local.T).ravel() / 100, slope.sum(1)])
            return total * 100, (gradient + 4e-6 * theta) * 100

        theta = minimize(cost, np.zeros(12), jac=True, method="L-BFGS-B", options={"maxiter": 20}).x
        matrix = np.eye(3) + theta[:9].reshape(3, 3) / 100
        return matrix, theta[9:] + CENTRE - matrix @ CENTRE

    def fit_field(self, matrix, offset, stiffness: float = STIFFNESS) -> np.ndarray:
        """Controls of the displacement, in voxels, added to the case's voxels before the affine."""
        shape = (*LATTICE.shape, 3)

        def cost(flat):
            controls = flat.reshape(shape)
            total, slope = self.loss(matrix @ (self.points + self.moved(controls)) + offset[:, None])
            gradient = self.pulled(matrix.T @ slope)
            for axis in range(3):
                for order, factor in ((1, 0.25), (2, 1.0)):
                    bend = np.diff(controls, order, axis)
                    total += stiffness * factor * float((bend**2).sum())
                    gradient += 2 * stiffness * factor * _back(bend, order, axis)
            total += 0.02 * stiffness * float((controls**2).sum())
            gradient += 0.04 * stiffness * controls
            return total * 100, gradient.ravel() * 100

        found = minimize(cost, np.zeros(np.prod(shape)), jac=True, method="L-BFGS-B", options={"maxiter": 30})
        return found.x.reshape(shape)


def _back(bend: np.ndarray, order: int, axis: int) -> np.ndarray:
    """The transpose of `np.diff`."""
    for _ in range(order):
        width = [(1, 1) if a == axis else (0, 0) for a in range(bend.ndim)]
        bend = -np.diff(np.pad(bend, width), axis=axis)
    return bend


def full(labels: np.ndarray, atlas: SoftAtlas) -> np.ndarray:
    """The atlas's labels on the whole grid."""
    out = np.zeros(GRID, np.uint8)
    out[atlas.box] = labels
    return out


def fit_all(layouts, atlas: SoftAtlas, *, bend: bool) -> list[Warp]:
    """A warp for each case, from a template of the atlas: affine, and a field where `bend`."""
    template = full(labels_of(atlas, *START), atlas)
    wide, fine = (with_slopes(channels(template, sigma)) for sigma in (4.0, 2.0))
    warps = []
    for layout in layouts:
        weight = trust(layout.tumour)
        matrix, offset = Matching(wide, channels(layout.tissue, 4.0), weight).fit_affine()
        fields = ()
        if bend:
            controls = Matching(fine, channels(layout.tissue, 2.0), weight).fit_field(matrix, offset)
            fields = (SplineField(LATTICE.origin, LATTICE.step, controls),)
        warps.append(Warp(matrix, offset, fields))
        dice = overlap(template, layout, warps[-1], weight)
        print(f"{layout.id}: smallest Jacobian {warps[-1].min_jacobian():.2f}, CSF GM WM Dice {dice}", flush=True)
    return warps


def overlap(template, layout, warp: Warp, weight) -> np.ndarray:
    """Dice of each tissue where the case is trusted."""
    moved = warp.gather(template, (0, 0, 0), WHOLE)
    sure = weight > 0.5
    pairs = [(moved[sure] == k, layout.tissue[sure] == k) for k in (1, 2, 3)]
    return np.array([2 * np.count_nonzero(a & b) / (a.sum() + b.sum()) for a, b in pairs]).round(3)


def mean_shares(layouts, warps, atlas: SoftAtlas, sigma: float) -> np.ndarray:
    """(3, n) mean CSF, GM, WM of the cases and their mirror images in atlas space, blurred, every `BIAS_STEP`."""
    points = np.stack(np.meshgrid(*bias_lines(atlas), indexing="ij"), -1).reshape(-1, 3)
    flip = np.array([-1.0, 1.0, 1.0])
    total, weights = np.zeros((3, len(points))), np.zeros(len(points))
    for layout, warp in zip(layouts, warps, strict=True):
        parts = channels(layout.tissue, sigma)[:3]
        weight = trust(layout.tumour)
        for here in (points, (points - CENTRE) * flip + CENTRE):
            there = warp.forward(here).T
            w = map_coordinates(weight, there, order=1, mode="nearest")
            weights += w
            total += w * np.stack([map_coordinates(part, there, order=1, mode="nearest") for part in parts])
    return total / np.maximum(weights, 1e-6)


def bias_lines(atlas: SoftAtlas) -> list[np.ndarray]:
    """Where along each axis of the grid the corrections are sampled."""
    return [np.arange(part.start, part.stop + BIAS_STEP - 1, BIAS_STEP) for part in atlas.box]


def fit_bias(layouts, warps, atlas: SoftAtlas, sigma: float = 5.0) -> np.ndarray:
    """(2, a, b, c) corrections that give the atlas the cases' mean shares of tissue in every neighbourhood."""
    lines = bias_lines(atlas)
    size = [len(line) for line in lines]
    real = [np.maximum(part, 0.02).reshape(size) for part in mean_shares(layouts, warps, atlas, sigma)]
    bias = np.zeros((2, *size))
    for _ in range(5):
        ours = channels(full(labels_of(atlas.biased(bias), *START), atlas), sigma)[:3]
        ours = [np.maximum(part[np.ix_(*lines)], 0.02) for part in ours]
        wanted = (
            np.log(real[0] / (real[1] + real[2])) - np.log(ours[0] / (ours[1] + ours[2])),
            np.log(real[2] / real[1]) - np.log(ours[2] / ours[1]),
        )
        for part, add in zip(bias, wanted, strict=True):
            part += 0.7 * gaussian_filter(np.clip(add, -2, 2), 0.7)
    return np.clip(bias, -1.5, 1.5)  # twice at most: the atlas stays an atlas


def labels_of(atlas: SoftAtlas, csf: float, white: float, rim: float) -> np.ndarray:
    """Tissue map on the atlas's box, nowhere folded: log weights of CSF and of white matter, mm of rim."""
    out = np.where(atlas.white > -white, np.uint8(Tissue.WM), np.uint8(Tissue.GM))
    out[atlas.csf > -csf] = Tissue.CSF
    out[atlas.outside > 0] = Tissue.CSF
    out[atlas.outside > rim] = Tissue.OUTSIDE
    return out


def fit_weights(layout, warp: Warp, atlas: SoftAtlas) -> tuple[float, float]:
    """Log weights of CSF and WM with which the bent atlas has this case's shares of tissue."""
    wanted = shares(layout.tissue)
    csf, white = START[0], START[1]
    for _ in range(8):
        found = shares(warp.gather(full(labels_of(atlas, csf, white, START[2]), atlas), (0, 0, 0), WHOLE))
        csf += 2.5 * np.log(wanted[0] / found[0])
        white += 1.5 * np.log(wanted[2] * found[1] / (wanted[1] * found[2]))
    return float(csf), float(white)


def shares(tissue: np.ndarray) -> np.ndarray:
    """CSF, GM, WM of the brain."""
    count = np.bincount(tissue.ravel(), minlength=4)[1:]
    return count / count.sum()


def directions(samples: np.ndarray, count: int) -> np.ndarray:
    """The leading principal directions of (n, d) centred samples, each times its standard deviation."""
    _, spread, axes = np.linalg.svd(samples, full_matrices=False)
    return spread[:count, None] / np.sqrt(len(samples) - 1) * axes[:count]


def statistics(warps, weights, bias) -> AnatomyPrior:
    """What is kept of all the cases and their mirror images."""
    affines, controls = [], []
    sign = np.concatenate([np.outer([-1, 1, 1], [-1, 1, 1]).ravel(), [-1, 1, 1]])
    for warp in warps:
        shift = warp.offset - CENTRE + warp.matrix @ CENTRE
        affine = np.concatenate([(warp.matrix - np.eye(3)).ravel() * 100, shift])
        affines += [affine, affine * sign]
        controls += [warp.fields[0].controls, mirrored_field(warp.fields[0].controls)]
    affines, controls = np.array(affines), np.array(controls)
    mean = controls.mean(0)
    centred = (controls - mean).reshape(len(controls), -1)
    # 24 samples of 12 brains: the spread of the 12
    grown = np.sqrt((len(controls) - 1) / len(controls) * len(warps) / (len(warps) - 1))
    factors = directions(centred, FACTORS) * grown
    left = centred - centred @ np.linalg.pinv(factors) @ factors
    rest = np.sqrt((left.reshape(controls.shape) ** 2).mean((0, 1, 2, 3)))
    total = (centred**2).sum()
    print(f"{FACTORS} directions explain {1 - (left**2).sum() / total:.2f} of the fields' variance; rest {rest}")
    return AnatomyPrior(
        affine_mean=affines.mean(0),
        affine_factors=directions(affines - affines.mean(0), 8) * grown,
        mean=mean,
        factors=factors.reshape(FACTORS, *mean.shape),
        rest=rest,
        tissue_mean=weights.mean(0),
        tissue_factors=directions(weights - weights.mean(0), 2),
        bias=bias,
    )


def nearness(prior: AnatomyPrior, warps, count: int = 200) -> None:
    """Print how far drawn fields lie from the nearest real one, beside how far real ones lie from each other."""
    real = np.array([warp.fields[0].controls for warp in warps])
    real = np.concatenate([real, [mirrored_field(one) for one in real]])
    rng = np.random.default_rng(0)
    drawn, plain = [], []
    for _ in range(count):
        shape = prior.draw(rng).shape
        drawn.append(prior.controls(shape, rng.standard_normal((*LATTICE.shape, 3))))
        plain.append(prior.controls(shape, np.zeros((*LATTICE.shape, 3))))

    def nearest(group, others):
        return np.array([np.sqrt(((others - one) ** 2).sum(-1).mean((1, 2, 3))).min() for one in group])

    between = [nearest(real[i : i + 1], np.delete(real, i, 0))[0] for i in range(len(real))]
    span = prior.factors.reshape(len(prior.factors), -1)
    left = (real - prior.mean).reshape(len(real), -1)
    left = left - left @ np.linalg.pinv(span) @ span
    for name, values in (
        ("real to nearest real", between),
        ("drawn to nearest real", nearest(drawn, real)),
        ("drawn without the rest to nearest real", nearest(plain, real)),
        ("real to its best copy by the kept directions", np.sqrt((left**2).sum(-1) / left.shape[1] * 3)),
    ):
        print(f"{name}: median {np.median(values):.2f} mm, smallest {np.min(values):.2f} mm")


def main(folder: Path, out: Path) -> None:
    """Fit, write, and say what was found."""
    layouts = [load_layout(path) for path in list_layouts(folder)]
    atlas = soft_atlas()
    bias = fit_bias(layouts, fit_all(layouts, atlas, bend=False), atlas)
    atlas = atlas.biased(bias)
    warps = fit_all(layouts, atlas, bend=True)
    bias = bias + fit_bias(layouts, warps, atlas)
    atlas = soft_atlas().biased(bias)
    weights = np.array([fit_weights(*pair, atlas) for pair in zip(layouts, warps, strict=True)])
    print("log weights of CSF and WM\n", weights.round(2))
    prior = statistics(warps, weights, bias)
    nearness(prior, warps)
    prior.save(out)
    print(f"{out}: {out.stat().st_size / 1024:.0f} kB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("layouts", type=Path)
    parser.add_argument("--out", type=Path, default=SHIPPED)
    options = parser.parse_args()
    main(options.layouts, options.out)
