from dataclasses import replace

import numpy as np
import pytest
from phantoms import MEANS, phantom_layout
from scipy.ndimage import binary_erosion, gaussian_filter

from synth.brats import AFFINE, MODALITIES, Tissue
from synth.case import Case
from synth.layout import nonlocal_means
from synth.layout.detail import EIGHTHS, EVEN, TONE_STEP, VOID_LEVELS
from synth.layout.layout import Layout
from synth.style.denoising import denoised, noise_of
from synth.style.shares import MIXTURES, measure_detail
from synth.style.style import local_std, measure_style

SHAPE = (60, 72, 54)
T1CE = MODALITIES.index("t1ce")


def mixed_case(noise=12.0, seed=0, tumour=False):
    """A scan of voxels that are mixtures: each the mean of eight of a phantom twice as fine; its layout, its shares."""
    fine = phantom_layout(tuple(2 * n for n in SHAPE), tumour=tumour)
    x, y, z = SHAPE
    parts = [(fine.tissue == kind).reshape(x, 2, y, 2, z, 2).sum((1, 3, 5)) for kind in Tissue if kind]
    shares = np.stack(parts, -1)
    tissue = np.where(shares.sum(-1) >= 4, shares.argmax(-1) + 1, 0).astype(np.uint8)
    shares[shares.sum(-1) < 8] = 0
    tissue[shares.sum(-1) == 0] = 0
    labels = fine.tumour[::2, ::2, ::2] * (tissue > 0)
    layout = Layout(tissue, labels.astype(np.uint8), np.array(AFFINE), "Mixed")
    images = shares / EIGHTHS @ np.array([MEANS[name] for name in ("CSF", "GM", "WM")], float)
    rng = np.random.default_rng(seed)
    images = images + noise * rng.standard_normal(images.shape)
    images = np.rint(np.maximum(images, 1)) * layout.brain[..., None]
    return Case("Mixed", images.astype(np.int16), layout.tumour, np.array(AFFINE)), layout, shares


def test_mixtures_are_all_that_eight_eighths_allow():
    assert len(MIXTURES) == 45
    assert (MIXTURES.sum(1) == EIGHTHS).all()
    assert len({tuple(m) for m in MIXTURES.tolist()}) == 45


@pytest.mark.parametrize("noise", [0.0, 12.0])
def test_shares_are_those_that_the_scan_was_made_of(noise):
    case, layout, shares = mixed_case(noise)
    detail, _style = measure_detail(case, layout, measure_style(case, layout))
    off = np.abs(detail.shares(layout.tissue).astype(int) - shares)[layout.brain]
    assert off.mean() < 0.35
    assert (off.max(-1) <= 2).mean() > 0.95
    flat = binary_erosion(layout.tissue == Tissue.WM, iterations=3)
    assert np.mean(detail.wm[flat] == EIGHTHS) > 0.97
    assert not np.count_nonzero(detail.vessels) > 0.001 * layout.brain.sum()


def test_tones_say_how_bright_a_tumours_parts_are_within_their_class():
    case, layout, _ = mixed_case(tumour=True)
    style = measure_style(case, layout)
    bright = (layout.tumour > 0) & (np.indices(SHAPE)[2] >= np.argwhere(layout.tumour > 0)[:, 2].mean())
    low, high = style.window[T1CE]
    images = case.images.copy()
    images[bright, T1CE] += round(12 * TONE_STEP * (high - low))
    other = Case("Bright", images, case.labels, case.affine)
    found = [
        np.stack(measure_detail(scan, layout, style)[0].tones).astype(float) - EVEN for scan in (case, other)
    ]  # in the style of the first
    assert not (found[0] + EVEN)[:, layout.tumour == 0].any()
    step = (found[1] - found[0])[:, layout.tumour > 0]
    upper = bright[layout.tumour > 0]
    assert np.median(step[T1CE][upper]) == pytest.approx(12, abs=1)
    assert np.median(step[T1CE][~upper]) == 0
    assert (np.median(np.delete(step, T1CE, 0), 1) == 0).all()
    assert np.abs(found[0][:, layout.tumour > 0]).mean() < 0.15 / TONE_STEP  # noise is averaged out, classes are even


def test_noise_of_the_scans_own_level_changes_few_shares():
    found = []
    for seed in (1, 2):
        case, layout, _ = mixed_case(seed=seed)
        found.append(measure_detail(case, layout, measure_style(case, layout))[0].shares(layout.tissue).astype(int))
    assert np.mean((np.abs(found[0] - found[1]) > 1).any(-1)[layout.brain]) < 0.05


def test_pure_tissue_gets_the_brightness_that_explains_its_mixtures():
    case, layout, _shares = mixed_case()
    before = measure_style(case, layout)
    detail, style = measure_detail(case, layout, before)
    low, high = np.asarray(style.window).T
    real = (case.images[layout.brain] - low) / (high - low)
    told = detail.shares(layout.tissue)[layout.brain] / EIGHTHS
    errors = [np.mean((real - told @ np.asarray(table)) ** 2) for table in (before.mean[:3], style.pure)]
    assert errors[1] < errors[0]
    assert np.allclose(np.asarray(style.pure) * (high - low) + low, list(MEANS.values())[:3], atol=35)
    assert replace(style, pure=None) == before


