import json

import numpy as np
import pytest
from PIL import Image

from synth.disk.json_files import seal
from synth.errors import DataError
from synth.quality.records import Record, array_path
from synth.report.core.judge import Verdict
from synth.report.usefulness.section import section_of
from synth.report.usefulness.utility import read_utility


def records(folder, name, dice):
    """Cases with these Dice of WT, TC and ET."""
    made = []
    for number, values in enumerate(dice):
        place = folder / f"{name}{number}"
        place.mkdir()
        np.savez(array_path(place, "dice", "1"), dice=np.asarray(values, np.float32))
        made.append(Record(f"{name}{number}", place, {"dice": "1"}))
    return made


def dice_verdicts(folder, ours, theirs):
    found = section_of(records(folder, "s", ours), records(folder, "r", theirs), True, "default")
    return [check.verdict for check in found.checks[:3]]


@pytest.mark.parametrize(
    ("ours", "verdict"), [(0.8, Verdict.PASS), (0.6, Verdict.LOOK), (0.4, Verdict.FAIL), (0.97, Verdict.LOOK)]
)
def test_dice_beside_that_of_real_scans(tmp_path, ours, verdict):
    assert dice_verdicts(tmp_path, [[ours] * 3] * 5, [[0.8] * 3, [0.85] * 3, [0.75] * 3]) == [verdict] * 3


def test_small_samples_are_said_to_be_small(tmp_path):
    ours, theirs = records(tmp_path, "s", [[0.8] * 3] * 12), records(tmp_path, "r", [[0.8] * 3] * 12)
    assert any("Small samples" in note for note in section_of(ours[:2], theirs, True, "default").notes)
    assert not any("Small samples" in note for note in section_of(ours, theirs, True, "default").notes)


def test_regions_are_judged_one_by_one(tmp_path):
    assert dice_verdicts(tmp_path, [[0.8, 0.8, 0.1]] * 4, [[0.8, 0.8, 0.8]] * 4) == [
        Verdict.PASS,
        Verdict.PASS,
        Verdict.FAIL,
    ]


def test_what_the_segmenter_has_learnt_from_is_said(tmp_path):
    ours, theirs = records(tmp_path, "s", [[0.8] * 3]), records(tmp_path, "r", [[0.9] * 3])
    assert any("learnt from" in note for note in section_of(ours, theirs, False, "default").notes)
    assert not any("learnt from" in note for note in section_of(ours, theirs, True, "default").notes)


def utility(tstr=1.0, gain=0.02, spread=0.05):
    def about(value):
        return {"estimate": value, "interval": [value - spread, value + spread]}

    arm = {"mean": 0.8, "interval": [0.7, 0.9], "median": 0.82}
    regions = ("WT", "TC", "ET")
    return {
        "schema": "synth.experiments.utility",
        "version": 1,
        "settings": {"arch": "unet3d", "steps": 10},
        "sizes": {"real": 12, "synthetic": 50},
        "notes": ["a note"],
        "summary": {name: dict.fromkeys(regions, arm) for name in ("real", "synthetic", "both")},
        "tstr_ratio": dict.fromkeys(regions, about(tstr)),
        "gain": dict.fromkeys(regions, about(gain)),
    }


@pytest.mark.parametrize(
    ("made", "name", "verdict"),
    [
        (utility(), "tstr", Verdict.PASS),
        (utility(tstr=0.82), "tstr", Verdict.LOOK),
        (utility(tstr=0.5), "tstr", Verdict.FAIL),
        (utility(), "gain", Verdict.PASS),
        (utility(gain=-0.01), "gain", Verdict.LOOK),
        (utility(gain=-0.2), "gain", Verdict.FAIL),
    ],
)
def test_what_training_on_the_set_is_worth(tmp_path, made, name, verdict):
    ours, theirs = records(tmp_path, "s", [[0.8] * 3]), records(tmp_path, "r", [[0.8] * 3])
    found = section_of(ours, theirs, True, "default", made)
    assert {check.verdict for check in found.checks if f".{name}." in check.id} == {verdict}
    assert "a note" in found.notes


def test_without_utility_it_says_how_to_get_it(tmp_path):
    ours, theirs = records(tmp_path, "s", [[0.8] * 3]), records(tmp_path, "r", [[0.8] * 3])
    (check,) = [c for c in section_of(ours, theirs, True, "default").checks if c.id == "usefulness.utility"]
    assert check.verdict == Verdict.NONE
    assert "synth utility" in check.reason


def test_reading_what_utility_wrote(tmp_path):
    (tmp_path / "utility.json").write_text(json.dumps(seal(utility())))
    Image.new("RGB", (4, 3)).save(tmp_path / "utility.png")
    found, plot = read_utility(tmp_path)
    assert found["sizes"]["real"] == 12
    assert plot == (tmp_path / "utility.png").read_bytes()
    (tmp_path / "utility.png").write_bytes(b"png")
    with pytest.raises(DataError, match=r"utility\.png: expected the plot"):
        read_utility(tmp_path)
    (tmp_path / "utility.png").unlink()
    (tmp_path / "utility_4.json").write_text(json.dumps(seal(utility())))
    with pytest.raises(DataError, match="2 results"):
        read_utility(tmp_path)
    assert read_utility(tmp_path / "utility_4.json")[1] is None


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("gain", "WT"), {}),
        (("gain", "WT", "interval"), None),
        (("tstr_ratio", "ET", "estimate"), "much"),
        (("summary", "real", "TC", "mean"), None),
        (("summary", "both"), {}),
        (("sizes", "real"), "many"),
        (("settings", "synthetic"), 3),
        (("notes",), [1]),
        (("settings",), []),
    ],
)
def test_a_damaged_result_of_utility(tmp_path, place, value):
    made = json.loads(json.dumps(utility()))
    inner = made
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    (tmp_path / "utility.json").write_text(json.dumps(seal(made)))
    with pytest.raises(DataError, match=r"utility\.json"):
        read_utility(tmp_path)


def test_a_result_that_somebody_changed(tmp_path):
    made = seal(utility(tstr=0.5))
    made["tstr_ratio"] = utility(tstr=1.0)["tstr_ratio"]
    (tmp_path / "utility.json").write_text(json.dumps(made))
    with pytest.raises(DataError, match="it was changed"):
        read_utility(tmp_path)


def test_a_ratio_that_does_not_exist_is_not_judged(tmp_path):
    made = json.loads(json.dumps(utility()))
    made["tstr_ratio"]["ET"] = {"estimate": None, "interval": None}
    (tmp_path / "utility.json").write_text(json.dumps(seal(made)))
    ours, theirs = records(tmp_path, "s", [[0.8] * 3]), records(tmp_path, "r", [[0.8] * 3])
    found = section_of(ours, theirs, True, "default", read_utility(tmp_path)[0])
    (check,) = [one for one in found.checks if one.id == "usefulness.tstr.ET"]
    assert check.verdict == Verdict.NONE


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"schema": "other", "version": 1}', '{"schema":"synth.experiments.utility","version":1}']
)
def test_what_is_no_result_of_utility(tmp_path, text):
    (tmp_path / "utility.json").write_text(text)
    with pytest.raises(DataError, match=r"utility\.json"):
        read_utility(tmp_path)
