"""Thumbnails, nearest neighbours and the section on memorisation, on stand-ins for brains that are random folds."""

import json
from copy import deepcopy
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
from phantoms import phantom_case, phantom_layout
from scipy.ndimage import uniform_filter
from scipy.spatial.distance import cdist
from skimage.measure import block_reduce

from synth.brats import GRID, Tissue
from synth.errors import SynthError
from synth.layout.atlas import atlas_probabilities
from synth.layout.layout import Layout
from synth.quality.neighbours import (
    LEVELS,
    Neighbours,
    expected_nearest,
    feature_distances,
    nearest_weights,
    neighbours,
)
from synth.quality.prepared import Prepared
from synth.quality.records import Record, store
from synth.quality.thumbnail import PROBE, STEP, block_sums, decoded, measure_thumbnail
from synth.report.core.judge import Verdict
from synth.report.core.nearest import COPY, Nearest
from synth.report.core.sets import Sets
from synth.report.diversity.variety import repeats
from synth.report.memorisation.ratio import ratio_check, ratio_table
from synth.report.memorisation.section import closer_check, section_of

IMAGE, TISSUE, TUMOUR = LEVELS


@pytest.fixture(scope="module")
def atlas():
    """(80, 80, 52, 3) the atlas at 3 mm."""
    return block_sums(atlas_probabilities(), tuple(slice(0, n) for n in GRID))[0] / 27


def brain(atlas, seed):
    """Arrays of the probe `thumbnail`: the atlas, with folds and a tumour that are this seed's alone."""
    rng = np.random.default_rng(seed)
    inside = atlas.sum(-1) > 0.5
    coarse = rng.normal(size=(20, 20, 13, 10)).astype(np.float32)
    folds = uniform_filter(coarse.repeat(4, 0).repeat(4, 1).repeat(4, 2), (4, 4, 4, 1))
    folds /= folds.std((0, 1, 2))
    image = (atlas @ rng.normal(size=(3, 4)) + 0.5 * folds[..., :4]) * inside[..., None]
    shares = (atlas + 0.2 * folds[..., 4:7]).clip(0.01) * inside[..., None]
    shares /= np.maximum(shares.sum(-1, keepdims=True), 0.01)
    centre = rng.uniform((22, 24, 20), (58, 56, 34))
    apart = np.linalg.norm((np.stack(np.indices(inside.shape), -1) - centre) / rng.uniform(4, 9, 3), axis=-1)
    parts = folds[..., 7:].argmax(-1)
    tumour = np.stack([(apart < 1) & inside & (parts == k) for k in range(3)], -1)
    shares *= ~tumour.any(-1, keepdims=True)
    layout = np.concatenate([shares, tumour], -1)
    return {
        "image": np.rint(image / STEP + 85).clip(0, 255).astype(np.uint8).transpose(3, 0, 1, 2),
        "brain": np.where(inside, 255, 0).astype(np.uint8),
        "layout": np.rint(255 * layout).astype(np.uint8).transpose(3, 0, 1, 2),
    }


def changed(arrays, mirrored=False, shift=(0, 0, 0), image=lambda z: z):
    """The arrays of a copy: mirrored, then shifted by blocks, with other intensities."""
    out = dict(arrays)
    z = image(decoded(arrays["image"])) * (arrays["brain"] > 0)
    out["image"] = np.rint(z / STEP + 85).clip(0, 255).astype(np.uint8)
    for name, array in out.items():
        axes = (-3, -2, -1)
        array = np.flip(array, -3) if mirrored else array
        out[name] = np.roll(array, shift, axes)
    return out


@pytest.fixture(scope="module")
def made(atlas, tmp_path_factory):
    """Stores arrays as the record of a case."""

    def make(case_id, arrays, **more):
        folder = tmp_path_factory.mktemp("record")
        store(folder, PROBE, arrays)
        versions = {PROBE.name: PROBE.version}
        for name, value in more.items():
            np.savez(folder / f"{name}-1.npz", pooled=value)
            versions[name] = "1"
        return Record(case_id, folder, versions)

    return make


@pytest.fixture(scope="module")
def brains(atlas, made):
    """Eight different patients."""
    return [made(f"Patient_{seed:03d}", brain(atlas, seed)) for seed in range(8)]


