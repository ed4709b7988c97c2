"""Fit the tone prior on the detail of real scans' layouts and store its statistics.

Usage: python benchmarks/fit_tone_prior.py LAYOUTS [--out synth/layout/priors/weights/tone_prior.npz]

LAYOUTS is what `synth layouts extract --detail` made of training scans (never of those that tones are judged on).
"""

import argparse
from pathlib import Path

import numpy as np
from scipy.ndimage import distance_transform_edt
from scipy.optimize import nnls
from scipy.special import ndtri
from scipy.stats import rankdata

from synth.brats import Tissue
from synth.datasets.layout_files import folder_sources
from synth.layout.detail import EVEN, TONE_STEP
from synth.layout.priors.tones import AROUND_MM, DEPTHS_MM, KINDS, SCALES_MM, SHIPPED, TonePrior, depth_mm
from synth.layout.space import box_of

LEAST = 500  # voxels of a class: fewer say nothing of it
QUANTILES = 33
LAGS = (1, 2, 3, 4, 6, 8, 12, 16)  # mm
LEAST_PAIRS = 300
DEEP_MM = 1.9
STEP_MM = 2  # over which drawn and real tones are compared


def main():
    """Fit, print what was found, store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("layouts", type=Path)
    parser.add_argument("--out", type=Path, default=SHIPPED)
    arguments = parser.parse_args()
    found, around = [[] for _ in KINDS], []
    for source in folder_sources(arguments.layouts):
        layout, detail = source.load(), source.detail()
        around.append(of_surroundings(layout, detail.wm))
        box = box_of(layout.tumour)
        tumour = np.pad(layout.tumour[box], 1)
        tones = TONE_STEP * (np.stack([np.pad(tone[box], 1) for tone in detail.tones], -1).astype(np.float32) - EVEN)
        for k, kind in enumerate(KINDS):
            if np.count_nonzero(tumour == kind) >= LEAST:
                found[k].append(of_tumour(tumour, kind, tones))
    prior = TonePrior(*map(np.stack, zip(*map(together, found), strict=True)), np.mean(around, 0))
    prior.save(arguments.out)
    for k, kind in enumerate(KINDS):
        print(f"{kind.name}: {len(found[k])} tumours")
        for name in ("spread", "varies", "together", "depth", "wide", "weights"):
            print(f"  {name} {np.round(getattr(prior, name)[k].astype(float), 2).tolist()}")
    print(f"mean step over {STEP_MM} mm, drawn over real, of modalities: {steps_of(arguments.layouts, prior)}")
    print(f"white matter around: {np.round(prior.around, 2).tolist()}")
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1000:.1f} kB")


def of_tumour(tumour, kind, tones):
    """One tumour's class: its tones' quantiles, deviations, correlations; by depth means, spread; over distance."""
    here = tumour == kind
    values = tones[here]
    spread = np.maximum(values.std(0), 0.01)
    scores = np.stack([ndtri((rankdata(values[:, m]) - 0.5) / len(values)) for m in range(values.shape[1])], -1)
    nearest = np.abs(depth_mm(tumour, kind, (1, 1, 1))[:, None] - np.array(DEPTHS_MM)).argmin(1)
    there = [scores[nearest == d] for d in range(len(DEPTHS_MM))]
    depth = np.array([part.mean(0) if len(part) >= 50 else [np.nan] * 4 for part in there])
    wide = np.array([part.std(0) if len(part) >= 50 else [np.nan] * 4 for part in there])
    rest = (scores - np.nan_to_num(depth)[nearest]) / np.nan_to_num(wide, nan=1)[nearest]
    quantiles = np.quantile(values / spread, np.linspace(0, 1, QUANTILES), axis=0)
    # the outermost probabilities are one voxel each, which tells too much of a patient
    quantiles[[0, -1]] = np.quantile(values / spread, [0.003, 0.997], axis=0)
    # at a class's edge voxels are half of the next one, in a way of their own
    inner = distance_transform_edt(here)[here] >= DEEP_MM
    within = here.copy()
    within[here] = inner
    over = np.stack([correlogram(within, tone) for tone in values[inner].T], -1)
    return quantiles, spread, np.corrcoef(rest.T), depth, wide, over


def steps_of(layouts, prior):
    """Of each class (4,) how large a step of drawn tones is beside one of the scan's, in the same tumours: medians."""
    ratios = [[] for _ in KINDS]
    for number, source in enumerate(folder_sources(layouts)):
        layout, real = source.load(), source.detail().tones
        drawn = prior.draw(layout.tumour, layout.affine, np.random.default_rng(number))
        for rows, kind in zip(ratios, KINDS, strict=True):
            within = distance_transform_edt(layout.tumour == kind) >= DEEP_MM
            if np.count_nonzero(within) < LEAST:
                continue
            ours, theirs = (
                [1 - correlogram(within, tone[within].astype(float))[LAGS.index(STEP_MM)] for tone in tones]
                for tones in (drawn, real)
            )
            rows.append(np.sqrt(np.divide(ours, theirs)))
    return [np.round(np.nanmedian(rows, 0), 2).tolist() for rows in ratios]


