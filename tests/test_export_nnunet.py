"""`synth export --to nnunet`: what nnU-Net's own loader would find, and splits without a leak."""

import json
import os
import re
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from commands import invoke
from exported import painted_set, real_folder, tree

from synth.datasets.sets import open_set
from synth.lineage import patient_of
from synth.runs.export import splits as law
from synth.trainers.segmentation.annotated import find_annotated
from synth.trainers.segmentation.folds import refuse_relatives

PATIENTS = [f"BraTS2021_{k:05d}" for k in range(7)]


pytestmark = pytest.mark.usefixtures("small_grid")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Seven patients (one twice: two scans, and one more under another name), and what was painted from them."""
    folder = tmp_path_factory.mktemp("made")
    hosts = [PATIENTS[k % 7] for k in range(20)] + ["atlas-1"]
    painted_set(folder / "set", hosts, donors=[PATIENTS[(3 * k + 1) % 7] for k in range(20)])
    again = [*PATIENTS, "BraTS-GLI-00900-000", "BraTS-GLI-00900-001", "Brats18_TCIA_1_1"]
    real_folder(folder / "real", again, seeds=[0, 1, 2, 3, 4, 5, 6, 7, 8, 2])  # the last is BraTS2021_00002 renamed
    return folder


@pytest.fixture
def place(made, tmp_path):
    return shutil.copytree(made, tmp_path / "place")


def ran(place, line):
    done = invoke(place, line)
    assert done.exit_code == 0, done.output
    return done.output


def loaded(folder):
    """The dataset as nnU-Net finds it: by the entry `dataset`, or by the names of the files."""
    table = json.loads((folder / "dataset.json").read_text())
    assert {"labels", "channel_names", "numTraining", "file_ending"} <= table.keys()
    if "dataset" in table:
        found = {
            key: {"images": [os.path.join(folder, p) for p in v["images"]], "label": os.path.join(folder, v["label"])}
            for key, v in table["dataset"].items()
        }
    else:
        names = sorted(path.name for path in (folder / "imagesTr").iterdir())
        ids = sorted({name[: -len("_0000.nii.gz")] for name in names})
        found = {
            key: {
                "images": [str(folder / "imagesTr" / n) for n in names if re.fullmatch(rf"{key}_\d\d\d\d\.nii\.gz", n)],
                "label": str(folder / "labelsTr" / f"{key}.nii.gz"),
            }
            for key in ids
        }
    assert len(found) == table["numTraining"]
    return table, found


def agrees(place, table, found):
    """Geometry and labels as nnU-Net's check of a dataset's integrity wants them."""
    channels = ["t1", "t1ce", "t2", "flair"]
    assert table["channel_names"] == {"0": "T1", "1": "T1ce", "2": "T2", "3": "Flair"}
    cases = {case.id: case for name in ("set", "real") for case in open_set(place / name)}
    assert found.keys() == cases.keys()
    for key, entry in found.items():
        assert len(entry["images"]) == 4
        seg = nib.load(entry["label"])
        for k, path in enumerate(entry["images"]):
            image = nib.load(path)
            assert np.array_equal(image.dataobj, cases[key].images[..., k]), (key, channels[k])
            assert np.allclose(image.affine, seg.affine)
            assert image.shape == seg.shape
        values = np.asanyarray(seg.dataobj)
        assert np.array_equal(np.array([0, 2, 1, 3])[cases[key].labels], values)


def test_labels_are_consecutive_and_files_where_nnunet_looks(place):
    said = ran(place, "export set raw/Dataset501_Synth --to nnunet --real real -q")
    table, found = loaded(place / "raw/Dataset501_Synth")
    assert list(table["labels"].values()) == [0, 1, 2, 3]
    agrees(place, table, found)
    assert "copy splits_final.json to nnUNet_preprocessed/Dataset501_Synth/" in said


def test_regions_come_in_the_order_that_gives_labels_back(place):
    ran(place, "export set out --to nnunet --real real --regions -q")
    table, _ = loaded(place / "out")
    regions = [value for name, value in table["labels"].items() if name != "background"]
    assert regions == [[1, 2, 3], [2, 3], [3]]
    back = np.zeros(4, int)
    for values, label in zip(regions, table["regions_class_order"], strict=True):
        back[values] = label
    assert back.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("form", ["nifti", "hdf5"])
def test_in_place_no_image_is_copied_that_is_there(place, form):
    if form == "hdf5":
        shutil.rmtree(place / "set")
        painted_set(place / "set", ["atlas-1", PATIENTS[0]], form="hdf5")
    ran(place, "export set out --to nnunet --real real --in-place -q")
    table, found = loaded(place / "out")
    agrees(place, table, found)
    written = [name for name in tree(place / "out") if name.startswith("imagesTr")]
    assert len(written) == (8 if form == "hdf5" else 0)
    inside = [p for entry in table["dataset"].values() for p in entry["images"] if not os.path.isabs(p)]
    assert sorted(inside) == sorted(written)


def leaks(out, real_ids):
    """For each fold, how many of its training cases are of a patient that it validates on."""
    records = {r["id"]: r for r in map(json.loads, (out / "manifest.jsonl").read_text().splitlines())}
    folds = json.loads((out / "splits_final.json").read_text())
    assert sorted(key for fold in folds for key in fold["val"]) == sorted(real_ids)
    counts = []
    for fold in folds:
        assert not set(fold["train"]) & set(fold["val"])
        held = {patient_of(key) for key in fold["val"]}
        held |= {PATIENTS[2], "Brats18_TCIA_1"} if held & {PATIENTS[2], "Brats18_TCIA_1"} else set()
        names = [
            {patient_of(key)} if records[key].get("real") else {records[key]["host"], records[key]["donor"]}
            for key in fold["train"]
        ]
        counts.append(sum(bool(own & held) for own in names))
    return folds, counts


def test_no_relative_of_a_validated_patient_is_ever_trained_on(place):
    ran(place, "export set out --to nnunet --real real --folds 4 --seed 3 -q")
    real = open_set(place / "real").ids
    folds, counts = leaks(place / "out", real)
    assert counts == [0, 0, 0, 0]
    assert all("Synth_00020" in fold["train"] for fold in folds)  # of nobody's anatomy: trained on in all
    assert all(any(key.startswith("Synth") for key in fold["train"]) for fold in folds)
    (both,) = [fold for fold in folds if PATIENTS[2] in fold["val"]]
    assert "Brats18_TCIA_1_1" in both["val"]  # one scan under two names
    (gli,) = [fold for fold in folds if "BraTS-GLI-00900-000" in fold["val"]]
    assert "BraTS-GLI-00900-001" in gli["val"]  # two scans of one patient
    annotated = {case.id: case for name in ("set", "real") for case in find_annotated(place / name)}
    for fold in folds:  # the trainers' own law says the same
        refuse_relatives([annotated[key] for key in fold["train"]], [annotated[key] for key in fold["val"]])


@pytest.mark.parametrize("ignored", ["descends", "prints"])
def test_the_test_above_sees_it_where_lineage_is_ignored(place, monkeypatch, ignored):
    if ignored == "descends":
        monkeypatch.setattr(law, "descends", lambda record, patients: False)
    else:
        monkeypatch.setattr(law, "deal", lambda patients, prints, *rest: [[0, 1], [2, 3], [4, 5, 6], [7, 8, 9]])
    ran(place, "export set out --to nnunet --real real --folds 4 -q")
    assert any(leaks(place / "out", open_set(place / "real").ids)[1])


def test_ancestors_that_a_painted_host_has_itself_count(place):
    path = place / "set/manifest.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    records[20] |= {"host": "Synth_00001", "ancestors": [PATIENTS[5]]}
    path.write_text("".join(json.dumps(record, separators=(",", ":")) + "\n" for record in records))
    ran(place, "export set out --to nnunet --real real -q")
    folds = json.loads((place / "out/splits_final.json").read_text())
    assert [PATIENTS[5] in fold["val"] for fold in folds] == ["Synth_00020" not in fold["train"] for fold in folds]


def test_without_real_patients_there_is_no_split_and_it_is_said(place):
    said = ran(place, "export set out --to nnunet -q")
    assert "no splits_final.json" in said
    assert not (place / "out/splits_final.json").exists()
    for path in list((place / "real").iterdir())[3:]:
        shutil.rmtree(path)
    assert "(3 folds, as there are no more patients)" in ran(place, "export set out2 --to nnunet --real real -q")
    assert len(json.loads((place / "out2/splits_final.json").read_text())) == 3


def test_a_case_without_labels_is_refused_before_anything_is_written(place):
    next(Path(place / "real").glob("*/*_00003_seg.nii.gz")).unlink()
    done = invoke(place, "export set out --to nnunet --real real -q")
    assert (done.exit_code, done.output.count("\n")) == (1, 1)
    assert "BraTS2021_00003 has no segmentation" in done.output
    assert not (place / "out").exists()
    ran(place, "export set out --to nnunet --real real --healthy -q")
    assert not np.asanyarray(nib.load(place / "out/labelsTr/BraTS2021_00003.nii.gz").dataobj).any()


def test_options_of_nnunet_are_refused_elsewhere(place):
    done = invoke(place, "export set out --to brats2020 --in-place -q")
    assert done.exit_code == 1
    assert "--in-place is of --to nnunet; found --to brats2020" in done.output
