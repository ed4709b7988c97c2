import json
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from click.testing import CliRunner
from eagerly import eagerly
from phantoms import embed, phantom_case, write_case

from synth.cli import COMMANDS, main
from synth.errors import DataError, ModelError, OutputError
from synth.experiments.utility import PRESETS, UtilityConfig, _training, choose_cases, run_utility
from synth.experiments.utility_result import ARMS, UtilityResult
from synth.lineage import hash_id
from synth.models.cards import model_hash, read_card, used_cases
from synth.models.configs import GeneratorConfig
from synth.models.networks.segmenter import build_segmenter
from synth.models.weights import load_segmenter_network
from synth.trainers.segmentation import training as segmenter_training
from synth.trainers.segmentation.annotated import Annotated, find_annotated, fingerprinted
from synth.trainers.segmentation.leaks import lineage_notes, refuse_copies, refuse_leaks, twin_notes
from synth.trainers.segmentation.patches import store_labelled

TINY = UtilityConfig(width=4, patch=32, steps=2, seeds=1)
REGIONS = ("WT", "TC", "ET")


def annotated(case_id, *patients, synthetic=False):
    return Annotated(case_id, "s", frozenset(patients or {case_id}), synthetic, read=lambda: None)


# --- leaks --------------------------------------------------------------------------------------------------------


def test_what_is_unseen_passes():
    refuse_leaks(
        [annotated("A"), annotated("B")],
        [annotated("Synth_0", "A", "B", synthetic=True), Annotated("Synth_1", "s", frozenset(), True, lambda: None)],
        [annotated("C")],
    )


@pytest.mark.parametrize(
    ("train", "synthetic", "test", "sentence"),
    [
        ([annotated("A")], [], [annotated("A")], "test case A is of the same patient as training case A"),
        ([annotated("P_1", "P")], [], [annotated("P_2", "P")], "test case P_2 is of the same patient .* P_1"),
        ([], [annotated("S", "A", "C", synthetic=True)], [annotated("C")], "synthetic case S descends .* test case C"),
        ([], [annotated("C")], [annotated("C")], "descends from the patient of test case C"),  # it has no manifest
        ([], [], [annotated("S", synthetic=True)], r"the test set holds synthetic cases \(S\)"),
        ([annotated("S", synthetic=True)], [], [annotated("A")], "the real training set holds synthetic"),
    ],
)
def test_leaks_are_refused(train, synthetic, test, sentence):
    with pytest.raises(DataError, match=sentence):
        refuse_leaks(train, synthetic, test)


def test_one_scan_under_two_names_is_refused(tmp_path):
    a, b = (store_labelled(phantom_case(seed=seed, case_id=f"P{seed}"), tmp_path / f"{seed}") for seed in (0, 1))
    twin = store_labelled(phantom_case(seed=0, case_id="Twin"), tmp_path / "twin")
    refuse_copies([a], [b])
    with pytest.raises(DataError, match="test case Twin and training case P0 have the same intensities"):
        refuse_copies([a, b], [twin])
    case = phantom_case(seed=0, case_id="Relabelled")  # another year's scale, labels, and three modalities
    images = case.images.astype(np.float32) / 7
    images[..., 1] = phantom_case(seed=3).images[..., 1] * (images[..., 0] > 0)
    other = store_labelled(replace(case, images=images, labels=(case.labels > 0).astype(np.uint8)), tmp_path / "other")
    with pytest.raises(DataError, match="test case Relabelled and training case P0 have the same intensities"):
        refuse_copies([a, b], [other])
    case = phantom_case(seed=0, case_id="Painted")
    noisy = np.where(case.images > 0, case.images + np.random.default_rng(0).integers(0, 9, case.images.shape), 0)
    repainted = store_labelled(replace(case, images=noisy.astype(np.int16)), tmp_path / "painted")
    with pytest.raises(DataError, match="the same brain and labels"):
        refuse_copies([a, b], [repainted])


def test_a_scan_that_is_trained_on_twice_is_said(tmp_path):
    made = [store_labelled(phantom_case(seed=seed), tmp_path / name) for seed, name in ((0, "A"), (1, "B"), (0, "C"))]
    made = fingerprinted(list(map(annotated, "ABC")), made)
    (note,) = twin_notes(made)
    assert note.startswith("2 of the 3 training cases are 1 scan under several names (A = C)")
    assert twin_notes(made[:2]) == []


