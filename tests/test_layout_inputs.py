import numpy as np
import pytest
from phantoms import embed, head_layout, phantom_case, write_case

from synth.brats import GRID, NAMINGS, Tissue
from synth.datasets.layout_files import save_layout
from synth.errors import DataError
from synth.exporters import open_exporter
from synth.hosts.inputs import extracted, find_inputs, on_stand_in, only_layouts


@pytest.fixture(scope="module")
def case():
    return embed(phantom_case())


def test_layout_folders_one_or_many(tmp_path):
    for seed in (1, 0):
        save_layout(head_layout(seed=seed, case_id=f"head{seed}"), tmp_path)
    assert [one.id for one in find_inputs(tmp_path)] == ["head0", "head1"]
    (one,) = find_inputs(tmp_path / "head1")
    assert (one.id, one.kind, one.complete, one.style()) == ("head1", "layout", True, None)
    assert np.array_equal(one.load().classes, head_layout(seed=1).classes)
    (same,) = find_inputs(tmp_path / "head1" / "head1_tumour.nii.gz")
    assert same == one


@pytest.mark.parametrize("naming", NAMINGS)
def test_a_case_is_its_tumour_on_a_stand_in(case, tmp_path, naming):
    write_case(tmp_path, case, naming=NAMINGS[naming], suffix=".nii")
    (one,) = find_inputs(tmp_path)
    assert (one.kind, one.complete) == ("case", False)
    layout = one.load()
    assert np.array_equal(layout.tumour, case.labels)
    assert layout.affine.tolist() == case.affine.tolist()
    assert np.array_equal(one.backdrop(), case.images[..., 3])
    assert (layout.tissue == Tissue.WM).sum() > 1e5  # the atlas's


def test_segmentations_in_a_folder_or_alone(case, tmp_path):
    folder = write_case(tmp_path, case, suffix=".nii")
    for path in folder.glob("*_[tf]*.nii"):
        path.unlink()
    (one,) = find_inputs(tmp_path)
    (alone,) = find_inputs(folder / f"{case.id}_seg.nii")
    assert one.kind == alone.kind == "segmentation"
    assert one.backdrop() is alone.backdrop() is None
    assert np.array_equal(one.load().classes, alone.load().classes)
    with pytest.raises(DataError, match="found segmentations without tissue"):
        only_layouts(tmp_path)


def test_hdf5_sets_are_read(case, tmp_path):
    with open_exporter("hdf5", tmp_path) as exporter:
        exporter.write(case)
    for path in (tmp_path, tmp_path / "synth.h5"):
        (one,) = find_inputs(path)
        assert one.kind == "case"
        assert np.array_equal(one.load().tumour, case.labels)


def test_a_case_whose_tissue_is_found_keeps_its_style(case, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(
        "synth.hosts.inputs.extract_case", lambda files, detail: calls.append(files.id) or ("map", "style", ())
    )
    write_case(tmp_path, case, suffix=".nii")
    (one,) = only_layouts(tmp_path)
    assert (one.complete, one.load(), one.style()) == (True, "map", "style")
    assert calls == [case.id]
    assert extracted(one).style() == "style"


def test_a_stand_in_on_another_grid_is_the_tumour_alone():
    labels = np.zeros((9, 8, 7), np.uint8)
    labels[2:4, 3, 3] = 2
    layout = on_stand_in(labels, np.eye(4), "t")
    assert np.array_equal(layout.brain, labels > 0)
    assert on_stand_in(np.zeros(GRID, np.uint8), np.eye(4)).brain.any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "gone", "found nothing"),
        (lambda folder: folder, "holds no layouts"),
        (lambda folder: _put(folder / "notes.txt"), "a segmentation named ID_seg.nii.gz"),
        (lambda folder: _put(folder / "set.h5"), "cannot be opened as HDF5"),
        (lambda folder: _put(folder / "A_t1.nii.gz").parent, "1 of 1 cases have no segmentation"),
    ],
)
def test_what_is_no_layout_is_refused(tmp_path, make, message):
    with pytest.raises(DataError, match=message):
        find_inputs(make(tmp_path))


def test_a_segmentation_with_other_labels_is_refused_when_read(case, tmp_path):
    case.labels[case.labels == 1] = 3
    write_case(tmp_path, case, naming=NAMINGS["brats2023"], suffix=".nii")
    path = next(tmp_path.rglob("*seg.nii"))
    (one,) = find_inputs(path.rename(path.with_name("A_seg.nii")))
    with pytest.raises(DataError, match=r"A_seg.nii: expected labels 0, 1, 2, 4"):
        one.load()


def _put(path):
    path.write_text("nothing")
    return path
