from dataclasses import replace

import numpy as np
import pytest
from phantoms import head_layout

from synth.brats import Tissue, Tumour
from synth.layout.law import MAX_LOST, MIN_LARGEST_OF_MANY, MIN_LARGEST_SHARE, measure, violations
from synth.layout.layout import Layout
from synth.layout.space import spacing, ventricles


def with_tumour(layout, mask, value=Tumour.ED):
    return replace(layout, tumour=np.where(mask & layout.brain, np.uint8(value), np.uint8(0)))


def ball(layout, centre, radius_mm):
    zooms = np.array(spacing(layout.affine))
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in layout.shape], indexing="ij"), -1)
    return (((grid - centre) * zooms) ** 2).sum(-1) < radius_mm**2


def test_the_facts_are_those_of_the_tumour():
    layout = with_tumour(head_layout(), ball(head_layout(), (12, 28, 18), 18))
    facts = measure(layout)
    assert facts.volume_ml == pytest.approx(4 / 3 * np.pi * 1.8**3, rel=0.1)
    assert facts.brain_share == pytest.approx(np.count_nonzero(layout.tumour) / np.count_nonzero(layout.tissue))
    assert (facts.pieces, facts.largest_share, facts.faces) == (1, 1.0, 0)
    assert facts.across == 0
    assert violations(layout) == []


def test_no_tumour_is_lawful_only_where_none_is_expected():
    healthy = head_layout(tumour=False)
    facts = measure(healthy)
    assert (facts.volume_ml, facts.pieces) == (0, 0)
    assert facts.brain_ml == pytest.approx(np.count_nonzero(healthy.tissue) * 0.063)
    assert violations(healthy) == ["no tumour is left"]
    assert violations(healthy, tumour_expected=False) == []


def test_a_tumour_in_the_ventricle_is_unlawful():
    layout = head_layout(tumour=False)
    deep = ventricles(layout.tissue, spacing(layout.affine), tuple(slice(0, n) for n in layout.shape))
    found = " ".join(violations(with_tumour(layout, deep, Tumour.ET)))
    assert "of the tumour lies in the ventricles" in found
    assert "of the tumour core lies in the ventricles" in found


def test_the_middle_of_a_ventricle_is_told_apart_from_its_wall():
    layout = head_layout(tumour=False)
    tissue = layout.tissue.copy()
    tissue[ball(layout, (20, 23, 19), 22)] = Tissue.CSF
    layout = replace(layout, tissue=tissue)
    at_wall = ball(layout, (20, 32, 19), 16)
    assert measure(with_tumour(layout, at_wall & (tissue != Tissue.CSF))).middle_share == 0
    assert measure(with_tumour(layout, ball(layout, (20, 23, 19), 12))).middle_share > 0.3


def test_a_tumour_across_the_midline_is_unlawful_unless_it_was_so_at_home():
    layout = with_tumour(head_layout(), ball(head_layout(), (19, 34, 18), 16))
    facts = measure(layout)
    assert facts.across > 0.3
    assert any("across the midline" in sentence for sentence in violations(layout))
    assert violations(layout, reference=facts) == []
    lawful_at_home = replace(facts, across=0.2)
    assert any("more than 21.0%" in sentence for sentence in violations(layout, reference=lawful_at_home))


def test_what_was_cut_off_small_and_scattered_is_unlawful():
    base = head_layout()
    layout = with_tumour(base, ball(base, (12, 28, 18), 18))
    assert any("cut off" in sentence for sentence in violations(layout, lost=MAX_LOST + 0.01))
    small = with_tumour(base, ball(base, (12, 28, 18), 7))
    assert any("less than 2.8 ml" in sentence for sentence in violations(small))
    apart = with_tumour(base, ball(base, (11, 32, 18), 14) | ball(base, (12, 15, 18), 14))
    assert any("in one piece" in sentence for sentence in violations(apart))
    huge = with_tumour(base, ball(base, (12, 28, 18), 60))
    assert any("of the brain is tumour" in sentence for sentence in violations(huge))


def test_a_tumour_along_the_edge_is_unlawful():
    fine = head_layout(zooms=(2.0, 2.0, 2.0))
    rim = (fine.tissue == Tissue.CSF) & (np.arange(fine.shape[0]) < 15)[:, None, None]
    assert any("along the brain's edge" in sentence for sentence in violations(with_tumour(fine, rim)))


def test_a_brain_cut_by_the_grid_is_unlawful_but_at_the_lowest_slice():
    layout = head_layout()
    shifted = Layout(np.roll(layout.tissue, 14, 0), np.zeros_like(layout.tumour), layout.affine)
    assert any("cut by the grid's edge" in sentence for sentence in violations(shifted, tumour_expected=False))
    low = np.zeros_like(layout.tissue)
    low[5:35, 5:40, :30] = Tissue.WM
    assert violations(Layout(low, np.zeros_like(low), layout.affine), tumour_expected=False) == []


def test_one_piece_unless_there_were_more_at_home_or_satellites_were_asked_for():
    base = head_layout(zooms=(2.5, 2.5, 2.5))
    two = with_tumour(base, ball(base, (12, 28, 18), 15) | ball(base, (12, 13, 18), 6))
    assert measure(two).pieces == 2
    assert violations(two) == ["the tumour has 2 pieces, more than 1"]
    assert violations(two, satellites=1) == []
    assert violations(two, reference=measure(two)) == []
    assert violations(two, reference=measure(two).healthy()) == ["the tumour has 2 pieces, more than 1"]
    three = with_tumour(two, (two.tumour > 0) | ball(base, (14, 30, 29), 6))
    assert violations(three, satellites=1) == ["the tumour has 3 pieces, more than 2"]
    assert violations(three, satellites=1, reference=measure(two)) == []


def test_satellites_may_be_larger_than_what_breaks_off():
    base = head_layout(zooms=(2.5, 2.5, 2.5))
    apart = with_tumour(base, ball(base, (12, 28, 18), 15) | ball(base, (12, 13, 18), 12))
    assert MIN_LARGEST_OF_MANY < measure(apart).largest_share < MIN_LARGEST_SHARE
    assert violations(apart, satellites=1) == []
    assert any("in one piece" in sentence for sentence in violations(apart))


def test_a_brain_with_holes_is_unlawful():
    layout = head_layout()
    tissue = layout.tissue.copy()
    tissue[25:29, 20:24, 16:19] = Tissue.OUTSIDE
    holed = Layout(tissue, layout.tumour, layout.affine)
    assert measure(layout).holes == 0
    assert measure(holed).holes == 48
    assert any("48 voxels inside the brain have no tissue" in sentence for sentence in violations(holed))
    assert violations(holed, reference=measure(holed)) == violations(layout)


def test_facts_of_two_are_the_laxer_of_each():
    layout = with_tumour(head_layout(), ball(head_layout(), (19, 34, 18), 16))
    one, other = measure(layout), measure(with_tumour(head_layout(), ball(head_layout(), (12, 28, 18), 18)))
    both = other.laxer(one)
    assert (both.across, both.volume_ml) == (one.across, min(one.volume_ml, other.volume_ml))
    assert (both.faces, both.brain_ml) == (other.faces, other.brain_ml)
    assert other.healthy().laxer(one) == other.with_tumour_of(one)
    assert one.laxer(other.healthy()) == one
    assert (one.healthy().pieces, one.healthy().volume_ml) == (0, 0)
