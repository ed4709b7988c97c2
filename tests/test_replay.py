"""`synth replay`: equal to the byte, or the reason why not."""

import gzip
import json
import os
import platform
import shutil
import subprocess
import sys
import zlib

import keras
import nibabel as nib
import numpy as np
import pytest
from commands import files, invoke
from phantoms import head_layout, phantom_sources

import synth.runs.generate
import synth.runs.replay
from synth.brats import MODALITIES
from synth.datasets.layout_files import load_layout, save_layout
from synth.datasets.sets import open_set
from synth.disk.files import sha256_file
from synth.disk.manifest import MANIFEST, RUN, read_entries, read_run
from synth.errors import DataError, OutputError
from synth.exporters import deflate
from synth.exporters.hdf5_cases import open_cases
from synth.hosts.sources import EMBEDDED, data_sources
from synth.models.configs import GeneratorConfig
from synth.models.networks.generator import build_generator
from synth.models.runtime import kernels
from synth.models.weights import save_generator
from synth.runs.export.run import export
from synth.runs.generate import GenerateConfig, Generation, generate
from synth.runs.recipe import SampleRecipe
from synth.runs.replay import replay
from synth.style.scale import output_window

TINY = GeneratorConfig(width=8, bottleneck=1)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A tiny model, layouts of three heads, and runs of three cases: NIfTI of 2020 and 2023, HDF5."""
    root = tmp_path_factory.mktemp("prepared")
    keras.utils.set_random_seed(1)
    save_generator(root / "model", build_generator(TINY), {"name": "tiny", "generator": TINY.to_dict()})
    styles = phantom_sources()
    for seed, source in enumerate(styles.hosts):
        save_layout(head_layout(seed=seed, case_id=source.id), root / "layouts", styles.own_style(source.id))
    for name, options in (
        ("nifti", {"style": "own"}),
        ("new", {"naming": "brats2023", "style": "sampled"}),
        ("hdf5", {"format": "hdf5"}),
    ):
        config = GenerateConfig(seed=11, edits="swap,elastic", **options)
        generation = Generation(data_sources(root / "layouts", "")[0], root / "model", config)
        generate(generation, 3, root / name)
    return root


def change(path, **entries):
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


@pytest.mark.parametrize("run", ["nifti", "new"])
def test_cases_come_out_byte_for_byte(place, run, monkeypatch):
    def draw(*args, **kwargs):
        raise AssertionError("a replay draws nothing")

    monkeypatch.setattr(synth.runs.generate.LayoutSampler, "draw", draw)
    ids = [record["id"] for record in read_entries(place / run)]
    results = replay(place / run, [ids[2], "0", ids[2]], place / "out", data=[place / "layouts"], model=place / "model")
    assert [(r.id, r.compared, r.differing) for r in results] == [(ids[2], 5, ()), (ids[0], 5, ())]
    recorded = files(place / run)
    made = files(place / "out")
    assert len(made) == 10
    assert all(recorded[name] == data for name, data in made.items())


def test_the_scale_is_recorded_where_it_is_not_the_styles(place):
    records = [*read_entries(place / "nifti"), *read_entries(place / "new"), *read_entries(place / "hdf5")]
    assert any("output_window" in record for record in records)
    for record in records:
        recipe, own = SampleRecipe.from_dict(record), record["style"]["window"]
        assert recipe.written == output_window(recipe.style)
        assert ("output_window" in record) == (record.get("output_window", own) != own)


def test_a_record_of_before_is_painted_on_its_styles_scale(place):
    record = next(r for r in read_entries(place / "nifti") if "output_window" in r)
    del record["output_window"]
    (place / "nifti" / MANIFEST).write_text(json.dumps(record) + "\n")
    result, *_ = replay(place / "nifti", [record["id"]], place / "out", data=[place / "layouts"], model=place / "model")
    assert result.differing  # the files are of today
    low, high = np.array(record["style"]["window"]).T
    for m, name in enumerate(MODALITIES):
        image = np.asarray(nib.load(place / "out" / record["id"] / f"{record['id']}_{name}.nii.gz").dataobj)
        assert low[m] - 0.5 * (high - low)[m] < np.median(image[image > 0]) < high[m]


def test_a_damaged_window_is_named(place):
    record = read_entries(place / "nifti")[0]
    record["output_window"] = [[1, 0]] * 4
    (place / "nifti" / MANIFEST).write_text(json.dumps(record) + "\n")
    with pytest.raises(DataError, match=r"the record of sample 0 is damaged \(output window: expected 4 pairs"):
        replay(place / "nifti", ["0"], place / "out", data=[place / "layouts"], model=place / "model")


def test_an_hdf5_case_gets_a_file_of_its_own_and_equal_content(place):
    line = "replay hdf5/manifest.jsonl --id Synth_00001 --data layouts --model model --out out"
    result = invoke(place, line)
    assert (result.exit_code, result.output) == (0, "Synth_00001: 1 file equal to the recorded checksums.\n")
    again, before = open_cases(place / "out"), open_cases(place / "hdf5")
    assert again.ids == ["Synth_00001"]
    assert (again.read(0).images == before.read(1).images).all()
    assert again.read(0).meta == before.read(1).meta


def test_the_tables_of_a_format_tell_of_all_samples_made_again(place):
    export([place / "nifti"], place / "exported", to="msd")
    shutil.copy(place / "exported" / MANIFEST, place / "nifti")  # as a run of this format leaves them
    change(place / "nifti" / RUN, format="msd")
    options = {"data": [place / "layouts"], "model": place / "model"}
    results = replay(place / "nifti", ["0", "2"], place / "out", **options)
    assert [r.differing for r in results] == [(), ()]
    table = json.loads((place / "out/dataset.json").read_text())
    assert table["numTraining"] == 2
    assert open_set(place / "out").ids == ["Synth_00000", "Synth_00002"]
    with pytest.raises(OutputError, match=r"nothing but these samples, as dataset\.json tells of all"):
        replay(place / "nifti", ["0"], place / "out", force=True, **options)
    assert json.loads((place / "out/dataset.json").read_text()) == table


def test_the_layouts_beside_a_run_need_not_be_given(place):
    shutil.copytree(place / "layouts", place / "nifti-layouts")
    result = invoke(place, "replay nifti --id 1 --out out --layout-only")
    assert result.exit_code == 0, result.output


def test_a_layout_alone_is_compared_by_its_labels(place):
    result = invoke(place, "replay new --id 2 --data layouts --layout-only --out out")
    assert (result.exit_code, result.output.count("1 file equal")) == (0, 1)
    layout = load_layout(place / "out" / "Synth-GLI-00002-000")
    assert layout.tumour.any()
    result = invoke(place, "replay hdf5 --id 2 --data layouts --layout-only --out out2")
    assert (result.exit_code, "nothing that a layout alone" in result.output) == (0, True)


def test_sampled_and_edited_layouts_are_replayed(place):
    assert invoke(place, "layouts sample --n 2 --data layouts --seed 3 --out sampled").exit_code == 0
    assert invoke(place, "layouts edit layouts edited --edits swap,mirror:layout --n 2").exit_code == 0
    for run, name in (("sampled", "Layout_000001"), ("edited", "Phantom_002_001")):
        result = invoke(place, f"replay {run} --id {name} --data layouts --out again-{run}")
        assert (result.exit_code, result.output) == (0, f"{name}: 11 files equal to the recorded checksums.\n")
        assert files(place / f"again-{run}" / name) == files(place / run / name)


def test_what_a_version_says_of_itself_is_no_difference(place):
    assert invoke(place, "layouts sample --n 1 --data layouts --seed 3 --out sampled").exit_code == 0
    manifest, folder = place / "sampled/manifest.jsonl", place / "sampled/Layout_000000"
    for path in folder.glob("*.nii.gz"):
        before, packed = sha256_file(path), path.read_bytes()
        data = bytearray(gzip.decompress(packed))
        assert data[148:174].startswith(b"synth ")
        data[148:174] = b"synth 9.9".ljust(26, b"\0")
        path.write_bytes(gzip.compress(data))
        manifest.write_text(manifest.read_text().replace(before, sha256_file(path)))
    result = invoke(place, "replay sampled --id 0 --data layouts --out again")
    assert (result.exit_code, "the run's, 10 of them in content alone" in result.output) == (0, True), result.output


def test_the_embedded_anatomies_need_no_data(place, monkeypatch):
    for module in ("synth.hosts.sources", "synth.runs.replay"):
        monkeypatch.setattr(f"{module}.embedded_sources", lambda: embedded(place))
    assert invoke(place, "layouts sample --n 1 --out s").exit_code == 0
    assert invoke(place, "replay s --id 0 --out r").exit_code == 0
    result = invoke(place, "replay s --id 0 --out r2 --data layouts")
    assert "leave --data out" in result.output


def embedded(place):
    """Sources that stand for the embedded ones, which are slow to make."""
    sources = data_sources(place / "layouts", "")[0]
    return synth.runs.replay.Sources(sources.hosts, None, sources.prior, EMBEDDED)


# --- runs of another compressor ---------------------------------------------------------------------------------------


@pytest.fixture
def other_compressor(monkeypatch):
    """What was written so far is of another compressor than what is written from now on."""
    monkeypatch.setattr(deflate, "_codec", zlib)
    monkeypatch.setattr(deflate, "_LEVEL", 9)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "replay nifti --id 1 --data layouts --model model --out out",
            "5 files equal to the run's, 5 of",
        ),
        (
            "replay hdf5 --id 1 --data layouts --model model --out out",
            "1 file equal to the run's, 1 of",
        ),
        ("replay new --id 1 --data layouts --layout-only --out out", "1 file equal to the recorded checksums"),
    ],
)
def test_a_run_packed_by_another_compressor_is_compared_by_content(place, other_compressor, line, told):
    result = invoke(place, line)
    assert (result.exit_code, told in result.output) == (0, True), result.output


def test_a_changed_file_of_the_run_proves_nothing(place, other_compressor):
    path = place / "nifti/Synth_00001/Synth_00001_t2.nii.gz"
    path.write_bytes(path.read_bytes() + b"x")
    (result,) = replay(place / "nifti", ["1"], place / "out", data=[place / "layouts"], model=place / "model")
    assert result.differing == (path.name,)
    assert len(result.repacked) == 4


# --- what differs is told -----------------------------------------------------------------------------------------


def test_differing_labels_are_put_down_to_the_data(place):
    host = read_entries(place / "nifti")[0]["donor"]
    save_layout(head_layout(seed=9, case_id=host), place / "layouts")
    result = invoke(place, "replay nifti --id 0 --data layouts --layout-only --out out")
    assert result.exit_code == 1
    assert "1 of 1 files differ (Synth_00000_seg.nii.gz): the data may have changed" in result.output


def test_differing_images_are_put_down_to_the_machine(place, monkeypatch):
    paint = Generation.paint

    def other(self, layout, recipe):
        case = paint(self, layout, recipe)
        case.images[case.images > 0] += 1
        return case

    monkeypatch.setattr(Generation, "paint", other)
    (result,) = replay(place / "nifti", ["0"], place / "out", data=[place / "layouts"], model=place / "model")
    assert result.compared == 5
    assert len(result.differing) == 4
    assert "another kind of CPU" in result.sentence()
    model = json.loads((place / "nifti" / RUN).read_text())["model"]
    change(place / "nifti" / RUN, model={**model, "kernels": "abacus"})
    (result,) = replay(place / "nifti", ["0"], place / "again", data=[place / "layouts"], model=place / "model")
    assert f"painted with the kernels of abacus, here {kernels()} ran" in result.sentence()
    libraries = read_run(place / "nifti")["libraries"]
    change(place / "nifti" / RUN, model=model, libraries={**libraries, "scipy": "1.2.3"})
    (result,) = replay(place / "nifti", ["0"], place / "third", data=[place / "layouts"], model=place / "model")
    assert f"so it was painted with scipy 1.2.3, here {libraries['scipy']}; " in result.sentence()


@pytest.mark.parametrize(("given", "ran"), [(None, "oneDNN"), ("0", "Eigen")])
def test_onednn_runs_unless_it_was_switched_off(given, ran):
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("TensorFlow has oneDNN on x86 alone")
    environment = {key: value for key, value in os.environ.items() if key != "TF_ENABLE_ONEDNN_OPTS"}
    environment["CUDA_VISIBLE_DEVICES"] = ""
    told = """
