"""Prepared cases and kept settings: torn, truncated and foreign ones are made anew or refused in one sentence."""

import json
import os

import numpy as np
import pytest
from phantoms import embed, phantom_case, phantom_layout, write_case

from synth.brats import GRID
from synth.datasets.fingerprint import fingerprint
from synth.errors import DataError, ModelError, OutputError
from synth.layout.layout import Layout
from synth.trainers import prepared
from synth.trainers.painting.patches import load_case, prepare_cases
from synth.trainers.painting.training import GeneratorTraining
from synth.trainers.segmentation.annotated import Annotated, fingerprinted, prepare
from synth.trainers.segmentation.patches import load_labelled
from synth.trainers.settings import SETTINGS, keep_settings


def torn(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def foreign_arrays(folder, codes):
    np.save(folder / f"{codes}.npy", np.zeros((3, 3, 3), np.uint8))


DAMAGES = {
    "no record": lambda folder, codes: (folder / "case.json").unlink(),
    "a torn record": lambda folder, codes: torn(folder / "case.json"),
    "an empty record": lambda folder, codes: (folder / "case.json").write_text(""),
    "a record that is a list": lambda folder, codes: (folder / "case.json").write_text("[1]"),
    "a record of something else": lambda folder, codes: (folder / "case.json").write_text('{"id": 3}'),
    "a record that is no text": lambda folder, codes: (folder / "case.json").write_bytes(b"\xff\xfe\x00"),
    "a torn array": lambda folder, codes: torn(folder / "images.npy"),
    "an empty array": lambda folder, codes: (folder / "images.npy").write_bytes(b""),
    "no array": lambda folder, codes: (folder / f"{codes}.npy").unlink(),
    "arrays of two cases": foreign_arrays,
    "another type": lambda folder, codes: np.save(folder / f"{codes}.npy", np.zeros((3, 3, 3))),
    "an archive": lambda folder, codes: np.savez((folder / "images.npy").open("wb"), np.zeros(3)),
}


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A dataset of one case, for painting."""
    root = tmp_path_factory.mktemp("data")
    write_case(root, embed(phantom_case(seed=0, case_id="A")))
    return root


def known_layout(case):
    """The phantom's own layout: its brain is too small to learn tissues from."""
    small, tissue, tumour = phantom_layout(seed=0), np.zeros(GRID, np.uint8), np.zeros(GRID, np.uint8)
    place = case.images.any(-1)
    tissue[place], tumour[place] = small.tissue[small.brain], small.tumour[small.brain]
    return Layout(tissue, tumour, case.affine, case.id)


@pytest.fixture(scope="module", autouse=True)
def _known_layouts():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("synth.hosts.extract.extract_layout", known_layout)
        yield


@pytest.fixture(scope="module")
def cache(data, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    prepare_cases(data, cache, quiet=True)
    return cache


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_painting_case_is_refused_in_one_sentence(damage, cache, tmp_path):
    folder = tmp_path / "A"
    folder.mkdir()
    for name, content in contents(cache / "A").items():
        (folder / name).write_bytes(content)
    load_case(folder)
    DAMAGES[damage](folder, "classes")
    with pytest.raises(DataError, match="delete its folder and start again") as told:
        load_case(folder)
    assert str(folder) in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("damage", ["a torn record", "a torn array", "arrays of two cases"])
def test_a_damaged_painting_case_is_prepared_anew(damage, data, cache):
    before = contents(cache / "A")
    DAMAGES[damage](cache / "A", "classes")
    assert [case.id for case in prepare_cases(data, cache, quiet=True)] == ["A"]
    assert contents(cache / "A") == before


@pytest.mark.parametrize("record", [{"box": 3}, {"shape": None}, {"style": {}}, {"style": {"mean": 1}}])
def test_a_record_without_its_parts_is_refused(record, cache, tmp_path):
    folder = tmp_path / "A"
    arrays = {name: np.load(cache / "A" / f"{name}.npy") for name in ("images", "classes")}
    known = json.loads((cache / "A" / "case.json").read_text())
    prepared.store(folder, arrays, {**known, **record})
    with pytest.raises(DataError, match=r"case\.json: not what a prepared case has"):
        load_case(folder)


def test_a_whole_case_is_not_prepared_twice_and_a_changed_one_is(data, cache, monkeypatch):
    from synth.trainers.painting import patches

    made = []
    monkeypatch.setattr(patches, "_prepare", lambda member, folder, signature, detail: made.append(member.id))
    patches.prepare_cases(data, cache, quiet=True)
    assert made == []
    os.utime(next(data.rglob("*_t1.nii*")), (1, 1))
    patches.prepare_cases(data, cache, quiet=True)
    assert made == ["A"]


def test_a_case_that_was_prepared_without_a_fingerprint_gets_it_and_nothing_else(data, tmp_path, monkeypatch):

    cache = tmp_path / "cache"
    prepare_cases(data, cache, quiet=True)
    before = contents(cache / "A")
    record = json.loads(before["case.json"])
    scan = tuple(record.pop("fingerprint"))
    assert len(set(scan)) == 4
    (cache / "A" / "case.json").write_text(json.dumps(record))
    monkeypatch.setattr("synth.hosts.extract.extract_layout", None)  # the dear part
    assert [case.fingerprint for case in prepare_cases(data, cache, quiet=True)] == [scan]
    assert contents(cache / "A") == before


def test_a_case_that_fails_to_be_written_leaves_nothing(tmp_path):
    with pytest.raises(TypeError):
        prepared.store(tmp_path / "A", {"images": np.zeros(3)}, {"id": object()})  # no JSON
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_labelled_case_is_prepared_anew(damage, tmp_path):
    read = []

    def phantom():
        read.append("A")
        return phantom_case((24, 28, 20), seed=1, case_id="A")

    case = Annotated("A", "s", frozenset({"A"}), False, phantom)
    (stored,) = prepare([case], tmp_path)
    before = contents(stored.folder)
    DAMAGES[damage](stored.folder, "coded")
    with pytest.raises(DataError, match="delete its folder and start again"):
        load_labelled(stored.folder)
    prepare([case], tmp_path)
    assert contents(stored.folder) == before
    assert read == ["A", "A"]
    prepare([case], tmp_path)
    assert read == ["A", "A"]


def test_a_labelled_case_keeps_the_fingerprint_of_its_scan(tmp_path):
    case = phantom_case((24, 28, 20), seed=1, case_id="A")
    item = Annotated("A", "s", frozenset({"A"}), False, lambda: case)
    (made,) = prepare([item], tmp_path)
    record = json.loads((made.folder / "case.json").read_text())
    assert tuple(record.pop("fingerprint")) == made.fingerprint == fingerprint(case.images)
    (made.folder / "case.json").write_text(json.dumps(record))  # as a synth before left it
    images = (made.folder / "images.npy").stat()
    (again,) = prepare([item], tmp_path)
    assert (again.fingerprint, fingerprinted([item], [again])[0].fingerprint) == (made.fingerprint,) * 2
    assert (made.folder / "images.npy").stat() == images
    (made.folder / "case.json").write_text(json.dumps({**record, "fingerprint": [1]}))
    with pytest.raises(DataError, match="no fingerprint of the scan"):
        load_labelled(made.folder)


# --- settings ---


@pytest.mark.parametrize(
    "text", ["", '{"train": {"steps"', "[]", "null", '"text"', "{}", '{"train": 3}', "\ufeff{}", "[" * 100_000]
)
def test_torn_settings_are_refused_in_one_sentence(text, tmp_path):
    keep_settings(tmp_path / "run", GeneratorTraining())
    (tmp_path / "run" / SETTINGS).write_text(text)
    with pytest.raises(
        OutputError, match=rf"expected a new or empty folder .*{SETTINGS}.* choose another folder"
    ) as told:
        keep_settings(tmp_path / "run", GeneratorTraining())
    assert "\n" not in str(told.value)


def test_settings_are_kept_once_and_nothing_else_is_left(tmp_path):
    keep_settings(tmp_path / "run", GeneratorTraining())
    first = (tmp_path / "run" / SETTINGS).read_bytes()
    keep_settings(tmp_path / "run", GeneratorTraining())
    assert contents(tmp_path / "run") == {SETTINGS: first}
    with pytest.raises(ModelError, match="other settings of folds"):
        keep_settings(tmp_path / "run", GeneratorTraining(), folds=3)
    keep_settings(tmp_path / "more", GeneratorTraining(), folds=3)
    with pytest.raises(ModelError, match="other settings of folds"):
        keep_settings(tmp_path / "more", GeneratorTraining())


def test_a_run_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError):
        keep_settings(tmp_path / "file" / "run", GeneratorTraining())
