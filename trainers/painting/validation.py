"""Validation of a generator on whole brains, each painted from its own layout in its own style."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from synth.brats import AFFINE, MODALITIES, REGIONS, Tissue, Tumour
from synth.case import Case
from synth.layout.detail import Detail
from synth.layout.layout import Layout
from synth.models.inference import LayoutPainter
from synth.quality.fine import fine_ratios, low_passed
from synth.quality.similarity import healthy_tissue, psnr, ssim_map, texture_ratio
from synth.runs.gate import Gate
from synth.show.contact_sheet import pair_sheet
from synth.trainers.painting.patches import TrainingCase

WEIGHTS = {"texture": 0.1, "power_0.1": 0.03, "power_0.2": 0.03, "power_0.3": 0.03, "gradient": 0.05, "kurtosis": 0.05}
"""SSIM points that a ratio off by a factor of e costs in the score. SSIM rewards blur, the more the finer the detail:
so it is that of low-passed images, and what is finer is judged by its amount. Texture of the right level costs
full-band SSIM 0.02 to 0.04 (docs/decisions.md)."""


LAYOUT = 0.2
"""SSIM points that a mean Dice of 1 less than real scans have costs: what a segmenter misses was not painted."""


def validation_score(numbers: dict[str, float]) -> float:
    """How good paintings are; higher is better.

    Mean SSIM of low-passed images, less `WEIGHTS` times the mean |log ratio| of what is finer, less `LAYOUT` times what
    a segmenter finds less of the layout than in the real scan, where that was measured.
    """
    score = np.mean([numbers[f"low_ssim_{m}"] for m in MODALITIES])
    for name, weight in WEIGHTS.items():
        ratios = [ratio for m in MODALITIES if np.isfinite(ratio := numbers[f"{name}_{m}"])]
        score -= weight * (np.mean([abs(np.log(max(ratio, 1e-3))) for ratio in ratios]) if ratios else 0.0)
    lost = [max(numbers[name], 0.0) for region in REGIONS if (name := f"lost_{region}") in numbers]
    return float(score - LAYOUT * np.mean(lost)) if lost else float(score)


@dataclass(frozen=True)
class PreparedScan:
    """A prepared case with its layout whole again, beside the real scan in the brain's box."""

    layout: Layout
    real: np.ndarray  # (x, y, z, 4) in the brain's box, normalised
    classes: np.ndarray
    case: TrainingCase


class GeneratorValidation:
    """Paints every validation case and compares it with the real scan, in normalised units inside the brain.

    Called with the step it returns, per modality, mean SSIM (of low-passed images too), PSNR, and the ratios of texture
    and fine structure to the real scan's (averaged over cases), and "score"; it writes `previews/step_<k>.png`, real
    above painted. With a gate, also `lost_WT`, `lost_TC` and `lost_ET`: by how much its segmenter's Dice is lower than
    in the real scans.
    """

    def __init__(
        self,
        cases: list[TrainingCase],
        painter: LayoutPainter,
        run: Path,
        max_cases: int = 8,
        gate: Gate | None = None,
    ):
        self.painter, self.run, self.gate = painter, Path(run), gate
        self.prepared = [prepared_scan(case) for case in cases[:max_cases]]
        self.real = [_as_case(item, item.real, "real") for item in self.prepared]

    @cached_property
    def _found(self) -> list[dict[str, float]]:
        """What the gate's segmenter finds in the real scans; asked for when something is validated, not before."""
        return [self.gate.score(real) for real in self.real]

    def __call__(self, step: int) -> dict:
        """Numbers at this step."""
        rows, pairs = [], []
        for k, (item, real) in enumerate(zip(self.prepared, self.real, strict=True)):
            image = self.painter(item.layout, item.case.style, (item.case.box[0][0], 7))
            painted = _as_case(item, image, f"step {step}")
            rows.append(compare(item.real, image, item.classes))
            if self.gate:
                dice = self.gate.score(painted)
                rows[-1] |= {f"lost_{region}": self._found[k][region] - dice[region] for region in REGIONS}
            pairs.append((real, painted))
        numbers = {name: _mean([row[name] for row in rows]) for name in rows[0]}
        (self.run / "previews").mkdir(parents=True, exist_ok=True)
        pair_sheet(pairs, self.run / "previews" / f"step_{step:06d}.png")
        return {**numbers, "score": validation_score(numbers)}


def _mean(values: list[float]) -> float:
    """Of those that are defined; NaN where none is."""
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else float("nan")


def compare(real: np.ndarray, image: np.ndarray, classes: np.ndarray) -> dict[str, float]:
    """Numbers by modality, as `GeneratorValidation` has them, for (x, y, z, 4) normalised volumes and their classes."""
    brain, healthy = classes > 0, healthy_tissue(classes)
    out = {}
    for m, name in enumerate(MODALITIES):
        out[f"ssim_{name}"] = float(ssim_map(real[..., m], image[..., m])[brain].mean())
        out[f"psnr_{name}"] = psnr(real[..., m], image[..., m], brain)
        out[f"texture_{name}"] = texture_ratio(image[..., m], real[..., m], healthy)
        low = [low_passed(part[..., m]) for part in (real, image)]
        out[f"low_ssim_{name}"] = float(ssim_map(*low)[brain].mean())
        fine = fine_ratios(real[..., m], image[..., m], brain)
        out |= {f"{ratio}_{name}": value for ratio, value in fine.items()}
    return out


