"""The sampler: sample k of seed s is a host, perhaps a donor, and a policy of edits that ends in a lawful layout."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import islice

from synth.errors import LayoutError
from synth.layout.carry import Trail
from synth.layout.detail import TONES
from synth.layout.edits import edit_from_dict
from synth.layout.edits.policy import EditPolicy, Step
from synth.layout.edits.presets import AnyPolicy, policy_of
from synth.layout.law import MAX_BRAIN_SHARE, measure, violations
from synth.layout.layout import Layout
from synth.layout.plans.plan import Wish
from synth.layout.plans.plan_file import AnyPlan, plan_of
from synth.layout.priors.detail import shipped_detail_prior
from synth.layout.priors.tones import shipped_tone_prior
from synth.layout.sampling.attempt import Attempt, draw_edit
from synth.layout.sampling.deck import Deck
from synth.layout.sampling.recipe import LayoutRecipe
from synth.layout.sampling.sources import LayoutSource, finder, in_rows, layers_of
from synth.layout.space import box_of
from synth.lineage import descended
from synth.randomness import Branch, sample_rng

MAX_REDRAWS = 24
MAX_PLANNED_REDRAWS = 96  # a plan asks for rare tumours too: 200 ml in the depth takes ten tries, and all must come
DONORS_TRIED = 16
TRIES_PER_PAIR = 4  # hard hosts and donors get several chances, else easy ones would crowd them out
_PIECES = "pieces, more than"
_CACHED_LAYOUTS = 6  # 18 MB each at full size: memory stays flat however many hosts there are
_CACHED_DETAILS = 2  # 72 MB each: a sample's host and donor
_ENDLESS = 1  # of either, of brains of which none comes twice and none is a donor; none once its detail is known


class LayoutSampler:
    """Draws lawful layouts, each addressed by its index alone.

    Sample k draws everything from `randomness.sample_rng(seed, k)`, and has its host and donor from a shuffled deck,
    so that each comes as often as any other (`sampling.deck`): in whatever order samples are drawn, by however many
    workers, sample k is the same.

    Args:
        hosts: sources of brains, and of donors' tumours. A sequence may be made lazily
            (`hosts.anatomies.AtlasAnatomies`); it then has `find(id)`, and says with `healthy` that none of its brains
            has a tumour.
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
        edits: AnyPolicy | None = None,
        seed: int = 0,
        plan: AnyPlan | None = None,
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
        self._find = finder(hosts)
        # of endless atlas brains none comes twice
        self.deck = None if self._healthy else Deck(len(hosts), self.seed)
        # what is loaded is kept for a while: a redraw keeps its pair, and donors come again among few hosts
        layouts, details = (_ENDLESS, _ENDLESS) if self._healthy else (_CACHED_LAYOUTS, _CACHED_DETAILS)
        self._load = lru_cache(layouts)(lambda source_id: in_rows(self._find(source_id).load()))
        self._layers = lru_cache(details)(
            lambda source_id, tones: layers_of(self._find(source_id), box_of(self._load(source_id).tissue), tones)
        )
        self._facts = lru_cache(1024)(lambda source_id: measure(self._load(source_id)))

    def draw(
        self, index: int, host: str | None = None, *, attempt: int = 0, detail: bool = False
    ) -> tuple[Layout, LayoutRecipe]:
        """Layout and recipe of sample `index`, of a drawn host or of the one whose id is given.

        Further attempts are other samples for the same place in the plan: what a gate refused is drawn again.

        An unlawful layout, or one that is not as planned, is drawn again, at most `MAX_REDRAWS` times
        (`MAX_PLANNED_REDRAWS` where there is a plan): with the same host and donor for `TRIES_PER_PAIR` attempts, then
        with others. The reasons stand in the recipe.

        Args:
            index: of the sample.
            host: the id of its host; None: a drawn one.
            attempt: 0, or which further draw for its place.
            detail: give the layout the detail of its host and donor, drawn where they have none: twice the time or
                more.

        Raises:
            LayoutError: no attempt was lawful and as planned; the message counts the reasons.
        """
        if index < 0:
            raise LayoutError(f"a sample's index must be at least 0, found {index}.")
        rng = sample_rng(self.seed, index, attempt=attempt)
        wish = self.plan.wish(self.seed, index) if self.plan else None
        redraws, given, most = [], host, MAX_PLANNED_REDRAWS if wish else MAX_REDRAWS
        while len(redraws) <= most:
            if len(redraws) % TRIES_PER_PAIR == 0:
                host, donor = self._pair(index, given, rng, again=bool(redraws))
            attempt = self._attempt(index, host, donor, wish, rng)
            if not attempt.problems:
                planned = wish.to_dict() if wish else None
                used = donor if attempt.used_donor else None
                edits = tuple(edit.to_dict() for edit in attempt.edits)
                lineage = descended(
                    (name, getattr(self._find(name), "ancestors", None)) for name in (host, used) if name is not None
                )
                recipe = LayoutRecipe(index, self.seed, host, used, edits, tuple(redraws), planned, lineage)
                layout = attempt.layout
                return self._detailed(attempt.trail, layout, recipe) if detail else layout, recipe
            redraws.append(attempt.problems[0])
        reasons = "; ".join(f"{n} times {reason}" for reason, n in Counter(map(_kind, redraws)).most_common(3))
        planned = f" as planned ({wish})" if wish else ""
        raise LayoutError(
            f"sample {index}: none of {len(redraws)} attempts gave a lawful layout{planned} ({reasons}); "
            f"give other hosts or {'another plan' if wish else 'milder edits'}."
        )

    def source(self, source_id: str) -> Layout:
        """The layout of a host or donor as it is; that of a sample just drawn is still at hand."""
        return self._load(source_id)

    def replay(self, recipe: LayoutRecipe, *, detail: bool = False) -> Layout:
        """The layout of a recipe, exactly as it was drawn (with detail if it is to be); needs neither preset nor plan.

        Raises:
            LayoutError: its host or donor is not among the sources, or an edit is unknown.
        """
        layout, trail = self._load(recipe.host).named(f"{recipe.index:06d}"), Trail()
        donor = self._load(recipe.donor) if recipe.donor is not None else None
        for record in recipe.edits:
            outcome = edit_from_dict(record).run(layout, donor)
            trail.note(layout, outcome.layout, outcome.moved)
            layout = outcome.layout
        return self._detailed(trail, layout, recipe) if detail else layout

    def _detailed(self, trail: Trail, layout: Layout, recipe: LayoutRecipe) -> Layout:
        """A finished layout with the detail of its sources, or drawn where they have none.

        A tumour that is not its host's has tones of its own, and white matter fades towards it.
        """
        names = (recipe.host, recipe.donor) if trail.mixed else (recipe.host,)
        if trail.known:
            found = (replace(self._load(name), detail=self._layers(name, not trail.moves)) for name in names)
            layout = trail.followed(layout, *found)
            if self._healthy:
                self._load.cache_clear()
                self._layers.cache_clear()
        detail = layout.detail
        if detail is None:
            rng = sample_rng(recipe.seed, recipe.index, Branch.DETAIL)
            detail = shipped_detail_prior().draw(layout.tissue, layout.affine, rng)
        if not detail.toned:
            rng = sample_rng(recipe.seed, recipe.index, Branch.TONES)
            prior = shipped_tone_prior()
            wm = prior.faded(detail.wm, layout.tumour, layout.affine)
            tones = prior.draw(layout.tumour, layout.affine, rng)
            detail = replace(detail, wm=wm, **dict(zip(TONES, tones, strict=True)))
        return replace(layout, detail=detail)

    def judge(self, layout: Layout, recipe: LayoutRecipe) -> list[str]:
        """What the law says of the layout of a recipe; empty means lawful. What was cut off is not known here."""
        attempt = Attempt(layout, self._facts(recipe.host), self._facts(recipe.donor) if recipe.donor else None)
        for record in recipe.edits:
            attempt.note(edit_from_dict(record))
        return self._judge(attempt)

    def _attempt(self, index: int, host: str, donor: str | None, wish: Wish | None, rng) -> Attempt:
        given = self._load(donor) if donor else None
        start = self._load(host).named(f"{index:06d}")
        attempt = Attempt(start, self._facts(host), self._facts(donor) if donor else None)
        try:
            for step in self._ordered(wish):
                choice = step.draw(rng, tumour=bool(attempt.layout.tumour.any()), donor=given is not None)
                if choice is None:
                    continue
                if wish and choice.cls.after_placing and not attempt.steered:
                    attempt.steer(wish, rng)
                attempt.apply(draw_edit(choice, attempt.layout, rng, given, wish), given)
            if wish:
                attempt.steer(wish, rng)
        except LayoutError as error:  # an edit that cannot be done to this layout: another draw may
            attempt.problems = [str(error)]
            return attempt
        if attempt.edits:  # otherwise a real layout, as it is
            attempt.problems = self._judge(attempt)
            if any(_PIECES in problem for problem in attempt.problems) and attempt.mend(wish):
                attempt.problems = self._judge(attempt)
        return attempt

    def _ordered(self, wish: Wish | None) -> list[Step]:
        """The policy's steps; where the side is planned, brains are mirrored before tumours come to their side."""
        steps = list(self.policy.steps)
        if wish is None or wish.side is None:
            return steps
        return sorted(steps, key=lambda step: not _swaps_sides(step))

    def _judge(self, attempt: Attempt) -> list[str]:
        return violations(
            attempt.layout,
            lost=1 - attempt.kept,
            reference=attempt.reference,
            tumour_expected=attempt.tumour_expected,
            satellites=attempt.satellites,
        )

    def _wants_donor(self) -> bool:
        return not self._healthy and any(choice.cls.needs_donor for choice in self.policy.choices)

    def _pair(self, index: int, given: str | None, rng, *, again: bool) -> tuple[str, str | None]:
        """Host and donor of a sample: those of the deck, or drawn `again` where these made no lawful layout.

        The donor is a source other than the host with a tumour that its brain can hold, None after some tries.
        """
        count = len(self.hosts)
        if again or self.deck is None:
            place, places = int(rng.integers(count)), (int(rng.integers(count)) for _ in range(DONORS_TRIED))
        else:
            place, places = self.deck.host(index), islice(self.deck.donors(index), DONORS_TRIED)
        host = given or self.hosts[place].id
        if not self._wants_donor() or count < 2:
            return host, None
        most = 0.9 * MAX_BRAIN_SHARE * self._facts(host).brain_ml
        donors = (self.hosts[place].id for place in places)
        return host, next((name for name in donors if name != host and 0 < self._facts(name).volume_ml < most), None)


def _swaps_sides(step: Step) -> bool:
    """Whether whatever the step does swaps the brain's sides."""
    swapping = [choice.target == "layout" and choice.cls.swaps_sides for choice in step.choices]
    return bool(swapping) and all(swapping)


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


def _kind(reason: str) -> str:
    """A reason without its numbers, so that like ones can be counted."""
    return " ".join(word for word in reason.split(",")[0].split() if not word[0].isdigit())
