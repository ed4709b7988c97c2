"""Feature space and diversity: collapsed, shifted and repeated sets are told from sets of the same kind."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from phantoms import phantom_case, phantom_layout

from synth.brats import REGIONS
from synth.models.configs import SegmenterConfig
from synth.models.ensembles import load_segmenter
from synth.models.networks.segmenter import build_segmenter
from synth.models.weights import save_segmenter
from synth.quality import embedding, radiomics
from synth.quality.prepared import Prepared
from synth.quality.probes import Probe
from synth.quality.records import Record, array_path, store
from synth.quality.segmentation_metrics import region_dice
from synth.quality.thumbnail import LOW, STEP, ZERO
from synth.report.core import feature_space, judge
from synth.report.core.judge import Verdict
from synth.report.core.sets import Sets
from synth.report.diversity import section as diversity
from synth.report.diversity import variety
from synth.report.fidelity import features

GRID = (80, 80, 52)  # of thumbnails
BRAIN = (slice(16, 62), slice(14, 70), slice(2, 46))
PATIENTS = 12


def arrays(seed, shift=0.0):
    """What probes would give of a made-up patient: each seed another; `shift` moves all features."""
    rng = np.random.default_rng(seed)
    lengths = {"fine": 8, "middle": 10, "deep": 12, "tumour": 15}
    found = {name: (rng.normal(size=n) * 3 + shift).astype(np.float32) for name, n in lengths.items()}
    found["pooled"] = np.concatenate([found[name] for name in embedding.PARTS])
    image = np.full((4, *GRID), ZERO, np.uint8)
    coarse = rng.normal(0, 1.2, (4, 8, 8, 6))
    fine = coarse.repeat(10, 1).repeat(10, 2).repeat(9, 3)[:, :, :, : GRID[2]]
    place = (slice(None), *BRAIN)
    image[place] = np.rint((fine - LOW) / STEP).clip(0, 255)[place]
    brain = np.zeros(GRID, np.uint8)
    brain[BRAIN] = 255
    return {
        "embedding": found,
        "thumbnail": {"image": image, "brain": brain},
        "anatomy": {
            "volume_ml": np.exp(rng.normal(3, 1, 6)).astype(np.float32),
            "composition": rng.dirichlet((2, 5, 3)).astype(np.float32),
            "centroid_mm": rng.normal(0, 30, 3).astype(np.float32),
        },
        "intensity": {"mean": rng.normal(size=(4, 6)).astype(np.float32)},
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Makes records: `made("name", seeds, shift)`; a seed twice is a case twice."""
    root = tmp_path_factory.mktemp("records")

    def make(name, seeds, shift=0.0, images=True):
        records = []
        for number, seed in enumerate(seeds):
            folder, found = root / f"{name}{shift}{number}", arrays(seed, shift)
            if not images:
                del found["thumbnail"]
            folder.mkdir(exist_ok=True)
            for probe, values in found.items():
                np.savez(array_path(folder, probe, "1"), **values)  # as `store` does, but quicker to write and read
            records.append(Record(f"{name}_{number:03d}x", folder, dict.fromkeys(found, "1")))
        return records

    return make


@pytest.fixture(scope="module")
def real(made):
    return made("real", range(PATIENTS))


@pytest.fixture(scope="module", autouse=True)
def few_pairs():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(variety, "MOST_PAIRS", 3)
        for module in (judge, variety):
            patch.setattr(module, "SPLITS", 100)
        yield


def verdicts(checks):
    return {check.id: check.verdict for check in checks}


@pytest.fixture(scope="module")
def alike(made, real):
    return Sets(made("new", range(100, 112)), real)


@pytest.fixture(scope="module")
def section(alike):
    return diversity.section_of(alike)


def test_patients_of_the_same_kind_pass(alike, section):
    checks, figures = features.checks(alike)
    for check in (*checks, *section.checks):
        assert check.verdict in (Verdict.PASS, Verdict.NONE), (check.id, check.reason)
    assert [check.id for check in checks if check.verdict == Verdict.NONE] == ["fidelity.features.radiomic"]
    assert {check.group for check in section.checks if check.verdict == Verdict.NONE} <= {"Coverage"}  # of 6 cases
    for figure in (*figures, *section.figures):
        assert figure.data.startswith(b"\x89PNG")
    assert section.to_dict()["tables"]


def test_the_same_sets_give_the_same_section(alike, section):
    assert diversity.section_of(alike).to_dict() == section.to_dict()


