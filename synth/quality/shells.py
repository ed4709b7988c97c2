"""Where in the brain a scan has its fine structure: the same few numbers in each of four shells.

The array of the probe `shells`:

- `statistics`: (4, 4, 4) float32, shell x modality x `STATISTICS`, of intensities z-scored in the brain, at voxels
  spread over the shell; NaN where a shell has too few.

The shells: `surface`, 1 to 4 voxels below the brain's edge; `sulci`, fluid that is thin, deeper than that, and what
lies beside it; `rim`, 2 voxels to either side of the whole tumour's border; `interior`, deeper inside it.
"""

import numpy as np

from synth.brats import MODALITIES
from synth.layout.space import box_of, dilated, eroded
from synth.quality.fine import STEEP, neighbourhood
from synth.quality.prepared import Prepared
from synth.quality.probes import Probe

SHELLS = ("surface", "sulci", "rim", "interior")
STATISTICS = ("brightness", "deviation", "steepest gradients", "difference to neighbours")
LEAST = 300  # voxels
MOST = 20_000
_SURFACE = (1, 4)  # voxels below the edge
_THIN = 2  # voxels: half of what is wider than a sulcus
_RIM = 2  # voxels
_FLUID = 1  # in `Layout.classes`
_LEAST = 1e-3


def measure_shells(prepared: Prepared) -> dict[str, np.ndarray]:
    """The statistics of one case, as the head of this module lists them."""
    out = np.full((len(SHELLS), len(MODALITIES), len(STATISTICS)), np.nan, np.float32)
    for row, inside in zip(out, shells(prepared), strict=True):
        places = np.flatnonzero(inside)[:: max(int(inside.sum()) // MOST, 1)]
        if len(places) >= LEAST:
            for m in range(len(MODALITIES)):
                values, lengths, curved = neighbourhood(prepared.z[..., m], places)
                numbers = values.std(), np.percentile(lengths, STEEP), curved.std()
                row[m] = values.mean(), *np.log(np.maximum(numbers, _LEAST))
    return {"statistics": out}


def shells(prepared: Prepared) -> list[np.ndarray]:
    """The shells, (x, y, z) bool each in the brain's box; none has a voxel whose neighbour is outside the brain."""
    inner = eroded(prepared.brain, _SURFACE[0])
    deep = eroded(inner, _SURFACE[1] - _SURFACE[0])
    fluid = (prepared.classes == _FLUID) & deep
    wide = dilated(eroded(fluid, _THIN), _THIN + 1)
    sulci = dilated(fluid & ~wide, 1) & deep & ~wide
    rim, interior = np.zeros_like(inner), np.zeros_like(inner)
    box = box_of(prepared.labels)
    if box is not None:
        near = tuple(slice(max(part.start - _RIM - 1, 0), part.stop + _RIM + 1) for part in box)
        tumour = prepared.labels[near] > 0
        interior[near] = eroded(tumour, _RIM)
        rim[near] = dilated(tumour, _RIM) & ~interior[near]
    return [inner & ~deep, sulci, rim & inner, interior & inner]


PROBE = Probe("shells", "1", measure_shells)
