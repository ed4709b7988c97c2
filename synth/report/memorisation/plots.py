"""Pictures of the section "memorisation": the closest pairs side by side, and how near samples and patients are."""

from collections.abc import Sequence
from functools import partial
from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import binary_erosion

from synth.brats import MODALITIES
from synth.errors import printable
from synth.quality.records import Record
from synth.quality.thumbnail import ZERO
from synth.report.core.charts import canvas, png
from synth.report.core.judge import Figure
from synth.report.core.nearest import COPY, TITLES, Nearest

REAL, SYNTHETIC, HOLDOUT = "#0b6e99", "#d98c00", "#7a6fb0"
OUTLINE = "#ffd23f"
_WIDE, _TALL, _LINE = 172, 200, 24  # pixels of a panel, and of the line above it
_PAIRS = {"image": 3, "tissue": 1, "tumour": 1, "features": 1}  # closest pairs shown of each level
_DOTS = 200  # of a side in a strip; more blacken it
_SIDES = {"training": ("samples to training", SYNTHETIC), "hold-out": ("samples to hold-out", HOLDOUT)}


def figures(by_level: Sequence[Nearest]) -> tuple[Figure, ...]:
    """The closest pairs and the distances, as PNG; none where nothing was compared."""
    pairs = closest_pairs(by_level)
    if not pairs:
        return ()
    return (
        Figure(
            "memorisation.pairs",
            "Closest pairs side by side",
            "Each row a sample (left) and the real case that is nearest to it at the level named (right), at the same "
            "height of the brain or, for the tumour, each through its own; mirrored samples are shown mirrored. "
            "Outlines are the labels. A copy would show the same folds on both sides.",
            partial(_pairs_figure, pairs),
            scans=True,
        ),
        Figure(
            "memorisation.distances",
            "Distances to the nearest case",
            "A mark per case: real cases to the nearest other patient, samples to the nearest training and hold-out "
            "case. A bar is the median; copies lie left of the dashed line. More cases on a side make it look nearer.",
            partial(_distances_figure, by_level),
        ),
    )


def closest_pairs(by_level: Sequence[Nearest]) -> list[tuple[str, Record, Record, float, bool]]:
    """Level, sample, real case, distance and whether mirrored, of the closest pairs; no pair twice."""
    out, shown = [], set()
    for level in by_level:
        fresh = [pair for pair in _ranked(level) if (pair[1].id, pair[2].id) not in shown][: _PAIRS[level.level]]
        shown |= {(pair[1].id, pair[2].id) for pair in fresh}
        out += fresh
    return out


def _ranked(level: Nearest) -> list[tuple[str, Record, Record, float, bool]]:
    pairs = [
        (level.level, level.samples[i], cases[side.index[i]], float(side.nearest[i]), bool(side.mirrored[i]))
        for _, cases, side in level.sides
        for i in np.flatnonzero(np.isfinite(side.nearest))
    ]
    return sorted(pairs, key=lambda pair: pair[3])


def _pairs_figure(pairs) -> bytes:
    width, row = 2 * len(MODALITIES) * _WIDE, _LINE + _TALL
    picture = Image.new("RGB", (width, row * len(pairs)), "black")
    draw, font, small = ImageDraw.Draw(picture), ImageFont.load_default(12), ImageFont.load_default(10)
    for k, (level, sample, real, distance, mirrored) in enumerate(pairs):
        said = f"{sample.id} (sample{', mirrored' if mirrored else ''})   {TITLES[level]}, distance {distance:.2f}"
        sides = ((sample, mirrored, said), (real, False, f"{real.id} (real)"))
        for half, (record, flip, text) in enumerate(sides):
            left, top = half * width // 2, k * row
            draw.text((left + 4, top + _LINE / 2), printable(text), fill="white", font=font, anchor="lm")
            images, labels = _plane(record, level)
            turn = np.s_[:, ::-1] if flip else np.s_[:, :]
            for m, name in enumerate(MODALITIES):
                picture.paste(_panel(images[m][turn], labels[turn] > 0), (left + m * _WIDE, top + _LINE))
                draw.text((left + m * _WIDE + 4, top + row - 4), name, fill="#9a9a9a", font=small, anchor="ld")
    stream = BytesIO()
    picture.save(stream, format="PNG")
    return stream.getvalue()


