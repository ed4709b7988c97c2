"""The sampler: sample k of seed s is a host, perhaps a donor, and a recipe of edits that ends in a lawful layout."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from synth.errors import LayoutError
from synth.layout.edits import edit_from_dict, parse_edit
from synth.layout.edits.presets import Step, steps_of
from synth.layout.law import MAX_BRAIN_SHARE, LayoutFacts, measure, violations
from synth.layout.layout import Layout, list_layouts, load_layout

MAX_REDRAWS = 24
TRIES_PER_PAIR = 4  # hard hosts and donors get several chances, else easy ones would crowd them out
_CACHED_LAYOUTS = 6  # 18 MB each at full size: memory stays flat however many hosts there are


class LayoutSource(Protocol):
    """Where a layout comes from: an id, and the layout when it is asked for."""

    id: str

    def load(self) -> Layout:
        """The layout; loading twice gives the same one."""


@dataclass(frozen=True)
class FolderSource:
    """A layout in a folder written by `save_layout`."""

    path: Path

    @property
    def id(self) -> str:
        """The layout's id: the folder's name."""
        return self.path.name

    def load(self) -> Layout:
        """Read the layout."""
        return load_layout(self.path)


@dataclass(frozen=True)
class MemorySource:
    """A layout that is in memory already."""

    layout: Layout

    @property
    def id(self) -> str:
        """The layout's id."""
        return self.layout.id

    def load(self) -> Layout:
        """The layout."""
        return self.layout


def folder_sources(folder: str | Path) -> list[FolderSource]:
    """The layouts below `folder`, sorted by id, as sources; nothing is read yet.

    Raises:
        LayoutError: there are none.
    """
    found = [FolderSource(path) for path in list_layouts(folder)]
    if not found:
        raise LayoutError(f"{folder}: expected folders with layouts, found none; run `synth layouts extract` first.")
    return found


