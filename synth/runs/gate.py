"""The gate: does a segmenter find in a painted scan the tumour that its layout asked for?

Every sample is segmented again, and the Dice between its layout and what was found is recorded per region. Where
thresholds are given, a sample that falls below one is drawn anew, layout, style and noise, a few times; then it is
quarantined. A score is about the segmenter as much as about the scan: it tells broken paintings from sound ones, not
good from better, and a gate that is too high keeps only what the segmenter knows already.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import mean, median
from typing import TYPE_CHECKING

import numpy as np

from synth.ahead import ahead
from synth.brats import REGIONS, Tumour
from synth.case import Case
from synth.errors import DataError, LayoutError, SynthError
from synth.layout.layout import Layout
from synth.models.cards import SEGMENTER, read_card, segmenter_hash
from synth.models.ensembles import load_segmenter, segmenter_folder
from synth.models.postprocess import Postprocess
from synth.quality.segmentation_metrics import region_dice

if TYPE_CHECKING:
    from synth.models.sliding_window import Segmenter
    from synth.runs.generate import Generation
    from synth.runs.recipe import SampleRecipe

REDRAWS = 4
OVERLAP, MIRROR = 0.25, "none"  # of the windows: coarser than `synth segment`, for a third of its time
SPURIOUS_ML = 1.0  # of a region that the layout lacks: less than this is no reason to refuse (Dice is 0 for a voxel)
_DIGITS = 4  # of what is recorded and judged
_LISTED = 20  # refused paintings that are told one by one


@dataclass(frozen=True)
class Verdict:
    """What the gate says of one painted scan; region -> value.

    Attributes:
        dice: between layout and segmentation; 1 where both lack a region, 0 where one does (as BraTS).
        layout_ml: volume in the layout.
        found_ml: volume in the segmentation.
        below: regions for which the scan is refused.
    """

    dice: dict[str, float]
    layout_ml: dict[str, float]
    found_ml: dict[str, float]
    below: tuple[str, ...] = ()

    def refusal(self) -> dict:
        """What is recorded of a refused painting."""
        return {**self.dice, "below": list(self.below), "layout_ml": self.layout_ml, "found_ml": self.found_ml}


class Gate:
    """A segmenter that scores painted scans against their layouts, and refuses where thresholds are given.

    Args:
        segmenter: name or folder of a trained segmenter.
        thresholds: region -> lowest Dice (`thresholds_of`); none: nothing is refused.
        redraws: how often a refused sample is drawn again before it is quarantined.

    Raises:
        SynthError: an unknown region, a threshold outside 0 to 1, a negative number of redraws.
        ModelError: there is no such segmenter.

    Example:
        >>> Gate("run/model").score(case)  # doctest: +SKIP
        {'WT': 0.9112, 'TC': 0.8731, 'ET': 0.8024}
    """

    def __init__(
        self,
        segmenter: str | Path = "default",
        thresholds: Mapping[str, float] | None = None,
        redraws: int = REDRAWS,
    ):
        self.thresholds = _checked(thresholds or {})
        if isinstance(redraws, bool) or not isinstance(redraws, int) or redraws < 0:
            raise SynthError(f"the gate's redraws must be a whole number from 0 up, found {redraws!r}.")
        self.redraws = redraws
        self._name = segmenter
        self._card = read_card(segmenter_folder(segmenter), SEGMENTER)
        self._postprocess = Postprocess.from_card(self._card)

    def __reduce__(self) -> tuple:
        """Other processes load the segmenter for themselves."""
        return Gate, (self._name, self.thresholds, self.redraws)

    @cached_property
    def segmenter(self) -> "Segmenter":
        """The segmenter, loaded when first used.

        Raises:
            ModelError: its weights are damaged.
        """
        return load_segmenter(self._name, overlap=OVERLAP, mirror=MIRROR)[0]

    def settings(self) -> dict:
        """What `run.json` says of the gate; the scores of a resumed run must mean the same."""
        out = {"segmenter": {"name": self._card["name"], "hash": segmenter_hash(self._card)}}
        return {**out, "dice": self.thresholds, "redraws": self.redraws} if self.thresholds else out

    def score(self, case: Case, layout: Layout | None = None) -> dict[str, float]:
        """Dice of WT, TC and ET between layout and segmentation; as `judge`."""
        return self.judge(case, layout).dice

    def judge(self, case: Case, layout: Layout | None = None) -> Verdict:
        """Segment a painted case and compare; post-processed as the segmenter's card says.

        A region that the layout lacks (healthy brains lack all) cannot be judged by Dice: it falls below its
        threshold where `SPURIOUS_ML` or more of it are found.

        Args:
            case: images on the scanner's scale.
            layout: what it was painted from; None: the case's labels are the layout's tumour.

        Raises:
            DataError: there is neither layout nor labels.
        """
        truth = case.labels if layout is None else layout.tumour
        if truth is None:
            raise DataError(f"{case.id}: the gate needs the layout or the labels that the scan was painted from.")
        box, labels = self.segmenter.labels_in_box(case)
        voxel_ml = case.voxel_ml
        labels = self._postprocess.apply(labels, voxel_ml)
        truth = truth[box]  # of a brain's tumour nothing lies outside of the brain's box
        dice = {name: round(value, _DIGITS) for name, value in region_dice(truth, labels).items()}
        layout_ml, found_ml = _volumes(truth, voxel_ml), _volumes(labels, voxel_ml)
        below = tuple(
            name
            for name, least in self.thresholds.items()
            if (dice[name] < least if layout_ml[name] else found_ml[name] >= SPURIOUS_ML and least > 0)
        )
        return Verdict(dice, layout_ml, found_ml, below)


@dataclass(frozen=True)
class GateReport:
    """What the gate found in a run.

    Attributes:
        segmenter: its name.
        thresholds: region -> lowest Dice.
        scores: region -> Dice of each sample that was kept.
        refused: (id, refused painting as recorded), in the order of samples and attempts.
        quarantined: ids of the samples none of whose paintings passed.
    """

    segmenter: str
    thresholds: dict[str, float]
    scores: dict[str, list[float]]
    refused: tuple[tuple[str, dict], ...]
    quarantined: tuple[str, ...]

    @classmethod
    def of(cls, gate: Gate, kept: Sequence[dict], quarantined: Sequence[dict]) -> "GateReport":
        """The report on the records of a run."""
        records = sorted([*kept, *quarantined], key=lambda record: record["index"])
        refused = [(record["id"], dice) for record in records for dice in record["gate"].get("refused", ())]
        scores = {name: [record["gate"][name] for record in kept] for name in REGIONS}
        ids = tuple(record["id"] for record in quarantined)
        return cls(gate.settings()["segmenter"]["name"], gate.thresholds, scores, tuple(refused), ids)

    def lines(self) -> list[str]:
        """For the terminal: the scores of what was kept, then how many were refused, which and why."""
        out = []
        if count := len(self.scores["WT"]):
            told = ", ".join(
                f"{name} {mean(values):.3f} ({median(values):.3f}, {min(values):.3f})"
                for name, values in self.scores.items()
            )
            out.append(f"Dice to the layout by segmenter {self.segmenter}, mean (median, lowest) of {count}: {told}.")
        if not self.thresholds:
            return out
        wanted = ", ".join(f"{name} {least:g}" for name, least in self.thresholds.items())
        samples = len({case_id for case_id, _ in self.refused})
        out.append(
            f"gate {wanted}: {len(self.refused)} paintings of {samples} samples refused, "
            f"{len(self.quarantined)} samples quarantined."
        )
        out += [f"  {case_id}, attempt {one['attempt']}: {_why(one)}" for case_id, one in self.refused[:_LISTED]]
        if (more := len(self.refused) - _LISTED) > 0:
            out.append(f"  and {more} more; the manifest has them all.")
        return out


def painted(generation: "Generation", gate: Gate | None, indices: Iterable[int]) -> Iterator[tuple[Case, dict, bool]]:
    """The samples of a run as the gate leaves them; layouts are drawn ahead.

    Args:
        generation: makes them.
        gate: None: every sample passes, unseen.
        indices: of the samples.

    Yields:
        The painted case, what is recorded of the gate and of its host, and whether the gate let it pass.
    """
    for layout, recipe in ahead(map(generation.draw, indices)):
        refused: list[dict] = []
        while True:
            case = generation.paint(layout, recipe)
            layout = replace(layout, detail=None)  # painted: as large as the case
            if gate is None:
                found, passed = {}, True
                break
            verdict = gate.judge(case)
            if verdict.below:
                refused.append({"attempt": recipe.attempt, **verdict.refusal()})
            again = _drawn_again(generation, recipe, gate.redraws, refused) if verdict.below else None
            if again is None:
                found = {"gate": {**verdict.dice, "refused": refused} if refused else verdict.dice}
                passed = not verdict.below
                break
            layout, recipe = again
        held = [(case, {**found, **generation.nearness.of(layout, recipe.layout, case)}, passed)]
        del case, layout  # nothing is held of a sample while the next is made
        yield held.pop()


def _drawn_again(
    generation: "Generation", recipe: "SampleRecipe", redraws: int, refused: list[dict]
) -> "tuple[Layout, SampleRecipe] | None":
    """The next attempt at a refused sample; None if there is no more. What cannot be drawn counts as refused."""
    for attempt in range(recipe.attempt + 1, redraws + 1):
        try:
            return generation.draw(recipe.layout.index, attempt)
        except LayoutError as error:
            refused.append({"attempt": attempt, "reason": str(error)})
    return None


def thresholds_of(text: str) -> dict[str, float]:
    """The thresholds that `0.6` (of the whole tumour) or `WT=0.6,TC=0.4,ET=0.3` stand for.

    Raises:
        SynthError: it is neither, or a value is outside 0 to 1.
    """
    pairs = [part.partition("=") for part in (text if "=" in text else f"WT={text}").split(",")]
    try:
        thresholds = {name.strip().upper(): float(value) for name, _, value in pairs}
    except ValueError:
        raise SynthError(f"the gate must be a Dice such as 0.6, or WT=0.6,TC=0.4,ET=0.3; found {text!r}.") from None
    if len(thresholds) < len(pairs):
        raise SynthError(f"the gate names a region twice: {text!r}.")
    return _checked(thresholds)


def _checked(thresholds: Mapping[str, float]) -> dict[str, float]:
    for name, least in thresholds.items():
        if name not in REGIONS:
            raise SynthError(f"the gate knows the regions {', '.join(REGIONS)}, found {name!r}.")
        if not 0 <= least <= 1:
            raise SynthError(f"the gate's lowest Dice of {name} must be 0 to 1, found {least}.")
    return {name: float(thresholds[name]) for name in REGIONS if name in thresholds}


def _volumes(labels: np.ndarray, voxel_ml: float) -> dict[str, float]:
    """Region -> ml."""
    counts = np.bincount(labels.ravel(), minlength=len(Tumour))
    return {name: round(float(counts[list(values)].sum()) * voxel_ml, _DIGITS) for name, values in REGIONS.items()}


def _why(refused: dict) -> str:
    if "reason" in refused:
        return refused["reason"]
    return ", ".join(
        f"{name} {refused[name]:.2f} (layout {refused['layout_ml'][name]:.1f} ml, found "
        f"{refused['found_ml'][name]:.1f} ml)"
        for name in refused["below"]
    )
