"""Pictures of the section "fidelity": real and synthetic distributions drawn over one another."""

from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from synth.brats import CLASSES, MODALITIES, REGIONS
from synth.quality import anatomy, intensity, spectrum, texture
from synth.report.core.aspects import Side
from synth.report.core.charts import canvas, png
from synth.report.core.judge import Figure
from synth.report.fidelity.aspects import texture_scale

REAL, SYNTHETIC = "#0b6e99", "#d98c00"  # told apart by the colour-blind too
_BINS = 60
_PROFILES = (("WT", "flair"), ("TC", "t1ce"), ("ET", "t1ce"))  # where readers look for these borders
_DOTS = 200  # cases of a side in a strip; more blacken it


def figures(synthetic: Side, real: Side) -> tuple[Figure, ...]:
    """All pictures of both sets, as PNG."""
    drawn = (
        (
            "fidelity.intensities",
            "Intensities by modality and class",
            "Density of z-scored intensities over all cases, each counted alike: real filled, synthetic as a line. "
            "Shapes should coincide; a line that is narrower than the filled area lacks variety or texture.",
            _intensities,
        ),
        (
            "fidelity.contrasts",
            "Contrast between classes",
            "Difference of two classes' medians in units of the brain's standard deviation, a mark per case.",
            _contrasts,
        ),
        (
            "fidelity.borders",
            "Intensity across label borders",
            "Mean intensity by distance from the border of a label, inside on the left: median over cases and the "
            "range of 90 % of them. A step away from 0 means labels that do not fit what is seen.",
            _borders,
        ),
        (
            "fidelity.spectra",
            "Spatial frequencies",
            "Power by spatial frequency: median of real cases with the range of 90 % of them, and synthetic cases "
            "likewise; below, the same less the real median. Blur lowers the right-hand side, noise lifts it.",
            _spectra,
        ),
        (
            "fidelity.texture",
            "Texture against real patients",
            "Median of the synthetic cases less that of the real ones, in standard deviations between real patients; "
            "0 is right, colours end at 3.",
            _texture,
        ),
        (
            "fidelity.anatomy",
            "Volumes and place",
            "Shares of tissue in the healthy brain, tumour volumes, and where tumours' centres lie (MNI, seen from "
            "above and from the right), a mark per case; 0.05 ml stands for none.",
            _anatomy,
        ),
    )
    return tuple(Figure(id, title, caption, partial(draw, synthetic, real)) for id, title, caption, draw in drawn)


def _intensities(synthetic, real) -> bytes:
    figure = canvas(13, 7.2, left=0.35, top=0.55, bottom=0.55, wspace=0.06, hspace=0.3)
    panels = figure.subplots(len(MODALITIES), len(CLASSES), sharex="row", subplot_kw={"yticks": ()})
    sides = [side("intensity", "quantiles") for side in (real, synthetic)]
    for m, modality in enumerate(MODALITIES):
        low, high = np.nanpercentile(np.concatenate([side[:, m, :, 1:100].ravel() for side in sides]), (0.5, 99.5))
        edges = np.linspace(low, high, _BINS + 1)
        for k, name in enumerate(CLASSES):
            ax = panels[m, k]
            for side, colour, filled in zip(sides, (REAL, SYNTHETIC), (True, False), strict=True):
                density = _density(side[:, m, k], edges)
                if filled:
                    ax.stairs(density, edges, fill=True, color=colour, alpha=0.45)
                else:
                    ax.stairs(density, edges, color=colour, linewidth=1.6)
            ax.spines[["top", "right", "left"]].set_visible(False)
            ax.set_title(name, fontsize=10) if m == 0 else None
        panels[m, 0].set_ylabel(modality, fontsize=10)
        panels[m, 0].xaxis.set_major_locator(MaxNLocator(4))
    figure.supxlabel("intensity, in standard deviations of the brain", fontsize=10)
    return _finish(figure)


