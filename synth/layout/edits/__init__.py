"""The edit language: what can be done to a layout, as small recorded changes.

One module per kind: `motion` (move, rotate, scale, mirror, elastic), `region` (grow, shrink), `exchange` (swap,
remove); `edit` holds what all share, `placing` how a tumour is fitted into a brain, `presets` which edits a sample
gets. A new edit is a frozen dataclass with `@register` in one of them, or in a new one imported here.
"""

from synth.layout.edits.edit import EDITS, Edit, Outcome, edit_from_dict, parse_edit
from synth.layout.edits.exchange import Remove, Swap
from synth.layout.edits.motion import Elastic, Mirror, Move, Rotate, Scale
from synth.layout.edits.region import Grow, Shrink

__all__ = [
    "EDITS",
    "Edit",
    "Elastic",
    "Grow",
    "Mirror",
    "Move",
    "Outcome",
    "Remove",
    "Rotate",
    "Scale",
    "Shrink",
    "Swap",
    "edit_from_dict",
    "parse_edit",
]
