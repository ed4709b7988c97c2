"""Tissue from a scan: CSF, grey and white matter by a Gaussian mixture with an atlas prior and a bias field.

Expectation-maximisation over (t1, t2, flair), one Gaussian with full covariance per tissue, the blurred atlas as
spatial prior (Ashburner & Friston 2005, doi:10.1016/j.neuroimage.2005.02.018, without their registration), and a
smooth multiplicative field re-estimated between the steps (Van Leemput et al. 1999, doi:10.1109/42.811268).
Tumour voxels take no part; they are filled afterwards from the atlas and the healthy neighbourhood.
"""

from dataclasses import dataclass
from functools import reduce

import numpy as np
from scipy.ndimage import gaussian_filter

from synth.brats import MODALITIES, TISSUES
from synth.case import Case
from synth.errors import LayoutError
from synth.layout.atlas import atlas_probabilities
from synth.layout.layout import Layout, bounding_box
from synth.layout.space import MIDLINE
from synth.shading import fit_shading, grid_coordinates, shading_field, shading_terms

CHANNELS = tuple(MODALITIES.index(name) for name in ("t1", "t2", "flair"))
T1, T2, FLAIR = range(len(CHANNELS))  # positions in CHANNELS
FRACTIONS = ((0.13, 0.25), (0.38, 0.52), (0.29, 0.40))  # CSF, GM, WM of a skull-stripped adult brain, generously
MINIMUM_HEALTHY = 27_000  # voxels; fewer, and three tissues cannot be told apart


@dataclass(frozen=True)
class TissueConfig:
    """How tissue is found; defaults measured on the 12 training cases (docs/decisions.md)."""

    prior_sigma: float = 2.5  # mm: brains differ from the atlas by about this much
    prior_floor: float = 0.04  # a tissue the atlas does not expect can still win by its intensity
    outlier_fraction: float = 0.02  # vessels, dura, rim: voxels that are none of the three
    stride: int = 3  # EM runs on every third voxel along each axis: same fractions, 27 times faster
    iterations: int = 30
    smoothing: float = 0.5  # voxels; blurs log-likelihoods so that single noisy voxels follow their neighbours
    fill_sigma: float = 5.0  # mm: reach of the healthy neighbourhood into the tumour


def extract_layout(case: Case, config: TissueConfig | None = None) -> Layout:
    """Complete tissue map (also underneath the tumour) and tumour map of a case on the BraTS grid.

    Args:
        case: a scan on the BraTS grid; `labels` may be None (then no tumour is known).
        config: how; None for the defaults.

    Raises:
        LayoutError: wrong grid, or too few healthy voxels to learn three tissues from.
    """
    config = config or TissueConfig()
    brain_full = case.brain
    box = bounding_box(brain_full, 2)
    brain = brain_full[box]
    tumour = np.zeros(brain.shape, np.uint8) if case.labels is None else np.where(brain, case.labels[box], 0)
    images = np.stack([case.images[(*box, channel)] for channel in CHANNELS]).astype(np.float32)  # (channel, x, y, z)
    known = brain & (tumour == 0) & (images > 0).all(0)
    if np.count_nonzero(known) < MINIMUM_HEALTHY:
        raise LayoutError(
            f"{case.id}: only {np.count_nonzero(known)} voxels are healthy brain in t1, t2 and flair together; "
            f"at least {MINIMUM_HEALTHY} are needed to tell CSF, GM and WM apart. Exclude the case."
        )
    prior = _prior(case, box, config)
    mixture = _fit(images, prior, known, brain_full.shape, box, config)
    posterior = _posterior(images, prior, known, mixture, brain_full.shape, box, config)
    tissue = _complete(posterior, prior, known, brain, box, config)
    return Layout(_embed(tissue, box, brain_full.shape), _embed(tumour, box, brain_full.shape), case.affine, case.id)


def _embed(part: np.ndarray, box, shape) -> np.ndarray:
    full = np.zeros(shape, np.uint8)
    full[box] = part
    return full


def _prior(case: Case, box, config: TissueConfig) -> np.ndarray:
    """(3, x, y, z) float32 prior in the box, sums to 1 everywhere."""
    atlas = atlas_probabilities()
    if atlas.shape[:3] != case.images.shape[:3]:
        raise LayoutError(
            f"{case.id}: tissue is found on the BraTS grid {atlas.shape[:3]}; this scan is {case.images.shape[:3]}. "
            "Bring it to the BraTS grid first."
        )
    prior = np.stack([gaussian_filter(atlas[box][..., k], config.prior_sigma) for k in range(len(TISSUES))])
    total = _total(prior)
    inside, total = total > 0.02, np.maximum(total, 1e-6)
    rim = np.array([0.55, 0.4, 0.05], np.float32)  # brain beyond the atlas brain: sulcal CSF or cortex
    for part, beyond in zip(prior, rim, strict=True):
        part[:] = np.where(inside, part / total, beyond)
    prior *= 1 - len(TISSUES) * config.prior_floor
    prior += config.prior_floor
    return prior


