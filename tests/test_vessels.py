"""Vessel trees of the detail prior."""

import numpy as np
import pytest

from synth.brats import AFFINE, GRID, Tissue
from synth.layout.detail import VESSEL_LEVELS
from synth.layout.priors import vessels
from synth.layout.priors.vessels import STEP, vessel_trees
from synth.layout.space import components

BOX = (slice(100, 141), slice(160, 225), slice(40, 76))
OFTEN = np.full([-(-size // STEP) for size in GRID], 0.02)


def shell():
    """A box of grey matter in 3 voxels of fluid."""
    tissue = np.full([part.stop - part.start for part in BOX], Tissue.CSF, np.uint8)
    tissue[3:-3, 3:-3, 3:-3] = Tissue.GM
    return tissue


def trees(tissue, often=OFTEN, seed=0, affine=AFFINE):
    return vessel_trees(tissue, np.array(affine), BOX, often, np.random.default_rng(seed))


def test_trees_hang_together_in_fluid_or_on_the_surface_and_differ():
    tissue = shell()
    drawn, again, other = trees(tissue), trees(tissue), trees(tissue, seed=1)
    assert np.array_equal(drawn, again)
    assert not np.array_equal(drawn, other)
    assert drawn.max() == VESSEL_LEVELS
    assert len(components(drawn > 0)[1]) - 1 <= 2  # as there are roots
    inside = np.zeros(tissue.shape, bool)
    inside[8:-8, 8:-8, 8:-8] = True
    assert not drawn[inside].any()


@pytest.mark.parametrize("seed", range(4))
def test_trees_are_not_torn_where_the_brain_curves(seed):
    tissue = shell()
    away = sum(line**2 for line in np.ogrid[tuple(slice(-1, 1, n * 1j) for n in tissue.shape)])
    tissue[away > 0.86] = 0
    assert len(components(trees(tissue, seed=seed) > 0)[1]) - 1 <= 2


def test_vessels_are_where_real_brains_have_them_and_as_many():
    tissue, few = shell(), np.zeros(OFTEN.shape)
    assert not trees(tissue, few).any()
    few[:, : 190 // STEP] = 0.05
    drawn = trees(tissue, few)
    assert (drawn[:, :30] > 0).sum() > 2 * (drawn[:, 35:] > 0).sum()
    assert (trees(tissue, 2 * OFTEN) > 0).sum() > 1.3 * (trees(tissue) > 0).sum()


def test_brains_differ_in_how_many_vessels_they_have():
    tissue, often = shell(), 4 * OFTEN
    counts = [(trees(tissue, often, seed) > 0).sum() for seed in range(8)]
    assert np.std(counts) > 0.1 * np.mean(counts)


def test_no_brain_has_brighter_vessels_than_there_are(monkeypatch):
    monkeypatch.setattr(vessels, "_FILLS", 1.0)
    assert max(trees(shell(), seed=seed).max() for seed in range(4)) == VESSEL_LEVELS


def test_fewer_lie_in_the_middle_where_the_falx_shines_too(monkeypatch):
    tissue, at = shell(), round(vessels.MIDLINE) - BOX[0].start
    middle = slice(at - 3, at + 4)
    few = [(trees(tissue, OFTEN, seed)[middle] > 0).sum() for seed in range(4)]
    monkeypatch.setattr(vessels, "_NOT_FALX", 2.0)
    assert sum(few) < 0.8 * sum((trees(tissue, OFTEN, seed)[middle] > 0).sum() for seed in range(4))


def test_vessels_widen_where_they_have_joined(monkeypatch):
    monkeypatch.setattr(vessels, "_NOT_FALX", 1.0)  # the confluence lies in the middle
    tissue = shell()
    thick = trees(tissue, 4 * OFTEN)
    monkeypatch.setattr(vessels, "_WIDEST_MM", vessels._END_MM)
    thin = trees(tissue, 4 * OFTEN)
    root = tuple(round(v) - part.start for v, part in zip(vessels._ROOTS[0], BOX, strict=True))
    near = tuple(slice(v - 8, v + 8) for v in root)
    assert (thick[near] > 0).sum() > 2 * (thin[near] > 0).sum()


@pytest.mark.parametrize("value", [0, Tissue.GM])
def test_nothing_without_a_brain_or_off_the_grid(value):
    tissue = np.full((6, 7, 8), value, np.uint8)
    far = np.array(AFFINE)
    far[:3, 3] += 1e4
    drawn = vessel_trees(tissue, far, tuple(slice(0, n) for n in tissue.shape), OFTEN, np.random.default_rng(0))
    assert drawn.shape == tissue.shape
    assert not drawn[tissue == 0].any()
