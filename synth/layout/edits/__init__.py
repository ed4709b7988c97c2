"""The edit language: what can be done to a layout, as small recorded changes.

One module per kind: `motion` (move, rotate, scale, stretch, mirror), `bending` (elastic), `region` (grow, shrink,
resize), `composition` (recompose, rim, drop_enhancement, core), `satellites`, `exchange` (swap, remove), `blending`
(blend), `anatomy` (atrophy, mass_effect), `new` with `shapes`, `largest`. `edit` holds what all share, `placing` how a
tumour is fitted into a brain, `depth` how regions are cut at a volume, `policy` and `presets` what a sample gets.
A new edit is a frozen dataclass with `@register`, in one of them, in a new one imported here, or in a package of its
own: `Edit` says what an edit can tell of itself.
"""

from synth.layout.edits.anatomy import Atrophy, MassEffect
from synth.layout.edits.bending import Elastic
from synth.layout.edits.blending import Blend
from synth.layout.edits.composition import Core, DropEnhancement, Recompose, Rim
from synth.layout.edits.edit import EDITS, Edit, Outcome, edit_from_dict, parse_edit, register
from synth.layout.edits.exchange import Remove, Swap
from synth.layout.edits.individual import Individual
from synth.layout.edits.largest import Largest
from synth.layout.edits.mosaic import Mosaic
from synth.layout.edits.motion import Mirror, Move, Rotate, Scale, Stretch
from synth.layout.edits.new import New
from synth.layout.edits.region import Grow, Resize, Shrink
from synth.layout.edits.satellites import Satellites

__all__ = [
    "EDITS",
    "Atrophy",
    "Blend",
    "Core",
    "DropEnhancement",
    "Edit",
    "Elastic",
    "Grow",
    "Individual",
    "Largest",
    "MassEffect",
    "Mirror",
    "Mosaic",
    "Move",
    "New",
    "Outcome",
    "Recompose",
    "Remove",
    "Resize",
    "Rim",
    "Rotate",
    "Satellites",
    "Scale",
    "Shrink",
    "Stretch",
    "Swap",
    "edit_from_dict",
    "parse_edit",
    "register",
]
