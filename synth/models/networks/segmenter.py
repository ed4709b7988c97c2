"""The segmenters: four modalities to label probabilities, as Vox2Vox's generator or as a 3D U-Net."""

import keras
from keras import layers

from synth.brats import MODALITIES
from synth.models.configs import LABELS, SegmenterConfig
from synth.models.networks.layers import DepthToSpace, Doubled, SpaceToDepth, convolution_block, grow, instance_norm


def build_segmenter(config: SegmenterConfig | None = None) -> keras.Model:
    """The network: images (B, X, Y, Z, 4), z-scored in the brain and 0 outside, to a dict of probabilities.

    `probabilities` is (B, X, Y, Z, 4) over none, NCR, ED, ET; with deep supervision `half` and `quarter` are those at
    lower resolutions. X, Y and Z must be multiples of 16.
    """
    config = config or SegmenterConfig()
    return (_vox2vox if config.arch == "vox2vox" else _unet3d)(config)


def build_patchgan(width: int = 64) -> keras.Model:
    """Vox2Vox's discriminator: scans together with the labels they should have, judged patch by patch.

    Four convolutions with kernels of 4 and stride 2, instance norm in all but the first, and a linear score. Inputs:
    condition (B, X, Y, Z, 4), image (B, X, Y, Z, 4) of label probabilities. Outputs: a list, the last features and the
    scores (B, X/16, Y/16, Z/16, 1).
    """
    condition = keras.Input((None, None, None, len(MODALITIES)), name="condition")
    image = keras.Input((None, None, None, LABELS), name="image")
    x = layers.Concatenate()([condition, image])
    for level in range(4):
        x = layers.Conv3D(width * 2**level, 4, 2, "same", kernel_initializer="he_normal", name=f"d{level}_conv")(x)
        x = instance_norm(x, f"d{level}_norm") if level else x
        x = layers.LeakyReLU(negative_slope=0.2, name=f"d{level}_act")(x)
    score = layers.Conv3D(1, 4, padding="same", kernel_initializer="he_normal", name="score")(x)
    return keras.Model({"condition": condition, "image": image}, [x, score], name="patchgan")


def _vox2vox(config: SegmenterConfig) -> keras.Model:
    """Vox2Vox's generator (Cirillo et al. 2020, arXiv:2003.13653): kernels of 4, stride 2, a bottleneck of four.

    Each of the four convolutions there sees the outputs of the two before it: 1024 channels at 64 filters.
    """
    width = config.width
    images = keras.Input((None, None, None, len(MODALITIES)), name="images")
    x, skips = images, []
    for level, factor in enumerate((1, 2, 4, 8)):
        x = layers.Conv3D(width * factor, 4, 2, "same", kernel_initializer="he_normal", name=f"down{level}_conv")(x)
        x = instance_norm(x, f"down{level}_norm") if level else x
        x = layers.LeakyReLU(negative_slope=0.2, name=f"down{level}_act")(x)
        skips.append(x)
    last = x
    for block in range(4):
        y = layers.Dropout(config.dropout, name=f"bottom{block}_drop")(x)
        y = layers.Conv3D(width * 8, 4, 1, "same", kernel_initializer="he_normal", name=f"bottom{block}_conv")(y)
        y = layers.LeakyReLU(negative_slope=0.2, name=f"bottom{block}_act")(instance_norm(y, f"bottom{block}_norm"))
        x, last = layers.Concatenate(name=f"bottom{block}_join")([y, last]), y
    for level, factor in ((2, 4), (1, 2), (0, 1)):
        x = layers.Conv3DTranspose(
            width * factor, 4, 2, "same", kernel_initializer="he_normal", name=f"up{level}_conv"
        )(x)
        x = layers.LeakyReLU(negative_slope=0.2, name=f"up{level}_act")(instance_norm(x, f"up{level}_norm"))
        x = layers.Concatenate(name=f"up{level}_join")([x, skips[level]])
    logits = grow(x, LABELS, "logits")
    return keras.Model({"images": images}, {"probabilities": _softmax(logits, "probabilities")}, name="vox2vox")


def _unet3d(config: SegmenterConfig) -> keras.Model:
    """A 3D U-Net (Cicek et al. 2016, arXiv:1606.06650) on 2x2x2-packed voxels, with instance norm.

    Four levels of two convolutions down, one up. Packing keeps every voxel in view at an eighth of the cost of a first
    level at full resolution.
    """
    width = config.width
    images = keras.Input((None, None, None, len(MODALITIES)), name="images")
    x, skips = SpaceToDepth(name="pack")(images), []
    for level in range(4):
        x = convolution_block(x, width * 2**level, f"down{level}", strides=2 if level else 1)
        x = convolution_block(x, width * 2**level, f"down{level}b")
        if level < 3:
            skips.append(x)
    x = layers.Dropout(config.dropout, name="bottom_drop")(x)
    outputs, names = {}, {2: "quarter", 1: "half"}
    for level in (2, 1, 0):
        x = layers.Conv3D(width * 2**level, 1, name=f"up{level}_reduce")(x)
        x = Doubled(name=f"up{level}_grow")(x)
        x = layers.Concatenate(name=f"up{level}_join")([x, skips[level]])
        x = convolution_block(x, width * 2**level, f"up{level}")
        if config.deep_supervision and level in names:
            low = layers.Conv3D(LABELS, 1, name=f"{names[level]}_logits")(x)
            low = Doubled(name=f"{names[level]}_grow")(low)  # voxels are packed by two already
            outputs[names[level]] = _softmax(low, names[level])
    logits = DepthToSpace(name="unpack")(layers.Conv3D(8 * LABELS, 3, padding="same", name="logits")(x))
    outputs["probabilities"] = _softmax(logits, "probabilities")
    return keras.Model({"images": images}, outputs, name="unet3d")


def _softmax(logits, name: str):
    return layers.Activation("softmax", dtype="float32", name=name)(logits)
