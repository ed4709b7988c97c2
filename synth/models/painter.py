"""The painter: a layout in a style as the generator's input (docs/decisions.md).

Every voxel carries its class's intensity under the style, shaded and blurred by the style's point spread, and noise
of the style's level and grain. The generator adds what this lacks. In fluid and vessels, what a scan has beyond that
is mostly anatomy that no layout tells: there noise runs along what is alike.
"""

import numpy as np

from synth.brats import CLASSES, MODALITIES, TISSUES
from synth.layout.detail import (
    EIGHTHS,
    EVEN,
    MIXED,
    NATIVE,
    TONE_STEP,
    VESSEL_LEVELS,
    VESSEL_STEP,
    VOID_LEVELS,
)
from synth.models.runtime import tf
from synth.style.style import GRAINS, P20_OF_RMS, SHAPES, Style

CONDITION_CHANNELS = len(CLASSES) + len(MODALITIES)
_LIT = np.array([VESSEL_STEP * VESSEL_LEVELS * (name == "t1ce") for name in MODALITIES], np.float32)
_PHILOX = 1  # the generator that `tf.random.stateless_normal` takes on a CPU
_RADIUS = 2  # taps on either side; grains above about 1.2 voxels are cut there
_UNLIKE = 0.6  # shares apart, beyond which noise of two voxels has nothing in common (`benchmarks/noise_along.py`)


def style_tensors(
    style: Style, texture_gain=1.0, grain_gain=1.0, *, mixed: bool = False, pure: bool = False
) -> dict[str, np.ndarray]:
    """The numbers of a Style that painting needs, float32: mean (6, 4), shading (4, 9), offset, texture, kernel, blur.

    `offset` (4,) is low / (high - low) of the window: shading multiplies scanner intensities, not normalised ones.
    `kernel` (4, 3, 3) holds the taps 0, 1, 2 of the noise's point spread per modality and axis, `blur` those of the
    painted classes'.

    Args:
        style: the style.
        texture_gain: a factor on the texture, one number or one per modality.
        grain_gain: a factor on the widths of its grain, one number or one per modality; the texture keeps its level.
        mixed: for mixtures: these are as soft as the sharpest of t1, t2 and flair, so `blur` is only what a modality
            is softer than that, such as along thick slices.
        pure: the tissues' means are those of pure tissue, where the style knows them.
    """
    window, sharpness = np.asarray(style.window), np.asarray(style.sharpness)
    return {
        "mean": style.means(pure=pure),
        "shading": np.asarray(style.shading, np.float32),
        "offset": (window[:, 0] / (window[:, 1] - window[:, 0])).astype(np.float32),
        "texture": np.asarray(style.texture, np.float32) * np.asarray(texture_gain, np.float32),
        "kernel": _kernel(sharpness * np.reshape(grain_gain, (-1, 1))),
        "blur": _kernel(_softer(sharpness) if mixed else sharpness),
    }


def style_tensors_spec() -> dict[str, tf.TensorSpec]:
    """Shapes of one batched `style_tensors`."""
    each = (len(MODALITIES),)
    shapes = {
        "mean": SHAPES["mean"],
        "shading": SHAPES["shading"],
        "offset": each,
        "texture": each,
        "kernel": (*each, 3, 3),
        "blur": (*each, 3, 3),
    }
    return {name: tf.TensorSpec((1, *shape), tf.float32) for name, shape in shapes.items()}


def _softer(sigma: np.ndarray) -> np.ndarray:
    """(4, 3) widths that bring the sharpest modality but t1ce, which tells fewest mixtures, to each one's; by axis."""
    return np.sqrt(np.maximum(sigma**2 - sigma[NATIVE].min(0) ** 2, 0))


def _kernel(sigma: np.ndarray) -> np.ndarray:
    """(4, 3) widths to (4, 3, 3) taps 0, 1, 2 of normalised symmetric kernels."""
    sigma = np.clip(sigma, *GRAINS)[..., None]  # below that nothing reaches the next voxel
    taps = np.exp(-0.5 * (np.arange(_RADIUS + 1) / sigma) ** 2)
    return (taps / (taps[..., :1] + 2 * taps[..., 1:].sum(-1, keepdims=True))).astype(np.float32)


