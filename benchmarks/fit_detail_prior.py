"""Fit the detail prior on the detail of real scans' layouts and store its statistics.

Usage: python benchmarks/fit_detail_prior.py LAYOUTS [--out synth/layout/priors/weights/detail_prior.npz]

LAYOUTS is what `synth layouts extract --detail` made of training scans (never of those that drawn detail is judged on).
"""

import argparse
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter
from scipy.optimize import brentq, nnls
from scipy.special import ndtr, ndtri

from synth.brats import AFFINE, GRID
from synth.datasets.layout_files import folder_sources
from synth.hosts.anatomies import PRESSED, draw_anatomy
from synth.layout.detail import EIGHTHS, MIXED
from synth.layout.priors.detail import (
    FINER,
    GAINED,
    LINED_PLACES,
    MIXED_PLACES,
    SCALES_MM,
    SHELLS,
    SHIPPED,
    DetailPrior,
    among,
    places_of,
    rim_of,
    shell_of,
)
from synth.layout.priors.vessels import STEP
from synth.layout.space import box_of, mirrored, spacing, widened

LEAST = 400  # voxels of a kind of place: of fewer, places alike but for the last of what tells them count too
AWAY_MM = 4.0  # from the tumour, under and around which shares are not the scan's
LAGS = (1, 2, 3, 4, 6, 8, 12)  # mm
FINE_KEPT = {"wm": 0.0, "void": 0.1}  # of the part that is smooth at 1 mm: averaging takes it out; banks are smooth
BANDS = (0.03, 0.1, 0.2, 0.3, 0.5)  # 1 / mm
DRAWN = 6  # brains that are drawn on real tissue maps
KEPT = {"vessels": 0.45}  # of how often there are any: the rest are the trees'
BRIGHT = 2  # levels of a vessel that counts as one of a tree
OVER_MM = 1.7  # deviation of the blur of how often there is one
BRAINS = 8  # of the atlas, that the curves are found on
SIZES = [np.prod(MIXED_PLACES)] * 2 + [np.prod(LINED_PLACES)] * 2


def main():
    """Fit, print what was found, store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("layouts", type=Path)
    parser.add_argument("--out", type=Path, default=SHIPPED)
    arguments = parser.parse_args()
    cases = [case_of(source) for source in folder_sources(arguments.layouts)]
    tables, weights, leaning = [], [], []
    for k, (name, most) in enumerate(MIXED.items()):
        count = sum(histogram(places[k][known], values[k][known], SIZES[k], most) for places, values, known in cases)
        tables.append(table(count, MIXED_PLACES if k < 2 else LINED_PLACES))
        tables[k] = 1 - (1 - tables[k]) * KEPT.get(name, 1)
        middle = ndtri(np.clip((tables[k] + np.pad(tables[k], ((0, 0), (1, 0)))[:, :-1]) / 2, 1e-3, 1 - 1e-3))
        last = ndtri(np.clip((1 + tables[k][:, -1:]) / 2, 1e-3, 1 - 1e-3))
        middle = np.concatenate([middle, last], 1)  # the normal score of each value, in its kind of place
        scores = [middle[places[k], values[k]] for places, values, _ in cases]
        parts = zip(scores, cases, strict=True)
        told = [part[known & rim_of(places[k]) if name == "void" else known] for part, (places, _, known) in parts]
        spread, means = np.sqrt(np.mean([part.var() for part in told])), [part.mean() for part in told]
        leaning.append(np.std(means) / np.hypot(spread, np.std(means)))
        over = np.mean([correlogram(p, known) for p, (_, _, known) in zip(scores, cases, strict=True)], 0)
        model = np.exp(-(np.array(LAGS)[:, None] ** 2) / (4 * np.array(SCALES_MM) ** 2))
        weights.append(nnls(model, over)[0])  # what is left of 1 is noise of single voxels, which is not drawn
        weights[-1][0] *= FINE_KEPT.get(name, 1)
        if name == "void":
            weights[-1] /= weights[-1].sum()  # no curve brings back how often there is any
        found = np.round(weights[-1], 2).tolist()
        print(f"{name}: {explained(count):.2f} explained by places, leaning {leaning[-1]:.2f}, weights {found}")
        print("  correlation over mm", dict(zip(LAGS, np.round(over, 2).tolist(), strict=True)))
    often = vessel_places(folder_sources(arguments.layouts))
    parts = [np.stack(tables[:2]), np.stack(tables[2:]), np.stack(weights), np.array(leaning), often]
    prior = DetailPrior(*parts, gained_by_void(tables[3], cases), np.zeros(0))
    replace(prior, curves=curves_of(prior, cases)).save(arguments.out)
    compare(arguments.layouts, DetailPrior.load(arguments.out))
    print(f"{len(cases)} layouts; {arguments.out}: {arguments.out.stat().st_size / 1000:.1f} kB")


def compare(layouts, prior):
    """Print what drawn detail has over what the scan's has, medians over the tissue maps of real brains."""
    rows = []
    for number, source in enumerate(folder_sources(layouts)[:DRAWN]):
        layout, real = source.load(), source.detail(tones=False)
        drawn = prior.draw(layout.tissue, layout.affine, np.random.default_rng(number))
        healthy = layout.brain & (layout.tumour == 0)
        rows.append([np.array(facts(detail, healthy)) for detail in (drawn, real)])
    drawn, real = np.median(rows, 0)
    names = [f"{layer} at {low} to {high} / mm" for layer in ("csf", "wm") for low, high in pairwise(BANDS)]
    for name, ours, theirs in zip([*MIXED, "of one tissue", *names], drawn, real, strict=True):
        print(f"  {name}: drawn {ours:.4g}, real {theirs:.4g}, {ours / theirs:.2f} times")


