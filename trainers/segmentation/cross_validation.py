"""K segmenters, each without one fold of the patients, and the thresholds that their held-out predictions choose."""

import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from synth.brats import Tumour
from synth.disk.files import atomic_write, make_folder
from synth.disk.json_files import read
from synth.errors import DataError, ModelError, SynthError
from synth.models.cards import CARD, SEGMENTER, read_card
from synth.models.ensembles import FOLDS
from synth.models.postprocess import Postprocess, choose
from synth.models.sliding_window import Segmenter
from synth.models.weights import load_segmenter_network, save_segmenter
from synth.quality.segmentation_metrics import region_dice
from synth.trainers.segmentation.annotated import fingerprinted, inspect_annotated, prepare
from synth.trainers.segmentation.folds import Fold, split
from synth.trainers.segmentation.mix import TrainingMix
from synth.trainers.segmentation.patches import LabelledCase
from synth.trainers.segmentation.training import SegmenterTraining, train_on_mix
from synth.trainers.settings import keep_settings

HELD_OUT = "held_out"  # in a fold's folder: what it finds in the cases it has not seen


def cross_validate(
    data: TrainingMix,
    folds: int,
    out: str | Path,
    config: SegmenterTraining,
    *,
    only: int | None = None,
    name: str = "",
    devices: list[str] | None = None,
    quiet: bool = False,
    progress: Callable[[Iterable], Iterable] = iter,
    tell: Callable[[str], None] = lambda note: None,
) -> Path | None:
    """Train K segmenters, each without one fold of the patients: an ensemble, and honest predictions of every case.

    Synthetic cases that descend from a held-out patient are left out with it. The held-out cases are watched and pick
    nothing: the last weights are kept. When all folds are there, thresholds of post-processing are chosen on the
    held-out predictions, and written to the models' cards and to `out/folds.json` with Dice per region of every case by
    the model that had not seen it.

    Args:
        data: what is learnt from; its real cases are dealt out.
        folds: K.
        out: the run; `fold_k/model` are the models.
        config: the settings.
        only: train this fold alone (for a cluster: one job a fold, any of them finishes).
        name: of the models.
        devices: as for `train_segmenter`.
        quiet: as for `train_segmenter`.
        progress: as for `train_segmenter`.
        tell: as for `train_segmenter`.

    Returns:
        `out`, or None if it was stopped or other folds are not done yet.

    Raises:
        SynthError: as for `train_segmenter`; fewer patients than folds.
    """
    out = Path(out)
    split(data.real, folds, config.train.seed)  # too few patients are told before anything is read
    if only is not None and not 0 <= only < folds:
        raise DataError(f"fold {only} does not exist: {folds} folds are numbered from 0 to {folds - 1}.")
    keep_settings(out, config, mix=data.described(), folds=folds)
    prepared = prepare(data.real, out / "cache" / "real", progress)
    inspect_annotated(data.real, prepared, "the training cases", tell)
    data = replace(data, real=fingerprinted(data.real, prepared))
    dealt = split(data.real, folds, config.train.seed)
    mixes = [data.for_fold(fold) for fold in dealt]  # what is impossible is said before the first is trained
    for fold, mix in zip(dealt, mixes, strict=True):
        place = out / f"fold_{fold.number}"
        if (only is None or only == fold.number) and not _finished(place, config):
            shutil.rmtree(place / HELD_OUT, ignore_errors=True)  # of fewer steps
            title = f"{name or out.name} fold {fold.number}"
            model = train_on_mix(
                mix,
                fold.held_out,
                place,
                config,
                cache=out / "cache",
                name=title,
                pick=False,
                devices=devices,
                quiet=quiet,
                progress=progress,
                tell=tell,
            )
            if model is None:
                return None
    if not all(_finished(out / f"fold_{fold.number}", config) for fold in dealt):
        return None
    _conclude(dealt, out, progress)
    return out


def _finished(place: Path, config: SegmenterTraining) -> bool:
    """Whether a fold is trained, for as many steps as are asked for; its card is written last."""
    if not (place / "model" / CARD).is_file():
        return False
    return read_card(place / "model", SEGMENTER)["training"]["settings"]["train"]["steps"] == config.train.steps


def _conclude(dealt: Sequence[Fold], out: Path, progress: Callable[[Iterable], Iterable]) -> None:
    """Choose thresholds on all held-out predictions, write them to the cards, and everything to `folds.json`."""
    held_out = [(fold.number, case) for fold in dealt for case in prepare(fold.held_out, out / "cache" / "real")]
    segmenters = {}
    for number, case in progress(held_out):
        path = _prediction(out, number, case)
        if not path.is_file():
            if number not in segmenters:
                network, card = load_segmenter_network(out / f"fold_{number}" / "model")
                segmenters = {number: Segmenter([network], card["window"])}  # one at a time is enough
            probabilities = segmenters[number].probabilities(np.asarray(case.images, np.float32))
            labels = np.where(case.coded > 0, probabilities.argmax(-1), Tumour.NONE).astype(np.uint8)
            with atomic_write(path) as handle:
                np.save(handle, labels)
    pairs = lambda: ((case.labels, np.load(_prediction(out, k, case), allow_pickle=False)) for k, case in held_out)  # noqa: E731
    chosen, rows = choose(pairs()), []
    for (number, case), (truth, labels) in zip(held_out, pairs(), strict=True):
        processed = region_dice(truth, chosen.apply(labels))
        rows.append({"case": case.id, "fold": number, "dice": region_dice(truth, labels), "postprocessed": processed})
    for fold in dealt:
        folder = out / f"fold_{fold.number}" / "model"
        network, card = load_segmenter_network(folder)
        save_segmenter(folder, network, {**card, "postprocess": chosen.to_dict()})
    with atomic_write(out / FOLDS) as handle:
        handle.write((json.dumps({"postprocess": chosen.to_dict(), "held_out": rows}, indent=1) + "\n").encode())


def _prediction(out: Path, fold: int, case: LabelledCase) -> Path:
    """Where a held-out case's labels are kept, in its brain's box."""
    folder = out / f"fold_{fold}" / HELD_OUT
    make_folder(folder)
    return folder / f"{case.id}.npy"


def thresholds_of(run: str | Path) -> Postprocess:
    """The post-processing that a run with folds chose.

    Raises:
        ModelError: the run has no finished folds.
    """
    path = Path(run) / FOLDS
    try:
        return Postprocess(**read(path)["postprocess"])
    except (OSError, ValueError, KeyError, TypeError, SynthError) as error:
        raise ModelError(f"{path}: expected the thresholds of a finished run with --folds ({error}).") from error
