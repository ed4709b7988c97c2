"""The public face: what it offers is whole, and the examples do their work with nothing else."""

import ast
import dataclasses
import inspect
import json
import runpy
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import keras
import pytest
from exported import painted_set, real_folder
from phantoms import embed, head_layout, phantom_case, write_case
from PIL import Image

import synth
from synth.cli.train import generator as command_of_training
from synth.datasets.layout_files import save_layout
from synth.exporters import open_exporter
from synth.models.configs import GeneratorConfig, SegmenterConfig
from synth.models.networks.generator import build_generator
from synth.models.networks.segmenter import build_segmenter
from synth.models.weights import save_generator, save_segmenter
from synth.runs.reconstruct import Comparison

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))
NAMES = [name for name in synth.__all__ if name != "__version__"]


def example(name):
    """The functions of an example by name; nothing is left beside it."""
    (path,) = (path for path in EXAMPLES if path.stem == name)
    return runpy.run_path(str(path))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """An untrained generator and segmenter, for speed."""
    folder = tmp_path_factory.mktemp("models")
    keras.utils.set_random_seed(1)
    painter, finder = GeneratorConfig(width=8, bottleneck=1), SegmenterConfig("unet3d", 4)
    save_generator(folder / "g", build_generator(painter), {"name": "tiny", "generator": painter.to_dict()})
    save_segmenter(folder / "s", build_segmenter(finder), {"name": "tiny", "segmenter": finder.to_dict(), "window": 64})
    return folder


# --- the names ----------------------------------------------------------------------------------------------------


def test_all_is_what_has_a_home():
    assert sorted([*synth._HOMES, "__version__"]) == sorted(synth.__all__)
    tree = ast.parse(Path(synth.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))  # for type checkers
    told = {
        alias.asname or alias.name: (node.module.removeprefix("synth."), alias.name)
        for node in block.body
        for alias in node.names
    }
    homes = {name: (home.partition(":")[0], home.partition(":")[2] or name) for name, home in synth._HOMES.items()}
    assert told == homes


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_is_what_its_home_has_and_says_what_it_is(name):
    module, _, attribute = synth._HOMES[name].partition(":")
    thing = getattr(synth, name)
    assert thing is getattr(import_module(f"synth.{module}"), attribute or name)
    assert inspect.getdoc(thing)
    assert thing.__doc__.splitlines()[0].endswith((".", ":")), "the first line is a sentence"
    for function in methods(thing) if inspect.isclass(thing) else [thing]:
        assert inspect.getdoc(function) or function.__name__ == "__init__", function  # the class says what it takes
        assert not unannotated(function), f"{function.__qualname__}: {unannotated(function)}"


def methods(cls):
    """The public methods, properties' getters and the constructor that a class of ours defines."""
    for owner in cls.__mro__:
        if not owner.__module__.startswith("synth"):
            continue
        for name, value in vars(owner).items():
            function = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
            # what a dataclass generates is annotated by its fields
            generated = name == "__init__" and (
                dataclasses.is_dataclass(owner) or getattr(owner, "_is_protocol", False)
            )
            if inspect.isfunction(function) and (not name.startswith("_") or (name == "__init__" and not generated)):
                yield function


def unannotated(function):
    signature = inspect.signature(function)
    missing = [
        parameter.name
        for parameter in signature.parameters.values()
        if parameter.annotation is parameter.empty and parameter.name not in ("self", "cls")
    ]
    returns = signature.return_annotation is signature.empty and function.__name__ != "__init__"
    return missing + ["return"] * returns


