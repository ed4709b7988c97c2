"""Scans on other grids brought to that of BraTS: nothing smeared, nothing below 0, and labels that find back."""

import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from phantoms import atlas_case, other_grid, sampled
from scipy.ndimage import binary_erosion
from scipy.spatial.transform import Rotation

from synth.brats import AFFINE, GRID, MODALITIES
from synth.case import Case
from synth.datasets.atlas_fit import fit_to_atlas, turned
from synth.datasets.reading import Reading
from synth.datasets.resample import (
    BY_HEADER,
    SHIFTED,
    TURNED,
    Resampling,
    from_brats_grid,
    labels_to_grid,
    to_brats_grid,
)
from synth.datasets.sets import open_set
from synth.datasets.volume import Volume
from synth.errors import DataError


@pytest.fixture(scope="module")
def brain() -> Case:
    """The atlas as a scan, which lies just where the atlas does."""
    return atlas_case()[0]


@pytest.fixture(scope="module")
def elsewhere(brain) -> Case:
    """It, in RAS, turned, with voxels of 1.2 x 0.9 x 2 mm."""
    return sampled(brain, *other_grid())


def volumes(case: Case, names=("t1", "flair")) -> dict[str, Volume]:
    spacing = tuple(np.sqrt((case.affine[:3, :3] ** 2).sum(0)))
    out = {m: Volume(case.images[..., i], case.affine, spacing, True) for i, m in enumerate(MODALITIES) if m in names}
    if case.labels is not None:
        out["seg"] = Volume(case.labels, case.affine, spacing, True)
    return out


def moved(case: Case, move: np.ndarray) -> Case:
    return replace(case, affine=move @ case.affine)


