"""What an edit is: a name and drawn parameters, registered, JSON-able, applied deterministically."""

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import Field, asdict, dataclass, fields
from typing import Any, ClassVar, NamedTuple

import numpy as np

from synth.errors import LayoutError
from synth.layout.carry import Moved, Trail
from synth.layout.layout import Layout

TARGETS = ("tumour", "layout")
STEP_KEYS = ("probability", "any_of")  # of a policy's step in a file
CHOICE_KEYS = ("edit", "target", "weight")  # of one of its edits; beside them stand the edit's options
GIVEN = ("layout", "rng", "target", "donor", "wish")  # what `draw` is given besides options
_NAME = re.compile(r"[a-z][a-z0-9_]*")


class Outcome(NamedTuple):
    """What an edit made.

    Attributes:
        layout: the new one; what it has of detail does not count.
        lost: share of the tumour (0..1) that was cut off in placing it.
        moved: where each voxel of the brain came from, so that its detail can follow; None where the brain stays.
    """

    layout: Layout
    lost: float = 0.0
    moved: Moved | None = None


@dataclass(frozen=True)
class Edit:
    """A change of a layout, as a name and parameters: drawn first, applied deterministically, kept in the manifest.

    A subclass is a frozen dataclass with a `name`, a classmethod `draw` that chooses its parameters, and `run`; with
    `@register` above it policies, plans, the sampler and the command line know it. Lengths are in mm, vectors along
    the array axes. What a sampler has to know of an edit, the class says in the attributes below.

    Attributes:
        name: what it is called in policies and manifests: lower-case letters, digits, `_`.
        targets: what it can act on, the usual one first: "tumour", "layout" (the brain with all in it). An edit with
            several has a field `target`.
        options: keywords of `draw` that a policy may set, and their defaults: a range (low, high), a number, a text,
            true or false, or None where the default depends on the layout.
        needs_tumour: whether there is nothing to do without a tumour, when aimed at the tumour. An edit that needs
            none replaces the tumour: the new one is judged as such.
        needs_donor: whether it takes something from another case's tumour.
        leaves_tumour: whether a tumour is there afterwards; if not, a brain without one is as it should be.
        heeds_wish: whether `draw` takes `wish`, the `plans.plan.Wish` that a plan has for this sample, or None.
        after_placing: whether it answers to where the tumour is: a plan's moves come before it.
        another_brain: whether the brain is another one's afterwards, told from the host's by more than its tumour.
        swaps_sides: whether left becomes right when it is aimed at the layout: done before a planned side is met.
    """

    name: ClassVar[str]
    targets: ClassVar[tuple[str, ...]] = ("tumour",)
    options: ClassVar[Mapping[str, Any]] = {}
    needs_tumour: ClassVar[bool] = True
    needs_donor: ClassVar[bool] = False
    leaves_tumour: ClassVar[bool] = True
    heeds_wish: ClassVar[bool] = False
    after_placing: ClassVar[bool] = False
    another_brain: ClassVar[bool] = False
    swaps_sides: ClassVar[bool] = False

    @property
    def acts_on(self) -> str:
        """Its target: that of its field `target`, or the only one there is."""
        return getattr(self, "target", self.targets[0])

    @property
    def further_pieces(self) -> int:
        """How many separate pieces beside the tumour's own it was asked for: the law counts no more than these."""
        return 0

    @classmethod
    def draw(
        cls, layout: Layout, rng: np.random.Generator, *, target: str = "tumour", donor: Layout | None = None
    ) -> "Edit":
        """The edit with parameters drawn for this layout; nothing is applied yet.

        A subclass takes its `options` as further keywords, and `wish` if it heeds one.

        Raises:
            LayoutError: it cannot be done to this layout, or an option is not lawful.
        """
        raise NotImplementedError

    def run(self, layout: Layout, donor: Layout | None = None) -> Outcome:
        """The edited layout and how much of its tumour was cut off; the same input gives the same output."""
        raise NotImplementedError

    def apply(self, layout: Layout, donor: Layout | None = None) -> Layout:
        """The edited layout; its detail goes with it.

        Detail is left behind where the edit changes the brain and does not say how (`Outcome.moved`), or takes a part
        of a donor that has none. A tumour that is changed or moved has no tones: samplers draw new ones.

        Raises:
            LayoutError: there is no tumour (or donor) and the edit needs one, or the deformation would fold.
        """
        outcome, trail = self.run(layout, donor), Trail()
        trail.note(layout, outcome.layout, outcome.moved)
        return outcome.layout if layout.detail is None else trail.followed(outcome.layout, layout, donor)

    def to_dict(self) -> dict[str, Any]:
        """`{"name": ..., parameter: value, ...}`, JSON-able; `edit_from_dict` reads it back."""
        return {"name": self.name, **{k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}}

    def __post_init__(self) -> None:
        """Check every parameter against its declared type; raise `LayoutError` naming edit and parameter."""
        for spec in fields(self):
            object.__setattr__(self, spec.name, _checked(self.name, spec, getattr(self, spec.name)))
        if self.acts_on not in self.targets:
            raise LayoutError(
                f"edit {self.name}: target must be one of {', '.join(self.targets)}, found {self.acts_on!r}."
            )

    def _require(self, condition: bool, expected: str) -> None:
        if not condition:
            raise LayoutError(f"edit {self.name}: expected {expected}, found {self.to_dict()}.")


