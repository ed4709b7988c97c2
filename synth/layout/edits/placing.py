"""How a tumour comes to lie in a brain: where it fits, and what is cut off where it does not."""

import itertools

import numpy as np

from synth.brats import Tissue, Tumour
from synth.errors import LayoutError
from synth.layout.edits.edit import Outcome
from synth.layout.law import MAX_ACROSS, MAX_CORE_VENTRICLE_SHARE, MAX_VENTRICLE_MIDDLE_SHARE, MIDDLE_MM
from synth.layout.layout import Layout
from synth.layout.memory import once_for_each_map
from synth.layout.space import Box, box_of, components, midline, near, spacing, ventricles
from synth.layout.warp import Warp

FALX_MM = 2.0  # half the width of the slab around the midline in which only white matter lets a tumour through
CRUMB_MM3 = 30.0  # pieces this small that a cut leaves behind; real maps have them, but from the annotator's pen
_POINTS = 3000  # voxels that stand for a tumour while a place is sought: shares to about one per cent
_IN_VENTRICLES = 0.06  # of the tumour: 90th percentile of the real maps on the atlas
_TRIES = 100
_BRIDGE = 0.15  # of a tumour's part in the falx's slab must be white matter for the rest to count as let through
# what a voxel of a `Ground` is: the middle is that of a ventricle, the way one through the falx
OUTSIDE, BRAIN, VENTRICLE, MIDDLE, WAY = range(5)
_CUT = 0.02  # of the tumour may be cut off in one placing, so that a few edits in a row stay within the law's 0.10


def place(layout: Layout, tumour: np.ndarray, warp: Warp) -> Outcome:
    """`layout` with the warped `tumour` (a map on its grid) settled in its brain."""
    box = box_of(tumour)
    target = warp.output_box(box, layout.shape)
    return settled(layout, warp.gather(tumour[box], [part.start for part in box], target), target)


def settled(
    layout: Layout, labels: np.ndarray, box: Box, native: np.ndarray | None = None, crumbs: bool = False
) -> Outcome:
    """`layout` with its tumour replaced by `labels` on `box`, cut to what anatomy allows.

    Cut off are: what lies outside the brain; oedema in the ventricles (it spreads in tissue and stops at their
    wall, while a core may push in); what crosses the midline except through white matter (the falx lets nothing
    through, the corpus callosum does); and crumbs that these cuts leave. Oedema that ends at a ventricle does as
    real oedema does: it does not count as lost.

    Args:
        layout: the brain, and id and affine of the result.
        labels: uint8 tumour classes on `box`, 0 elsewhere.
        box: where in the grid.
        native: bool on `box`, voxels that were tumour in this very brain before and are therefore left alone.
        crumbs: leave crumbs: they are wanted, as an annotator's pen leaves them.
    """
    native = np.zeros(labels.shape, bool) if native is None else native
    inner = box_of(labels)
    if inner is None:
        return Outcome(layout.with_tumour())
    box = tuple(slice(b.start + i.start, b.start + i.stop) for b, i in zip(box, inner, strict=True))
    labels, native = labels[inner], native[inner]
    zooms, tissue = spacing(layout.affine), layout.tissue[box]
    in_ventricle = (labels == Tumour.ED) & ventricles(layout.tissue, zooms, box) & ~native
    keep = (labels > 0) & (tissue > 0) & ~in_ventricle
    keep &= ~_beyond_falx(keep, tissue, box, layout.shape, zooms) | native
    if not crumbs:
        keep &= ~_crumbs(keep, zooms)
    lost = float(np.count_nonzero((labels > 0) & ~keep & ~in_ventricle) / np.count_nonzero(labels))
    return Outcome(layout.with_tumour(np.where(keep, labels, 0), box), lost)


def _beyond_falx(mask, tissue, box, shape, zooms) -> np.ndarray:
    """Voxels of `mask` on the lesser side of the midline that hang together with the rest through no white matter."""
    middle = midline(shape) - box[0].start
    side = np.arange(mask.shape[0]) - middle
    columns = np.count_nonzero(mask, axis=(1, 2))
    if not columns[side < 0].sum() or not columns[side > 0].sum():
        return np.zeros(mask.shape, bool)
    if columns[side < 0].sum() > columns[side > 0].sum():
        side = -side  # the greater side is positive from here on
    reach = _falx_reach(zooms)
    slab = (np.abs(side) <= reach)[:, None, None]
    pieces, sizes = components(mask & ~(slab & (tissue != Tissue.WM)))
    home = np.bincount(pieces[side > reach].ravel(), minlength=len(sizes)) > 0
    home[0] = False
    lesser = (side < 0)[:, None, None]
    beyond = mask & lesser & ~home[pieces]
    bridged = np.count_nonzero(mask & (side < -reach)[:, None, None] & home[pieces])
    if bridged:  # the fissure's own voxels stay with a tumour that does cross
        beyond &= ~slab
    return beyond


def _falx_reach(zooms) -> float:
    """Half the width of the falx's slab in voxels, at least one."""
    return max(FALX_MM / zooms[0], 1.0)


def _crumbs(mask: np.ndarray, zooms) -> np.ndarray:
    pieces, sizes = components(mask)
    small = sizes * np.prod(zooms) < CRUMB_MM3
    small[0] = False
    small[sizes.argmax()] = False
    return small[pieces]


