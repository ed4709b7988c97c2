"""The commands that generate, extract, reconstruct and train: one good call each, and every bad input we thought of.

A bad input ends in exit code 1 (2 where click itself refuses the option) and one sentence, without a traceback.
"""

import json
import shutil

import keras
import pytest
from commands import files, invoke
from phantoms import phantom_case, phantom_layout, phantom_sources, write_case

import synth.hosts.extract
import synth.hosts.sources
import synth.models.weights
import synth.runs.reconstruct
from synth.datasets.layout_files import save_layout
from synth.disk.manifest import read_entries, read_run
from synth.errors import DataError, LayoutError
from synth.models.configs import GeneratorConfig
from synth.models.networks.generator import build_generator
from synth.models.weights import save_generator
from synth.runs.reconstruct import Comparison

TINY = GeneratorConfig(width=8, bottleneck=1)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A tiny model, layouts of three phantoms, and a finished run of two cases; to be copied, never changed."""
    root = tmp_path_factory.mktemp("prepared")
    keras.utils.set_random_seed(1)
    save_generator(root / "model", build_generator(TINY), {"name": "tiny", "generator": TINY.to_dict()})
    sources = phantom_sources()
    for source in sources.hosts:
        save_layout(source.layout, root / "layouts", sources.own_style(source.id))
    result = invoke(root, "generate --n 2 --out run --data layouts --edits none --seed 3 --model model --no-scores")
    assert result.exit_code == 0, result.output
    return root


@pytest.fixture(autouse=True)
def extraction(monkeypatch):
    """Phantoms are no brains: their layouts are known instead of found."""

    def extract(files, detail=False):
        if files.id == "Phantom_bad":
            raise DataError(f"{files.id}: is all zero; repair or exclude it.")
        seed = int(files.id[-1])
        case = phantom_case(seed=seed, case_id=files.id)
        return phantom_layout(seed=seed, case_id=files.id), phantom_sources(seed + 1).own_style(files.id), case

    monkeypatch.setattr(synth.hosts.extract, "extract_case", extract)


# --- generate -----------------------------------------------------------------------------------------------------


def test_generate_says_what_it_did(place):
    result = invoke(
        place,
        "generate -n 1 -o out --data layouts --edits mirror:layout,scale --style sampled --model model --no-scores",
    )
    assert result.exit_code == 0, result.output
    assert result.output.startswith("1 cases written to out; ")
    assert len(result.output.splitlines()) == 1
    (record,) = read_entries(place / "out")
    assert [edit["name"] for edit in record["edits"]] == ["mirror", "scale"]
    assert record["style"]["kind"] == "sampled"
    assert read_run(place / "out")["model"]["name"] == "tiny"


def test_generate_by_a_policy_file_and_a_plan(place):
    policy = place / "policy.yaml"
    policy.write_text("steps: [{edit: scale, factor: [0.9, 1.0]}, {edit: 'mirror:layout', probability: 0.5}]")
    line = "generate --n 4 --data layouts --edits policy.yaml --plan balanced-side --model model --no-scores"
    result = invoke(place, f"{line} --out out")
    assert result.exit_code == 0, result.output
    assert "4 samples, as planned; unplanned: 4 samples without the plan." in result.output
    covered = json.loads((place / "out/coverage.json").read_text())
    assert covered["planned"] == covered["made"] == {"side": {"left": 2, "right": 2}}
    records, run = read_entries(place / "out"), read_run(place / "out")
    assert sorted(record["plan"]["side"] for record in records) == ["left", "left", "right", "right"]
    assert run["edits"]["steps"][0] == {"edit": "scale", "target": "tumour", "factor": [0.9, 1.0]}
    assert run["plan"] == {"axes": {"side": {"left": 1, "right": 1}}}

    shards = [invoke(place, f"{line} --out shard{i} --shard {i}/2") for i in range(2)]
    assert all("2 samples, as planned" in one.output for one in shards)
    parts = [json.loads((place / f"shard{i}/coverage.json").read_text())["made"]["side"] for i in range(2)]
    assert {side: sum(part[side] for part in parts) for side in ("left", "right")} == {"left": 2, "right": 2}

    (place / "out/Synth_00001/Synth_00001_seg.nii.gz").unlink()
    (place / "out/coverage.json").unlink()
    whole = {**files(place / "out"), "coverage.json": json.dumps(covered, sort_keys=True, indent=1).encode() + b"\n"}
    assert invoke(place, f"{line} --out out --resume").exit_code == 0
    again = files(place / "out")
    assert {name: again[name] for name in whole} == whole
    policy.write_text(policy.read_text().replace("0.9", "0.8"))
    told(
        invoke(place, f"{line} --out out --resume"),
        1,
        "other settings: edits.steps.1.factor (was [0.9, 1.0], now [0.8, 1.0])",
    )
    assert invoke(place, f"{line} --out out --force").exit_code == 0

    dry = invoke(place, f"{line} --out dry --dry-run")
    assert "4 recipes in dry/recipes.jsonl." in dry.output
    assert "4 samples, as planned" in dry.output


def test_generate_needs_no_data(place, monkeypatch):
    monkeypatch.setattr(synth.hosts.sources, "embedded_sources", lambda: phantom_sources(1))
    result = invoke(
        place, "generate -n 1 -o out --naming brats2023 --format hdf5 --seed 4 --model model --no-scores --edits none"
    )
    assert result.exit_code == 0, result.output
    run = read_run(place / "out")
    assert (run["naming"], run["format"], run["seed"], run["sources"]) == ("brats2023", "hdf5", 4, "phantoms")
    assert (place / "out" / "synth.h5").is_file()


def test_generate_resumes_and_replaces(place):
    whole = files(place / "run")
    (place / "run" / "Synth_00001" / "Synth_00001_seg.nii.gz").unlink()
    line = "generate --n 2 --out run --data layouts --edits none --model model --no-scores"
    result = invoke(place, f"{line} --seed 3 --resume")
    assert result.output.startswith("1 cases written to run, 1 were there already; ")
    assert files(place / "run") == whole
    result = invoke(place, f"{line} --seed 4 --force")
    assert result.output.startswith("2 cases written to run; ")
    assert files(place / "run") != whole


def test_generate_in_shards(place):
    line = "generate --n 2 --data layouts --edits none --seed 3 --model model --no-scores --shard"
    for i in range(2):
        result = invoke(place, f"{line} {i}/2 --out shard{i}")
        assert result.output.startswith(f"1 cases written to shard{i}; ")
        name = f"Synth_00000{i}"
        assert files(place / f"shard{i}" / name) == files(place / "run" / name)


def test_dry_run_draws_recipes_and_paints_nothing(place):
    result = invoke(place, "generate --n 3 --out dry --data layouts --edits none --seed 3 --dry-run")
    assert (result.exit_code, result.output) == (0, "3 recipes in dry/recipes.jsonl.\n")
    assert list(files(place / "dry")) == ["recipes.jsonl"]
    recipes = [json.loads(line) for line in (place / "dry" / "recipes.jsonl").read_text().splitlines()]
    assert [r["host"] for r in recipes[:2]] == [r["host"] for r in read_entries(place / "run")]


def test_cases_are_extracted_beside_the_output_and_bad_ones_told(place):
    for case_id in ("Phantom_000", "Phantom_bad"):
        write_case(place / "data", phantom_case(case_id=case_id), suffix=".nii")
    result = invoke(place, "generate -n 1 -o out/ --data data --edits none --model model --no-scores")
    assert result.exit_code == 0, result.output
    assert "left out: Phantom_bad: is all zero" in result.output
    assert [p.name for p in (place / "out-layouts").iterdir()] == ["Phantom_000"]
    result = invoke(place, "generate -n 1 -o out2 --data data --edits none --model model --no-scores --layouts kept")
    assert result.exit_code == 0, result.output
    assert (place / "kept" / "Phantom_000").is_dir()
    assert not (place / "out2-layouts").exists()


def nothing(place):
    pass


def put(name, text="x"):
    return lambda place: [(place / name).parent.mkdir(exist_ok=True), (place / name).write_text(text)]


def cut(name):
    return lambda place: (place / name).write_bytes((place / name).read_bytes()[:-40])


def delete(name):
    return lambda place: (place / name).unlink()


RECIPE = '{"index":0}\n'
GOOD = "generate --n 2 --out out --data layouts --edits none --seed 3 --model model --no-scores"
AGAIN = GOOD.replace("--out out", "--out run")
TISSUE = "layouts/Phantom_001/Phantom_001_tissue.nii.gz"
STYLE = "layouts/Phantom_001/Phantom_001_style.json"
BAD_GENERATE = [
    ("no number", nothing, "generate --out out", 2, "Missing option '--n'"),
    ("no case", nothing, f"{GOOD} --n 0", 2, "0 is not in the range x>=1"),
    ("number in words", nothing, f"{GOOD} --n many", 2, "'many' is not a valid integer"),
    ("no place", nothing, "generate --n 2", 2, "Missing option '--out'"),
    ("out is a file", put("out"), GOOD, 1, "out: expected a new or empty folder, found a file; choose"),
    ("out below a file", put("out"), f"{GOOD} --out out/deep", 1, "the folder cannot be made (Not a directory)"),
    ("folder of others", put("out/scan.nii"), GOOD, 1, "found an entry that synth did not write (scan.nii)"),
    ("folder of others, forced", put("out/scan.nii"), f"{GOOD} --force", 1, "choose another folder"),
    ("others' run.json, forced", put("out/run.json", "{}"), f"{GOOD} --force", 1, "did not write (run.json)"),
    ("earlier run", nothing, AGAIN, 1, "wrote; give --resume to go on with it, --force to replace it, or"),
    ("other seed", nothing, f"{AGAIN} --seed 4 --resume", 1, "other settings: seed (was 3, now 4)"),
    ("other edits", nothing, f"{AGAIN} --edits scale --resume", 1, "other settings: edits"),
    ("damaged manifest", put("run/manifest.jsonl", "{]\n{}\n"), f"{AGAIN} --resume", 1, "manifest.jsonl, line 1"),
    ("shard in words", nothing, f"{GOOD} --shard first", 2, "expected i/m such as 0/8, found 'first'"),
    ("shard of none", nothing, f"{GOOD} --shard 0/0", 2, "expected i/m with 0 <= i < m, found '0/0'"),
    ("shard beyond", nothing, f"{GOOD} --shard 2/2", 2, "expected i/m with 0 <= i < m, found '2/2'"),
    ("empty shard", nothing, f"{GOOD} --shard 5/8", 1, "shard 5/8 of 2 samples is empty; use fewer shards."),
    ("unknown model", nothing, f"{GOOD} --model gone", 1, "model gone: expected a folder with card.json"),
    ("damaged weights", cut("model/generator.weights.h5"), GOOD, 1, "the file is damaged or belongs to another card"),
    ("no weights", delete("model/generator.weights.h5"), GOOD, 1, "expected the weights beside card.json, found none"),
    ("damaged card", put("model/card.json", "{"), GOOD, 1, "card.json: not the card of a generator"),
    ("empty card", put("model/card.json", "{}"), GOOD, 1, "card.json: not the card of a generator"),
    ("card that is a list", put("model/card.json", "[]"), GOOD, 1, "card.json: not the card of a generator"),
    ("own style without data", nothing, "generate --n 1 --out out --style own", 1, "--style own needs --data"),
    ("unknown style", nothing, f"{GOOD} --style baroque", 2, "'baroque' is not one of 'mixed', 'own', 'sampled'"),
    ("style of too few", lambda p: shutil.rmtree(p / "layouts/Phantom_002"), f"{GOOD} --style sampled", 1, "found 2"),
    ("unknown edit", nothing, f"{GOOD} --edits twist", 1, "Presets are gentle, standard, wild, none"),
    ("unknown target", nothing, f"{GOOD} --edits move:skull", 1, "skull"),
    ("preset and edit", nothing, f"{GOOD} --edits gentle,move", 1, "'gentle' cannot be combined with other edits"),
    ("policy not there", nothing, f"{GOOD} --edits gone.yaml", 1, "gone.yaml: expected a YAML or JSON file"),
    ("bad policy", put("r.yaml", "steps: [{edit: move, mn: 3}]"), f"{GOOD} --edits r.yaml", 1, "unknown key 'mn'"),
    ("changed policy", put("r.yaml", "steps: [scale]"), f"{AGAIN} --edits r.yaml --resume", 1, "settings: edits.steps"),
    ("unknown plan", nothing, f"{GOOD} --plan fair", 1, "fair: expected a plan's name (balanced, balanced-volume"),
    ("bad plan", put("p.yaml", "axes: {side: up}"), f"{GOOD} --plan p.yaml", 1, "p.yaml, side: expected equal, or"),
    ("other plan", nothing, f"{AGAIN} --plan balanced-side --resume", 1, "other settings: plan (was null, now"),
    ("no such data", nothing, f"{GOOD} --data gone", 1, "gone"),
    ("data without cases", lambda p: (p / "empty").mkdir(), f"{GOOD} --data empty", 1, "empty"),
    ("data is a file", put("scan.nii"), f"{GOOD} --data scan.nii", 1, "scan.nii"),
    ("layout without style", delete(STYLE), GOOD, 1, "Phantom_001_style.json: expected the style of this layout"),
    ("damaged style", put(STYLE, "{"), f"{GOOD} --n 8", 1, "Phantom_001_style.json: expected the style of this layout"),
    ("damaged layout", cut(TISSUE), f"{GOOD} --n 8", 1, "Phantom_001_tissue.nii.gz: the compressed data are damaged"),
    (
        "half a layout",
        delete(TISSUE.replace("tissue", "tumour")),
        f"{GOOD} --n 8",
        1,
        "expected this file of the layout",
    ),
    ("unknown format", nothing, f"{GOOD} --format dicom", 2, "'dicom' is not one of 'nifti', 'hdf5'"),
    ("unknown naming", nothing, f"{GOOD} --naming brats1999", 2, "is not one of 'brats2020', 'brats2023'"),
    ("negative seed", nothing, f"{GOOD} --seed -1", 2, "-1 is not in the range x>=0"),
    ("huge seed", nothing, f"{GOOD} --seed {2**63}", 1, "the seed must be a whole number from 0 to 2^63 - 1"),
    ("recipes there", put("out/recipes.jsonl", RECIPE), f"{GOOD} --dry-run", 1, "wrote; give --force to replace it"),
    ("others' recipes", put("out/recipes.jsonl"), f"{GOOD} --dry-run --force", 1, "--dry-run` did not write"),
    ("dry run into a file", put("out"), f"{GOOD} --dry-run", 1, "out: the folder cannot be made"),
]


def told(result, code, sentence):
    """One sentence on the error line, exit code as said, no traceback."""
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert "Traceback" not in result.output
    last = result.output.rstrip("\n").splitlines()[-1]
    assert last.startswith("Error: ")
    assert sentence in last
    assert len(result.output.splitlines()) == 1 or code == 2


@pytest.mark.parametrize(
    ("spoil", "line", "code", "sentence"), [r[1:] for r in BAD_GENERATE], ids=[r[0] for r in BAD_GENERATE]
)
def test_bad_input_to_generate_is_told_in_a_sentence(spoil, line, code, sentence, place):
    spoil(place)
    before = files(place)
    told(invoke(place, f"{line} --quiet"), code, sentence)
    kept = files(place)
    assert {name: kept.get(name) for name in before} == before  # nothing of the user's is lost in being refused


def test_a_hopeless_layout_is_told(place, monkeypatch):
    monkeypatch.setattr("synth.layout.sampling.sampler.violations", lambda *args, **kwargs: ["the tumour has 0.1 ml"])
    told(invoke(place, f"{GOOD} --edits scale"), 1, "none of 25 attempts gave a lawful layout")


# --- layouts extract ----------------------------------------------------------------------------------------------


@pytest.fixture
def data(place):
    for seed in range(2):
        write_case(place / "data", phantom_case(seed=seed, case_id=f"Phantom_00{seed}"), suffix=".nii")
    return place / "data"


def test_layouts_extract_writes_and_keeps(place, data):
    result = invoke(place, "layouts extract data out")
    assert (result.exit_code, result.output) == (0, "2 of 2 layouts in out.\n")
    once = files(place / "out")
    assert sorted(once)[:4] == [
        f"Phantom_000/Phantom_000_{part}" for part in ("scan.json", "style.json", "tissue.nii.gz", "tumour.nii.gz")
    ]
    assert invoke(place, "layouts extract data out").output == "2 of 2 layouts in out (2 were there already).\n"
    assert invoke(place, "layouts extract data out --force --quiet").output == ""
    assert files(place / "out") == once


def test_layouts_extract_reports_bad_cases_and_goes_on(place, data):
    write_case(data, phantom_case(case_id="Phantom_bad"), suffix=".nii")
    result = invoke(place, "layouts extract data out")
    assert result.exit_code == 1
    assert "error: Phantom_bad: is all zero; repair or exclude it.\n" in result.output
    assert result.output.endswith("2 of 3 layouts in out.\n")


@pytest.mark.parametrize(
    ("spoil", "line", "code", "sentence"),
    [
        (nothing, "layouts extract data", 2, "Missing argument 'OUT'"),
        (nothing, "layouts extract gone out", 1, "gone"),
        (nothing, "layouts extract model out", 1, "model"),
        (put("scan.nii"), "layouts extract scan.nii out", 1, "scan.nii"),
        (put("out"), "layouts extract data out", 1, "layouts to go on with, found a file"),
        (nothing, "layouts paint data", 2, "No such command 'paint'"),
    ],
    ids=["no place", "no such data", "no case", "data is a file", "out is a file", "no such command"],
)
def test_bad_input_to_layouts_is_told_in_a_sentence(spoil, line, code, sentence, place, data):
    spoil(place)
    told(invoke(place, line), code, sentence)


# --- reconstruct --------------------------------------------------------------------------------------------------


ROWS = [Comparison("Phantom_000", m, 0.5, 0.4, 20.0, 19.5, 0.9) for m in ("t1", "t1ce", "t2", "flair")]


def test_reconstruct_prints_a_table_or_json(place, monkeypatch):
    calls = []
    write_case(place / "data", phantom_case(), suffix=".nii")
    monkeypatch.setattr(
        synth.runs.reconstruct, "reconstruct", lambda *args, **options: calls.append((args, options)) or ROWS
    )
    result = invoke(place, "reconstruct data out --model model --seed 6")
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[1].split() == ["t1", "mean", "0.500", "0.400", "20.00", "19.50", "0.90"]
    assert result.output.endswith("1 cases in out.\n")
    assert (str(calls[0][0][0]), calls[0][0][1]) == ("data", "out")
    assert (calls[0][1]["model"], calls[0][1]["seed"], calls[0][1]["force"]) == ("model", 6, False)
    assert json.loads(invoke(place, "reconstruct data out --json").output)[3]["modality"] == "flair"


@pytest.mark.parametrize(
    ("spoil", "line", "code", "sentence"),
    [
        (nothing, "reconstruct data", 2, "Missing argument 'OUT'"),
        (nothing, "reconstruct gone out", 1, "gone"),
        (nothing, "reconstruct model out", 1, "model"),
        (put("out/notes.txt"), "reconstruct data out", 1, "found an entry (notes.txt); give --force to write into it"),
        (put("out"), "reconstruct data out", 1, "out: expected a new or empty folder, found a file"),
        (nothing, "reconstruct data out --model gone", 1, "model gone: expected a folder"),
        (nothing, "reconstruct data out --model model", 1, "Phantom_000"),
        (nothing, "reconstruct data out --seed -1", 2, "-1 is not in the range"),
    ],
    ids=[
        "no place",
        "no such data",
        "no case",
        "not empty",
        "out is a file",
        "no model",
        "wrong grid",
        "negative seed",
    ],
)
def test_bad_input_to_reconstruct_is_told_in_a_sentence(spoil, line, code, sentence, place, data):
    spoil(place)
    told(invoke(place, f"{line} --quiet"), code, sentence)


def test_reconstruct_refuses_two_namings_at_once(place, data):
    from synth.brats import NAMINGS

    write_case(data, phantom_case(case_id="Phantom-002"), naming=NAMINGS["brats2023"], suffix=".nii")
    told(invoke(place, "reconstruct data out"), 1, "named in 2 ways")


# --- train --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "code", "sentence"),
    [
        ("train generator --out out", 2, "Missing option '--data'"),
        ("train generator --data data", 2, "Missing option '--out'"),
        ("train generator --data gone --out out", 1, "gone"),
        ("train generator --data model --out out", 1, "model"),
        ("train generator --data data --out layouts", 1, "synth did not write (Phantom_000, ...); choose another"),
        (
            "train generator --data data --out out --patch 40",
            1,
            "patch size must be a positive multiple of 16, found 40",
        ),
        ("train generator --data data --out out --patch many", 2, "'many' is not a valid integer"),
        ("train generator --data data --out out --steps 0", 2, "0 is not in the range x>=1"),
        ("train generator --data data --out out --width 2", 2, "2 is not in the range x>=4"),
        ("train generator --data data --out out --precision float8", 2, "'float8' is not one of"),
        ("train painter --data data --out out", 2, "No such command 'painter'"),
    ],
)
def test_bad_input_to_train_is_told_in_a_sentence(line, code, sentence, place, data):
    told(invoke(place, line), code, sentence)


def test_an_error_of_the_library_reaches_the_user_whole(place, monkeypatch):
    def fail(*args, **kwargs):
        raise LayoutError("a sentence.")

    monkeypatch.setattr(synth.hosts.sources, "data_sources", fail)
    told(invoke(place, GOOD), 1, "Error: a sentence.")
