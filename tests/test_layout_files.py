from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from phantoms import head_layout

from synth.datasets.layout_files import list_layouts, load_layout, load_style, map_path, save_layout, style_path
from synth.errors import LayoutError, OutputError
from synth.exporters.nifti import is_synthetic
from synth.layout.detail import softened


@pytest.fixture
def folder(tmp_path):
    return save_layout(head_layout(case_id="Head"), tmp_path)


def rewrite(folder, name, change=lambda array: array, affine=lambda affine: affine, dtype=None):
    path = map_path(folder, name)
    image = nib.load(path)
    array = change(np.asanyarray(image.dataobj).astype(dtype or np.uint8))
    nib.save(nib.Nifti1Image(array, affine(image.affine)), path)


def at(value):
    def change(array):
        array[20, 24, 18] = value
        return array

    return change


def test_what_is_saved_is_loaded_on_its_own_grid(folder):
    layout, given = load_layout(folder), head_layout(case_id="Head")
    assert layout.id == "Head"
    for name in ("tissue", "tumour", "affine"):
        assert np.array_equal(getattr(layout, name), getattr(given, name))


def test_maps_of_other_types_are_read_as_what_they_say(folder):
    rewrite(folder, "tissue", dtype=np.float32)
    rewrite(folder, "tumour", dtype=np.int16)
    assert np.array_equal(load_layout(folder).classes, head_layout().classes)


@pytest.mark.parametrize(
    ("value", "dtype", "named"),
    [
        (2.9, np.float32, "2.9"),
        (258, np.int16, "258"),
        (4, None, "4"),
        (-1, np.int16, "-1"),
        (np.nan, np.float32, "nan"),
    ],
)
@pytest.mark.parametrize("name", ["tissue", "tumour"])
def test_a_value_that_is_no_class_is_refused_not_cast(folder, name, value, dtype, named):
    rewrite(folder, name, at(value), dtype=dtype)
    with pytest.raises(LayoutError, match=rf"Head_{name}.*expected whole numbers 0 to 3.* such as {named}"):
        load_layout(folder)


def moved(affine):
    return affine + np.outer([1, 0, 0, 0], [0, 0, 0, 1.0])


@pytest.mark.parametrize(
    ("name", "affine", "said"),
    [
        ("tumour", moved, "differs from that of Head_tissue"),
        ("tissue", lambda a: np.diag([-1.0, 1, 1, 1]) @ a, "found RPS"),
        ("tissue", lambda a: a[:, [1, 0, 2, 3]], "found PLS"),
    ],
)
def test_maps_in_two_places_or_with_other_axes_are_refused(folder, name, affine, said):
    rewrite(folder, name, affine=affine)
    with pytest.raises(LayoutError, match=said):
        load_layout(folder)


def test_a_layout_without_a_map_or_with_a_damaged_one_is_refused(folder):
    path = map_path(folder, "tumour")
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(LayoutError, match=r"Head_tumour.*damaged or cut off"):
        load_layout(folder)
    path.unlink()
    with pytest.raises(LayoutError, match=r"Head_tumour.*found none"):
        load_layout(folder)


@pytest.mark.parametrize("name", ["../../escaped", "..", "a/b", ""])
def test_an_id_never_leads_out_of_the_folder(tmp_path, name):
    with pytest.raises(OutputError, match="cannot name a file"):
        save_layout(head_layout(case_id=name), tmp_path / "deep" / "out")
    assert not list(tmp_path.rglob("*.nii.gz"))


def test_maps_that_are_no_patients_say_so(folder, tmp_path):
    given = replace(head_layout(case_id="Head"), detail=softened(head_layout().tissue))

    def told(path):
        return {is_synthetic(nib.load(file).header) for file in path.glob("*.nii.gz")}

    assert told(folder) == told(save_layout(given, tmp_path / "found", scan=("x",))) == {False}
    for options in ({"synthetic": True}, {"scan": ("x",), "descent": frozenset()}):
        path = save_layout(given, tmp_path / f"made{len(options)}", **options)
        assert told(path) == {True}
        assert np.array_equal(load_layout(path).classes, given.classes)


def test_a_layout_is_listed_once_and_by_its_own_name(folder):
    (folder / f"x{folder.name}_tissue.nii.gz").write_bytes(map_path(folder, "tissue").read_bytes())
    assert list_layouts(folder.parent) == [folder]


def test_a_brain_of_nothing_is_refused(folder):
    for name in ("tissue", "tumour"):
        rewrite(folder, name, lambda array: array * 0)
    with pytest.raises(LayoutError, match=r"Head_tissue.*every voxel is 0"):
        load_layout(folder)


@pytest.mark.parametrize("text", ["", "[]", "{}", "5", "[" * 5000])
def test_a_damaged_style_is_a_sentence(folder, text):
    style_path(folder).write_text(text)
    with pytest.raises(LayoutError, match="expected the style of this layout"):
        load_style(folder)
