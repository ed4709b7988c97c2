import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from eagerly import eagerly
from phantoms import phantom_case, phantom_sources

from synth.brats import REGIONS
from synth.datasets.fingerprint import fingerprint
from synth.errors import DataError, ModelError
from synth.models.cards import known_cases, trained_on
from synth.models.configs import GeneratorConfig, SegmenterConfig
from synth.models.ensembles import FOLDS
from synth.models.networks.generator import build_generator
from synth.models.networks.segmenter import build_segmenter
from synth.models.sliding_window import Segmenter
from synth.models.weights import load_segmenter_network, save_generator
from synth.quality.segmentation_metrics import region_dice
from synth.runs.generate import GenerateConfig, Generation
from synth.trainers import losses
from synth.trainers.augment import SegmentationAugment
from synth.trainers.config import TrainConfig
from synth.trainers.csv_log import CsvLog
from synth.trainers.cutting import PatchConfig, crop
from synth.trainers.loop import TrainingLoop
from synth.trainers.segmentation import cross_validation
from synth.trainers.segmentation.annotated import Annotated
from synth.trainers.segmentation.cross_validation import cross_validate, thresholds_of
from synth.trainers.segmentation.fresh import FreshPool
from synth.trainers.segmentation.mix import TrainingMix
from synth.trainers.segmentation.patches import (
    FixedPool,
    Mix,
    draw_labelled_patch,
    labelled_dataset,
    load_labelled,
    store_labelled,
)
from synth.trainers.segmentation.task import SegmentationLoss, SegmentationTask
from synth.trainers.segmentation.training import SegmenterTraining, fit_segmenter, train_segmenter
from synth.trainers.supervised import SupervisedStep

SHAPE = (48, 56, 40)
PLAIN = SegmentationAugment(share=0.0)


def annotated(count, start=0):
    out = []
    for seed in range(start, start + count):
        name = f"P{seed}"
        read = lambda seed=seed, name=name: phantom_case(SHAPE, seed=seed, case_id=name)  # noqa: E731
        out.append(Annotated(name, f"s{seed}", frozenset({name}), False, read))
    return out


def tiny(arch="unet3d", steps=4, **train):
    config = SegmenterTraining.of(arch, width=4)
    train = {"batch": 1, "log_every": 1, "validate_every": steps, "checkpoint_every": 2, **train}
    return replace(
        config, discriminator_width=4, train=replace(config.train, steps=steps, **train), patch=PatchConfig(32)
    )


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labelled")
    return [store_labelled(case.read(), folder / case.id) for case in annotated(3)]


@pytest.fixture
def mix(stored):
    return Mix((FixedPool(stored),), (1.0,))


def rows(run):
    with (Path(run) / "losses.csv").open() as handle:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(handle)]


# --- losses ---


def one_hot(labels):
    return tf.one_hot(labels, 4)


def test_tversky_of_one_half_is_dice_and_beta_punishes_what_is_missed():
    truth = np.zeros((1, 8, 8, 8), np.int32)
    truth[:, :4] = 1
    more, less = truth.copy(), truth.copy()
    more[:, 4:6], less[:, 2:4] = 1, 0
    values = {name: float(losses.tversky_loss(one_hot(truth)[..., 1:2], one_hot(f)[..., 1:2], 0.5, 0.5))
              for name, f in (("same", truth), ("more", more), ("less", less))}  # fmt: skip
    assert values["same"] == pytest.approx(0, abs=1e-6)
    assert values["more"] == pytest.approx(1 - 2 * 257 / (256 + 384 + 2), abs=1e-4)
    weighted = [
        float(losses.tversky_loss(one_hot(truth)[..., 1:2], one_hot(f)[..., 1:2], 0.3, 0.7)) for f in (more, less)
    ]
    assert weighted[1] > values["less"] > 0
    assert weighted[0] < values["more"]


def test_generalised_dice_weighs_small_classes_as_much_as_large_ones():
    truth = np.zeros((1, 16, 16, 16), np.int32)
    truth[:, :2, :2, :2] = 3
    missed = np.zeros_like(truth)
    assert float(losses.generalised_dice_loss(one_hot(truth), one_hot(truth))) == pytest.approx(0, abs=1e-6)
    # by volume alone, 8 of 4096 voxels would cost 0.002
    assert float(losses.generalised_dice_loss(one_hot(truth), one_hot(missed))) > 0.4


