"""Augmentation of scan and layout together: drawn first, applied after.

Flip (left-right, the only mirror that is anatomy), rotation and elastic deformation move scan and layout alike;
gamma changes the scan and the style's table alike. Drawn from the step's own generator, so step k of a run always
sees the same patch.
"""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from synth.brats import MODALITIES
from synth.errors import ModelError
from synth.layout.warp import Warp, random_field
from synth.shading import SHADING_TERMS, shading_field

_MODALITIES = len(MODALITIES)


@dataclass(frozen=True)
class AugmentConfig:
    """Which augmentations, how often, how strong."""

    flip: float = 0.5  # probability
    warp: float = 0.25  # probability of rotation and elastic; interpolation smooths texture, so not more
    degrees: float = 15.0  # each axis, both ways: heads lie within that
    elastic_mm: float = 2.0  # root mean square displacement
    elastic_step_mm: float = 32.0
    gamma: float = 0.5  # probability, per modality
    gamma_range: tuple[float, float] = (0.8, 1.25)


@dataclass(frozen=True)
class Augmentation:
    """The drawn numbers of one patch."""

    flip: bool
    warp: bool
    degrees: tuple[float, float, float]
    elastic_seed: int
    gamma: tuple[float, float, float, float]


def draw_augmentation(config: AugmentConfig, rng: np.random.Generator) -> Augmentation:
    """Draw the numbers; always the same count of draws, so that one setting does not shift the others."""
    flip, warp = rng.random(2)
    degrees = rng.uniform(-config.degrees, config.degrees, 3)
    use, gamma = rng.random(_MODALITIES), np.exp(rng.uniform(*np.log(config.gamma_range), _MODALITIES))
    return Augmentation(
        flip=bool(flip < config.flip),
        warp=bool(warp < config.warp),
        degrees=tuple(degrees.tolist()),
        elastic_seed=int(rng.integers(2**31)),
        gamma=tuple(np.where(use < config.gamma, gamma, 1.0).tolist()),
    )


@dataclass(frozen=True)
class SegmentationAugment:
    """Flip, rotation, gamma, elastic deformation: one or several of them on a share of the samples.

    As the calibrated Vox2Vox has it. `contrast` (gain, offset and noise per modality, as nnU-Net has) and `shading`
    (what a coil's sensitivity leaves) go beyond it, for training on few scans, and are off for Vox2Vox.
    """

    share: float = 0.75  # of samples that are augmented at all
    kinds: tuple[str, ...] = ("flip", "rotation", "gamma", "elastic")
    degrees: float = 30.0
    elastic_mm: float = 3.0  # root mean square displacement
    elastic_step_mm: float = 32.0
    gamma_range: tuple[float, float] = (0.7, 1.5)
    contrast: float = 0.0  # probability, per modality
    gain_range: tuple[float, float] = (0.75, 1.25)
    offset: float = 0.2  # in standard deviations of the brain, both ways
    noise: float = 0.1  # largest standard deviation of added noise, where contrast is drawn
    shading: float = 0.0  # probability, per modality
    shading_strength: float = 0.15  # standard deviation of each coefficient of the log field

    def __post_init__(self):
        """Raise `ModelError` on kinds and numbers that cannot be drawn."""
        known = ("flip", "rotation", "gamma", "elastic")
        if not set(self.kinds) <= set(known) or not all(0 <= p <= 1 for p in (self.share, self.contrast, self.shading)):
            raise ModelError(
                f"augmentation: kinds of {', '.join(known)} and shares from 0 to 1 expected, found {self}."
            )

    def draw(self, rng: np.random.Generator) -> "DrawnAugmentation":
        """What is done to one sample; always the same count of draws."""
        on = rng.random(len(self.kinds)) < 0.5
        last, augmented = rng.integers(max(len(self.kinds), 1)), rng.random() < self.share
        if self.kinds and not on.any():
            on[last] = True
        used = {kind for kind, chosen in zip(self.kinds, on, strict=True) if chosen and augmented}
        axes = rng.random(3) < 0.5
        degrees = rng.uniform(-self.degrees, self.degrees, 3)
        gamma = np.exp(rng.uniform(*np.log(self.gamma_range), _MODALITIES))
        changed = rng.random(_MODALITIES) < self.contrast
        gain, offset = rng.uniform(*self.gain_range, _MODALITIES), rng.uniform(-self.offset, self.offset, _MODALITIES)
        noise, seed = rng.uniform(0, self.noise, _MODALITIES), int(rng.integers(2**31))
        shaded = rng.random(_MODALITIES) < self.shading
        return DrawnAugmentation(
            self,
            flip=tuple(np.flatnonzero(axes).tolist()) if "flip" in used else (),
            degrees=tuple(degrees.tolist()) if "rotation" in used else (0.0, 0.0, 0.0),
            elastic="elastic" in used,
            gamma=tuple(gamma.tolist()) if "gamma" in used else (1.0,) * _MODALITIES,
            gain=tuple(np.where(changed, gain, 1.0).tolist()),
            offset=tuple(np.where(changed, offset, 0.0).tolist()),
            noise=tuple(np.where(changed, noise, 0.0).tolist()),
            shaded=tuple(shaded.tolist()),
            seed=seed,
        )


