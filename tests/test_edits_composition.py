import numpy as np
import pytest
from edited import HOST, draw, lawful_labels, place_of, real_layouts, region
from hypothesis import given, settings
from hypothesis import strategies as st
from phantoms import head_layout
from scipy.ndimage import binary_dilation, distance_transform_edt

from synth.brats import Tumour
from synth.errors import LayoutError
from synth.layout.edits import Core, DropEnhancement, Recompose, Rim
from synth.layout.layout import Layout
from synth.layout.space import components, spacing

SHARES = st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0.01, 1)).map(
    lambda three: tuple(round(v / sum(three), 6) for v in three[:2])
)
CRUST = {"solid": (Tumour.ET,), "bare": (Tumour.ED,), "low": (Tumour.NCR,)}


def counts(layout):
    return np.bincount(layout.tumour.ravel(), minlength=4)[[Tumour.NCR, Tumour.ET, Tumour.ED]]


def only(*classes):
    """The host's tumour with the classes of its core replaced by one, or none of it."""
    core = np.isin(HOST.tumour, (Tumour.NCR, Tumour.ET))
    return Layout(HOST.tissue, np.where(core, np.uint8(classes[0]), HOST.tumour), HOST.affine, "host")


def same_outline(after, before):
    return np.array_equal(after.tumour > 0, before.tumour > 0) and after.tissue is before.tissue


class TestRecompose:
    @settings(max_examples=30, deadline=None)
    @given(st.integers(0, 50), SHARES)
    def test_the_shares_are_met_and_the_whole_tumour_stays(self, head, two):
        before = head_layout(seed=head)
        edit = Recompose(shares=(*two, 1 - sum(two)))
        after = edit.apply(before)
        lawful_labels(after, before)
        assert same_outline(after, before)
        total = counts(before).sum()
        assert counts(after) / total == pytest.approx(edit.shares, abs=1.5 / total)

    def test_present_shares_change_nothing(self):
        now = counts(HOST) / counts(HOST).sum()
        after = Recompose(shares=(now[0], now[1], 1 - now[0] - now[1])).apply(HOST)
        assert np.array_equal(after.tumour, HOST.tumour)

    def test_regions_grow_and_shrink_where_they_are(self):
        now = counts(HOST) / counts(HOST).sum()
        more = Recompose(shares=(1.5 * now[0], now[1], 1 - 1.5 * now[0] - now[1])).apply(HOST)
        less = Recompose(shares=(0.5 * now[0], now[1], 1 - 0.5 * now[0] - now[1])).apply(HOST)
        for name in ("TC", "NCR"):
            assert not (region(HOST, name) & ~region(more, name)).any()
            assert not (region(less, name) & ~region(HOST, name)).any()

    def test_growing_necrosis_keeps_a_rim(self):
        fine = head_layout((80, 96, 72), zooms=(2.0, 1.75, 2.25))
        core = counts(fine)[:2].sum() / counts(fine).sum()
        after = Recompose(shares=(0.5 * core, 0.5 * core, 1 - core)).apply(fine)
        surface = region(after, "TC") & binary_dilation(~region(after, "TC"))
        assert np.mean(after.tumour[surface] == Tumour.ET) > 0.97

    @pytest.mark.parametrize("kind", CRUST)
    def test_a_part_that_is_not_there_begins_in_the_depth(self, kind):
        before = only(*CRUST[kind])
        after = Recompose(shares=(0.1, 0.2, 0.7)).apply(before)
        assert counts(after) / counts(before).sum() == pytest.approx((0.1, 0.2, 0.7), abs=0.01)
        depth = distance_transform_edt(region(before, "WT"), sampling=spacing(HOST.affine))
        assert depth[region(after, "NCR")].mean() > depth[region(after, "ET")].mean()
        assert depth[region(after, "ET")].mean() > depth[after.tumour == Tumour.ED].mean()

    def test_draws_lie_within_their_ranges(self):
        for seed in range(30):
            ranges = {"necrosis": (0.3, 0.5), "enhancement": (0.0, 0.1), "oedema": (0.2, 0.6)}
            shares = draw("recompose", seed=seed, **ranges)[0].shares
            for share, (low, high) in zip(shares, ranges.values(), strict=True):
                assert low - 0.002 <= share <= high + 0.002

    @pytest.mark.parametrize(
        "ranges", [{"necrosis": (0.6, 0.7), "oedema": (0.5, 0.6)}, {"enhancement": (0, 0.1), "oedema": (0, 0.1)}]
    )
    def test_ranges_that_cannot_sum_to_one_are_refused(self, ranges):
        with pytest.raises(LayoutError, match="sum to 1"):
            draw("recompose", **ranges)


