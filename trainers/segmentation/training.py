"""`synth train segmenter`: from annotated cases of any origin to a segmenter's weights and card, or to K of them."""

import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import keras
import numpy as np

from synth.disk.files import atomic_write
from synth.errors import DataError, ModelError
from synth.hosts.sources import Sources
from synth.lineage import hash_id
from synth.models.cards import CARD, SEGMENTER, read_card
from synth.models.configs import SegmenterConfig
from synth.models.ensembles import FOLDS
from synth.models.networks.segmenter import build_patchgan, build_segmenter
from synth.models.postprocess import Postprocess, choose
from synth.models.sliding_window import Segmenter
from synth.models.weights import load_segmenter_network, save_segmenter
from synth.quality.segmentation_metrics import region_dice
from synth.runs.generate import GenerateConfig, Generation
from synth.trainers.augment import SegmentationAugment
from synth.trainers.loop import AdversarialTrainer, TrainConfig, choose_strategy
from synth.trainers.painting.patches import PatchConfig
from synth.trainers.segmentation.annotated import Annotated, find_annotated, prepare
from synth.trainers.segmentation.folds import Fold, refuse_relatives, sources_without, split
from synth.trainers.segmentation.fresh import FreshPool
from synth.trainers.segmentation.leaks import lineage_notes, refuse_copies, seen_by_generator
from synth.trainers.segmentation.patches import FixedPool, LabelledCase, Mix, labelled_dataset
from synth.trainers.segmentation.task import SUPERVISED, SegmentationLoss, SegmentationTask
from synth.trainers.segmentation.validation import SegmentationValidation
from synth.trainers.settings import keep_settings, origin

HELD_OUT = "held_out"  # in a fold's folder: what it finds in the cases it has not seen


@dataclass(frozen=True)
class SegmenterTraining:
    """Everything a segmenter's training is configured by; `of` gives each architecture its own defaults."""

    segmenter: SegmenterConfig = field(default_factory=SegmenterConfig)
    discriminator_width: int = 64  # vox2vox only
    loss: SegmentationLoss = SUPERVISED
    train: TrainConfig = field(default_factory=TrainConfig)
    patch: PatchConfig = field(default_factory=PatchConfig)
    augment: SegmentationAugment = field(default_factory=SegmentationAugment)

    @classmethod
    def of(cls, arch: str, **segmenter) -> "SegmenterTraining":
        """The defaults of an architecture: the calibrated Vox2Vox of the paper, or the 3D U-Net.

        Vox2Vox: 64 filters, patches of 128, batch 4, Adam 2e-4 (0.5, 0.999), least squares + 5 Tversky, the four
        augmentations on 75 % of the samples. U-Net: 32 filters, patches of 128, batch 1, Adam 1e-3 (0.9, 0.999), soft
        Dice of the regions + cross-entropy, and intensities varied too.
        """
        if arch == "vox2vox":
            network = SegmenterConfig(arch, **{"width": 64, **segmenter})
            return cls(network, network.width, SegmentationLoss(), TrainConfig(batch=4))
        return cls(
            SegmenterConfig(arch, **segmenter),
            train=TrainConfig(learning_rate=1e-3, beta_1=0.9),
            augment=SegmentationAugment(contrast=0.5, shading=0.5),
        )