def test_shifted_features_fail_at_every_level(made, real):
    found, _ = features.checks(Sets(made("far", range(200, 212), 9.0), real))
    got = verdicts(found)
    for part in embedding.PARTS:
        assert got[f"fidelity.features.mmd.{part}"] == Verdict.FAIL
    assert got["fidelity.features.frechet"] == Verdict.FAIL
    assert got["fidelity.features.outside"] == Verdict.FAIL


def test_one_odd_sample_is_no_failure(made, real):
    """Four samples, one of which is far off: to be looked at, since without it there is nothing."""
    odd = [*made("near", [210, 211, 212]), *made("odd", [213], 60.0)]
    checks, _ = features.checks(Sets(odd, real))
    distances = [check for check in checks if ".mmd." in check.id]
    assert max(check.value for check in distances) > 0
    assert Verdict.LOOK in verdicts(distances).values()
    assert Verdict.FAIL not in verdicts(distances).values()


def test_one_case_again_and_again_fails(made, real):
    section = diversity.section_of(Sets(made("one", [300] * 6), real))
    got = verdicts(section.checks)
    for name in ("repeats.image", "repeats.features", "variety.image", "variety.features", "variety.number"):
        assert got[f"diversity.{name}"] == Verdict.FAIL, name
    assert got["diversity.recall.features"] == Verdict.FAIL
    repeated = next(check for check in section.checks if check.id == "diversity.repeats.image")
    assert len(repeated.cases) == 6
    assert "1 different samples in all, one of them 6 times" in repeated.reason


def test_twins_are_named_with_whom_they_descend_from(made, real):
    samples = made("kin", [500, 501, 500, 502])
    ids = [record.id for record in samples]
    host = {"host": "BraTS-GLI-00005-001", "donor": "UPENN_1"}
    lineage = {name: {**host, "from_host": {"kept": True}} for name in ids}
    checks = {c.id: c for c in variety.repeats(Sets(samples, real, lineage=lineage), samples, real)}
    twins = checks["diversity.repeats.image"]
    assert f"{ids[0]} and {ids[2]}, both from BraTS-GLI-00005 and UPENN_1" in twins.reason
    assert "by design" in twins.reason
    assert twins.verdict == Verdict.LOOK
    bent = {name: {**host, "from_host": {"kept": False}} for name in ids}
    checks = {c.id: c for c in variety.repeats(Sets(samples, real, lineage=bent), samples, real)}
    assert checks["diversity.repeats.image"].verdict == Verdict.FAIL
    assert "both from" in checks["diversity.repeats.image"].reason


def test_three_cases_three_times_each_are_counted(made, real):
    section = diversity.section_of(Sets(made("five", [400, 401, 402] * 3), real))
    repeated = {check.id: check for check in section.checks if "repeats" in check.id}
    for check in repeated.values():
        assert check.verdict == Verdict.FAIL
        assert check.value == 100
        assert "3 different samples in all, one of them 3 times" in check.reason
    assert section.verdict == Verdict.FAIL


def test_a_single_pair_of_twins_among_many_is_a_warning(made, real):
    ours = made("twins", [*range(500, 539), 500])
    found = {check.id: check for check in variety.repeats(Sets(ours, real), ours, real)}
    for check in found.values():
        assert check.verdict == Verdict.LOOK
        assert check.cases == ("twins_000x", "twins_039x")


def with_image(records, place, changed):
    """The records with another thumbnail for one of them."""
    record = records[place]
    found = {name: record("thumbnail", name) for name in ("image", "brain")}
    store(record.folder, Probe("thumbnail", "1", None), found | {"image": changed})
    return records


def test_twins_are_found_among_more_samples_than_are_compared(made, real, monkeypatch):
    """A copy mirrored, shifted and with noise, whose features are another's: the fingerprint leads to it."""
    monkeypatch.setattr(variety, "QUERIES", 2)
    monkeypatch.setattr(variety, "BLOCK", 5)
    ours = made("many", range(900, 914))
    image = ours[3]("thumbnail", "image").astype(int)
    noise = np.random.default_rng(0).integers(-6, 7, image.shape) * (image != ZERO)
    changed = np.roll((image + noise)[:, ::-1], (2, -2), (1, 2)).clip(0, 255).astype(np.uint8)
    with_image(ours, 12, changed)
    found = {check.id: check for check in variety.repeats(Sets(ours, real), ours, real)}
    image = found["diversity.repeats.image"]
    assert image.cases == ("many_003x", "many_012x")
    assert image.verdict == Verdict.FAIL
    assert "all were screened by a fingerprint of the image and by features, 2 that" in image.reason
    assert found["diversity.repeats.features"].verdict == Verdict.PASS