@dataclass
class _Mixture:
    mean: np.ndarray  # (tissue, channel), in units of `scale`
    covariance: np.ndarray  # (tissue, channel, channel)
    bias: np.ndarray  # (tissue,): added to the log prior so that the fractions are a brain's
    outlier: float  # log density of everything that is none of the three, spread evenly
    scale: np.ndarray  # (channel,)
    shading: np.ndarray  # (channel, term)


def _fit(images, prior, known, shape, box, config: TissueConfig) -> _Mixture:
    step = (slice(None, None, config.stride),) * 3
    mask = known[step]
    values = _rows(images[(slice(None), *step)], mask)
    expected = _rows(prior[(slice(None), *step)], mask)
    axes = np.broadcast_arrays(*grid_coordinates(shape, box))
    terms = shading_terms(np.stack([axis[step][mask] for axis in axes], 1).astype(np.float64))
    scale = np.median(values, 0)
    values /= scale
    log_values, log_expected = np.log(np.maximum(values, 0.02)), np.log(expected).T
    low, high = np.percentile(values, [0.5, 99.5], axis=0)
    outlier = np.log(config.outlier_fraction) - np.log(np.maximum(high - low, 1e-3)).sum()
    corrected, shading = values, np.zeros((len(CHANNELS), terms.shape[1]))
    columns = np.ascontiguousarray(corrected.T)  # what is done voxel by voxel is done along rows of these
    bias = np.zeros(len(TISSUES))
    weight = _seeds(values, expected)
    log = np.full((len(TISSUES) + 1, len(values)), outlier)
    for iteration in range(config.iterations):
        mean = weight.T @ corrected / weight.sum(0)[:, None]
        covariance = np.stack([_covariance(corrected - mean[k], weight[:, k]) for k in range(len(TISSUES))])
        _keep_csf_fluid(mean)
        np.add(_log_likelihood(columns, mean, covariance), log_expected, out=log[: len(TISSUES)])
        log[: len(TISSUES)] += bias[:, None]
        weight = np.ascontiguousarray(_softmax(log)[: len(TISSUES)].T)
        fraction = weight.sum(0) / weight.sum()
        bias = np.clip(bias + 0.5 * np.log(np.clip(fraction, *np.transpose(FRACTIONS)) / fraction), -2, 2)
        if iteration % 5 == 4 and iteration < config.iterations - 5:
            # GM and WM only: CSF is dark in two of the channels, its logarithm mostly noise
            sure = (weight[:, 1:].max(1) > 0.8) & (np.abs(log_values) < 1.5).all(1)
            ratio = log_values[sure] - np.log(np.maximum(weight[sure] @ mean, 0.02))
            shading = fit_shading(ratio, terms[sure])
            corrected = values / np.exp(terms @ shading.T)
            columns = np.ascontiguousarray(corrected.T)
    return _Mixture(mean, covariance, bias, outlier, scale, shading)


def _rows(maps, mask) -> np.ndarray:
    """(n, maps) float64: what the maps hold where the mask is true."""
    return np.stack([part[mask] for part in maps], 1).astype(np.float64)


def _seeds(values, expected) -> np.ndarray:
    """First responsibilities: the atlas, with CSF only where t1 is low and t2 high as fluid has them."""
    weight = expected.copy()
    fluid = (values[:, T1] < np.percentile(values[:, T1], 35)) & (values[:, T2] > np.percentile(values[:, T2], 65))
    weight[~fluid, 0] *= 0.02
    weight[fluid, 0] *= 3
    return weight / weight.sum(1, keepdims=True)


def _keep_csf_fluid(mean) -> None:
    """Fluid is dark in t1 and bright in t2; without this the class drifts to the dark rim of some scans."""
    mean[0, T1] = min(mean[0, T1], 0.9 * mean[1, T1])
    mean[0, T2] = max(mean[0, T2], 1.25 * mean[1:, T2].max())


def _covariance(deviation, weight) -> np.ndarray:
    return (weight[:, None] * deviation).T @ deviation / weight.sum() + 1e-4 * np.eye(deviation.shape[1])


