"""BraTS_evaluation: segmentations as truth and prediction, one of them spoilt by a shift."""

import json
import shutil
import subprocess

from told import FOLDERS, WORK, check, truth

((name, folder),) = FOLDERS.items()
cases, (ref, pred) = truth(name), (WORK / "evaluated" / side for side in ("ref", "pred"))
for place in (ref, pred):
    place.mkdir(parents=True, exist_ok=True)
for case_id in cases:
    seg = folder / case_id / f"{case_id}-seg.nii.gz"
    shutil.copy(seg, ref / seg.name)
    shutil.copy(seg, pred / f"{case_id}.nii.gz")
out = WORK / "evaluated/summary.json"
line = ["brats-evaluate", "--config", "gli", "--ref_path", ref, "--pred_path", pred, "--summary_json", out]
subprocess.run(line, check=True)
summary = json.loads(out.read_text())
check(not summary["missings"], f"missed: {summary['missings']}")
scores = [one["wt"]["global_bin_dsc"] for one in summary["metrics"] if "error" not in one]
check(len(scores) == len(cases) and set(scores) == {1.0}, f"{len(scores)} of {len(cases)}: {scores}")
print(f"{len(scores)} of {len(cases)} scored, Dice of the truth with itself 1.0")
