import gzip
import shutil
import tracemalloc

import nibabel as nib
import numpy as np
import pytest
from phantoms import SHAPE, phantom_case, write_case

from synth.brats import AFFINE, MODALITIES, NAMINGS, Tumour
from synth.datasets.cases import find_cases, read_case
from synth.datasets.check import check_dataset
from synth.errors import DataError, SynthError
from synth.exporters import deflate


@pytest.fixture
def case():
    return phantom_case()


def only(folder, **options):
    (files,) = find_cases(folder)
    return read_case(files, grid=SHAPE, **options)


def rewrite(path, change=None, *, dtype=None, affine=None, header=None):
    """Load a NIfTI file, change its voxels or header, and save it in its place."""
    image = nib.load(path)
    array = np.array(image.dataobj, dtype or image.get_data_dtype())
    if change:
        array = change(array)
    new = nib.Nifti1Image(array, image.affine if affine is None else affine, dtype=array.dtype)
    if header:
        header(new.header)
    nib.save(new, path)


# --- finding -----------------------------------------------------------------------------------------------------


def test_finds_both_namings_nested_flat_and_uncompressed(tmp_path, case):
    write_case(tmp_path / "HGG", phantom_case(case_id="b"))
    write_case(tmp_path / "LGG" / "deep", phantom_case(case_id="a"), suffix=".nii")
    write_case(tmp_path, phantom_case(case_id="BraTS-GLI-00001-000"), naming=NAMINGS["brats2023"])
    flat = tmp_path / "flat"
    flat.mkdir()
    for case_id in ("d", "c"):
        source = write_case(tmp_path / "source", phantom_case(case_id=case_id, labels=False))
        for path in source.iterdir():
            path.rename(flat / path.name)
    cases = find_cases(tmp_path)
    assert [files.id for files in cases] == ["BraTS-GLI-00001-000", "a", "b", "c", "d"]
    assert [files.naming.name for files in cases] == ["brats2023"] + 4 * ["brats2020"]
    assert cases[0].paths["t1ce"].name == "BraTS-GLI-00001-000-t1c.nii.gz"
    assert cases[1].paths["seg"] == tmp_path / "LGG" / "deep" / "a" / "a_seg.nii"
    assert cases[3].folder == cases[4].folder == flat
    assert set(cases[4].paths) == set(MODALITIES)


def test_folder_may_be_called_otherwise_and_hidden_files_do_not_count(tmp_path, case):
    folder = write_case(tmp_path, case).rename(tmp_path / "patient 7")
    (folder / "._Phantom_001_t1.nii.gz").write_bytes(b"resource fork")
    write_case(tmp_path / "__MACOSX", case)
    write_case(tmp_path / ".trash", case)
    (files,) = find_cases(tmp_path)
    assert (files.id, files.folder) == ("Phantom_001", folder)


def test_a_case_folder_itself_is_a_dataset(tmp_path, case):
    assert only(write_case(tmp_path, case)).id == case.id


def test_links_are_followed_once_and_loops_end(tmp_path, case):
    write_case(tmp_path / "store", case)
    data = tmp_path / "data"
    data.mkdir()
    (data / "linked").symlink_to(tmp_path / "store" / case.id)
    (data / "again").symlink_to(tmp_path / "store" / case.id)
    (data / "loop").symlink_to(data)
    (data / "self").symlink_to(data / "self")
    (files,) = find_cases(data)
    assert files.id == case.id


def test_duplicates_are_refused_by_find_and_listed_by_check(tmp_path, case):
    write_case(tmp_path / "one", case)
    write_case(tmp_path / "two", case)
    with pytest.raises(DataError, match="expected all files of case Phantom_001 in one place, found files here and in"):
        find_cases(tmp_path)
    report = check_dataset(tmp_path, grid=SHAPE)
    assert len(report.cases) == 2
    assert len(report.errors) == 1


# --- reading -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("naming", NAMINGS.values(), ids=NAMINGS)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_reads_what_was_written(tmp_path, case, naming, suffix):
    write_case(tmp_path, case, naming=naming, suffix=suffix)
    read = only(tmp_path)
    assert read.id == case.id
    assert read.images.dtype == np.int16
    assert read.labels.dtype == np.uint8
    np.testing.assert_array_equal(read.images, case.images)
    np.testing.assert_array_equal(read.labels, case.labels)
    assert read.affine.tobytes() == nib.load(find_cases(tmp_path)[0].paths["t1"]).affine.tobytes()
    assert read.meta == {"naming": naming.name, "warnings": []}
    assert all(read.images[..., m].flags.f_contiguous for m in range(4))