@dataclass(frozen=True)
class TrainingMix:
    """What is learnt from: cases on the disk, and samples painted meanwhile.

    Attributes:
        real: real cases.
        synthetic: cases painted before.
        fresh: sources of samples painted while training; None for none.
        synthetic_share: of the patches from `synthetic`.
        fresh_share: of the patches from `fresh`; the rest is real.
        model: the generator that paints fresh samples.
        sets: the folders of `synthetic`: their records say which generator painted them.
    """

    real: Sequence[Annotated]
    synthetic: Sequence[Annotated] = ()
    fresh: Sources | None = None
    synthetic_share: float = 0.0
    fresh_share: float = 0.0
    model: str | Path = "default"
    sets: Sequence[str | Path] = ()

    def __post_init__(self):
        """Raise `DataError` on shares without cases, or cases without a share."""
        shares = {"real": self.real_share, "synthetic": self.synthetic_share, "fresh": self.fresh_share}
        there = {"real": bool(self.real), "synthetic": bool(self.synthetic), "fresh": self.fresh is not None}
        for name, share in shares.items():
            if not -1e-9 <= share <= 1 or (share > 1e-9) != there[name]:
                raise DataError(
                    f"{name} patches have a share of {share:.3g}, and there are {'' if there[name] else 'no '}{name} "
                    "cases; shares go from 0 to 1, sum up to at most 1, and need cases to draw from."
                )

    @property
    def real_share(self) -> float:
        """What the others leave."""
        return 1.0 - self.synthetic_share - self.fresh_share

    def notes(self, held_out: Sequence[Annotated], *, named: bool = True) -> list[str]:
        """What the generators behind the synthetic cases know of held-out ones, in sentences, with ids or without."""
        found = []
        for folder in self.sets:
            found += lineage_notes(folder, self.synthetic, self.real, held_out, named=named)
        if self.fresh is not None:
            card = read_card(self.model)
            found += seen_by_generator(card["name"], card, (), held_out, named=named)
        return list(dict.fromkeys(found))

    def without(self, patients: frozenset[str]) -> "TrainingMix":
        """The mix whose fresh samples know nothing of these patients.

        Raises:
            DataError: nobody is left to draw them from.
        """
        return self if self.fresh is None else replace(self, fresh=sources_without(self.fresh, patients))


def train_segmenter(
    data: TrainingMix,
    val: Sequence[Annotated],
    out: str | Path,
    config: SegmenterTraining,
    *,
    thresholds: Postprocess | None = None,
    name: str = "",
    devices: list[str] | None = None,
    progress: Callable[[Iterable], Iterable] = iter,
    tell: Callable[[str], None] = lambda note: None,
) -> Path | None:
    """Train a segmenter, or go on with the run in `out`; at the end write weights and card to `out/model`.

    Args:
        data: what is learnt from.
        val: cases that pick the best weights and are never learnt from; without any, the last weights are kept.
        out: the run: cache of prepared cases, checkpoints, logs, and `model/` when it is done.
        config: the settings; a run is continued only with those it was begun with (`steps` may grow).
        thresholds: post-processing for the card, chosen elsewhere on training cases (`cross_validate`).
        name: of the model, for its card; none takes the folder's.
        devices: TensorFlow device names for MirroredStrategy; None takes all GPUs.
        progress: wraps the cases while they are prepared.
        tell: called with what cannot be refused but must be known, such as a generator that knows held-out cases.

    Returns:
        The model's folder, or None if the run was stopped before its end (start it again to go on).

    Raises:
        SynthError: a case cannot be read or is related to one held out, or the settings differ from the run's.
    """
    out = Path(out)
    refuse_relatives([*data.real, *data.synthetic], val)
    data = data.without(frozenset().union(*(case.patients for case in val)))
    keep_settings(out, config, mix=_described(data), val=sorted(hash_id(case.id + case.signature) for case in val))
    return _train(data, val, out, out / "cache", config, thresholds, name or out.name, devices, progress, tell)


