"""Does mass effect do what tumours do? Midline shift, ventricles, folding and seconds, for real tumour shapes.

Usage: python benchmarks/mass_effect.py /path/to/data [--count 40] [--plot docs/mass_effect.png]
       python benchmarks/mass_effect.py /path/to/data --draws 1000

The tumours are ground-truth maps (labels/full below the data folder, the validation cases left out), evenly spread
over the ranks of their volume, on the SRI24 tissue map: a brain that has had no mass effect yet. All get the middle of
the default ranges, so that volume is what differs; a last column has shares drawn from the ranges.

Midline shift: the largest lateral displacement, in mm, of the points of the mid-sagittal plane that lie deep in the
brain (25 mm or more below its surface: septum pellucidum, third ventricle, corpus callosum), forward in time, positive
away from the tumour. Ventricles: their own voxels carried along, those on the tumour's side and the others.

With --draws: that many random draws of mass effect (relief too) and atrophy with their default ranges, on a few hosts;
prints the smallest Jacobian of each (for every 25th sampled densely, to check the quick sampling), and fails if one is
not above 0.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from measure_real_maps import read
from scipy.stats import spearmanr

from synth.brats import AFFINE
from synth.layout.edits.anatomy import Atrophy, MassEffect
from synth.layout.flow import min_jacobian
from synth.layout.layout import Layout
from synth.layout.space import MIDLINE, VENTRICLE_DEPTH, box_of, near, spacing, ventricles
from synth.layout.warp import Warp

MIDDLE = MassEffect(strength=0.5, oedema=0.1)


def layouts(data: Path, count: int):
    """`count` real tumours on the SRI24 brain, from the smallest to the largest."""
    tissue = read(data / "atlas" / "sri24_tissues.nii.gz")
    held_out = [read(path) > 0 for path in sorted(data.glob("brats/val/*/*_seg.nii.gz"))]
    found = []
    for path in sorted((data / "labels" / "full").glob("*.nii.gz")):
        labels = np.where(tissue > 0, read(path), 0).astype(np.uint8)
        mask = labels > 0
        if any(2 * np.count_nonzero(mask & other) > 0.9 * (mask.sum() + other.sum()) for other in held_out):
            continue
        found.append((int(mask.sum()), path.name.split(".")[0], labels))
    found.sort(key=lambda item: item[:2])
    ranks = np.unique(np.linspace(0, len(found) - 1, count).round().astype(int))
    return [Layout(tissue, found[i][2], np.array(AFFINE), found[i][1]) for i in ranks]


def septum(layout: Layout) -> np.ndarray:
    """(n, 3) voxels of the mid-sagittal plane that lie deep in the brain."""
    zooms = spacing(layout.affine)
    depth = near(
        np.pad(layout.tissue[::2, ::2, ::2] == 0, 1, constant_values=True), VENTRICLE_DEPTH, [2 * z for z in zooms]
    )
    plane = np.argwhere(np.isinf(depth[1:-1, 1:-1, 1:-1][round(MIDLINE / 2)])) * 2
    return np.column_stack([np.full(len(plane), MIDLINE), plane])


def shift(layout: Layout, edit: MassEffect, points: np.ndarray) -> tuple[float, float]:
    """Midline shift in mm, and the smallest Jacobian."""
    field = edit.field(layout)
    moved = Warp(np.eye(3), np.zeros(3), (field,)).forward(points)[:, 0] - points[:, 0]
    away = moved * spacing(layout.affine)[0] * (1 if tumour_side(layout) < 0 else -1)
    return float(away[np.abs(away).argmax()]), min_jacobian(field)


def tumour_side(layout: Layout) -> float:
    """Negative where the tumour lies at lower indices than the midline."""
    columns = np.count_nonzero(layout.tumour, axis=(1, 2))
    return float(columns @ np.arange(len(columns)) / columns.sum() - MIDLINE)


def ventricle_change(layout: Layout, edit: MassEffect) -> tuple[float, float]:
    """Relative change of the ventricles' volume on the tumour's side and on the other."""
    box = box_of(layout.tissue)
    deep = np.zeros(layout.shape, np.uint8)
    deep[box] = ventricles(layout.tissue, spacing(layout.affine), box)
    field = edit.field(layout)
    moved = Warp(np.eye(3), np.zeros(3), (field,)).gather(
        deep * (1 + (np.arange(len(deep)) > MIDLINE))[:, None, None].astype(np.uint8), (0, 0, 0), box
    )
    before = [np.count_nonzero(deep[: int(MIDLINE) + 1]), np.count_nonzero(deep[int(MIDLINE) + 1 :])]
    change = [np.count_nonzero(moved == side + 1) / before[side] - 1 for side in (0, 1)]
    return tuple(change if tumour_side(layout) < 0 else change[::-1])


HEAD = (
    "WT ml",
    "core ml",
    "displaced",
    "shift mm",
    "ipsi %",
    "contra %",
    "Jacobian",
    "seconds",
    "drawn: mm",
    "lateral mm",
)


def table(data: Path, count: int, plot: Path | None):
    """Print one line per tumour and the rank correlations; save the plot."""
    rng, rows = np.random.default_rng(0), []
    print(f"{'case':28s}", *(f"{name:>10s}" for name in HEAD))
    for layout in layouts(data, count):
        rows.append(one(layout, rng))
        print(f"{layout.id[:28]:28s}", *(f"{value:10.2f}" for value in rows[-1]))
    values = dict(zip(HEAD, np.array(rows).T, strict=True))
    for name in ("WT ml", "core ml", "displaced"):
        print(f"rank correlation of midline shift and {name}: {spearmanr(values[name], values['shift mm'])[0]:.2f}")
    lateral = values["lateral mm"] > 20
    found = spearmanr(values["displaced"][lateral], values["shift mm"][lateral])[0]
    print(f"the last for the {lateral.sum()} tumours 20 mm or more from the midline: {found:.2f}")
    for name in HEAD[3:]:
        print(f"{name:10s} percentiles 5, 25, 50, 75, 95:", np.percentile(values[name], (5, 25, 50, 75, 95)).round(2))
    print(f"smallest Jacobian {values['Jacobian'].min():.2f}")
    if plot:
        draw_plot(values, plot)


def one(layout: Layout, rng: np.random.Generator) -> tuple[float, ...]:
    """The numbers that `HEAD` names, of one tumour."""
    points, volumes = septum(layout), layout.volumes_ml()
    core = volumes["NCR"] + volumes["ET"]
    start = time.perf_counter()
    drawn = MassEffect.draw(layout, rng)
    drawn.run(layout)
    seconds = time.perf_counter() - start
    mm, jacobian = shift(layout, MIDDLE, points)
    ipsi, contra = ventricle_change(layout, MIDDLE)
    displaced = MIDDLE.strength * core + MIDDLE.oedema * volumes["ED"]
    lateral = abs(tumour_side(layout))
    shifted = shift(layout, drawn, points)[0]
    return volumes["WT"], core, displaced, mm, 100 * ipsi, 100 * contra, jacobian, seconds, shifted, lateral


def draw_plot(values, path: Path):
    """Shift and ventricles against displaced volume."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    dots = left.scatter(values["displaced"], values["shift mm"], c=values["lateral mm"], s=18, cmap="viridis")
    figure.colorbar(dots, ax=left, label="tumour to midline (mm)")
    left.set(xlabel="displaced volume (ml)", ylabel="midline shift (mm)")
    left.axhline(0, color="0.7", lw=0.8)
    for column, label, marker in (("ipsi %", "tumour's side", "o"), ("contra %", "other side", "^")):
        right.scatter(values["displaced"], values[column], s=18, marker=marker, label=label)
    right.axhline(0, color="0.7", lw=0.8)
    right.set(xlabel="displaced volume (ml)", ylabel="ventricle volume change (%)")
    right.legend(frameon=False)
    figure.savefig(path, dpi=90)
    print(f"saved {path}")


