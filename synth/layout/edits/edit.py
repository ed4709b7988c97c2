"""What an edit is: a name and drawn parameters, registered, JSON-able, applied deterministically."""

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, NamedTuple

import numpy as np

from synth.errors import LayoutError
from synth.layout.layout import Layout

TARGETS = ("tumour", "layout")


class Outcome(NamedTuple):
    """What an edit made: the new layout, and the share of the tumour (0..1) that was cut off in placing it."""

    layout: Layout
    lost: float = 0.0


@dataclass(frozen=True)
class Edit:
    """A change of a layout, as a name and parameters: drawn first, applied deterministically, kept in the manifest.

    A subclass is a frozen dataclass with a `name`, the `targets` it can act on, a classmethod `draw` that chooses its
    parameters, and `run`. Lengths are in mm, vectors along the array axes.
    """

    name: ClassVar[str]
    targets: ClassVar[tuple[str, ...]] = ("tumour",)
    needs_tumour: ClassVar[bool] = True  # when aimed at the tumour
    needs_donor: ClassVar[bool] = False

    @classmethod
    def draw(cls, layout: Layout, rng: np.random.Generator, *, target: str = "tumour", donor: Layout | None = None):
        """The edit with parameters drawn for this layout; nothing is applied yet."""
        raise NotImplementedError

    def run(self, layout: Layout, donor: Layout | None = None) -> Outcome:
        """The edited layout and how much of its tumour was cut off; the same input gives the same output."""
        raise NotImplementedError

    def apply(self, layout: Layout, donor: Layout | None = None) -> Layout:
        """The edited layout.

        Raises:
            LayoutError: there is no tumour (or donor) and the edit needs one, or the deformation would fold.
        """
        return self.run(layout, donor).layout

    def to_dict(self) -> dict[str, Any]:
        """`{"name": ..., parameter: value, ...}`, JSON-able; `edit_from_dict` reads it back."""
        return {"name": self.name, **{k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}}

    def __post_init__(self):
        """Check every parameter against its declared type; raise `LayoutError` naming edit and parameter."""
        for spec in fields(self):
            object.__setattr__(self, spec.name, _checked(self.name, spec, getattr(self, spec.name)))
        if getattr(self, "target", "tumour") not in self.targets:
            raise LayoutError(
                f"edit {self.name}: target must be one of {', '.join(self.targets)}, found {self.target!r}."
            )

    def _require(self, condition: bool, expected: str):
        if not condition:
            raise LayoutError(f"edit {self.name}: expected {expected}, found {self.to_dict()}.")


EDITS: dict[str, type[Edit]] = {}


def register(cls: type[Edit]) -> type[Edit]:
    """Class decorator that makes an edit known by its `name`."""
    EDITS[cls.name] = cls
    return cls


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


def span(name: str, key: str, given, least: float = -math.inf, most: float = math.inf) -> tuple[float, float]:
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


def choice(name: str, key: str, given, known) -> tuple[str, ...]:
    """An option given to `draw`, one name or a list of names, as a tuple.

    Raises:
        LayoutError: a name is not one of `known`.
    """
    names = (given,) if isinstance(given, str) else given
    if not isinstance(names, (tuple, list)) or not names or not all(one in known for one in names):
        raise LayoutError(f"edit {name}: {key} must be out of {', '.join(known)}, found {given!r}.")
    return tuple(names)


def _checked(name: str, spec, value):
    """`value` as the type the dataclass field declares."""
    kind = "list" if spec.type == tuple[float, ...] else getattr(spec.type, "__name__", str(spec.type))
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


def _is_number(value) -> bool:
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
