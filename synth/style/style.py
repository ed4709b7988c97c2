"""The Style: how a scanner renders each tissue, as numbers a person can read and change."""

from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy.ndimage import binary_erosion, gaussian_filter, gaussian_filter1d, uniform_filter

from synth.brats import CLASSES, MODALITIES, TISSUES, Tissue
from synth.case import Case
from synth.errors import SynthError
from synth.layout.layout import Layout
from synth.shading import SHADING_TERMS, fit_shading, grid_coordinates, shading_field, shading_terms
from synth.style.scale import own_window

RIM = 5  # voxels
GRAINS = (0.1, 1.2)  # voxels: of noise, as it is painted; below nothing reaches the next voxel
P20_OF_RMS = 0.77  # 20th percentile of the local standard deviation of Gaussian noise, over its RMS (3x3x3)
SHAPES = {  # of a style's tables
    "mean": (len(CLASSES), len(MODALITIES)),
    "spread": (len(CLASSES), len(MODALITIES)),
    "texture": (len(MODALITIES),),
    "sharpness": (len(MODALITIES), 3),
    "shading": (len(MODALITIES), len(SHADING_TERMS)),
    "window": (len(MODALITIES), 2),
    "pure": (len(TISSUES), len(MODALITIES)),
}
PURE = "pure"  # which not every style has


@dataclass(frozen=True)
class Style:
    """How one scan renders each class, in normalised units (0 and 1: the scan's 0.5 and 99.5 percentiles in the brain).

    Attributes:
        mean: 6 x 4 intensities, rows `brats.CLASSES`, columns `brats.MODALITIES`.
        spread: 6 x 4 standard deviations within the class.
        texture: 4 levels of fine texture: the 20th percentile of the local standard deviation (3x3x3 windows)
            in healthy tissue.
        sharpness: 4 x 3 widths (voxels, Gaussian sigma along x, y, z) of the point spread that gives this texture
            its grain; a larger value means smoother or thicker slices.
        shading: 4 x 9 coefficients of the smooth multiplicative field, terms `shading.SHADING_TERMS`.
        window: 4 x 2 intensities of the scan that 0 and 1 stand for, whatever scale it comes on; painted scans are
            written on `scale.output_window`.
        pure: 3 x 4 intensities of CSF, GM and WM that explain voxels as mixtures of them (`shares.measure_detail`):
            further apart than `mean`, which is measured on voxels few of which are of one tissue. None where a layout's
            detail was not looked for.
    """

    mean: tuple[tuple[float, ...], ...]
    spread: tuple[tuple[float, ...], ...]
    texture: tuple[float, ...]
    sharpness: tuple[tuple[float, ...], ...]
    shading: tuple[tuple[float, ...], ...]
    window: tuple[tuple[float, ...], ...]
    pure: tuple[tuple[float, ...], ...] | None = None

    def __post_init__(self) -> None:
        """Check every table; raise `SynthError` on a wrong shape, or a window that does not go up."""
        for name, shape in SHAPES.items():
            if name == PURE and self.pure is None:
                continue
            value = np.asarray(getattr(self, name), float)
            if value.shape != shape or not np.isfinite(value).all():
                raise SynthError(f"style: {name} must be finite numbers of shape {shape}, found shape {value.shape}.")
            object.__setattr__(self, name, _windows(value) if name == "window" else _tuples(value))

    def means(self, *, pure: bool) -> np.ndarray:
        """(6, 4) float32 `mean`; with `pure` the tissues' are those of pure tissue, where they are known."""
        means = np.array(self.mean, np.float32)
        if pure and self.pure is not None:
            means[: len(TISSUES)] = self.pure
        return means

    def to_dict(self) -> dict:
        """A JSON-able dict; `from_dict` reads it back."""
        tables = {name: table for name, table in asdict(self).items() if table is not None}
        return {"classes": list(CLASSES), "modalities": list(MODALITIES), **tables}

    @classmethod
    def from_dict(cls, record: dict) -> "Style":
        """The Style of a dict made by `to_dict`.

        Raises:
            SynthError: a table is missing or has the wrong shape.
        """
        if not isinstance(record, dict):
            raise SynthError(f"style: expected a table for each of {', '.join(SHAPES)}, found {record!r}.")
        try:
            tables: dict[str, Any] = {name: record.get(name) if name == PURE else record[name] for name in SHAPES}
            return cls(**tables)
        except KeyError as error:
            raise SynthError(f"style: the table {error} is missing; measure the style again.") from error


