"""h5py alone: groups, arrays, attributes."""

import h5py
import numpy as np
from told import FOLDERS, check, same_places, truth

((name, folder),) = FOLDERS.items()
cases, seen = truth(name), 0
for path in sorted(folder.glob("*.h5")):
    with h5py.File(path) as file:
        for case_id, group in file.items():
            case = cases[case_id]
            images, labels = group["images"][()], group["labels"][()]
            axis = images.shape.index(4)
            sums = dict(zip(("t1", "t1ce", "t2", "flair"), np.moveaxis(images, axis, 0), strict=True))
            check({m: int(v.sum(dtype=np.int64)) for m, v in sums.items()} == case["sums"], f"{case_id}: other voxels")
            check(same_places(labels == 4, case, "ET"), f"{case_id}: ET is elsewhere")
            check("synthetic" in str(group.attrs["provenance"]), f"{case_id}: does not say what it is")
            seen += 1
check(seen == len(cases), f"{seen} of {len(cases)} cases")
print(f"{seen} of {len(cases)}, voxels and ET equal the truth, provenance told")
