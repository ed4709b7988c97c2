"""The loop around any step: resumed, stopped, in a thread, with other networks than ours, on a terminal and off."""

import csv
import json
import re
import sys
import threading
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from synth.errors import ModelError, OutputError
from synth.trainers.adversarial import AdversarialStep
from synth.trainers.config import TrainConfig
from synth.trainers.loop import TrainingLoop
from synth.trainers.progress import StepProgress
from synth.trainers.supervised import SupervisedStep
from synth.trainers.updates import adam, follow, in_parts, mean_of

CONFIG = {"log_every": 1, "validate_every": 1000, "checkpoint_every": 1000, "learning_rate": 1e-2}


def network(name, inputs=1):
    return keras.Sequential([keras.Input((4, inputs)), keras.layers.Dense(3, "tanh"), keras.layers.Dense(1)], name=name)


class Cycle:
    """Two generators there and back, two discriminators: what CycleGAN (arXiv:1703.10593) has, on numbers."""

    def __init__(self, config):
        self.config, self.strategy = config, tf.distribute.get_strategy()
        self.generators = {name: network(name) for name in ("there", "back")}
        self.judges = {name: network(f"judge_{name}") for name in ("there", "back")}
        self.means = {name: mean_of(generator) for name, generator in self.generators.items()}
        self.networks = {**self.generators, **{f"judge_{name}": judge for name, judge in self.judges.items()}}
        self.optimizers = {n: adam(config, config.learning_rate, "float32", m) for n, m in self.networks.items()}

    def checkpointed(self):
        optimizers = {f"{name}_optimizer": optimizer for name, optimizer in self.optimizers.items()}
        return {**self.networks, **optimizers, **{f"mean_{name}": mean for name, mean in self.means.items()}}

    def kept(self):
        return {f"best_{name}": mean for name, mean in self.means.items()}

    def __call__(self, batch, number):
        gradients, parts = in_parts(self._gradients, batch, self.config.accumulate)
        for name, model in self.networks.items():
            self.optimizers[name].apply_gradients(zip(gradients[name], model.trainable_variables, strict=True))
        return parts

    def average(self, number):
        for name, mean in self.means.items():
            follow(mean, self.generators[name], number, self.config.average)

    def summary(self, means):
        return means

    def _gradients(self, batch):
        with tf.GradientTape(persistent=True) as tape:
            made = {"there": self.generators["there"](batch["a"]), "back": self.generators["back"](batch["b"])}
            back = self.generators["back"](made["there"]), self.generators["there"](made["back"])
            cycle = sum(tf.reduce_mean(abs(x - y)) for x, y in zip(back, (batch["a"], batch["b"]), strict=True))
            losses = {}
            for name, real in (("there", batch["b"]), ("back", batch["a"])):
                fake = self.judges[name](made[name])
                losses[name] = 10 * cycle + tf.reduce_mean((fake - 1) ** 2)
                losses[f"judge_{name}"] = tf.reduce_mean((self.judges[name](real) - 1) ** 2) + tf.reduce_mean(fake**2)
        gradients = {n: tape.gradient(losses[n], model.trainable_variables) for n, model in self.networks.items()}
        return gradients, {"cycle": cycle, **losses}


def cycle_loop(run, steps, **changes):
    keras.utils.set_random_seed(2)
    config = TrainConfig(steps=steps, batch=2, **{**CONFIG, **changes})
    return TrainingLoop(Cycle(config), config, run, quiet=True)


def numbers_from(stop):
    """Batches of two sequences by step number."""

    def dataset(start):
        def sample(k):
            a = tf.random.stateless_normal((4, 1), tf.stack([k, tf.constant(0, tf.int64)]))
            return {"a": a, "b": 2 * a + 1}

        return tf.data.Dataset.range(2 * start, 2 * stop).map(sample).batch(2, drop_remainder=True)

    return dataset


def rows(run):
    with (Path(run) / "losses.csv").open() as handle:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(handle)]


