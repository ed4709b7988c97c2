"""Post-processing: what it takes away, what it must leave, and thresholds chosen as if every one had been tried."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth.errors import DataError, ModelError, SynthError
from synth.models.postprocess import COMPONENT_STEPS, ET_STEPS, Postprocess, choose
from synth.quality.segmentation_metrics import region_dice

NCR, ED, ET = 1, 2, 3
SHAPE = (20, 24, 17)
ML = 0.001


def blank():
    return np.zeros(SHAPE, np.uint8)


def tumour():
    """A block of 6x6x6 oedema with 27 voxels of ET in it; a speck of 8 voxels of ED; one of 2 voxels of ET."""
    labels = blank()
    labels[2:8, 3:9, 4:10] = ED
    labels[3:6, 4:7, 5:8] = ET
    labels[12:14, 15:17, 2:4] = ED
    labels[17, 20, 14:16] = ET
    return labels


# --- applying -----------------------------------------------------------------------------------------------------


def test_no_thresholds_leave_everything():
    labels = tumour()
    out = Postprocess().apply(labels)
    assert np.array_equal(out, labels)
    assert out is not labels


@pytest.mark.parametrize(("least", "left"), [(0.002, 3), (0.0021, 2), (0.008, 2), (0.009, 1), (0.216, 1), (5, 1)])
def test_parts_below_the_threshold_go_but_never_the_largest(least, left):
    labels = tumour()
    before = labels.copy()
    out = Postprocess(min_component_ml=least).apply(labels)
    gone = {3: (), 2: (slice(17, 18),), 1: (slice(17, 18), slice(12, 14))}[left]
    for part in gone:
        before[part] = 0
    assert np.array_equal(out, before)
    assert np.array_equal(labels, tumour())  # the input is not touched


def test_parts_that_touch_at_a_corner_are_one():
    labels = blank()
    labels[2:6, 2:6, 2:6] = ED
    labels[6, 6, 6] = ED
    labels[10, 10, 10] = ED
    out = Postprocess(min_component_ml=0.01).apply(labels)
    assert out[6, 6, 6] == ED
    assert out[10, 10, 10] == 0


def test_parts_are_of_the_whole_tumour_not_of_a_label():
    labels = blank()
    labels[2:6, 2:6, 2:6] = ED
    labels[6, 3, 3] = NCR  # one voxel, yet it touches
    assert Postprocess(min_component_ml=0.05).apply(labels)[6, 3, 3] == NCR


def test_of_two_equally_large_parts_both_stay():
    labels = blank()
    labels[2:4, 2, 2] = labels[8:10, 2, 2] = ED
    assert np.array_equal(Postprocess(min_component_ml=1).apply(labels), labels)


@pytest.mark.parametrize(("least", "kept"), [(0.029, True), (0.0291, False)])
def test_too_little_enhancing_tumour_becomes_core(least, kept):
    labels = tumour()
    out = Postprocess(min_et_ml=least).apply(labels)
    expected = labels if kept else np.where(labels == ET, NCR, labels)
    assert np.array_equal(out, expected)
    assert out.dtype == np.uint8


def test_specks_go_before_enhancing_tumour_is_weighed():
    out = Postprocess(min_component_ml=0.005, min_et_ml=0.0285).apply(tumour())  # 27 voxels of ET are left of 29
    assert not (out == ET).any()
    assert np.count_nonzero(out == NCR) == 27


def test_volumes_count_the_size_of_voxels():
    labels = tumour()
    assert np.array_equal(
        Postprocess(min_component_ml=0.009).apply(labels, voxel_ml=0.008), Postprocess().apply(labels)
    )
    assert np.count_nonzero(Postprocess(min_component_ml=0.065).apply(labels, voxel_ml=0.008)) == 216


@pytest.mark.parametrize("order", ["C", "F"])
def test_degenerate_maps(order):
    strong = Postprocess(min_component_ml=5, min_et_ml=5)
    empty = np.asarray(blank(), order=order)
    assert not strong.apply(empty).any()
    full = np.full(SHAPE, ET, np.uint8, order=order)  # 8.2 ml
    assert np.array_equal(strong.apply(full), full)
    one = np.asarray(blank(), order=order)
    one[0, 0, 0] = ET
    assert strong.apply(one)[0, 0, 0] == NCR
    border = np.asarray(blank(), order=order)
    border[-1, -1, -3:] = border[0, :, 0] = ED
    out = Postprocess(min_component_ml=0.01).apply(border)
    assert not out[-1].any()
    assert (out[0, :, 0] == ED).all()


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), "1", None, True])
def test_thresholds_are_volumes(value):
    with pytest.raises(SynthError, match="min_et_ml must be a volume in ml"):
        Postprocess(min_et_ml=value)


def test_cards_carry_thresholds():
    chosen = Postprocess(0.2, 0.05)
    assert Postprocess.from_card({"name": "x", "postprocess": chosen.to_dict()}) == chosen
    assert Postprocess.from_card({"name": "x"}) == Postprocess()
    for broken in ({"min_et_ml": -1}, {"smallest": 1}, [1], None):
        with pytest.raises(ModelError, match="card of model 'x': unusable postprocess entry"):
            Postprocess.from_card({"name": "x", "postprocess": broken})


# --- choosing -----------------------------------------------------------------------------------------------------


def mean_dice(pairs, post, voxel_ml=ML):
    return np.mean([list(region_dice(truth, post.apply(found, voxel_ml)).values()) for truth, found in pairs])


def messy(seed, *, enhancing=True):
    """A true tumour, and a prediction of it with specks and wrong labels."""
    rng = np.random.default_rng(seed)
    truth = blank()
    truth[4:12, 5:13, 3:11] = ED
    truth[6:10, 7:11, 5:9] = NCR
    if enhancing:
        truth[7:9, 8:11, 5:9] = ET
    found = truth.copy()
    found[(rng.random(SHAPE) < 0.01)] = rng.integers(1, 4)
    found[4 : 4 + seed % 3, 5:13] = 0
    found[16:18, 18:21, 10:12] = 1 + seed % 3
    return truth, found


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.001, 0.0085]), st.booleans())
def test_choice_is_what_trying_every_pair_gives(seed, voxel_ml, enhancing):
    pairs = [messy(seed, enhancing=enhancing), messy(seed + 1, enhancing=not enhancing), (blank(), messy(seed + 2)[1])]
    components, ets = (0.0, 0.002, 0.01, 0.1, 1.0), (0.0, 0.005, 0.02, 0.3, 1.0)
    chosen = choose(pairs, voxel_ml, component_steps=components, et_steps=ets)
    tried = {(c, e): mean_dice(pairs, Postprocess(c, e), voxel_ml) for c, e in product(components, ets)}
    best = max(tried.values())
    assert tried[chosen.min_component_ml, chosen.min_et_ml] == pytest.approx(best, abs=1e-9)
    good = [sum(pair) for pair, value in tried.items() if value > best - 1e-10]
    assert chosen.min_component_ml + chosen.min_et_ml == min(good)  # the weakest of those


def test_perfect_predictions_need_nothing():
    pairs = [(tumour(), tumour()), (blank(), blank())]
    assert choose(pairs) == Postprocess()


def test_false_enhancing_tumour_is_learnt():
    truth = tumour()
    truth[truth == ET] = NCR
    found = truth.copy()
    found[3, 4, 5:8] = ET  # 3 voxels where there is none
    assert choose([(truth, found)]) == Postprocess(0.0, 0.01)
    assert choose([(truth, found), (tumour(), tumour())]) == Postprocess(0.0, 0.01)  # 29 voxels of true ET stay


def test_a_true_satellite_keeps_the_threshold_low():
    truth = tumour()
    found = truth.copy()
    found[0, 0, 0] = ED  # 1 voxel too much; true specks have 2 and 8
    assert choose([(truth, found)], component_steps=(0, 0.0015, 0.002, 0.005, 0.01)).min_component_ml == 0.0015
    assert choose([(truth, found)]).min_component_ml == 0  # 0.01 would take the true ones


def test_pairs_may_stream_and_be_asymmetric_in_memory():
    pairs = [messy(seed) for seed in range(3)]
    streamed = choose((np.asfortranarray(truth), found) for truth, found in pairs)
    assert streamed == choose(pairs)
    assert streamed.min_component_ml in COMPONENT_STEPS
    assert streamed.min_et_ml in ET_STEPS


def test_nothing_to_choose_from():
    with pytest.raises(DataError, match="without cases"):
        choose([])
    with pytest.raises(DataError, match="on one grid"):
        choose([(blank(), np.zeros((3, 3, 3), np.uint8))])
