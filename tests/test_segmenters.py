import keras
import numpy as np
import pytest
import tensorflow as tf
from phantoms import phantom_case

from synth.case import zscored
from synth.errors import ModelError
from synth.models.cards import SEGMENTER, read_card
from synth.models.configs import SegmenterConfig
from synth.models.networks.layers import grow
from synth.models.networks.segmenter import build_patchgan, build_segmenter
from synth.models.sliding_window import Segmenter, _starts
from synth.models.weights import load_segmenter_network, save_segmenter

TINY = SegmenterConfig("unet3d", 4)


class Marker:
    """A network's stand-in that marks what is bright in t1ce as ET, so that the truth of a prediction is known."""

    def __call__(self, inputs, training):
        bright = tf.cast(inputs["images"][..., 1] > 1, tf.float32)
        return {"probabilities": tf.stack([1 - bright, 0 * bright, 0 * bright, bright], -1)}


@pytest.mark.parametrize("config", [TINY, SegmenterConfig("vox2vox", 4), SegmenterConfig("unet3d", 4, 0, True)])
def test_probabilities_sum_to_one_at_every_resolution(config):
    images = np.random.default_rng(0).normal(size=(1, 32, 48, 16, 4)).astype(np.float32)
    outputs = build_segmenter(config)({"images": images}, training=False)
    assert outputs["probabilities"].shape == (1, 32, 48, 16, 4)
    for values in outputs.values():
        np.testing.assert_allclose(np.sum(values, -1), 1, atol=1e-5)
    if config.deep_supervision:
        assert outputs["half"].shape == (1, 16, 24, 8, 4)
        assert outputs["quarter"].shape == (1, 8, 12, 4, 4)


def test_vox2vox_has_the_papers_size():
    """Encoder 64 to 512 filters, four joined convolutions in the bottleneck, decoder mirrored; kernels of 4."""
    network = build_segmenter(SegmenterConfig("vox2vox", 64))
    kernels = {v.path: tuple(v.shape) for v in network.weights if "kernel" in v.path and v.shape.rank != 1}
    down = [shape for path, shape in sorted(kernels.items()) if path.startswith("down")]
    assert [shape[-1] for shape in down] == [64, 128, 256, 512]
    bottom = [shape for path, shape in sorted(kernels.items()) if path.startswith("bottom")]
    assert [(shape[-2], shape[-1]) for shape in bottom] == [(512, 512), (1024, 512), (1024, 512), (1024, 512)]
    assert all(shape[:3] == (4, 4, 4) for shape in down + bottom)
    assert network.get_layer("bottom0_drop").rate == 0.25


def test_the_discriminator_sees_scan_and_labels():
    judge = build_patchgan(4)
    condition, image = np.zeros((1, 32, 32, 32, 4), np.float32), np.ones((1, 32, 32, 32, 4), np.float32)
    *_, scores = judge({"condition": condition, "image": image})
    assert scores.shape == (1, 2, 2, 2, 1)
    assert not np.allclose(scores, judge({"condition": condition, "image": 0 * image})[-1])
    assert not np.allclose(scores, judge({"condition": condition + image, "image": image})[-1])


@pytest.mark.parametrize("bad", [{"arch": "resnet"}, {"width": 2}, {"dropout": 1.0}])
def test_impossible_networks_are_refused(bad):
    with pytest.raises(ModelError, match="found"):
        SegmenterConfig(**bad)
    with pytest.raises(ModelError, match="for unet3d"):
        SegmenterConfig("vox2vox", deep_supervision=True)


def test_windows_cover_every_voxel_and_overlap():
    for size, window, overlap in [(16, 16, 0.5), (10, 16, 0.5), (57, 16, 0.5), (240, 96, 0.25), (155, 96, 0.0)]:
        starts = _starts(size, window, overlap)
        covered = np.zeros(max(size, window), int)
        for start in starts:
            covered[start : start + window] += 1
        assert covered.all()
        gaps = np.diff(starts)
        assert (gaps <= np.ceil(window * (1 - overlap))).all()


