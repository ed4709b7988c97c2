"""Small, seeded, asymmetric stand-ins for scans: no axis can be swapped or flipped without a test noticing."""

from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.ndimage import affine_transform
from scipy.spatial.transform import Rotation

from synth.brats import AFFINE, CLASSES, GRID, MODALITIES, NAMINGS, Naming, Tissue, Tumour
from synth.case import Case
from synth.hosts.sources import Sources
from synth.layout.atlas import atlas_probabilities
from synth.layout.detail import Detail
from synth.layout.layout import Layout
from synth.layout.sampling.sources import MemorySource
from synth.layout.tissue import extract_layout
from synth.shading import shading_field
from synth.style.prior import shipped_style_prior
from synth.style.style import measure_style

SHAPE = (40, 48, 36)
MEANS = {  # t1, t1ce, t2, flair of each class on a scanner-like scale: the order of contrasts is that of real scans
    "CSF": (250, 260, 1000, 150),
    "GM": (500, 510, 600, 550),
    "WM": (750, 770, 450, 500),
    "NCR": (350, 320, 850, 520),
    "ED": (450, 470, 800, 900),
    "ET": (480, 1200, 650, 700),
}


def phantom_layout(shape=SHAPE, *, seed=0, tumour=True, case_id="Phantom_001") -> Layout:
    """An egg of CSF, GM and WM with one ventricle and, if wanted, a nested tumour off the centre."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij"), -1)

    def ellipsoid(centre, radii):
        return (((grid - centre) / radii) ** 2).sum(-1) < 1

    centre = np.array([0.04, -0.06, 0.05]) + rng.uniform(-0.03, 0.03, 3)
    tissue = np.zeros(shape, np.uint8)
    for scale, value in ((1.0, Tissue.CSF), (0.93, Tissue.GM), (0.72, Tissue.WM)):
        tissue[ellipsoid(centre, scale * np.array([0.75, 0.85, 0.7]))] = value
    tissue[ellipsoid(centre + np.array([0.1, -0.05, 0.1]), np.array([0.1, 0.3, 0.15]))] = Tissue.CSF
    labels = np.zeros(shape, np.uint8)
    if tumour:
        place = centre + np.array([-0.3, 0.25, -0.08]) + rng.uniform(-0.04, 0.04, 3)
        for radius, value in ((0.3, Tumour.ED), (0.2, Tumour.ET), (0.12, Tumour.NCR)):
            labels[ellipsoid(place, radius * np.array([1.0, 1.2, 0.9])) & (tissue > 0)] = value
    return Layout(tissue, labels, np.array(AFFINE), case_id)


def head_layout(shape=SHAPE, *, seed=0, tumour=True, case_id="Phantom_001", zooms=(4.0, 3.5, 4.5)) -> Layout:
    """`phantom_layout` as large as a head, by its voxels: what works in mm sees a brain of 0.9 l."""
    layout = phantom_layout(shape, seed=seed, tumour=tumour, case_id=case_id)
    affine = np.diag([-zooms[0], -zooms[1], zooms[2], 1.0])
    return Layout(layout.tissue, layout.tumour, affine, layout.id)


def whole_detail(tissue) -> Detail:
    """Detail in which each voxel is all its tissue, and without vessels."""
    csf, wm = ((tissue == kind).view(np.uint8) * np.uint8(8) for kind in (Tissue.CSF, Tissue.WM))
    return Detail(csf, wm, np.zeros_like(tissue), np.zeros_like(tissue))


def phantom_case(shape=SHAPE, *, seed=0, tumour=True, labels=True, case_id="Phantom_001") -> Case:
    """A case painted from `phantom_layout` with the means above and noise; int16, background exactly 0."""
    layout = phantom_layout(shape, seed=seed, tumour=tumour, case_id=case_id)
    rng = np.random.default_rng(seed + 1)
    table = np.array([(0, 0, 0, 0), *(MEANS[name] for name in CLASSES)], float)
    images = table[layout.classes] * rng.normal(1, 0.05, (*shape, len(MODALITIES)))
    images = np.where(layout.brain[..., None], np.clip(np.rint(images), 1, None), 0).astype(np.int16)
    return Case(case_id, images, layout.tumour if labels else None, layout.affine)


@cache
def atlas_case() -> tuple[Case, np.ndarray]:
    """The atlas as a full-size scan with noise, shading and a tumour; and its true tissue map. Made once, read-only."""
    probabilities = atlas_probabilities()
    tissue = np.where(probabilities.sum(-1) > 0.5, probabilities.argmax(-1) + 1, 0).astype(np.uint8)
    rng = np.random.default_rng(0)
    brain = tissue > 0
    shade = shading_field((0.3, -0.2, 0.25, 0.1, 0, -0.2, 0.1, 0, 0), GRID, tuple(slice(0, n) for n in GRID))
    table = np.array([(0, 0, 0, 0), *(MEANS[name] for name in ("CSF", "GM", "WM"))], float)
    labels = np.zeros(GRID, np.uint8)
    labels[70:100, 100:140, 80:105] = 2
    labels[80:90, 112:128, 86:98] = 1
    labels[~brain] = 0
    seen = table[tissue[brain]] * shade[brain][:, None]
    seen *= rng.normal(1, 0.06, seen.shape)
    images = np.zeros((*GRID, len(MODALITIES)), np.int16)
    images[brain] = np.clip(np.rint(seen), 1, None)
    images[labels > 0] = (400, 700, 900, 1000)
    for array in (images, labels, tissue):
        array.flags.writeable = False
    return Case("Atlas_001", images, labels, np.array(AFFINE)), tissue


@cache
def atlas_layout() -> Layout:
    """The layout that `extract_layout` finds in `atlas_case`, found once."""
    return extract_layout(atlas_case()[0])


def phantom_sources(count=3) -> Sources:
    """Phantoms as hosts and donors, each with its own style; sampled styles are the shipped ones."""
    hosts, styles = [], {}
    for seed in range(count):
        layout = phantom_layout(seed=seed, case_id=f"Phantom_{seed:03d}")
        hosts.append(MemorySource(layout))
        styles[layout.id] = measure_style(phantom_case(seed=seed), layout)
    return Sources(hosts, styles.__getitem__, shipped_style_prior, "phantoms")


def embed(case: Case, grid=GRID, corner=(120, 96, 70)) -> Case:
    """The case with its small volumes put into a large empty grid: real size, yet fast and well compressed."""
    place = tuple(slice(c, c + n) for c, n in zip(corner, case.images.shape, strict=False))
    images = np.zeros((*grid, case.images.shape[-1]), case.images.dtype, order="F")
    images[place] = case.images
    labels = None
    if case.labels is not None:
        labels = np.zeros(grid, np.uint8, order="F")
        labels[place] = case.labels
    return Case(case.id, images, labels, case.affine)


def write_case(folder, case: Case, *, naming: Naming = NAMINGS["brats2020"], suffix=".nii.gz") -> Path:
    """Write a case with nibabel alone (not with what is under test) into `folder/<id>/`; return that folder."""
    target = Path(folder) / case.id
    target.mkdir(parents=True, exist_ok=True)
    volumes = {modality: case.images[..., i] for i, modality in enumerate(MODALITIES)}
    if case.labels is not None:
        volumes["seg"] = np.array(naming.label_values, np.uint8)[case.labels]
    for modality, array in volumes.items():
        name = f"{case.id}{naming.separator}{naming.suffixes[modality]}{suffix}"
        nib.save(nib.Nifti1Image(array, case.affine), target / name)
    return target


def other_grid(spacing=(1.2, 0.9, 2.0), turn=(6, -8, 10), around=(119, 133, 75), mm=220) -> tuple[tuple, np.ndarray]:
    """Shape and affine of a RAS grid, turned by degrees about x, y, z, its middle at a voxel of the BraTS grid."""
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", turn, degrees=True).as_matrix() @ np.diag(spacing)
    shape = tuple(int(np.ceil(mm / size)) for size in spacing)
    middle = (np.array(shape) - 1) / 2
    affine[:3, 3] = AFFINE[:3, :3] @ around + AFFINE[:3, 3] - affine[:3, :3] @ middle
    return shape, affine


def sampled(case: Case, shape, affine) -> Case:
    """The case as a scanner with this grid would have it, by plain linear sampling within the brain."""
    into = np.linalg.inv(case.affine) @ affine

    def pull(array, order=1):
        return affine_transform(array.astype(np.float32), into, output_shape=shape, order=order)

    images, brain = np.zeros((*shape, len(MODALITIES)), np.int16), None
    for m in range(len(MODALITIES)):
        if brain is None or not np.array_equal(brain, case.images[..., m] > 0):  # mostly that of the one before
            brain = case.images[..., m] > 0
            seen = pull(brain)
        images[..., m] = np.where(seen > 0.5, np.rint(pull(case.images[..., m]) / np.maximum(seen, 0.5)), 0)
    labels = None if case.labels is None else pull(case.labels, 0).astype(np.uint8) * images.any(-1)
    return Case(case.id, images, labels, affine, case.meta)
