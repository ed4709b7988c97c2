"""The detail prior and what is drawn from it."""

from dataclasses import replace

import numpy as np
import pytest
from phantoms import head_layout, phantom_layout, whole_detail
from scipy.ndimage import distance_transform_edt
from scipy.special import ndtr, ndtri

from synth.brats import Tissue
from synth.errors import LayoutError
from synth.layout import nonlocal_means
from synth.layout.detail import EIGHTHS, MIXED, VESSEL_LEVELS
from synth.layout.priors import detail as detail_prior
from synth.layout.priors.detail import (
    FINER,
    GAINED,
    LINED_PLACES,
    MIXED_PLACES,
    SCALES_MM,
    SHELLS,
    DetailPrior,
    places_of,
    shipped_detail_prior,
)
from synth.layout.sampling.sampler import LayoutSampler
from synth.layout.sampling.sources import MemorySource

CSF, WM, VESSELS, VOID = range(4)


def prior_of(shares=None, lined=None, weights=(0.0, 1.0, 0.0), leaning=0.0):
    """A prior that gives all voxels, whatever their place, these probabilities of at most each value."""
    sizes = int(np.prod(MIXED_PLACES)), int(np.prod(LINED_PLACES))
    shares = np.ones((2, EIGHTHS)) if shares is None else np.asarray(shares, float)
    lined = np.ones((2, 4)) if lined is None else np.asarray(lined, float)
    tables = (np.repeat(part[:, None], size, 1) for part, size in zip((shares, lined), sizes, strict=True))
    curves = np.broadcast_to(np.arange(EIGHTHS * FINER + 1) / FINER, (2, SHELLS, EIGHTHS * FINER + 1))
    plain = np.zeros((60, 60, 39)), np.zeros(GAINED)
    return DetailPrior(*tables, np.tile(weights, (4, 1)), np.full(4, leaning), *plain, curves)


@pytest.fixture
def not_averaged(monkeypatch):
    """Shares as the tables and fields alone give them."""
    monkeypatch.setattr(nonlocal_means, "_PASSES", ())


def evenly(most):
    """As many voxels of each value."""
    return np.arange(1, most + 1) / (most + 1)


def drawn(prior, layout, seed=0):
    return prior.draw(layout.tissue, layout.affine, np.random.default_rng(seed))


