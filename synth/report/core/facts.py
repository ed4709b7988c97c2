"""Facts of a single case: digests of its arrays, brain, ranges, breaches of the law. Section "validity" judges them."""

from dataclasses import asdict
from hashlib import sha256

import numpy as np
from scipy.ndimage import label

from synth.brats import MODALITIES
from synth.case import Case
from synth.datasets.findings import Finding
from synth.datasets.fingerprint import fingerprint
from synth.datasets.voxels.label_order import label_surface
from synth.disk.json_files import SHARE, TEXT, WHOLE, Schema, fields, listed, optional
from synth.layout.law import MAX_PIECES, violations
from synth.layout.layout import Layout
from synth.layout.space import box_of

VERSION = "3"  # of the facts: raise it when `case_facts` or `law_facts` tell something else

_BY_LABEL = listed(WHOLE, 3, 3)
_RANGE = fields({"covered": SHARE, "distinct": WHOLE, "saturated": SHARE})
FACTS = Schema(
    "the facts of a case",
    fields(
        {
            "findings": listed(fields({"severity": TEXT, "topic": TEXT, "message": TEXT})),
            "brain_share": SHARE,
            "largest_piece": SHARE,
            "ranges": fields(dict.fromkeys(MODALITIES, _RANGE)),
            "fingerprint": listed(TEXT),
            "labels": fields(
                {"voxels": _BY_LABEL, "surface": _BY_LABEL, "t1ce": optional(listed(optional({"type": "number"})))}
            ),
            "digests": fields(dict.fromkeys((*MODALITIES, "seg"), TEXT)),
            "tumour_voxels": WHOLE,
            "law": listed(TEXT),
        }
    ),
)


def case_facts(case: Case) -> dict:
    """What is asked of a case that could be read, JSON-able: fingerprint, digests of its arrays, brain, ranges."""
    whole = case.brain
    box = box_of(whole) or ()
    brain, images = whole[box], case.images[box]
    size = max(int(np.count_nonzero(brain)), 1)
    pieces, count = label(brain)
    largest = int(np.bincount(pieces.ravel())[1:].max()) if count else 0
    ranges = {}
    for m, name in enumerate(MODALITIES):
        values = images[..., m][brain]
        highest = values.max(initial=0)
        ranges[name] = {
            "covered": round(float(np.count_nonzero(values)) / size, 4),
            "distinct": _distinct(values),
            "saturated": round(float(np.count_nonzero(values == highest)) / size, 5),
        }
    return {
        "brain_share": round(size / whole.size, 4),
        "largest_piece": round(largest / size, 5),
        "ranges": ranges,
        "fingerprint": fingerprint(case.images),
        "labels": asdict(label_surface(case.labels, case.images)),
        "digests": {name: _digest(case.images[..., m]) for m, name in enumerate(MODALITIES)}
        | {"seg": _digest(case.labels)},
        "tumour_voxels": int(np.count_nonzero(case.labels)),
    }


def law_facts(layout: Layout) -> dict:
    """Breaches of the anatomical law in a layout found in a scan, in sentences."""
    # satellites are lawful as far as any recipe may ask for them: which one was followed, a scan does not tell
    return {"law": violations(layout, tumour_expected=False, satellites=MAX_PIECES - 1)}


def finding_dict(finding: Finding) -> dict:
    """A finding as kept with the case's facts: without the file, which may have another name next time."""
    return {"severity": finding.severity, "topic": finding.topic, "message": finding.message}


def _distinct(values: np.ndarray) -> int:
    """How many values there are; of whole numbers up to 16 bits counted, several times faster than sorted."""
    if values.dtype.kind in "iu" and values.dtype.itemsize <= 2 and values.size:
        return int(np.count_nonzero(np.bincount(values - values.min(initial=0).astype(np.int32))))
    return len(np.unique(values))


def _digest(array: np.ndarray) -> str:
    return sha256(np.ascontiguousarray(array)).hexdigest()[:24]
