"""Endless layouts and painted pairs: the samples of `generate`, in the form that trainers take, and no thread left."""

import gc
import itertools
import subprocess
import sys
import threading
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from phantoms import head_layout, phantom_sources

import synth
from synth.datasets.layout_files import save_layout
from synth.errors import SynthError
from synth.layout.sampling.sampler import LayoutSampler
from synth.models.configs import GeneratorConfig
from synth.models.networks.generator import build_generator
from synth.models.weights import save_generator
from synth.runs.generate import GenerateConfig, Generation

TINY = GeneratorConfig(width=8, bottleneck=1)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    keras.utils.set_random_seed(1)
    return save_generator(
        tmp_path_factory.mktemp("models") / "tiny", build_generator(TINY), {"name": "tiny", "generator": TINY.to_dict()}
    )


@pytest.fixture(scope="module")
def sources():
    return phantom_sources()


@pytest.fixture(scope="module")
def painted(sources, model):
    """The first four samples of `generate`."""
    generation = Generation(sources, model, GenerateConfig(seed=3, edits="none"))
    return list(generation.cases(range(4)))


@pytest.fixture
def pairs(sources, model):
    def make(**options):
        return synth.dataset(sources, model=model, edits="none", seed=3, **options)

    return make


def values(dataset):
    return [tuple(part.numpy() for part in item) for item in dataset]


def test_importing_synth_costs_nothing():
    code = (
        "import time; begin = time.perf_counter()\n"
        "import sys, synth; spent = time.perf_counter() - begin\n"
        "print({'tensorflow', 'numpy'} & set(sys.modules), {'layouts', 'dataset'} <= set(dir(synth)), spent < 0.2)\n"
        "synth.layouts, synth.dataset; print('tensorflow' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out == "set() True True\nFalse\n"
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = synth.nothing


# --- layouts ------------------------------------------------------------------------------------------------------


def test_layouts_are_the_samplers_and_endless(tmp_path):
    for seed in range(3):
        save_layout(head_layout(seed=seed, case_id=f"head{seed}"), tmp_path / "heads")
    stream = synth.layouts(tmp_path / "heads", seed=4, start=2, shard=(1, 2))
    taken = list(itertools.islice(stream, 2))
    assert [recipe.index for _, recipe in taken] == [3, 5]
    sources = synth.runs.stream.data_sources(tmp_path / "heads", "")[0]
    layout, recipe = LayoutSampler(sources.hosts, seed=4).draw(5)
    assert taken[1][1] == recipe
    assert np.array_equal(taken[1][0].classes, layout.classes)
    assert len(list(synth.layouts(sources, edits="none", n=3, shard=(0, 2)))) == 2


# --- datasets -----------------------------------------------------------------------------------------------------


def test_raw_volumes_are_those_of_generate(pairs, painted):
    for (image, labels), case in zip(values(pairs(n=3, batch=None, normalise=None)), painted, strict=False):
        assert image.dtype == np.float32
        assert np.array_equal(image, case.images)
        assert np.array_equal(labels, case.labels)


def test_zscored_volumes_have_brains_of_mean_0_and_background_0(pairs, painted):
    ((images, labels),) = values(pairs(n=2, start=1, batch=2))
    assert (images.shape, labels.dtype) == ((2, *painted[0].images.shape), np.uint8)
    for image, case in zip(images, painted[1:], strict=False):
        assert not image[~case.brain].any()
        np.testing.assert_allclose(image[case.brain].mean(0), 0, atol=1e-4)
        np.testing.assert_allclose(image[case.brain].std(0), 1, atol=1e-4)


def test_patches_are_cut_from_the_volumes_and_mixed(pairs, painted):
    found = values(pairs(n=3, patch=(16, 20, 12), patches=2, batch=None, normalise=None))
    assert len(found) == 6
    order = []
    for image, labels in found:
        assert (image.shape, labels.shape) == ((16, 20, 12, 4), (16, 20, 12))
        order.append(next(k for k, case in enumerate(painted) if occurs(image, case.images)))
        assert occurs(labels, painted[order[-1]].labels)
    assert order == [0, 1, 0, 2, 1, 2]  # neighbours are of different brains


def occurs(patch, volume):
    windows = np.lib.stride_tricks.sliding_window_view(volume[..., 0] if patch.ndim == 4 else volume, patch.shape[:3])
    wanted = patch[..., 0] if patch.ndim == 4 else patch
    return any((window == wanted).all() for plane in windows for row in plane for window in row)


def test_patches_larger_than_the_grid_hold_all_of_it(pairs, painted):
    ((image, labels),) = values(pairs(n=1, patch=64, patches=1, batch=None, normalise=None))
    assert image.sum(dtype=np.float64) == painted[0].images.sum(dtype=np.float64)
    assert np.count_nonzero(labels) == np.count_nonzero(painted[0].labels)


def test_patches_lie_on_the_tumour_as_often_as_asked(pairs):
    for share in (0.0, 1.0):
        found = values(pairs(n=2, patch=9, patches=20, tumour_share=share, batch=None))
        middles = [labels[4, 4, 4] for _, labels in found]
        hit = np.mean([m > 0 for m in middles])
        assert hit > 0.9 if share else hit < 0.6


def test_any_order_of_workers_gives_the_same_patches(pairs):
    options = {"patch": 16, "patches": 3, "batch": None}
    alone = {image.tobytes() for image, _ in values(pairs(n=4, **options))}
    shards = [{image.tobytes() for image, _ in values(pairs(n=4, shard=(i, 2), **options))} for i in range(2)]
    later = {image.tobytes() for image, _ in values(pairs(n=2, start=2, **options))}
    assert shards[0] | shards[1] == alone
    assert not shards[0] & shards[1]
    assert later < alone


def test_batches_cardinality_and_one_hot_labels(pairs):
    finite = pairs(n=2, patch=16, patches=3, batch=4, one_hot=True)
    assert finite.cardinality().numpy() == 2
    assert [image.shape[0] for image, _ in values(finite)] == [4, 2]
    labels = values(finite)[0][1]
    assert (labels.dtype, labels.shape[-1]) == (np.float32, 4)
    assert (labels.sum(-1) == 1).all()
    endless = pairs(patch=16, batch=4)
    assert endless.cardinality().numpy() == tf.data.INFINITE_CARDINALITY
    assert endless.element_spec[0].shape == (4, 16, 16, 16, 4)


def ours():
    return [thread for thread in threading.enumerate() if thread.name == "synth-ahead"]


def ended():
    """Whether our threads end within some seconds."""
    deadline = time.monotonic() + 20
    while ours() and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.05)
    return not ours()


