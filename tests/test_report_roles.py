import codecs
import json
from pathlib import Path

import pytest

from synth.datasets.members import Hdf5Member
from synth.datasets.sets import BRATS, CaseSet
from synth.errors import DataError, ModelError
from synth.models.cards import model_hash, read_card, used_cases
from synth.report.roles import read_ids, split_real
from synth.trainers.segmentation import leaks


def a_set(*ids, path="somewhere"):
    return CaseSet(Path(path), BRATS, tuple(Hdf5Member(i, Path(path), None, None) for i in ids))


REAL = a_set("a", "b", "c", "d")


def test_ids_decide(tmp_path):
    found = split_real(REAL, None, ["a", "b"], a_set(path=tmp_path))
    assert (found.training, found.holdout) == ({"a", "b"}, {"c", "d"})
    with pytest.raises(DataError, match="x"):
        split_real(REAL, None, ["a", "x"], a_set(path=tmp_path))
    with pytest.raises(DataError, match="hold-out"):
        split_real(REAL, a_set("d"), ["a", "d"], a_set(path=tmp_path))


def test_without_any_hint_nothing_is_known(tmp_path):
    found = split_real(REAL, None, None, a_set(path=tmp_path))
    assert found.training is None
    assert not found.holdout
    assert "unknown" in found.said


def test_a_holdout_set_alone(tmp_path):
    found = split_real(REAL, a_set("d", "e"), None, a_set(path=tmp_path))
    assert (found.training, found.holdout) == ({"a", "b", "c"}, {"d", "e"})


@pytest.fixture
def painted(tmp_path, monkeypatch):
    """A set painted by the shipped generator, whose card knows cases a and b, and c from choosing."""
    card = read_card("default")
    model = {"name": "default", "hash": model_hash(card)}
    (tmp_path / "run.json").write_text(json.dumps({"synth": "1", "model": model}))
    known = {"training": {**used_cases({"a": ("1", "2")}), "begun from": {"training": used_cases({"b": ("3",)})}}}
    card = {**card, **known, "validation": used_cases({"c": ("4",)})}
    monkeypatch.setattr(leaks, "read_card", lambda name: card)
    return a_set(path=tmp_path)


def test_the_card_decides(painted):
    found = split_real(REAL, None, None, painted)
    assert (found.training, found.holdout) == ({"a", "b"}, {"c", "d"})
    assert "1 of the others picked its weights" in found.said


def test_the_card_knows_better_than_the_folder(painted):
    found = split_real(REAL, a_set("b", "e"), None, painted)
    assert (found.training, found.holdout) == ({"a", "b"}, {"c", "d", "e"})
    assert "b of the hold-out set" in found.said


def test_a_training_scan_is_known_under_another_name(painted):
    scans = {"a": ("1", "2"), "x": ("9", "2"), "y": ("3",), "z": ("4",), "w": ("", "8")}
    found = split_real(a_set("x", "y", "w"), a_set("z"), None, painted, scans=scans)
    assert (found.training, found.holdout) == ({"x", "y"}, {"w", "z"})
    assert "2 of them under another name (x, y), known by the scan" in found.said
    assert "1 of the others picked its weights" in found.said
    assert "ids alone" not in found.said


def test_a_card_of_ids_alone_says_so_once(painted, monkeypatch):
    card = leaks.read_card("default")
    known = {key: value for key, value in card["training"].items() if key != "fingerprints_sha256"}
    monkeypatch.setattr(leaks, "read_card", lambda name: {**card, "training": known})
    found = split_real(a_set("a", "x"), None, None, painted, scans={"x": ("1", "2")})
    assert (found.training, found.holdout) == ({"a"}, {"x"})
    assert found.said.count("lists ids alone") == 1


@pytest.mark.parametrize("ids", [["a"], None])
def test_twins_of_training_cases_are_training_cases(tmp_path, ids):
    scans = {"a": ("1", "2"), "d": ("5", "2"), "e": ("6", "7")}
    held = None if ids else a_set("d", "e")
    real = a_set("a", "d", "e") if ids else a_set("a")
    found = split_real(real, held, ids, a_set(path=tmp_path), scans=scans)
    assert (found.training, found.holdout) == ({"a", "d"}, {"e"})
    assert "1 more (d) are scans of these under other names" in found.said


def test_a_card_that_knows_none_of_the_cases_makes_none_of_them_training(painted):
    found = split_real(a_set("x", "y"), a_set("z"), None, painted)
    assert (found.training, found.holdout) == (frozenset(), {"x", "y", "z"})


def test_another_scan_of_a_training_patient_is_neither(tmp_path):
    real = a_set("BraTS-GLI-00001-000", "BraTS-GLI-00001-001", "BraTS-GLI-00002-000")
    found = split_real(real, None, ["BraTS-GLI-00001-000"], a_set(path=tmp_path))
    assert (found.training, found.holdout) == ({"BraTS-GLI-00001-000"}, {"BraTS-GLI-00002-000"})
    assert "1 further scans of training patients" in found.said


def test_another_generator_is_not_at_hand(painted):
    run = painted.path / "run.json"
    run.write_text(run.read_text().replace('"hash": "', '"hash": "0'))
    found = split_real(REAL, None, None, painted)
    assert found.training is None
    assert "--generator" in found.said
    with pytest.raises(ModelError, match="not the one"):
        split_real(REAL, None, None, painted, generator="default")


def test_ids_from_a_file_and_from_the_line(tmp_path):
    (tmp_path / "ids.txt").write_text("# training\na\n\nb  # second\n")
    assert read_ids(str(tmp_path / "ids.txt")) == ("a", "b")
    assert read_ids("a, b") == ("a", "b")
    (tmp_path / "empty.txt").write_text("# none\n")
    with pytest.raises(DataError, match="found none"):
        read_ids(str(tmp_path / "empty.txt"))
    many = [f"BraTS2021_{number:05d}" for number in range(60)]  # longer than any file name
    assert read_ids(",".join(many)) == tuple(many)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="text file"):
        read_ids(str(tmp_path / "binary"))


@pytest.mark.parametrize(
    "data",
    [
        codecs.BOM_UTF8 + b"a\r\nb\r\n",
        "\ufeffa\r\nb\r\n".encode("utf-16-le"),
        "\ufeffa\nb\n".encode("utf-16-be"),
    ],
    ids=["utf-8", "utf-16-le", "utf-16-be"],
)
def test_a_byte_order_mark_is_no_part_of_an_id(tmp_path, data):
    (tmp_path / "ids.txt").write_bytes(data)
    assert read_ids(str(tmp_path / "ids.txt")) == ("a", "b")


def test_utf16_without_a_mark_is_refused(tmp_path):
    (tmp_path / "ids.txt").write_bytes("a\nb\n".encode("utf-16-le"))
    with pytest.raises(DataError, match="expected a text file with one id a line"):
        read_ids(str(tmp_path / "ids.txt"))
