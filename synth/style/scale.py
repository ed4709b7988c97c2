"""The scale of intensities: what of a scan is black and white, and the whole numbers that painted scans are written in.

Everything here is painted and compared in normalised units, 0 and 1 for the 0.5 and 99.5 percentiles in the brain. A
painted scan is written as int16 through a window, the two intensities that 0 and 1 stand for. That is the window of
the scan whose style it has, where it leaves room: scans that come as floats from 0 to 1, with few grey levels or
beyond int16 have none, and are painted on twelve bits, what scanners store.
"""

from typing import TYPE_CHECKING

import numpy as np

from synth.brats import MODALITIES
from synth.case import Case
from synth.errors import SynthError

if TYPE_CHECKING:
    from synth.style.style import Style

Window = tuple[tuple[float, ...], ...]
"""4 pairs of intensities, modalities in the order of `brats.MODALITIES`: what 0 and 1 stand for."""

WINDOW_PERCENTILES = (0.5, 99.5)
LEAST_LEVELS = 500  # grey levels that a painted modality has at least
LEAST_WIDTH = 700  # of a window written on as it is: what is painted has 0.8 to 1.7 levels for each of its intensities
LEAST_PAIRED = 100  # of a reconstruction's: even the finest noise of the 28 real scans then has two levels
WIDTH = 4000  # of the window written on instead: twelve bits; those of the 24 training cases are 126 to 7298 wide
REACH = 4.0  # normalised units: what is painted stays below (1.7 on training cases; trainers cut scans at 4)
INT16_MAX = 32767
_DIGITS = 6


def own_window(values: np.ndarray) -> tuple:
    """The 0.5 and 99.5 percentiles of the values inside a brain; the smallest and largest where these are equal.

    The second is always above the first, of a constant too.
    """
    low, high = np.percentile(values, WINDOW_PERCENTILES)
    if not high > low:
        low, high = values.min(), values.max()
    return low, (high if high > low else low + (abs(low) or 1))


def output_window(style: "Style") -> Window:
    """The window that scans painted in a style are written on, modality by modality.

    The style's own where it is at least `LEAST_WIDTH` intensities wide and `REACH` times its width fits into int16:
    then at least `LEAST_LEVELS` grey levels are kept and nothing bright is cut. Else the style's own, stretched to a
    width of `WIDTH`: zero stays zero, so that nothing darker is cut than on the style's own. Only a window that is much
    narrower than its distance from 0 is moved towards 0, to fit.
    """
    return tuple(written_window(low, high) for low, high in style.window)


def paired_window(style: "Style") -> Window:
    """The window that a reconstruction is written on: its scan's own from `LEAST_PAIRED` intensities on.

    The two are compared voxel by voxel, by whatever tool, so one scale is worth more than grey levels.
    """
    return tuple(written_window(low, high, LEAST_PAIRED) for low, high in style.window)


def written_window(low: float, high: float, least: float = LEAST_WIDTH) -> tuple[float, float]:
    """The window of `output_window` for one modality whose own goes from `low` to `high`, kept if `least` wide."""
    width = high - low
    if width >= least and low + REACH * width <= INT16_MAX:
        return low, high
    start = round(min(low / width * WIDTH, INT16_MAX - REACH * WIDTH), _DIGITS)
    return start, start + WIDTH


def recorded_window(record: object) -> Window:
    """The window of a manifest's record.

    Raises:
        SynthError: it is none.
    """
    try:
        window = np.asarray(record, float)
    except (TypeError, ValueError):
        window = np.empty(0)
    if window.shape != (len(MODALITIES), 2) or not np.isfinite(window).all() or (window[:, 0] >= window[:, 1]).any():
        raise SynthError(
            f"output window: expected {len(MODALITIES)} pairs of numbers, the lower first, found {record!r}."
        )
    return tuple((float(low), float(high)) for low, high in window)


def moved(case: Case, before: Window, after: Window) -> Case:
    """The case with intensities of one window brought to another; itself where the two are the same.

    Returns:
        Images float32, not rounded, 0 where they were 0.
    """
    if before == after:
        return case
    images = np.zeros(case.images.shape, np.float32, order="F")
    for m, (old, new) in enumerate(zip(before, after, strict=True)):
        images[..., m] = moved_image(case.images[..., m], old, new)
    return Case(case.id, images, case.labels, case.affine, case.meta)


def moved_image(image: np.ndarray, before: tuple[float, float], after: tuple[float, float]) -> np.ndarray:
    """One modality of `moved`: float32, same shape; the image itself where the windows are the same."""
    if tuple(before) == tuple(after):
        return image
    share = (image.astype(np.float32) - np.float32(before[0])) / np.float32(before[1] - before[0])
    return np.where(image != 0, share * np.float32(after[1] - after[0]) + np.float32(after[0]), np.float32(0))
