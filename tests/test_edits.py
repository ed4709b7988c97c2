import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from phantoms import head_layout
from scipy.ndimage import binary_dilation, distance_transform_edt

from synth.brats import REGIONS, Tissue, Tumour
from synth.errors import LayoutError
from synth.layout.edits import (
    EDITS,
    Elastic,
    Grow,
    Mirror,
    Move,
    Remove,
    Rotate,
    Scale,
    Shrink,
    Swap,
    edit_from_dict,
    parse_edit,
)
from synth.layout.edits.placing import Ground, find_shift, nearby, settled, tumour_points
from synth.layout.edits.presets import PRESETS, STANDARD, steps_of
from synth.layout.edits.region import GROWABLE
from synth.layout.layout import Layout
from synth.layout.space import box_of, centroid, spacing

SPECS = [f"{name}:{target}" for name, cls in sorted(EDITS.items()) for target in cls.targets]
HOST, DONOR = head_layout(case_id="host"), head_layout(seed=7, case_id="donor")


def draw(spec, layout=HOST, seed=0, **ranges):
    cls, target = parse_edit(spec)
    donor = DONOR if cls.needs_donor else None
    if spec.split(":")[0] in ("grow", "shrink"):
        ranges.setdefault("mm", (5.0, 9.0))  # a phantom's voxel is 4 mm
    return cls.draw(layout, np.random.default_rng(seed), target=target, donor=donor, **ranges), donor


def place_of(layout, classes=(1, 2, 3)):
    return centroid(np.isin(layout.tumour, classes))


def region(layout, name):
    return np.isin(layout.tumour, (Tumour.NCR,) if name == "NCR" else REGIONS[name])


def lawful_labels(layout, like):
    assert layout.tissue.dtype == layout.tumour.dtype == np.uint8
    assert layout.tissue.max() <= 3
    assert layout.tumour.max() <= 3
    assert not layout.tumour[layout.tissue == 0].any()
    assert layout.shape == like.shape
    assert layout.id == like.id
    assert np.array_equal(layout.affine, like.affine)


