import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phantoms import head_layout

from synth.brats import AFFINE, GRID, Tumour
from synth.datasets.layout_files import save_layout
from synth.errors import DataError, LayoutError
from synth.hosts.plans import read_plan
from synth.layout.edits.edit import edit_from_dict
from synth.layout.facts import TumourFacts, describe, surface_mm2
from synth.layout.layout import Layout
from synth.layout.lobes import LOBES, lobe_index, lobe_of_mni, mni
from synth.layout.plans.plan import AXES, PLANS, VOLUME_EDGES, Factor, Plan, Wish, balanced, matched
from synth.layout.plans.plan_file import plan_from, plan_of
from synth.layout.sampling.coverage import coverage, survey
from synth.layout.sampling.sampler import LayoutSampler
from synth.layout.sampling.sources import MemorySource

HEADS = [head_layout(seed=seed, case_id=f"head{seed}") for seed in range(3)]
HOSTS = [MemorySource(head) for head in HEADS]
SMALL = {  # what heads of 0.9 l have room for
    "axes": {
        "volume_ml": [12, 30, 60],
        "side": "equal",
        "lobe": ["frontal", "parietal", "temporal"],
        "enhancement": "equal",
        "focality": "equal",
    }
}
# MNI mm of the left regions' centres in the AAL atlas (Tzourio-Mazoyer 2002)
CENTRES = {
    "frontal": [
        (-39, -6, 51), (-18, 35, 42), (-17, 47, -13), (-33, 33, 35), (-31, 50, -10), (-48, 13, 19), (-46, 30, 14),
        (-36, 31, -12), (-5, 5, 61), (-5, 49, 31), (-5, 37, -18), (-4, 35, 14), (-8, -25, 70),
    ],
    "parietal": [
        (-42, -23, 49), (-23, -60, 59), (-43, -46, 47), (-56, -34, 30), (-44, -61, 36), (-7, -56, 48), (-5, -43, 25),
    ],
    "temporal": [
        (-25, -21, -10), (-21, -16, -21), (-23, -1, -17), (-31, -40, -20), (-42, -19, 10), (-53, -21, 7),
        (-40, 15, -20), (-56, -34, -2), (-36, 15, -34), (-50, -28, -23),
    ],
    "occipital": [(-7, -79, 6), (-6, -80, 27), (-15, -68, -5), (-17, -84, 28), (-32, -81, 16), (-36, -78, -8)],
    "deep": [(-35, 7, 3), (-11, 11, 9), (-24, 4, 2), (-18, 0, 0), (-11, -18, 8)],
    "infratentorial": [
        (-35, -67, -29), (-29, -73, -38), (-9, -37, -19), (-15, -43, -17), (-23, -59, -22), (-26, -55, -48),
        (1, -67, -15), (0, -25, -33),
    ],
}  # fmt: skip


def write(folder, text, name="plan.yaml"):
    path = folder / name
    path.write_text(text)
    return path


# --- lobes and facts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lobe", LOBES)
def test_published_centres_lie_in_their_lobes_on_both_sides(lobe):
    for side in (1, -1):
        points = np.array(CENTRES[lobe], float) * (side, 1, 1)
        assert [LOBES[i] for i in lobe_of_mni(points)] == [lobe] * len(points)


def test_the_grid_is_in_the_space_of_the_lobes():
    front, left = mni(np.array([[119, 60, 80], [170, 120, 80]]))
    assert abs(front[0]) < 4  # the mid-sagittal plane
    assert front[1] > 40  # indices grow backwards
    assert left[0] < -40  # and to the left
    small = mni(np.array([[19.5, 15, 18]]), (40, 48, 36))[0]  # the same head on another grid
    assert abs(small[0]) < 4
    assert small[1] > 20
    whole = np.stack(np.meshgrid(*[np.arange(0, n, 8) for n in GRID], indexing="ij"), -1).reshape(-1, 3)
    assert set(lobe_index(whole)) == set(range(len(LOBES)))


def with_ball(shape, zooms, centre, radius_mm, value=Tumour.ET):
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1)
    ball = (((grid - centre) * zooms) ** 2).sum(-1) < radius_mm**2
    affine = np.diag([-zooms[0], -zooms[1], zooms[2], 1.0])
    return Layout(np.ones(shape, np.uint8), ball.astype(np.uint8) * np.uint8(value), affine, "ball")