@pytest.mark.parametrize(
    ("dtype", "change", "expected"),
    [
        (np.float64, None, np.int16),
        (np.uint16, None, np.int16),
        (np.dtype(">i2"), None, np.int16),
        (np.dtype(">f4"), None, np.int16),
        (np.float32, lambda a: a / 4, np.float32),
        (np.uint16, lambda a: a * 40, np.float32),  # up to 60000: does not fit int16
        (np.int32, lambda a: a * 1000, np.float32),
    ],
)
def test_intensity_types(tmp_path, case, dtype, change, expected):
    folder = write_case(tmp_path, case)
    path = folder / "Phantom_001_t2.nii.gz"
    rewrite(path, change, dtype=dtype)
    read = only(tmp_path)
    assert read.images.dtype == expected
    assert read.images.dtype.isnative
    np.testing.assert_array_equal(read.images[..., 2], np.asarray(nib.load(path).dataobj))
    np.testing.assert_array_equal(read.images[..., 3], case.images[..., 3])


def test_scaled_files(tmp_path, case):
    path = write_case(tmp_path, case) / "Phantom_001_flair.nii.gz"
    rewrite(path, header=lambda h: h.set_slope_inter(0.5, 0))
    read = only(tmp_path)
    np.testing.assert_allclose(read.images[..., 3], nib.load(path).get_fdata(), rtol=1e-6)


def test_a_series_of_one_volume_and_nifti2(tmp_path, case):
    folder = write_case(tmp_path, case)
    rewrite(folder / "Phantom_001_t1.nii.gz", lambda a: a[..., None])
    image = nib.load(folder / "Phantom_001_t2.nii.gz")
    array = np.asarray(image.dataobj)
    nib.save(nib.Nifti2Image(array, image.affine), folder / "Phantom_001_t2.nii.gz")
    np.testing.assert_array_equal(only(tmp_path).images, case.images)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32, np.float64])
def test_label_types(tmp_path, case, dtype):
    rewrite(write_case(tmp_path, case) / "Phantom_001_seg.nii.gz", dtype=dtype)
    np.testing.assert_array_equal(only(tmp_path).labels, case.labels)


def test_uses_of_labels(tmp_path, case):
    seg = write_case(tmp_path, case) / "Phantom_001_seg.nii.gz"
    assert only(tmp_path, labels="ignore").labels is None
    assert only(tmp_path, labels="optional").labels is not None
    seg.write_bytes(b"damaged")
    assert only(tmp_path, labels="ignore").labels is None
    with pytest.raises(DataError):
        only(tmp_path, labels="optional")
    seg.unlink()
    assert only(tmp_path, labels="optional").labels is None
    with pytest.raises(DataError, match="lacks seg"):
        only(tmp_path)
    with pytest.raises(SynthError, match="labels must be one of required, optional, ignore; found 'maybe'"):
        only(tmp_path, labels="maybe")


def test_healthy_and_partly_labelled_scans_are_legal(tmp_path):
    write_case(tmp_path, phantom_case(tumour=False))
    assert only(tmp_path).labels.max() == 0
    (summary,) = check_dataset(tmp_path, grid=SHAPE).cases
    assert summary.tumour_ml == {"NCR": 0, "ED": 0, "ET": 0, "WT": 0}


def test_a_few_stray_tumour_voxels_are_left_out_with_a_warning(tmp_path, case):
    def stray(array):
        array[0, 0, :5] = 4
        return array

    rewrite(write_case(tmp_path, case) / "Phantom_001_seg.nii.gz", stray)
    read = only(tmp_path)
    np.testing.assert_array_equal(read.labels, case.labels)
    (warning,) = read.meta["warnings"]
    assert "5 of 989 tumour voxels lie outside the brain" in warning
    report = check_dataset(tmp_path, grid=SHAPE)
    assert (len(report.errors), len(report.warnings)) == (0, 1)


def test_a_few_negative_voxels_become_zero_with_a_warning(tmp_path, case):
    def ringing(array):
        array[20, 24, 15:19] = -3
        return array

    rewrite(write_case(tmp_path, case) / "Phantom_001_t1.nii.gz", ringing)
    read = only(tmp_path)
    assert read.images[20, 24, 15:19, 0].tolist() == [0, 0, 0, 0]
    assert "4 voxels are negative (lowest -3); they are set to 0" in read.meta["warnings"][0]


def test_copied_and_partial_modalities_get_warnings(tmp_path, case):
    folder = write_case(tmp_path, case)
    shutil.copy(folder / "Phantom_001_t1.nii.gz", folder / "Phantom_001_t1ce.nii.gz")

    def cut(array):
        array[:, :26] = 0
        return array

    rewrite(folder / "Phantom_001_flair.nii.gz", cut)
    copied, partial = sorted(only(tmp_path).meta["warnings"], key=lambda line: "covers" in line)
    assert "_t1ce.nii.gz: holds the same voxels as Phantom_001_t1.nii.gz" in copied
    assert "_flair.nii.gz: covers " in partial


