"""Are the pairs useful? One segmenter trained on real, on synthetic and on both, and tested on real scans.

The three arms differ in nothing but the cases their patches come from: same network, same initialisation, same number
of steps, same order of augmentations, for each of several seeds. Half of the patches of "both" are real. No weights are
picked by the test set: the running mean at the last step counts. Train-synthetic-test-real (TSTR) as a yardstick:
Esteban et al. 2017, arXiv:1706.02633.
"""

import gc
import hashlib
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from synth.datasets.sets import CaseSet
from synth.disk.claim import SETTINGS, UTILITY, claim
from synth.disk.files import atomic_write, make_folder
from synth.disk.json_files import SHARE, Schema, fields, mapped, read
from synth.disk.lock import FolderLock
from synth.disk.manifest import json_text, other_settings
from synth.errors import DataError, ModelError, OutputError
from synth.experiments.utility_result import ARMS, UtilityResult
from synth.models.cards import used_cases
from synth.models.sliding_window import Segmenter
from synth.models.weights import save_segmenter
from synth.quality.segmentation_metrics import region_dice
from synth.trainers.segmentation.annotated import Annotated, find_annotated, fingerprinted, inspect_annotated, prepare
from synth.trainers.segmentation.leaks import lineage_notes, refuse_copies, refuse_leaks, twin_notes
from synth.trainers.segmentation.patches import FixedPool, Mix
from synth.trainers.segmentation.training import SegmenterTraining, fit_segmenter
from synth.trainers.settings import origin

SCORES = "scores.json"
_SCORES = Schema("the scores of test cases", fields({"dice": mapped(mapped(SHARE))}))
PRESETS = {
    # minutes on two CPU cores: enough to see whether a set is broken, too short to praise it
    "quick": {"steps": 300, "seeds": 2},
    # an hour or two on two CPU cores: the U-Net is past its steepest climb
    "standard": {"steps": 2000, "seeds": 3},
    # for a GPU: patches and width of a segmenter in earnest
    "full": {"width": 32, "batch": 2, "steps": 20_000, "seeds": 5},
}
_CHECKPOINT = 100  # steps: a minute or less is lost to a kill
_FREE = ("seeds", "seed", "cases", "resamples")  # may differ between calls for one folder: they only add runs


@dataclass(frozen=True)
class UtilityConfig:
    """How large the experiment is; the presets are in `PRESETS`."""

    arch: str = "unet3d"
    width: int = 16  # base filters: half a second a step on two cores, where 32 takes more than twice that
    patch: int = 128  # edge in voxels, a multiple of 16; also the window at the test
    batch: int = 1
    steps: int = 2000
    seeds: int = 3
    seed: int = 0  # the first; the others follow
    cases: int | None = None  # real training cases to be used, drawn anew by each seed; None: all
    overlap: float = 0.5  # of the windows at the test
    resamples: int = 2000  # of the bootstrap

    def __post_init__(self):
        """Raise `ModelError` on numbers that make no experiment."""
        if min(self.steps, self.seeds, self.batch, self.resamples) < 1 or self.seed < 0 or self.cases == 0:
            raise ModelError(f"utility: positive steps, seeds, batch, cases and resamples expected, found {self}.")
        if self.patch % 16 or self.patch < 16 or not 0 <= self.overlap < 1:
            raise ModelError(f"utility: a patch of a multiple of 16 and 0 <= overlap < 1 expected, found {self}.")

    @classmethod
    def preset(cls, name: str, **changes) -> "UtilityConfig":
        """One of `PRESETS`, with some values changed.

        Raises:
            ModelError: there is no such preset.
        """
        if name not in PRESETS:
            raise ModelError(f"preset must be one of {', '.join(PRESETS)}, found {name!r}.")
        return cls(**{**PRESETS[name], **changes})

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """The seeds of the runs."""
        return tuple(range(self.seed, self.seed + self.seeds))