# --- the examples -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_uses_public_names_alone_and_is_short(path):
    tree = ast.parse(path.read_text())
    assert f"python examples/{path.name}" in ast.get_docstring(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert not [alias.name for alias in node.names if alias.name.split(".")[0] == "synth"], path
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "synth":
            assert node.module == "synth", f"line {node.lineno}: {node.module} is not public"
            assert {alias.name for alias in node.names} <= set(synth.__all__)
    assert len(path.read_text().splitlines()) <= 90


def test_the_readme_has_the_lines_of_every_example():
    """`benchmarks/clients/run_examples.py` runs them as they stand there."""
    run = runpy.run_path(str(EXAMPLES[0].parents[1] / "benchmarks/clients/run_examples.py"))
    told = run["examples"]()
    scripts = {path.stem: path for path in EXAMPLES} | {"slurm/generate": EXAMPLES[0].parent / "slurm/generate.py"}
    assert told.keys() == scripts.keys()
    for name, path in scripts.items():
        text = ast.get_docstring(ast.parse(path.read_text()))
        assert told[name] == [line.strip() for line in text.splitlines() if line.startswith("    ")]


@pytest.fixture(scope="module")
def heads(tmp_path_factory):
    """Two small layouts: what is drawn from them costs little."""
    folder = tmp_path_factory.mktemp("heads")
    for seed in range(2):
        save_layout(head_layout(seed=seed, case_id=f"head{seed}"), folder)
    return folder


def test_a_network_of_ones_own_learns(models, heads, tmp_path, capsys):
    arguments = [
        "--data",
        str(heads),
        "--steps",
        "2",
        "--patch",
        "16",
        "--width",
        "4",
        "--model",
        str(models / "g"),
    ]
    example("train_keras_unet")["main"]([*arguments, "--out", str(tmp_path / "unet.keras")])
    assert "step    2  loss " in capsys.readouterr().out
    network = keras.models.load_model(tmp_path / "unet.keras", compile=False)
    assert network.output_shape[-1] == 4


@pytest.fixture(scope="module")
def hdf5(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hdf5") / "set"
    with open_exporter("hdf5", folder) as exporter:
        for seed in range(2):
            exporter.write(phantom_case(seed=seed, case_id=f"P{seed}"))
    return folder


def test_an_hdf5_set_says_its_grids_and_gives_patches(hdf5):
    cases = synth.open_hdf5(hdf5)
    assert [cases.shape(place) for place in range(2)] == [(40, 48, 36)] * 2
    assert [case.id for case in cases[::-1]] == ["P1", "P0"]
    images, labels = cases.read_patch(1, (slice(3, 9), slice(4, 10), slice(5, 11)))
    assert (images.shape, labels.shape) == ((6, 6, 6, 4), (6, 6, 6))


@pytest.mark.parametrize("workers", [0, 2])
def test_pytorch_is_fed(hdf5, capsys, workers):
    pytest.importorskip("torch")
    example("pytorch_hdf5")["main"]([str(hdf5), "--edge", "16", "--workers", str(workers)])
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "2 cases, 8 patches an epoch"
    assert len(out) == 1 + 4
    assert all("images (2, 4, 16, 16, 16)" in line for line in out[1:])


def test_without_pytorch_one_is_told_how_to_get_it():
    (path,) = (path for path in EXAMPLES if path.stem == "pytorch_hdf5")
    code = f"import runpy, sys; sys.modules['torch'] = None; runpy.run_path({str(path)!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip().endswith("pip install torch")
    assert "Traceback" not in done.stderr


def test_layouts_are_drawn_edited_and_shown(heads, tmp_path, capsys):
    example("draw_edit_show_layouts")["main"](["--data", str(heads), "--n", "2", "--out", str(tmp_path / "out")])
    assert "drawn_000_by_hand: " in capsys.readouterr().out
    ids = [source.id for folder in ("drawn", "edited") for source in synth.find_inputs(tmp_path / "out" / folder)]
    assert ids == ["drawn_000", "drawn_000_by_hand", "drawn_001", "drawn_000_000", "drawn_001_000"]
    picture = Image.open(tmp_path / "out/layouts.png")
    assert picture.height > 5 * 200


def test_scans_become_a_set_and_a_report(models, tmp_path, capsys):
    for seed in range(2):
        write_case(tmp_path / "scans", embed(phantom_case((64, 72, 60), seed=seed, case_id=f"P{seed}")))
    arguments = ["--data", str(tmp_path / "scans"), "--n", "2", "--edits", "none", "--model", str(models / "g")]
    example("from_scans_to_report")["main"](
        [*arguments, "--segmenter", str(models / "s"), "--out", str(tmp_path / "o")]
    )
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"2 scans in {tmp_path / 'scans'}"
    assert out[-1] == str(tmp_path / "o/report/report.html")
    assert synth.open_set(tmp_path / "o/set").ids == ["Synth_00000", "Synth_00001"]
    assert (tmp_path / "o/report/report.html").stat().st_size > 100_000


def test_without_scans_samples_stand_in(models, tmp_path, capsys):
    folder = example("from_scans_to_report")["stand_ins"](tmp_path / "stand-ins", 1, str(models / "g"))
    assert "1 painted samples of the embedded anatomies stand in for scans" in capsys.readouterr().out
    assert synth.open_set(folder, scans=True).ids == ["Synth_00000"]


@pytest.fixture(scope="module")
def painted(tmp_path_factory):
    """A painted set of two small cases, and a real one."""
    folder = tmp_path_factory.mktemp("painted")
    painted_set(folder / "set", ["BraTS2021_00001", "atlas-1"])
    painted_set(folder / "set2023", ["BraTS2021_00001", "atlas-1"], naming="brats2023")
    real_folder(folder / "real", ["BraTS2021_00001", "BraTS2021_00002"])
    return folder


def test_monai_finds_the_same_regions_in_files_of_either_convention(painted, capsys, small_grid):
    pytest.importorskip("monai")
    example("monai_brats")["main"]([str(painted / "set"), str(painted / "set2023")])
    lines = [line.partition(": ")[2] for line in capsys.readouterr().out.splitlines()]
    assert lines[:2] == lines[2:]
    assert not any("ET 0.00 ml" in line for line in lines)


def test_torchio_queues_patches(painted, capsys, small_grid):
    pytest.importorskip("torchio")
    example("torchio_queue")["main"]([str(painted / "set"), "--edge", "8"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert all("four modalities of (2, 1, 8, 8, 8), tumour " in line for line in lines)


def test_nnunet_gets_its_dataset_and_its_split(painted, tmp_path, monkeypatch, capsys, small_grid):
    """nnU-Net itself is fed by `benchmarks/clients`; here a stand-in takes its place."""
    main = example("nnunet_dataset")["main"]
    line = [str(painted / "set"), "--real", str(painted / "real"), "--work", str(tmp_path / "work")]
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="nnU-Net is not installed"):
        main(line)
    assert "fold 1: 3 cases to train on, 1 real ones to validate" in capsys.readouterr().out
    shutil.rmtree(tmp_path / "work")
    command = tmp_path / "nnUNetv2_plan_and_preprocess"
    command.write_text('#!/bin/sh\n/bin/mkdir -p "$nnUNet_preprocessed/Dataset501_Synth"\n')
    command.chmod(0o755)
    main(line)
    assert capsys.readouterr().out.splitlines()[-1].endswith(" nnUNetv2_train 501 3d_fullres 0")
    folder = tmp_path / "work/nnUNet_preprocessed/Dataset501_Synth"
    assert len(synth.open_set(tmp_path / "work/nnUNet_raw/Dataset501_Synth")) == 4
    assert [path.name for path in folder.iterdir()] == ["splits_final.json"]


def test_a_bids_derivative_is_validated(painted, tmp_path, monkeypatch, capsys, small_grid):
    """The validator itself is fed by `benchmarks/clients`; here a stand-in takes its place."""
    main = example("bids_validate")["main"]
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="To validate it: pip install bids-validator-deno"):
        main([str(painted / "set"), "--real", str(painted / "real"), "--out", str(tmp_path / "bids")])
    assert "2 painted and 2 real cases" in capsys.readouterr().out
    assert (tmp_path / "bids/sub-Synth00001/anat").is_dir()
    command = tmp_path / "bids-validator-deno"
    for severity in ("warning", "error"):
        issues = [{"code": "X", "severity": severity}] * 2
        command.write_text(f"#!/bin/sh\necho '{json.dumps({'issues': {'issues': issues}})}'\n")
        command.chmod(0o755)
        line = [str(painted / "set"), "--out", str(tmp_path / severity)]
        if severity == "error":
            with pytest.raises(SystemExit):
                main(line)
        else:
            main(line)
        assert f"{severity}: X, 2 times" in capsys.readouterr().out


def test_a_generator_is_judged_before_and_after_it_learnt(tmp_path, monkeypatch, capsys):
    """Training and painting have tests of their own; here stand-ins take their place."""
    main, asked = example("finetune_generator")["main"], []

    def painted(scans, out, *, model, force):
        value = 0.5 if model == "default" else 0.75
        fine = {"power_0.1": value, "gradient": None}
        return [Comparison("a", m, value, 0.0, None, None, value, fine) for m in ("t1", "t1ce", "t2", "flair")] * 2

    monkeypatch.setitem(main.__globals__, "reconstruct", painted)
    monkeypatch.setattr(subprocess, "run", lambda line, check: asked.append(line))
    main(["--data", "train", "--val", "val", "--test", "test", "--steps", "8", "--out", str(tmp_path)])
    assert "t2: SSIM 0.500 -> 0.750, texture 0.500 -> 0.750, power_0.1 0.500 -> 0.750" in capsys.readouterr().out
    (line,) = asked
    options = command_of_training.make_context("generator", line[5:]).params  # the command has all of these
    assert (options["steps"], options["validate_every"], options["init"]) == (8, 2, "default")


def test_pytorch_is_fed_with_fresh_samples(models, heads, capsys):
    pytest.importorskip("torch")
    line = ["--data", str(heads), "--model", str(models / "g"), "--steps", "2", "--patch", "16", "--workers", "0"]
    example("pytorch_fresh")["main"](line)
    assert [" image (2, 4, 16, 16, 16) " in line for line in capsys.readouterr().out.splitlines()] == [True, True]
