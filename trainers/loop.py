"""One trainer for both directions, with a discriminator or without: what is made and judged, a task says.

The tasks are `painting.PaintingTask` (layout to scan) and `segmentation.SegmentationTask` (scan to labels).
"""

import csv
import json
import signal
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import tensorflow as tf
from tqdm import tqdm

from synth.errors import ModelError, OutputError
from synth.trainers import losses

BEST = "best.weights.h5"
PRECISIONS = ("auto", "float32", "mixed_float16", "mixed_bfloat16")


@dataclass(frozen=True)
class TrainConfig:
    """How long and how the two networks are trained."""

    steps: int = 20_000
    batch: int = 1  # patches a step, over all devices; Vox2Vox has 4, one fits every machine
    accumulate: int = 1  # parts that each device's share of a batch is computed in, to save memory
    learning_rate: float = 2e-4  # Adam, as pix2pix and Vox2Vox
    beta_1: float = 0.5
    beta_2: float = 0.999
    discriminator_rate: float = 1.0  # its learning rate over the generator's
    trust_after: int = 300  # steps over which the discriminator's say grows from nothing to full
    decay_from: float = 0.6  # share of the steps after which the learning rate falls linearly to a tenth
    average: float = 0.998  # decay of the running mean of the generator's weights: that mean is what is kept
    validate_every: int = 500
    checkpoint_every: int = 250
    log_every: int = 25
    seed: int = 0
    precision: str = "auto"  # mixed_float16 on a GPU, float32 on CPU (bfloat16 is 1.4 times slower there)

    def __post_init__(self):
        """Raise `ModelError` on values that cannot be trained with."""
        if self.steps < 1 or self.batch < 1 or self.learning_rate <= 0:
            raise ModelError(f"steps, batch and learning rate must be positive, found {self}.")
        if self.accumulate < 1 or self.batch % self.accumulate:
            raise ModelError(f"accumulate must divide the batch of {self.batch}, found {self.accumulate}.")
        if self.precision not in PRECISIONS:
            raise ModelError(f"precision must be one of {', '.join(PRECISIONS)}, found {self.precision!r}.")


