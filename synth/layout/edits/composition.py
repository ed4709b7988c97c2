"""Edits of what a tumour is made of: the shares of its parts, its rim, its enhancement, its core. WT stays."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from synth.brats import Tumour
from synth.errors import LayoutError
from synth.layout.edits.depth import lowest, nearest, peeled, reach
from synth.layout.edits.edit import Edit, Outcome, choice, log_uniform, register, span, uniform
from synth.layout.edits.placing import tumour_box
from synth.layout.edits.region import HOLE_MM3, MAX_MM, region_of
from synth.layout.space import ball_radius, box_of, near, spacing, widened, without_holes
from synth.layout.warp import random_field

PARTS = ("necrosis", "enhancement", "oedema")
_PATCHES_MM = (10.0, 40.0)  # size of the gaps in a rim: of the order of the core's radius, within these


class _Inside(Edit):
    """An edit that gives the tumour's voxels other classes and changes nothing else."""

    def run(self, layout, donor=None):
        """See `Edit.run`."""
        zooms = spacing(layout.affine)
        box = widened(tumour_box(self.name, layout), 2, zooms, layout.shape)
        labels = np.where(layout.tissue[box] > 0, self._inside(layout.tumour[box], box, zooms), np.uint8(0))
        return Outcome(layout.with_tumour(labels, box))

    def _inside(self, labels: np.ndarray, box, zooms) -> np.ndarray:
        """The new labels on the tumour's box, which has a rim of what is not tumour."""
        raise NotImplementedError


@register
@dataclass(frozen=True)
class Recompose(_Inside):
    """Give necrosis, enhancement and oedema these `shares` (they sum to 1) of the whole tumour, which stays as it is.

    The core grows into the oedema, or is peeled, voxel by voxel in the order of the distance to its present surface;
    so does the necrosis in the core. Growing necrosis keeps a rim: it fills the same part of the way to the core's
    surface everywhere. The numbers of voxels are exact. A part that the tumour lacks begins where it is deepest.
    """

    shares: tuple

    name: ClassVar[str] = "recompose"
    options: ClassVar[Mapping[str, Any]] = {
        "necrosis": (0.03, 0.4),
        "enhancement": (0.05, 0.45),
        "oedema": (0.3, 0.9),
    }

    @classmethod
    def draw(
        cls,
        layout,
        rng,
        *,
        target="tumour",
        donor=None,
        necrosis=options["necrosis"],
        enhancement=options["enhancement"],
        oedema=options["oedema"],
    ):
        """Shares within the three ranges: drawn uniform in the logarithm, then made to sum to 1.

        The defaults are about the 10th to 95th percentiles of 148 real tumours.
        """
        tumour_box(cls.name, layout)
        limits = [
            span(cls.name, key, given, 0, 1) for key, given in zip(PARTS, (necrosis, enhancement, oedema), strict=True)
        ]
        low, high = np.array(limits).T
        if not low.sum() <= 1 <= high.sum():
            raise LayoutError(f"edit {cls.name}: no shares out of {dict(zip(PARTS, limits, strict=True))} sum to 1.")
        shares = np.array([log_uniform(rng, np.maximum(limit, 1e-3)) for limit in limits])
        for _ in range(50):  # converges: the ranges admit a sum of 1
            shares = np.clip(shares / shares.sum(), low, high)
        # what clipping left over goes where there is room for it
        over = 1 - shares.sum()
        slack = (high - shares) if over > 0 else (shares - low)
        shares = shares + over * slack / max(slack.sum(), 1e-12)
        first, second = (round(float(v), 3) for v in shares[:2])
        return cls(shares=(first, second, round(1 - first - second, 3)))

    def __post_init__(self):
        """Check the parameters."""
        super().__post_init__()
        lawful = min(self.shares) >= 0 and abs(sum(self.shares) - 1) < 1e-6
        self._require(lawful, "three shares of at least 0 that sum to 1")

    def _inside(self, labels, box, zooms):
        whole = labels > 0
        total = np.count_nonzero(whole)
        necrotic = round(self.shares[0] * total)
        core = _of_size(region_of(labels, "TC"), whole, round((self.shares[0] + self.shares[1]) * total), zooms)
        out = np.where(whole, np.uint8(Tumour.ED), np.uint8(0))
        out[core] = Tumour.ET
        out[_necrosis(labels == Tumour.NCR, core, necrotic, zooms)] = Tumour.NCR
        return out


