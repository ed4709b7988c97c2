"""Charts by matplotlib, with margins told in inches, and drawn once.

`Figure.savefig` draws twice, and a constrained layout measures every label of every panel besides: together they cost
three times the picture.
"""

from io import BytesIO

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

DPI = 110


def canvas(
    width: float,
    height: float,
    *,
    left: float = 0.65,
    right: float = 0.12,
    top: float = 0.3,
    bottom: float = 0.5,
    wspace: float = 0.2,
    hspace: float = 0.2,
) -> Figure:
    """An empty white figure.

    Args:
        width: inches, as is `height`.
        height: of the whole.
        left: margin for labels, in inches, as are the three others.
        right: margin.
        top: margin; a title takes 0.25, a legend as much.
        bottom: margin; tick labels take 0.25, a label below them as much.
        wspace: between panels, as a share of a panel's mean width.
        hspace: likewise of its height.
    """
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    figure.subplots_adjust(
        left / width, bottom / height, 1 - right / width, 1 - top / height, wspace=wspace, hspace=hspace
    )
    return figure


def png(figure: Figure) -> bytes:
    """The figure as a PNG in its own colours."""
    drawn, stream = FigureCanvasAgg(figure), BytesIO()
    drawn.draw()
    Image.fromarray(np.ascontiguousarray(np.asarray(drawn.buffer_rgba())[..., :3])).save(stream, format="PNG")
    return stream.getvalue()