@pytest.mark.parametrize("spec", SPECS)
class TestEveryEdit:
    def test_its_record_reads_back(self, spec):
        edit, _ = draw(spec)
        assert edit_from_dict(json.loads(json.dumps(edit.to_dict()))) == edit

    def test_drawing_is_seeded_and_within_reach_of_the_seed_only(self, spec):
        assert draw(spec, seed=3)[0] == draw(spec, seed=3)[0]
        if spec.split(":")[0] not in ("mirror", "remove"):
            assert draw(spec, seed=3)[0] != draw(spec, seed=4)[0]

    def test_applying_is_deterministic_and_leaves_its_input_alone(self, spec):
        edit, donor = draw(spec)
        before = HOST.tissue.copy(), HOST.tumour.copy()
        first, second = edit.apply(HOST, donor), edit.apply(HOST, donor)
        assert np.array_equal(first.tissue, second.tissue)
        assert np.array_equal(first.tumour, second.tumour)
        assert np.array_equal(before[0], HOST.tissue)
        assert np.array_equal(before[1], HOST.tumour)

    def test_the_result_is_a_legal_layout_that_differs(self, spec):
        edit, donor = draw(spec, seed=4)
        layout, lost = edit.run(HOST, donor)
        lawful_labels(layout, HOST)
        assert 0 <= lost <= 0.5
        assert not np.array_equal(layout.classes, HOST.classes)
        if spec.endswith("tumour"):
            assert layout.tissue is HOST.tissue

    def test_it_works_on_fortran_order_too(self, spec):
        edit, donor = draw(spec)
        turned = Layout(np.asfortranarray(HOST.tissue), np.asfortranarray(HOST.tumour), HOST.affine, HOST.id)
        assert np.array_equal(edit.apply(turned, donor).classes, edit.apply(HOST, donor).classes)

    def test_a_brain_without_tumour_is_refused_where_one_is_needed(self, spec):
        healthy, (cls, target) = head_layout(tumour=False), parse_edit(spec)
        edit, donor = draw(spec)
        if cls.needs_tumour and target == "tumour":
            with pytest.raises(LayoutError, match="no tumour"):
                edit.apply(healthy)
            with pytest.raises(LayoutError, match="no tumour"):
                draw(spec, healthy)
        else:
            lawful_labels(edit.apply(healthy, donor), healthy)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"name": "explode"}, "unknown edit 'explode'; known edits are elastic, grow"),
        ({"name": "move"}, "expected the parameters mm, found"),
        ({"name": "move", "mm": [1, 2, 3], "seed": 1}, "expected the parameters mm, found mm, seed"),
        ({"name": "move", "mm": [1, 2]}, "mm must be three finite numbers"),
        ({"name": "move", "mm": [1, 2, float("nan")]}, "mm must be three finite numbers"),
        ({"name": "grow", "region": "XX", "mm": 2.0}, "a region out of WT, TC, ET, NCR"),
        ({"name": "grow", "region": "WT", "mm": -1}, "0 to 50 mm"),
        ({"name": "scale", "factor": "big", "shift_mm": [0, 0, 0], "target": "tumour"}, "factor must be a finite"),
        ({"name": "scale", "factor": 0, "shift_mm": [0, 0, 0], "target": "tumour"}, "a factor of 0.1 to 10"),
        ({"name": "mirror", "shift_mm": [0, 0, 0], "target": "brain"}, "target must be one of layout, tumour"),
        ({"name": "rotate", "degrees": 3, "axis": [0, 0, 0], "shift_mm": [0, 0, 0], "target": "layout"}, "axis"),
        ({"mm": [1, 2, 3]}, "a name and parameters"),
        ("move", "a name and parameters"),
    ],
)
def test_a_wrong_record_is_refused_with_what_was_expected(record, message):
    with pytest.raises(LayoutError, match=message):
        edit_from_dict(record)


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


def test_swap_brings_the_donors_tumour_and_nothing_else():
    edit, donor = draw("swap")
    swapped = edit.apply(HOST, donor)
    assert np.count_nonzero(swapped.tumour) == pytest.approx(np.count_nonzero(donor.tumour), rel=0.1)
    shift = (place_of(swapped) - place_of(donor)) * spacing(HOST.affine)
    assert shift == pytest.approx(edit.mm, abs=2.5)


def test_swap_refuses_another_donor_none_or_one_without_tumour_or_grid():
    edit = Swap(donor="donor", mm=(0, 0, 0))
    for donor, message in (
        (None, "found none"),
        (HOST, "expected the donor 'donor', found the layout 'host'"),
        (head_layout(tumour=False, case_id="donor"), "without tumour"),
        (head_layout((44, 48, 36), case_id="donor"), "must be on one grid"),
        (head_layout(zooms=(2, 2, 2), case_id="donor"), "must be on one grid"),
    ):
        with pytest.raises(LayoutError, match=message):
            edit.apply(HOST, donor)


def test_remove_leaves_healthy_tissue():
    healthy = Remove().apply(HOST)
    assert not healthy.tumour.any()
    assert healthy.tissue is HOST.tissue