def rigid(degrees=(0, 0, 0), mm=(0, 0, 0)) -> np.ndarray:
    move = np.eye(4)
    move[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    move[:3, 3] = mm
    return move


def dice(a, b) -> float:
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def test_another_grid_comes_back_by_its_header(brain, elsewhere):
    arrays, how = to_brats_grid(volumes(elsewhere))
    assert (how.done, how.axes, how.shape) == (BY_HEADER, "RAS", elsewhere.images.shape[:3])
    assert how.spacing == pytest.approx((1.2, 0.9, 2.0))
    rim = brain.brain & ~binary_erosion(brain.brain, iterations=2)
    for m, name in ((0, "t1"), (3, "flair")):
        found, true = arrays[name], brain.images[..., m]
        assert (found.shape, found.dtype) == (GRID, np.int16 if elsewhere.images[..., m].max() >= 1000 else np.float32)
        seen = found > 0
        assert dice(seen, true > 0) > 0.985
        assert found.min() == 0
        assert found[seen].min() >= elsewhere.images[..., m][elsewhere.images[..., m] > 0].min()
        assert found.max() <= elsewhere.images[..., m].max()
        assert found[seen & rim].mean() == pytest.approx(true[seen & rim].mean(), rel=0.03)  # no dark edge
    assert arrays["seg"].dtype == np.uint8
    assert dice(arrays["seg"] > 0, brain.labels > 0) > 0.97
    assert dice(arrays["seg"] == 1, brain.labels == 1) > 0.94


def test_labels_go_to_the_scans_own_grid_and_back(brain, elsewhere):
    _, how = to_brats_grid(volumes(elsewhere, ("t1",)))
    own = from_brats_grid(brain.labels, how)
    assert (own.shape, own.dtype) == (elsewhere.labels.shape, np.uint8)
    assert dice(own > 0, elsewhere.labels > 0) > 0.97
    assert dice(own == 1, elsewhere.labels == 1) > 0.94
    assert dice(labels_to_grid(own, how) > 0, brain.labels > 0) > 0.97
    assert not from_brats_grid(np.zeros(GRID, np.uint8), how).any()


def test_flipped_axes_and_another_size_lose_nothing(brain):
    images, labels = np.pad(brain.images[::-1, ::-1], ((0, 5), (7, 0), (3, 3), (0, 0))), brain.labels[::-1, ::-1]
    affine = AFFINE @ np.array([[-1.0, 0, 0, 239], [0, -1, 0, 239 + 7], [0, 0, 1, -3], [0, 0, 0, 1]])
    turned_round = Case("A", images, np.pad(labels, ((0, 5), (7, 0), (3, 3))), affine)
    arrays, how = to_brats_grid(volumes(turned_round))
    assert how.axes == "RAS"
    for m, name in ((0, "t1"), (3, "flair")):
        assert np.array_equal(arrays[name], brain.images[..., m])
    assert np.array_equal(arrays["seg"], brain.labels)
    assert np.array_equal(from_brats_grid(brain.labels, how), turned_round.labels)


def test_axes_in_another_order_lose_nothing(brain):
    images, labels = np.moveaxis(brain.images, 0, 2), np.moveaxis(brain.labels, 0, 2)
    affine = AFFINE[:, [1, 2, 0, 3]]
    arrays, how = to_brats_grid(volumes(Case("A", images, labels, affine)))
    assert how.axes == "PSL"
    assert np.array_equal(arrays["flair"], brain.images[..., 3])
    assert np.array_equal(from_brats_grid(arrays["seg"], how), labels)


def test_what_is_on_the_grid_is_left_alone(brain):
    given = volumes(brain)
    arrays, how = to_brats_grid(given)
    assert how is None
    assert all(arrays[name] is given[name].array for name in given)
    # the voxels as BraTS has them under another origin: the brain is in place by voxel
    arrays, how = to_brats_grid(volumes(moved(brain, rigid(mm=(90, -126, -72)))))
    assert how is None
    assert np.array_equal(arrays["seg"], brain.labels)


@pytest.mark.parametrize("mm", [(119.3, -103.6, -75.2), (40, -180, 12.5)])
def test_another_origin_is_shifted_by_whole_voxels(brain, mm):
    cropped = replace(brain, images=brain.images[20:-20, 20:-10, :150], labels=brain.labels[20:-20, 20:-10, :150])
    origin = rigid(mm=AFFINE[:3, :3] @ (20, 20, 0))
    arrays, how = to_brats_grid(volumes(moved(cropped, rigid(mm=mm) @ origin)))
    assert how.done == SHIFTED
    shift = np.round((np.linalg.inv(AFFINE) @ np.array(how.move) @ rigid(mm=mm) @ AFFINE)[:3, 3]).astype(int)
    assert np.abs(shift).max() <= 4  # of voxels, from where the brain came
    assert np.array_equal(arrays["t1"], np.roll(brain.images[..., 0], shift, (0, 1, 2)))
    assert np.array_equal(arrays["seg"], np.roll(brain.labels, shift, (0, 1, 2)))
    assert np.array_equal(from_brats_grid(arrays["seg"], how), cropped.labels)


@pytest.mark.parametrize("degrees", [(20, 3, -5), (-14, 12, 20)])
def test_a_head_askew_in_scanner_coordinates_is_turned_upright(brain, elsewhere, degrees):
    away = rigid(degrees, (150, -60, 33))
    arrays, how = to_brats_grid(volumes(moved(elsewhere, away), ("t1",)))
    assert how.done == TURNED
    left = np.array(how.move) @ away  # the atlas's own brain: it has to come back to where it was
    assert turned(left[:3, :3]) < 2
    assert dice(arrays["t1"] > 0, brain.brain) > 0.95
    assert dice(arrays["seg"] > 0, brain.labels > 0) > 0.9
    assert "turned by" in how.sentence()


def test_a_brain_that_touches_the_edge_of_its_grid_is_not_worn_off(brain):
    box = tuple(slice(at.min(), at.max() + 1) for at in np.nonzero(brain.brain))
    tight = replace(brain, images=brain.images[box], labels=brain.labels[box])
    start = np.array([part.start for part in box])
    tight = replace(tight, affine=AFFINE @ rigid(mm=start))
    arrays, _ = to_brats_grid(volumes(tight, ("t1",)))
    assert np.array_equal(arrays["t1"], brain.images[..., 0])
    turned_grid = sampled(brain, *other_grid((1.5, 1.5, 1.5)))
    box = tuple(slice(at.min(), at.max() + 1) for at in np.nonzero(turned_grid.brain))
    whole, _ = to_brats_grid(volumes(turned_grid, ("t1",)))
    start = np.array([part.start for part in box])
    cut = Case("A", turned_grid.images[box], None, turned_grid.affine @ rigid(mm=start))
    arrays, _ = to_brats_grid(volumes(cut, ("t1",)))
    assert np.array_equal(arrays["t1"] > 0, whole["t1"] > 0)


def test_voxels_finer_than_a_mm_are_averaged_not_picked(brain):
    rng = np.random.default_rng(0)
    fine = np.repeat(brain.images[..., 0], 3, 0).astype(np.float32)
    fine *= 1 + 0.3 * rng.choice([-1.0, 1.0], fine.shape[0])[:, None, None]
    affine = AFFINE @ np.diag([1 / 3, 1, 1, 1])
    affine[:3, 3] -= AFFINE[:3, 0] / 3
    arrays, _ = to_brats_grid({"t1": Volume(fine, affine, (1 / 3, 1, 1), True)})
    inner = binary_erosion(brain.brain, iterations=3)
    ratio = arrays["t1"][inner] / brain.images[..., 0][inner]
    assert ratio.std() < 0.22  # a pick has 0.3


def test_modalities_may_lie_on_different_grids(brain, elsewhere):
    given = volumes(elsewhere, ("t1",)) | {"flair": volumes(brain)["flair"], "seg": volumes(brain)["seg"]}
    arrays, how = to_brats_grid(given)
    assert np.array_equal(arrays["flair"], brain.images[..., 3])
    assert np.array_equal(arrays["seg"], brain.labels)
    assert how.shape == elsewhere.images.shape[:3]
    assert np.array_equal(from_brats_grid(brain.labels, how.seen_from(given["seg"])), brain.labels)


def test_few_grey_levels_stay_what_they_are(elsewhere):
    scan = volumes(elsewhere, ("t1",))["t1"]
    few = replace(scan, array=np.ceil(scan.array / 200).astype(np.int16))
    found = to_brats_grid({"t1": few})[0]["t1"]
    assert found.max() <= few.array.max()
    assert np.count_nonzero(found != np.rint(found)) > 1000  # between them, not rounded to steps
    many = to_brats_grid({"t1": replace(scan, array=scan.array * 4)})[0]["t1"]
    assert np.array_equal(many, np.rint(many))


def test_the_record_goes_through_json(elsewhere):
    _, how = to_brats_grid(volumes(moved(elsewhere, rigid((20, 0, 0), (1, 2, 300))), ("t1",)))
    record = json.loads(json.dumps(how.to_dict()))
    assert Resampling.from_dict(record) == how
    assert record["axes"] == how.axes
    assert record["spacing_mm"] == [1.2, 0.9, 2.0]


def resized(case: Case, factor: float) -> Case:
    return moved(case, np.diag([factor, factor, factor, 1.0]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda v: {m: resize(one, 0.5) for m, one in v.items()},
            "brain of the t1 measures .* expected 300 ml or more",
        ),
        (lambda v: {m: resize(one, 0.001) for m, one in v.items()}, "brain of the t1 measures .* correct the header"),
        (lambda v: {m: resize(one, 1.5) for m, one in v.items()}, "does not fit the BraTS grid|no place was found"),
        (lambda v: v | {"t2": shifted(v["t2"], 40)}, "brain of the t2 lies 40 mm from that of the t1"),
        (
            lambda v: {m: swapped(one, (1, 2, 0)) for m, one in v.items()},
            "turned by .* axes seem to be in another order",
        ),
        (
            lambda v: {m: swapped(one, (0, 2, 1)) for m, one in v.items()},
            "turned by .* axes seem to be in another order",
        ),
        (lambda v: {m: swapped(one, axis=2) for m, one in v.items()}, "by the header the brain is upside down"),
        (
            lambda v: {m: swapped(one, axis=1) for m, one in v.items()},
            "by the header the brain is back to front|turned by",
        ),
        (lambda v: {m: block(one) for m, one in v.items()}, "no place was found where the brain lies"),
    ],
)
def test_what_is_no_brain_in_its_place_is_refused(brain, change, message):
    with pytest.raises(DataError, match=message):
        to_brats_grid(change(volumes(replace(brain, images=brain.images[5:], labels=None), ("t1", "t2"))))