def paint(classes, coordinates, tensors, seed, detail=None, white=None) -> dict[str, tf.Tensor]:
    """The generator's inputs for a batch of layouts.

    Args:
        classes: (B, X, Y, Z) uint8, `Layout.classes`.
        coordinates: (B, X, Y, Z, 3) float32, grid coordinates in -1..1 (`grid_coordinates` below).
        tensors: batched `style_tensors`.
        seed: (2,) int32; the noise depends on it alone.
        detail: (B, X, Y, Z, 8) uint8, the layers of `layout.detail.Detail`, for a generator that is conditioned on
            them: healthy voxels are then painted as the mixtures that they are (`style_tensors(mixed=True)`), those of
            tumours in their tones.
        white: (B, X, Y, Z, 4) float32, what noise is made of, of a part of a volume; None: `white_noise` of the seed.

    Returns:
        condition (B, X, Y, Z, 10): one-hot classes and the painted modalities (normalised units, 0 outside the
        brain); noise (B, X, Y, Z, 4) of the style's texture level and grain; coordinates (B, X, Y, Z, 3). With detail,
        this too: (B, X, Y, Z, 4) shares of CSF, GM and WM, less where a voxel is partly void, and vessels, 0..1.
    """
    classes, coordinates = tf.cast(classes, tf.int32), tf.convert_to_tensor(coordinates)
    brain = tf.cast(classes > 0, tf.float32)[..., None]
    onehot = tf.one_hot(classes - 1, len(CLASSES))  # (B, X, Y, Z, 6), all 0 outside
    # outside, a stand-in between CSF and GM keeps the blur from pulling the brain's rim to 0
    table = tf.concat([tf.reduce_mean(tensors["mean"][:, :2], 1, keepdims=True), tensors["mean"]], 1)  # (B, 7, 4)
    flat = tf.gather(table, classes, batch_dims=1)  # (B, X, Y, Z, 4)
    offset = tensors["offset"][:, None, None, None]
    seen = {}
    if detail is not None:
        seen["detail"] = _shares(classes, detail[..., : len(MIXED)])
        tones = detail[..., len(MIXED) :]
        told = (classes > len(TISSUES))[..., None] & (tones > 0)
        flat += TONE_STEP * (tf.cast(tf.where(told, tones, EVEN), tf.float32) - EVEN)
        healthy = brain * tf.cast(classes <= len(TISSUES), tf.float32)[..., None]
        # what is void gives nothing, which is not the window's 0
        lit = tensors["mean"][:, : len(TISSUES)] + offset[:, 0, 0]
        mixed = tf.einsum("bxyzk,bkm->bxyzm", seen["detail"][..., : len(TISSUES)], lit) - offset
        flat = healthy * (mixed + seen["detail"][..., len(TISSUES) :] * _LIT) + (1 - healthy) * flat
    flat = (flat + offset) * _shading(coordinates, tensors["shading"]) - offset
    white = white_noise(tf.shape(flat), seed) if white is None else white
    if detail is not None:
        white = _along(white, seen["detail"])
    modalities = len(MODALITIES)
    smooth = _blur(tf.concat([flat, white], -1), tf.concat([tensors["blur"], tensors["kernel"]], 1))
    level = tensors["texture"] / _unit_texture(tensors["kernel"])
    noise = smooth[..., modalities:] * level[:, None, None, None] * brain
    return {
        "condition": tf.concat([onehot, smooth[..., :modalities] * brain], -1),
        "noise": noise,
        "coordinates": coordinates,
        **seen,
    }