def _of_size(part, whole, count, zooms) -> np.ndarray:
    """`part` grown within `whole`, or peeled, to `count` voxels."""
    missing = count - np.count_nonzero(part)
    if not part.any():
        return peeled(whole, count, zooms)
    if missing < 0:
        return peeled(part, count, zooms, without_holes(part, zooms, HOLE_MM3))
    return part | nearest(part, whole & ~part, missing, zooms)


def _necrosis(present, core, count, zooms) -> np.ndarray:
    """`count` voxels of the core: the present necrosis peeled, or grown towards the core's surface on all sides."""
    inner = box_of(core)
    if inner is None or not count:
        return np.zeros(core.shape, bool)
    out, box = np.zeros(core.shape, bool), widened(inner, 2, zooms, core.shape)
    present, core = (present & core)[box], core[box]
    out[box] = _necrosis_within(present, core, count, zooms)
    return out


def _necrosis_within(present, core, count, zooms) -> np.ndarray:
    missing = count - np.count_nonzero(present)
    if missing <= 0 or not present.any():
        return _of_size(present, core, count, zooms)
    room = core & ~present
    inward = reach(present, room, np.count_nonzero(room), zooms)
    outward = reach(~without_holes(core, zooms, HOLE_MM3), room, np.count_nonzero(room), zooms)
    way = np.zeros(core.shape, np.float32)
    way[room] = inward[room] / (inward[room] + outward[room])
    return present | lowest(way, room, missing)


@register
@dataclass(frozen=True)
class Rim(_Inside):
    """Thicken the enhancing rim inwards by `mm`, then break it: `broken` is the share of its surface that goes.

    Thickening takes necrosis that is near the rim; WT and TC stay. Where a smooth random field of `seed` is high the
    rim goes in its whole thickness, in a few patches; of a freed voxel remains what is nearest, necrosis (the
    non-enhancing core) or oedema. The surface is the enhancing voxels that touch what is not core.
    """

    mm: float
    broken: float
    seed: int

    name: ClassVar[str] = "rim"
    options: ClassVar[Mapping[str, Any]] = {"action": ("thicken", "break"), "mm": (1.0, 3.0), "broken": (0.1, 0.5)}

    @classmethod
    def draw(
        cls,
        layout,
        rng,
        *,
        target="tumour",
        donor=None,
        action=options["action"],
        mm=options["mm"],
        broken=options["broken"],
    ):
        """Thickened by a distance within `mm`, or broken in a share within `broken`.

        `action` is thicken, break or both (one name or a list of names, of which one is drawn).
        """
        actions = choice(cls.name, "action", action, ("thicken", "break", "both"))
        limits = span(cls.name, "mm", mm, 0, MAX_MM), span(cls.name, "broken", broken, 0, 1)
        tumour_box(cls.name, layout)
        chosen = actions[int(rng.integers(len(actions)))]
        mm, broken = round(uniform(rng, limits[0]), 1), round(uniform(rng, limits[1]), 2)
        seed = int(rng.integers(2**32))
        return cls(mm=mm * (chosen != "break"), broken=broken * (chosen != "thicken"), seed=seed)

    def __post_init__(self):
        """Check the parameters."""
        super().__post_init__()
        lawful = 0 <= self.mm <= MAX_MM and 0 <= self.broken <= 1 and self.seed >= 0
        self._require(lawful, "mm of 0 to 50, broken of 0 to 1 and seed >= 0")

    def _inside(self, labels, box, zooms):
        out = labels.copy()
        rim = labels == Tumour.ET
        if self.mm and rim.any():
            rim |= (labels == Tumour.NCR) & np.isfinite(near(rim, self.mm, zooms))
            out[rim] = Tumour.ET
        if self.broken and rim.any():
            freed = self._gaps(rim, region_of(out, "TC"), box, zooms)
            out[freed] = _nearest_class(out, freed, zooms)[freed]
        return out

    def _gaps(self, rim, core, box, zooms) -> np.ndarray:
        surface = rim & np.isfinite(near(~core, max(zooms), zooms))
        if not surface.any():
            surface = rim  # enclosed in necrosis
        radius = ball_radius(np.count_nonzero(core) * np.prod(zooms))
        field = random_field(box, zooms, 1.0, float(np.clip(radius, *_PATCHES_MM)), self.seed).displacement(box)[0]
        count = round(self.broken * np.count_nonzero(surface))
        if not count:
            return np.zeros(rim.shape, bool)
        return rim & (field >= np.partition(field[surface], -count)[-count])


