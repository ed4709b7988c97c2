"""Plan files: a plan as people write it, in YAML or JSON.

Either the proportions stand in it, axis by axis:

    axes:
      volume_ml: [10, 50, 100, 150, 220]     # bins between these edges, as many samples in each
      volume_ml: {10-50: 1, 50-220: 3}       # or bins with counts or weights
      side: equal                            # as many on each level
      lobe: {frontal: 40, temporal: 30, parietal: 20, deep: 10}

or the combinations that are wanted, each with its count:

    cells:
      - {side: left, lobe: frontal, count: 30}
      - {side: right, lobe: temporal, count: 20}

(both may stand together, with different axes), or they are those of a dataset:

    match: BraTS2021_TrainingData            # cases, segmentations or layouts; relative to this file
    axes: [volume_ml, lobe]                  # all where left out
    joint: true                              # as they occur together; else each axis by itself
    edges: [3, 20, 50, 100, 260]             # of the volume's bins; has a default
"""

from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from itertools import pairwise
from math import lcm
from pathlib import Path
from typing import Any

from synth.disk.settings import is_number, read_settings, short
from synth.errors import LayoutError, printable
from synth.layout.facts import TumourFacts
from synth.layout.law import MIN_VOLUME_ML
from synth.layout.lobes import LOBES
from synth.layout.plans.plan import (
    AXES,
    LEVELS,
    MATCH_EDGES,
    MAX_BLOCK,
    PLANS,
    Factor,
    Level,
    Plan,
    balanced,
    matched,
    reduced,
)

MAX_VOLUME_ML = 1000.0  # more than any head has room for; what a brain can hold, the law says
AnyPlan = Plan | Mapping[str, Any] | str | Path  # what names a plan, see `plan_of`
TumoursOf = Callable[[Path], Iterable[TumourFacts]]  # reads the dataset at a path; `synth.hosts.plans` has one


def plan_of(plan: AnyPlan, tumours_of: TumoursOf | None = None) -> Plan:
    """A plan, its dict, a preset's name, or the path of a plan file.

    Args:
        plan: what names the plan.
        tumours_of: as for `load_plan`.

    Raises:
        LayoutError: it is none of these.
    """
    if isinstance(plan, Plan):
        return plan
    if isinstance(plan, Mapping):
        return plan_from(plan)
    return Plan.preset(plan) if str(plan) in PLANS else load_plan(plan, tumours_of)


def load_plan(path: str | Path, tumours_of: TumoursOf | None = None) -> Plan:
    """The plan in a YAML or JSON file; a dataset it is to match is measured now.

    Args:
        path: of the file.
        tumours_of: gives the tumours of the dataset at a path, for plans that match one; None: these are refused.

    Raises:
        LayoutError: it cannot be read, or is no plan; the sentence names file and key.
        SynthError: the dataset to match cannot be read.
    """
    path = Path(str(path).strip())
    if path.suffix.lower() not in (".yaml", ".yml", ".json"):
        raise LayoutError(
            f"{printable(path)}: expected a plan's name ({', '.join(PLANS)}) or a .yaml or .json file, found neither."
        )
    record, where = read_settings(path, "a plan"), printable(path)
    if "match" in record:
        return _matched(record, path, where, tumours_of)
    return plan_from(record, where)


def plan_from(record: Mapping[str, Any], where: str = "plan") -> Plan:
    """The plan of a mapping with axes, cells or both.

    Args:
        record: in the form of a file.
        where: how errors call it.

    Raises:
        LayoutError: something in it is not as expected.
    """
    _check_keys(record, ("axes", "cells"), where)
    axes = record.get("axes", {})
    if not isinstance(axes, Mapping) or not (axes or record.get("cells")):
        raise LayoutError(f"{where}: expected axes with their levels, found {short(axes)}; axes are {', '.join(AXES)}.")
    _check_keys(axes, AXES, f"{where}, axes")
    factors = [_axis(axis, axes[axis], f"{where}, {axis}") for axis in AXES if axis in axes]
    if "cells" in record:
        joint = _cells(record["cells"], where)
        both = set(joint.axes) & set(axes)
        if both:
            raise LayoutError(f"{where}: {min(both)} stands in axes and in cells; keep one.")
        factors.append(joint)
    for factor in factors:
        if sum(factor.weights) > MAX_BLOCK:
            raise LayoutError(
                f"{where}: the weights of {', '.join(factor.axes)} only come out exact after {sum(factor.weights)} "
                f"samples, expected at most {MAX_BLOCK}; give rounder numbers."
            )
    return Plan(tuple(factors))


def _axis(axis: str, value: Any, where: str) -> Factor:
    if value == "equal":
        return balanced(axis)
    if axis == "volume_ml" and isinstance(value, (list, tuple)):
        return balanced(axis, _edges(value, where))
    if isinstance(value, (list, tuple)) and value and all(isinstance(level, str) for level in value):
        value = dict.fromkeys(value, 1)
    if not isinstance(value, Mapping) or not value:
        example = "{10-50: 1, 50-100: 3} or the edges of bins" if axis == "volume_ml" else f"{{{LEVELS[axis][0]}: 1}}"
        raise LayoutError(f"{where}: expected equal, or levels with counts such as {example}, found {short(value)}.")
    levels = [_level(axis, name, where) for name in value]
    if axis == "volume_ml":
        _check_apart(levels, where)
    return Factor((axis,), tuple((level,) for level in levels), _whole(list(value.values()), where))


