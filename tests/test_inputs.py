"""Every variant of BraTS-like data that docs/inputs.md names: what the door makes of it, by names alone."""

import codecs
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from phantoms import SHAPE, phantom_case, write_case

from synth.brats import NAMINGS
from synth.cli import main
from synth.datasets import members
from synth.datasets.sets import open_set
from synth.disk.settings import read_settings
from synth.errors import DataError

DOCUMENT = Path(__file__).parent.parent / "docs" / "inputs.md"
FOUR = ("t1", "t1ce", "t2", "flair")
NEW = ("t1n", "t1c", "t2w", "t2f")
FETS = ("brain_t1", "brain_t1ce", "brain_t2", "brain_t2flair", "final_seg")


def names(pattern, parts):
    return [pattern.format(part) for part in parts]


READ = {  # variant as docs/inputs.md has it: (files, the ids that come of them)
    "BraTS 2017-2021": (names("HGG/Brats17_X_1/Brats17_X_1_{}.nii.gz", (*FOUR, "seg")), ["Brats17_X_1"]),
    "BraTS-GLI 2023": (names("a/BraTS-GLI-00001-000-{}.nii.gz", (*NEW, "seg")), ["BraTS-GLI-00001-000"]),
    "BraTS-SSA": (names("a/BraTS-SSA-00002-000-{}.nii.gz", (*NEW, "seg")), ["BraTS-SSA-00002-000"]),
    "FeTS challenge": (names("a/FeTS21_Training_001_{}.nii.gz", (*FOUR, "seg")), ["FeTS21_Training_001"]),
    "FeTS tool": (
        [
            *names("P1/P1_brain_{}.nii.gz", FOUR),
            "P1/P1_final_seg.nii.gz",
            "P1/SegmentationsForQC/P1_deepmedic_seg.nii.gz",
        ],
        ["P1"],
    ),
    "FeTS tool, t2flair": (
        names("P{0[0]}_{0[1]}.nii.gz", [(n, part) for n in "12" for part in FETS]),
        ["P1", "P2"],
    ),
}
FOREIGN = {  # variant: (files, what the sentence has to say)
    "BraTS 2012-2016": (
        ["p1/VSD.Brain.XX.O.MR_T1.684/VSD.Brain.XX.O.MR_T1.684.mha", "p1/VSD.Brain_3more.XX.O.OT.2/VSD.OT.2.mha"],
        "2 files (such as p1/VSD.Brain.XX.O.MR_T1.684/.*) are MetaImage files, .* 2012 to 2016; .*--labels brats2015",
    ),
    "MSD Task01, its dataset.json damaged": (
        ["dataset.json", "imagesTr/BRATS_001.nii.gz", "labelsTr/BRATS_001.nii.gz", "imagesTs/BRATS_485.nii.gz"],
        "2 files .*imagesTr/BRATS_001.nii.gz.*Decathlon .*; give the task's folder, .* split .*--labels msd",
    ),
    "nnU-Net raw, its dataset.json damaged": (
        ["dataset.json", *names("imagesTr/B_001_000{}.nii.gz", range(4)), "labelsTr/B_001.nii.gz"],
        "4 files .*nnU-Net's raw format; give the dataset's folder, whose dataset.json .* copy .*--labels nnunet",
    ),
    "nnU-Net raw, imagesTs alone": (names("B_001_000{}.nii.gz", range(4)), "4 files .*nnU-Net's raw format"),
    "labelsTr alone": (["labelsTr/B_001.nii.gz"], "label maps without scans.*--labels msd or --labels nnunet"),
    "Kaggle slices": (
        names("content/data/volume_1_slice_{}.h5", range(3)),
        "3 files (such as content/data/volume_1_slice_0.h5) are slices of BraTS 2020 as Kaggle has them",
    ),
    "UPENN-GBM": (
        [
            *names("images_structural/UPENN-GBM-00001_11/UPENN-GBM-00001_11_{}.nii.gz", ("T1", "T1GD", "T2", "FLAIR")),
            "images_segm/UPENN-GBM-00001_11_segm.nii.gz",
            "automated_segm/UPENN-GBM-00001_11_automated_approx_segm.nii.gz",
        ],
        "UPENN-GBM; its t1ce is called T1GD, its segmentation segm",
    ),
    "UCSF-PDGM": (
        names(
            "UCSF-PDGM-0004_nifti/UCSF-PDGM-0004_{}.nii.gz",
            ("T1", "T1c", "T2", "FLAIR", "T1_bias", "tumor_segmentation", "brain_segmentation"),
        ),
        "UCSF-PDGM; its t1ce is called T1c, its segmentation tumor_segmentation",
    ),
    "UCSF-PDGM, a follow-up": (
        names("UCSF-PDGM-0429_FU003d_{}.nii.gz", ("T1", "T1c", "T2", "FLAIR", "tumor_segmentation")),
        "UCSF-PDGM; its t1ce is called T1c",
    ),
    "TCGA-GBM, TCGA-LGG": (
        names("TCGA-02-0006_1996.08.23_{}.nii.gz", ("t1", "t1Gd", "t2", "flair", "GlistrBoost_ManuallyCorrected")),
        "TCGA-GBM and TCGA-LGG segmentations; the t1ce is called t1Gd",
    ),
    "BraTS-MEN-RT": (
        names("BraTS-MEN-RT-0001-1/BraTS-MEN-RT-0001-1_{}.nii.gz", ("t1c", "gtv")),
        "2 files .*BraTS-MEN-RT; meningiomas with one modality",
    ),
    "HD-GLIO": (
        [*names("p1/{}.nii.gz", ("T1", "CT1", "T2", "FLAIR", "segmentation")), "p1/T1_r2s_bet.nii.gz"],
        "HD-GLIO; its labels (1 non-enhancing, 2 enhancing) leave out the necrosis",
    ),
    "BraTS inpainting": (
        names("a/BraTS-GLI-00000-000-{}.nii.gz", ("t1n", "t1n-voided", "mask", "mask-healthy", "mask-unhealthy")),
        "3 files .*BraTS inpainting; one modality with a part cut out is not read",
    ),
    "BIDS": (
        names("sub-01/anat/sub-01_{}.nii.gz", ("T1w", "ce-gd_T1w", "T2w", "FLAIR")),
        "files in BIDS; BIDS is not read: copy",
    ),
    "no id in the names": (names("p1/{}.nii.gz", (*FOUR, "seg")), "5 files .*without an id in their names; put the id"),
    "DICOM": (
        ["00000/FLAIR/Image-1.dcm"],
        "1 file (such as 00000/FLAIR/Image-1.dcm) is one of the DICOM slices; convert",
    ),
    "modalities under other names": (
        names("BraTS-GLI-00000-000_{}.nii.gz", NEW),
        "BraTS-GLI-00000-000_t1c.nii.gz looks like the t1ce of BraTS-GLI-00000-000: name it",
    ),
}
REFUSED = {
    "BraTS-PED": "--labels ped",
    "BraTS-MEN": "meningiomas",
    "BraTS-MET": "metastases",
    "BraTS-GoAT": "a mixture",
}
REFUSED |= {"BraTS-GLI 2024": "after treatment"}
IDS = {name: f"{name}-00001-000" for name in REFUSED} | {"BraTS-GLI 2024": "BraTS-GLI-02062-100"}


