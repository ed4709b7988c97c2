"""Similarity of a painted scan to the real one, and texture: the numbers that training and reports share."""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.ndimage import binary_erosion, gaussian_filter, uniform_filter

from synth.brats import Tissue
from synth.errors import SynthError
from synth.style.scale import own_window
from synth.style.style import local_std

SSIM_WINDOW = 7
MS_WINDOW = 11  # voxels of the Gaussian window of MS-SSIM
MS_SIGMA = 1.5  # voxels
MS_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the scales, finest first: Wang et al. 2003
NMI_BINS = 100  # of either image
FLAT = 1e-3  # normalised units of texture; the 28 real cases have 0.005 and more, float32 leaves 0.0003 of nothing


def ssim_map(real: np.ndarray, other: np.ndarray, data_range: float = 1.0) -> np.ndarray:
    """Local structural similarity of two volumes, same shape as they, -1..1.

    Uniform 7x7x7 windows, sample covariance, K1 = 0.01, K2 = 0.03 (Wang et al. 2004,
    doi:10.1109/TIP.2003.819861): equal to `skimage.metrics.structural_similarity(..., full=True)`.
    """
    n = SSIM_WINDOW**real.ndim
    luminance, contrast = _ssim_parts(
        real.astype(np.float64),
        other.astype(np.float64),
        lambda image: uniform_filter(image, SSIM_WINDOW),
        data_range,
        n / (n - 1),
    )
    luminance *= contrast
    return luminance


def ms_ssim(
    real: np.ndarray,
    other: np.ndarray,
    mask: np.ndarray | None = None,
    data_range: float = 1.0,
    scales: int | None = None,
) -> float:
    """Multi-scale structural similarity of two images or volumes, 0..1; NaN where the mask is empty.

    Wang, Simoncelli and Bovik 2003 (doi:10.1109/ACSSC.2003.1292216): the contrast-structure term at every scale and
    luminance at the coarsest, each averaged over the image, negative averages set to 0, raised to `MS_WEIGHTS` and
    multiplied. Gaussian windows of 11 voxels, sigma 1.5, population covariance, K1 = 0.01, K2 = 0.03; from scale to
    scale means over blocks of 2 voxels along every axis, an odd last plane repeated. In 2D and without a mask equal
    to `tf.image.ssim_multiscale`.

    With a mask, a term is averaged with weights: the share of each block of voxels that lies in the mask, blocks as
    above; windows at the volume's edge see it mirrored. So what lies around the mask counts as far as windows reach,
    which is further at coarser scales. Without a mask, all windows that lie wholly inside the volume count alike.

    Args:
        real: (X, Y) or (X, Y, Z), any numeric type; at least 11 voxels along each axis.
        other: same shape.
        mask: same shape, bool; None for all.
        data_range: from black to white.
        scales: 1..5; by default as many as leave 11 voxels along every axis (`ms_scales`). With fewer than five, the
            weights of the finest ones are divided by their sum.

    Raises:
        SynthError: shapes differ, or the volume is too small for so many scales.

    Example:
        >>> ramp = np.arange(27000.0).reshape(30, 30, 30) / 27000
        >>> ms_ssim(ramp, ramp)
        1.0
    """
    return ms_ssim_in(real, other, [mask], data_range, scales)[0]


def ms_ssim_in(
    real: np.ndarray,
    other: np.ndarray,
    masks: Sequence[np.ndarray | None],
    data_range: float = 1.0,
    scales: int | None = None,
) -> list[float]:
    """`ms_ssim` in each of several masks; the volumes are filtered only once."""
    weights = _scale_weights(real, other, masks, scales)
    x, y = real.astype(np.float64), other.astype(np.float64)
    parts = [None if mask is None else mask.astype(np.float64) for mask in masks]
    product, last = np.ones(len(masks)), len(weights) - 1
    for scale, weight in enumerate(weights):
        if scale:
            x, y = _halved(x), _halved(y)
            parts = [None if part is None else _halved(part) for part in parts]
        luminance, term = _ssim_parts(x, y, _gaussian, data_range, 1.0)
        if scale == last:
            term *= luminance
        product *= [max(_weighted_mean(term, part), 0.0) ** weight for part in parts]
    return [float("nan") if m is not None and not m.any() else float(v) for m, v in zip(masks, product, strict=True)]


