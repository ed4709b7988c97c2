"""What the feeds share: the truth that `feed.py` wrote, and comparing with it. No synth here."""

import hashlib
import json
import sys
from pathlib import Path

WORK = Path(sys.argv[1])
FOLDERS = {Path(name).name: WORK / name for name in sys.argv[2:]}


def truth(name: str) -> dict:
    """Of an export, by id."""
    told = json.loads((WORK / "truth.json").read_text())
    return next(cases for path, cases in told.items() if Path(path).name == name)


def same_places(mask, case: dict, *parts: str) -> bool:
    """Whether a mask (X, Y, Z) covers the voxels of these classes and no others."""
    import numpy as np  # not every client brings it

    flat = np.flatnonzero(np.asarray(mask))
    if len(parts) == 1:
        return hashlib.sha256(flat.astype("<i8").tobytes()).hexdigest() == case["places"][parts[0]]
    return len(flat) == sum(case["voxels"][part] for part in parts)


def check(holds, what: str) -> None:
    """Stop with one line where something does not hold."""
    if not holds:
        print(what)
        sys.exit(1)