def run_utility(
    config: UtilityConfig,
    train: str | Path | CaseSet,
    synthetic: str | Path | CaseSet,
    test: str | Path | CaseSet,
    out: str | Path,
    *,
    generator: str | Path | None = None,
    cache: str | Path | None = None,
    quiet: bool = False,
    progress: Callable[[Iterable], Iterable] = iter,
    tell: Callable[[str], None] = lambda line: None,
) -> UtilityResult | None:
    """Train and test all arms for all seeds, or go on with what is in `out`; write table, JSON and plot there.

    Every run has a folder `out/runs/<arm>_seed_<k>` with its checkpoints, and when it is finished its model (for
    `synth segment`) and its scores, which later calls take as they are. More seeds, or another number of real cases,
    may be asked for in the same folder: the runs that they share are not repeated.

    Args:
        config: the size of the experiment.
        train: folder of real annotated cases.
        synthetic: a set of `synth generate`, NIfTI or HDF5.
        test: folder of real annotated cases that nothing was learnt from.
        out: new folder, or that of an interrupted experiment with the same settings and data.
        generator: folder of the model that painted the synthetic set, where that does not ship with synth.
        cache: where prepared cases are kept, to share them between experiments; None is `out/cache`. It holds voxels.
        quiet: show no progress of training.
        progress: wraps the cases while they are prepared (`tqdm`).
        tell: called with a line before each run.

    Returns:
        The result; None if training was stopped by Ctrl-C or SIGTERM (call again to go on).

    Raises:
        SynthError: a folder cannot be used, a test case is trained on, the settings differ from those in `out`.
    """
    out = Path(out)
    sets = {"train": find_annotated(train), "synthetic": find_annotated(synthetic), "test": find_annotated(test)}
    refuse_leaks(sets["train"], sets["synthetic"], sets["test"])
    chosen = {seed: choose_cases([case.id for case in sets["train"]], config.cases, seed) for seed in config.all_seeds}
    always = set.intersection(*map(set, chosen.values()))
    # a wrong generator is told now; the scans that it knows under other names, once they are read
    lineage_notes(synthetic, sets["synthetic"], sets["train"], sets["test"], generator, always)
    claim(out, UTILITY)
    make_folder(out)
    lock = FolderLock(out)
    try:
        _keep_settings(out, config, sets)
        used = set().union(*chosen.values())
        rest = [case for case in sets["train"] if case.id not in used]
        sets["train"] = [case for case in sets["train"] if case.id in used]
        prepared = _prepare(sets, Path(cache or out / "cache"), progress)
        for role in ("train", "test"):
            inspect_annotated(sets[role], prepared[role], f"the cases of --{role}", lambda line: tell(f"note: {line}"))
        sets = {role: fingerprinted(cases, prepared[role]) for role, cases in sets.items()}
        notes = lineage_notes(synthetic, sets["synthetic"], sets["train"] + rest, sets["test"], generator, always)
        notes += [note for role in sets for note in twin_notes(sets[role], f"cases of --{role}")]
        for note in notes:
            tell(f"note: {note}")
        scores = _run_all(config, chosen, prepared, out / "runs", tell, quiet)
        if scores is None:
            return None
        result = UtilityResult(
            settings={**asdict(config), "train": str(train), "synthetic": str(synthetic), "test": str(test)},
            sizes={"real": min(len(ids) for ids in chosen.values()), "synthetic": len(prepared["synthetic"])},
            cases=tuple(case.id for case in prepared["test"]),
            seeds=config.all_seeds,
            scores=scores,
            notes=tuple(notes),
            resamples=config.resamples,
        )
        result.write(out, "utility" if config.cases is None else f"utility_{config.cases}_cases")
        return result
    finally:
        lock.release()


def choose_cases(ids: Sequence[str], count: int | None, seed: int) -> tuple[str, ...]:
    """`count` of the ids, drawn by the seed: fewer are a part of more; all without a count.

    Raises:
        DataError: there are not so many.
    """
    if count is None:
        return tuple(ids)
    if not 0 < count <= len(ids):
        raise DataError(f"--cases {count}: the training folder has {len(ids)} cases; ask for 1 to {len(ids)}.")
    order = np.random.default_rng(seed).permutation(len(ids))
    return tuple(ids[i] for i in sorted(order[:count]))


def _run_all(
    config: UtilityConfig, chosen: dict, prepared: dict, runs: Path, tell: Callable, quiet: bool
) -> dict | None:
    """Dice of every arm and seed: arm -> seed -> case -> region; None if a training was stopped."""
    plan = [(seed, arm) for seed in config.all_seeds for arm in ARMS]  # all arms of a seed first: comparable early
    scores = {arm: {} for arm in ARMS}
    for number, (seed, arm) in enumerate(plan, 1):
        real = [case for case in prepared["train"] if case.id in chosen[seed]]
        # what a run depends on is in its name: the synthetic arm is one for any number of real cases
        run = runs / f"{arm}{'' if arm == 'synthetic' else f'_{len(real)}'}_seed_{seed}"
        dice = _finished(run, [case.id for case in prepared["test"]])
        tell(f"run {number}/{len(plan)}: {ARMS[arm]}, seed {seed}{', done' if dice else ''}")
        if dice is None:
            dice = _run(config, arm, seed, real, prepared["synthetic"], prepared["test"], run, quiet)
        if dice is None:
            return None
        scores[arm][seed] = dice
    return scores


