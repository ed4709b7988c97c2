import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.disk.settings import MAX_BYTES
from synth.errors import LayoutError
from synth.layout.edits import EDITS
from synth.layout.edits.policy import Choice, EditPolicy, pick, step
from synth.layout.edits.policy_file import load_policy, policy_from
from synth.layout.edits.presets import HEALTHY_PRESETS, PRESETS, policy_of, preset

TEXT = """
# every sample goes through these steps in order
steps:
  - any_of:                       # one of these, by weight
      - {edit: swap, weight: 0.7}
      - {edit: move, weight: 0.3, mm: [5, 20]}
  - {edit: elastic, probability: 0.8, mm: [1, 3]}
  - {edit: elastic, target: layout, probability: 0.5}
  - mirror:layout
"""
POLICY = EditPolicy(
    (
        step(pick("swap", 0.7), pick("move", 0.3, mm=(5, 20))),
        step(pick("elastic", mm=(1, 3)), probability=0.8),
        step("elastic:layout", probability=0.5),
        step("mirror:layout"),
    )
)


def write(folder, text, name="policy.yaml"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_file_is_read_as_it_says(tmp_path):
    path = write(tmp_path, TEXT)
    assert load_policy(path) == policy_of(path) == policy_of(str(path)) == policy_of((str(path),)) == POLICY
    as_json = write(tmp_path, json.dumps(POLICY.to_dict()), "policy.json")
    assert policy_of(as_json) == POLICY


def test_the_dict_is_canonical_and_reads_back():
    record = POLICY.to_dict()
    assert policy_from(json.loads(json.dumps(record))) == POLICY
    assert record["steps"][0]["any_of"][1] == {"edit": "move", "weight": 0.3, "mm": [5, 20]}
    assert record["steps"][3] == {"edit": "mirror", "target": "layout"}
    longer = {"edit": "mirror", "target": "layout", "probability": 1.0}
    assert policy_from({"steps": [longer]}).to_dict() == {"steps": [record["steps"][3]]}


@pytest.mark.parametrize("healthy", [False, True])
@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_prints_a_file_to_start_from(name, healthy, tmp_path):
    policy = preset(name, healthy=healthy)
    assert policy_of(name, healthy=healthy) is policy
    assert load_policy(write(tmp_path, policy.to_yaml())) == policy
    if healthy and name != "none":
        assert policy.steps[0].to_dict() == {"edit": "new"}


def test_wild_has_every_edit():
    assert {choice.edit for choice in PRESETS["wild"].choices} == set(EDITS) - {"remove", "largest"}


def test_mass_effect_comes_only_with_another_tumour_or_place():
    for policy in (*PRESETS.values(), *HEALTHY_PRESETS.values()):
        names = [{choice.edit for choice in one.choices} for one in policy.steps]
        growing = [
            n
            for n, one in enumerate(policy.steps)
            if any(
                choice.edit == "mass_effect" and choice.options.get("strength", (1,))[0] > 0 for choice in one.choices
            )
        ]
        changed = [
            n for n, found in enumerate(names) if found <= {"swap", "move", "new"} and policy.steps[n].probability == 1
        ]
        assert not growing or min(growing) > min(changed)


def test_standard_always_changes_the_tumour():
    assert any(
        one.probability == 1 and all(c.target == "tumour" for c in one.choices) for one in PRESETS["standard"].steps
    )


def test_specs_are_applied_in_the_order_given():
    specs = ("mirror", "grow", "elastic:layout")
    found = policy_of(specs)
    assert [(c.edit, c.target) for c in found.choices] == [
        ("mirror", "layout"),
        ("grow", "tumour"),
        ("elastic", "layout"),
    ]
    assert policy_of(" mirror , grow,elastic:layout") == found
    assert policy_of("none") == policy_of(()) == policy_of(("none",)) == EditPolicy()


def test_a_step_takes_what_can_be_done():
    one = step(pick("swap", 0.5), pick("new", 0.25), pick("move", 0.25))
    possible = {(t, d): {c.edit for c in one.possible(tumour=t, donor=d)} for t in (0, 1) for d in (0, 1)}
    assert possible == {
        (0, 0): {"new"},
        (0, 1): {"swap", "new"},
        (1, 0): {"new", "move"},
        (1, 1): {"swap", "new", "move"},
    }
    rng = np.random.default_rng(0)
    drawn = [one.draw(rng, tumour=True, donor=True).edit for _ in range(400)]
    assert drawn.count("swap") == pytest.approx(200, abs=40)
    assert step("elastic").draw(rng, tumour=False, donor=True) is None
    assert step("elastic:layout", probability=0.0).draw(rng, tumour=True, donor=True) is None


def test_options_are_the_keywords_of_draw():
    assert EDITS["move"].options == {"mm": (8.0, 45.0)}
    assert "wish" not in EDITS["new"].options
    assert policy_of({"steps": [{"edit": "move", "mm": 7}]}).choices == [Choice("move", "tumour", {"mm": (7, 7)})]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected an edit policy, found an empty file"),
        ("steps: [", "line 1: .*cannot be read|cannot be read .line 1"),
        ("- move", "a mapping at its top, found"),
        ("stops: []", "unknown key 'stops'; known keys are steps"),
        ("{}", "steps must be a list of edits, found None"),
        ("steps: 3", "steps must be a list"),
        ("steps: [7]", "step 1: expected an edit"),
        ("steps: [{edit: 7}]", "step 1: expected an edit by its name.*edits are"),
        ("steps: [mirror, fly]", "step 2: unknown edit 'fly'; known edits are"),
        ("steps: [{edit: move, target: layout}]", "step 1: edit move has no target 'layout'"),
        ("steps: [{edit: 'elastic:layout', target: tumour}]", "target must be one text, given once"),
        ("steps: [{edit: move, probability: 1.5}]", "probability must be a number from 0 to 1, found 1.5"),
        ("steps: [{edit: move, probability: yes}]", "probability must be a number from 0 to 1, found True"),
        ("steps: [{edit: move, weight: 1}]", "weight belongs to the choices of any_of"),
        ("steps: [{any_of: []}]", "any_of must be a list"),
        ("steps: [{any_of: [move], mm: 3}]", "unknown key 'mm'; known keys are probability, any_of"),
        ("steps: [{any_of: [move, {edit: swap, weight: 0}]}]", "step 1, choice 2: weight must be a number above 0"),
        (
            "steps: [{edit: move, mn: [1, 2]}]",
            r"step 1 \(move\): unknown key 'mn'; known keys are edit, target, weight, mm",
        ),
        ("steps: [{edit: move, mm: [20, 5]}]", "mm must be a range of two ascending numbers, found .20, 5"),
        ("steps: [{edit: move, mm: [1, .inf]}]", "mm must be a range of two ascending numbers"),
        ("steps: [{edit: move, mm: far}]", "mm must be a range"),
        ("steps: [{edit: grow, region: XX}]", "region cannot be 'XX' .edit grow: region must be out of"),
        ("steps: [{edit: scale, factor: [-1, 2]}]", "factor cannot be .-1, 2. "),
        ("steps: [{edit: scale, factor: {a: 1}}]", "factor must be a number, a range"),
        ("steps: [{edit: move, edit: swap}]", "line 1 repeats the key 'edit'"),
        ("a: &a [1]\nsteps: [*a]", "line 2 has an alias"),
        ("steps: " + "[" * 60 + "]" * 60, "levels of nesting"),
        ("!!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("steps: []\n#" + "x" * MAX_BYTES, "at most 64 kB"),
        (b"steps: [\xff\xfe]", "UTF-8"),
    ],
)
def test_what_is_no_policy_is_refused_in_one_sentence(text, message, tmp_path):
    path = write(tmp_path, text)
    with pytest.raises(LayoutError, match=message) as error:
        load_policy(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_what_names_no_policy_is_refused(tmp_path):
    for edits, message in (
        (("explode",), r"unknown edit 'explode'.*Presets are gentle.*ends in \.yaml"),
        (("standard", "move"), "cannot be combined"),
        (("move:layout",), "has no target 'layout'"),
        ((3,), "must be named by a text"),
        (tmp_path / "gone.yaml", "gone.yaml: expected a YAML or JSON file.*found nothing"),
        (str(write(tmp_path, '{"steps": [], "steps": []}', "twice.json")), "'steps' stands twice"),
        (str(write(tmp_path, '{"steps": [NaN', "bad.json")), "as JSON, but it cannot be read"),
    ):
        with pytest.raises(LayoutError, match=message):
            policy_of(edits)
    with pytest.raises(LayoutError, match="unknown preset 'tame'; presets are gentle, standard, wild, none"):
        preset("tame")
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(LayoutError, match="found a folder"):
        policy_of(tmp_path / "folder.yaml")


KEYS = st.sampled_from(["steps", "edit", "any_of", "mm", "probability", "weight", "target", "x"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8) | st.sampled_from(["move", "elastic", "grow"]),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(KEYS, values, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_no_dict_ends_in_another_error(value):
    try:
        policy = policy_from({"steps": [value]})
    except LayoutError:
        return
    assert policy_from(policy.to_dict()) == policy