def ms_scales(shape: tuple[int, ...]) -> int:
    """How many scales of MS-SSIM a volume of this shape has room for, 0..5: 11 voxels along every axis at each."""
    side, scales = min(shape), 0
    while side >= MS_WINDOW and scales < len(MS_WEIGHTS):
        side, scales = -(-side // 2), scales + 1
    return scales


def psnr(real: np.ndarray, other: np.ndarray, mask: np.ndarray, data_range: float = 1.0) -> float:
    """Peak signal-to-noise ratio in dB over the voxels of `mask`; infinite for equal images."""
    error = float(np.mean((real[mask].astype(np.float64) - other[mask]) ** 2))
    return float("inf") if error == 0 else float(10 * np.log10(data_range**2 / error))


def nmse(real: np.ndarray, other: np.ndarray, mask: np.ndarray) -> float:
    """Normalised mean squared error over `mask`: squared error over the squares of `real`, 0 or more, 0 is best.

    The square of `skimage.metrics.normalized_root_mse` (Euclidean). It depends on where zero lies on the scale of
    `real`; NaN where `real` is 0 all over the mask, or the mask is empty.
    """
    x, y = real[mask].astype(np.float64), other[mask]
    below = float(np.sum(x**2))
    return float(np.sum((x - y) ** 2)) / below if below else float("nan")


def mae(real: np.ndarray, other: np.ndarray, mask: np.ndarray) -> float:
    """Mean absolute error over `mask`, in the images' units; NaN where the mask is empty."""
    return float(np.mean(np.abs(real[mask].astype(np.float64) - other[mask]))) if mask.any() else float("nan")


def nmi(real: np.ndarray, other: np.ndarray, mask: np.ndarray, bins: int = NMI_BINS) -> float:
    """Normalised mutual information over `mask`, 1 (nothing shared) to 2 (each determines the other).

    (H(A) + H(B)) / H(A, B) of Studholme, Hill and Hawkes 1999 (doi:10.1016/S0031-3203(98)00091-0), from a joint
    histogram of `bins` equal bins for either image between its smallest and largest value in the mask: equal to
    `skimage.metrics.normalized_mutual_information(real[mask], other[mask], bins=bins)`. Small masks raise it. NaN
    where the mask is empty or both images are constant in it.
    """
    if not mask.any():
        return float("nan")
    cells = _binned(real[mask], bins) * bins + _binned(other[mask], bins)
    joint = np.bincount(cells, minlength=bins * bins).reshape(bins, bins) / cells.size
    both = _entropy(joint)
    return (_entropy(joint.sum(0)) + _entropy(joint.sum(1))) / both if both else float("nan")


def healthy_tissue(classes: np.ndarray) -> np.ndarray:
    """Voxels of CSF, GM and WM one voxel away from tumour and background; `classes` as `Layout.classes`."""
    return binary_erosion((classes > 0) & (classes <= Tissue.WM))


def texture_level(image: np.ndarray, healthy: np.ndarray) -> float:
    """Fine texture where it is flat: the 20th percentile of the 3x3x3 local standard deviation in `healthy`."""
    return float(np.percentile(local_std(image)[healthy], 20)) if healthy.any() else 0.0


def texture_ratio(image: np.ndarray, real: np.ndarray, healthy: np.ndarray) -> float:
    """`texture_level` of an image over that of the real scan, both in normalised units; 1 is right.

    NaN where the real scan has none (`FLAT`), as where its flat tissue is cut off at one value, or comes in few levels.
    """
    level = texture_level(real, healthy)
    return texture_level(image, healthy) / level if level > FLAT else float("nan")


def painter_image(real: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The yardstick: every voxel of a class gets the median of the real scan in that class; same units as `real`."""
    out = np.zeros(real.shape, np.float32)
    for k in np.unique(classes[classes > 0]):
        out[classes == k] = np.median(real[classes == k])
    return out


def scaled(image: np.ndarray, reference: np.ndarray, brain: np.ndarray) -> np.ndarray:
    """`image` in units where 0 and 1 are the 0.5 and 99.5 percentiles of `reference` in `brain`; 0 outside."""
    low, high = own_window(reference[brain])
    return np.where(brain, (image.astype(np.float32) - low) / (high - low), 0).astype(np.float32)


def _ssim_parts(
    x: np.ndarray, y: np.ndarray, smooth: Callable[[np.ndarray], np.ndarray], data_range: float, sample: float
) -> tuple[np.ndarray, np.ndarray]:
    """Luminance and contrast-structure maps, whose product is SSIM; variances are multiplied by `sample`.

    From the sum and the difference of the images: their two variances hold all that SSIM needs of the two variances
    and the covariance, so four volumes are filtered and not five.
    """
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    means, variances = [], []
    for image in (x + y, x - y):
        square = smooth(image) ** 2
        image *= image
        variance = smooth(image)
        variance -= square
        variance *= sample / 2
        square /= 2
        means.append(square)
        variances.append(variance)
    return _similar(*means, c1), _similar(*variances, c2)


def _similar(of_sum: np.ndarray, of_difference: np.ndarray, constant: float) -> np.ndarray:
    above = of_sum - of_difference
    above += constant
    of_sum += of_difference
    of_sum += constant
    above /= of_sum
    return above


def _gaussian(image: np.ndarray) -> np.ndarray:
    return gaussian_filter(image, MS_SIGMA, radius=MS_WINDOW // 2)


def _scale_weights(real: np.ndarray, other: np.ndarray, masks: Sequence, scales: int | None) -> np.ndarray:
    """The exponents of the scales to be used, or a sentence."""
    for array in (other, *masks):
        if array is not None and array.shape != real.shape:
            raise SynthError(f"MS-SSIM compares volumes of one shape, found {real.shape} and {array.shape}.")
    room = ms_scales(real.shape)
    scales = room if scales is None else scales
    if not 1 <= scales <= room:
        least = MS_WINDOW if scales < 2 else (MS_WINDOW - 1) * 2 ** (scales - 1) + 1
        raise SynthError(
            f"MS-SSIM has 1 to {len(MS_WEIGHTS)} scales and for {scales} needs {least} voxels along every axis, "
            f"found a volume of {real.shape}; ask for {max(room, 1)} or give a larger one."
        )
    weights = np.array(MS_WEIGHTS[:scales])
    return weights if scales == len(MS_WEIGHTS) else weights / weights.sum()


def _halved(volume: np.ndarray) -> np.ndarray:
    """Means over blocks of 2 voxels along every axis; an odd last plane is repeated."""
    for axis, size in enumerate(volume.shape):
        even = np.moveaxis(volume, axis, 0)
        if size % 2:
            even = np.concatenate([even, even[-1:]])
        volume = np.moveaxis((even[::2] + even[1::2]) / 2, 0, axis)
    return volume


def _weighted_mean(term: np.ndarray, weights: np.ndarray | None) -> float:
    if weights is None:
        reach = MS_WINDOW // 2
        return float(term[tuple(slice(reach, n - reach) for n in term.shape)].mean())
    total = float(weights.sum())
    return float(np.vdot(term, weights)) / total if total else 0.0


def _binned(values: np.ndarray, bins: int) -> np.ndarray:
    """Bin of each value, between the smallest and the largest."""
    values = values.astype(np.float64)
    low, high = values.min(), values.max()
    if high == low:
        return np.zeros(values.shape, np.intp)
    return np.minimum(((values - low) * (bins / (high - low))).astype(np.intp), bins - 1)


def _entropy(shares: np.ndarray) -> float:
    shares = shares[shares > 0]
    return float(-np.sum(shares * np.log(shares)))
