"""Painted images are averaged over the slices that the style's scanner has."""

from dataclasses import replace

import numpy as np
import pytest

from synth.errors import SynthError
from synth.layout.sampling.recipe import LayoutRecipe
from synth.runs.recipe import SampleRecipe
from synth.style.prior import StylePrior, shipped_style_prior
from synth.style.slices import Slices, averaged, drawn_slices, noisier, slices_from_dict

THIN = np.full((4, 3), 0.7)
THICK = np.tile([0.7, 0.7, 1.5], (4, 1))


def in_style(sharpness):
    """A shipped style whose widths are `sharpness` (4, 3)."""
    return replace(shipped_style_prior().sample(np.random.default_rng(0)), sharpness=np.asarray(sharpness, float))


def test_what_is_wide_along_an_axis_has_slices_across_it():
    rng = np.random.default_rng(0)
    assert drawn_slices(in_style(THIN), None, rng) == {}
    mixed = THIN.copy()
    mixed[3, 1] = 1.5
    mixed[2, 2] = 1.2
    drawn = [drawn_slices(in_style(mixed), None, rng) for _ in range(50)]
    assert all(set(slices) == {"t2", "flair"} for slices in drawn)
    assert all((slices["flair"].axis, slices["t2"].axis) == (1, 2) for slices in drawn)
    flair, t2 = (np.array([slices[name].mm for slices in drawn]) for name in ("flair", "t2"))
    assert 3.2 <= flair.min() < 3.6
    assert 4.4 < flair.max() <= 4.8
    assert t2.max() < flair.min()


def test_what_is_thick_in_the_layout_already_is_not_averaged_again():
    rng = np.random.default_rng(0)
    assert drawn_slices(in_style(THICK), in_style(THICK), rng) == {}
    one_sharp = THICK.copy()
    one_sharp[0] = 0.7  # t1: its shares are as sharp as the sharpest
    assert set(drawn_slices(in_style(THICK), in_style(one_sharp), rng)) == {"t1", "t1ce", "t2", "flair"}
    contrast = THICK.copy()
    contrast[1] = 0.7  # t1ce tells no shares
    assert drawn_slices(in_style(THICK), in_style(contrast), rng) == {}


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_averaging_leaves_lines_and_takes_what_is_finer(axis):
    rng = np.random.default_rng(1)
    shape = (20, 22, 24)
    brain = np.zeros(shape, bool)
    brain[2:-2, 3:-3, 2:-2] = True
    k = np.arange(shape[axis], dtype=np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
    image = np.zeros((*shape, 4), np.float32)
    image[..., 0] = 0.01 * k * brain  # a line
    image[..., 1] = (0.5 + 0.2 * (k % 2)) * brain  # planes in turn
    image[..., 2] = rng.standard_normal(shape) * brain
    image[..., 3] = rng.standard_normal(shape) * brain
    slices = dict.fromkeys(("t1", "t1ce", "t2"), Slices(axis, 4.0, 1.7))
    seen = averaged(image, brain, slices)
    assert seen.dtype == np.float32
    assert not seen[~brain].any()
    middle = brain & (k > 7) & (k < shape[axis] - 8)
    np.testing.assert_allclose(seen[middle][:, 0], image[middle][:, 0], atol=1e-5)
    np.testing.assert_allclose(seen[middle][:, 1], 0.6, atol=1e-5)
    assert 0.3 < seen[middle][:, 2].std() < 0.55
    np.testing.assert_array_equal(seen[..., 3], image[..., 3])
    across = np.abs(np.diff(seen[..., 2], axis=axis)).mean()
    assert across < 0.5 * np.abs(np.diff(seen[..., 2], axis=(axis + 1) % 3)).mean()
    assert averaged(image, brain, {}) is image


def test_a_mean_is_of_the_brain_alone():
    brain = np.zeros((6, 6, 16), bool)
    brain[1:5, 1:5, 5:12] = True
    image = np.repeat(brain[..., None], 4, -1).astype(np.float32)
    seen = averaged(image, brain, {"t1": Slices(2, 5.0, 0.0)})
    np.testing.assert_allclose(seen[..., 0], image[..., 0], atol=1e-6)


def test_recipes_keep_slices_and_refuse_what_is_none():
    style = in_style(THICK)
    slices = drawn_slices(style, None, np.random.default_rng(3))
    layout = LayoutRecipe(4, 1, "host", None, ())
    recipe = SampleRecipe.of(layout, "sampled", style, slices=slices)
    assert SampleRecipe.from_dict(recipe.to_dict()).slices == slices
    assert "slices" not in SampleRecipe.of(layout, "sampled", style).to_dict()
    for wrong in (
        {"t1": [3, 4, 0]},
        {"t1": [2, 40, 0]},
        {"t9": [2, 4, 0]},
        {"t1": 5},
        [1],
        {"t1": [2, 4, float("nan")]},
    ):
        with pytest.raises(SynthError, match="slices"):
            slices_from_dict(wrong)


def test_noise_is_raised_where_it_will_be_averaged():
    style = in_style(THICK)
    raised = np.asarray(noisier(style, {"t2": Slices(2, 4.0, 0.0)}).texture) / np.asarray(style.texture)
    assert raised[2] > 1.05
    np.testing.assert_allclose(raised[[0, 1, 3]], 1)


def test_widths_are_drawn_where_the_measured_ones_are():
    rng = np.random.default_rng(2)
    styles = [in_style((THICK if k % 2 else THIN) * rng.uniform(0.98, 1.02)) for k in range(12)]
    prior = StylePrior.fit(styles)
    drawn = np.array([prior.sample(rng).sharpness for _ in range(60)])[:, :, 2]
    assert ((drawn > 0.8) & (drawn < 1.4)).mean() < 0.15
    assert 0.3 < (drawn > 1.4).mean() < 0.7
    again = StylePrior.from_dict(prior.to_dict())
    seeds = [np.random.default_rng(7) for _ in range(2)]
    np.testing.assert_allclose(again.sample(seeds[0]).sharpness, prior.sample(seeds[1]).sharpness, atol=1e-3)
    plain = StylePrior(prior.centre, prior.factors)
    drawn = np.array([plain.sample(rng).sharpness for _ in range(60)])[:, :, 2]
    assert ((drawn > 0.8) & (drawn < 1.4)).mean() > 0.2
