"""What label values mean: by the names, by a table that the user states, and never against what the id says."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from phantoms import SHAPE, phantom_case, write_case

import synth.hosts.extract
from synth.brats import NAMINGS
from synth.datasets import members
from synth.datasets.case_files import find_cases
from synth.datasets.cases import read_case
from synth.datasets.findings import Findings
from synth.datasets.labels import label_classes
from synth.datasets.members import FilesMember
from synth.datasets.reading import Reading
from synth.datasets.sets import open_set
from synth.errors import DataError
from synth.exporters import open_exporter
from synth.hosts.extract import extract_layouts

BRATS2023 = NAMINGS["brats2023"]


def classes(values, *, case_id="x", naming="brats2020", labels="auto", scaled=None):
    """Class indices of a few values on disk (None: refused), and the sentences about them."""
    notes = Findings(case_id)
    array = np.asarray(values).reshape(-1, 1, 1)
    out = label_classes(Path("x_seg.nii.gz"), array, NAMINGS[naming], notes, Reading(labels), scaled)
    return (None if out is None else out.ravel().tolist()), [f"{note.severity}: {note.message}" for note in notes]


@pytest.mark.parametrize(
    ("labels", "naming", "values", "expected"),
    [
        ("msd", "brats2020", [0, 1, 2, 3], [0, 2, 1, 3]),
        ("nnunet", "brats2023", [3, 2, 1, 0], [3, 1, 2, 0]),
        ("msd", "brats2020", [0, 1, 2, 4], [0, 2, 1, 3]),
        ("brats2015", "brats2020", [0, 1, 2, 3, 4], [0, 1, 2, 1, 3]),
        ("brats2023", "brats2020", [1, 2, 3], [1, 2, 3]),
        ("brats2020", "brats2023", [1, 2, 4], [1, 2, 3]),
        ("ped", "brats2023", [1, 2, 3, 4], [3, 1, 1, 2]),
    ],
)
def test_a_stated_table_takes_the_place_of_the_names(labels, naming, values, expected):
    assert classes(values, naming=naming, labels=labels) == (expected, [])


def test_values_outside_a_stated_table_are_refused_with_its_meaning():
    out, (sentence,) = classes([0, 1, 5], labels="msd")
    assert out is None
    assert "expected labels 0, 1, 2, 3, 4 (1 ED, 2 NCR, 3 ET, 4 ET, as --labels msd states), found 5" in sentence


def test_what_has_two_meanings_is_refused_with_the_tables_that_have_it():
    out, (sentence,) = classes([1, 2, 3])
    assert out is None
    for table in ("--labels brats2023 (1 NCR, 2 ED, 3 ET)", "brats2015 (", "msd (1 ED, 2 NCR, 3 ET, 4 ET)"):
        assert table in sentence


@pytest.mark.parametrize("offset", [3e-5, -9e-4])
def test_labels_all_but_whole_are_rounded_with_one_line(offset):
    values = np.array([0, 1, 2, 4], np.float32) * np.float32(1 + offset / 4)
    out, (line,) = classes(values, scaled=(0.0078125, 0.0))
    assert out == [0, 1, 2, 3]
    assert line.startswith("warning: ")
    assert "they are rounded. The header scales them by slope 0.0078125 and intercept 0." in line


def test_a_slope_is_named_as_the_cause_of_fractions_and_of_unknown_labels():
    out, (sentence,) = classes(np.array([0, 0.5, 1], np.float32), scaled=(0.5, 0.0))
    assert out is None
    assert "1 labels are not whole numbers (such as 0.5) because the header scales them by slope 0.5" in sentence
    out, (sentence,) = classes(np.array([0, 8.0], np.float32), scaled=(2.0, 0.0))
    assert out is None
    assert "found 8 (1 voxels)" in sentence
    assert sentence.endswith("The header scales them by slope 2 and intercept 0.")
    _, (sentence,) = classes(np.array([0, 0.5, 1], np.float32))
    assert "nearest neighbour" in sentence


def test_one_label_alone_is_lawful_in_one_case():
    assert classes([0, 1, 1]) == ([0, 1, 1], [])


# --- ids ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case_id", "said", "remedy"),
    [
        ("BraTS-PED-00002-000", "gliomas of children", "--labels ped (1 ET, 2 NCR, 3 NCR, 4 ED) or --labels brats2023"),
        ("brats_ped_00002", "gliomas of children", "--labels ped"),
        ("BraTS-MEN-00004-000", "meningiomas", "--labels brats2023"),
        ("BraTS-MET-00086-000", "metastases", "--labels brats2023"),
        ("BraTS-GoAT-00012", "a mixture", "--labels brats2023"),
        ("BraTS-GLI-02062-100", "after treatment", "--labels brats2023"),
        ("BraTS-MEN-RT-0328-1", "radiotherapy", "leave the case out."),
    ],
)
def test_an_id_of_another_disease_is_refused_by_name(case_id, said, remedy):
    out, (sentence,) = classes([0, 1, 2, 3], case_id=case_id, naming="brats2023")
    assert out is None
    assert said in sentence
    assert remedy in sentence


@pytest.mark.parametrize(
    "case_id",
    [
        "BraTS-GLI-00005-000",
        "BraTS-GLI-00005-001",
        "BraTS-SSA-00002-000",
        "BraTS2021_00100",
        "FeTS21_Training_001",
        "UPENN-GBM-00001_11",
        "UCSF-PDGM-0004",
        "TCGA-02-0006_1996.08.23",
        "Brats18_TCIA10_628_1",
        "Synth-GLI-000100-000",
        "patient-MEN-3",
    ],
)
def test_ids_of_gliomas_and_of_nobody_known_pass(case_id):
    assert classes([0, 1, 2, 3], case_id=case_id, naming="brats2023") == ([0, 1, 2, 3], [])


@pytest.mark.parametrize(
    ("case_id", "labels", "expected"),
    [
        ("BraTS-PED-00002-000", "ped", [0, 3, 1, 1]),
        ("BraTS-PED-00002-000", "brats2023", [0, 1, 2, 3]),  # the participants' release of 2023
        ("BraTS-PED-00002-000", "msd", None),
        ("BraTS-MEN-00004-000", "brats2023", [0, 1, 2, 3]),
        ("BraTS-MEN-RT-0328-1", "brats2023", None),
        ("BraTS-GLI-02062-100", "brats2023", [0, 1, 2, 3]),
        ("BraTS-GLI-00005-000", "ped", None),
        ("BraTS2021_00100", "ped", None),
        ("BraTS2021_00100", "nnunet", [0, 2, 1, 3]),
    ],
)
def test_what_the_user_states_has_to_fit_the_id(case_id, labels, expected):
    assert classes([0, 1, 2, 3], case_id=case_id, naming="brats2023", labels=labels)[0] == expected


def test_a_cavity_is_refused_whatever_is_stated():
    out, (sentence,) = classes([0, 3, 4], case_id="BraTS-GLI-02062-100", naming="brats2023", labels="brats2023")
    assert out is None
    assert "found 4" in sentence


# --- whole cases -------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(members, "GRID", SHAPE)


def member(folder, **stated):
    (files,) = find_cases(folder)
    return FilesMember(files, folder, Reading(**stated))


def test_a_case_is_read_by_the_stated_table_and_says_so(tmp_path):
    case = phantom_case()
    swapped = type(case)(case.id, case.images, np.array([0, 2, 1, 3], np.uint8)[case.labels], case.affine)
    write_case(tmp_path, swapped, naming=BRATS2023)
    read = member(tmp_path, labels="msd").read()
    np.testing.assert_array_equal(read.labels, case.labels)
    assert read.meta == {"naming": "brats2023", "warnings": [], "labels": "msd"}
    assert member(tmp_path, labels="msd").signature() != member(tmp_path).signature()


def test_without_labels_an_id_of_another_disease_gets_a_warning(tmp_path):
    write_case(tmp_path, phantom_case(case_id="BraTS-MET-00086-000", labels=False), naming=BRATS2023)
    (line,) = member(tmp_path).read("ignore").meta["warnings"]
    assert "BraTS-MET, metastases; all that synth has learned is of gliomas" in line


@pytest.fixture
def extracted(monkeypatch):
    """Ids whose layouts were measured; nothing is measured in truth."""
    seen = {}
    monkeypatch.setattr(synth.hosts.extract, "extract_layout", lambda case: seen.update({case.id: case}) or case)
    monkeypatch.setattr(synth.hosts.extract, "measure_style", lambda case, layout: None)
    monkeypatch.setattr(synth.hosts.extract, "_store", lambda *args: None)
    return seen


def test_extract_takes_no_case_without_a_segmentation_for_healthy(tmp_path, extracted):
    for name, labels in (("with", True), ("without", False)):
        write_case(tmp_path / "data", phantom_case(case_id=name, labels=labels))
    results = {result.id: result for result in extract_layouts(tmp_path / "data", tmp_path / "out")}
    assert extracted.keys() == {"with"}
    assert not results["with"].problem
    assert "lacks seg" in results["without"].problem
    assert "--healthy" in results["without"].problem


def test_a_layout_kept_from_before_hides_no_missing_segmentation(tmp_path, extracted, monkeypatch):
    write_case(tmp_path / "data", phantom_case(labels=False))
    monkeypatch.setattr(
        synth.hosts.extract, "_stored_signature", lambda folder: member(tmp_path / "data").signature("1")
    )
    (result,) = extract_layouts(tmp_path / "data", tmp_path / "out")
    assert not result.kept
    assert "--healthy" in result.problem


def test_a_case_is_healthy_where_the_user_says_so(tmp_path, extracted):
    write_case(tmp_path, phantom_case(labels=False))
    healthy = member(tmp_path, healthy=True)
    for labels in ("required", "optional"):
        read = healthy.read(labels)
        assert (read.labels.max(), read.meta["healthy"]) == (0, True)
    assert healthy.read("ignore").labels is None
    synth.hosts.extract.extract_case(healthy)
    assert extracted["Phantom_001"].labels.max() == 0
    assert healthy.signature() != member(tmp_path).signature()
    assert "healthy" not in read_case(healthy.files, labels="optional", grid=SHAPE).meta


def test_a_misnamed_segmentation_makes_nobody_healthy(tmp_path):
    folder = write_case(tmp_path, phantom_case())
    (folder / "Phantom_001_seg.nii.gz").rename(folder / "Phantom_001_segm.nii.gz")
    for stated in (True, False):
        with pytest.raises(DataError, match=r"Phantom_001_segm\.nii\.gz most likely is the segmentation: name it"):
            member(tmp_path, healthy=stated).read()
    with pytest.raises(DataError, match="most likely is the segmentation"):
        member(tmp_path, healthy=True).read("optional")
    (line,) = member(tmp_path).read("optional").meta["warnings"]
    assert "counts as one without a segmentation, but Phantom_001_segm.nii.gz most likely is" in line


def test_a_labelled_case_stays_what_it_is_among_healthy_ones(tmp_path):
    write_case(tmp_path, phantom_case())
    read = member(tmp_path, healthy=True).read()
    assert read.labels.max() == 3
    assert "healthy" not in read.meta


def test_a_case_of_another_format_is_healthy_by_the_same_word(tmp_path):
    with open_exporter("hdf5", tmp_path) as exporter:
        exporter.write(phantom_case(labels=False))
    (bare,) = open_set(tmp_path).members
    with pytest.raises(DataError, match=r"has no labels.*--healthy"):
        bare.read()
    read = replace(bare, reading=Reading(healthy=True)).read()
    assert (read.labels.max(), read.meta["healthy"]) == (0, True)