def choose_strategy(devices: list[str] | None = None) -> tf.distribute.Strategy:
    """MirroredStrategy over several GPUs (or the devices given), else the default strategy."""
    if devices is None and len(tf.config.list_logical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    if devices and len(devices) > 1:
        return tf.distribute.MirroredStrategy(devices)
    return tf.distribute.get_strategy()


def set_precision(precision: str) -> str:
    """Set Keras's global policy; "auto" takes mixed_float16 where there is a GPU. Returns the policy's name."""
    if precision == "auto":
        precision = "mixed_float16" if tf.config.list_logical_devices("GPU") else "float32"
    keras.mixed_precision.set_dtype_policy(precision)
    return precision


class AdversarialTrainer:
    """Trains a generator against a discriminator, resumes exactly, keeps a running mean of the generator.

    Args:
        build_networks: makes (generator, discriminator); called under the strategy and the precision policy. Without
            a discriminator (None) the generator is trained on the task's supervised loss alone.
        task: what they see and minimise (`painting.PaintingTask`, `segmentation.SegmentationTask`).
        config: how long and how.
        run: folder for checkpoints, logs and previews; a run found there is continued.
        strategy: from `choose_strategy`.
    """

    def __init__(self, build_networks: Callable, task, config: TrainConfig, run: Path, strategy=None):
        self.config, self.task, self.run = config, task, Path(run)
        self.strategy = strategy or choose_strategy()
        parts = self.strategy.num_replicas_in_sync * config.accumulate
        if config.batch % parts:
            raise ModelError(
                f"a batch of {config.batch} cannot be shared evenly by {self.strategy.num_replicas_in_sync} devices "
                f"in {config.accumulate} parts each; choose a multiple of {parts}."
            )
        policy = set_precision(config.precision)
        with self.strategy.scope():
            self.generator, self.discriminator = build_networks()
            self.averaged = keras.models.clone_model(self.generator)
            self.averaged.set_weights(self.generator.get_weights())
            self.generator_optimizer = self._optimizer(config.learning_rate, policy)
            self.generator_optimizer.build(self.generator.trainable_variables)
            judging = {}
            if self.discriminator is not None:
                self.discriminator_optimizer = self._optimizer(config.learning_rate * config.discriminator_rate, policy)
                self.discriminator_optimizer.build(self.discriminator.trainable_variables)
                judging = {
                    "discriminator": self.discriminator,
                    "discriminator_optimizer": self.discriminator_optimizer,
                }
        # outside the scope: one of each, however many devices
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.best = tf.Variable(-1e9, dtype=tf.float32, trainable=False)
        self.checkpoint = tf.train.Checkpoint(
            generator=self.generator,
            averaged=self.averaged,
            generator_optimizer=self.generator_optimizer,
            step=self.step,
            best=self.best,
            dropout=_dropout_states(self.generator),
            **judging,
        )
        self.manager = tf.train.CheckpointManager(self.checkpoint, str(self.run / "checkpoints"), max_to_keep=2)
        self._stop = False
        self._step_function = tf.function(self._distributed_step)

    def _optimizer(self, rate: float, policy: str):
        steps = self.config.steps
        start = int(self.config.decay_from * steps)
        schedule = keras.optimizers.schedules.PolynomialDecay(rate, max(steps - start, 1), rate / 10)
        adam = keras.optimizers.Adam(_Delayed(schedule, start), self.config.beta_1, self.config.beta_2)
        return keras.optimizers.LossScaleOptimizer(adam) if policy == "mixed_float16" else adam

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
        return int(self.step)

    def train(self, dataset_from: Callable[[int], tf.data.Dataset], validate: Callable[[int], dict] | None = None):
        """Train until `config.steps`; Ctrl-C and SIGTERM finish the step, save, and return.

        Args:
            dataset_from: the batches from a given step on.
            validate: called at step k; returns numbers, of which "score" (higher is better) picks the best weights.
                `validation.jsonl` keeps them, with the training's means since the validation before ("training").

        Returns:
            True when all steps are done, False when it was stopped before.
        """
        start = self.resume()
        self.run.mkdir(parents=True, exist_ok=True)
        log = _CsvLog(self.run / "losses.csv", start)
        board = tf.summary.create_file_writer(str(self.run / "tensorboard"))
        old = {s: signal.signal(s, self._ask_to_stop) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            batches = self.strategy.experimental_distribute_dataset(dataset_from(start))
            bar = tqdm(batches, initial=start, total=self.config.steps, unit="step", desc="training", smoothing=0.05)
            sums, count = {}, 0
            for batch in bar:
                parts = self._step_function(batch)
                step = int(self.step)
                sums = {k: sums.get(k, 0.0) + float(v) for k, v in parts.items()}
                count += 1
                if step % self.config.log_every == 0 or step == self.config.steps:
                    means = self.task.summary({k: v / count for k, v in sums.items()})
                    log.write(step, means)
                    _to_board(board, means, step)
                    bar.set_postfix({k: f"{v:.3f}" for k, v in means.items()})
                    sums, count = {}, 0
                if validate and (step % self.config.validate_every == 0 or step == self.config.steps):
                    self._validate(
                        validate, step, board, log.means(_epoch_before(step, self.config.validate_every), step)
                    )
                if self._stop or step % self.config.checkpoint_every == 0 or step == self.config.steps:
                    self.manager.save(step)
                if self._stop:
                    return False
            return True
        except OSError as error:
            raise OutputError(
                f"{self.run}: cannot write ({error.strerror or error}); free space and resume."
            ) from error
        finally:
            log.close()
            for number, handler in old.items():
                signal.signal(number, handler)

    def keep_best(self) -> None:
        """Give `averaged` the weights that validation picked; it stays as it is where nothing was validated."""
        best = self.run / BEST
        if best.is_file():
            self.averaged.load_weights(best)

    def _ask_to_stop(self, *_):
        if self._stop:  # a second Ctrl-C means now
            raise KeyboardInterrupt
        self._stop = True

    def _validate(self, validate, step: int, board, training: dict[str, float]) -> None:
        numbers = {**validate(step), "training": training}
        _to_board(board, {f"validation/{k}": v for k, v in numbers.items() if isinstance(v, float)}, step)
        with (self.run / "validation.jsonl").open("a") as handle:
            handle.write(json.dumps({"step": step, **numbers}) + "\n")
        if numbers["score"] > float(self.best):
            self.best.assign(numbers["score"])
            partial = self.run / "best.partial.weights.h5"
            self.averaged.save_weights(partial)
            partial.replace(self.run / BEST)
            (self.run / "best.json").write_text(json.dumps({"step": step, **numbers}, indent=1))

    @property
    def settings(self) -> dict:
        """The configuration, JSON-able."""
        return asdict(self.config)

    def _distributed_step(self, batch):
        parts = self.strategy.run(self._train_step, args=(batch,))
        reduced = {k: self.strategy.reduce(tf.distribute.ReduceOp.MEAN, v, axis=None) for k, v in parts.items()}
        self._average()
        self.step.assign_add(1)
        return reduced

    def _train_step(self, batch):
        parts = self.config.accumulate
        if parts == 1:
            gradients, judging, told = self._gradients(batch)
        else:
            pieces = {name: tf.stack(tf.split(value, parts)) for name, value in batch.items()}
            first = {name: value[0] for name, value in pieces.items()}
            sums = self._gradients(first)
            # a loop of TensorFlow's, one turn after the other: unrolled, all parts would be in memory at once
            _, sums = tf.while_loop(
                lambda i, _: i < parts,
                lambda i, sums: (
                    i + 1,
                    tf.nest.map_structure(
                        tf.add, sums, self._gradients({name: value[i] for name, value in pieces.items()})
                    ),
                ),
                (tf.constant(1), sums),
                parallel_iterations=1,
            )
            gradients, judging, told = tf.nest.map_structure(lambda value: value / parts, sums)
        self.generator_optimizer.apply_gradients(zip(gradients, self.generator.trainable_variables, strict=True))
        if self.discriminator is not None:
            variables = self.discriminator.trainable_variables
            self.discriminator_optimizer.apply_gradients(zip(judging, variables, strict=True))
        return told

    def _gradients(self, batch) -> tuple[list, list, dict]:
        """Gradients of generator and discriminator (none without one) on a batch, and the parts of their losses."""
        task, replicas = self.task, float(self.strategy.num_replicas_in_sync)  # Keras adds up the replicas' gradients
        inputs = task.inputs(batch)
        if self.discriminator is None:
            with tf.GradientTape() as tape:
                total, parts = task.generator_loss(batch, self.generator(inputs, training=True), [], [], 0.0)
                loss = self.generator_optimizer.scale_loss(total / replicas)
            return tape.gradient(loss, self.generator.trainable_variables), [], {"generator": total, **parts}
        condition, real = task.judged_under(inputs, batch), task.real(batch)
        with tf.GradientTape() as generator_tape, tf.GradientTape() as discriminator_tape:
            outputs = self.generator(inputs, training=True)
            fake = task.fake(outputs)
            real_views = self.discriminator({"condition": condition, "image": real}, training=True)
            fake_views = self.discriminator({"condition": condition, "image": fake}, training=True)
            trust = tf.minimum(tf.cast(self.step, tf.float32) / max(self.config.trust_after, 1), 1.0)
            total, parts = task.generator_loss(batch, outputs, real_views, fake_views, trust)
            where = task.judged_where(batch)
            judged = 0.5 * (
                losses.least_squares(real_views[-1], 1.0, where) + losses.least_squares(fake_views[-1], 0.0, where)
            )
            generator_loss = self.generator_optimizer.scale_loss(total / replicas)
            discriminator_loss = self.discriminator_optimizer.scale_loss(judged / replicas)
        return (
            generator_tape.gradient(generator_loss, self.generator.trainable_variables),
            discriminator_tape.gradient(discriminator_loss, self.discriminator.trainable_variables),
            {"generator": total, **parts, "discriminator": judged},
        )

    def _average(self) -> None:
        # young networks change fast: a short memory first
        step = tf.cast(self.step, tf.float32)
        decay = tf.minimum(self.config.average, (1.0 + step) / (10.0 + step))
        for mean, value in zip(self.averaged.weights, self.generator.weights, strict=True):
            mean.assign_sub((1.0 - tf.cast(decay, mean.dtype)) * (mean - value))


def _epoch_before(step: int, length: int) -> int:
    """The last step before the epoch that `step` ends."""
    return (step - 1) // length * length


def _dropout_states(network) -> list[tf.Variable]:
    """Where the random streams of a network's dropout are: no weights, yet a resumed run must go on there."""
    generators = [getattr(layer, "seed_generator", None) for layer in network.layers]
    return [generator.state.value for generator in generators if generator is not None]


@keras.saving.register_keras_serializable(package="synth")
class _Delayed(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule that begins at step `start`; before, its first value."""

    def __init__(self, schedule, start: int):
        self.schedule, self.start = schedule, start

    def __call__(self, step):
        return self.schedule(tf.maximum(tf.cast(step, tf.float32) - float(self.start), 0.0))

    def get_config(self):
        return {"schedule": self.schedule, "start": self.start}


class _CsvLog:
    """losses.csv: one line per `log_every` steps; lines beyond the step resumed from are dropped."""

    def __init__(self, path: Path, start: int):
        self.path, self.names, self.handle = path, None, None
        self.rows: list[tuple[int, dict[str, float]]] = []
        if path.is_file():
            with path.open(newline="") as handle:
                rows = [row for row in csv.DictReader(handle) if (row.get("step") or "").isdigit()]
            # a line torn by a kill lacks values
            rows = [row for row in rows if int(row["step"]) <= start and all(row.values())]
            if rows:
                self._open([n for n in rows[0] if n])
                self.writer.writerows(rows)
                self.handle.flush()
                for row in rows:
                    self.rows.append((int(row["step"]), {n: float(row[n]) for n in self.names if n != "step"}))

    def _open(self, names):
        self.names = names
        self.handle = self.path.open("w", newline="")
        self.writer = csv.DictWriter(self.handle, names, extrasaction="ignore")
        self.writer.writeheader()

    def write(self, step: int, values: dict) -> None:
        if self.handle is None:
            self._open(["step", *values])
        self.writer.writerow({"step": step, **{k: f"{v:.6f}" for k, v in values.items()}})
        self.handle.flush()
        self.rows.append((step, values))

    def means(self, after: int, until: int) -> dict[str, float]:
        """Means of the lines of steps beyond `after`, up to `until`."""
        values = [row for step, row in self.rows if after < step <= until]
        return {name: round(sum(v[name] for v in values) / len(values), 6) for name in values[0]} if values else {}

    def close(self) -> None:
        if self.handle is not None:
            self.handle.close()


def _to_board(board, values: dict, step: int) -> None:
    with board.as_default(step=step):
        for name, value in values.items():
            tf.summary.scalar(name, value)
    board.flush()
