"""Compare tumours drawn by the embedded default with the real label maps: distributions, and whether any is a copy.

Usage: python benchmarks/prior_against_real.py DATA [-n 500] [--edits new] [--seed 0] [--copies]

Prints for each quantity the Kolmogorov-Smirnov distance of the draws to one random half of the real maps beside that
between the two halves (medians over 200 random halvings). Volumes, fractions and places use all different maps but the
validation patients'; sphericity and pieces only those at 1 mm. With --copies also 1 - Dice of each tumour to its
nearest real one, centroids aligned and mirrored where that is nearer, as it is and scaled to one volume.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from fit_tumour_prior import RealMap, real_maps
from scipy.ndimage import label
from scipy.stats import ks_2samp
from tqdm import tqdm

from synth.brats import AFFINE
from synth.hosts.anatomies import AtlasAnatomies
from synth.layout.facts import describe
from synth.layout.layout import Layout
from synth.layout.sampling.sampler import LayoutSampler
from synth.layout.space import MIDLINE, ball_radius, box_of

HALVINGS = 200
ANYWHERE = ("whole_ml", "NCR share", "ED share", "ET share", "|x - midline|", "y", "z")
AT_1MM = ("sphericity", "pieces of 0.1 ml", "components (26)", "components (6)")
LATTICE, REACH_MM, REACH_RADII = 40, 70.0, 2.4


def measure(labels: np.ndarray, zooms, origin) -> list[float]:
    """The quantities of `ANYWHERE`."""
    counts = np.bincount(labels.ravel(), minlength=4)[1:]
    box = box_of(labels)
    places = [np.average(np.arange(p.start, p.stop), weights=(labels[box] > 0).sum(tuple({0, 1, 2} - {a})))
              for a, p in enumerate(box)]  # fmt: skip
    x, y, z = np.array(places) * zooms + origin
    return [counts.sum() * np.prod(zooms) / 1000, *(counts / counts.sum()), abs(x - MIDLINE), y, z]


def measure_outline(labels: np.ndarray) -> list[float]:
    """The quantities of `AT_1MM`."""
    brain = np.ones(labels.shape, np.uint8)
    facts = describe(Layout(brain, labels, np.array(AFFINE)))
    mask = labels[box_of(labels)] > 0
    return [facts.sphericity, facts.pieces, label(mask, np.ones((3, 3, 3)))[1], label(mask)[1]]


def table(names, real: np.ndarray, drawn: np.ndarray) -> None:
    """Print the distances."""
    rng = np.random.default_rng(0)
    halves = [np.array_split(rng.permutation(len(real)), 2) for _ in range(HALVINGS)]
    for column, name in enumerate(names):
        r, d = real[:, column], drawn[:, column]
        between = np.median([ks_2samp(r[a], r[b]).statistic for a, b in halves])
        to_drawn = np.median([ks_2samp(r[a], d).statistic for a, _ in halves])
        told = ["  ".join(f"{v:7.3f}" for v in np.percentile(x, (5, 25, 50, 75, 95))) for x in (r, d)]
        verdict = "" if to_drawn <= 1.5 * between else "  more than 1.5"
        print(f"{name:16s} {to_drawn:.3f} / {between:.3f} = {to_drawn / between:.2f}{verdict}")
        print(f"                   real  {told[0]}\n                   drawn {told[1]}")


def lattices(labels: np.ndarray, zooms) -> list[np.ndarray]:
    """The whole tumour around its centroid as (2, g^3) bool: by millimetres, and by radii."""
    points = np.argwhere(labels)
    centre = points.mean(0)
    radius = ball_radius(len(points) * np.prod(zooms))
    line = ((np.arange(LATTICE) + 0.5) / LATTICE * 2 - 1).astype(float)
    out = []
    for reach in (REACH_MM, REACH_RADII * radius):
        index = [
            np.clip(np.rint(c + line * reach / z).astype(int), -1, n) + 1
            for c, z, n in zip(centre, zooms, labels.shape, strict=True)
        ]
        out.append(np.pad(labels, 1)[np.ix_(*index)] > 0)
    return out


def nearest(a: np.ndarray, b: np.ndarray, own: bool) -> np.ndarray:
    """1 - Dice of each row of `a` to its nearest of `b` (n, g, g, g), mirrored or not."""
    flat = b.reshape(len(b), -1).astype(np.float32)
    best = np.zeros(len(a))
    for view in (a, a[:, ::-1]):
        rows = view.reshape(len(a), -1).astype(np.float32)
        dice = 2 * rows @ flat.T / (rows.sum(1)[:, None] + flat.sum(1))
        if own:
            np.fill_diagonal(dice, 0)
        best = np.maximum(best, dice.max(1))
    return 1 - best


def draws(n: int, edits, seed: int) -> Iterator[np.ndarray]:
    """Tumour maps of the sampler's layouts."""
    sampler = LayoutSampler(AtlasAnatomies(), edits, seed)
    for k in tqdm(range(n), desc="drawing", unit="layout"):
        yield sampler.draw(k)[0].tumour


def main():
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("-n", type=int, default=500)
    parser.add_argument("--edits", help="of the draws; default: those of the embedded default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--copies", action="store_true", help="nearest-real distances too")
    args = parser.parse_args()
    maps: list[RealMap] = real_maps(args.data)
    fine = [m for m in maps if m.labels.shape == (240, 240, 155)]
    real = np.array([measure(m.labels, m.zooms, m.origin) for m in maps])
    outlines = np.array([measure_outline(m.labels) for m in fine])
    one, zero = np.ones(3), np.zeros(3)
    rows, shapes, crops = [], [], []
    for tumour in draws(args.n, args.edits.split(",") if args.edits else None, args.seed):
        rows.append(measure(tumour, one, zero))
        shapes.append(measure_outline(tumour))
        crops.append(lattices(tumour, one))
    print(f"KS distance of {args.n} draws to a half of the real maps / between the halves; percentiles 5 25 50 75 95")
    table(ANYWHERE, real, np.array(rows))
    table(AT_1MM, outlines, np.array(shapes))
    if args.copies:
        originals = [lattices(m.labels, m.zooms) for m in maps]
        for which, name in enumerate(("as they are", "at one volume")):
            a, b = (np.array([pair[which] for pair in pairs]) for pairs in (crops, originals))
            to_real, among = nearest(a, b, own=False), nearest(b, b, own=True)
            print(
                f"nearest real map, {name}: 1 - Dice of draws: median {np.median(to_real):.3f}, least "
                f"{to_real.min():.3f}; of real maps to other ones: {np.median(among):.3f}, {among.min():.3f}; "
                f"ratio of medians {np.median(to_real) / np.median(among):.2f}"
            )


if __name__ == "__main__":
    main()
