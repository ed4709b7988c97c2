"""Train in PyTorch on pairs that never repeat: painted while the network learns, nothing written.

    pip install '.[torch]'
    python examples/pytorch_fresh.py --steps 8

No data are needed; `--data` draws from your cases. One sees the shapes, the share of tumour and the time of each batch.
Painting takes the time here (seconds a scan on two cores), in a worker of its own; eight patches are cut from each.
"""

import argparse
import itertools
import time

from synth import torch_stream

try:
    from torch.utils.data import DataLoader
except ModuleNotFoundError as error:
    raise SystemExit("This example needs PyTorch: pip install 'synth-brats[torch]'") from error


def main(arguments: list[str] | None = None) -> None:
    """Take some batches and say what came."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="your BraTS cases, or layouts [default: none needed]")
    parser.add_argument("--model", help="name or folder of the generator that paints [default: the packaged one]")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--patch", type=int, default=96, help="edge in voxels")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--workers", type=int, default=1, help="each loads the generator; 0: none but this process")
    options = parser.parse_args(arguments)

    fresh = torch_stream(options.data, model=options.model, patch=options.patch)
    loader = DataLoader(fresh, batch_size=options.batch, num_workers=options.workers)
    begin = time.perf_counter()
    for batch in itertools.islice(loader, options.steps):
        image, label = batch["image"], batch["label"]  # (B, 4, x, y, z) float32, (B, x, y, z) int64
        tumour = (label > 0).float().mean().item()
        print(f"{time.perf_counter() - begin:6.2f} s  image {tuple(image.shape)}  tumour {tumour:.1%}", flush=True)


if __name__ == "__main__":
    main()
