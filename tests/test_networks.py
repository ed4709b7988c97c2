"""One contract for the networks: shapes at any size, seed, configuration; weights that survive the disk."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from phantoms import phantom_case, phantom_layout

from synth.brats import CLASSES, MODALITIES
from synth.errors import ModelError
from synth.models.architectures import GENERATORS, build_network, generator_config, generator_entry
from synth.models.cards import model_hash, read_card
from synth.models.configs import GeneratorConfig
from synth.models.inference import LayoutPainter
from synth.models.networks.discriminator import build_discriminator
from synth.models.networks.generator import build_generator
from synth.models.painter import box_coordinates, paint, style_tensors
from synth.models.sliding_window import Segmenter
from synth.models.weights import load_generator, save_generator
from synth.style.style import local_std, measure_style

TINY = GeneratorConfig(width=8, bottleneck=1)


@pytest.fixture(scope="module")
def subject():
    layout = phantom_layout()
    return layout, measure_style(phantom_case(), layout)


def painted(layout, style, seed=(1, 2), gain=1.0, grain=1.0):
    box = tuple(slice(0, n) for n in layout.shape)
    tensors = {k: v[None] for k, v in style_tensors(style, gain, grain).items()}
    coordinates = box_coordinates(layout.shape, box)[None]
    return {
        k: np.asarray(v) for k, v in paint(layout.classes[None], coordinates, tensors, np.array(seed, np.int32)).items()
    }


@pytest.mark.parametrize("shape", [(16, 16, 16), (32, 16, 48)])
@pytest.mark.parametrize("conditioning", ["painted", "onehot"])
def test_generator_shapes_and_background(shape, conditioning):
    generator = build_generator(GeneratorConfig(width=8, bottleneck=2, conditioning=conditioning))
    rng = np.random.default_rng(0)
    condition = np.zeros((1, *shape, 10), np.float32)
    condition[:, 4:12, 4:12, 4:12, 1] = 1
    condition[..., 6:] = rng.random((1, *shape, 4)) * condition[..., 1:2]
    noise = rng.normal(size=(1, *shape, 4)).astype(np.float32) * condition[..., 1:2]
    out = generator({"condition": condition, "noise": noise, "coordinates": np.zeros((1, *shape, 3), np.float32)})
    image = out["image"].numpy()
    assert image.shape == out["clean"].shape == (1, *shape, 4)
    assert not image[condition[..., 1] == 0].any()
    assert image[condition[..., 1] == 1].std() > 0


def test_generator_begins_as_the_painter():
    generator = build_generator(TINY)
    condition = np.zeros((1, 16, 16, 16, 10), np.float32)
    condition[..., 2] = 1
    condition[..., 6:] = 0.6
    inputs = {
        "condition": condition,
        "noise": np.zeros((1, 16, 16, 16, 4)),
        "coordinates": np.zeros((1, 16, 16, 16, 3)),
    }
    np.testing.assert_allclose(generator(inputs)["image"], 0.6, atol=0.1)


def test_same_seed_same_weights_and_config_round_trip():
    weights = []
    for _ in range(2):
        keras.utils.set_random_seed(5)
        weights.append(build_generator(GeneratorConfig(**json.loads(json.dumps(TINY.to_dict())))).get_weights())
    assert all(np.array_equal(a, b) for a, b in zip(*weights, strict=True))
    clone = keras.models.clone_model(build_generator(TINY))
    assert clone.count_params() == build_generator(TINY).count_params()


@pytest.mark.parametrize(
    "bad",
    [
        {"width": 2},
        {"bottleneck": 0},
        {"dropout": 1.0},
        {"tissue_gain": 0.9},
        {"fluid_gain": 0.0},
        {"conditioning": "words"},
    ],
)
def test_impossible_networks_are_refused(bad):
    with pytest.raises(ModelError, match="found"):
        GeneratorConfig(**bad)


def test_discriminator_judges_patches_at_an_eighth_of_the_size():
    discriminator = build_discriminator(4, 4, width=8)
    *features, score = discriminator({"condition": np.zeros((1, 32, 16, 48, 4)), "image": np.zeros((1, 32, 16, 48, 4))})
    assert score.shape == (1, 4, 2, 6, 1)
    assert len(features) == 4


def test_painter_paints_each_class_in_its_style(subject):
    layout, style = subject
    out = painted(layout, style)
    onehot, image = out["condition"][0, ..., :6], out["condition"][0, ..., 6:]
    assert np.array_equal(onehot.argmax(-1)[layout.brain] + 1, layout.classes[layout.brain])
    assert not image[~layout.brain].any()
    middle = image[layout.classes == 3]  # white matter; the shading of a phantom is slight
    np.testing.assert_allclose(np.median(middle, 0), np.array(style.mean)[2], atol=0.05)


def test_noise_has_the_texture_of_the_style_and_depends_on_the_seed_alone(subject):
    layout, style = subject
    inside = layout.brain & (layout.classes == 3)
    out = painted(layout, style)["noise"][0]
    for m in range(4):
        level = np.percentile(local_std(out[..., m])[inside], 20)
        assert level == pytest.approx(style.texture[m], rel=0.25)
    assert np.array_equal(out, painted(layout, style)["noise"][0])
    assert not np.array_equal(out, painted(layout, style, seed=(1, 3))["noise"][0])
    np.testing.assert_allclose(painted(layout, style, gain=0.5)["noise"][0], 0.5 * out, rtol=1e-5)


def test_grain_is_as_fine_as_asked_by_modality_at_the_level_of_the_style(subject):
    layout, style = subject
    style = replace(style, sharpness=np.full((4, 3), 0.8))
    inside = layout.brain & (layout.classes == 3)
    usual, finer = painted(layout, style), painted(layout, style, grain=(1.0, 0.5, 0.5, 0.5))
    np.testing.assert_array_equal(finer["condition"], usual["condition"])  # nothing else gets sharper
    np.testing.assert_array_equal(finer["noise"][..., 0], usual["noise"][..., 0])
    for m in (1, 2, 3):
        noise = [out["noise"][0, ..., m] for out in (usual, finer)]
        level = [np.percentile(local_std(part)[inside], 20) for part in noise]
        assert level[1] == pytest.approx(level[0], rel=0.2)
        beside = [np.corrcoef(part[:-1][inside[1:]], part[1:][inside[1:]])[0, 1] for part in noise]
        assert beside == pytest.approx([0.67, 0.09], abs=0.07)  # of kernels 0.8 and 0.4 voxels wide, cut to five taps


def test_layout_painter_paints_the_box_whatever_its_size(subject):
    layout, style = subject
    painter = LayoutPainter(build_generator(TINY))
    image = painter(layout, style, (1, 2))
    box = layout.bounding_box()
    assert image.shape == (*(part.stop - part.start for part in box), 4)
    assert not image[~layout.brain[box]].any()
    assert np.array_equal(image, painter(layout, style, (1, 2)))


def test_two_networks_never_run_beside_each_other(subject):
    layout, style = subject
    running, most = [], []

    class Network:
        def __init__(self, network):
            self.network = network

        def __call__(self, *inputs):
            running.append(self)
            most.append(len(running))
            time.sleep(0.05)
            return self.network(*inputs)

    class Output:
        """As a tensor that is computed when it is asked for: as lazily as may be."""

        def __init__(self, values):
            self.values = values

        def numpy(self):
            running.pop()
            return self.values

    painter, segmenter = LayoutPainter(None), Segmenter([], window=32)
    painter._run = Network(lambda classes, *rest: Output(np.zeros((*classes.shape, 4), np.float32)))
    segmenter._runs = [Network(lambda window: Output(np.ones((*window.shape[:-1], 4), np.float32)))]
    with ThreadPoolExecutor(2) as threads:
        tasks = [threads.submit(painter, layout, style, (1, 2)) for _ in range(3)]
        tasks += [threads.submit(segmenter, phantom_case()) for _ in range(2)]
        assert all(task.result() is not None for task in tasks)
    assert len(most) >= 5
    assert set(most) == {1}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_memory_of_a_network_is_given_back():
    told = """
