import numpy as np
import pytest
import tensorflow as tf
from phantoms import phantom_layout
from scipy.ndimage import gaussian_filter

from synth.quality.similarity import ssim_map
from synth.trainers import losses


@pytest.fixture(scope="module")
def scene():
    layout = phantom_layout((48, 48, 48))
    rng = np.random.default_rng(0)
    image = np.where(layout.brain, layout.classes / 6 + rng.normal(0, 0.03, layout.shape), 0).astype(np.float32)
    return layout.classes[None], np.repeat(image[None, ..., None], 4, -1)


def test_least_squares():
    assert losses.least_squares(np.ones((1, 2, 2, 2, 1)), 1.0) == 0
    assert losses.least_squares(np.zeros((1, 2, 2, 2, 1)), 1.0) == 1


def test_absolute_error_counts_tumour_more_and_outside_not_at_all(scene):
    classes, image = scene
    weights = losses.voxel_weights(tf.constant(classes), 3.0)
    assert losses.absolute_error(image, image, weights) == 0
    outside, healthy, tumour = (
        np.where(m[..., None], image + 1, image) for m in (classes == 0, classes == 3, classes > 3)
    )
    assert losses.absolute_error(image, outside, weights) == 0
    per_voxel = [
        float(losses.absolute_error(image, other, weights)) / np.count_nonzero(mask)
        for other, mask in ((healthy, classes == 3), (tumour, classes > 3))
    ]
    assert per_voxel[1] == pytest.approx(3 * per_voxel[0], rel=1e-4)


def test_structural_dissimilarity_is_one_minus_the_mean_ssim(scene):
    classes, image = scene
    other = image + np.random.default_rng(1).normal(0, 0.05, image.shape).astype(np.float32)
    weights = losses.voxel_weights(tf.constant(classes), 1.0)
    ours = 1 - float(losses.structural_dissimilarity(tf.constant(image), tf.constant(other), weights))
    brain = classes[0] > 0
    theirs = np.mean([ssim_map(image[0, ..., m], other[0, ..., m])[brain].mean() for m in range(4)])
    assert ours == pytest.approx(theirs, abs=0.02)  # every second voxel, plain instead of sample covariance
    assert float(losses.structural_dissimilarity(tf.constant(image), tf.constant(image), weights)) < 1e-5


def test_band_mismatch_notices_blur_even_under_noise_of_the_right_level(scene):
    classes, image = scene
    image = image.copy()
    image[:, ::6, 4:-4, 4:-4] += 0.4 * (classes[:, ::6, 4:-4, 4:-4, None] > 0)  # edges
    blurred = gaussian_filter(image, (0, 1, 1, 1, 0))
    noise = np.random.default_rng(9).normal(size=image.shape)
    lost = (image - gaussian_filter(image, (0, 0.8, 0.8, 0.8, 0))).std()
    grainy = blurred + noise * lost

    def mismatch(other):
        return float(losses.band_mismatch(image, other.astype(np.float32), tf.constant(classes)))

    moved = np.roll(image, 1, 1) * (classes[..., None] > 0)
    assert mismatch(image) == pytest.approx(0, abs=1e-6)
    assert mismatch(moved) < 0.1  # amounts, not places
    assert mismatch(blurred) > 0.5
    assert mismatch(grainy) > 0.15


def test_texture_mismatch_notices_blur_and_nothing_else(scene):
    classes, image = scene
    fresh = np.repeat((image[0, ..., 0] * 0)[None, ..., None], 4, -1)
    rng = np.random.default_rng(2)
    fresh += np.where(classes[..., None] > 0, classes[..., None] / 6 + rng.normal(0, 0.03, image.shape), 0)
    blurred = np.stack([gaussian_filter(image[0, ..., m], 1.0) for m in range(4)], -1)[None]
    same = float(losses.texture_mismatch(image, fresh.astype(np.float32), tf.constant(classes)))
    smooth = float(losses.texture_mismatch(image, blurred.astype(np.float32), tf.constant(classes)))
    assert same < 0.1  # other noise of the same level is as good
    assert smooth > 0.5


def test_feature_matching_is_the_mean_difference():
    real, fake = [tf.ones((1, 2)), tf.zeros((1, 3))], [tf.zeros((1, 2)), tf.zeros((1, 3))]
    assert losses.feature_matching(real, fake) == 0.5
