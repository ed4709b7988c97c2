"""Fit what synth ships about styles, on the training cases only: the style prior and the tumour offsets of `style.py`.

python benchmarks/fit_style_prior.py LAYOUTS   # a folder made by `synth layouts extract` from the training cases
"""

import json
import sys
from pathlib import Path

import numpy as np

from synth.style.prior import SHIPPED, StylePrior, style_problems
from synth.style.style import Style


def main(folder: str) -> None:
    """Write `style_prior.json` and print the offsets."""
    styles = [Style.from_dict(json.loads(path.read_text())) for path in sorted(Path(folder).glob("*/*_style.json"))]
    offsets = []
    for style in styles:
        mean, spread = np.array(style.mean), np.array(style.spread)
        offsets.append(np.where(spread[3:] > 0, mean[3:] - mean[2], np.nan))
    print(f"{len(styles)} styles; TUMOUR_MINUS_WM =", np.nanmean(offsets, 0).round(3).tolist())
    prior = StylePrior.fit(styles)
    SHIPPED.write_text(json.dumps(prior.to_dict()) + "\n")
    rng = np.random.default_rng(0)
    samples = [prior.sample(rng) for _ in range(200)]
    print(
        "contrast problems of the measured styles:",
        [style_problems(style) for style in styles if style_problems(style)],
    )
    for name in ("texture", "sharpness", "mean"):
        real, drawn = (np.array([getattr(s, name) for s in group]) for group in (styles, samples))
        print(f"{name}: measured sd {real.std(0).mean():.4f}, sampled sd {drawn.std(0).mean():.4f}")


if __name__ == "__main__":
    main(sys.argv[1])
