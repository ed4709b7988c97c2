"""Feed PyTorch from a set that `synth generate --format hdf5` wrote: random patches, read by several workers.

    pip install torch                # synth itself does not need it
    synth generate --n 8 --out set --format hdf5
    python examples/pytorch_hdf5.py set --workers 2

One sees the shape, the share of tumour and the time of each batch. Only the blocks that a patch meets are read and
decoded, so patches cost a fraction of their scans.
"""

import argparse
import time

import numpy as np

from synth import open_hdf5

try:
    import torch
    from torch.utils.data import DataLoader, Dataset
except ModuleNotFoundError as error:
    raise SystemExit("This example needs PyTorch, which synth does not bring: pip install torch") from error


class Patches(Dataset):
    """Cubic patches at random places, the same for the same seed and number; those with a tumour are preferred."""

    def __init__(self, path: str, edge: int, per_case: int = 4, seed: int = 0):
        self.cases = open_hdf5(path)  # goes to the workers as it is: each opens the files for itself
        self.edge, self.per_case, self.seed = edge, per_case, seed

    def __len__(self) -> int:
        """As many as an epoch has."""
        return len(self.cases) * self.per_case

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Images (4, x, y, z) float32, mean 0 and deviation 1 in the brain; labels (x, y, z) int64, 0 to 3."""
        rng, case = np.random.default_rng([self.seed, number]), number // self.per_case
        for _ in range(4):  # tries to meet a tumour; the last one is taken as it is
            corner = [int(rng.integers(max(size - self.edge, 0) + 1)) for size in self.cases.shape(case)]
            images, labels = self.cases.read_patch(case, tuple(slice(first, first + self.edge) for first in corner))
            if labels.any():
                break
        brain, scaled = images.any(-1), np.zeros(images.shape, np.float32)
        if brain.any():
            values = images[brain].astype(np.float32)
            scaled[brain] = (values - values.mean(0)) / np.maximum(values.std(0), 1)
        return torch.from_numpy(np.moveaxis(scaled, -1, 0).copy()), torch.from_numpy(labels.astype(np.int64))


def main(arguments: list[str] | None = None) -> None:
    """Go through the set once and say what came."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("set", help="folder or .h5 file of `synth generate --format hdf5`")
    parser.add_argument("--edge", type=int, default=64, help="of a patch, in voxels")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args(arguments)

    patches = Patches(options.set, options.edge)
    loader = DataLoader(patches, batch_size=options.batch, shuffle=True, num_workers=options.workers)
    print(f"{len(patches.cases)} cases, {len(patches)} patches an epoch", flush=True)
    begin = time.perf_counter()
    for images, labels in loader:
        tumour = (labels > 0).float().mean().item()
        print(f"{time.perf_counter() - begin:6.2f} s  images {tuple(images.shape)}  tumour {tumour:.1%}", flush=True)


if __name__ == "__main__":
    main()
