"""The label map of a case: from the values on disk to class indices, inside the brain.

*ET = 3 or 4.* The names of the files decide (4 up to 2021, 3 from 2023) unless the user states a table, and a value
that the table does not have is refused, never translated: 3 was also the non-enhancing core up to 2016, and 4 is the
resection cavity in the post-treatment data of 2024, so the values alone do not tell what they mean.
"""

from pathlib import Path

import numpy as np

from synth.brats import LABEL_TABLES, NAMINGS, LabelTable, Naming, Tumour
from synth.datasets.cohorts import refused_by_id
from synth.datasets.findings import STRAY_FRACTION, STRAY_VOXELS, Findings, listing
from synth.datasets.reading import AUTO, PLAIN, Reading
from synth.datasets.volume import Volume
from synth.errors import DataError

ROUNDED = 1e-3  # a label this near to a whole number is meant to be one: a header's slope cannot always hit it


def told_classes(case_id: str, path: Path, volume: Volume, naming: Naming, reading: Reading = PLAIN) -> np.ndarray:
    """The label map of a file that has been read, as class indices (X, Y, Z) uint8.

    Raises:
        DataError: `label_classes` finds something wrong; its first sentence.
    """
    notes = Findings(case_id)
    classes = label_classes(path, volume.array, naming, notes, reading, volume.scaled)
    if classes is None:
        raise DataError(str(notes.errors[0]))
    return classes


def label_classes(
    path: Path,
    values: np.ndarray,
    naming: Naming,
    notes: Findings,
    reading: Reading = PLAIN,
    scaled: tuple[float, float] | None = None,
) -> np.ndarray | None:
    """The label map as class indices (`brats.Tumour`).

    Args:
        path: the file, for the notes.
        values: (X, Y, Z) label values as on disk, of any real type.
        naming: the convention that the file's name belongs to.
        notes: gets what is wrong; its `case` is the id, which may tell that the case is no glioma.
        reading: what the user states; its `labels` takes the place of the naming's table.
        scaled: slope and intercept by which the header scales the stored numbers, for the notes; None: it does not.

    Returns:
        (X, Y, Z) uint8, or None if the id forbids it or a value is no whole number or has no meaning in the table.
    """
    if refusal := refused_by_id(notes.case, reading):
        notes.error(path, refusal)
        return None
    if values.dtype.kind == "f" and (values := _whole(path, values, notes, scaled)) is None:
        return None
    if values.min() < 0 or values.max() > 255:
        present, counts = np.unique(values[values != 0], return_counts=True)
        counts = dict(zip(present.tolist(), counts.tolist(), strict=True))
    else:
        values = values.astype(np.uint8, copy=False)
        flat = values.ravel(order="K")  # as it lies in memory
        tumour = flat[flat != 0]  # most of a map is 0: counting the rest takes a tenth of the time
        found = [values.size - tumour.size, *np.bincount(tumour, minlength=1).tolist()[1:]]
        counts = {value: n for value, n in enumerate(found) if n}
    table = LABEL_TABLES[naming.name if reading.labels == AUTO else reading.labels]
    if set(counts) - set(table.meaning):
        notes.error(path, _unknown_labels(counts, naming, table, reading) + _by_slope(scaled))
        return None
    return table.from_disk(values)


def _whole(path: Path, values: np.ndarray, notes: Findings, scaled: tuple[float, float] | None) -> np.ndarray | None:
    """Labels of a floating type, each rounded to the whole number that it all but is; None where one is none."""
    if broken := values.size - np.count_nonzero(np.isfinite(values)):
        notes.error(path, f"{broken} labels are NaN or Inf; export the segmentation again as integers.")
        return None
    whole = np.rint(values)
    if not (fractions := np.count_nonzero(off := values != whole)):
        return values
    far = np.abs(values - whole) > ROUNDED
    if not far.any():
        notes.warning(
            path,
            f"{fractions} labels are not quite whole numbers (such as {values[off][0]:.7g}); they are rounded."
            + _by_slope(scaled),
        )
        return whole
    example = f"{np.count_nonzero(far)} labels are not whole numbers (such as {values[far][0]:.6g})"
    if scaled:
        notes.error(
            path,
            f"{example} because the header scales them by slope {scaled[0]:.9g} and intercept {scaled[1]:.9g}; "
            "expected labels as they are: set the slope to 1 if the stored numbers are the labels, or export the "
            "segmentation again as integers.",
        )
    else:
        notes.error(
            path, f"{example}, as after interpolation or in a probability map; resample labels with nearest neighbour."
        )
    return None


def _by_slope(scaled: tuple[float, float] | None) -> str:
    """A sentence more, where the header scales the labels."""
    return "" if scaled is None else f" The header scales them by slope {scaled[0]:.9g} and intercept {scaled[1]:.9g}."


def _unknown_labels(counts: dict[float, int], naming: Naming, table: LabelTable, reading: Reading) -> str:
    """What the label values that a table does not have most likely are, and what to do about it."""
    unknown = {int(value): n for value, n in counts.items() if value not in table.meaning}
    legal = ", ".join(map(str, table.meaning))
    listed = listing([f"{value} ({n} voxels)" for value, n in unknown.items()])
    if reading.labels != AUTO:
        return (
            f"expected labels {legal} ({table}, as --labels {table.name} states), found {listed}; state another table, "
            "or remap the labels."
        )
    sentence = f"expected labels {legal} (BraTS {naming.years}, by the file's name), found {listed}"
    enhancing = naming.label_values[Tumour.ET]
    other = NAMINGS["brats2023" if naming.name == "brats2020" else "brats2020"]
    if set(unknown) != {other.label_values[Tumour.ET]}:
        return f"{sentence}; remap the labels to 1 NCR, 2 ED, {enhancing} ET."
    (value,) = unknown
    elsewhere = {
        3: "the non-enhancing core in data up to 2016",
        4: "the resection cavity in post-treatment data of 2024",
    }
    if enhancing in counts:
        advice = {3: "read them with --labels brats2015", 4: "such cases are not supported, leave them out"}
        return f"{sentence} beside {enhancing} for ET: probably {elsewhere[value]}; {advice[value]}."
    return (
        f"{sentence}, which is ET in BraTS {other.years} but {elsewhere[value]}; state what the labels mean, such as "
        f"--labels {other.name} ({LABEL_TABLES[other.name]})"
        + {3: f", brats2015 ({LABEL_TABLES['brats2015']}) or msd ({LABEL_TABLES['msd']}).", 4: "."}[value]
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
