"""The loop around any step of training: it counts, logs, validates, saves, resumes and stops, whatever is learnt.

The steps there are: `adversarial.AdversarialStep` and `supervised.SupervisedStep`; `step.Step` says what one has to be.
"""

import contextlib
import json
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf

from synth.disk.files import atomic_write
from synth.disk.json_files import Schema, fields, read
from synth.disk.staging import delete, partial_name, remove_left_of, staging
from synth.errors import ModelError, OutputError
from synth.trainers.config import TrainConfig
from synth.trainers.csv_log import CsvLog
from synth.trainers.progress import StepProgress
from synth.trainers.step import Batch, Parts, Step

BEST_RECORD = "best.json"
_BEST = Schema("the best validation of a run", fields({"step": {"type": "integer"}, "score": {"type": "number"}}))
WEIGHTS = ".weights.h5"


class TrainingLoop:
    """Takes steps until all are done; resumes exactly.

    Args:
        step: what is learnt in one step.
        config: how long, and how often what is logged, validated and saved.
        run: folder for checkpoints, logs and weights; a run found there is continued.
        quiet: show no progress.

    Attributes:
        number: steps done.
        advance: takes one step on a batch (compiled); returns the parts of its losses.
    """

    def __init__(self, step: Step, config: TrainConfig, run: str | Path, *, quiet: bool = False):
        self.step, self.config, self.run, self.quiet = step, config, Path(run), quiet
        # outside the strategy's scope: one of each, however many devices
        self.number = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.best = tf.Variable(-1e9, dtype=tf.float32, trainable=False)
        self.checkpoint = tf.train.Checkpoint(step=self.number, best=self.best, **step.checkpointed())
        self.manager = tf.train.CheckpointManager(self.checkpoint, str(self.run / "checkpoints"), max_to_keep=2)
        self._stop = False
        # AutoGraph would rewrite every function of ours first: more than half of what the first step takes
        self.advance: Callable[[Batch], Parts] = tf.function(self._advance, autograph=False)

    def resume(self) -> int:
        """Restore the newest checkpoint, if there is one, and return the step to go on from.

        Raises:
            ModelError: the checkpoint belongs to other networks.
        """
        if self.manager.latest_checkpoint:
            try:
                self.checkpoint.restore(self.manager.latest_checkpoint).assert_existing_objects_matched()
            except (AssertionError, ValueError, tf.errors.OpError) as error:
                raise ModelError(
                    f"{self.manager.latest_checkpoint}: this checkpoint does not fit the networks of this run "
                    f"({str(error).splitlines()[0]}); choose another --out or the settings it was made with."
                ) from error
        return int(self.number)

    def train(
        self,
        dataset_from: Callable[[int], tf.data.Dataset],
        validate: Callable[[int], dict[str, Any]] | None = None,
    ) -> bool:
        """Train until `config.steps`; `stop`, Ctrl-C and SIGTERM let the step finish, save, and return.

        Signals are heard in the main thread alone: in any other, their handlers are left as they are.

        Args:
            dataset_from: the batches from a given step on.
            validate: called at step k; returns numbers, of which "score" (higher is better) picks the best weights.
                `validation.jsonl` keeps them, with the training's means since the validation before ("training").

        Returns:
            True when all steps are done, False when it was stopped before.

        Raises:
            ModelError: the checkpoint there belongs to other networks.
            OutputError: the run's folder cannot be written.
        """
        start = self.resume()
        try:
            self.run.mkdir(parents=True, exist_ok=True)
            with contextlib.ExitStack() as stack:
                log = stack.enter_context(contextlib.closing(CsvLog(self.run / "losses.csv", start)))
                board = tf.summary.create_file_writer(str(self.run / "tensorboard"))
                stack.callback(board.close)
                progress = StepProgress(start, self.config.steps, quiet=self.quiet)
                stack.enter_context(contextlib.closing(progress))
                stack.enter_context(_signals_to(self._ask_to_stop))
                batches = self.step.strategy.experimental_distribute_dataset(dataset_from(start))
                return self._steps(batches, validate, log, board, progress)
        except OSError as error:
            raise OutputError(
                f"{self.run}: cannot write ({error.strerror or error}); free space and resume."
            ) from error

    def stop(self) -> None:
        """Let the step that is being taken finish, save, and end `train`; may be called from any thread."""
        self._stop = True

    def keep_best(self) -> None:
        """Give the step's networks the weights that validation picked; they stay as they are where nothing was."""
        for name, network in self.step.kept().items():
            best = self.run / f"{name}{WEIGHTS}"
            if best.is_file():
                network.load_weights(best)

    def _steps(self, batches, validate, log: CsvLog, board, progress: StepProgress) -> bool:
        config, sums, count = self.config, {}, 0
        for batch in batches:
            parts = self.advance(batch)
            number = int(self.number)
            last = number == config.steps
            sums = {name: sums.get(name, 0.0) + float(value) for name, value in parts.items()}
            count += 1
            progress.advance()
            if number % config.log_every == 0 or last:
                means = self.step.summary({name: value / count for name, value in sums.items()})
                log.write(number, means)
                _to_board(board, means, number)
                progress.tell(number, means)
                sums, count = {}, 0
            if validate and (number % config.validate_every == 0 or last):
                before = (number - 1) // config.validate_every * config.validate_every
                self._validate(validate, number, board, log.means(before, number))
            if self._stop or number % config.checkpoint_every == 0 or last:
                self.manager.save(number)
            if self._stop:
                self._stop = False
                return False
        return True

    def _ask_to_stop(self, *_) -> None:
        if self._stop:  # a second Ctrl-C means now
            raise KeyboardInterrupt
        self.stop()

    def _validate(self, validate, number: int, board, training: dict[str, float]) -> None:
        numbers = {**validate(number), "training": training}
        _to_board(board, {f"validation/{k}": v for k, v in numbers.items() if isinstance(v, float)}, number)
        with (self.run / "validation.jsonl").open("a") as handle:
            handle.write(json.dumps({"step": number, **numbers}) + "\n")
        if numbers["score"] > float(self.best):
            self.best.assign(numbers["score"])
            for name, network in self.step.kept().items():
                _save_whole(network, self.run / f"{name}{WEIGHTS}")
            with atomic_write(self.run / BEST_RECORD) as handle:
                handle.write(json.dumps({"step": number, **numbers}, indent=1).encode())

    def _advance(self, batch: Batch) -> Parts:
        strategy = self.step.strategy
        parts = strategy.run(self.step.__call__, args=(batch, self.number))
        reduced = {k: strategy.reduce(tf.distribute.ReduceOp.MEAN, v, axis=None) for k, v in parts.items()}
        self.step.average(self.number)
        self.number.assign_add(1)
        return reduced


def _save_whole(network, path: Path) -> None:
    """Write weights, whole or not at all, by way of a staged folder: Keras wants the file itself to be called so."""
    remove_left_of(path)
    folder = partial_name(path)
    with staging(folder):
        try:
            folder.mkdir()
            network.save_weights(folder / path.name)
            (folder / path.name).replace(path)
        finally:
            delete(folder)


def kept_best(run: Path) -> dict[str, Any] | None:
    """The validation that picked a run's weights; None where nothing did.

    Raises:
        ModelError: what the run keeps of it is damaged.
    """
    path = run / BEST_RECORD
    try:
        return read(path, _BEST) if path.is_file() else None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); delete it to train on without.") from error


@contextlib.contextmanager
def _signals_to(handler: Callable) -> Iterator[None]:
    """Send Ctrl-C and SIGTERM to `handler` while the block runs; outside the main thread, do nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Python lets no other thread set handlers
        return
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, signal.SIG_DFL if old is None else old)  # None: set by no Python code


def _to_board(board, values: dict[str, float], step: int) -> None:
    with board.as_default(step=step):
        for name, value in values.items():
            tf.summary.scalar(name, value)
    board.flush()
