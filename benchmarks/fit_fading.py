"""Fit how tumours pass into what lies around them, on layouts and styles of real scans, and store it.

Usage: python benchmarks/fit_fading.py LAYOUTS [--out synth/style/weights/fading.npz]

LAYOUTS is what `synth layouts extract --detail` made of training scans (never of those that samples are judged on).
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from synth.brats import MODALITIES
from synth.datasets.layout_files import folder_sources, load_style
from synth.style.fading import DEPTHS_MM, KINDS, SHIPPED, Fading, borders, nearest_depth

LEAST = 200  # voxels of a class at a depth: fewer say nothing of it
FEWEST = 6  # tumours
STEEPEST = 0.01  # deviation of what lies beside, in normalised units: where it varies less it tells nothing


def main():
    """Fit, print what was found, store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("layouts", type=Path)
    parser.add_argument("--out", type=Path, default=SHIPPED)
    arguments = parser.parse_args()
    shells = {}
    for source in folder_sources(arguments.layouts):
        layout = replace(source.load(), detail=source.detail())
        for k, border in enumerate(borders(layout, load_style(source.path))):
            if border is None:
                continue
            tones = border.tones(layout)
            nearest = nearest_depth(border.depth)
            for m, d in np.ndindex(len(MODALITIES), len(DEPTHS_MM)):
                there = (nearest == d) & (border.depth < DEPTHS_MM[-1] + 0.5)
                if there.sum() >= LEAST:
                    shells.setdefault((k, m, d), []).append(
                        (border.beside[m], border.beside[m, there], tones[m, there])
                    )
    tables = np.zeros((4, len(KINDS), len(MODALITIES), len(DEPTHS_MM)))
    tables[3] = 1
    for place, found in shells.items():
        if len(found) >= FEWEST:
            tables[(slice(None), *place)] = fitted(found)
    Fading(*tables).save(arguments.out)
    for k, kind in enumerate(KINDS):
        for m, modality in enumerate(MODALITIES):
            rows = [np.round(table[k, m], 2).tolist() for table in tables]
            print(f"{kind.name} {modality}: level {rows[0]} far {rows[1]} near {rows[2]} kept {rows[3]}")
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1000:.1f} kB")


def fitted(found):
    """Level, slope between tumours, slope within them, and what of a tone's deviation is left."""
    away = np.array([everywhere.mean() for everywhere, _, _ in found])
    # what the slope within a tumour says of a shell whose surroundings are not the tumour's mean ones is taken off
    covariances = np.array([np.cov(beside, tones) for _, beside, tones in found])
    varied = covariances[:, 0, 0] > STEEPEST**2
    near = covariances[varied, 0, 1].sum() / covariances[varied, 0, 0].sum() if varied.any() else 0.0
    means = np.array([tones.mean() - near * (beside.mean() - all_.mean()) for all_, beside, tones in found])
    far, level = np.polyfit(away, means, 1)
    left = covariances[:, 1, 1] - 2 * near * covariances[:, 0, 1] + near**2 * covariances[:, 0, 0]
    return level, far, near, np.sqrt(np.clip(left.sum() / covariances[:, 1, 1].sum(), 0, 1))


if __name__ == "__main__":
    main()
