"""Inputs that a hostile tester got past the checks, a kind each."""

from dataclasses import replace

import numpy as np
import pytest
from commands import invoke
from phantoms import atlas_case, embed, phantom_case, write_case

from synth.brats import Tumour
from synth.datasets.cases import voxel_notes
from synth.datasets.inspection import Inspection
from synth.datasets.reading import Reading
from synth.datasets.sets import open_set
from synth.datasets.voxels.place import judge_place
from synth.errors import SynthError

HEALTHY = Reading(healthy=True)


@pytest.fixture(scope="module")
def brain():
    case, _ = atlas_case()
    return case.images


def said_of(images):
    return list(voxel_notes(images, images.any(-1)))


@pytest.mark.parametrize("name", ["{id}_lesion.nii.gz", "{id}_Seg.NII.GZ", "{id}_seg.nrrd", "roi.mha", "{id}_seg.npy"])
def test_a_brain_with_an_unclaimed_image_beside_it_is_not_taken_for_healthy(tmp_path, name):
    folder = write_case(tmp_path, embed(phantom_case(labels=False, case_id="A_1")), suffix=".nii")
    assert open_set(tmp_path, reading=HEALTHY)["A_1"].read().meta["healthy"]
    (folder / name.format(id="A_1")).write_bytes(b"what it is, nobody knows")
    with pytest.raises(SynthError, match=r"A_1.*(is stated to be healthy|most likely is the segmentation|perhaps)"):
        open_set(tmp_path, reading=HEALTHY)["A_1"].read()


def test_labels_in_a_folder_beside_the_case_are_seen(tmp_path):
    write_case(tmp_path, embed(phantom_case(labels=False, case_id="A_1")), suffix=".nii")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "A_1.nii.gz").touch()
    with pytest.raises(SynthError, match=r"\.\./labels/A_1\.nii\.gz"):
        open_set(tmp_path, reading=HEALTHY)["A_1"].read()


def test_a_brain_that_lies_otherwise_is_told(brain):
    inside = brain.any(-1)
    assert judge_place(inside) == []
    for other in (inside[:, ::-1], np.swapaxes(inside, 0, 1), np.roll(inside, 45, 1)):
        (verdict,) = judge_place(np.ascontiguousarray(other))
        assert verdict.kind == "place"
    assert judge_place(inside[:100]) == []  # another grid
    assert [said for _, said, _ in said_of(np.ascontiguousarray(brain[:, ::-1])) if "does not lie as in BraTS" in said]


def test_a_skull_is_refused_beside_a_modality_that_shows_little(brain):
    images = brain.copy()
    grown = np.zeros(brain.shape[:3], bool)
    grown[40:200, 20:220, 5:150] = True
    images[..., 3][grown & (images[..., 3] == 0)] = 90
    images[:, :, :60, 2] = 0
    images[:, :, 70:, 2] = 0
    assert [(m, refused) for m, said, refused in said_of(images) if "skull-stripped" in said] == [("flair", True)]


def test_something_left_by_stripping_is_told_of_its_file(brain):
    images = brain.copy()
    rim = np.zeros(brain.shape[:3], bool)
    rim[80:160, 40:200, 118:150] = True
    images[..., 0][rim & (images[..., 0] == 0)] = 200
    told = [(m, refused) for m, said, refused in said_of(images) if "expected one outline" in said]
    assert told == [("t1", False)]


def test_of_two_files_of_one_scan_the_later_is_said_to_show_the_earlier(brain):
    images = brain.astype(np.float32)
    images[..., 3] = np.where(images[..., 2] > 0, np.rint(images[..., 2] ** 0.9 * 2), 0)
    ((modality, said, _),) = [note for note in said_of(images) if "the same scan" in note[1]]
    assert modality == "flair"
    assert said.startswith("shows the same scan as t2")


@pytest.mark.parametrize("wrong", ["MSD", "foo", None])
def test_a_table_that_is_none_is_refused_when_it_is_stated(wrong, tmp_path):
    with pytest.raises(SynthError, match="labels must be one of auto, brats, brats2020"):
        Reading(labels=wrong)
    with pytest.raises(SynthError, match="must be a Reading"):
        open_set(tmp_path, reading={"labels": "msd"})


def test_where_the_scan_leaves_an_order_open_every_table_that_fits_is_named():
    inspection = Inspection("set")
    for seed in range(3):
        labels = phantom_case(seed=seed).labels
        ped = np.array([Tumour.NONE, Tumour.NCR, Tumour.ET, Tumour.NCR], np.uint8)[labels]  # ED read as ET (4)
        inspection.see(str(seed), ped)
    (finding,) = inspection.findings()
    assert "`--labels ped` reads them so; if they are right" in finding.message


@pytest.mark.parametrize("content", ["", "not json\n", '{"index": 0, "id": "Other", "files": {}}\n'])
def test_a_manifest_that_does_not_know_its_case_is_told_by_check(tmp_path, content):
    write_case(tmp_path / "set", embed(replace(phantom_case(), id="Synth_000000")), suffix=".nii")
    (tmp_path / "set" / "manifest.jsonl").write_text(content)
    result = invoke(tmp_path, "check set --quiet")
    assert result.exit_code == 1
    assert "manifest.jsonl" in result.output
    assert len(result.output.splitlines()) == 1