def _cells(cells: Any, where: str) -> Factor:
    if not isinstance(cells, (list, tuple)) or not cells or not all(isinstance(cell, Mapping) for cell in cells):
        raise LayoutError(f"{where}: cells must be a list such as - {{side: left, count: 30}}, found {short(cells)}.")
    axes = tuple(axis for axis in AXES if axis in cells[0])
    levels, counts = [], []
    for number, cell in enumerate(cells, 1):
        at = f"{where}, cell {number}"
        _check_keys(cell, (*AXES, "count"), at)
        if not axes or set(cell) - {"count"} != set(axes):
            wanted = ", ".join(axes) or "at least one axis"
            raise LayoutError(f"{at}: expected the axes of the first cell ({wanted}), found {short(dict(cell))}.")
        levels.append(tuple(_level(axis, cell[axis], at) for axis in axes))
        counts.append(cell.get("count", 1))
        if levels[-1] in levels[:-1]:
            raise LayoutError(f"{at}: stands there before; add the counts up.")
    if "volume_ml" in axes:
        _check_apart([level[axes.index("volume_ml")] for level in levels], f"{where}, cells")
    return Factor(axes, tuple(levels), _whole(counts, f"{where}, cells"))


def _level(axis: str, name: Any, where: str) -> Level:
    if axis != "volume_ml":
        known = LOBES if axis == "lobe" else LEVELS[axis]
        if name not in known:
            raise LayoutError(f"{where}: unknown level {short(name)}; levels are {', '.join(known)}.")
        return name
    low, _, high = name.partition("-") if isinstance(name, str) else ("", "", "")
    try:
        return tuple(_edges([float(low), float(high)], where))
    except ValueError:
        raise LayoutError(f"{where}: a volume must be a range of ml such as 50-100, found {short(name)}.") from None


def _edges(edges: Any, where: str) -> list[float]:
    lawful = isinstance(edges, (list, tuple)) and len(edges) > 1 and all(is_number(edge) for edge in edges)
    if lawful and any(low >= high for low, high in pairwise(edges)):
        lawful = False
    if not lawful:
        raise LayoutError(f"{where}: expected two or more ascending volumes in ml, found {short(edges)}.")
    if edges[0] < 0 or edges[1] <= MIN_VOLUME_ML or edges[-1] > MAX_VOLUME_ML:
        raise LayoutError(
            f"{where}: volumes must lie between {MIN_VOLUME_ML} (the smallest lawful tumour) and {MAX_VOLUME_ML:g} ml, "
            f"found {short(edges)}."
        )
    return [float(edge) for edge in edges]


def _check_apart(bins, where: str) -> None:
    ordered = sorted(set(bins))
    for (low, high), (start, end) in pairwise(ordered):
        if start < high:
            raise LayoutError(f"{where}: the volumes {low:g}-{high:g} and {start:g}-{end:g} overlap.")


def _whole(weights: list, where: str) -> tuple[int, ...]:
    """Counts or weights as whole numbers in the same proportions."""
    for weight in weights:
        if not is_number(weight) or weight <= 0:
            raise LayoutError(f"{where}: a count or weight must be a number above 0, found {short(weight)}.")
    exact = [Fraction(str(weight)) for weight in weights]  # 0.7 is seven tenths, whatever its binary digits
    common = lcm(*(weight.denominator for weight in exact))
    return reduced(int(weight * common) for weight in exact)


def _matched(record: Mapping[str, Any], path: Path, where: str, tumours_of: TumoursOf | None) -> Plan:
    _check_keys(record, ("match", "axes", "joint", "edges"), where)
    axes, joint, edges = record.get("axes", list(AXES)), record.get("joint", False), record.get("edges", MATCH_EDGES)
    if not isinstance(record["match"], str):
        raise LayoutError(f"{where}: match must be the path of a dataset, found {short(record['match'])}.")
    known = isinstance(axes, list) and axes and all(axis in AXES for axis in axes) and len(set(axes)) == len(axes)
    if not known:
        raise LayoutError(f"{where}: beside match, axes must be a list out of {', '.join(AXES)}, found {short(axes)}.")
    if not isinstance(joint, bool):
        raise LayoutError(f"{where}: joint must be true or false, found {short(joint)}.")
    edges = _edges(list(edges), f"{where}, edges")
    if tumours_of is None:
        raise LayoutError(
            f"{where}: match: {printable(record['match'])} asks for a dataset to be read, which layouts alone cannot; "
            "read the plan with synth.hosts.plans.read_plan first, or give axes or cells."
        )
    facts = [tumour for tumour in tumours_of(path.parent / record["match"]) if tumour.pieces]
    if not facts:
        raise LayoutError(f"{where}: {record['match']} holds no tumour to match.")
    return matched(facts, [axis for axis in AXES if axis in axes], edges, joint)


def _check_keys(record: Mapping, known: tuple[str, ...], where: str) -> None:
    unknown = [key for key in record if key not in known]
    if unknown:
        raise LayoutError(f"{where}: unknown key {short(unknown[0])}; known keys are {', '.join(known)}.")