def test_regions_are_sums_of_classes():
    probabilities = tf.constant(np.random.default_rng(0).dirichlet(np.ones(4), (1, 4, 4, 4)).astype(np.float32))
    wt, tc, et = tf.unstack(losses.region_probabilities(probabilities), axis=-1)
    np.testing.assert_allclose(wt, 1 - probabilities[..., 0], atol=1e-6)
    np.testing.assert_allclose(tc, probabilities[..., 1] + probabilities[..., 3], atol=1e-6)
    np.testing.assert_allclose(et, probabilities[..., 3])


@pytest.mark.parametrize("bad", [{"overlap": "jaccard"}, {"targets": "lesions"}, {"alpha": -1}])
def test_impossible_losses_are_refused(bad):
    with pytest.raises(ModelError, match="found"):
        SegmentationLoss(**bad)


def test_logged_dice_is_of_all_voxels_of_all_patches():
    task = SegmentationTask(SegmentationLoss(adversarial=0))
    labels = tf.constant(np.stack([np.full((4, 4, 4), 3), np.zeros((4, 4, 4))]), tf.int32)
    found = one_hot(np.stack([np.full((4, 4, 4), 3), np.full((4, 4, 4), 2)]))
    means = []
    for i in range(2):
        batch = {"labels": labels[i : i + 1], "images": None}
        means.append(task.supervised_loss(batch, {"probabilities": found[i : i + 1]})[1])
    mean = {k: float(np.mean([m[k] for m in means])) for k in means[0]}
    told = task.summary(mean)
    assert told["dice_wt"] == pytest.approx(2 * 64 / (64 + 128))
    assert told["dice_et"] == told["dice_tc"] == 1
    assert not any(name.startswith("count") for name in told)


# --- augmentation and patches ---


def test_three_quarters_of_the_samples_are_augmented_by_one_or_several():
    rng, augment = np.random.default_rng(0), SegmentationAugment()
    drawn = [augment.draw(rng) for _ in range(2000)]
    kinds = np.array([[bool(d.flip) or None, any(d.degrees), d.gamma != (1.0,) * 4, d.elastic] for d in drawn])
    used = kinds[:, 1:].astype(bool)
    # a drawn flip may turn out to be about no axis, so the other three are counted
    alone = (0.5**4) * (1 + 1 / 4)
    assert used.any(1).mean() == pytest.approx(0.75 * (1 - alone), abs=0.03)
    assert (used.sum(1) > 1).mean() > 0.3
    assert max(abs(v) for d in drawn for v in d.degrees) <= 30