class TestRim:
    def test_thickening_takes_necrosis_within_its_distance(self):
        after = Rim(mm=5.0, broken=0.0, seed=0).apply(HOST)
        new = region(after, "ET") & ~region(HOST, "ET")
        assert new.any()
        assert (HOST.tumour[new] == Tumour.NCR).all()
        assert distance_transform_edt(~region(HOST, "ET"), sampling=spacing(HOST.affine))[new].max() <= 5.0
        assert np.array_equal(region(after, "TC"), region(HOST, "TC"))

    @settings(max_examples=20, deadline=None)
    @given(st.floats(0, 1), st.integers(0, 2**32 - 1))
    def test_the_share_of_the_surface_that_breaks_is_met(self, broken, seed):
        after = Rim(mm=0.0, broken=broken, seed=seed).apply(HOST)
        lawful_labels(after, HOST)
        assert same_outline(after, HOST)
        surface = region(HOST, "ET") & (
            distance_transform_edt(region(HOST, "TC"), sampling=spacing(HOST.affine)) <= max(spacing(HOST.affine))
        )
        gone = surface & ~region(after, "ET")
        assert np.count_nonzero(gone) == pytest.approx(broken * np.count_nonzero(surface), abs=1)
        assert not (region(after, "ET") & ~region(HOST, "ET")).any()

    def test_gaps_are_few_and_open_the_necrosis(self):
        fine = head_layout((80, 96, 72), zooms=(2.0, 1.75, 2.25))
        after = Rim(mm=0.0, broken=0.3, seed=3).apply(fine)
        gone = region(fine, "ET") & ~region(after, "ET")
        assert np.count_nonzero(components(gone)[1] > 20) <= 5
        assert {int(v) for v in np.unique(after.tumour[gone])} == {Tumour.NCR, Tumour.ED}
        assert (binary_dilation(region(after, "NCR")) & (after.tumour == Tumour.ED)).any()

    def test_its_actions_are_drawn_apart(self):
        thick, broken = (draw("rim", action=action, mm=(2, 3), broken=(0.2, 0.3))[0] for action in ("thicken", "break"))
        assert (thick.broken, broken.mm) == (0, 0)
        both = draw("rim", action="both", mm=(2, 3), broken=(0.2, 0.3))[0]
        assert both.mm >= 2
        assert both.broken >= 0.2

    def test_a_tumour_without_rim_stays(self):
        assert np.array_equal(Rim(mm=3, broken=0.5, seed=1).apply(only(Tumour.NCR)).tumour, only(Tumour.NCR).tumour)


class TestDropEnhancement:
    @pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
    def test_enhancement_goes_and_its_share_becomes_oedema(self, share):
        after = DropEnhancement(oedema=share).apply(HOST)
        enhancing = region(HOST, "ET")
        assert same_outline(after, HOST)
        assert not region(after, "ET").any()
        assert np.array_equal(after.tumour[~enhancing], HOST.tumour[~enhancing])
        assert np.count_nonzero(after.tumour[enhancing] == Tumour.ED) == round(share * np.count_nonzero(enhancing))

    def test_the_outermost_becomes_oedema(self):
        after = DropEnhancement(oedema=0.4).apply(HOST)
        depth = distance_transform_edt(region(HOST, "TC"), sampling=spacing(HOST.affine))
        enhancing = region(HOST, "ET")
        freed, kept = enhancing & (after.tumour == Tumour.ED), enhancing & (after.tumour == Tumour.NCR)
        assert depth[freed].max() <= depth[kept].min() + 1.0


class TestCore:
    def test_eroding_moves_surface_and_rim_inwards(self):
        fine = head_layout((80, 96, 72), zooms=(2.0, 1.75, 2.25))
        after = Core(action="erode", mm=4.0).apply(fine)
        assert same_outline(after, fine)
        depth = distance_transform_edt(region(fine, "TC"), sampling=spacing(fine.affine))
        assert np.array_equal(region(after, "TC"), depth > 4.0)
        surface = region(after, "TC") & binary_dilation(~region(after, "TC"))
        assert (after.tumour[surface] == Tumour.ET).all()
        assert counts(after)[0] < counts(fine)[0]

    def test_filling_makes_a_solid_core(self):
        after = Core(action="fill", mm=30.0).apply(HOST)
        assert np.array_equal(region(after, "ET"), region(HOST, "TC"))
        low = only(Tumour.NCR)
        assert np.array_equal(Core(action="fill", mm=30.0).apply(low).tumour, low.tumour)

    def test_closing_fills_enclosed_holes_with_necrosis(self):
        tumour = HOST.tumour.copy()
        middle = tuple(np.rint(place_of(HOST)).astype(int))
        tumour[middle] = 0
        tumour[middle[0] + 1, middle[1], middle[2]] = Tumour.ED
        after = Core(action="close").apply(Layout(HOST.tissue, tumour, HOST.affine))
        assert np.array_equal(region(after, "TC"), region(HOST, "TC"))
        assert after.tumour[middle] == Tumour.NCR

    def test_erosion_is_drawn_within_the_core(self):
        radius = (3 * counts(HOST)[:2].sum() * np.prod(spacing(HOST.affine)) / (4 * np.pi)) ** (1 / 3)
        assert draw("core", action="erode", erode=(40, 40))[0].mm <= 0.5 * radius + 0.1


def test_two_real_tumours_are_recomposed_to_the_voxel(real_data):
    for layout in real_layouts(real_data):
        for seed in range(3):
            edit, _ = draw("recompose", layout, seed)
            after = edit.apply(layout)
            assert same_outline(after, layout)
            assert counts(after) / counts(layout).sum() == pytest.approx(edit.shares, abs=1e-4)
            assert np.array_equal(edit.apply(layout).tumour, after.tumour)
