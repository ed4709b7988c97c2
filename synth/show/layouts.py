"""Layouts as a picture: a row each with three planes through the tumour, and its volumes.

Radiological orientation as on the contact sheet: axial and coronal planes show the patient's right on the left, the
sagittal plane looks from the patient's left, anterior on the left. Each plane is the one with the most tumour in it;
ticks at a tile's edges say where the other two cut. Where only the tumour is known it lies on the scan's flair, or on
the atlas brain, faint. A layout with detail is shown with it: mixtures between the tissues' greys, vessels reddish,
tumours as bright as their tones of t1ce and flair.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from synth.brats import Tissue
from synth.disk.claim import PICTURE, claim_file
from synth.disk.files import atomic_write, make_folder
from synth.errors import DataError
from synth.hosts.inputs import Input
from synth.layout.detail import EIGHTHS, EVEN, MAPS, MIXED, TONE_STEP, VESSEL_LEVELS, VOID_LEVELS
from synth.layout.layout import Layout, bounding_box
from synth.layout.space import spacing
from synth.show.contact_sheet import COLOURS, MAX_ROWS, upright

TISSUES = {"CSF": (44, 62, 92), "GM": (112, 112, 116), "WM": (176, 176, 180)}
PLANES = ("axial", "coronal", "sagittal")
TILES = ((168, 200), (168, 200), (200, 200))  # width and height of each plane in mm: a BraTS brain and a margin
_MARKS = (("R", "L", "A", "P"), ("R", "L", "S", "I"), ("A", "P", "S", "I"))  # left, right, top, bottom
_MEANING = {
    "CSF": "CSF",
    "GM": "GM grey matter",
    "WM": "WM white matter",
    "NCR": "NCR necrosis",
    "ED": "ED oedema",
    "ET": "ET enhancing",
}
_VESSEL = (206, 122, 96)
_SHOWN = [list(MAPS).index(f"tone_{name}") for name in ("t1ce", "flair")]
_GREYS = (0, 20, 75, 100)  # outside, CSF, GM, WM of a stand-in brain behind a tumour
_FAINT = 0.6  # of white, for what only stands behind a tumour
_TEXT, _HEAD, _FOOT, _GAP = 252, 30, 42, 6
_LINE = 16
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
_BACK, _PALE = (24, 24, 26), (160, 160, 168)


@dataclass(frozen=True)
class _Row:
    """The three tiles of one layout, (height, width, 3) uint8 at the sheet's scale, and its caption."""

    tiles: tuple[np.ndarray, ...]
    ticks: tuple[tuple[float, float], ...]  # for each tile, where the other planes cut: x, y as shares of the tile
    title: str
    notes: tuple[str, ...]
    table: tuple[tuple[str, str, str], ...]


def show_layouts(
    inputs: Sequence[Input],
    path: str | Path,
    *,
    scale: int | None = None,
    max_rows: int = MAX_ROWS,
    force: bool = False,
    progress: Callable[[Iterable], Iterable] = iter,
) -> Path:
    """Write a PNG with a row for each layout (evenly chosen where there are more than `max_rows`).

    Args:
        inputs: from `inputs.find_inputs`.
        path: the PNG, whole or not at all.
        scale: pixels per mm; None is 2 for up to 6 rows, else 1.
        max_rows: most layouts shown.
        force: replace a file that is there.
        progress: wraps the inputs while they are read.

    Raises:
        OutputError: the file exists or cannot be written.
        DataError: nothing to show, or an input cannot be read.

    Example:
        >>> show_layouts(find_inputs("layouts"), "layouts.png")  # doctest: +SKIP
    """
    path = Path(path)
    if not inputs:
        raise DataError(f"{path}: a picture needs at least one layout, none was given.")
    claim_file(path, PICTURE, force=force)
    chosen = sorted({round(k) for k in np.linspace(0, len(inputs) - 1, min(max_rows, len(inputs)))})
    scale = scale or (2 if len(chosen) <= 6 else 1)
    rows = [_row(inputs[k], scale) for k in progress(chosen)]
    count = f"{len(rows)} of {len(inputs)}, evenly chosen" if len(rows) < len(inputs) else ""
    picture = _compose(rows, scale, count)
    make_folder(path.parent)
    with atomic_write(path) as handle:
        picture.save(handle, format="PNG", compress_level=6)
    return path


