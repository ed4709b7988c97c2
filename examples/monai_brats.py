"""Real and synthetic cases in one MONAI pipeline, whatever label values their files have.

    pip install '.[torch]' monai
    synth generate --n 4 --out set
    python examples/monai_brats.py set BraTS2021_TrainingData

MONAI's `ConvertToMultiChannelBasedOnBratsClassesd` takes enhancing tumour to be 4 unless it is told otherwise; in files
of BraTS 2023 and later it is 3, and ET comes out empty without an error. `synth.torch_dataset` reads either kind by its
names into one convention (1 NCR, 2 ED, 3 ET), so that `et_label=3` is right for all.
"""

import argparse

from synth import torch_dataset

try:
    from monai.data import DataLoader
    from monai.transforms import Compose, ConvertToMultiChannelBasedOnBratsClassesd, EnsureChannelFirstd, RandFlipd
    from torch.utils.data import ConcatDataset
except ModuleNotFoundError as error:
    raise SystemExit("This example needs PyTorch and MONAI: pip install 'synth-brats[torch]' monai") from error

CHANNELS = ("TC", "WT", "ET")  # in MONAI's order


def main(arguments: list[str] | None = None) -> None:
    """Go through the cases once and say how large the regions are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="+", help="folders of cases, painted or real")
    parser.add_argument("--patch", type=int, help="edge of patches in voxels [default: whole volumes]")
    options = parser.parse_args(arguments)

    transform = Compose(
        [
            EnsureChannelFirstd("label", channel_dim="no_channel"),
            ConvertToMultiChannelBasedOnBratsClassesd("label", et_label=3),
            RandFlipd(["image", "label"], prob=0.5, spatial_axis=0),
        ]
    )
    cases = ConcatDataset([torch_dataset(path, patch=options.patch, transform=transform) for path in options.sets])
    for batch in DataLoader(cases, batch_size=1):
        regions = batch["label"][0].float().sum((1, 2, 3)).tolist()
        told = ", ".join(f"{name} {size / 1000:.2f} ml" for name, size in zip(CHANNELS, regions, strict=True))
        kind = "synthetic" if batch["synthetic"][0] else "real"
        print(f"{batch['id'][0]} ({kind}): image {tuple(batch['image'].shape)}, {told}")


if __name__ == "__main__":
    main()