def resize(volume: Volume, factor: float) -> Volume:
    return replace(volume, affine=np.diag([factor, factor, factor, 1.0]) @ volume.affine)


def shifted(volume: Volume, mm: float) -> Volume:
    return replace(volume, affine=rigid(mm=(0, mm, 0)) @ volume.affine)


def swapped(volume: Volume, order=(0, 1, 2), axis=()) -> Volume:
    """Axes stored in another order or direction than the header says."""
    return replace(volume, array=np.flip(np.transpose(volume.array, order), axis))


def block(volume: Volume) -> Volume:
    """A long bar instead of a brain."""
    array = np.zeros_like(volume.array)
    array[100:150, 20:220, 40:80] = 500
    return replace(volume, array=array)


def test_real_brains_are_found_where_they_are(real_data):
    from synth.datasets.cases import find_cases
    from synth.datasets.volume import read_volume

    for files in find_cases(real_data / "brats" / "train")[::8]:
        t1 = read_volume(files.paths["t1"])
        home = fit_to_atlas(t1)
        away = rigid((15, -9, 12), (-200, 31, 5))
        degrees, mm = fit_to_atlas(replace(t1, affine=away @ t1.affine)).apart(home.move @ np.linalg.inv(away))
        assert degrees < 1
        assert mm < 1


def test_images_of_four_channels_are_brought_to_the_grid_too(elsewhere, tmp_path):
    """As the Decathlon has them, by --resample: the same as the modalities one by one."""
    elsewhere, order = replace(elsewhere, affine=np.float64(np.float32(elsewhere.affine))), [3, 0, 1, 2]
    for folder, array in (("imagesTr", elsewhere.images[..., order]), ("labelsTr", elsewhere.labels)):
        (tmp_path / folder).mkdir()
        nib.save(nib.Nifti1Image(array, elsewhere.affine), tmp_path / folder / "BRATS_001.nii.gz")
    named = {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"}
    labels = {"0": "background", "1": "necrosis", "2": "edema", "4": "enhancing tumour"}
    table = {"modality": named, "labels": labels}
    (tmp_path / "dataset.json").write_text(json.dumps(table))
    with pytest.raises(DataError, match="expected the grid"):
        open_set(tmp_path).members[0].read("optional")
    case = open_set(tmp_path, reading=Reading(resample=True)).members[0].read("optional")
    wanted, how = to_brats_grid(volumes(elsewhere, MODALITIES))
    assert case.meta["resampling"] == how.to_dict()
    assert np.array_equal(case.images, np.stack([wanted[m] for m in MODALITIES], -1))
    assert np.allclose(case.affine, AFFINE)