def _row(given: Input, scale: int) -> _Row:
    layout = given.load()
    mm = _upright_mm(layout.affine)
    classes, behind = upright(layout.classes, layout.affine), given.backdrop() if not given.complete else None
    if given.complete:
        grey, brain = None, classes > 0
    elif behind is not None:
        grey = upright(behind, layout.affine)
        brain = grey > 0
    else:
        grey = np.where((classes > 0) & (classes <= Tissue.WM), np.take(_GREYS, np.minimum(classes, Tissue.WM)), 60)
        grey, brain = grey * (classes > 0), classes > 0
    at = _slices(classes)
    shape = [n * size for n, size in zip(classes.shape, mm, strict=True)]
    middle = _centre(brain, mm)
    window = (float(np.percentile(grey[brain], 99.5)) if grey is not None and brain.any() else 0.0) or 1.0
    detail = given.detail() if given.complete else None
    layers = None if detail is None else [upright(layer, layout.affine) for layer in detail.layers]
    tiles, ticks = [], []
    for plane in range(3):
        picture = _colour(_cut(classes, plane, at), None if grey is None else _cut(grey, plane, at) / window)
        if layers is not None:
            picture = _mixed(picture, _cut(classes, plane, at), [_cut(layer, plane, at) for layer in layers])
        corner = _corner(plane, middle, shape)
        tiles.append(_tile(picture, plane, mm, corner, scale))
        ticks.append(_tick(plane, at, mm, shape, corner))
    notes = tuple(f"{name} {at[axis]}" for name, axis in zip(PLANES, (2, 1, 0), strict=True))
    return _Row(tuple(tiles), tuple(ticks), given.id, (", ".join(notes), *_notes(given, behind)), _table(layout, given))


def _upright_mm(affine: np.ndarray) -> tuple[float, float, float]:
    """Voxel size along the axes of the upright volume: right to left, front to back, bottom to top."""
    order = np.argmax(np.abs(affine[:3, :3]), axis=0)  # world axis of each voxel axis
    zooms = spacing(affine)
    x, y, z = (float(zooms[int(np.flatnonzero(order == axis)[0])]) for axis in range(3))
    return x, y, z


