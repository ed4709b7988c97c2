"""Policy files: which edits a sample gets, as people write it, in YAML or JSON.

    # every sample goes through these steps in order
    steps:
      - any_of:                                  # one of these, by weight
          - {edit: swap, weight: 0.7}
          - {edit: move, weight: 0.3, mm: [5, 20]}
      - {edit: elastic, probability: 0.8, mm: [1, 3]}
      - {edit: elastic, target: layout, probability: 0.5}
      - mirror:layout                            # short for {edit: mirror, target: layout}

What an edit can be given besides (`mm` above) are its `options`; `EDITS[name].options` has them with their defaults.
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from synth.brats import Tissue, Tumour
from synth.disk.settings import is_number, read_settings, short
from synth.errors import LayoutError, printable
from synth.layout.edits.edit import CHOICE_KEYS, EDITS, STEP_KEYS, Edit, parse_edit
from synth.layout.edits.policy import Choice, EditPolicy, Step, plain
from synth.layout.layout import Layout

SUFFIXES = (".yaml", ".yml", ".json")


def load_policy(path: str | Path) -> EditPolicy:
    """The policy in a YAML or JSON file.

    Raises:
        LayoutError: the file cannot be read, or is no policy; the sentence names file, step and key.
    """
    path = Path(str(path).strip())
    return policy_from(read_settings(path, "an edit policy"), where=printable(path))


def policy_from(record: Mapping[str, Any], where: str = "policy") -> EditPolicy:
    """The policy of a dict in the form of a file.

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
    return EditPolicy(tuple(_step(step, f"{where}, step {number}") for number, step in enumerate(steps, 1)))


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
    _check_keys(record, STEP_KEYS, where)
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
    known = cls.options
    _check_keys(record, (*CHOICE_KEYS, *known), f"{where} ({cls.name})")
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
            raise LayoutError(f"{where}: {key} cannot be {short(plain(value))} ({refused}).")


@lru_cache(1)
def _trial_heads():
    """Two egg-shaped heads with a nested tumour, on a coarse grid that shows a whole head."""
    shape, zooms = (40, 48, 36), (4.0, 4.0, 4.5)
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij"), -1)
    heads = []
    for name, side in (("head", -1), ("donor", 1)):
        tissue, tumour = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
        for radius, value in ((0.8, Tissue.CSF), (0.74, Tissue.GM), (0.58, Tissue.WM)):
            tissue[(grid**2).sum(-1) < radius**2] = value
        tissue[(((grid - (0, -0.05, 0.1)) / (0.1, 0.3, 0.15)) ** 2).sum(-1) < 1] = Tissue.CSF
        for radius, value in ((0.3, Tumour.ED), (0.2, Tumour.ET), (0.12, Tumour.NCR)):
            tumour[((grid - (0.33 * side, 0.2, -0.1)) ** 2).sum(-1) < radius**2] = value
        heads.append(Layout(tissue, tumour, np.diag([-zooms[0], -zooms[1], zooms[2], 1.0]), name))
    return heads
