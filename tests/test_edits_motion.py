import numpy as np
import pytest
from edited import HOST, draw, place_of
from hypothesis import given, settings
from hypothesis import strategies as st

from synth.brats import Tumour
from synth.errors import LayoutError
from synth.layout.edits import Elastic, Mirror, Move, Rotate, Scale, Stretch
from synth.layout.layout import Layout
from synth.layout.space import box_of, spacing


def test_move_goes_the_way_and_as_far_as_it_says():
    for mm in ((8.0, 0, 0), (0, -7.0, 0), (0, 0, 9.0)):
        moved = Move(mm=mm).apply(HOST)
        travelled = (place_of(moved) - place_of(HOST)) * spacing(HOST.affine)
        assert travelled == pytest.approx(mm, abs=1.0)


def test_rotate_turns_the_tumour_about_its_own_middle():
    tumour = np.zeros_like(HOST.tumour)
    tumour[14:26, 20:28, 17:19] = Tumour.ED
    tumour[22:26, 22:26, 17:19] = Tumour.ET  # at its +x end
    layout = Layout(HOST.tissue, tumour * HOST.brain, np.diag([-4.0, -4.0, 4.0, 1]), "host")
    turned = Rotate(degrees=90, axis=(0, 0, 1)).apply(layout)
    assert place_of(turned) == pytest.approx(place_of(layout), abs=0.6)
    offset = place_of(turned, (3,)) - place_of(turned)
    assert offset[1] > 3  # +x went to +y
    assert abs(offset[0]) < 1


def test_scale_changes_the_volume_by_the_cube():
    ratio = np.count_nonzero(Scale(factor=0.8).apply(HOST).tumour) / np.count_nonzero(HOST.tumour)
    assert ratio == pytest.approx(0.8**3, rel=0.12)


def test_scaling_the_layout_scales_brain_and_tumour_together():
    grown = Scale(factor=1.1, target="layout").apply(HOST)
    for name in ("tissue", "tumour"):
        ratio = np.count_nonzero(getattr(grown, name)) / np.count_nonzero(getattr(HOST, name))
        assert ratio == pytest.approx(1.1**3, rel=0.08)


def test_mirroring_twice_gives_the_layout_back():
    once = Mirror(target="layout").apply(HOST)
    assert np.array_equal(once.classes, HOST.classes[::-1])
    assert np.array_equal(Mirror(target="layout").apply(once).classes, HOST.classes)


def test_mirroring_the_tumour_leaves_the_brain():
    flipped = Mirror(target="tumour").apply(HOST)
    middle = (HOST.shape[0] - 1) / 2
    assert (place_of(flipped)[0] - middle) * (place_of(HOST)[0] - middle) < 0


def test_an_elastic_edit_that_folds_is_refused_and_none_is_drawn():
    with pytest.raises(LayoutError, match="folds"):
        Elastic(mm=40.0, step_mm=15.0, seed=1).apply(HOST)
    strong, _ = draw("elastic:tumour", mm=(60.0, 60.0))
    assert strong.mm < 60
    strong.apply(HOST)


def test_stretch_keeps_the_volume_and_changes_the_proportions():
    edit, _ = draw("stretch:tumour", anisotropy=(1.5, 1.5))
    assert max(edit.factors) / min(edit.factors) == pytest.approx(1.5, abs=1e-3)
    assert np.prod(edit.factors) == pytest.approx(1, abs=1e-3)
    ratio = np.count_nonzero(edit.apply(HOST).tumour) / np.count_nonzero(HOST.tumour)
    assert ratio == pytest.approx(1, rel=0.1)


def test_stretch_is_along_the_axis_it_says():
    def extent(layout):
        return np.array([part.stop - part.start for part in box_of(layout.tumour)])

    longer = Stretch(factors=(1.0, 1.5, 1.0)).apply(HOST)
    assert extent(longer) == pytest.approx(extent(HOST) * (1, 1.5, 1), abs=1.5)


def test_stretching_the_layout_stretches_the_brain():
    wide = Stretch(factors=(1.1, 1.0, 0.95), target="layout").apply(HOST)
    before, after = (np.array([p.stop - p.start for p in box_of(one.tissue)]) for one in (HOST, wide))
    assert after == pytest.approx(before * (1.1, 1.0, 0.95), abs=1.5)


def test_a_volume_factor_is_met_by_stretch():
    edit, _ = draw("stretch:tumour", volume=(0.7, 0.7))
    assert np.prod(edit.factors) == pytest.approx(0.7, abs=1e-3)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.3, 1), st.floats(0, 0.8))
def test_what_is_drawn_lies_within_the_range_asked_for(seed, low, width):
    limits = (low, low + width)
    assert limits[0] - 1e-3 <= draw("scale:layout", seed=seed, factor=limits)[0].factor <= limits[1] + 1e-3
    assert limits[0] <= draw("rotate:layout", seed=seed, degrees=limits)[0].degrees + 0.01 <= limits[1] + 0.02
    elastic = draw("elastic:layout", seed=seed, mm=(0.5, 0.5), step_mm=(40, 60))[0]
    assert elastic.mm <= 0.5
    assert 40 <= elastic.step_mm <= 60


def test_move_goes_as_far_as_the_range_says():
    for seed in range(5):
        assert 7.8 <= np.linalg.norm(draw("move", seed=seed, mm=(8, 12))[0].mm) <= 12.2
