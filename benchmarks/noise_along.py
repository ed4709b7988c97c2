"""Print how much what no layout tells is alike in neighbouring voxels, in scans and as it is painted.

Usage: python benchmarks/noise_along.py MODEL CASES --cache FOLDER [--cases 5]

Where there is fluid or a vessel, a scan less what the generator paints without noise is mostly anatomy that the layout
does not tell; noise stands for it. Printed is its correlation between neighbours by how far apart their shares of
tissue are, and its deviation. MODEL is a model's folder, CASES scans that it was trained on. The painter's `_UNLIKE` is
chosen so that both are alike.
"""

import argparse
from pathlib import Path

import numpy as np

from synth.brats import MODALITIES
from synth.models.inference import LayoutPainter
from synth.models.painter import paint, wetness
from synth.models.runtime import tf
from synth.models.weights import load_generator
from synth.trainers.painting.patches import prepare_cases
from synth.trainers.painting.validation import prepared_scan

APART = (0.0, 0.05, 0.13, 0.26, 0.4, 0.6)  # shares; the last stands for all beyond


class Residual(LayoutPainter):
    """Paints the image, the same without noise, and shares of tissue: (x, y, z, 12); at once, not in slabs."""

    def __init__(self, *given):
        """As a `LayoutPainter`."""
        super().__init__(*given)
        self._slabs = None

    def _paint(self, classes, coordinates, tensors, seed, detail=None):
        inputs = paint(classes, coordinates, tensors, seed, detail)
        made = self.generator(inputs, training=False)
        return tf.concat([made["image"], made["clean"], inputs["detail"]], -1)


class Sums:
    """Products of neighbours, by how far apart their shares are."""

    def __init__(self):
        """Nothing yet."""
        self.products, self.power, self.total, self.count = np.zeros(len(APART)), np.zeros(len(APART)), 0.0, 0

    def add(self, values: np.ndarray, shares: np.ndarray, wet: np.ndarray) -> None:
        """One modality (x, y, z) of a brain with its shares (x, y, z, 4), where it is `wet`."""
        values = values - values[wet].mean()
        self.total, self.count = self.total + np.square(values[wet]).sum(), self.count + np.count_nonzero(wet)
        for axis in range(3):
            there, here = (np.moveaxis(part, axis, 0) for part in (values, wet))
            share = np.moveaxis(shares, axis, 0)
            both = here[1:] & here[:-1]
            kind = np.digitize(np.linalg.norm(share[1:] - share[:-1], axis=-1)[both], APART) - 1
            one, other = there[1:][both], there[:-1][both]
            self.products += np.bincount(kind, one * other, len(APART))
            self.power += np.bincount(kind, (one**2 + other**2) / 2, len(APART))

    def __str__(self):
        """Correlations and deviation."""
        alike = " ".join(f"{value:5.2f}" for value in self.products / self.power)
        return f"{alike}   deviation {np.sqrt(self.total / self.count):.3f}"


def main():
    """Paint, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path, metavar="CASES")
    parser.add_argument("--cache", type=Path, required=True, help="for prepared cases; they hold patients' voxels")
    parser.add_argument("--cases", type=int, default=5)
    options = parser.parse_args()
    whole, _ = load_generator(options.model)
    painter = Residual(whole.generator, whole.texture_gain, whole.grain_gain)
    cases = prepare_cases(options.data, options.cache, detail=True)
    sums = {(name, what): Sums() for name in MODALITIES for what in ("scan", "painted")}
    for case in cases[:: -(-len(cases) // options.cases)]:
        item = prepared_scan(case)
        made = painter(item.layout, case.style, (0, 1))
        image, clean, shares = np.split(made, [len(MODALITIES), 2 * len(MODALITIES)], -1)
        wet = wetness(shares)[..., 0] > 0
        for m, name in enumerate(MODALITIES):
            for what, values in (("scan", item.real), ("painted", image)):
                sums[name, what].add((values - clean)[..., m], shares, wet)
    print("shares apart    " + " ".join(f"{apart:5.2f}" for apart in APART) + "+")
    for (name, what), found in sums.items():
        print(f"{name:6s}{what:9s} {found}")


if __name__ == "__main__":
    main()
