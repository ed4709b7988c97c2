"""A policy: which edits a sample gets, with what probability and in what ranges.

As a file it is `policy_file`'s; what is named ("standard", a path, edits by comma) is found by `presets.policy_of`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import yaml

from synth.layout.edits.edit import EDITS, Edit, parse_edit


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
        return out | {key: plain(self.options[key]) for key in sorted(self.options)}


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
        single = len(self.choices) == 1
        out = {**self.choices[0].to_dict()} if single else {"any_of": [choice.to_dict() for choice in self.choices]}
        if single:
            out.pop("weight", None)
        return out if self.probability == 1 else {**out, "probability": self.probability}


@dataclass(frozen=True)
class EditPolicy:
    """Steps that every sample goes through in order; `policy_file` has the form of a file.

    Example:
        >>> policy = EditPolicy((step("elastic", probability=0.8), step(pick("move", mm=(5, 20)))))
        >>> policy.to_dict()["steps"][1]
        {'edit': 'move', 'mm': [5, 20]}
    """

    steps: tuple[Step, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able dict in the form of a file; `policy_from` reads it back, and equal policies have equal dicts."""
        return {"steps": [step.to_dict() for step in self.steps]}

    def to_yaml(self) -> str:
        """The text of a policy file: to be saved, changed and given as `--edits FILE.yaml`."""
        return yaml.safe_dump(self.to_dict(), default_flow_style=None, sort_keys=False, width=110)

    @property
    def choices(self) -> list[Choice]:
        """Every choice of every step."""
        return [choice for step in self.steps for choice in step.choices]


def pick(spec: str, weight: float = 1.0, **options: Any) -> Choice:
    """A choice from an edit spec such as "elastic:layout"."""
    cls, target = parse_edit(spec)
    return Choice(cls.name, target, options, weight)


def step(*choices: Choice | str, probability: float = 1.0) -> Step:
    """A step of choices, or of edit specs."""
    return Step(tuple(pick(choice) if isinstance(choice, str) else choice for choice in choices), probability)


def plain(value: Any) -> Any:
    """An option's value as JSON has it."""
    return list(value) if isinstance(value, tuple) else value