def test_the_facts_of_a_ball():
    zooms = (1.0, 1.2, 0.9)
    layout = with_ball((60, 64, 70), zooms, (38, 20, 40), 16.0)
    facts = describe(layout)
    assert facts.volume_ml["WT"] == facts.volume_ml["ET"] == pytest.approx(4 / 3 * np.pi * 1.6**3, rel=0.02)
    assert facts.volume_ml["NCR"] == facts.volume_ml["ED"] == 0
    assert facts.sphericity == pytest.approx(1, abs=0.02)
    assert surface_mm2(layout.tumour > 0, zooms) == pytest.approx(4 * np.pi * 256, rel=0.02)
    assert facts.diameter_mm == pytest.approx(32, abs=1)
    assert facts.centroid == pytest.approx((38, 20, 40), abs=0.1)
    assert facts.centroid_mm == pytest.approx((-38, -24, 36), abs=0.1)
    assert (facts.side, facts.lobe, facts.enhancing, facts.pieces) == ("left", "frontal", True, 1)
    flipped = replace(layout, affine=np.diag([1.0, 1.0, 1.0, 1.0]))
    assert describe(flipped).side == "right"  # indices that grow to the right
    assert json.loads(json.dumps(facts.to_dict()))["pieces"] == 1


def test_the_facts_of_no_tumour_and_of_hardly_any():
    healthy = head_layout(tumour=False)
    facts = describe(healthy)
    assert (facts.side, facts.lobe, facts.pieces, facts.sphericity, facts.enhancing) == (None, None, 0, None, False)
    assert set(facts.volume_ml.values()) == {0.0}
    tiny = with_ball((20, 22, 24), (1.0, 1.0, 1.0), (5, 5, 5), 0.5)
    assert (describe(tiny).pieces, describe(tiny).diameter_mm, describe(tiny).enhancing) == (1, 0.0, False)
    flat = replace(healthy, tumour=np.zeros_like(healthy.tumour))
    flat.tumour[10:20, 20:30, 18] = Tumour.ED
    assert describe(flat).diameter_mm == pytest.approx(np.hypot(9 * 4.0, 9 * 3.5), abs=0.1)


# --- what is wished -----------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=7), st.integers(0, 2**40))
def test_counts_are_exact_and_never_one_off(weights, seed):
    factor = Factor(("lobe",), tuple((lobe,) for lobe in (*LOBES, "seventh")[: len(weights)]), tuple(weights))
    total = sum(weights)
    drawn = [factor.at(seed, k, 0)["lobe"] for k in range(2 * total)]
    for n in range(1, 2 * total + 1):
        counts = Counter(drawn[:n])
        for (lobe,), weight in zip(factor.levels, weights, strict=True):
            assert abs(counts[lobe] - n * weight / total) < 1
    assert Counter(drawn[:total]) == Counter(drawn[total:])


def test_a_wish_depends_on_seed_and_index_alone_and_axes_do_not_go_together():
    plan = Plan.preset("balanced")
    wishes = [plan.wish(3, k) for k in range(400)]
    assert wishes[::-1] == [plan.wish(3, k) for k in reversed(range(400))]
    assert wishes != [plan.wish(4, k) for k in range(400)]
    assert Counter(w.side for w in wishes) == {"left": 200, "right": 200}
    assert set(Counter(w.lobe for w in wishes).values()) == {80}
    assert set(Counter(w.volume_ml for w in wishes).values()) == {100}
    pairs = Counter((w.enhancement, w.focality) for w in wishes)
    assert max(pairs.values()) - min(pairs.values()) < 60  # never: four times 100, standard deviation 10
    shards = [plan.wish(3, k) for i in range(3) for k in range(i, 400, 3)]
    assert Counter(map(str, shards)) == Counter(map(str, wishes))


def test_a_plan_reads_back_from_its_dict_with_the_same_wishes():
    for name in PLANS:
        plan = Plan.preset(name)
        again = plan_from(json.loads(json.dumps(plan.to_dict())))
        assert again == plan == plan_of(name) == plan_of(plan) == plan_of(plan.to_dict())
    assert Plan.preset("balanced").axes == AXES
    assert Plan.preset("balanced").levels("volume_ml")[0] == VOLUME_EDGES[:2]