@dataclass(frozen=True)
class LayoutRecipe:
    """How one layout was made; JSON-able, and enough to make it again.

    Attributes:
        index: which sample.
        seed: of the run.
        host: id of the source of the brain.
        donor: id of the source of the tumour, or None where no edit used one.
        edits: what was done, in order, as `Edit.to_dict`.
        redraws: for each attempt before this one, why its layout was unlawful.
    """

    index: int
    seed: int
    host: str
    donor: str | None
    edits: tuple[dict[str, Any], ...]
    redraws: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able dict; `from_dict` reads it back."""
        return {**asdict(self), "edits": [dict(edit) for edit in self.edits], "redraws": list(self.redraws)}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "LayoutRecipe":
        """The recipe of a dict made by `to_dict`.

        Raises:
            LayoutError: an entry is missing, or an edit is unknown or has unlawful parameters.
        """
        missing = sorted(set(cls.__dataclass_fields__) - set(record))
        if missing:
            raise LayoutError(f"recipe: expected the entries {', '.join(cls.__dataclass_fields__)}, missing {missing}.")
        edits = tuple(edit_from_dict(edit).to_dict() for edit in record["edits"])
        given = {name: record[name] for name in cls.__dataclass_fields__}
        return cls(**{**given, "edits": edits, "redraws": tuple(record["redraws"])})


class LayoutSampler:
    """Draws lawful layouts, each addressed by its index alone.

    Sample k draws everything from `SeedSequence(seed, spawn_key=(k,))`: in whatever order samples are drawn, by
    however many workers, sample k is the same.

    Args:
        hosts: sources of brains, and of donors' tumours. A sequence may be made lazily (`anatomy.AtlasAnatomies`);
            it then has `find(id)`, and may name the preset that suits it as `edits`.
        edits: a preset's name (`edits.presets.PRESETS`), or edit specs that are all applied in the order given;
            "none" or nothing leaves the host as it is; None is the hosts' own preset, else "standard".
        seed: of the run.

    Raises:
        LayoutError: no host, two hosts of one id, or an unknown edit.

    Example:
        >>> sampler = LayoutSampler(folder_sources("layouts"), seed=7)
        >>> layout, recipe = sampler.draw(0)
    """

    def __init__(self, hosts: Sequence[LayoutSource], edits: str | Iterable[str] | None = None, seed: int = 0):
        if not len(hosts):
            raise LayoutError("no host layouts to sample from; give at least one.")
        if isinstance(seed, bool) or seed < 0:
            raise LayoutError(f"the seed must be a whole number of at least 0, found {seed!r}.")
        self.hosts, self.seed = hosts, int(seed)
        self.steps = steps_of(getattr(hosts, "edits", "standard") if edits is None else edits)
        alone = [step for step in self.steps if step.probability == 1.0 and not _possible(step, len(hosts) > 1)[0]]
        if alone:
            raise LayoutError(
                f"the edit {alone[0].choices[0]} takes a tumour from another case, and there is only one; give more "
                "cases or other edits."
            )
        self._find = getattr(hosts, "find", None) or _index(hosts)
        # what is loaded is kept for a while: a redraw keeps its pair, and donors come again among few hosts
        self._load = lru_cache(_CACHED_LAYOUTS)(lambda source_id: _in_rows(self._find(source_id).load()))
        self._facts = lru_cache(1024)(lambda source_id: measure(self._load(source_id)))

    def draw(self, index: int) -> tuple[Layout, LayoutRecipe]:
        """Layout and recipe of sample `index`.

        An unlawful layout is drawn again, at most `MAX_REDRAWS` times: with the same host and donor for
        `TRIES_PER_PAIR` attempts, then with others. The reasons stand in the recipe.

        Raises:
            LayoutError: no attempt was lawful; the message counts the reasons.
        """
        if index < 0:
            raise LayoutError(f"a sample's index must be at least 0, found {index}.")
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(int(index),)))
        redraws: list[str] = []
        while len(redraws) <= MAX_REDRAWS:
            if len(redraws) % TRIES_PER_PAIR == 0:
                host = self.hosts[int(rng.integers(len(self.hosts)))].id
                donor = self._draw_donor(host, rng) if self._wants_donor() else None
            layout, recipe, found = self._attempt(index, host, donor, tuple(redraws), rng)
            if not found:
                return layout, recipe
            redraws.append(found[0])
        reasons = "; ".join(f"{n} times {reason}" for reason, n in Counter(map(_kind, redraws)).most_common(3))
        raise LayoutError(
            f"sample {index}: none of {len(redraws)} attempts gave a lawful layout ({reasons}); "
            "give other hosts or milder edits."
        )

    def replay(self, recipe: LayoutRecipe) -> Layout:
        """The layout of a recipe, exactly as it was drawn.

        Raises:
            LayoutError: its host or donor is not among the sources, or an edit is unknown.
        """
        layout = _named(self._load(recipe.host), recipe.index)
        donor = self._load(recipe.donor) if recipe.donor is not None else None
        for record in recipe.edits:
            layout = edit_from_dict(record).apply(layout, donor)
        return layout

    def _attempt(self, index, host, donor, redraws, rng) -> tuple[Layout, LayoutRecipe, list[str]]:
        layout = _named(self._load(host), index)
        tumour_of, kept, done = host, 1.0, []
        for name in self._names(donor is not None, rng):
            cls, target = parse_edit(name)
            if cls.needs_tumour and target == "tumour" and not layout.tumour.any():
                continue  # a healthy host: there is nothing to edit until a swap brings it
            given = self._load(donor) if cls.needs_donor else None
            edit = cls.draw(layout, rng, target=target, donor=given)
            layout, lost = edit.run(layout, given)
            kept *= 1 - lost
            done.append(edit)
            if cls.needs_donor:
                tumour_of = donor
        used = donor if tumour_of != host else None
        recipe = LayoutRecipe(index, self.seed, host, used, tuple(edit.to_dict() for edit in done), redraws)
        if not done:
            return layout, recipe, []  # a real layout, as it is
        return layout, recipe, self._judge(layout, 1 - kept, host, tumour_of, done)

    def _judge(self, layout, lost, host, tumour_of, done) -> list[str]:
        reference: LayoutFacts = self._facts(tumour_of)
        if tumour_of != host:  # the brain is the host's, the tumour the donor's
            reference = LayoutFacts(**{**vars(reference), "faces": self._facts(host).faces})
        removed = any(edit.name == "remove" for edit in done)
        return violations(
            layout, lost=lost, reference=reference, tumour_expected=not removed and bool(reference.pieces)
        )

    def _names(self, has_donor: bool, rng) -> list[str]:
        """One edit spec for each step that takes place."""
        names = []
        for step in self.steps:
            choices, weights = _possible(step, has_donor)
            happens = rng.random() < step.probability
            if happens and choices:
                names.append(choices[int(rng.choice(len(choices), p=weights))])
        return names

    def _wants_donor(self) -> bool:
        return any(parse_edit(name)[0].needs_donor for step in self.steps for name in step.choices)

    def _draw_donor(self, host: str, rng) -> str | None:
        """A source other than the host with a tumour that this brain can hold, or None after some tries."""
        for _ in range(16 if len(self.hosts) > 1 else 0):
            donor = self.hosts[int(rng.integers(len(self.hosts)))].id
            if donor != host and 0 < self._facts(donor).volume_ml < 0.9 * MAX_BRAIN_SHARE * self._facts(host).brain_ml:
                return donor
        return None


def _possible(step: Step, has_donor: bool) -> tuple[list[str], np.ndarray]:
    weights = step.weights or (1.0,) * len(step.choices)
    pairs = [
        (name, weight)
        for name, weight in zip(step.choices, weights, strict=True)
        if has_donor or not parse_edit(name)[0].needs_donor
    ]
    total = sum(weight for _, weight in pairs)
    return [name for name, _ in pairs], np.array([weight / total for _, weight in pairs])


def _index(hosts: Sequence[LayoutSource]):
    by_id = {}
    for source in hosts:
        if source.id in by_id:
            raise LayoutError(f"two host layouts have the id {source.id!r}; ids must be unique.")
        by_id[source.id] = source

    def find(source_id: str) -> LayoutSource:
        if source_id not in by_id:
            raise LayoutError(f"the layout {source_id!r} is not among the {len(by_id)} sources; give the same data.")
        return by_id[source_id]

    return find


def _in_rows(layout: Layout) -> Layout:
    """The same layout in C order: NIfTI files are read in Fortran order, which the edits' crops are slow in."""
    maps = [np.ascontiguousarray(array) for array in (layout.tissue, layout.tumour)]
    return Layout(*maps, layout.affine, layout.id)


def _named(layout: Layout, index: int) -> Layout:
    return Layout(layout.tissue, layout.tumour, layout.affine, f"{index:06d}")


def _kind(reason: str) -> str:
    """A reason without its numbers, so that like ones can be counted."""
    return " ".join(word for word in reason.split(",")[0].split() if not word[0].isdigit())
