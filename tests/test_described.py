"""Sets that a dataset.json describes: what synth exports is read back, and what people have is read as it says."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest
from commands import invoke
from exported import SMALL, painted_set, real_folder

from synth.brats import NAMINGS
from synth.datasets import members
from synth.datasets.reading import Reading
from synth.datasets.sets import open_set
from synth.errors import DataError
from synth.trainers.segmentation.annotated import find_annotated

pytestmark = pytest.mark.usefixtures("small_grid")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    painted_set(folder / "set", ["BraTS2021_00001", "atlas-1"])
    real_folder(folder / "real", ["BraTS2021_00001", "BraTS2021_00007"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(members, "GRID", SMALL)
        for to in ("nnunet", "msd", "nnunet --regions", "nnunet --in-place"):
            out = to.replace(" --", "-")
            assert invoke(folder, f"export set {out} --to {to} --real real -q").exit_code == 0
    return folder


@pytest.fixture
def place(made, tmp_path):
    return shutil.copytree(made, tmp_path / "place")


@pytest.mark.parametrize("out", ["nnunet", "msd", "nnunet-regions", "nnunet-in-place"])
def test_what_was_exported_is_read_back_with_its_lineage(made, out):
    wanted = {case.id: case for name in ("set", "real") for case in open_set(made / name)}
    cases = open_set(made / out)
    assert cases.format == out.split("-")[0]
    assert cases.ids == sorted(wanted)
    for case in cases:
        assert np.array_equal(case.images, wanted[case.id].images)
        assert np.array_equal(case.labels, wanted[case.id].labels)
        assert np.allclose(case.affine, wanted[case.id].affine)
    found = {m.id: (sorted(cases.patients(m)), cases.is_painted(m)) for m in cases.members}
    assert found["BraTS2021_00007"] == (["BraTS2021_00007"], False)
    assert found["Synth_00000"] == (["BraTS2021_00001"], True)
    assert found["Synth_00001"] == ([], True)
    assert all(len(member.checksums()) >= 1 for member in cases.members)


@pytest.mark.parametrize("out", ["nnunet", "msd"])
def test_commands_take_them(place, out):
    (place / out / "manifest.jsonl").unlink()  # as other people's are
    done = invoke(place, f"check {out} --json")
    report = json.loads(done.output[done.output.index("{") : done.output.rindex("}") + 1])
    assert [case["id"] for case in report["cases"]] == open_set(place / out).ids
    assert [case.id for case in find_annotated(place / out)] == open_set(place / out).ids
    assert len({member.signature() for member in open_set(place / out).members}) == 4
    assert invoke(place, f"export theirs --to {out} --real real -q").exit_code == 0
    (place / "theirs/manifest.jsonl").unlink()
    assert invoke(place, "export again --to brats2023 --real theirs -q").exit_code == 0
    for case, before in zip(open_set(place / "again"), open_set(place / "theirs"), strict=True):
        assert np.array_equal(case.labels, before.labels)


def test_images_to_segment_are_read_without_labels(place):
    shutil.copytree(place / "nnunet/imagesTr", place / "nnunet/imagesTs")
    cases = open_set(place / "nnunet/imagesTs")
    assert len(cases) == 4
    assert {member.values for member in cases.members} == {(0, 2, 1, 3)}  # in which they are to be segmented
    assert not any(member.labelled for member in cases.members)
    assert next(iter(cases)).labels is None


def test_channels_and_labels_are_what_the_file_says(place):
    path = place / "nnunet/dataset.json"
    table = json.loads(path.read_text())
    before = {case.id: case for case in open_set(place / "nnunet")}
    table["channel_names"] = {"0": "T2w", "1": "FLAIR", "2": "t1", "3": "T1Gd"}
    table["labels"] = {"background": 0, "necrotic core": 1, "oedema": 2, "ET": 3}
    path.write_text(json.dumps(table))
    for case in open_set(place / "nnunet"):
        assert np.array_equal(case.images[..., [2, 3, 0, 1]], before[case.id].images)
        assert np.array_equal(case.labels, np.array([0, 2, 1, 3])[before[case.id].labels])
    assert {member.values for member in open_set(place / "nnunet").members} == {(0, 1, 2, 3)}
    stated = open_set(place / "nnunet", reading=Reading(labels="nnunet"))
    assert {member.values for member in stated.members} == {(0, 2, 1, 3)}
    assert all(np.array_equal(case.labels, before[case.id].labels) for case in stated)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("channel_names", {"0": "CT", "1": "T1", "2": "T1", "3": "FLAIR"}, "expected channels named"),
        ("labels", {"background": 0, "tumour": 1}, "state what they mean, such as --labels nnunet"),
        ("labels", {"background": 0, "a": [1, 2], "b": [2, 3]}, "state what they mean"),
        (
            "channel_names",
            {str(k): n for k, n in enumerate(("T1", "T1ce", "T2", "FLAIR", "DWI"))},
            "expected 5 channels",
        ),
        ("dataset", {"X": {"images": []}}, "expected `images` and `label`"),
    ],
)
def test_what_the_file_does_not_say_is_refused_in_one_sentence(place, key, value, said):
    path = place / "nnunet/dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(DataError, match=said):
        open_set(place / "nnunet")
    done = invoke(place, "export out --to brats2020 --real nnunet -q")
    assert (done.exit_code, done.output.count("\n")) == (1, 1)


def test_a_damaged_image_of_the_decathlon_is_told_with_its_name(place):
    path = place / "msd/imagesTr/BraTS2021_00007.nii.gz"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DataError, match=r"imagesTr/BraTS2021_00007\.nii\.gz: cannot be read"):
        open_set(place / "msd")["BraTS2021_00007"].read()
    nib.save(nib.Nifti1Image(np.ones(SMALL, np.int16), np.eye(4)), path)
    with pytest.raises(DataError, match=r"expected an image of 4 channels .* found the shape \(20, 24, 18\)"):
        open_set(place / "msd")["BraTS2021_00007"].read()


def test_labels_that_the_table_does_not_have_are_refused(place):
    path = place / "msd/labelsTr/BraTS2021_00007.nii.gz"
    nib.save(nib.Nifti1Image(np.full(SMALL, 7, np.uint8), nib.load(path).affine), path)
    with pytest.raises(DataError, match="found 7"):
        open_set(place / "msd")["BraTS2021_00007"].read()
    assert NAMINGS["brats2020"] == open_set(place / "msd").members[0].naming


# --- what is synthetic says so ------------------------------------------------------------------------------------


def test_synthetic_cases_are_told_by_manifest_and_by_their_files(made, place):
    assert open_set(made / "real").synthetic_note() is None
    note = open_set(made / "set").synthetic_note()
    assert note.startswith(f"{made / 'set'}: 2 of 2 cases are synthetic, painted by synth (Synth_00000, Synth_00001): ")
    shutil.copytree(place / "set/Synth_00000", place / "real/Synth_00000")  # out of its set, among real ones
    assert ": 1 of 3 cases are synthetic" in open_set(place / "real").synthetic_note()
    assert ": 2 of 4 cases are synthetic" in open_set(place / "msd").synthetic_note()
    (place / "msd/manifest.jsonl").unlink()
    (place / "msd/run.json").unlink()
    assert ": 2 of 4 cases are synthetic" in open_set(place / "msd").synthetic_note()


def test_commands_that_take_them_for_real_say_so_or_refuse(place):
    shutil.copytree(place / "set/Synth_00000", place / "mixed/Synth_00000")
    done = invoke(place, "layouts extract mixed layouts -q")
    assert "warning: mixed: 1 of 1 cases are synthetic" in done.stderr
    for name in ("manifest.jsonl", "run.json"):
        (place / "msd" / name).unlink()
    done = invoke(place, "export out --to brats2020 --real msd -q")
    assert done.exit_code == 1
    assert "Synth_00000.nii.gz: expected a patient's scan, found one that synth painted, by its header" in done.stderr