@pytest.fixture
def painted(tmp_path):
    """A set's run.json and the card of the generator that painted it, which was trained on A and B and saw C."""
    card = {
        "name": "mine",
        "generator": GeneratorConfig().to_dict(),
        "weights_sha256": "0" * 64,
        "training": {**used_cases({"A": ("a",)}), "begun from": {"training": used_cases({"B": ("b",)})}},
        "validation": used_cases({"C": ("c",)}),
    }
    for name in ("model", "set"):
        (tmp_path / name).mkdir()
    (tmp_path / "model" / "card.json").write_text(json.dumps(card))
    (tmp_path / "set" / "run.json").write_text(json.dumps({"model": {"name": "mine", "hash": model_hash(card)}}))
    return tmp_path


@pytest.mark.parametrize(
    ("test", "sentences"),
    [
        (["A", "Z"], ["trained on 1 of 2 test cases (A)"]),
        (["B"], ["trained on 1 of 1 test cases (B)"]),  # before it was fine-tuned
        (["C"], ["1 of 1 test cases (C) picked the weights"]),
        (["Z"], []),
        (["Z=a"], ["trained on 1 of 1 test cases (Z)"]),  # another name of A's scan
        (["Z=b", "Y=c"], ["trained on 1 of 2 test cases (Z)", "1 of 2 test cases (Y) picked the weights"]),
    ],
)
def test_what_the_generator_has_seen_is_said(painted, test, sentences):
    synthetic = [Annotated("Synth_0", "s", frozenset(), True, lambda: None)]
    cases = [replace(annotated(name[0]), fingerprint=("", name[2:])) for name in test]
    notes = lineage_notes(painted / "set", synthetic, [annotated("Y")], cases, painted / "model")
    assert len(notes) == len(sentences)
    for note, sentence in zip(notes, sentences, strict=True):
        assert sentence in note


def test_a_card_of_ids_alone_is_said_to_be_one_once(painted):
    path = painted / "model" / "card.json"
    card = json.loads(path.read_text())
    del card["training"]["begun from"]["training"]["fingerprints_sha256"]
    path.write_text(json.dumps(card))
    synthetic = [Annotated("Synth_0", "s", frozenset(), True, lambda: None)]
    cases = [replace(annotated("Z"), fingerprint=("b",))]
    (note,) = lineage_notes(painted / "set", synthetic, [], cases, painted / "model")
    assert "lists ids alone" in note


def test_knowledge_beyond_the_cases_used_is_said(painted):
    synthetic = [annotated("Synth_0", "Y", synthetic=True), annotated("Synth_1", "X", synthetic=True)]
    real = [annotated("A"), annotated("X"), annotated("Y")]
    how = {"generator": painted / "model", "subset": ["X"]}
    notes = lineage_notes(painted / "set", synthetic, real, [annotated("Z")], **how)
    assert ["1 of 2 synthetic cases descend" in notes[0], "trained on 1 real cases" in notes[1]] == [True, True]
    assert lineage_notes(painted / "set", synthetic, real, [annotated("Z")], painted / "model") == []


def test_unknown_generators_are_said_and_wrong_ones_refused(painted, tmp_path):
    synthetic = [annotated("S", synthetic=True)]
    (note,) = lineage_notes(painted / "set", synthetic, [], [annotated("Z")])
    assert "not at hand" in note
    with pytest.raises(ModelError, match="not the one that painted"):
        lineage_notes(painted / "set", synthetic, [], [annotated("Z")], "default")
    with pytest.raises(ModelError, match="expected a folder"):
        lineage_notes(painted / "set", synthetic, [], [annotated("Z")], painted / "nothing")
    assert len(lineage_notes(painted / "model", [annotated("S")], [], [annotated("Z")])) == 2  # no manifest, no run
    (painted / "set" / "run.json").write_text("{}")
    with pytest.raises(DataError, match="names no generator"):
        lineage_notes(painted / "set", synthetic, [], [annotated("Z")])


# --- settings -----------------------------------------------------------------------------------------------------


def test_fewer_cases_are_a_part_of_more():
    ids = [f"c{i}" for i in range(12)]
    few, more = set(choose_cases(ids, 4, seed=1)), set(choose_cases(ids, 8, seed=1))
    assert len(few) == 4
    assert few < more < set(ids)
    assert few != set(choose_cases(ids, 4, seed=2))
    assert choose_cases(ids, None, seed=1) == tuple(ids)
    with pytest.raises(DataError, match="has 12 cases"):
        choose_cases(ids, 13, seed=0)


