import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phantoms import head_layout

from synth.brats import Tissue, Tumour
from synth.errors import LayoutError
from synth.layout.edits.edit import edit_from_dict
from synth.layout.edits.new import New
from synth.layout.facts import describe
from synth.layout.layout import Layout
from synth.layout.plans.plan import Wish
from synth.layout.space import components, spacing, ventricles

HEAD = head_layout((60, 72, 54), tumour=False, zooms=(2.7, 2.4, 2.9))
LEFT, RIGHT = (40.0, 42.0, 27.0), (19.0, 42.0, 27.0)  # mirror images of one another


def at_home(**changes):
    rest = {
        "whole_ml": 60.0,
        "core_share": 0.4,
        "necrosis_share": 0.5,
        "centre": RIGHT,
        "latents": (0.0,) * 48,
        "irregularity": 0.08,
        "raggedness": 0.4,
        "white_matter": 4.0,
        "seed": 3,
    }
    return New(**{**rest, **changes})


def test_drawing_is_seeded_and_the_record_reads_back():
    edit = New.draw(HEAD, np.random.default_rng(4))
    assert edit == New.draw(HEAD, np.random.default_rng(4)) != New.draw(HEAD, np.random.default_rng(5))
    again = edit_from_dict(json.loads(json.dumps(edit.to_dict())))
    assert again == edit
    assert np.array_equal(again.apply(HEAD).tumour, edit.apply(HEAD).tumour)


def test_volumes_are_those_asked_for():
    volumes = at_home().apply(HEAD).volumes_ml()
    assert volumes["WT"] == pytest.approx(60, rel=0.03)
    assert volumes["NCR"] + volumes["ET"] == pytest.approx(24, rel=0.05)
    assert volumes["NCR"] == pytest.approx(12, rel=0.08)


def test_it_is_in_one_piece_but_for_crumbs_and_at_its_place():
    layout = at_home(raggedness=2.0).apply(HEAD)
    _, sizes = components(layout.tumour > 0)
    assert np.count_nonzero(sizes * np.prod(spacing(HEAD.affine)) >= 100) == 1
    assert sizes.max() > 0.98 * np.count_nonzero(layout.tumour)
    assert np.argwhere(layout.tumour > 0).mean(0) == pytest.approx(RIGHT, abs=5)


def test_core_lies_inside_oedema_and_necrosis_inside_the_core():
    tumour = at_home(irregularity=0.0, raggedness=0.0).apply(HEAD).tumour
    spread = [
        np.linalg.norm((np.argwhere(tumour == value) - RIGHT) * spacing(HEAD.affine), axis=1).mean()
        for value in (Tumour.NCR, Tumour.ET, Tumour.ED)
    ]
    assert spread == sorted(spread)


def test_the_other_side_gets_the_mirror_image():
    plain = {"irregularity": 0.0, "raggedness": 0.0, "white_matter": 0.0, "latents": (1.5, -1.0, 2.0, *(0.0,) * 45)}
    ball = np.ones(HEAD.shape, np.uint8)  # brain everywhere: nothing but the shape decides
    room = Layout(ball, np.zeros_like(ball), HEAD.affine)
    right, left = (at_home(centre=centre, **plain).apply(room).tumour for centre in (RIGHT, LEFT))
    either = (left[::-1] > 0) | (right > 0)
    assert np.mean(left[::-1][either] == right[either]) > 0.97
    same_side = np.roll(left, int(RIGHT[0] - LEFT[0]), axis=0)
    assert np.mean(same_side[either] == right[either]) < 0.9


def test_latents_change_the_shape_and_raggedness_the_outline():
    base, other, ragged = (
        at_home(**changes).apply(HEAD)
        for changes in ({}, {"latents": (0.0, 2.0, 0.0, -2.0, *(0.0,) * 44)}, {"raggedness": 2.5})
    )
    overlap = np.count_nonzero((base.tumour > 0) & (other.tumour > 0)) / np.count_nonzero(base.tumour)
    assert overlap < 0.9
    assert describe(ragged).sphericity < describe(base).sphericity - 0.05


def test_oedema_prefers_white_matter_and_spares_the_ventricle():
    tissue = HEAD.tissue.copy()
    tissue[(tissue > 0) & (np.arange(tissue.shape[1]) > 42)[None, :, None]] = Tissue.GM
    half_grey = Layout(tissue, HEAD.tumour, HEAD.affine)
    free, drawn = (at_home(white_matter=w, core_share=0.05).apply(half_grey).tumour for w in (0.0, 15.0))
    share = [np.count_nonzero(t[tissue == Tissue.WM]) / np.count_nonzero(t) for t in (free, drawn)]
    assert share[1] > share[0] + 0.1
    layout = at_home(centre=(33.0, 33.0, 29.0), core_share=0.1).apply(HEAD)
    deep = ventricles(HEAD.tissue, spacing(HEAD.affine), tuple(slice(0, n) for n in HEAD.shape))
    assert not (layout.tumour[deep] == Tumour.ED).any()


def test_no_enhancement_and_no_necrosis_are_possible():
    assert not (at_home(necrosis_share=1.0).apply(HEAD).tumour == Tumour.ET).any()
    assert not (at_home(necrosis_share=0.0).apply(HEAD).tumour == Tumour.NCR).any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"whole_ml": -1.0}, "volume above 0"),
        ({"core_share": 1.2}, "shares of 0 to 1"),
        ({"raggedness": -0.1}, "nothing below 0"),
        ({"latents": (0.0, float("nan"))}, "list of finite numbers"),
        ({"centre": (1.0, 2.0)}, "three finite numbers"),
    ],
)
def test_bad_parameters_are_refused(changes, message):
    with pytest.raises(LayoutError, match=message):
        at_home(**changes)


def test_too_many_latents_are_refused():
    with pytest.raises(LayoutError, match="at most 48 latents"):
        at_home(latents=(0.0,) * 49).apply(HEAD)


def test_a_layout_without_brain_is_refused():
    empty = Layout(np.zeros((9, 9, 9), np.uint8), np.zeros((9, 9, 9), np.uint8), HEAD.affine)
    with pytest.raises(LayoutError, match="no brain"):
        New.draw(empty, np.random.default_rng(0))


@pytest.mark.parametrize(
    "wish",
    [Wish(side="left"), Wish(volume_ml=(10, 30), enhancement="without"), Wish(volume_ml=(60, 100), lobe="frontal")],
)
def test_what_is_wished_is_drawn(wish):
    for seed in range(3):
        edit = New.draw(HEAD, np.random.default_rng(seed), wish=wish)
        if wish.volume_ml:
            assert wish.volume_ml[0] <= edit.whole_ml < wish.volume_ml[1]
        if wish.enhancement:
            assert edit.necrosis_share == 1
        if wish.side:
            assert describe(edit.apply(HEAD)).side == wish.side


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_any_drawn_tumour_is_legal(seed):
    edit = New.draw(HEAD, np.random.default_rng(seed))
    layout = edit.apply(HEAD)
    assert layout.tissue is HEAD.tissue
    assert not (layout.tumour[HEAD.tissue == 0]).any()
    assert 0.8 * edit.whole_ml < layout.volumes_ml()["WT"] < 1.05 * edit.whole_ml + 1
