"""What `synth generate` does before its first sample and never again, in CPU-seconds of all threads.

    python benchmarks/startup.py [--trees OTHER,.] [--rounds 3]

Each tree, a checkout of synth, is measured in processes of its own, in turns; medians. Its package is copied and
compiled first, as installing does it. Drawing, painting and scoring are what the first takes beyond the second of the
same sample: drawn whole, painted and scored in the middle 64 voxels, where the second is next to nothing. In a run they
overlap; here one comes after the other.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from compileall import compile_dir
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from shutil import copytree
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np


def measured() -> dict[str, float]:
    """CPU-seconds of each stage in this process."""
    took, begin = {}, [time.process_time()]

    def done(stage: str) -> float:
        now = time.process_time()
        took[stage], begin[0] = now - begin[0], now
        return took[stage]

    from synth.cli import main  # noqa: F401 (what the command imports)
    from synth.hosts.sources import embedded_sources
    from synth.layout.detail import MAPS
    from synth.runs.gate import Gate
    from synth.runs.generate import GenerateConfig, Generation

    done("imports")
    with suppress(ImportError):  # of earlier trees
        from synth.process import claim_process

        claim_process()  # as the command does
    from synth.models import runtime  # noqa: F401 (TensorFlow)

    done("TensorFlow")
    generation, gate = Generation(embedded_sources(), config=GenerateConfig(seed=7)), Gate()
    generation.ready()
    _ = gate.segmenter
    done("networks")
    layout, recipe = generation.draw(0)
    done("drawing")
    generation.sampler._load.cache_clear()
    generation.sampler._layers.cache_clear()
    from synth.hosts.anatomies import _grown

    _grown.cache_clear()
    begin[0] = time.process_time()
    generation.draw(0)
    took["drawing"] -= done("again")
    middle = tuple(slice(n // 2 - 32, n // 2 + 32) for n in layout.shape)
    detail = replace(layout.detail, **{name: getattr(layout.detail, name)[middle] for name in MAPS})
    layout = replace(layout, tissue=layout.tissue[middle], tumour=layout.tumour[middle], detail=detail)
    run, window = gate.segmenter._runs[0], np.zeros((1, 64, 64, 64, 4), np.float32)
    begin[0] = time.process_time()
    for stage, work in (("painting", partial(generation.paint, layout, recipe)), ("scoring", partial(run, window))):
        work()
        done(stage)
        work()
        took[stage] -= done("again")
    del took["again"]
    return took


def compiled(tree: Path, place: Path) -> Path:
    """The folder `place` with a tree's package, compiled."""
    copytree(tree / "synth", place / "synth")
    for name in ("exporters", "trainers"):
        copytree(tree / name, place / "synth" / name)
    compile_dir(place, quiet=1)
    return place


def main() -> None:
    """Print a row a stage and a column a tree."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trees", default=".", help="checkouts, with commas")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(json.dumps(measured()))
        return
    trees = options.trees.split(",")
    rows: dict[str, list[dict]] = {tree: [] for tree in trees}
    with TemporaryDirectory() as folder:
        places = {tree: compiled(Path(tree), Path(folder, str(k))) for k, tree in enumerate(trees)}
        for _ in range(options.rounds):
            for tree, place in places.items():
                line = [sys.executable, os.path.abspath(__file__), "--here"]
                where = {**os.environ, "PYTHONPATH": str(place), "TF_CPP_MIN_LOG_LEVEL": "3"}
                done = subprocess.run(line, env=where, cwd=place, check=True, capture_output=True)
                rows[tree].append(json.loads(done.stdout.splitlines()[-1]))
    print(f"{'':16}" + "".join(f"{tree:>20}" for tree in trees))
    stages = {name: [median(row[name] for row in rows[tree]) for tree in trees] for name in rows[trees[0]][0]}
    beyond = [sum(values[k] for name, values in stages.items() if name != "TensorFlow") for k in range(len(trees))]
    for name, values in [*stages.items(), ("all but TensorFlow", beyond)]:
        print(f"{name:16}" + "".join(f"{value:20.2f}" for value in values))


if __name__ == "__main__":
    main()