def fill(folder, files):
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def pattern(said):
    """A pattern of a sentence in which `.*` alone is none."""
    return ".*".join(map(re.escape, said.split(".*")))


@pytest.mark.parametrize("variant", READ)
def test_what_is_read_is_one_whole_case_each(tmp_path, variant):
    files, ids = READ[variant]
    cases = open_set(fill(tmp_path, files))
    assert cases.ids == ids
    assert not cases.findings
    assert all(member.files.paths.keys() == {*FOUR, "seg"} for member in cases.members)


@pytest.mark.parametrize("variant", FOREIGN)
def test_a_known_layout_that_is_not_read_is_refused_by_name_in_one_line(tmp_path, variant):
    files, said = FOREIGN[variant]
    result = CliRunner().invoke(main, ["check", str(fill(tmp_path, files))])
    assert result.exit_code == 1
    (line,) = result.output.splitlines()
    assert re.search(pattern(said), line), line
    assert line.startswith(f"Error: {tmp_path}: no BraTS case found; ")
    assert line.endswith((".", ")."))


@pytest.mark.parametrize("variant", REFUSED)
def test_another_disease_is_refused_by_its_id(tmp_path, variant, monkeypatch):
    monkeypatch.setattr(members, "GRID", SHAPE)
    write_case(tmp_path, phantom_case(case_id=IDS[variant]), naming=NAMINGS["brats2023"])
    with pytest.raises(DataError, match=re.escape(REFUSED[variant])):
        next(iter(open_set(tmp_path)))


def test_every_variant_stands_in_the_document():
    text = DOCUMENT.read_text(encoding="utf-8").replace("–", "-")
    for variant in (*READ, *FOREIGN, *REFUSED):
        assert f"| {variant} |" in text, variant


def test_a_file_of_a_known_layout_is_refused_by_name_too(tmp_path):
    for variant, name in (
        ("Kaggle", "volume_1_slice_0.h5"),
        ("MetaImage", "VSD.Brain.XX.O.MR_T1.684.mha"),
        ("nnU-Net", "B_001_0000.nii.gz"),
        ("UPENN-GBM", "UPENN-GBM-00001_11_segm.nii.gz"),
    ):
        for scans in (True, False):
            with pytest.raises(DataError, match=rf"{name}: this is one of the .*{variant}"):
                open_set(fill(tmp_path, [name]) / name, scans=scans)


def test_hdf5_of_another_program_is_told_from_a_damaged_set(tmp_path):
    with h5py.File(tmp_path / "one.h5", "w") as file:
        file["image"], file["mask"] = np.zeros((4, 4, 4)), np.zeros((4, 4, 3))
    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["model_weights/layer"] = np.zeros(3)
    for name, found in (("one.h5", "image, mask"), ("two.h5", "model_weights")):
        with pytest.raises(DataError, match=rf"{name}: expected an HDF5 set of synth, .*another program \({found}\)"):
            open_set(tmp_path / name)


