import numpy as np
import pytest
from phantoms import phantom_layout
from scipy.ndimage import map_coordinates

from synth.errors import LayoutError
from synth.layout.edits.motion import rotation
from synth.layout.space import box_of
from synth.layout.warp import SplineField, Warp, checked, random_field

BOX = (slice(0, 40), slice(0, 48), slice(0, 36))
ZOOMS = (1.0, 2.0, 1.5)


def test_a_field_has_the_strength_and_the_seed_it_was_asked_for():
    parts = random_field(BOX, ZOOMS, 3.0, 12.0, seed=4).displacement(BOX)
    mm = [part.std() * zoom for part, zoom in zip(parts, ZOOMS, strict=True)]
    assert mm == pytest.approx([3.0] * 3, rel=0.25)
    again = random_field(BOX, ZOOMS, 3.0, 12.0, seed=4).displacement(BOX)
    assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))
    other = random_field(BOX, ZOOMS, 3.0, 12.0, seed=5).displacement(BOX)
    assert not np.array_equal(parts[0], other[0])


def test_a_constant_lattice_displaces_by_that_constant():
    controls = np.broadcast_to(np.array([1.5, -2.0, 0.25]), (6, 7, 5, 3))
    field = SplineField((0.0, 0.0, 0.0), (12.0, 11.0, 13.0), controls)
    for part, value in zip(field.displacement(BOX), (1.5, -2.0, 0.25), strict=True):
        assert part == pytest.approx(value, abs=0.01)
    assert field.gradient(field.lattice()) == pytest.approx(0, abs=1e-12)


def test_points_and_boxes_see_the_same_field():
    field = random_field(BOX, ZOOMS, 2.0, 15.0, seed=1)
    points = np.argwhere(np.ones((3, 4, 5))) * 7.0
    dense = np.stack(field.displacement(BOX), -1)
    assert field.at(points) == pytest.approx(dense[tuple(points.astype(int).T)], abs=0.05)


def test_the_gradient_is_that_of_the_displacement():
    field = random_field(BOX, (1, 1, 1), 2.0, 15.0, seed=2)
    points = [np.array([11.0]), np.array([20.0]), np.array([9.0])]
    here = np.array([[11.0, 20.0, 9.0]])
    numeric = np.stack([(field.at(here + e) - field.at(here - e))[0] / 2e-3 for e in 1e-3 * np.eye(3)], -1)
    assert field.gradient(points)[0] == pytest.approx(numeric, abs=1e-6)


def test_a_shift_is_exact_and_cuts_at_the_edge():
    labels = phantom_layout().tumour
    box = box_of(labels)
    warp = Warp.about((0, 0, 0), np.eye(3), ZOOMS, (2.0, -4.0, 3.0))
    target = warp.output_box(box, labels.shape)
    out = np.zeros_like(labels)
    out[target] = warp.gather(labels[box], [part.start for part in box], target)
    assert np.array_equal(out, np.roll(labels, (2, -2, 2), (0, 1, 2)))
    far = Warp.about((0, 0, 0), np.eye(3), ZOOMS, (500.0, 0, 0))
    target = far.output_box(box, labels.shape)
    assert not far.gather(labels[box], [part.start for part in box], target).any()


def test_gather_agrees_with_scipy():
    labels = phantom_layout().tissue
    field = random_field(BOX, ZOOMS, 2.0, 15.0, seed=3)
    warp = Warp.about((20, 22, 17), 1.1 * rotation(25, (1, 2, 0.5)), ZOOMS, (3, 1, -2), (field,))
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in labels.shape], indexing="ij"))
    moved = grid + np.stack(field.displacement(BOX))
    source = np.einsum("ab,bxyz->axyz", warp.matrix, moved) + warp.offset[:, None, None, None]
    expected = map_coordinates(labels, source, order=0, mode="constant")
    assert np.mean(warp.gather(labels, (0, 0, 0), BOX) != expected) < 0.002  # ties may fall either way


def test_forward_undoes_backward():
    field = random_field(BOX, ZOOMS, 1.5, 15.0, seed=3)
    warp = Warp.about((20, 22, 17), rotation(25, (1, 2, 0.5)), ZOOMS, (3, 1, -2), (field,))
    there = np.array([[20.0, 25.0, 15.0], [12.0, 30.0, 22.0]])
    source = (there + field.at(there)) @ warp.matrix.T + warp.offset
    assert warp.forward(source) == pytest.approx(there, abs=0.1)


def test_extend_continues_the_faces():
    labels = np.ones((3, 3, 3), np.uint8)
    warp = Warp.about((0, 0, 0), np.eye(3), (1, 1, 1))
    box = (slice(0, 5),) * 3
    assert warp.gather(labels, (1, 1, 1), box, extend=True).all()
    assert np.count_nonzero(warp.gather(labels, (1, 1, 1), box)) == 27


def test_a_folding_field_is_refused():
    gentle = Warp.about((0, 0, 0), np.eye(3), ZOOMS, fields=(random_field(BOX, ZOOMS, 0.5, 15.0, seed=0),))
    assert 0.5 < checked(gentle, "x").min_jacobian() < 1
    wild = Warp.about((0, 0, 0), np.eye(3), ZOOMS, fields=(random_field(BOX, ZOOMS, 9.0, 15.0, seed=0),))
    with pytest.raises(LayoutError, match="folds"):
        checked(wild, "x")