class TestSettling:
    def test_what_is_outside_the_brain_is_cut_and_counted(self):
        labels = np.full(HOST.shape, Tumour.ED, np.uint8)
        box = tuple(slice(0, n) for n in HOST.shape)
        layout, lost = settled(HOST, labels, box)
        lawful_labels(layout, HOST)
        in_ventricle = np.count_nonzero((layout.tumour == 0) & HOST.brain)  # oedema may end there
        assert 0 < in_ventricle < 0.02 * np.count_nonzero(HOST.brain)
        assert lost == pytest.approx(np.count_nonzero(~HOST.brain) / labels.size)

    def test_the_falx_stops_a_tumour_where_no_white_matter_leads_across(self):
        tissue = HOST.tissue.copy()
        middle = slice(18, 22)
        tissue[middle][tissue[middle] > 0] = Tissue.GM
        labels = np.zeros_like(tissue)
        labels[10:24, 20:30, 14:22] = Tumour.ED  # a third of it beyond the midline
        box = box_of(labels)
        layout, _ = settled(Layout(tissue, np.zeros_like(tissue), HOST.affine), labels[box], box)
        assert layout.tumour[10:19].any()
        assert not layout.tumour[21:].any()
        tissue[18:22, 20:30, 14:17] = Tissue.WM  # a callosum
        layout, _ = settled(Layout(tissue, np.zeros_like(tissue), HOST.affine), labels[box], box)
        assert layout.tumour[21:].any()

    def test_crumbs_go_and_pieces_stay(self):
        fine = head_layout(zooms=(1.5, 1.5, 1.5), tumour=False)
        labels = np.zeros_like(fine.tumour)
        labels[10:16, 25:33, 14:20] = Tumour.ED
        labels[14, 40, 18] = Tumour.ED  # 3 mm3
        labels[12:15, 12:15, 16:19] = Tumour.ED  # 91 mm3
        box = box_of(labels)
        tumour = settled(fine, labels[box], box).layout.tumour
        assert not tumour[14, 40, 18]
        assert tumour[13, 13, 17]

    def test_a_place_is_found_for_a_tumour_that_lies_outside(self):
        points, core = tumour_points(HOST)
        away = points + np.float32([0, 10, 0])
        rng = np.random.default_rng(0)
        shift = find_shift(away, core, Ground(HOST), nearby(rng, growth_mm=0.8))
        assert shift[1] < -15
        misfit = Ground(HOST).misfit(away + np.array(shift) / spacing(HOST.affine), core, 0.1)
        assert misfit < 0.2 * Ground(HOST).misfit(away, core, 0.1)


class TestPresets:
    def test_every_preset_names_known_edits(self):
        for steps in PRESETS.values():
            for step in steps:
                assert 0 < step.probability <= 1
                assert not step.weights or len(step.weights) == len(step.choices)
                assert all(parse_edit(name) for name in step.choices)

    def test_standard_always_changes_the_tumour(self):
        assert any(step.probability == 1 and all(":layout" not in c for c in step.choices) for step in STANDARD)

    def test_names_become_steps_in_the_order_given(self):
        steps = steps_of(("mirror", "grow", "elastic:layout"))
        assert [step.choices for step in steps] == [("mirror",), ("grow",), ("elastic:layout",)]
        assert steps_of("standard") is STANDARD
        assert steps_of(()) == steps_of(("none",)) == ()

    @pytest.mark.parametrize(
        ("names", "message"),
        [
            (("explode",), "unknown edit 'explode'.*Presets are standard"),
            (("standard", "move"), "cannot be combined"),
            (("move:layout",), "has no target 'layout'"),
        ],
    )
    def test_what_is_neither_is_refused(self, names, message):
        with pytest.raises(LayoutError, match=message):
            steps_of(names)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 50), st.integers(0, 2**32 - 1), st.lists(st.sampled_from(SPECS), min_size=1, max_size=5))
def test_any_recipe_keeps_labels_legal_and_the_tumour_in_the_brain(head, seed, specs):
    layout = start = head_layout(seed=head, case_id="host")
    rng = np.random.default_rng(seed)
    for spec in specs:
        cls, target = parse_edit(spec)
        if cls.needs_tumour and target == "tumour" and not layout.tumour.any():
            continue
        donor = DONOR if cls.needs_donor else None
        edit = cls.draw(layout, rng, target=target, donor=donor)
        edited = edit.apply(layout, donor)
        lawful_labels(edited, start)
        if target == "tumour":
            assert np.array_equal(edited.tissue, layout.tissue)
        layout = edited


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