@pytest.fixture(scope="module", autouse=True)
def compared_once():
    """The same cases, of which the same pairs are left out, are compared once at a level, whichever tests ask."""
    known = {}

    def remembered(queries, sides, level, skip=lambda query, reference: False):
        cases = [tuple(record.folder for record in side) for side in (queries, *sides)]
        skipped = tuple(skip(query, reference) for query in queries for side in sides for reference in side)
        key = (level.name, *cases, skipped)
        if key not in known:
            known[key] = neighbours(queries, sides, level, skip)
        return deepcopy(known[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("synth.report.core.nearest.neighbours", remembered)
        yield


@pytest.fixture
def image_only(monkeypatch):
    """Leaves the other levels and the pictures out, which take time."""
    monkeypatch.setattr("synth.report.core.nearest.LEVELS", (IMAGE,))
    monkeypatch.setattr("synth.report.memorisation.section.figures", lambda found: ())


@pytest.fixture
def no_pictures(monkeypatch):
    monkeypatch.setattr("synth.report.memorisation.section.figures", lambda found: ())


def arrays_of(record):
    return {name: record("thumbnail", name) for name in ("image", "brain", "layout")}


def test_thumbnail_is_the_mean_over_blocks_of_the_whole_grid():
    case, layout = phantom_case(), phantom_layout()
    prepared = Prepared(case, layout, layout.bounding_box())
    found = measure_thumbnail(prepared)
    whole = np.zeros(case.images.shape, np.float32)
    whole[prepared.box] = prepared.z
    blocks = block_reduce(whole, (3, 3, 3, 1), np.mean)
    assert found["image"].shape == (4, 14, 16, 12)
    np.testing.assert_allclose(decoded(found["image"]), np.moveaxis(blocks.clip(-4, 8), -1, 0), atol=STEP / 2 + 1e-6)
    for k in range(6):
        np.testing.assert_allclose(
            found["layout"][k] / 255, block_reduce(layout.classes == k + 1, (3, 3, 3), np.mean), atol=0.5 / 255 + 1e-6
        )
    np.testing.assert_allclose(found["brain"] / 255, block_reduce(case.brain, (3, 3, 3), np.mean), atol=0.002)
    assert (decoded(found["image"])[:, found["brain"] == 0] == 0).all()


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name)
def test_a_mirrored_and_shifted_copy_is_found_with_its_mirror_and_shift(level, brains, made):
    copy = made("Copy", changed(arrays_of(brains[3]), mirrored=True, shift=(2, -3, 1)))
    (found,) = neighbours([copy], [brains], level)
    assert found.index[0] == 3
    assert found.nearest[0] < 0.02
    assert found.mirrored[0]
    # the copy is mirrored back first, which turns its shift to the right into one to the left
    np.testing.assert_array_equal(found.shift_mm[0], (6, 9, -3))
    assert np.delete(found.distances[0], 3).min() > 0.3


def test_noise_and_another_scale_leave_a_copy_a_copy(brains, made):
    rng = np.random.default_rng(0)
    one = arrays_of(brains[5])
    noisy = made("Noisy", changed(one, image=lambda z: z + rng.normal(0, 0.3 / 27**0.5, z.shape)))
    scaled = made("Scaled", changed(one, image=lambda z: z * np.array([0.6, 1.2, 0.8, 1.1]).reshape(4, 1, 1, 1) + 0.1))
    (found,) = neighbours([noisy, scaled], [brains], IMAGE)
    np.testing.assert_array_equal(found.index, 5)
    assert found.nearest.max() < 0.05


def test_sides_are_searched_as_if_each_were_alone_and_pairs_can_be_skipped(brains):
    queries, sides = brains[:2], (brains[:5], brains[5:])
    together = neighbours(queries, sides, TISSUE, lambda a, b: a.id == b.id)
    assert np.isinf(together[0].distances[[0, 1], [0, 1]]).all()
    for one, side in zip(together, sides, strict=True):
        (alone,) = neighbours(queries, [side], TISSUE, lambda a, b: a.id == b.id)
        np.testing.assert_allclose(one.distances, alone.distances, atol=1e-6)
        np.testing.assert_array_equal(one.index, alone.index)
        np.testing.assert_allclose(one.nearest, alone.nearest, atol=1e-6)


def test_without_a_tumour_nothing_is_near(brains, made):
    arrays = arrays_of(brains[0])
    arrays["layout"] = np.concatenate([arrays["layout"][:3], np.zeros_like(arrays["layout"][3:])])
    (found,) = neighbours([made("Healthy", arrays)], [brains], TUMOUR)
    np.testing.assert_allclose(found.distances, 1)


def test_expected_nearest_is_the_mean_over_all_subsets():
    distances = np.random.default_rng(0).random((3, 7))
    for size in (1, 2, 5, 7):
        direct = np.mean([distances[:, list(chosen)].min(1) for chosen in combinations(range(7), size)], axis=0)
        np.testing.assert_allclose(expected_nearest(distances, size), direct, rtol=1e-12)
    assert nearest_weights(1000, 300).sum() == pytest.approx(1)


def test_feature_distances_agree_with_scipy():
    rng = np.random.default_rng(0)
    real = rng.normal(50, (1, 5, 0.1, 20), (12, 4))
    features = np.column_stack([real, np.full(12, 3.0)])  # one that never changes says nothing
    queries = features[:3] + 0.5
    direct = cdist(queries[:, :4], real, "seuclidean", V=real.var(0, ddof=1)) / np.sqrt(8)
    np.testing.assert_allclose(feature_distances(queries, features, features), direct, rtol=1e-6)


def test_a_unit_of_features_takes_four_real_cases():
    real = np.random.default_rng(0).normal(size=(3, 5))
    with pytest.raises(SynthError, match="found 3"):
        feature_distances(real, real, real)


def points_apart(samples, training, holdout):
    """What `levels` finds, with points in space for brains: distances are those of points, 1 between two patients."""
    names = ("s", "t", "h")
    cases = [
        [SimpleNamespace(id=f"{k}{i}") for i in range(len(x))]
        for k, x in zip(names, (samples, training, holdout), strict=True)
    ]
    real, unit = np.concatenate([training, holdout]), np.sqrt(2 * training.shape[1])
    among = cdist(real, real) / unit
    np.fill_diagonal(among, np.inf)
    to = [Neighbours.plain(cdist(samples, side) / unit) if len(side) else None for side in (training, holdout)]
    rows = np.sort(np.r_[len(training) : len(real), np.arange(min(len(training), 200 - len(holdout)))])
    nearest = among[rows].min(1)
    copied = nearest < 0.1
    return Nearest("image", *cases, *to, nearest[~copied], rows, among[rows], copied, False)


def graded(checks):
    """Shares of LOOK or worse, and of FAIL."""
    found = [check.verdict for check in checks]
    return np.mean([v in (Verdict.LOOK, Verdict.FAIL) for v in found]), np.mean([v == Verdict.FAIL for v in found])


@pytest.mark.parametrize(
    ("samples", "patients", "dimensions", "sets"),
    [(50, 16, 10, 300), (50, 16, 50, 300), (20, 16, 30, 300), (200, 100, 30, 60)],
)
def test_chance_puts_more_samples_nearer_than_two_patients_than_it_says_in_few_sets(
    samples, patients, dimensions, sets
):
    rng = np.random.default_rng(0)

    def drawn():
        return points_apart(*(rng.normal(size=(n, dimensions)) for n in (samples, patients, 0)))

    look, fail = graded(closer_check(drawn()) for _ in range(sets))
    assert 0 < look < 0.075  # 5 % are meant, and 1 % below
    assert fail < 0.025
    near = rng.normal(size=(patients, dimensions))
    lean = near[rng.integers(patients, size=samples)]
    lean = 0.8 * lean + 0.2 * rng.normal(size=(samples, dimensions))
    assert closer_check(points_apart(lean, near, near[:0])).verdict == Verdict.FAIL


@pytest.mark.parametrize(
    ("samples", "training", "holdout", "scale"), [(50, 12, 4, 1), (50, 12, 4, 0.6), (6, 5, 5, 1), (20, 40, 10, 0.6)]
)
def test_new_patients_and_smooth_ones_seldom_look_nearer_to_training_than_to_hold_out(
    samples, training, holdout, scale
):
    rng = np.random.default_rng(0)
    checks = []
    for _ in range(30):
        parts = [rng.normal(size=(n, 20)) for n in (samples, training, holdout)]
        checks.append(ratio_check(points_apart(scale * parts[0], *parts[1:]), 0)[0])
    look, fail = graded(checks)
    assert look < 0.17  # 5 % are meant; of 30 sets
    assert fail < 0.04
    assert np.median([check.value for check in checks]) == pytest.approx(1, abs=0.06)


def test_one_memorised_case_among_many_shows_in_the_ratio():
    rng = np.random.default_rng(0)
    samples, training, holdout = (rng.normal(size=(n, 30)) for n in (50, 1000, 10))
    honest = ratio_check(points_apart(samples, training, holdout), 0)[0]
    assert honest.verdict == Verdict.PASS
    lean = 0.55 * training[7] + 0.45 * samples  # at about half the distance of strangers
    check, means = ratio_check(points_apart(lean, training, holdout), 0)
    assert check.verdict == Verdict.FAIL
    assert check.interval[1] < check.yardstick.low
    equal = ratio_table({"image": means}, 0).rows[0][5]
    assert equal > 0.9  # as many cases on either side: the one is hardly ever among them


def test_exact_copies_of_training_cases_fail_the_ratio_with_a_dozen_of_them():
    rng = np.random.default_rng(0)
    samples, training, holdout = (rng.normal(size=(n, 30)) for n in (12, 12, 4))
    assert ratio_check(points_apart(training, training, holdout), 0)[0].verdict == Verdict.FAIL
    assert ratio_check(points_apart(training[:6], training, holdout), 0)[0].verdict == Verdict.FAIL
    assert ratio_check(points_apart(samples, training, holdout), 0)[0].verdict == Verdict.PASS


def test_where_few_patients_say_nothing_the_ratio_is_not_judged_and_not_passed():
    rng = np.random.default_rng(0)
    samples, training, holdout = (rng.normal(size=(n, 2)) for n in (6, 6, 2))  # in a plane distances vary widely
    check, _ = ratio_check(points_apart(samples, training, holdout), 0)
    assert check.verdict == Verdict.NONE
    assert "too few" in check.reason
    check, means = ratio_check(points_apart(samples, training[:4], holdout[:1]), 0)
    assert check.verdict == Verdict.NONE
    assert means is None
    assert closer_check(points_apart(samples[:2], training[:3], holdout)).verdict == Verdict.NONE


def test_copies_of_the_one_hold_out_case_are_not_nearer_to_training_and_break_no_json():
    rng = np.random.default_rng(0)
    training, holdout = (rng.normal(size=(n, 30)) for n in (12, 1))
    check, means = ratio_check(points_apart(holdout.repeat(3, 0), training, holdout), 0)
    assert check.verdict in (Verdict.PASS, Verdict.NONE)
    assert check.interval is None
    assert json.dumps(check.to_dict(), allow_nan=False)
    assert json.dumps(ratio_table({"image": means}, 0).rows, allow_nan=False)
    twin = points_apart(training[:1].repeat(3, 0), training, training[:1])  # held out and trained on
    check, means = ratio_check(twin, 0)
    assert check.verdict == Verdict.NONE
    assert means is None


def test_a_sample_that_is_there_many_times_counts_once():
    rng = np.random.default_rng(0)
    samples, training, holdout = (rng.normal(size=(n, 30)) for n in (3, 12, 4))
    found = points_apart(samples.repeat(7, 0), training, holdout)
    np.testing.assert_array_equal(found.different, [0, 7, 14])
    assert closer_check(found).n["synthetic"] == 3


def verdicts(found):
    return {check.id.removeprefix("memorisation."): check.verdict for check in found.checks}


def test_strangers_are_no_copies_and_without_hold_out_the_ratio_is_open(brains):
    found = section_of(Sets(brains[:3], brains[3:], brains[3:]))
    assert verdicts(found)["image.copies"] == Verdict.PASS
    assert verdicts(found)["image.ratio"] == Verdict.NONE
    assert found.verdict != Verdict.FAIL
    assert any("No hold-out set" in note for note in found.notes)
    assert any("Features were not measured" in note for note in found.notes)
    assert {table.id for table in found.tables} >= {"memorisation.closest", "memorisation.nearest.image"}
    assert all(figure.data.startswith(b"\x89PNG") for figure in found.figures)
    assert len(found.figures) == 2


def test_copies_under_new_ids_fail_at_every_level_and_are_named(no_pictures, brains, made):
    rng = np.random.default_rng(1)
    samples = [
        made("New_0", changed(arrays_of(brains[4]), shift=(1, 0, -2))),
        made("New_1", changed(arrays_of(brains[6]), True, image=lambda z: z + rng.normal(0, 0.06, z.shape))),
        brains[0],
    ]
    found = section_of(Sets(samples, brains[1:], brains[1:5], brains[5:]))
    for level in ("image", "tissue", "tumour"):
        check = next(check for check in found.checks if check.id == f"memorisation.{level}.copies")
        assert check.verdict == Verdict.FAIL
        assert set(check.cases) == {"New_0", "New_1"}
        assert check.value >= 0
    pairs = {row[1:3] for row in found.tables[0].rows[:2]}
    assert pairs == {("New_0", "Patient_004"), ("New_1", "Patient_006")}


def mixture(arrays, other, share):
    """A brain that has part of another's folds: memorised in part, no copy."""
    out = dict(other)
    z = share * decoded(arrays["image"]) + (1 - share) * decoded(other["image"])
    out["image"] = np.rint(z / STEP + 85).clip(0, 255).astype(np.uint8)
    return out


def test_samples_that_lean_on_training_cases_are_nearer_to_these_than_to_hold_out(image_only, atlas, brains, made):
    samples = [made(f"Half_{i}", mixture(arrays_of(brains[i]), brain(atlas, 100 + i), share=0.45)) for i in range(4)]
    found = section_of(Sets(samples, brains, brains[:4], brains[4:]))
    ratio = next(check for check in found.checks if check.id == "memorisation.image.ratio")
    assert ratio.verdict in (Verdict.LOOK, Verdict.FAIL)
    assert ratio.value < ratio.yardstick.low
    assert ratio.interval[1] < 1
    assert verdicts(found)["image.copies"] == Verdict.PASS
    assert verdicts(found)["image.closer"] in (Verdict.LOOK, Verdict.FAIL)
    turned = section_of(Sets(samples, brains, brains[4:], brains[:4]))
    assert verdicts(turned)["image.ratio"] == Verdict.PASS


def test_reconstructions_are_near_their_own_scan_by_design_but_must_not_be_it(no_pictures, atlas, brains, made):
    anew = [made(brains[i].id, mixture(arrays_of(brains[i]), brain(atlas, 50 + i), 0.7)) for i in range(2)]
    found = section_of(Sets(anew, brains, brains, paired=anew))
    assert verdicts(found)["paired"] == Verdict.PASS
    assert verdicts(found)["image.copies"] == Verdict.PASS
    assert verdicts(found)["tissue.ratio"] == Verdict.NONE
    same = section_of(Sets(brains[:2], brains, brains, paired=brains[:2]))
    assert verdicts(same)["paired"] == Verdict.FAIL


def test_anatomy_taken_by_design_is_told_and_only_the_image_is_judged(no_pictures, atlas, brains, made):
    painted = brain(atlas, 77) | {"layout": brains[2]("thumbnail", "layout")}
    sample, free = made("Synth_000000", painted), made("Synth_000001", brain(atlas, 78))
    lineage = {"Synth_000000": {"host": brains[2].id, "donor": None}, "Synth_000001": {"host": "atlas-5"}}
    found = section_of(Sets([sample, free], brains, brains[:5], brains[5:], lineage=lineage))
    told = next(check for check in found.checks if check.id == "memorisation.lineage")
    assert told.cases == ("Synth_000000",)
    assert "1 of 2 samples" in told.reason
    assert verdicts(found)["tissue.copies"] == Verdict.PASS
    assert verdicts(found)["tissue.ratio"] == Verdict.NONE
    assert verdicts(found)["image.ratio"] != Verdict.NONE
    unknown = section_of(Sets([sample, free], brains, brains[:5], brains[5:]))
    assert verdicts(unknown)["tissue.copies"] == Verdict.FAIL


def test_a_brain_that_was_to_be_kept_is_told_with_its_distance_and_fails_nothing(no_pictures, atlas, brains, made):
    near = mixture(arrays_of(brains[2]), brain(atlas, 77), 0.9)
    sample, free = made("Synth_000000", near), made("Synth_000001", brain(atlas, 78))
    host = {"host": brains[2].id, "donor": brains[3].id, "from_host": {"kept": True, "tissue": 0.1}}
    lineage = {"Synth_000000": host, "Synth_000001": {"host": brains[4].id, "from_host": {"kept": False}}}
    found = section_of(Sets([sample, free], brains, brains[:5], brains[5:], lineage=lineage))
    kept = next(check for check in found.checks if check.id == "memorisation.kept")
    assert (kept.verdict, kept.cases, kept.n) == (Verdict.LOOK, ("Synth_000000",), {"synthetic": 1, "pairs": 1})
    assert "1 of 2 samples keep the brain of a real case" in kept.reason
    assert 0 < kept.value < COPY["image"]
    assert verdicts(found)["image.copies"] == Verdict.PASS
    assert verdicts(found)["image.ratio"] == Verdict.NONE
    # a run of which that is not recorded is judged as it was
    old = {name: {"host": brains[2].id} for name in lineage}
    assert (
        verdicts(section_of(Sets([sample, free], brains, brains[:5], brains[5:], lineage=old)))["image.copies"]
        == Verdict.FAIL
    )


def test_one_patient_under_two_ids_does_not_spoil_the_yardstick(image_only, brains, made):
    twin = made("Twin", arrays_of(brains[7]))
    found = section_of(Sets(brains[:2], [*brains[2:], twin], [*brains[2:], twin]))
    image = next(check for check in found.checks if check.id == "memorisation.image.copies")
    assert image.yardstick.low > 0.3
    assert any("Patient_007" in note and "Twin" in note for note in found.notes)


def test_features_are_a_level_where_all_cases_have_them(image_only, atlas, made):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(8, 20))
    records = [made(f"P{i}", brain(atlas, i), embedding=vectors[i]) for i in range(8)]
    copy = made("New", brain(atlas, 30), embedding=vectors[2] + 0.001)
    found = section_of(Sets([copy, records[0]], records[1:], records[1:5], records[5:]))
    check = next(check for check in found.checks if check.id == "memorisation.features.copies")
    assert check.verdict == Verdict.FAIL
    assert check.cases == ("New",)


