"""From measured sets to sections: every section asked in turn, cases chosen for the viewer."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from synth.quality import (
    anatomy,
    embedding,
    fine,
    intensity,
    local,
    radiomics,
    shells,
    slices,
    spectrum,
    texture,
    thumbnail,
)
from synth.quality.probes import Probe
from synth.report.core.judge import Figure, Section
from synth.report.core.material import Material
from synth.report.diversity import section as diversity
from synth.report.fidelity import section as fidelity
from synth.report.memorisation import section as memorisation
from synth.report.paired import section as paired
from synth.report.usefulness import section as usefulness
from synth.report.usefulness.section import whole_tumour_dice
from synth.report.validity import section as validity
from synth.show.viewer import ViewerCase, compact, viewer_fragment

SECTIONS: dict[str, Callable[[Material], Section]] = {  # by id, in the order of the page
    "validity": validity.section,
    "fidelity": fidelity.section,
    "paired": paired.section,
    "diversity": diversity.section,
    "memorisation": memorisation.section,
    "usefulness": usefulness.section,
}
VIEWER_MM = 1.5  # voxels of the page's viewer: a case of 3 MB; `synth view` shows the full resolution


def probes_of(segmenter: str) -> list[Probe]:
    """What a report measures on every case.

    Raises:
        ModelError: there is no such segmenter.
    """
    own = [module.PROBE for module in (anatomy, intensity, texture, spectrum, fine, local, shells, thumbnail, slices)]
    optional = [radiomics.PROBE] if radiomics.available() else []
    return [*own, *optional, *embedding.probes(segmenter)]


def sections_of(material: Material) -> tuple[list[Section], str]:
    """The sections that apply to the sets, and the viewer's part of the page."""
    sections, pictures = [], material.config.pictures
    for make in material.progress("judging")(list(SECTIONS.values())):
        section = make(material)
        if section.checks:
            sections.append(replace(section, figures=_shown(section.figures, pictures)))
    return sections, _viewer(material) if pictures == "all" else ""


def _shown(figures: Sequence[Figure], wanted: str) -> tuple[Figure, ...]:
    return tuple(figure for figure in figures if wanted == "all" or (wanted == "charts" and not figure.scans))


def _viewer(material: Material) -> str:
    """The viewer's part of the page: the synthetic cases with the highest and the lowest Dice, and real ones."""
    sets = material.sets
    if not material.config.viewer or not sets.synthetic:
        return ""
    dice = whole_tumour_dice(sets.synthetic)
    ranked = sorted((record for record in sets.synthetic if record.id in dice), key=lambda record: -dice[record.id])
    ends = [ranked[0], ranked[-1], ranked[len(ranked) // 2]]
    chosen = list(dict.fromkeys(record.id for record in ends[: material.config.viewer]))
    jobs = [(name, material.painted, f"synthetic, Dice {dice[name]:.2f}") for name in chosen]
    jobs += [(record.id, material.scans, "real") for record in sets.real[: material.config.viewer]]
    shown = []
    for name, cases, what in material.progress("preparing the viewer")(jobs):
        case, _ = cases[name].examine()
        shown.append(ViewerCase(f"{what.split(',')[0]}-{name}", f"{name} ({what})", compact(case, spacing=VIEWER_MM)))
    return viewer_fragment(shown)
