import json
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from synth.brats import AFFINE, GRID, Tissue
from synth.errors import LayoutError
from synth.hosts import folds
from synth.hosts.anatomies import Anatomy, AtlasAnatomies, AtlasSource, _grown, draw_anatomy, warped_levels
from synth.hosts.folds import PER_MM
from synth.layout import atlas as atlases
from synth.layout.atlas import BIAS_STEP, SoftAtlas, made_atlas, soft_atlas
from synth.layout.law import violations
from synth.layout.priors.anatomy import LATTICE, AnatomyPrior, mirrored_field, refined, shipped_prior, with_still_middle
from synth.layout.space import MIDLINE, components, near, spacing, ventricles
from synth.layout.warp import MIN_JACOBIAN, SplineField, Warp

WHOLE = tuple(slice(0, n) for n in GRID)


@pytest.fixture(scope="module")
def brains():
    return [AtlasAnatomies()[number].load() for number in (3, 123456)]


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**31 - 1))
def test_drawn_anatomies_do_not_fold_are_records_and_keep_the_falx_in_place(seed):
    anatomy = draw_anatomy(np.random.default_rng(seed))
    assert draw_anatomy(np.random.default_rng(seed)) == anatomy
    record = json.loads(json.dumps(anatomy.to_dict()))
    assert Anatomy(**{k: tuple(v) if isinstance(v, list) else v for k, v in record.items()}) == anatomy
    warp = anatomy.warp()
    assert warp.min_jacobian() > MIN_JACOBIAN
    y, z = np.meshgrid(np.arange(60, 200, 14), np.arange(45, 130, 14))
    falx = np.stack([np.full(y.size, MIDLINE), y.ravel(), z.ravel()], 1)
    away = np.abs(warp.forward(falx)[:, 0] - MIDLINE)
    assert np.median(away) < 5
    assert away.max() < 12


def test_tissue_is_complete_and_in_the_proportions_of_brains(brains):
    for layout in brains:
        tissue = layout.tissue
        assert tissue.shape == GRID
        share = np.bincount(tissue.ravel(), minlength=4)[1:] / np.count_nonzero(tissue)
        for value, (low, high) in zip(share, ((0.08, 0.33), (0.35, 0.60), (0.22, 0.45)), strict=True):
            assert low < value < high
        assert 1050 < np.count_nonzero(tissue) / 1000 < 2000
        assert 5_000 < np.count_nonzero(ventricles(tissue, spacing(AFFINE), WHOLE)) < 120_000
        assert components(tissue > 0)[1].max() > 0.999 * np.count_nonzero(tissue)


def test_tissue_is_shared_out_as_drawn(brains):
    for number, layout in zip((3, 123456), brains, strict=True):
        anatomy = draw_anatomy(np.random.default_rng(np.random.SeedSequence(number)))
        share = np.bincount(layout.tissue.ravel(), minlength=4)[1:] / np.count_nonzero(layout.tissue)
        assert share[[0, 2]] == pytest.approx([anatomy.csf_share, anatomy.white_share], abs=0.01)


def test_the_cortex_is_a_ribbon_beside_fluid_with_white_matter_in_it(brains):
    tissue = brains[0].tissue
    upper = tissue[:, :, 95:]
    depth = near(upper <= Tissue.CSF, 30.0, spacing(AFFINE))
    white, grey = depth[upper == Tissue.WM], depth[(upper == Tissue.GM) & (depth > 0)]
    assert np.percentile(white, 20) > 2.5  # cortex lies between; four real maps: 2.8 to 3.3
    assert np.percentile(grey, 80) < 4  # and is thin: 3.0 to 4.9
    thin = near(upper != Tissue.CSF, 3.0, spacing(AFFINE))[upper == Tissue.CSF]
    assert np.mean(thin <= 1.5) > 0.7  # fluid is in sheets: 0.73 to 0.87


def test_shares_follow_the_sheets_of_fluid(brains):
    tissue, fluid, _ = _grown(3)
    detail = AtlasSource(3).detail()
    grey = (tissue == Tissue.GM) & (fluid > -4 * PER_MM)
    assert np.corrcoef(detail.csf[grey], fluid[grey])[0, 1] > 0.5
    assert not any(tone.any() for tone in detail.tones)


def test_the_atlas_that_is_shipped_is_the_one_that_would_be_made():
    shipped, made = soft_atlas(), made_atlas()
    assert shipped.box == made.box
    for name in ("csf", "white", "outside", "inner"):
        stored, computed = getattr(shipped, name), getattr(made, name)
        assert stored.dtype == computed.dtype == np.float32
        assert stored.flags.c_contiguous
        assert np.array_equal(stored, computed)


def test_the_surface_that_is_shipped_is_the_one_that_would_be_made():
    shipped, made = folds._surface(), folds._made_surface()
    for spec in fields(made):
        stored, computed = getattr(shipped, spec.name), getattr(made, spec.name)
        assert stored.dtype == computed.dtype, spec.name
        assert np.array_equal(stored, computed), spec.name


