"""PyTables: the same file through another library."""

import numpy as np
import tables
from told import FOLDERS, check, same_places, truth

((name, folder),) = FOLDERS.items()
cases, seen = truth(name), 0
for path in sorted(folder.glob("*.h5")):
    with tables.open_file(path) as file:
        for group in file.list_nodes("/"):
            case_id, labels = group._v_name, group.labels.read()
            total = int(group.images.read().sum(dtype=np.int64))
            check(total == sum(cases[case_id]["sums"].values()), f"{case_id}: other voxels")
            check(same_places(labels == 4, cases[case_id], "ET"), f"{case_id}: ET is elsewhere")
            seen += 1
check(seen == len(cases), f"{seen} of {len(cases)} cases")
print(f"{seen} of {len(cases)}, voxels and ET equal the truth")
