"""SimpleITK: geometry, voxels, labels."""

import numpy as np
import SimpleITK
from told import FOLDERS, check, same_places, truth

((name, folder),) = FOLDERS.items()
cases = truth(name)
for case_id, case in cases.items():
    images = {m: SimpleITK.ReadImage(folder / case_id / f"{case_id}_{m}.nii.gz") for m in ("t1", "t1ce", "t2", "flair")}
    seg = SimpleITK.ReadImage(folder / case_id / f"{case_id}_seg.nii.gz")
    for modality, image in images.items():
        same = (image.GetOrigin(), image.GetDirection(), image.GetSpacing()) == (
            seg.GetOrigin(), seg.GetDirection(), seg.GetSpacing())  # fmt: skip
        check(same and image.GetSize() == tuple(case["shape"]), f"{case_id}: {modality} lies elsewhere")
        total = int(SimpleITK.GetArrayViewFromImage(image).sum(dtype=np.int64))
        check(total == case["sums"][modality], f"{case_id}: {modality} has other voxels")
    check(seg.GetOrigin() == (0.0, -239.0, 0.0), f"{case_id}: origin {seg.GetOrigin()}")
    labels = SimpleITK.GetArrayFromImage(seg).transpose(2, 1, 0)
    check(same_places(labels == 4, case, "ET"), f"{case_id}: ET is elsewhere")
print(f"{len(cases)} of {len(cases)}, origin (0, -239, 0), voxels and ET equal the truth")