EDITS: dict[str, type[Edit]] = {}


def register(cls: type[Edit]) -> type[Edit]:
    """Class decorator that makes an edit known by its `name`, also for edits that are no part of this package.

    A class that is defined again (a notebook's cell run twice) takes its own former place.

    Raises:
        LayoutError: another class has the name, or the class is no edit: the sentence says what is missing.

    Example:
        >>> @register  # doctest: +SKIP
        ... @dataclass(frozen=True)
        ... class Soften(Edit):
        ...     mm: float
        ...     name: ClassVar[str] = "soften"
        ...     options: ClassVar[Mapping[str, Any]] = {"mm": (1.0, 3.0)}
        ...     @classmethod
        ...     def draw(cls, layout, rng, *, target="tumour", donor=None, mm=options["mm"]):
        ...         return cls(mm=uniform(rng, span(cls.name, "mm", mm, 0)))
        ...     def run(self, layout, donor=None):
        ...         return Outcome(layout.with_tumour(softened(layout.tumour, self.mm)))
    """
    called = getattr(cls, "__qualname__", repr(cls))
    if problem := _unfit(cls):
        raise LayoutError(f"{called} cannot be registered as an edit: {problem}.")
    known = EDITS.get(cls.name, cls)
    if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
        raise LayoutError(
            f"{called} cannot be registered as an edit: the name {cls.name!r} is taken by {known.__qualname__} of "
            f"{known.__module__}; choose another."
        )
    EDITS[cls.name] = cls
    return cls


def _unfit(cls: type) -> str | None:
    """Why a class is no edit that could be drawn, applied and read back; None where it is one."""
    if not (isinstance(cls, type) and issubclass(cls, Edit)):
        return "expected a subclass of Edit"
    parameters = vars(cls).get("__dataclass_params__")
    if parameters is None or not parameters.frozen:
        return "expected a frozen dataclass; put @register above @dataclass(frozen=True)"
    name = getattr(cls, "name", None)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return f"expected a name of lower-case letters, digits and _, found {name!r}"
    missing = [part for part in ("draw", "run") if _function(cls, part) is _function(Edit, part)]
    if missing:
        return f"expected methods draw and run, found no {' and no '.join(missing)}"
    if not cls.targets or not set(cls.targets) <= set(TARGETS):
        return f"expected targets out of {', '.join(TARGETS)}, found {cls.targets!r}"
    if len(cls.targets) > 1 and "target" not in cls.__dataclass_fields__:
        return f"expected a field target, as it has the targets {', '.join(cls.targets)}"
    if taken := sorted(set(cls.options) & {*STEP_KEYS, *CHOICE_KEYS, *GIVEN}):
        return f"the option {taken[0]!r} is a word of policies or the sampler; call it otherwise"
    return None


def _function(cls: type, name: str) -> object:
    method = getattr(cls, name)
    return getattr(method, "__func__", method)


