"""The whole report: on drawn cases, and on real scans spoilt in every way that it must notice."""

import errno
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import files, invoke
from corrupted import write_copies, write_scaled_labels
from phantoms import embed, phantom_layout

from synth.brats import NAMINGS
from synth.case import Case
from synth.datasets.cases import find_cases
from synth.datasets.sets import open_set
from synth.errors import DataError, OutputError
from synth.exporters import open_exporter
from synth.lineage import hash_id
from synth.report import build, run
from synth.report.core import measuring
from synth.report.core.config import ReportConfig
from synth.report.core.judge import Verdict
from synth.report.run import asked_for_dice, report, sampled, write_together
from synth.style.prior import shipped_style_prior

COMMAND = (
    "report --synthetic synthetic --real real --out out --train-ids Drawn_000,Drawn_001 --viewer 1 --segmenter tiny "
    "--force "
)
SECTIONS = ["validity", "fidelity", "diversity", "memorisation", "usefulness"]


def drawn_case(number):
    """A phantom in the colours of a drawn style, with grain: a small brain on the grid that a report asks for.

    Brains are turned over and of two shapes, so that no two of them are copies of one another.
    """
    layout = phantom_layout((72, 60, 64) if number >= 10 else (64, 72, 60), seed=number)
    turned = tuple(axis for axis in (1, 2) if number >> axis - 1 & 1)
    classes, tumour = (np.flip(part, turned) for part in (layout.classes, layout.tumour))
    rng = np.random.default_rng(number)
    table = np.concatenate([np.zeros((1, 4)), np.array(shipped_style_prior().sample(rng).mean)])
    images, brain = np.zeros((*classes.shape, 4), np.int16), classes > 0
    seen = 1000 * table[classes[brain]]
    images[brain] = np.clip(np.rint(seen + rng.normal(0, 40, seen.shape)), 1, None)
    return embed(Case(f"Drawn_{number:03d}", images, tumour, layout.affine))


