"""How tumours pass into what lies around them."""

from dataclasses import replace

import numpy as np
import pytest

from synth.brats import CLASSES, MODALITIES, Tissue, Tumour
from synth.errors import LayoutError
from synth.layout.detail import EVEN, TONE_STEP, TONES, Detail
from synth.layout.layout import Layout
from synth.style.fading import DEPTHS_MM, KINDS, Fading, borders, shipped_fading
from synth.style.style import Style

SHAPE = (40, 42, 36)
CENTRE = (20, 21, 18)


def style_of(bright):
    """A style whose classes are so bright in all modalities."""
    each = [0.0] * len(MODALITIES)
    return Style(
        mean=[[value] * len(MODALITIES) for value in bright],
        spread=[[0.05] * len(MODALITIES)] * len(CLASSES),
        texture=each,
        sharpness=[[0.5] * 3] * len(MODALITIES),
        shading=[[0.0] * 9] * len(MODALITIES),
        window=[[0.0, 1.0]] * len(MODALITIES),
    )


def layout_of(tone=EVEN, kind=Tumour.ED):
    """A ball of a class amid grey matter on the left and white on the right."""
    tissue = np.full(SHAPE, Tissue.GM, np.uint8)
    tissue[CENTRE[0] :] = Tissue.WM
    away = np.sqrt(sum((line - c) ** 2 for line, c in zip(np.ogrid[tuple(map(slice, SHAPE))], CENTRE, strict=True)))
    tumour = np.where(away < 12, kind, 0).astype(np.uint8)
    wm = np.where(tissue == Tissue.WM, 8, 0).astype(np.uint8)
    tones = {name: np.where(tumour > 0, tone, 0).astype(np.uint8) for name in TONES}
    none = np.zeros(SHAPE, np.uint8)
    return Layout(tissue, tumour, np.eye(4), "", Detail(none, wm, none, none, **tones)), away


def fading(**tables):
    usual = {"level": 0, "far": 0, "near": 0, "kept": 1}
    return Fading(**{name: np.full((3, 4, len(DEPTHS_MM)), float(tables.get(name, usual[name]))) for name in usual})


def in_units(layout, m=0):
    return (layout.detail.tones[m].astype(float) - EVEN) * TONE_STEP


STYLE = style_of((0.1, 0.4, 0.8, 0.2, 0.5, 0.9))


def test_what_lies_beside_a_border_is_told_there_and_not_far_from_it():
    layout, away = layout_of()
    border = borders(layout, STYLE)[KINDS.index(Tumour.ED)]
    assert [part for k, part in enumerate(borders(layout, STYLE)) if KINDS[k] != Tumour.ED] == [None, None]
    left, right = border.at[0] < CENTRE[0] - 5, border.at[0] > CENTRE[0] + 5
    assert np.allclose(border.beside[:, left], 0.4 - 0.5, atol=0.03)
    assert np.allclose(border.beside[:, right], 0.8 - 0.5, atol=0.03)
    assert away[border.at].min() > 4


@pytest.mark.parametrize("kind", [Tumour.ED, Tumour.ET])
def test_tones_come_as_near_to_what_lies_beside_them_as_the_statistic_says(kind):
    layout, away = layout_of(kind=kind)
    edge, left = (layout.tumour > 0) & (away > 11), np.arange(SHAPE[0])[:, None, None] < CENTRE[0] - 5
    own = STYLE.mean[KINDS.index(kind) + 3][0]
    faded = in_units(fading(far=1, near=1).faded(layout, STYLE))
    assert faded[edge & left].mean() == pytest.approx(0.4 - own, abs=0.04)
    half = in_units(fading(far=0.5).faded(layout, STYLE))  # all of it alike
    assert half[edge].mean() == pytest.approx(0.5 * (0.6 - own), abs=0.05)
    assert half[edge].std() < 0.02
    assert not faded[away < 4].any()


def test_what_a_tone_has_beyond_its_depth_is_kept_in_part_and_the_rest_of_a_layout_as_it_was():
    layout, away = layout_of()
    rng = np.random.default_rng(0)
    tone = np.where(layout.tumour > 0, EVEN + rng.integers(-8, 9, SHAPE), 0).astype(np.uint8)
    layout = replace(layout, detail=replace(layout.detail, tone_t2=tone))
    faded = fading(kept=0.5).faded(layout, STYLE)
    edge = (layout.tumour > 0) & (away > 8.5)
    assert in_units(faded, 2)[edge].std() == pytest.approx(0.5 * in_units(layout, 2)[edge].std(), rel=0.1)
    assert all(np.array_equal(*pair) for pair in zip(faded.detail.mixed, layout.detail.mixed, strict=True))
    assert not in_units(faded, 2)[layout.tumour == 0].max() > 0
    assert np.array_equal(layout.detail.tone_t2, tone)


def test_a_layout_without_tones_or_detail_stays_as_it_is():
    layout, _ = layout_of(tone=0)
    assert shipped_fading().faded(layout, STYLE) is layout
    bare = replace(layout, detail=None)
    assert shipped_fading().faded(bare, STYLE) is bare


def test_what_ships_brings_t1_of_oedema_to_what_lies_beside_it():
    layout, away = layout_of()
    edge = (layout.tumour > 0) & (away > 11)
    left = np.arange(SHAPE[0])[:, None, None] < CENTRE[0]
    tones = in_units(shipped_fading().faded(layout, STYLE))
    assert tones[edge & ~left].mean() - tones[edge & left].mean() > 0.6 * (0.8 - 0.4)


def test_a_statistic_is_kept_and_read_again_and_another_file_refused(tmp_path):
    fading(far=0.5).save(tmp_path / "fading.npz")
    assert Fading.load(tmp_path / "fading.npz").far[1, 2, 3] == 0.5
    whole = (tmp_path / "fading.npz").read_bytes()
    for other in (b"no archive", whole[: len(whole) // 2], b""):
        (tmp_path / "other.npz").write_bytes(other)
        with pytest.raises(LayoutError, match="cannot be read as a fading"):
            Fading.load(tmp_path / "other.npz")
