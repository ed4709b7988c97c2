"""Headers that put one scan in two places, and what the geometry asks of scans on other grids."""

import nibabel as nib
import numpy as np
import pytest
from phantoms import SHAPE, phantom_case, write_case
from scipy.spatial.transform import Rotation

from synth.brats import AFFINE, GRID
from synth.datasets.cases import examine_case, find_cases, read_case
from synth.datasets.reading import Reading
from synth.datasets.volume import placement_problem, read_volume
from synth.errors import SynthError


def placed(folder, *, sform=AFFINE, codes=(1, 1), qform=AFFINE, quaternion=None):
    """A case of phantoms whose t2 has these two affines (codes of the sform and of the qform)."""
    path = write_case(folder, phantom_case()) / "Phantom_001_t2.nii.gz"
    image = nib.Nifti1Image(np.asanyarray(nib.load(path).dataobj), None)
    image.header.set_sform(sform, codes[0])
    image.header.set_qform(qform, codes[1])
    if quaternion is not None:
        image.header["quatern_b"], image.header["quatern_c"], image.header["quatern_d"] = quaternion
    nib.save(image, path)
    (files,) = find_cases(folder)
    return examine_case(files, grid=SHAPE)


def moved(degrees=0.0, mm=(0, 0, 0)):
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("z", degrees, degrees=True).as_matrix()
    affine[:3, 3] = mm
    return affine @ AFFINE


@pytest.mark.parametrize(
    ("qform", "message"),
    [
        (moved(mm=(0, 30, 0)), "qform puts voxels up to 30 mm from where its sform has them; "),
        (moved(mm=(0.8, 0, -0.9)), "qform puts voxels up to 1.204 mm"),
        (moved(degrees=5), "qform puts voxels up to "),
        (np.diag([1.0, 1, 1, 1]), "and its axes along RAS instead of LPS"),
    ],
)
def test_two_affines_that_differ_are_named(tmp_path, qform, message):
    case, notes = placed(tmp_path, qform=qform)
    assert case is not None
    (note,) = notes
    assert (note.severity, note.topic) == ("warning", "geometry")
    assert note.file.endswith("Phantom_001_t2.nii.gz")
    assert message in note.message


def test_a_qform_that_is_none_is_named(tmp_path):
    _, (note,) = placed(tmp_path, quaternion=(1, 1, 1))
    assert "qform cannot be understood" in note.message


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"qform": moved(mm=(0.02, 0, 0))},
        {"qform": moved(mm=(0, 30, 0)), "codes": (1, 0)},
        {"sform": moved(mm=(0, 30, 0)), "codes": (0, 1)},
        {"sform": np.zeros((4, 4)), "codes": (0, 1)},
        {"codes": (4, 1)},
    ],
)
def test_one_affine_or_two_that_agree_are_fine(tmp_path, options):
    case, notes = placed(tmp_path, **options)
    assert (case is not None, notes) == (True, [])


def test_no_real_case_has_two_affines_that_differ(real_data):
    paths = [
        files.paths[m]
        for place in ("train", "val")
        for files in find_cases(real_data / "brats" / place)
        for m in ("t1", "seg")
    ]
    assert len(paths) >= 8
    assert [path for path in paths if placement_problem(read_volume(path))] == []


def test_the_scaling_of_the_header_is_kept(tmp_path):
    path = tmp_path / "a.nii"
    image = nib.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), AFFINE)
    nib.save(image, path)
    assert read_volume(path, None).scaled is None
    image.header.set_slope_inter(0.5, 2)
    nib.save(image, path)
    with open(path, "r+b") as handle:  # nibabel rescales what it writes
        handle.seek(112)
        handle.write(np.array([0.5, 2], np.float32).tobytes())
    assert read_volume(path, None).scaled == (0.5, 2.0)


def test_only_the_brats_grid_is_resampled_to(tmp_path):
    write_case(tmp_path, phantom_case())
    (files,) = find_cases(tmp_path)
    with pytest.raises(SynthError, match=r"resampled to the BraTS grid \(240, 240, 155\) alone"):
        read_case(files, grid=SHAPE, reading=Reading(resample=True))
    assert GRID != SHAPE
