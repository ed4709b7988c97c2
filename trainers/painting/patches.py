"""Training data: cases prepared once into memory-mapped arrays, patches drawn by step number.

`prepare_cases` finds layout and style of every case and keeps its brain box uncompressed on disk, so that memory is
flat however many cases there are and a patch costs milliseconds. Each slot of a step draws everything from
`randomness.step_rng`: a resumed run sees the same patches.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from synth.brats import CLASSES, MODALITIES, TISSUES, Tissue
from synth.case import Case
from synth.datasets.fingerprint import Fingerprint, fingerprint
from synth.datasets.members import Member
from synth.datasets.sets import CaseSet, open_set
from synth.errors import SynthError
from synth.hosts.extract import VERSION, layout_and_style
from synth.layout.detail import EIGHTHS, EVEN, MIXED, TONE_LEVELS, TONE_STEP, softened
from synth.layout.layout import Layout
from synth.models.painter import box_coordinates, style_tensors
from synth.randomness import step_rng
from synth.style.style import Style, measure_style
from synth.trainers.augment import AugmentConfig, draw_augmentation, warp_patch
from synth.trainers.batches import batches_by_step, specs_of
from synth.trainers.cutting import PatchConfig, crop, patch_centre, patch_start
from synth.trainers.prepared import IMAGES, RECORD, SCAN, WARNINGS, damaged, once, read_array, read_record, store

CODES = "classes"
DETAIL = "detail"
DROPPED = 0.25  # of patches whose detail is left out, so that layouts without any can be painted too
_WHITE = CLASSES.index("WM")


@dataclass(frozen=True)
class TrainingCase:
    """One prepared case: where its arrays lie, its box in the grid, its style, the fingerprint of its scan."""

    id: str
    folder: Path
    box: tuple[tuple[int, int], ...]
    shape: tuple[int, int, int]
    style: Style
    fingerprint: Fingerprint = ()
    warnings: tuple[str, ...] = ()  # of reading the scan

    @property
    def detail(self) -> np.ndarray | None:
        """(x, y, z, 8) uint8, memory-mapped: the layers of `Detail`; None where the case was prepared without."""
        return read_array(self.folder, DETAIL) if (self.folder / f"{DETAIL}.npy").is_file() else None

    @property
    def labels(self) -> np.ndarray:
        """(x, y, z) uint8 class indices, `Tumour`."""
        return np.maximum(self.classes, len(TISSUES)) - np.uint8(len(TISSUES))

    @property
    def images(self) -> np.ndarray:
        """(x, y, z, 4) float16, memory-mapped: normalised units, 0 outside the brain."""
        return read_array(self.folder, IMAGES)

    @property
    def classes(self) -> np.ndarray:
        """(x, y, z) uint8, memory-mapped: `Layout.classes` of the box."""
        return read_array(self.folder, CODES)


def prepare_cases(
    data: str | Path | CaseSet, cache: str | Path, *, detail: bool = False, quiet: bool = False
) -> list[TrainingCase]:
    """Prepare every case of a dataset folder once; later calls reuse what is there, whole and unchanged.

    Args:
        data: annotated cases (`open_set`; `synth check` says whether they are fit).
        cache: where the arrays go. They hold patients' voxels: keep it where the dataset may be kept.
        detail: find the detail of each layout too, and measure styles by it.
        quiet: no progress bar.

    Raises:
        DataError: a case cannot be read.
    """
    out = []
    members = open_set(data, scans=True).members
    for member in tqdm(members, desc="layouts and styles", unit="case", disable=quiet or None):
        folder, signature = Path(cache) / member.id, member.signature(f"{VERSION}{'+detail-5' * detail}")
        make, scan = partial(_prepare, member, folder, signature, detail), partial(_fingerprint, member)
        out.append(once(folder, signature, load_case, make, scan))
    return out


def _prepare(member: Member, folder: Path, signature: str, detail: bool) -> TrainingCase:
    case = member.read()
    layout, style = layout_and_style(case, detail=detail)
    return store_case(case, layout, folder, signature, style)


def _fingerprint(member: Member) -> Fingerprint:
    return fingerprint(member.read("ignore").images)


def store_case(
    case: Case, layout: Layout, folder: Path, signature: str = "", style: Style | None = None
) -> TrainingCase:
    """Write one case's arrays and record into `folder`, ready for `load_case`."""
    style = measure_style(case, layout) if style is None else style
    box = layout.bounding_box(2)
    brain = layout.brain[box][..., None]
    window = np.asarray(style.window, np.float32)
    images = (case.images[box].astype(np.float32) - window[:, 0]) / (window[:, 1] - window[:, 0])
    arrays = {
        IMAGES: np.ascontiguousarray((images * brain).clip(-1, 4), np.float16),
        CODES: np.ascontiguousarray(layout.classes[box]),
    }
    if layout.detail is not None:
        arrays[DETAIL] = np.stack([layer[box] for layer in layout.detail.layers], -1)
    record = {
        "id": case.id,
        "signature": signature,
        "box": [[part.start, part.stop] for part in box],
        "shape": list(layout.shape),
        "style": style.to_dict(),
        SCAN: fingerprint(case.images),
        **({WARNINGS: said} if (said := case.meta.get(WARNINGS)) else {}),
    }
    store(folder, arrays, record)
    return load_case(folder)


