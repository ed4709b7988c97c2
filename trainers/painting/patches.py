"""Training data: cases prepared once into memory-mapped arrays, patches drawn by step number.

`prepare_cases` finds layout and style of every case and keeps its brain box uncompressed on disk, so that memory is
flat however many cases there are and a patch costs milliseconds. Each slot of a step draws everything from
`randomness.step_rng`: a resumed run sees the same patches.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from synth.case import Case
from synth.datasets.cases import find_cases, read_case
from synth.errors import DataError
from synth.hosts.extract import source_signature
from synth.layout.layout import Layout
from synth.layout.tissue import extract_layout
from synth.models.painter import box_coordinates, style_tensors
from synth.randomness import step_rng
from synth.style.style import Style, measure_style
from synth.trainers.augment import AugmentConfig, draw_augmentation, warp_patch


@dataclass(frozen=True)
class TrainingCase:
    """One prepared case: where its arrays lie, its box in the grid, its style."""

    id: str
    folder: Path
    box: tuple[tuple[int, int], ...]
    shape: tuple[int, int, int]
    style: Style

    @property
    def images(self) -> np.ndarray:
        """(x, y, z, 4) float16, memory-mapped: normalised units, 0 outside the brain."""
        return np.load(self.folder / "images.npy", mmap_mode="r", allow_pickle=False)

    @property
    def classes(self) -> np.ndarray:
        """(x, y, z) uint8, memory-mapped: `Layout.classes` of the box."""
        return np.load(self.folder / "classes.npy", mmap_mode="r", allow_pickle=False)


def prepare_cases(data: str | Path, cache: str | Path, *, quiet: bool = False) -> list[TrainingCase]:
    """Prepare every case of a dataset folder once; later calls reuse what is there and unchanged.

    Args:
        data: folder of annotated cases (`synth check` says whether it is fit).
        cache: where the arrays go. They hold patients' voxels: keep it where the dataset may be kept.
        quiet: no progress bar.

    Raises:
        DataError: a case cannot be read.
    """
    files = find_cases(data)
    out = []
    for case_files in tqdm(files, desc="layouts and styles", unit="case", disable=quiet or None):
        folder = Path(cache) / case_files.id
        record = folder / "case.json"
        signature = source_signature(case_files)
        if not (record.is_file() and json.loads(record.read_text()).get("signature") == signature):
            _prepare(case_files, folder, signature)
        out.append(load_case(folder))
    return out


def _prepare(case_files, folder: Path, signature: str) -> None:
    case = read_case(case_files)
    layout = extract_layout(case)
    store_case(case, layout, folder, signature)


def store_case(case: Case, layout: Layout, folder: Path, signature: str = "") -> None:
    """Write one case's arrays and record into `folder`, ready for `load_case`."""
    style = measure_style(case, layout)
    box = layout.bounding_box(2)
    brain = layout.brain[box][..., None]
    window = np.asarray(style.window, np.float32)
    images = (case.images[box].astype(np.float32) - window[:, 0]) / (window[:, 1] - window[:, 0])
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "images.npy", np.ascontiguousarray((images * brain).clip(-1, 4), np.float16))
    np.save(folder / "classes.npy", np.ascontiguousarray(layout.classes[box]))
    record = {
        "id": case.id,
        "signature": signature,
        "box": [[part.start, part.stop] for part in box],
        "shape": list(layout.shape),
        "style": style.to_dict(),
    }
    (folder / "case.json").write_text(json.dumps(record))  # last: its presence vouches for the arrays


def load_case(folder: Path) -> TrainingCase:
    """A case written by `store_case`."""
    known = json.loads((folder / "case.json").read_text())
    box = tuple(tuple(edge) for edge in known["box"])
    return TrainingCase(known["id"], folder, box, tuple(known["shape"]), Style.from_dict(known["style"]))


@dataclass(frozen=True)
class PatchConfig:
    """How patches are cut."""

    size: int = 128
    tumour_share: float = 0.6  # of patches centred in the tumour: it is 5 % of the brain and what users need most

    def __post_init__(self):
        """Raise `DataError` if no network takes such patches."""
        if self.size % 16 or self.size <= 0:
            raise DataError(f"patch size must be a positive multiple of 16, found {self.size}.")


