"""Losses of the two networks."""

import tensorflow as tf

from synth.brats import REGIONS, Tissue


def least_squares(scores, target: float, where=None):
    """LSGAN (Mao et al. 2017, arXiv:1611.04076): mean squared distance of patch scores to 0 (fake) or 1 (real).

    `where` (B, X, Y, Z, 1) at full resolution weights the patches by how much of it they hold: outside the brain real
    and fake are both 0 and nothing can be learnt.
    """
    error = tf.square(tf.cast(scores, tf.float32) - target)
    if where is None:
        return tf.reduce_mean(error)
    weights = where
    while weights.shape[1] != scores.shape[1]:
        weights = tf.nn.avg_pool3d(weights, 2, 2, "SAME")
    return tf.reduce_sum(error * weights) / (tf.reduce_sum(weights) + 1e-3)


def voxel_weights(classes, tumour_weight: float):
    """(B, X, Y, Z, 1): 1 in healthy brain, `tumour_weight` in the tumour, 0 outside."""
    brain = tf.cast(classes > 0, tf.float32)
    tumour = tf.cast(classes > int(Tissue.WM), tf.float32)
    return (brain + (tumour_weight - 1.0) * tumour)[..., None]


def absolute_error(real, other, weights):
    """Weighted mean absolute error over the brain."""
    channels = tf.cast(tf.shape(real)[-1], tf.float32)
    return tf.reduce_sum(tf.abs(real - other) * weights) / (channels * tf.reduce_sum(weights) + 1.0)


def structural_dissimilarity(real, other, weights, window: int = 7):
    """1 - mean local SSIM over the brain, weighted: as `quality.similarity.ssim_map`, at every second voxel.

    Uniform window, data range 1. The window is averaged axis by axis with stride 2: 30 times faster than a cubic
    pool at every voxel, and neighbouring windows say the same.
    """
    means = tf.concat([real, other, real * real, other * other, real * other], -1)
    for axis in range(3):
        size, stride = [1, 1, 1], [1, 1, 1]
        size[axis], stride[axis] = window, 2
        means = tf.nn.avg_pool3d(means, size, stride, "SAME")
    x, y, xx, yy, xy = tf.split(means, 5, -1)
    c1, c2 = 0.01**2, 0.03**2
    variances = tf.maximum(xx - x * x, 0.0) + tf.maximum(yy - y * y, 0.0)
    ssim = (2 * x * y + c1) * (2 * (xy - x * y) + c2) / ((x * x + y * y + c1) * (variances + c2))
    weights = weights[:, 1::2, 1::2, 1::2]  # the windows' centres
    channels = tf.cast(tf.shape(real)[-1], tf.float32)
    return 1.0 - tf.reduce_sum(ssim * weights) / (channels * tf.reduce_sum(weights) + 1e-6)


def feature_matching(real_features, fake_features):
    """Mean absolute difference of the discriminator's features (Wang et al. 2018, arXiv:1711.11585)."""
    terms = [
        tf.reduce_mean(tf.abs(tf.stop_gradient(tf.cast(r, tf.float32)) - tf.cast(f, tf.float32)))
        for r, f in zip(real_features, fake_features, strict=True)
    ]
    return tf.add_n(terms) / len(terms)


def texture_mismatch(real, fake, classes):
    """How far fine texture is from the real scan's: |difference of the mean log local standard deviation|.

    Taken in 3x3x3 windows that lie wholly in one tissue (GM, WM) or in the tumour, per modality; the
    smoothness that a voxel-wise loss rewards costs here. Returns the mean over regions and modalities.
    """
    stacked = tf.concat([real, fake, real * real, fake * fake], -1)
    x, y, xx, yy = tf.split(tf.nn.avg_pool3d(stacked, 3, 1, "SAME"), 4, -1)
    log_real = 0.5 * tf.math.log(tf.maximum(xx - x * x, 0.0) + 1e-6)
    log_fake = 0.5 * tf.math.log(tf.maximum(yy - y * y, 0.0) + 1e-6)
    white = int(Tissue.WM)
    regions = tf.stack([classes == int(Tissue.GM), classes == white, classes > white], -1)
    pure = -tf.nn.max_pool3d(-tf.cast(regions, tf.float32), 3, 1, "SAME")  # erosion: the whole window is inside
    weight = tf.einsum("bxyzr->br", pure)
    difference = tf.einsum("bxyzr,bxyzm->brm", pure, log_fake - log_real) / (weight[..., None] + 1.0)
    present = tf.cast(weight > 200.0, tf.float32)[..., None]
    channels = tf.cast(tf.shape(real)[-1], tf.float32)
    return tf.reduce_sum(tf.abs(difference) * present) / (channels * tf.reduce_sum(present) + 1e-6)


