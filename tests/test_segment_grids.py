"""Scans on other grids through `segment`: labels on the scans' own grid, measured there, resumed to the byte."""

import json
import shutil
from dataclasses import replace

import keras
import nibabel as nib
import numpy as np
import pytest
from commands import files, invoke
from phantoms import atlas_case, other_grid, sampled, write_case
from scipy.ndimage import affine_transform, spline_filter

from synth.brats import AFFINE, GRID, MODALITIES
from synth.case import Case
from synth.datasets import grids
from synth.datasets.cases import examine_case, find_cases, read_case
from synth.datasets.members import FilesMember
from synth.datasets.reading import Reading
from synth.datasets.resample import BY_HEADER, SHIFTED, Resampling, from_brats_grid
from synth.datasets.sets import open_set
from synth.disk.manifest import read_entries
from synth.errors import DataError
from synth.models.configs import SegmenterConfig
from synth.models.ensembles import load_segmenter
from synth.models.networks.segmenter import build_segmenter
from synth.models.weights import save_segmenter
from synth.quality.segmentation_metrics import measure
from synth.runs.segment import segment
from synth.runs.segmentations import read_segmentation

TINY = SegmenterConfig("unet3d", 4)
CUBIC = grids.ORDER


@pytest.fixture(scope="module", autouse=True)
def quickly_resampled():
    """Scans are brought to the grid by linear interpolation, several times as fast: how well, `test_resample` asks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grids, "ORDER", 1)
        patch.setattr(grids, "spline_filter", _filter)
        yield


def _filter(values, order, **how):
    """`spline_filter`, which knows no first order: there is nothing to filter."""
    return values if order == 1 else spline_filter(values, order, **how)


@pytest.fixture(scope="module")
def brain() -> Case:
    return atlas_case()[0]


@pytest.fixture(scope="module")
def prepared(brain, tmp_path_factory):
    """A scan of 2 x 2 x 3 mm that is turned (A), one under another origin (B), a model, and what `segment` left."""
    root = tmp_path_factory.mktemp("grids")
    write_case(root / "data", replace(sampled(brain, *other_grid((2, 2, 3))), id="A"))
    cut = replace(brain, id="B", images=brain.images[20:-20, 20:-10], labels=None)
    affine = cut.affine.copy()
    affine[:3, 3] = (99.25, 108, -70)
    write_case(root / "data", replace(cut, affine=affine))
    keras.utils.set_random_seed(1)
    card = {"name": "tiny", "segmenter": TINY.to_dict(), "window": 144, "postprocess": {}}
    save_segmenter(root / "model", build_segmenter(TINY), card)
    segment(resampled_set(root / "data"), root / "out", model=root / "model")
    return root


@pytest.fixture(scope="module")
def on_grid(prepared) -> dict[str, Case]:
    """Both scans, read on the BraTS grid."""
    return {case_id: case_of(prepared, case_id, reading=Reading(resample=True)) for case_id in "AB"}


def resampled_set(path):
    return open_set(path, reading=Reading(resample=True))


def case_of(root, case_id, **options) -> Case:
    (one,) = (files for files in find_cases(root / "data") if files.id == case_id)
    return read_case(one, labels="optional", **options)


def test_without_resample_the_refusal_names_it(prepared, tmp_path):
    with pytest.raises(DataError, match=r"expected 240x240x155 voxels, the header says 110x110x74; .* give --resample"):
        segment(prepared / "data", tmp_path / "out", model=prepared / "model")
    result = invoke(prepared, f"segment data {tmp_path}/new --model model --quiet")
    assert (result.exit_code, "give --resample" in result.stderr) == (1, True)


def test_labels_lie_on_the_scans_own_grid(prepared):
    for case_id in "AB":
        scan, found = (
            nib.load(prepared / place / case_id / f"{case_id}_{name}.nii.gz")
            for place, name in (("data", "t1"), ("out", "seg"))
        )
        assert found.shape == scan.shape
        assert np.array_equal(found.affine, scan.affine)
        assert np.array_equal(found.header["pixdim"][:4], scan.header["pixdim"][:4])
        labels, voxels = np.asanyarray(found.dataobj), np.asanyarray(scan.dataobj)
        assert labels.any()
        assert not labels[voxels == 0].any()
        assert set(np.unique(labels)) <= {0, 1, 2, 4}


def test_the_case_is_read_on_the_brats_grid_and_says_how(prepared, on_grid):
    for case_id, done in (("A", BY_HEADER), ("B", SHIFTED)):
        case = on_grid[case_id]
        assert (case.images.shape, case.images.dtype) == ((*GRID, len(MODALITIES)), np.int16)
        assert np.array_equal(case.affine, AFFINE)
        how = Resampling.from_dict(case.meta["resampling"])
        assert how.done == done
        record = next(record for record in read_entries(prepared / "out") if record["id"] == case_id)
        assert record["resampling"] == case.meta["resampling"]
        told = [line for line in case.meta["warnings"] if "shifted to where BraTS has the brain" in line]
        assert len(told) == (done != BY_HEADER)


def test_scores_are_taken_on_the_scans_own_grid(prepared):
    truth, found = (nib.load(prepared / place / "A/A_seg.nii.gz") for place in ("data", "out"))
    classes = [np.array([0, 1, 2, 0, 3], np.uint8)[np.asanyarray(image.dataobj)] for image in (truth, found)]
    content = json.loads((prepared / "out/scores.json").read_text())
    assert list(content["cases"]) == ["A"]
    for region, expected in measure(*classes, (2, 2, 3)).items():
        assert content["cases"]["A"][region] == pytest.approx(expected)
    record = next(record for record in read_entries(prepared / "out") if record["id"] == "A")
    assert record["volumes_ml"]["WT"] == pytest.approx(np.count_nonzero(classes[1]) * 0.012, abs=1e-3)


@pytest.mark.parametrize("layout", ["msd", "nnunet"])
def test_sets_with_a_dataset_json_get_the_scores_of_plain_folders_and_labels_as_theirs(prepared, tmp_path, layout):
    place = tmp_path / "set"
    (place / "imagesTr").mkdir(parents=True)
    (place / "labelsTr").mkdir()
    volumes = {name: nib.load(prepared / f"data/A/A_{name}.nii.gz") for name in (*MODALITIES, "seg")}
    seg = np.array([0, 2, 1, 0, 3], np.uint8)[np.asanyarray(volumes["seg"].dataobj)]
    nib.save(nib.Nifti1Image(seg, volumes["seg"].affine), place / "labelsTr/A.nii.gz")
    names = {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"}
    table = {"labels": {name: int(value) for value, name in names.items()}, "file_ending": ".nii.gz", "numTraining": 1}
    table["channel_names"] = {str(k): name for k, name in enumerate(("T1", "T1ce", "T2", "Flair"))}
    if layout == "msd":
        image = np.stack([np.asanyarray(volumes[name].dataobj) for name in MODALITIES], -1)
        nib.save(nib.Nifti1Image(image, volumes["t1"].affine), place / "imagesTr/A.nii.gz")
        training = [{"image": "./imagesTr/A.nii.gz", "label": "./labelsTr/A.nii.gz"}]
        table = {"labels": names, "modality": table["channel_names"], "training": training, "test": []}
    else:
        for k, name in enumerate(MODALITIES):
            shutil.copy(prepared / f"data/A/A_{name}.nii.gz", place / f"imagesTr/A_{k:04d}.nii.gz")
    (place / "dataset.json").write_text(json.dumps(table))
    (member,), (plain, *_) = resampled_set(place).members, resampled_set(prepared / "data").members
    (images, truth), (wanted, known) = member.volumes(), plain.volumes()
    for volume, other in zip((*images, truth), (*wanted, known), strict=True):
        assert np.array_equal(volume.array, other.array)
        assert np.allclose(volume.affine, other.affine)
    if layout == "msd":
        segment(resampled_set(place), tmp_path / "out", model=prepared / "model")
        found, before = nib.load(tmp_path / "out/A.nii.gz"), nib.load(prepared / "out/A/A_seg.nii.gz")
        assert np.array_equal(found.affine, before.affine)
        assert np.array_equal(found.dataobj, np.array([0, 2, 1, 0, 3])[np.asanyarray(before.dataobj)])
        scores = (json.loads((folder / "scores.json").read_text()) for folder in (tmp_path / "out", prepared / "out"))
        assert len({json.dumps(told["cases"], sort_keys=True) for told in scores}) == 1


def test_a_resumed_run_leaves_the_same_bytes(prepared, tmp_path):
    before = files(prepared / "out")
    (prepared / "out/A/A_seg.nii.gz").write_bytes(b"damaged")
    done = segment(resampled_set(prepared / "data"), prepared / "out", model=prepared / "model", resume=True)
    assert (done.written, done.kept) == (1, 1)
    assert files(prepared / "out") == before


def test_a_run_with_and_one_without_are_two(prepared):
    result = invoke(prepared, "segment data out --model model --resume")
    assert result.exit_code == 1
    assert "other settings: reading" in result.output
    assert json.loads((prepared / "out/run.json").read_text())["reading"] == {"resample": True}


def test_the_member_remembers_how_it_is_read(prepared):
    plain = FilesMember(find_cases(prepared / "data")[0], prepared / "data")
    resampled = replace(plain, reading=Reading(resample=True))
    assert plain.signature() != resampled.signature()
    assert plain.examine()[0] is None
    assert resampled.examine()[0].images.shape[:3] == GRID


def test_what_was_written_is_seen_where_the_scan_is(prepared, on_grid):
    case = on_grid["B"]
    seen = read_segmentation(case, prepared / "out")
    own = np.asanyarray(nib.load(prepared / "out/B/B_seg.nii.gz").dataobj)
    assert np.count_nonzero(seen) == np.count_nonzero(own)
    assert np.array_equal(from_brats_grid(seen, Resampling.from_dict(case.meta["resampling"])) > 0, own > 0)


# --- headers ------------------------------------------------------------------------------------------------------


def spoilt(folder, brain, change) -> str:
    """What is said of a small resampled case whose t2 header is changed."""
    scan = replace(sampled(brain, *other_grid((3, 3, 3))), id="S", labels=None)
    path = write_case(folder, scan) / "S_t2.nii.gz"
    image = nib.load(path)
    image = nib.Nifti1Image(np.asanyarray(image.dataobj), None, image.header)
    change(image.header)
    nib.save(image, path)
    (one,) = find_cases(folder)
    case, notes = examine_case(one, labels="ignore", reading=Reading(resample=True))
    assert case is None
    return str(notes.errors[0])


def unplaced(header):
    header["sform_code"] = header["qform_code"] = 0


def other_spacing(header):
    header["qform_code"], header["pixdim"][3] = 0, 5


def flat(header):
    header["qform_code"], header["srow_z"] = 0, header["srow_y"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (unplaced, "S_t2.nii.gz: the header says nothing about orientation"),
        (other_spacing, "affine has voxels of 3 x 3 x 3 mm, its voxel size says 3 x 3 x 5 mm; correct the header."),
        (flat, "S_t2.nii.gz: the header's affine has voxels of "),
    ],
)
def test_headers_that_contradict_themselves_are_refused(tmp_path, brain, change, message):
    assert message in spoilt(tmp_path, brain, change)


def test_absurd_sizes_are_refused_before_memory_is_taken(tmp_path, brain):
    scan = replace(sampled(brain, *other_grid((3, 3, 3))), id="S", labels=None)
    path = write_case(tmp_path, scan, suffix=".nii") / "S_t2.nii"
    data = bytearray(path.read_bytes())
    data[42:48] = np.array([30000, 30000, 30000], np.int16).tobytes()
    path.write_bytes(data)
    (one,) = find_cases(tmp_path)
    _, notes = examine_case(one, labels="ignore", reading=Reading(resample=True))
    assert "expected three axes of at most 512 voxels, the header says 30000x30000x30000" in str(notes.errors[0])
    assert "nothing was read" in str(notes.errors[0])


# --- bar 5 --------------------------------------------------------------------------------------------------------


def test_a_real_case_on_another_grid_is_segmented_as_the_original(real_data, tmp_path, monkeypatch):
    """Rotated, 1.2 x 0.9 x 2 mm and RAS; the shipped segmenter. `benchmarks/other_grids.py` does it for many."""
    monkeypatch.setattr(grids, "ORDER", CUBIC)
    (one,) = (files for files in find_cases(real_data / "brats" / "train") if files.id == "BraTS2021_00011")
    case = read_case(one)
    other = sampled(case, *other_grid())
    write_case(tmp_path / "other", other, suffix=".nii")
    segment(resampled_set(tmp_path / "other"), tmp_path / "out")
    found = np.asanyarray(nib.load(tmp_path / f"out/{case.id}/{case.id}_seg.nii.gz").dataobj) > 0
    original = (load_segmenter()[0](case) > 0).astype(np.uint8)  # as `segment` does it: the card asks for no more
    wanted = affine_transform(original, np.linalg.inv(case.affine) @ other.affine, output_shape=found.shape, order=0)
    wanted = (wanted > 0) & other.images.any(-1)
    dice = 2 * np.count_nonzero(wanted & found) / (np.count_nonzero(wanted) + np.count_nonzero(found))
    assert dice >= 0.97
