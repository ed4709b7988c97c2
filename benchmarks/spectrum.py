"""Radial power spectrum of painted over real scans, per modality, and a texture table; writes a PNG.

    python benchmarks/spectrum.py DATA RECONSTRUCTED docs/spectrum.png

RECONSTRUCTED is what `synth reconstruct DATA RECONSTRUCTED` wrote. Brains are cut to a common cube, scaled by the real
scan's percentiles, windowed (Hann) and averaged over cases; the dotted line is the painter.
"""

import sys

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from synth.brats import MODALITIES
from synth.datasets.cases import find_cases, read_case
from synth.layout.tissue import extract_layout
from synth.quality.similarity import healthy_tissue, scaled, texture_level
from synth.runs.reconstruct import painter_image

SIZE = 128


def radial_power(volume: np.ndarray) -> np.ndarray:
    """Mean power per radial frequency bin, 0 to 0.5 cycles a millimetre."""
    window = np.hanning(SIZE)
    volume = (volume - volume.mean()) * window[:, None, None] * window[None, :, None] * window
    power = np.abs(np.fft.rfftn(volume)) ** 2
    lines = [np.fft.fftfreq(SIZE), np.fft.fftfreq(SIZE), np.fft.rfftfreq(SIZE)]
    radius = np.sqrt(sum(g**2 for g in np.meshgrid(*lines, indexing="ij")))
    bins = np.minimum((radius * SIZE).astype(int), SIZE // 2)
    return np.bincount(bins.ravel(), power.ravel())[: SIZE // 2] / np.bincount(bins.ravel())[: SIZE // 2]


def middle(volume: np.ndarray, brain: np.ndarray) -> np.ndarray:
    """The cube of SIZE voxels about the brain's centre."""
    centre = np.argwhere(brain).mean(0).astype(int)
    start = np.clip(centre - SIZE // 2, 0, np.array(volume.shape) - SIZE)
    return volume[tuple(slice(s, s + SIZE) for s in start)]


def main(data: str, painted: str, png: str) -> None:
    """Measure, print, plot."""
    curves = {name: {m: [] for m in MODALITIES} for name in ("real", "painted", "painter")}
    texture = {m: [] for m in MODALITIES}
    for real_files, fake_files in zip(find_cases(data), find_cases(painted), strict=True):
        real, fake = read_case(real_files), read_case(fake_files)
        layout = extract_layout(real)
        brain, healthy = layout.brain, healthy_tissue(layout.classes)
        for m, name in enumerate(MODALITIES):
            x = scaled(real.images[..., m], real.images[..., m], brain)
            y = scaled(fake.images[..., m], real.images[..., m], brain)
            texture[name].append(texture_level(y, healthy) / texture_level(x, healthy))
            for kind, volume in (("real", x), ("painted", y), ("painter", painter_image(x, layout.classes))):
                curves[kind][name].append(radial_power(middle(volume, brain)))
    frequency = (np.arange(SIZE // 2) + 0.5) / SIZE
    figure, axes = plt.subplots(1, 4, figsize=(14, 3.6), sharey=True)
    for axis, name in zip(axes, MODALITIES, strict=True):
        for kind, look in (("real", "k-"), ("painted", "r-"), ("painter", "b:")):
            axis.loglog(frequency[1:], np.exp(np.mean(np.log(curves[kind][name]), 0))[1:], look, label=kind)
        axis.set(title=name, xlabel="cycles / mm")
        high = frequency > 0.25
        ratio = np.mean(
            [(p[high] / r[high]).mean() for p, r in zip(curves["painted"][name], curves["real"][name], strict=True)]
        )
        each = np.round(texture[name], 2)
        print(f"{name:6} texture {np.mean(each):.2f} (each {each}), power above 0.25 / mm {ratio:.2f} of the real")
    axes[0].set_ylabel("power")
    axes[0].legend()
    figure.tight_layout()
    figure.savefig(png, dpi=90)


if __name__ == "__main__":
    main(*sys.argv[1:4])
