"""Tables of the section "fidelity": every number behind its checks, of real and synthetic cases side by side."""

from collections.abc import Sequence

import numpy as np

from synth.brats import CLASSES, MODALITIES, REGIONS
from synth.quality import anatomy, intensity, spectrum, texture
from synth.report.core.aspects import Side
from synth.report.core.judge import Table

_COLUMNS = (
    "real median",
    "real 5 %",
    "real 95 %",
    "synthetic median",
    "synthetic 5 %",
    "synthetic 95 %",
    "real",
    "synthetic",
)
_CAPTION = "Medians and percentiles over cases; the last columns say how many cases have it."


def tables(synthetic: Side, real: Side) -> tuple[Table, ...]:
    """Anatomy, intensities, contrasts, borders, texture and spectrum as tables."""
    sides = real, synthetic
    return (
        _anatomy(sides),
        _table(
            "fidelity.intensity",
            "Mean intensity, z-scored in the brain",
            (MODALITIES, CLASSES),
            sides,
            "intensity",
            "mean",
        ),
        _table(
            "fidelity.spread", "Deviation within a class, in brain sd", (MODALITIES, CLASSES), sides, "intensity", "sd"
        ),
        _table(
            "fidelity.contrast",
            "Difference of class medians, in brain sd",
            (MODALITIES, intensity.CONTRAST_NAMES),
            sides,
            "intensity",
            "contrast",
        ),
        _table(
            "fidelity.border",
            "Step across a label's border (2 mm inside minus 2 mm outside), in brain sd",
            (REGIONS, MODALITIES),
            sides,
            "intensity",
            "step",
        ),
        _table(
            "fidelity.texture", "Texture", (MODALITIES, texture.CLASSES, texture.FEATURES), sides, "texture", "features"
        ),
        _table(
            "fidelity.axes",
            "Power along the array's axes, dB",
            (MODALITIES, "xyz", spectrum.BAND_NAMES),
            sides,
            "spectrum",
            "axes",
        ),
    )


def _table(id: str, title: str, axes: Sequence, sides, probe: str, name: str) -> Table:
    """A row for every element of the array of a case, named by its axes."""
    rows = []
    values = [side(probe, name) for side in sides]
    for index in np.ndindex(values[0].shape[1:]):
        label = " ".join(list(axis)[i] for axis, i in zip(axes, index, strict=True))
        rows.append((label, *_row(*(side_values[(slice(None), *index)] for side_values in values))))
    return Table(id, title, ("what", *_COLUMNS), tuple(rows), _CAPTION)


def _anatomy(sides) -> Table:
    parts = (
        ("volume_ml", [f"{name}, ml" for name in anatomy.VOLUMES]),
        ("tissue_share", [f"{name}, share of healthy brain" for name in anatomy.TISSUES]),
        ("composition", [f"{name}, share of WT" for name in anatomy.PARTS]),
        ("centroid_mm", ["centre x, mm MNI (right +)", "centre y, mm MNI (front +)", "centre z, mm MNI (up +)"]),
        ("shape", ["sphericity (1 = ball)", "diameter, mm", "pieces"]),
    )
    rows = []
    for name, labels in parts:
        values = [side("anatomy", name) for side in sides]
        rows += [(label, *_row(*(side_values[:, k] for side_values in values))) for k, label in enumerate(labels)]
    return Table("fidelity.anatomy", "Volumes, place and shape", ("what", *_COLUMNS), tuple(rows), _CAPTION)


def _row(real: np.ndarray, synthetic: np.ndarray) -> tuple:
    return (*_summary(real), *_summary(synthetic), _count(real), _count(synthetic))


def _summary(values: np.ndarray) -> tuple:
    """Median, 5th and 95th percentile, to three digits; None where no case has it."""
    known = values[np.isfinite(values)]
    if not known.size:
        return None, None, None
    return tuple(float(f"{v:.3g}") for v in np.percentile(known, (50, 5, 95)))


def _count(values: np.ndarray) -> int:
    return int(np.isfinite(values).sum())
