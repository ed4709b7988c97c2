"""`synth export --to msd`: the Decathlon's Task01, as nnU-Net's converter and MONAI read it."""

import json
import os

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from commands import invoke
from exported import painted_set, real_folder

from synth.datasets.sets import open_set

pytestmark = pytest.mark.usefixtures("small_grid")


@pytest.fixture
def place(tmp_path):
    painted_set(tmp_path / "set", ["atlas-1", "BraTS2021_00001"], form="hdf5", naming="brats2023")
    real_folder(tmp_path / "real", ["BraTS2021_00001"], suffix=".nii")
    return tmp_path


def test_images_have_four_channels_and_labels_the_values_of_task01(place):
    done = invoke(place, "export set Task501_Synth --to msd --real real -q")
    assert (done.exit_code, done.output.count("warning")) == (0, 0), done.output
    out = place / "Task501_Synth"
    table = json.loads((out / "dataset.json").read_text())
    assert table["modality"] == {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"}
    assert (table["numTraining"], table["numTest"], table["test"]) == (3, 0, [])
    cases = {case.id: case for name in ("set", "real") for case in open_set(place / name)}
    for entry in table["training"]:  # as MONAI joins and reads them
        image, label = (nib.load(os.path.normpath(os.path.join(out, entry[key]))) for key in ("image", "label"))
        case = cases[os.path.basename(entry["image"]).removesuffix(".nii.gz")]
        assert image.get_data_dtype() == np.int16
        assert image.header.get_zooms() == (1, 1, 1, 1)
        assert np.array_equal(image.dataobj, case.images[..., [3, 0, 1, 2]])
        assert np.array_equal(label.dataobj, np.array([0, 2, 1, 3])[case.labels])
        assert np.allclose(image.affine, case.affine)
        assert np.allclose(label.affine, case.affine)


def test_nnunets_converter_can_split_it(place):
    assert invoke(place, "export set Task501_Synth --to msd -q").exit_code == 0
    out = place / "Task501_Synth"
    task, name = out.name.split("_")
    assert (int(task[4:]), name) == (501, "Synth")
    assert all((out / folder).is_dir() for folder in ("imagesTr", "imagesTs", "labelsTr"))
    image = SimpleITK.ReadImage(str(out / "imagesTr/Synth_00001.nii.gz"))  # it refuses a fourth spacing of 0
    assert (image.GetDimension(), image.GetSpacing()) == (4, (1.0,) * 4)
    label = SimpleITK.ReadImage(str(out / "labelsTr/Synth_00001.nii.gz"))
    assert image.GetOrigin()[:3] == label.GetOrigin()
    assert np.array_equal(np.reshape(image.GetDirection(), (4, 4))[:3, :3].ravel(), label.GetDirection())


def test_a_name_that_programs_do_not_take_is_said(place):
    done = invoke(place, "export set out --to msd -q")
    assert done.exit_code == 0
    assert "rename out for them" in done.output


def test_channels_of_other_types_keep_their_values(place):
    path = place / "real/BraTS2021_00001/BraTS2021_00001_t2.nii"
    image = nib.load(path)
    nib.save(nib.Nifti1Image(np.asanyarray(image.dataobj).astype(np.float32) * 1.5, image.affine), path)
    assert invoke(place, "export out --to msd --real real -q").exit_code == 0
    four = nib.load(place / "out/imagesTr/BraTS2021_00001.nii.gz")
    assert four.get_data_dtype() == np.float32
    assert np.array_equal(np.asanyarray(four.dataobj)[..., 3], nib.load(path).dataobj)
