"""The tone prior and what is drawn from it."""

from dataclasses import replace

import numpy as np
import pytest
from phantoms import head_layout, whole_detail
from scipy.ndimage import binary_dilation

from synth.brats import MODALITIES, Tissue, Tumour
from synth.errors import LayoutError
from synth.layout.detail import EVEN, TONE_LEVELS, TONE_STEP, Detail
from synth.layout.priors.tones import AROUND_MM, DEPTHS_MM, KINDS, SCALES_MM, TonePrior, shipped_tone_prior
from synth.layout.sampling.sampler import LayoutSampler
from synth.layout.sampling.sources import MemorySource

T1CE = MODALITIES.index("t1ce")


def plain_prior(**tables):
    """Tones with a normal distribution of a deviation of 0.2, each modality for itself, smooth over 2.5 mm."""
    together = np.tile(np.eye(4), (3, 1, 1))
    given = {
        "quantiles": np.tile(np.linspace(-2, 2, 65), (3, 4, 1)),
        "spread": np.full((3, 4), 0.2),
        "varies": np.zeros((3, 4)),
        "together": together,
        "depth": np.zeros((3, 4, len(DEPTHS_MM))),
        "wide": np.ones((3, 4, len(DEPTHS_MM))),
        "weights": np.tile([0.0, 1.0, 0.0, 0.0], (3, 4, 1)),
        "around": np.ones(len(AROUND_MM)),
    }
    return TonePrior(**{**given, **tables})


def ball(radius=20, kind=Tumour.ED):
    away = np.linalg.norm(np.indices((50, 52, 48)) - np.array([25, 26, 24])[:, None, None, None], axis=0)
    return np.where(away < radius, np.uint8(kind), np.uint8(0))


def drawn(prior, tumour, seed=0, zooms=(1, 1, 1)):
    """(4, n) tones in normalised units, in the tumour."""
    tones = prior.draw(tumour, np.diag([*zooms, 1.0]), np.random.default_rng(seed))
    assert not np.stack(tones)[:, tumour == 0].any()
    return (np.stack(tones)[:, tumour > 0].astype(float) - EVEN) * TONE_STEP


