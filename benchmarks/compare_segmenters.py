"""Vox2Vox against the 3D U-Net: trained for equal time on the same cases, tested on the same scans.

Each is timed for a few steps first, gets as many steps as fit into the minutes, and keeps its last averaged weights:
nothing is picked by the test. Validation cases are segmented without mirroring and post-processing.

    python benchmarks/compare_segmenters.py --train DATA/brats/train --val DATA/brats/val --out runs --minutes 8
    python benchmarks/compare_segmenters.py ... --synthetic set     # half of the patches from a set of synth generate
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from synth.models.sliding_window import Segmenter
from synth.quality.segmentation_metrics import measure, summary, table
from synth.trainers.cutting import PatchConfig
from synth.trainers.segmentation.annotated import find_annotated, prepare
from synth.trainers.segmentation.patches import FixedPool, Mix
from synth.trainers.segmentation.training import SegmenterTraining, fit_segmenter

TIMED = (10, 40)  # steps of two short runs: what the longer one takes more is the steps' alone


def main():
    """Print steps, minutes and the metrics of both."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--train", required=True)
    parser.add_argument("--val", required=True)
    parser.add_argument("--synthetic")
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--patch", type=int, default=128)
    given = parser.parse_args()
    cases = prepare(find_annotated(given.train), given.out / "cache" / "train")
    mix = Mix((FixedPool(cases),), (1.0,))
    if given.synthetic:
        painted = prepare(find_annotated(given.synthetic), given.out / "cache" / "synthetic")
        mix = Mix((FixedPool(cases), FixedPool(painted)), (0.5, 0.5))
    held_out = prepare(find_annotated(given.val), given.out / "cache" / "val")
    for arch in ("unet3d", "vox2vox"):
        config = SegmenterTraining.of(arch, width=given.width)
        train = replace(config.train, batch=1, checkpoint_every=100, validate_every=10**9)
        config = replace(config, discriminator_width=given.width, train=train, patch=PatchConfig(given.patch))
        seconds = step_seconds(mix, given.out / f"{arch}_timed", config)
        steps = max(int(60 * given.minutes / seconds), 1)
        begin = time.perf_counter()
        step = fit_segmenter(mix, [], given.out / arch, replace(config, train=replace(train, steps=steps)))
        if step is None:
            return
        minutes = (time.perf_counter() - begin) / 60
        segmenter = Segmenter([step.averaged], given.patch)
        rows = []
        for case in held_out:
            found = segmenter.probabilities(np.asarray(case.images, np.float32)).argmax(-1).astype(np.uint8)
            rows.append(measure(case.labels, np.where(case.coded > 0, found, 0)))
        print(f"\n{arch}, width {given.width}, patch {given.patch}: {steps} steps in {minutes:.1f} min")
        print("\n".join(table(summary(rows))), flush=True)


def step_seconds(mix: Mix, run: Path, config: SegmenterTraining) -> float:
    """Seconds of a step with its input, compilation apart."""
    times = []
    for steps in TIMED:
        begin = time.perf_counter()
        fit_segmenter(mix, [], run / str(steps), replace(config, train=replace(config.train, steps=steps)))
        times.append(time.perf_counter() - begin)
    return max((times[1] - times[0]) / (TIMED[1] - TIMED[0]), 1e-3)


if __name__ == "__main__":
    main()
