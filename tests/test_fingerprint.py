"""Fingerprints: what leaves a scan the scan that it is, what makes it another, and twins under several names."""

from time import process_time

import nibabel as nib
import numpy as np
import pytest
from phantoms import embed, phantom_case, write_case

from synth.brats import NAMINGS
from synth.datasets.cases import find_cases, read_case
from synth.datasets.fingerprint import fingerprint, same_scan, twin_sentence, twins
from synth.datasets.sets import open_set
from synth.models.cards import GENERATOR, SEGMENTER, known_cases, names_alone, read_card, trained_on

CASE = phantom_case(case_id="A")
IMAGES = CASE.images
PEAK = IMAGES.max((0, 1, 2)).astype(float)


def bordered(images):
    out = np.zeros(tuple(n + 7 for n in images.shape[:3]) + images.shape[3:], images.dtype)
    out[5:-2, 1:-6, 3:-4] = images
    return out


SAME = {
    "floats": lambda x: x.astype(np.float32),
    "doubles": lambda x: x.astype(np.float64),
    "unsigned": lambda x: x.astype(np.uint16),
    "wide": lambda x: x.astype(np.int64),
    "0 to 1": lambda x: (x / PEAK).astype(np.float32),
    "0 to 60 000": lambda x: np.rint(x * (60000 / PEAK)).astype(np.int32),
    "0 to 100 000, floats": lambda x: (x * (1e5 / PEAK)).astype(np.float32),
    "a gamma": lambda x: (x / PEAK) ** 0.7,
    "Fortran order": np.asfortranarray,
    "modality by modality": lambda x: np.stack([x[..., m] for m in range(4)], axis=0).transpose(1, 2, 3, 0),
    "the other byte order": lambda x: x.astype(">i2"),
    "wider borders": bordered,
    "wider borders, Fortran order": lambda x: np.asfortranarray(bordered(x)),
}


@pytest.mark.parametrize("way", SAME)
def test_a_scan_is_known_again(way):
    assert fingerprint(SAME[way](IMAGES)) == fingerprint(IMAGES)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x[::-1],
        lambda x: np.rint(x * (30 / PEAK)),
        lambda x: np.roll(x, 1, axis=-1) + np.roll(x, 1, axis=0),
        lambda x: np.where(x > 0, x + np.random.default_rng(0).integers(0, 3, x.shape), 0),
    ],
    ids=["mirrored", "few levels", "mixed", "noise"],
)
def test_another_scan_is_not(change):
    assert not same_scan(fingerprint(change(IMAGES)), fingerprint(IMAGES))
    assert not same_scan(fingerprint(phantom_case(seed=1).images), fingerprint(IMAGES))


def test_one_modality_is_enough_whatever_it_is_called():
    other = phantom_case(seed=1).images.copy()
    other[..., 0] = IMAGES[..., 3]
    assert same_scan(fingerprint(other), fingerprint(IMAGES))
    assert sum(a == b for a, b in zip(fingerprint(other), fingerprint(IMAGES), strict=True)) == 0


def test_what_is_empty_or_a_mask_is_nobodys_twin():
    images = IMAGES.copy()
    images[..., 1], images[..., 2] = 0, 7 * (images[..., 2] > 0)
    found = fingerprint(images)
    assert (found[0], found[1], found[2], found[3]) == (fingerprint(IMAGES)[0], "", "", fingerprint(IMAGES)[3])
    nothing = fingerprint(np.zeros((5, 5, 5, 4)))
    assert nothing == ("",) * 4
    assert not same_scan(nothing, nothing)
    assert twins({"a": nothing, "b": nothing, "c": ()}) == []


def test_the_same_scan_under_two_years_names(tmp_path):
    write_case(tmp_path / "2021", embed(phantom_case(case_id="BraTS2021_00002")))
    write_case(tmp_path / "2023", embed(phantom_case(case_id="BraTS-GLI-00002-000")), naming=NAMINGS["brats2023"])
    for path in (tmp_path / "2023").rglob("*.nii.gz"):  # the labels differ in value too; here the types do
        image = nib.load(path)
        if "seg" not in path.name:
            nib.save(nib.Nifti1Image(np.ascontiguousarray(image.get_fdata()), image.affine), path)
    old, new = (fingerprint(read_case(find_cases(tmp_path / year)[0]).images) for year in ("2021", "2023"))
    assert old == new


def test_twins_are_grouped_in_order():
    prints = {"e": ("1", "2"), "b": ("3", "4"), "d": ("5", "2"), "a": ("", "4"), "c": ("6",), "f": ("5", "3")}
    assert twins(prints) == [("e", "b", "d", "a", "f")]  # by way of f
    del prints["f"]
    assert twins(prints) == [("e", "d"), ("b", "a")]
    assert twins({}) == []


def test_many_twins_are_one_line():
    prints = {f"{kind}{i}": (str(i),) for kind in "ab" for i in range(500)}
    sentence = twin_sentence(prints, "cases")
    assert sentence.startswith("1000 of the 1000 cases are 500 scans under several names (a0 = b0; a1 = b1; a2 = b2; ")
    assert "and 497 more" in sentence
    assert len(sentence) < 250
    assert twin_sentence({"a": ("1",), "b": ("2",)}, "cases") == ""


SOME = 13  # training cases; what ships learnt from some of these, not from all


@pytest.fixture(scope="module")
def real_scans(real_data):
    """Of `SOME` training cases and those of validation: fingerprint, warnings, seconds of processor time of both."""
    prints, told, reading, printing = {}, [], [], []
    for folder in ("train", "val"):
        for files in find_cases(real_data / "brats" / folder)[:SOME]:
            begin = process_time()
            case = read_case(files)
            reading.append(process_time() - begin)
            assert case.images.dtype == np.int16
            assert 1000 < np.count_nonzero(case.brain) / 1000 < 2000
            told += case.meta["warnings"]
            begin = process_time()
            prints[case.id] = fingerprint(case.images)
            printing.append(process_time() - begin)
    return prints, told, reading, printing


def test_real_cases_are_clean_and_read_fast(real_scans):
    prints, told, seconds, _ = real_scans
    assert len(prints) >= 16
    assert len(told) <= 2  # two of all 28 have 1 and 14 labelled voxels outside their brains
    assert all("outside the brain" in warning for warning in told)
    assert np.median(seconds) < 1.0  # of CPU: a shared machine may take its time; 0.3 s measured alone


def test_real_scans_are_all_different_and_fast(real_scans):
    prints, _, _, seconds = real_scans
    assert twins(prints) == []
    assert len({digest for scan in prints.values() for digest in scan}) == 4 * len(prints)
    assert np.median(seconds) < 0.2  # 0.02 on an idle machine


@pytest.mark.parametrize("kind", [GENERATOR, SEGMENTER], ids=lambda kind: kind.name)
def test_what_ships_knows_its_training_scans_under_any_name(real_data, real_scans, kind):
    card = read_card("default", kind)
    watched = open_set(real_data / "brats/val").members[0]
    members = [*open_set(real_data / "brats/train").members[:SOME], watched]
    scans = {member.id: real_scans[0][member.id] for member in members}
    by_id = trained_on(dict.fromkeys(scans, ()), [card])
    assert 0 < len(by_id) < len(scans)
    renamed = {f"BraTS-GLI-{case_id[-5:]}-000": scan for case_id, scan in scans.items()}
    assert trained_on(renamed, [card]) == tuple(f"BraTS-GLI-{case_id[-5:]}-000" for case_id in by_id)
    assert names_alone([card]) == ""
    assert known_cases(card, "validation").has("Renamed", real_scans[0][watched.id])
