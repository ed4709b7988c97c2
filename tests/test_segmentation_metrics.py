"""Every number against an independent implementation: MedPy, SimpleITK, and BraTS's lesion loop over scikit-image."""

import json
import time
from itertools import product

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from medpy.metric import binary
from scipy.ndimage import gaussian_filter
from skimage.measure import label
from skimage.morphology import dilation

from synth.brats import NAMINGS, REGIONS
from synth.errors import DataError
from synth.quality import segmentation_metrics as segmentation
from synth.quality.segmentation_metrics import (
    HD95_MISSED,
    dice,
    hausdorff95,
    lesion_wise_dice,
    measure,
    region_dice,
    sensitivity,
    specificity,
    summary,
    table,
)

SHAPE = (23, 19, 16)
NEAR = {"abs": 1e-6, "rel": 0}


def lesion_loop(truth, found, spacing):
    """BraTS 2023's evaluation as its description goes, one lesion after the other on the whole grid, nothing shared."""
    ball = np.ones((3, 3, 3), np.uint8)
    ball[::2, ::2, ::2] = 0  # 18 neighbours: without the corners

    def dilated(mask):
        for _ in range(3):
            mask = dilation(mask.astype(np.uint8), ball) > 0
        return mask

    pieces, regions = label(found, connectivity=3), label(dilated(truth), connectivity=3)
    scores, hit = [], set()
    for number in range(1, regions.max() + 1):
        lesion = truth & (regions == number)
        touching = set(np.unique(pieces[dilated(lesion)])) - {0}
        hit |= touching
        if lesion.sum() * np.prod(spacing) > 50:
            part = np.isin(pieces, list(touching))
            scores.append(2 * (part & lesion).sum() / (part.sum() + lesion.sum()))
    scores += [0.0] * (pieces.max() - len(hit))
    return np.mean(scores) if scores else 1.0


def oracle(truth, found, spacing):
    """The five numbers from elsewhere; where MedPy has none (a mask is empty or full), what BraTS says."""
    both, one = truth.any() and found.any(), truth.any() or found.any()
    return {
        "dice": binary.dc(found, truth) if one else 1.0,
        "hd95": binary.hd95(found, truth, spacing) if both else 139225**0.5 if one else 0.0,
        "sensitivity": binary.sensitivity(found, truth) if truth.any() else float(not one),
        "specificity": 0.0 if truth.all() else binary.specificity(found, truth),
        "lesion_dice": lesion_loop(truth, found, spacing),
    }


def ours(truth, found, spacing):
    return {
        "dice": dice(truth, found),
        "hd95": hausdorff95(truth, found, spacing),
        "sensitivity": sensitivity(truth, found),
        "specificity": specificity(truth, found),
        "lesion_dice": lesion_wise_dice(truth, found, spacing),
    }


def random_pair(seed):
    """Blobs of any number and size, the second like the first, moved, with pieces lost and pieces made up."""
    rng = np.random.default_rng(seed)

    def blobs():
        field = gaussian_filter(rng.normal(size=SHAPE), rng.uniform(0.6, 3))
        return field > np.quantile(field, rng.uniform(0.7, 0.999))

    truth = blobs()
    found = np.roll(truth, rng.integers(-3, 4, 3), (0, 1, 2))
    found = [found, found & ~blobs(), found | blobs(), blobs()][seed % 4]
    spacing = [(1.0, 1.0, 1.0), (1.0, 1.0, 3.0), tuple(rng.uniform(0.4, 4, 3))][seed % 3]
    return truth, found, spacing


def test_masks_agree_with_independent_implementations_on_random_pairs():
    """Bar 6: 200 pairs, to 1e-6."""
    lesion_scores = set()
    for seed in range(200):
        truth, found, spacing = random_pair(seed)
        expected = oracle(truth, found, spacing)
        assert ours(truth, found, spacing) == pytest.approx(expected, **NEAR), f"pair {seed}"
        lesion_scores.add(round(expected["lesion_dice"], 3) == round(expected["dice"], 3))
    assert lesion_scores == {True, False}  # pairs with one lesion and with several


