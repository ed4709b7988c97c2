import numpy as np
import pytest

from synth.trainers.augment import Augmentation, AugmentConfig, draw_augmentation, warp_patch
from synth.trainers.cutting import PatchConfig
from synth.trainers.painting.patches import draw_patch

SHAPE = (48, 56, 40)  # of the fixture `cases`


def still(**changes):
    plain = {"flip": False, "warp": True, "degrees": (0, 0, 0), "elastic_seed": 1, "gamma": (1, 1, 1, 1)}
    return Augmentation(**{**plain, **changes})


def test_no_rotation_and_no_elastic_cuts_the_middle():
    rng = np.random.default_rng(0)
    images, classes = rng.random((40, 40, 40, 4)).astype(np.float32), rng.integers(0, 7, (40, 40, 40)).astype(np.uint8)
    out, labels, source = warp_patch(images, classes, still(), AugmentConfig(elastic_mm=0.0), 32)
    np.testing.assert_allclose(out, images[4:36, 4:36, 4:36], atol=1e-5)
    assert np.array_equal(labels, classes[4:36, 4:36, 4:36])
    np.testing.assert_allclose(source[3, 4, 5], (7, 8, 9), atol=1e-5)


def test_scan_and_layout_move_together():
    size, crop = 32, 40
    axis = np.arange(crop)
    classes = (((axis[:, None, None] - 14) ** 2 + (axis[None, :, None] - 24) ** 2 + (axis - 20) ** 2) < 49).astype(
        np.uint8
    )
    images = np.repeat(classes[..., None].astype(np.float32), 4, -1)
    turned = still(degrees=(0, 0, 40))
    out, labels, _ = warp_patch(images, classes, turned, AugmentConfig(), size)
    assert np.mean((out[..., 0] > 0.5) == (labels > 0)) > 0.995
    before, after = np.argwhere(classes).mean(0) - 4, np.argwhere(labels).mean(0)
    assert np.linalg.norm(before - after) > 3


def test_draws_are_addressed_by_step_and_slot(cases):
    patch, augment = PatchConfig(32), AugmentConfig()
    first, again = (draw_patch(cases, 3, 1, 7, patch, augment) for _ in range(2))
    assert all(np.array_equal(first[k], again[k]) for k in first)
    other = draw_patch(cases, 4, 1, 7, patch, augment)
    assert not np.array_equal(first["noise_seed"], other["noise_seed"])


def test_patches_hold_scan_layout_and_place_in_agreement(cases):
    """Each voxel's coordinates lead back to the intensity and class of the stored case, flipped or not."""
    augment = AugmentConfig(flip=0.5, warp=0.0, gamma=0.0)
    flips = set()
    for step in range(12):
        patch = draw_patch(cases, step, 0, 0, PatchConfig(32), augment)
        inside = patch["classes"] > 0
        voxel = np.rint((patch["coordinates"][inside] + 1) / 2 * (np.array(SHAPE) - 1)).astype(int)
        case = next(c for c in cases if np.allclose(c.style.mean, patch["mean"], atol=1e-5))
        local = tuple((voxel - [edge[0] for edge in case.box]).T)
        assert np.array_equal(case.classes[local], patch["classes"][inside])
        np.testing.assert_allclose(np.asarray(case.images[local], np.float32), patch["images"][inside], atol=1e-6)
        flips.add(bool(patch["coordinates"][0, 0, 0, 0] > patch["coordinates"][-1, 0, 0, 0]))
    assert flips == {True, False}


def test_gamma_bends_scan_and_table_alike(cases):
    plain = draw_patch(cases, 0, 0, 0, PatchConfig(32), AugmentConfig(warp=0, gamma=0))
    bent = draw_patch(cases, 0, 0, 0, PatchConfig(32), AugmentConfig(warp=0, gamma=1.0))
    wm = plain["classes"] == 3
    assert not np.allclose(plain["mean"], bent["mean"])
    for m in range(4):
        moved = np.median(bent["images"][wm][:, m]) - np.median(plain["images"][wm][:, m])
        expected = bent["mean"][2, m] - plain["mean"][2, m]
        assert moved == pytest.approx(expected, abs=0.02)


def test_draw_keeps_to_its_probabilities():
    never = AugmentConfig(flip=0, warp=0, gamma=0)
    drawn = [draw_augmentation(never, np.random.default_rng(k)) for k in range(20)]
    assert not any(a.flip or a.warp or a.gamma != (1, 1, 1, 1) for a in drawn)