class Ground:
    """One brain, asked for thousands of points at once what a tumour would lie on."""

    def __init__(self, layout: Layout):
        """Find the brain's box and its ventricles; about 50 ms at full size."""
        self.zooms, self.middle = np.array(spacing(layout.affine)), midline(layout.shape)
        if not layout.tissue.any():
            raise LayoutError(f"layout {layout.id or '(unnamed)'}: it has no brain to put a tumour into.")
        self.origin, self.kind = _ground(layout.tissue, spacing(layout.affine))

    def misfit(self, points: np.ndarray, core: np.ndarray, across: float) -> float:
        """How badly a tumour would lie here: 0 is a perfect place, 1 the worst that is taken.

        Args:
            points: (n, 3) voxels of the tumour.
            core: (n,) bool, those of NCR and ET.
            across: share that may cross the midline.
        """
        index = np.clip(np.rint(points).astype(np.intp) - self.origin, 0, np.array(self.kind.shape) - 1)
        kind = self.kind[index[:, 0], index[:, 1], index[:, 2]]
        deep = (kind == VENTRICLE) | (kind == MIDDLE)
        side = points[:, 0] - self.middle
        left = np.mean(side < 0)
        cut = kind == OUTSIDE
        slab = np.abs(side) <= _falx_reach(self.zooms)
        if np.count_nonzero(kind == WAY) < _BRIDGE * np.count_nonzero(slab):  # the falx will stop it
            cut = cut | ((side < 0) == (left < 0.5))
        return max(
            np.mean(cut) / _CUT,
            np.mean(deep) / _IN_VENTRICLES,
            np.mean(core & (kind == MIDDLE)) / MAX_VENTRICLE_MIDDLE_SHARE,
            np.mean(deep[core]) / MAX_CORE_VENTRICLE_SHARE if core.any() else 0.0,
            min(left, 1 - left) / across,
        )


@once_for_each_map(2)
def _ground(tissue: np.ndarray, zooms) -> tuple[np.ndarray, np.ndarray]:
    """Index of the first voxel of the brain's box and its rim, and what each voxel of the box is."""
    box, zooms = box_of(tissue), np.array(zooms)
    deep = ventricles(tissue, zooms, box)
    kind = (tissue[box] > 0).view(np.uint8) + deep
    inner = box_of(deep)
    if inner is not None:
        kind[inner] += deep[inner] & np.isinf(near(~deep[inner], MIDDLE_MM, zooms))
    slab = np.abs(np.arange(box[0].start, box[0].stop) - midline(tissue.shape)) <= _falx_reach(zooms)
    kind[slab] = np.where(tissue[box][slab] == Tissue.WM, WAY, kind[slab])
    return np.array([part.start for part in box]) - 1, np.pad(kind, 1)


def tumour_box(name: str, layout: Layout) -> Box:
    """The box of the layout's tumour; raises `LayoutError` in the name of an edit if there is none."""
    box = box_of(layout.tumour)
    if box is None:
        raise LayoutError(f"edit {name}: layout {layout.id or '(unnamed)'} has no tumour to edit.")
    return box


def tumour_points(layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """(n, 3) voxels that stand for the layout's tumour, at most some thousands, and which of them are core."""
    box = box_of(layout.tumour)
    labels = layout.tumour[box]
    voxels = np.flatnonzero(labels)
    voxels = voxels[:: max(len(voxels) // _POINTS, 1)]
    points = np.stack(np.unravel_index(voxels, labels.shape), 1) + [part.start for part in box]
    return points.astype(np.float32), labels.ravel()[voxels] != Tumour.ED


def find_shift(
    points, core, ground: Ground, offers, across: float | None = None, enough: float = 1.0
) -> tuple[float, float, float]:
    """The first of the `offers` (shifts in mm) that fits well, else the best of all; rounded to 0.1 mm.

    `across` is the share that may cross the midline; None is what these points do unshifted, at least 5 %. A place
    whose `Ground.misfit` is at most `enough` fits well.
    """
    if across is None:
        left = np.mean(points[:, 0] < ground.middle)
        across = float(np.clip(1.1 * min(left, 1 - left), 0.05, 0.9 * MAX_ACROSS))
    best, least = None, np.inf
    for offer in itertools.islice(offers, _TRIES):
        shift = np.round(offer, 1) + 0.0  # no minus zero in the manifest
        misfit = ground.misfit(points + (shift / ground.zooms).astype(np.float32), core, across)
        if misfit < least:
            best, least = shift, misfit
        if misfit <= enough:
            break
    return tuple(float(v) for v in best)


def nearby(rng: np.random.Generator, reach_mm: float = 0.0, growth_mm: float = 0.5):
    """Endless random shifts in mm for `find_shift`, first within `reach_mm`, each time `growth_mm` wider."""
    for attempt in itertools.count():
        yield direction(rng) * rng.uniform(0, reach_mm + growth_mm * attempt)


def direction(rng: np.random.Generator) -> np.ndarray:
    """A random unit vector."""
    vector = rng.standard_normal(3)
    return vector / np.linalg.norm(vector)
