"""Which edits a sample gets: the named mixes, in one place, with their reasons; and what else names a policy.

Each preset has two faces, and the hosts decide: brains with a tumour of their own (the user's cases), and healthy ones
(atlas anatomies), where the tumour has to be made first. Mass effect comes only after a step that gives every sample
another tumour or another place for it: a tumour in its own place has pressed its brain aside already.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from synth.disk.settings import short
from synth.errors import LayoutError
from synth.layout.edits.edit import parse_edit
from synth.layout.edits.policy import EditPolicy, pick, step
from synth.layout.edits.policy_file import SUFFIXES, load_policy, policy_from

AnyPolicy = EditPolicy | Mapping[str, Any] | str | Path | Iterable[str]  # what names a policy, see `policy_of`

_MIRROR = step("mirror:layout", probability=0.5)  # doubles the brains
_MASS_EFFECT = step(  # as much as real brains show (`benchmarks/pressed_aside.py`): what infiltrates presses too
    pick("mass_effect", strength=(0.5, 0.75), oedema=(0.3, 0.6)), probability=0.95
)
_SATELLITES = step(pick("satellites", count=(1, 2)), probability=0.24)  # 36 of 148 real tumours have several pieces

STANDARD = EditPolicy(
    (
        # the host is where a brain begins, not what it ends as: what comes out is no patient's (docs/quality.md)
        step("mosaic", probability=0.8),
        step("individual"),
        _MIRROR,
        # every sample has another tumour, or its own elsewhere: a generator fed unmoved pairs would hand the real
        # labels back. Swaps preserve place (the standard space) and make host x donor combinations, moves do the
        # reverse, and what is drawn anew nobody has had
        step(pick("swap", 0.4), pick("new", 0.4), pick("move", 0.2)),
        step("mirror:tumour", probability=0.3),  # gliomas prefer no side
        step("rotate", "stretch", probability=0.4),
        step("scale", probability=0.5),  # volumes between those of the donors
        # a new outline; a blend's is between two, and it takes the place of the bending, not comes on top
        step(pick("elastic", 0.8), pick("blend", 0.2), probability=0.7),
        # oedema, core, rim and necrosis in other proportions
        step("grow", "shrink", "resize", "recompose", "rim", "core", probability=0.5),
        step("drop_enhancement", probability=0.05),  # 9 of 148 real tumours do not enhance
        step(
            "satellites", probability=0.08
        ),  # with those that donors bring, one in four is multifocal, as in real ones
        step("mass_effect", probability=0.4),  # less than for healthy brains: the host's own tumour has left its traces
    )
)
GENTLE = EditPolicy(
    (
        # keeps brains as they are: for judging a generator, or where nothing leaves the house
        step("elastic", "scale", "grow", "shrink"),
        _MIRROR,
        step("elastic:layout", probability=0.8),
    )
)
_WILD_TUMOURS = (
    # every edit there is, in broad ranges: for training that should meet more than it will be tested on. Most of it is
    # still anatomy (the law sees to that), but not as frequent as in patients
    step("blend", probability=0.25),
    step("mirror:tumour", probability=0.4),
    step(pick("rotate", degrees=(0, 180)), probability=0.5),
    step(pick("stretch"), pick("resize", region="WT", factor=(0.3, 2.5)), "scale", probability=0.7),
    step("elastic", probability=0.8),
    step(pick("recompose", necrosis=(0.01, 0.6), enhancement=(0.01, 0.6), oedema=(0.1, 0.95)), probability=0.3),
    step("grow", "shrink", "resize", "rim", "core", probability=0.5),
    step("drop_enhancement", probability=0.15),
    step("satellites", probability=0.25),
    step("atrophy", probability=0.25),
    step("mass_effect", probability=0.4),
)
WILD = EditPolicy(
    (
        step(pick("mass_effect", strength=(-0.5, -0.1)), probability=0.2),  # lets go what the own tumour pressed aside
        step("mosaic", probability=0.7),
        step(pick("individual", strength=(1.0, 1.4), gyri_mm=(4.5, 6.5), uneven_mm=(0.4, 1.0))),
        _MIRROR,
        step(pick("swap", 0.4), pick("new", 0.4), pick("move", 0.2, mm=(8, 70))),
        *_WILD_TUMOURS,
    )
)

# The tumour is drawn as real ones are and the brain is new: more edits would only take both away from what they are
HEALTHY_STANDARD = EditPolicy((step("new"), _SATELLITES, _MASS_EFFECT, _MIRROR))
HEALTHY_GENTLE = EditPolicy((step("new"), _SATELLITES, _MIRROR))  # the priors alone
HEALTHY_WILD = EditPolicy(
    (
        step("new"),
        *_WILD_TUMOURS[1:],
        _MIRROR,
        step("rotate:layout", "scale:layout", "stretch:layout", probability=0.5),
        step(pick("elastic:layout", mm=(1.0, 3.5)), probability=0.9),
    )
)

PRESETS: dict[str, EditPolicy] = {"gentle": GENTLE, "standard": STANDARD, "wild": WILD, "none": EditPolicy()}
HEALTHY_PRESETS: dict[str, EditPolicy] = {
    "gentle": HEALTHY_GENTLE,
    "standard": HEALTHY_STANDARD,
    "wild": HEALTHY_WILD,
    "none": EditPolicy(),
}


def policy_of(edits: AnyPolicy, *, healthy: bool = False) -> EditPolicy:
    """A policy from whatever names one.

    Args:
        edits: a policy; its dict; a preset's name; the path of a file (.yaml, .yml, .json); edit specs such as
            "move" or "elastic:layout", one after the other or in one text with commas, all applied in order.
        healthy: whether the hosts have no tumours: a preset then begins by making one.

    Raises:
        LayoutError: it is none of these; the sentence says where and what was expected.

    Example:
        >>> policy_of("elastic,mirror").to_dict()["steps"][1]
        {'edit': 'mirror', 'target': 'layout'}
    """
    if isinstance(edits, EditPolicy):
        return edits
    if isinstance(edits, Mapping):
        return policy_from(edits)
    if isinstance(edits, Path) or (isinstance(edits, str) and edits.strip().lower().endswith(SUFFIXES)):
        return load_policy(edits)
    specs = edits.split(",") if isinstance(edits, str) else list(edits)
    specs = [spec.strip() if isinstance(spec, str) else spec for spec in specs]
    if len(specs) == 1 and isinstance(specs[0], (str, Path)) and str(specs[0]).lower().endswith(SUFFIXES):
        return load_policy(specs[0])
    return _from_specs(specs, healthy)


def preset(name: str, *, healthy: bool = False) -> EditPolicy:
    """A preset by its name; `print(preset("standard").to_yaml())` is a file to start from.

    Raises:
        LayoutError: there is none of that name.
    """
    if name not in PRESETS:
        raise LayoutError(f"unknown preset {name!r}; presets are {', '.join(PRESETS)}.")
    return HEALTHY_PRESETS[name] if healthy else PRESETS[name]


def is_preset(edits: Any) -> bool:
    """Whether a preset is named, whose steps depend on the hosts."""
    names = [edits] if isinstance(edits, str) else edits
    return isinstance(names, (list, tuple)) and len(names) == 1 and str(names[0]).strip() in PRESETS


def _from_specs(specs: list, healthy: bool) -> EditPolicy:
    if not specs:
        return EditPolicy()
    if len(specs) == 1 and specs[0] in PRESETS:
        return preset(specs[0], healthy=healthy)
    for spec in specs:
        if not isinstance(spec, str):
            raise LayoutError(f"an edit must be named by a text, found {short(spec)}.")
        if spec in PRESETS:
            raise LayoutError(f"the preset {spec!r} cannot be combined with other edits; give it alone.")
        try:
            parse_edit(spec)
        except LayoutError as error:
            raise LayoutError(
                f"{error} Presets are {', '.join(PRESETS)}; a policy file ends in {', '.join(SUFFIXES)}."
            ) from error
    return EditPolicy(tuple(step(spec) for spec in specs))
