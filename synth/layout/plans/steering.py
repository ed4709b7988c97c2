"""Steering: edits of the language itself that bring a tumour to what a plan wishes, recorded like all others.

Where a policy draws tumours by the wish (`new`) there is little left to do; tumours of real cases are moved to the
lobe, brought to the volume, given or robbed of enhancement, and mirrored.
"""

import numpy as np

from synth.errors import LayoutError
from synth.layout.carry import Trail
from synth.layout.edits.composition import DropEnhancement, Recompose
from synth.layout.edits.edit import Edit
from synth.layout.edits.largest import Largest
from synth.layout.edits.motion import Mirror, Move, Scale
from synth.layout.edits.placing import Ground, find_shift, tumour_points
from synth.layout.edits.region import Resize
from synth.layout.edits.satellites import Satellites
from synth.layout.facts import ENHANCING_ML, TumourFacts, describe, side_of
from synth.layout.law import MAX_BRAIN_SHARE, MAX_LOST
from synth.layout.layout import Layout
from synth.layout.lobes import LOBES, lobe_index
from synth.layout.plans.plan import Wish
from synth.layout.space import box_of, spacing

MAX_EDITS = 8  # then another draw is cheaper
_ORDER = ("single", "volume_ml", "lobe", "enhancement", "multifocal", "side")  # the first that misses is next
_OFFERS = 300  # random places in the lobe
_SAMPLE = 250  # voxels that stand for the tumour while its lobe is judged
_MARGIN = 0.06  # of a volume bin's width, kept from its edges: later edits change volumes a little
_SCALED = 1.3  # a volume further off than this factor is met by the tumour's size, not by its oedema alone
_SATELLITE_ML = (0.3, 4.0)


def steer(layout: Layout, wish: Wish, rng: np.random.Generator, *, fixed: bool = False):
    """Edits that make the layout's tumour as wished, one after the other; each is applied before the next is chosen.

    Args:
        layout: with a tumour.
        wish: what it is to be.
        rng: where numbers come from.
        fixed: the tumour must stay where it is (tissue has given way to it); only what else misses is mended.

    Returns:
        The edits, the layout after them, the share of the tumour that was cut off, and what was done to the brain.

    Raises:
        LayoutError: it could not be done.
    """
    edits, kept, trail = [], 1.0, Trail()
    for _ in range(MAX_EDITS + 1):
        facts = describe(layout)
        if not facts.pieces:
            # manifests keep it as a reason to draw again: it says recipe, not policy, as in runs that are resumed
            raise LayoutError("there is no tumour to be as planned: give a recipe that makes one")
        misses = wish.misses(facts)
        if not misses:
            return edits, layout, 1 - kept, trail
        if len(edits) == MAX_EDITS or (fixed and "lobe" in misses):
            break
        missed = min((wish.focality if axis == "focality" else axis for axis in misses), key=_ORDER.index)
        edit = _STEPS[missed](layout, facts, wish, rng)
        outcome = edit.run(layout)
        trail.note(layout, outcome.layout, outcome.moved)
        layout, kept = outcome.layout, kept * (1 - outcome.lost)
        edits.append(edit)
        if 1 - kept > MAX_LOST:  # the law would say so in the end
            raise LayoutError(f"{1 - kept:.0%} of the tumour was cut off in placing it as planned")
    raise LayoutError(f"the tumour could not be made as planned: {' and '.join(misses)} missed")


def _to_lobe(layout: Layout, facts: TumourFacts, wish: Wish, rng) -> Edit:
    """A move within the hemisphere to a place where most of the tumour lies in the lobe and all of it fits."""
    points, core = tumour_points(layout)
    zooms, few = np.array(spacing(layout.affine)), points[rng.permutation(len(points))[:_SAMPLE]]
    middle, box, wanted = points.mean(0), box_of(layout.tissue), LOBES.index(wish.lobe)
    corner = np.array([part.start for part in box])
    places = corner + rng.random((40 * _OFFERS, 3)) * [part.stop - part.start for part in box]
    index = places.astype(int)
    inside = (layout.tissue[tuple(index.T)] > 0) & (lobe_index(places, layout.shape) == wanted)
    places = places[inside][:_OFFERS]
    moved = few[None] + (places - middle)[:, None]
    lobes = lobe_index(moved.reshape(-1, 3), layout.shape).reshape(len(places), -1)
    shares = np.stack([np.mean(lobes == lobe, 1) for lobe in range(len(LOBES))], 1)
    mostly = (shares.argmax(1) == wanted) & [side_of(place, layout) == facts.side for place in moved]
    offers = (places[mostly] - middle) * zooms
    if not len(offers):
        raise LayoutError(f"no place in the {wish.lobe} lobe was found for a tumour of this size")
    return Move(mm=find_shift(points, core, Ground(layout), iter(offers)))


def _to_one(layout: Layout, facts: TumourFacts, wish: Wish, rng) -> Edit:
    return Largest()


def _to_many(layout: Layout, facts: TumourFacts, wish: Wish, rng) -> Edit:
    room = wish.volume_ml[1] - facts.volume_ml["WT"] if wish.volume_ml else np.inf
    most = min(_SATELLITE_ML[1], max(0.5 * room, _SATELLITE_ML[0]))
    return Satellites.draw(layout, rng, count=(1, 2), ml=(_SATELLITE_ML[0], most))


def _to_volume(layout: Layout, facts: TumourFacts, wish: Wish, rng) -> Edit:
    low, high = wish.volume_ml
    brain = np.count_nonzero(layout.tissue) * float(np.prod(spacing(layout.affine))) / 1000
    most = min(high, 0.97 * MAX_BRAIN_SHARE * brain)
    if most <= low:
        raise LayoutError(f"the brain of {brain:.0f} ml cannot hold a tumour of {low:g} ml or more")
    margin = _MARGIN * (most - low)
    goal = float(np.exp(rng.uniform(*np.log([max(low + margin, 1.0), most - margin]))))
    ratio = goal / facts.volume_ml["WT"]
    if 1 / _SCALED <= ratio <= _SCALED:
        return Resize(region="WT", ml=round(goal, 2))
    return Scale.draw(layout, rng, factor=(float(np.clip(np.cbrt(ratio), 0.2, 5)),) * 2)


def _to_enhancement(layout: Layout, facts: TumourFacts, wish: Wish, rng) -> Edit:
    if not wish.enhancing:
        return DropEnhancement.draw(layout, rng)
    # at least what counts as enhancing, and what usual tumours have; the rest stays in its proportions
    least = max(0.04, 2 * ENHANCING_ML / facts.volume_ml["WT"])
    enhancement = rng.uniform(least, max(0.3, least))
    rest = 1 - enhancement
    necrosis = rest * min(facts.volume_ml["NCR"] / max(facts.volume_ml["WT"] - facts.volume_ml["ET"], 1e-6), 0.6)
    first, second = round(float(necrosis), 3), round(float(enhancement), 3)
    return Recompose(shares=(first, second, round(1 - first - second, 3)))


def _to_side(layout: Layout, facts: TumourFacts, wish: Wish, rng) -> Edit:
    return Mirror.draw(layout, rng, target="layout")


_STEPS = {
    "single": _to_one,
    "volume_ml": _to_volume,
    "lobe": _to_lobe,
    "enhancement": _to_enhancement,
    "multifocal": _to_many,
    "side": _to_side,
}
