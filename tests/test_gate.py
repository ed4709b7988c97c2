"""The gate: how it judges, what a run does with what it refuses, and that nothing of it depends on interruptions."""

import gc
import itertools
import json
import shutil
import weakref
from dataclasses import replace
from functools import cache

import keras
import numpy as np
import pytest
from commands import files, invoke
from phantoms import phantom_case, phantom_layout, phantom_sources

import synth.models.weights
import synth.runs.gate
from synth.brats import REGIONS, Tumour
from synth.datasets.cases import find_cases
from synth.datasets.layout_files import save_layout
from synth.disk.manifest import MANIFEST, RUN, Manifest, read_entries, read_run
from synth.errors import DataError, LayoutError, ModelError, OutputError, SynthError
from synth.exporters.hdf5 import open_cases
from synth.layout.sampling.sampler import LayoutSampler
from synth.models.configs import GeneratorConfig, SegmenterConfig
from synth.models.networks.generator import build_generator
from synth.models.networks.segmenter import build_segmenter
from synth.models.weights import save_generator, save_segmenter
from synth.runs.gate import Gate, Verdict, painted, thresholds_of
from synth.runs.generate import GenerateConfig, Generation, generate
from synth.runs.replay import replay

TINY = GeneratorConfig(width=8, bottleneck=1)
SMALL = SegmenterConfig("unet3d", 4)
N = 4


def card(**changed):
    return {"name": "small", "segmenter": SMALL.to_dict(), "window": 32, **changed}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A tiny generator, a tiny segmenter, both untrained, and layouts of three phantoms."""
    root = tmp_path_factory.mktemp("prepared")
    keras.utils.set_random_seed(1)
    save_generator(root / "model", build_generator(TINY), {"name": "tiny", "generator": TINY.to_dict()})
    save_segmenter(root / "segmenter", build_segmenter(SMALL), card())
    sources = phantom_sources()
    for source in sources.hosts:
        save_layout(source.layout, root / "layouts", sources.own_style(source.id))
    return root


@pytest.fixture(scope="module", autouse=True)
def loaded_once():
    """Every network is built once for all tests of this file."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name in ((synth.models.weights, "load_generator"), (synth.runs.gate, "load_segmenter")):
            patch.setattr(module, name, cache(getattr(module, name)))
        yield


@pytest.fixture(scope="module")
def make(prepared):
    """A Generation of the phantoms with the usual settings, or with others."""
    config = GenerateConfig(seed=5, edits=("gentle",))
    sources = phantom_sources()
    return lambda **changed: Generation(sources, prepared / "model", replace(config, **changed))


@pytest.fixture(scope="module")
def gate(prepared):
    return lambda thresholds=None, redraws=2: Gate(prepared / "segmenter", thresholds, redraws)


@pytest.fixture
def told(monkeypatch):
    """Let the gate find what the test says: a function from the case to the verdict's whole-tumour Dice."""

    def tell(dice):
        def judge(self, case, layout=None):
            value = dice(case.meta)
            below = tuple(name for name, least in self.thresholds.items() if value < least)
            return Verdict(
                dict.fromkeys(REGIONS, value), dict.fromkeys(REGIONS, 2.0), dict.fromkeys(REGIONS, 3.0), below
            )

        monkeypatch.setattr(Gate, "judge", judge)

    return tell


def found_by(gate, monkeypatch, labels):
    """Let the segmenter of a gate find these labels."""
    box = tuple(slice(0, n) for n in labels.shape)
    monkeypatch.setattr(gate.segmenter, "in_box", lambda case: (box, np.eye(4, dtype=np.float32)[labels]))


# --- a verdict ----------------------------------------------------------------------------------------------------


def test_scores_are_those_of_the_segmenters_own_labels(gate):
    case = phantom_case()
    judge = gate()
    found = judge.segmenter(case)
    scores = judge.score(case)
    for name, values in REGIONS.items():
        truth, there = (np.isin(labels, values) for labels in (case.labels, found))
        assert scores[name] == pytest.approx(2 * (truth & there).sum() / (truth.sum() + there.sum()), abs=5e-5)
    assert judge.score(replace(case, labels=None), phantom_layout()) == scores
    assert len(set(scores.values())) > 1


