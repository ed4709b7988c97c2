"""`synth export --to bids` and `--to hf`: what the rules of BIDS and the builder of Hugging Face ask for."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from commands import invoke
from exported import painted_set, real_folder, tree

from synth.datasets.sets import open_set
from synth.disk.settings import read_settings
from synth.runs.export import put

MODALITIES = ("t1", "t1ce", "t2", "flair")
# sub, ce, space, desc, suffix: the entities that we use, in the order that BIDS has them
IMAGE = re.compile(
    r"sub-([0-9A-Za-z]+)/anat/sub-\1(_ce-[0-9A-Za-z]+)?_space-[0-9A-Za-z]+_desc-[0-9A-Za-z]+_(T1w|T2w|FLAIR)\.(nii\.gz|json)"
)
SEGMENTATION = re.compile(
    r"sub-([0-9A-Za-z]+)/anat/sub-\1_space-[0-9A-Za-z]+_desc-[0-9A-Za-z]+_dseg\.(nii\.gz|json|tsv)"
)
TOP = {"dataset_description.json", "participants.tsv", "participants.json", "README.md", ".bidsignore"}


pytestmark = pytest.mark.usefixtures("small_grid")


@pytest.fixture
def place(tmp_path):
    painted_set(tmp_path / "set", ["BraTS2021_00001", "atlas-1"])
    real_folder(tmp_path / "real", ["BraTS-GLI-00001-000"], naming="brats2023")
    return tmp_path


def test_a_derivative_has_only_names_that_bids_knows(place):
    done = invoke(place, "export set out --to bids --real real -q")
    assert done.exit_code == 0, done.output
    names = set(tree(place / "out"))
    ignored = set((place / "out/.bidsignore").read_text().split())
    rest = {n for n in names - TOP - ignored if not IMAGE.fullmatch(n) and not SEGMENTATION.fullmatch(n)}
    assert (rest, names & ignored) == (set(), {"manifest.jsonl", "run.json"})
    anat = "sub-Synth00000/anat/sub-Synth00000"
    assert {
        f"{anat}_ce-gadolinium_space-SRI24_desc-synthetic_T1w.nii.gz",
        f"{anat}_space-SRI24_desc-tumour_dseg.tsv",
    } <= names
    assert "sub-BraTSGLI00001000/anat/sub-BraTSGLI00001000_space-SRI24_desc-preproc_FLAIR.nii.gz" in names
    assert all(name.removesuffix(".nii.gz") + ".json" in names for name in names if name.endswith(".nii.gz"))


def test_the_bids_validator_itself_finds_no_error(place):
    validator = shutil.which("bids-validator-deno", path=Path(sys.executable).parent)
    if validator is None:
        pytest.skip("needs bids-validator-deno")
    assert invoke(place, "export set out --to bids --real real -q").exit_code == 0

    def errors():
        done = subprocess.run([validator, "out", "--json"], cwd=place, capture_output=True, text=True)
        told = json.loads(done.stdout)
        assert sorted(told["summary"]["subjects"]) == ["BraTSGLI00001000", "Synth00000", "Synth00001"]
        return {issue["code"] for issue in told["issues"]["issues"] if issue["severity"] == "error"}

    assert errors() == set()
    lookup = place / "out/sub-Synth00000/anat/sub-Synth00000_space-SRI24_desc-tumour_dseg.tsv"
    lookup.rename(lookup.with_name("labels.tsv"))
    assert errors() == {"NOT_INCLUDED"}


def test_sidecars_and_tables_say_what_is_synthetic(place):
    assert invoke(place, "export set out --to bids --real real -q").exit_code == 0
    out = place / "out"
    about = json.loads((out / "dataset_description.json").read_text())
    assert (about["DatasetType"], about["GeneratedBy"][0]["Name"]) == ("derivative", "synth")
    assert {"Name", "BIDSVersion"} <= about.keys()
    rows = [line.split("\t") for line in (out / "participants.tsv").read_text().splitlines()]
    assert rows[0] == ["participant_id", "synthetic"]
    assert dict(rows[1:]) == {"sub-Synth00000": "true", "sub-Synth00001": "true", "sub-BraTSGLI00001000": "false"}
    assert set(rows[0]) == set(json.loads((out / "participants.json").read_text()))
    for path in out.glob("sub-*/anat/*.json"):
        side = json.loads(path.read_text())
        assert side["SpatialReference"].startswith("https://")
        assert side["Synthetic"] == ("Synth" in path.name)
        if "dseg" not in path.name:
            assert side["SkullStripped"] is True
        if side["Synthetic"]:
            assert (side["Seed"], side["ModelHash"]) == (7, "abc123")
        for source in side.get("Sources", ()):
            assert (out / source.removeprefix("bids::")).is_file()


def test_the_lookup_table_names_the_values_of_the_segmentation(place):
    assert invoke(place, "export set out --to bids --real real -q").exit_code == 0
    cases = {case.id: case for name in ("set", "real") for case in open_set(place / name)}
    for case_id, case in cases.items():
        subject = "sub-" + re.sub(r"\W|_", "", case_id)
        stem = f"{place}/out/{subject}/anat/{subject}_space-SRI24_desc-tumour_dseg"
        assert np.array_equal(nib.load(f"{stem}.nii.gz").dataobj, case.labels)
        lines = [line.split("\t") for line in Path(f"{stem}.tsv").read_text().splitlines()]
        assert [lines[0], [line[::2] for line in lines[1:]]] == [
            ["index", "name", "abbreviation"],
            [["1", "NCR"], ["2", "ED"], ["3", "ET"]],
        ]


def test_ids_that_become_one_label_are_refused(place):
    real_folder(place / "more", ["Synth0_0000"])
    done = invoke(place, "export set out --to bids --real more -q")
    assert done.exit_code == 1
    assert "case Synth00000 (called Synth0_0000 and Synth_00000) is also in" in done.output
    assert not (place / "out").exists()


def test_every_row_of_the_metadata_names_files_that_are_there(place):
    done = invoke(place, "export set out --to hf --real real --link hard -q")
    assert done.exit_code == 0, done.output
    cases = {case.id: case for name in ("set", "real") for case in open_set(place / name)}
    rows = [json.loads(line) for line in (place / "out/metadata.jsonl").read_text().splitlines()]
    assert {row["id"]: row["synthetic"] for row in rows} == {key: key.startswith("Synth_") for key in cases}
    assert len({tuple(row) for row in rows}) == 1  # one schema
    for row in rows:
        case = cases[row["id"]]
        for k, modality in enumerate(MODALITIES):
            assert np.array_equal(nib.load(place / "out" / row[f"{modality}_file_name"]).dataobj, case.images[..., k])
        assert np.array_equal(nib.load(place / "out" / row["seg_file_name"]).dataobj, case.labels)
    back = open_set(place / "out")  # names and label values are those of BraTS 2023
    assert all(np.array_equal(case.labels, cases[case.id].labels) for case in back)
    assert sorted(m.id for m in back.members if back.is_painted(m)) == ["Synth_00000", "Synth_00001"]
    volumes = [name for name in tree(place / "out") if name.endswith(".nii.gz")]
    assert sorted(volumes) == sorted(v for row in rows for key, v in row.items() if key.endswith("_file_name"))


def test_the_dataset_card_begins_with_settings_that_parse(place):
    assert invoke(place, "export set out --to hf -q").exit_code == 0
    text = (place / "out/README.md").read_text()
    _, settings, body = text.split("---\n", 2)
    (place / "card.yaml").write_text(settings)
    card = read_settings(place / "card.yaml", "the card")
    assert card["configs"][0]["data_files"][0]["path"] == ["metadata.jsonl", "data/**"]
    assert "2 synthetic cases" in body


def test_a_scan_without_labels_has_none(place):
    next((place / "real").glob("*/*-seg.nii.gz")).unlink()
    assert invoke(place, "export out --to hf --real real -q").exit_code == 0
    (row,) = [json.loads(line) for line in (place / "out/metadata.jsonl").read_text().splitlines()]
    assert row["seg_file_name"] is None
    assert invoke(place, "export other --to bids --real real -q").exit_code == 0
    assert not list((place / "other").rglob("*dseg*"))


def test_label_maps_of_painted_cases_are_rewritten_as_if_they_were_read(place, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(put.Put, "array", lambda *_: pytest.fail("a label map was taken apart"))
        assert invoke(place, "export set quick --to hf -q").exit_code == 0
    monkeypatch.setattr(put, "_relabelled", lambda *_: None)
    assert invoke(place, "export set slow --to hf -q").exit_code == 0
    quick, slow = (tree(place / name) for name in ("quick", "slow"))
    names = [name for name in quick if name.endswith("-seg.nii.gz")]
    assert len(names) == 2
    assert all(quick[name] == slow[name] for name in names)
