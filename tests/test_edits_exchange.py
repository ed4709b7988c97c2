import numpy as np
import pytest
from edited import DONOR, HOST, draw, lawful_labels, place_of, real_layouts, region
from phantoms import head_layout

from synth.errors import LayoutError
from synth.layout.edits import Blend, Remove, Swap
from synth.layout.layout import Layout
from synth.layout.space import spacing


def test_swap_brings_the_donors_tumour_and_nothing_else():
    edit, donor = draw("swap")
    swapped = edit.apply(HOST, donor)
    assert np.count_nonzero(swapped.tumour) == pytest.approx(np.count_nonzero(donor.tumour), rel=0.1)
    shift = (place_of(swapped) - place_of(donor)) * spacing(HOST.affine)
    assert shift == pytest.approx(edit.mm, abs=2.5)


def test_swap_refuses_another_donor_none_or_one_without_tumour_or_grid():
    edit = Swap(donor="donor", mm=(0, 0, 0))
    for donor, message in (
        (None, "found none"),
        (HOST, "expected the donor 'donor', found the layout 'host'"),
        (head_layout(tumour=False, case_id="donor"), "without tumour"),
        (head_layout((44, 48, 36), case_id="donor"), "must be on one grid"),
        (head_layout(zooms=(2, 2, 2), case_id="donor"), "must be on one grid"),
    ):
        with pytest.raises(LayoutError, match=message):
            edit.apply(HOST, donor)


def test_remove_leaves_healthy_tissue():
    healthy = Remove().apply(HOST)
    assert not healthy.tumour.any()
    assert healthy.tissue is HOST.tissue


def ml(layout, name):
    return np.count_nonzero(region(layout, name))


class TestBlend:
    @pytest.mark.parametrize("weight", [0.0, 0.3, 0.7, 1.0])
    def test_volumes_are_between_both(self, weight):
        blend = Blend(donor="donor", weight=weight, mirror=False)
        after = blend.apply(HOST, DONOR)
        lawful_labels(after, HOST)
        for name in ("WT", "TC", "NCR"):
            expected = (1 - weight) * ml(HOST, name) + weight * ml(DONOR, name)
            assert ml(after, name) == pytest.approx(expected, rel=0.05, abs=3)

    def test_weight_zero_is_the_host_and_one_the_donor(self):
        own = Blend(donor="donor", weight=0.0, mirror=False).apply(HOST, DONOR)
        assert np.mean(own.tumour[HOST.tumour > 0] == HOST.tumour[HOST.tumour > 0]) > 0.97
        other = Blend(donor="donor", weight=1.0, mirror=False).apply(HOST, DONOR)
        shift = np.rint(place_of(HOST) - place_of(DONOR)).astype(int)
        there = np.roll(DONOR.tumour, shift, (0, 1, 2))
        assert np.mean(other.tumour[there > 0] == there[there > 0]) > 0.97

    def test_it_lies_where_the_hosts_tumour_was(self):
        edit, donor = draw("blend", seed=3)
        moved = (place_of(edit.apply(HOST, donor)) - place_of(HOST)) * spacing(HOST.affine)
        assert moved == pytest.approx(edit.shift_mm, abs=4.5)

    def test_a_donor_of_the_other_side_is_mirrored(self):
        flipped = Layout(DONOR.tissue[::-1].copy(), DONOR.tumour[::-1].copy(), DONOR.affine, "donor")
        rng = np.random.default_rng
        assert Blend.draw(HOST, rng(0), donor=flipped).mirror
        assert not Blend.draw(HOST, rng(0), donor=DONOR).mirror
        assert Blend.draw(HOST, rng(0), donor=DONOR, mirror="always").mirror
        assert not Blend.draw(HOST, rng(0), donor=flipped, mirror="never").mirror

    def test_a_region_that_one_lacks_is_deep_in_the_blend(self):
        bare = Layout(DONOR.tissue, np.where(DONOR.tumour > 0, np.uint8(2), np.uint8(0)), DONOR.affine, "donor")
        after = Blend(donor="donor", weight=0.5, mirror=False).apply(HOST, bare)
        for name in ("TC", "NCR"):
            assert ml(after, name) == pytest.approx(0.5 * ml(HOST, name), rel=0.1, abs=3)

    def test_it_may_hang_over_the_grids_edge(self):
        after, lost, _ = Blend(donor="donor", weight=0.5, mirror=False, shift_mm=(-300.0, 0, 0)).run(HOST, DONOR)
        lawful_labels(after, HOST)
        assert lost >= 0

    def test_a_wrong_donor_is_refused(self):
        with pytest.raises(LayoutError, match="edit blend: expected the donor 'donor', found the layout 'host'"):
            Blend(donor="donor", weight=0.5, mirror=False).apply(HOST, HOST)
        with pytest.raises(LayoutError, match="edit blend: expected a donor layout with a tumour, found none"):
            Blend.draw(HOST, np.random.default_rng(0))


def test_two_real_tumours_are_blended(real_data):
    host, donor = real_layouts(real_data)
    edit = Blend.draw(host, np.random.default_rng(1), donor=donor)
    after, lost, _ = edit.run(host, donor)
    assert lost < 0.1
    expected = (1 - edit.weight) * ml(host, "WT") + edit.weight * ml(donor, "WT")
    assert ml(after, "WT") == pytest.approx(expected, rel=0.12)
    assert np.array_equal(edit.apply(host, donor).tumour, after.tumour)
