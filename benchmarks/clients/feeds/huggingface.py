"""Hugging Face `datasets`: a row a case, volumes in their columns, off line."""

import os

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1")

import numpy as np
from datasets import load_dataset
from told import FOLDERS, WORK, check, same_places, truth

((name, folder),) = FOLDERS.items()
cases = truth(name)
rows = load_dataset("niftifolder", data_dir=str(folder), cache_dir=str(WORK / "hf-cache"))["train"]
check(len(rows) == len(cases), f"{len(rows)} rows for {len(cases)} cases")
for row in rows:
    case = cases[row["id"]]
    check(same_places(np.asarray(row["seg"].dataobj) == 3, case, "ET"), f"{row['id']}: ET is elsewhere")
    for modality, total in case["sums"].items():
        found = int(np.asarray(row[modality].dataobj).sum(dtype=np.int64))
        check(found == total, f"{row['id']}: {modality} has other voxels")
    check(row["synthetic"] is True, f"{row['id']}: does not say what it is")
print(f"{len(rows)} rows for {len(cases)} cases, columns {', '.join(rows.column_names)}; ET equals the truth")