def test_dice_agrees_with_simpleitk():
    for seed in range(20):
        truth, found, _ = random_pair(seed)
        overlap = SimpleITK.LabelOverlapMeasuresImageFilter()
        overlap.Execute(*(SimpleITK.GetImageFromArray(mask.astype(np.uint8)) for mask in (truth, found)))
        assert dice(truth, found) == pytest.approx(overlap.GetDiceCoefficient(), **NEAR)


def degenerate_masks():
    masks = {name: np.zeros(SHAPE, bool) for name in ("empty", "voxel", "corner", "border", "plane", "line", "two")}
    masks["full"] = np.ones(SHAPE, bool)
    masks["inner"] = np.pad(np.ones(np.subtract(SHAPE, 2), bool), 1)
    masks["shell"] = ~masks["inner"]
    masks["voxel"][7, 11, 3] = True
    masks["corner"][-1, 0, -1] = True
    masks["border"][:5, 6:12, 11:] = True
    masks["plane"][:, 9] = True
    masks["line"][4, :, 0] = True
    masks["two"][1:5, 1:5, 1:5] = masks["two"][15:20, 12:17, 9:13] = True
    return masks


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.5, 2.0, 7.0)])
def test_masks_agree_on_all_degenerate_pairs(spacing):
    masks = degenerate_masks()
    for one, two in product(masks, masks):
        expected = oracle(masks[one], masks[two], spacing)
        assert ours(masks[one], masks[two], spacing) == pytest.approx(expected, **NEAR), f"{one} and {two}"


def test_empty_regions_score_as_in_brats():
    empty, some, full = (degenerate_masks()[name] for name in ("empty", "border", "full"))
    perfect = {"dice": 1, "hd95": 0, "sensitivity": 1, "specificity": 1, "lesion_dice": 1}
    assert ours(empty, empty, (1, 1, 1)) == perfect
    assert ours(full, full, (1, 1, 1)) == {**perfect, "specificity": 0}
    missed = {"dice": 0, "hd95": pytest.approx(373.1287, abs=1e-4), "sensitivity": 0, "lesion_dice": 0}
    assert ours(some, empty, (1, 1, 1)) == {**missed, "specificity": 1}
    assert ours(empty, some, (1, 1, 1)) == {**missed, "specificity": 1 - some.sum() / some.size}
    assert pytest.approx((240**2 + 240**2 + 155**2) ** 0.5) == HD95_MISSED


def test_lesions_by_hand():
    truth = np.zeros((40, 20, 20), bool)
    truth[2:8, 5:10, 5:10] = True  # 150 voxels
    truth[13:18, 5:10, 5:10] = True  # 125, five voxels away: dilated by three both are one lesion
    truth[30:33, 5:9, 5:9] = True  # 48: too small to be scored
    found = truth.copy()
    found[13:18] = False
    assert lesion_wise_dice(truth, found) == pytest.approx(2 * 150 / (150 + 275))
    assert lesion_wise_dice(truth, found, (1, 1, 1.1)) == pytest.approx((2 * 150 / (150 + 275) + 1) / 2)
    found[30:33] = False
    assert lesion_wise_dice(truth, found) == pytest.approx(2 * 150 / (150 + 275)), "a small lesion may be missed"
    found[38, 18, 18] = True
    assert lesion_wise_dice(truth, found) == pytest.approx(150 / (150 + 275)), "one false voxel is a false lesion"


def test_distances_are_the_same_from_the_tree_and_from_the_transform(monkeypatch):
    pairs = [random_pair(seed) for seed in range(12)]
    tree = [hausdorff95(*pair) for pair in pairs]
    monkeypatch.setattr(segmentation, "_TREE_POINTS", 0)
    assert [hausdorff95(*pair) for pair in pairs] == pytest.approx(tree, **NEAR)


def label_maps(seed=0, shape=SHAPE):
    rng = np.random.default_rng(seed)
    truth, found = (np.digitize(gaussian_filter(rng.normal(size=shape), 2.5), (0.02, 0.06, 0.1)) for _ in range(2))
    return truth.astype(np.uint8), np.where(rng.random(shape) < 0.7, truth, found).astype(np.uint8)