@register
@dataclass(frozen=True)
class DropEnhancement(_Inside):
    """Take the enhancement away, as in low-grade glioma: it becomes non-enhancing core (the label NCR).

    Of the enhancing voxels the share `oedema`, those nearest to what is not core, become oedema instead.
    """

    oedema: float

    name: ClassVar[str] = "drop_enhancement"
    options: ClassVar[Mapping[str, Any]] = {"oedema": (0.0, 0.4)}

    @classmethod
    def draw(cls, layout, rng, *, target="tumour", donor=None, oedema=options["oedema"]):
        """A share within the range `oedema`."""
        limits = span(cls.name, "oedema", oedema, 0, 1)
        tumour_box(cls.name, layout)
        return cls(oedema=round(uniform(rng, limits), 2))

    def __post_init__(self):
        """Check the parameters."""
        super().__post_init__()
        self._require(0 <= self.oedema <= 1, "a share of 0 to 1")

    def _inside(self, labels, box, zooms):
        enhancing = labels == Tumour.ET
        out = np.where(enhancing, np.uint8(Tumour.NCR), labels)
        count = round(self.oedema * np.count_nonzero(enhancing))
        if count:
            out[nearest(~region_of(labels, "TC"), enhancing, count, zooms)] = Tumour.ED
        return out


@register
@dataclass(frozen=True)
class Core(_Inside):
    """Change the tumour core (necrosis and enhancement) by one `action`; WT stays.

    erode: the core's surface retreats by `mm` and its rim with it: what is within `mm` of the surface becomes
    oedema, and necrosis within `mm` of enhancement enhances.
    fill: the necrotic centre enhances: necrosis within `mm` of enhancement becomes enhancing, which closes a centre
    of up to twice that width. A core without any enhancement stays.
    close: holes in the core that it encloses on all sides, oedema or healthy tissue, become necrosis; `mm` is not
    used. Only this action may add to WT: what lies inside it.
    """

    action: str
    mm: float = 0.0

    name: ClassVar[str] = "core"
    options: ClassVar[Mapping[str, Any]] = {
        "action": ("erode", "fill"),
        "erode": (1.0, 4.0),
        "fill": (8.0, 25.0),
    }

    @classmethod
    def draw(
        cls,
        layout,
        rng,
        *,
        target="tumour",
        donor=None,
        action=options["action"],
        erode=options["erode"],
        fill=options["fill"],
    ):
        """One action out of `action` (a name or a list of names), its mm within the range of the same name.

        No more is eroded than half of the core's radius.
        """
        actions = choice(cls.name, "action", action, tuple(_ACTIONS))
        limits = {
            "erode": span(cls.name, "erode", erode, 0.1, MAX_MM),
            "fill": span(cls.name, "fill", fill, 0.1, MAX_MM),
            "close": (0.0, 0.0),
        }
        core = np.count_nonzero(region_of(layout.tumour[tumour_box(cls.name, layout)], "TC"))
        chosen = actions[int(rng.integers(len(actions)))]
        mm = uniform(rng, limits[chosen])
        if chosen == "erode":
            mm = min(mm, 0.5 * ball_radius(core * np.prod(spacing(layout.affine))))
        return cls(action=chosen, mm=round(mm, 1))

    def __post_init__(self):
        """Check the parameters."""
        super().__post_init__()
        self._require(self.action in _ACTIONS and 0 <= self.mm <= MAX_MM, f"{', '.join(_ACTIONS)} and 0 to 50 mm")

    def _inside(self, labels, box, zooms):
        return _ACTIONS[self.action](labels, self.mm, zooms)


def _erode(labels, mm, zooms):
    core = region_of(labels, "TC")
    out = _fill(labels, mm, zooms)
    out[core & np.isfinite(near(~without_holes(core, zooms, HOLE_MM3), mm, zooms))] = Tumour.ED
    return out


def _fill(labels, mm, zooms):
    out = labels.copy()
    out[(labels == Tumour.NCR) & np.isfinite(near(labels == Tumour.ET, mm, zooms))] = Tumour.ET
    return out


def _close(labels, mm, zooms):
    core = region_of(labels, "TC")
    return np.where(without_holes(core, zooms) & ~core, np.uint8(Tumour.NCR), labels)


_ACTIONS = {"erode": _erode, "fill": _fill, "close": _close}


def _nearest_class(labels, wanted, zooms) -> np.ndarray:
    """Of the voxels `wanted`: NCR if necrosis is as near as what is not core, else ED."""
    count = np.count_nonzero(wanted)
    necrosis, oedema = (labels == Tumour.NCR) & ~wanted, ~region_of(labels, "TC") & ~wanted
    far = [reach(part, wanted, count, zooms) if part.any() else np.float32(np.inf) for part in (necrosis, oedema)]
    return np.where(far[0] <= far[1], np.uint8(Tumour.NCR), np.uint8(Tumour.ED))