def _log_gauss(values, mean, covariance) -> np.ndarray:
    """Log density of a Gaussian at (channel, n) values, in their precision."""
    factor = np.linalg.cholesky(np.linalg.inv(covariance)).astype(values.dtype)
    whitened = factor.T @ (values - mean.astype(values.dtype)[:, None])
    constant = np.linalg.slogdet(covariance)[1] + len(mean) * np.log(2 * np.pi)
    return -0.5 * (_total(np.square(whitened, out=whitened)) + values.dtype.type(constant))


def _log_likelihood(values, mean, covariance) -> np.ndarray:
    """(3, n) log densities. One-sided for CSF: no voxel is too fluid to be fluid (the middle of a ventricle)."""
    fluid = np.stack(
        [
            np.maximum(values[T1], mean[0, T1]),
            np.minimum(values[T2], mean[0, T2]),
            np.maximum(values[FLAIR], mean[0, FLAIR]),
        ]
    ).astype(values.dtype)
    sides = (fluid, values, values)
    return np.stack([_log_gauss(sides[k], mean[k], covariance[k]) for k in range(len(TISSUES))])


def _softmax(log) -> np.ndarray:
    """Over the first axis, which is short."""
    out = np.exp(log - reduce(np.maximum, log))
    out /= _total(out)
    return out


def _total(parts) -> np.ndarray:
    """The sum over a short first axis."""
    return reduce(np.add, parts)


def _largest(parts) -> np.ndarray:
    """Which of three is largest, the first of equals: as `argmax(0)`, several times faster."""
    first, second, third = parts
    return np.where(third > np.maximum(first, second), 2, second > first).astype(np.uint8)


def _posterior(images, prior, known, mixture: _Mixture, shape, box, config: TissueConfig) -> np.ndarray:
    """(3, x, y, z) tissue probabilities; 0 where `known` is false, less than 1 in sum where no tissue fits."""
    values = np.stack(
        [
            ((part / scale) / shading_field(shading, shape, box))[known]
            for part, scale, shading in zip(images, mixture.scale.astype(np.float32), mixture.shading, strict=True)
        ]
    )
    weight = np.maximum(gaussian_filter(known.astype(np.float32), config.smoothing), 1e-3)[known]
    log = np.full((len(TISSUES) + 1, len(weight)), np.float32(mixture.outlier))
    # far outliers (vessels, haemorrhage) must not drag their neighbours along: the floor
    likelihood = np.maximum(_log_likelihood(values, mixture.mean, mixture.covariance), -25)
    volume = np.zeros(known.shape, np.float32)
    for k, part in enumerate(prior):
        volume[known] = likelihood[k]
        smooth = gaussian_filter(volume, config.smoothing)[known]
        log[k] = smooth / weight + np.log(part[known]) + np.float32(mixture.bias[k])
    out = np.zeros((len(TISSUES), *known.shape), np.float32)
    for part, probability in zip(out, _softmax(log)[: len(TISSUES)], strict=True):
        part[known] = probability
    return out


def _complete(posterior, prior, known, brain, box, config: TissueConfig) -> np.ndarray:
    """Tissue labels 1..3 everywhere in the brain.

    By the data where known; else from the other hemisphere's tissue at the mirrored place, the healthy neighbourhood
    and the atlas.
    """
    known = known & (_total(posterior) > 0.5)  # an outlier is filled like the tumour: from around it
    tissue = np.where(known, _largest(posterior) + np.uint8(1), np.uint8(0))
    gap = brain & ~known
    if gap.any():
        around = bounding_box(gap, int(3 * config.fill_sigma))
        inside = gap[around]
        near = np.stack([gaussian_filter(part[around], config.fill_sigma)[inside] for part in posterior])
        near /= np.maximum(_total(near), 1e-6)
        mirror = _mirrored(posterior, box)
        score = [part[gap] * (m[gap] + 0.3 * n + 0.05) for part, m, n in zip(prior, mirror, near, strict=True)]
        tissue[gap] = _largest(score) + np.uint8(1)
    return tissue


def _mirrored(posterior, box) -> np.ndarray:
    """The posterior of the mirrored place, 0 where that is outside the box or unknown."""
    out = np.zeros_like(posterior)
    source = 2 * MIDLINE - np.arange(box[0].start, box[0].stop)  # grid index on the other side
    inside = (source >= box[0].start) & (source < box[0].stop)
    out[:, inside] = posterior[:, (source[inside] - box[0].start).astype(int)]
    for part in out:
        gaussian_filter(part, 1.0, output=part)  # the hemispheres are not that equal
    return out
