"""`synth train segmenter`: good calls, what its options stand for, and the bad ones: one sentence, no traceback."""

import json

import pytest
from commands import invoke
from eagerly import eagerly
from phantoms import embed, phantom_case, write_case

from synth.cli.segmenter_options import training_of
from synth.datasets.reading import PLAIN
from synth.disk.manifest import Manifest
from synth.exporters import open_exporter
from synth.models.configs import GeneratorConfig
from synth.models.networks.generator import build_generator
from synth.models.weights import save_generator

TINY = "--width 4 --patch 32 --steps 2 --batch 1 --quiet"
OPTIONS = {
    "data": (),
    "synthetic": (),
    "synthetic_share": None,
    "fresh_share": 0.0,
    "fresh_from": None,
    "generator": "default",
    "val": None,
    "arch": "unet3d",
    "width": None,
    "deep_supervision": False,
    "loss": None,
    "alpha": None,
    "beta": None,
    "patch": None,
    "augment": None,
    "out": "run",
    "quiet": True,
    "reading": PLAIN,
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Three real cases, one held out, and two synthetic ones in HDF5; never changed."""
    root = tmp_path_factory.mktemp("train")
    for seed, case_id in enumerate("ABC"):
        write_case(root / "data", embed(phantom_case(seed=seed, case_id=case_id)))
    write_case(root / "val", embed(phantom_case(seed=3, case_id="V")))
    run = {"synth": "test", "model": {"name": "elsewhere", "hash": "0"}}
    with Manifest(root / "set", run) as manifest, open_exporter("hdf5", root / "set") as exporter:
        for index in range(2):
            case_id = f"Synth_{index:06d}"
            files = exporter.write(embed(phantom_case(seed=9 + index, case_id=case_id)))
            manifest.append({"index": index, "id": case_id, "files": files, "host": "ABC"[index], "donor": None})
    return root


@eagerly()
def test_a_mix_is_trained_and_goes_on_to_segment(place):
    line = f"train segmenter --data data --synthetic set --val val --out run --name tiny {TINY}"
    result = invoke(place, line)
    assert result.exit_code == 0, result.output
    assert "synth segment SCANS OUT --model run/model" in result.stdout
    assert "note: the generator that painted set (elsewhere, 0) is not at hand" in result.stdout
    card = json.loads((place / "run/model/card.json").read_text())
    assert (card["name"], card["window"]) == ("tiny", 32)
    assert "s a step" not in result.output  # --quiet
    assert card["training"]["shares"] == [0.5, 0.5, 0.0]
    assert invoke(place, "segment val found --model run/model --quiet").exit_code == 0
    assert "weights and card" in invoke(place, line).stdout  # done already: nothing is trained again


@eagerly()
def test_folds_make_an_ensemble(place):
    result = invoke(place, f"train segmenter --data data --out cv --folds 2 {TINY}")
    assert result.exit_code == 0, result.output
    assert "--ensemble --model cv" in result.stdout
    assert invoke(place, "segment val found --model cv --ensemble --quiet").exit_code == 0
    taken = invoke(place, f"train segmenter --data data --out run --thresholds cv {TINY}")
    assert taken.exit_code == 0, taken.output
    chosen = json.loads((place / "cv/folds.json").read_text())["postprocess"]
    assert json.loads((place / "run/model/card.json").read_text())["postprocess"] == chosen


@pytest.mark.parametrize(("option", "quiet"), [("", False), ("--quiet", True), ("-q", True)])
def test_a_generator_is_trained_quietly_where_asked(place, monkeypatch, option, quiet):
    told = []
    monkeypatch.setattr("synth.trainers.painting.training.train_generator", lambda *_, **given: told.append(given))
    assert invoke(place, f"train generator --data data --out run {option}").exit_code == 0
    assert [given["quiet"] for given in told] == [quiet]


def test_a_generator_has_the_settings_of_its_conditioning_or_of_what_it_begins_from(place, monkeypatch):
    told = []
    monkeypatch.setattr("synth.trainers.painting.training.train_generator", lambda *given, **_: told.append(given[3]))
    parent = GeneratorConfig(width=8, bottleneck=3, conditioning="onehot")
    save_generator(place / "parent", build_generator(parent), {"name": "parent", "generator": parent.to_dict()})
    for options in ("", "--conditioning painted --width 24", "--init parent", "--init parent --width 12 --patch 32"):
        assert invoke(place, f"train generator --data data --out run --steps 7 {options}").exit_code == 0
    detail, painted, child, wider = told
    assert (detail.generator.conditioning, detail.generator.width, detail.patch.size) == ("detail", 16, 64)
    assert not detail.loss.judged
    assert painted.generator == GeneratorConfig(width=24)
    assert painted.loss.judged
    assert child.generator == parent
    assert (wider.generator.width, wider.generator.bottleneck, wider.patch.size) == (12, 3, 32)
    assert [config.train.steps for config in told] == [7] * 4


def test_options_reach_the_settings(place, monkeypatch):
    monkeypatch.chdir(place)
    given = {"arch": "vox2vox", "loss": "generalised_dice", "alpha": 0.4, "augment": "flip, gamma", "data": ("data",)}
    config, mix, val = training_of(**{**OPTIONS, **given}, batch=4, accumulate=2, steps=None)
    assert (config.segmenter.arch, config.segmenter.width, config.patch.size) == ("vox2vox", 64, 128)
    assert (config.loss.overlap, config.loss.alpha, config.loss.weight) == ("generalised_dice", 0.4, 5.0)
    assert (config.train.batch, config.train.accumulate) == (4, 2)
    assert config.augment.kinds == ("flip", "gamma")
    assert (mix.real_share, val) == (1.0, [])
    plain, *_ = training_of(**{**OPTIONS, "augment": "none", "data": ("data",)})
    assert (plain.augment.kinds, plain.augment.contrast, plain.augment.shading) == ((), 0.0, 0.0)
    _, alone, _ = training_of(**{**OPTIONS, "synthetic": ("set",)})
    assert (alone.real_share, alone.synthetic_share) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("", "need cases"),
        ("--data nowhere", "nowhere: expected the folder of a dataset"),
        ("--data set", "set: is given as real"),
        ("--synthetic data", "data: is given as synthetic"),
        ("--data data --data data", "case A is in two of the folders"),
        ("--data data --val data", "case A, to be learnt from, is of the patient of A"),
        ("--data data --synthetic-share 0.5", "need cases"),
        ("--data data --fold 1", "--fold needs --folds"),
        ("--data data --folds 2 --val val", "give neither --val nor --thresholds"),
        ("--data data --folds 9", "as many patients; found 3"),
        ("--data data --folds 3 --fold 3", "numbered from 0 to 2"),
        ("--data data --augment sharpen", "kinds of flip, rotation, gamma, elastic"),
        ("--data data --thresholds nowhere", "thresholds of a finished run with --folds"),
        ("--data data --deep-supervision --arch vox2vox", "deep supervision is for unet3d"),
        ("--data data --patch 40", "multiple of 16"),
        ("--data data --batch 3 --accumulate 2", "divide the batch"),
        ("--data data --fresh-share 0.5 --generator nowhere", "model nowhere: expected a folder"),
    ],
)
def test_what_cannot_be_trained_is_said_in_one_sentence(place, options, told):
    result = invoke(place, f"train segmenter --out run --quiet {options}")
    assert result.exit_code in (1, 2)
    assert told in " ".join(result.output.split())
    assert "Traceback" not in result.output
    assert not (place / "run/model").exists()