@pytest.fixture(scope="module")
def place(tmp_path_factory, tiny_segmenter):
    """Real cases as NIfTI, a synthetic set as HDF5, and the first report on them."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "tiny").symlink_to(tiny_segmenter)
    for name, form, numbers in (("real", "nifti", range(4)), ("synthetic", "hdf5", (10, 11))):
        with open_exporter(form, folder / name, naming=NAMINGS["brats2020"]) as exporter:
            for number in numbers:
                exporter.write(drawn_case(number))
    write_copies(find_cases(folder / "real")[1:2], folder / "others", "Drawn")  # another case as Drawn_000
    done = invoke(folder, COMMAND.replace("--force", ""))
    assert done.exit_code == 0, done.output
    return folder


def test_the_numbers(place):
    found = json.loads((place / "out/report.json").read_text())
    assert (found["schema"], found["version"]) == ("synth.report", 1)
    assert [section["id"] for section in found["sections"]] == SECTIONS
    assert found["sets"]["synthetic"] == {"path": "synthetic", "cases": 2, "usable": 2}
    assert (found["sets"]["training"], found["sets"]["holdout"]) == (2, 2)
    for section in found["sections"]:
        assert section["verdict"] == found["verdicts"][section["id"]]
        for check in section["checks"]:
            assert check["id"].startswith(section["id"] + ".")
            assert check["verdict"] in [v.value for v in Verdict]
            assert check["reason"].endswith(".")
    ids = [check["id"] for section in found["sections"] for check in section["checks"]]
    assert len(ids) == len(set(ids))


def test_small_samples_are_said_to_be_small(place):
    found = json.loads((place / "out/report.json").read_text())
    notes = " ".join(note for section in found["sections"] for note in section["notes"])
    assert "mall sample" in notes


def test_a_second_run_measures_nothing_and_gives_the_same_bytes(place, monkeypatch):
    before = files(place / "out")

    def prepare(case):
        raise AssertionError("measured again")

    monkeypatch.setattr(measuring, "prepare", prepare)
    done = invoke(place, COMMAND + "--json --quiet")
    assert done.exit_code == 0, done.output
    assert files(place / "out") == before
    assert json.loads(done.stdout) == json.loads(before["report.json"])


def test_a_page_to_be_passed_on_shows_no_scan_and_the_exit_code_tells(place):
    whole = (place / "out/report.html").read_text()
    line = COMMAND.replace("--out out", "--out shared --cache out/features")
    done = invoke(place, line + "--pictures charts --fail-under validity=pass --fail-under 1")
    assert done.exit_code == 3, done.output
    assert "below the bar" in done.output
    page = (place / "shared/report.html").read_text()
    assert "shows no scan" in page
    assert 'id="synth-viewer"' in whole
    assert 'id="synth-viewer"' not in page
    assert len(page) < len(whole) / 2
    shutil.rmtree(place / "shared")


def test_a_bar_that_is_none_is_refused_before_anything_is_measured(place):
    done = invoke(place, COMMAND.replace("--out out", "--out other") + "--fail-under great")
    assert done.exit_code == 1
    assert "great" in done.output
    assert not (place / "other").exists()


def test_an_earlier_report_is_not_replaced_without_force(place):
    before = files(place / "out")
    done = invoke(place, COMMAND.replace("--force", ""))
    assert done.exit_code == 1
    assert "--force" in done.output
    assert files(place / "out") == before


def test_a_strangers_folder_is_not_touched(place, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"thesis\.txt"):
        report(place / "synthetic", place / "real", tmp_path, force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--synthetic nothing --real real", "nothing"),
        ("--synthetic synthetic --real nothing", "nothing"),
        ("--synthetic synthetic --real real --holdout nothing", "nothing"),
        ("--synthetic synthetic --real real --train-ids Drawn_999", "Drawn_999"),
        ("--synthetic synthetic --real real --utility nothing", "utility"),
        ("--synthetic synthetic --real real --segmenter nothing", "nothing"),
        ("--synthetic synthetic --real real --generator nothing", "nothing"),
        ("--synthetic synthetic --real real --paired", "paired"),
        ("--synthetic synthetic --real real --holdout others", "Drawn_000: is one case in"),
        ("--synthetic synthetic --real real --holdout real", "real: holds all cases of real"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_no_report(place, options, said):
    done = invoke(place, f"report --segmenter tiny {options} --out other --cache out/features")
    assert done.exit_code == 1, done.output
    assert said in done.output
    assert done.output.count("Error:") == 1
    assert not list(place.glob("other/report.*"))
    assert (place / "other").exists() == ("--paired" in options)  # that is known when all is measured
    shutil.rmtree(place / "other", ignore_errors=True)


def test_what_is_measured_is_kept_apart_from_the_report(place):
    done = invoke(place, "report --synthetic synthetic --real real --out other --cache other --segmenter tiny")
    assert (done.exit_code, (place / "other").exists()) == (1, False)
    assert "other: expected a folder for measurements apart from --out, found that very folder" in done.output


def test_a_set_without_one_usable_case_is_reported_not_refused(place, tmp_path):
    write_scaled_labels(find_cases(place / "real")[:1], tmp_path / "scaled")
    config = ReportConfig(segmenter=str(place / "tiny"))
    cache = {"cache": place / "out/features", "config": config}
    found = report(tmp_path / "scaled", place / "real", tmp_path / "out", **cache)
    verdicts = {section.id: section.verdict for section in found.sections}
    assert verdicts.pop("validity") == Verdict.FAIL
    assert set(verdicts.values()) == {Verdict.NONE}
    assert (tmp_path / "out/report.html").is_file()
    with pytest.raises(DataError, match="none of its 1 cases"):
        report(place / "real", tmp_path / "scaled", tmp_path / "other", **cache)


def test_dice_is_asked_of_a_bounded_sample_of_unseen_cases_first(place, monkeypatch):
    cases, config = open_set(place / "real"), ReportConfig(seed=3)
    card = {"training": {"ids_sha256": [hash_id("Drawn_001")]}}
    assert asked_for_dice(cases, {}, config) == set(cases.ids)
    assert asked_for_dice(cases, card, config) == set(cases.ids) - {"Drawn_001"}
    all_but_one = {"training": {"ids_sha256": [hash_id(name) for name in cases.ids[1:]]}}
    assert asked_for_dice(cases, all_but_one, config) == set(cases.ids)  # a single case is no yardstick
    monkeypatch.setattr(run, "MOST_DICE", 2)
    chosen = [asked_for_dice(cases, card, ReportConfig(seed=seed)) for seed in range(8)]
    assert {len(ids) for ids in chosen} == {2}
    assert len(set(chosen)) > 1
    assert not any("Drawn_001" in ids for ids in chosen)


def test_a_report_says_of_how_many_cases_it_has_dice(place, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "MOST_DICE", 2)
    monkeypatch.setattr(build, "SECTIONS", {"usefulness": build.SECTIONS["usefulness"]})
    config = ReportConfig(segmenter=str(place / "tiny"), pictures="charts")
    sets = (place / "synthetic", place / "real", tmp_path / "out")
    (section,) = report(*sets, cache=place / "out/features", config=config).sections
    assert [check.n for check in section.checks[:3]] == [{"synthetic": 2, "real": 2}] * 3
    assert any("of 2 of the 2 synthetic and of 2 of the 4 real cases" in note for note in section.notes)


@pytest.fixture
def validity_alone(monkeypatch):
    """A report of one section, where what the others say of the same cases is not asked."""
    monkeypatch.setattr(build, "SECTIONS", {"validity": build.SECTIONS["validity"]})


@pytest.mark.usefixtures("validity_alone")
def test_a_training_scan_under_another_name_is_no_holdout(place, tmp_path):
    write_copies(find_cases(place / "real")[:1], tmp_path / "held", "Renamed")
    config = ReportConfig(pictures="none", segmenter=str(place / "tiny"))
    sets = (place / "synthetic", place / "real", tmp_path / "out")
    found = report(
        *sets, holdout=tmp_path / "held", train_ids=["Drawn_000"], cache=place / "out/features", config=config
    ).about["sets"]
    assert (found["training"], found["holdout"]) == (2, 3)
    assert "1 more (Renamed_000) are scans of these under other names" in found["split"]
    assert "2 of the 5 cases are 1 scan under several names (Drawn_000 = Renamed_000)" in found["split"]


def test_a_name_that_is_no_text_is_a_finding(place, tmp_path):
    folder = os.fsencode(tmp_path / "set") + b"/raw\xff"
    os.makedirs(folder)
    with open(folder + b"/raw\xff_t1.nii.gz", "wb"):
        pass
    config = ReportConfig(segmenter=str(place / "tiny"))
    found = report(tmp_path / "set", place / "real", tmp_path / "out", cache=place / "out/features", config=config)
    assert found.sections[0].verdict == Verdict.FAIL
    assert "no readable" in (tmp_path / "out/report.html").read_text()


def test_page_and_numbers_are_written_both_or_neither(tmp_path, monkeypatch):
    def full(path, data):
        if "html" in path.name:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return written(path, data)

    written = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match=r"report\.html"):
        write_together(tmp_path, {"report.json": "{}", "report.html": "<p>"})
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    write_together(tmp_path, {"report.json": "{}", "report.html": "<p>"})
    assert files(tmp_path) == {"report.json": b"{}", "report.html": b"<p>"}


def test_a_sample_is_chosen_by_the_seed(place):
    cases = open_set(place / "real")
    chosen = [sampled(cases, ReportConfig(sample=2, seed=seed)).ids for seed in range(8)]
    assert {len(ids) for ids in chosen} == {2}
    assert len({frozenset(ids) for ids in chosen}) > 1
    assert sampled(cases, ReportConfig(sample=2, seed=3)).ids == chosen[3]
    assert sampled(cases, ReportConfig(sample=9)) == cases
    few = set(sampled(cases, ReportConfig(sample=1), keep={"Drawn_003"}, apart={"Drawn_001"}).ids)
    assert few >= {"Drawn_003", "Drawn_001"}  # originals of pairs stay, and so do hold-out cases
    assert len(few) in (2, 3)


@pytest.mark.usefixtures("validity_alone")
def test_a_cache_below_the_report_is_no_strangers(place, tmp_path):
    config = ReportConfig(pictures="none", segmenter=str(place / "tiny"))
    for _ in range(2):
        shutil.copytree(place / "out/features", tmp_path / "out/kept", dirs_exist_ok=True)
        report(
            place / "synthetic",
            place / "real",
            tmp_path / "out",
            cache=tmp_path / "out/kept",
            config=config,
            force=True,
        )
