"""Anatomical law: what a tumour layout may look like, with limits measured on real label maps.

The limits come from the 148 ground-truth maps of BraTS 2018-2021 and MSD Task01 on the SRI24 tissue map, and from 12
real scans with their own tissue (`benchmarks/measure_real_maps.py` prints the table). The atlas is not the patient, so
its extremes overstate what real tumours do: a limit is usually the 95th to 99th percentile on the atlas, checked to
admit the 12 real pairs but for two that cross the midline; 29 of the 148 exceed at least one limit on the atlas.
"""

from dataclasses import dataclass, replace

import numpy as np

from synth.brats import Tumour
from synth.layout.layout import Layout
from synth.layout.space import box_of, components, enclosed, midline, near, spacing, ventricles, widened

MIN_VOLUME_ML = 2.8  # the smallest of the 148 whole tumours; 1st percentile 7.1
MAX_BRAIN_SHARE = 0.18  # of the brain; the largest is 257 ml of SRI24's 1452 ml
MAX_LOST = 0.10  # of the tumour, cut off in placing it; real maps leave the atlas brain by 0.098 (p97)
MAX_EDGE_SHARE = 0.085  # within 2 mm of the brain's edge: p99 on the atlas 0.085, 12 pairs at most 0.071
MAX_VENTRICLE_SHARE = 0.09  # of the whole tumour in deep CSF: p97 0.092, pairs at most 0.042
MAX_CORE_VENTRICLE_SHARE = 0.17  # of the core in deep CSF: p97 0.17, pairs at most 0.084
MAX_VENTRICLE_MIDDLE_SHARE = 0.006  # of the whole tumour 4 mm or more inside deep CSF: maximum 0.004, pairs 0.005
MAX_ACROSS = 0.21  # of the whole tumour on the other side of the midline: p95 0.207, p99 0.38; pairs up to 0.29
MIN_LARGEST_SHARE = 0.76  # of the whole tumour in its largest piece: p5
MIN_LARGEST_OF_MANY = 0.6  # the same where satellites were asked for: p5 of the 36 that have more than one piece
MAX_PIECES = 4  # of at least 100 mm3: p99 4.5
MAX_FACES = 50  # brain voxels on the grid's faces: all real scans have none; that many may touch
MAX_HOLES = 20  # voxels without tissue enclosed in the brain: the 12 real scans have at most 5
EDGE_MM = 2.0
MIDDLE_MM = 4.0
PIECE_MM3 = 100.0
SLACK = 1.15  # a real tumour that exceeds a limit at home may keep what it has, and this factor for resampling


@dataclass(frozen=True)
class LayoutFacts:
    """What the law looks at, as numbers: shares are of the whole tumour (WT) unless said otherwise.

    Attributes:
        brain_ml: brain, tumour included.
        volume_ml: whole tumour.
        brain_share: whole tumour over brain.
        edge_share: within `EDGE_MM` of the brain's edge.
        ventricle_share: in deep CSF (`space.ventricles`).
        core_ventricle_share: share of the core (NCR, ET) in deep CSF.
        middle_share: `MIDDLE_MM` or more inside deep CSF.
        across: on the side of the mid-sagittal plane that has less of it.
        largest_share: in the largest 26-connected piece.
        pieces: pieces of at least `PIECE_MM3`.
        faces: brain voxels on the five faces of the grid where a brain must not be cut (the lowest slice may).
        holes: voxels outside the brain that the brain encloses.
    """

    brain_ml: float
    volume_ml: float
    brain_share: float
    edge_share: float
    ventricle_share: float
    core_ventricle_share: float
    middle_share: float
    across: float
    largest_share: float
    pieces: int
    faces: int
    holes: int = 0

    def healthy(self) -> "LayoutFacts":
        """The facts of the same brain without its tumour."""
        return LayoutFacts(self.brain_ml, *[0.0] * 7, 1.0, 0, self.faces, self.holes)

    def with_tumour_of(self, other: "LayoutFacts") -> "LayoutFacts":
        """The facts by which a tumour of another brain is judged in this one."""
        return replace(other, brain_ml=self.brain_ml, faces=self.faces, holes=self.holes)

    def laxer(self, other: "LayoutFacts") -> "LayoutFacts":
        """Of each number that which allows more: for a tumour made of two."""
        if not (self.pieces and other.pieces):
            return self if self.pieces else self.with_tumour_of(other)
        least = {name: min(getattr(self, name), getattr(other, name)) for name in ("volume_ml", "largest_share")}
        upper = (*(name for name, *_ in _UPPER), "pieces")
        return replace(self, **least, **{name: max(getattr(self, name), getattr(other, name)) for name in upper})


def measure(layout: Layout) -> LayoutFacts:
    """The facts of one layout; a layout without tumour has volume 0 and no pieces."""
    zooms, faces, holes = spacing(layout.affine), _faces(layout.tissue), _holes(layout.tissue)
    voxel = float(np.prod(zooms))
    brain = int(np.count_nonzero(layout.tissue))
    box = box_of(layout.tumour)
    if box is None:
        return LayoutFacts(brain * voxel / 1000, *[0.0] * 7, 1.0, 0, faces, holes)
    box = widened(box, EDGE_MM + max(zooms), zooms, layout.shape)
    labels, tissue = layout.tumour[box], layout.tissue[box]
    mask = labels > 0
    count = int(np.count_nonzero(mask))
    core = mask & (labels != Tumour.ED)
    deep = ventricles(layout.tissue, zooms, box)
    at_edge = np.isfinite(near(tissue == 0, EDGE_MM, zooms))
    middle = deep & np.isinf(near(~deep, MIDDLE_MM, zooms))
    columns = np.count_nonzero(mask, axis=(1, 2))
    left = float(columns @ np.clip(midline(layout.shape) + 0.5 - np.arange(box[0].start, box[0].stop), 0, 1))
    _, sizes = components(mask)
    return LayoutFacts(
        brain_ml=brain * voxel / 1000,
        volume_ml=count * voxel / 1000,
        brain_share=count / brain,
        edge_share=_share(at_edge, mask),
        ventricle_share=_share(deep, mask),
        core_ventricle_share=_share(deep, core),
        middle_share=_share(middle, mask),
        across=min(left, count - left) / count,
        largest_share=float(sizes.max()) / count,
        pieces=int(np.count_nonzero(sizes * voxel >= PIECE_MM3)),
        faces=faces,
        holes=holes,
    )


