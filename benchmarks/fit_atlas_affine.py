"""Find the affine of `synth/layout/atlas.py`: ICBM152 (nilearn) to the BraTS grid, against the SRI24 tissue map.

python benchmarks/fit_atlas_affine.py DATA   # holds atlas/sri24_tissues.nii.gz; takes about two minutes
"""

import sys
from pathlib import Path

import nibabel as nib
import nilearn
import numpy as np
import SimpleITK as sitk  # noqa: N813
from scipy.ndimage import affine_transform

ICBM = str(Path(nilearn.__file__).parent / "datasets/data/mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz")


def as_sitk(array: np.ndarray, affine: np.ndarray) -> sitk.Image:
    """An image with the geometry of a diagonal RAS affine."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.transpose(2, 1, 0)))
    flips = np.array([-1, -1, 1])
    image.SetDirection(np.diag(np.sign(np.diag(affine)[:3]) * flips).ravel().tolist())
    image.SetOrigin((affine[:3, 3] * flips).tolist())
    return image


def main(data: str) -> None:
    """Register, print the voxel-to-voxel matrix and the Dice of the tissues under it."""
    tissues = nib.load(Path(data) / "atlas/sri24_tissues.nii.gz")
    fixed_map = np.asanyarray(tissues.dataobj)
    gm, wm = (np.asanyarray(nib.load(ICBM.format(n)).dataobj).astype(np.float32) / 255 for n in ("gm", "wm"))
    t1 = nib.load(ICBM.format("t1"))
    brain = (np.asanyarray(t1.dataobj) > 0).astype(np.float32)
    moving_map = 3 * wm + 2 * gm + np.clip(brain - gm - wm, 0, 1)
    fixed = sitk.SmoothingRecursiveGaussian(as_sitk(fixed_map.astype(np.float32), tissues.affine), 1.0)
    moving = sitk.SmoothingRecursiveGaussian(as_sitk(moving_map, t1.affine), 1.0)
    transform = sitk.CenteredTransformInitializer(
        fixed, moving, sitk.AffineTransform(3), sitk.CenteredTransformInitializerFilter.MOMENTS
    )
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsCorrelation()
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(0.1, seed=1)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsGradientDescent(1.0, 200, 1e-7, 20)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([4, 2, 1])
    method.SetSmoothingSigmasPerLevel([2, 1, 0])
    method.SetInitialTransform(transform, inPlace=True)
    method.Execute(fixed, moving)
    print("correlation", -method.GetMetricValue())
    affine = sitk.AffineTransform(transform.GetNthTransform(0) if hasattr(transform, "GetNthTransform") else transform)
    linear = np.array(affine.GetMatrix()).reshape(3, 3)
    centre = np.array(affine.GetFixedParameters()[:3])
    world = np.eye(4)
    world[:3, :3], world[:3, 3] = linear, np.array(affine.GetTranslation()) + centre - linear @ centre
    flip = np.diag([-1.0, -1, 1, 1])
    matrix = np.linalg.inv(t1.affine) @ flip @ world @ flip @ tissues.affine
    print(repr(matrix))
    for name, source, target in (
        ("brain", brain, fixed_map > 0),
        ("GM", gm, fixed_map == 2),
        ("WM", wm, fixed_map == 3),
    ):
        moved = affine_transform(source, matrix, output_shape=fixed_map.shape, order=1) > 0.5
        print(f"Dice {name}: {2 * np.count_nonzero(moved & target) / (moved.sum() + target.sum()):.3f}")


if __name__ == "__main__":
    main(sys.argv[1])