def test_a_cycle_of_four_networks_trains_and_resumes_through_the_same_loop(tmp_path):
    whole = cycle_loop(tmp_path / "whole", 40)
    assert whole.train(numbers_from(40))
    logged = rows(tmp_path / "whole")
    assert np.mean([row["cycle"] for row in logged[-5:]]) < np.mean([row["cycle"] for row in logged[:5]])
    first = cycle_loop(tmp_path / "parts", 40)
    advance = first.advance

    def stopping(batch):
        parts = advance(batch)
        if int(first.number) == 11:
            first.stop()
        return parts

    first.advance = stopping
    assert first.train(numbers_from(40)) is False
    second = cycle_loop(tmp_path / "parts", 40)
    for model in second.step.networks.values():  # what is resumed must come from the checkpoint
        model.set_weights([0 * weight for weight in model.get_weights()])
    assert second.train(numbers_from(40))
    assert [row["step"] for row in rows(tmp_path / "parts")] == list(range(1, 41))
    for a, b in zip(logged, rows(tmp_path / "parts"), strict=True):
        assert a == pytest.approx(b, rel=1e-4, abs=1e-5)
    for name, mean in whole.step.means.items():
        for a, b in zip(mean.get_weights(), second.step.means[name].get_weights(), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)


def test_all_networks_get_the_weights_that_validation_picked(tmp_path):
    loop, kept = cycle_loop(tmp_path, 3, validate_every=1), {}

    def validate(step):
        kept[step] = {name: model.get_weights() for name, model in loop.step.kept().items()}
        return {"score": {1: 0.1, 2: 0.9, 3: 0.5}[step]}

    for name in loop.step.kept():  # what a killed training was writing
        (tmp_path / f".{name}.weights.h5.999999999.partial").mkdir()
    loop.train(numbers_from(3), validate)
    loop.keep_best()
    assert json.loads((tmp_path / "best.json").read_text())["step"] == 2
    for name, model in loop.step.kept().items():
        assert (tmp_path / f"{name}.weights.h5").is_file()
        for a, b in zip(model.get_weights(), kept[2][name], strict=True):
            np.testing.assert_array_equal(a, b)
    assert not list(tmp_path.glob("*partial*"))


def test_a_run_outside_the_main_thread(tmp_path):
    """Signals can be heard in the main thread alone; training must not need them."""
    results = []

    def train():
        try:
            results.append(cycle_loop(tmp_path, 2).train(numbers_from(2)))
        except BaseException as error:
            results.append(error)

    thread = threading.Thread(target=train)
    thread.start()
    thread.join(120)
    assert results == [True]
    assert [row["step"] for row in rows(tmp_path)] == [1, 2]


def test_a_run_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(OutputError, match="cannot write"):
        cycle_loop(tmp_path / "run", 1).train(numbers_from(1))


def test_a_batch_that_devices_cannot_share_is_refused():
    class Two:
        num_replicas_in_sync = 2

    for make in (
        lambda config: SupervisedStep(lambda: network("n"), None, config, Two()),
        lambda config: AdversarialStep(lambda: (network("g"), network("d")), None, config, Two()),
    ):
        with pytest.raises(ModelError, match="choose a multiple of 4"):
            make(TrainConfig(batch=2, accumulate=2))


# --- progress ---


class Terminal:
    """Standard error that is a terminal, or is none."""

    def __init__(self, terminal):
        self.terminal, self.text, self.encoding = terminal, "", "utf-8"

    def isatty(self):
        return self.terminal

    def write(self, text):
        self.text += text

    def flush(self):
        pass


def shown(monkeypatch, terminal, quiet=False):
    stream = Terminal(terminal)
    monkeypatch.setattr(sys, "stderr", stream)
    progress = StepProgress(10, 14, quiet=quiet)
    for step in range(11, 15):
        progress.advance()
        if step % 2 == 0:
            progress.tell(step, {"generator": 0.5})
    progress.close()
    return stream.text


def test_off_a_terminal_there_are_plain_lines_and_no_more_than_are_logged(monkeypatch):
    text = shown(monkeypatch, terminal=False)
    assert "\r" not in text
    lines = text.splitlines()
    assert len(lines) == 2
    assert re.fullmatch(r"step 12/14, \d+\.\d\d s a step: generator 0\.500", lines[0])


def test_on_a_terminal_there_is_a_bar(monkeypatch):
    text = shown(monkeypatch, terminal=True)
    assert "\r" in text
    assert "14/14" in text


@pytest.mark.parametrize("terminal", [True, False])
def test_quiet_shows_nothing(monkeypatch, terminal):
    assert shown(monkeypatch, terminal, quiet=True) == ""


def test_a_log_that_nobody_reads_stops_no_training(monkeypatch):
    class Broken(Terminal):
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Broken(terminal=False))
    progress = StepProgress(0, 2)
    progress.tell(1, {})
    progress.tell(2, {})
    progress.close()


def test_without_standard_error_training_goes_on(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    progress = StepProgress(0, 1)
    progress.advance()
    progress.tell(1, {})
    progress.close()
