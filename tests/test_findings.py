"""How findings are told: alike ones folded, different ones apart."""

import json

from click.testing import CliRunner

from synth.cli import main
from synth.datasets.findings import Finding, folded


def finding(case, modality="t1", message="lacks {id}_{m}: 12 voxels are NaN.", severity="error"):
    message = message.format(id=case, m=modality)
    return Finding(case, f"/data/{case}/{case}_{modality}.nii.gz", severity, message, "intensities")


def test_few_alike_are_told_one_by_one():
    lines = folded([finding(f"A_{k}") for k in range(3)])
    assert lines == [f"error: /data/A_{k}/A_{k}_t1.nii.gz: lacks A_{k}_t1: 12 voxels are NaN." for k in range(3)]


def test_many_alike_are_one_line_with_count_and_examples():
    found = [finding(f"A_{k:03d}", modality) for k in range(50) for modality in ("t1", "t1ce", "t2", "flair")]
    (line,) = folded(found)
    assert line.startswith("error: /data/A_000/A_000_t1.nii.gz: lacks A_000_t1: 12 voxels")
    assert line.endswith("The same of 199 more files of 49 other cases (A_001, A_002, A_003 and 46 more).")


def test_another_fault_and_another_severity_stay_apart():
    found = [finding(f"A_{k}") for k in range(9)]
    found += [finding("A_3", message="is empty."), finding("A_4", severity="warning")]
    assert len(folded(found)) == 3


def test_a_systematic_fault_prints_few_lines(tmp_path):
    for k in range(30):
        folder = tmp_path / f"BraTS_{k}"
        folder.mkdir()
        for modality in ("t1", "t1ce", "t2", "flair", "seg"):
            (folder / f"BraTS_{k}_{modality}.nii.gz").touch()
    result = CliRunner().invoke(main, ["check", str(tmp_path), "--quiet"])
    assert result.exit_code == 1
    assert len(result.output.splitlines()) == 1
    assert "149 more files of 29 other cases" in result.output
    whole = CliRunner().invoke(main, ["check", str(tmp_path), "--json"])
    assert len(json.loads(whole.output)["findings"]) == 150
