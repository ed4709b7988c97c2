"""The range of one modality: whether its intensities are a scanner's, and what is written where they are not."""

import numpy as np

from synth.style.scale import INT16_MAX, own_window, written_window

LEAST_SEEN = 100  # grey levels between the 0.5 and 99.5 percentiles; the 28 real cases have 127 and more
EIGHT_BITS = 255  # the highest of the 28 real cases' modalities are 279 and more
_MANY = 1_000_000  # voxels of an array, from which on every second one along each axis is looked at


def range_note(array: np.ndarray, brain: np.ndarray | None = None) -> str | None:
    """What is unusual about the range of one modality, and the scale that is written instead; None where nothing is.

    Unusual are fractions on a scale too narrow for whole numbers (0 to 1, as after a normalisation), eight bits or
    fewer, less than 100 grey levels, and intensities beyond int16. Nothing of it is wrong: it is a note, no refusal.
    Whole numbers on a narrow scale are common (15 of the 28 real cases have such a modality) and get none.

    Args:
        array: one modality, any numeric type and shape; 0 and less is background.
        brain: same shape, bool; None: where the array is above 0.

    Returns:
        A sentence without the file's name.
    """
    step = (slice(None, None, 2 if array.size >= _MANY else 1),) * array.ndim
    seen = array[step]
    sample = seen[seen > 0 if brain is None else brain[step] & (seen > 0)]
    if not sample.size:
        return None
    fractional = sample.dtype.kind == "f" and not np.array_equal(sample, np.rint(sample))
    highest = array.max()
    if brain is not None and not (brain & (array == highest)).any():  # rarely, and slow
        highest = array[brain].max()
    low, high = own_window(sample)
    levels = _levels(sample[(sample >= low) & (sample <= high)], fractional)
    kept = written_window(float(low), float(high)) == (float(low), float(high))
    found = _found(highest, levels, fractional, kept)
    if found is None:
        return None
    written = "its own scale" if kept else "a scale of about {:.0f} to {:.0f}".format(*written_window(low, high))
    return (
        f"expected a scanner's whole numbers, found {found} ({low:.6g} to {high:.6g} between the 0.5 and 99.5 "
        f"percentiles of the brain, the highest {highest:.6g}); it is read as it is, and what is painted in its style "
        f"is written on {written}."
    )


def _found(highest: float, levels: int, fractional: bool, kept: bool) -> str | None:
    if highest > INT16_MAX:
        return "intensities beyond int16"
    if fractional and not kept:
        return "fractions on a narrow scale"
    if not fractional and highest <= EIGHT_BITS:
        return f"eight bits or fewer, {levels} grey levels"
    return f"only {levels} grey levels" if levels < LEAST_SEEN else None


def _levels(values: np.ndarray, fractional: bool) -> int:
    """Different values; of whole numbers by counting, which is faster than sorting."""
    if fractional or values.max() > 1 << 20:
        return len(np.unique(values))
    return int(np.count_nonzero(np.bincount(values.astype(np.intp))))