def draws(data: Path, count: int):
    """Fold nowhere: the smallest Jacobians of many draws."""
    hosts, rng, dense = layouts(data, 12), np.random.default_rng(1), []
    smallest = {"mass_effect": [], "relief": [], "atrophy": []}
    for k in range(count):
        layout = hosts[k % len(hosts)]
        edits = {
            "mass_effect": MassEffect.draw(layout, rng),
            "relief": MassEffect.draw(layout, rng, strength=(-0.7, -0.2), oedema=(-0.2, 0.0)),
            "atrophy": Atrophy.draw(layout, rng),
        }
        name = rng.choice(["mass_effect", "mass_effect", "relief", "atrophy"])
        field = edits[name].field(layout)
        smallest[name].append(1.0 if field is None else min_jacobian(field))
        if k % 25 == 0 and field is not None:
            dense.append(dense_jacobian(field) - smallest[name][-1])
    for name, values in smallest.items():
        least, rare = min(values), np.percentile(values, 1)
        print(f"{name}: {len(values)} draws, smallest Jacobian {least:.3f}, 1st percentile {rare:.3f}")
    print(f"dense minus quick sampling, {len(dense)} fields: {min(dense):.3f} to {max(dense):.3f}")
    if min(map(min, smallest.values())) <= 0:
        sys.exit("a deformation folds")


def dense_jacobian(field) -> float:
    """The smallest Jacobian at every control point and midway between all of them, in slabs."""
    lines = field.lattice()
    least = np.inf
    for start in range(0, len(lines[0]), 8):
        columns = np.moveaxis(field.gradient([lines[0][start : start + 8], *lines[1:]]), (1, 2), (0, 1))
        a, b, c = (
            columns[0] + np.array([1, 0, 0])[:, None],
            columns[1] + np.array([0, 1, 0])[:, None],
            columns[2] + np.array([0, 0, 1])[:, None],
        )
        least = min(least, float((a * np.cross(b, c, axis=0)).sum(0).min()))
    return least


def main():
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--draws", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.draws:
        draws(arguments.data, arguments.draws)
    else:
        table(arguments.data, arguments.count, arguments.plot)


if __name__ == "__main__":
    main()