def test_tones_lie_in_the_tumour_and_the_same_seed_gives_the_same():
    tumour = ball()
    first, again, other = (drawn(shipped_tone_prior(), tumour, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.min() >= (1 - EVEN) * TONE_STEP
    assert first.max() <= (TONE_LEVELS - EVEN) * TONE_STEP
    none = shipped_tone_prior().draw(np.zeros((5, 6, 7), np.uint8), np.eye(4), np.random.default_rng(0))
    assert not np.stack(none).any()


def test_they_are_spread_and_hang_together_as_the_prior_says():
    together = np.eye(4)
    together[0, 1] = together[1, 0] = 0.8
    spread = np.tile([0.1, 0.2, 0.2, 0.05], (3, 1))
    values = drawn(plain_prior(together=np.tile(together, (3, 1, 1)), spread=spread), ball(22))
    assert np.allclose(values.std(1) / (spread[0] * 4 / np.sqrt(12)), 1, atol=0.15)  # of a uniform distribution
    assert np.corrcoef(values)[0, 1] == pytest.approx(0.8, abs=0.12)
    assert abs(np.corrcoef(values)[0, 2]) < 0.25


def test_oedema_fades_towards_the_tumours_surface_and_not_towards_its_core():
    depth = np.zeros((3, 4, len(DEPTHS_MM)))
    depth[KINDS.index(Tumour.ED)] = np.linspace(-2, 2, len(DEPTHS_MM))
    tumour = ball(20)
    tumour[ball(8) > 0] = Tumour.ET
    tones = plain_prior(depth=depth, weights=np.tile([1.0, 0.0, 0.0, 0.0], (3, 4, 1))).draw(
        tumour, np.eye(4), np.random.default_rng(0)
    )
    flair = tones[-1].astype(float) - EVEN
    rings = [flair[(ball(outer) > 0) & (ball(inner) == 0)].mean() for outer, inner in ((20, 18), (16, 14), (11, 8))]
    assert rings[0] < -8 < 0 < rings[1] < rings[2]
    assert abs(flair[tumour == Tumour.ET].mean()) < 3  # a core's depth is its own


@pytest.mark.parametrize(("scale", "zooms"), [(1, (1, 1, 1)), (2, (1, 1, 1)), (1, (1, 1, 2))])
def test_they_are_smooth_over_the_millimetres_that_the_prior_says(scale, zooms):
    weights = np.tile(np.eye(len(SCALES_MM))[scale], (3, 4, 1))
    tumour = ball(22)
    tones = plain_prior(weights=weights).draw(tumour, np.diag([*zooms, 1.0]), np.random.default_rng(3))
    field = np.stack(tones).astype(float) - EVEN
    for axis, zoom in enumerate(zooms):
        ahead = (slice(None),) * (axis + 1)
        low, high = (*ahead, slice(None, -2)), (*ahead, slice(2, None))
        both = ((tumour[low[1:]] > 0) & (tumour[high[1:]] > 0))[None]
        pairs = [field[side][np.broadcast_to(both, field[side].shape)] for side in (low, high)]
        expected = np.exp(-((2 * zoom) ** 2) / (4 * SCALES_MM[scale] ** 2))
        assert np.corrcoef(*pairs)[0, 1] == pytest.approx(expected, abs=0.1)


def test_each_modality_is_as_smooth_as_it_is_in_scans():
    weights = np.tile(np.eye(len(SCALES_MM))[3], (3, 4, 1))
    weights[:, 1] = np.eye(len(SCALES_MM))[0]
    tones = plain_prior(weights=weights).draw(ball(22), np.eye(4), np.random.default_rng(0))
    steps = [np.abs(np.diff(tone[15:35, 15:35, 15:35].astype(float), axis=0)).mean() for tone in tones]
    assert steps[1] > 3 * max(steps[0], *steps[2:])


def test_they_change_with_the_depth_below_the_surface_of_their_class():
    depth = np.zeros((3, 4, len(DEPTHS_MM)))
    depth[:, T1CE] = np.linspace(-1.5, 1.5, len(DEPTHS_MM))
    tumour = ball(20, Tumour.ET)
    tones = plain_prior(depth=depth).draw(tumour, np.eye(4), np.random.default_rng(0))
    core = ball(8) > 0
    rim = (tumour > 0) & (ball(18) == 0)
    assert tones[T1CE][core].mean() > tones[T1CE][rim].mean() + 0.15 / TONE_STEP
    assert abs(tones[0][core].mean() - tones[0][rim].mean()) < 0.12 / TONE_STEP


def test_they_vary_as_much_at_each_depth_as_the_prior_says_and_as_much_in_all():
    wide, weights = np.ones((3, 4, len(DEPTHS_MM))), np.tile([1.0, 0.0, 0.0, 0.0], (3, 4, 1))
    wide[:, T1CE] = np.linspace(1.5, 0.3, len(DEPTHS_MM))
    values, tumour = drawn(plain_prior(wide=wide, weights=weights), ball(20)), ball(20) > 0
    core, rim = ball(8)[tumour] > 0, ball(18)[tumour] == 0
    assert values[T1CE][core].std() < 0.4 * values[T1CE][rim].std()
    assert values[0][core].std() == pytest.approx(values[0][rim].std(), rel=0.1)
    assert values[T1CE].std() == pytest.approx(values[0].std(), rel=0.1)


def test_a_thin_rim_is_as_bright_in_the_mean_as_a_thick_one():
    depth = np.zeros((3, 4, len(DEPTHS_MM)))
    depth[:, T1CE] = np.linspace(-1.5, 1.5, len(DEPTHS_MM))  # of tumours as thick as the prior was fitted on
    means = [drawn(plain_prior(depth=depth), ball(radius, Tumour.ET))[T1CE].mean() for radius in (8, 20)]
    assert np.allclose(means, 0, atol=0.1)


def test_white_matter_fades_towards_a_new_tumour_and_nowhere_else():
    tumour, wm = ball(14), np.full((50, 52, 48), 8, np.uint8)
    around = np.array([0.5, 0.75, 1, 1, 1, 1])
    faded = plain_prior(around=around).faded(wm, tumour, np.diag([1.0, 1.0, 2.0, 1.0]))
    assert list(faded[25, 26 + 13 : 26 + 17, 24]) == [8, 4, 6, 8]  # the last of the tumour, 1, 2, 3 mm
    assert list(faded[25, 26, 24 + 13 : 24 + 16]) == [8, 6, 8]  # 2 and 4 mm
    assert (wm == 8).all()
    assert np.array_equal(plain_prior(around=around).faded(faded, tumour, np.eye(4)), faded)  # it fades as it is
    assert np.array_equal(plain_prior().faded(wm, np.zeros_like(tumour), np.eye(4)), wm)


def test_a_prior_is_kept_and_read_again_and_another_file_refused(tmp_path):
    prior = plain_prior()
    prior.save(tmp_path / "prior.npz")
    again = TonePrior.load(tmp_path / "prior.npz")
    assert np.array_equal(drawn(again, ball(9)), drawn(prior, ball(9)))
    np.savez(tmp_path / "other.npz", a=1)
    with pytest.raises(LayoutError, match="cannot be read as a tone prior"):
        TonePrior.load(tmp_path / "other.npz")


def test_what_ships_is_lawful():
    prior = shipped_tone_prior()
    assert prior.quantiles.shape[:2] == prior.spread.shape == (len(KINDS), len(MODALITIES))
    assert (np.diff(prior.quantiles, axis=-1) >= 0).all()
    assert np.allclose(prior.weights.sum(-1), 1, atol=1e-5)
    assert (np.linalg.eigvalsh(prior.together) > 0).all()
    assert (prior.spread > 0.02).all()
    assert (prior.spread < 0.5).all()
    assert (np.diff(prior.around) > 0).all()
    assert 0.6 < prior.around[0] < prior.around[-1] < 1.02


def test_a_changed_tumour_gets_tones_of_its_own_and_one_that_stays_keeps_its():
    def host(seed):
        layout = head_layout(shape=(60, 72, 54), zooms=(2.7, 2.4, 3.0), seed=seed, case_id=f"Head_{seed}")
        tones = [np.uint8(EVEN + 3) * (layout.tumour > 0)] * 4
        return replace(layout, detail=Detail(*whole_detail(layout.tissue).layers[:4], *tones))

    sources = [MemorySource(host(seed)) for seed in range(3)]
    kept, recipe = LayoutSampler(sources, "none", seed=1).draw(0, detail=True)
    assert set(np.unique(kept.detail.tone_t2)) == {0, EVEN + 3}
    sampler = LayoutSampler(sources, "swap", seed=1)
    first, recipe = sampler.draw(0, detail=True)
    other, _ = sampler.draw(1, detail=True)
    for layout in (first, other):
        tones = np.stack(layout.detail.tones)
        assert (tones[:, layout.tumour > 0] > 0).all()
        assert not tones[:, layout.tumour == 0].any()
        assert len(np.unique(tones)) > 6
        near = binary_dilation(layout.tumour > 0) & (layout.tumour == 0) & (layout.tissue == Tissue.WM)
        assert 0 < layout.detail.wm[near].max() < 8
    again = sampler.replay(recipe, detail=True)
    assert np.array_equal(np.stack(again.detail.tones), np.stack(first.detail.tones))
    assert not np.array_equal(first.tumour, other.tumour)