def of_surroundings(layout, wm):
    """White matter's share in its voxels outside a tumour, by distance, over that 7 to 10 mm away."""
    away = np.ceil(distance_transform_edt(layout.tumour == 0))
    own = (layout.tissue == Tissue.WM) & (layout.tumour == 0)
    far = wm[own & (away >= 7) & (away <= 10)].mean()
    return [wm[own & (away == mm)].mean() / far for mm in AROUND_MM]


def correlogram(here, tones):
    """(lags,) correlation of a class's (n,) tones over distance, over axes; NaN where few pairs are.

    By the mean absolute difference, as a Gaussian field would have it: squares would take a few edges between smooth
    parts for mottling everywhere.
    """
    if np.count_nonzero(here) < LEAST_PAIRS:
        return np.full(len(LAGS), np.nan)
    field = np.zeros(here.shape, np.float32)
    field[here] = (tones - tones.mean()) / max(tones.std(), TONE_STEP)
    out = np.full(len(LAGS), np.nan)
    for i, lag in enumerate(LAGS):
        steps = []
        for axis in range(3):
            ahead = (slice(None),) * axis
            low, high = (*ahead, slice(None, -lag)), (*ahead, slice(lag, None))
            steps.append(np.abs(field[low] - field[high])[here[low] & here[high]])
        steps = np.concatenate(steps)
        if len(steps) >= LEAST_PAIRS:
            out[i] = 1 - np.pi / 4 * steps.mean() ** 2
    return out


def together(tumours):
    """The statistics of a class over tumours, in the order of `TonePrior`'s attributes."""
    quantiles, spread, correlations, depth, wide, over = map(np.array, zip(*tumours, strict=True))
    logs = np.log(spread)
    correlations = correlations.mean(0)
    # in tones, not in scores, oedema fades as much as it does: what fades most is most spread
    depth, wide = (_held(_mean(part, spread[:, None])).T for part in (depth, wide))
    weights = np.stack([weights_of(part) for part in np.nanmedian(over, 0).T])
    spread, varies = np.exp(np.median(logs, 0)), logs.std(0)
    return quantiles.mean(0).T, spread, varies, correlations, depth, wide, weights


def weights_of(over):
    """(s,) shares of the variance at `SCALES_MM` whose fields correlate over `LAGS` like this."""
    known = ~np.isnan(over)
    # the correlation that white noise has after a blur, and 1 at no distance, which counts most
    lags = np.concatenate([[0], np.array(LAGS)[known]])
    model = np.exp(-(lags[:, None] ** 2) / (4 * np.array(SCALES_MM) ** 2))
    importance = np.array([20.0, *[1.0] * known.sum()])[:, None]
    weights = nnls(model * importance, np.concatenate([[1], over[known]]) * importance[:, 0])[0]
    print("correlation over mm", dict(zip(LAGS, np.round(over, 2).tolist(), strict=True)))
    return weights / weights.sum()


def _held(values):
    """(d, 4) by depth; where no tumour is so deep, what was there at the last depth that is known."""
    known = ~np.isnan(values).any(1)
    return values[np.maximum.accumulate(np.where(known, np.arange(len(values)), 0))]


def _mean(values, weights=1.0):
    """Mean over the first axis of what is known (no NaN); NaN where nothing is."""
    known = ~np.isnan(values)
    counts = known * weights
    return np.where(known, values * weights, 0).sum(0) / np.where(known.any(0), counts.sum(0), np.nan)


if __name__ == "__main__":
    main()