def white_noise(shape, seed, first=None, rows=None) -> tf.Tensor:
    """Standard normal numbers that depend on a seed and their place alone: of a volume, or of some rows of it.

    Args:
        shape: (1, X, Y, Z, C) int32, of the whole volume; Y * Z * C is a multiple of 4.
        seed: (2,) int32.
        first: the first of the rows across X that are wanted; None: all are.
        rows: how many.
    """
    if first is None:
        return tf.random.stateless_normal(shape, seed)
    # what that function does, from a later number on: the counter goes up by one for each four
    raw = tf.raw_ops.StatelessRandomGetKeyCounter(seed=seed)
    skipped = tf.cast(first, tf.uint64) * tf.cast(tf.reduce_prod(shape[2:]) // 4, tf.uint64)
    counter = tf.stack([raw.counter[0] + skipped, raw.counter[1]])
    shape = tf.concat([shape[:1], [rows], shape[2:]], 0)
    return tf.raw_ops.StatelessRandomNormalV2(shape=shape, key=raw.key, counter=counter, alg=_PHILOX)


def wetness(shares):
    """(..., 1), above 0 where there is fluid or a vessel, of the shares (..., 4) that `paint` gives with detail."""
    return shares[..., :1] + shares[..., -1:]


def _along(white, shares):
    """White noise (B, X, Y, Z, 4) that runs along what is alike where there is fluid or a vessel; of unit variance.

    There each voxel has the mean of the noise of the 27 around it, weighted by how near their `_shares` (B, X, Y, Z, 4)
    are to its own (Tukey's biweight: sums and products alone, whose bits no slab changes).
    """
    wet = tf.where(wetness(shares)[..., 0] > 0)
    rows = tf.pad(tf.concat([white, shares], -1), [[0, 0], [1, 1], [1, 1], [1, 1], [0, 0]])
    size = tf.shape(rows, tf.int64)
    strides = tf.stack([size[1] * size[2] * size[3], size[2] * size[3], size[3], 1])
    rows = tf.reshape(rows, [-1, rows.shape[-1]])
    here = tf.reduce_sum(wet * strides, -1)  # in the padded volume, one voxel before
    modalities, total, power = len(MODALITIES), 0.0, 0.0
    own = tf.gather_nd(shares, wet)
    for shift in np.ndindex(3, 3, 3):
        around = tf.gather(rows, here + tf.reduce_sum(strides * [0, *shift]))
        noise, apart = around[:, :modalities], tf.square(around[:, modalities:] - own)
        apart = apart[:, :1] + apart[:, 1:2] + apart[:, 2:3] + apart[:, 3:]
        alike = tf.square(tf.maximum(1 - apart / _UNLIKE**2, 0))
        total += alike * noise
        power += tf.square(alike)
    return tf.tensor_scatter_nd_update(white, wet, total / tf.sqrt(power))


def _shares(classes, mixed):
    """(B, X, Y, Z, 4) shares of CSF, GM and WM, and vessels, 0..1; nothing in tumours, whose class says all."""
    healthy = tf.cast((classes > 0) & (classes <= len(TISSUES)), tf.float32)
    csf, wm, vessels, void = tf.unstack(tf.cast(mixed, tf.float32), num=len(MIXED), axis=-1)
    there = 1 - void / VOID_LEVELS
    csf, wm = csf / EIGHTHS, wm / EIGHTHS
    shares = [csf * there, (1 - csf - wm) * there, wm * there]
    return tf.stack([*shares, vessels / VESSEL_LEVELS], -1) * healthy[..., None]


def _shading(coordinates, coefficients):
    """exp(polynomial) per modality: (B, X, Y, Z, 3) and (B, 4, 9) to (B, X, Y, Z, 4)."""
    mixed = coordinates * tf.gather(coordinates, [1, 0, 0], axis=-1)  # xy, xy, xz
    yz = coordinates[..., 1:2] * coordinates[..., 2:3]
    terms = tf.concat([coordinates, coordinates**2, mixed[..., 1:], yz], -1)  # the order of SHADING_TERMS
    return tf.exp(tf.einsum("bxyzt,bmt->bxyzm", terms, coefficients))


def _blur(values, kernel):
    """Separable symmetric blur, one kernel per batch entry, channel and axis, mirrored at the edge.

    Written as three dense convolutions with diagonal filters: five times faster on CPU than shifts and sums, and
    grouped convolutions do not run there at all.
    """
    channels = kernel.shape[1]
    taps = tf.concat([kernel[..., :0:-1], kernel], -1)  # (B, C, axis, 5)

    def blur_one(arguments):
        volume, weights = arguments
        volume = volume[None]
        for axis in range(3):
            pads = [[0, 0]] * 5
            pads[axis + 1] = [_RADIUS, _RADIUS]
            volume = tf.pad(volume, pads, mode="SYMMETRIC")
            filters = tf.linalg.diag(tf.transpose(weights[:, axis]))  # (5, C, C)
            shape = [1, 1, 1, channels, channels]
            shape[axis] = 2 * _RADIUS + 1
            volume = tf.nn.conv3d(volume, tf.reshape(filters, shape), [1] * 5, "VALID")
        return volume[0]

    if values.shape[0] == 1:
        return blur_one((values[0], taps[0]))[None]
    return tf.map_fn(blur_one, (values, taps), fn_output_signature=values.dtype)


def _unit_texture(kernel):
    """(B, 4): 20th percentile of the local standard deviation (3x3x3) of unit white noise under the kernel."""
    w0, w1, w2 = kernel[..., 0], kernel[..., 1], kernel[..., 2]  # (B, 4, axis)
    power = w0**2 + 2 * w1**2 + 2 * w2**2
    lag1 = (2 * w0 * w1 + 2 * w1 * w2) / power
    lag2 = (2 * w0 * w2 + w1**2) / power
    together = tf.reduce_prod((3 + 4 * lag1 + 2 * lag2) / 9, -1)
    return P20_OF_RMS * tf.sqrt(tf.reduce_prod(power, -1) * (1 - together))


def box_coordinates(shape, box) -> np.ndarray:
    """(X, Y, Z, 3) float32 grid coordinates in -1..1 of `box` (slices that may reach beyond a grid of `shape`)."""
    axes = [
        np.arange(part.start, part.stop, dtype=np.float32) * np.float32(2 / (size - 1)) - 1
        for size, part in zip(shape, box, strict=True)
    ]
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1)
