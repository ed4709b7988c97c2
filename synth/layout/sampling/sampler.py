"""The sampler: sample k of seed s is a host, perhaps a donor, and a policy of edits that ends in a lawful layout."""

import inspect
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from synth.errors import LayoutError
from synth.layout.edits import Edit, Largest, Remove, Satellites, edit_from_dict
from synth.layout.edits.policy import Choice, EditPolicy, Step
from synth.layout.edits.presets import policy_of
from synth.layout.facts import describe
from synth.layout.law import MAX_BRAIN_SHARE, LayoutFacts, measure, most_pieces, violations
from synth.layout.layout import Layout
from synth.layout.plans.plan import Plan, Wish
from synth.layout.plans.plan_file import plan_of
from synth.layout.plans.steering import steer

MAX_REDRAWS = 24
MAX_PLANNED_REDRAWS = 96  # a plan asks for rare tumours too: 200 ml in the depth takes ten tries, and all must come
TRIES_PER_PAIR = 4  # hard hosts and donors get several chances, else easy ones would crowd them out
MAX_BROKEN = 0.03  # of a tumour, in pieces that edits broke off: they are taken out, recorded like any edit
_PIECES = "pieces, more than"
_LATE = ("mass_effect",)  # edits that answer to where the tumour is: a plan's moves come before them
_ATTEMPTS = 17  # branch of a sample's seed sequence; 1 to 16 are taken (`generate`, `plan`, `streaming`)
_CACHED_LAYOUTS = 6  # 18 MB each at full size: memory stays flat however many hosts there are


class LayoutSource(Protocol):
    """Where a layout comes from: an id, and the layout when it is asked for."""

    id: str

    def load(self) -> Layout:
        """The layout; loading twice gives the same one."""


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
        plan: what a plan wished for, as `plan.Wish.to_dict`, or None.
    """

    index: int
    seed: int
    host: str
    donor: str | None
    edits: tuple[dict[str, Any], ...]
    redraws: tuple[str, ...] = ()
    plan: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able dict; `from_dict` reads it back. There is no `plan` in it where there was none."""
        out = {**asdict(self), "edits": [dict(edit) for edit in self.edits], "redraws": list(self.redraws)}
        return out if self.plan else {key: value for key, value in out.items() if key != "plan"}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "LayoutRecipe":
        """The recipe of a dict made by `to_dict`.

        Raises:
            LayoutError: an entry is missing, or an edit is unknown or has unlawful parameters.
        """
        needed = [name for name in cls.__dataclass_fields__ if name != "plan"]
        missing = sorted(set(needed) - set(record))
        if missing:
            raise LayoutError(f"recipe: expected the entries {', '.join(needed)}, missing {missing}.")
        edits = tuple(edit_from_dict(edit).to_dict() for edit in record["edits"])
        given = {**{name: record[name] for name in needed}, "plan": record.get("plan")}
        return cls(**{**given, "edits": edits, "redraws": tuple(record["redraws"])})