def test_scan_and_labels_are_augmented_alike(stored):
    """A scan that shows its own labels still does so after flip, rotation and elastic deformation."""
    coded = np.asarray(stored[0].coded)
    images = np.repeat((coded == 4).astype(np.float32)[..., None], 4, -1)
    images, coded = crop(images, coded, np.array(coded.shape) // 2 - 20, 40)
    augment, rng = SegmentationAugment(share=1.0, kinds=("flip", "rotation", "elastic")), np.random.default_rng(5)
    for _ in range(4):
        drawn = augment.draw(rng)
        out, labels = drawn.apply(images, coded, 32 if drawn.warps else 40)
        assert ((out[..., 0] > 0.5) == (labels == 4)).mean() > 0.97
        assert (labels == 4).sum() > 20


def test_gamma_keeps_mean_and_spread():
    rng = np.random.default_rng(1)
    images = rng.normal(size=(16, 16, 16, 4)).astype(np.float32)
    drawn = SegmentationAugment(share=1.0, kinds=("gamma",)).draw(rng)
    out, _ = drawn.apply(images, np.ones((16, 16, 16), np.uint8), 16)
    assert not np.allclose(out, images, atol=0.05)
    np.testing.assert_allclose(out.mean((0, 1, 2)), images.mean((0, 1, 2)), atol=1e-3)
    np.testing.assert_allclose(out.std((0, 1, 2)), images.std((0, 1, 2)), atol=1e-3)


def test_shading_is_smooth_and_leaves_labels_alone():
    images = np.random.default_rng(1).normal(size=(24, 24, 24, 4)).astype(np.float32)
    brain = np.ones((24, 24, 24), np.uint8)
    drawn = SegmentationAugment(share=0.0, shading=1.0).draw(np.random.default_rng(2))
    out, coded = drawn.apply(images, brain, 24)
    np.testing.assert_array_equal(coded, brain)
    field = (out - images.min((0, 1, 2))) / np.maximum(images - images.min((0, 1, 2)), 1e-3)
    inner = images > images.min((0, 1, 2)) + 0.5
    assert 0.05 < np.log(field[inner]).std() < 0.6
    step = np.abs(np.diff(np.log(np.where(inner, field, 1)), axis=0))[inner[1:] & inner[:-1]]
    assert step.max() < 0.15


def test_a_step_draws_the_same_patch_whenever_it_is_asked(mix):
    args = (mix, 7, 1, 3, PatchConfig(32), SegmentationAugment(contrast=1.0))
    a, b = draw_labelled_patch(*args), draw_labelled_patch(*args)
    np.testing.assert_array_equal(a["images"], b["images"])
    np.testing.assert_array_equal(a["labels"], b["labels"])
    other = draw_labelled_patch(mix, 8, 1, 3, PatchConfig(32), SegmentationAugment(contrast=1.0))
    assert not np.array_equal(a["images"], other["images"])


def test_patches_are_of_the_case_and_dark_outside(stored):
    case = stored[1]
    patch = draw_labelled_patch(Mix((FixedPool([case]),), (1,)), 0, 0, 0, PatchConfig(16, tumour_share=1.0), PLAIN)
    assert (patch["labels"] > 0).any()
    images, labels = np.asarray(case.images, np.float32), case.labels
    found = [
        (x, y, z)
        for x, y, z in np.argwhere(np.all(images == patch["images"][8, 8, 8], -1))
        if np.array_equal(labels[x - 8 : x + 8, y - 8 : y + 8, z - 8 : z + 8], patch["labels"])
    ]
    assert len(found) == 1


def test_shares_of_a_mix_are_kept(stored):
    mix = Mix((FixedPool(stored[:1]), FixedPool(stored[1:2])), (0.25, 0.75))
    marks = [np.asarray(case.images)[case.coded > 0].max() for case in stored[:2]]
    counts = [0, 0]
    for step in range(200):
        patch = draw_labelled_patch(mix, step, 0, 0, PatchConfig(64), PLAIN)
        counts[int(np.argmin([abs(patch["images"].max() - m) for m in marks]))] += 1
    assert counts[1] / 200 == pytest.approx(0.75, abs=0.1)
    with pytest.raises(DataError, match="one share"):
        Mix((FixedPool(stored),), (0.5, 0.5))


def test_a_case_without_labels_is_refused(tmp_path):
    with pytest.raises(DataError, match="with labels"):
        store_labelled(phantom_case(labels=False), tmp_path / "x")


def test_batches_go_on_where_a_run_stopped(mix):
    def images(start):
        dataset = labelled_dataset(mix, start=start, stop=4, batch=2, seed=0, patch=PatchConfig(16), augment=PLAIN)
        return [batch["images"].numpy() for batch in dataset]

    whole, rest = images(0), images(2)
    assert len(whole) == 4
    assert len(rest) == 2
    np.testing.assert_array_equal(whole[2:], rest)


# --- fresh samples ---


@pytest.fixture(scope="module")
def painter(tmp_path_factory):
    """An untrained generator."""
    config = GeneratorConfig(width=8, bottleneck=1)
    keras.utils.set_random_seed(1)
    card = {"name": "tiny", "generator": config.to_dict()}
    return save_generator(tmp_path_factory.mktemp("painter"), build_generator(config), card)


def fresh_pool(painter, folder, **options):
    config = GenerateConfig(seed=3, edits=("gentle",))
    return FreshPool(Generation(phantom_sources(), painter, config), folder, **options)


def test_fresh_samples_move_on_with_the_steps_and_are_those_of_generate(painter, tmp_path):
    pool = fresh_pool(painter, tmp_path, keep=2, steps_each=5)
    assert [case.folder.name for case in pool.at(0)] == ["00000000"]
    assert [case.folder.name for case in pool.at(9)] == ["00000000", "00000001"]
    assert [case.folder.name for case in pool.at(29)] == ["00000004", "00000005"]
    assert not (tmp_path / "00000000").exists()  # the disk does not fill up
    other = fresh_pool(painter, tmp_path / "other", keep=2, steps_each=5)
    again = other.at(29)[1]
    np.testing.assert_array_equal(again.images, load_labelled(tmp_path / "00000005").images)
    case = next(pool.generation.cases([5]))
    np.testing.assert_array_equal(np.sort(np.unique(again.labels)), np.unique(case.labels))
    assert np.count_nonzero(again.labels) == np.count_nonzero(case.labels)


@eagerly()
def test_training_on_fresh_samples(painter, tmp_path, stored):
    mix = Mix((FixedPool(stored), fresh_pool(painter, tmp_path / "fresh", steps_each=2)), (0.2, 0.8))
    assert fit_segmenter(mix, [], tmp_path / "run", tiny(steps=4)) is not None
    assert len(rows(tmp_path / "run")) == 4


# --- training ---


@pytest.mark.parametrize("arch", ["unet3d", "vox2vox"])
def test_loss_falls_and_every_number_is_logged(tmp_path, mix, stored, arch):
    config = tiny(arch, steps=24, learning_rate=3e-3)
    assert fit_segmenter(mix, stored[:1], tmp_path, config) is not None
    logged = rows(tmp_path)
    name = "tversky"
    assert np.mean([r[name] for r in logged[-6:]]) < 0.95 * np.mean([r[name] for r in logged[:6]])
    record = json.loads((tmp_path / "validation.jsonl").read_text())
    wanted = {"loss", "tversky", *(f"dice_{region.lower()}" for region in REGIONS)}
    if arch == "vox2vox":
        wanted |= {"discriminator", "adversarial"}
    assert wanted <= record.keys()
    assert wanted - {"loss"} <= record["training"].keys()
    assert "generator" in record["training"]


def test_loss_falls_on_real_cases(real_data, tmp_path):
    from synth.trainers.segmentation.annotated import find_annotated, prepare

    cases = prepare(find_annotated(real_data / "brats" / "train")[:2], tmp_path / "cache")
    config = replace(tiny(steps=40), patch=PatchConfig(48))
    fit_segmenter(Mix((FixedPool(cases),), (1.0,)), [], tmp_path / "run", config)
    logged = rows(tmp_path / "run")
    assert np.mean([r["generator"] for r in logged[-8:]]) < 0.8 * np.mean([r["generator"] for r in logged[:8]])


@eagerly()
def test_deep_supervision_trains_the_lower_outputs(tmp_path, mix):
    config = replace(tiny(steps=1), segmenter=SegmenterConfig("unet3d", 4, 0.0, deep_supervision=True))
    keras.utils.set_random_seed(0)
    before = {v.path: np.array(v) for v in build_segmenter(config.segmenter).trainable_variables}
    step = fit_segmenter(mix, [], tmp_path, config)
    after = {v.path: np.array(v) for v in step.generator.trainable_variables}
    for name in ("half_logits/kernel", "quarter_logits/kernel", "logits/kernel"):
        assert not np.array_equal(after[name], before[name])


@eagerly()
def test_accumulated_parts_make_the_step_of_the_whole_batch(tmp_path, mix):
    """Sums over voxels make Tversky differ between one batch and its parts: cross-entropy, a mean, must not."""
    weights = []
    for parts in (1, 2):
        keras.utils.set_random_seed(1)
        config = TrainConfig(steps=2, batch=4, accumulate=parts, log_every=1, learning_rate=1e-3)
        task = SegmentationTask(SegmentationLoss(weight=0.0, adversarial=0.0, cross_entropy=1.0))
        step = SupervisedStep(lambda: build_segmenter(SegmenterConfig("unet3d", 4, 0.0)), task, config)
        TrainingLoop(step, config, tmp_path / str(parts), quiet=True).train(lambda start: labelled_dataset(
            mix, start=start, stop=2, batch=4, seed=0, patch=PatchConfig(16), augment=PLAIN
        ))  # fmt: skip
        weights.append(np.concatenate([np.ravel(w) for w in step.generator.get_weights()]))
    logged = rows(tmp_path / "1"), rows(tmp_path / "2")
    for a, b in zip(*logged, strict=True):
        assert a["cross_entropy"] == pytest.approx(b["cross_entropy"], rel=1e-3)
        assert a["dice_wt"] == pytest.approx(b["dice_wt"], rel=1e-2, abs=1e-3)
    # Adam's first steps are signs of gradients: where these are nothing but rounding, signs may differ
    assert np.mean(np.abs(weights[0] - weights[1]) < 2e-4) > 0.95
    with pytest.raises(ModelError, match="divide the batch"):
        TrainConfig(batch=4, accumulate=3)


KILLED = """
import sys
sys.path.insert(0, {tests!r})
from test_segmentation_training import *
stored = [load_labelled(Path(p)) for p in {stored!r}]
with eagerly():
    fit_segmenter(Mix((FixedPool(stored),), (1.0,)), [], {run!r}, tiny(steps=6))
"""


@eagerly()
def test_a_killed_run_goes_on_as_if_undisturbed(tmp_path, stored):
    """`kill -9` between two checkpoints; the losses of the whole run are those of one that nobody disturbed.

    Without a discriminator; what comes with one is resumed in `test_training`.
    """
    mix = Mix((FixedPool(stored),), (1.0,))
    fit_segmenter(mix, [], tmp_path / "whole", tiny(steps=6))
    places = {"tests": str(Path(__file__).parent), "stored": [str(c.folder) for c in stored]}
    script = KILLED.format(run=str(tmp_path / "parts"), **places)
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    log = tmp_path / "parts" / "losses.csv"
    deadline = time.time() + 240
    while time.time() < deadline and (not log.is_file() or log.read_text().count("\n") < 4):
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = rows(tmp_path / "parts")[-1]["step"]
    assert 3 <= done < 6, "killed too late to prove anything"
    assert list((tmp_path / "parts" / "checkpoints").glob("ckpt-*.index"))
    fit_segmenter(mix, [], tmp_path / "parts", tiny(steps=6))
    whole, parts = rows(tmp_path / "whole"), rows(tmp_path / "parts")
    assert [r["step"] for r in parts] == [r["step"] for r in whole]
    for a, b in zip(whole, parts, strict=True):
        assert a == pytest.approx(b, rel=1e-3, abs=1e-5)


# --- runs ---


@eagerly()
def test_a_run_leaves_a_model_whose_card_names_nobody(tmp_path):
    cases = annotated(3)
    folder = train_segmenter(TrainingMix(cases[:2]), cases[2:], tmp_path / "run", tiny(), name="tiny")
    _, card = load_segmenter_network(folder)
    assert card["name"] == "tiny"
    assert card["window"] == 32
    assert card["training"]["cases"] == 2
    assert card["validation"]["cases"] == 1
    assert card["postprocess"] == {"min_component_ml": 0.0, "min_et_ml": 0.0}
    assert "P0" not in json.dumps(card)
    with pytest.raises(ModelError, match="other settings of mix"):
        train_segmenter(TrainingMix(cases[:1]), cases[2:], tmp_path / "run", tiny())


def test_held_out_cases_are_never_learnt_from(tmp_path):
    cases = annotated(2)
    with pytest.raises(DataError, match="held out"):
        train_segmenter(TrainingMix(cases), cases[1:], tmp_path / "run", tiny())
    renamed = replace(cases[1], id="Q", patients=frozenset({"Q"}))
    with pytest.raises(DataError, match="have the same intensities"):
        train_segmenter(TrainingMix(cases), [renamed], tmp_path / "other", tiny())


@eagerly()
def test_folds_predict_every_case_by_a_model_that_never_saw_it(tmp_path):
    cases, out = annotated(4), tmp_path / "cv"
    painted = [
        replace(case, id=f"S{k}", patients=frozenset({f"P{k}"}), synthetic=True)
        for k, case in enumerate(annotated(4, 9))
    ]
    mix = TrainingMix(cases, painted, None, 0.5)
    assert cross_validate(mix, 2, out, tiny(steps=2), only=1) is None  # fold 0 is not there yet
    assert cross_validate(mix, 2, out, tiny(steps=2)) == out
    told = json.loads((out / FOLDS).read_text())
    assert sorted(row["case"] for row in told["held_out"]) == [case.id for case in cases]
    assert set(told["held_out"][0]["dice"]) == set(REGIONS)
    seen = []
    for fold in range(2):
        _, card = load_segmenter_network(out / f"fold_{fold}" / "model")
        assert card["training"]["cases"] == card["training"]["synthetic"] == 2
        assert card["postprocess"] == told["postprocess"] == thresholds_of(out).to_dict()
        assert not set(card["training"]["ids_sha256"]) & set(card["validation"]["ids_sha256"])
        seen += card["validation"]["ids_sha256"]
    assert len(set(seen)) == 4
    row = told["held_out"][0]  # predicted anew
    network, card = load_segmenter_network(out / f"fold_{row['fold']}" / "model")
    case = next(one for one in cases if one.id == row["case"]).read()
    stored = store_labelled(case, tmp_path / "again")
    probabilities = Segmenter([network], card["window"]).probabilities(np.asarray(stored.images, np.float32))
    found = np.where(stored.coded > 0, probabilities.argmax(-1), 0)
    assert region_dice(stored.labels, found) == pytest.approx(row["dice"])
    with pytest.raises(DataError, match="numbered from 0 to 1"):
        cross_validate(mix, 2, out, tiny(steps=2), only=2)
    with pytest.raises(ModelError, match="--folds"):
        thresholds_of(tmp_path)


def test_two_names_of_one_scan_are_held_out_together(tmp_path, monkeypatch):
    cases = annotated(4)
    twin = replace(cases[0], id="Twin", patients=frozenset({"Twin"}), signature="twin")
    seen = []
    monkeypatch.setattr(
        cross_validation,
        "train_on_mix",
        lambda mix, held_out, *_, **__: seen.append([{case.id for case in part} for part in (mix.real, held_out)]),
    )
    for fold in range(2):
        assert cross_validate(TrainingMix([*cases, twin]), 2, tmp_path / "cv", tiny(), only=fold) is None
    assert len(seen) == 2
    for parts in seen:
        assert all(("P0" in part) == ("Twin" in part) for part in parts)


@eagerly()
def test_a_card_knows_the_scans_and_tells_nobody(tmp_path):
    cases, told = annotated(3), []
    twin = replace(cases[0], id="Twin", patients=frozenset({"Twin"}), signature="twin")
    train_segmenter(TrainingMix([*cases[:2], twin]), cases[2:], tmp_path / "run", tiny(), tell=told.append)
    _, card = load_segmenter_network(tmp_path / "run" / "model")
    scans = {case.id: fingerprint(case.read().images) for case in cases}
    assert trained_on({"Renamed": scans["P1"], "Unseen": scans["P2"]}, [card]) == ("Renamed",)
    assert known_cases(card, "validation").has("Renamed", scans["P2"])
    assert not any(digest in json.dumps(card) for scan in scans.values() for digest in scan)
    assert any("2 of the 3 training cases are 1 scan under several names (P0 = Twin)" in note for note in told)


def test_a_generator_that_knows_held_out_cases_is_told_of(tmp_path):
    """The shipped generator's card has hashed ids: a case of that name, held out, must be spoken of."""
    from synth.lineage import hash_id
    from synth.models.cards import model_hash, read_card

    card = read_card("default")
    known = [f"BraTS2021_{k:05d}" for k in range(20) if hash_id(f"BraTS2021_{k:05d}") in card["training"]["ids_sha256"]]
    held_out = [replace(annotated(1)[0], id=known[0], patients=frozenset(known[:1]))]
    (tmp_path / "run.json").write_text(json.dumps({"model": {"name": "default", "hash": model_hash(card)}}))
    painted = [replace(one, synthetic=True, patients=frozenset()) for one in annotated(1, 5)]
    mix = TrainingMix(annotated(1), painted, None, 0.5, sets=(tmp_path,))
    assert any("was trained on 1 of 1 test cases" in note for note in mix.notes(held_out))
    assert not any("was trained on" in note for note in mix.notes(annotated(1, 7)))
    assert known[0] in " ".join(mix.notes(held_out))
    assert known[0] not in " ".join(mix.notes(held_out, named=False))  # a card travels


def test_fresh_samples_are_drawn_without_held_out_patients():
    mix = TrainingMix(annotated(1), fresh=phantom_sources(4), fresh_share=0.5)
    assert [h.id for h in mix.without(frozenset({"Phantom_002"})).fresh.hosts] == [
        "Phantom_000",
        "Phantom_001",
        "Phantom_003",
    ]
    assert mix.without(frozenset({"P7"})).fresh is mix.fresh


@eagerly()
def test_a_torn_line_of_losses_is_dropped(tmp_path, mix):
    fit_segmenter(mix, [], tmp_path, tiny(steps=2))
    with (tmp_path / "losses.csv").open("a") as handle:
        handle.write("3,0.5")  # the power goes
    log = CsvLog(tmp_path / "losses.csv", 9)
    log.close()
    assert [step for step, _ in log.rows] == [1, 2]


@pytest.mark.parametrize("bad", [{"synthetic_share": 0.5}, {"fresh_share": 0.2}])
def test_shares_without_cases_are_refused(bad):
    with pytest.raises(DataError, match="need cases"):
        TrainingMix(annotated(1), **bad)