def _run(config: UtilityConfig, arm: str, seed: int, real, synthetic, test, run: Path, quiet: bool) -> dict | None:
    """Train one arm with one seed and score it."""
    import keras  # here: whoever imports it before synth.models hears TensorFlow's greetings

    keras.utils.clear_session()  # the network of the run before
    gc.collect()
    pools = [cases for cases, wanted in ((real, "synthetic"), (synthetic, "real")) if arm != wanted]
    mix = Mix(tuple(map(FixedPool, pools)), (1.0,) * len(pools))
    settings = _training(config, seed)
    step = fit_segmenter(mix, (), run, settings, quiet=quiet)
    if step is None:
        return None
    save_segmenter(
        run / "model",
        step.averaged,
        {
            "name": run.name,
            "kind": "segmenter: t1, t1ce, t2, flair -> labels",
            **origin(),
            "segmenter": settings.segmenter.to_dict(),
            "window": config.patch,
            "postprocess": {"min_component_ml": 0.0, "min_et_ml": 0.0},
            "training": {
                **used_cases({case.id: case.fingerprint for case in real if arm != "synthetic"}),
                "cases": sum(map(len, pools)),
                "settings": asdict(settings),
            },
            "intended use": "research on the worth of training sets only; not for segmenting patients.",
        },
    )
    dice = _score(step.averaged, test, config)
    with atomic_write(run / SCORES) as handle:
        handle.write(json_text({"arm": arm, "seed": seed, "dice": dice}, what=str(run / SCORES), indent=1).encode())
    shutil.rmtree(run / "checkpoints", ignore_errors=True)  # three times the weights, of no use any more
    return dice


def _training(config: UtilityConfig, seed: int) -> SegmenterTraining:
    base = SegmenterTraining.of(config.arch, width=config.width)
    return replace(
        base,
        train=replace(base.train, steps=config.steps, batch=config.batch, seed=seed, checkpoint_every=_CHECKPOINT),
        patch=replace(base.patch, size=config.patch),
    )


def _score(network, test, config: UtilityConfig) -> dict[str, dict[str, float]]:
    """Dice per test case and region; nothing is mirrored or post-processed, that would blur the comparison."""
    segmenter, dice = Segmenter([network], config.patch, overlap=config.overlap), {}
    for case in test:
        labels = segmenter.probabilities(np.asarray(case.images, np.float32)).argmax(-1)
        dice[case.id] = region_dice(case.labels, np.where(case.coded > 0, labels, 0))
    return dice


def _finished(run: Path, ids: Sequence[str]) -> dict | None:
    """The scores of a run that is done, else None."""
    path = run / SCORES
    if not path.is_file():
        return None
    try:
        stored = read(path, _SCORES)["dice"]
        return {case_id: {region: float(v) for region, v in stored[case_id].items()} for case_id in ids}
    except (OSError, ValueError, KeyError) as error:
        raise OutputError(f"{path}: not the scores of the test cases ({error!r}); delete {run} to redo it.") from error


def _prepare(sets: dict[str, list[Annotated]], cache: Path, progress: Callable) -> dict:
    prepared = {role: prepare(cases, cache / role, progress) for role, cases in sets.items()}
    refuse_copies(prepared["train"] + prepared["synthetic"], prepared["test"])
    return prepared


def _keep_settings(out: Path, config: UtilityConfig, sets: dict[str, list[Annotated]]) -> None:
    """Keep the settings in the folder, or compare them with those kept there."""
    wanted = {name: value for name, value in asdict(config).items() if name not in _FREE}
    for role, cases in sets.items():
        text = "\n".join(f"{case.id} {case.signature}" for case in cases)
        wanted[f"files of --{role}"] = hashlib.sha256(text.encode()).hexdigest()[:16]
    path = out / SETTINGS
    if path.is_file():
        known = read(path)  # the claim has read it: it is an experiment's
        differing = {key: (known.get(key), value) for key, value in wanted.items() if known.get(key) != value}
        if differing:
            raise other_settings(out, differing, "give the same to go on with it, or choose another folder")
        return
    with atomic_write(path) as handle:
        handle.write(json_text(wanted, what=str(path), indent=1).encode())
