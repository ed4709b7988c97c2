import dataclasses

import numpy as np
import pytest
from PIL import Image

from synth.brats import AFFINE
from synth.case import Case
from synth.errors import DataError
from synth.show.contact_sheet import _HEAD, _TEXT, COLOURS, TILE, ContactSheet, contact_sheet, pair_sheet

SHAPE = (60, 80, 50)


def make_case(k: int = 0, *, tumour: bool = True, labels: bool = True) -> Case:
    """A ball of a brain on the BraTS axes; the tumour on the patient's left, in front, largest in slice 30."""
    x, y, z = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]  # LPS: x grows to the left, y to the back
    brain = (x - 30) ** 2 + (y - 40) ** 2 + (z - 25) ** 2 < 22**2
    seg = np.zeros(SHAPE, np.uint8)
    for value, radius in ((2, 9), (3, 5), (1, 2)):
        seg[((x - 40) ** 2 + (y - 30) ** 2 + (z - 30) ** 2 < radius**2) & brain] = value
    rng = np.random.default_rng(k)
    images = np.stack([brain * rng.normal(500, 50, SHAPE) for _ in range(4)], -1).clip(0)
    return Case(f"Synth_{k:06d}", images.astype(np.float32), seg * tumour if labels else None, np.array(AFFINE))


def turned(case: Case) -> Case:
    """The same brain stored with its axes permuted and flipped, the affine saying so."""
    images = np.transpose(case.images, (2, 0, 1, 3))[:, ::-1]
    labels = np.transpose(case.labels, (2, 0, 1))[:, ::-1]
    affine = case.affine[:, [2, 0, 1, 3]].copy()
    affine[:, 3] += affine[:, 1] * (SHAPE[0] - 1)
    affine[:, 1] *= -1
    return Case(case.id, images, np.ascontiguousarray(labels), affine)


def tile(path, row: int, column: int) -> np.ndarray:
    picture = np.asarray(Image.open(path))
    top, left = _HEAD + row * TILE[1], _TEXT + column * TILE[0]
    return picture[top : top + TILE[1], left : left + TILE[0]].astype(int)


def test_the_left_is_on_the_right_and_the_front_is_up(tmp_path):
    contact_sheet([make_case()], tmp_path / "a.png")
    labels = tile(tmp_path / "a.png", 0, 4)
    red, green, blue = labels[..., 0], labels[..., 1], labels[..., 2]
    coloured = np.argwhere(green > blue + 40)
    down, right = coloured.mean(0) - [TILE[1] / 2, TILE[0] / 2]
    assert (down, right) == pytest.approx((-10, 10), abs=1.5)  # 10 mm to the front, 10 mm to the left
    enhancing = np.argwhere((red > blue + 40) & (green > blue + 40))
    assert len(enhancing) > 30
    assert len(coloured) == pytest.approx(np.pi * 9**2, rel=0.15)  # one pixel is one millimetre
    plain = tile(tmp_path / "a.png", 0, 1)
    assert (plain.max(-1) == plain.min(-1)).all()
    assert (plain == 255).any()
    assert plain[0, 0].tolist() == [0, 0, 0]


def test_storage_order_and_type_do_not_show(tmp_path):
    case = make_case()
    contact_sheet([case], tmp_path / "a.png")
    contact_sheet([turned(case)], tmp_path / "b.png")
    stored = dataclasses.replace(case, images=np.rint(case.images).astype(np.int16))
    contact_sheet(iter([stored]), tmp_path / "c.png")
    a = (tmp_path / "a.png").read_bytes()
    assert (tmp_path / "b.png").read_bytes() == a
    assert (tmp_path / "c.png").read_bytes() == a


def test_voxels_that_are_no_cubes_keep_their_proportions(tmp_path):
    case = make_case()
    affine = np.diag([-2.0, -1.0, 1.0, 1.0])
    contact_sheet([dataclasses.replace(case, affine=affine)], tmp_path / "a.png")
    rows, columns = np.nonzero(tile(tmp_path / "a.png", 0, 2).max(-1))
    assert np.ptp(columns) == pytest.approx(2 * np.ptp(rows), abs=4)


@pytest.mark.parametrize("options", [{"tumour": False}, {"labels": False}])
def test_without_a_tumour_the_middle_is_shown(tmp_path, options):
    contact_sheet([make_case(**options)], tmp_path / "a.png")
    flair, labels = tile(tmp_path / "a.png", 0, 3), tile(tmp_path / "a.png", 0, 4)
    np.testing.assert_array_equal(flair, labels)
    assert np.ptp(np.nonzero(flair.max(-1))[0]) == pytest.approx(43, abs=1)  # the ball's largest circle


def test_an_empty_case_is_black(tmp_path):
    case = make_case()
    empty = Case("empty", np.zeros_like(case.images), np.zeros_like(case.labels), case.affine)
    contact_sheet([empty], tmp_path / "a.png")
    assert not tile(tmp_path / "a.png", 0, 3).any()


def test_a_long_run_is_spread_over_bounded_rows(tmp_path):
    sheet = ContactSheet(total=500, max_rows=4, title="synth generate --n 500")
    assert [k for k in range(500) if sheet.wants(k)] == [0, 166, 333, 499]
    case = make_case()
    for k in (499, 0, 3, 166, 333):
        sheet.add(case, k)
    sheet.save(tmp_path / "a.png")
    few = [make_case(k) for k in range(3)]
    contact_sheet(few, tmp_path / "b.png", max_rows=2)
    contact_sheet(iter(few), tmp_path / "c.png", max_rows=2)
    heights = [Image.open(tmp_path / f"{name}.png").height for name in "abc"]
    assert heights[1] == heights[2] == heights[0] - 2 * (TILE[1] + 2)
    assert (tile(tmp_path / "b.png", 0, 0) == tile(tmp_path / "c.png", 0, 0)).all()
    assert not ContactSheet().wants(40)


def test_a_pair_shows_both_at_one_slice_in_one_window(tmp_path):
    real = make_case()
    darker = dataclasses.replace(
        real, id="twin", images=real.images * np.float32(0.5), labels=real.labels * np.uint8(0)
    )
    pair_sheet([(real, darker)], tmp_path / "a.png", title="synth reconstruct")
    upper, lower = tile(tmp_path / "a.png", 0, 0), tile(tmp_path / "a.png", 1, 0)
    assert Image.open(tmp_path / "a.png").height > 2 * TILE[1]
    assert upper.sum() > 5 * lower.sum()  # half as bright falls below the real scan's window
    wrong = Case("small", np.zeros((3, 4, 5, 4), np.int16), None, real.affine)
    with pytest.raises(DataError, match="a pair needs one grid"):
        pair_sheet([(real, wrong)], tmp_path / "b.png")


def test_nothing_to_show_is_refused(tmp_path):
    with pytest.raises(DataError, match="at least one case"):
        contact_sheet([], tmp_path / "a.png")


def test_colours_are_told_apart():
    assert len(set(COLOURS.values())) == 3