def test_what_lights_up_in_t1ce_alone_is_a_vessel():
    case, layout, _ = mixed_case()
    images = case.images.copy()
    grey = np.argwhere(binary_erosion(layout.tissue == Tissue.WM, iterations=4))
    line = tuple(grey[len(grey) // 2])
    vessel = (slice(line[0] - 2, line[0] + 3), line[1], line[2])
    images[(*vessel, T1CE)] += 600
    lit = Case(case.id, images, case.labels, case.affine)
    detail, _ = measure_detail(lit, layout, measure_style(case, layout))
    assert (detail.vessels[vessel] == 4).all()
    assert (detail.wm[vessel] == EIGHTHS).all()
    rest = detail.vessels.copy()
    rest[vessel] = 0
    assert np.count_nonzero(rest) < 0.001 * layout.brain.sum()


def test_what_is_dark_in_every_modality_is_void():
    case, layout, _ = mixed_case()
    images = case.images.copy()
    white = np.argwhere(binary_erosion(layout.tissue == Tissue.WM, iterations=3))
    x, y, z = white[len(white) // 2]
    hole = np.s_[x - 1 : x + 2, y - 1 : y + 2, z - 1 : z + 2]
    images[hole] = 1
    rim = layout.brain & ~binary_erosion(layout.brain)
    images[rim] = np.maximum(images[rim] // 2, 1)  # half a voxel is outside the head
    torn = Case(case.id, images, case.labels, case.affine)
    before, _ = measure_detail(case, layout, measure_style(case, layout))
    detail, _ = measure_detail(torn, layout, measure_style(case, layout))
    assert before.void[layout.brain].mean() < 0.02
    assert detail.void[x, y, z] == VOID_LEVELS
    assert detail.void[rim].mean() > 1
    assert np.count_nonzero(detail.void[binary_erosion(layout.brain, iterations=4)]) < 100


def test_underneath_a_tumour_the_other_side_says_what_there_is():
    case, layout, _ = mixed_case(tumour=True)
    detail, _ = measure_detail(case, layout, measure_style(case, layout))
    gap = layout.tumour > 0
    assert gap.any()
    shares = detail.shares(layout.tissue)
    assert (shares[gap].sum(-1) == EIGHTHS).all()
    own = np.take_along_axis(shares, np.maximum(layout.tissue, 1)[..., None].astype(int) - 1, 3)[..., 0]
    assert own[gap].mean() > 0.7 * EIGHTHS


def test_denoising_keeps_edges_and_takes_noise_out():
    rng = np.random.default_rng(0)
    step = np.where(np.arange(30) < 15, 0.0, 1.0).astype(np.float32)[:, None, None] * np.ones((30, 20, 20), np.float32)
    noisy = np.stack([step + 0.05 * rng.standard_normal(step.shape).astype(np.float32) for _ in range(4)], -1)
    brain, noise = np.ones(step.shape, bool), np.full(4, 0.05)
    still = denoised(noisy, brain, noise)
    for before, after in zip(np.moveaxis(noisy, -1, 0), still, strict=True):
        assert np.std(after[:14] - step[:14]) < 0.2 * np.std(before[:14] - step[:14])
        assert np.abs(after[14:16].mean((1, 2)) - step[14:16, 0, 0]).max() < 0.03
    brain[:, :, 10:] = False
    apart = np.where(brain[..., None], noisy, 9.0).astype(np.float32)
    assert np.allclose(denoised(apart, brain, noise)[0][:, :, 9], still[0][:, :, 9], atol=0.1)


def test_denoising_keeps_a_sheet_of_one_voxel():
    rng = np.random.default_rng(0)
    sheet = np.zeros((30, 30, 30), np.float32)
    sheet[15] = 0.3
    noisy = np.stack([sheet + 0.05 * rng.standard_normal(sheet.shape).astype(np.float32) for _ in range(4)], -1)
    still = denoised(noisy, np.ones(sheet.shape, bool), np.full(4, 0.05))
    assert still[:, 15].mean() > 0.28
    assert np.abs(still[:, [14, 16]].mean()) < 0.02
    assert still[:, 15].std() < 0.02


def test_parts_that_stay_in_the_cache_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    images, brain = rng.random((17, 9, 8, 4), np.float32), rng.random((17, 9, 8)) < 0.8
    whole = denoised(images, brain, np.full(4, 0.1))
    monkeypatch.setattr(nonlocal_means, "_VOXELS", 1)
    assert np.allclose(denoised(images, brain, np.full(4, 0.1)), whole, atol=1e-5)  # added in another order


@pytest.mark.parametrize("grain", [0.3, 0.7, 1.1])
def test_noise_is_told_from_its_texture_and_grain(grain):
    noise = gaussian_filter(np.random.default_rng(0).standard_normal((48, 48, 48)), grain)[4:-4, 4:-4, 4:-4]
    texture = (np.percentile(local_std(noise), 20),) * 4
    case, layout, _ = mixed_case()
    style = replace(measure_style(case, layout), texture=texture, sharpness=((grain,) * 3,) * 4)
    assert noise_of(style) == pytest.approx(np.std(noise), rel=0.15)


def test_a_mixture_is_told_by_t1ce_too_but_not_by_the_contrast_agent():
    case, layout, shares = mixed_case()
    style = measure_style(case, layout)
    plain = case.images.copy()
    plain[..., T1CE] = np.where(layout.brain, np.maximum(plain[..., T1CE] + 800, 1), 0)
    lit = Case(case.id, plain, case.labels, case.affine)
    for scan in (case, lit):
        off = np.abs(measure_detail(scan, layout, style)[0].shares(layout.tissue).astype(int) - shares)[layout.brain]
        assert off.mean() < 0.35
