"""The report on real scans: nothing of real ones fails, and what is spoilt is noticed where it is spoilt.

Every section is asked with the features of an untrained network, since the shipped segmenter is half of what a case
costs, and of `SLAB` slices of each scan, real and spoilt alike; what its Dice says of labels is asked of few cases,
around their tumours. `benchmarks/report_bars.py` has whole scans in all sections.
"""

from dataclasses import replace

import numpy as np
import pytest
from corrupted import enlarged, write_copies, write_scaled_labels, write_spoilt

from synth.brats import REGIONS
from synth.case import Case, zscored
from synth.datasets.cases import find_cases, read_case
from synth.datasets.members import FilesMember
from synth.lineage import hash_id
from synth.models import sliding_window
from synth.models.cards import DEFAULT_MODEL, SEGMENTER, read_card
from synth.models.configs import DIVISOR
from synth.models.ensembles import load_segmenter
from synth.models.sliding_window import Segmenter
from synth.quality.probes import Probe
from synth.quality.records import Record, store
from synth.quality.segmentation_metrics import region_dice
from synth.report import build
from synth.report.core.config import ReportConfig
from synth.report.core.judge import Verdict
from synth.report.run import report
from synth.report.usefulness.section import section_of

SLAB = 64  # slices
AROUND = 96  # voxels, the edge of a box around a tumour
YARDSTICK = 8  # training cases; of 6, halves are too small: real scans then differ as much as spoilt ones
# how a set is spoilt -> the section that must fail, and by which checks; `benchmarks/report_bars.py` has more kinds
RIGHT = {
    "noisy": ("fidelity", "fidelity.texture"),
    "scaled": ("validity", "validity.labels"),
    "copies": ("memorisation", "memorisation.image.copies"),
    "repeated": ("diversity", "diversity.repeats"),
}


def around(case: Case) -> tuple[slice, ...]:
    """The box about a case's tumour."""
    corner = np.argwhere(case.labels).mean(0) - AROUND / 2
    corner = np.clip(corner, 0, np.array(case.labels.shape) - AROUND).astype(int)
    return tuple(slice(first, first + AROUND) for first in corner)


@pytest.fixture(scope="module")
def slabs():
    """Of whatever a report reads, `SLAB` axial slices about its tumour, on the same grid; a window has no more."""
    examine = FilesMember.examine

    def cut(member, *asked):
        case, findings = examine(member, *asked)
        if case is None:
            return case, findings
        first = int(np.clip(np.argwhere(case.labels)[:, 2].mean() - SLAB / 2, 0, case.labels.shape[2] - SLAB))
        kept = (np.arange(case.labels.shape[2]) - first) // SLAB == 0
        return replace(case, images=case.images * kept[:, None], labels=case.labels * kept), findings

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FilesMember, "examine", cut)
        patch.setattr(sliding_window, "_side", lambda size, window: -(-size // DIVISOR) * DIVISOR)
        yield


@pytest.fixture(scope="module")
def spoilt(real_data, tmp_path_factory, tiny_segmenter, slabs):
    """Verdicts by kind and section; every set is made from validation cases, but for the copies of training cases."""
    folder = tmp_path_factory.mktemp("spoilt")
    train, val = (find_cases(real_data / "brats" / name) for name in ("train", "val"))
    # both shipped networks learnt from these
    known = set(read_card(DEFAULT_MODEL, SEGMENTER)["training"]["ids_sha256"])
    train = [case for case in train if hash_id(case.id) in known][:YARDSTICK]
    (folder / "train").mkdir()
    for case in train:
        (folder / "train" / case.id).symlink_to(case.folder)
    makers = {
        "noisy": lambda out: write_spoilt("noisy", val[:2], out),
        "scaled": lambda out: write_scaled_labels(val[:1], out),
        "copies": lambda out: write_copies(train[:4], out),
        "repeated": lambda out: write_copies([val[0]] * 8, out),
        "real": lambda out: write_copies(val, out, "real"),
    }
    config = ReportConfig(pictures="none", segmenter=str(tiny_segmenter))

    def verdicts(kind):
        makers[kind](folder / kind)
        out = folder / f"out-{kind}"
        made = report(folder / kind, folder / "train", out, cache=folder / "cache", config=config)
        return {section.id: section for section in made.sections}

    return verdicts


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


def test_the_shipped_segmenter_tells_labels_that_fit_from_enlarged_ones(real_data, tmp_path):
    loaded, _ = load_segmenter()
    segmenter, dice = Segmenter(loaded.networks, AROUND), Probe("dice", "1", region_dice)

    def found(case: Case) -> tuple[tuple[slice, ...], np.ndarray]:
        """A box, and the labels found in it."""
        box = around(case)
        probabilities = segmenter.probabilities(zscored(case.images, case.brain)[box])
        return box, np.where(case.brain[box], probabilities.argmax(-1), 0)

    def records(name, cases, seen):
        for case, (box, labels) in zip(cases, seen, strict=True):
            scores = dice.measure(case.labels[box], labels)
            store(tmp_path / name / case.id, dice, {"dice": np.array([scores[region] for region in REGIONS])})
        return [Record(case.id, tmp_path / name / case.id, {dice.name: dice.version}) for case in cases]

    cases = [read_case(files) for files in find_cases(real_data / "brats" / "val")]  # unknown to the segmenter
    seen = [found(case) for case in cases]
    yardstick = records("yardstick", cases[1::2], seen[1::2])
    failed = {}
    for name, few in (("real", cases[::2]), ("enlarged", [enlarged(case, None) for case in cases[::2]])):
        checks = section_of(records(name, few, seen[::2]), yardstick, True, "default").checks
        failed[name] = [check.id for check in checks if check.verdict == Verdict.FAIL]
    assert failed["real"] == []
    assert any(name.startswith("usefulness.dice") for name in failed["enlarged"])
