"""Sets of scans spoilt in ways that a quality report must notice, made from real cases."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.ndimage import affine_transform, gaussian_filter

from synth.brats import NAMINGS
from synth.case import Case, CaseFiles
from synth.datasets.cases import read_case
from synth.exporters import open_exporter
from synth.layout.tissue import extract_layout
from synth.runs.reconstruct import painter_image

BLUR = 1.5  # mm, standard deviation
NOISE = 0.3  # of the deviation in the brain
ENLARGED = 1.3
REPEATS = 20


def painter(case: Case, rng) -> Case:
    """Every class in one colour."""
    classes = extract_layout(case).classes
    images = np.stack([painter_image(case.images[..., m].astype(np.float32), classes) for m in range(4)], -1)
    return replace(case, images=images)


def blurred(case: Case, rng) -> Case:
    """Smoothed within the brain."""
    brain = case.brain
    weight = np.maximum(gaussian_filter(brain.astype(np.float32), BLUR), 1e-3)
    images = [gaussian_filter(case.images[..., m].astype(np.float32), BLUR) / weight for m in range(4)]
    return replace(case, images=np.stack(images, -1) * brain[..., None])


def noisy(case: Case, rng) -> Case:
    """White noise in the brain."""
    images = case.images.astype(np.float32)
    for m in range(4):
        seen = images[..., m] > 0
        noise = rng.normal(0, NOISE * images[..., m][seen].std(), np.count_nonzero(seen))
        images[..., m][seen] = np.maximum(images[..., m][seen] + noise, 1)
    return replace(case, images=images)


def shuffled(case: Case, rng) -> Case:
    """Each modality under the next one's name."""
    return replace(case, images=np.roll(case.images, 1, axis=-1))


def enlarged(case: Case, rng) -> Case:
    """Labels blown up about their centre, cut at the brain."""
    centre = np.argwhere(case.labels > 0).mean(0)
    labels = affine_transform(case.labels, np.eye(3) / ENLARGED, centre - centre / ENLARGED, order=0)
    return replace(case, labels=np.where(case.brain, labels, 0).astype(np.uint8))


SPOILT: dict[str, Callable] = {
    "painter": painter,
    "blurred": blurred,
    "noisy": noisy,
    "shuffled": shuffled,
    "enlarged": enlarged,
}


def write_spoilt(kind: str, files: list[CaseFiles], out: Path, seed: int = 0) -> Path:
    """A set of the cases spoilt in one of the ways of `SPOILT`, under ids of its own."""
    with open_exporter("nifti", out, naming=NAMINGS["brats2020"]) as exporter:
        for number, one in enumerate(files):
            case = SPOILT[kind](read_case(one), np.random.default_rng((seed, number)))
            scale = 4000 / max(float(case.images.max()), 1)  # whole numbers on the disk
            images = np.rint(case.images.astype(np.float32) * scale)
            exporter.write(replace(case, id=f"{kind}_{number:03d}", images=images.astype(np.int16), meta={}))
    return out


def write_copies(files: list[CaseFiles], out: Path, name: str = "copy") -> Path:
    """The same files under other ids."""
    for number, one in enumerate(files):
        folder = out / f"{name}_{number:03d}"
        folder.mkdir(parents=True)
        for part, path in one.paths.items():
            shutil.copyfile(path, folder / f"{name}_{number:03d}_{part}.nii.gz")
    return out


def write_scaled_labels(files: list[CaseFiles], out: Path) -> Path:
    """Copies whose label values are ten times too large."""
    write_copies(files, out, "scaled")
    for path in out.glob("*/*_seg.nii.gz"):
        image = nib.load(path)
        nib.save(nib.Nifti1Image((np.asanyarray(image.dataobj) * 10).astype(np.uint8), image.affine), path)
    return out