def draw_patch(cases, step: int, slot: int, seed: int, patch: PatchConfig, augment: AugmentConfig) -> dict:
    """Patch `slot` of step `step`: images, classes, coordinates, style tensors, noise seed, `exact` (not warped)."""
    rng = step_rng(seed, step, slot)
    case = cases[rng.integers(len(cases))]
    augmentation = draw_augmentation(augment, rng)
    centre = patch_centre(case.classes, 3, patch.tumour_share, rng)
    noise_seed = rng.integers(2**31, size=2).astype(np.int32)
    size = patch.size
    edge = size + 2 * (size // 8) if augmentation.warp else size
    start = patch_start(centre, edge, case.classes.shape)
    images, classes = crop(case.images, case.classes, start, edge)
    origin = np.array([edge[0] for edge in case.box]) + start
    if augmentation.warp:
        images, classes, source = warp_patch(images, classes, augmentation, augment, size)
        coordinates = (source + origin.astype(np.float32)) * (2 / (np.array(case.shape, np.float32) - 1)) - 1
    else:
        coordinates = box_coordinates(case.shape, [slice(o, o + size) for o in origin])
    if augmentation.flip:
        images, classes, coordinates = images[::-1], classes[::-1], coordinates[::-1]
    style, images = _apply_gamma(case.style, images, augmentation.gamma)
    return {
        "images": np.ascontiguousarray(images * (classes > 0)[..., None], np.float32),
        "classes": np.ascontiguousarray(classes),
        "coordinates": np.ascontiguousarray(coordinates, np.float32),
        "noise_seed": noise_seed,
        "exact": np.float32(not augmentation.warp),
        **style_tensors(style),
    }


def patch_centre(coded: np.ndarray, healthy: int, tumour_share: float, rng) -> np.ndarray:
    """A voxel of the tumour (values above `healthy`) with probability `tumour_share`, else of the brain (above 0)."""
    in_tumour = rng.random() < tumour_share
    draws = rng.random((4096, 3))
    points = (draws * coded.shape).astype(int)
    values = coded[tuple(points.T)]
    for wanted in (values > healthy, values > 0) if in_tumour else (values > 0,):
        if wanted.any():
            return points[wanted][0]
    return np.array(coded.shape) // 2


def patch_start(centre, size: int, shape) -> np.ndarray:
    """First voxel of a cube about `centre`, moved inwards where it would leave the box and fits."""
    start = np.asarray(centre) - size // 2
    room = np.asarray(shape) - size
    return np.where(room >= 0, np.clip(start, 0, np.maximum(room, 0)), room // 2)


def crop(images: np.ndarray, coded: np.ndarray, start, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The cube at `start` of (x, y, z, 4) and (x, y, z), zero beyond them; float32 and uint8."""
    image_cube, coded_cube = np.zeros((size,) * 3 + (4,), np.float32), np.zeros((size,) * 3, np.uint8)
    low, high = np.maximum(start, 0), np.minimum(start + size, coded.shape)
    source = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    target = tuple(slice(a, b) for a, b in zip(low - start, high - start, strict=True))
    image_cube[target], coded_cube[target] = images[source], coded[source]
    return image_cube, coded_cube


def _apply_gamma(style: Style, images, gamma) -> tuple[Style, np.ndarray]:
    """X ** gamma above 0 on scan and table alike; texture changes by the slope at white matter."""
    if all(g == 1.0 for g in gamma):
        return style, images
    power = np.asarray(gamma)
    mean = np.asarray(style.mean)
    bent = np.where(mean > 0, np.maximum(mean, 1e-6) ** power, mean)
    slope = power * np.maximum(mean[2], 0.05) ** (power - 1)
    images = np.where(images > 0, np.maximum(images, 1e-6) ** power.astype(np.float32), images)
    return replace(style, mean=bent, texture=np.asarray(style.texture) * slope), images


def patch_dataset(
    cases, *, start: int, stop: int, batch: int, seed: int, patch: PatchConfig, augment: AugmentConfig
) -> tf.data.Dataset:
    """Batches of steps `start` to `stop`, drawn ahead of the training step."""
    example = draw_patch(cases, 0, 0, seed, patch, augment)
    names = list(example)
    signature = [tf.TensorSpec(np.shape(example[n]), np.asarray(example[n]).dtype) for n in names]

    def load(index):
        def draw(i):
            patch_data = draw_patch(cases, int(i) // batch, int(i) % batch, seed, patch, augment)
            return [patch_data[n] for n in names]

        values = tf.numpy_function(draw, [index], [s.dtype for s in signature])
        for value, spec in zip(values, signature, strict=True):
            value.set_shape(spec.shape)
        return dict(zip(names, values, strict=True))

    dataset = tf.data.Dataset.range(start * batch, stop * batch)
    return dataset.map(load, num_parallel_calls=2, deterministic=True).batch(batch, drop_remainder=True).prefetch(2)
