"""Pictures of the section "paired": difference maps of a pair, and similarity beside its yardsticks."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from synth.brats import MODALITIES
from synth.quality.paired import PLANES, REGIONS
from synth.report.core.charts import canvas, png

_DPI = 100
_SPAN = 0.5  # of the real scan's scale: where the colours of the difference end
_ROW = 1.7  # inches
_OUTLINE = "#ffd60a"
_COLOURS = ("#0b6e99", "#d98c00", "#8a8a8a")  # told apart by the colour-blind too; markers differ as well


def difference_figure(pair: Mapping[str, np.ndarray]) -> bytes:
    """Three planes of the four modalities: real, synthetic, signed difference, with the tumour's outline; PNG.

    Args:
        pair: from `quality.paired.measure_pair`.
    """
    planes = [(pair[name], pair[f"{name}_labels"] > 0, _aspect(pair["mm"], axis)) for axis, name in enumerate(PLANES)]
    widths = [np.repeat(image.shape[3] * mm[1], 3) for image, _, mm in planes]
    tallest = max(image.shape[2] * mm[0] for image, _, mm in planes)
    across = np.concatenate(widths)
    figure = Figure(figsize=(_ROW * across.sum() / tallest, len(MODALITIES) * _ROW + 0.75), dpi=_DPI, facecolor="black")
    grid = figure.add_gridspec(
        len(MODALITIES),
        len(across),
        width_ratios=across,
        left=0.03,
        right=1,
        top=0.955,
        bottom=0.085,
        wspace=0,
        hspace=0,
    )
    for m, modality in enumerate(MODALITIES):
        for p, (image, tumour, mm) in enumerate(planes):
            axes = [figure.add_subplot(grid[m, 3 * p + k]) for k in range(3)]
            outside = ~image.any((0, 1))
            drawn = _panels(axes, image[m], outside, tumour, mm[0] / mm[1])
            if m == 0:
                for k, text in enumerate((f"{PLANES[p]}, real", "synthetic", "difference")):
                    _name(figure, grid[0, 3 * p + k], text)
        _name(figure, grid[m, 0], modality, upright=True)
    bar = figure.add_axes((0.36, 0.05, 0.28, 0.016))
    figure.colorbar(drawn, cax=bar, orientation="horizontal", ticks=(-_SPAN, 0, _SPAN))
    bar.tick_params(colors="white", labelsize=8, length=2, pad=1)
    text = "synthetic minus real, in units of the real scan's 0.5 to 99.5 percentile"
    bar.set_title(text, color="white", fontsize=8, pad=2)
    return png(figure)


def strip_figure(pairs: np.ndarray, painter: np.ndarray, strangers: np.ndarray) -> bytes:
    """SSIM of reconstructions beside that of flat painting and of different patients, a panel per region; PNG.

    Args:
        pairs: (n, 4, 3) modality x region; NaN is left out.
        painter: (n, 4, 3).
        strangers: (k, 4, 3).
    """
    figure = canvas(11, 3.6, bottom=0.6, wspace=0.06)
    panels = figure.subplots(1, len(REGIONS), sharey=True)
    series = (("reconstruction", pairs, "o"), ("flat painting", painter, "D"), ("different patients", strangers, "x"))
    for r, (ax, region) in enumerate(zip(panels, REGIONS, strict=True)):
        for k, (name, values, marker) in enumerate(series):
            for m in range(len(MODALITIES)):
                column = values[:, m, r]
                column = column[~np.isnan(column)]
                x = m + (k - 1) * 0.24 + np.linspace(-0.06, 0.06, len(column))
                label = name if m == 0 else None
                ax.scatter(x, column, 22, _COLOURS[k], marker=marker, linewidths=1, alpha=0.8, label=label)
        ax.set_xticks(range(len(MODALITIES)), MODALITIES)
        ax.set_title({"healthy": "healthy tissue"}.get(region, region), fontsize=10)
        ax.grid(axis="y", alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("SSIM with the real scan")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=len(series), frameon=False, fontsize=9)
    return png(figure)


def _panels(axes: list, image: np.ndarray, outside: np.ndarray, tumour: np.ndarray, aspect: float):
    """Real, synthetic and their difference in three axes; gives what the colour bar is of."""
    real, synthetic = image.astype(np.float32) / 255
    difference = np.ma.masked_where(outside, synthetic - real)
    for ax in axes:
        ax.set_axis_off()
        ax.set_facecolor("black")
    for ax, grey in zip(axes[:2], (real, synthetic), strict=True):
        ax.imshow(grey, cmap="gray", vmin=0, vmax=1, aspect=aspect)
    drawn = axes[2].imshow(difference, cmap="RdBu_r", vmin=-_SPAN, vmax=_SPAN, aspect=aspect)
    if tumour.any() and not tumour.all():
        for ax in axes:
            colour = "black" if ax is axes[2] else _OUTLINE
            ax.contour(tumour, levels=(0.5,), colors=colour, linewidths=0.6)
    return drawn


def _name(figure: Figure, place, text: str, upright: bool = False) -> None:
    """Of a column, at the upper edge, or of a row, at the left."""
    box = place.get_position(figure)
    x, y = (0.012, (box.y0 + box.y1) / 2) if upright else ((box.x0 + box.x1) / 2, 0.975)
    rotation = 90 if upright else 0
    figure.text(x, y, text, color="white", fontsize=9, rotation=rotation, ha="center", va="center")


def _aspect(mm: np.ndarray, axis: int) -> tuple[float, float]:
    """Height and width of a pixel in mm, of the plane across an upright axis."""
    across, down = (a for a in range(3) if a != axis)
    return float(mm[down]), float(mm[across])