def vessel_places(sources):
    """How often there is a vessel at every `STEP`th voxel, of scans and their mirror images."""
    there, known = np.zeros(GRID), np.zeros(GRID)
    for source in sources:
        layout = source.load()
        healthy = layout.tumour == 0
        bright = (source.detail(tones=False).vessels >= BRIGHT) & healthy
        for count, part in ((there, bright), (known, healthy)):
            count += part
            count += mirrored(part)
    there, known = (gaussian_filter(count, OVER_MM)[::STEP, ::STEP, ::STEP] for count in (there, known))
    return there / np.maximum(known, 1)


def gained_by_void(rarely, cases):
    """`DetailPrior.gained`: the shift of normal scores at which as many voxels have void as do, mean of two levels."""
    count = np.zeros((*GAINED, SIZES[3], MIXED["void"] + 1))
    for (*_, lined), (csf, _, vessels, void), known in cases:
        np.add.at(count, (*among(lined[known], csf[known], vessels[known]), lined[known], void[known]), 1)
    out = np.zeros((2, *GAINED))
    for level, *kind in np.ndindex(out.shape):
        rows = count[tuple(kind)]
        voxels, there = rows.sum(1), rows[:, level + 1 :].sum()
        usual = ndtri(np.clip(1 - rarely[:, level], 1e-5, 1 - 1e-5))
        if there:
            out[(level, *kind)] = brentq(lambda gain, n=voxels, z=usual, k=there: n @ ndtr(z + gain) - k, -6, 6)
    print("void gains, inside and in the rim, by CSF and by vessels", np.round(out.mean(0), 2).tolist())
    return out.mean(0)


def curves_of(prior, cases):
    """(2, shells, 65) eighths that have the rank among real brains' that what is averaged has among atlas brains'."""
    finest = EIGHTHS * FINER + 1
    real, drawn = np.zeros((2, SHELLS, EIGHTHS + 1)), np.zeros((2, SHELLS, finest))
    for places, (csf, white, *_), known in cases:
        shell = shell_of(places[0][known])
        white = np.rint((EIGHTHS - csf) * (white / EIGHTHS)).astype(int)
        for count, part in zip(real, (csf, white), strict=True):
            count += np.bincount(shell * count.shape[1] + part[known], minlength=count.size).reshape(count.shape)
    for number in range(BRAINS):
        rng = np.random.default_rng(number)
        anatomy = draw_anatomy(rng)
        tissue, *levels = replace(anatomy, csf_share=anatomy.csf_share - PRESSED).grown()
        box = widened(box_of(tissue), 2.0, (1, 1, 1), tissue.shape)
        flat, shell, *_ = prior.flat(tissue, np.array(AFFINE), rng, box, levels)
        brain = tissue[box] > 0
        for count, part in zip(drawn, flat, strict=True):
            count += np.bincount(shell[brain] * finest + part[brain], minlength=count.size).reshape(count.shape)
    curves = np.tile(np.arange(finest) / FINER, (2, SHELLS, 1))
    for layer, shell in np.ndindex(2, SHELLS):
        if not drawn[layer, shell].any() or not real[layer, shell].any():
            continue
        ours, theirs = (count[layer, shell].cumsum() / count[layer, shell].sum() for count in (drawn, real))
        rank = (ours + np.concatenate([[0], ours[:-1]])) / 2
        edges = np.arange(EIGHTHS + 2) - 0.5  # an eighth stands for what is nearer to it than to the next
        curves[layer, shell] = np.interp(rank, np.concatenate([[0], theirs]), edges).clip(0, EIGHTHS)
        print(f"  {('csf', 'wm')[layer]}, shell {shell}: {np.round(curves[layer, shell, ::FINER], 1).tolist()}")
    return curves


