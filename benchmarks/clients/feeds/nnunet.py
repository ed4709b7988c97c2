"""nnU-Net v2: integrity, plans, preprocessing; training starts in fold 0 of our split."""

import json
import os
import shutil
import subprocess

from told import FOLDERS, WORK, check

for name in ("raw", "preprocessed", "results"):
    os.environ[f"nnUNet_{name}"] = str(WORK / f"nnUNet_{name}")
os.environ.update(nnUNet_compile="f", nnUNet_def_n_proc="1", OMP_NUM_THREADS="1")
PATCH, ITERATIONS = 64, 2  # on a CPU

ids = [name[len("Dataset") :][:3] for name in FOLDERS]
line = ["nnUNetv2_plan_and_preprocess", "-d", *ids, "--verify_dataset_integrity", "-c", "3d_fullres"]
subprocess.run([*line, "-npfp", "1", "-np", "1"], check=True)
os.environ.update(nnUNet_n_proc_DA="0")  # augment in this process

import torch  # noqa: E402 (nnU-Net reads its environment when it is imported)
from nnunetv2.run.run_training import get_trainer_from_args  # noqa: E402

told = []
torch.set_num_threads(1)
for name, folder in FOLDERS.items():
    ready = WORK / "nnUNet_preprocessed" / name
    table = json.loads((folder / "dataset.json").read_text())
    there = len(list((ready / "gt_segmentations").glob("*.nii.gz")))
    check(there == table["numTraining"], f"{name}: {there} of {table['numTraining']} cases preprocessed")
    split = folder / "splits_final.json"
    if split.exists():
        shutil.copy(split, ready)
    trainer = get_trainer_from_args(name, "3d_fullres", 0 if split.exists() else "all", "nnUNetTrainer", "nnUNetPlans",
                                    device=torch.device("cpu"))  # fmt: skip
    trainer.configuration_manager.configuration["patch_size"] = [PATCH] * 3
    trainer.num_epochs, trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = 1, ITERATIONS, 1
    trainer.run_training()
    losses = trainer.logger.get_value("train_losses", step=None)
    check(len(losses) == 1 and losses[0] == losses[0], f"{name}: no loss ({losses})")
    fold = "fold all"
    if split.exists():
        train, val = trainer.do_split()
        folds = json.loads(split.read_text())
        check((sorted(train), sorted(val)) == (folds[0]["train"], folds[0]["val"]), f"{name}: another split was used")
        fold = f"fold 0 of {len(folds)} of our split: {len(train)} to train, {len(val)} real to validate"
    told.append(f"{name[len('Dataset501_') :]}: {there} cases checked, planned, preprocessed, trained ({fold})")
print("; ".join(told))
