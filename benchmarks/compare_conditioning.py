"""What painting the style into the input is worth: the same network and training, conditioned on labels alone.

    python benchmarks/compare_conditioning.py --train DIR --val DIR --out DIR [--steps 450] [--patch 96]

Trains both from nothing with the same seed, patches and steps (so the same time, but for a few per cent), reconstructs
the validation cases with each, and prints both tables. Interrupted, it goes on where it was.
"""

import argparse
import json
import time
from pathlib import Path

from synth.models.configs import CONDITIONINGS, GeneratorConfig
from synth.runs.reconstruct import RESULTS, Comparison, reconstruct, summary_lines
from synth.trainers.config import TrainConfig
from synth.trainers.cutting import PatchConfig
from synth.trainers.painting.training import GeneratorTraining, train_generator


def main() -> None:
    """Train, reconstruct, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("--train", "--val", "--out"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--steps", type=int, default=450)
    parser.add_argument("--patch", type=int, default=96)
    options = parser.parse_args()
    for conditioning in CONDITIONINGS:
        run, begin = options.out / conditioning, time.perf_counter()
        config = GeneratorTraining(
            generator=GeneratorConfig(conditioning=conditioning),
            train=TrainConfig(steps=options.steps, validate_every=options.steps),
            patch=PatchConfig(options.patch),
        )
        if not (run / "model").is_dir() and train_generator(options.train, options.val, run, config) is None:
            return
        minutes = (time.perf_counter() - begin) / 60
        if not (run / "check" / RESULTS).is_file():
            reconstruct(options.val, run / "check", model=run / "model", force=True)
        rows = [Comparison(**row) for row in json.loads((run / "check" / RESULTS).read_text())["comparisons"]]
        print(
            f"{conditioning}, {options.steps} steps of {options.patch}^3, {minutes:.1f} min",
            *summary_lines(rows),
            sep="\n",
        )


if __name__ == "__main__":
    main()
