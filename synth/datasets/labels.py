"""The label map of a case: from the values on disk to class indices, inside the brain.

*ET = 3 or 4.* The names of the files decide (4 up to 2021, 3 from 2023), and a value of the other convention is
refused, never translated: 3 was also the non-enhancing core up to 2015, and 4 is the resection cavity in the
post-treatment data of 2024, so the values alone do not tell what they mean.
"""

from pathlib import Path

import numpy as np

from synth.brats import NAMINGS, Naming, Tumour
from synth.datasets.findings import STRAY_FRACTION, STRAY_VOXELS, Findings, listing


def label_classes(path: Path, values: np.ndarray, naming: Naming, notes: Findings) -> np.ndarray | None:
    """The label map as class indices (`brats.Tumour`).

    Args:
        path: the file, for the notes.
        values: (X, Y, Z) label values as on disk, of any real type.
        naming: the convention that the file's name belongs to.
        notes: gets what is wrong.

    Returns:
        (X, Y, Z) uint8, or None if a value is no whole number or has no meaning in the convention.
    """
    if values.dtype.kind == "f":
        if broken := values.size - np.count_nonzero(np.isfinite(values)):
            notes.error(path, f"{broken} labels are NaN or Inf; export the segmentation again as integers.")
            return None
        fractions = np.count_nonzero(values != np.rint(values))
        if fractions:
            example = values[values != np.rint(values)][0]
            notes.error(
                path,
                f"{fractions} labels are not whole numbers (such as {example:.6g}), as after interpolation or in a "
                "probability map; resample labels with nearest neighbour.",
            )
            return None
    if values.min() < 0 or values.max() > 255:
        present, counts = np.unique(values[values != 0], return_counts=True)
        counts = dict(zip(present.tolist(), counts.tolist(), strict=True))
    else:
        values = values.astype(np.uint8, copy=False)
        counts = {value: n for value, n in enumerate(np.bincount(values.ravel(order="K")).tolist()) if n}
    if set(counts) - set(naming.label_values):
        notes.error(path, _label_sentence(counts, naming))
        return None
    return naming.from_disk(values)


def _label_sentence(counts: dict[float, int], naming: Naming) -> str:
    """What the label values that a convention does not have most likely are, and what to do about it."""
    unknown = {int(value): n for value, n in counts.items() if value not in naming.label_values}
    legal = ", ".join(map(str, naming.label_values))
    listed = listing([f"{value} ({n} voxels)" for value, n in unknown.items()])
    sentence = f"expected labels {legal} (BraTS {naming.years}, by the file's name), found {listed}"
    enhancing = naming.label_values[Tumour.ET]
    other = NAMINGS["brats2023" if naming.name == "brats2020" else "brats2020"]
    if set(unknown) != {other.label_values[Tumour.ET]}:
        return f"{sentence}; remap the labels to 1 NCR, 2 ED, {enhancing} ET."
    (value,) = unknown
    elsewhere = {
        3: "the non-enhancing core in data up to 2015",
        4: "the resection cavity in post-treatment data of 2024",
    }
    if enhancing in counts:
        advice = {3: "write 1 instead", 4: "such cases are not supported, leave them out"}
        return f"{sentence} beside {enhancing} for ET: probably {elsewhere[value]}; {advice[value]}."
    return (
        f"{sentence}, which is ET in BraTS {other.years} but {elsewhere[value]}; if it means ET here, write "
        f"{enhancing} or give the files the names of {other.years}."
    )


def keep_inside(path: Path, classes: np.ndarray, brain: np.ndarray, notes: Findings) -> None:
    """Take a few stray tumour voxels outside the brain out of `classes`, in place; many of them are an error."""
    outside = (classes > 0) & ~brain
    count, size = np.count_nonzero(outside), np.count_nonzero(classes)
    if not count:
        return
    if count > max(STRAY_VOXELS, STRAY_FRACTION * size):
        notes.error(
            path,
            f"{count} of {size} tumour voxels lie outside the brain (all modalities 0 there); expected none: the "
            "segmentation may be shifted, flipped, or another case's.",
        )
        return
    classes[outside] = Tumour.NONE
    notes.warning(path, f"{count} of {size} tumour voxels lie outside the brain (all modalities 0); they are left out.")
