import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phantoms import head_layout

from synth.brats import Tissue, Tumour
from synth.errors import LayoutError
from synth.layout.layout import Layout
from synth.layout.shapes import WHOLE_ML, TumourShape, draw_tumour
from synth.layout.space import components, spacing, ventricles

HEAD = head_layout((60, 72, 54), tumour=False, zooms=(2.7, 2.4, 2.9))


def shape_at_home(**changes):
    rest = {
        "whole_ml": 60.0,
        "core_share": 0.4,
        "necrosis_share": 0.5,
        "centre": (20.0, 42.0, 27.0),
        "axes": (1.1, 1.0, 0.909),
        "degrees": 30.0,
        "axis": (0.0, 0.6, 0.8),
        "roughness": 0.2,
        "white_matter": 0.4,
        "seed": 3,
    }
    return TumourShape(**{**rest, **changes})


def test_drawing_is_seeded_and_the_record_reads_back():
    shape = draw_tumour(HEAD, np.random.default_rng(4))
    assert shape == draw_tumour(HEAD, np.random.default_rng(4)) != draw_tumour(HEAD, np.random.default_rng(5))
    assert TumourShape.from_dict(json.loads(json.dumps(shape.to_dict()))) == shape
    with pytest.raises(LayoutError, match="expected the entries"):
        TumourShape.from_dict({"whole_ml": 3})


def test_volumes_are_those_asked_for():
    volumes = shape_at_home().apply(HEAD).volumes_ml()
    assert volumes["WT"] == pytest.approx(60, rel=0.05)
    assert volumes["NCR"] + volumes["ET"] == pytest.approx(24, rel=0.05)
    assert volumes["NCR"] == pytest.approx(12, rel=0.08)


def test_it_is_nested_in_one_piece_and_at_its_place():
    layout = shape_at_home().apply(HEAD)
    tumour = layout.tumour
    _, sizes = components(tumour > 0)
    assert sizes.max() > 0.98 * np.count_nonzero(tumour)
    assert np.argwhere(tumour > 0).mean(0) == pytest.approx([20, 42, 27], abs=5)
    depth = {value: _mean_radius(tumour == value, spacing(HEAD.affine)) for value in (Tumour.NCR, Tumour.ET, Tumour.ED)}
    assert depth[Tumour.NCR] < depth[Tumour.ET] < depth[Tumour.ED]


def _mean_radius(mask, zooms):
    return np.linalg.norm((np.argwhere(mask) - [20, 42, 27]) * zooms, axis=1).mean()


def test_oedema_prefers_white_matter_and_spares_the_ventricle():
    tissue = HEAD.tissue.copy()
    tissue[(tissue > 0) & (np.arange(tissue.shape[1]) > 42)[None, :, None]] = Tissue.GM
    half_grey = Layout(tissue, HEAD.tumour, HEAD.affine)
    free, drawn = (
        shape_at_home(white_matter=w, roughness=0.0, core_share=0.05).apply(half_grey).tumour for w in (0.0, 1.0)
    )
    share = [np.count_nonzero(t[tissue == Tissue.WM]) / np.count_nonzero(t) for t in (free, drawn)]
    assert share[1] > share[0] + 0.1
    layout = shape_at_home(centre=(33.0, 33.0, 29.0), core_share=0.1).apply(HEAD)
    deep = ventricles(HEAD.tissue, spacing(HEAD.affine), tuple(slice(0, n) for n in HEAD.shape))
    assert not (layout.tumour[deep] == Tumour.ED).any()


def test_no_enhancement_and_no_necrosis_are_possible():
    assert not (shape_at_home(necrosis_share=1.0).apply(HEAD).tumour == Tumour.ET).any()
    assert not (shape_at_home(necrosis_share=0.0).apply(HEAD).tumour == Tumour.NCR).any()


def test_a_layout_without_brain_is_refused():
    empty = Layout(np.zeros((9, 9, 9), np.uint8), np.zeros((9, 9, 9), np.uint8), HEAD.affine)
    with pytest.raises(LayoutError, match="no brain"):
        draw_tumour(empty, np.random.default_rng(0))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_any_drawn_tumour_is_legal(seed):
    shape = draw_tumour(HEAD, np.random.default_rng(seed))
    assert WHOLE_ML[0] <= shape.whole_ml <= WHOLE_ML[1]
    layout = shape.apply(HEAD)
    assert layout.tissue is HEAD.tissue
    assert not (layout.tumour[HEAD.tissue == 0]).any()
    assert 0.5 * shape.whole_ml < layout.volumes_ml()["WT"] < 1.15 * shape.whole_ml + 1
