"""A recipe: which edits a sample gets, with what probability and in what ranges, in Python or as a YAML/JSON file.

    # every sample goes through these steps in order
    steps:
      - any_of:                                  # one of these, by weight
          - {edit: swap, weight: 0.7}
          - {edit: move, weight: 0.3, mm: [5, 20]}
      - {edit: elastic, probability: 0.8, mm: [1, 3]}
      - {edit: elastic, target: layout, probability: 0.5}
      - mirror:layout                            # short for {edit: mirror, target: layout}

What an edit can be given besides (`mm` above) are the keyword parameters of its `draw`: `options_of` lists them.
"""

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from synth.disk.settings import is_number, read_settings, short
from synth.errors import LayoutError, printable
from synth.layout.edits.edit import EDITS, Edit, edit_class, parse_edit

_GIVEN = ("target", "donor", "wish")  # keywords of `draw` that the sampler fills
_SUFFIXES = (".yaml", ".yml", ".json")
_STEP_KEYS = ("probability", "any_of")
_CHOICE_KEYS = ("edit", "target", "weight")


@dataclass(frozen=True)
class Choice:
    """One edit that a step may take.

    Attributes:
        edit: its name.
        target: what it acts on.
        options: keyword parameters for its `draw`; ranges are 2-tuples.
        weight: against the step's other choices.
    """

    edit: str
    target: str
    options: Mapping[str, Any] = field(default_factory=dict)
    weight: float = 1.0

    @property
    def cls(self) -> type[Edit]:
        """The edit's class."""
        return EDITS[self.edit]

    @property
    def wants_tumour(self) -> bool:
        """Whether there is nothing to do without a tumour."""
        return self.cls.needs_tumour and (self.target == "tumour" or "tumour" not in self.cls.targets)

    def to_dict(self) -> dict[str, Any]:
        """As it stands in a file; what is as usual is left out."""
        out: dict[str, Any] = {"edit": self.edit}
        if len(self.cls.targets) > 1:
            out["target"] = self.target
        if self.weight != 1:
            out["weight"] = self.weight
        return out | {key: _plain(self.options[key]) for key in sorted(self.options)}


@dataclass(frozen=True)
class Step:
    """With `probability`, one of `choices` by their weights."""

    choices: tuple[Choice, ...]
    probability: float = 1.0

    def possible(self, *, tumour: bool, donor: bool) -> tuple[Choice, ...]:
        """The choices for a layout with or without a tumour, with or without a donor at hand."""
        return tuple(
            choice
            for choice in self.choices
            if (tumour or not choice.wants_tumour) and (donor or not choice.cls.needs_donor)
        )

    def draw(self, rng: np.random.Generator, *, tumour: bool, donor: bool) -> Choice | None:
        """One choice, or None where the step does not take place."""
        choices = self.possible(tumour=tumour, donor=donor)
        happens = rng.random() < self.probability
        if not happens or not choices:
            return None
        weights = np.array([choice.weight for choice in choices])
        return choices[int(rng.choice(len(choices), p=weights / weights.sum()))]

    def to_dict(self) -> dict[str, Any]:
        """As it stands in a file."""
        one = len(self.choices) == 1
        out = {**self.choices[0].to_dict()} if one else {"any_of": [choice.to_dict() for choice in self.choices]}
        if one:
            out.pop("weight", None)
        return out if self.probability == 1 else {**out, "probability": self.probability}


