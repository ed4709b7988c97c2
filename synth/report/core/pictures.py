"""Pictures of cases: real and synthetic ones in turn, and the ends of a ranking, from the probe `slices` alone.

One voxel is drawn as 2 x 2 pixels without smoothing or lossy compression: what is seen is the scan. Each modality
stands between its own 0.5 and 99.5 percentiles in the brain.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import binary_erosion

from synth.brats import MODALITIES
from synth.errors import printable
from synth.quality.records import Record
from synth.quality.slices import PLANES
from synth.report.core.judge import Figure
from synth.report.core.sets import Sets
from synth.show.contact_sheet import COLOURS

COLUMNS = (  # plane, modality, with outlines
    *(("axial", name, False) for name in MODALITIES),
    ("axial", "flair", True),
    ("coronal", "t1ce", True),
    ("sagittal", "flair", True),
)
REAL, SYNTHETIC = (60, 160, 205), (233, 160, 40)  # of the charts, brighter
SCALE = 2  # pixels a mm
SHOWN = 4  # cases of each set in the gallery
ENDS = 3  # cases at each end of a ranking
_AXES = {"axial": (0, 1), "coronal": (0, 2), "sagittal": (1, 2)}  # of the upright volume: columns and rows
_MARKS = {"axial": ("R", "A"), "coronal": ("R", "S"), "sagittal": ("A", "S")}  # at the left and upper edge
_BACK, _PALE = (20, 20, 22), (150, 150, 158)
_HEAD, _LINE, _GAP = 64, 40, 4  # pixels
_MARGIN = 12  # mm around the largest brain
_FONT, _SMALL = 26, 20


@dataclass(frozen=True)
class Row:
    """A case of a sheet: its record, what it is, and what to say of it."""

    record: Record
    real: bool
    said: str = ""


def gallery(sets: Sets) -> tuple[Figure, ...]:
    """Real and synthetic cases in turn, drawn with the seed; reconstructions below their own scan.

    Args:
        sets: cases without the probe `slices` are left out.
    """
    rng = np.random.default_rng(sets.seed)
    synthetic, real = _measured(sets.synthetic), _measured(sets.real)
    if not synthetic or not real:
        return ()
    own = {record.id: record for record in real}
    twins = [(own[record.id], record) for record in _measured(sets.paired) if record.id in own]
    pairs = twins or list(zip(_drawn(real, rng), _drawn(synthetic, rng), strict=False))
    pairs = [pairs[i] for i in np.sort(rng.permutation(len(pairs))[:SHOWN])]
    rows = [row for a, b in pairs for row in (Row(a, True), Row(b, False))]
    how = (
        "every reconstruction below its own scan"
        if twins
        else f"drawn by chance (seed {sets.seed}) from {len(real)} real and {len(synthetic)} synthetic cases"
    )
    caption = (
        f"Blue: real, orange: synthetic; {how}. Planes through the tumour, each case between its own 0.5 and 99.5 "
        "percentiles; R is the patient's right, A front, S top; outlines are the labels."
    )
    return (
        Figure("pictures.gallery", "Real and synthetic cases side by side", caption, partial(sheet, rows), scans=True),
    )


def extremes(sets: Sets, scores: Mapping[str, float], name: str = "whole-tumour Dice") -> tuple[Figure, ...]:
    """The synthetic cases at both ends of a ranking, the lowest first.

    Args:
        sets: of the report.
        scores: by id, higher is better; cases without a finite one are left out.
        name: of the score, as the caption tells it.
    """
    ranked = sorted(
        (record for record in _measured(sets.synthetic) if np.isfinite(scores.get(record.id, np.nan))),
        key=lambda record: (scores[record.id], record.id),
    )
    if not ranked:
        return ()
    low, rest = ranked[:ENDS], ranked[ENDS:]
    chosen = [*low, *rest[max(len(rest) - ENDS, 0) :]]
    rows = [Row(record, False, f"{name} {scores[record.id]:.3f}") for record in chosen]
    caption = (
        f"The lowest and the highest {name} of {len(ranked)} synthetic cases, from the lowest to the highest. Planes "
        "through the tumour; outlines are the labels."
    )
    return (Figure("pictures.extremes", f"Worst and best cases by {name}", caption, partial(sheet, rows), scans=True),)


def sheet(rows: Sequence[Row]) -> bytes:
    """Cases as a PNG, a row each with a line of text above: four modalities, then three planes with outlines.

    Args:
        rows: at least one; every record has the probe `slices`.
    """
    frames = _frames(rows)
    sizes = [tuple(n * SCALE for n in frames[plane]) for plane, _, _ in COLUMNS]
    left = np.cumsum([0, *(width + _GAP for width, _ in sizes)])
    height = max(size[1] for size in sizes)
    picture = Image.new("RGB", (int(left[-1]) - _GAP, _HEAD + len(rows) * (_LINE + height + _GAP)), _BACK)
    draw, font, small = ImageDraw.Draw(picture), ImageFont.load_default(_FONT), ImageFont.load_default(_SMALL)
    for (plane, name, outlined), x, (width, _) in zip(COLUMNS, left, sizes, strict=False):
        text = f"{name}, {plane}" if outlined else name
        draw.text((int(x) + width / 2, _HEAD - 20), text, fill="white", font=font, anchor="mm")
    for k, row in enumerate(rows):
        top = _HEAD + k * (_LINE + height + _GAP)
        _say(draw, font, row, top, picture.width)
        for (plane, name, outlined), x, size in zip(COLUMNS, left, sizes, strict=False):
            place = (int(x), top + _LINE + (height - size[1]) // 2)
            picture.paste(Image.fromarray(tile(row.record, plane, name, frames[plane], outlined)), place)
            _mark(draw, small, plane, place, size)
    _legend(draw, small, picture.width)
    stream = BytesIO()
    picture.save(stream, format="PNG", compress_level=6)
    return stream.getvalue()


def tile(record: Record, plane: str, modality: str, frame: tuple[int, int], outlined: bool) -> np.ndarray:
    """One slice of a case as (height, width, 3) uint8, the brain in the middle of its frame.

    Args:
        record: with the probe `slices`.
        plane: of `slices.CUTS`.
        modality: of `brats.MODALITIES`.
        frame: width and height in mm; what is outside is cut off.
        outlined: draw the edges of the labels in their colours.
    """
    grey = record("slices", plane)[MODALITIES.index(modality)]
    size = _size(record, plane)
    colours = np.repeat(_enlarged(grey, size)[..., None], 3, -1)
    if outlined:
        labels = _enlarged(record("slices", f"{plane}_labels"), size)
        for value, colour in enumerate(COLOURS.values(), start=1):
            inside = labels == value
            colours[inside & ~binary_erosion(inside, border_value=1)] = colour
    out = np.zeros((frame[1] * SCALE, frame[0] * SCALE, 3), np.uint8)
    (to_y, from_y), (to_x, from_x) = (_centred(a, b) for a, b in zip(out.shape, colours.shape[:2], strict=False))
    out[to_y, to_x] = colours[from_y, from_x]
    return out


def _measured(records: Sequence[Record]) -> list[Record]:
    return [record for record in records if record.has("slices")]


def _drawn(records: Sequence[Record], rng: np.random.Generator) -> list[Record]:
    return [records[i] for i in np.sort(rng.permutation(len(records))[:SHOWN])]


def _frames(rows: Sequence[Row]) -> dict[str, tuple[int, int]]:
    """Width and height in mm of each plane's tile: that of the largest brain, so that all have one scale."""
    sizes = {plane: np.array([_size(row.record, plane) for row in rows]) for plane in PLANES}
    return {plane: tuple(int(n) // SCALE + _MARGIN for n in size.max(0)) for plane, size in sizes.items()}


def _size(record: Record, plane: str) -> tuple[int, int]:
    """Width and height of a slice in pixels."""
    rows, columns = record("slices", f"{plane}_labels").shape
    mm = record("slices", "mm")
    across, down = _AXES[plane]
    return max(round(columns * float(mm[across]) * SCALE), 1), max(round(rows * float(mm[down]) * SCALE), 1)


def _enlarged(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.NEAREST))


def _centred(there: int, here: int) -> tuple[slice, slice]:
    """Where a line of `here` pixels goes in one of `there`, middle on middle, and which part of it."""
    gap, cut = max(there - here, 0) // 2, max(here - there, 0) // 2
    length = min(there, here)
    return slice(gap, gap + length), slice(cut, cut + length)


def _say(draw, font, row: Row, top: int, width: int) -> None:
    colour, what = (REAL, "real") if row.real else (SYNTHETIC, "synthetic")
    draw.rectangle((0, top, width, top + _LINE - 4), fill=(38, 38, 42))
    draw.rectangle((0, top, 12, top + _LINE - 4), fill=colour)
    y = top + (_LINE - 4) / 2
    draw.text((24, y), what, fill=colour, font=font, anchor="lm")
    name = printable(row.record.id)
    name = name if len(name) <= 60 else name[:59] + "…"
    draw.text((160, y), f"{name}    {row.said}".rstrip(), fill="white", font=font, anchor="lm")


def _mark(draw, font, plane: str, place: tuple[int, int], size: tuple[int, int]) -> None:
    side, top = _MARKS[plane]
    draw.text((place[0] + 6, place[1] + size[1] / 2), side, fill=_PALE, font=font, anchor="lm")
    draw.text((place[0] + size[0] / 2, place[1] + 4), top, fill=_PALE, font=font, anchor="ma")


def _legend(draw, font, width: int) -> None:
    x = width - 8
    for name, colour in reversed(COLOURS.items()):
        x -= draw.textlength(name, font)
        draw.text((x, 11), name, fill="white", font=font, anchor="lm")
        draw.rectangle((x - 20, 5, x - 7, 17), fill=colour)
        x -= 36
