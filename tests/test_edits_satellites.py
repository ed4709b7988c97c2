import numpy as np
import pytest
from edited import draw, lawful_labels, place_of, real_layouts
from hypothesis import given, settings
from hypothesis import strategies as st
from phantoms import head_layout
from scipy.ndimage import distance_transform_edt

from synth.brats import Tumour
from synth.layout.edits import Satellites
from synth.layout.layout import Layout
from synth.layout.space import centroid, components, spacing, ventricles

FINE = head_layout((80, 96, 72), zooms=(2.0, 1.75, 2.25), case_id="host")


def lesions(after, before=FINE):
    """The new lesions: for each its mask."""
    pieces, sizes = components((after.tumour > 0) & (before.tumour == 0))
    return [pieces == k for k in np.flatnonzero(sizes)]


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(["blob", "copy"]), st.floats(0, 1))
def test_lesions_are_added_and_the_tumour_stays(seed, kind, other):
    edit, _ = draw("satellites", FINE, seed, kind=kind, other_side=other, ml=(0.5, 4))
    after = edit.apply(FINE)
    lawful_labels(after, FINE)
    there = FINE.tumour > 0
    core = there & (FINE.tumour != Tumour.ED)
    assert np.array_equal(after.tumour[core], FINE.tumour[core])
    assert after.tumour[there].all()
    assert 1 <= len(edit.ml) <= 3
    assert len(lesions(after)) >= 1


def test_a_blob_has_its_volume_its_core_its_necrosis_and_its_place():
    centre = place_of(FINE) * (-1, 1, 1) + ((FINE.shape[0] - 1), 0, 0)  # mirrored
    edit = Satellites(kind="blob", centres=tuple(centre), ml=(6.0,), core=(0.5,), necrosis=(0.4,), seed=5)
    (found,) = lesions(edit.apply(FINE))
    unit = np.prod(spacing(FINE.affine)) / 1000
    labels = edit.apply(FINE).tumour[found]
    assert np.count_nonzero(found) * unit == pytest.approx(6.0, rel=0.03)
    core = labels != Tumour.ED
    assert core.mean() == pytest.approx(0.5, abs=0.03)
    assert (labels[core] == Tumour.NCR).mean() == pytest.approx(0.4, abs=0.03)
    assert np.abs((centroid(found) - centre) * spacing(FINE.affine)).max() < 5
    depth = distance_transform_edt(found, sampling=spacing(FINE.affine))
    alone = edit.apply(FINE).tumour
    assert depth[found & (alone == Tumour.NCR)].mean() > depth[found & (alone == Tumour.ED)].mean()


def test_a_copy_is_the_tumour_made_small():
    edit, _ = draw("satellites", FINE, 2, kind="copy", count=(1, 1), ml=(5, 5))
    (found,) = lesions(edit.apply(FINE))
    labels = edit.apply(FINE).tumour[found]
    assert np.count_nonzero(found) * np.prod(spacing(FINE.affine)) / 1000 == pytest.approx(edit.ml[0], rel=0.25)
    assert {int(v) for v in np.unique(labels)} == {1, 2, 3}


def test_sides_distances_and_counts_are_as_asked_for():
    middle, home = (FINE.shape[0] - 1) / 2, place_of(FINE)[0]
    tumour = distance_transform_edt(FINE.tumour == 0, sampling=spacing(FINE.affine))
    for seed in range(6):
        near, _ = draw("satellites", FINE, seed, count=(2, 2), ml=(0.4, 0.6), distance=(5, 15), other_side=0)
        far, _ = draw("satellites", FINE, seed, count=(1, 1), ml=(0.4, 0.6), other_side=1.0)
        assert len(near.ml) == 2
        for one in np.reshape(near.centres, (-1, 3)):
            assert (one[0] - middle) * (home - middle) > 0
            radius = (3000 * 0.5 / (4 * np.pi)) ** (1 / 3)
            assert 2 <= tumour[tuple(np.rint(one).astype(int))] - radius <= 18
        assert (far.centres[0] - middle) * (home - middle) < 0


def test_small_lesions_have_no_necrosis_and_low_grade_ones_no_enhancement():
    small, _ = draw("satellites", FINE, 1, ml=(0.3, 0.8), kind="blob")
    assert set(small.necrosis) == {0.0}
    low = Layout(FINE.tissue, np.where(FINE.tumour == Tumour.ET, np.uint8(1), FINE.tumour), FINE.affine, "host")
    edit, _ = draw("satellites", low, 1, ml=(2, 4), kind="blob")
    assert not (edit.apply(low).tumour == Tumour.ET).any()


def test_lesions_stay_out_of_ventricles_and_on_their_side_of_the_falx():
    deep = np.argwhere(ventricles(FINE.tissue, spacing(FINE.affine), tuple(slice(0, n) for n in FINE.shape)))
    centre = tuple(deep.mean(0))
    after = Satellites(kind="blob", centres=centre, ml=(5,), core=(0.5,), necrosis=(0,), seed=1).apply(FINE)
    assert not after.tumour[tuple(deep.T)].any()
    at_falx = ((FINE.shape[0] - 1) / 2 + 1.0, 48, 50)
    after = Satellites(kind="blob", centres=at_falx, ml=(5,), core=(0.5,), necrosis=(0,), seed=1).apply(FINE)
    for found in lesions(after):
        assert np.argwhere(found)[:, 0].min() > (FINE.shape[0] - 1) / 2


def test_lesions_together_stay_well_below_the_tumour():
    for seed in range(6):
        edit, _ = draw("satellites", FINE, seed, count=(3, 3), ml=(20, 30))
        whole = np.count_nonzero(FINE.tumour) * np.prod(spacing(FINE.affine)) / 1000
        assert sum(edit.ml) <= 0.32 * whole


def test_two_real_tumours_become_multifocal(real_data):
    for layout in real_layouts(real_data):
        edit, _ = draw("satellites", layout, 4, ml=(2, 6))
        after = edit.apply(layout)
        assert len(lesions(after, layout)) >= len(edit.ml)
        assert np.array_equal(edit.apply(layout).tumour, after.tumour)