def _density(quantiles: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Mean density of cases from their percentiles (cases, 101): between two percentiles lies a hundredth."""
    whole = quantiles[np.isfinite(quantiles).all(1)]
    if not len(whole):
        return np.zeros(len(edges) - 1)
    levels = np.linspace(0, 1, whole.shape[1])
    # a step of the distribution function (a class in one colour) must not be lost: values are made distinct
    shares = [np.diff(np.interp(edges, row + np.arange(len(row)) * 1e-7, levels, 0, 1)) for row in whole]
    return np.mean(shares, 0) / np.diff(edges)


def _contrasts(synthetic, real) -> bytes:
    figure = canvas(13, 3.6, top=0.55, bottom=0.65, wspace=0.06)
    sides = [side("intensity", "contrast") for side in (real, synthetic)]
    names = ["\n-\n".join(pair) for pair in intensity.CONTRASTS]
    for m, ax in enumerate(figure.subplots(1, len(MODALITIES), sharey=True)):
        _strips(ax, [side[:, m] for side in sides], names)
        ax.axhline(0, color="0.6", linewidth=0.8, zorder=0)
        ax.set_title(MODALITIES[m], fontsize=10)
        if m == 0:
            ax.set_ylabel("difference, brain sd")
    return _finish(figure)


def _borders(synthetic, real) -> bytes:
    figure = canvas(11, 3.4, top=0.55, bottom=0.55)
    sides = [side("intensity", "profile") for side in (real, synthetic)]
    place = np.arange(2 * intensity.REACH) - intensity.REACH + 0.5
    for (region, modality), ax in zip(_PROFILES, figure.subplots(1, len(_PROFILES)), strict=True):
        curves = [side[:, list(REGIONS).index(region), MODALITIES.index(modality)] for side in sides]
        _bands(ax, place, curves)
        ax.axvline(0, color="0.5", linewidth=0.8, linestyle=":")
        ax.set_title(f"border of {region} in {modality}", fontsize=10)
        ax.set_xlabel("mm: inside < 0 < outside")
    figure.axes[0].set_ylabel("intensity, brain sd")
    return _finish(figure)


def _spectra(synthetic, real) -> bytes:
    figure = canvas(13, 5.6, top=0.55, bottom=0.55, wspace=0.06, hspace=0.08)
    sides, x = [side("spectrum", "power")[..., 1:] for side in (real, synthetic)], spectrum.FREQUENCIES[1:]
    rows = figure.subplots(2, len(MODALITIES), sharex=True, sharey="row")
    for m, (whole, apart) in enumerate(rows.T):
        curves = [side[:, m] for side in sides]
        _bands(whole, x, curves)
        _bands(apart, x, [curve - np.median(curves[0], 0) for curve in curves])
        whole.set_title(MODALITIES[m], fontsize=10)
        apart.set_xlabel("cycles per mm")
    rows[0, 0].set_xscale("log")  # of all panels: they share it
    rows[0, 0].set_xticks((0.02, 0.05, 0.1, 0.2, 0.5), ("0.02", "0.05", "0.1", "0.2", "0.5"))
    rows[0, 0].minorticks_off()
    rows[0, 0].set_ylabel("power, dB")
    rows[1, 0].set_ylabel("less the real median, dB")
    return _finish(figure)


def _texture(synthetic, real) -> bytes:
    sides = [texture_scale(side("texture", "features")) for side in (synthetic, real)]
    figure = canvas(13, 3.6, left=1.15, right=1, bottom=0.3, wspace=0.06)
    panels = figure.subplots(1, len(MODALITIES), sharey=True)
    for m, ax in enumerate(panels):
        ours, theirs = (side[:, m].reshape(len(side), -1) for side in sides)
        shift = [_shift(a, b) for a, b in zip(ours.T, theirs.T, strict=True)]
        grid = np.reshape(shift, (len(texture.CLASSES), -1)).T
        drawn = ax.imshow(np.ma.masked_invalid(grid), cmap="PuOr_r", vmin=-3, vmax=3, aspect="auto")
        for (row, column), value in np.ndenumerate(grid):
            if np.isfinite(value):
                colour = "white" if abs(value) > 2 else "black"
                ax.text(column, row, f"{value:+.1f}", ha="center", va="center", fontsize=7, color=colour)
        ax.set_xticks(range(len(texture.CLASSES)), texture.CLASSES)
        ax.set_title(MODALITIES[m], fontsize=10)
    panels[0].set_yticks(range(len(texture.FEATURES)), texture.FEATURES)
    place = panels[-1].get_position()
    beside = figure.add_axes((place.x1 + 0.012, place.y0, 0.012, place.height))
    figure.colorbar(drawn, cax=beside, label="sd between patients")
    return png(figure)


def _shift(ours: np.ndarray, theirs: np.ndarray) -> float:
    a, b = ours[np.isfinite(ours)], theirs[np.isfinite(theirs)]
    if not len(a) or len(b) < 2:
        return np.nan
    return float((np.median(a) - np.median(b)) / max(b.std(), 1e-9))


def _anatomy(synthetic, real) -> bytes:
    figure = canvas(13, 3.8, wspace=0.32)
    share, volume, above, aside = figure.subplots(1, 4, width_ratios=(1, 1.5, 1, 1))
    both = real, synthetic
    _strips(share, [side("anatomy", "tissue_share") for side in both], anatomy.TISSUES)
    share.set_ylabel("share of healthy brain")
    _strips(volume, [np.maximum(side("anatomy", "volume_ml")[:, 1:], 0.05) for side in both], anatomy.VOLUMES[1:])
    volume.set_yscale("log")
    volume.set_ylabel("ml")
    for ax, axes, names in ((above, (0, 1), ("right", "front")), (aside, (1, 2), ("front", "up"))):
        for side, colour, marker in zip(both, (REAL, SYNTHETIC), "ox", strict=True):
            points = _some(side("anatomy", "centroid_mm"))
            ax.scatter(*points[:, axes].T, 20, colour, marker=marker, alpha=0.75, linewidths=1.2)
        ax.set_aspect("equal")
        ax.set_xlabel(f"mm, {names[0]} +")
        ax.set_ylabel(f"mm, {names[1]} +")
        ax.grid(alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
    return _finish(figure)


def _strips(ax, sides: Sequence[np.ndarray], names: Sequence[str]) -> None:
    """Marks of the cases (cases, columns) of both sides above each name, with a bar at their median."""
    for side, colour, marker, aside in zip(sides, (REAL, SYNTHETIC), "ox", (-0.18, 0.18), strict=True):
        columns = {k: side[:, k][np.isfinite(side[:, k])] for k in range(len(names))}
        columns = {k: column for k, column in columns.items() if len(column)}
        if not columns:
            continue
        dots = {k: _some(column) for k, column in columns.items()}
        x = [k + aside + 0.1 * np.linspace(-1, 1, len(some)) * (len(some) > 1) for k, some in dots.items()]
        ax.scatter(
            np.concatenate(x), np.concatenate([*dots.values()]), 14, colour, marker=marker, alpha=0.6, linewidths=1
        )
        middle = np.array([*columns]) + aside
        medians = [np.median(column) for column in columns.values()]
        ax.hlines(medians, middle - 0.15, middle + 0.15, color=colour, linewidth=2)
    ax.set_xticks(range(len(names)), names, fontsize=9)
    ax.grid(axis="y", alpha=0.25)
    ax.spines[["top", "right"]].set_visible(False)


def _some(values: np.ndarray) -> np.ndarray:
    return values[:: -(-len(values) // _DOTS)] if len(values) else values


def _bands(ax, x: np.ndarray, sides: Sequence[np.ndarray]) -> None:
    """Median and the range of 90 % of (cases, points) curves."""
    for side, colour, alpha, style in zip(sides, (REAL, SYNTHETIC), (0.25, 0.18), ("-", "--"), strict=True):
        shown = np.isfinite(side).any(0)
        if not shown.any():
            continue
        low, middle, high = np.nanpercentile(side[:, shown], (5, 50, 95), axis=0)
        ax.fill_between(x[shown], low, high, color=colour, alpha=alpha, linewidth=0)
        ax.plot(x[shown], middle, style, color=colour, linewidth=1.8)
    ax.grid(alpha=0.25)
    ax.spines[["top", "right"]].set_visible(False)


def _finish(figure: Canvas) -> bytes:
    """The picture with a legend of both sides above it."""
    handles = [
        Line2D([], [], color=REAL, marker="o", linewidth=2, label="real"),
        Line2D([], [], color=SYNTHETIC, marker="x", linewidth=2, label="synthetic"),
    ]
    figure.legend(handles=handles, loc="upper right", ncols=2, frameon=False, fontsize=9, borderaxespad=0)
    return png(figure)
