import numpy as np
import pytest
from phantoms import head_layout, phantom_layout
from scipy.ndimage import binary_dilation, binary_erosion, distance_transform_edt

from synth.brats import AFFINE, GRID, Tissue
from synth.layout.space import (
    box_of,
    centroid,
    components,
    dilated,
    eroded,
    midline,
    mirrored,
    near,
    spacing,
    trimmed,
    ventricles,
    widened,
    without_holes,
)


def test_spacing_is_that_of_each_axis_whatever_its_sign_or_tilt():
    turned = np.array([[0, -3.0, 0, 5], [2.0, 0, 0, 0], [0, 0, -4.0, 1], [0, 0, 0, 1]])
    assert spacing(turned) == (2.0, 3.0, 4.0)


def test_the_midline_of_the_brats_grid_is_the_one_measured():
    assert midline(GRID) == 119.0
    assert midline((41, 9, 9)) == 20.0


def test_mirroring_twice_gives_the_same_and_once_gives_the_other_side():
    labels = phantom_layout().tissue
    assert np.array_equal(mirrored(mirrored(labels)), labels)
    assert np.array_equal(mirrored(labels), labels[::-1])


def test_mirroring_on_the_brats_grid_is_about_119():
    labels = np.zeros(GRID, np.uint8)
    labels[100, 50, 60], labels[239, 0, 0] = 1, 2
    flipped = mirrored(labels)
    assert flipped[138, 50, 60] == 1
    assert np.count_nonzero(flipped) == 1  # voxel 239 has no counterpart


@pytest.mark.parametrize("dtype", [bool, np.uint8])
def test_box_of_finds_the_voxels(dtype):
    labels = np.zeros((9, 11, 13), dtype)
    assert box_of(labels) is None
    labels[2, 3, 4] = labels[6, 5, 12] = 1
    assert box_of(labels) == (slice(2, 7), slice(3, 6), slice(4, 13))
    assert box_of(np.asfortranarray(labels)) == box_of(labels)


def test_trimmed_is_the_part_of_the_box_where_the_first_map_is():
    first, second = np.zeros((6, 7, 8), np.uint8), np.arange(336).reshape(6, 7, 8)
    first[2, 3:5, 1] = 1
    box, *maps = trimmed((slice(10, 16), slice(20, 27), slice(0, 8)), first, second)
    assert box == (slice(12, 13), slice(23, 25), slice(1, 2))
    assert [part.tolist() for part in maps] == [[[[1], [1]]], second[2:3, 3:5, 1:2].tolist()]
    assert trimmed((slice(3, 5), slice(0, 2), slice(1, 3)), np.zeros((2, 2, 2)))[0] == (
        slice(3, 4),
        slice(0, 1),
        slice(1, 2),
    )


def test_widened_is_at_least_the_margin_and_stays_on_the_grid():
    box = widened((slice(2, 4), slice(0, 5), slice(6, 7)), 5.0, (2.0, 4.0, 5.0), (20, 6, 7))
    assert box == (slice(0, 7), slice(0, 6), slice(5, 7))


def test_centroid_counts_from_the_grid_not_from_the_crop():
    mask = np.zeros((8, 9, 10), bool)
    mask[2:5, 3:8, 6:7] = True
    box = box_of(mask)
    assert centroid(mask[box], box) == pytest.approx([3, 5, 6])


@pytest.mark.parametrize("zooms", [(1.5, 1.0, 2.5), (1.0, 1.0, 1.0)])
@pytest.mark.parametrize("limit", [0.5, 6.0, 10.5, 11.0])
def test_near_agrees_with_the_full_distance_transform(zooms, limit):
    rng = np.random.default_rng(3)
    mask = rng.random((14, 17, 32)) > 0.9995
    full = distance_transform_edt(~mask, sampling=zooms)
    assert full.max() > 15
    found = near(mask, limit, zooms)
    assert found.dtype == np.float32
    assert np.isinf(found[full > limit + 0.01]).all()
    assert found[full <= limit] == pytest.approx(full[full <= limit], abs=1e-4)
    assert np.isinf(near(np.zeros_like(mask), limit, zooms)).all()


def test_components_joins_corners_and_leaves_background_out():
    mask = np.zeros((4, 4, 4), bool)
    mask[0, 0, 0] = mask[1, 1, 1] = mask[3, 3, 3] = True
    pieces, sizes = components(mask)
    assert pieces[0, 0, 0] == pieces[1, 1, 1] != pieces[3, 3, 3]
    assert sorted(sizes) == [0, 1, 2]


def test_small_holes_are_filled_and_large_ones_kept():
    mask = np.ones((12, 12, 12), bool)
    mask[0] = False
    mask[3, 3, 3] = False
    mask[6:9, 6:9, 6:9] = False
    filled = without_holes(mask, (1, 1, 1), 10)
    assert filled[3, 3, 3]
    assert not filled[7, 7, 7]
    assert not filled[0].any()
    assert without_holes(mask, (1, 1, 1))[7, 7, 7]


def test_ventricles_are_the_deep_csf_and_not_the_sulci():
    layout = head_layout()
    whole = tuple(slice(0, n) for n in layout.shape)
    deep = ventricles(layout.tissue, spacing(layout.affine), whole)
    csf = layout.tissue == Tissue.CSF
    assert deep.any()
    assert not (deep & ~csf).any()
    inner = csf & (distance_transform_edt(layout.brain, sampling=spacing(layout.affine)) > 30)
    assert np.array_equal(deep & inner, inner)
    assert not deep[layout.tissue.shape[0] // 2, :8].any()  # the rim of CSF around the brain
    part = (slice(10, 30), slice(12, 40), slice(9, 30))
    assert np.array_equal(ventricles(layout.tissue, spacing(layout.affine), part), deep[part])


def test_small_phantoms_have_no_voxel_deep_enough_to_be_ventricle():
    layout = phantom_layout()
    whole = tuple(slice(0, n) for n in layout.shape)
    assert not ventricles(layout.tissue, spacing(AFFINE), whole).any()


def test_masks_shrink_and_grow_by_faces_as_scipys():
    mask = np.random.default_rng(3).random((9, 7, 5)) > 0.1
    for steps in (1, 2):
        assert np.array_equal(eroded(mask, steps), binary_erosion(mask, iterations=steps))
        assert np.array_equal(dilated(~mask, steps), binary_dilation(~mask, iterations=steps))