def _panel(image: np.ndarray, tumour: np.ndarray) -> Image.Image:
    """A slice as large as fits a panel, in its middle, with the tumour's outline."""
    scale = min(_WIDE / image.shape[1], _TALL / image.shape[0])
    size = tuple(max(round(n * scale), 1) for n in image.shape[::-1])
    grey = Image.fromarray(np.rint(image).clip(0, 255).astype(np.uint8)).resize(size, Image.Resampling.BILINEAR)
    inside = np.asarray(Image.fromarray(tumour).resize(size, Image.Resampling.NEAREST))
    edge = Image.fromarray(inside & ~binary_erosion(inside, border_value=1))
    out = Image.new("RGB", (_WIDE, _TALL))
    place = ((_WIDE - size[0]) // 2, (_TALL - size[1]) // 2)
    out.paste(grey.convert("RGB"), place)
    out.paste(OUTLINE, (*place, place[0] + size[0], place[1] + size[1]), edge)
    return out


def _plane(record: Record, level: str) -> tuple[np.ndarray, np.ndarray]:
    """(4, rows, columns) uint8 and (rows, columns) labels of one axial plane; from the thumbnail without `slices`."""
    if record.has("slices"):
        plane = "axial" if level == "tumour" else "middle"
        return record("slices", plane), record("slices", f"{plane}_labels")
    image, layout = record("thumbnail", "image"), record("thumbnail", "layout")
    tumour = layout[3:].astype(int).sum(0)
    inside = np.flatnonzero(layout.any((0, 1, 2)))
    at = int(tumour.sum((0, 1)).argmax()) if level == "tumour" and tumour.any() else int(inside.mean().round())
    brain = record("thumbnail", "brain")[..., at] > 127
    grey = 2 * (image[..., at].astype(float) - ZERO) + 110  # 2.6 below to 3.4 deviations above the brain's mean
    shown = np.where(brain, grey.clip(0, 255), 0)
    rows, columns = np.flatnonzero(brain.any(0)), np.flatnonzero(brain.any(1))
    crop = np.s_[..., rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] if rows.size else np.s_[...]
    # BraTS voxels run right to left and front to back, as pictures are read
    return np.swapaxes(shown, 1, 2)[crop], (tumour[..., at] > 127).T[crop]


def _distances_figure(by_level: Sequence[Nearest]) -> bytes:
    figure = canvas(11, 0.5 + 1.25 * len(by_level), left=1.45, bottom=0.3, hspace=0.75)
    panels = figure.subplots(len(by_level), 1, squeeze=False)[:, 0]
    for ax, level in zip(panels, by_level, strict=True):
        rows = [("real to other patients", REAL, level.real)]
        rows += [(*_SIDES[name], side.nearest[np.isfinite(side.nearest)]) for name, _, side in level.sides]
        for y, (_, colour, values) in enumerate(rows):
            if not len(values):
                continue
            dots = values[:: -(-len(values) // _DOTS)]
            aside = 0.22 * np.sin(np.arange(len(dots)) * 2.4)  # spread so that equal values show, the same each time
            ax.scatter(dots, y + aside, 13, color=colour, alpha=0.6, linewidths=0)
            ax.vlines(np.median(values), y - 0.35, y + 0.35, color=colour, linewidth=2)
        ax.axvline(COPY[level.level], color="#444", linewidth=1, linestyle="--")
        ax.set_yticks(range(len(rows)), [name for name, _, _ in rows], fontsize=8)
        ax.set_ylim(len(rows) - 0.5, -0.5)
        ax.set_xlim(-0.02)
        ax.set_title(TITLES[level.level], fontsize=9, loc="left")
        ax.tick_params(axis="x", labelsize=8)
        ax.spines[["top", "right"]].set_visible(False)
    return png(figure)
