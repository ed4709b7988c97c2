"""What a manifest record says of how near a sample is to its host."""

import numpy as np
import pytest

from synth.brats import AFFINE
from synth.case import Case
from synth.errors import DataError
from synth.hosts.anatomies import draw_anatomy
from synth.hosts.sources import Sources, embedded_sources
from synth.layout.edits import Individual, Mirror
from synth.layout.layout import Layout
from synth.layout.sampling.recipe import LayoutRecipe
from synth.layout.sampling.sampler import LayoutSampler
from synth.layout.sampling.sources import MemorySource
from synth.runs.nearness import Nearness
from synth.style.prior import shipped_style_prior


def scan(layout, seed):
    """A case with other intensities in every tissue, and noise."""
    noise = np.random.default_rng(seed).normal(0, 20, (*layout.shape, 4))
    images = 200.0 + layout.tissue[..., None] * np.array([100, 90, -40, 80]) + noise
    return Case(layout.id, np.where(layout.brain[..., None], images, 0).astype(np.int16), layout.tumour, layout.affine)


@pytest.fixture(scope="module")
def hosts():
    maps = [draw_anatomy(np.random.default_rng(seed)).grown()[0] for seed in range(2)]
    return [Layout(tissue, np.zeros_like(tissue), np.array(AFFINE), f"host{k}") for k, tissue in enumerate(maps)]


@pytest.fixture(scope="module")
def sources(hosts):
    scans = {layout.id: scan(layout, 1) for layout in hosts}
    return Sources([MemorySource(host) for host in hosts], None, shipped_style_prior, "two", scan=scans.__getitem__)


def recipe(host, *edits):
    return LayoutRecipe(0, 0, host, None, tuple(edit.to_dict() for edit in edits))


def test_a_copy_is_at_0_a_mirrored_one_too_and_another_brain_is_far(hosts, sources):
    nearness = Nearness(LayoutSampler(sources.hosts), sources.scan)
    told = nearness.of(hosts[0], recipe("host0"), scan(hosts[0], 2))["from_host"]
    assert told["kept"]
    assert told["tissue"] == 0
    assert told["image"] < 0.05
    mirror = Mirror(shift_mm=(0.0, 0.0, 0.0), target="layout")
    turned = mirror.apply(hosts[0])
    assert nearness.of(turned, recipe("host0", mirror))["from_host"]["tissue"] < 0.08
    edit = Individual.draw(hosts[0], np.random.default_rng(0))
    other = edit.apply(hosts[0])
    told = nearness.of(other, recipe("host0", mirror, edit), scan(other, 3))["from_host"]
    assert not told["kept"]
    assert told["tissue"] > 0.2
    assert told["image"] > 0.15
    assert nearness.of(hosts[1], recipe("host0"))["from_host"]["tissue"] > 0.3


def test_without_a_scan_the_image_is_left_out_and_without_a_host_all(hosts, sources):
    def gone(host):
        raise DataError(f"{host}: not there any more.")

    for read in (None, gone):
        told = Nearness(LayoutSampler(sources.hosts), read).of(hosts[0], recipe("host0"), scan(hosts[0], 2))
        assert told == {"from_host": {"kept": True, "tissue": 0.0}}
    assert Nearness(LayoutSampler(embedded_sources().hosts), None).of(hosts[0], recipe("atlas-0000000001")) == {}
