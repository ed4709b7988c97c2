"""What a scan shows at 1 mm that one class a voxel does not say: shares of tissue, vessels, void, tones of tumours."""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from synth.brats import MODALITIES, Tissue
from synth.errors import LayoutError

EIGHTHS = 8  # of a voxel: what shares are counted in
NATIVE = [m for m, name in enumerate(MODALITIES) if name != "t1ce"]  # in which no contrast agent is bright
VESSEL_LEVELS = 4
VESSEL_STEP = 0.2  # in normalised units of t1ce: how much brighter a level is than the one below
_SOFT = 0.8  # voxels: deviation of the blur by which tissues pass into each other where only their labels are known
VOID_LEVELS = 4
MIXED = {"csf": EIGHTHS, "wm": EIGHTHS, "vessels": VESSEL_LEVELS, "void": VOID_LEVELS}  # name -> largest value
TONE_LEVELS = 63
EVEN = 32  # the tone of a voxel that is as bright as its class
TONE_STEP = 0.025  # in normalised units: how much brighter a tone is than the one below
TONES = {f"tone_{modality}": TONE_LEVELS for modality in MODALITIES}
MAPS = {**MIXED, **TONES}
_NONE: Any = None


@dataclass(frozen=True)
class Detail:
    """The layers of a layout that are finer than its tissue map, on the same grid; 0 outside the brain.

    Attributes:
        csf: (X, Y, Z) uint8, eighths of a voxel that are fluid.
        wm: (X, Y, Z) uint8, eighths that are white matter; what is left of a voxel of the brain is grey matter.
        vessels: (X, Y, Z) uint8, 0 to `VESSEL_LEVELS`: how brightly a contrast agent fills vessels and dura there.
        void: (X, Y, Z) uint8, 0 to `VOID_LEVELS`, quarters of a voxel that give no signal in any modality: bone, air,
            dura, flowing blood, and the edge that skull stripping leaves. Shares are of the rest.
        tone_t1, tone_t1ce, tone_t2, tone_flair: (X, Y, Z) uint8, 1 to `TONE_LEVELS` in tumours: how bright a voxel is
            within its class in that modality, `EVEN` as the class, in steps of `TONE_STEP`; 0 where there is none,
            which is painted as `EVEN`. All 0 if not given, and then not to be written to.
    """

    csf: np.ndarray
    wm: np.ndarray
    vessels: np.ndarray
    void: np.ndarray
    tone_t1: np.ndarray = _NONE
    tone_t1ce: np.ndarray = _NONE
    tone_t2: np.ndarray = _NONE
    tone_flair: np.ndarray = _NONE

    def __post_init__(self) -> None:
        """Check shapes, types and values once; raise `LayoutError` if the layers are not lawful."""
        for name, most in MAPS.items():
            array = getattr(self, name)
            if array is None:
                object.__setattr__(self, name, _no_tones(self.shape))
                continue
            if array.dtype != np.uint8 or array.ndim != 3 or array.shape != self.csf.shape:
                raise LayoutError(
                    f"detail: {name} must be a 3D uint8 array of one shape with the others, found {array.dtype} of "
                    f"shape {array.shape}."
                )
            if array.size and array.max() > most:
                raise LayoutError(f"detail: {name} must be 0 to {most}, found {array.max()}.")
        if self.csf.size and (self.csf + self.wm).max() > EIGHTHS:
            raise LayoutError(f"detail: csf and wm together must be at most {EIGHTHS} eighths, found more.")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Grid size in voxels."""
        x, y, z = self.csf.shape
        return x, y, z

    @property
    def layers(self) -> tuple[np.ndarray, ...]:
        """All maps, in the order of `MAPS`."""
        return tuple(getattr(self, name) for name in MAPS)

    @property
    def mixed(self) -> tuple[np.ndarray, ...]:
        """The maps of what a voxel is mixed of, in the order of `MIXED`."""
        return tuple(getattr(self, name) for name in MIXED)

    @property
    def tones(self) -> tuple[np.ndarray, ...]:
        """The maps of tones, in the order of `brats.MODALITIES`."""
        return tuple(getattr(self, name) for name in TONES)

    @property
    def toned(self) -> bool:
        """Whether any voxel has a tone."""
        return any(tone.any() for tone in self.tones)

    def gm(self, tissue: np.ndarray) -> np.ndarray:
        """(X, Y, Z) uint8, eighths that are grey matter, under the tissue map of the layout."""
        return np.where(tissue > 0, EIGHTHS - self.csf - self.wm, 0).astype(np.uint8)

    def shares(self, tissue: np.ndarray) -> np.ndarray:
        """(X, Y, Z, 3) uint8 eighths of CSF, GM and WM, under the tissue map of the layout."""
        return np.stack([self.csf, self.gm(tissue), self.wm], -1)


@lru_cache(2)
def _no_tones(shape: tuple[int, int, int]) -> np.ndarray:
    """Zeros that all layers share that have no tones: most have none, and four of them are 34 MB."""
    zeros = np.zeros(shape, np.uint8)
    zeros.flags.writeable = False
    return zeros


def bits_a_voxel(layers: Iterable[np.ndarray], brain: np.ndarray) -> float:
    """How much layers (X, Y, Z) uint8 say of a brain: bits a voxel of it, compressed as they are stored."""
    return sum(8 * len(zlib.compress(layer.tobytes(order="F"), 6)) for layer in layers) / max(int(brain.sum()), 1)


def softened(tissue: np.ndarray) -> Detail:
    """The detail of a tissue map (or a part of one) that has none: tissues pass softly into each other, as in scans."""
    parts = [gaussian_filter((tissue == kind).astype(np.float32), _SOFT, mode="constant") for kind in Tissue if kind]
    shares = np.rint(EIGHTHS * np.stack(parts) / np.maximum(sum(parts), 1e-6)).astype(np.uint8) * (tissue > 0)
    wm = np.minimum(shares[2], EIGHTHS - shares[0]) * (tissue > 0)
    return Detail(shares[0], wm, np.zeros_like(tissue), np.zeros_like(tissue))