def edit_from_dict(record: dict[str, Any]) -> Edit:
    """The edit of a dict made by `to_dict`.

    Raises:
        LayoutError: the name or a parameter is unknown, one is missing, or a value is not lawful.
    """
    if not isinstance(record, dict) or "name" not in record:
        raise LayoutError(f"an edit must be a dict with a name and parameters, found {record!r}.")
    cls = edit_class(record["name"])
    given = {key: value for key, value in record.items() if key != "name"}
    known = {spec.name for spec in fields(cls)}
    if set(given) != known:
        raise LayoutError(
            f"edit {cls.name}: expected the parameters {', '.join(sorted(known)) or '(none)'}, "
            f"found {', '.join(sorted(map(str, given))) or '(none)'}."
        )
    return cls(**given)


def edit_class(name: str) -> type[Edit]:
    """The edit registered under `name`; raises `LayoutError` naming the known ones otherwise."""
    if name not in EDITS:
        raise LayoutError(f"unknown edit {name!r}; known edits are {', '.join(sorted(EDITS))}.")
    return EDITS[name]


def parse_edit(spec: str) -> tuple[type[Edit], str]:
    """`"elastic:layout"` to the edit's class and its target; without a target the class's first one.

    Raises:
        LayoutError: unknown edit, or a target it does not have.
    """
    name, _, target = spec.strip().partition(":")
    cls = edit_class(name)
    target = target or cls.targets[0]
    if target not in cls.targets:
        raise LayoutError(f"edit {name} has no target {target!r}; it acts on {' or '.join(cls.targets)}.")
    return cls, target


def span(name: str, key: str, given: Any, least: float = -math.inf, most: float = math.inf) -> tuple[float, float]:
    """A range given to `draw`: (low, high), or one number for both.

    Raises:
        LayoutError: it is no range of finite numbers, or leaves `least`..`most`.
    """
    pair = (given, given) if _is_number(given) else given
    lawful = isinstance(pair, (tuple, list)) and len(pair) == 2 and all(_is_number(v) for v in pair)
    if not lawful or not least <= pair[0] <= pair[1] <= most:
        limits = f" within {least:g} to {most:g}" if math.isfinite(least + most) else ""
        limits = f" of at least {least:g}" if not limits and math.isfinite(least) else limits
        raise LayoutError(f"edit {name}: {key} must be a range (low, high){limits}, found {given!r}.")
    return float(pair[0]), float(pair[1])


def uniform(rng: np.random.Generator, limits: tuple[float, float]) -> float:
    """A number within the limits, each alike."""
    return float(rng.uniform(*limits))


def log_uniform(rng: np.random.Generator, limits: tuple[float, float]) -> float:
    """A number within positive limits, uniform in its logarithm."""
    return float(np.exp(rng.uniform(*np.log(limits))))


def choice(name: str, key: str, given: Any, known: Collection[str]) -> tuple[str, ...]:
    """An option given to `draw`, one name or a list of names, as a tuple.

    Raises:
        LayoutError: a name is not one of `known`.
    """
    names = (given,) if isinstance(given, str) else given
    if not isinstance(names, (tuple, list)) or not names or not all(name in known for name in names):
        raise LayoutError(f"edit {name}: {key} must be out of {', '.join(known)}, found {given!r}.")
    return tuple(names)


def _checked(name: str, spec: Field, value: Any) -> Any:
    """`value` as the type the dataclass field declares."""
    kind = (
        "list"
        if spec.type in (tuple[float, ...], "tuple[float, ...]")
        else getattr(spec.type, "__name__", str(spec.type))
    )
    if kind == "str" and isinstance(value, str):
        return value
    if kind == "bool" and isinstance(value, (bool, np.bool_)):
        return bool(value)
    if kind == "int" and isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return int(value)
    if kind == "float" and _is_number(value):
        return float(value)
    several = isinstance(value, (tuple, list, np.ndarray)) and all(_is_number(v) for v in value)
    if several and (kind == "list" or (kind == "tuple" and len(value) == 3)):
        return tuple(float(v) for v in value)
    raise LayoutError(f"edit {name}: {spec.name} must be {_WANTED.get(kind, kind)}, found {value!r}.")


def _is_number(value: Any) -> bool:
    real = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    return real and math.isfinite(value)


_WANTED = {
    "str": "a text",
    "bool": "true or false",
    "int": "a whole number",
    "float": "a finite number",
    "tuple": "three finite numbers",
    "list": "a list of finite numbers",
}
