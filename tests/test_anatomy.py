import json

import numpy as np
import pytest

from synth.brats import AFFINE, GRID
from synth.errors import LayoutError
from synth.layout.anatomy import Anatomy, AtlasAnatomies, AtlasSource, draw_anatomy
from synth.layout.law import violations
from synth.layout.space import spacing, ventricles
from synth.layout.warp import MIN_JACOBIAN


def test_drawn_anatomies_differ_do_not_fold_and_are_records():
    drawn = [draw_anatomy(np.random.default_rng(seed)) for seed in range(12)]
    assert len({anatomy.seed for anatomy in drawn}) == 12
    assert draw_anatomy(np.random.default_rng(3)) == drawn[3]
    for anatomy in drawn:
        assert anatomy.warp().min_jacobian() > MIN_JACOBIAN
        record = json.loads(json.dumps(anatomy.to_dict()))
        assert Anatomy(**{k: tuple(v) if isinstance(v, list) else v for k, v in record.items()}) == anatomy


def test_tissue_is_complete_and_in_the_proportions_of_brains():
    tissue = draw_anatomy(np.random.default_rng(1)).tissue()
    assert tissue.shape == GRID
    share = np.bincount(tissue.ravel(), minlength=4)[1:] / np.count_nonzero(tissue)
    for value, (low, high) in zip(share, ((0.08, 0.33), (0.30, 0.60), (0.22, 0.45)), strict=True):
        assert low < value < high
    assert 1050 < np.count_nonzero(tissue) / 1000 < 2000
    whole = tuple(slice(0, n) for n in GRID)
    assert 5_000 < np.count_nonzero(ventricles(tissue, spacing(AFFINE), whole)) < 120_000


def test_a_source_gives_the_same_lawful_layout_each_time():
    source = AtlasAnatomies()[123456]
    layout, again = source.load(), AtlasSource(123456).load()
    assert np.array_equal(layout.classes, again.classes)
    assert layout.id == source.id == "atlas-0000123456"
    assert layout.tumour.any()
    assert violations(layout) == []


def test_the_sequence_is_indexed_and_searched_without_loading():
    hosts = AtlasAnatomies(1000)
    assert len(hosts) == 1000
    assert hosts.find(hosts[999].id) == hosts[999]
    with pytest.raises(IndexError, match="0 to 999"):
        hosts[1000]
    for wrong in ("atlas-0000001000", "BraTS_001"):
        with pytest.raises(LayoutError, match="is not an atlas anatomy"):
            hosts.find(wrong)
    with pytest.raises(LayoutError, match="at least 1"):
        AtlasAnatomies(0)