def test_too_few_real_cases_leave_features_unjudged(image_only, atlas, made):
    rng = np.random.default_rng(0)
    records = [made(f"P\n{i}", brain(atlas, i), embedding=rng.normal(size=5)) for i in range(5)]
    found = section_of(Sets(records[:2], records[2:], records[2:]))
    for name in ("copies", "closer", "ratio"):
        check = next(check for check in found.checks if check.id == f"memorisation.features.{name}")
        assert check.verdict == Verdict.NONE
        assert "takes 4" in check.reason
    told = {check.id: check for check in repeats(Sets(records[:2], records[2:]), records[:2], records[2:])}
    assert told["diversity.repeats.features"].verdict == Verdict.NONE
    assert "4 real cases" in told["diversity.repeats.features"].reason
    assert told["diversity.repeats.image"].verdict == Verdict.PASS
    copies = section_of(Sets(records[:1], records, records))
    reason = next(check.reason for check in copies.checks if check.id == "memorisation.image.copies")
    assert "P\\n0" in reason
    assert "\n" not in reason


def test_nothing_to_compare_is_said(image_only, brains):
    found = section_of(Sets([], brains, brains))
    assert found.verdict == Verdict.NONE
    assert not found.figures
    alone = section_of(Sets(brains[:2], [], []))
    assert alone.verdict == Verdict.NONE


