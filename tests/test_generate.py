"""The run as a whole, on phantoms painted by a tiny network: what is written, what is the same again, what is refused.

The network is as `build_generator` makes it, untrained: the run does not care how well it paints.
"""

import errno
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import cache
from pathlib import Path

import keras
import nibabel as nib
import numpy as np
import pytest
from phantoms import phantom_sources

import synth.models.weights
from synth.brats import MODALITIES, NAMINGS
from synth.disk.manifest import MANIFEST, RUN, Manifest, read_entries
from synth.errors import LayoutError, ModelError, OutputError, SynthError
from synth.exporters.deflate import COMPRESSOR
from synth.exporters.hdf5 import Hdf5Exporter, open_cases
from synth.exporters.nifti import NiftiExporter
from synth.layout.sampling.recipe import LayoutRecipe
from synth.models.configs import GeneratorConfig
from synth.models.networks.generator import build_generator
from synth.models.runtime import versions
from synth.models.weights import save_generator
from synth.runs.export.formats import open_output
from synth.runs.export.run import export
from synth.runs.generate import SHEET, GenerateConfig, Generation, generate, write_recipes
from synth.runs.ids import CaseIds

N, SEED = 4, 5
TINY = GeneratorConfig(width=8, bottleneck=1)
CONFIG = GenerateConfig(seed=SEED, edits=("gentle",))
FORMATS = ("nifti", "hdf5")


def save_tiny(folder) -> Path:
    keras.utils.set_random_seed(1)
    return save_generator(
        folder, build_generator(TINY), {"name": "tiny", "generator": TINY.to_dict(), "texture_gain": 0.9}
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A tiny model's folder; its network is built once for all tests of this file."""
    folder = save_tiny(tmp_path_factory.mktemp("model") / "tiny")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synth.models.weights, "load_generator", cache(synth.models.weights.load_generator))
        yield folder


@pytest.fixture(scope="module")
def sources():
    return phantom_sources()


@pytest.fixture(scope="module")
def make(model, sources):
    """A Generation of the phantoms with the usual settings, or with others."""
    return lambda **changed: Generation(sources, model, replace(CONFIG, **changed))


@pytest.fixture(scope="module")
def undisturbed(make, tmp_path_factory):
    """Format -> folder of a run that nothing happened to."""
    folders = {}
    for name in FORMATS:
        folders[name] = tmp_path_factory.mktemp("undisturbed") / name
        outcome = generate(make(format=name), N, folders[name])
        assert (outcome.written, outcome.kept) == (N, 0)
    return folders


@pytest.fixture
def run(undisturbed, tmp_path):
    """A copy of the NIfTI run, to damage."""
    return shutil.copytree(undisturbed["nifti"], tmp_path / "run")


