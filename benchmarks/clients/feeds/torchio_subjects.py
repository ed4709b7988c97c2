"""TorchIO: a `SubjectsDataset`, its geometry check, and a queue of patches."""

import numpy as np
import torchio as tio
from told import FOLDERS, check, same_places, truth
from torch.utils.data import DataLoader

((name, folder),) = FOLDERS.items()
cases = truth(name)
subjects = [
    tio.Subject(
        case_id=case_id,
        **{m: tio.ScalarImage(folder / case_id / f"{case_id}_{m}.nii.gz") for m in ("t1", "t1ce", "t2", "flair")},
        seg=tio.LabelMap(folder / case_id / f"{case_id}_seg.nii.gz"),
    )
    for case_id in cases
]
dataset = tio.SubjectsDataset(subjects, transform=tio.ZNormalization(masking_method=tio.ZNormalization.mean))
check(len(dataset) == len(cases), f"{len(dataset)} of {len(cases)} subjects")
for subject in dataset:
    subject.check_consistent_space()
    case = cases[subject.case_id]
    for value, part in ((1, "NCR"), (2, "ED"), (4, "ET")):
        check(same_places(subject.seg.data[0] == value, case, part), f"{subject.case_id}: {part} is elsewhere")
sampler = tio.LabelSampler(32, "seg", label_probabilities={0: 0, 1: 1, 2: 1, 4: 1})
queue = tio.Queue(dataset, max_length=4, samples_per_volume=2, sampler=sampler, num_workers=0)
patches = 0
for batch in DataLoader(queue, batch_size=2, num_workers=0):
    check(bool(np.any(np.asarray(batch["seg"]["data"]))), "a patch without tumour")
    patches += len(batch["seg"]["data"])
found = f"SubjectsDataset {len(dataset)} of {len(cases)}, one space a subject, labels equal the truth"
print(f"{found}; {patches} patches queued")
