"""Which lobe a voxel of the BraTS grid lies in: a geometric rule in the space of the ICBM152 template.

No parcellation comes with the atlas that ships, so lobes are told apart by a few planes and one ellipsoid through the
textbook landmarks, in MNI millimetres (x right, y anterior, z up), the same on both sides. The planes were laid
between the published centres of the AAL regions (Tzourio-Mazoyer 2002, doi:10.1006/nimg.2001.0978), which the tests
hold them to. Lobes, not gyri: a border is good to about a centimetre, and a brain that departs from the template by
more is cut where the template would be.
"""

import numpy as np

from synth.brats import GRID
from synth.layout.atlas import BRATS_TO_ICBM
from synth.layout.space import MIDLINE

LOBES = ("frontal", "parietal", "temporal", "occipital", "deep", "infratentorial")
"""Names by index. Deep: insula, basal ganglia, thalamus and the white matter between them. Infratentorial: cerebellum
and brainstem."""

ICBM_ORIGIN = np.array([-98.0, -134.0, -72.0])  # MNI mm of the template's first voxel; its voxels have 1 mm

TEMPORAL_FRONT = 22.0  # the temporal pole
UNCUS = (28.0, 8.0)  # nearer to the midline than this the temporal lobe ends further back
TEMPORAL_MEDIAL = 16.0  # the parahippocampal gyrus; what is more medial is brainstem, vermis or lingual gyrus
SYLVIAN_SLOPE, SYLVIAN_TOP = -0.66, 16.0  # the fissure rises backwards: through (y 15, z -10) and (y -20, z 13)
DEEP_CENTRE, DEEP_RADII = (-2.0, 5.0), (43.0, 32.0, 20.0)  # an ellipsoid whose side is the insular cortex
BRAINSTEM = (16.0, (-42.0, -10.0), -6.0)  # half width, y from and to, upper end
TENTORIUM = (-40.0, -8.0, -0.5)  # behind this y; its height on the midline, and how it falls to the sides


def mni(points: np.ndarray, shape: tuple[int, int, int] = GRID) -> np.ndarray:
    """MNI millimetres of (n, 3) voxel indices on a grid of `shape`, (n, 3) float64.

    Another grid than BraTS's is taken for one that shows the same head: its indices are stretched to BraTS's.
    """
    points = np.asarray(points, float)
    if tuple(shape) != GRID:
        points = (points + 0.5) * (np.array(GRID) / shape) - 0.5
        points[:, 0] += MIDLINE - (GRID[0] - 1) / 2  # another grid has its midline in the middle
    return points @ BRATS_TO_ICBM[:3, :3].T + BRATS_TO_ICBM[:3, 3] + ICBM_ORIGIN


def lobe_index(points: np.ndarray, shape: tuple[int, int, int] = GRID) -> np.ndarray:
    """The lobe of each of (n, 3) voxel indices, (n,) uint8: an index into `LOBES`.

    Every point gets one, also in ventricles and outside the brain: that of the nearest part of the head.
    """
    return lobe_of_mni(mni(points, shape))


def lobe_of_mni(mm: np.ndarray) -> np.ndarray:
    """The lobe of each of (n, 3) points in MNI millimetres, (n,) uint8."""
    x, y, z = np.abs(mm[:, 0]), mm[:, 1], mm[:, 2]
    central_sulcus = -22 - 0.22 * z + 0.4 * x  # y: 30 mm further back at the vertex than above the Sylvian fissure
    occipital_front = -58 - 0.1 * x - 0.4 * np.maximum(z, 0)  # parieto-occipital fissure to preoccipital notch
    calcarine = (x < TEMPORAL_MEDIAL) & (y < -45) & (z < 8)  # the medial occipital lobe reaches the splenium
    sylvian = np.minimum(SYLVIAN_SLOPE * y, SYLVIAN_TOP)  # z
    pole = np.where(x < UNCUS[0], UNCUS[1], TEMPORAL_FRONT)
    ellipsoid = (x / DEEP_RADII[0]) ** 2 + ((y - DEEP_CENTRE[0]) / DEEP_RADII[1]) ** 2
    ellipsoid += ((z - DEEP_CENTRE[1]) / DEEP_RADII[2]) ** 2
    stem = (x < BRAINSTEM[0]) & (y > BRAINSTEM[1][0]) & (y < BRAINSTEM[1][1]) & (z < BRAINSTEM[2])
    below = (y < TENTORIUM[0]) & (z < TENTORIUM[1] + TENTORIUM[2] * x)
    rules = (  # the first that holds
        stem | below,
        ellipsoid < 1,
        (y < occipital_front) | calcarine,
        (x > TEMPORAL_MEDIAL) & (y < pole) & (z < sylvian),
        y > central_sulcus,
    )
    names = ("infratentorial", "deep", "occipital", "temporal", "frontal")
    return np.select(rules, [LOBES.index(name) for name in names], LOBES.index("parietal")).astype(np.uint8)
