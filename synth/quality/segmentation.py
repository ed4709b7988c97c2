"""How well one label map agrees with another, per region, defined for empty regions as BraTS does."""

import numpy as np

from synth.brats import REGIONS


def dice(truth: np.ndarray, found: np.ndarray) -> float:
    """Dice overlap of two masks of one shape, 0 to 1; 1 if both are empty."""
    sizes = int(np.count_nonzero(truth)) + int(np.count_nonzero(found))
    return 2 * int(np.count_nonzero(truth & found)) / sizes if sizes else 1.0


def region_dice(truth: np.ndarray, found: np.ndarray) -> dict[str, float]:
    """Dice of WT, TC and ET (`brats.REGIONS`) of two maps of class indices."""
    return {
        name: dice(np.isin(truth, list(map(int, values))), np.isin(found, list(map(int, values))))
        for name, values in REGIONS.items()
    }
