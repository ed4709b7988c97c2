"""Draw many layouts of mixed presets and count what is unlawful, what fails, what was redrawn, and how long it took.

Usage: python benchmarks/law_of_many.py [-n 10000] [--layouts FOLDER] [--no-atlas] [--presets standard,gentle,wild]
       [--detail] [--fluid FOLDER] [--seed 0] [--every 500]

Sample k is drawn with the k-th of the presets in turn: from the atlas anatomies, and with --layouts (written by `synth
layouts extract`) from these by turns with the atlas, or alone. Beside the law's own judgement each layout is checked
anew and independently: legal labels, tumour inside the brain, pieces, and for every tenth that the brain has no holes;
with --detail, which is then carried where layouts have it, that shares are eighths of the brain and of nothing else.
With --fluid where each is mostly fluid is kept in FOLDER, and the two most alike of all that lie there are told.
Run with OPENBLAS_NUM_THREADS=1 for seconds of one core.
"""

import argparse
import time
from collections import Counter
from pathlib import Path

import numpy as np
from scipy.ndimage import binary_fill_holes, label

from synth.datasets.layout_files import folder_sources
from synth.hosts.anatomies import AtlasAnatomies
from synth.layout.detail import EIGHTHS
from synth.layout.layout import Layout
from synth.layout.sampling.sampler import LayoutSampler
from synth.layout.space import box_of

PRESETS = ("standard", "gentle", "wild")
HOLES_ML = 0.1  # of background in a brain's slices that a scan may have too


def breaches(layout: Layout, satellites: int, pieces_at_home: int, holes: bool, detail: bool) -> list[str]:
    """What plain NumPy and SciPy find wrong; `holes` asks for the slow search for holes in the brain too.

    With `detail` a layout must have some, by which each tissue's voxels are mostly of their tissue, and tones in the
    tumour and nowhere else.
    """
    box = layout.bounding_box()
    tissue, tumour = layout.tissue[box], layout.tumour[box]
    found = []
    if tissue.max() > 3 or tumour.max() > 3:
        found.append("illegal labels")
    if (tumour[tissue == 0] > 0).any():
        found.append("tumour outside the brain")
    if np.count_nonzero(_sizes(layout) >= 100) > max(1, pieces_at_home) + satellites:
        found.append("more pieces than asked for")
    if detail and layout.detail is None:
        found.append("no detail")
    elif detail:
        shares = layout.detail.shares(layout.tissue)[box]
        if (shares.sum(-1) != 8 * (tissue > 0)).any() or any(
            layer[layout.tissue == 0].any() for layer in layout.detail.layers
        ):
            found.append("shares that are not the brain's")
        own = np.take_along_axis(shares, np.maximum(tissue, 1)[..., None].astype(int) - 1, 3)[..., 0]
        if own[tissue > 0].mean() < 4:
            found.append("shares of other tissues than the map's")
        tones = np.stack([tone[box] for tone in layout.detail.tones])
        if ((tones > 0) != (tumour > 0)).any():
            found.append("tones that are not the tumour's")
    if holes and np.count_nonzero(binary_fill_holes(tissue > 0) & (tissue == 0)) > 1000 * HOLES_ML:
        found.append("holes in the brain")
    return found


def most_alike(folder: Path) -> str:
    """The largest Dice between two layouts' fluid, of all that were kept in a folder."""
    packed = np.concatenate([np.load(path) for path in sorted(folder.glob("fluid_*.npy"))])
    fluid = np.unpackbits(packed, 1).astype(np.float32)
    common, sizes = fluid @ fluid.T, fluid.sum(1)
    dice = np.triu(2 * common / (sizes[:, None] + sizes), 1)
    return f"{len(fluid)} layouts; the two that are most alike have fluid of Dice {dice.max():.3f}"


def main():
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=10_000)
    parser.add_argument("--layouts")
    parser.add_argument("--presets", default=",".join(PRESETS))
    parser.add_argument("--no-atlas", action="store_true", help="the layouts alone")
    parser.add_argument("--detail", action="store_true", help="carry the layouts' detail")
    parser.add_argument("--fluid", type=Path, help="keep here where there is fluid, of layouts with detail")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first sample")
    parser.add_argument("--every", type=int, default=500, help="print after so many")
    args = parser.parse_args()
    if args.fluid and not args.detail:
        parser.error("--fluid: expected --detail too")
    real = [folder_sources(args.layouts)] if args.layouts else []
    hosts = [*([] if args.no_atlas else [AtlasAnatomies()]), *real]
    samplers = [LayoutSampler(h, preset, args.seed) for preset in args.presets.split(",") for h in hosts]
    seconds, redraws, problems, attempts, redrawn, fluid = [], Counter(), Counter(), 0, 0, []
    home = {h.id: np.count_nonzero(_sizes(h.load()) >= 100) for h in (real[0] if real else [])}
    for k in range(args.first, args.first + args.n):
        sampler, begin = samplers[k % len(samplers)], time.process_time()
        try:
            layout, recipe = sampler.draw(k, detail=args.detail)
        except Exception as error:  # counted, whatever it is
            problems[f"{type(error).__name__}: {error}"] += 1
            continue
        seconds.append(time.process_time() - begin)
        if args.fluid:
            fluid.append(np.packbits(layout.detail.csf[::2, ::2, ::2] >= EIGHTHS / 2))
        attempts += 1 + len(recipe.redraws)
        redrawn += bool(recipe.redraws)
        redraws.update(" ".join(w for w in r.split(",")[0].split() if not w[0].isdigit()) for r in recipe.redraws)
        asked = sum(len(edit.get("ml", ())) for edit in recipe.edits if edit["name"] == "satellites")
        pieces = max(home.get(recipe.host, 1), home.get(recipe.donor, 1))
        problems.update(sampler.judge(layout, recipe) + breaches(layout, asked, pieces, k % 10 == 0, args.detail))
        if (k + 1 - args.first) % args.every == 0 or k + 1 == args.first + args.n:
            print(
                f"{k + 1 - args.first} samples: {sum(problems.values())} unlawful or failed {dict(problems)}; "
                f"{1 - len(seconds) / attempts:.1%} of attempts redrawn, in {redrawn / len(seconds):.1%} of samples; "
                f"CPU seconds median {np.median(seconds):.2f}, 90 % {np.percentile(seconds, 90):.2f}",
                flush=True,
            )
    for reason, count in redraws.most_common(12):
        print(f"  {count:5d}  {reason}")
    if args.fluid:
        args.fluid.mkdir(parents=True, exist_ok=True)
        np.save(args.fluid / f"fluid_{args.seed}_{args.first:06d}.npy", fluid)
        print(most_alike(args.fluid))


def _sizes(layout: Layout) -> np.ndarray:
    box = box_of(layout.tumour)
    mask = np.zeros((1, 1, 1)) if box is None else layout.tumour[box] > 0
    return np.bincount(label(mask, np.ones((3, 3, 3)))[0].ravel())[1:]


if __name__ == "__main__":
    main()
