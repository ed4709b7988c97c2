"""The ICBM152 2009 atlas that nilearn carries, brought to the BraTS grid by one fixed affine."""

from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.ndimage import affine_transform

from synth.brats import GRID

# BraTS voxel -> ICBM152 voxel. Found once by `benchmarks/fit_atlas_affine.py` (affine, correlation of tissue maps
# smoothed by 1 mm) against the SRI24 tissue map that BraTS is registered to: Dice 0.96 brain, 0.75 GM, 0.79 WM.
BRATS_TO_ICBM = np.array(
    [
        [-1.09266279e00, -8.57987228e-03, 6.31540210e-03, 2.28582269e02],
        [-1.25615775e-02, -1.02927832e00, 2.21929283e-01, 2.36658374e02],
        [-5.83371938e-03, 2.32738124e-01, 1.16209103e00, -3.72319427e01],
        [0.0, 0.0, 0.0, 1.0],
    ]
)


@cache
def atlas_probabilities() -> np.ndarray:
    """CSF, GM and WM probabilities on the BraTS grid: (240, 240, 155, 3) float32, 0..1, read-only.

    Outside the atlas brain all three are 0; inside they sum to about 1. CSF is what grey and white matter
    leave of the brain. Source: ICBM152 2009 nonlinear symmetric (Fonov et al. 2011,
    doi:10.1016/j.neuroimage.2010.07.033), from nilearn's wheel: no download.
    """
    import nilearn

    folder = Path(nilearn.__file__).parent / "datasets" / "data"
    maps = [_load(folder / f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz") for name in ("t1", "gm", "wm")]
    t1, gm, wm = maps
    csf = np.clip((t1 > 0) - gm / 255 - wm / 255, 0, 1)
    out = np.empty((*GRID, 3), np.float32)
    for index, source in enumerate((csf, gm / 255, wm / 255)):
        affine_transform(source.astype(np.float32), BRATS_TO_ICBM, output=out[..., index], output_shape=GRID, order=1)
    out.flags.writeable = False
    return out


def _load(path: Path) -> np.ndarray:
    return np.asanyarray(nib.load(path).dataobj).astype(np.float32)
