"""Real and synthetic cases for nnU-Net v2, with folds that do not leak, planned and preprocessed.

    pip install nnunetv2
    synth generate --n 50 --data BraTS2021_TrainingData --out set
    python examples/nnunet_dataset.py set --real BraTS2021_TrainingData --work nnunet

Images are linked, not copied. The split goes where nnU-Net looks for it: without it, nnU-Net validates on relatives of
what it trains on. The last line printed is the command that trains.
"""

import argparse
import json
import os
import shutil
import subprocess
from pathlib import Path

from synth import ExportOptions, export

SPLITS = "splits_final.json"


def main(arguments: list[str] | None = None) -> None:
    """Export, plan and preprocess, put the split in its place."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("set", help="folder or HDF5 set of `synth generate`")
    parser.add_argument("--real", required=True, help="real cases: they alone are validated on")
    parser.add_argument("--work", type=Path, default=Path("nnunet"), help="for nnUNet_raw and so on")
    parser.add_argument("--id", type=int, default=501)
    parser.add_argument("--folds", type=int, default=5)
    options = parser.parse_args(arguments)

    name = f"Dataset{options.id:03d}_Synth"
    folders = {
        f"nnUNet_{kind}": options.work.resolve() / f"nnUNet_{kind}" for kind in ("raw", "preprocessed", "results")
    }
    raw, ready = folders["nnUNet_raw"] / name, folders["nnUNet_preprocessed"] / name
    done = export(
        [options.set], raw, to="nnunet", real=[options.real], options=ExportOptions("soft", folds=options.folds)
    )
    print(done.sentence())
    for number, fold in enumerate(json.loads((raw / SPLITS).read_text())):
        print(f"fold {number}: {len(fold['train'])} cases to train on, {len(fold['val'])} real ones to validate")

    names = {key: str(path) for key, path in folders.items()}
    plan = ["nnUNetv2_plan_and_preprocess", "-d", str(options.id), "-c", "3d_fullres", "--verify_dataset_integrity"]
    if shutil.which(plan[0]) is None:
        raise SystemExit(f"{raw} is complete. nnU-Net is not installed: pip install nnunetv2, and the same again.")
    subprocess.run(plan, check=True, env={**os.environ, **names})
    shutil.copy(raw / SPLITS, ready)
    settings = " ".join(f"{key}={value}" for key, value in names.items())
    print(f"{settings} nnUNetv2_train {options.id} 3d_fullres 0")


if __name__ == "__main__":
    main()
