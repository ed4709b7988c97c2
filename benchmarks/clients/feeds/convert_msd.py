"""nnU-Net's converter of Decathlon sets, and its check of what came out."""

import json
import os
import shutil
import subprocess

import nibabel as nib
import numpy as np
from told import FOLDERS, WORK, check, same_places, truth

for name in ("raw", "preprocessed", "results"):
    os.environ[f"nnUNet_{name}"] = str(WORK / f"nnUNet_converted_{name}")
    (WORK / f"nnUNet_converted_{name}").mkdir(exist_ok=True)

((task, folder),) = FOLDERS.items()
shutil.rmtree(WORK / f"nnUNet_converted_raw/Dataset504_{task.partition('_')[2]}", ignore_errors=True)
subprocess.run(["nnUNetv2_convert_MSD_dataset", "-i", folder, "-overwrite_id", "504", "-np", "1"], check=True)
out = WORK / "nnUNet_converted_raw" / f"Dataset504_{task.partition('_')[2]}"
table = json.loads((out / "dataset.json").read_text())
cases = truth(task)
check(table["numTraining"] == len(cases), f"{table['numTraining']} of {len(cases)} cases")
for case_id, case in cases.items():
    labels = np.asarray(nib.load(out / "labelsTr" / f"{case_id}.nii.gz").dataobj)
    check(same_places(labels == 3, case, "ET"), f"{case_id}: ET is elsewhere")
    for channel, modality in enumerate(("flair", "t1", "t1ce", "t2")):
        image = np.asarray(nib.load(out / "imagesTr" / f"{case_id}_{channel:04d}.nii.gz").dataobj)
        check(int(image.sum(dtype=np.int64)) == case["sums"][modality], f"{case_id}: channel {channel} is another")
print(f"{len(cases)} of {len(cases)} cases, four channels each, ET voxels equal the truth")
