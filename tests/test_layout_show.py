from pathlib import Path

import numpy as np
import pytest
from phantoms import embed, head_layout, phantom_case, write_case
from PIL import Image

from synth.datasets.members import LayoutMember
from synth.errors import DataError, OutputError
from synth.hosts.inputs import Input, find_inputs
from synth.layout.layout import Layout
from synth.show.contact_sheet import COLOURS
from synth.show.layouts import _GAP, _HEAD, _TEXT, TILES, TISSUES, show_layouts


def given(layout):
    return Input(LayoutMember(Path(layout.id)), lambda: layout, complete=True)


def drawn(path, plane, scale=1, row=0):
    """One tile of a picture."""
    left = _TEXT + sum(size[0] * scale + _GAP for size in TILES[:plane])
    top = _HEAD + row * (TILES[0][1] * scale + _GAP)
    picture = np.asarray(Image.open(path))
    return picture[top : top + TILES[plane][1] * scale, left : left + TILES[plane][0] * scale]


def middle(tile, colour):
    """Mean row and column of a colour, as shares of the tile."""
    return np.argwhere((tile == colour).all(-1)).mean(0) / tile.shape[:2]


def corner_head():
    """A brain with necrosis in the patient's right, front, upper part: on axes (left, posterior, superior)."""
    tissue, tumour = np.full((30, 36, 32), 3, np.uint8), np.zeros((30, 36, 32), np.uint8)
    tumour[3:7, 5:9, 22:28] = 1
    return tissue, tumour


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
@pytest.mark.parametrize("flip", [(1, 1, 1), (-1, 1, -1), (1, -1, 1)])
def test_planes_are_upright_whatever_the_axes(tmp_path, axes, flip):
    tissue, tumour = (np.transpose(a, axes)[:: flip[0], :: flip[1], :: flip[2]] for a in corner_head())
    affine = np.diag([-4.0, -4.0, 4.0, 1])  # nibabel's axes point right, front, up
    turned = np.eye(4)
    turned[:3, :3] = affine[:3, :3][:, list(axes)] * flip
    layout = Layout(tissue.copy(), tumour.copy(), turned, "corner")
    path = show_layouts([given(layout)], tmp_path / "x.png", scale=1)
    axial, coronal, sagittal = (middle(drawn(path, k), COLOURS["NCR"]) for k in range(3))
    assert axial[0] < 0.4  # front: up
    assert axial[1] < 0.4  # right: left
    assert coronal[0] < 0.45  # upper: up
    assert coronal[1] < 0.4
    assert sagittal[0] < 0.45
    assert sagittal[1] < 0.45  # front: left


def test_rows_scale_and_choice(tmp_path):
    heads = [given(head_layout(seed=k, case_id=f"h{k}")) for k in range(8)]
    two = Image.open(show_layouts(heads[:2], tmp_path / "two.png")).size
    assert two[0] == _TEXT + 2 * sum(size[0] for size in TILES) + 2 * _GAP
    seen = []
    path = show_layouts(heads, tmp_path / "few.png", max_rows=3, scale=1, progress=lambda k: seen.extend(k) or seen)
    assert seen == [0, 4, 7] or seen == [0, 3, 7]
    for colour in (*TISSUES.values(), *COLOURS.values()):
        assert (drawn(path, 0, row=2) == colour).all(-1).any()
    again = show_layouts(heads, tmp_path / "few.png", max_rows=3, scale=1, force=True)
    assert again.read_bytes() == path.read_bytes()


def test_a_tumour_alone_lies_on_its_scan_or_the_atlas_faint(tmp_path):
    case = embed(phantom_case())
    folder = write_case(tmp_path, case, suffix=".nii")
    for inputs in (find_inputs(tmp_path), find_inputs(folder / f"{case.id}_seg.nii")):
        tile = drawn(show_layouts(inputs, tmp_path / "x.png", scale=1, force=True), 0)
        grey = tile[(tile[..., 0] == tile[..., 1]) & (tile[..., 1] == tile[..., 2])]
        assert (tile == COLOURS["ET"]).all(-1).any()
        assert np.percentile(grey, 90) < 160
        assert (grey > 20).mean() > 0.01


def test_healthy_and_empty_layouts_are_shown(tmp_path):
    empty = np.zeros((10, 12, 14), np.uint8)
    healthy = head_layout(tumour=False)
    path = show_layouts([given(Layout(empty, empty, np.eye(4), "e")), given(healthy)], tmp_path / "x.png")
    assert Image.open(path).size[1] > 400


def test_what_cannot_be_written_is_refused(tmp_path):
    one = [given(head_layout())]
    (tmp_path / "there.png").write_text("mine")
    show_layouts(one, tmp_path / "ours.png")
    refusals = (("ours.png", "give --force"), ("there.png", "did not write"), ("x.jpg", "in .png"), (".", "a folder"))
    for path, message in refusals:
        with pytest.raises(OutputError, match=message):
            show_layouts(one, tmp_path / path)
    with pytest.raises(OutputError, match="the folder cannot be made"):
        show_layouts(one, tmp_path / "there.png" / "x.png")
    with pytest.raises(DataError, match="at least one layout"):
        show_layouts([], tmp_path / "x.png")
    assert (tmp_path / "there.png").read_text() == "mine"
