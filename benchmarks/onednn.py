"""What oneDNN changes: painting, a training step, peak memory, start-up; off against on, each in its own process.

    python benchmarks/onednn.py [--cases 3]

CPU-seconds of all threads, medians; GFLOP/s by CPU-second of the painting network, and of a matrix product of
4096 x 4096, which is computed with the same setting.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time

import numpy as np
from bench_generate import network_gflop


def measured(cases: int) -> dict[str, float]:
    """The numbers of this process."""
    from synth.hosts.sources import embedded_sources
    from synth.models.runtime import kernels, repeatable, tf
    from synth.runs.generate import GenerateConfig, Generation

    repeatable()
    generation = Generation(embedded_sources(), config=GenerateConfig(seed=7))
    layout, recipe = generation.draw(0)
    drawn = time.process_time()
    generation.paint(layout, recipe)
    out = {"kernels": kernels(), "start-up without drawing": time.process_time() - drawn}
    painting = [seconds(lambda: generation.paint(layout, recipe)) for _ in range(cases)]
    out["painting a case"] = float(np.median(painting))
    out["peak GiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    network = generation.painter.generator
    shape = [part.stop - part.start for part in generation.painter.box(layout)[1]]
    inputs = {t.name: tf.zeros((1, *shape, t.shape[-1])) for t in network.inputs}
    forward = tf.function(lambda x: network(x, training=False)["image"])
    matrix = tf.constant(np.random.default_rng(0).standard_normal((4096, 4096), np.float32))
    product = tf.function(lambda a: tf.linalg.matmul(a, a))
    forward(inputs), product(matrix)
    passes = [seconds(lambda: forward(inputs)) for _ in range(cases)]
    products = [seconds(lambda: product(matrix)) for _ in range(cases)]
    out["network GFLOP/s"] = network_gflop(network, shape) / float(np.median(passes))
    out["matmul GFLOP/s"] = 2 * 4.096**3 / float(np.median(products))
    out["network over matmul"] = out["network GFLOP/s"] / out["matmul GFLOP/s"]
    out["training step"] = training_step(network, tf, cases)
    return out


def training_step(network, tf, cases: int) -> float:
    """Forward and backward through the network on a patch of 64 voxels a side."""
    patch = {t.name: tf.ones((1, 64, 64, 64, t.shape[-1])) for t in network.inputs}

    @tf.function
    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.abs(network(x, training=True)["image"]))
        return [tf.reduce_sum(g) for g in tape.gradient(loss, network.trainable_variables)]

    step(patch)
    return float(np.median([seconds(lambda: step(patch)) for _ in range(cases)]))


def seconds(work) -> float:
    """CPU-seconds of all threads."""
    begin = time.process_time()
    result = work()
    if hasattr(result, "numpy"):
        result.numpy()
    return time.process_time() - begin


def main() -> None:
    """Print a row a number: off, on, and off over on."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=3)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(json.dumps(measured(options.cases)))
        return
    found = []
    for setting in "01":
        line = [sys.executable, __file__, "--here", "--cases", str(options.cases)]
        environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": setting}
        done = subprocess.run(line, env=environment, check=True, capture_output=True)
        found.append(json.loads(done.stdout.splitlines()[-1]))
    off, on = found
    print(f"{'':26}{off.pop('kernels'):>10}{on.pop('kernels'):>10}   off / on")
    for name in off:
        print(f"{name:26}{off[name]:10.2f}{on[name]:10.2f}{off[name] / on[name]:8.2f}")


if __name__ == "__main__":
    main()