def test_a_file_is_read_as_it_says(tmp_path):
    text = """
axes:
  volume_ml: {10-50: 0.7, 50-220: 0.3}
  side: {left: 2, right: 4}
  enhancement: equal
cells:
  - {lobe: frontal, focality: single, count: 3}
  - {lobe: temporal, focality: multifocal, count: 2}
"""
    plan = plan_of(write(tmp_path, text))
    volume, side, enhancement, joint = plan.factors
    assert (volume.weights, volume.levels) == ((7, 3), (((10.0, 50.0),), ((50.0, 220.0),)))
    assert side.weights == (1, 2)
    assert enhancement == balanced("enhancement")
    assert (joint.axes, joint.weights) == (("lobe", "focality"), (3, 2))
    assert plan_from(plan.to_dict()) == plan
    wishes = [plan.wish(0, k) for k in range(10)]
    assert {(w.lobe, w.focality) for w in wishes} == {("frontal", "single"), ("temporal", "multifocal")}
    as_json = write(tmp_path, json.dumps(plan.to_dict()), "plan.json")
    assert plan_of(str(as_json)) == plan


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("axes: {}", "expected axes with their levels.*axes are volume_ml, side"),
        ("axes: 3", "expected axes"),
        ("sides: {}", "unknown key 'sides'; known keys are axes, cells"),
        ("axes: {sid: equal}", "unknown key 'sid'"),
        ("axes: {side: fair}", "expected equal, or levels with counts"),
        ("axes: {side: [up]}", "unknown level 'up'; levels are left, right"),
        ("axes: {side: {left: 0}}", "must be a number above 0, found 0"),
        ("axes: {side: {left: .nan}}", "must be a number above 0"),
        ("axes: {side: {left: 0.12345, right: 1}}", "only come out exact after"),
        ("axes: {volume_ml: [50, 10]}", "ascending volumes"),
        ("axes: {volume_ml: [50]}", "two or more ascending volumes"),
        ("axes: {volume_ml: [0.5, 1, 2]}", "between 2.8 .*the smallest lawful tumour.* and 1000 ml"),
        ("axes: {volume_ml: {50-x: 1}}", "a range of ml such as 50-100, found '50-x'"),
        ("axes: {volume_ml: {50-100: 1, 90-120: 1}}", "50-100 and 90-120 overlap"),
        ("cells: [{side: left}, {lobe: deep}]", "cell 2: expected the axes of the first cell .side."),
        ("cells: [{count: 3}]", "at least one axis"),
        ("cells: 3", "cells must be a list"),
        ("cells: [{side: left}, {side: left}]", "cell 2: stands there before"),
        ("{axes: {side: equal}, cells: [{side: left}]}", "side stands in axes and in cells"),
        ("match: 3", "match must be the path of a dataset"),
        ("{match: x, axes: {side: equal}}", "axes must be a list out of"),
        ("{match: x, joint: maybe}", "joint must be true or false"),
        ("{match: x, edges: [9, 3]}", "ascending volumes"),
        ("{match: x, cells: []}", "unknown key 'cells'"),
    ],
)
def test_what_is_no_plan_is_refused_in_one_sentence(text, message, tmp_path):
    path = write(tmp_path, text)
    with pytest.raises(LayoutError, match=message) as error:
        plan_of(path)
    assert str(error.value).startswith(str(path))


def test_what_names_no_plan_is_refused(tmp_path):
    with pytest.raises(LayoutError, match=r"blanced: expected a plan's name \(balanced, .* found neither"):
        plan_of("blanced")
    with pytest.raises(LayoutError, match="unknown plan 'x'; plans are balanced"):
        Plan.preset("x")
    with pytest.raises(LayoutError, match=r"match: gone asks for a dataset to be read.*hosts\.plans\.read_plan"):
        plan_of(write(tmp_path, "match: gone"))
    with pytest.raises(DataError, match="gone"):
        read_plan(write(tmp_path, "match: gone"))


# --- matching a dataset -------------------------------------------------------------------------------------------


def fact(side, lobe, ml, et=1.0, pieces=1):
    volumes = {"NCR": 0.0, "ED": ml - et, "ET": et, "TC": et, "WT": ml}
    return TumourFacts(volumes, side, lobe, et >= 0.1, pieces, 0.7, (0, 0, 0), (0, 0, 0), 10.0)


def test_a_matched_plan_has_the_proportions_of_the_tumours():
    facts = [fact("left", "frontal", 20), fact("left", "frontal", 70), fact("right", "deep", 500, 0.0, 2)]
    apart = matched(facts, AXES, (3, 50, 100), joint=False)
    assert apart.to_dict()["axes"] == {
        "volume_ml": {"3-50": 1, "50-100": 2},  # what is beyond the edges is in the nearest bin
        "side": {"left": 2, "right": 1},
        "lobe": {"frontal": 2, "deep": 1},
        "enhancement": {"with": 2, "without": 1},
        "focality": {"single": 2, "multifocal": 1},
    }
    together = matched(facts, ("side", "lobe", "focality"), (3, 50, 100), joint=True)
    assert together.to_dict() == {
        "cells": [
            {"side": "left", "lobe": "frontal", "focality": "single", "count": 2},
            {"side": "right", "lobe": "deep", "focality": "multifocal", "count": 1},
        ]
    }
    assert plan_from(together.to_dict()) == together