def test_what_is_recorded_of_a_refusal(gate, monkeypatch):
    case, judge = phantom_case(), gate({"TC": 0.9, "WT": 0.2})
    found = np.where(case.labels == Tumour.ED, Tumour.ED, 0)
    found_by(judge, monkeypatch, found)
    record = judge.judge(case).refusal()
    ml = {name: np.isin(case.labels, values).sum() / 1000 for name, values in REGIONS.items()}
    assert (record["TC"], record["ET"], record["below"]) == (0, 0, ["TC"])
    assert 0.2 < record["WT"] < 1
    assert record["layout_ml"] == pytest.approx(ml)
    assert record["found_ml"] == pytest.approx({"WT": (found > 0).sum() / 1000, "TC": 0, "ET": 0})


def test_a_region_that_the_layout_lacks_is_judged_by_volume(gate, monkeypatch):
    case, judge = phantom_case(tumour=False), gate({"WT": 0.6, "ET": 0.3})
    for voxels, scores, below in (
        (0, {"WT": 1.0, "TC": 1.0, "ET": 1.0}, ()),
        (900, {"WT": 0.0, "TC": 0.0, "ET": 0.0}, ()),
        (1100, {"WT": 0.0, "TC": 0.0, "ET": 0.0}, ("WT", "ET")),
    ):
        found = np.zeros(case.labels.shape, np.uint8)
        found[tuple(np.argwhere(case.brain)[:voxels].T)] = Tumour.ET
        found_by(judge, monkeypatch, found)
        verdict = judge.judge(case)
        assert (verdict.dice, verdict.below) == (scores, below)


def test_labels_outside_the_brain_and_specks_do_not_count(prepared, tmp_path, monkeypatch):
    case = phantom_case()
    save_segmenter(tmp_path, build_segmenter(SMALL), card(postprocess={"min_component_ml": 0.05, "min_et_ml": 0.0}))
    found = case.labels.copy()
    found[~case.brain] = Tumour.ED
    far = np.argwhere(case.brain & (case.labels == 0))
    found[tuple(far[np.abs(far - np.argwhere(case.labels > 0).mean(0)).sum(1).argmax()])] = Tumour.ED
    judge = Gate(tmp_path)
    found_by(judge, monkeypatch, found)
    assert judge.score(case) == {"WT": 1.0, "TC": 1.0, "ET": 1.0}
    without = Gate(prepared / "segmenter")
    found_by(without, monkeypatch, found)
    assert without.score(case)["WT"] < 1


def test_a_gate_is_known_by_all_that_changes_its_scores(prepared, tmp_path):
    settings = Gate(prepared / "segmenter").settings()
    assert settings["segmenter"]["name"] == "small"
    assert Gate(prepared / "segmenter", {"WT": 0.5}, 3).settings() == {**settings, "dice": {"WT": 0.5}, "redraws": 3}
    hashes = {settings["segmenter"]["hash"]}
    for number, changed in enumerate(({"window": 48}, {"postprocess": {"min_et_ml": 0.1}}, {"name": "other"})):
        folder = shutil.copytree(prepared / "segmenter", tmp_path / str(number))
        text = json.loads((folder / "card.json").read_text())
        (folder / "card.json").write_text(json.dumps(text | changed))
        hashes.add(Gate(folder).settings()["segmenter"]["hash"])
    assert len(hashes) == 3  # a name changes nothing


@pytest.mark.parametrize(
    ("text", "thresholds"),
    [("0.6", {"WT": 0.6}), ("ET=0.3, wt=0.6", {"WT": 0.6, "ET": 0.3}), ("TC=1", {"TC": 1.0}), ("0", {"WT": 0.0})],
)
def test_thresholds_are_read(text, thresholds):
    assert thresholds_of(text) == thresholds


@pytest.mark.parametrize("text", ["", "good", "1.1", "-0.1", "nan", "0.6,0.4", "WT", "ED=0.4", "WT=0.4,WT=0.5", "ET="])
def test_impossible_thresholds_are_refused(text):
    with pytest.raises(SynthError, match=r"^the gate.*\.$"):
        thresholds_of(text)


def test_impossible_gates_are_refused(gate, prepared, tmp_path):
    with pytest.raises(SynthError, match=r"redraws must be a whole number from 0 up, found -1\."):
        gate({"WT": 0.5}, -1)
    with pytest.raises(SynthError, match="knows the regions WT, TC, ET, found 'NCR'"):
        gate({"NCR": 0.5})
    with pytest.raises(ModelError, match="gone"):
        Gate(tmp_path / "gone")
    with pytest.raises(ModelError, match="not the card of a segmenter"):
        Gate(prepared / "model")
    with pytest.raises(DataError, match="Phantom_001: the gate needs"):
        gate().judge(phantom_case(labels=False))