def test_a_real_scan_mirrored_shifted_and_noisy_is_a_copy_and_another_patient_is_not(image_only, real_data, tmp_path):
    from synth.case import Case
    from synth.datasets.cases import find_cases, read_case

    def record(case):  # tissue is not looked at
        layout = Layout(case.brain * np.uint8(Tissue.GM), case.labels * case.brain, case.affine, case.id)
        store(tmp_path / case.id, PROBE, measure_thumbnail(Prepared(case, layout, layout.bounding_box())))
        return Record(case.id, tmp_path / case.id, {PROBE.name: PROBE.version})

    one, other = (read_case(find_cases(real_data / "brats" / part)[0]) for part in ("train", "val"))
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.3 * one.images[one.brain].std(0), one.images.shape)
    noisy = np.where(one.images > 0, np.maximum(one.images + noise, 1), 0).astype(np.int16)
    images, labels = (np.roll(array[::-1], (4, -7, 5), (0, 1, 2)) for array in (noisy, one.labels))
    copy = Case("Copy", np.ascontiguousarray(images), np.where(images.any(-1), labels, 0).astype(np.uint8), one.affine)
    samples, real = [record(copy), record(other)], [record(one)]
    for level, limit in ((IMAGE, 0.1), (TUMOUR, 0.1)):
        (found,) = neighbours(samples, [real], level)
        assert found.mirrored[0]
        assert found.nearest[0] < limit
        assert found.nearest[1] > 0.35
    check = next(c for c in section_of(Sets(samples, real, real)).checks if c.id == "memorisation.image.copies")
    assert check.cases == ("Copy",)
