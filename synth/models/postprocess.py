"""Post-processing of a segmenter's labels: specks away, and no enhancing tumour where there is too little of it.

Both thresholds trade a false find against a missed one, so they are chosen where the truth is known: on predictions
for cases that the network was not trained on, inside the training set (held-out folds), never on a test set. The
second is the habit of BraTS's winners (Isensee et al. 2020, arXiv:2011.00848): Dice is 0 for a single wrong voxel
where a case has no enhancing tumour, and 1 without it.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import product

import numpy as np

from synth.brats import REGIONS, Tumour
from synth.errors import DataError, ModelError, SynthError
from synth.layout.space import box_of, components

# in ml; enhancing rims of more than 1 ml are rarely false, and a network that needs more than 5 ml swept needs training
COMPONENT_STEPS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
ET_STEPS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_TIE = 1e-9  # mean Dice that differs by less is a tie


@dataclass(frozen=True)
class Postprocess:
    """Thresholds; zeros leave labels as they are.

    Attributes:
        min_component_ml: connected parts of the whole tumour below this volume are removed, but never the largest.
        min_et_ml: enhancing tumour of less than this volume in all becomes NCR.
    """

    min_component_ml: float = 0.0
    min_et_ml: float = 0.0

    def __post_init__(self):
        """Raise `SynthError` on a threshold that is no volume."""
        for name, value in asdict(self).items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise SynthError(f"post-processing: {name} must be a volume in ml from 0 up, found {value!r}.")

    def apply(self, labels: np.ndarray, voxel_ml: float = 0.001) -> np.ndarray:
        """New labels after both steps, specks first.

        Args:
            labels: (X, Y, Z) uint8 class indices (`brats.Tumour`).
            voxel_ml: volume of a voxel; that of BraTS by default.
        """
        out = labels.copy()
        box = box_of(labels)
        if box is None:
            return out
        inner = out[box]
        if self.min_component_ml:
            parts, sizes = components(inner > 0)  # 26-connected, as in BraTS's lesion-wise metrics
            inner[_specks(sizes, self.min_component_ml, voxel_ml)[parts]] = Tumour.NONE
        enhancing = inner == Tumour.ET
        if np.count_nonzero(enhancing) * voxel_ml < self.min_et_ml:
            inner[enhancing] = Tumour.NCR
        return out

    def to_dict(self) -> dict[str, float]:
        """JSON-able, as a segmenter's card has it; `from_card` reads it back."""
        return asdict(self)

    @classmethod
    def from_card(cls, card: dict) -> "Postprocess":
        """The thresholds in a segmenter's card; none if it has no such entry.

        Raises:
            ModelError: the entry is damaged.
        """
        try:
            return cls(**card.get("postprocess", {}))
        except (TypeError, SynthError) as error:
            raise ModelError(f"the card of model {card.get('name')!r}: unusable postprocess entry ({error})") from error


def choose(
    pairs: Iterable[tuple[np.ndarray, np.ndarray]],
    voxel_ml: float = 0.001,
    *,
    component_steps: Sequence[float] = COMPONENT_STEPS,
    et_steps: Sequence[float] = ET_STEPS,
) -> Postprocess:
    """The thresholds with the highest mean Dice over cases and regions; the weakest of equally good ones.

    Args:
        pairs: (truth, predicted) per case, (X, Y, Z) uint8 class indices; predicted by networks that were not trained
            on the case, cases of the training set only. They may come from a generator: one pair is in memory at a
            time.
        voxel_ml: volume of a voxel.
        component_steps: values of `min_component_ml` to try.
        et_steps: values of `min_et_ml` to try.

    Raises:
        DataError: there are no pairs, or one is of two shapes.
    """
    grid = sorted(product(component_steps, et_steps), key=lambda pair: (sum(pair), pair))  # weakest first
    total, cases = np.zeros(len(grid)), 0
    for truth, predicted in pairs:
        counted = _Counted.of(truth, predicted)
        total += [counted.mean_dice(component, et, voxel_ml) for component, et in grid]
        cases += 1
    if not cases:
        raise DataError("post-processing cannot be chosen without cases; give at least one pair of truth and found.")
    mean = total / cases
    return Postprocess(*grid[int(np.flatnonzero(mean >= mean.max() - _TIE)[0])])


@dataclass(frozen=True)
class _Counted:
    """Everything that Dice after any thresholds depends on: voxels per component, so that no map is touched again.

    Attributes:
        sizes: (n,) voxels of each component of the predicted tumour; number 0 is the background and counts as 0.
        predicted: region -> (n,) voxels of the region in each component.
        hits: region -> (n,) those of them that are right.
        truth: region -> voxels in truth.
    """

    sizes: np.ndarray
    predicted: dict[str, np.ndarray]
    hits: dict[str, np.ndarray]
    truth: dict[str, int]

    @classmethod
    def of(cls, truth: np.ndarray, predicted: np.ndarray) -> "_Counted":
        if truth.shape != predicted.shape:
            raise DataError(f"truth and found must be on one grid, found shapes {truth.shape} and {predicted.shape}.")
        totals = np.bincount(truth.ravel(), minlength=len(Tumour))
        box = box_of(predicted) or (slice(0, 1),) * 3
        truth, predicted = truth[box], predicted[box]
        parts, sizes = components(predicted > 0)
        # (component, class predicted, class in truth) -> voxels
        code = (parts.astype(np.int64) * len(Tumour) + predicted) * len(Tumour) + truth
        counts = np.bincount(code.ravel(), minlength=len(sizes) * len(Tumour) ** 2)
        counts = counts.reshape(len(sizes), len(Tumour), len(Tumour))
        members = {name: list(map(int, classes)) for name, classes in REGIONS.items()}
        return cls(
            sizes,
            {name: counts[:, m].sum((1, 2)) for name, m in members.items()},
            {name: counts[:, m][:, :, m].sum((1, 2)) for name, m in members.items()},
            {name: int(totals[m].sum()) for name, m in members.items()},
        )

    def mean_dice(self, min_component_ml: float, min_et_ml: float, voxel_ml: float) -> float:
        """Mean over the regions; 1 where a region is empty in truth and found, as BraTS has it."""
        kept = ~_specks(self.sizes, min_component_ml, voxel_ml)
        dices = []
        for name in REGIONS:
            predicted, hits = int(self.predicted[name][kept].sum()), int(self.hits[name][kept].sum())
            if name == "ET" and predicted * voxel_ml < min_et_ml:  # it becomes NCR: WT and TC stay as they are
                predicted = hits = 0
            sizes = predicted + self.truth[name]
            dices.append(2 * hits / sizes if sizes else 1.0)
        return sum(dices) / len(dices)


def _specks(sizes: np.ndarray, least_ml: float, voxel_ml: float) -> np.ndarray:
    """(n,) bool: components of less than the volume, without the largest."""
    return (sizes * voxel_ml < least_ml) & (sizes < sizes.max())
