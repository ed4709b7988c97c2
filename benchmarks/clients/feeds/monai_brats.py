"""MONAI: `DecathlonDataset`, and its BraTS transform on the labels of both conventions."""

import inspect

import numpy as np
from monai.apps import DecathlonDataset
from monai.transforms import Compose, ConvertToMultiChannelBasedOnBratsClassesd, EnsureChannelFirstd, LoadImaged
from told import FOLDERS, check, same_places, truth

keys = ["image", "label"]
load = Compose([LoadImaged(keys), EnsureChannelFirstd(keys)])
folder, cases = FOLDERS["Task01_BrainTumour"], truth("Task01_BrainTumour")
found = DecathlonDataset(folder.parent, folder.name, "training", load, download=False, val_frac=0.0, cache_num=0)
check(len(found) == len(cases), f"DecathlonDataset: {len(found)} of {len(cases)} cases")
for item in found:
    case_id = item["label"].meta["filename_or_obj"].rpartition("/")[2].removesuffix(".nii.gz")
    case = cases[case_id]
    check(item["image"].shape == (4, *case["shape"]), f"{case_id}: {item['image'].shape}")
    for value, part in ((1, "ED"), (2, "NCR"), (3, "ET")):
        check(same_places(item["label"][0] == value, case, part), f"{case_id}: {part} is elsewhere")
    for channel, modality in enumerate(("flair", "t1", "t1ce", "t2")):
        total = int(np.asarray(item["image"][channel], np.float64).sum())
        check(total == case["sums"][modality], f"{case_id}: channel {channel} is no {modality}")

told = [f"DecathlonDataset {len(found)} of {len(cases)}, channels and labels equal the truth"]
knows = "et_label" in inspect.signature(ConvertToMultiChannelBasedOnBratsClassesd).parameters
for name, separator, et in (("brats2020", "_", 4), ("brats2023", "-", 3)):
    for by_default in (True, False):
        if not by_default and not knows:
            continue
        options = {} if by_default else {"et_label": et}
        convert = Compose([load, ConvertToMultiChannelBasedOnBratsClassesd("label", **options)])
        right = 0
        for case_id, case in truth(name).items():
            paths = {
                "image": str(FOLDERS[name] / case_id / f"{case_id}{separator}{'t1' if et == 4 else 't1n'}.nii.gz"),
                "label": str(FOLDERS[name] / case_id / f"{case_id}{separator}seg.nii.gz"),
            }
            tc, wt, found_et = np.asarray(convert(paths)["label"]) > 0
            equal = same_places(found_et, case, "ET")
            right += equal and same_places(tc, case, "NCR", "ET") and same_places(wt, case, "NCR", "ED", "ET")
        stated = "as it is" if by_default else f"et_label={et}"
        told.append(f"BraTS transform ({stated}) on {name}: TC, WT, ET right in {right} of {len(truth(name))}")
        check(right == len(truth(name)) or (by_default and et == 3), told[-1])
print("; ".join(told))
