"""`synth segment`: one good call, and every bad one that we thought of: exit code 1, one sentence, no traceback."""

import json
import shutil
import subprocess
import sys

import keras
import pytest
from commands import files, invoke
from phantoms import embed, phantom_case, write_case

from synth.models.configs import SegmenterConfig
from synth.models.networks.segmenter import build_segmenter
from synth.models.weights import save_segmenter

TINY = SegmenterConfig("unet3d", 4)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Two cases, a model that was trained on the first, and a finished run; to be copied, never changed."""
    root = tmp_path_factory.mktemp("cli")
    for seed, case_id in enumerate("AB"):
        write_case(root / "data", embed(phantom_case(seed=seed, case_id=case_id)))
    keras.utils.set_random_seed(1)
    card = {"name": "tiny", "segmenter": TINY.to_dict(), "window": 48, "training": {"ids_sha256": ["559aead08264d579"]}}
    save_segmenter(root / "model", build_segmenter(TINY), card)
    result = invoke(root, "segment data out --model model")
    assert result.exit_code == 0, result.output
    return root


def test_it_prints_the_table_and_what_it_did(place):
    result = invoke(place, "segment data new --model model --quiet --mirror x --overlap 0.25 --no-postprocess")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["WT", "TC", "ET"]
    assert lines[1].split() == ["mean", "median"] * 3
    assert [line.split()[0] for line in lines[2:-1]] == ["Dice", "HD95", "sensitivity", "specificity", "lesion-wise"]
    assert lines[-1].startswith("2 cases segmented to new; ")
    assert "trained on 1 of the 2 cases with labels" in result.stderr
    run = json.loads((place / "new/run.json").read_text())
    assert (run["mirror"], run["overlap"]) == ("x", 0.25)


def test_a_resumed_run_prints_the_same_numbers(place):
    before = files(place / "out")
    first = invoke(place, "segment data new --model model --quiet")
    again = invoke(place, "segment data out --model model --resume")
    assert again.exit_code == 0, again.output
    assert again.stdout.splitlines()[:-1] == first.stdout.splitlines()[:-1]
    assert again.stdout.splitlines()[-1].startswith("0 cases segmented to out, 2 were there already; ")
    assert files(place / "out") == before


def test_json_is_all_that_is_printed(place):
    result = invoke(place, "segment data out --model model --resume --json")
    content = json.loads(result.stdout)
    kept = json.loads((place / "out/scores.json").read_text())
    assert content == {"cases": kept["cases"], "summary": kept["summary"]}
    assert list(content["cases"]["A"]) == ["WT", "TC", "ET"]


def test_scans_without_labels_get_no_table(place):
    shutil.rmtree(place / "data/B")
    (place / "data/A/A_seg.nii.gz").unlink()
    result = invoke(place, "segment data new --model model --quiet")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("1 cases segmented to new; ")
    assert "trained on" not in result.stderr


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ("segment gone new --model model", 1, "gone: expected the folder of a dataset, found nothing"),
        ("segment model new --model model", 1, "model: no BraTS case found"),
        ("segment data out --model model", 1, "found a set of segmentations that `synth segment` wrote; give --resume"),
        ("segment data data --model model", 1, "data: expected a folder apart from the scans, found that very folder"),
        ("segment data model --model model --force", 1, "model: expected a new or empty folder"),
        ("segment data new --model gone", 1, "model gone: expected a folder with card.json"),
        ("segment data new --model data", 1, "model data: expected a folder with card.json"),
        ("segment data new --model model --ensemble", 1, "model model: expected the folder of `synth train segmenter"),
        (
            "segment data out --model model --resume --mirror xyz",
            1,
            "out: expected a run with the same settings, found other settings: mirror",
        ),
        ("segment data new --model model --mirror y", 2, "Invalid value for '--mirror'"),
        ("segment data new --model model --overlap 1", 2, "Invalid value for '--overlap'"),
        ("segment data", 2, "Missing argument 'OUT'"),
    ],
)
def test_bad_calls_end_in_one_sentence(prepared, line, code, message):
    before = files(prepared)
    result = invoke(prepared, line)
    assert result.exit_code == code
    assert message in result.output
    assert "Traceback" not in result.output
    assert code == 2 or len(result.stderr.splitlines()) == 1
    assert files(prepared) == before
    assert not (prepared / "new").exists()


@pytest.mark.parametrize("line", ["generate -n 1 -o out --force --no-scores", "layouts sample -n 1 -o out --force"])
def test_other_commands_do_not_replace_segmentations(prepared, line):
    before = files(prepared / "out")
    result = invoke(prepared, line)
    assert result.exit_code == 1, result.output
    assert "folder, found a set of segmentations that `synth segment` wrote; choose another" in result.output
    assert files(prepared / "out") == before


def test_help_needs_no_network():
    code = (
        "import sys; from click.testing import CliRunner; from synth.cli.segment import command; "
        "out = CliRunner().invoke(command, ['--help']); "
        "heavy = {'numpy', 'tensorflow', 'nibabel', 'scipy'} & set(sys.modules); "
        "sys.exit(repr(heavy) if heavy or 'Example' not in out.output else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
