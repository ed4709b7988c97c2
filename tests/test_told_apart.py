"""Statistics of slices, blocks and shells, and the classifier that is shown them."""

import numpy as np
import pytest
from phantoms import phantom_case, phantom_layout
from scipy.ndimage import gaussian_filter

from synth.brats import MODALITIES
from synth.case import Case
from synth.layout.layout import Layout
from synth.quality import local, shells
from synth.quality.local import BLOCK_STATISTICS, SLICE_STATISTICS, measure_local
from synth.quality.prepared import Prepared
from synth.quality.records import Record, store
from synth.report.core.judge import Verdict
from synth.report.fidelity import classifier


@pytest.fixture(autouse=True)
def few_fits(monkeypatch):
    monkeypatch.setattr(classifier, "_FOLDS", 3)
    monkeypatch.setattr(classifier, "_HALVES", 3)


def noise(seed=0, shape=(80, 80, 64), blur=0.0, only=None, tumour=None):
    """A brain without folds: noise on a bright ground, in one modality or all of them blurred."""
    rng, images = np.random.default_rng(seed), []
    for modality in MODALITIES:
        field = rng.normal(0, 40, shape)
        if blur and only in (None, modality):
            field = gaussian_filter(field, blur)
            field *= 40 / field.std()
        images.append(500 + field)
    labels = np.zeros(shape, np.uint8) if tumour is None else tumour
    layout = Layout(np.full(shape, 2, np.uint8), labels, np.eye(4), "v")
    return Prepared(
        Case("v", np.stack(images, -1).astype(np.float32), labels, np.eye(4)), layout, layout.bounding_box()
    )


def test_blur_shows_in_the_modality_that_has_it_and_nowhere_else():
    sharp, soft = measure_local(noise()), measure_local(noise(blur=1.0, only="t2"))
    for kind, names, finest in (
        ("slices", SLICE_STATISTICS, "power at 1 mm"),
        ("blocks", BLOCK_STATISTICS, "differences over 1 mm"),
    ):
        assert sharp[kind].shape[1] == len(names)
        assert len(sharp[kind]) > 8
        lost = dict(zip(names, sharp[kind].mean(0) - soft[kind].mean(0), strict=True))
        assert lost[f"t2: {finest}"] > 0.5
        assert all(abs(lost[f"{m}: {finest}"]) < 0.1 for m in MODALITIES if m != "t2")


def test_modalities_that_share_their_grain_go_together():
    case = noise()
    apart = measure_local(case)["blocks"].mean(0)
    case.case.images[..., 1] = case.case.images[..., 0]
    together = measure_local(Prepared(case.case, case.layout, case.box))["blocks"].mean(0)
    for what in ("intensities", "differences"):
        k = BLOCK_STATISTICS.index(f"t1 with t1ce: {what}")
        assert (round(apart[k], 1), round(together[k], 2)) == (0, 1)


def test_a_brain_without_room_for_a_block_has_no_row():
    small = measure_local(noise(shape=(20, 20, 20)))
    assert [len(rows) for rows in small.values()] == [0, 0]


def test_shells_are_where_they_say():
    tumour = np.zeros((80, 80, 64), np.uint8)
    tumour[30:60, 30:50, 20:44] = 2
    surface, sulci, rim, interior = shells.shells(noise(tumour=tumour))
    assert not sulci.any()  # no fluid
    assert (surface[1:4, 40, 30].all(), surface[0, 40, 30], surface[4, 40, 30]) == (True, False, False)
    assert list(np.flatnonzero(rim[:, 40, 30])) == [28, 29, 30, 31, 58, 59, 60, 61]
    assert list(np.flatnonzero(interior[:, 40, 30])) == list(range(32, 58))
    folded = phantom_layout(seed=3)
    case = Prepared(phantom_case(seed=3), folded, folded.bounding_box())
    _, sulci, *_ = shells.shells(case)
    assert 0.2 < (case.classes[sulci] == 1).mean() < 0.9
    values = shells.measure_shells(case)["statistics"]
    assert np.isfinite(values[2:]).all()


def test_a_smooth_tumour_shows_inside_it_and_not_at_the_surface():
    tumour = np.zeros((80, 80, 64), np.uint8)
    tumour[30:60, 30:50, 20:44] = 2
    rough, smooth = noise(tumour=tumour), noise(tumour=tumour)
    inside = smooth.case.images[tumour > 0]
    smooth.case.images[tumour > 0] = inside.mean(0) + 0.2 * (inside - inside.mean(0))
    lost = shells.measure_shells(rough)["statistics"] - shells.measure_shells(smooth)["statistics"]
    edges = shells.STATISTICS.index("steepest gradients")
    assert (lost[shells.SHELLS.index("interior"), :, edges] > 1).all()
    assert (np.abs(lost[shells.SHELLS.index("surface"), :, edges]) < 0.1).all()


def rows(folder, name, count, shift=0.0, seed=0):
    rng, out = np.random.default_rng(seed), []
    for k in range(count):
        own = rng.normal(0, 0.5, (1, len(SLICE_STATISTICS)))  # of the patient
        values = own + rng.normal(0, 1, (16, len(SLICE_STATISTICS)))
        values[:, 7] += shift
        blocks = rng.normal(0, 1, (16, len(BLOCK_STATISTICS)))
        store(folder / name / str(k), local.PROBE, {"slices": np.float32(values), "blocks": np.float32(blocks)})
        out.append(Record(f"{name}_{k}", folder / name / str(k), {"local": local.PROBE.version}))
    return out


def test_sets_that_are_alike_pass_and_a_telling_statistic_is_named(tmp_path):
    real, alike = rows(tmp_path, "real", 14), rows(tmp_path, "alike", 12, seed=1)
    assert [check.verdict for check in classifier.checks(alike, real)] == [Verdict.PASS, Verdict.PASS]
    slices, blocks = classifier.checks(rows(tmp_path, "far", 12, shift=-3.0, seed=2), real)
    assert (slices.verdict, blocks.verdict) == (Verdict.FAIL, Verdict.PASS)
    assert slices.value > 0.95
    assert f"most telling: {SLICE_STATISTICS[7]} lower (0.9" in slices.reason
    assert slices.yardstick.high < 0.7


def test_a_patient_is_never_judged_by_trees_that_met_it(tmp_path):
    """Rows that tell the patient but not the set must not be of use."""
    rng = np.random.default_rng(3)
    marked = [np.repeat(rng.normal(0, 10, (1, 5)), 16, 0) + rng.normal(0, 0.01, (16, 5)) for _ in range(24)]
    assert classifier.separability(marked[:12], marked[12:]) < 0.75


@pytest.mark.parametrize(("ours", "theirs"), [(5, 12), (6, 11)])
def test_few_cases_are_not_judged(tmp_path, ours, theirs):
    checks = classifier.checks(rows(tmp_path, "a", ours), rows(tmp_path, "b", theirs))
    assert {check.verdict for check in checks} == {Verdict.NONE}
    assert f"{ours} synthetic and {theirs} real" in checks[0].reason