@pytest.mark.parametrize(
    ("home", "read", "what"), [(atlases, soft_atlas, "the atlas"), (folds, folds._surface, "the cortex's surface")]
)
def test_what_ships_and_is_missing_or_damaged_is_said(home, read, what, tmp_path, monkeypatch):
    path, whole = tmp_path / "shipped.npz", home.SHIPPED.read_bytes()
    monkeypatch.setattr(home, "SHIPPED", path)
    refused = pytest.raises(LayoutError, match=rf"shipped\.npz: cannot be read as {what} \(.*; install synth again\.")
    with refused:
        read.__wrapped__()
    middle = len(whole) // 2
    for damaged in (whole[:middle], whole[:middle] + bytes(1000) + whole[middle + 1000 :], b"torn"):
        path.write_bytes(damaged)
        with refused:
            read.__wrapped__()
    np.savez(path, other=1)
    with refused:
        read.__wrapped__()


def test_a_correction_of_the_atlas_is_rounded_as_it_is_interpolated_at_once():
    shape, parts = (31, 38, 29), np.random.default_rng(0).integers(-300, 300, (2, 5, 7, 6))
    bias = parts / 512  # of each second the rounding is a matter of the last bit
    plain = np.zeros(shape, np.float32)
    corrected = SoftAtlas(WHOLE, plain, plain + 1, plain, plain).biased(bias)
    points = np.indices(shape) / BIAS_STEP
    for found, part, base in zip((corrected.csf, corrected.white), bias, (0, 1), strict=True):
        known = np.rint(map_coordinates(part, points, order=1, mode="nearest") * 256) / 256
        assert found.dtype == np.float32
        assert np.array_equal(found, known + base)


def test_levels_are_linear_between_voxels():
    atlas = soft_atlas()
    level = np.broadcast_to(np.arange(atlas.csf.shape[1], dtype=np.int16)[:, None] % 50, atlas.csf.shape)
    shift = Warp(np.eye(3), np.array([0.0, 0.25, 0.0]))
    box, (moved, *_) = warped_levels(atlas, [level, level, level], shift)
    first = box[1].start - atlas.box[1].start
    line = moved[80, 10 - first : 40 - first, 80]
    assert np.array_equal(line, (np.arange(10, 40) + 0.25) * 512)


def test_brains_differ_in_their_folds(brains):
    first, second = (layout.tissue for layout in brains)
    both = (first > 0) & (second > 0)
    grey = [tissue[both] == Tissue.GM for tissue in (first, second)]
    assert 2 * np.count_nonzero(grey[0] & grey[1]) / (grey[0].sum() + grey[1].sum()) < 0.85


def test_a_source_gives_the_same_healthy_brain_each_time(brains):
    source, layout = AtlasAnatomies()[123456], brains[1]
    assert np.array_equal(layout.tissue, AtlasSource(123456).load().tissue)
    assert layout.id == source.id == "atlas-blood-0000123456"
    assert not layout.tumour.any()
    assert violations(layout, tumour_expected=False) == []


def test_the_sequence_is_indexed_and_searched_without_loading():
    hosts = AtlasAnatomies(1000)
    assert len(hosts) == 1000
    assert hosts.find(hosts[999].id) == hosts[999]
    with pytest.raises(IndexError, match="0 to 999"):
        hosts[1000]
    for earlier in ("atlas-0000000999", "atlas-folded-0000000999", "atlas-sulci-0000000999"):
        with pytest.raises(LayoutError, match="drawn by an earlier synth"):
            hosts.find(earlier)
    for wrong in ("atlas-blood-0000001000", "BraTS_001"):
        with pytest.raises(LayoutError, match="is not an atlas anatomy"):
            hosts.find(wrong)
    with pytest.raises(LayoutError, match="at least 1"):
        AtlasAnatomies(0)


def test_a_refined_field_is_the_same_field():
    controls = np.random.default_rng(0).standard_normal((*LATTICE.shape, 3))
    finer = LATTICE.finer()
    assert refined(controls).shape == (*finer.shape, 3)
    points = np.random.default_rng(1).uniform(45, 155, (50, 3))
    coarse = SplineField(LATTICE.origin, LATTICE.step, controls).at(points)
    assert np.allclose(SplineField(finer.origin, finer.step, refined(controls)).at(points), coarse)


def test_the_middle_stays_and_symmetric_fields_are_left_alone():
    controls = np.random.default_rng(2).standard_normal((*LATTICE.shape, 3))
    symmetric = controls + mirrored_field(controls)
    assert np.allclose(with_still_middle(symmetric), symmetric)
    middle = LATTICE.shape[0] // 2
    assert LATTICE.positions(0)[middle] == MIDLINE
    still = with_still_middle(controls)
    assert np.abs(still[middle, ..., 0]).mean() < 0.4 * np.abs(controls[middle, ..., 0]).mean()
    assert np.array_equal(still[..., 1:], controls[..., 1:])


def test_the_prior_favours_no_side_and_survives_its_file(tmp_path):
    prior = shipped_prior()
    assert np.allclose(mirrored_field(prior.mean), prior.mean, atol=0.02)
    for factor in prior.factors:
        mirror = mirrored_field(factor)
        assert min(np.abs(mirror - factor).max(), np.abs(mirror + factor).max()) < 0.1 * np.abs(factor).max()
    prior.save(tmp_path / "prior.npz")
    assert np.array_equal(AnatomyPrior.load(tmp_path / "prior.npz").factors, prior.factors)
    (tmp_path / "prior.npz").write_bytes(b"torn")
    with pytest.raises(LayoutError, match="install synth again"):
        AnatomyPrior.load(tmp_path / "prior.npz")
