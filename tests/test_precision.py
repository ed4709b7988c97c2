"""In what a generator computes: float32 on a CPU, to the bit; float16 within on a GPU, decided once and recorded."""

import keras
import numpy as np
import pytest
from phantoms import phantom_layout, phantom_sources

from synth.models import runtime
from synth.models.configs import GeneratorConfig
from synth.models.networks.generator import build_generator
from synth.models.runtime import FLOAT32, MIXED, precision
from synth.models.weights import load_generator, save_generator
from synth.randomness import sample_rng
from synth.runs.generate import GenerateConfig, Generation


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Folder of a generator whose residual is not 0."""
    keras.utils.set_random_seed(1)
    config = GeneratorConfig(width=4, bottleneck=1)
    network = build_generator(config)
    for layer in ("residual", "log_gain"):
        kernel, *_ = network.get_layer(layer).weights
        kernel.assign(np.random.default_rng(0).normal(0, 0.05, kernel.shape))
    card = {"name": "tiny", "generator": config.to_dict(), "texture_gain": 0.9}
    return save_generator(tmp_path_factory.mktemp("tiny"), network, card)


@pytest.fixture
def gpu(monkeypatch):
    """Lets TensorFlow say that there is a GPU of a compute capability."""

    def pretend(*capabilities):
        monkeypatch.setattr(runtime.tf.config, "list_physical_devices", lambda kind=None: [*capabilities])
        details = lambda gpu: {"compute_capability": gpu}  # noqa: E731
        monkeypatch.setattr(runtime.tf.config.experimental, "get_device_details", details)
        precision.cache_clear()

    yield pretend
    precision.cache_clear()


def test_what_a_network_adds_is_rounded_and_nothing_else(tiny):
    layout = phantom_layout((24, 32, 24), seed=3)
    style = phantom_sources().style("sampled", "x", sample_rng(1, 0))
    images = {}
    for policy in (FLOAT32, MIXED):
        painter, _ = load_generator(tiny, policy)
        assert {variable.dtype for variable in painter.generator.variables} == {"float32"}
        images[policy] = painter(layout, style, (1, 2))
        assert images[policy].dtype == np.float32
    assert keras.config.dtype_policy().name == FLOAT32
    difference = np.abs(images[MIXED] - images[FLOAT32]).max()
    assert 0 < difference < 0.01 * np.ptp(images[FLOAT32])


@pytest.mark.parametrize(
    ("capabilities", "expected"), [((), FLOAT32), (((6, 1),), FLOAT32), (((9, 0),), MIXED), (((9, 0), (6, 1)), FLOAT32)]
)
def test_float16_is_for_gpus_that_gain_by_it_and_stays_as_decided(gpu, capabilities, expected):
    gpu(*capabilities)
    assert precision() == expected
    runtime.tf.config.list_physical_devices = lambda kind=None: []
    assert precision() == expected


def test_the_run_records_what_it_computes_in(gpu, tiny):
    generation = Generation(phantom_sources(), tiny, GenerateConfig(edits="none"))
    assert set(generation.model_settings()) == {"name", "hash", "kernels"}  # as before there was a choice
    gpu((8, 0))
    assert generation.model_settings()["precision"] == MIXED
    assert generation.model_settings()["kernels"] == "cuDNN"