from synth.models.runtime import kernels, tf
filters = tf.ones((3, 3, 3, 4, 8))
tf.function(lambda x: tf.nn.conv3d(x, filters, [1] * 5, "SAME"))(tf.ones((1, 8, 8, 8, 4)))
print(kernels())
"""
    done = subprocess.run(
        [sys.executable, "-c", told],
        env={**environment, "ONEDNN_VERBOSE": "1", **({"TF_ENABLE_ONEDNN_OPTS": given} if given else {})},
        capture_output=True,
        text=True,
    )
    *lines, last = done.stdout.splitlines()
    assert last == ran, done.stderr
    computed = [line for line in lines if line.startswith("onednn_verbose") and ",exec,cpu,convolution," in line]
    assert bool(computed) == (ran == "oneDNN")


@pytest.mark.parametrize("imported", ["import synth", "from synth.cli import main", "from synth import Generation"])
def test_onednn_is_asked_for_before_tensorflow_can_be_there(imported):
    """TensorFlow takes it unasked on processors with VNNI, where the test above cannot tell whether it was asked."""
    told = f"import os, sys; {imported}; print(os.environ['TF_ENABLE_ONEDNN_OPTS'], 'tensorflow' in sys.modules)"
    environment = {key: value for key, value in os.environ.items() if key != "TF_ENABLE_ONEDNN_OPTS"}
    done = subprocess.run([sys.executable, "-c", told], env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["1", "False"], done.stderr


def test_another_version_is_told(place):
    change(place / "nifti" / RUN, synth="0.0.1")
    record = read_entries(place / "nifti")[0]
    record["files"] = dict.fromkeys(record["files"], "0" * 64)
    (place / "nifti" / MANIFEST).write_text(json.dumps(record) + "\n")
    result = invoke(place, "replay nifti --id 0 --data layouts --layout-only --out out")
    assert result.exit_code == 1
    assert "made by synth 0.0.1" in result.output


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("replay gone --id 0 --out out", "gone: expected the folder of a run"),
        ("replay nifti --id 7 --id x --out out --data layouts", "no sample 7, x; it has 3 samples, Synth_00000 to"),
        ("replay nifti --id 0 --out nifti --data layouts", "apart from the run, found that very folder"),
        ("replay nifti --id 0 --out model --data layouts", "found 2 entries (card.json, ...); give --force to"),
        ("replay nifti --id 0 --out model/card.json --data layouts", "found a file"),
        ("replay nifti --id 0 --out out", "give the cases or layouts it was made from with --data"),
        ("replay nifti --id 0 --out out --data model", "It holds no layouts"),
        ("replay nifti --id 0 --out out --data layouts", "model 'tiny' is not shipped; give its folder with --model"),
        ("replay nifti --id 0 --out out --data layouts --model default", "this one has"),
        ("replay nifti --id 0 --out out --data layouts --model gone", "model gone"),
    ],
)
def test_bad_input_ends_in_one_sentence_and_writes_nothing(place, line, message):
    before = files(place)
    result = invoke(place, line)
    assert (result.exit_code, result.output.count("\n")) == (1, 1), result.output
    assert message in result.output
    assert files(place) == before
    assert not (place / "out").exists()


@pytest.mark.parametrize(
    "damage",
    [
        {"files": 5},
        {"files": None},
        {"edits": 5},
        {"host": 5},
        {"style": 5},
        {"style": None},
        {"id": "../../escaped"},
        {"donor": ["a"]},
        {"redraws": 1},
        {"slices": 5},
        {"slices": {"t1": [3, 4.0, 0.0]}},
    ],
)
def test_a_damaged_record_is_a_sentence_and_nothing_is_written(place, damage):
    record = read_entries(place / "nifti")[0] | damage
    (place / "nifti" / MANIFEST).write_text(json.dumps(record) + "\n")
    result = invoke(place, "replay nifti --id 0 --data layouts --layout-only --out out")
    assert (result.exit_code, result.output.count("\n")) == (1, 1), result.output
    assert "damaged" in result.output
    assert "object is not" not in result.output
    assert not (place / "out").exists()
    assert not list(place.parent.rglob("escaped*"))


@pytest.mark.parametrize("damage", [{"seed": "x"}, {"naming": "brats1999"}])
def test_damaged_settings_are_a_sentence(place, damage):
    change(place / "nifti" / RUN, **damage)
    result = invoke(place, "replay nifti --id 0 --data layouts --layout-only --out out")
    assert (result.exit_code, f"{next(iter(damage))} must be" in result.output) == (1, True), result.output


@pytest.mark.parametrize("gone", ["seed", "naming", "format", "model", "model.name", "model.hash"])
def test_settings_without_what_a_replay_needs_are_a_sentence(place, gone):
    settings = json.loads((place / "nifti" / RUN).read_text())
    *above, last = gone.split(".")
    del (settings[above[0]] if above else settings)[last]
    (place / "nifti" / RUN).write_text(json.dumps(settings))
    result = invoke(place, "replay nifti --id 0 --data layouts --model model --out out")
    assert (result.exit_code, result.output.count("\n")) == (1, 1), result.output
    assert last in result.output
    assert not (place / "out").exists()


def test_missing_hosts_are_named(place):
    wanted = read_entries(place / "nifti")[0]["host"]
    shutil.rmtree(place / "layouts" / wanted)
    with pytest.raises(DataError, match=wanted):
        replay(place / "nifti", ["0"], place / "out", data=[place / "layouts"], layout_only=True)