def test_a_segmenter_is_trained_and_no_thread_is_left(pairs):
    network = keras.Sequential([keras.Input((16, 16, 16, 4)), keras.layers.Conv3D(4, 1, activation="softmax")])
    network.compile("adam", "sparse_categorical_crossentropy")
    history = network.fit(pairs(patch=16, batch=2), steps_per_epoch=3, epochs=2, verbose=0, shuffle=False)
    assert len(history.history["loss"]) == 2
    del network, history
    assert ended()


def test_a_dropped_iterator_ends_its_threads(pairs):
    iterator = iter(pairs(patch=16, batch=2))
    next(iterator)
    assert ours()
    del iterator
    assert ended()


def test_errors_of_the_painting_thread_come_through(pairs, monkeypatch):
    def fail(*_):
        raise SynthError("sample 0 cannot be painted")

    monkeypatch.setattr(Generation, "paint", fail)
    with pytest.raises(tf.errors.OpError, match="sample 0 cannot be painted"):
        next(iter(pairs()))
    assert ended()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch": 0}, "patch must be"),
        ({"patch": (16, 16)}, "patch must be"),
        ({"patches": 0}, "patches must be at least 1"),
        ({"tumour_share": 1.2}, "tumour_share 0 to 1"),
        ({"normalise": "minmax"}, "normalise must be"),
        ({"batch": 0}, "batch must be at least 1"),
        ({"start": -1}, "start must be"),
        ({"n": 0}, "n at least 1"),
        ({"shard": (2, 2)}, "0 <= i < m"),
        ({"n": 1, "shard": (1, 2)}, "shard 1 of 2 of 1 samples is empty"),
        ({"style": "odd"}, "style must be"),
        ({"seed": -1}, "seed"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(sources, model, options, message):
    with pytest.raises(SynthError, match=message):
        synth.dataset(sources, model=model, **options)
    assert not ours()
    with pytest.raises(SynthError, match="found neither"):
        synth.dataset(sources, model="gone")
