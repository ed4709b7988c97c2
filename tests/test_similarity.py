import numpy as np
import pytest
from scipy.ndimage import zoom
from skimage.measure import block_reduce
from skimage.metrics import (
    mean_squared_error,
    normalized_mutual_information,
    normalized_root_mse,
    peak_signal_noise_ratio,
    structural_similarity,
)

from synth.errors import SynthError
from synth.quality.similarity import (
    MS_WEIGHTS,
    healthy_tissue,
    mae,
    ms_scales,
    ms_ssim,
    ms_ssim_in,
    nmi,
    nmse,
    psnr,
    scaled,
    ssim_map,
    texture_level,
)


@pytest.fixture
def pair():
    rng = np.random.default_rng(3)
    real = rng.random((21, 17, 19))
    return real, real + rng.normal(0, 0.1, real.shape)


@pytest.fixture
def mask(pair):
    inside = np.zeros(pair[0].shape, bool)
    inside[3:15, 4:16, 2:11] = True
    return inside


def smooth_pair(shape, seed=7):
    """Structure at several scales, and the same with noise; as benchmarks of other implementations made it."""
    rng = np.random.default_rng(seed)
    real = rng.random(shape)
    for axis in range(len(shape)):
        real = (real + np.roll(real, 1, axis) + np.roll(real, 2, axis) + np.roll(real, 3, axis)) / 4
    real = (real - real.min()) / (real.max() - real.min())
    return real, np.clip(real + 0.1 * rng.normal(size=shape), 0, 1)


def ms_ssim_of_scikit_image(real, other, scales, mask=None):
    """MS-SSIM put together from scikit-image alone: a huge K1 makes its luminance 1, so that SSIM is contrast."""
    weights = np.array(MS_WEIGHTS[:scales]) / (1 if scales == 5 else sum(MS_WEIGHTS[:scales]))
    share = None if mask is None else mask.astype(float)
    product = 1.0
    for scale in range(scales):
        if scale:
            real, other = (block_reduce(image, 2, np.mean) for image in (real, other))
            share = None if share is None else block_reduce(share, 2, np.mean)
        settings = {"gaussian_weights": True, "use_sample_covariance": False, "data_range": 1.0, "full": True}
        k1 = 0.01 if scale == scales - 1 else 1e7
        _, found = structural_similarity(real, other, K1=k1, **settings)
        cut = found[tuple(slice(5, -5) for _ in found.shape)]
        product *= (cut.mean() if share is None else (found * share).sum() / share.sum()) ** weights[scale]
    return product


def test_ssim_agrees_with_scikit_image(pair):
    real, other = pair
    _, theirs = structural_similarity(real, other, data_range=1.0, full=True)
    np.testing.assert_allclose(ssim_map(real, other), theirs, atol=1e-6)


@pytest.mark.parametrize("data_range", [1.0, 2.5])
def test_ssim_agrees_with_scikit_image_on_a_scan_scale_and_in_2d(data_range):
    real, other = smooth_pair((33, 40))
    _, theirs = structural_similarity(real, 1.3 * other - 0.1, data_range=data_range, full=True)
    np.testing.assert_allclose(ssim_map(real, 1.3 * other - 0.1, data_range), theirs, atol=1e-6)


def test_ms_ssim_agrees_with_tensorflow_in_2d():
    import tensorflow as tf

    for shape in ((190, 201), (176, 181)):  # odd sizes at several scales
        real, other = smooth_pair(shape)
        theirs = tf.image.ssim_multiscale(*(tf.constant(v[..., None], tf.float32) for v in (real, other)), 1.0)
        assert ms_scales(shape) == 5
        assert ms_ssim(real, other) == pytest.approx(float(theirs), abs=1e-5)


@pytest.mark.parametrize(
    ("shape", "scales", "theirs"),
    [
        ((24, 28, 32), 2, 0.9116769977915841),
        ((48, 56, 64), 3, 0.9300314380667739),
        ((176, 176, 176), 5, 0.9456177082259326),
    ],
)
def test_ms_ssim_agrees_with_pytorch_msssim_in_3d(shape, scales, theirs):
    """`theirs`: `pytorch_msssim.ms_ssim(real, other, data_range=1, weights=...)` 1.0.0 on the very same volumes.

    Weights: `MS_WEIGHTS`, of fewer than five scales divided by their sum; python -O, as it insists on 161 voxels.
    """
    assert ms_ssim(*smooth_pair(shape), scales=scales) == pytest.approx(theirs, abs=1e-6)


