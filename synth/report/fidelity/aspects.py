"""All that "fidelity" judges but distributions of intensities: contrasts, borders, texture, spectrum, anatomy."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from synth.brats import CLASSES, MODALITIES, REGIONS
from synth.quality import anatomy, fine, intensity, shells, spectrum, texture
from synth.report.core.aspects import Aspect, Side

FINE = 0.25  # cycles per mm, waves of 4 mm: above it lies what blurring takes and noise adds
BORDERS = (("WT", "flair"), ("ET", "t1ce"))  # what annotators follow
_LOGARITHMIC = ("contrast", "energy", "gradient", "gradient90", "local_sd", "noise")
_LEAST = {"homogeneity": 0.01, "correlation": 0.01, "entropy": 0.1}  # of the others 5 %, under a logarithm
_SAID = {
    "contrast": "co-occurrence contrast",
    "gradient": "mean gradient",
    "gradient90": "steep gradients",
    "local_sd": "local deviation",
}
_LEAST_DB = 0.5
_HEALTHY, _TUMOUR = ("GM", "WM"), ("ED", "ET")
_SHELLS = {
    "surface": "1 to 4 mm below the brain's edge",
    "sulci": "sulci and their banks",
    "rim": "2 mm to either side of the tumour's border",
    "interior": "inside the tumour",
}
_ML = 0.1  # added to volumes under a logarithm: what an annotator's pen leaves


def aspects() -> list[Aspect]:
    """Everything that is judged but the distributions of intensities."""
    return [*_contrasts(), *_borders(), *_textures(), *_spectra(), *_shells(), *_anatomy()]


def _contrasts() -> list[Aspect]:
    out = []
    for m, modality in enumerate(MODALITIES):
        title, read = f"{modality}: differences of class medians", _reader("intensity", "contrast", _at(m))
        out.append(
            Aspect(
                f"fidelity.contrast.{modality}", "Contrast between classes", title, intensity.CONTRAST_NAMES, read, 0.05
            )
        )
    for m, modality in enumerate(MODALITIES):
        title = f"{modality}: standard deviation within each class (logarithm)"
        read = _reader("intensity", "sd", lambda values, m=m: np.log(np.maximum(values[:, m], 1e-3)))
        out.append(Aspect(f"fidelity.spread.{modality}", "Spread within classes", title, CLASSES, read, 0.05))
    return out


def _borders() -> list[Aspect]:
    out = []
    for region, modality in BORDERS:
        title = f"{region}: step of {modality} across the label's border"
        read = _reader("intensity", "step", _at(list(REGIONS).index(region), MODALITIES.index(modality)))
        names = (f"step of {modality}",)
        out.append(Aspect(f"fidelity.border.{region}", "Label borders", title, names, read, 0.1))
    return out


def _textures() -> list[Aspect]:
    out = []
    for m, modality in enumerate(MODALITIES):
        for kind, classes in (("healthy", _HEALTHY), ("tumour", _TUMOUR)):
            names = tuple(
                f"{_SAID.get(feature, feature)} in {name}" for name in classes for feature in texture.FEATURES
            )
            title = f"{modality}: co-occurrence, gradients and noise in {' and '.join(classes)}"
            read = _reader("texture", "features", partial(_texture, m, classes))
            least = tuple(_LEAST.get(feature, 0.05) for _ in classes for feature in texture.FEATURES)
            out.append(Aspect(f"fidelity.texture.{kind}.{modality}", "Texture", title, names, read, least))
    return out


def _spectra() -> list[Aspect]:
    group, out = "Spatial frequencies", []
    for m, modality in enumerate(MODALITIES):
        title = f"{modality}: power in bands of spatial frequency (dB)"
        read = _reader("spectrum", "power", partial(_bands, m))
        out.append(Aspect(f"fidelity.spectrum.{modality}", group, title, spectrum.BAND_NAMES, read, _LEAST_DB))
    for m, modality in enumerate(MODALITIES):
        title = f"{modality}: power above {FINE:g} per mm over that below 0.1 (dB)"
        read = _reader("spectrum", "power", partial(_sharpness, m))
        out.append(Aspect(f"fidelity.sharpness.{modality}", group, title, ("fine detail",), read, _LEAST_DB))
    for m, modality in enumerate(MODALITIES):
        title = f"{modality}: steepest gradients (99th percentile) and kurtosis of the Laplacian (logarithm)"
        read = _reader("fine", "tails", lambda values, m=m: np.log(np.maximum(values[:, m], 1e-3)))
        out.append(Aspect(f"fidelity.tails.{modality}", group, title, fine.TAILS, read, 0.05))
    title = "power along z over that along x and y, above 0.2 per mm (dB)"
    read = _reader("spectrum", "axes", _through_plane)
    return [*out, Aspect("fidelity.spectrum.through_plane", group, title, MODALITIES, read, _LEAST_DB)]


def _shells() -> list[Aspect]:
    group, names = "By place", tuple(f"{name} of {modality}" for modality in MODALITIES for name in shells.STATISTICS)
    out = []
    for k, shell in enumerate(shells.SHELLS):
        title, read = f"{_SHELLS[shell]}: brightness, deviation, edges, grain", _reader("shells", "statistics", _at(k))
        out.append(Aspect(f"fidelity.shell.{shell}", group, title, names, read, 0.05))
    return out


def _anatomy() -> list[Aspect]:
    group, where = "Tissue and tumour volumes", ("x", "y", "z")
    parts = (
        ("tissue", "shares of CSF, GM and WM", anatomy.TISSUES, _anatomical("tissue_share"), 0.005),
        ("brain", "volume of the brain (logarithm)", ("brain",), _volumes(slice(0, 1)), 0.03),
        ("tumour", "volumes of tumour (logarithm)", anatomy.VOLUMES[1:], _volumes(slice(1, None)), 0.2),
        ("composition", "shares of NCR, ED and ET in the tumour", anatomy.PARTS, _anatomical("composition"), 0.03),
        ("place", "centre of the tumour (mm MNI)", where, _anatomical("centroid_mm"), 3.0),
        ("shape", "sphericity, diameter and pieces", anatomy.SHAPE, _anatomical("shape"), (0.03, 3.0, 0.5)),
    )
    return [Aspect(f"fidelity.anatomy.{name}", group, *rest) for name, *rest in parts]


def _reader(probe: str, name: str, pick: Callable[[np.ndarray], np.ndarray]) -> Callable[[Side], np.ndarray]:
    return lambda side: pick(side(probe, name))


def _at(*index: int) -> Callable[[np.ndarray], np.ndarray]:
    """Picks one element along the first axes of each case's array; (cases, numbers)."""
    return lambda values: values[(slice(None), *index)].reshape(len(values), -1)