def violations(
    layout: Layout,
    *,
    lost: float = 0.0,
    reference: LayoutFacts | None = None,
    tumour_expected: bool = True,
    satellites: int = 0,
) -> list[str]:
    """One sentence for each breach of the law; empty means lawful.

    That labels are legal and the tumour lies inside the brain, `Layout` itself has checked when it was made; that
    cores lie inside whole tumours is so by construction, every tumour voxel having one class.

    A tumour is one piece, but for pieces it had at home and satellites that were asked for: 112 of the 148 real ones
    are, and then to 99.7 % of their volume or more, so that what an edit breaks off is no anatomy.

    Args:
        layout: what to judge.
        lost: share of the tumour that was cut off while it was placed, 0..1.
        reference: facts of the real layout the tumour comes from. Where that one exceeds a limit itself (real
            tumours do, for 1 to 5 % of cases), its own value times `SLACK` is the limit.
        tumour_expected: False where a tumour-free brain is lawful.
        satellites: how many further pieces were asked for.

    Example:
        >>> violations(Layout(tissue, tumour, affine), reference=measure(original))
        []
    """
    facts = measure(layout)
    breaches = []
    if facts.faces > _most(MAX_FACES, reference, "faces"):
        breaches.append(f"the brain is cut by the grid's edge in {facts.faces} voxels, more than {MAX_FACES}")
    # a voxel of the host's own holes may become two where a brain is enlarged
    if facts.holes > (most := MAX_HOLES + (2 * reference.holes if reference else 0)):
        breaches.append(f"{facts.holes} voxels inside the brain have no tissue, more than {most}")
    if not facts.pieces:
        return [*breaches, "no tumour is left"] if tumour_expected else breaches
    least = _least(MIN_VOLUME_ML, reference, "volume_ml")
    if facts.volume_ml < least:
        breaches.append(f"the tumour has {facts.volume_ml:.1f} ml, less than {least:.1f} ml")
    if lost > MAX_LOST:
        breaches.append(f"{lost:.0%} of the tumour was cut off in placing it, more than {MAX_LOST:.0%}")
    for name, limit, sentence in _UPPER:
        value, limit = getattr(facts, name), _most(limit, reference, name)
        if value > limit:
            breaches.append(f"{value:.1%} {sentence}, more than {limit:.1%}")
    least = _least(MIN_LARGEST_OF_MANY if satellites else MIN_LARGEST_SHARE, reference, "largest_share")
    if facts.largest_share < least:
        breaches.append(f"only {facts.largest_share:.0%} of the tumour is in one piece, less than {least:.0%}")
    most = most_pieces(reference, satellites)
    if facts.pieces > most:
        breaches.append(f"the tumour has {facts.pieces} pieces, more than {most}")
    return breaches


def most_pieces(reference: LayoutFacts | None, satellites: int = 0) -> int:
    """How many pieces a tumour may have: as many as at home, at least one, and the satellites asked for."""
    own = max(reference.pieces, 1) if reference else 1
    return min(own + satellites, max(MAX_PIECES, own))


_UPPER = (
    ("brain_share", MAX_BRAIN_SHARE, "of the brain is tumour"),
    ("edge_share", MAX_EDGE_SHARE, "of the tumour lies along the brain's edge"),
    ("ventricle_share", MAX_VENTRICLE_SHARE, "of the tumour lies in the ventricles"),
    ("core_ventricle_share", MAX_CORE_VENTRICLE_SHARE, "of the tumour core lies in the ventricles"),
    ("middle_share", MAX_VENTRICLE_MIDDLE_SHARE, "of the tumour lies in the middle of a ventricle"),
    ("across", MAX_ACROSS, "of the tumour lies across the midline"),
)


def _share(part: np.ndarray, whole: np.ndarray) -> float:
    return float(np.count_nonzero(part & whole) / max(np.count_nonzero(whole), 1))


def _most(limit: float, reference: LayoutFacts | None, name: str) -> float:
    """The upper limit, unless the tumour exceeded it at home."""
    own = limit if reference is None else getattr(reference, name)
    return own * SLACK if own > limit else limit


def _least(limit: float, reference: LayoutFacts | None, name: str) -> float:
    """The lower limit, unless the tumour fell short of it at home."""
    own = limit if reference is None or not reference.pieces else getattr(reference, name)
    return own / SLACK if own < limit else limit


def _holes(tissue: np.ndarray) -> int:
    """Voxels of background that do not hang together with what is outside the brain's box."""
    box = box_of(tissue)
    if box is None:
        return 0
    return int(np.count_nonzero(enclosed(tissue[box] > 0)))


def _faces(tissue: np.ndarray) -> int:
    """Brain voxels on the grid's faces, the lowest slice left out: there real scans do end in the brain."""
    faces = (tissue[0], tissue[-1], tissue[:, 0], tissue[:, -1], tissue[:, :, -1])
    return sum(int(np.count_nonzero(face)) for face in faces)
