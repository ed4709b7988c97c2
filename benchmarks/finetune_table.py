"""Fine-tune a generator on few cases of a scanner that it has not met; print what that changed on other cases of it.

Usage: python benchmarks/finetune_table.py CASES TEST OUT [--init WEIGHTS] [--numbers 2,4,8] [--steps 200]

CASES and TEST are annotated scans that the weights have not seen. The scanner is theirs changed in one fixed way
(`scanned`): thicker slices, another contrast, more noise. Two of CASES choose the best weights, 2, 4, 8 others are
learnt from, those of TEST judge. Everything is done by `examples/finetune_generator.py`; printed for each number of
cases: processor hours of the training, preparation of its cases included, and medians over the judging scans, painted
from their own layouts, before and after.
"""

import argparse
import importlib.util
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.ndimage import gaussian_filter

from synth import open_set
from synth.brats import MODALITIES
from synth.datasets.members import FilesMember
from synth.disk.files import atomic_folder

SLICES, PLANE = 1.2, 0.5  # standard deviations of the blur through and in the plane, mm: slices of 3 mm
GAMMA = {"t1": 0.8, "t1ce": 1.25, "t2": 0.8, "flair": 1.25}  # contrast: power of intensity over its 99.5th percentile
NOISE = 0.02  # of that percentile, Rician
VALIDATED = 2


def scanned(image: np.ndarray, modality: str, rng: np.random.Generator) -> np.ndarray:
    """An image (X, Y, Z) of the scanner; 0 stays 0."""
    brain = image > 0
    top = np.percentile(image[brain], 99.5)
    weight = gaussian_filter(brain.astype(np.float32), (PLANE, PLANE, SLICES))
    smooth = gaussian_filter(image.astype(np.float32), (PLANE, PLANE, SLICES)) / np.maximum(weight, 1e-3)
    signal = (smooth / top).clip(0) ** GAMMA[modality]
    real, imaginary = rng.normal(0, NOISE, (2, *image.shape))
    noisy = np.hypot(signal + real, imaginary) * brain
    return np.rint(np.maximum(noisy * min(top, 20_000), brain)).clip(0, 32767).astype(np.int16)


def rescanned(members: Sequence[FilesMember], out: Path) -> Path:
    """A folder with these scans as the scanner has them."""
    for k, member in enumerate(members):
        folder = out / member.id
        if folder.is_dir():
            continue
        with atomic_folder(folder) as place:
            for channel, modality in enumerate(MODALITIES):
                source = member.files.paths[modality]
                volume = nib.load(source)
                image = scanned(np.asanyarray(volume.dataobj), modality, np.random.default_rng([k, channel]))
                nib.save(nib.Nifti1Image(image, volume.affine), place / source.name)
            shutil.copy(member.files.paths["seg"], place)
    return out


def example():
    """The module of `examples/finetune_generator.py`."""
    path = Path(__file__).parents[1] / "examples/finetune_generator.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Scan, judge, train, judge again, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--init", default="benchmarks/weights/detail12")
    parser.add_argument("--numbers", default="2,4,8")
    parser.add_argument("--steps", type=int, default=200)
    args = parser.parse_args()
    finetune, numbers = example(), [int(n) for n in args.numbers.split(",")]
    cases = list(open_set(args.cases, scans=True).members)
    np.random.default_rng(0).shuffle(cases)  # centres lie side by side in the order of names
    val, learnt = rescanned(cases[:VALIDATED], args.out / "val"), cases[VALIDATED:]
    test = rescanned(open_set(args.test, scans=True).members, args.out / "test")
    before = finetune.judged(test, args.out / "before", args.init)
    shown = [name for name in before["t1"] if name == "SSIM" or name.startswith("power")]
    rows = [f"| cases | processor hours | modality | {' | '.join(shown)} |", "|---" * (3 + len(shown)) + "|"]
    for n in numbers:
        data, run = rescanned(learnt[:n], args.out / f"train-{n}"), args.out / f"run-{n}"
        used = os.times()
        finetune.tuned(data, val, run, args.init, args.steps)
        hours = sum(a - b for a, b in zip(os.times()[2:4], used[2:4], strict=True)) / 3600
        after = finetune.judged(test, args.out / f"after-{n}", run / "model")
        for m in MODALITIES:
            cells = (f"{before[m][name]:.3f} -> {after[m][name]:.3f}" for name in shown)
            rows.append(f"| {n} | {hours:.2f} | {m} | {' | '.join(cells)} |")
            print(rows[-1], flush=True)
    print(f"{args.steps} steps; medians of {len(list(test.iterdir()))} scans", *rows, sep="\n")


if __name__ == "__main__":
    sys.exit(main())