def _texture(m: int, classes: Sequence[str], values: np.ndarray) -> np.ndarray:
    index = [texture.CLASSES.index(name) for name in classes]
    return texture_scale(values[:, m][:, index]).reshape(len(values), -1)


def texture_scale(values: np.ndarray) -> np.ndarray:
    """(..., 9) features with those that scale with contrast under a logarithm."""
    logarithmic = np.isin(texture.FEATURES, _LOGARITHMIC)
    return np.where(logarithmic, np.log(np.maximum(values, 1e-4)), values)


def _bands(m: int, values: np.ndarray) -> np.ndarray:
    frequency = spectrum.FREQUENCIES
    inside = [(frequency >= low) & (frequency < high) for low, high in spectrum.BANDS]
    return np.stack([values[:, m, band].mean(-1) for band in inside], -1)


def _sharpness(m: int, values: np.ndarray) -> np.ndarray:
    frequency = spectrum.FREQUENCIES
    coarse = (frequency >= spectrum.BANDS[0][0]) & (frequency < 0.1)
    return (values[:, m, frequency >= FINE].mean(-1) - values[:, m, coarse].mean(-1))[:, None]


def _through_plane(values: np.ndarray) -> np.ndarray:
    fine = values[..., -2:].mean(-1)  # (cases, modality, axis)
    return fine[..., 2] - fine[..., :2].mean(-1)


def _anatomical(name: str):
    return _reader("anatomy", name, lambda values: values)


def _volumes(which: slice):
    return _reader("anatomy", "volume_ml", lambda values: np.log(values[:, which] + _ML))
