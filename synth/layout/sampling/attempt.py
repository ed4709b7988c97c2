"""One attempt at a sample: edits done one after the other, and what the law has to know of them."""

from dataclasses import dataclass, field

import numpy as np

from synth.errors import LayoutError
from synth.layout.carry import Trail
from synth.layout.edits import Edit, Largest
from synth.layout.edits.policy import Choice
from synth.layout.facts import describe
from synth.layout.law import LayoutFacts, most_pieces
from synth.layout.layout import Layout
from synth.layout.plans.plan import Wish
from synth.layout.plans.steering import steer

MAX_BROKEN = 0.03  # of a tumour, in pieces that edits broke off: they are taken out, recorded like any edit


@dataclass
class Attempt:
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
        trail: what was done to the brain, for its detail.
        problems: why it will not do.
    """

    layout: Layout
    host: LayoutFacts
    donor: LayoutFacts | None
    edits: list[Edit] = field(default_factory=list)
    kept: float = 1.0
    reference: LayoutFacts = field(init=False)
    tumour_expected: bool = field(init=False)
    satellites: int = 0
    steered: bool = False
    used_donor: bool = False
    trail: Trail = field(default_factory=Trail)
    problems: list[str] = field(default_factory=list)

    def __post_init__(self):
        """Begin with the host's tumour."""
        self.reference, self.tumour_expected = self.host, bool(self.host.pieces)

    def apply(self, edit: Edit, donor: Layout | None) -> None:
        """Do an edit."""
        outcome = edit.run(self.layout, donor if edit.needs_donor else None)
        self.trail.note(self.layout, outcome.layout, outcome.moved)
        self.layout, self.kept = outcome.layout, self.kept * (1 - outcome.lost)
        self.note(edit)

    def steer(self, wish: Wish, rng: np.random.Generator) -> None:
        """Do the edits that a plan takes."""
        edits, self.layout, lost, trail = steer(self.layout, wish, rng, fixed=self.steered)
        self.trail.join(trail)
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
        if edit.acts_on == "layout":
            return  # the tumour is whose it was
        if edit.needs_tumour:
            if edit.needs_donor:  # of both
                self.reference = self.reference.laxer(self.donor)
            self.tumour_expected &= edit.leaves_tumour
        else:
            self.reference = self.host.with_tumour_of(self.donor) if edit.needs_donor else self.host.healthy()
            self.satellites, self.tumour_expected = 0, edit.leaves_tumour
        self.satellites += edit.further_pieces


def draw_edit(
    choice: Choice, layout: Layout, rng: np.random.Generator, donor: Layout | None, wish: Wish | None
) -> Edit:
    """The edit of a choice with its parameters; told of the wish if it can be."""
    cls, options = choice.cls, dict(choice.options)
    options |= {"target": choice.target, "donor": donor if cls.needs_donor else None}
    if wish is None or not cls.heeds_wish:
        return cls.draw(layout, rng, **options)
    try:
        return cls.draw(layout, rng, wish=wish, **options)
    except LayoutError:  # too rare a wish: steering has to do the rest
        return cls.draw(layout, rng, wish=wish.without("lobe", "focality"), **options)