def test_a_shifted_origin_is_kept_to_the_bit(tmp_path, case):
    affine = AFFINE.copy()
    affine[:3, 3] = 12.345678, -7, 3
    moved = type(case)(case.id, case.images, case.labels, affine)
    write_case(tmp_path, moved)
    assert only(tmp_path).affine.tobytes() == affine.astype(np.float32).astype(float).tobytes()


def test_error_names_the_first_problem_and_counts_the_others(tmp_path, case):
    folder = write_case(tmp_path, case)
    (folder / "Phantom_001_t1.nii.gz").write_bytes(b"")
    (folder / "Phantom_001_t2.nii.gz").unlink()
    with pytest.raises(DataError, match=r"lacks t2: .*\(1 more problems of this case; `synth check` lists all.\)"):
        only(tmp_path)


# --- checking ----------------------------------------------------------------------------------------------------


def test_report_counts_measures_and_serialises(tmp_path, case):
    write_case(tmp_path, case)
    write_case(tmp_path, phantom_case(seed=3, labels=False, case_id="z"), naming=NAMINGS["brats2023"])
    seen = []
    report = check_dataset(
        tmp_path, labels="optional", grid=SHAPE, progress=lambda cases: seen.extend(cases) or iter(cases)
    )
    assert [files.id for files in seen] == ["Phantom_001", "z"]
    assert not report.findings
    first, second = report.cases
    assert first.brain_ml == np.count_nonzero(case.brain) / 1000
    assert first.tumour_ml["ET"] == np.count_nonzero(case.labels == Tumour.ET) / 1000
    assert first.tumour_ml["WT"] == np.count_nonzero(case.labels) / 1000
    assert (second.naming, second.labelled, second.tumour_ml) == ("brats2023", False, None)
    assert report.to_dict()["errors"] == 0


def test_all_problems_of_all_cases_are_listed(tmp_path, case):
    one = write_case(tmp_path, case)
    two = write_case(tmp_path, phantom_case(seed=2, case_id="other"))
    (one / "Phantom_001_t1.nii.gz").write_bytes(b"")
    rewrite(one / "Phantom_001_t2.nii.gz", lambda a: a * 0)
    rewrite(one / "Phantom_001_seg.nii.gz", lambda a: a * 3)
    rewrite(two / "other_flair.nii.gz", affine=AFFINE * [[2], [2], [2], [1]])
    (two / "other_seg.nii.gz").unlink()
    report = check_dataset(tmp_path, grid=SHAPE)
    assert [(f.case, f.severity) for f in report.findings] == 3 * [("Phantom_001", "error")] + 2 * [("other", "error")]
    assert all("\n" not in f.message for f in report.findings)


def test_refusals_take_no_memory(tmp_path, case):
    folder = write_case(tmp_path, case)
    header = nib.load(folder / "Phantom_001_t1.nii.gz").header.copy()
    header["vox_offset"] = 352
    bomb = header.binaryblock + bytes(200 << 20)  # the voxels promised, and much more
    (folder / "Phantom_001_t2.nii.gz").write_bytes(gzip.compress(bomb, 1))
    del bomb
    header["dim"][1:4] = 30000
    (folder / "Phantom_001_t1.nii.gz").write_bytes(gzip.compress(header.binaryblock))
    tracemalloc.start()
    report = check_dataset(tmp_path, grid=SHAPE)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "(5.4e+04 GB; nothing was read)" in report.errors[0].message
    assert "the file goes on after" in report.errors[1].message
    assert peak < 20e6


def test_any_header_is_read_or_refused(tmp_path, case):
    """Random bytes in the header: a finding or a case, never another exception."""
    path = write_case(tmp_path, case, suffix=".nii") / "Phantom_001_t1.nii"
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    outcomes = []
    for _ in range(200):
        data = bytearray(whole)
        for at in rng.choice(348, rng.integers(1, 8)):
            data[at] = rng.integers(256)
        path.write_bytes(data)
        outcomes.append(len(check_dataset(tmp_path, grid=SHAPE).findings))
    assert {0, 1} <= set(outcomes)


def test_the_standard_library_stands_in_for_zlib_ng(tmp_path, case, monkeypatch):
    monkeypatch.setattr(deflate, "_gzip_file", gzip)
    folder = write_case(tmp_path, case)
    np.testing.assert_array_equal(only(tmp_path).images, case.images)
    path = folder / "Phantom_001_t1.nii.gz"
    data = bytearray(path.read_bytes())
    data[5000:5040] = bytes(40)
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"_t1\.nii\.gz: "):
        only(tmp_path)
