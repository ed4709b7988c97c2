"""Shares of a brain's detail mixed at places between its voxels, in whole numbers: the same on every machine.

Two shares of the eight voxels around a place are weighted and added at once, in one number. Vessels, void and what lies
outside the brain are near few places: they are added apart.
"""

import numpy as np

from synth.brats import Tissue
from synth.layout.cortex import STEPS_PER_MM
from synth.layout.detail import EIGHTHS
from synth.layout.layout import Layout
from synth.layout.space import box_of, slabs, sums_of_27

PARTS = 8  # of a voxel: how finely a place is told
WHOLE = PARTS**3  # what the weights of the eight voxels around a place add up to
_BITS = 13  # of a share times its weights
_FIELD = (1 << _BITS) - 1
_NEARER = np.array([0, 0, 1, 2, 4, 6, 7, 8], np.uint32)  # parts of the way between two voxels: steeper, to blur less


class Source:
    """The detail of a layout, packed to be weighted and added; one voxel of nothing lies beyond the brain's box.

    Attributes:
        box: of the layout's brain.
        shape: of the grid.
        strides: (3,) from a voxel to the next.
        shares: uint32: eighths of CSF, of WM `_BITS` higher, and at the top a bit where `others` says only a tissue.
        others: uint8: tissue, then vessels, then void; 0 outside the brain.
    """

    def __init__(self, layout: Layout):
        self.box, self.shape = box_of(layout.tissue), layout.shape
        size = [part.stop - part.start + 1 for part in self.box]
        self.strides = size[1] * size[2], size[2], 1
        shares, others = np.zeros(size, np.uint32), np.zeros(size, np.uint8)
        labels, layers = layout.tissue[self.box], [layer[self.box] for layer in layout.detail.mixed]
        for place in slabs(labels):
            tissue, csf, wm, vessels, void = (part[place] for part in (labels, *layers))
            brain = tissue > 0
            other = ((void << 3 | vessels) << 2 | tissue) * brain
            share = (wm * brain).astype(np.uint32) << _BITS
            share |= csf * brain
            share |= (other - np.uint8(1) < 3).astype(np.uint32) << 31
            others[place], shares[place] = other, share
        self.shares, self.others = shares.ravel(), others.ravel()