def test_the_same_seed_gives_the_same_detail_and_nothing_lies_outside_the_brain():
    layout = head_layout()
    first, again, other = (np.stack(drawn(shipped_detail_prior(), layout, seed).mixed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not first[:, ~layout.brain].any()
    assert (first[CSF] + first[WM] <= EIGHTHS).all()
    for layer, most in zip(first, MIXED.values(), strict=True):
        assert layer.max() <= most
    assert first[VESSELS].any()
    assert not np.any(
        shipped_detail_prior().draw(np.zeros((5, 6, 7), np.uint8), np.eye(4), np.random.default_rng(0)).csf
    )


def test_values_are_as_frequent_as_the_prior_says(not_averaged):
    shares, lined = np.stack([evenly(8), np.ones(8)]), np.stack([[0.9, 0.95, 1, 1], [0.7, 0.8, 0.9, 1]])
    layout = phantom_layout(tumour=False)
    detail = drawn(prior_of(shares, lined, weights=(1.0, 0.0, 0.0)), layout)
    found = np.bincount(detail.csf[layout.brain], minlength=9) / layout.brain.sum()
    assert np.allclose(found, 1 / 9, atol=0.02)
    assert not detail.wm[detail.vessels == 0].any()  # what looks like white matter is blood
    assert (detail.vessels[layout.brain] > 0).mean() == pytest.approx(0.1, abs=0.04)
    assert (detail.void[layout.brain] > 0).mean() == pytest.approx(0.3, abs=0.04)


def test_white_matter_is_a_share_of_what_fluid_leaves():
    shares = np.stack([np.array([0, 0, 0, 0, 1, 1, 1, 1]), np.zeros(8)])  # always four eighths of CSF, the rest white
    layout = phantom_layout(tumour=False)
    detail = drawn(prior_of(shares), layout)
    assert (detail.csf[layout.brain] == 4).all()
    assert (detail.wm[layout.brain] == 4).all()


@pytest.mark.parametrize(("scale", "zooms"), [(0, (1, 1, 1)), (1, (1, 1, 1)), (1, (1, 1, 2))])
def test_detail_is_smooth_over_the_millimetres_that_the_prior_says(scale, zooms, not_averaged):
    shares = np.stack([evenly(8), np.ones(8)])
    brain = np.full((50, 46, 44), Tissue.GM, np.uint8)
    prior = prior_of(shares, weights=np.eye(len(SCALES_MM))[scale])
    field = prior.draw(brain, np.diag([*zooms, 1.0]), np.random.default_rng(0)).csf.astype(float)
    for axis, zoom in enumerate(zooms):
        ahead = (slice(None),) * axis
        pairs = [field[(*ahead, part)].ravel() for part in (slice(None, -2), slice(2, None))]
        expected = np.exp(-((2 * zoom) ** 2) / (4 * SCALES_MM[scale] ** 2))
        assert np.corrcoef(*pairs)[0, 1] == pytest.approx(expected, abs=0.1)


def test_flat_parts_become_flat(monkeypatch):
    brain = np.full((40, 40, 40), Tissue.GM, np.uint8)
    prior = prior_of(np.stack([[0.5, *np.ones(7)], np.ones(8)]), weights=(1.0, 0.0, 0.0))  # none or an eighth
    steep = []
    for passes in (nonlocal_means._PASSES, ()):
        monkeypatch.setattr(nonlocal_means, "_PASSES", passes)
        fluid = prior.draw(brain, np.eye(4), np.random.default_rng(0)).csf.astype(float)
        steep.append(np.mean(np.abs(np.diff(fluid, axis=0)) > 0))
    assert steep[0] < 0.7 * steep[1]


def test_curves_say_what_an_averaged_share_stands_for_at_its_depth():
    layout = phantom_layout(tumour=False)
    shares = np.stack([np.array([0, 0, 0, 0, 1, 1, 1, 1]), np.zeros(8)])
    prior = prior_of(shares)
    curves = prior.curves.copy()
    curves[0, 2 :: MIXED_PLACES[2]] = 6.4  # from 2.1 to 4 mm, at all heights
    detail = drawn(replace(prior, curves=curves), layout)
    depth = distance_transform_edt(layout.brain)[layout.brain]
    found = detail.csf[layout.brain]
    assert (found[(depth > 2.1) & (depth < 4)] == 6).all()
    assert (found[(depth <= 2) | (depth > 4)] == 4).all()
    assert (detail.csf + detail.wm)[layout.brain].max() == EIGHTHS


def test_vessels_are_lines():
    brain = np.full((60, 60, 60), Tissue.GM, np.uint8)
    lit = prior_of(lined=np.stack([np.full(4, 0.97), np.ones(4)])).draw(brain, np.eye(4), np.random.default_rng(0))
    on = lit.vessels > 0
    beside = sum(np.roll(on, step, axis) for axis in range(3) for step in (-1, 1))[on]
    assert on.mean() == pytest.approx(0.03, abs=0.015)
    assert beside.mean() < 5  # of six neighbours: not a blob
    assert np.mean(beside > 0) > 0.8  # nor specks, of which a sixth would have one


def test_the_falx_is_a_thin_sheet_in_the_fluid_of_the_middle_and_shows_as_brains_differ():
    tissue = np.full((81, 60, 60), Tissue.GM, np.uint8)
    tissue[41] = Tissue.CSF  # midline 40: the fissure lies beside it
    prior = prior_of(lined=np.stack([np.full(4, 0.9), np.ones(4)]))
    on = [prior.draw(tissue, np.eye(4), np.random.default_rng(seed)).vessels > 0 for seed in range(12)]
    shows = np.array([lit[38:43].mean((1, 2)) for lit in on])
    assert shows.mean(0).argmax() == 3
    assert shows.mean(0)[3] > 3 * shows.mean(0)[[0, 1, 4]].max()
    assert shows.mean() == pytest.approx(0.1, abs=0.03)
    assert shows[:, 3].std() > 0.1
    filled = []
    for part in (lit[where] for where in (41, 20) for lit in on):
        beside = sum(np.roll(part, step, axis) for axis in (0, 1) for step in (-1, 1))
        filled.append(beside[part].mean() if part.any() else np.nan)
    assert np.nanmedian(filled[:12]) > 3.3 > 3.0 > np.nanmedian(filled[12:])  # of four neighbours: patches, not lines


def test_void_passes_smoothly_where_kinds_of_place_alternate_along_the_surface():
    tissue = np.full((50, 50, 10), Tissue.GM, np.uint8)
    tissue[::2] = Tissue.CSF
    prior = prior_of(weights=(0.0, 0.0, 1.0))
    lined = prior.lined.copy()
    fluid = np.unravel_index(np.arange(lined.shape[1]), LINED_PLACES)[3] == 0
    lined[1] = np.where(fluid, 0.4, 0.98)[:, None]
    prior = replace(prior, lined=lined)
    void = [prior.draw(tissue, np.eye(4), np.random.default_rng(k)).void[5:-5, 5:-5, 0] > 0 for k in range(12)]
    assert np.mean(void) == pytest.approx(0.31, abs=0.1)
    assert np.mean([part[1:] != part[:-1] for part in void]) < 0.15  # else only fluid would be, and most of it


def test_void_is_as_rare_in_fluid_and_as_frequent_in_vessels_as_the_prior_says():
    tissue = np.full((60, 60, 60), Tissue.GM, np.uint8)
    shares = np.stack([np.full(8, 0.5), np.ones(8)])  # fluid or none
    prior = prior_of(shares, np.stack([np.full(4, 0.8), np.full(4, 0.9)]), weights=(0.0, 0.0, 1.0))
    gained = prior.gained.copy()
    gained[:, 4], gained[:, :, 3] = -1.0, 2.0
    brains = [replace(prior, gained=gained).draw(tissue, np.eye(4), np.random.default_rng(seed)) for seed in range(8)]
    csf, void, vessels = (np.stack([getattr(brain, name) for brain in brains]) for name in ("csf", "void", "vessels"))
    kinds = [(csf == 0) & (vessels == 0), (csf == EIGHTHS) & (vessels == 0), vessels == VESSEL_LEVELS]
    expected = ndtr(ndtri(0.1) + np.array([0, -1, 2]))
    assert [np.mean(void[kind] > 0) for kind in kinds] == pytest.approx(expected, abs=0.04)


def test_blood_takes_the_place_of_fluid_the_more_the_brighter_the_vessel():
    tissue = np.full((60, 60, 60), Tissue.GM, np.uint8)
    shares = np.stack([np.zeros(8), np.ones(8)])  # nothing but fluid
    lined = np.stack([np.array([0.8, 0.85, 0.9, 0.95]), np.ones(4)])
    detail = prior_of(shares, lined).draw(tissue, np.eye(4), np.random.default_rng(0))
    found = [(part[detail.vessels == k].mean()) for part in (detail.csf, detail.wm) for k in range(VESSEL_LEVELS + 1)]
    assert found == [8, 8, 7, 6, 4, 0, 0, 1, 2, 3]
    assert (detail.csf + detail.wm).max() == EIGHTHS


def test_voxels_at_the_edge_are_as_those_around_them(monkeypatch):
    brain = np.full((40, 40, 40), Tissue.GM, np.uint8)
    prior = prior_of(np.stack([np.linspace(0.9, 1, 8), np.ones(8)]), weights=(1.0, 0.0, 0.0))
    lonely = []
    for even in (detail_prior._even_edge, lambda *_: None):
        monkeypatch.setattr(detail_prior, "_even_edge", even)
        face = prior.draw(brain, np.eye(4), np.random.default_rng(0)).csf[0].astype(float)
        lonely.append(np.abs(np.diff(face, axis=0)).mean() / face.mean())
    assert lonely[0] < 0.8 * lonely[1]


def test_brains_lean_their_own_way():
    shares = np.stack([evenly(8), np.ones(8)])
    layout = phantom_layout(tumour=False)

    def means(leaning):
        prior = prior_of(shares, weights=(1.0, 0.0, 0.0), leaning=leaning)
        return np.std([drawn(prior, layout, seed).csf[layout.brain].mean() for seed in range(12)])

    assert means(0.6) > 8 * means(0.0)


def test_places_tell_the_surface_deep_white_matter_and_the_middle_apart():
    tissue = np.zeros((81, 80, 80), np.uint8)
    tissue[5:76, 5:75, 5:75] = Tissue.GM
    tissue[12:69, 12:68, 12:68] = Tissue.WM
    tissue[40, 40, 5:12] = Tissue.CSF
    mixed, lined = places_of(tissue, (1, 1, 1), tuple(map(slice, (0, 0, 0), tissue.shape)))
    far, high, deep, _ = np.unravel_index(mixed, MIXED_PLACES)
    assert deep[5, 40, 40] == 0
    assert deep[6, 40, 40] == 1
    assert deep[40, 40, 40] == 6
    assert [high[40, 40, z] for z in (5, 22, 23, 56, 57, 74)] == [0, 0, 1, 1, 2, 2]
    assert far[11, 40, 40] == 0
    assert far[6, 40, 40] == 2
    middle, _, fluid, own = np.unravel_index(lined, LINED_PLACES)
    assert middle[40].all()
    assert not middle[44].any()
    assert fluid[40, 40, 8] > fluid[30, 40, 8] == 0
    assert own[40, 40, 8] == 0
    assert own[40, 40, 40] == 2


def test_white_matter_stands_out_less_than_geometry_says(monkeypatch):
    layout, spread = head_layout(), []
    for softer in (1.0, 0.5):
        monkeypatch.setattr("synth.layout.priors.detail._SOFTER", softer)
        white = drawn(shipped_detail_prior(), layout).wm[layout.brain].astype(float)
        spread.append((white[(white > 0) & (white < EIGHTHS)].std(), np.isin(white, (0, EIGHTHS)).mean()))
    assert spread[1][0] / spread[0][0] < 0.85
    assert spread[1][1] > 0.95 * spread[0][1]  # voxels of white matter alone, or without any, stay such


def test_a_prior_is_kept_and_read_again_and_another_file_refused(tmp_path):
    prior, layout = shipped_detail_prior(), head_layout()
    prior.save(tmp_path / "prior.npz")
    again = DetailPrior.load(tmp_path / "prior.npz")
    assert np.array_equal(drawn(again, layout).csf, drawn(prior, layout).csf)
    np.savez(tmp_path / "other.npz", a=1)
    with pytest.raises(LayoutError, match="cannot be read as a detail prior"):
        DetailPrior.load(tmp_path / "other.npz")


def test_what_ships_is_lawful():
    prior = shipped_detail_prior()
    assert prior.shares.shape == (2, np.prod(MIXED_PLACES), EIGHTHS)
    assert prior.lined.shape == (2, np.prod(LINED_PLACES), 4)
    for tables in (prior.shares, prior.lined):
        assert (np.diff(tables, axis=-1) >= 0).all()
        assert tables.min() >= 0
        assert tables.max() <= 1
    assert (prior.weights.sum(1) <= 1.05).all()
    assert (prior.leaning < 0.7).all()


def test_samples_of_layouts_without_detail_get_drawn_ones_and_keep_what_a_scan_says():
    hosts = [head_layout(shape=(60, 72, 54), zooms=(2.7, 2.4, 3.0), seed=seed, case_id=f"H{seed}") for seed in range(2)]
    sampler = LayoutSampler([MemorySource(host) for host in hosts], "mirror", seed=3)
    plain, _ = sampler.draw(0)
    layout, recipe = sampler.draw(0, detail=True)
    assert plain.detail is None
    assert layout.detail.csf.any()
    assert (np.stack(layout.detail.tones)[:, layout.tumour > 0] > 0).all()
    again = sampler.replay(recipe, detail=True)
    assert np.array_equal(np.stack(again.detail.layers), np.stack(layout.detail.layers))
    other, _ = sampler.draw(2, detail=True)
    assert not np.array_equal(other.detail.csf, layout.detail.csf)
    told = [MemorySource(replace(host, detail=whole_detail(host.tissue))) for host in hosts]
    kept, _ = LayoutSampler(told, "none", seed=3).draw(0, detail=True)
    assert set(np.unique(kept.detail.csf)) == {0, EIGHTHS}
