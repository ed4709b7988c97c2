import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from phantoms import head_layout
from scipy.ndimage import center_of_mass

from synth.brats import Tissue, Tumour
from synth.errors import LayoutError
from synth.layout.edits.anatomy import MOST, Atrophy, MassEffect
from synth.layout.edits.edit import edit_from_dict
from synth.layout.flow import Cells, min_jacobian
from synth.layout.layout import Layout
from synth.layout.space import midline
from synth.layout.warp import MIN_JACOBIAN, Warp

SHAPE, ZOOMS = (76, 92, 68), (2.0, 1.8, 2.2)  # a head, in cells of two voxels


def head(side=-1):
    """A symmetric pair of ventricles in white matter, and a tumour on one side (`side` is -1 or 1 along axis 0)."""
    layout = head_layout(SHAPE, zooms=ZOOMS)
    mm = [(np.arange(n) - (n - 1) / 2) * z for n, z in zip(SHAPE, ZOOMS, strict=True)]
    x, y, z = np.meshgrid(*mm, indexing="ij", sparse=True)
    tissue = layout.tissue.copy()
    tissue[(tissue > 0) & (np.abs(x) < 40) & (np.abs(y) < 45) & (np.abs(z) < 35)] = Tissue.WM
    for way in (-1, 1):
        tissue[((x - way * 12) / 8) ** 2 + (y / 26) ** 2 + ((z - 4) / 12) ** 2 < 1] = Tissue.CSF
    radius = np.sqrt((x - side * 34) ** 2 + (y - 4) ** 2 + z**2)
    tumour = np.zeros(SHAPE, np.uint8)
    for mm, value in ((19, Tumour.ED), (14, Tumour.ET), (9, Tumour.NCR)):
        tumour[(radius < mm) & (tissue > 0)] = value
    return Layout(tissue, tumour, layout.affine, "head")


HEAD = head()
DEEP = Cells.of(HEAD).spread(Cells.of(HEAD).deep)


