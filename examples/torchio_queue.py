"""Patches of a synthetic set through TorchIO's queue, with its augmentation.

    pip install torchio
    synth generate --n 4 --out set
    python examples/torchio_queue.py set

TorchIO reads the files itself; half of the patches are centred on tumour. One sees the shape and the share of tumour of
each batch.
"""

import argparse
from pathlib import Path

from synth import open_set

try:
    import torchio as tio
    from torch.utils.data import DataLoader
except ModuleNotFoundError as error:
    raise SystemExit("This example needs TorchIO, which brings PyTorch: pip install torchio") from error

MODALITIES = ("t1", "t1ce", "t2", "flair")


def main(arguments: list[str] | None = None) -> None:
    """Go through the set once and say what came."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("set", type=Path, help="folder of `synth generate`, as NIfTI with the names of 2020")
    parser.add_argument("--edge", type=int, default=64, help="of a patch, in voxels")
    parser.add_argument("--batch", type=int, default=2)
    options = parser.parse_args(arguments)

    subjects = [
        tio.Subject(
            **{name: tio.ScalarImage(options.set / key / f"{key}_{name}.nii.gz") for name in MODALITIES},
            seg=tio.LabelMap(options.set / key / f"{key}_seg.nii.gz"),
        )
        for key in open_set(options.set).ids
    ]
    transform = tio.Compose([tio.ZNormalization(masking_method=lambda x: x > 0), tio.RandomFlip(axes=("LR",))])
    sampler = tio.LabelSampler(options.edge, "seg", label_probabilities={0: 3, 1: 1, 2: 1, 4: 1})
    queue = tio.Queue(
        tio.SubjectsDataset(subjects, transform=transform), max_length=8, samples_per_volume=4, sampler=sampler
    )
    for batch in DataLoader(queue, batch_size=options.batch):
        shape, tumour = tuple(batch["t1"]["data"].shape), (batch["seg"]["data"] > 0).float().mean().item()
        print(f"four modalities of {shape}, tumour {tumour:.1%}")


if __name__ == "__main__":
    main()
