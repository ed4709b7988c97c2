import numpy as np
import pytest
from edited import HOST, lawful_labels
from phantoms import head_layout

from synth.brats import Tissue, Tumour
from synth.layout.edits.placing import Ground, find_shift, nearby, settled, tumour_points
from synth.layout.layout import Layout
from synth.layout.space import box_of, spacing


class TestSettling:
    def test_what_is_outside_the_brain_is_cut_and_counted(self):
        labels = np.full(HOST.shape, Tumour.ED, np.uint8)
        box = tuple(slice(0, n) for n in HOST.shape)
        layout, lost, _ = settled(HOST, labels, box)
        lawful_labels(layout, HOST)
        in_ventricle = np.count_nonzero((layout.tumour == 0) & HOST.brain)  # oedema may end there
        assert 0 < in_ventricle < 0.02 * np.count_nonzero(HOST.brain)
        assert lost == pytest.approx(np.count_nonzero(~HOST.brain) / labels.size)

    def test_the_falx_stops_a_tumour_where_no_white_matter_leads_across(self):
        tissue = HOST.tissue.copy()
        middle = slice(18, 22)
        tissue[middle][tissue[middle] > 0] = Tissue.GM
        labels = np.zeros_like(tissue)
        labels[10:24, 20:30, 14:22] = Tumour.ED  # a third of it beyond the midline
        box = box_of(labels)
        layout = settled(Layout(tissue, np.zeros_like(tissue), HOST.affine), labels[box], box).layout
        assert layout.tumour[10:19].any()
        assert not layout.tumour[21:].any()
        tissue[18:22, 20:30, 14:17] = Tissue.WM  # a callosum
        layout = settled(Layout(tissue, np.zeros_like(tissue), HOST.affine), labels[box], box).layout
        assert layout.tumour[21:].any()

    def test_crumbs_go_and_pieces_stay(self):
        fine = head_layout(zooms=(1.5, 1.5, 1.5), tumour=False)
        labels = np.zeros_like(fine.tumour)
        labels[10:16, 25:33, 14:20] = Tumour.ED
        labels[14, 40, 18] = Tumour.ED  # 3 mm3
        labels[12:15, 12:15, 16:19] = Tumour.ED  # 91 mm3
        box = box_of(labels)
        tumour = settled(fine, labels[box], box).layout.tumour
        assert not tumour[14, 40, 18]
        assert tumour[13, 13, 17]

    def test_a_place_is_found_for_a_tumour_that_lies_outside(self):
        points, core = tumour_points(HOST)
        away = points + np.float32([0, 10, 0])
        rng = np.random.default_rng(0)
        shift = find_shift(away, core, Ground(HOST), nearby(rng, growth_mm=0.8))
        assert shift[1] < -15
        misfit = Ground(HOST).misfit(away + np.array(shift) / spacing(HOST.affine), core, 0.1)
        assert misfit < 0.2 * Ground(HOST).misfit(away, core, 0.1)