def tree(folder) -> dict[str, bytes]:
    """Every file by its name, hidden ones too."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


def same(a, b) -> bool:
    return {name: hash(data) for name, data in tree(a).items()} == {name: hash(data) for name, data in tree(b).items()}


def read(out, record, naming, name):
    """Images (x, y, z, 4) and labels as on disk, not through what is under test where the format allows."""
    if name == "hdf5":
        cases = open_cases(out)
        case = cases.read(cases.ids.index(record["id"]))
        return case.images, np.array(naming.label_values, np.uint8)[case.labels], case.affine
    paths = [out / record["id"] / f"{naming.stem(record['id'], part)}.nii.gz" for part in (*MODALITIES, "seg")]
    volumes = [np.asarray(nib.load(path).dataobj) for path in paths]
    return np.stack(volumes[:4], -1), volumes[4], nib.load(paths[4]).affine


# --- what is written ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("naming", NAMINGS.values(), ids=lambda naming: naming.name)
@pytest.mark.parametrize("name", FORMATS)
def test_what_is_on_disk_is_what_the_manifest_tells(name, naming, make, undisturbed, tmp_path):
    generation, out = make(format=name, naming=naming.name), undisturbed[name]
    if naming.name != CONFIG.naming:
        out = tmp_path / "out"
        generate(generation, 2, out)
    records = read_entries(out)
    assert [r["index"] for r in records] == list(range(len(records)))
    assert [r["id"] for r in records] == [CaseIds.of(naming)(k) for k in range(len(records))]
    for record in records:
        assert record["host"] in {source.id for source in generation.sources.hosts}
        assert record["edits"]
        assert record["style"]["kind"] == "mixed"
        assert record["style"]["mean"] == [list(row) for row in generation.draw(record["index"])[1].style.mean]
        assert len(record["files"]) == (5 if name == "nifti" else 1)
        layout = generation.sampler.replay(LayoutRecipe.from_dict(record))
        images, labels, affine = read(out, record, naming, name)
        assert images.dtype == np.int16
        assert np.array_equal(labels, np.array(naming.label_values)[layout.tumour])
        assert labels.any()
        assert not images[~layout.brain].any()
        assert images[layout.brain].min() >= 1
        assert images[layout.brain].std(axis=0).min() > 10
        np.testing.assert_allclose(affine, layout.affine)
    settings = json.loads((out / RUN).read_text())
    assert settings["seed"] == SEED
    assert settings["format"] == name
    assert settings["model"]["name"] == "tiny"
    assert settings["libraries"] == {**versions(), "compressor": COMPRESSOR}
    assert (out / SHEET).stat().st_size > 1000


def test_intensities_are_on_the_scale_of_the_style(make):
    generation = make(edits=("none",))
    case, recipe = next(generation.cases([0])), generation.draw(0)[1]
    windows = np.array(recipe.written)
    for m in range(4):
        median = np.median(case.images[case.brain][:, m])
        assert windows[m, 0] < median < windows[m, 1]


def test_sampled_styles_differ_from_sample_to_sample(make):
    generation = make(style="sampled")
    styles = [generation.draw(k)[1].style for k in range(2)]
    assert styles[0] != styles[1]
    assert styles[0] == generation.draw(0)[1].style


def test_outcome_is_told_in_a_sentence(make, tmp_path):
    seen = []
    outcome = generate(make(), 2, tmp_path / "out", progress=lambda cases: (seen.append(c) or c for c in cases))
    assert len(seen) == 2
    assert outcome.redraws == sum(len(r["redraws"]) for r in read_entries(tmp_path / "out"))
    assert outcome.sentence().startswith(f"2 cases written to {tmp_path / 'out'}; {outcome.redraws} layouts redrawn; ")
    again = generate(make(), 3, tmp_path / "out", resume=True)
    assert (again.written, again.kept) == (1, 2)
    assert "1 cases written" in again.sentence()
    assert "2 were there already" in again.sentence()


# --- the same again -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_same_seed_same_bytes_other_seed_other_bytes(name, make, undisturbed, tmp_path):
    generate(make(format=name), N, tmp_path / "again")
    assert same(tmp_path / "again", undisturbed[name])
    generate(make(format=name, seed=SEED + 1), N, tmp_path / "other")
    ours, theirs = tree(undisturbed[name]), tree(tmp_path / "other")
    assert ours.keys() == theirs.keys()
    assert not [file for file in ours if ours[file] == theirs[file]]


def test_a_sample_depends_on_its_index_alone(make, undisturbed, tmp_path):
    whole = tree(undisturbed["nifti"])
    lines = whole.pop(MANIFEST).splitlines()
    cases = {file for file in whole if file.startswith("Synth_")}
    generate(make(), 2, tmp_path / "two")
    for i in range(2):
        generate(make(), N, tmp_path / f"shard{i}", shard=(i, 2))
    two, *shards = (tree(tmp_path / name) for name in ("two", "shard0", "shard1"))
    assert two[MANIFEST].splitlines() == lines[:2]
    assert {file for file in two if file.startswith("Synth_")} == {f for f in cases if f[:11] < "Synth_00002"}
    assert all(two[file] == whole[file] for file in two if file in cases)
    for i, shard in enumerate(shards):
        assert shard[MANIFEST].splitlines() == lines[i::2]
        assert all(shard[file] == whole[file] for file in shard if file in cases)
    assert {f for s in shards for f in s if f.startswith("Synth_")} == cases


def test_cases_from_the_library_are_those_on_disk(make, undisturbed):
    case = next(make().cases([3]))
    record = read_entries(undisturbed["nifti"])[3]
    images, labels, _ = read(undisturbed["nifti"], record, NAMINGS["brats2020"], "nifti")
    assert case.id == record["id"]
    assert np.array_equal(case.images, images)
    assert np.array_equal(np.array([0, 1, 2, 4])[case.labels], labels)
    assert {**case.meta, "files": record["files"]}["style"]["kind"] == record["style"]["kind"]


def test_dry_run_draws_the_recipes_of_the_real_run(make, undisturbed, tmp_path):
    path = write_recipes(make(), N, tmp_path / "out")
    assert [p.name for p in path.parent.iterdir()] == ["recipes.jsonl"]
    recipes = [json.loads(line) for line in path.read_text().splitlines()]
    expected = read_entries(undisturbed["nifti"])
    for record in expected:
        del record["files"], record["id"]
    assert recipes == expected
    with pytest.raises(OutputError, match=r"recipes that `synth generate --dry-run` wrote; give --force to replace"):
        write_recipes(make(), N, tmp_path / "out")
    write_recipes(make(seed=9), N, tmp_path / "out", force=True, shard=(1, 2))
    recipes = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(r["index"], r["seed"]) for r in recipes] == [(1, 9), (3, 9)]


def test_the_real_run_may_follow_the_dry_one_in_its_folder(make, tmp_path):
    write_recipes(make(), 1, tmp_path / "out")
    assert generate(make(), 1, tmp_path / "out").written == 1


# --- interrupted --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "exporter"), [("nifti", NiftiExporter), ("hdf5", Hdf5Exporter)])
def test_a_run_that_failed_is_resumed_to_the_same_bytes(name, exporter, make, undisturbed, tmp_path, monkeypatch):
    out, write, calls = tmp_path / "out", exporter.write, itertools.count()

    def fail_at_third(self, case):
        if next(calls) == 2:
            raise RuntimeError("power cut")
        return write(self, case)

    with monkeypatch.context() as patch:
        patch.setattr(exporter, "write", fail_at_third)
        with pytest.raises(RuntimeError, match="power cut"):
            generate(make(format=name), N, out)
    assert len(read_entries(out)) == 2
    assert not (out / SHEET).exists()
    outcome = generate(make(format=name), N, out, resume=True)
    assert (outcome.written, outcome.kept) == (2, 2)
    assert same(out, undisturbed[name])


SLOW_RUN = """
import sys, time
sys.path.insert(0, {tests!r})
import synth.exporters.nifti as nifti
from phantoms import phantom_sources
from synth.runs.generate import GenerateConfig, Generation, generate
encode = nifti._encode_to
nifti._encode_to = lambda *args: (encode(*args), time.sleep(0.5))[0]
generate(Generation(phantom_sources(), {model!r}, GenerateConfig(seed={seed}, edits=("gentle",))), {n}, {out!r})
"""


def test_a_killed_run_shows_nothing_half_written_and_is_resumed(make, model, undisturbed, tmp_path):
    out = tmp_path / "out"
    code = SLOW_RUN.format(tests=str(Path(__file__).parent), model=str(model), seed=SEED, n=N, out=str(out))
    process = subprocess.Popen([sys.executable, "-c", code])
    begin = time.monotonic()
    while not ((out / MANIFEST).exists() and any(out.glob(".Synth_*.partial/*"))):  # in the midst of a case
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() - begin < 200
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    whole = tree(undisturbed["nifti"])
    visible = {name: data for name, data in tree(out).items() if not name.startswith(".")}
    assert 1 <= len(read_entries(out)) < N
    assert whole[MANIFEST].startswith(visible.pop(MANIFEST))
    assert all(whole[name] == data for name, data in visible.items())
    for folder in out.glob("Synth_*"):
        assert len(list(folder.iterdir())) == 5
    generate(make(), N, out, resume=True)
    assert same(out, undisturbed["nifti"])


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-9])])
def test_damaged_files_are_made_again_on_resume(damage, make, undisturbed, run):
    damage(run / "Synth_00001" / "Synth_00001_t2.nii.gz")
    outcome = generate(make(), N, run, resume=True)
    assert (outcome.written, outcome.kept) == (1, N - 1)
    assert same(run, undisturbed["nifti"])


def test_a_run_can_be_made_longer(make, undisturbed, tmp_path):
    generate(make(), 2, tmp_path / "out")
    generate(make(), N, tmp_path / "out", resume=True)
    assert same(tmp_path / "out", undisturbed["nifti"])


@pytest.mark.parametrize("name", ["nnunet", "msd", "bids"])
def test_what_an_export_would_write_is_written_at_once(name, make, undisturbed, tmp_path, monkeypatch):
    out, exported = tmp_path / "Task01_Set", tmp_path / "exported"
    export([undisturbed["nifti"]], exported, to=name)
    with monkeypatch.context() as patch:  # a kill before the tables
        patch.setattr("synth.runs.export.formats.TargetExporter.close", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            generate(make(format=name), 1, out)
    assert not list(out.glob("dataset*.json"))
    kept = read_entries(out)[0]["files"]
    (out / next(iter(kept))).unlink()
    outcome = generate(make(format=name), 2, out, resume=True)
    assert (outcome.written, outcome.kept) == (2, 0)
    records = read_entries(out)
    for record, before in zip(records, read_entries(exported), strict=False):
        assert record["files"] == before["files"]
        assert all((out / file).read_bytes() == (exported / file).read_bytes() for file in record["files"])
    tables = {path.name for path in exported.iterdir() if path.is_file()} - {MANIFEST, RUN}
    assert tables <= {path.name for path in out.iterdir()}
    if name != "bids":
        assert synth.open_set(out).ids == [record["id"] for record in records]
        assert json.loads((out / "dataset.json").read_text())["numTraining"] == 2
    case = next(make().cases([1]))
    again = open_output(json.loads((out / RUN).read_text()), out).read(case.id)
    assert np.array_equal(again.images, case.images)
    assert np.array_equal(again.labels, case.labels)
    generate(make(format=name), 1, out, force=True)
    assert [record["id"] for record in read_entries(out)] == [records[0]["id"]]
    assert not [file for file in records[1]["files"] if (out / file).exists()]


def test_ids_have_five_digits_and_more_where_the_number_needs_them():
    ids = CaseIds.of(NAMINGS["brats2020"])
    assert [ids(k) for k in (0, 99_999, 100_000)] == ["Synth_00000", "Synth_99999", "Synth_100000"]
    assert CaseIds.of(NAMINGS["brats2023"], "Mine-", 500)(7) == "Mine-00507-000"
    for wrong in ("../", ".hidden", "a/b", "a b", "ü"):
        with pytest.raises(SynthError, match="a prefix of ids has letters"):
            CaseIds(wrong)
    with pytest.raises(SynthError, match="the first number of ids is a whole number from 0 up, found -1"):
        CaseIds("Synth_", first=-1)


def test_ids_are_numbered_as_wished_and_the_voxels_are_the_same(make, undisturbed, tmp_path):
    generate(make(prefix="Mine-", first=7), 1, tmp_path / "out")
    names = [path.relative_to(tmp_path / "out").as_posix() for path in sorted((tmp_path / "out").glob("*/*"))]
    assert names == [f"Mine-00007/Mine-00007_{part}.nii.gz" for part in ("flair", "seg", "t1", "t1ce", "t2")]
    for name in names:
        whole = undisturbed["nifti"] / name.replace("Mine-00007", "Synth_00000")
        assert (tmp_path / "out" / name).read_bytes() == whole.read_bytes()
    with pytest.raises(OutputError, match=r"other settings: ids.first \(was 7, now 8\)"):
        generate(make(prefix="Mine-", first=8), 1, tmp_path / "out", resume=True)
    with pytest.raises(SynthError, match="a prefix of ids has letters"):
        make(prefix="../")
    generate(make(prefix="Mine-", first=8), 1, tmp_path / "out", force=True)
    assert [path.name for path in (tmp_path / "out").glob("Mine-*")] == ["Mine-00008"]


def test_a_run_with_ids_of_six_digits_goes_on_with_them(make, undisturbed, run):
    """As versions before left it: the form of ids is not among its settings."""
    settings = json.loads((run / RUN).read_text())
    del settings["ids"]
    (run / RUN).write_text(json.dumps(settings, indent=1, sort_keys=True) + "\n")
    old = {f"Synth_{k:05d}": f"Synth_{k:06d}" for k in range(N)}
    text = (run / MANIFEST).read_text()
    for new, was in old.items():
        text = text.replace(new, was)
        folder = (run / new).rename(run / was)
        for path in folder.iterdir():
            path.rename(path.with_name(path.name.replace(new, was)))
    (run / MANIFEST).write_text("".join(text.splitlines(keepends=True)[:2]))
    shutil.rmtree(run / old["Synth_00003"])
    outcome = generate(make(), N, run, resume=True)
    assert (outcome.written, outcome.kept) == (N - 2, 2)
    assert [record["id"] for record in read_entries(run)] == list(old.values())
    assert "ids" not in json.loads((run / RUN).read_text())
    for new, was in old.items():
        assert (run / was / f"{was}_t1.nii.gz").read_bytes() == (
            undisturbed["nifti"] / new / f"{new}_t1.nii.gz"
        ).read_bytes()
    with pytest.raises(OutputError, match="other settings: ids"):
        generate(make(prefix="Mine_"), N, run, resume=True)
    generate(make(), 1, run, force=True)
    assert sorted(path.name for path in run.glob("Synth_*")) == ["Synth_00000"]


def test_a_full_disk_is_told_and_nothing_is_lost(make, undisturbed, tmp_path, monkeypatch):
    import synth.exporters.nifti as nifti

    out, encode, calls = tmp_path / "out", nifti._encode_to, itertools.count()

    def fill_up(path, *args):
        if next(calls) >= 7:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return encode(path, *args)

    with monkeypatch.context() as patch:
        patch.setattr(nifti, "_encode_to", fill_up)
        with pytest.raises(OutputError, match=r"Synth_00001: the disk is full .* start again with --resume\.$"):
            generate(make(), N, out)
    assert sorted(p.name for p in out.iterdir()) == ["Synth_00000", MANIFEST, RUN]
    generate(make(), N, out, resume=True)
    assert same(out, undisturbed["nifti"])


# --- refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"seed": 6}, r"seed \(was 5, now 6\)"),
        ({"edits": ("none",)}, "edits"),
        ({"style": "sampled"}, "style"),
        ({"format": "hdf5"}, "format"),
        ({"naming": "brats2023"}, "naming"),
    ],
)
def test_resuming_with_other_settings_is_refused(changed, named, make, run):
    before = tree(run)
    with pytest.raises(OutputError, match=rf"other settings: {named}"):
        generate(make(**changed), N, run, resume=True)
    assert tree(run) == before


def test_resuming_with_another_model_or_shard_is_refused(make, sources, run, tmp_path):
    other = GeneratorConfig(width=8, bottleneck=2)
    folder = save_generator(tmp_path / "m", build_generator(other), {"name": "m", "generator": other.to_dict()})
    with pytest.raises(OutputError, match=r"model\.hash .* model\.name"):
        generate(Generation(sources, folder, CONFIG), N, run, resume=True)
    with pytest.raises(OutputError, match="shard"):
        generate(make(), N, run, resume=True, shard=(0, 2))


def test_an_earlier_run_needs_resume_or_force(make, run):
    before = tree(run)
    with pytest.raises(OutputError, match="--resume to go on with it, --force to replace it"):
        generate(make(), N, run)
    assert tree(run) == before


@pytest.mark.parametrize("name", FORMATS)
def test_force_replaces_our_files_and_leaves_those_of_others(name, make, undisturbed, tmp_path):
    out = shutil.copytree(undisturbed[name], tmp_path / "out")
    (out / "notes.txt").write_text("mine")
    (out / "Synth_00001").mkdir(exist_ok=True)
    (out / "Synth_00001" / "mask.nii.gz").write_text("drawn by hand")
    generate(make(format=name, seed=8), 1, out, force=True)
    generate(make(format=name, seed=8), 1, tmp_path / "fresh")
    found = tree(out)
    assert found.pop("notes.txt") == b"mine"
    assert found.pop("Synth_00001/mask.nii.gz") == b"drawn by hand"
    assert found == tree(tmp_path / "fresh")


@pytest.mark.parametrize("name", FORMATS)
def test_force_clears_what_a_kill_left_out_of_the_manifest(name, make, undisturbed, tmp_path, monkeypatch):
    out = tmp_path / "out"
    append = Manifest.append

    def fail_at_second(self, record):  # as if killed between a case's files and its record
        if record["index"] == 1:
            raise RuntimeError("power cut")
        append(self, record)

    with monkeypatch.context() as patch:
        patch.setattr(Manifest, "append", fail_at_second)
        with pytest.raises(RuntimeError, match="power cut"):
            generate(make(format=name), 2, out)
    assert list(out.glob("Synth_00001*")) or list(out.glob(".staging/Synth_00001*"))
    generate(make(format=name, seed=8), 1, out, force=True)
    generate(make(format=name, seed=8), 1, tmp_path / "fresh")
    assert same(out, tmp_path / "fresh")


def test_force_is_the_way_out_of_a_damaged_manifest(make, undisturbed, run):
    (run / MANIFEST).write_bytes(b"{]\n" + (run / MANIFEST).read_bytes())
    with pytest.raises(OutputError, match=r"line 1: .* start over with --force"):
        generate(make(), N, run, resume=True)
    generate(make(), N, run, force=True)
    assert same(run, undisturbed["nifti"])


def test_force_with_an_unknown_model_removes_nothing(sources, run):
    before = tree(run)
    with pytest.raises(ModelError, match="found neither"):
        generate(Generation(sources, "no-such-model", CONFIG), N, run, force=True)
    assert tree(run) == before


@pytest.mark.parametrize("mode", [{}, {"resume": True}, {"force": True}])
@pytest.mark.parametrize("name", ["scan.nii.gz", "run.json"])
def test_folders_of_others_are_never_touched(name, mode, make, tmp_path):
    (tmp_path / name).write_text('{"epochs": 3}')
    with pytest.raises(OutputError, match=rf"an entry that synth did not write \({name}\)"):
        generate(make(), 1, tmp_path, **mode)
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_two_runs_into_one_folder_are_refused(make, run):
    from synth.disk.lock import FolderLock

    lock = FolderLock(run)
    try:
        before = tree(run)
        for mode in ({"resume": True}, {"force": True}):
            with pytest.raises(OutputError, match="is writing to this folder"):
                generate(make(), N, run, **mode)
        assert tree(run) == before
    finally:
        lock.release()


def test_out_below_or_at_a_file_is_refused(make, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file: expected a new or empty folder, found a file"):
        generate(make(), 1, tmp_path / "file")
    with pytest.raises(OutputError, match="the folder cannot be made"):
        generate(make(), 1, tmp_path / "file" / "out")
    for out in (tmp_path / "file", tmp_path / "file" / "out"):
        with pytest.raises(OutputError, match="the folder cannot be made"):
            write_recipes(make(), 1, out)


@pytest.mark.parametrize(
    ("n", "shard", "sentence"),
    [
        (0, (0, 1), "--n must be at least 1, found 0"),
        (4, (2, 2), "found 2/2"),
        (4, (-1, 2), "found -1/2"),
        (4, (0, 0), "found 0/0"),
        (2, (3, 4), "shard 3/4 of 2 samples is empty"),
    ],
)
def test_impossible_numbers_are_refused(n, shard, sentence, make, tmp_path):
    for call in (generate, write_recipes):
        with pytest.raises(SynthError, match=sentence):
            call(make(), n, tmp_path / "out", shard=shard)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"naming": "brats1999"}, "naming must be one of"),
        ({"format": "dicom"}, "format must be one of nifti, hdf5, nnunet, msd, bids, found 'dicom'"),
        ({"seed": -1}, "seed must be a whole number"),
        ({"seed": 2**63}, "seed must be a whole number"),
        ({"seed": 1.5}, "seed must be a whole number"),
        ({"style": "baroque"}, "style must be one of mixed, own, sampled, found 'baroque'"),
        ({"edits": ("twist",)}, "twist.*Presets are"),
        ({"edits": ("gentle", "move")}, "cannot be combined"),
    ],
)
def test_impossible_settings_are_refused(changed, sentence, make):
    with pytest.raises(SynthError, match=sentence):
        make(**changed)


def test_own_style_needs_scans(sources, model):
    bare = replace(sources, own_style=None)
    with pytest.raises(SynthError, match="--style own needs --data"):
        Generation(bare, model, replace(CONFIG, style="own"))
    assert Generation(bare, model, CONFIG).style_kind == "sampled"


def test_a_hopeless_layout_ends_the_run_with_its_reasons(make, tmp_path, monkeypatch):
    monkeypatch.setattr("synth.layout.sampling.sampler.violations", lambda *args, **kwargs: ["the tumour has 0.1 ml"])
    with pytest.raises(LayoutError, match=r"sample 0: none of 25 attempts .*\(25 times the tumour has ml\)"):
        generate(make(), 1, tmp_path / "out")