def load_case(folder: Path) -> TrainingCase:
    """A case written by `store_case`.

    Raises:
        DataError: it is damaged, or another kind of case.
    """
    record = read_record(folder, CODES)
    try:
        box = tuple((int(first), int(last)) for first, last in record["box"])
        x, y, z = map(int, record["shape"])
        style = Style.from_dict(record["style"])
    except (SynthError, KeyError, TypeError, ValueError) as error:
        raise damaged(folder / RECORD, error) from error
    return TrainingCase(
        record["id"], folder, box, (x, y, z), style, tuple(record[SCAN]), tuple(record.get(WARNINGS, ()))
    )


def draw_patch(
    cases: Sequence[TrainingCase], step: int, slot: int, seed: int, patch: PatchConfig, augment: AugmentConfig
) -> dict[str, np.ndarray]:
    """Patch `slot` of step `step`: images, classes, coordinates, style tensors, noise seed, `exact` (not warped)."""
    rng = step_rng(seed, step, slot)
    case = cases[rng.integers(len(cases))]
    augmentation = draw_augmentation(augment, rng)
    centre = patch_centre(case.classes, Tissue.WM, patch.tumour_share, rng)
    noise_seed = rng.integers(2**31, size=2).astype(np.int32)
    size, edge = patch.size, patch.edge(augmentation.warp)
    start = patch_start(centre, edge, case.classes.shape)
    images, classes = crop(case.images, case.classes, start, edge)
    plain, detail = rng.random() < DROPPED, case.detail
    if detail is not None and not plain:
        images = np.concatenate([images, _to_be_warped(crop(detail, case.classes, start, edge)[0], classes)], -1)
    origin = np.array([first for first, _ in case.box]) + start
    if augmentation.warp:
        images, classes, source = warp_patch(images, classes, augmentation, augment, size)
        coordinates = (source + origin.astype(np.float32)) * (2 / (np.array(case.shape, np.float32) - 1)) - 1
    else:
        coordinates = box_coordinates(case.shape, [slice(o, o + size) for o in origin])
    if augmentation.flip:
        images, classes, coordinates = images[::-1], classes[::-1], coordinates[::-1]
    images, warped = images[..., : len(MODALITIES)], images[..., len(MODALITIES) :]
    style, images = _apply_gamma(case.style, images, augmentation.gamma)
    layers = {}
    if detail is not None:
        if plain:
            detail = np.stack(softened(np.where(classes <= Tissue.WM, classes, 0).astype(np.uint8)).layers, -1)
        else:
            detail = _whole_again(warped, classes)
            _bend_tones(detail[..., len(MIXED) :], classes, case.style, style, augmentation.gamma)
        layers["detail"] = np.ascontiguousarray(detail, np.uint8)
    return {
        "images": np.ascontiguousarray(images * (classes > 0)[..., None], np.float32),
        "classes": np.ascontiguousarray(classes),
        "coordinates": np.ascontiguousarray(coordinates, np.float32),
        "noise_seed": noise_seed,
        "exact": np.float32(not augmentation.warp),
        **layers,
        **style_tensors(style, mixed=detail is not None, pure=detail is not None and not plain),
    }


