import numpy as np
import pytest

from synth.brats import (
    AFFINE,
    CLASSES,
    GRID,
    LABEL_TABLES,
    MODALITIES,
    NAMINGS,
    REGIONS,
    Tissue,
    Tumour,
    recoded,
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("BraTS20_Training_001_t1.nii.gz", ("brats2020", "BraTS20_Training_001", "t1")),
        ("BraTS20_Training_001_t1ce.nii", ("brats2020", "BraTS20_Training_001", "t1ce")),
        ("Brats18_TCIA10_628_1_FLAIR.nii.gz", ("brats2020", "Brats18_TCIA10_628_1", "flair")),
        ("BraTS-GLI-00000-000_seg.nii.gz", ("brats2020", "BraTS-GLI-00000-000", "seg")),
        ("BraTS-GLI-00000-000-t1n.nii.gz", ("brats2023", "BraTS-GLI-00000-000", "t1")),
        ("BraTS-GLI-00000-000-t1c.nii", ("brats2023", "BraTS-GLI-00000-000", "t1ce")),
        ("BraTS-GLI-00000-000-t2w.nii.gz", ("brats2023", "BraTS-GLI-00000-000", "t2")),
        ("BraTS-GLI-00000-000-t2f.nii.gz", ("brats2023", "BraTS-GLI-00000-000", "flair")),
        ("BraTS-GLI-00000-000-seg.nii.gz", ("brats2023", "BraTS-GLI-00000-000", "seg")),
        ("BraTS-GLI-00000-000-t1n-voided.nii.gz", None),
        ("W39_1998.09.19_Segm.nii", None),
        ("a_t1.gz", None),
        ("a_t1.nii.gz.bak", None),
        ("_t1.nii.gz", None),
        ("t1.nii.gz", None),
    ],
)
def test_file_names(name, expected):
    found = [(naming.name, *parsed) for naming in NAMINGS.values() if (parsed := naming.parse(name))]
    assert found == ([expected] if expected else [])


@pytest.mark.parametrize("naming", NAMINGS.values(), ids=NAMINGS)
def test_names_round_trip(naming):
    assert set(naming.suffixes) == {*MODALITIES, "seg"}
    for modality in naming.suffixes:
        case_id = f"{naming.prefix}00007{naming.suffix}"
        assert naming.parse(naming.stem(case_id, modality) + ".nii.gz") == (case_id, modality)


@pytest.mark.parametrize(("name", "et"), [("brats2020", 4), ("brats2023", 3)])
def test_labels_round_trip(name, et):
    naming = NAMINGS[name]
    classes = np.array([[Tumour.NONE, Tumour.NCR], [Tumour.ED, Tumour.ET]], np.uint8)
    disk = naming.to_disk(classes)
    assert disk.tolist() == [[0, 1], [2, et]]
    assert disk.dtype == np.uint8
    for dtype in (np.uint8, np.int16, np.float64):
        back = naming.from_disk(disk.astype(dtype))
        assert back.dtype == np.uint8
        np.testing.assert_array_equal(back, classes)


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("brats2015", "NONE NCR ED NCR ET"),
        ("brats2023", "NONE NCR ED ET"),
        ("msd", "NONE ED NCR ET ET"),
        ("nnunet", "NONE ED NCR ET ET"),
        ("ped", "NONE ET NCR NCR ED"),
    ],
)
def test_label_tables(name, classes):
    table = LABEL_TABLES[name]
    values = np.arange(len(classes.split()), dtype=np.int16)
    read = table.from_disk(values)
    assert read.dtype == np.uint8
    assert [Tumour(value).name for value in read] == classes.split()
    assert sorted(table.meaning) == values.tolist()


def test_a_label_table_says_what_it_means():
    assert str(LABEL_TABLES["brats2020"]) == "1 NCR, 2 ED, 4 ET"
    assert str(LABEL_TABLES["msd"]) == "1 ED, 2 NCR, 3 ET, 4 ET"
    for name, naming in NAMINGS.items():
        assert tuple(LABEL_TABLES[name].meaning) == naming.label_values


def test_tables_agree():
    assert [*CLASSES] == [value.name for table in (Tissue, Tumour) for value in table if value]
    assert set(REGIONS["WT"]) == {t for t in Tumour if t}
    assert set(REGIONS["ET"]) < set(REGIONS["TC"]) < set(REGIONS["WT"])


def test_affine_is_that_of_brats_and_cannot_be_changed():
    assert (AFFINE @ [0, 239, 0, 1]).tolist() == [0, 0, 0, 1]
    assert abs(np.linalg.det(AFFINE[:3, :3])) == 1
    assert len(GRID) == 3
    with pytest.raises(ValueError, match="read-only"):
        AFFINE[0, 0] = 2


@pytest.mark.parametrize("order", ["C", "F"])
def test_recoding_is_indexing_in_the_order_of_the_values(order):
    values = np.asarray(np.random.default_rng(0).integers(0, 4, (5, 6, 7)), np.int16, order=order)
    for given in (values, values.astype(np.uint8), values[::2, 1:]):
        out = recoded(given, (0, 2, 1, 7))
        assert np.array_equal(out, np.array([0, 2, 1, 7])[given])
        assert (out.dtype, out.flags.writeable) == (np.uint8, True)
    assert recoded(values, (0, 2, 1, 7)).flags.f_contiguous == (order == "F")
    with pytest.raises(IndexError):
        recoded(values, (0, 1))
