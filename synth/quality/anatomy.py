"""Anatomy: how much there is of each tissue and tumour class, where the tumour sits and how it is shaped.

Arrays of the probe `anatomy`, all float32:

- `tissue_share`: (3,) CSF, GM and WM of the healthy brain (tumour left out), sum 1;
- `volume_ml`: (6,) brain, WT, TC, NCR, ED, ET, as `VOLUMES` names them; 0 where there is none;
- `composition`: (3,) NCR, ED and ET of the whole tumour, sum 1; NaN without a tumour;
- `centroid_mm`: (3,) of the whole tumour, MNI: right, front, up; NaN without a tumour;
- `shape`: (3,) sphericity (1 = ball), largest diameter in mm, pieces, as `SHAPE` names them; NaN without a tumour.
"""

import numpy as np

from synth.layout.facts import describe
from synth.layout.lobes import mni
from synth.quality.prepared import Prepared
from synth.quality.probes import Probe

VOLUMES = ("brain", "WT", "TC", "NCR", "ED", "ET")
TISSUES = ("CSF", "GM", "WM")
PARTS = ("NCR", "ED", "ET")
SHAPE = ("sphericity", "diameter", "pieces")
_NONE = np.full(3, np.nan, np.float32)


def measure_anatomy(prepared: Prepared) -> dict[str, np.ndarray]:
    """The anatomy of one case, as the head of this module lists it; tissue is that found in the scan itself."""
    facts, class_ml = describe(prepared.layout), prepared.layout.volumes_ml()
    healthy = np.array([class_ml[name] for name in TISSUES])
    volumes = {**facts.volume_ml, "brain": healthy.sum() + class_ml["WT"]}
    out = {
        "tissue_share": healthy / max(healthy.sum(), 1e-9),
        "volume_ml": np.array([volumes[name] for name in VOLUMES]),
        "composition": _NONE,
        "centroid_mm": _NONE,
        "shape": _NONE,
    }
    if facts.centroid is not None:
        out["composition"] = np.array([volumes[name] for name in PARTS]) / volumes["WT"]
        out["centroid_mm"] = mni(np.array([facts.centroid]), prepared.layout.shape)[0]
        out["shape"] = np.array([facts.sphericity, facts.diameter_mm, facts.pieces])
    return {name: values.astype(np.float32) for name, values in out.items()}


PROBE = Probe("anatomy", "1", measure_anatomy)