class LayoutSampler:
    """Draws lawful layouts, each addressed by its index alone.

    Sample k draws everything from `SeedSequence(seed, spawn_key=(k,))`: in whatever order samples are drawn, by
    however many workers, sample k is the same.

    Args:
        hosts: sources of brains, and of donors' tumours. A sequence may be made lazily (`anatomy.AtlasAnatomies`);
            it then has `find(id)`, and says with `healthy` that none of its brains has a tumour.
        edits: a policy or what names one (`edits.presets.policy_of`): a preset, a file, edit specs that are all
            applied in the order given; "none" or nothing leaves the host as it is; None is "standard".
        seed: of the run.
        plan: what the samples' tumours are to be (`plans.plan_file.plan_of`): every sample then is what its place in
            the plan asks for, by steering edits among the policy's own: before a mass effect, and at the end.

    Raises:
        LayoutError: no host, two hosts of one id, an unknown edit or plan.

    Example:
        >>> sampler = LayoutSampler(folder_sources("layouts"), seed=7, plan="balanced-side")
        >>> layout, recipe = sampler.draw(0)
    """

    def __init__(
        self,
        hosts: Sequence[LayoutSource],
        edits: EditPolicy | Mapping | str | Path | Iterable[str] | None = None,
        seed: int = 0,
        plan: Plan | Mapping | str | None = None,
    ):
        if not len(hosts):
            raise LayoutError("no host layouts to sample from; give at least one.")
        if isinstance(seed, bool) or seed < 0:
            raise LayoutError(f"the seed must be a whole number of at least 0, found {seed!r}.")
        self.hosts, self.seed = hosts, int(seed)
        self._healthy = bool(getattr(hosts, "healthy", False))
        self.policy = policy_of("standard" if edits is None else edits, healthy=self._healthy)
        self.plan = None if plan is None else plan_of(plan)
        _check_donors(self.policy, len(hosts), self._healthy)
        self._find = getattr(hosts, "find", None) or _index(hosts)
        # what is loaded is kept for a while: a redraw keeps its pair, and donors come again among few hosts
        self._load = lru_cache(_CACHED_LAYOUTS)(lambda source_id: _in_rows(self._find(source_id).load()))
        self._facts = lru_cache(1024)(lambda source_id: measure(self._load(source_id)))

    def draw(self, index: int, host: str | None = None, *, attempt: int = 0) -> tuple[Layout, LayoutRecipe]:
        """Layout and recipe of sample `index`, of a drawn host or of the one whose id is given.

        Further attempts are other samples for the same place in the plan: what a gate refused is drawn again.

        An unlawful layout, or one that is not as planned, is drawn again, at most `MAX_REDRAWS` times
        (`MAX_PLANNED_REDRAWS` where there is a plan): with the same host and donor for `TRIES_PER_PAIR` attempts, then
        with others. The reasons stand in the recipe.

        Raises:
            LayoutError: no attempt was lawful and as planned; the message counts the reasons.
        """
        if index < 0:
            raise LayoutError(f"a sample's index must be at least 0, found {index}.")
        key = (int(index), *attempt_branch(attempt))
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key))
        wish = self.plan.wish(self.seed, index) if self.plan else None
        redraws, given, most = [], host, MAX_PLANNED_REDRAWS if wish else MAX_REDRAWS
        while len(redraws) <= most:
            if len(redraws) % TRIES_PER_PAIR == 0:
                drawn = self.hosts[int(rng.integers(len(self.hosts)))].id
                host = given or drawn
                donor = self._draw_donor(host, rng) if self._wants_donor() else None
            attempt = self._attempt(index, host, donor, wish, rng)
            if not attempt.found:
                planned = wish.to_dict() if wish else None
                used = donor if attempt.used_donor else None
                edits = tuple(edit.to_dict() for edit in attempt.edits)
                return attempt.layout, LayoutRecipe(index, self.seed, host, used, edits, tuple(redraws), planned)
            redraws.append(attempt.found[0])
        reasons = "; ".join(f"{n} times {reason}" for reason, n in Counter(map(_kind, redraws)).most_common(3))
        planned = f" as planned ({wish})" if wish else ""
        raise LayoutError(
            f"sample {index}: none of {len(redraws)} attempts gave a lawful layout{planned} ({reasons}); "
            f"give other hosts or {'another plan' if wish else 'milder edits'}."
        )

    def replay(self, recipe: LayoutRecipe) -> Layout:
        """The layout of a recipe, exactly as it was drawn; neither preset nor plan is needed.

        Raises:
            LayoutError: its host or donor is not among the sources, or an edit is unknown.
        """
        layout = self._load(recipe.host).named(f"{recipe.index:06d}")
        donor = self._load(recipe.donor) if recipe.donor is not None else None
        for record in recipe.edits:
            layout = edit_from_dict(record).apply(layout, donor)
        return layout

    def judge(self, layout: Layout, recipe: LayoutRecipe) -> list[str]:
        """What the law says of the layout of a recipe; empty means lawful. What was cut off is not known here."""
        attempt = _Attempt(layout, self._facts(recipe.host), self._facts(recipe.donor) if recipe.donor else None)
        for record in recipe.edits:
            attempt.note(edit_from_dict(record))
        return self._judge(attempt)

    def _attempt(self, index: int, host: str, donor: str | None, wish: Wish | None, rng) -> "_Attempt":
        given = self._load(donor) if donor else None
        start = self._load(host).named(f"{index:06d}")
        attempt = _Attempt(start, self._facts(host), self._facts(donor) if donor else None)
        try:
            for step in self._ordered(wish):
                choice = step.draw(rng, tumour=bool(attempt.layout.tumour.any()), donor=given is not None)
                if choice is None:
                    continue
                if wish and choice.edit in _LATE and not attempt.steered:
                    attempt.steer(wish, rng)
                attempt.apply(_drawn(choice, attempt.layout, rng, given, wish), given)
            if wish:
                attempt.steer(wish, rng)
        except LayoutError as error:  # an edit that cannot be done to this layout: another draw may
            attempt.found = [str(error)]
            return attempt
        if attempt.edits:  # otherwise a real layout, as it is
            attempt.found = self._judge(attempt)
            if any(_PIECES in sentence for sentence in attempt.found) and attempt.mend(wish):
                attempt.found = self._judge(attempt)
        return attempt

    def _ordered(self, wish: Wish | None) -> list[Step]:
        """The policy's steps; where the side is planned, brains are mirrored before tumours come to their side."""
        steps = list(self.policy.steps)
        if wish is None or wish.side is None:
            return steps
        return sorted(steps, key=lambda step: [(c.edit, c.target) for c in step.choices] != [("mirror", "layout")])

    def _judge(self, attempt: "_Attempt") -> list[str]:
        return violations(
            attempt.layout,
            lost=1 - attempt.kept,
            reference=attempt.reference,
            tumour_expected=attempt.tumour_expected,
            satellites=attempt.satellites,
        )

    def _wants_donor(self) -> bool:
        return not self._healthy and any(choice.cls.needs_donor for choice in self.policy.choices)

    def _draw_donor(self, host: str, rng) -> str | None:
        """A source other than the host with a tumour that this brain can hold, or None after some tries."""
        for _ in range(16 if len(self.hosts) > 1 else 0):
            donor = self.hosts[int(rng.integers(len(self.hosts)))].id
            if donor != host and 0 < self._facts(donor).volume_ml < 0.9 * MAX_BRAIN_SHARE * self._facts(host).brain_ml:
                return donor
        return None


