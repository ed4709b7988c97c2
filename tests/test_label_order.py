"""Label order of a set, by where the labels lie."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from phantoms import phantom_case

from synth.brats import NAMINGS
from synth.datasets.cases import find_cases, read_case
from synth.datasets.voxels.label_order import LabelFacts, judge_label_order, label_surface

SWAPS = {"ED NCR ET": (1, 0, 2), "NCR ET ED": (0, 2, 1), "ED ET NCR": (1, 2, 0), "ET NCR ED": (2, 0, 1)}
ODD = LabelFacts((93298, 7407, 89546), (5600, 1700, 2600))  # as BraTS2021_01479 is: NCR makes more than half


def facts_of(count=5, order=(0, 1, 2), images=True) -> list[LabelFacts]:
    """Phantoms whose labels were read in another order."""
    out = []
    for seed in range(count):
        case = phantom_case(seed=seed)
        values = np.array([0, *(order.index(k) + 1 for k in range(3))], np.uint8)[case.labels]
        out.append(label_surface(values, case.images if images else None))
    return out


@pytest.mark.parametrize("memory", ["C", "F"])
def test_surface_is_tumour_with_a_neighbour_outside_it(memory):
    labels = np.zeros((9, 8, 7), np.uint8, order=memory)
    labels[1:6, 2:7, 1:6] = 2
    labels[2:5, 3:6, 2:5] = 3
    labels[3, 4, 3] = 1
    labels[5, 2:7, 1:6] = 1
    assert label_surface(labels).voxels == (26, 73, 26)
    assert label_surface(labels).surface == (25, 73, 0)


def test_what_touches_the_edge_of_the_grid_is_surface():
    assert label_surface(np.full((3, 3, 3), 2, np.uint8)).surface == (0, 26, 0)


def test_a_map_without_tumour_has_no_surface():
    assert label_surface(np.zeros((5, 5, 5), np.uint8)) == LabelFacts((0, 0, 0), (0, 0, 0))


@pytest.mark.parametrize("images", [True, False])
def test_true_sets_pass(images):
    assert judge_label_order(facts_of(images=images)) == []


def test_one_odd_case_says_nothing_of_a_set():
    assert judge_label_order([ODD]) == []
    assert judge_label_order([ODD, ODD, *facts_of()]) == []


@pytest.mark.parametrize("name", SWAPS)
def test_another_order_is_named(name):
    [verdict] = judge_label_order(facts_of(order=SWAPS[name]))
    assert (verdict.kind, " ".join(verdict.order), verdict.sure) == ("order", name, True)
    assert "outer surface" in verdict.text


def test_without_scans_the_outer_label_is_named_and_the_others_are_left_open():
    [verdict] = judge_label_order(facts_of(order=(1, 0, 2), images=False))
    assert verdict.order == ("ED", "", "")


def test_ncr_and_et_exchanged_are_told_by_the_scan_after_contrast_alone():
    [verdict] = judge_label_order(facts_of(order=(2, 1, 0)))
    assert verdict.order == ("ET", "ED", "NCR")
    assert "t1ce" in verdict.text
    assert judge_label_order(facts_of(order=(2, 1, 0), images=False)) == []


def test_two_cases_are_doubted_and_one_is_not_judged():
    wrong = facts_of(order=(1, 0, 2))
    assert [v.sure for v in judge_label_order(wrong[:2])] == [False]
    assert judge_label_order(wrong[:1]) == []
    assert [v.sure for v in judge_label_order([*wrong[:2], LabelFacts((0, 0, 0), (0, 0, 0))])] == [False]


def test_a_part_of_a_set_from_elsewhere_is_named_case_by_case():
    true, wrong = facts_of(20), facts_of(4, order=(1, 0, 2))
    [verdict] = judge_label_order([*true[:3], *wrong, *true[3:]])
    assert verdict.kind == "order"
    assert verdict.cases == (3, 4, 5, 6)


def test_a_binary_set_is_told_from_single_lawful_maps():
    binary = [replace(fact, voxels=(sum(fact.voxels), 0, 0), surface=(900, 0, 0), t1ce=None) for fact in facts_of()]
    assert [v.kind for v in judge_label_order(binary)] == ["binary"]
    assert judge_label_order([binary[0], *facts_of()]) == []


def test_a_set_without_enhancing_tumour_is_doubted_a_case_without_is_lawful():
    low = [replace(f, voxels=(*f.voxels[:2], 0), surface=(*f.surface[:2], 0), t1ce=None) for f in facts_of()]
    [verdict] = judge_label_order(low)
    assert (verdict.kind, verdict.sure) == ("lacking", False)
    assert "ET" in verdict.text
    assert judge_label_order([*low, facts_of(1)[0]]) == []


def test_real_maps_pass_and_swapped_ones_do_not(real_data):
    facts = []
    for path in sorted((real_data / "labels" / "full").iterdir())[::8]:
        values = np.asanyarray(nib.load(path).dataobj).astype(np.uint8)
        facts.append(label_surface(NAMINGS["brats2020"].from_disk(values)))
    for files in find_cases(real_data / "brats" / "train")[:3]:
        facts.append(label_surface(read_case(files).labels))
    rng = np.random.default_rng(0)
    for _ in range(20):
        chosen = [facts[i] for i in rng.choice(len(facts), 6, replace=False)]
        assert judge_label_order(chosen) == []
        swapped = [LabelFacts(*((v[1], v[0], v[2]) for v in (f.voxels, f.surface))) for f in chosen]
        assert [v.kind for v in judge_label_order(swapped)] == ["order"]