def cross_validate(
    data: TrainingMix,
    folds: int,
    out: str | Path,
    config: SegmenterTraining,
    *,
    only: int | None = None,
    name: str = "",
    devices: list[str] | None = None,
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
        progress: as for `train_segmenter`.
        tell: as for `train_segmenter`.

    Returns:
        `out`, or None if it was stopped or other folds are not done yet.

    Raises:
        SynthError: as for `train_segmenter`; fewer patients than folds.
    """
    out = Path(out)
    dealt = split(data.real, folds, config.train.seed)
    if only is not None and not 0 <= only < folds:
        raise DataError(f"fold {only} does not exist: {folds} folds are numbered from 0 to {folds - 1}.")
    keep_settings(out, config, mix=_described(data), folds=folds)
    mixes = [_without(data, fold) for fold in dealt]  # what is impossible is said before the first is trained
    for fold, mix in zip(dealt, mixes, strict=True):
        place = out / f"fold_{fold.number}"
        if (only is None or only == fold.number) and not _finished(place, config):
            shutil.rmtree(place / HELD_OUT, ignore_errors=True)  # of fewer steps
            title = f"{name or out.name} fold {fold.number}"
            told = _train(
                mix, fold.held_out, place, out / "cache", config, None, title, devices, progress, tell, pick=False
            )
            if told is None:
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


def fit_segmenter(
    mix: Mix,
    held_out: Sequence[LabelledCase],
    out: str | Path,
    config: SegmenterTraining,
    *,
    pick: bool = True,
    devices: list[str] | None = None,
) -> AdversarialTrainer | None:
    """Train a segmenter on prepared cases, or go on with the run in `out`.

    Args:
        mix: the pools that patches are drawn from.
        held_out: cases that are never learnt from; Dice on them is logged.
        out: the run: checkpoints and logs.
        config: the settings.
        pick: keep the weights with the best mean Dice on the held-out cases; else, or without any, the last ones.
        devices: TensorFlow device names for MirroredStrategy; None takes all GPUs.

    Returns:
        The trainer, its `averaged` network holding the weights to be kept; None if it was stopped before its end.
    """
    out = Path(out)
    keras.utils.set_random_seed(config.train.seed)
    task = SegmentationTask(config.loss)

    def networks():
        judge = build_patchgan(config.discriminator_width) if config.segmenter.arch == "vox2vox" else None
        return build_segmenter(config.segmenter), judge

    trainer = AdversarialTrainer(networks, task, config.train, out, choose_strategy(devices))
    validation = None
    if held_out:
        validation = SegmentationValidation(held_out, trainer.averaged, trainer.discriminator, task, config.patch.size)

    def batches(start: int):
        return labelled_dataset(
            mix,
            start=start,
            stop=config.train.steps,
            batch=config.train.batch,
            seed=config.train.seed,
            patch=config.patch,
            augment=config.augment,
        )

    if not trainer.train(batches, validation):
        return None
    if pick:
        trainer.keep_best()
    return trainer


def sources_of_training(
    real: Sequence[str | Path], synthetic: Sequence[str | Path]
) -> tuple[list[Annotated], list[Annotated]]:
    """The real and the synthetic cases of some folders.

    Raises:
        DataError: a folder given as real holds a synthetic set, or the other way round; one id appears twice.
    """
    found = []
    for folders, painted in ((real, False), (synthetic, True)):
        cases = [case for folder in folders for case in _of_kind(folder, painted)]
        ids = [(case.id, case.signature if painted else "") for case in cases]
        if twice := sorted({case_id for case_id, _ in (one for one in ids if ids.count(one) > 1)}):
            raise DataError(f"case {twice[0]} is in two of the folders {', '.join(map(str, folders))}; give each once.")
        found.append(cases)
    return found[0], found[1]


def _of_kind(folder: str | Path, painted: bool) -> list[Annotated]:
    cases = find_annotated(folder)
    if cases[0].synthetic != painted:
        raise DataError(
            f"{folder}: is given as {'synthetic' if painted else 'real'}, but "
            + ("has no manifest of synth's." if painted else "is a set that synth painted; give it as synthetic.")
        )
    return cases


def _train(
    data: TrainingMix, val, out, cache, config, thresholds, name, devices, progress, tell, pick=True
) -> Path | None:
    # real and synthetic ids may coincide
    pools, shares = [], []
    for cases, share, place in (
        (data.real, data.real_share, "real"),
        (data.synthetic, data.synthetic_share, "painted"),
    ):
        if cases:
            pools.append(FixedPool(prepare(cases, cache / place, progress)))
            shares.append(share)
    if data.fresh is not None:
        generation = Generation(data.fresh, data.model, GenerateConfig(seed=config.train.seed))
        pools.append(FreshPool(generation, out / "fresh"))
        shares.append(data.fresh_share)
    for note in data.notes(val):
        tell(note)
    held_out = prepare(val, cache / "real", progress)
    refuse_copies([case for pool in pools if isinstance(pool, FixedPool) for case in pool.cases], held_out)
    trainer = fit_segmenter(Mix(tuple(pools), tuple(shares)), held_out, out, config, pick=pick, devices=devices)
    if trainer is None:
        return None
    card = _card(name, config, data, val, thresholds, out)
    card["validation"] |= {"picked the weights": bool(val) and pick, "notes": data.notes(val, named=False)}
    return save_segmenter(out / "model", trainer.averaged, card)


def _without(data: TrainingMix, fold: Fold) -> TrainingMix:
    """The mix without a fold's patients and their descendants."""
    synthetic = fold.unrelated(data.synthetic)
    if data.synthetic and not synthetic:
        raise DataError(
            f"every synthetic case descends from a patient of fold {fold.number}; make more of them, or fewer folds."
        )
    return replace(data, real=fold.training, synthetic=synthetic).without(fold.patients)


def _conclude(dealt: Sequence[Fold], out: Path, progress) -> None:
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
            found = np.where(case.coded > 0, probabilities.argmax(-1), 0).astype(np.uint8)
            with atomic_write(path) as handle:
                np.save(handle, found)
    pairs = lambda: ((case.labels, np.load(_prediction(out, k, case), allow_pickle=False)) for k, case in held_out)  # noqa: E731
    chosen, rows = choose(pairs()), []
    for (number, case), (truth, found) in zip(held_out, pairs(), strict=True):
        processed = region_dice(truth, chosen.apply(found))
        rows.append({"case": case.id, "fold": number, "dice": region_dice(truth, found), "postprocessed": processed})
    for fold in dealt:
        folder = out / f"fold_{fold.number}" / "model"
        network, card = load_segmenter_network(folder)
        save_segmenter(folder, network, {**card, "postprocess": chosen.to_dict()})
    with atomic_write(out / FOLDS) as handle:
        handle.write((json.dumps({"postprocess": chosen.to_dict(), "held_out": rows}, indent=1) + "\n").encode())


def _prediction(out: Path, fold: int, case: LabelledCase) -> Path:
    """Where a held-out case's labels are kept, in its brain's box."""
    folder = out / f"fold_{fold}" / HELD_OUT
    folder.mkdir(exist_ok=True)
    return folder / f"{case.id}.npy"


def thresholds_of(run: str | Path) -> Postprocess:
    """The post-processing that a run with folds chose.

    Raises:
        ModelError: the run has no finished folds.
    """
    path = Path(run) / FOLDS
    try:
        return Postprocess(**json.loads(path.read_text())["postprocess"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: expected the thresholds of a finished run with --folds ({error}).") from error


def _described(data: TrainingMix) -> dict:
    """The mix as settings: hashed ids, so that a run's folder names nobody."""
    return {
        "real": sorted(hash_id(case.id + case.signature) for case in data.real),
        "synthetic": sorted(hash_id(case.id + case.signature) for case in data.synthetic),
        "fresh": data.fresh.name if data.fresh is not None else None,
        "shares": [round(v, 6) for v in (data.real_share, data.synthetic_share, data.fresh_share)],
        "generator": read_card(data.model)["name"] if data.fresh is not None else None,
    }


def _card(name: str, config: SegmenterTraining, data: TrainingMix, val, thresholds, out: Path) -> dict:
    best = out / "best.json"
    return {
        **origin(),
        "name": name,
        "kind": "segmenter: t1, t1ce, t2, flair -> none, NCR, ED, ET",
        SEGMENTER.name: config.segmenter.to_dict(),
        "window": config.patch.size,
        "postprocess": (thresholds or Postprocess()).to_dict(),
        "training": {
            "cases": len(data.real),
            "ids_sha256": [hash_id(case.id) for case in data.real],
            "synthetic": len(data.synthetic),
            "shares": _described(data)["shares"],
            "settings": asdict(config),
        },
        "validation": {
            "cases": len(val),
            "ids_sha256": [hash_id(case.id) for case in val],
            "best": json.loads(best.read_text()) if best.is_file() else None,
        },
        "grid": "240x240x155, 1 mm, LPS; the brain z-scored, 0 outside",
        "intended use": "segmentation of gliomas for research: quality of synthetic scans, a downstream baseline.",
        "limits": "Not for diagnosis. Trained on adult gliomas as BraTS shows them; nothing else was seen.",
    }