def _to_be_warped(layers: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """(x, y, z, 9) layers of detail as they may be interpolated: grey matter beside the others, no tone as `EVEN`."""
    tones = layers[..., len(MIXED) :]
    gm = (classes > 0) * np.float32(EIGHTHS) - layers[..., 0] - layers[..., 1]
    return np.concatenate([gm[..., None], layers[..., : len(MIXED)], np.where(tones == 0, EVEN, tones)], -1)


def _whole_again(warped: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """(x, y, z, 8) layers of detail in whole numbers, of what `_to_be_warped` gave."""
    gm, csf, wm, *others = np.moveaxis(warped[..., : 1 + len(MIXED)], -1, 0)
    inside = EIGHTHS / np.maximum(csf + wm + gm, np.float32(1e-3))  # what lies outside the brain has no say
    csf = np.rint(csf * inside)
    wm = np.minimum(np.rint(wm * inside), EIGHTHS - csf)
    tones = np.rint(warped[..., 1 + len(MIXED) :]) * (classes > Tissue.WM)[..., None]
    return np.concatenate([np.stack([csf, wm, *(np.rint(layer * inside) for layer in others)], -1), tones], -1)


def _bend_tones(tones: np.ndarray, classes: np.ndarray, before: Style, after: Style, gamma: Sequence[float]) -> None:
    """Let the tones of tumours follow their classes' brightness through `_apply_gamma`, in place."""
    inside = classes > Tissue.WM
    rows = classes[inside].astype(np.intp) - 1
    flat, bent = (np.asarray(style.mean, np.float32)[rows] for style in (before, after))
    seen = _bent(flat + TONE_STEP * (tones[inside] - EVEN), np.asarray(gamma, np.float32))
    tones[inside] = np.clip(np.rint(EVEN + (seen - bent) / TONE_STEP), 1, TONE_LEVELS)


def _apply_gamma(style: Style, images: np.ndarray, gamma: Sequence[float]) -> tuple[Style, np.ndarray]:
    """X ** gamma above 0 on scan and table alike; texture changes by the slope at white matter."""
    if all(g == 1.0 for g in gamma):
        return style, images
    power = np.asarray(gamma)
    mean = np.asarray(style.mean)
    bent, pure = (
        None if table is None else _bent(table, power)
        for table in (mean, None if style.pure is None else np.asarray(style.pure))
    )
    slope = power * np.maximum(mean[_WHITE], 0.05) ** (power - 1)
    images = _bent(images, power.astype(np.float32))
    return replace(style, mean=bent, pure=pure, texture=np.asarray(style.texture) * slope), images


def _bent(values: np.ndarray, power: np.ndarray) -> np.ndarray:
    """Values to a power a modality (the last axis), where they are above 0."""
    return np.where(values > 0, np.maximum(values, 1e-6) ** power, values)


def patch_dataset(
    cases: Sequence[TrainingCase],
    *,
    start: int,
    stop: int,
    batch: int,
    seed: int,
    patch: PatchConfig,
    augment: AugmentConfig,
) -> tf.data.Dataset:
    """Batches of steps `start` to `stop`, drawn ahead of the training step."""
    draw = partial(draw_patch, cases, seed=seed, patch=patch, augment=augment)
    return batches_by_step(draw, specs_of(draw(0, 0)), start=start, stop=stop, batch=batch)