def test_presets_and_settings():
    assert all(UtilityConfig.preset(name) for name in PRESETS)
    assert UtilityConfig.preset("quick", seeds=7, seed=2).all_seeds == (2, 3, 4, 5, 6, 7, 8)
    assert UtilityConfig.preset("quick").steps < UtilityConfig.preset("standard").steps
    for bad in ({"steps": 0}, {"patch": 40}, {"cases": 0}, {"overlap": 1.0}, {"seed": -1}):
        with pytest.raises(ModelError, match="found"):
            UtilityConfig(**bad)
    with pytest.raises(ModelError, match="quick, standard, full"):
        UtilityConfig.preset("huge")


# --- numbers ------------------------------------------------------------------------------------------------------


def result_of(real, synthetic, both, seeds=(0,)):
    """A result from Dice (seeds, cases), the same in all regions but ET, where nothing is found."""
    scores = {
        arm: {
            seed: {f"c{i}": {"WT": v, "TC": v, "ET": 0.0} for i, v in enumerate(row)}
            for seed, row in zip(seeds, values, strict=True)
        }
        for arm, values in zip(ARMS, (real, synthetic, both), strict=True)
    }
    cases = tuple(f"c{i}" for i in range(len(real[0])))
    settings = {"arch": "unet3d", "width": 16, "steps": 5}
    return UtilityResult(settings, {"real": 3, "synthetic": 9}, cases, tuple(seeds), scores, ("beware",))


def test_ratio_and_gain_are_what_they_are_called():
    result = result_of(
        real=[[0.7, 0.8, 0.9], [0.9, 0.8, 1.0]],  # cases 0.8, 0.8, 0.95
        synthetic=[[0.4, 0.4, 0.475]] * 2,
        both=[[0.85, 0.85, 0.95]] * 2,
        seeds=(3, 4),
    )
    row = result.summary["real"]["WT"]
    assert row["mean"] == pytest.approx(0.85)
    assert row["median"] == pytest.approx(0.8)
    assert row["seed_means"] == pytest.approx([0.8, 0.9])
    assert row["interval"] == pytest.approx([0.8, 0.95])
    ratio, gain = (result.comparisons[name]["WT"] for name in ("tstr_ratio", "gain"))
    assert ratio["estimate"] == pytest.approx(0.5)
    assert ratio["interval"] == pytest.approx([0.5, 0.5])  # half in every case: the pairs make it certain
    assert gain["estimate"] == pytest.approx(0.1 / 3)
    assert gain["interval"] == pytest.approx([0.0, 0.05])


def test_table_and_json_of_regions_where_nothing_is_found():
    result = result_of([[0.5, 0.7]], [[0.4, 0.6]], [[0.6, 0.8]])
    lines = result.table()
    assert [line.split("  ")[0] for line in lines[3:]] == [
        *ARMS.values(),
        "synthetic / real (TSTR)",
        "gain of both over real",
    ]
    assert "3 real and 9 synthetic" in lines[0]
    assert "+0.100 [+0.100, +0.100]" in lines[-1]
    assert lines[-2].split()[-1] == "undefined"
    assert result.to_dict()["tstr_ratio"]["ET"] == {"estimate": None, "interval": None}
    assert result.plot().axes[2].get_title().splitlines()[:2] == ["ET", "TSTR: undefined"]