def band_mismatch(real, fake, classes):
    """How far the amount of fine structure is from the real scan's: mean |log ratio| of its size, band by band.

    Two bands of a pyramid without decimation (finer than 3 voxels; 3 to about 8), per class of tissue and tumour and
    per modality, each by its mean and by its root mean square: the second weighs edges and vessels, so blur costs here
    even where noise makes up for the mean. Only amounts are compared, not places, so that what cannot be predicted is
    not averaged away. What lies within three voxels of the brain's edge does not count.
    """
    stacked = tf.concat([real, fake], -1)
    near = tf.nn.avg_pool3d(stacked, 3, 1, "SAME")
    far = tf.nn.avg_pool3d(near, 5, 1, "SAME")
    bands = tf.concat([stacked - near, near - far], -1)  # (B, X, Y, Z, band x (real, fake) x modality)
    outside = tf.nn.max_pool3d(tf.cast(classes == 0, tf.float32)[..., None], 7, 1, "SAME")[..., 0]
    white = int(Tissue.WM)
    regions = tf.stack([*(classes == value for value in range(1, white + 1)), classes > white], -1)
    regions = tf.cast(regions, tf.float32) * (1 - outside)[..., None]
    weight = tf.einsum("bxyzr->br", regions)
    sums = tf.einsum("bxyzr,bxyzm->brm", regions, tf.concat([tf.abs(bands), tf.square(bands)], -1))
    sizes = tf.math.log(sums / (weight[..., None] + 1.0) + 1e-6)
    shape = tf.shape(sizes)
    sizes = tf.reshape(sizes, (shape[0], shape[1], 2, 2, 2, real.shape[-1]))  # statistic, band, (real, fake), modality
    difference = tf.abs(sizes[..., 1, :] - sizes[..., 0, :]) * tf.constant([1.0, 0.5])[:, None, None]
    present = tf.cast(weight > 200.0, tf.float32)[..., None, None, None]
    count = tf.cast(tf.size(difference) // tf.maximum(shape[0] * shape[1], 1), tf.float32)
    return tf.reduce_sum(difference * present) / (count * tf.reduce_sum(present) + 1e-6)


def region_probabilities(probabilities):
    """(B, X, Y, Z, 4) over none, NCR, ED, ET to (B, X, Y, Z, 3) of WT, TC, ET (`brats.REGIONS`)."""
    return tf.stack([tf.add_n([probabilities[..., k] for k in values]) for values in REGIONS.values()], -1)


def tversky_loss(truth, probabilities, alpha: float = 0.3, beta: float = 0.7):
    """1 - mean Tversky index over the channels (Salehi et al. 2017, arXiv:1706.05721); 0.5 and 0.5 is Dice.

    Args:
        truth: (B, X, Y, Z, C) 0 or 1.
        probabilities: of the same shape.
        alpha: weight of what is wrongly marked.
        beta: weight of what is missed.

    Sums run over the batch; one voxel's worth is added above and below, so that an absent class that is not marked
    counts as right.
    """
    axes = (0, 1, 2, 3)
    both = tf.reduce_sum(truth * probabilities, axes)
    marked, present = tf.reduce_sum(probabilities, axes), tf.reduce_sum(truth, axes)
    index = (both + 1.0) / (both + alpha * (marked - both) + beta * (present - both) + 1.0)
    return 1.0 - tf.reduce_mean(index)


def generalised_dice_loss(truth, probabilities):
    """1 - generalised Dice (Sudre et al. 2017, arXiv:1707.03237): classes weighted by their inverse squared volume.

    Shapes as for `tversky_loss`. A class that is absent from the batch does not count.
    """
    axes = (0, 1, 2, 3)
    present = tf.reduce_sum(truth, axes)
    weights = 1.0 / tf.square(tf.maximum(present, 1.0))
    weights = tf.where(present > 0, weights, tf.zeros_like(weights))
    both = tf.reduce_sum(weights * tf.reduce_sum(truth * probabilities, axes))
    sizes = tf.reduce_sum(weights * (present + tf.reduce_sum(probabilities, axes)))
    return 1.0 - 2.0 * both / tf.maximum(sizes, 1e-6)


def cross_entropy(truth, probabilities):
    """Mean categorical cross-entropy over the voxels; one-hot truth, probabilities over the classes."""
    return -tf.reduce_mean(tf.reduce_sum(truth * tf.math.log(tf.maximum(probabilities, 1e-6)), -1))