def test_the_section_looks_for_repeats_among_all_samples(made, real, monkeypatch):
    monkeypatch.setattr(feature_space.drawn, "__defaults__", (8,))
    ours = made("crowd", [*range(940, 951), 940])
    named = {check.id: check for check in diversity.section_of(Sets(ours, real)).checks}
    for level in ("image", "features"):
        assert named[f"diversity.repeats.{level}"].cases == ("crowd_000x", "crowd_011x")


def test_real_cases_that_are_all_copies_give_no_yardstick(made):
    same, ours = made("same", [5] * 6), made("other", range(960, 964))
    named = {check.id: check for check in diversity.section_of(Sets(ours, same)).checks}
    for level in ("image", "features", "number"):
        assert named[f"diversity.variety.{level}"].verdict == Verdict.NONE
    assert "copies of one another" in named["diversity.variety.image"].reason


def test_repeats_are_found_without_real_cases(made):
    ours = made("alone", [970, 971, 970])
    found = {check.id: check for check in variety.repeats(Sets(ours, []), ours, [])}
    assert found["diversity.repeats.image"].cases == ("alone_000x", "alone_002x")
    assert found["diversity.repeats.features"].verdict == Verdict.NONE
    same = made("alike", [972] * 3)
    assert variety.repeats(Sets(same, []), same, [])[0].value == 100


@pytest.mark.parametrize("count", [4, 8, 24])
def test_a_set_of_one_real_case_does_not_pass_coverage(made, count):
    known = made(f"known{count}", range(count), images=False)
    found = diversity.section_of(Sets(made(f"collapsed{count}", [0] * 12, images=False), known)).checks
    covered = [check for check in found if check.group == "Coverage"]
    assert len(covered) == 6
    got = {check.verdict for check in covered}
    assert Verdict.PASS not in got
    assert (Verdict.NONE if count < 24 else Verdict.FAIL) in got


def test_shares_that_cannot_fail_are_not_judged():
    def share(value, high, size, most=np.inf):
        found = judge.Comparison(value, judge.Yardstick(high / 2, 0, high), size)
        return feature_space.share_check("a.b", "g", "t", found, 0.1, most)

    assert share(0.5, 0.5, 4).verdict == Verdict.NONE
    assert "groups of 4 are too small" in share(1.0, 0.5, 4).reason
    assert share(1.0, 0.45, 8).verdict == Verdict.FAIL
    assert share(0.3, 0.4, 4, 0.25).verdict == Verdict.NONE
    assert share(1.0, 0.4, 4, 0.25).verdict == Verdict.FAIL
    assert share(0.3, 0.4, 4, 0.8).verdict == Verdict.PASS


def test_too_few_cases_are_not_judged(made, real):
    few = Sets(made("few", [600]), real[:2])
    checks, figures = features.checks(few)
    assert {check.verdict for check in checks} == {Verdict.NONE}
    assert not figures
    assert diversity.section_of(few).verdict == Verdict.NONE
    assert diversity.section_of(Sets([], real)).verdict == Verdict.NONE


def test_cases_without_tumour_or_embedding_leave_the_rest_judged(made, real):
    ours = made("bare", range(700, 704))
    bare = [replace(record, versions={"thumbnail": "1", "anatomy": "1", "intensity": "1"}) for record in ours]
    got = verdicts(diversity.section_of(Sets(bare, real)).checks)
    assert got["diversity.repeats.features"] == got["diversity.variety.number"] == Verdict.NONE
    assert got["diversity.repeats.image"] == got["diversity.variety.image"] == Verdict.PASS
    assert "diversity.coverage.place" in got


# the embedding


@pytest.fixture(scope="module", params=["unet3d", "vox2vox"])
def model(request, tmp_path_factory):
    """A small untrained segmenter with windows smaller than a brain."""
    config = SegmenterConfig(request.param, 4)
    keras.utils.set_random_seed(1)
    card = {"name": "tiny", "segmenter": config.to_dict(), "window": 32}
    return save_segmenter(tmp_path_factory.mktemp(request.param), build_segmenter(config), card)


def prepared(seed=0, **options):
    case, layout = phantom_case(seed=seed, **options), phantom_layout(seed=seed, **options)
    return Prepared(case, layout, layout.bounding_box())


