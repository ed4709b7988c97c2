from pathlib import Path

import numpy as np
import pytest

from synth.datasets.sets import BRATS, CaseSet
from synth.errors import SynthError
from synth.report import build
from synth.report.core.config import ReportConfig
from synth.report.core.judge import (
    Check,
    Comparison,
    Section,
    Verdict,
    Yardstick,
    compare,
    distance_check,
    judge,
    not_judged,
    small_note,
    worst,
)
from synth.report.core.material import Material
from synth.report.core.measuring import Measured
from synth.report.core.sets import Sets
from synth.report.run import Report
from synth.report.thresholds import read_thresholds


def apart(a, b):
    return abs(a.mean() - b.mean())


def test_alike_sets_pass_and_different_ones_fail():
    rng = np.random.default_rng(0)
    real = rng.normal(size=40)
    assert judge(compare(rng.normal(size=30), real, apart), 0.0)[0] == Verdict.PASS
    assert judge(compare(rng.normal(3, 1, size=30), real, apart), 0.0)[0] == Verdict.FAIL


def test_the_yardstick_is_taken_at_the_same_size():
    rng = np.random.default_rng(0)
    real = rng.normal(size=40)
    few, many = compare(real[:3], real, apart), compare(real[:20], real, apart)
    assert (few.size, many.size) == (3, 20)
    assert few.yardstick.high > 1.5 * many.yardstick.high  # small groups differ more by chance


def test_the_same_seed_gives_the_same_numbers():
    real, ours = np.arange(10.0), np.arange(7.0)
    assert compare(ours, real, apart, seed=3) == compare(ours, real, apart, seed=3)
    assert compare(ours, real, apart, seed=3) != compare(ours, real, apart, seed=4)


@pytest.mark.parametrize(("synthetic", "real"), [(1, 10), (10, 3), (0, 10)])
def test_too_few_cases_are_not_judged(synthetic, real):
    assert compare(np.zeros(synthetic), np.zeros(real), apart) is None
    check = distance_check("a.b", "g", "t", "", None, 0.1)
    assert (check.verdict, check.value) == (Verdict.NONE, None)


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(1.0, Verdict.PASS), (1.01, Verdict.LOOK), (2.0, Verdict.LOOK), (2.01, Verdict.FAIL)],
)
def test_the_rule_of_a_distance(value, verdict):
    found = Comparison(value, Yardstick(0.5, 0.2, 1.0), 8)
    assert judge(found, 0.1)[0] == verdict
    assert judge(found, 3.0)[0] == Verdict.PASS  # below the tolerance
    assert judge(Comparison(value, Yardstick(0, 0, 0), 8), 0.0)[0] == Verdict.FAIL


def test_the_worst_verdict_counts():
    assert worst([Verdict.PASS, Verdict.FAIL, Verdict.LOOK]) == Verdict.FAIL
    assert worst([Verdict.NONE, Verdict.PASS]) == Verdict.PASS
    assert worst([]) == Verdict.NONE


def test_small_samples_are_said_to_be_small():
    assert "groups of 2" in small_note(50, 4)
    assert small_note(50, 40) is None


def check_of(verdict):
    return Check("a", "g", "t", 1.0, "", verdict, "because.")


def a_report(**sections):
    made = tuple(Section(id, id, "?", tuple(map(check_of, verdicts))) for id, verdicts in sections.items())
    return Report(made, {})


def test_bars():
    found = a_report(
        validity=[Verdict.PASS], fidelity=[Verdict.PASS, Verdict.LOOK, Verdict.NONE], diversity=[Verdict.FAIL]
    )
    assert found.below({}) == []
    assert [line.split(":")[0] for line in found.below({"": Verdict.LOOK})] == ["diversity"]
    assert [line.split(":")[0] for line in found.below({"": Verdict.PASS})] == ["fidelity", "diversity"]
    assert found.below({"": 0.5}) == ["diversity: 0% of its checks pass, expected 50% or more"]
    assert found.below({"": Verdict.PASS, "fidelity": 0.5, "diversity": 0.0}) == []
    assert any("because." in line for line in found.lines())


def test_what_could_not_be_judged_is_no_pass():
    found = a_report(validity=[Verdict.PASS], memorisation=[Verdict.NONE], fidelity=[])
    for bar in (Verdict.PASS, Verdict.LOOK, 0.5):
        assert [line.split(":")[0] for line in found.below({"": bar})] == ["memorisation", "fidelity"]
        assert found.below({"memorisation": bar})
    assert found.below({"": 0.0}) == []
    assert found.below({"paired": Verdict.LOOK}) == ["paired: is not in this report"]


def test_numbers_that_json_has_no_word_for_become_none():
    nowhere = Yardstick(float("nan"), 0.1, float("inf"))
    check = Check("a", "g", "t", float("inf"), "", Verdict.LOOK, "because.", nowhere, (float("nan"), 1.0)).to_dict()
    assert (check["value"], check["interval"]) == (None, None)
    assert (check["yardstick"]["median"], check["yardstick"]["low"], check["yardstick"]["high"]) == (None, 0.1, None)


def test_a_section_is_a_line_and_is_left_out_without_checks(monkeypatch):
    checked = Section("checked", "Checked", "Is it?", (not_judged("checked.any", "g", "t", "it is a test."),))
    sections = {"checked": lambda _: checked, "bare": lambda _: Section("bare", "Bare", "Is it?")}
    monkeypatch.setattr(build, "SECTIONS", sections)
    nothing = Measured((), (), {})
    cases = CaseSet(Path("nowhere"), BRATS, ())
    material = Material(Sets((), ()), nothing, nothing, cases, cases, {}, None, None, ReportConfig(), lambda _: iter)
    assert build.sections_of(material) == ([checked], "")


@pytest.mark.parametrize("texts", [["great"], ["1.5"], ["-1"], ["nan"], ["taste=pass"], ["pass", "look"], [""]])
def test_texts_that_are_no_bars(texts):
    with pytest.raises(SynthError, match="--fail-under"):
        read_thresholds(texts)


@pytest.mark.parametrize("settings", [{"sample": 0}, {"viewer": 9}, {"viewer": -1}])
def test_settings_that_mean_nothing(settings):
    with pytest.raises(SynthError):
        ReportConfig(**settings)