# --- the run ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three real cases to train on, two to test on, and a synthetic set of two with a manifest."""
    root = tmp_path_factory.mktemp("utility")
    for role, seeds in (("real", (0, 1, 2)), ("test", (3, 4)), ("synthetic", (5, 6))):
        for seed in seeds:
            write_case(root / role, embed(phantom_case(seed=seed, case_id=f"{role.capitalize()}_{seed}")))
    lines = [{"index": i, "id": f"Synthetic_{i}", "host": "Real_0", "donor": None, "files": {}} for i in (5, 6)]
    (root / "synthetic" / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return root


class Watch:
    """Sees what is trained, and can stop a training as Ctrl-C does."""

    def __init__(self, stop_at=None):
        self.mixes, self.starts, self.stop_at = {}, {}, stop_at

    def fit(self, mix, held_out, out, config, *, quiet):
        if len(self.mixes) == self.stop_at:
            return None
        assert not held_out  # nothing picks weights
        self.mixes[out.name] = mix
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(segmenter_training, "build_segmenter", partial(self.build, out.name))
            return FIT(mix, held_out, out, config, quiet=quiet)

    def build(self, run, config):
        network = build_segmenter(config)
        self.starts[run] = network.get_weights()
        return network


FIT = segmenter_training.fit_segmenter


@eagerly()
def run(data, out, config=TINY, stop_at=None):
    watch = Watch(stop_at)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("synth.experiments.utility.fit_segmenter", watch.fit)
        places = (data / "real", data / "synthetic", data / "test")
        return run_utility(config, *places, out, cache=data / "cache"), watch


@pytest.fixture(scope="module")
def done(data):
    """An experiment that was stopped after its first run and went on: output folder, result, what was trained."""
    out = data / "out"
    stopped, before = run(data, out, stop_at=1)
    assert stopped is None
    assert list(before.mixes) == ["real_3_seed_0"]
    assert not (out / "utility.json").exists()
    result, after = run(data, out)
    assert list(after.mixes) == ["synthetic_seed_0", "both_3_seed_0"]
    return out, result, before.mixes | after.mixes, before.starts | after.starts


def test_arms_differ_in_their_cases_alone(done):
    _, _, mixes, starts = done
    for other in ("synthetic_seed_0", "both_3_seed_0"):
        assert all(np.array_equal(a, b) for a, b in zip(starts["real_3_seed_0"], starts[other], strict=True))
    pools = [[{case.id for case in pool.cases} for pool in mix.pools] for mix in mixes.values()]
    real, painted = {"Real_0", "Real_1", "Real_2"}, {"Synthetic_5", "Synthetic_6"}
    assert pools == [[real], [painted], [real, painted]]
    assert len(set(mixes["both_3_seed_0"].shares)) == 1  # half of the patches each


def test_seeds_and_sizes_reach_the_training():
    config = _training(replace(TINY, arch="vox2vox", batch=2, steps=7), seed=4)
    assert (config.segmenter.arch, config.segmenter.width, config.discriminator_width) == ("vox2vox", 4, 4)
    assert (config.train.seed, config.train.steps, config.train.batch, config.patch.size) == (4, 7, 2, 32)


def test_scores_are_those_of_the_weights_kept(done):
    from synth.datasets.cases import find_cases, read_case
    from synth.models.sliding_window import Segmenter
    from synth.quality.segmentation_metrics import region_dice

    out, result, *_ = done
    network, card = load_segmenter_network(out / "runs" / "both_3_seed_0" / "model")
    assert hash_id("Real_1") in card["training"]["ids_sha256"]
    segment = Segmenter([network], card["window"], overlap=TINY.overlap)
    for files in find_cases(out.parent / "test"):
        case = read_case(files)
        expected = region_dice(case.labels, segment(case))
        # half precision on the disk, and an untrained network is undecided in many voxels
        assert result.scores["both"][0][case.id] == pytest.approx(expected, abs=0.02)


def test_what_is_written(done):
    out, result, *_ = done
    record = json.loads((out / "utility.json").read_text())
    assert (record["schema"], record["version"]) == ("synth.experiments.utility", 1)
    assert record["test_cases"] == ["Test_3", "Test_4"]
    assert record["dice"]["synthetic"]["0"]["Test_4"].keys() == set(REGIONS)
    assert record["gain"]["WT"]["estimate"] == pytest.approx(
        record["summary"]["both"]["WT"]["mean"] - record["summary"]["real"]["WT"]["mean"]
    )
    assert (out / "utility.txt").read_text().splitlines()[: len(result.table())] == result.table()
    assert (out / "utility.png").read_bytes()[:4] == b"\x89PNG"
    assert not list(out.rglob("checkpoints"))
    assert not [path for path in out.rglob("*") if "partial" in path.name or path.name == ".synth.lock"]


def test_finished_runs_are_kept_and_more_may_be_asked_for(done, data, tmp_path, monkeypatch):
    out, result, *_ = done
    again, watch = run(data, out)
    assert watch.mixes == {}
    assert again.scores == result.scores

    trained, chosen = [], {}

    def train(config, arm, seed, real, synthetic, test, folder, quiet):
        trained.append(folder.name)
        chosen[arm, seed] = tuple(case.id for case in real)
        return result.scores[arm][0]

    monkeypatch.setattr("synth.experiments.utility._run", train)
    out = shutil.copytree(out, tmp_path / "out")
    more, _ = run(data, out, replace(TINY, cases=2, seeds=2))
    # the synthetic arm is the same whatever the number of real cases
    assert trained == ["real_2_seed_0", "both_2_seed_0", "real_2_seed_1", "synthetic_seed_1", "both_2_seed_1"]
    for seed in (0, 1):
        assert chosen["real", seed] == chosen["both", seed] == choose_cases(["Real_0", "Real_1", "Real_2"], 2, seed)
    assert more.sizes == {"real": 2, "synthetic": 2}
    assert (out / "utility_2_cases.json").is_file()
    assert json.loads((out / "utility.json").read_text())["sizes"]["real"] == 3


def test_other_settings_data_or_folders_are_refused(done, data, tmp_path):
    out, *_ = done
    with pytest.raises(OutputError, match=r"found other settings: steps \(was 2, now 3\); give the same"):
        run(data, out, replace(TINY, steps=3))
    with pytest.raises(OutputError, match="files of --test"):
        run_utility(TINY, data / "real", data / "synthetic", data / "test" / "Test_3", out)
    (tmp_path / "thesis.docx").write_text("mine")
    with pytest.raises(OutputError, match=r"an entry that synth did not write \(thesis.docx\)"):
        run(data, tmp_path)
    with pytest.raises(DataError, match="--cases 4"):
        run(data, tmp_path / "new", replace(TINY, cases=4))
    assert not (tmp_path / "new").exists()


def test_damaged_scores_are_named(done, data, tmp_path):
    out = tmp_path / "copy"
    shutil.copytree(done[0], out)
    path = out / "runs" / "synthetic_seed_0" / "scores.json"
    path.write_text(path.read_text()[:-9])
    with pytest.raises(OutputError, match=r"delete .*synthetic_seed_0 to redo it"):
        run(data, out)


# --- the command --------------------------------------------------------------------------------------------------


@pytest.fixture
def synth(monkeypatch):
    monkeypatch.setitem(COMMANDS, "utility", ("synth.cli.utility", "Measure what the pairs are worth."))
    return lambda *line: CliRunner().invoke(main, ["utility", *map(str, line)])


def test_command(synth, done, data):
    out, result, *_ = done
    line = ["--train", data / "real", "--synthetic", data / "synthetic", "--test", data / "test", "--out", out]
    line += ["--cache", data / "cache", "--steps", 2, "--seeds", 1, "--width", 4, "--patch", 32]
    said = synth(*line)
    assert said.exit_code == 0, said.output
    for arm in ARMS.values():
        assert f"\n{arm}  " in said.output
    assert "note: " in said.output
    as_json = json.loads(synth(*line, "--json", "--quiet").stdout)
    assert as_json["summary"]["real"]["WT"]["mean"] == pytest.approx(result.summary["real"]["WT"]["mean"])


def test_command_refuses_in_one_sentence(synth, data, tmp_path):
    line = ["--train", data / "real", "--synthetic", data / "synthetic", "--out", tmp_path / "out"]
    said = synth(*line, "--test", data / "real")
    assert said.exit_code == 1
    assert said.output.startswith("Error: test case Real_0 is of the same patient as training case Real_0;")
    assert "Traceback" not in said.output
    assert not (tmp_path / "out").exists()
    assert synth(*line, "--test", data / "test", "--quick", "--preset", "full").exit_code == 2
    assert synth(*line, "--test", tmp_path / "none").exit_code == 1


def test_shipped_generator_against_the_real_cases(real_data, tmp_path):
    train, test = (find_annotated(real_data / "brats" / part) for part in ("train", "val"))
    refuse_leaks(train, [], test)
    card = read_card("default")
    (tmp_path / "run.json").write_text(json.dumps({"model": {"name": card["name"], "hash": model_hash(card)}}))
    synthetic = [Annotated("Synth_000000", "s", frozenset(), True, lambda: None)]
    told = f"was trained on {card['training']['cases']} of {len(train)} test cases"
    assert any(told in note for note in lineage_notes(tmp_path, synthetic, [], train))
    assert not any("was trained on" in note for note in lineage_notes(tmp_path, synthetic, train, test))
    with pytest.raises(DataError, match="same patient"):
        refuse_leaks(train, [], train[:1])
