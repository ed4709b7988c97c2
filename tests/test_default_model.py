"""The shipped generator, as users meet it: it beats the painter on held-out scans and paints gliomas' contrasts."""

import numpy as np
import pytest
from phantoms import phantom_sources

from synth.datasets.cases import find_cases, read_case
from synth.hosts.sources import embedded_sources
from synth.models.weights import load_generator
from synth.quality.similarity import healthy_tissue, texture_level
from synth.runs.generate import GenerateConfig, Generation
from synth.runs.reconstruct import compare, reconstruct_case


@pytest.fixture(scope="module")
def sample():
    generation = Generation(embedded_sources(), config=GenerateConfig(seed=11))
    layout, recipe = generation.draw(0)
    return layout, recipe, generation.paint(layout, recipe)


def test_embedded_default_paints_a_brain(sample):
    layout, recipe, case = sample
    assert case.images.shape == (240, 240, 155, 4)
    assert np.array_equal(case.labels, layout.tumour)
    assert np.array_equal(case.brain, layout.brain)
    assert case.images.min() == 0
    assert case.meta["style"]["kind"] == "sampled"
    medians = np.array([[np.median(case.images[..., m][layout.classes == k]) for k in (1, 2, 3)] for m in range(4)])
    assert (np.diff(medians[0]) > 0).all()  # t1 rises from CSF to WM
    assert medians[2].argmax() == 0  # fluid is brightest in t2
    assert medians[3].argmin() == 0  # and darkest in flair
    healthy = healthy_tissue(layout.classes)
    window = np.array(recipe.written)
    for m in range(4):
        level = texture_level(case.images[..., m].astype(np.float32), healthy) / (window[m, 1] - window[m, 0])
        assert 0.4 < level / recipe.style.texture[m] < 1.6


def test_a_sample_does_not_depend_on_what_was_painted_before():
    generation = Generation(phantom_sources(), config=GenerateConfig(seed=11, edits=("gentle",)))
    case, other, again = generation.cases([0, 5, 0])
    assert not np.array_equal(other.images, case.images)
    assert np.array_equal(again.images, case.images)


def test_it_beats_the_painter_on_a_held_out_scan(real_data):
    painter, _ = load_generator()
    real = read_case(find_cases(real_data / "brats" / "val")[0])
    painted, layout, _ = reconstruct_case(real, painter)
    for row in compare(real, painted, layout):
        assert row.ssim > row.ssim_painter, row
        assert row.psnr > row.psnr_painter - 0.5, row
        assert 0.6 < row.texture < 1.4, row
