"""Which edits a sample gets: the named mixes, in one place, with their reasons."""

from collections.abc import Iterable
from dataclasses import dataclass

from synth.errors import LayoutError
from synth.layout.edits.edit import parse_edit


@dataclass(frozen=True)
class Step:
    """With `probability`, one of `choices` (edit specs such as "move" or "elastic:layout") by their `weights`."""

    probability: float
    choices: tuple[str, ...]
    weights: tuple[float, ...] = ()  # empty: all alike


STANDARD = (
    # every sample has another tumour, or its own elsewhere: a generator fed unmoved pairs would hand the real
    # labels back. Swaps preserve place (the standard space) and make host x donor combinations; moves do the reverse
    Step(1.0, ("swap", "move"), (0.7, 0.3)),
    Step(0.3, ("mirror:tumour",)),  # gliomas prefer no side
    Step(0.4, ("rotate",)),
    Step(0.6, ("scale",)),  # volumes between those of the donors
    Step(0.7, ("elastic",)),  # a new outline: the one edit that makes a shape nobody has had
    Step(0.5, ("grow", "shrink")),  # oedema, core, rim and necrosis in other proportions
    Step(0.5, ("mirror:layout",)),  # doubles the brains
    Step(0.8, ("elastic:layout",)),  # gently: no two samples share their sulci
)
GENTLE = (
    # stays close to the real layouts: for judging a generator, or where few cases must not be stretched far
    Step(1.0, ("elastic", "scale", "grow", "shrink")),
    Step(0.5, ("mirror:layout",)),
    Step(0.8, ("elastic:layout",)),
)
FRESH = (
    # for hosts that are themselves drawn anew (atlas anatomies with random tumours): shape, place and brain are
    # random already, so only what their makers cannot do is left
    Step(1.0, ("elastic",)),
    Step(0.3, ("grow", "shrink")),
    Step(0.5, ("mirror:layout",)),
)
PRESETS: dict[str, tuple[Step, ...]] = {"standard": STANDARD, "gentle": GENTLE, "fresh": FRESH, "none": ()}


def steps_of(edits: str | Iterable[str]) -> tuple[Step, ...]:
    """A preset's name, or edit specs that are all applied in the order given, as steps.

    Raises:
        LayoutError: a name is neither a preset nor an edit; "none" beside other edits.
    """
    names = [edits] if isinstance(edits, str) else list(edits)
    if len(names) == 1 and names[0] in PRESETS:
        return PRESETS[names[0]]
    if not names:
        return PRESETS["none"]
    for name in names:
        if name in PRESETS:
            raise LayoutError(f"the preset {name!r} cannot be combined with other edits; give it alone.")
        try:
            parse_edit(name)
        except LayoutError as error:
            raise LayoutError(f"{error} Presets are {', '.join(PRESETS)}.") from error
    return tuple(Step(1.0, (name,)) for name in names)