@pytest.mark.parametrize("mirror", ["none", "x", "xyz"])
@pytest.mark.parametrize("window", [16, 32, 64])
def test_what_is_seen_voxel_by_voxel_is_blended_to_itself(mirror, window):
    images = np.random.default_rng(1).normal(size=(40, 33, 47, 4)).astype(np.float32)
    found = Segmenter([Marker()], window, mirror=mirror).probabilities(images)
    np.testing.assert_allclose(found[..., 3], images[..., 1] > 1, atol=1e-6)
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)


def test_mirrored_views_make_the_prediction_mirror_too():
    images = np.random.default_rng(2).normal(size=(32, 32, 32, 4)).astype(np.float32)
    keras.utils.set_random_seed(0)
    network = build_segmenter(TINY)
    plain, mirrored = Segmenter([network], 32), Segmenter([network], 32, mirror="x")
    flipped = mirrored.probabilities(images[::-1])[::-1]
    np.testing.assert_allclose(mirrored.probabilities(images), flipped, atol=1e-5)
    assert not np.allclose(plain.probabilities(images), plain.probabilities(images[::-1])[::-1], atol=1e-3)


def test_several_networks_are_averaged():
    images = np.random.default_rng(3).normal(size=(16, 16, 16, 4)).astype(np.float32)
    networks = [build_segmenter(TINY) for _ in range(2)]
    each = [Segmenter([network], 16).probabilities(images) for network in networks]
    both = Segmenter(networks, 16).probabilities(images)
    np.testing.assert_allclose(both, np.mean(each, 0), atol=1e-6)


def test_labels_lie_on_the_cases_grid():
    case = phantom_case()
    labels = Segmenter([Marker()], 16)(case)
    assert labels.shape == case.labels.shape
    assert labels.dtype == np.uint8
    assert not labels[~case.brain].any()
    bright = zscored(case.images, case.brain)[..., 1] > 1
    np.testing.assert_array_equal(labels == 3, bright & case.brain)


def test_zscored_brain_has_mean_0_and_deviation_1():
    case = phantom_case()
    out = zscored(case.images, case.brain)
    np.testing.assert_allclose(out[case.brain].mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(out[case.brain].std(0), 1, atol=1e-4)
    assert not out[~case.brain].any()


def test_saved_segmenter_is_read_back_and_no_generator_is_taken_for_one(tmp_path):
    network = build_segmenter(TINY)
    save_segmenter(tmp_path, network, {"name": "tiny", SEGMENTER.name: TINY.to_dict(), "window": 32})
    again, card = load_segmenter_network(tmp_path)
    assert card["name"] == "tiny"
    for a, b in zip(network.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-3)
    with pytest.raises(ModelError, match="not the card of a generator"):
        read_card(tmp_path)
    weights = tmp_path / SEGMENTER.weights
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ModelError, match="checksum"):
        load_segmenter_network(tmp_path)
    with pytest.raises(ModelError, match="synth train segmenter"):
        load_segmenter_network(tmp_path / "none")


def test_grow_is_a_transposed_convolution():
    """With the taps put where they belong, the plain convolution gives what Keras's transposed one gives."""
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5, 6)).astype(np.float32)
    transposed = keras.layers.Conv3DTranspose(2, 4, 2, "same")
    expected = transposed(x)
    kernel, bias = transposed.get_weights()  # (4, 4, 4, out, in)
    inputs = keras.Input((None, None, None, 6))
    model = keras.Model(inputs, grow(inputs, 2, "g"))
    ours = np.zeros((2, 2, 2, 6, 16), np.float32)
    for k in range(8):
        for tap in np.ndindex(2, 2, 2):
            # output 2i + p - 1 + t' of input i: padded input i + p + t meets tap 3 - 2t - p on each axis
            place = tuple(3 - 2 * t - p for t, p in zip(tap, ((k >> 2) & 1, (k >> 1) & 1, k & 1), strict=True))
            ours[(*tap, slice(None), slice(2 * k, 2 * k + 2))] = kernel[place].T
    model.set_weights([ours, np.tile(bias, 8)])
    np.testing.assert_allclose(model(x), expected, atol=1e-5)
