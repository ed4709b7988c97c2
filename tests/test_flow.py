import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from phantoms import head_layout, phantom_layout

from synth.brats import AFFINE, Tissue
from synth.errors import LayoutError
from synth.layout.flow import RIM, Cells, min_jacobian, solve
from synth.layout.layout import Layout
from synth.layout.warp import SplineField, Warp, random_field

HEAD = head_layout()
FINE = phantom_layout((80, 96, 72))  # 1 mm voxels: 4 of them along each side of a cell


def ball(cells, centre, mm):
    """Cells within `mm` of the cell `centre`, as a float32 source."""
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in cells.brain.shape], indexing="ij"), -1)
    return (np.linalg.norm((grid - centre) * cells.size, axis=-1) < mm).astype(np.float32)


def middle(cells):
    return [n // 2 for n in cells.brain.shape]


def divergence(cells, velocity):
    return sum(
        np.gradient(part, size, axis=axis) for axis, (part, size) in enumerate(zip(velocity, cells.size, strict=True))
    )


def identity(field):
    return Warp(np.eye(3), np.zeros(3), (field,))


@pytest.mark.parametrize("layout", [HEAD, FINE])
class TestCells:
    def test_shares_keep_the_volume(self, layout):
        cells = Cells.of(layout)
        for share, mask in ((cells.brain, layout.brain), (cells.csf, layout.tissue == Tissue.CSF)):
            assert share.sum() * np.prod(cells.steps) == pytest.approx(np.count_nonzero(mask))
        assert not cells.brain[:RIM].any()
        assert not cells.brain[:, :, -RIM:].any()

    def test_spreading_a_share_finds_the_voxels_it_came_from(self, layout):
        cells = Cells.of(layout)
        assert cells.spread(cells.brain > 0)[cells.tissue > 0].all()
        assert not cells.spread(cells.brain == 1)[cells.tissue == 0].any()

    def test_a_constant_shift_is_the_same_in_voxels(self, layout):
        cells = Cells.of(layout)
        mm = np.broadcast_to(np.array([2.0, -3.5, 4.5], np.float32)[:, None, None, None], (3, *cells.brain.shape))
        zooms = np.linalg.norm(layout.affine[:3, :3], axis=0)
        for part, value in zip(
            cells.field(mm).displacement(cells.box), np.array([2.0, -3.5, 4.5]) / zooms, strict=True
        ):
            assert part == pytest.approx(value, abs=0.02)

    def test_the_field_lies_where_its_cells_lie(self, layout):
        cells = Cells.of(layout)
        spike = np.zeros((3, *cells.brain.shape), np.float32)
        place = middle(cells)
        spike[(0, *place)] = 2 * cells.size[0]
        moved = np.zeros(layout.shape)
        moved[cells.box] = cells.field(spike).displacement(cells.box)[0]
        there = cells.spread(spike[0] > 0)
        peak = np.array(np.unravel_index(moved.argmax(), moved.shape)) - [part.start for part in cells.box]
        assert there[tuple(peak)]


def test_an_empty_layout_has_no_cells():
    empty = np.zeros((8, 9, 7), np.uint8)
    with pytest.raises(LayoutError, match="no brain"):
        Cells.of(Layout(empty, empty, np.array(AFFINE)))


def test_the_pressure_solves_its_equation():
    cells = Cells.of(HEAD)
    source, gives = ball(cells, middle(cells), 12), cells.brain * np.float32(1e-3)
    pressure = solve(cells.doors, cells.size, source, gives).astype(float)
    left = gives * pressure
    for axis, (door, size) in enumerate(zip(cells.doors, cells.size, strict=True)):
        flux = door * np.diff(pressure, axis=axis) / size**2
        low = [slice(None)] * 3
        low[axis] = slice(None, -1)
        high = [slice(None)] * 3
        high[axis] = slice(1, None)
        left[tuple(low)] -= flux
        left[tuple(high)] += flux
    assert left[cells.brain > 0] == pytest.approx(source[cells.brain > 0], abs=1e-3)


def test_nothing_flows_without_a_source():
    cells = Cells.of(HEAD)
    assert not cells.velocity(np.zeros_like(cells.brain), cells.csf).any()


def test_nothing_flows_through_the_skull():
    """What a source pours into the brain is what its CSF takes up, and past its rim nothing moves."""
    cells = Cells.of(FINE)
    velocity = cells.velocity(ball(cells, middle(cells), 9), cells.csf * np.float32(1e-2))
    assert not velocity[:, cells.brain == 0].any()
    assert np.abs(divergence(cells, velocity).sum()) < 1e-3 * np.abs(velocity).sum()


def test_flow_spreads_from_its_source_and_keeps_the_volume_elsewhere():
    cells = Cells.of(FINE)
    source = ball(cells, middle(cells), 9)
    spread = divergence(cells, cells.velocity(source, cells.csf * np.float32(1e-2)))
    deep = (cells.csf == 0) & (cells.brain == 1)
    assert spread[source > 0].mean() > 0.3
    far = deep & (ball(cells, middle(cells), 18) == 0) & (ball(cells, middle(cells), 26) > 0)
    assert far.any()
    assert np.abs(spread[far]).mean() < 0.05


def test_little_passes_the_falx():
    tissue = HEAD.tissue.copy()
    tissue[tissue == Tissue.WM] = Tissue.GM  # no corpus callosum: the falx closes the whole plane
    split = Cells.of(Layout(tissue, HEAD.tumour, HEAD.affine))
    whole = Cells.of(HEAD)
    left = middle(whole)
    left[0] -= 4
    across = []
    for cells in (whole, split):
        velocity = cells.velocity(ball(cells, left, 10), whole.csf * np.float32(1e-3))
        across.append(np.abs(velocity[0, whole.falx - 1 : whole.falx + 1]).sum())
    assert across[1] < 0.7 * across[0]
    assert split.leaks[0][split.falx - 1].max() < 0.1


def test_the_falx_hangs_from_the_vertex_whichever_way_the_grid_runs():
    cells = Cells.of(HEAD)
    affine = HEAD.affine.copy()
    affine[2, 2] *= -1
    flipped = Cells.of(Layout(np.ascontiguousarray(HEAD.tissue[:, :, ::-1]), HEAD.tumour[:, :, ::-1], affine))
    assert np.array_equal(cells.leaks[0], flipped.leaks[0][:, :, ::-1])


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32 - 1), strength=st.floats(0.2, 1.2))
def test_flow_never_folds_and_its_reverse_undoes_it(seed, strength):
    cells, rng = Cells.of(HEAD), np.random.default_rng(seed)
    inside = np.argwhere(cells.brain == 1)
    source = ball(cells, inside[rng.integers(len(inside))], rng.uniform(8, 25)) * np.float32(strength)
    velocity = cells.velocity(source, cells.csf * np.float32(1e-3) + cells.brain * np.float32(1e-5))
    there, back = cells.field(cells.flow(velocity)), cells.field(cells.flow(-velocity))
    assert min_jacobian(back) > 0
    assert min_jacobian(there) > 0
    points = inside[:: len(inside) // 40].astype(float) - RIM + [part.start for part in cells.box]
    moved = points + there.at(points)
    assert moved + back.at(moved) == pytest.approx(points, abs=0.35)


@pytest.mark.parametrize("seed", range(4))
def test_the_smallest_jacobian_is_that_of_the_warp(seed):
    box = (slice(0, 40), slice(0, 48), slice(0, 36))
    field = random_field(box, (1.0, 1.0, 1.0), 1.0, 6.0, seed)
    assert min_jacobian(field) == pytest.approx(identity(field).min_jacobian(), abs=0.02)


def test_no_displacement_has_the_jacobian_of_rest():
    assert min_jacobian(SplineField((0.0, 0.0, 0.0), (4.0, 4.0, 4.0), np.zeros((8, 7, 9, 3)))) == 1


def test_carried_shares_grow_where_flow_diverges():
    cells = Cells.of(FINE)
    source = ball(cells, middle(cells), 9)
    velocity = cells.velocity(source, (cells.brain - cells.csf) * np.float32(1e-3))
    assert cells.carried(source, cells.flow(-velocity)) > 1.2
    assert cells.carried(source, cells.flow(velocity)) < 0.9
    assert cells.carried(source, np.zeros_like(velocity)) == 1