# --- a run --------------------------------------------------------------------------------------------------------


def test_scores_change_nothing_but_what_is_recorded(make, gate, tmp_path):
    for name in ("nifti", "hdf5"):
        generate(make(format=name), 2, tmp_path / name / "plain")
        outcome = generate(make(format=name), 2, tmp_path / name / "scored", gate=gate())
        plain, scored = (files(tmp_path / name / kind) for kind in ("plain", "scored"))
        changed = {file for file in plain.keys() | scored.keys() if plain.get(file) != scored.get(file)}
        assert changed == {MANIFEST, RUN, "contact_sheet.png"}
        records = read_entries(tmp_path / name / "scored")
        cases = list(make().cases(range(2)))
        assert [record.pop("gate") for record in records] == [gate().score(case) for case in cases]
        assert records == read_entries(tmp_path / name / "plain")
        assert read_run(tmp_path / name / "scored")["gate"] == gate().settings()
        assert len(outcome.gate.lines()) == 1
        assert "mean (median, lowest) of 2: WT 0." in outcome.gate.lines()[0]


def attempts(meta):
    """Sample 1 passes at its third attempt, sample 2 never, the others at once."""
    return {1: 0.5 + 0.2 * meta.get("attempt", 0), 2: 0.3}.get(meta["index"], 0.9)


@pytest.fixture
def gated(make, gate, told, tmp_path):
    """Format -> folder of a run in which sample 1 is drawn three times and sample 2 is quarantined."""
    told(attempts)

    def run(name, where="gated", **options):
        return generate(make(format=name), N, tmp_path / where / name, gate=gate({"WT": 0.8}), **options)

    return run


@pytest.mark.parametrize("name", ["nifti", "hdf5"])
def test_refused_samples_are_drawn_again_then_quarantined(name, gated, make, tmp_path):
    generate(make(format=name), N, tmp_path / "plain")
    outcome = gated(name)
    out = tmp_path / "gated" / name
    assert (outcome.written, outcome.kept) == (3, 0)
    records, bad = read_entries(out), read_entries(out / "quarantine")
    assert [record["index"] for record in records] == [0, 1, 3]
    assert [record["index"] for record in bad] == [2]
    assert [record.get("attempt") for record in (*records, *bad)] == [None, 2, None, 2]
    assert [one["attempt"] for one in records[1]["gate"]["refused"]] == [0, 1]
    assert [(one["attempt"], one["WT"], one["below"]) for one in bad[0]["gate"]["refused"]] == [
        (attempt, 0.3, ["WT"]) for attempt in range(3)
    ]
    before = {record["index"]: record for record in read_entries(tmp_path / "plain")}
    assert [before[k]["files"] == records[i]["files"] for i, k in enumerate((0, 1, 3))] == [True, False, True]
    assert records[1]["edits"] != before[1]["edits"]
    lines = outcome.gate.lines()
    assert lines[1] == "gate WT 0.8: 5 paintings of 2 samples refused, 1 samples quarantined."
    assert lines[2] == "  Synth_00001, attempt 0: WT 0.50 (layout 2.0 ml, found 3.0 ml)"
    assert len(lines) == 7
    assert (out / "quarantine" / "contact_sheet.png").stat().st_size > 1000
    # nobody who reads the run's cases meets the refused one
    ids = open_cases(out).ids if name == "hdf5" else [case.id for case in find_cases(out)]
    assert ids == [record["id"] for record in records]
    ids = open_cases(out / "quarantine").ids if name == "hdf5" else [c.id for c in find_cases(out / "quarantine")]
    assert ids == ["Synth_00002"]


def test_each_attempt_draws_all_anew_for_the_same_place_in_the_plan(make):
    generation = make(style="sampled", plan="balanced-side")
    drawn = [generation.draw(1, attempt) for attempt in range(3)]
    recipes = [recipe for _, recipe in drawn]
    assert [recipe.attempt for recipe in recipes] == [0, 1, 2]
    assert len({json.dumps(recipe.style.to_dict()) for recipe in recipes}) == 3
    assert len({json.dumps(recipe.layout.edits) for recipe in recipes}) == 3
    assert len({recipe.layout.plan["side"] for recipe in recipes}) == 1
    assert generation.draw(1, 2)[1] == recipes[2]
    # the noise too: one layout and style, painted as two attempts
    layout, recipe = drawn[0]
    images = [generation.paint(layout, replace(recipe, attempt=attempt)).images for attempt in (0, 0, 1)]
    assert np.array_equal(images[0], images[1])
    assert not np.array_equal(images[0], images[2])


