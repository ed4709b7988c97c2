import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from synth.quality.similarity import healthy_tissue, psnr, scaled, ssim_map, texture_level


@pytest.fixture
def pair():
    rng = np.random.default_rng(3)
    real = rng.random((21, 17, 19))
    return real, real + rng.normal(0, 0.1, real.shape)


def test_ssim_agrees_with_scikit_image(pair):
    real, other = pair
    _, theirs = structural_similarity(real, other, data_range=1.0, full=True)
    np.testing.assert_allclose(ssim_map(real, other), theirs, atol=1e-6)


def test_psnr_agrees_with_scikit_image_and_is_infinite_for_equal_images(pair):
    real, other = pair
    everywhere = np.ones(real.shape, bool)
    assert psnr(real, other, everywhere) == pytest.approx(
        peak_signal_noise_ratio(real, other, data_range=1.0), abs=1e-6
    )
    assert psnr(real, real, everywhere) == np.inf


def test_texture_level_is_the_noise_and_nothing_for_a_painted_image():
    rng = np.random.default_rng(0)
    inside = np.ones((30, 30, 30), bool)
    noise = rng.normal(0, 0.02, inside.shape)
    assert texture_level(np.ones(inside.shape), inside) == 0
    assert 0.75 * 0.02 < texture_level(noise, inside) < 0.02
    assert texture_level(noise, np.zeros_like(inside)) == 0


def test_healthy_tissue_keeps_away_from_tumour_and_background():
    classes = np.zeros((9, 9, 9), np.uint8)
    classes[1:8, 1:8, 1:8] = 3
    classes[4, 4, 4] = 5
    healthy = healthy_tissue(classes)
    assert not healthy[4, 4, 3]
    assert not healthy[1, 4, 4]
    assert healthy[2, 2, 2]


def test_scaled_maps_the_percentiles_of_the_reference():
    rng = np.random.default_rng(0)
    reference = rng.integers(100, 5000, (20, 20, 20))
    brain = np.ones(reference.shape, bool)
    brain[0] = False
    out = scaled(reference, reference, brain)
    assert np.percentile(out[brain], 0.5) == pytest.approx(0, abs=1e-6)
    assert np.percentile(out[brain], 99.5) == pytest.approx(1, abs=1e-6)
    assert not out[0].any()
