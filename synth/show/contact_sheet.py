"""The contact sheet: a PNG with a row per case, its four modalities and labels at the tumour's largest slice.

Axial slices in radiological orientation, as a radiologist reads them: rows run from anterior (top) to posterior,
columns from the patient's right (at the left edge of a tile, marked R) to the patient's left (marked L). One pixel is
one millimetre. Each modality is shown between its own 0.5 and 99.5 percentiles in the brain; in a pair both rows use
the window of the upper, real one, so that a difference in brightness shows.

Only thumbnails are kept while cases stream by, and the pixels depend on the cases alone: the same run gives the same
bytes.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from synth.brats import MODALITIES, REGIONS, Tumour
from synth.case import Case
from synth.datasets.grids import spacing_of
from synth.disk.files import atomic_write
from synth.errors import DataError
from synth.exporters.nifti import INT16_MAX, to_int16
from synth.style.scale import LEAST_LEVELS

TILE = (168, 200)  # width and height in mm: a BraTS brain and a margin
MAX_ROWS = 40
COLOURS = {"NCR": (230, 60, 50), "ED": (60, 190, 80), "ET": (250, 215, 40)}
_OVERLAY = 0.5  # opacity of the colours over flair
_PERCENTILES = (0.5, 99.5)
_TEXT = 172  # width in pixels of the caption column
_HEAD = 44
_FOOT = 20
_GAP = 2


@dataclass(frozen=True)
class Row:
    """One line of the sheet: (height, width, 3) uint8 tiles side by side, and the caption's lines; `row` makes it."""

    tiles: np.ndarray
    caption: tuple[str, ...]


class ContactSheet:
    """Collect thumbnails of cases as they stream by, then save them as one picture.

    Args:
        total: how many cases will come, if known: then the rows are spread evenly over them; otherwise the sheet
            shows the first.
        max_rows: most cases (or pairs) shown.
        title: first line of the picture.

    Example:
        >>> sheet = ContactSheet(total=500, title="synth generate --n 500 --seed 1")
        >>> [k for k in range(500) if sheet.wants(k)][:3]
        [0, 13, 26]
    """

    def __init__(self, total: int | None = None, *, max_rows: int = MAX_ROWS, title: str = ""):
        self._total, self._max_rows, self._title = total, max_rows, title
        self._chosen = None
        if total is not None and total > max_rows:
            self._chosen = {int(k) for k in np.linspace(0, total - 1, max_rows).round()}
        self._rows: dict[int, list[Row]] = {}
        self._seen = 0

    def wants(self, index: int) -> bool:
        """Whether case number `index` is shown, so that a resumed run need not read back the others."""
        return index < self._max_rows if self._chosen is None else index in self._chosen

    def add(self, case: Case, index: int | None = None, note: str = "") -> None:
        """Take in a case; keeps a thumbnail if it is wanted, otherwise nothing.

        Args:
            case: intensities on the scanner's scale.
            index: its number in the run; the count of cases so far if None.
            note: a further line of the caption.
        """
        self._take(index, lambda: [row(case, note)])

    def put(self, rows: Sequence[Row], index: int) -> None:
        """As `add`, of what `row` or `pair_rows` has made of a case, perhaps in another process."""
        self._take(index, lambda: list(rows))

    def add_pair(
        self, real: Case, synthetic: Case, index: int | None = None, notes: tuple[str, str] = ("real", "synthetic")
    ) -> None:
        """Take in a real case and its synthetic twin: two rows, at the same slice and in the same window.

        Args:
            real: decides slice and window.
            synthetic: on the same grid.
            index: as for `add`.
            notes: a line in the caption of each.

        Raises:
            DataError: they are not on the same grid.
        """
        self._take(index, lambda: pair_rows(real, synthetic, notes))

    def save(self, path: str | os.PathLike) -> Path:
        """Write the sheet as PNG, whole or not at all; return its path.

        Raises:
            DataError: no case was added.
            OutputError: the file cannot be written.
        """
        if not self._rows:
            raise DataError(f"{path}: a contact sheet needs at least one case, none was added.")
        groups = [self._rows[index] for index in sorted(self._rows)]
        picture = _compose(groups, self._title, self._footnote(len(groups)))
        with atomic_write(path) as handle:
            picture.save(handle, format="PNG", compress_level=6)
        return Path(path)

    def _take(self, index: int | None, rows) -> None:
        index = self._seen if index is None else index
        self._seen = max(self._seen, index + 1)
        if self.wants(index):
            self._rows[index] = rows()

    def _footnote(self, shown: int) -> str:
        count = max(self._seen, self._total or 0)
        if shown == count:
            return "one case" if count == 1 else f"all {count} cases"
        return f"{shown} of {count} cases, " + ("the first" if self._chosen is None else "evenly chosen")


