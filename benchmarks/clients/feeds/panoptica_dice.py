"""panoptica: whole tumours as instances, truth against itself."""

import nibabel as nib
import numpy as np
from panoptica import ConnectedComponentsInstanceApproximator, InputType, NaiveThresholdMatching, Panoptica_Evaluator
from told import FOLDERS, check, truth

((name, folder),) = FOLDERS.items()
evaluator = Panoptica_Evaluator(
    expected_input=InputType.SEMANTIC,
    instance_approximator=ConnectedComponentsInstanceApproximator(),
    instance_matcher=NaiveThresholdMatching(),
)
cases, lesions = truth(name), 0
for case_id in cases:
    labels = np.asarray(nib.load(folder / case_id / f"{case_id}-seg.nii.gz").dataobj)
    whole = (labels > 0).astype(np.uint8)
    result = evaluator.evaluate(whole, whole)["ungrouped"]
    check(result.tp == result.n_ref_instances > 0 and result.sq == 1, f"{case_id}: {result}")
    lesions += result.tp
print(f"{len(cases)} of {len(cases)}, {lesions} lesions found in themselves")