def facts(detail, healthy):
    """Mean of each layer, share of voxels of one tissue, power of CSF's and white matter's map in bands."""
    grey = EIGHTHS - detail.csf - detail.wm
    pure = np.maximum(np.maximum(detail.csf, detail.wm), grey)[healthy] == EIGHTHS
    out = [*(layer[healthy].mean() for layer in detail.mixed), pure.mean()]
    for layer in detail.mixed[:2]:
        power = []
        for z in range(50, 110, 6):
            plane = layer[:, :, z] * healthy[:, :, z] / EIGHTHS
            away = np.hypot(*np.meshgrid(*map(np.fft.fftfreq, plane.shape), indexing="ij"))
            spectrum = np.abs(np.fft.fft2(plane - plane.mean())) ** 2 / healthy[:, :, z].sum()
            power.append([spectrum[(away >= a) & (away < b)].sum() for a, b in pairwise(BANDS)])
        out += np.mean(power, 0).tolist()
    return out


def case_of(source):
    """Places and values of each layer on a brain's box, and where they are the scan's."""
    layout, detail = source.load(), source.detail(tones=False)
    zooms = spacing(layout.affine)
    box = widened(box_of(layout.tissue), 2.0, zooms, layout.shape)
    mixed, lined = places_of(layout.tissue, zooms, box)
    csf, white, vessels, void = (layer[box].astype(int) for layer in detail.mixed)
    white = np.where(csf < EIGHTHS, np.rint(EIGHTHS * white / np.maximum(EIGHTHS - csf, 1)), EIGHTHS).astype(int)
    known = layout.tissue[box] > 0
    if layout.tumour.any():
        known &= distance_transform_edt(layout.tumour[box] == 0, zooms) > AWAY_MM
    small = [part.astype(np.uint8) for part in (csf, white, vessels, void)]
    return [part.astype(np.int16) for part in (mixed, mixed, lined, lined)], small, known


def histogram(places, values, size, most):
    """(places, values) how often each value is at each kind of place."""
    code = places.astype(np.int32) * (most + 1) + values
    return np.bincount(code.ravel(), minlength=size * (most + 1)).reshape(size, most + 1)


def table(count, kinds):
    """(places, values - 1) probabilities of at most each value."""
    count = count.reshape(*kinds, -1)
    out = count.astype(float)
    for axis in range(len(kinds)):
        pooled = count.sum(tuple(range(axis + 1)), keepdims=True)
        thin = out.sum(-1, keepdims=True) < LEAST
        out = np.where(thin, pooled, out)
    out = out.cumsum(-1).reshape(-1, count.shape[-1])
    return out[:, :-1] / np.maximum(out[:, -1:], 1)


def explained(count):
    """Share of the values' variance that kinds of places explain."""
    values, rows = np.arange(count.shape[1]), count.sum(1)
    means, whole = count @ values / np.maximum(rows, 1), count.sum(0) / count.sum()
    return rows @ (means - whole @ values) ** 2 / rows.sum() / (whole @ (values - whole @ values) ** 2)


def correlogram(scores, known):
    """(lags,) correlation of normal scores over distance along the axes."""
    left = np.where(known, scores - scores[known].mean(), 0).astype(np.float32)
    out = []
    for lag in LAGS:
        products, pairs = 0.0, 0
        for axis in range(3):
            ahead = (slice(None),) * axis
            low, high = (*ahead, slice(None, -lag)), (*ahead, slice(lag, None))
            products += float((left[low] * left[high]).sum(dtype=float))
            pairs += int(np.count_nonzero(known[low] & known[high]))
        out.append(products / pairs)
    return np.array(out) / float((left[known] ** 2).mean())


if __name__ == "__main__":
    main()