def _slices(classes: np.ndarray) -> tuple[int, int, int]:
    """Along each upright axis the slice with most tumour; without a tumour, the middle of the brain."""
    tumour = classes > Tissue.WM
    if tumour.any():
        x, y, z = (int(tumour.sum(axis=tuple(a for a in range(3) if a != axis)).argmax()) for axis in range(3))
    elif not (classes > 0).any():
        x, y, z = (n // 2 for n in classes.shape)
    else:
        x, y, z = ((part.start + part.stop - 1) // 2 for part in bounding_box(classes > 0))
    return x, y, z


def _centre(brain: np.ndarray, mm: Sequence[float]) -> tuple[float, ...]:
    """Middle of the brain in mm from the grid's corner: what the tiles are centred on."""
    if not brain.any():
        return tuple(n * size / 2 for n, size in zip(brain.shape, mm, strict=True))
    return tuple((p.start + p.stop) / 2 * size for p, size in zip(bounding_box(brain), mm, strict=True))


def _axes(plane: int) -> tuple[int, int]:
    """Upright axes across and down a plane; the vertical one of coronal and sagittal planes is shown upside down."""
    return ((0, 1), (0, 2), (1, 2))[plane]


def _cut(volume: np.ndarray, plane: int, at: Sequence[int]) -> np.ndarray:
    """(height, width) of one plane as it is looked at."""
    if plane == 0:
        return volume[:, :, at[2]].T
    return volume[:, at[1], ::-1].T if plane == 1 else volume[at[0], :, ::-1].T


def _corner(plane: int, middle: Sequence[float], shape: Sequence[float]) -> tuple[float, float]:
    """Left and top of the tile in mm of the plane's picture."""
    across, down = _axes(plane)
    y = middle[down] if plane == 0 else shape[down] - middle[down]
    return middle[across] - TILES[plane][0] / 2, y - TILES[plane][1] / 2


def _colour(classes: np.ndarray, grey: np.ndarray | None) -> np.ndarray:
    palette = np.array([(0, 0, 0), *TISSUES.values(), *COLOURS.values()], np.uint8)
    out = palette[classes]
    if grey is not None:
        faint = (np.clip(grey, 0, 1) * 255 * _FAINT).astype(np.uint8)[..., None].repeat(3, -1)
        out = np.where((classes > Tissue.WM)[..., None], out, faint)
    return out


def _mixed(picture: np.ndarray, classes: np.ndarray, layers: list[np.ndarray]) -> np.ndarray:
    """The picture with healthy voxels as the mixtures that the layers of their detail say, vessels in their colour.

    What is void is dark; a tumour's colours are brighter and darker by its tones.
    """
    csf, wm, vessels, void = layers[: len(MIXED)]
    tones = [np.where(layers[k] > 0, TONE_STEP * (layers[k].astype(float) - EVEN), 0) for k in _SHOWN]
    picture = np.clip(picture * (1 + np.sum(tones, 0))[..., None], 0, 255)
    shares = np.stack([csf, EIGHTHS - csf - wm, wm], -1) / EIGHTHS
    colours = (shares @ np.array([*TISSUES.values()], float)) * (1 - void[..., None] / VOID_LEVELS)
    lit = vessels[..., None] / VESSEL_LEVELS
    colours = colours * (1 - lit) + lit * np.array(_VESSEL)
    return np.where(((classes > 0) & (classes <= Tissue.WM))[..., None], colours, picture).astype(np.uint8)


def _tile(picture: np.ndarray, plane: int, mm: Sequence[float], corner: tuple[float, float], scale: int) -> np.ndarray:
    """One plane as pixels of 1/scale mm, cut or padded to its tile."""
    across, down = _axes(plane)
    image = Image.fromarray(np.ascontiguousarray(picture))
    size = tuple(
        max(round(n * mm[axis] * scale), 1) for n, axis in zip(picture.shape[1::-1], (across, down), strict=True)
    )
    image = image.resize(size, Image.Resampling.NEAREST)
    left, top = (round(c * scale) for c in corner)
    return np.asarray(image.crop((left, top, left + TILES[plane][0] * scale, top + TILES[plane][1] * scale)))


def _tick(
    plane: int, at: Sequence[int], mm: Sequence[float], shape: Sequence[float], corner: tuple[float, float]
) -> tuple[float, float]:
    """Where the two other planes cut this one, as shares of the tile's width and height."""
    across, down = _axes(plane)
    x, y = ((at[axis] + 0.5) * mm[axis] for axis in (across, down))
    y = y if plane == 0 else shape[down] - y
    return (x - corner[0]) / TILES[plane][0], (y - corner[1]) / TILES[plane][1]


def _notes(given: Input, behind: np.ndarray | None) -> tuple[str, ...]:
    if given.complete:
        return ()
    return ("tumour on the scan, faint",) if behind is not None else ("tumour alone; the brain is the atlas's",)


def _table(layout: Layout, given: Input) -> tuple[tuple[str, str, str], ...]:
    """Lines of name, ml and share: tissue of the brain, tumour classes of the whole tumour."""
    volumes = layout.volumes_ml()
    whole = volumes["WT"]
    brain = sum(volumes[name] for name in TISSUES) + whole
    rows = [(name, volumes[name], volumes[name] / brain if brain else 0.0) for name in TISSUES if given.complete]
    lines = [(name, f"{ml:.1f}", f"{share:.0%}") for name, ml, share in rows]
    if given.complete:
        lines.append(("brain", f"{brain:.1f}", ""))
    if not whole:
        return (*lines, ("no tumour", "", ""))
    lines += [(name, f"{volumes[name]:.1f}", f"{volumes[name] / whole:.0%}") for name in COLOURS]
    return (*lines, ("tumour", f"{whole:.1f}", f"{whole / brain:.1%} of brain" if given.complete else ""))


def _compose(rows: list[_Row], scale: int, count: str) -> Image.Image:
    widths = [size[0] * scale for size in TILES]
    height = TILES[0][1] * scale
    sheet = Image.new("RGB", (_TEXT + sum(widths) + 2 * _GAP, _HEAD + len(rows) * (height + _GAP) + _FOOT), _BACK)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    left = [_TEXT + sum(widths[:k]) + k * _GAP for k in range(3)]
    for plane, x in enumerate(left):
        draw.text((x + widths[plane] / 2, _HEAD / 2), PLANES[plane], fill="white", font=font, anchor="mm")
    draw.text((8, _HEAD / 2), count, fill=_PALE, font=font, anchor="lm")
    for k, row in enumerate(rows):
        top = _HEAD + k * (height + _GAP)
        _write_caption(draw, font, row, top)
        for plane, tile in enumerate(row.tiles):
            sheet.paste(Image.fromarray(tile), (left[plane], top))
            _write_marks(draw, font, (left[plane], top, *tile.shape[1::-1]), _MARKS[plane], row.ticks[plane])
    _write_legend(draw, font, sheet.height - _FOOT + 12)
    return sheet


def _write_caption(draw: ImageDraw.ImageDraw, font: Font, row: _Row, top: int) -> None:
    y = top + 6
    title = row.title if len(row.title) <= 32 else row.title[:31] + "…"
    lines: list[tuple[str, str | tuple[int, int, int]]] = [(title, "white"), *((note, _PALE) for note in row.notes)]
    for line, fill in lines:
        draw.text((8, y), line, fill=fill, font=font)
        y += _LINE
    y += 4
    colours = {**TISSUES, **COLOURS}
    for name, ml, share in row.table:
        if name in colours:
            draw.rectangle((8, y + 3, 17, y + 12), fill=colours[name])
        draw.text((24, y), name, fill="white", font=font)
        if ml:
            draw.text((130, y), f"{ml} ml", fill="white", font=font, anchor="ra")
            draw.text((142, y), share, fill=_PALE, font=font)
        y += _LINE


def _write_marks(
    draw: ImageDraw.ImageDraw,
    font: Font,
    box: tuple[int, int, int, int],
    marks: Sequence[str],
    tick: tuple[float, float],
) -> None:
    """Letters at the middles of a tile's edges, and ticks where the other planes cut."""
    x, y, width, height = box
    inset = 9 if width < 300 else 14  # clear of the brain in small tiles, of the ticks in large ones
    right, top, middle = x + width - inset, y + inset, (x + width / 2, y + height / 2)
    places = ((x + inset, middle[1]), (right, middle[1]), (middle[0], top), (middle[0], y + height - inset))
    for letter, place in zip(marks, places, strict=True):
        draw.text(place, letter, fill=_PALE, font=font, anchor="mm")
    for share, horizontal in ((tick[0], True), (tick[1], False)):
        if not 0 <= share <= 1:
            continue
        if horizontal:
            at = x + share * width
            draw.line((at, y, at, y + 4), fill=_PALE)
            draw.line((at, y + height - 5, at, y + height - 1), fill=_PALE)
        else:
            at = y + share * height
            draw.line((x, at, x + 4, at), fill=_PALE)
            draw.line((x + width - 5, at, x + width - 1, at), fill=_PALE)


def _write_legend(draw: ImageDraw.ImageDraw, font: Font, y: float) -> None:
    x = 8.0
    for name, colour in {**TISSUES, **COLOURS}.items():
        draw.rectangle((x, y - 5, x + 9, y + 4), fill=colour)
        draw.text((x + 14, y), _MEANING[name], fill="white", font=font, anchor="lm")
        x += 14 + draw.textlength(_MEANING[name], font) + 16
    text = "radiological: R is the patient's right; ticks at the edges: where the other planes cut"
    draw.text((8, y + 18), text, fill=_PALE, font=font, anchor="lm")