def test_ms_ssim_agrees_with_scikit_image_put_together_with_and_without_a_mask():
    real, other = smooth_pair((48, 56, 64))
    ball = sum((np.indices(real.shape)[axis] - centre) ** 2 for axis, centre in enumerate((22, 30, 35))) < 15**2
    assert ms_ssim(real, other) == pytest.approx(ms_ssim_of_scikit_image(real, other, 3), abs=1e-6)
    ours = ms_ssim(real, other, ball)
    assert ours == pytest.approx(ms_ssim_of_scikit_image(real, other, 3, ball), abs=1e-6)
    assert ms_ssim_in(real, other, [None, ball])[1] == ours


def test_ms_ssim_sees_what_is_in_the_mask():
    real, _ = smooth_pair((48, 40, 44))
    other, mask = real.copy(), np.zeros(real.shape, bool)
    other[30:] = other[30:, ::-1]
    mask[:8] = True
    assert ms_ssim(real, real) == pytest.approx(1)
    assert ms_ssim(real, other, mask, scales=1) == pytest.approx(1)
    assert ms_ssim(real, other, mask[::-1], scales=1) < 0.5
    assert np.isnan(ms_ssim(real, other, np.zeros_like(mask)))
    assert ms_ssim(real, 1 - real) == 0  # negative averages count as none


def test_ms_ssim_says_how_many_scales_there_is_room_for():
    assert [ms_scales((n, 300, 300)) for n in (10, 11, 20, 21, 41, 80, 81, 161)] == [0, 1, 1, 2, 3, 3, 4, 5]
    assert ms_scales((240, 240, 155)) == 4
    small = np.zeros((10, 40, 40))
    with pytest.raises(SynthError, match="needs 11 voxels"):
        ms_ssim(small, small)
    large = np.zeros((30, 40, 40))
    with pytest.raises(SynthError, match=r"for 3 needs 41 voxels.* ask for 2"):
        ms_ssim(large, large, scales=3)
    with pytest.raises(SynthError, match="one shape"):
        ms_ssim(large, large, large[1:] > 0)


def test_psnr_agrees_with_scikit_image_and_is_infinite_for_equal_images(pair, mask):
    real, other = pair
    everywhere = np.ones(real.shape, bool)
    assert psnr(real, other, everywhere) == pytest.approx(
        peak_signal_noise_ratio(real, other, data_range=1.0), abs=1e-6
    )
    assert psnr(real, other, mask) == pytest.approx(
        peak_signal_noise_ratio(real[mask], other[mask], data_range=1.0), abs=1e-6
    )
    assert psnr(real, real, everywhere) == np.inf


def test_nmse_and_mae_agree_with_scikit_image_and_numpy(pair, mask):
    real, other = pair
    assert nmse(real, other, mask) == pytest.approx(normalized_root_mse(real[mask], other[mask]) ** 2, abs=1e-9)
    below = (real[mask] ** 2).mean()
    assert nmse(real, other, mask) == pytest.approx(mean_squared_error(real[mask], other[mask]) / below, abs=1e-9)
    assert mae(real, other, mask) == pytest.approx(np.linalg.norm(real[mask] - other[mask], 1) / mask.sum(), abs=1e-9)
    assert nmse(real, real, mask) == mae(real, real, mask) == 0
    nothing = np.zeros_like(mask)
    assert np.isnan([nmse(real, other, nothing), mae(real, other, nothing), nmse(real * 0, other, mask)]).all()


def test_measures_take_integers_without_wrapping_around(mask):
    low, high = np.full(mask.shape, 10, np.uint8), np.full(mask.shape, 250, np.uint8)
    assert mae(low, high, mask) == mae(high, low, mask) == 240
    assert nmse(low, high, mask) == pytest.approx(576)


@pytest.mark.parametrize("bins", [100, 32])
def test_nmi_agrees_with_scikit_image(bins):
    real, other = smooth_pair((31, 40, 35))
    mask = real > 0.3
    theirs = normalized_mutual_information(real[mask], other[mask] ** 2, bins=bins)
    assert nmi(real, other**2, mask, bins) == pytest.approx(theirs, abs=1e-4)
    whole = (1000 * real).astype(np.int16)  # as scans come: values that lie on the bins' edges
    theirs = normalized_mutual_information(whole[mask], (whole // 7)[mask], bins=bins)
    assert nmi(whole, whole // 7, mask, bins) == pytest.approx(theirs, abs=1e-4)


def test_nmi_knows_everything_and_nothing():
    rng = np.random.default_rng(1)
    real, mask = zoom(rng.random((8, 7, 9)), 4, order=1), np.ones((32, 28, 36), bool)
    assert nmi(real, 3 - 2 * real, mask) == pytest.approx(2)  # a reversed scale determines it as well
    assert nmi(real, rng.random(real.shape), mask, bins=10) == pytest.approx(1, abs=0.002)
    assert np.isnan(nmi(real * 0, real * 0, mask))
    assert np.isnan(nmi(real, real, mask & False))


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