def ventricle(layout, side):
    """The CSF amid white matter on one side: bool."""
    out, cells = np.zeros(layout.shape, bool), Cells.of(HEAD)
    out[cells.box] = (layout.tissue[cells.box] == Tissue.CSF) & DEEP
    out[slice(SHAPE[0] // 2, None) if side < 0 else slice(None, SHAPE[0] // 2)] = False
    return out


def ratio(after, before, sides=(-1, 1)):
    """How many times as large the ventricles are."""
    now, then = (sum(np.count_nonzero(ventricle(it, side)) for side in sides) for it in (after, before))
    return now / then


def midline_shift(layout, edit):
    """Largest lateral displacement in mm of the mid-sagittal plane's middle, positive along axis 0."""
    y, z = np.mgrid[36:58:4, 28:44:4]
    points = np.column_stack([np.full(y.size, midline(SHAPE)), y.ravel(), z.ravel()])
    moved = Warp(np.eye(3), np.zeros(3), (edit.field(layout),)).forward(points)[:, 0] - points[:, 0]
    return ZOOMS[0] * moved[np.abs(moved).argmax()]


def lawful(before, after):
    assert np.array_equal(before.brain, after.brain)
    assert after.tissue.dtype == after.tumour.dtype == np.uint8
    assert after.tissue.max() <= 3
    assert after.id == before.id
    assert np.array_equal(after.affine, before.affine)


class TestMassEffect:
    def test_the_tumour_and_the_skull_stay(self):
        after = MassEffect(0.6, 0.15).apply(HEAD)
        lawful(HEAD, after)
        assert np.array_equal(after.tumour, HEAD.tumour)
        assert not np.array_equal(after.tissue, HEAD.tissue)

    @pytest.mark.parametrize("side", [-1, 1])
    def test_the_midline_shifts_away(self, side):
        layout = head(side)
        assert midline_shift(layout, MassEffect(0.6, 0.1)) * -side > 0.5

    @pytest.mark.parametrize("side", [-1, 1])
    def test_the_ventricle_beside_narrows_most_and_moves_away(self, side):
        layout = head(side)
        after = MassEffect(0.6, 0.1).apply(layout)
        beside, other = (ratio(after, layout, (way,)) for way in (side, -side))
        assert beside < 0.95
        assert beside < other
        centres = [center_of_mass(ventricle(it, side))[0] for it in (layout, after)]
        assert (centres[1] - centres[0]) * side < 0

    def test_it_is_monotone_in_strength(self):
        shifts = [midline_shift(HEAD, MassEffect(s, 0.05)) for s in (0.0, 0.2, 0.4, 0.6)]
        assert np.all(np.diff(shifts) > 0)

    def test_relief_is_its_reverse(self):
        assert midline_shift(HEAD, MassEffect(-0.5, -0.1)) < -0.3
        after = MassEffect(-0.5, -0.1).apply(HEAD)
        lawful(HEAD, after)
        assert ratio(after, HEAD, (-1,)) > 1.02
        back = MassEffect(-0.5, -0.1).apply(MassEffect(0.5, 0.1).apply(HEAD))
        there = MassEffect(0.5, 0.1).apply(HEAD)
        outside = HEAD.tumour == 0
        assert np.mean((back.tissue != HEAD.tissue)[outside]) < 0.6 * np.mean((there.tissue != HEAD.tissue)[outside])

    def test_no_strength_changes_nothing(self):
        assert np.array_equal(MassEffect(0.0, 0.0).apply(HEAD).tissue, HEAD.tissue)
        assert MassEffect(0.0, 0.0).field(HEAD) is None

    def test_without_a_tumour_nothing_is_drawn_and_nothing_moves(self):
        healthy = Layout(HEAD.tissue, np.zeros_like(HEAD.tumour), HEAD.affine, "healthy")
        with pytest.raises(LayoutError, match="mass_effect: layout healthy has no tumour"):
            MassEffect.draw(healthy, np.random.default_rng(0))
        assert MassEffect(0.5, 0.1).apply(healthy) is healthy

    @pytest.mark.parametrize("shares", [(0.9, 0.0), (0.1, -0.8), (float("nan"), 0.1), ("much", 0.1)])
    def test_impossible_shares_are_refused(self, shares):
        with pytest.raises(LayoutError, match="mass_effect"):
            MassEffect(*shares)

    def test_what_folds_is_weakened(self):
        """A core that fills most of a small brain has nowhere to go."""
        tumour = np.where(HEAD.brain, np.uint8(Tumour.ET), np.uint8(0))
        tumour[::2, ::2] = 0
        layout = Layout(HEAD.tissue, tumour, HEAD.affine, "full")
        assert min_jacobian(MassEffect(MOST, 0.0).field(layout)) >= MIN_JACOBIAN


class TestAtrophy:
    @pytest.mark.parametrize("factor", [0.6, 0.8, 1.3, 1.7, 2.2])
    def test_ventricles_change_by_the_factor(self, factor):
        after = Atrophy(factor, 1.0).apply(HEAD)
        lawful(HEAD, after)
        assert ratio(after, HEAD) == pytest.approx(factor, rel=0.12)

    @pytest.mark.parametrize("factor", [0.7, 0.9, 1.2, 1.4])
    def test_sulci_change_by_the_factor(self, factor):
        after = Atrophy(1.0, factor).apply(HEAD)
        lawful(HEAD, after)
        cells = Cells.of(HEAD)
        before, now = (np.count_nonzero((it.tissue[cells.box] == Tissue.CSF) & ~DEEP) for it in (HEAD, after))
        assert now / before == pytest.approx(factor, rel=0.1)
        assert np.array_equal(after.tumour, HEAD.tumour)
        assert np.count_nonzero(after.tissue == Tissue.WM) == np.count_nonzero(HEAD.tissue == Tissue.WM)

    def test_the_tumour_travels_with_the_tissue(self):
        after = Atrophy(2.0, 1.0).apply(HEAD)
        before, now = (center_of_mass(it.tumour > 0) for it in (HEAD, after))
        assert now[0] < before[0]  # pushed outwards by the ventricle beside it
        assert set(np.unique(after.tumour)) == {0, 1, 2, 3}
        assert np.count_nonzero(after.tumour) == pytest.approx(np.count_nonzero(HEAD.tumour), rel=0.15)

    def test_ones_change_nothing(self):
        after = Atrophy(1.0, 1.0).apply(HEAD)
        assert np.array_equal(after.tissue, HEAD.tissue)
        assert np.array_equal(after.tumour, HEAD.tumour)

    def test_a_brain_without_ventricles_keeps_its_tissue(self):
        tissue = np.where(HEAD.tissue > 0, np.uint8(Tissue.WM), np.uint8(0))
        layout = Layout(tissue, HEAD.tumour, HEAD.affine, "solid")
        after = Atrophy(2.0, 1.3).apply(layout)
        assert np.array_equal(after.tissue, tissue)

    @pytest.mark.parametrize("factors", [(0.1, 1.0), (1.0, 5.0), (float("inf"), 1.0)])
    def test_impossible_factors_are_refused(self, factors):
        with pytest.raises(LayoutError, match="atrophy"):
            Atrophy(*factors)

    def test_healthy_brains_are_welcome(self):
        healthy = Layout(HEAD.tissue, np.zeros_like(HEAD.tumour), HEAD.affine, "healthy")
        edit = Atrophy.draw(healthy, np.random.default_rng(0))
        assert not edit.apply(healthy).tumour.any()


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32 - 1), cls=st.sampled_from([MassEffect, Atrophy]))
def test_draws_are_lawful_recorded_and_repeatable(seed, cls):
    layout = head_layout(seed=seed % 7)
    edit = cls.draw(layout, np.random.default_rng(seed), target=cls.targets[0])
    assert edit == cls.draw(layout, np.random.default_rng(seed), target=cls.targets[0])
    again = edit_from_dict(json.loads(json.dumps(edit.to_dict())))
    assert again == edit
    first, second = edit.apply(layout), again.apply(layout)
    lawful(layout, first)
    assert np.array_equal(first.tissue, second.tissue)
    assert np.array_equal(first.tumour, second.tumour)
    field = edit.field(layout)
    assert field is None or min_jacobian(field) >= MIN_JACOBIAN