@dataclass(frozen=True)
class DrawnAugmentation:
    """The drawn numbers of one patch of a segmenter's training."""

    config: SegmentationAugment
    flip: tuple[int, ...]
    degrees: tuple[float, float, float]
    elastic: bool
    gamma: tuple[float, ...]
    gain: tuple[float, ...]
    offset: tuple[float, ...]
    noise: tuple[float, ...]
    shaded: tuple[bool, ...]
    seed: int

    @property
    def warps(self) -> bool:
        """Whether a margin is needed around the patch."""
        return self.elastic or any(self.degrees)

    def apply(self, images: np.ndarray, coded: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        """The augmented cube of edge `size` from (S, S, S, 4) z-scored images and (S, S, S) codes, 0 outside."""
        if self.warps:
            strength = self.config.elastic_mm if self.elastic else 0.0
            how = AugmentConfig(elastic_mm=strength, elastic_step_mm=self.config.elastic_step_mm)
            moved = Augmentation(False, True, self.degrees, self.seed, (1.0,) * _MODALITIES)
            images, coded, _ = warp_patch(images, coded, moved, how, size)
        if self.flip:
            images, coded = np.flip(images, self.flip), np.flip(coded, self.flip)
        return self._recoloured(images, coded > 0), coded

    def _recoloured(self, images, brain):
        rng = np.random.default_rng(self.seed)
        out = []
        for m in range(images.shape[-1]):
            channel = images[..., m]
            if self.gamma[m] != 1.0 and brain.any():
                channel = _bent(channel, brain, self.gamma[m])
            if self.shaded[m] and brain.any():
                low = channel[brain].min()  # what is multiplied must not be negative
                cube = tuple(slice(0, n) for n in channel.shape)
                coefficients = rng.normal(0, self.config.shading_strength, len(SHADING_TERMS))
                channel = (channel - low) * shading_field(coefficients, channel.shape, cube) + low
            if self.gain[m] != 1.0 or self.offset[m]:
                channel = channel * np.float32(self.gain[m]) + np.float32(self.offset[m])
            if self.noise[m]:
                channel = channel + np.float32(self.noise[m]) * rng.standard_normal(channel.shape, np.float32)
            out.append(channel)
        return np.stack(out, -1)


def _bent(channel, brain, gamma: float):
    """A power of the intensities scaled to 0..1, at the mean and spread they had in the brain."""
    values = channel[brain]
    low, high = np.float32(values.min()), np.float32(values.max())
    bent = ((channel - low) / max(high - low, 1e-6)).clip(0, 1) ** np.float32(gamma)
    inside = bent[brain]
    return (bent - inside.mean()) * (values.std() / max(inside.std(), 1e-6)) + values.mean()


def warp_patch(images, classes, augmentation: Augmentation, config: AugmentConfig, size: int):
    """Rotate and deform a crop about its centre and cut the middle `size` cube.

    Args:
        images: (S, S, S, 4) float32 with S > size.
        classes: (S, S, S) uint8.
        augmentation: the drawn numbers.
        config: the strengths.
        size: edge of the result.

    Returns:
        images (size, size, size, 4) by trilinear, classes by nearest-neighbour interpolation, and the source voxel
        of every output voxel within the crop, (size, size, size, 3) float32.
    """
    margin = (images.shape[0] - size) // 2
    box = (slice(margin, margin + size),) * 3
    field = random_field(box, (1, 1, 1), config.elastic_mm, config.elastic_step_mm, augmentation.elastic_seed)
    centre = (images.shape[0] - 1) / 2
    warp = Warp.about((centre,) * 3, _rotation(augmentation.degrees), (1, 1, 1), fields=(field,))
    lines = np.meshgrid(*[np.arange(p.start, p.stop, dtype=np.float32) for p in box], indexing="ij")
    moved = np.stack([line + d for line, d in zip(lines, field.displacement(box), strict=True)], -1)
    source = moved @ warp.matrix.T.astype(np.float32) + warp.offset.astype(np.float32)
    outside = ((source < 0) | (source > images.shape[0] - 1)).any(
        -1
    )  # a corner turned in from beyond the crop: nothing
    source = np.clip(source, 0, images.shape[0] - 1)
    nearest = np.rint(source).astype(np.int32)
    labels = np.where(outside, 0, classes[nearest[..., 0], nearest[..., 1], nearest[..., 2]])
    return _trilinear(tf.constant(images), tf.constant(source)).numpy(), labels, source


def _rotation(degrees) -> np.ndarray:
    matrix = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        turn = np.eye(3)
        i, j = [a for a in range(3) if a != axis]
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ turn
    return matrix


@tf.function(jit_compile=True, reduce_retracing=True, autograph=False)
def _trilinear(images, source):
    """Gather (S, S, S, C) at (X, Y, Z, 3) source voxels; compiled: one fused pass, 10 times faster than scipy."""
    size = tf.shape(images)[0]
    low = tf.minimum(tf.cast(tf.floor(source), tf.int32), size - 2)
    t = source - tf.cast(low, tf.float32)
    flat = tf.reshape(images, (-1, tf.shape(images)[-1]))
    out = 0.0
    for corner in range(8):
        bit = [(corner >> a) & 1 for a in range(3)]
        index = ((low[..., 0] + bit[0]) * size + low[..., 1] + bit[1]) * size + low[..., 2] + bit[2]
        weight = 1.0
        for a in range(3):
            weight *= t[..., a] if bit[a] else 1 - t[..., a]
        out += weight[..., None] * tf.gather(flat, index)
    return out
