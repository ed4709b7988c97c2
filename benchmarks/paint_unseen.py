"""Paint scans that a generator has not met from their own layouts; print how real they look and how well they segment.

Usage: python benchmarks/paint_unseen.py DATA OUT [--model default ...] [--plain] [--segmenter default] [--cases N]

For every model, medians over the cases by modality: SSIM, that of low-passed images, texture, power in three bands,
steepest gradients and kurtosis of the Laplacian, painted over real; then the Dice of a segmenter on painted scans less
that on the real ones, by region with paired bootstrap intervals. Give a segmenter that saw real scans alone, and none
of these. Painted cases are written to OUT/<model>, for judges from outside. `--plain` takes the layouts' detail away.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from synth import Gate, load_generator, open_set
from synth.brats import MODALITIES, REGIONS
from synth.exporters import open_exporter
from synth.quality.bootstrap import difference, paired_bootstrap
from synth.runs.painted_case import to_case
from synth.style.scale import paired_window
from synth.trainers.painting.patches import prepare_cases
from synth.trainers.painting.validation import compare, prepared_scan

SHOWN = ("ssim", "low_ssim", "texture", "power_0.1", "power_0.2", "power_0.3", "gradient", "kurtosis")


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", action="append")
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--segmenter", default="default")
    parser.add_argument("--cases", type=int)
    args = parser.parse_args()
    cases, gate = prepare_cases(args.data, args.out / "cache", detail=True)[: args.cases], Gate(args.segmenter)
    scans = open_set(args.data, scans=True)
    real = np.array([list(gate.score(scans[case.id].read()).values()) for case in cases])
    told("real scans", real)
    for model in args.model or ["default"]:
        painter, card = load_generator(model)
        rows, dice, begin = [], [], time.perf_counter()
        with open_exporter("nifti", args.out / f"{card['name']}{'-plain' * args.plain}") as exporter:
            for case in cases:
                item = prepared_scan(case)
                layout = replace(item.layout, detail=None) if args.plain else item.layout
                image = painter(layout, case.style, (1, 2))
                rows.append(compare(item.real, image, item.classes))
                painted = to_case(case.id, layout, image, paired_window(case.style))
                exporter.write(painted)
                dice.append(list(gate.score(painted).values()))
        print(f"{card['name']}: {len(cases)} cases, {(time.perf_counter() - begin) / len(cases):.1f} s each; medians")
        print(f"{'':8}{''.join(f'{name:>11}' for name in SHOWN)}")
        for modality in MODALITIES:
            values = (np.nanmedian([row[f"{name}_{modality}"] for row in rows]) for name in SHOWN)
            print(f"{modality:8}{''.join(f'{value:11.3f}' for value in values)}", flush=True)
        told("painted", np.array(dice))
        for k, region in enumerate(REGIONS):
            middle, low, high = paired_bootstrap(np.array(dice)[:, k], real[:, k], difference)
            print(f"painted less real, {region}: {middle:+.3f} [{low:+.3f}, {high:+.3f}]", flush=True)


def told(what: str, dice: np.ndarray) -> None:
    """Print mean and median Dice of (cases, regions)."""
    cells = (
        f"{name} {values.mean():.3f} ({np.median(values):.3f})" for name, values in zip(REGIONS, dice.T, strict=True)
    )
    print(f"Dice on {what}, mean (median): {', '.join(cells)}", flush=True)


if __name__ == "__main__":
    main()
