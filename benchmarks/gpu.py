"""What a GPU is worth here, and whether it does what is promised of it: one command for a person who has one.

    python benchmarks/gpu.py [--n 8] [--model default]

It tells, a line each: the GPUs and that none is taken whole; what the generator computes in (`runtime.precision`) and
that `run.json` says so; seconds a painting and the largest difference from float32, in float32 and float16 by turns;
seconds a case of a whole run; with several GPUs, as many workers with a generator each, and that their bytes are equal;
and that without its GPUs this machine computes in float32 on the CPU and records no precision, as before there was a
choice. Without a GPU the differences are told of float16 on the CPU (which is slow there), and the rest of the CPU.
Exit code 1 if anything is not as promised.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from kill_and_resume import differences

from synth.cluster.workers import Workers
from synth.hosts.sources import embedded_sources
from synth.models import runtime
from synth.models.weights import load_generator
from synth.runs.generate import GenerateConfig, Generation, generate

UNSEEN = "-1"  # CUDA_VISIBLE_DEVICES of a process without GPUs
MOST = 0.02  # of the range 0..1 of a modality: the largest difference that float16 may make in a voxel
RECORD = "import json, sys; from synth import *; print(json.dumps(Generation(embedded_sources(), sys.argv[1]).ready()))"


def main() -> int:
    """Print the lines; exit code 1 if something is not as promised."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=8, help="cases of a run")
    parser.add_argument("--paintings", type=int, default=4, help="of each precision, by turns")
    parser.add_argument("--model", default="default")
    options = parser.parse_args()
    gpus = runtime.tf.config.list_physical_devices("GPU")
    growth = [runtime.tf.config.experimental.get_memory_growth(gpu) for gpu in gpus]
    print(f"GPUs: {len(gpus)}, kernels {runtime.kernels()}, precision {runtime.precision()}, memory grows: {growth}")
    problems = [] if all(growth) else ["a GPU's memory is taken whole"]
    runtime.repeatable()
    problems += compared(options) + whole_runs(options, len(gpus)) + without_gpus(options)
    if not gpus:
        print("No GPU was seen: all of this is this machine's CPU; run it where TensorFlow sees one.")
    print(*(f"NOT AS PROMISED: {problem}" for problem in problems), sep="\n", end="\n" if problems else "")
    return 1 if problems else 0


def compared(options) -> list[str]:
    """Paint the same layouts in both precisions, by turns; what is wrong."""
    generation = Generation(embedded_sources(), options.model, GenerateConfig(seed=1))
    painters = {policy: load_generator(options.model, policy)[0] for policy in (runtime.FLOAT32, runtime.MIXED)}
    seconds: dict[str, list[float]] = {policy: [] for policy in painters}
    worst, steps, typical = 0.0, 0.0, []
    for k in range(options.paintings + 1):  # the first of each compiles
        layout, recipe = generation.draw(k)
        images = {}
        for policy, painter in painters.items():
            begin = time.perf_counter()
            images[policy] = painter(layout, recipe.style, (k, 1))
            seconds[policy].append(time.perf_counter() - begin)
        off = np.abs(images[runtime.MIXED] - images[runtime.FLOAT32])
        low, high = np.asarray(recipe.written, np.float32).T
        worst, steps = max(worst, float(off.max())), max(steps, float((off * (high - low)).max()))
        typical.append(float(off[images[runtime.FLOAT32] != 0].mean()))
    took = {policy: median(times[1:]) for policy, times in seconds.items()}
    print(
        f"painting: float32 {took[runtime.FLOAT32]:.2f} s, mixed_float16 {took[runtime.MIXED]:.2f} s; largest "
        f"difference {worst:.4f} of a modality's range ({steps:.1f} steps of its int16), mean {np.mean(typical):.5f}"
    )
    return [f"float16 differs by {worst:.4f}, more than {MOST}"] if worst > MOST else []


def whole_runs(options, gpus: int) -> list[str]:
    """A run, and with several GPUs the same by workers; what is wrong."""
    problems = []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        begin = time.perf_counter()
        generate(Generation(embedded_sources(), options.model, GenerateConfig(seed=1)), options.n, work / "alone")
        alone = time.perf_counter() - begin
        told = json.loads((work / "alone/run.json").read_text())["model"]
        print(f"a run of {options.n}: {alone / options.n:.2f} s a case with loading; recorded {told}")
        if told.get("precision", runtime.FLOAT32) != runtime.precision() or told["kernels"] != runtime.kernels():
            problems.append("run.json does not say what was computed in")
        if gpus > 1:
            begin = time.perf_counter()
            generation = Generation(embedded_sources(), options.model, GenerateConfig(seed=1))
            generate(generation, options.n, work / "together", workers=Workers(gpus))
            together = time.perf_counter() - begin
            different = differences(work / "alone", work / "together")
            print(f"{gpus} workers, a GPU each: {together / options.n:.2f} s a case with loading; {different} differ")
            problems += ["workers wrote other bytes"] if different else []
    return problems


def without_gpus(options) -> list[str]:
    """What a process that sees no GPU would record; what is wrong."""
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": UNSEEN}
    told = subprocess.run(
        [sys.executable, "-c", RECORD, options.model], env=env, check=True, capture_output=True, text=True
    )
    model = json.loads(told.stdout.splitlines()[-1])["model"]
    print(f"without GPUs: {model}")
    return [] if set(model) == {"name", "hash", "kernels"} and model["kernels"] != "cuDNN" else ["the CPU's record"]


if __name__ == "__main__":
    sys.exit(main())