@pytest.mark.parametrize("name", ["nifti", "hdf5"])
def test_an_interrupted_gated_run_ends_with_the_same_bytes(name, gated, tmp_path, monkeypatch):
    gated(name)
    whole = files(tmp_path / "gated" / name)
    append = Manifest.append
    for cut in (1, 2):  # in the run itself, and when the quarantine is due
        calls, where = itertools.count(), f"cut{cut}"

        def fail(self, record, calls=calls, cut=cut):
            if next(calls) == cut:
                raise RuntimeError("power cut")
            append(self, record)

        with monkeypatch.context() as patch:
            patch.setattr(Manifest, "append", fail)
            with pytest.raises(RuntimeError, match="power cut"):
                gated(name, where)
        assert not (tmp_path / where / name / "contact_sheet.png").exists()
        outcome = gated(name, where, resume=True)
        assert files(tmp_path / where / name) == whole
        assert len(outcome.gate.refused) == 5  # of the whole run, not only of what was left to do
        assert outcome.gate.quarantined == ("Synth_00002",)
    again = gated(name, resume=True)
    assert (again.written, again.kept) == (0, 3)
    assert files(tmp_path / "gated" / name) == whole


def test_damaged_quarantine_is_mended_on_resume(gated, tmp_path):
    gated("nifti")
    out = tmp_path / "gated" / "nifti"
    whole = files(out)
    (out / "quarantine" / "Synth_00002" / "Synth_00002_t1.nii.gz").write_bytes(b"")
    (out / "Synth_00001" / "Synth_00001_t1.nii.gz").unlink()
    assert gated("nifti", resume=True).written == 1
    assert files(out) == whole


def test_shards_make_what_one_run_makes(gated, make, gate, tmp_path):
    gated("nifti")
    whole = files(tmp_path / "gated" / "nifti")
    found = {}
    for i in range(2):
        generate(make(), N, tmp_path / f"shard{i}", gate=gate({"WT": 0.8}), shard=(i, 2))
        found |= files(tmp_path / f"shard{i}")
    cases = {file for file in whole if "Synth_" in file}
    assert {file for file in found if "Synth_" in file} == cases
    assert all(found[file] == whole[file] for file in cases)


@pytest.mark.parametrize("name", ["nifti", "hdf5"])
def test_force_clears_the_quarantine_too(name, gated, make, tmp_path):
    gated(name)
    out = tmp_path / "gated" / name
    (out / "quarantine" / "notes.txt").write_text("mine")
    generate(make(format=name), 1, out, force=True)
    generate(make(format=name), 1, tmp_path / "fresh")
    found = files(out)
    assert found.pop("quarantine/notes.txt") == b"mine"
    assert found == files(tmp_path / "fresh")
    gated(name, "twice")
    generate(make(format=name), 1, tmp_path / "twice" / name, force=True)
    assert not (tmp_path / "twice" / name / "quarantine").exists()


def test_a_run_of_which_nothing_passes_is_told(make, gate, told, tmp_path):
    told(lambda meta: 0.1)
    outcome = generate(make(), 2, tmp_path / "out", gate=gate({"WT": 0.5}, 0))
    assert (outcome.written, outcome.kept) == (0, 0)
    assert outcome.gate.lines()[0] == "gate WT 0.5: 2 paintings of 2 samples refused, 2 samples quarantined."
    assert read_entries(tmp_path / "out" / "quarantine")[0].get("attempt") is None
    assert generate(make(), 2, tmp_path / "out", gate=gate({"WT": 0.5}, 0), resume=True).written == 0


def test_an_attempt_that_cannot_be_drawn_counts_as_refused(make, gate, told, tmp_path, monkeypatch):
    told(lambda meta: 0.9 if meta.get("attempt") == 2 else 0.1)
    draw = LayoutSampler.draw

    def hopeless(self, index, host=None, *, attempt=0, detail=False):
        if attempt == 1 or (attempt == 2 and index == 1):
            raise LayoutError("none of 25 attempts gave a lawful layout.")
        return draw(self, index, host, attempt=attempt, detail=detail)

    monkeypatch.setattr(LayoutSampler, "draw", hopeless)
    outcome = generate(make(), 2, tmp_path / "out", gate=gate({"WT": 0.5}))
    (kept,), (bad,) = read_entries(tmp_path / "out"), read_entries(tmp_path / "out" / "quarantine")
    assert (kept["index"], kept["attempt"]) == (0, 2)
    assert [one.get("reason", "scored")[:4] for one in kept["gate"]["refused"]] == ["scor", "none"]
    assert bad.get("attempt") is None
    assert [one["attempt"] for one in bad["gate"]["refused"]] == [0, 1, 2]
    assert "  Synth_00001, attempt 2: none of 25 attempts" in outcome.gate.lines()[-1]