def mixed(source: Source, places: list[np.ndarray], tissue: np.ndarray, relabelled: np.ndarray) -> np.ndarray:
    """(4, n) uint8, `Detail.mixed` at n places of a layout, for voxels that are of these tissues now.

    The way to the next voxel counts by `_NEARER`. Those that were `relabelled` trade shares.
    """
    eighths, beyond = [], np.zeros(len(tissue), bool)
    for place, part, size in zip(places, source.box, source.shape, strict=True):
        if part.start > 0:
            beyond |= place < part.start - 0.5
        if part.stop < size:
            beyond |= place > part.stop - 0.5
        # a brain goes on where the scan ends; elsewhere there is nothing to mix in
        eighths.append(in_parts(place - part.start, part.stop - part.start - 1))
    index, weights = around(eighths, source.strides)
    weights = [_NEARER.take(weight) for weight in weights]
    index, plain = index.astype(np.intp), np.full(len(tissue), 1 << 31, np.uint32)

    def share(step):
        values = source.shares[step:].take(index)
        np.bitwise_and(plain, values, out=plain)
        return values

    total = weighted(share, source.strides, weights)
    found = np.zeros((4, len(tissue)), np.uint8)
    for layer, part in zip(found, (total & _FIELD, total >> _BITS & _FIELD), strict=False):
        part += WHOLE // 2
        layer[...] = np.right_shift(part, 9, out=part)  # divided by `WHOLE`, rounded
    special = plain == 0
    at = np.flatnonzero(special)
    divided, brain = _divided(source, index[at], [w[at] for w in weights], total[at])
    for layer, part in zip(found, divided, strict=True):
        layer[at] = part
    np.minimum(found[1], EIGHTHS - found[0], out=found[1])
    beyond[at] |= ~brain
    at = np.flatnonzero(relabelled)
    nearest = sum((part[at] + PARTS // 2 >> 3) * stride for part, stride in zip(eighths, source.strides, strict=True))
    _trade(found, at, (source.others.take(nearest) & 3) * ~beyond[at], tissue)
    empty = np.flatnonzero(beyond)  # nothing was there: all is what the voxel is now
    found[0, empty] = (tissue[empty] == Tissue.CSF) * EIGHTHS
    found[1, empty] = (tissue[empty] == Tissue.WM) * EIGHTHS
    return found


def in_parts(steps: np.ndarray, last: float) -> np.ndarray:
    """Places along an axis in whole parts of a voxel, `PARTS` each, int32, none before 0 or beyond `last`.

    Args:
        steps: float, in voxels; overwritten.
        last: in voxels.
    """
    np.clip(steps, 0, last, out=steps)
    steps *= PARTS
    return np.rint(steps, out=steps).astype(np.int32)


def around(parts: list[np.ndarray], strides) -> tuple[np.ndarray, list[np.ndarray]]:
    """Flat index, int32, of the first of the eight voxels around places `in_parts`, and the `weighted` weights."""
    index = sum((part >> 3) * np.int32(stride) for part, stride in zip(parts, strides, strict=True))
    return index, [(part & (PARTS - 1)).view(np.uint32) for part in parts]


def weighted(value, strides, weights: list[np.ndarray]) -> np.ndarray:
    """The sum of the eight voxels around places, of which `value` gives one, so many steps on, each by its weight.

    Args:
        value: function of steps, which gives a new array of whole numbers.
        strides: (3,) steps to the next voxel.
        weights: three arrays of that type: eighths of the way to the next voxel.
    """

    def along(axis, step):
        if axis == 3:
            return value(step)
        near, far = along(axis + 1, step), along(axis + 1, step + strides[axis])
        far -= near
        far *= weights[axis]
        near *= PARTS
        near += far
        return near

    return along(0, 0)


def _divided(
    source: Source, index: np.ndarray, weights: list[np.ndarray], total: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Layers where some of the eight voxels around are vessels or void, or lie outside, with no say.

    Returns:
        (4, n) uint8 the layers; (n,) bool whether any of the eight is brain.
    """
    weights = [weight.astype(np.int64) for weight in weights]
    counts = weighted(lambda step: _COUNTS.take(source.others[step:].take(index)), source.strides, weights)
    brain = np.maximum(counts & 1023, 1).astype(np.float32)
    lit, dark = counts >> 10 & 4095, counts >> 22
    out = np.empty((4, len(index)), np.uint8)
    for layer, part in zip(out, (total & _FIELD, total >> _BITS & _FIELD, lit, dark), strict=True):
        layer[...] = (2 * part.astype(np.float32) + brain) / (2 * brain)
    return out, counts & 1023 > 0


def _counts() -> np.ndarray:
    """What each of `Source.others` counts: 1 for brain, 10 bits higher its vessels, 12 bits higher its void."""
    others = np.arange(256, dtype=np.int64)
    return (others & 3 > 0) | (others >> 2 & 7) << 10 | (others >> 5) << 22


_COUNTS = _counts()


def _trade(found: np.ndarray, at: np.ndarray, before: np.ndarray, tissue: np.ndarray) -> None:
    """Let shares follow tissues that edits changed: the two trade their shares where the new one has less."""
    at, before = at[before > 0], before[before > 0]
    csf, wm = found[0, at], found[1, at]
    shares = np.stack([csf, EIGHTHS - csf - wm, wm])
    old, new, own = before.astype(np.intp) - 1, tissue[at].astype(np.intp) - 1, np.arange(len(at))
    less = shares[new, own] < shares[old, own]
    own, old, new = own[less], old[less], new[less]
    shares[new, own], shares[old, own] = shares[old, own], shares[new, own]
    found[0, at], found[1, at] = shares[0], shares[2]


def move_faces(parts: np.ndarray, brain: np.ndarray, thicker: np.ndarray, wider: np.ndarray) -> None:
    """Move the cortex's faces in the layers of a detail, in place: by steps as `cortex.face_steps` has them."""
    csf, wm = np.where(brain, parts[0], EIGHTHS), np.pad(parts[1], 1, mode="reflect")
    gm = np.pad((EIGHTHS - csf) - parts[1], 1, mode="symmetric")
    fluid = np.pad(csf, 1, constant_values=EIGHTHS)  # outside counts as such, as for labels
    for place in slabs(brain):
        around = tuple(slice(part.start, part.stop + 2) for part in place)
        beside, inner, outer = sums_of_27(gm[around]), _slope(wm[around]), _slope(fluid[around])
        passes = _passes(thicker[place], inner) | _passes(wider[place], outer)
        at = np.flatnonzero(passes & (beside > 0) & brain[place])
        here = [part[place].take(at).astype(np.float32) for part in (*parts[:2], gm[1:-1, 1:-1, 1:-1], thicker, wider)]
        near, inner, outer = (a.take(b.take(at)) for a, b in ((_BESIDE, beside), (_SLOPES, inner), (_SLOPES, outer)))
        for part, values in zip(parts, _shifted(*here, near, inner, outer), strict=False):
            moved = part[place].ravel()
            moved[at] = values
            part[place] = moved.reshape(beside.shape)


def _shifted(csf, wm, gm, thicker, wider, near, inner, outer) -> tuple[np.ndarray, np.ndarray]:
    """(n,) uint8 each: shares of CSF and WM where faces move by steps, and shares change by so much a voxel."""
    thicker *= near
    thicker *= inner
    from_wm = np.clip(thicker, -gm, wm, out=thicker)
    gm += from_wm
    wider *= near
    wider *= outer
    csf += np.clip(wider, -csf, gm, out=wider)
    csf = np.clip(np.rint(csf), 0, EIGHTHS).astype(np.uint8)
    wm -= from_wm
    return csf, np.minimum(np.rint(wm).astype(np.uint8), EIGHTHS - csf)


def _passes(steps: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """Where a face that moves by so many steps, at most 1.5 mm, may let half an eighth pass: shares change."""
    steps = np.abs(steps).astype(np.uint16)
    steps *= steps
    steps *= slope
    return steps >= int(STEPS_PER_MM**2)


_BESIDE = (np.clip(np.arange(27 * EIGHTHS + 1) / (27 * EIGHTHS / 4), 0, 1) / STEPS_PER_MM).astype(np.float32)
_SLOPES = (np.sqrt(np.arange(3 * EIGHTHS**2 + 1)) / 2).astype(np.float32)


def _slope(values: np.ndarray) -> np.ndarray:
    """The square of how much the values change over two voxels, at each but those at the faces of an array."""
    total = None
    for axis in range(3):
        low, high = (
            [slice(1, -1)] * axis + [part] + [slice(1, -1)] * (2 - axis) for part in (slice(-2), slice(2, None))
        )
        step = values[tuple(high)] - values[tuple(low)]
        step *= step
        total = step if total is None else np.add(total, step, out=total)
    return total
