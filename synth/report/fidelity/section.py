"""The section "fidelity": do synthetic scans look like real ones, modality by modality and class by class?"""

from collections.abc import Sequence

import numpy as np

from synth.brats import CLASSES, MODALITIES
from synth.quality import intensity
from synth.report.core.aspects import UNIT, Side, aspect_check, pooled_distance
from synth.report.core.judge import (
    LEAST,
    Check,
    Figure,
    Section,
    Verdict,
    compare,
    distance_check,
    no_cases,
    small_note,
)
from synth.report.core.material import Material
from synth.report.core.pictures import gallery
from synth.report.core.sets import Sets
from synth.report.fidelity import classifier, features, plots
from synth.report.fidelity.aspects import aspects
from synth.report.fidelity.tables import tables

QUESTION = "Do the scans look like real ones, modality by modality and tissue by tissue?"
INTENSITY_TOLERANCE = 0.1  # brain sd: a sixth of what sets grey and white matter apart in t1
_MIDDLES = np.arange(2, 100, 5)  # percentiles that stand for a distribution: the middles of 20 equal parts

NOTES = (
    "Tissue is found in every scan, real and synthetic, by one rule; intensities are z-scored in the brain, so that "
    "scanners' units do not matter and a difference in overall brightness or contrast of a whole scan cannot show.",
    f"Distances are Wasserstein's (the mean shift that turns one distribution into the other): of intensities in "
    f"units of the brain's standard deviation, of everything else in {UNIT}, averaged over the numbers that a check "
    "holds, or of a single one of them that is far off in most samples; the tables give each number.",
)


def section(material: Material) -> Section:
    """The section; pictures of cases of both sets come first."""
    sets = material.sets
    if not sets.synthetic:
        return no_cases("fidelity", "Fidelity", QUESTION)
    checks, figures = features.checks(sets)
    checks += classifier.checks(sets.synthetic, sets.real, sets.seed)
    return section_of(sets, checks, [*gallery(sets), *figures])


def section_of(sets: Sets, extra: Sequence[Check] = (), figures: Sequence[Figure] = ()) -> Section:
    """Judge intensities, contrasts, label borders, texture, spectrum, shells and anatomy.

    Args:
        sets: with the probes `anatomy`, `intensity`, `texture`, `spectrum`, `fine` and `shells` measured.
        extra: further checks of the section (`features.checks`, `classifier.checks`), put last.
        figures: further figures, put first where they are pictures of cases.

    Returns:
        The section; plain numbers of every feature are in its tables.
    """
    ours, theirs = Side(sets.synthetic), Side(sets.real)
    notes = [*NOTES, small_note(len(ours), len(theirs))]
    return Section(
        id="fidelity",
        title="Fidelity",
        question=QUESTION,
        checks=(*judged(ours, theirs, sets.seed), *extra),
        figures=(*figures, *plots.figures(ours, theirs)),
        tables=tables(ours, theirs),
        notes=tuple(note for note in notes if note),
    )


def judged(synthetic: Side, real: Side, seed: int = 0) -> list[Check]:
    """The checks alone, without pictures and tables."""
    return [
        *_intensities(synthetic, real, seed),
        *(aspect_check(aspect, synthetic, real, seed) for aspect in aspects()),
    ]


def _intensities(synthetic: Side, real: Side, seed: int) -> list[Check]:
    """A check for the distribution of each modality in each class; cases without the class are left out."""
    ours, theirs = (side("intensity", "quantiles")[..., _MIDDLES] for side in (synthetic, real))
    has = [np.isfinite(side).all((1, 3)) for side in (ours, theirs)]  # (cases, classes)
    checks = []
    for m, modality in enumerate(MODALITIES):
        for k, name in enumerate(CLASSES):
            about = f"fidelity.intensity.{modality}.{name}", "Intensities", f"{modality} in {name}: distribution"
            if _lost(has[0][:, k], has[1][:, k]):
                checks.append(Check(*about, None, "", Verdict.FAIL, _lost_reason(name, has[0][:, k], has[1][:, k])))
                continue
            a, b = (side[there[:, k], m, k] for side, there in zip((ours, theirs), has, strict=True))
            comparison = compare(a, b, pooled_distance, seed)
            checks.append(distance_check(*about, "brain sd", comparison, INTENSITY_TOLERANCE))
    return checks


def _lost(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """Whether a class that most real cases have is in fewer synthetic ones than can be compared."""
    return len(ours) >= LEAST and len(theirs) >= 2 * LEAST and theirs.mean() > 0.5 and ours.sum() < LEAST


def _lost_reason(name: str, ours: np.ndarray, theirs: np.ndarray) -> str:
    return (
        f"{ours.sum()} of {len(ours)} synthetic cases have {name} ({intensity.LEAST} voxels or more), "
        f"{theirs.sum()} of {len(theirs)} real ones do."
    )
