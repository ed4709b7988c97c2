"""The report on real scans: nothing of real ones fails, and what is spoilt is noticed where it is spoilt."""

import pytest
from corrupted import REPEATS, SPOILT, write_copies, write_scaled_labels, write_spoilt

from synth.datasets.cases import find_cases
from synth.lineage import hash_id
from synth.models.cards import DEFAULT_MODEL, SEGMENTER, read_card
from synth.report import build
from synth.report.core.config import ReportConfig
from synth.report.core.judge import Verdict
from synth.report.run import report

YARDSTICK = 8  # training cases; of 6, halves are too small: real scans then differ as much as spoilt ones
# how a set is spoilt -> the section that must fail, and by which checks; `benchmarks/report_bars.py` has more kinds
RIGHT = {
    "noisy": ("fidelity", "fidelity.texture"),
    "enlarged": ("usefulness", "usefulness.dice"),
    "scaled": ("validity", "validity.labels"),
    "copies": ("memorisation", "memorisation.image.copies"),
    "repeated": ("diversity", "diversity.repeats"),
}


@pytest.fixture(scope="module")
def spoilt(real_data, tmp_path_factory):
    """Verdicts by kind and section; every set is made from validation cases, but for the copies of training cases."""
    folder = tmp_path_factory.mktemp("spoilt")
    train, val = (find_cases(real_data / "brats" / name) for name in ("train", "val"))
    # both shipped networks learnt from these
    known = set(read_card(DEFAULT_MODEL, SEGMENTER)["training"]["ids_sha256"])
    train = [case for case in train if hash_id(case.id) in known][:YARDSTICK]
    (folder / "train").mkdir()
    for case in train:
        (folder / "train" / case.id).symlink_to(case.folder)
    makers = {kind: lambda out, kind=kind: write_spoilt(kind, val[:2], out) for kind in SPOILT}
    makers["scaled"] = lambda out: write_scaled_labels(val[:1], out)
    makers["copies"] = lambda out: write_copies(train[:4], out)
    makers["repeated"] = lambda out: write_copies([val[0]] * REPEATS, out)
    makers["real"] = lambda out: write_copies(val, out, "real")
    config = ReportConfig(pictures="none")

    def verdicts(kind):
        makers[kind](folder / kind)
        found = report(folder / kind, folder / "train", folder / f"out-{kind}", cache=folder / "cache", config=config)
        return {section.id: section for section in found.sections}

    made = {}
    return lambda kind: made.setdefault(kind, None) or made.update({kind: verdicts(kind)}) or made[kind]


def test_real_against_real_fails_nowhere(spoilt):
    for section in spoilt("real").values():
        assert section.verdict != Verdict.FAIL, [c.reason for c in section.checks if c.verdict == Verdict.FAIL]


@pytest.mark.parametrize("kind", RIGHT)
def test_the_right_section_fails(spoilt, kind, monkeypatch):
    section, check = RIGHT[kind]
    monkeypatch.setattr(build, "SECTIONS", {section: build.SECTIONS[section]})  # the others say nothing here
    found = spoilt(kind)[section]
    assert found.verdict == Verdict.FAIL
    assert any(one.id.startswith(check) for one in found.checks if one.verdict == Verdict.FAIL)
