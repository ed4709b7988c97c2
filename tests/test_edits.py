import json

import numpy as np
import pytest
from edited import DONOR, HOST, draw, lawful_labels
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from phantoms import head_layout

from synth.errors import LayoutError
from synth.layout.edits import EDITS, edit_from_dict, parse_edit
from synth.layout.layout import Layout

SPECS = [f"{name}:{target}" for name, cls in sorted(EDITS.items()) for target in cls.targets]
NOTHING_TO_DRAW = ("mirror", "remove", "largest")


@pytest.mark.parametrize("spec", SPECS)
class TestEveryEdit:
    def test_its_record_reads_back(self, spec):
        edit, _ = draw(spec)
        assert edit_from_dict(json.loads(json.dumps(edit.to_dict()))) == edit

    def test_drawing_is_seeded_and_within_reach_of_the_seed_only(self, spec):
        assert draw(spec, seed=3)[0] == draw(spec, seed=3)[0]
        if spec.split(":")[0] not in NOTHING_TO_DRAW:
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
        if edit.name == "largest":
            pytest.skip("a phantom's tumour is in one piece")
        layout, lost, _ = edit.run(HOST, donor)
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
        ({"name": "explode"}, "unknown edit 'explode'; known edits are .*elastic, grow"),
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


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 50), st.integers(0, 2**32 - 1), st.lists(st.sampled_from(SPECS), min_size=1, max_size=5))
def test_any_policy_keeps_labels_legal_and_the_tumour_in_the_brain(head, seed, specs):
    layout = start = head_layout(seed=head, case_id="host")
    rng = np.random.default_rng(seed)
    for spec in specs:
        cls, target = parse_edit(spec)
        wants_tumour = cls.needs_tumour and (target == "tumour" or "tumour" not in cls.targets)
        if wants_tumour and not layout.tumour.any():
            continue
        donor = DONOR if cls.needs_donor else None
        edit = cls.draw(layout, rng, target=target, donor=donor)
        edited = edit.apply(layout, donor)
        lawful_labels(edited, start)
        if target == "tumour":
            assert np.array_equal(edited.tissue, layout.tissue)
        layout = edited


@pytest.mark.parametrize(
    ("spec", "ranges"),
    [
        ("move", {"mm": (5, 1)}),
        ("move", {"mm": (float("nan"), 5)}),
        ("move", {"mm": (-5, 5)}),
        ("rotate", {"degrees": (0, 400)}),
        ("scale", {"factor": (0, 1)}),
        ("stretch", {"anisotropy": (0.5, 1)}),
        ("elastic", {"step_mm": "wide"}),
        ("grow", {"mm": (0, 900)}),
        ("grow", {"region": "XX"}),
        ("resize", {"region": []}),
        ("resize", {"ml": (5, float("inf"))}),
        ("resize", {"factor": (0.5, 0.7, 0.9)}),
        ("recompose", {"oedema": (0, 2)}),
        ("rim", {"broken": (0.5, 1.5)}),
        ("rim", {"action": "melt"}),
        ("drop_enhancement", {"oedema": (0.5, 0.1)}),
        ("core", {"action": 3}),
        ("satellites", {"count": (0, 2)}),
        ("satellites", {"kind": ("blob", "star")}),
        ("satellites", {"other_side": 2}),
        ("swap", {"jitter_mm": -1}),
        ("blend", {"donor_share": (-0.5, 0.5)}),
        ("blend", {"mirror": "top"}),
    ],
)
def test_a_bad_range_is_refused_by_edit_and_name(spec, ranges):
    with pytest.raises(LayoutError, match=f"edit {spec}: {next(iter(ranges))} must be"):
        draw(spec, **ranges)


GOOD = {
    "stretch": {"factors": [1, 1, 1.2], "shift_mm": [0, 0, 0], "target": "tumour"},
    "resize": {"region": "WT", "ml": 30.0},
    "recompose": {"shares": [0.2, 0.2, 0.6]},
    "rim": {"mm": 1.0, "broken": 0.2, "seed": 1},
    "drop_enhancement": {"oedema": 0.2},
    "core": {"action": "erode", "mm": 2.0},
    "satellites": {"kind": "blob", "centres": [9, 9, 9], "ml": [2], "core": [0.5], "necrosis": [0.1], "seed": 1},
    "blend": {"donor": "donor", "weight": 0.5, "mirror": True, "shift_mm": [0, 0, 0]},
}


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("stretch", "factors", [1, 2]),
        ("stretch", "factors", [1, 0, 2]),
        ("stretch", "target", "head"),
        ("resize", "ml", 0),
        ("resize", "ml", float("nan")),
        ("resize", "region", "ED"),
        ("recompose", "shares", [0.5, 0.5, 0.5]),
        ("recompose", "shares", [-0.2, 0.6, 0.6]),
        ("rim", "broken", 1.5),
        ("rim", "mm", -1),
        ("rim", "seed", 1.5),
        ("drop_enhancement", "oedema", 2),
        ("core", "action", "melt"),
        ("core", "mm", float("inf")),
        ("satellites", "centres", [9, 9]),
        ("satellites", "ml", [2, 3]),
        ("satellites", "ml", [-2]),
        ("satellites", "core", [float("nan")]),
        ("satellites", "kind", "star"),
        ("blend", "weight", 1.2),
        ("blend", "mirror", "yes"),
        ("blend", "donor", 3),
    ],
)
def test_a_bad_parameter_of_a_record_is_refused(name, key, value):
    assert edit_from_dict({"name": name, **GOOD[name]}).name == name
    with pytest.raises(LayoutError, match=f"edit {name}: "):
        edit_from_dict({"name": name, **GOOD[name], key: value})
    with pytest.raises(LayoutError, match="expected the parameters"):
        edit_from_dict({"name": name, **GOOD[name], "extra": 1})
