"""Planned sampling: which tumour sample k is to have, so that a set covers what its owner wants covered.

A plan has axes (volume, side, lobe, enhancement, focality) whose levels are to come in given proportions:

    axes:
      volume_ml: [10, 50, 100, 150, 220]     # bins between these edges, as many samples in each
      side: equal
      lobe: {frontal: 40, temporal: 30, parietal: 20, deep: 10}   # counts or weights
      enhancement: {with: 3, without: 1}

or those of a dataset (`match: FOLDER`, see `plan_file`). What sample k is to be depends on the seed, k and the plan
alone, not on how many there are: each axis is a sequence in which every level is at any time within one of its share,
and whose order is drawn anew and for each axis apart, so that no two axes go together. Counts are therefore exact when
the number of samples is a multiple of the weights' sum, also for all shards of a run together.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import gcd
from typing import Any

import numpy as np

from synth.errors import LayoutError
from synth.layout.facts import SIDES, TumourFacts
from synth.layout.law import MIN_VOLUME_ML
from synth.layout.lobes import LOBES
from synth.randomness import plan_rng

AXES = ("volume_ml", "side", "lobe", "enhancement", "focality")
LEVELS = {
    "side": SIDES,
    "lobe": LOBES[:5],  # no real map of 148 lies mainly in the cerebellum or brainstem
    "enhancement": ("with", "without"),
    "focality": ("single", "multifocal"),
}
VOLUME_EDGES = (10.0, 50.0, 100.0, 150.0, 220.0)  # near the quartiles of real maps: 54, 97, 144; p2 and p97
MATCH_EDGES = (MIN_VOLUME_ML, 20.0, 50.0, 80.0, 110.0, 150.0, 200.0, 260.0)  # from the smallest to the largest
MAX_BLOCK = 10_000  # samples after which counts are exact; more says nothing at a usual number of samples

Level = str | tuple[float, float]  # of the volume: from, to (without) ml


@dataclass(frozen=True)
class Wish:
    """What one sample's tumour must be; None where it does not matter.

    Attributes:
        volume_ml: of the whole tumour: at least the first, less than the second.
        side: "left" or "right" (the patient's).
        lobe: one of `lobes.LOBES`.
        enhancement: "with" or "without".
        focality: "single" or "multifocal".
    """

    volume_ml: tuple[float, float] | None = None
    side: str | None = None
    lobe: str | None = None
    enhancement: str | None = None
    focality: str | None = None

    @property
    def enhancing(self) -> bool | None:
        """Whether there must be enhancing tumour."""
        return None if self.enhancement is None else self.enhancement == "with"

    @property
    def multifocal(self) -> bool | None:
        """Whether there must be more than one piece."""
        return None if self.focality is None else self.focality == "multifocal"

    def misses(self, facts: TumourFacts) -> list[str]:
        """The axes on which a tumour is not as wished; empty means it is."""
        cell = cell_of(facts)
        out = [axis for axis in AXES[1:] if getattr(self, axis) not in (None, cell[axis])]
        if self.volume_ml and not self.volume_ml[0] <= facts.volume_ml["WT"] < self.volume_ml[1]:
            out.insert(0, "volume_ml")
        return out

    def without(self, *axes: str) -> "Wish":
        """The same wish, but for these axes."""
        return Wish(**{axis: None if axis in axes else getattr(self, axis) for axis in AXES})

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able dict of what is wished."""
        given = {axis: getattr(self, axis) for axis in AXES}
        return {axis: list(v) if isinstance(v, tuple) else v for axis, v in given.items() if v is not None}

    def __str__(self) -> str:
        """As it may stand in a sentence."""
        return ", ".join(level_name(getattr(self, axis), axis) for axis in AXES if getattr(self, axis) is not None)


@dataclass(frozen=True)
class Factor:
    """Axes that are planned together: one axis, or several whose combinations have counts of their own.

    Attributes:
        axes: names out of `AXES`.
        levels: one tuple for each combination, a level per axis.
        weights: whole numbers, one for each combination; their sum is the number after which counts are exact.
    """

    axes: tuple[str, ...]
    levels: tuple[tuple[Level, ...], ...]
    weights: tuple[int, ...]

    def at(self, seed: int, index: int, number: int) -> dict[str, Level]:
        """The levels of sample `index`; `number` is the factor's place in the plan."""
        block, place = divmod(index, sum(self.weights))
        return dict(zip(self.axes, self.levels[_block(self.weights, seed, number, block)[place]], strict=True))


@dataclass(frozen=True)
class Plan:
    """Factors whose axes do not overlap.

    Example:
        >>> plan = Plan.preset("balanced-side")
        >>> sorted(plan.wish(seed=1, index=k).side for k in range(4))
        ['left', 'left', 'right', 'right']
    """

    factors: tuple[Factor, ...]

    @property
    def axes(self) -> tuple[str, ...]:
        """What is planned, in the order of `AXES`."""
        planned = {axis for factor in self.factors for axis in factor.axes}
        return tuple(axis for axis in AXES if axis in planned)

    def wish(self, seed: int, index: int) -> Wish:
        """What sample `index` of a run with `seed` must be."""
        parts = [factor.at(seed, index, number) for number, factor in enumerate(self.factors)]
        return Wish(**{axis: level for part in parts for axis, level in part.items()})

    def levels(self, axis: str) -> tuple[Level, ...]:
        """The levels that an axis has in this plan."""
        for factor in self.factors:
            if axis in factor.axes:
                place = factor.axes.index(axis)
                return tuple(dict.fromkeys(sorted({combined[place] for combined in factor.levels}, key=_order(axis))))
        return ()

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able dict in the form of a plan file; `plan_file.plan_from` reads it back."""
        single = [factor for factor in self.factors if len(factor.axes) == 1]
        out: dict[str, Any] = {}
        if single:
            out["axes"] = {
                factor.axes[0]: {
                    level_name(level, factor.axes[0]): weight
                    for (level,), weight in zip(factor.levels, factor.weights, strict=True)
                }
                for factor in single
            }
        for factor in self.factors:
            if factor not in single:
                out["cells"] = [
                    {
                        **{axis: level_name(level, axis) for axis, level in zip(factor.axes, levels, strict=True)},
                        "count": weight,
                    }
                    for levels, weight in zip(factor.levels, factor.weights, strict=True)
                ]
        return out

    @classmethod
    def preset(cls, name: str) -> "Plan":
        """A preset by its name (`PLANS`).

        Raises:
            LayoutError: there is none of that name.
        """
        if name not in PLANS:
            raise LayoutError(f"unknown plan {name!r}; plans are {', '.join(PLANS)}, or a .yaml or .json file.")
        return cls(tuple(balanced(axis) for axis in PLANS[name]))


PLANS: dict[str, tuple[str, ...]] = {
    "balanced": AXES,  # each axis by itself: as many samples on each of its levels
    "balanced-volume": ("volume_ml",),
    "balanced-side": ("side",),
    "balanced-lobe": ("lobe",),
    "balanced-enhancement": ("enhancement",),
    "balanced-focality": ("focality",),
}


def balanced(axis: str, edges: Iterable[float] = VOLUME_EDGES) -> Factor:
    """As many samples on each level of an axis; `edges` are those of the volume's bins."""
    levels = volume_bins(edges) if axis == "volume_ml" else LEVELS[axis]
    return Factor((axis,), tuple((level,) for level in levels), (1,) * len(levels))


def matched(facts: Iterable[TumourFacts], axes: Iterable[str], edges: Iterable[float], joint: bool) -> Plan:
    """The plan whose proportions are those of these tumours, axis by axis or all axes together.

    Tumours beyond the volume's edges count as in the bin that is nearest.
    """
    axes, bins = tuple(axes), volume_bins(edges)
    rows = []
    for tumour in facts:
        cell = cell_of(tumour)
        nearest = sum(tumour.volume_ml["WT"] >= low for low, _ in bins[1:])
        rows.append(tuple(bins[nearest] if axis == "volume_ml" else cell[axis] for axis in axes))
    groups = [axes] if joint else [(axis,) for axis in axes]
    factors = []
    for group in groups:
        counts = Counter(tuple(row[axes.index(axis)] for axis in group) for row in rows)
        levels = sorted(counts, key=lambda levels: [_order(a)(v) for a, v in zip(group, levels, strict=True)])
        factors.append(Factor(group, tuple(levels), reduced([counts[level] for level in levels])))
    return Plan(tuple(factors))


def cell_of(facts: TumourFacts) -> dict[str, str | None]:
    """The levels of a tumour on the axes but the volume's, whose levels are a plan's own."""
    return {
        "side": facts.side,
        "lobe": facts.lobe,
        "enhancement": "with" if facts.enhancing else "without",
        "focality": "multifocal" if facts.multifocal else "single",
    }


def volume_bins(edges: Iterable[float]) -> tuple[tuple[float, float], ...]:
    """The bins between ascending edges, ml."""
    edges = [float(edge) for edge in edges]
    return tuple(pairwise(edges))


def level_name(level: Level, axis: str) -> str:
    """A level as it stands in a file or table: "50-100" for a volume, "with enhancement" is "with"."""
    return f"{level[0]:g}-{level[1]:g}" if axis == "volume_ml" else str(level)


def reduced(weights: Iterable[int]) -> tuple[int, ...]:
    """Whole numbers in the same proportions, as small as they go."""
    weights = list(weights)
    common = gcd(*weights)
    return tuple(weight // common for weight in weights)


def _order(axis: str):
    """Sort key of an axis's levels: that of `LEVELS`, or by volume."""
    if axis == "volume_ml":
        return lambda level: level
    known = {level: n for n, level in enumerate((*LEVELS[axis], *LOBES))}
    return lambda level: known.get(level, len(known))


@lru_cache(256)
def _block(weights: tuple[int, ...], seed: int, number: int, block: int) -> tuple[int, ...]:
    """The order of the levels (their indices) in one block of a factor: random, but never one off the shares.

    The i-th of the w samples of a level among T must fall between place (i-1) T/w and i T/w: then the level's count
    is within one of its share at every place. Any choice is taken at random that leaves all later ones possible:
    a place is tight when just as many samples must come before it as there are places.
    """
    total = sum(weights)
    rng = plan_rng(seed, block, number)
    shares = np.array(weights)
    due = np.arange(1, total + 1)[:, None] * shares // total  # (T, levels): how many must have come by each place
    slack = np.arange(1, total + 1) - due.sum(1)
    done = np.zeros(len(shares), int)
    order = []
    for place in range(total):
        open_ = (done < shares) & (done * total < (place + 1) * shares)  # its next sample's time has begun
        tight = np.flatnonzero(slack[place:] == 0)
        if tight.size:
            open_ &= due[place + tight[0]] > done
        choices = np.flatnonzero(open_)
        chosen = int(choices[rng.choice(len(choices), p=shares[choices] / shares[choices].sum())])
        slack[place:] -= due[place:, chosen] <= done[chosen]
        done[chosen] += 1
        order.append(chosen)
    return tuple(order)
