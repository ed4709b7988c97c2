"""A set judged as a whole: what `check` says, and that other commands stop or warn in the same words."""

from dataclasses import replace

import numpy as np
import pytest
from commands import invoke
from phantoms import embed, phantom_case, write_case

from synth.brats import NAMINGS, Tumour
from synth.datasets.inspection import Inspection
from synth.datasets.reading import Reading
from synth.errors import DataError
from synth.hosts.extract import extract_layouts
from synth.trainers.segmentation.annotated import find_annotated, inspect_annotated, prepare

DECATHLON = np.array([Tumour.NONE, Tumour.ED, Tumour.NCR, Tumour.ET], np.uint8)  # as read where 1 and 2 are exchanged


def exchanged(case):
    return replace(case, labels=DECATHLON[case.labels])


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Three phantoms with NCR and ED exchanged, in the names of 2017-2021 (with label 4) and of 2023."""
    root = tmp_path_factory.mktemp("inspected")
    for seed in range(3):
        case = embed(exchanged(phantom_case(seed=seed, case_id=f"Case_{seed}")))
        write_case(root / "old", case, suffix=".nii")
        write_case(root / "new", case, naming=NAMINGS["brats2023"], suffix=".nii")
    return root


@pytest.mark.parametrize("folder", ["old", "new"])
def test_exchanged_labels_are_an_error_of_the_set_that_names_the_option(place, folder):
    result = invoke(place, f"check {folder} --quiet")
    assert result.exit_code == 1
    (line,) = result.output.splitlines()
    assert line.startswith(f"error: {folder}: the label read as NCR makes ")
    assert "`--labels msd` reads them so; if they are right as they are, `--labels brats` says so." in line


@pytest.mark.parametrize("folder", ["old", "new"])
def test_the_option_reads_them_rightly(place, folder):
    result = invoke(place, f"check {folder} --quiet --labels msd")
    assert (result.exit_code, result.output) == (0, "")


def test_a_stated_table_is_doubted_but_not_refused_unless_strict(place):
    assert invoke(place, "check old --quiet --labels brats").exit_code == 0
    result = invoke(place, "check old --quiet --labels brats --strict")
    assert result.exit_code == 1
    assert result.output.startswith("warning: old: the label read as NCR")


def test_a_layout_of_such_a_set_is_not_sampled_from(place, monkeypatch):
    def extract(member, detail=False):
        case = member.read()
        layout = type("Map", (), {"id": case.id})
        return layout, None, case

    monkeypatch.setattr("synth.hosts.extract.extract_case", extract)
    monkeypatch.setattr("synth.hosts.extract._store", lambda *_: None)
    with pytest.raises(DataError, match="old: the label read as NCR makes"):
        extract_layouts(place / "old", place / "layouts")
    result = invoke(place, "layouts extract old layouts --labels brats --quiet")
    assert result.exit_code == 0, result.output
    assert result.stderr.startswith("warning: old: the label read as NCR")


def test_such_a_set_is_not_trained_on(place):
    told = []
    cases = find_annotated(place / "old")
    ready = prepare(cases, place / "cache")
    with pytest.raises(DataError, match="the training cases: the label read as NCR"):
        inspect_annotated(cases, ready, "the training cases", told.append)
    stated = [replace(case, reading=Reading("brats")) for case in cases]
    inspect_annotated(stated, ready, "the training cases", told.append)
    assert [line.partition(" makes")[0] for line in told] == ["the training cases: the label read as NCR"]
    inspect_annotated([replace(case, synthetic=True) for case in cases], ready, "painted cases", told.append)
    assert len(told) == 1


def test_twins_are_one_line(place):
    case = phantom_case(seed=7, case_id="BraTS2021_00002")
    write_case(place / "twins", embed(case), suffix=".nii")
    renamed = embed(replace(case, id="BraTS-GLI-00002-000"))
    write_case(place / "twins", renamed, naming=NAMINGS["brats2023"], suffix=".nii")
    result = invoke(place, "check twins --quiet")
    assert result.exit_code == 0
    (line,) = result.output.splitlines()
    assert "warning: twins: 2 of the 2 cases are 1 scan under several names (BraTS-GLI-00002-000 = " in line


def test_binary_masks_are_refused_and_a_set_without_et_is_doubted():
    def inspected(change):
        inspection = Inspection("set")
        for seed in range(4):
            case = phantom_case(seed=seed)
            inspection.see(str(seed), change(case.labels), case.images)
        return [(finding.severity, finding.message) for finding in inspection.findings()]

    ((severity, text),) = inspected(lambda labels: (labels > 0).astype(np.uint8))
    assert severity == "error"
    assert "binary masks" in text
    ((severity, text),) = inspected(lambda labels: np.where(labels == Tumour.ET, Tumour.NCR, labels).astype(np.uint8))
    assert severity == "warning"
    assert "none of the 4 cases with a tumour has ET" in text
    assert inspected(lambda labels: labels) == []