@dataclass(frozen=True)
class Recipe:
    """Steps that every sample goes through in order; see the module for the file's form.

    Example:
        >>> recipe = Recipe.from_dict({"steps": [{"edit": "elastic", "probability": 0.8, "mm": [1, 3]}, "mirror"]})
        >>> recipe.to_dict()["steps"][1]
        {'edit': 'mirror', 'target': 'layout'}
    """

    steps: tuple[Step, ...] = ()

    @classmethod
    def of(cls, edits: "Recipe | Mapping | str | Path | Iterable[str]", *, healthy: bool = False) -> "Recipe":
        """A recipe from whatever names one.

        Args:
            edits: a recipe; its dict; a preset's name; the path of a file (.yaml, .yml, .json); edit specs such as
                "move" or "elastic:layout", one after the other or in one text with commas, all applied in order.
            healthy: whether the hosts have no tumours: a preset then begins by making one.

        Raises:
            LayoutError: it is none of these; the sentence says where and what was expected.
        """
        if isinstance(edits, Recipe):
            return edits
        if isinstance(edits, Mapping):
            return cls.from_dict(edits)
        if isinstance(edits, Path) or (isinstance(edits, str) and edits.strip().lower().endswith(_SUFFIXES)):
            return cls.load(edits)
        specs = edits.split(",") if isinstance(edits, str) else list(edits)
        specs = [spec.strip() if isinstance(spec, str) else spec for spec in specs]
        if len(specs) == 1 and isinstance(specs[0], (str, Path)) and str(specs[0]).lower().endswith(_SUFFIXES):
            return cls.load(specs[0])
        return _from_specs(specs, healthy)

    @classmethod
    def preset(cls, name: str, *, healthy: bool = False) -> "Recipe":
        """A preset by its name; `print(Recipe.preset("standard").to_yaml())` is a file to start from.

        Raises:
            LayoutError: there is none of that name.
        """
        from synth.layout.edits.presets import HEALTHY_PRESETS, PRESETS

        if name not in PRESETS:
            raise LayoutError(f"unknown preset {name!r}; presets are {', '.join(PRESETS)}.")
        return HEALTHY_PRESETS[name] if healthy else PRESETS[name]

    @classmethod
    def load(cls, path: str | Path) -> "Recipe":
        """The recipe in a YAML or JSON file.

        Raises:
            LayoutError: the file cannot be read, or is no recipe; the sentence names file, step and key.
        """
        path = Path(str(path).strip())
        return cls.from_dict(read_settings(path, "a recipe of edits"), where=printable(path))

    @classmethod
    def from_dict(cls, record: Mapping[str, Any], *, where: str = "recipe") -> "Recipe":
        """The recipe of a dict in the form of a file.

        Args:
            record: the dict.
            where: how errors call it.

        Raises:
            LayoutError: something in it is not as expected; the sentence names step and key.
        """
        _check_keys(record, ("steps",), where)
        steps = record.get("steps")
        if not isinstance(steps, (list, tuple)):
            raise LayoutError(f"{where}: steps must be a list of edits, found {short(steps)}.")
        return cls(tuple(_step(step, f"{where}, step {number}") for number, step in enumerate(steps, 1)))

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able dict in the form of a file; `from_dict` reads it back, and equal recipes have equal dicts."""
        return {"steps": [step.to_dict() for step in self.steps]}

    def to_yaml(self) -> str:
        """The text of a recipe file: to be saved, changed and given as `--edits FILE.yaml`."""
        import yaml

        return yaml.safe_dump(self.to_dict(), default_flow_style=None, sort_keys=False, width=110)

    @property
    def choices(self) -> list[Choice]:
        """Every choice of every step."""
        return [choice for step in self.steps for choice in step.choices]


def pick(spec: str, weight: float = 1.0, **options) -> Choice:
    """A choice from an edit spec such as "elastic:layout"."""
    cls, target = parse_edit(spec)
    return Choice(cls.name, target, options, weight)


def step(*choices: Choice | str, probability: float = 1.0) -> Step:
    """A step of choices, or of edit specs."""
    return Step(tuple(pick(choice) if isinstance(choice, str) else choice for choice in choices), probability)


def options_of(name: str) -> dict[str, Any]:
    """What a recipe may set for an edit: its options and their defaults (None: by the layout, see its `draw`)."""
    parameters = inspect.signature(edit_class(name).draw).parameters.values()
    keywords = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    return {key: default for key, default in keywords.items() if key not in (*_GIVEN, *_STEP_KEYS, *_CHOICE_KEYS)}


def is_preset(edits: Any) -> bool:
    """Whether a preset is named, whose steps depend on the hosts."""
    from synth.layout.edits.presets import PRESETS

    names = [edits] if isinstance(edits, str) else edits
    return isinstance(names, (list, tuple)) and len(names) == 1 and str(names[0]).strip() in PRESETS


def _from_specs(specs: list, healthy: bool) -> Recipe:
    from synth.layout.edits.presets import PRESETS

    if not specs:
        return Recipe()
    if len(specs) == 1 and specs[0] in PRESETS:
        return Recipe.preset(specs[0], healthy=healthy)
    for spec in specs:
        if not isinstance(spec, str):
            raise LayoutError(f"an edit must be named by a text, found {short(spec)}.")
        if spec in PRESETS:
            raise LayoutError(f"the preset {spec!r} cannot be combined with other edits; give it alone.")
        try:
            parse_edit(spec)
        except LayoutError as error:
            raise LayoutError(
                f"{error} Presets are {', '.join(PRESETS)}; a recipe file ends in {', '.join(_SUFFIXES)}."
            ) from error
    return Recipe(tuple(step(spec) for spec in specs))


def _step(record: Any, where: str) -> Step:
    if isinstance(record, str):
        record = {"edit": record}
    if not isinstance(record, Mapping):
        raise LayoutError(f"{where}: expected an edit, such as {{edit: move, mm: [5, 20]}}, found {short(record)}.")
    probability = record.get("probability", 1.0)
    if not is_number(probability) or not 0 <= probability <= 1:
        raise LayoutError(f"{where}: probability must be a number from 0 to 1, found {short(probability)}.")
    if "any_of" not in record:
        if "weight" in record:
            raise LayoutError(f"{where}: weight belongs to the choices of any_of; give a step its probability.")
        return Step((_choice({k: v for k, v in record.items() if k != "probability"}, where),), float(probability))
    _check_keys(record, _STEP_KEYS, where)
    choices = record["any_of"]
    if not isinstance(choices, (list, tuple)) or not choices:
        raise LayoutError(f"{where}: any_of must be a list of edits, found {short(choices)}.")
    return Step(
        tuple(_choice(choice, f"{where}, choice {n}") for n, choice in enumerate(choices, 1)), float(probability)
    )


def _choice(record: Any, where: str) -> Choice:
    if isinstance(record, str):
        record = {"edit": record}
    if not isinstance(record, Mapping) or not isinstance(record.get("edit"), str):
        raise LayoutError(
            f"{where}: expected an edit by its name, such as {{edit: move, mm: [5, 20]}}, found {short(record)}; "
            f"edits are {', '.join(sorted(EDITS))}."
        )
    spec, target = record["edit"].strip(), record.get("target")
    if target is not None:
        if not isinstance(target, str) or ":" in spec:
            raise LayoutError(f"{where}: target must be one text, given once, found {short(target)}.")
        spec = f"{spec}:{target}"
    try:
        cls, target = parse_edit(spec)
    except LayoutError as error:
        raise LayoutError(f"{where}: {error}") from error
    weight = record.get("weight", 1.0)
    if not is_number(weight) or weight <= 0:
        raise LayoutError(f"{where}: weight must be a number above 0, found {short(weight)}.")
    known = options_of(cls.name)
    _check_keys(record, (*_CHOICE_KEYS, *known), f"{where} ({cls.name})")
    options = {key: _option(f"{where} ({cls.name})", key, record[key], known[key]) for key in known if key in record}
    if options:
        _try(cls, target, options, f"{where} ({cls.name})")
    return Choice(cls.name, target, options, float(weight))


def _check_keys(record: Mapping, known: tuple[str, ...], where: str) -> None:
    unknown = [key for key in record if key not in known]
    if unknown:
        raise LayoutError(f"{where}: unknown key {short(unknown[0])}; known keys are {', '.join(known)}.")


def _option(where: str, key: str, value: Any, default: Any) -> Any:
    """`value` as `draw` takes it, by the kind of its default."""
    pair = isinstance(value, (list, tuple)) and len(value) == 2 and all(is_number(v) for v in value)
    if isinstance(default, tuple) and len(default) == 2 and all(is_number(v) for v in default):
        if not is_number(value) and not (pair and value[0] <= value[1]):
            raise LayoutError(f"{where}: {key} must be a range of two ascending numbers, found {short(value)}.")
        return (value, value) if is_number(value) else tuple(value)
    if isinstance(default, bool) or isinstance(value, bool):
        if not (isinstance(value, bool) and isinstance(default, bool)):
            raise LayoutError(f"{where}: {key} cannot be {short(value)}; its default is {default!r}.")
        return value
    if isinstance(default, str) and not isinstance(value, str):
        raise LayoutError(f"{where}: {key} must be a text, found {short(value)}.")
    if is_number(default) and not is_number(value):
        raise LayoutError(f"{where}: {key} must be a finite number, found {short(value)}.")
    if pair and value[0] > value[1]:
        raise LayoutError(f"{where}: {key} must be a range of two ascending numbers, found {short(value)}.")
    listed = isinstance(value, (list, tuple)) and value and all(isinstance(v, str) or is_number(v) for v in value)
    if not (isinstance(value, str) or is_number(value) or listed):
        raise LayoutError(f"{where}: {key} must be a number, a range, a text or a list of these, found {short(value)}.")
    return tuple(value) if listed else value


def _try(cls: type[Edit], target: str, options: dict[str, Any], where: str) -> None:
    """Draw the edit with these options on a made-up head: what it refuses here it would refuse on every sample."""
    head, donor = _trial_heads()
    donor = donor if cls.needs_donor else None

    def draw(**given) -> str | None:
        try:
            with np.errstate(all="ignore"):
                for seed in range(3):
                    cls.draw(head, np.random.default_rng(seed), target=target, donor=donor, **given)
        except (LayoutError, ValueError, TypeError, KeyError, IndexError, OverflowError, ArithmeticError) as error:
            return " ".join(str(error).split()).rstrip(".") or type(error).__name__
        return None

    for key, value in options.items():
        refused = draw(**{key: value})
        if refused and not draw():
            raise LayoutError(f"{where}: {key} cannot be {short(_plain(value))} ({refused}).")


@lru_cache(1)
def _trial_heads():
    """Two egg-shaped heads with a nested tumour, on a coarse grid that shows a whole head."""
    from synth.layout.layout import Layout

    shape, zooms = (40, 48, 36), (4.0, 4.0, 4.5)
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij"), -1)
    heads = []
    for name, side in (("head", -1), ("donor", 1)):
        tissue, tumour = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
        for radius, value in ((0.8, 1), (0.74, 2), (0.58, 3)):
            tissue[(grid**2).sum(-1) < radius**2] = value
        tissue[(((grid - (0, -0.05, 0.1)) / (0.1, 0.3, 0.15)) ** 2).sum(-1) < 1] = 1
        for radius, value in ((0.3, 2), (0.2, 3), (0.12, 1)):
            tumour[((grid - (0.33 * side, 0.2, -0.1)) ** 2).sum(-1) < radius**2] = value
        heads.append(Layout(tissue, tumour, np.diag([-zooms[0], -zooms[1], zooms[2], 1.0]), name))
    return heads


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
