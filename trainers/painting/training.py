"""`synth train generator`: from folders of cases to weights and a card."""

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from synth.brats import MODALITIES
from synth.datasets.fingerprint import twin_sentence
from synth.datasets.sets import CaseSet, open_set
from synth.errors import ModelError
from synth.models.architectures import build_network, generator_entry
from synth.models.cards import model_hash, read_card, sees_detail, used_cases
from synth.models.configs import GeneratorConfig
from synth.models.inference import LayoutPainter
from synth.models.networks.discriminator import build_discriminator
from synth.models.weights import load_generator, save_generator
from synth.runs.gate import Gate
from synth.trainers.adversarial import AdversarialStep
from synth.trainers.augment import AugmentConfig
from synth.trainers.config import TrainConfig, choose_strategy
from synth.trainers.cutting import PatchConfig
from synth.trainers.loop import TrainingLoop, kept_best
from synth.trainers.painting.patches import TrainingCase, patch_dataset, prepare_cases
from synth.trainers.painting.task import PaintingLoss, PaintingTask
from synth.trainers.painting.validation import GeneratorValidation, calibrate_grain, calibrate_texture
from synth.trainers.prepared import inspect
from synth.trainers.settings import keep_settings, origin
from synth.trainers.supervised import SupervisedStep


@dataclass(frozen=True)
class GeneratorTraining:
    """Everything a training run is configured by; `of` gives each conditioning its own defaults."""

    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    discriminator_width: int = 32
    loss: PaintingLoss = field(default_factory=PaintingLoss)
    train: TrainConfig = field(default_factory=TrainConfig)
    patch: PatchConfig = field(default_factory=PatchConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    @classmethod
    def of(cls, conditioning: str = "detail", **generator) -> "GeneratorTraining":
        """The defaults of a conditioning: as the shipped weights were trained, or as those before, without detail.

        On detail: 16 filters, patches of 64, no discriminator, since what it had to invent is in the layout; the amount
        of fine structure is matched instead (docs/decisions.md).

        Args:
            conditioning: of `GeneratorConfig`.
            generator: its other settings, where they are not the defaults.
        """
        if conditioning != "detail":
            return cls(GeneratorConfig(conditioning=conditioning, **generator))
        return cls(
            GeneratorConfig(
                conditioning=conditioning,
                **{"width": 16, "bottleneck": 1, "tissue_gain": 1.65, "fluid_gain": 4.0, **generator},
            ),
            loss=PaintingLoss(adversarial=0.0, structure=10.0, features=0.0, bands=2.0, tumour=2.0),
            train=TrainConfig(learning_rate=6e-4, beta_1=0.9, decay_from=0.25, average=0.999),
            patch=PatchConfig(size=64),
            augment=AugmentConfig(warp=0.1),
        )


def train_generator(
    data: str | Path | CaseSet,
    val: str | Path | CaseSet | None,
    out: str | Path,
    config: GeneratorTraining | None = None,
    *,
    init: str | Path | None = None,
    name: str = "",
    devices: list[str] | None = None,
    quiet: bool = False,
    tell: Callable[[str], None] = lambda note: None,
) -> Path | None:
    """Train a generator, or go on with the run in `out`; at the end write weights and card there.

    Args:
        data: folder of annotated cases to learn from.
        val: folder of cases that pick the best weights and are never learnt from; None keeps the last weights.
        out: the run: cache of prepared cases, checkpoints, logs, previews, and `model/` when it is done.
        config: the settings; a run is continued only with the settings it was begun with (`steps` may grow).
        init: a model to begin from (a shipped one's name or a folder), to fine-tune it; its network must be the same.
        name: of the model, for its card; None takes the folder's.
        devices: TensorFlow device names for MirroredStrategy; None takes all GPUs.
        quiet: no progress, of preparing or of training.
        tell: called with what is no error but must be known, such as a scan that is there under two names.

    Returns:
        The model's folder, or None if the run was stopped before its end (start it again to go on).

    Raises:
        SynthError: a case cannot be read or was painted by synth, or the settings differ from the run's.
    """
    config, out = config or GeneratorTraining(), Path(out)
    for folder in (data, val) if val is not None else (data,):
        # before the run's own folder is begun
        cases = open_set(folder, scans=True)
        cases.refuse_painted("a generator learns from real scans")
        if note := cases.synthetic_note():
            tell(note)
    keep_settings(out, config)
    detail = sees_detail({"generator": generator_entry(config.generator)})
    train = prepare_cases(data, out / "cache" / "train", detail=detail, quiet=quiet)
    held_out = prepare_cases(val, out / "cache" / "val", detail=detail, quiet=quiet) if val is not None else []
    _refuse_overlap(train, held_out)
    for cases, what, given in ((train, "the training cases", data), (held_out, "the validation cases", val)):
        if given is not None:
            inspect(cases, what, tell, open_set(given, scans=True).reading)
    if twice := twin_sentence({case.id: case.fingerprint for case in train}, "training cases"):
        tell(twice)
    keras.utils.set_random_seed(config.train.seed)
    task, strategy = PaintingTask(config.loss), choose_strategy(devices)
    if config.loss.judged:
        step = AdversarialStep(lambda: _build_networks(config, init), task, config.train, strategy)
    else:
        step = SupervisedStep(lambda: _build_generator(config, init), task, config.train, strategy)
    loop = TrainingLoop(step, config.train, out, quiet=quiet)
    validation = None
    if held_out:
        validation = GeneratorValidation(held_out, LayoutPainter(step.averaged), out, gate=Gate())

    def batches(start: int) -> tf.data.Dataset:
        return patch_dataset(
            train,
            start=start,
            stop=config.train.steps,
            batch=config.train.batch,
            seed=config.train.seed,
            patch=config.patch,
            augment=config.augment,
        )

    if not loop.train(batches, validation):
        return None
    loop.keep_best()
    painter = LayoutPainter(step.averaged)
    gains = {"texture_gain": calibrate_texture(painter, train), "grain_gain": calibrate_grain(painter, train)}
    card = _card(name or out.name, config, train, held_out, out)
    if init is not None:
        parent = read_card(init)
        card["training"]["begun from"] = {
            "name": parent["name"],
            "hash": model_hash(parent),
            "training": parent.get("training"),
        }
    return save_generator(out / "model", step.averaged, {**card, **gains})


def _build_networks(config: GeneratorTraining, init: str | Path | None) -> tuple[keras.Model, keras.Model]:
    generator = _build_generator(config, init)
    return generator, build_discriminator(len(MODALITIES), len(MODALITIES), config.discriminator_width, detail=True)


def _build_generator(config: GeneratorTraining, init: str | Path | None) -> keras.Model:
    generator = build_network(config.generator)
    if init is not None:
        if read_card(init)["generator"] != generator_entry(config.generator):
            raise ModelError(
                f"model {init}: its network {read_card(init)['generator']} is not the one to be trained "
                f"{generator_entry(config.generator)}; give the same width, bottleneck and conditioning."
            )
        generator.set_weights(load_generator(init)[0].generator.get_weights())
    return generator


def _refuse_overlap(train: list[TrainingCase], val: list[TrainingCase]) -> None:
    """A case in both folders would make validation a lie; by id, by the scan itself, and by its tissue and tumour."""
    ids = {case.id for case in train}
    scans = {digest: case.id for case in train for digest in case.fingerprint if digest}
    anatomies = {_anatomy(case): case.id for case in train}
    for case in val:
        twin = next((scans[digest] for digest in case.fingerprint if digest in scans), anatomies.get(_anatomy(case)))
        if twin is not None or case.id in ids:
            raise ModelError(
                f"case {case.id} of the validation folder is also in the training folder ({twin or case.id}); "
                "remove it from one of them: validation must never be learnt from."
            )


def _anatomy(case: TrainingCase) -> str:
    return hashlib.sha256(np.ascontiguousarray(case.classes).tobytes()).hexdigest()


def _card(
    name: str, config: GeneratorTraining, train: list[TrainingCase], val: list[TrainingCase], out: Path
) -> dict[str, Any]:
    return {
        **origin(),
        "name": name,
        "kind": "generator: layout in a style -> t1, t1ce, t2, flair",
        "generator": generator_entry(config.generator),
        "training": {
            **used_cases({case.id: case.fingerprint for case in train}),
            "settings": asdict(config),
        },
        "validation": {
            **used_cases({case.id: case.fingerprint for case in val}),
            "best": kept_best(out),
        },
        "grid": "240x240x155, 1 mm, LPS, origin (0, 239, 0); sizes divisible by 16 inside the brain's box",
        "intended use": "synthetic training data for research on brain-tumour segmentation. Research use only.",
        "limits": (
            "Not for diagnosis and not a substitute for a real test set. Paints adult gliomas as BraTS 2018-2021 shows "
            "them; no other lesion, age or field strength. Sulci and vessels are as sharp as the layout's detail, and "
            "missing where it has none. Check a set against real scans before it is trained on."
        ),
    }