def test_a_folder_of_layouts_is_matched(tmp_path):
    for head in HEADS:
        save_layout(head, tmp_path / "data")
    plan = read_plan(write(tmp_path, "{match: data, axes: [side, enhancement]}"))
    sides = Counter(describe(head).side for head in HEADS)
    assert set(plan.to_dict()["axes"]["side"]) == set(sides)
    assert plan.to_dict()["axes"]["enhancement"] == {"with": 1}


# --- planned samples ----------------------------------------------------------------------------------------------


def test_every_sample_is_as_planned_and_replays_without_the_plan():
    sampler = LayoutSampler(HOSTS, "gentle", 2, SMALL)
    for k in range(8):
        layout, recipe = sampler.draw(k)
        wish = sampler.plan.wish(2, k)
        assert wish.misses(describe(layout)) == []
        assert recipe.plan == wish.to_dict() == recipe.to_dict()["plan"]
        assert sampler.judge(layout, recipe) == []
        again = LayoutSampler(HOSTS, "none", 9).replay(type(recipe).from_dict(json.loads(json.dumps(recipe.to_dict()))))
        assert np.array_equal(again.classes, layout.classes)
        for edit in recipe.edits:
            assert edit_from_dict(edit).to_dict() == edit


def test_a_plan_is_met_by_real_tumours_left_as_they_are_but_for_steering():
    sampler = LayoutSampler(HOSTS, "none", 0, "balanced-side")
    layouts = [sampler.draw(k) for k in range(4)]
    assert Counter(describe(layout).side for layout, _ in layouts) == {"left": 2, "right": 2}
    assert {edit["name"] for _, recipe in layouts for edit in recipe.edits} == {"mirror"}


def test_what_cannot_be_planned_is_told():
    with pytest.raises(LayoutError, match=r"as planned \(700-900\).*cannot hold a tumour.*another plan"):
        LayoutSampler(HOSTS, "none", 0, {"axes": {"volume_ml": [700, 900]}}).draw(0)
    with pytest.raises(LayoutError, match="no tumour to be as planned: give a recipe that makes one"):
        LayoutSampler(HOSTS, ["remove"], 0, "balanced-side").draw(0)


def test_a_wish_tells_what_misses():
    facts = fact("left", "frontal", 50.0)
    assert Wish().misses(facts) == []
    assert Wish((50.0, 60.0), "left", "frontal", "with", "single").misses(facts) == []
    assert Wish((40.0, 50.0), "right", "deep", "without", "multifocal").misses(facts) == list(AXES)
    wish = Wish((40.0, 50.0), side="left")
    assert str(wish) == "40-50, left"
    assert wish.without("side") == Wish((40.0, 50.0))
    assert (wish.enhancing, Wish(enhancement="without").enhancing, Wish(focality="multifocal").multifocal) == (
        None,
        False,
        True,
    )


def test_the_coverage_tells_before_and_after():
    sampler = LayoutSampler(HOSTS, "gentle", 2, {"axes": {"volume_ml": [12, 30, 60], "side": "equal"}})
    unplanned = survey(sampler, 3)
    assert [facts.volume_ml for facts in unplanned] == [
        describe(LayoutSampler(HOSTS, "gentle", 2).draw(k)[0]).volume_ml for k in range(3)
    ]
    made = [sampler.plan.wish(2, k).to_dict() for k in range(4)]
    covered = coverage(sampler.plan, 2, range(4), made, unplanned)
    assert covered.met
    assert covered.planned == {"volume_ml": {"12-30": 2, "30-60": 2}, "side": {"left": 2, "right": 2}}
    assert sum(covered.unplanned["side"].values()) == covered.surveyed == 3
    assert "as planned" in covered.table().splitlines()[-1]
    assert len(covered.table().splitlines()) >= 6
    short = coverage(sampler.plan, 2, range(4), made[:3], unplanned)
    assert not short.met
    assert "NOT as planned" in short.table()
    assert json.loads(json.dumps(covered.to_dict()))["made"] == covered.made


def test_real_tumours_on_the_grid_lie_where_gliomas_do(real_data):
    import nibabel as nib

    lobes, sides = Counter(), Counter()
    for path in sorted((real_data / "labels" / "full").glob("*.nii.gz"))[:12]:
        labels = np.asanyarray(nib.load(path).dataobj).astype(np.uint8)
        labels[labels == 4] = Tumour.ET
        facts = describe(Layout((labels > 0).astype(np.uint8), labels, np.array(AFFINE), path.name))
        lobes[facts.lobe] += 1
        sides[facts.side] += 1
    assert lobes["infratentorial"] == 0
    assert lobes["frontal"] + lobes["temporal"] + lobes["parietal"] >= 9
    assert min(sides["left"], sides["right"]) >= 2
