from dataclasses import replace

import numpy as np
import pytest
from phantoms import phantom_case, write_case

from synth.datasets.sets import open_set
from synth.disk.files import sha256_file
from synth.errors import DataError
from synth.exporters import open_exporter
from synth.report.core.facts import case_facts
from synth.report.core.judge import Verdict
from synth.report.core.measuring import joint_checksum
from synth.report.validity.section import changed_files, section_of


def facts(name="a", **changed):
    ranges = {m: {"covered": 1.0, "distinct": 500, "saturated": 0.0} for m in ("t1", "t1ce", "t2", "flair")}
    digests = {m: f"{name}-{m}" for m in ("t1", "t1ce", "t2", "flair", "seg")}
    good = {
        "id": name,
        "findings": [],
        "brain_share": 0.16,
        "largest_piece": 1.0,
        "ranges": ranges,
        "digests": digests,
        "tumour_voxels": 1000,
        "law": [],
    }
    return {**good, **changed}


def error(topic):
    return {"severity": "error", "topic": topic, "message": "is wrong."}


def verdicts(synthetic, real=(), problems=(), changed=None):
    found = section_of(synthetic, real, problems, changed)
    return {check.id.removeprefix("validity."): check.verdict for check in found.checks}


def test_a_sound_set_passes():
    found = verdicts([facts("a"), facts("b")], [facts("r")], changed=[])
    assert set(found.values()) == {Verdict.PASS}
    assert section_of([facts()], [], [], []).verdict == Verdict.PASS


@pytest.mark.parametrize("topic", ["files", "geometry", "intensities", "labels"])
def test_one_unusable_case_of_many_fails_its_check_alone(topic):
    bad = {"id": "b", "findings": [error(topic)]}
    found = verdicts([facts("a"), bad])
    assert [name for name, verdict in found.items() if verdict == Verdict.FAIL] == [topic]
    assert "b" in section_of([facts("a"), bad], [], [], None).checks[1 + list(found).index(topic) - 1].reason


@pytest.mark.parametrize(
    ("changed", "failing"),
    [
        ({"brain_share": 0.5}, "background"),
        ({"largest_piece": 0.9}, "background"),
        ({"ranges": {"t1": {"covered": 0.5, "distinct": 500, "saturated": 0}}}, "ranges"),
        ({"ranges": {"t1": {"covered": 1, "distinct": 7, "saturated": 0}}}, "ranges"),
        ({"ranges": {"t1": {"covered": 1, "distinct": 500, "saturated": 0.2}}}, "ranges"),
        ({"digests": facts("a")["digests"]}, "duplicates"),
    ],
)
def test_what_fails(changed, failing):
    assert verdicts([facts("a"), facts("b", **changed)])[failing] == Verdict.FAIL


def test_the_same_label_map_twice_is_to_be_looked_at_unless_it_is_empty():
    twin = {**facts("b")["digests"], "seg": "a-seg"}
    assert verdicts([facts("a"), facts("b", digests=twin)])["label_maps"] == Verdict.LOOK
    healthy = [facts("a", tumour_voxels=0), facts("b", digests=twin, tumour_voxels=0), facts("c")]
    assert verdicts(healthy)["label_maps"] == Verdict.PASS


@pytest.mark.parametrize(
    ("lawless", "real_lawless", "verdict"),
    [(1, 1, Verdict.PASS), (3, 0, Verdict.PASS), (5, 0, Verdict.LOOK), (9, 0, Verdict.FAIL), (9, 9, Verdict.PASS)],
)
def test_the_law_is_judged_beside_real_cases(lawless, real_lawless, verdict):
    def some(n):
        return [facts(f"c{i}", law=["too large"] if i < n else []) for i in range(10)]

    assert verdicts(some(lawless), some(real_lawless))["law"] == verdict


def test_problems_of_the_set_and_of_the_manifest():
    assert verdicts([facts()], problems=["twice"])["set"] == Verdict.FAIL
    assert verdicts([facts()], changed=["a: changed"])["manifest"] == Verdict.FAIL
    assert verdicts([facts()])["manifest"] == Verdict.NONE


def test_problems_of_the_real_set_are_told_and_not_judged():
    found = section_of([facts()], [facts("r")], [], [], ["r: is there twice."])
    assert found.verdict == Verdict.PASS
    assert "Of the real set: r: is there twice." in found.notes


def test_files_against_the_manifest():
    records = {"a": {"files": {"a/a_t1.nii.gz": "1"}}, "b": {"files": {"synth.h5/b": "2"}}}
    found = {"a": {"a/a_t1.nii.gz": "1"}, "b": {"b": "2"}}
    assert changed_files(records, found) == []
    assert changed_files(None, found) is None
    assert "checksum" in changed_files(records, {**found, "b": {"b": "9"}})[0]
    assert "not found" in changed_files(records, {"b": {"b": "2"}})[0]
    assert "not in the manifest" in changed_files(records, {**found, "c": {}})[0]
    assert "names no file" in changed_files({"a": {}}, {"a": {"a/a_t1.nii.gz": "1"}})[0]


def test_facts_of_a_case():
    case = phantom_case((24, 28, 20), seed=1)
    found = case_facts(case)
    assert found["largest_piece"] == 1.0
    assert set(found["digests"]) == {"t1", "t1ce", "t2", "flair", "seg"}
    images = case.images.copy()
    images[0, 0, 0] = 5  # a speck in the background
    images[..., 0] = np.where(case.brain, np.minimum(images[..., 0], np.median(images[..., 0][case.brain])), 0)
    spoilt = case_facts(replace(case, images=images))
    assert spoilt["largest_piece"] < 1
    assert spoilt["ranges"]["t1"]["saturated"] > 0.2
    assert spoilt["digests"]["t1"] != found["digests"]["t1"]
    assert spoilt["digests"]["t2"] != found["digests"]["t2"]  # the speck


def test_a_folder_and_an_hdf5_file_are_opened_alike(tmp_path):
    case = phantom_case((24, 28, 20), seed=1, case_id="P0")
    write_case(tmp_path / "nifti", case)
    with open_exporter("hdf5", tmp_path / "hdf5") as exporter:
        exporter.write(case)
    for name, count in (("nifti", 5), ("hdf5", 1)):
        opened = open_set(tmp_path / name)
        (source,) = opened.members
        assert (source.id, len(source.checksums())) == ("P0", count)
        found, notes = source.examine()
        assert found is None  # not on the BraTS grid
        assert "240" in str(notes.errors[0])
        assert opened.records is None


def test_checksums_are_those_of_the_files(tmp_path):
    folder = write_case(tmp_path, phantom_case((24, 28, 20), seed=1, case_id="P0"))
    (source,) = open_set(tmp_path).members
    path = next(folder.glob("*seg*"))
    assert source.checksums()[str(path.relative_to(tmp_path))] == sha256_file(path)
    before = joint_checksum(source)
    path.write_bytes(b"changed")
    assert joint_checksum(source) != before


def test_a_damaged_manifest_is_an_error(tmp_path):
    write_case(tmp_path, phantom_case((24, 28, 20), seed=1, case_id="P0"))
    (tmp_path / "manifest.jsonl").write_text("{}\n{}\n")
    cases = open_set(tmp_path)  # beside real cases it is nobody's
    with pytest.raises(DataError, match=r"manifest\.jsonl"):
        _ = cases.records