def test_resuming_with_another_gate_is_refused(gated, make, gate, tmp_path):
    gated("nifti")
    out = tmp_path / "gated" / "nifti"
    before = files(out)
    for other, named in (
        (None, r"gate\.dice.* gate\.redraws"),
        (gate({"WT": 0.7}), r"gate\.dice\.WT \(was 0\.8, now 0\.7\)"),
        (gate({"WT": 0.8}, 5), r"gate\.redraws \(was 2, now 5\)"),
        (gate(), r"gate\.dice"),
    ):
        with pytest.raises(OutputError, match=named if other else r"other settings: gate \(was"):
            generate(make(), N, out, gate=other, resume=True)
    assert files(out) == before


@pytest.mark.parametrize("name", ["nifti", "hdf5"])
def test_gated_samples_are_replayed_to_the_byte(name, gated, prepared, tmp_path):
    gated(name)
    out = tmp_path / "gated" / name
    for run, sample in ((out, "1"), (out / "quarantine", "2")):
        again = tmp_path / f"again{sample}"
        (result,) = replay(run, [sample], again, data=[prepared / "layouts"], model=prepared / "model")
        assert (result.compared, result.differing) == (5 if name == "nifti" else 1, ())
        if name == "nifti":
            assert files(again) == {k: v for k, v in files(run).items() if k.startswith(f"Synth_0000{sample}")}


# --- the command --------------------------------------------------------------------------------------------------

LINE = "generate --n 2 --out out --data layouts --edits none --seed 3 --model model"


def test_the_command_scores_gates_and_tells(place):
    result = invoke(place, f"{LINE} --segmenter segmenter --gate WT=0.99,ET=0.99 --redraws 1 --quiet")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0].startswith("0 cases written to out; ")
    assert lines[1] == "gate WT 0.99, ET 0.99: 4 paintings of 2 samples refused, 2 samples quarantined."
    assert lines[2].startswith("  Synth_00000, attempt 0: WT 0.")
    assert read_run(place / "out")["gate"]["redraws"] == 1
    result = invoke(place, f"{LINE} --segmenter segmenter --force --quiet")
    assert result.exit_code == 0, result.output
    assert len(result.output.splitlines()) == 2
    assert {"WT", "TC", "ET"} == read_entries(place / "out")[0]["gate"].keys()
    result = invoke(place, f"{LINE} --no-scores --force")
    assert len(result.output.splitlines()) == 1
    assert "gate" not in read_run(place / "out")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--gate good", "the gate must be a Dice such as 0.6, or WT=0.6,TC=0.4,ET=0.3; found 'good'."),
        ("--gate 60", "the gate's lowest Dice of WT must be 0 to 1, found 60.0."),
        ("--gate CORE=0.4", "the gate knows the regions WT, TC, ET, found 'CORE'."),
        ("--gate 0.6 --no-scores", "--no-scores goes with none of --gate, --redraws and --segmenter"),
        ("--segmenter segmenter --no-scores", "--no-scores goes with none of"),
        ("--redraws 3", "--redraws needs a --gate"),
        ("--segmenter gone", "model gone: expected a folder with card.json and segmenter.weights.h5"),
        ("--segmenter model", "not the card of a segmenter"),
    ],
)
def test_bad_gates_are_told_in_a_sentence(options, sentence, place):
    before = files(place)
    result = invoke(place, f"{LINE} {options}")
    assert (result.exit_code, result.output.count("\n")) == (1, 1), result.output
    assert sentence in result.output
    assert files(place) == before
    assert not (place / "out").exists()


def test_nothing_is_held_of_a_sample_while_the_next_is_painted(make, prepared, monkeypatch):
    generation, seen = make(), []
    paint = Generation.paint

    def painting(self, layout, recipe):
        gc.collect()
        assert not any(case() is not None for case in seen)
        case = paint(self, layout, recipe)
        seen.append(weakref.ref(case))
        return case

    monkeypatch.setattr(Generation, "paint", painting)
    for gate in (None, Gate(prepared / "segmenter")):
        seen.clear()
        for case, _, _ in painted(generation, gate, range(3)):
            del case
        assert len(seen) == 3