def contact_sheet(cases: Iterable[Case], path: str | os.PathLike, *, max_rows: int = MAX_ROWS, title: str = "") -> Path:
    """Write a contact sheet of cases, a row each; of too many an even choice, or the first if they have no `len`."""
    sheet = ContactSheet(len(cases) if hasattr(cases, "__len__") else None, max_rows=max_rows, title=title)
    for case in cases:
        sheet.add(case)
    return sheet.save(path)


def pair_sheet(
    pairs: Iterable[tuple[Case, Case]], path: str | os.PathLike, *, max_rows: int = MAX_ROWS // 2, title: str = ""
) -> Path:
    """Write a contact sheet of (real, synthetic) pairs, the synthetic row below its real one."""
    sheet = ContactSheet(len(pairs) if hasattr(pairs, "__len__") else None, max_rows=max_rows, title=title)
    for real, synthetic in pairs:
        sheet.add_pair(real, synthetic)
    return sheet.save(path)


@dataclass(frozen=True)
class _Look:
    """How a case is shown: upright slice, units of intensity, windows in these units, centre of the tile in mm."""

    slice: int
    units: tuple[float, ...]
    windows: tuple[tuple[int, int], ...]
    centre: tuple[float, float]


def _look(case: Case) -> _Look:
    brain = upright(case.brain, case.affine)
    tumour = None if case.labels is None else upright(case.labels > 0, case.affine).sum((0, 1))
    if tumour is not None and tumour.any():
        k = int(tumour.argmax())
    else:
        filled = np.flatnonzero(brain.any((0, 1)))
        k = int(filled[(len(filled) - 1) // 2]) if filled.size else brain.shape[2] // 2
    x, y = (np.flatnonzero(brain.any(axes)) for axes in ((1, 2), (0, 2)))
    width, height = pixel_mm(case.affine)
    centre = ((x[0] + x[-1] + 1) / 2 * width, (y[0] + y[-1] + 1) / 2 * height) if x.size else (0.0, 0.0)
    images = [case.images[..., m] for m in range(len(MODALITIES))]
    units = tuple(map(_unit, images))
    return _Look(k, units, tuple(map(_window, images, units)), centre)


def row(case: Case, note: str = "") -> Row:
    """The line of the sheet that shows a case; arguments as for `ContactSheet.add`."""
    return _row(case, _look(case), note)


def pair_rows(real: Case, synthetic: Case, notes: tuple[str, str] = ("real", "synthetic")) -> list[Row]:
    """The two lines of the sheet that show a pair; arguments as for `ContactSheet.add_pair`.

    Raises:
        DataError: they are not on the same grid.
    """
    if real.images.shape != synthetic.images.shape:
        raise DataError(
            f"{synthetic.id}: a pair needs one grid, found {real.images.shape[:3]} and {synthetic.images.shape[:3]}."
        )
    look = _look(real)
    return [_row(one, look, note) for one, note in zip((real, synthetic), notes, strict=True)]


def _row(case: Case, look: _Look, note: str) -> Row:
    planes = []
    for m, ((low, high), unit) in enumerate(zip(look.windows, look.units, strict=True)):
        plane = _levels(upright(case.images[..., m], case.affine)[:, :, look.slice], unit)
        grey = np.clip((plane - low) * (255 / (high - low)), 0, 255) * (plane > 0)
        planes.append(_tile(grey.round().astype(np.uint8), look, case.affine, Image.Resampling.BILINEAR))
    flair = np.repeat(planes[MODALITIES.index("flair")][..., None], 3, -1)
    if case.labels is not None:
        plane = upright(case.labels, case.affine)[:, :, look.slice]
        labels = _tile(plane, look, case.affine, Image.Resampling.NEAREST)
        colours = np.array([(0, 0, 0), *COLOURS.values()], np.float32)[labels]
        blend = np.round(flair * (1 - _OVERLAY) + colours * _OVERLAY).astype(np.uint8)
        flair = np.where(labels[..., None] > 0, blend, flair)
    tiles = [np.repeat(plane[..., None], 3, -1) for plane in planes] + [flair]
    return Row(np.concatenate(tiles, axis=1), _caption(case, look, note))


def _caption(case: Case, look: _Look, note: str) -> tuple[str, ...]:
    lines = [case.id, *([note] if note else []), f"axial slice {look.slice}"]
    if case.labels is None:
        return (*lines, "no labels")
    if not case.labels.any():
        return (*lines, "no tumour")
    ml = abs(np.linalg.det(case.affine[:3, :3])) / 1000
    counts = np.bincount(case.labels.ravel(), minlength=len(Tumour))
    return (*lines, *(f"{name}  {sum(counts[c] for c in region) * ml:.1f} ml" for name, region in REGIONS.items()))


def _unit(image: np.ndarray) -> float:
    """What is counted as one level: 1, but for intensities that whole numbers of 16 bits do not hold."""
    highest = float(image.max())
    if image.dtype.kind != "f" or LEAST_LEVELS <= highest <= INT16_MAX or highest <= 0:
        return 1.0
    return highest / INT16_MAX


def _levels(image: np.ndarray, unit: float) -> np.ndarray:
    """Intensities as they go to disk, in units; what is above 0 stays so."""
    return to_int16(image) if unit == 1 else np.maximum(to_int16(image / np.float32(unit)), image > 0)


def _window(image: np.ndarray, unit: float) -> tuple[int, int]:
    """The levels shown as black and white: percentiles of what is not background, as written to disk."""
    counts = np.bincount(_levels(image[image > 0], unit), minlength=2)
    counts[0] = 0
    below = counts.cumsum()
    low, high = (int(np.searchsorted(below, below[-1] * q / 100)) for q in _PERCENTILES)
    return low, max(high, low + 1)


def upright(volume: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """A view whose axes run from the patient's right to left, anterior to posterior, and inferior to superior."""
    target = nib.orientations.axcodes2ornt("LPS")
    turn = nib.orientations.ornt_transform(nib.io_orientation(affine), target)
    return nib.orientations.apply_orientation(volume, turn)


def pixel_mm(affine: np.ndarray) -> tuple[float, float]:
    """Size of a voxel of the upright volume along its first two axes."""
    zooms = spacing_of(affine)
    axes = nib.io_orientation(affine)[:, 0]
    return float(zooms[axes == 0][0]), float(zooms[axes == 1][0])


def _tile(plane: np.ndarray, look: _Look, affine: np.ndarray, resampling: Image.Resampling) -> np.ndarray:
    """An upright slice (x, y) as (height, width) pixels of 1 mm, cut or padded to the tile around the brain."""
    image = Image.fromarray(np.ascontiguousarray(plane.T))
    size = tuple(max(1, round(n * mm)) for n, mm in zip(plane.shape, pixel_mm(affine), strict=True))
    if size != image.size:
        image = image.resize(size, resampling)
    left, top = (round(c - n / 2) for c, n in zip(look.centre, TILE, strict=True))
    return np.asarray(image.crop((left, top, left + TILE[0], top + TILE[1])))


def _compose(groups: list[list[Row]], title: str, footnote: str) -> Image.Image:
    width = _TEXT + len((*MODALITIES, "labels")) * TILE[0]
    height = _HEAD + sum(len(rows) * TILE[1] + _GAP for rows in groups) + _FOOT
    sheet = Image.new("RGB", (width, height), (24, 24, 26))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    draw.text((8, 5), f"{title}   ({footnote})" if title else footnote, fill="white", font=font)
    for k, name in enumerate((*MODALITIES, "labels on flair")):
        draw.text((_TEXT + (k + 0.5) * TILE[0], 34), name, fill="white", font=font, anchor="mm")
    x = width
    for name, colour in reversed(COLOURS.items()):
        x -= draw.textlength(name, font) + 24
        draw.rectangle((x, 8, x + 9, 17), fill=colour)
        draw.text((x + 14, 5), name, fill="white", font=font)
    y = _HEAD
    for rows in groups:
        for row in rows:
            sheet.paste(Image.fromarray(row.tiles), (_TEXT, y))
            for k, line in enumerate(row.caption):
                draw.text((8, y + 8 + 18 * k), line, fill="white" if k == 0 else (190, 190, 195), font=font)
            for x, mark in ((_TEXT + 8, "R"), (_TEXT + TILE[0] - 8, "L")):
                draw.text((x, y + TILE[1] / 2), mark, fill=(140, 140, 150), font=font, anchor="mm")
            y += TILE[1]
        y += _GAP
    text = "radiological: the patient's right (R) is on the left, anterior is up; 1 pixel = 1 mm"
    draw.text((8, y + 2), text, fill=(140, 140, 150), font=font)
    return sheet
