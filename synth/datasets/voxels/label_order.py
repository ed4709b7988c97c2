"""Whether the labels of a set are NCR, ED and ET in that order, by where they lie: never by one case alone.

In 172 real maps (val's patients left out) the label of oedema makes 0.90 of the tumour's outer surface on average,
but in three of them another makes more (BraTS2021_01479: NCR 0.56). Which of the other two enhances, geometry does
not tell: in the maps of 2021 ET parts NCR from the oedema, in the Decathlon's NCR touches the oedema more. The scan
tells: of the labels that a case has, ET is the brightest in t1ce in all 22 training cases that have it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from synth.brats import MODALITIES, TUMOUR_PARTS, Tumour
from synth.datasets.voxels.verdict import Verdict
from synth.layout.space import box_of

ENOUGH = 3  # cases with a tumour from which on a set is judged; two are only doubted, one says nothing
MOST, LEAST = 0.6, 0.3  # mean share of the surface of the label in ED's place, and of ED's; no two real maps have both
WHOLE = 0.7  # of a single map's surface: no label but ED makes that much in any of 172 real ones
SOME = 0.03  # of a set's cases, by which a part of it is called swapped
DIMMER = 0.7  # of the cases that have NCR and ET, those in which NCR is brighter, by which the two are called swapped
_FEWEST_VOXELS = 20  # of a label, for its brightness
_CONTRAST = MODALITIES.index("t1ce")
_ED = int(Tumour.ED) - 1


@dataclass(frozen=True)
class LabelFacts:
    """Where the three labels of one map lie; each a tuple in the order of `brats.TUMOUR_PARTS`.

    Attributes:
        voxels: of each label.
        surface: of those, the voxels with one of six neighbours outside the tumour.
        t1ce: median of each label after contrast, None for less than 20 voxels; None altogether without the scan.
    """

    voxels: tuple[int, int, int]
    surface: tuple[int, int, int]
    t1ce: tuple[float | None, ...] | None = None


def label_surface(labels: np.ndarray, images: np.ndarray | None = None) -> LabelFacts:
    """The facts that `judge_label_order` wants of each case of a set.

    Args:
        labels: (X, Y, Z) uint8 class indices (`brats.Tumour`); what is beyond the grid counts as outside the tumour.
        images: (X, Y, Z, 4) of the same case, if at hand: with them NCR and ET can be told from each other.
    """
    contrast = None if images is None else images[..., _CONTRAST]
    if labels.flags.f_contiguous:  # the axes do not matter here, the order in memory does
        labels, contrast = labels.T, None if contrast is None else contrast.T
    box = box_of(labels)
    if box is None:
        return LabelFacts((0, 0, 0), (0, 0, 0))
    cut = np.pad(labels[box], 1)
    tumour = cut > 0
    buried = tumour.copy()
    for axis in range(3):
        inside, mask = np.moveaxis(buried, axis, 0), np.moveaxis(tumour, axis, 0)
        inside[1:] &= mask[:-1]
        inside[:-1] &= mask[1:]
    found = np.bincount(cut[tumour], minlength=len(Tumour))[1:]
    outer = np.bincount(cut[tumour & ~buried], minlength=len(Tumour))[1:]
    bright = None
    if contrast is not None:
        cut, contrast = labels[box], contrast[box]
        bright = tuple(
            float(np.median(contrast[cut == k + 1])) if found[k] >= _FEWEST_VOXELS else None for k in range(len(found))
        )
    return LabelFacts(tuple(map(int, found)), tuple(map(int, outer)), bright)


def judge_label_order(facts: Sequence[LabelFacts]) -> list[Verdict]:
    """What is wrong with the labels of a set; nothing for fewer than two cases with a tumour.

    Kinds: "order" (another label than ED's lies around the tumours, in all cases or in those named; or NCR is
    brighter after contrast than ET), "binary" (one label alone in all maps), "lacking" (no case has one of the
    three). Two cases give verdicts that are not `sure`; so does a lacking label, which sets of low grade have.
    """
    at = [i for i, fact in enumerate(facts) if sum(fact.voxels)]
    if len(at) < 2:
        return []
    voxels = np.array([facts[i].voxels for i in at])
    sure = len(at) >= ENOUGH
    present = voxels.any(0)
    if present.sum() == 1:
        return [_binary(int(present.argmax()), len(at), sure)]
    several = np.flatnonzero((voxels > 0).sum(1) > 1)
    surface = np.array([facts[at[i]].surface for i in several], float)
    share = surface / surface.sum(1, keepdims=True)
    chosen = [facts[at[i]] for i in several]
    if len(several) >= 2:
        mean = share.mean(0)
        outer = int(mean.argmax())
        if outer != _ED and mean[outer] >= MOST and mean[_ED] <= LEAST:
            return [_order(outer, mean, chosen, len(several) >= ENOUGH)]
    parts = _part_of_set(share, np.array(at)[several], len(at))
    if parts:
        return parts
    if sure and (swapped := _core_swapped(chosen)):
        return [swapped]
    return [_lacking(int(k), len(at)) for k in np.flatnonzero(~present)] if sure else []


def _binary(only: int, count: int, sure: bool) -> Verdict:
    text = (
        f"all {count} maps hold one label alone, read as {TUMOUR_PARTS[only]}, as binary masks of a tumour do; "
        "expected NCR, ED and ET apart: use the full label maps."
    )
    return Verdict("binary", (), text, sure)


def _lacking(label: int, count: int) -> Verdict:
    name = TUMOUR_PARTS[label]
    text = (
        f"none of the {count} cases with a tumour has {name}, which most of BraTS's have; "
        "make sure that the labels are read by the right table."
    )
    return Verdict("lacking", (), text, sure=False)


def _order(outer: int, mean: np.ndarray, chosen: Sequence[LabelFacts], sure: bool) -> Verdict:
    order = _order_found(outer, chosen)
    text = (
        f"the label read as {TUMOUR_PARTS[outer]} makes {mean[outer]:.0%} of the tumours' outer surface and that read "
        f"as ED {mean[_ED]:.0%} (mean of {len(chosen)} cases), where in BraTS's order ED makes about 90%; "
        f"{_reading(order)}: read the set by its own label table."
    )
    return Verdict("order", (), text, sure, order=order)


def _order_found(outer: int, chosen: Sequence[LabelFacts]) -> tuple[str, ...]:
    """What the three labels are, given which one lies around the tumours."""
    inner = [k for k in range(3) if k != outer]
    order = [""] * 3
    order[outer] = "ED"
    brighter = _brighter(chosen, *inner)
    if brighter is not None and not DIMMER > brighter > 1 - DIMMER:
        first_enhances = brighter > 0.5
        order[inner[0]], order[inner[1]] = ("ET", "NCR") if first_enhances else ("NCR", "ET")
    return tuple(order)


def _reading(order: tuple[str, ...]) -> str:
    known = [f"{name} as {part}" for name, part in zip(order, TUMOUR_PARTS, strict=True) if name and name != part]
    return f"it looks as if {', '.join(known)} were read"


def _brighter(chosen: Sequence[LabelFacts], a: int, b: int) -> float | None:
    """In what share of the cases that tell label `a` is brighter than `b` after contrast; None for too few."""
    pairs = [(f.t1ce[a], f.t1ce[b]) for f in chosen if f.t1ce is not None]
    pairs = [(x, y) for x, y in pairs if x is not None and y is not None]
    return float(np.mean([x > y for x, y in pairs])) if len(pairs) >= ENOUGH else None


def _part_of_set(share: np.ndarray, at: np.ndarray, count: int) -> list[Verdict]:
    """A verdict for each label that lies around the tumours of some cases only."""
    verdicts = []
    for label in range(share.shape[1]):
        cases = at[share[:, label] >= WHOLE]
        if label == _ED or len(cases) < max(ENOUGH, SOME * count):
            continue
        text = (
            f"in {len(cases)} of {count} cases the label read as {TUMOUR_PARTS[label]} makes more than {WHOLE:.0%} of "
            "the tumour's outer surface, where ED makes about 90% in BraTS's order; these seem to come from a set "
            "with another label table: keep the two apart, and read each by its own."
        )
        order = tuple("ED" if k == label else "" for k in range(3))
        verdicts.append(Verdict("order", (), text, cases=tuple(map(int, cases)), order=order))
    return verdicts


def _core_swapped(chosen: Sequence[LabelFacts]) -> Verdict | None:
    """NCR and ET in each other's place."""
    ncr, et = int(Tumour.NCR) - 1, int(Tumour.ET) - 1
    brighter = _brighter(chosen, ncr, et)
    if brighter is None or brighter < DIMMER:
        return None
    order = ("ET", "ED", "NCR")
    text = (
        f"in {brighter:.0%} of the cases the label read as NCR is brighter in t1ce than that read as ET, where ET is "
        f"the brightest in BraTS's order; {_reading(order)}: read the set by its own label table."
    )
    return Verdict("order", (), text, order=order)
