import numpy as np
import pytest
from edited import HOST, draw, lawful_labels, place_of, real_layouts, region
from hypothesis import given, settings
from hypothesis import strategies as st
from phantoms import head_layout
from scipy.ndimage import binary_dilation, distance_transform_edt

from synth.brats import Tissue, Tumour
from synth.layout.edits import Grow, Move, Resize, Shrink
from synth.layout.edits.region import GROWABLE
from synth.layout.layout import Layout
from synth.layout.space import spacing


@pytest.mark.parametrize("name", GROWABLE)
def test_growing_and_shrinking_keep_to_their_distance(name):
    zooms, before = spacing(HOST.affine), region(HOST, name)
    grown = region(Grow(region=name, mm=5.0).apply(HOST), name)
    assert not (before & ~grown).any()
    assert np.count_nonzero(grown) > np.count_nonzero(before)
    assert distance_transform_edt(~before, sampling=zooms)[grown].max() <= 5.0
    shrunk = region(Shrink(region=name, mm=4.0).apply(HOST), name)
    assert not (shrunk & ~before).any()
    assert np.count_nonzero(shrunk) < np.count_nonzero(before)


def test_growing_the_whole_tumour_adds_oedema_and_only_that():
    grown = Grow(region="WT", mm=6.0).apply(HOST)
    new = (grown.tumour > 0) & (HOST.tumour == 0)
    assert new.any()
    assert (grown.tumour[new] == Tumour.ED).all()
    assert np.array_equal(grown.tumour[~new], HOST.tumour[~new])


def test_growing_oedema_stops_at_the_ventricle():
    near_wall = Move(mm=(30.0, -28.0, 10.0)).apply(HOST)
    grown = Grow(region="WT", mm=20.0).apply(near_wall)
    new = (grown.tumour > 0) & (near_wall.tumour == 0)
    csf = HOST.tissue == Tissue.CSF
    inner = csf & (distance_transform_edt(HOST.brain, sampling=spacing(HOST.affine)) > 30)
    assert (binary_dilation(new, iterations=2) & inner).any()  # it did get there
    assert not (new & inner).any()


def test_shrinking_does_not_widen_holes():
    tumour = HOST.tumour.copy()
    middle = tuple(np.rint(place_of(HOST)).astype(int))
    tumour[middle] = 0
    shrunk = Shrink(region="WT", mm=4.0).apply(Layout(HOST.tissue, tumour, HOST.affine))
    assert np.count_nonzero(shrunk.tumour[tuple(slice(m - 1, m + 2) for m in middle)]) == 26


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 50), st.sampled_from(GROWABLE), st.floats(0.5, 12), st.booleans())
def test_regions_stay_nested_when_resized(head, name, mm, grow):
    before = head_layout(seed=head)
    after = (Grow if grow else Shrink)(region=name, mm=mm).apply(before)
    whole = after.tumour > 0
    assert not (whole & ~after.brain).any()
    if grow:
        assert not (region(before, name) & ~region(after, name)).any()
    elif name != "WT":
        assert np.array_equal(whole, before.tumour > 0)  # what a core gives up stays tumour
    else:
        assert not (whole & (before.tumour == 0)).any()
        assert np.array_equal(after.tumour[whole], before.tumour[whole])


def volume(layout, name):
    return np.count_nonzero(region(layout, name)) * np.prod(spacing(layout.affine)) / 1000


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 50), st.sampled_from(GROWABLE), st.floats(0.4, 1.8))
def test_resize_meets_its_volume_and_keeps_the_nesting(head, name, factor):
    before = head_layout(seed=head)
    wanted = factor * volume(before, name)
    after = Resize(region=name, ml=wanted).apply(before)
    lawful_labels(after, before)
    around = {"NCR": "TC", "ET": "WT"}.get(name)
    wanted = min(wanted, volume(before, around)) if around else wanted
    assert volume(after, name) == pytest.approx(wanted, rel=0.011, abs=0.07)  # a voxel has 0.063 ml
    if factor > 1:
        assert not (region(before, name) & ~region(after, name)).any()
    else:
        assert not (region(after, name) & ~region(before, name)).any()
    if name != "WT" and (factor < 1 or name != "TC"):
        assert np.array_equal(after.tumour > 0, before.tumour > 0)


def test_resizing_takes_the_nearest_voxels_first():
    before, after = HOST, Resize(region="NCR", ml=1.5 * volume(HOST, "NCR")).apply(HOST)
    distance = distance_transform_edt(~region(before, "NCR"), sampling=spacing(HOST.affine))
    new, left = region(after, "NCR") & ~region(before, "NCR"), region(after, "ET")
    assert distance[new].max() <= distance[left].min() + 1.0  # ties are broken by what is around


def test_growing_oedema_prefers_white_matter():
    tissue = np.full((40, 40, 40), Tissue.WM, np.uint8)
    tissue[20:] = Tissue.GM
    tumour = np.zeros_like(tissue)
    tumour[17:23, 17:23, 17:23] = Tumour.ED
    layout = Layout(tissue, tumour, np.diag([-2.0, -2.0, 2.0, 1]), "half")
    after = Resize(region="WT", ml=6.0).apply(layout)
    grown = (after.tumour > 0) & (tumour == 0)
    assert np.count_nonzero(grown & (tissue == Tissue.WM)) > 2 * np.count_nonzero(grown & (tissue == Tissue.GM))
    assert volume(after, "WT") == pytest.approx(6.0, rel=0.01)


def test_resize_goes_as_far_as_there_is_room():
    assert volume(Resize(region="NCR", ml=500).apply(HOST), "NCR") == volume(HOST, "TC")
    filled = Resize(region="WT", ml=999).apply(HOST)
    lawful_labels(filled, HOST)
    assert volume(filled, "WT") > 2 * volume(HOST, "WT")


def test_resize_draws_within_range_and_room():
    for seed in range(10):
        edit, _ = draw("resize", seed=seed, region="NCR", factor=(0.5, 0.8))
        assert 0.49 <= edit.ml / volume(HOST, "NCR") <= 0.81
        assert draw("resize", seed=seed, region=["TC", "ET"], ml=(3, 4))[0].ml == pytest.approx(3.5, abs=0.51)
        assert draw("resize", seed=seed, region="NCR", ml=(900, 900))[0].ml <= 0.96 * volume(HOST, "TC")


def test_a_region_that_is_not_there_stays_away():
    bare = Layout(HOST.tissue, np.where(HOST.tumour > 0, np.uint8(Tumour.ED), np.uint8(0)), HOST.affine)
    assert Resize(region="ET", ml=3.0).apply(bare) is bare
    assert draw("resize", bare, region="ET")[0].region == "ET"


def test_two_real_tumours_are_resized_to_within_one_per_cent(real_data):
    for layout in real_layouts(real_data):
        for name in GROWABLE:
            for factor in (0.7, 1.3):
                wanted = factor * volume(layout, name)
                if not wanted or (name == "NCR" and wanted > volume(layout, "TC")):
                    continue
                after = Resize(region=name, ml=wanted).apply(layout)
                assert volume(after, name) == pytest.approx(wanted, rel=0.01, abs=0.002)
