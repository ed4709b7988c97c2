"""A generator that is conditioned on detail: what it sees, what it paints without any, how it is trained."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from phantoms import head_layout, phantom_case, phantom_layout, phantom_sources, whole_detail
from scipy.ndimage import binary_erosion, maximum_filter

from synth.brats import MODALITIES, TISSUES
from synth.datasets.layout_files import save_layout
from synth.hosts.sources import data_sources
from synth.layout.detail import (
    EIGHTHS,
    EVEN,
    MAPS,
    TONE_STEP,
    VESSEL_LEVELS,
    VESSEL_STEP,
    VOID_LEVELS,
    Detail,
    softened,
)
from synth.models.configs import GeneratorConfig
from synth.models.inference import LayoutPainter
from synth.models.networks.generator import build_generator
from synth.models.painter import box_coordinates, paint, style_tensors
from synth.models.runtime import MIXED, computing_in
from synth.models.slabs import Slabs
from synth.models.weights import save_generator
from synth.runs.generate import GenerateConfig, Generation, generate, write_recipes
from synth.runs.reconstruct import reconstruct_case
from synth.runs.replay import replay
from synth.style.shares import measure_detail
from synth.style.style import measure_style
from synth.trainers.augment import AugmentConfig
from synth.trainers.cutting import PatchConfig
from synth.trainers.painting.patches import draw_patch, store_case

TINY = GeneratorConfig(width=4, bottleneck=1, conditioning="detail")
SHAPE = (48, 56, 40)
T1CE = MODALITIES.index("t1ce")


def painted(layout, style, detail):
    """What `paint` makes of a layout, as arrays without the batch."""
    tensors = {name: value[None] for name, value in style_tensors(style, mixed=detail is not None).items()}
    box = tuple(slice(0, n) for n in layout.shape)
    layers = None if detail is None else np.stack(detail.layers, -1)[None]
    coordinates = box_coordinates(layout.shape, box)[None]
    made = paint(layout.classes[None], coordinates, tensors, np.array([1, 2], np.int32), layers)
    return {name: np.asarray(value)[0] for name, value in made.items()}


@pytest.fixture(scope="module")
def scan():
    layout = phantom_layout(SHAPE)
    style = measure_style(phantom_case(SHAPE), layout)
    return layout, replace(style, shading=np.zeros((4, 9)))


def test_a_voxel_is_painted_as_the_mixture_that_it_is(scan):
    layout, style = scan
    place = tuple(np.argwhere((layout.tissue == 3) & (layout.tumour == 0))[0])
    detail = whole_detail(layout.tissue)
    detail.csf[place], detail.wm[place], detail.vessels[place] = 2, 5, 3
    style = replace(style, sharpness=np.full((4, 3), 0.7))
    made = painted(layout, style, detail)
    mean = np.asarray(style.mean)
    expected = (2 * mean[0] + 1 * mean[1] + 5 * mean[2]) / EIGHTHS
    expected[T1CE] += 3 * VESSEL_STEP
    assert np.allclose(made["condition"][place][-4:], expected, atol=1e-5)
    assert np.allclose(made["detail"][place], [2 / 8, 1 / 8, 5 / 8, 3 / VESSEL_LEVELS])
    tumour = layout.tumour > 0
    assert not made["detail"][tumour].any()
    assert np.allclose(made["condition"][tumour][:, -4:], mean[layout.tumour[tumour] + len(TISSUES) - 1], atol=1e-5)
    assert not made["detail"][~layout.brain].any()


@pytest.mark.parametrize("wanted", [-2.0, 2.0])
def test_noise_is_even_where_there_is_neither_fluid_nor_a_vessel(wanted):
    """However far a network wants to raise or lower it: cells of 2 x 2 x 2 voxels keep to their bound."""
    network = build_generator(replace(TINY, tissue_gain=1.5, fluid_gain=3.0))
    kernel, _ = network.get_layer("log_gain").get_weights()
    network.get_layer("log_gain").set_weights([kernel, np.full(4, 10 * np.sign(wanted), np.float32)])
    shares = np.zeros((1, 16, 16, 16, 4), np.float32)
    shares[..., 2] = 1
    shares[0, 2, 2, 2], shares[0, 9, 4, 4, 3] = (0.125, 0, 0.875, 0), 0.25
    condition = np.zeros((1, 16, 16, 16, len(TISSUES) + 7), np.float32)
    condition[..., 2] = 1
    made = network(
        {
            "condition": condition,
            "noise": np.ones((1, 16, 16, 16, 4), np.float32),
            "coordinates": np.zeros((1, 16, 16, 16, 3), np.float32),
            "detail": shares,
        }
    )
    gain = (made["image"] - made["clean"]).numpy()[0]
    wet = np.zeros((16, 16, 16), bool)
    wet[2:4, 2:4, 2:4] = wet[8:10, 4:6, 4:6] = True
    assert np.allclose(gain[~wet], 1.5 ** np.sign(wanted), rtol=1e-4)
    assert np.allclose(gain[wet], 3.0 ** np.sign(wanted), rtol=1e-4)


def test_a_tumours_voxel_is_painted_in_its_tone_and_healthy_tissue_in_none(scan):
    layout, style = scan
    style = replace(style, sharpness=np.full((4, 3), 0.7))
    tones = {name: np.zeros_like(layout.tissue) for name in ("tone_t1", "tone_t1ce")}
    detail = replace(whole_detail(layout.tissue), **tones)
    tumour = tuple(np.argwhere(layout.tumour == 3)[0])
    healthy = tuple(np.argwhere((layout.tissue == 3) & (layout.tumour == 0))[0])
    for place in (tumour, healthy):
        detail.tone_t1[place], detail.tone_t1ce[place] = EVEN - 4, EVEN + 6
    without = painted(layout, style, whole_detail(layout.tissue))["condition"][..., -4:]
    step = painted(layout, style, detail)["condition"][..., -4:] - without
    assert np.allclose(step[tumour], [-4 * TONE_STEP, 6 * TONE_STEP, 0, 0], atol=1e-5)
    step[tumour] = 0
    assert not step.any()


def test_what_is_void_gives_no_signal(scan):
    layout, style = scan
    place = tuple(np.argwhere((layout.tissue == 3) & (layout.tumour == 0))[0])
    style = replace(style, sharpness=np.full((4, 3), 0.7))
    low, high = np.asarray(style.window).T
    for void in range(VOID_LEVELS + 1):
        detail = whole_detail(layout.tissue)
        detail.void[place] = void
        made = painted(layout, style, detail)
        there = 1 - void / VOID_LEVELS
        expected = (np.asarray(style.mean)[2] * (high - low) + low) * there  # in the scanner's units
        assert np.allclose(made["condition"][place][-4:] * (high - low) + low, expected, atol=0.05)
        assert np.allclose(made["detail"][place], [0, 0, there, 0])


def test_a_modality_of_thick_slices_is_painted_softer_along_them_alone(scan):
    layout, style = scan
    sharpness = np.full((4, 3), 0.7)
    thick = sharpness.copy()
    thick[3, 2] = 1.5  # flair along z
    seen = [
        painted(layout, replace(style, sharpness=s), whole_detail(layout.tissue))["condition"][..., -4:]
        for s in (sharpness, thick)
    ]
    assert np.array_equal(seen[0][..., :3], seen[1][..., :3])
    inner = binary_erosion(layout.brain, iterations=3)
    steps = [
        [
            (np.diff(image[..., 3], axis=axis)[inner.take(range(n - 1), axis)] ** 2).mean()
            for axis, n in enumerate(SHAPE)
        ]
        for image in seen
    ]
    left = np.divide(*steps[::-1])
    assert left[2] < 0.6
    assert left[2] < 0.85 * min(left[:2])


def test_without_detail_the_painter_is_what_it_was(scan):
    layout, style = scan
    made = painted(layout, style, None)
    assert set(made) == {"condition", "noise", "coordinates"}
    other = painted(layout, style, whole_detail(layout.tissue))["noise"]
    dry = layout.brain & ~maximum_filter(layout.classes == 1, 5)  # as far as noise is blurred
    assert dry.sum() > 1000
    assert np.array_equal(made["noise"][dry], other[dry])


def test_noise_runs_along_fluid_and_not_across_and_keeps_its_level(scan):
    """As what scans have in their sulci beyond a layout: lines, not pepper."""
    style = scan[1]
    rng = np.random.default_rng(0)
    shape = (4, 24, 24, 24)
    white = rng.standard_normal((*shape, 4)).astype(np.float32)
    classes, layers = np.full(shape, 2, np.uint8), np.zeros((*shape, len(MAPS)), np.uint8)
    layers[:, 6, :, :, 0] = EIGHTHS  # a sheet of fluid, one voxel thick
    tensors = {name: np.repeat(value[None], 4, 0) for name, value in style_tensors(style, mixed=True).items()}
    tensors["kernel"][:] = [1, 0, 0]  # a blur that reaches nothing
    made = paint(classes, np.zeros((*shape, 3), np.float32), tensors, (1, 2), layers, white)["noise"].numpy()
    made *= np.std(white[:, 7:], (0, 1, 2, 3)) / np.std(made[:, 7:], (0, 1, 2, 3))
    assert np.allclose(made[:, 7:], white[:, 7:], atol=1e-4)
    sheet = made[:, 6]
    assert np.allclose(np.std(sheet, (0, 1, 2)), 1, atol=0.1)

    def alike(one, other):
        return np.corrcoef(one.ravel(), other.ravel())[0, 1]

    assert alike(sheet[:, 1:], sheet[:, :-1]) > 0.5
    assert abs(alike(sheet, made[:, 5])) < 0.1
    assert alike(white[:, 6, 1:], white[:, 6, :-1]) < 0.1


def test_softened_tissue_is_whole_inside_and_mixed_at_its_borders():
    tissue = phantom_layout(SHAPE).tissue
    soft = softened(tissue)
    shares = soft.shares(tissue)
    assert np.array_equal(shares.sum(-1), EIGHTHS * (tissue > 0))
    own = np.take_along_axis(shares, np.maximum(tissue, 1)[..., None].astype(int) - 1, 3)[..., 0]
    assert (own[tissue > 0] == EIGHTHS).mean() > 0.3
    assert (own[tissue > 0] < EIGHTHS).any()
    assert (own[tissue > 0] >= shares.max(-1)[tissue > 0]).mean() > 0.95
    assert not soft.vessels.any()


def test_a_generator_sees_the_detail_and_paints_layouts_without_any(scan):
    layout, style = scan
    painter = LayoutPainter(build_generator(TINY))
    healthy = np.where(layout.tumour > 0, 0, layout.tissue).astype(np.uint8)  # as training patches show it
    detail = Detail(*(layer.copy() for layer in softened(healthy).layers))
    seed = (1, 2)
    plain = painter(layout, style, seed)
    assert np.array_equal(painter(replace(layout, detail=detail), style, seed), plain)  # that is what is put in
    detail.wm[:] = 0
    assert not np.array_equal(painter(replace(layout, detail=detail), style, seed), plain)
    assert not LayoutPainter(build_generator(GeneratorConfig(width=4, bottleneck=1))).sees_detail


@pytest.mark.parametrize("rows", [16, 48])
def test_slabs_have_the_bits_of_the_whole_up_to_its_ends(scan, rows):
    shape, rng = (rows, 32, 16), np.random.default_rng(rows)
    generator = build_generator(TINY)
    for weight in generator.weights:
        weight.assign(rng.normal(0, 0.2, weight.shape))  # a network that is not trained adds next to nothing
    painter = LayoutPainter(generator)
    tensors = {name: value[None] for name, value in style_tensors(scan[1], mixed=True).items()}
    classes = rng.integers(0, 7, shape, np.uint8)
    layers = np.stack([rng.integers(0, most // 2 + 1, shape, np.uint8) for most in MAPS.values()], -1)
    box = [slice(-3, -3 + rows), slice(5, 37), slice(40, 56)]
    given = (classes, (60, 60, 60), box, tensors, np.array([1, 2], np.int32), layers)
    in_slabs = painter._painted(*given)
    assert painter._slabs is not None  # or this compares nothing
    painter._slabs = None
    at_once = painter._painted(*given)
    assert np.array_equal(in_slabs, at_once)
    assert at_once[[0, -1]].any()


def test_slabs_are_for_float32_and_generators_with_detail_alone():
    assert Slabs.suits(build_generator(TINY))
    assert not Slabs.suits(None)
    assert not Slabs.suits(build_generator(GeneratorConfig(width=4, bottleneck=1)))
    with computing_in(MIXED):
        assert not Slabs.suits(build_generator(TINY))


def test_patches_bring_their_detail_and_sometimes_none(tmp_path, scan):
    layout, style = scan
    detail = whole_detail(layout.tissue)
    detail.vessels[layout.brain] = 1
    case = store_case(phantom_case(SHAPE), replace(layout, detail=detail), tmp_path / "A", style=style)
    patch, augment = PatchConfig(size=32), AugmentConfig(warp=0.5, gamma=0.0)
    drawn = [draw_patch([case], step, 0, 0, patch, augment) for step in range(24)]
    lit = [bool(sample["detail"][..., 2].any()) for sample in drawn]
    assert 12 <= sum(lit) < 24
    for sample, vessels in zip(drawn, lit, strict=True):
        csf, wm = (sample["detail"][..., k].astype(int) for k in range(2))
        assert sample["images"].shape == (32, 32, 32, 4)
        assert (csf + wm).max() <= EIGHTHS
        healthy = (sample["classes"] > 0) & (sample["classes"] <= 3)
        if vessels and sample["exact"]:
            assert np.array_equal(wm[healthy] == EIGHTHS, sample["classes"][healthy] == 3)


def test_tones_follow_the_scan_through_gamma(tmp_path, scan):
    layout, style = scan
    tone = np.uint8(EVEN + 4) * (layout.tumour > 0)
    detail = replace(softened(layout.tissue), tone_t2=tone)
    real = phantom_case(SHAPE)
    case = store_case(real, replace(layout, detail=detail), tmp_path / "A", style=style)
    patch, augment = PatchConfig(size=32, tumour_share=1.0), AugmentConfig(warp=0.0, gamma=1.0)
    seen = 0
    for step in range(12):
        sample = draw_patch([case], step, 0, 0, patch, augment)
        tumour, tones = sample["classes"] > 3, sample["detail"][..., 6]
        assert not tones[~tumour].any()
        if tones.any():
            seen += 1
            before = draw_patch([case], step, 0, 0, patch, AugmentConfig(warp=0.0, gamma=0.0))
            assert set(before["detail"][..., 6][tumour]) == {EVEN + 4}
            for k in np.unique(sample["classes"][tumour]):
                voxels = sample["classes"] == k
                flat, bent = (part["mean"][k - 1, 2] for part in (before, sample))
                gamma = np.log(bent) / np.log(flat)
                expected = (flat + 4 * TONE_STEP) ** gamma - bent
                assert np.allclose(TONE_STEP * (tones[voxels] - float(EVEN)), expected, atol=0.51 * TONE_STEP)
    assert seen > 6


def test_a_step_learns_to_use_the_detail(scan):
    layout, style = scan
    generator = build_generator(TINY)
    made = painted(layout, style, softened(layout.tissue))
    inputs = {name: tf.constant(value[None, :48, :48, :32]) for name, value in made.items()}
    with tf.GradientTape() as tape:
        tape.watch(inputs["detail"])
        loss = tf.reduce_mean(generator(inputs, training=True)["image"] ** 2)
    variables = generator.trainable_variables
    *gradients, seen = tape.gradient(loss, [*variables, inputs["detail"]])
    assert all(gradient is not None for gradient in gradients)
    assert (np.abs(np.asarray(seen)).reshape(-1, 4).max(0) > 0).all()


def test_a_scan_is_reconstructed_with_its_detail(monkeypatch, scan):
    layout, _ = scan
    monkeypatch.setattr("synth.hosts.extract.extract_layout", lambda case: layout)
    case, painter = phantom_case(SHAPE), LayoutPainter(build_generator(TINY))
    painted, used, style = reconstruct_case(case, painter)
    expected, solved = measure_detail(case, layout, measure_style(case, layout))
    assert np.array_equal(used.detail.wm, expected.wm)
    assert style == solved
    assert painted.images.shape == case.images.shape
    blind = LayoutPainter(build_generator(GeneratorConfig(width=4, bottleneck=1)))
    _, plain, _ = reconstruct_case(case, blind)
    assert plain.detail is None


def test_a_run_whose_generator_sees_detail_draws_paints_and_replays_it(tmp_path):
    save_generator(tmp_path / "model", build_generator(TINY), {"name": "tiny", "generator": TINY.to_dict()})
    styles = phantom_sources()
    for seed, source in enumerate(styles.hosts):
        host, style = head_layout(seed=seed, case_id=source.id), styles.own_style(source.id)
        pure = np.asarray(style.mean)[:3] + 0.02
        save_layout(replace(host, detail=softened(host.tissue)), tmp_path / "layouts", replace(style, pure=pure))
    config = GenerateConfig(seed=3, edits="individual,swap", style="own")
    generation = Generation(data_sources(tmp_path / "layouts", "")[0], tmp_path / "model", config)
    layout, recipe = generation.draw(0)
    assert layout.detail is not None
    assert recipe.style.pure is not None
    assert generation.draw(0, detail=False)[0].detail is None
    plain = generation.paint(replace(layout, detail=whole_detail(layout.tissue)), recipe)
    assert not np.array_equal(generation.paint(layout, recipe).images, plain.images)
    generate(generation, 1, tmp_path / "set")
    (again,) = replay(
        tmp_path / "set", ["Synth_00000"], tmp_path / "again", data=[tmp_path / "layouts"], model=tmp_path / "model"
    )
    assert again.compared
    assert not again.differing
    write_recipes(generation, 2, tmp_path / "dry")  # makes none
    assert generation.sees_detail