def test_dice_is_that_of_the_segmenter_and_no_feature_is_missing(model):
    one = prepared()
    dice, embedded = embedding.probes(model)
    alone = embedded.measure(one)
    agreement, found = dice.measure(one)["dice"], embedded.measure(one)
    for name, values in alone.items():  # the way down gives what the whole network gives on the way
        np.testing.assert_allclose(values, found[name], rtol=1e-5, atol=1e-6)
    other = prepared(seed=1)
    assert not np.array_equal(embedded.measure(other)["pooled"], found["pooled"])
    box, labels = load_segmenter(model)[0].labels_in_box(one.case)
    expected = region_dice(one.case.labels[box], labels)
    np.testing.assert_allclose(agreement, [expected[name] for name in REGIONS], atol=1e-6)
    assert np.isfinite(found["pooled"]).all()
    assert len(found["pooled"]) == sum(len(found[part]) for part in embedding.PARTS)
    assert found["tumour"].any()


def test_a_brain_without_tumour_has_no_tumour_features(model):
    found = embedding.probes(model)[1].measure(prepared(tumour=False))
    assert not found["tumour"].any()
    assert np.isfinite(found["pooled"]).all()


def test_pooled_features_are_those_of_the_network_where_one_window_sees_all(tmp_path):
    """Weighted means by hand, over the labelled brain, of the network's own activations."""
    config = SegmenterConfig("unet3d", 4)
    network = build_segmenter(config)
    save_segmenter(tmp_path, network, {"name": "tiny", "segmenter": config.to_dict(), "window": 48})
    one = prepared()
    found = embedding.probes(tmp_path)[1].measure(one)
    segmenter, _ = load_segmenter(tmp_path)
    from synth.models.sliding_window import blending

    size = one.brain.shape
    before = [(48 - n) // 2 for n in size]
    place = tuple(slice(b, b + n) for b, n in zip(before, size, strict=True))
    images, weights = np.zeros((48, 48, 48, 4), np.float32), np.zeros((48, 48, 48))
    images[place] = one.z
    weights[place] = one.brain
    weights *= blending((48, 48, 48))[..., 0]
    layer, stride = embedding.LEVELS["unet3d"]["middle"]
    source = segmenter.networks[0]
    seen = keras.Model(source.input, source.get_layer(layer).output)({"images": images[None]}, training=False).numpy()[
        0
    ]
    blocks = weights.reshape(12, stride, 12, stride, 12, stride).mean((1, 3, 5))[..., None]
    mean = (blocks * seen).sum((0, 1, 2)) / blocks.sum()
    sd = np.sqrt((blocks * (seen - mean) ** 2).sum((0, 1, 2)) / blocks.sum())
    np.testing.assert_allclose(found["middle"], np.concatenate([mean, sd]), atol=1e-4)


def test_probes_of_other_weights_have_another_version(model, tmp_path):
    other = SegmenterConfig("unet3d", 4)
    keras.utils.set_random_seed(9)
    save_segmenter(tmp_path, build_segmenter(other), {"name": "x", "segmenter": other.to_dict(), "window": 32})
    assert embedding.probes(model)[1].version != embedding.probes(tmp_path)[1].version


def test_radiomics_say_what_to_install(alike):
    check = next(c for c in features.checks(alike)[0] if c.id == "fidelity.features.radiomic")
    assert radiomics.INSTALL in check.reason


def test_radiomics_that_were_measured_are_judged(made, real):
    def with_features(records, shift):
        out = []
        for seed, record in enumerate(records):
            values = np.random.default_rng(seed).normal(shift, 1, 20).astype(np.float32)
            values[3] = np.nan  # a feature without a value is left out
            store(record.folder, Probe(radiomics.NAME, "1", None), {"features": values})
            out.append(replace(record, versions={**record.versions, radiomics.NAME: "1"}))
        return out

    known = with_features(real, 0)
    for shift, expected in ((0, Verdict.PASS), (6, Verdict.FAIL)):
        checks, _ = features.checks(Sets(with_features(made("radiomic", range(800, 810)), shift), known))
        assert verdicts(checks)["fidelity.features.radiomic"] == expected


@pytest.mark.skipif(not radiomics.available(), reason="PyRadiomics is not installed")
def test_radiomics_have_a_value_for_every_modality():
    found = radiomics.measure_radiomics(prepared())["features"]
    assert found.shape == (948,)
    assert np.isfinite(found).all()