TEXTURE_TARGET = 1.0
"""Texture ratio that the gain is set for: the real scans' own. Less of it would please SSIM, as noise cannot be
predicted, and take power from the finest band (docs/decisions.md)."""
_TEXTURE_GAINS = (0.3, 0.5, 0.75, 1.0)
_GRAIN_GAINS = (0.6, 0.7, 0.8, 0.9, 1.0)
_FINEST = ("power_0.2", "power_0.3")


def calibrate_texture(painter: LayoutPainter, cases: list[TrainingCase], max_cases: int = 16) -> list[float]:
    """Gain per modality at which the mean texture ratio over training cases is `TEXTURE_TARGET`, 0.3 to 1.

    The network's own detail is texture too, so the style's noise has to come in weaker than measured. The painter
    keeps what is found.
    """

    def texture(item: PreparedScan, image: np.ndarray) -> list[float]:
        healthy = healthy_tissue(item.classes)
        return [texture_ratio(image[..., m], item.real[..., m], healthy) for m in range(len(MODALITIES))]

    mean = _at_gains(painter, "texture_gain", _TEXTURE_GAINS, cases[:max_cases], texture)
    gains = [
        1.0 if np.isnan(mean[:, m]).any() else float(np.interp(TEXTURE_TARGET, mean[:, m], _TEXTURE_GAINS))
        for m in range(len(MODALITIES))
    ]
    painter.texture_gain = [round(gain, 3) for gain in gains]
    return painter.texture_gain


def calibrate_grain(painter: LayoutPainter, cases: list[TrainingCase], max_cases: int = 16) -> list[float]:
    """Gain per modality at which the two finest bands have nearest to the power they have in training cases, 0.6 to 1.

    A scan's grain is measured where its tissue is flat, and what is left of its structure there makes it look wider;
    the network's own detail is smooth as well. So noise of the grain measured lacks power in the finest band. The
    painter keeps what is found; its texture gain is found first.
    """

    def finest(item: PreparedScan, image: np.ndarray) -> list[list[float]]:
        brain = item.classes > 0
        rows = [fine_ratios(item.real[..., m], image[..., m], brain) for m in range(len(MODALITIES))]
        return [[row[name] for row in rows] for name in _FINEST]

    mean = _at_gains(painter, "grain_gain", _GRAIN_GAINS, cases[:max_cases], finest)  # gain x band x modality
    off = np.abs(np.log(np.maximum(mean, 1e-3))).sum(1)
    off[-1, np.isnan(off).any(0)] = -1.0  # nothing to compare with: as measured
    painter.grain_gain = [_GRAIN_GAINS[k] for k in np.argmin(np.nan_to_num(off), axis=0)]
    return painter.grain_gain


def _at_gains(
    painter: LayoutPainter,
    name: str,
    gains: Sequence[float],
    cases: list[TrainingCase],
    measure: Callable[[PreparedScan, np.ndarray], Any],
) -> np.ndarray:
    """What is measured of paintings at each gain, mean of the cases where it is defined; first axis: gains."""
    found = []  # case x gain x ...
    for case in cases:
        item, rows = prepared_scan(case), []
        for gain in gains:
            setattr(painter, name, gain)
            rows.append(measure(item, painter(item.layout, item.case.style, (0, 1))))
        found.append(rows)
    return np.apply_along_axis(_mean, 0, found)


def prepared_scan(case: TrainingCase) -> PreparedScan:
    """Put a prepared case's layout together, with the detail it was prepared with."""
    classes = case.classes
    box = tuple(slice(*edge) for edge in case.box)
    tissue, tumour = np.zeros(case.shape, np.uint8), np.zeros(case.shape, np.uint8)
    # what lies under the tumour is not painted: any tissue will do here
    tissue[box] = np.minimum(classes, Tissue.WM)
    tumour[box] = _tumour(classes)
    layers = case.detail
    if layers is not None:
        whole = [np.zeros(case.shape, np.uint8) for _ in range(layers.shape[-1])]
        for k, layer in enumerate(whole):
            layer[box] = layers[..., k]
    layout = Layout(tissue, tumour, AFFINE, case.id, None if layers is None else Detail(*whole))
    inner = layout.bounding_box()
    cut = tuple(slice(i.start - b.start, i.stop - b.start) for i, b in zip(inner, box, strict=True))
    real = np.asarray(case.images[cut], np.float32)
    return PreparedScan(layout, real, np.asarray(classes[cut]), case)


def _tumour(classes: np.ndarray) -> np.ndarray:
    """`Tumour` of `Layout.classes`, where it follows the tissue."""
    return np.where(classes > Tissue.WM, classes - np.uint8(Tissue.WM), Tumour.NONE).astype(np.uint8)


def _as_case(item: PreparedScan, image: np.ndarray, name: str) -> Case:
    labels = _tumour(item.classes)
    brain = (item.classes > 0)[..., None]
    scaled = np.where(brain, np.clip(image * 1000 + 300, 1, 32767), 0).astype(np.int16)
    return Case(f"{item.case.id} {name}", scaled, labels, AFFINE)