def test_a_foreign_layout_beside_cases_is_passed_over_with_a_word(tmp_path):
    fill(tmp_path, names("A/A_{}.nii.gz", (*FOUR, "seg")))
    fill(tmp_path, ["imagesTr/B_0000.nii.gz", "raw/C.mha", "raw/00000/Image-1.dcm"])
    fill(tmp_path, names("UPENN-GBM-00001_11_{}.nii.gz", ("T1", "T1GD", "T2", "FLAIR")))
    cases = open_set(tmp_path)  # strict: a warning refuses nothing
    assert cases.ids == ["A"]
    assert [finding.severity for finding in cases.findings] == ["warning"] * 3
    said = " ".join(map(str, cases.findings))
    assert said.count("passed over: ") == 3
    for word in ("nnU-Net", "MetaImage", "UPENN-GBM"):
        assert word in said


def test_copies_under_brats_names_make_the_originals_beside_them_harmless(tmp_path):
    fill(tmp_path, names("UPENN-GBM-00001_11_{}.nii.gz", (*FOUR, "seg", "T1GD", "segm")))
    fill(tmp_path, ["other/A_t1.nii.gz", "other/A_t1ce.nii.gz", "other/A_t2.nii.gz", "other/A_flair.nii.gz"])
    fill(tmp_path, ["other/seg.nii.gz", "other/t1.nii.gz"])
    cases = open_set(tmp_path)
    assert cases.ids == ["A", "UPENN-GBM-00001_11"]
    assert not cases.findings


def test_a_final_segmentation_of_fets_elsewhere_is_told_as_apart(tmp_path):
    fill(tmp_path, [*names("P1/P1_brain_{}.nii.gz", FOUR), "labels/P1_final_seg.nii.gz"])
    with pytest.raises(
        DataError, match=r"expected all files of case P1 in one place, found files here and in .*labels"
    ):
        open_set(tmp_path)


def test_ids_that_only_look_like_those_of_fets_stay(tmp_path):
    fill(tmp_path, names("X_brain_{}.nii.gz", (*FOUR, "seg")))
    fill(tmp_path, ["segmentations/Y_final_seg.nii.gz"])
    assert open_set(tmp_path).ids == ["X_brain", "Y_final"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("A_segm.nii.gz", "A_segm.nii.gz most likely is the segmentation: name it A_seg.nii.gz."),
        ("seg.nii", "seg.nii most likely is the segmentation: name it A_seg.nii."),
        ("A_tumor_segmentation.nii.gz", "A_tumor_segmentation.nii.gz most likely is the segmentation"),
        ("A_GlistrBoost.nii.gz", "A_GlistrBoost.nii.gz most likely is the segmentation"),
        ("A_nnunet_seg.nii.gz", "A_nnunet_seg.nii.gz most likely is the segmentation"),
        ("A_mask.nii.gz", "A_mask.nii.gz is perhaps the segmentation: put the right one beside the scans as A_seg"),
        ("A_brain_mask.nii.gz", "and A_brain_mask.nii.gz, which may need renaming."),
        (
            "SegmentationsForQC/A_staple_seg.nii.gz",
            "SegmentationsForQC/A_staple_seg.nii.gz is perhaps the segmentation",
        ),
    ],
)
def test_a_segmentation_under_another_name_is_told_with_the_name_that_it_needs(tmp_path, name, said):
    cases = open_set(fill(tmp_path, [*names("A_{}.nii.gz", FOUR), name]))
    (member,) = cases.members
    _, findings = member.examine()
    assert said in findings[0].message


def test_of_several_the_corrected_segmentation_is_the_likely_one_and_a_draft_the_least(tmp_path):
    fill(tmp_path, names("A_{}.nii.gz", (*FOUR, "auto_seg", "GlistrBoost", "GlistrBoost_ManuallyCorrected")))
    (member,) = open_set(tmp_path).members
    assert "A_GlistrBoost_ManuallyCorrected.nii.gz most likely" in member.examine()[1][0].message
    (tmp_path / "A_GlistrBoost_ManuallyCorrected.nii.gz").unlink()
    assert "A_GlistrBoost.nii.gz most likely" in member.examine()[1][0].message


def test_in_a_folder_of_many_cases_another_cases_file_is_no_candidate(tmp_path):
    fill(tmp_path, [*names("P1_{}.nii.gz", FOUR), *names("P1_2_{}.nii.gz", (*FOUR, "seg")), "P3_segm.nii.gz"])
    first, second = open_set(tmp_path).members
    assert (first.id, second.labelled) == ("P1", True)
    assert "lacks seg" in first.examine()[1][0].message
    assert "likely" not in first.examine()[1][0].message


@pytest.mark.parametrize("name", ["policy.yaml", "policy.json"])
def test_a_byte_order_mark_in_settings_is_passed_over(tmp_path, name):
    (tmp_path / name).write_bytes(codecs.BOM_UTF8 + b'{"edits": 1}')
    assert read_settings(tmp_path / name, "an edit policy") == {"edits": 1}


def test_real_sets_hold_nothing_foreign(real_data):
    assert not open_set(real_data / "brats").findings