@pytest.mark.parametrize("margin", [0, 1, 9])
def test_measure_is_every_metric_of_every_region_on_the_whole_grid(margin):
    truth, found = (np.pad(labels, margin) for labels in label_maps())
    scores = measure(truth, found, (1.0, 2.0, 0.7))
    assert list(scores) == ["WT", "TC", "ET"]
    for name, values in REGIONS.items():
        masks = [np.isin(labels, [int(v) for v in values]) for labels in (truth, found)]
        assert scores[name] == pytest.approx(oracle(*masks, (1.0, 2.0, 0.7)), **NEAR)
    assert json.loads(json.dumps(scores)) == scores
    assert {name: row["dice"] for name, row in scores.items()} == region_dice(truth, found)


def test_measure_of_no_tumour_anywhere_is_perfect():
    empty = np.zeros(SHAPE, np.uint8)
    perfect = {"dice": 1, "hd95": 0, "sensitivity": 1, "specificity": 1, "lesion_dice": 1}
    assert measure(empty, empty) == dict.fromkeys(REGIONS, perfect)


def test_a_region_missing_from_one_map_alone_is_penalised_alone():
    truth, _ = label_maps()
    found = np.where(truth == 3, 1, truth)  # enhancing tumour called necrosis
    scores = measure(truth, found)
    assert (scores["WT"]["dice"], scores["TC"]["dice"], scores["ET"]["dice"]) == (1, 1, 0)
    assert (scores["WT"]["hd95"], scores["ET"]["hd95"]) == (0, HD95_MISSED)


def test_summary_and_table_give_mean_and_median():
    rows = [measure(*label_maps(seed)) for seed in range(4)]
    rows.append(measure(label_maps()[0], np.zeros(SHAPE, np.uint8)))
    out = summary(rows)
    values = [row["TC"]["hd95"] for row in rows]
    assert out["TC"]["hd95"] == {"mean": pytest.approx(np.mean(values)), "median": pytest.approx(np.median(values))}
    assert out["TC"]["hd95"]["mean"] > out["TC"]["hd95"]["median"]
    lines = table(out)
    assert lines[0].split() == ["WT", "TC", "ET"]
    assert len({len(line) for line in lines}) == 1
    assert lines[3].split() == [
        "HD95",
        "(mm)",
        *(f"{out[region]['hd95'][kind]:.2f}" for region in REGIONS for kind in ("mean", "median")),
    ]
    assert max(map(len, lines)) <= 80
    with pytest.raises(DataError, match="no case was measured"):
        summary([])


def test_what_cannot_be_compared_is_refused_in_one_sentence():
    truth, found = label_maps()
    for metric in (dice, sensitivity, specificity, hausdorff95, lesion_wise_dice, region_dice, measure):
        with pytest.raises(DataError, match=r"on one grid, found shapes \(23, 19, 16\) and \(1, 19, 16\)"):
            metric(truth, found[:1])
    for metric in (hausdorff95, lesion_wise_dice, measure):
        with pytest.raises(DataError, match="volumes"):
            metric(truth[0], found[0])
        for spacing in ((1, 1), (1, 1, 0), (1, -1, 1), (1, np.nan, 1)):
            with pytest.raises(DataError, match="three positive voxel sizes"):
                metric(truth, found, spacing)
    with pytest.raises(DataError, match=r"found labels must be class indices 0..3, found 0..4"):
        measure(truth, NAMINGS["brats2020"].to_disk(found))
    with pytest.raises(DataError, match="true labels must be class indices of an integer type, found float64"):
        measure(truth.astype(float), found)


def test_a_real_case_takes_well_under_two_seconds(real_data):
    path = sorted((real_data / "brats" / "val").glob("*/*_seg.nii.gz"))[0]
    truth = NAMINGS["brats2020"].from_disk(np.asanyarray(nib.load(path).dataobj))
    found = np.roll(truth, (4, -2, 1), (0, 1, 2))
    found[np.random.default_rng(0).random(found.shape) < 1e-4] = 2  # false lesions all over the grid: the slow case
    start = time.process_time()
    scores = measure(truth, found)
    assert time.process_time() - start < 2
    assert scores["WT"]["specificity"] == pytest.approx(binary.specificity(found > 0, truth > 0), **NEAR)
    places = np.nonzero((truth == 3) | (found == 3))
    box = tuple(slice(place.min(), place.max() + 1) for place in places)  # MedPy takes 20 s for the whole grid
    assert scores["ET"]["hd95"] == pytest.approx(binary.hd95(found[box] == 3, truth[box] == 3), **NEAR)