def _listed(array: np.ndarray) -> tuple:
    """A table as nested tuples, every digit kept: a `Style` rounds it."""
    return tuple(array.tolist())


def _tuples(array: np.ndarray, digits: int = 6) -> tuple:
    if array.ndim == 1:
        return tuple(round(float(v), digits) for v in array)
    return tuple(_tuples(row, digits) for row in array)


def _windows(array: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Pairs of intensities, rounded to six digits of a width below 1, else to six digits behind the point."""
    out = []
    for modality, (low, high) in zip(MODALITIES, array, strict=True):
        if not high > low:
            raise SynthError(
                f"style: the window of {modality} must go up, found {low:g} to {high:g}; measure the style again."
            )
        digits = 6 - min(int(np.floor(np.log10(high - low))), 0)
        out.append((round(float(low), digits), round(float(high), digits)))
    return tuple(out)


def measure_style(case: Case, layout: Layout) -> Style:
    """The Style of a scan, measured under its own layout.

    A class that the scan does not have (no enhancing tumour, say) gets the value that population ratios give it
    from this scan's own tissues, and spread 0: `spread` 0 marks it as inferred.

    Args:
        case: the scan, on the layout's grid.
        layout: its layout, from `layout.tissue.extract_layout`.
    """
    box = layout.bounding_box(2)
    classes = layout.classes[box]
    brain = classes > 0
    healthy = binary_erosion((classes > 0) & (classes <= Tissue.WM))
    interior = _interior(classes)
    # the rim is half outside the brain and half removed by the skull stripping: not the colour of fluid
    interior &= (classes != Tissue.CSF) | binary_erosion(brain, iterations=RIM)
    flat = binary_erosion(classes == Tissue.WM, iterations=2)
    columns = []
    for m in range(len(MODALITIES)):
        raw = case.images[..., m][box].astype(np.float32)
        present = brain & (raw > 0)
        low, high = own_window(raw[present])
        values = (raw - low) / (high - low)
        shading, field = _measure_shading(raw, classes, present & interior, layout.shape, box)
        unshaded = (raw / field - low) / (high - low)
        mean, spread = _class_table(unshaded, classes, present, interior)
        columns.append(
            (
                mean,
                spread,
                float(np.percentile(local_std(values)[healthy & present], 20)) if (healthy & present).any() else 0.0,
                _grain(values, flat & present),
                shading,
                (low, high),
            )
        )
    mean, spread, texture, sharpness, shading, window = (np.array(part) for part in zip(*columns, strict=True))
    tables = (_infer_absent(mean.T), np.nan_to_num(spread.T), texture, sharpness, shading, window)
    return Style(*map(_listed, tables))


def local_std(values: np.ndarray, size: int = 3) -> np.ndarray:
    """Standard deviation in the cube of `size` voxels around each voxel."""
    mean = uniform_filter(values, size)
    return np.sqrt(np.maximum(uniform_filter(values * values, size) - mean * mean, 0))


def _interior(classes: np.ndarray) -> np.ndarray:
    """Voxels whose six neighbours are of their class: no partial volume there."""
    out = classes > 0
    for axis in range(3):
        for step in (-1, 1):
            out &= np.roll(classes, step, axis) == classes
    return out


def _measure_shading(
    raw: np.ndarray, classes: np.ndarray, sure: np.ndarray, shape: tuple[int, int, int], box: tuple[slice, slice, slice]
) -> tuple[np.ndarray, np.ndarray]:
    """(9,) coefficients and the field in the box; expected intensity and field are estimated in turn."""
    index = tuple(np.nonzero(sure & (classes <= Tissue.WM) & _lattice(box)))
    points = np.stack(index, 1)
    axes = grid_coordinates(shape, box)
    terms = shading_terms(np.stack([axes[a].ravel()[points[:, a]] for a in range(3)], 1).astype(np.float64))
    values, tissue = raw[index].astype(np.float64), classes[index]
    coefficients = np.zeros(len(SHADING_TERMS))
    for _ in range(3):
        corrected = values / np.exp(terms @ coefficients)
        expected = np.ones_like(values)
        for k in np.unique(tissue):
            expected[tissue == k] = np.median(corrected[tissue == k])
        ratio = np.log(values / expected)  # of what is seen, so above 0
        keep = np.abs(ratio) < 0.5  # vessels and partial volume say nothing about the coil
        if keep.sum() < 500:
            return np.zeros(len(SHADING_TERMS)), shading_field(np.zeros(len(SHADING_TERMS)), shape, box)
        coefficients = fit_shading(ratio[keep], terms[keep])
    return coefficients, shading_field(coefficients, shape, box)


def _lattice(box: tuple[slice, slice, slice]) -> np.ndarray:
    """Every 23rd voxel of the grid, evenly spread, in a box: a choice that no other voxel has a say in."""
    x, y, z = (
        np.arange(part.start, part.stop).reshape([-1 if k == axis else 1 for k in range(3)])
        for axis, part in enumerate(box)
    )
    return (x + 7 * y + 10 * z) % 23 == 0


def _class_table(
    values: np.ndarray, classes: np.ndarray, present: np.ndarray, interior: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Median and robust spread per class; NaN where the scan has fewer than 20 voxels of it."""
    mean, spread = np.full(len(CLASSES), np.nan), np.full(len(CLASSES), np.nan)
    for k in range(len(CLASSES)):
        everywhere = present & (classes == k + 1)
        inside = everywhere & interior
        sample = values[inside if np.count_nonzero(inside) >= 200 else everywhere]
        if len(sample) >= 20:
            q25, mean[k], q75 = np.percentile(sample, [25, 50, 75])
            spread[k] = (q75 - q25) / 1.349
    return mean, spread


# Mean difference to white matter of NCR, ED and ET (rows) per modality, over the 12 training cases
# (`benchmarks/fit_style_prior.py`); only used for classes that a scan does not have.
TUMOUR_MINUS_WM = np.array(
    [[-0.171, -0.149, 0.376, 0.389], [-0.102, -0.096, 0.243, 0.368], [-0.081, 0.3, 0.239, 0.323]]
)


def _infer_absent(mean: np.ndarray) -> np.ndarray:
    """Fill NaN rows of the (6, 4) table: a tumour class from white matter, a tissue from the tissues that are there."""
    out, tissues = mean.copy(), len(TISSUES)
    for k, m in np.argwhere(np.isnan(mean[:tissues])):
        out[k, m] = np.nanmean(mean[:tissues, m]) if np.isfinite(mean[:tissues, m]).any() else 0.5
    for k, m in np.argwhere(np.isnan(mean[tissues:])):
        out[tissues + k, m] = out[CLASSES.index("WM"), m] + TUMOUR_MINUS_WM[k, m]
    return out


def _grain(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(3,) Gaussian widths in voxels whose noise has the lag-one correlation of this scan's flat texture."""
    if np.count_nonzero(mask) < 500:
        return np.full(3, 0.6)
    detail = values - gaussian_filter(values, 1.5)
    limit = 3 * np.median(np.abs(detail[mask])) / 0.6745  # an edge or a vessel is not texture
    mask = mask & (np.abs(detail) <= limit)
    out = np.empty(3)
    sigmas, correlations = _correlation_table()
    for axis in range(3):
        head, tail = _pair(axis)
        both = mask[head] & mask[tail]
        power = np.mean(detail[mask] ** 2)
        lag = np.mean(detail[head][both] * detail[tail][both]) / max(power, 1e-12)
        out[axis] = np.interp(lag, correlations, sigmas)
    return out


def _pair(axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    head, tail = [slice(None)] * 3, [slice(None)] * 3
    head[axis], tail[axis] = slice(1, None), slice(None, -1)
    return tuple(head), tuple(tail)


@cache
def _correlation_table() -> tuple[np.ndarray, np.ndarray]:
    """Lag-one correlation, after the same high-pass, of white noise blurred by each sigma (simulated, fixed seed)."""
    noise = np.random.default_rng(0).standard_normal((48, 48, 48)).astype(np.float32)
    sigmas = np.array([0.2, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 0.8, 1.0, 1.25, 1.5])
    correlations = []
    for sigma in sigmas:
        blurred = noise
        for axis in range(3):
            blurred = gaussian_filter1d(blurred, sigma, axis)
        detail = blurred - gaussian_filter(blurred, 1.5)
        head, tail = _pair(0)
        correlations.append(float(np.mean(detail[head] * detail[tail]) / np.mean(detail**2)))
    return sigmas, np.array(correlations)
