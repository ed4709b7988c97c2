"""Pictures of the section "diversity": how unlike pairs are, and where tumours lie."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from synth.report.core.charts import canvas, png
from synth.report.core.judge import Figure

_REAL, _OURS = "#5f6b73", "#d98c00"  # told apart by the colour-blind too; markers differ as well
_SHOWN = 400  # pairs drawn as points
_PLANES = (("axial", 0, 1), ("sagittal", 1, 2), ("coronal", 0, 2))
_AXES = ("right", "front", "up")


def pair_figure(shown: Sequence[tuple[str, np.ndarray, np.ndarray]]) -> Figure:
    """Values of pairs, a panel for each measure.

    Args:
        shown: title, values (p,) of pairs of samples, values (q,) of pairs of real cases.
    """
    caption = "Each point is a pair of cases, the bar their mean. Points at 0 are copies; a lower bar is less variety."
    return Figure("diversity-pairs", "How unlike two cases of a set are", caption, partial(_pairs, shown))


def _pairs(shown: Sequence[tuple[str, np.ndarray, np.ndarray]]) -> bytes:
    figure = canvas(4.2 * len(shown), 3.4, left=0.5, bottom=0.3)
    rng = np.random.default_rng(0)
    for number, (title, ours, theirs) in enumerate(shown):
        plot = figure.add_subplot(1, len(shown), number + 1)
        for place, (values, colour, marker) in enumerate(((theirs, _REAL, "o"), (ours, _OURS, "^"))):
            drawn = values if len(values) <= _SHOWN else rng.choice(values, _SHOWN, replace=False)
            across = place + rng.uniform(-0.22, 0.22, len(drawn))
            plot.scatter(across, drawn, s=12, c=colour, marker=marker, alpha=0.5, linewidths=0)
            plot.hlines(values.mean(), place - 0.3, place + 0.3, colors="black", linewidths=1.5)
        plot.set_xticks((0, 1), ("real", "synthetic"))
        plot.set_xlim(-0.6, 1.6)
        plot.set_ylim(bottom=0)
        plot.set_title(title, fontsize=9)
    return png(figure)


def coverage_figure(real: tuple[np.ndarray, np.ndarray], ours: tuple[np.ndarray, np.ndarray]) -> Figure:
    """Where tumours lie, in three planes, larger ones as larger marks.

    Args:
        real: (m, 3) mm MNI and (m,) ml of the whole tumour; NaN where there is none.
        ours: the same of the samples.
    """
    caption = "Centroids of whole tumours, larger marks for larger ones. Regions with real cases alone are not covered."
    return Figure("diversity-places", "Where the tumours lie", caption, partial(_places, real, ours))


def _places(real: tuple[np.ndarray, np.ndarray], ours: tuple[np.ndarray, np.ndarray]) -> bytes:
    figure = canvas(9.6, 3.4, left=0.85, top=0.55, wspace=0.32)
    for number, (plane, across, up) in enumerate(_PLANES):
        plot = figure.add_subplot(1, len(_PLANES), number + 1)
        for name, (place, volume), colour, marker in (("synthetic", ours, _OURS, "^"), ("real", real, _REAL, "o")):
            kept = np.isfinite(place).all(1)
            size = 6 + np.sqrt(volume[kept].clip(0)) * 5
            x, y = place[kept, across], place[kept, up]
            plot.scatter(x, y, s=size, c=colour, marker=marker, alpha=0.6, linewidths=0, label=name)
        plot.set_xlabel(f"{_AXES[across]} (mm MNI)")
        plot.set_ylabel(f"{_AXES[up]} (mm MNI)")
        plot.set_aspect("equal", "datalim")
        plot.set_title(plane, fontsize=9)
        if number == 0:
            figure.legend(loc="upper center", ncols=2, frameon=False, fontsize=8, borderaxespad=0)
    return png(figure)
