"""From a painted brain to the case that is written."""

import numpy as np

from synth.brats import MODALITIES
from synth.case import Case
from synth.layout.layout import Layout
from synth.style.scale import INT16_MAX, Window


def to_case(case_id: str, layout: Layout, image: np.ndarray, window: Window, meta: dict | None = None) -> Case:
    """A Case on the full grid from a painted brain box: int16, at least 1 in the brain, 0 outside.

    Args:
        case_id: of the case.
        layout: that was painted.
        image: (x, y, z, 4) in normalised units, in the layout's bounding box.
        window: the intensities that 0 and 1 of each modality are written as.
        meta: of the case.
    """
    box = layout.bounding_box()
    low, high = np.asarray(window, np.float32).T
    brain = layout.brain[box]
    # modality by modality in planes of their own: what the writers read, and contiguous
    planes = np.zeros((len(MODALITIES), *layout.shape), np.int16)
    for m in range(len(MODALITIES)):
        values = np.rint(image[..., m] * (high[m] - low[m]) + low[m])
        planes[m][box] = np.where(brain, np.clip(values, 1, INT16_MAX), 0)
    return Case(case_id, np.moveaxis(planes, 0, -1), layout.tumour, layout.affine, meta or {})