def test_draws_stay_in_their_ranges():
    rng = np.random.default_rng(0)
    for _ in range(50):
        edit = MassEffect.draw(HEAD, rng, strength=(-0.4, -0.3), oedema=(0.05, 0.06))
        assert -0.4 <= edit.strength <= -0.3
        assert 0.05 <= edit.oedema <= 0.06
        edit = Atrophy.draw(HEAD, rng, ventricles=(1.5, 1.6), sulci=(0.7, 0.8))
        assert 1.5 <= edit.ventricles <= 1.6
        assert 0.7 <= edit.sulci <= 0.8


def test_large_ventricles_and_wide_sulci_come_together():
    rng = np.random.default_rng(0)
    drawn = [Atrophy.draw(HEAD, rng) for _ in range(300)]
    assert np.corrcoef([(edit.ventricles, edit.sulci) for edit in drawn], rowvar=False)[0, 1] > 0.4


@pytest.mark.parametrize("edit", [MassEffect(0.6, 0.1), Atrophy(1.6, 1.2)])
def test_memory_order_is_no_matter(edit):
    columns = Layout(np.asfortranarray(HEAD.tissue), np.asfortranarray(HEAD.tumour), HEAD.affine, HEAD.id)
    first, second = edit.apply(HEAD), edit.apply(columns)
    assert np.array_equal(first.tissue, second.tissue)
    assert np.array_equal(first.tumour, second.tumour)