from pathlib import Path
from synth.models.runtime import tf
def held():
    return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]) / 1024
@tf.function
def run(x):
    for _ in range(3):
        x = tf.nn.conv3d(x, tf.ones((3, 3, 3, 16, 16)) / 432, [1] * 5, "SAME")
    return tf.reduce_mean(x)
run(tf.ones((1, 8, 8, 8, 16)))
before = held()
run(tf.ones((1, 128, 128, 96, 16)))
print(held() - before)
"""
    as_users_have_it = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}  # `conftest`
    done = subprocess.run([sys.executable, "-c", told], env=as_users_have_it, capture_output=True, text=True)
    assert float(done.stdout) < 60, done.stderr  # MiB; each map has 96, and the pool kept three


@pytest.fixture
def model(tmp_path):
    generator = build_generator(TINY)
    card = {"name": "tiny", "generator": TINY.to_dict(), "texture_gain": 0.9}
    return generator, save_generator(tmp_path / "tiny", generator, card)


def test_weights_come_back_within_half_precision(model, subject):
    generator, folder = model
    painter, card = load_generator(folder)
    layout, style = subject
    assert card["name"] == "tiny"
    assert (painter.texture_gain, painter.grain_gain) == (0.9, 1.0)
    assert len(model_hash(card)) == 16
    assert model_hash({**card, "grain_gain": 1.0}) == model_hash(card) != model_hash({**card, "grain_gain": 0.8})
    ours = LayoutPainter(generator, 0.9)(layout, style, (1, 2))
    np.testing.assert_allclose(painter(layout, style, (1, 2)), ours, atol=0.02)


def test_no_numbers_are_drawn_for_weights_that_are_read_over(model, monkeypatch):
    def drawn(self, *given, **named):
        raise AssertionError("drawn")

    build = import_module("synth.models.weights").build_network

    def built(config):
        with ThreadPoolExecutor(1) as pool, pytest.raises(AssertionError, match="drawn"):
            pool.submit(build_generator, TINY).result()  # other threads' networks begin as ever
        return build(config)

    monkeypatch.setattr("synth.models.weights.build_network", built)
    for name in ("HeNormal", "GlorotUniform"):
        monkeypatch.setattr(getattr(keras.initializers, name), "__call__", drawn)
    painter, _ = load_generator(model[1])
    for ours, there in zip(model[0].weights, painter.generator.weights, strict=True):
        assert np.array_equal(np.asarray(ours, np.float16), np.asarray(there))
    with pytest.raises(AssertionError, match="drawn"):
        build_generator(TINY)


def test_damaged_or_missing_models_are_told(model, tmp_path):
    _, folder = model
    with pytest.raises(ModelError, match=r"one of .*found neither"):
        load_generator(tmp_path / "nothing")
    weights = folder / "generator.weights.h5"
    data = weights.read_bytes()
    weights.write_bytes(data[:-1])
    with pytest.raises(ModelError, match="checksum"):
        load_generator(folder)
    weights.unlink()
    with pytest.raises(ModelError, match="expected the weights"):
        load_generator(folder)
    (folder / "card.json").write_text("{")
    with pytest.raises(ModelError, match="not the card"):
        read_card(folder)


def test_weights_of_another_network_are_refused(model):
    from synth.disk.files import sha256_file

    _, folder = model
    path = folder / "generator.weights.h5"
    with h5py.File(path, "r+") as file:
        del file["down0_conv"]
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps({**card, "weights_sha256": sha256_file(path)}))
    with pytest.raises(ModelError, match="expected down0_conv"):
        load_generator(folder)


def test_the_shipped_model_has_a_card_and_small_weights():
    from synth.models.cards import GENERATOR, model_folder

    card = read_card("default")
    assert (model_folder("default") / GENERATOR.weights).stat().st_size < 25e6
    for key in ("labels", "intended use", "limits", "citations", "training", "validation", "git"):
        assert card[key]
    assert not any("BraTS2021_0" in text or "Brats18_" in text for text in [json.dumps(card)])  # ids are hashed


@pytest.mark.parametrize("name", GENERATORS)
def test_every_architecture_keeps_the_generators_contract(name):
    config = GENERATORS[name].config()
    entry = json.loads(json.dumps(generator_entry(config)))
    assert generator_config(entry) == config
    network = build_network(config)
    brain = np.zeros((1, 16, 32, 16, 1), np.float32)
    brain[:, 4:12, 4:20, 4:12] = 1
    condition = np.zeros((1, 16, 32, 16, len(CLASSES) + len(MODALITIES)), np.float32)
    condition[..., 1:2] = brain
    inputs = {
        "condition": condition,
        "noise": np.zeros((1, 16, 32, 16, len(MODALITIES)), np.float32),
        "coordinates": np.zeros((1, 16, 32, 16, 3), np.float32),
    }
    outputs = network(inputs)
    for image in (outputs["image"], outputs["clean"]):
        assert image.shape == (1, 16, 32, 16, len(MODALITIES))
        assert not np.any(image.numpy() * (1 - brain))