@dataclass
class _Attempt:
    """One draw under way: the layout so far, and what the law has to know about how it came about.

    Attributes:
        layout: after the edits so far.
        host: facts of the host as it was.
        donor: facts of the donor, if there is one.
        edits: what was done.
        kept: share of the tumour that no edit cut off.
        reference: facts of the real tumour that this one comes from, in the host's brain; without a tumour where it
            was made anew.
        tumour_expected: whether a brain without tumour would be wrong.
        satellites: further pieces that were asked for.
        steered: whether it has been brought to its place in a plan.
        used_donor: whether an edit took something from the donor.
        found: why it will not do.
    """

    layout: Layout
    host: LayoutFacts
    donor: LayoutFacts | None
    edits: list = field(default_factory=list)
    kept: float = 1.0
    reference: LayoutFacts = field(init=False)
    tumour_expected: bool = field(init=False)
    satellites: int = 0
    steered: bool = False
    used_donor: bool = False
    found: list[str] = field(default_factory=list)

    def __post_init__(self):
        self.reference, self.tumour_expected = self.host, bool(self.host.pieces)

    def apply(self, edit: Edit, donor: Layout | None) -> None:
        """Do an edit."""
        self.layout, lost = edit.run(self.layout, donor if edit.needs_donor else None)
        self.kept *= 1 - lost
        self.note(edit)

    def steer(self, wish: Wish, rng) -> None:
        """Do the edits that a plan takes."""
        edits, self.layout, lost = steer(self.layout, wish, rng, fixed=self.steered)
        self.kept *= 1 - lost
        self.steered = True
        for edit in edits:
            self.note(edit)

    def mend(self, wish: Wish | None) -> bool:
        """Take out little pieces that edits broke off; whether that was all there was to it."""
        edit = Largest(count=most_pieces(self.reference, self.satellites))
        mended = edit.run(self.layout).layout
        lost = 1 - np.count_nonzero(mended.tumour) / np.count_nonzero(self.layout.tumour)
        if lost > MAX_BROKEN or (wish and wish.misses(describe(mended))):
            return False
        self.layout, self.kept = mended, self.kept * (1 - lost)
        self.note(edit)
        return True

    def note(self, edit: Edit) -> None:
        """Keep count of what the law has to know."""
        self.edits.append(edit)
        self.used_donor |= edit.needs_donor
        if getattr(edit, "target", "tumour") == "layout":
            return  # the tumour is whose it was
        if edit.needs_tumour:
            if edit.needs_donor:  # of both
                self.reference = self.reference.laxer(self.donor)
        elif edit.needs_donor:
            self.reference, self.satellites, self.tumour_expected = self.host.with_tumour_of(self.donor), 0, True
        else:
            self.reference, self.satellites = self.host.healthy(), 0
            self.tumour_expected = not isinstance(edit, Remove)
        self.satellites += _satellites(edit)


def attempt_branch(attempt: int) -> tuple[int, ...]:
    """Where a sample's draws go on in its seed sequence: in the trunk at first, later attempts have their branches."""
    return (_ATTEMPTS, attempt) if attempt else ()


def _drawn(choice: Choice, layout: Layout, rng, donor: Layout | None, wish: Wish | None) -> Edit:
    """The edit of a choice with its parameters; told of the wish if it can be."""
    cls, options = choice.cls, dict(choice.options)
    options |= {"target": choice.target, "donor": donor if cls.needs_donor else None}
    if wish is None or "wish" not in inspect.signature(cls.draw).parameters:
        return cls.draw(layout, rng, **options)
    try:
        return cls.draw(layout, rng, wish=wish, **options)
    except LayoutError:  # too rare a wish: steering has to do the rest
        return cls.draw(layout, rng, wish=wish.without("lobe", "focality"), **options)


def _satellites(edit: Edit) -> int:
    """How many separate pieces beside the tumour's own an edit was asked for."""
    return len(edit.ml) if isinstance(edit, Satellites) else 0


def _check_donors(policy: EditPolicy, count: int, healthy: bool) -> None:
    """Refuse a policy one of whose steps always needs a donor where there is none."""
    if count > 1 and not healthy:
        return
    for step in policy.steps:
        if step.probability == 1 and not step.possible(tumour=True, donor=False):
            reason = "these brains have no tumours" if healthy else "there is only one"
            raise LayoutError(
                f"the edit {step.choices[0].edit} takes a tumour from another case, and {reason}; give "
                f"{'cases' if healthy else 'more cases'} or other edits."
            )


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


def _kind(reason: str) -> str:
    """A reason without its numbers, so that like ones can be counted."""
    return " ".join(word for word in reason.split(",")[0].split() if not word[0].isdigit())
