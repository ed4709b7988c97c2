"""Edits from outside the package: what `register` takes and refuses, and that a sampler heeds what they say."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
from phantoms import head_layout

from synth.brats import Tumour
from synth.errors import LayoutError
from synth.layout.edits import EDITS, Edit, Outcome, edit_from_dict, register
from synth.layout.edits.edit import span, uniform
from synth.layout.edits.policy_file import policy_from
from synth.layout.layout import Layout
from synth.layout.sampling.sampler import LayoutSampler
from synth.layout.sampling.sources import MemorySource
from synth.layout.space import mirrored

HEADS = [head_layout(seed=seed, case_id=f"head{seed}") for seed in range(3)]
HOSTS = [MemorySource(head) for head in HEADS]
WISHES = []  # that `Plant.draw` was given


@dataclass(frozen=True)
class Plant(Edit):
    """The tumour replaced by itself, without its core."""

    oedema: float

    name: ClassVar[str] = "plant"
    needs_tumour: ClassVar[bool] = False
    heeds_wish: ClassVar[bool] = True
    options: ClassVar[Mapping[str, Any]] = {"oedema": (0.5, 1.0)}

    @classmethod
    def draw(cls, layout, rng, *, target="tumour", donor=None, wish=None, oedema=options["oedema"]):
        WISHES.append(wish)
        return cls(oedema=uniform(rng, span(cls.name, "oedema", oedema, 0, 1)))

    def run(self, layout, donor=None):
        return Outcome(layout)


@dataclass(frozen=True)
class Flip(Edit):
    """The whole head mirrored."""

    name: ClassVar[str] = "flip"
    targets: ClassVar[tuple[str, ...]] = ("layout",)
    needs_tumour: ClassVar[bool] = False
    swaps_sides: ClassVar[bool] = True

    @classmethod
    def draw(cls, layout, rng, *, target="layout", donor=None):
        return cls()

    def run(self, layout, donor=None):
        return Outcome(Layout(mirrored(layout.tissue), mirrored(layout.tumour), layout.affine, layout.id))


@dataclass(frozen=True)
class Press(Flip):
    """Nothing, after the tumour has come to its place."""

    name: ClassVar[str] = "press"
    swaps_sides: ClassVar[bool] = False
    after_placing: ClassVar[bool] = True

    @classmethod
    def draw(cls, layout, rng, *, target="layout", donor=None):
        return cls()

    def run(self, layout, donor=None):
        return Outcome(layout)


@dataclass(frozen=True)
class Resect(Edit):
    """The tumour cut out."""

    name: ClassVar[str] = "resect"
    leaves_tumour: ClassVar[bool] = False

    @classmethod
    def draw(cls, layout, rng, *, target="tumour", donor=None):
        return cls()

    def run(self, layout, donor=None):
        return Outcome(layout.with_tumour())


@dataclass(frozen=True)
class Seed(Edit):
    """A second piece in the far corner of the white matter."""

    asked: bool

    name: ClassVar[str] = "seed"
    options: ClassVar[Mapping[str, Any]] = {"asked": True}

    @property
    def further_pieces(self):
        return int(self.asked)

    @classmethod
    def draw(cls, layout, rng, *, target="tumour", donor=None, asked=options["asked"]):
        return cls(asked=asked)

    def run(self, layout, donor=None):
        far = layout.tissue * (layout.tumour == 0)
        far[tuple(slice(max(p.start - 2, 0), p.stop + 2) for p in _box(layout.tumour))] = 0
        corner = np.argwhere(far == 3)[0]
        tumour = layout.tumour.copy()
        tumour[tuple(slice(n, n + 2) for n in corner)] = Tumour.ED
        return Outcome(Layout(layout.tissue, tumour * (layout.tissue > 0), layout.affine, layout.id))


def _box(mask):
    points = np.argwhere(mask)
    return [slice(a, b + 1) for a, b in zip(points.min(0), points.max(0), strict=True)]


@pytest.fixture(autouse=True)
def known():
    """Our edits are known during a test."""
    before = dict(EDITS)
    WISHES.clear()
    for cls in (Plant, Flip, Press, Resect, Seed):
        register(cls)
    yield
    EDITS.clear()
    EDITS.update(before)


def names(recipe):
    return [edit["name"] for edit in recipe.edits]


def test_an_edit_of_ones_own_is_drawn_recorded_and_replayed():
    policy = policy_from({"steps": [{"edit": "plant", "oedema": [0.6, 0.7]}, "flip"]})
    sampler = LayoutSampler(HOSTS, policy, seed=1)
    layout, recipe = sampler.draw(0)
    assert names(recipe) == ["plant", "flip"]
    assert 0.6 <= edit_from_dict(recipe.edits[0]).oedema <= 0.7
    assert np.array_equal(sampler.replay(recipe).classes, layout.classes)
    assert sampler.judge(layout, recipe) == []
    with pytest.raises(LayoutError, match=r"step 1 \(plant\): unknown key 'mm'; known keys are .*, oedema"):
        policy_from({"steps": [{"edit": "plant", "mm": 3}]})


def test_a_wish_is_told_to_an_edit_that_heeds_one():
    LayoutSampler(HOSTS, ["plant"], 0).draw(0)
    assert WISHES == [None]
    sampler = LayoutSampler(HOSTS, ["plant"], 0, "balanced-side")
    sampler.draw(0)
    assert WISHES[1] == sampler.plan.wish(0, 0)


def test_sides_are_swapped_before_a_planned_side_is_met_and_not_otherwise():
    assert names(LayoutSampler(HOSTS, ["plant", "flip"], 0, "balanced-side").draw(0)[1])[:2] == ["flip", "plant"]
    assert names(LayoutSampler(HOSTS, ["plant", "flip"], 0, "balanced-focality").draw(0)[1])[:2] == ["plant", "flip"]


def test_what_answers_to_the_place_comes_after_the_moves_of_a_plan():
    sampler = LayoutSampler(HOSTS, ["press"], 0, "balanced-side")
    drawn = [names(sampler.draw(k)[1]) for k in range(4)]
    assert ["mirror", "press"] in drawn
    assert {"press"} == {steps[-1] for steps in drawn}


def test_a_brain_without_tumour_is_lawful_after_an_edit_that_leaves_none():
    layout, recipe = LayoutSampler(HOSTS, ["resect"], 0).draw(0)
    assert (layout.tumour.any(), recipe.redraws) == (False, ())


def test_only_pieces_that_were_asked_for_are_lawful():
    layout, recipe = LayoutSampler(HOSTS, {"steps": [{"edit": "seed", "asked": True}]}, 0).draw(0)
    assert names(recipe) == ["seed"]
    sampler = LayoutSampler(HOSTS, "none", 0)
    unasked = {"name": "seed", "asked": False}
    assert sampler.judge(layout, recipe) == []
    assert any("pieces" in problem for problem in sampler.judge(layout, _with(recipe, unasked)))


def _with(recipe, edit):
    return type(recipe).from_dict({**recipe.to_dict(), "edits": [edit]})


def test_registering_again_changes_nothing_and_a_class_defined_again_takes_its_place():
    assert register(Plant) is EDITS["plant"] is Plant

    def define(ml):
        @register
        @dataclass(frozen=True)
        class Again(Plant):
            name: ClassVar[str] = "again"
            options: ClassVar[Mapping[str, Any]] = {"oedema": ml}

            @classmethod
            def draw(cls, layout, rng, *, target="tumour", donor=None, wish=None, oedema=ml):
                return cls(oedema=oedema)

        return Again

    first, second = define(1), define(2)
    assert EDITS["again"] is second is not first


def refused(match):
    return pytest.raises(LayoutError, match=f"cannot be registered as an edit: .*{match}")


def test_what_is_no_edit_is_refused():
    class Thawed(Plant):
        name: ClassVar[str] = "thawed"

    @dataclass(frozen=True)
    class Taken(Plant):
        name: ClassVar[str] = "move"

    @dataclass(frozen=True)
    class Nameless(Edit):
        draw, run = Plant.draw, Plant.run

    @dataclass(frozen=True)
    class Spaced(Plant):
        name: ClassVar[str] = "two words"

    @dataclass(frozen=True)
    class Idle(Edit):
        name: ClassVar[str] = "idle"

    @dataclass(frozen=True)
    class Elsewhere(Plant):
        name: ClassVar[str] = "elsewhere"
        targets: ClassVar[tuple[str, ...]] = ("skull",)

    @dataclass(frozen=True)
    class Undecided(Plant):
        name: ClassVar[str] = "undecided"
        targets: ClassVar[tuple[str, ...]] = ("tumour", "layout")

    @dataclass(frozen=True)
    class Weighty(Plant):
        name: ClassVar[str] = "weighty"
        options: ClassVar[Mapping[str, Any]] = {"weight": 1.0}

    before = dict(EDITS)
    for cls, match in (
        (Thawed, "expected a frozen dataclass; put @register above"),
        (Taken, "the name 'move' is taken by Move of synth.layout.edits.motion"),
        (Nameless, "expected a name of lower-case letters, digits and _, found None"),
        (Spaced, "found 'two words'"),
        (Idle, "found no draw and no run"),
        (Elsewhere, "expected targets out of tumour, layout, found"),
        (Undecided, "expected a field target"),
        (Weighty, "the option 'weight' is a word of policies"),
        (int, "expected a subclass of Edit"),
        ("move", "expected a subclass of Edit"),
    ):
        with refused(match):
            register(cls)
    assert before == EDITS


@pytest.mark.parametrize("name", sorted(EDITS))
def test_the_declared_options_are_the_keywords_of_draw(name):
    cls = EDITS[name]
    parameters = inspect.signature(cls.draw).parameters.values()
    keywords = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    assert cls.heeds_wish == ("wish" in keywords)
    assert cls.options == {key: default for key, default in keywords.items() if key not in ("target", "donor", "wish")}
