"""TFRecord: cases as `tf.train.Example`s, for `tf.data`; what `synth export --to tfrecord` writes is parsed here.

Files are compressed as a whole (GZIP): a case is 80 MB of voxels, most of them background.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synth.brats import MODALITIES
from synth.case import Case
from synth.errors import DataError, printable
from synth.exporters.nifti import to_int16

if TYPE_CHECKING:
    import tensorflow as tf

COMPRESSION = "GZIP"
LEVEL = 1  # of deflate: three times as fast as the usual one
ENDING = ".tfrecord.gz"
FEATURES: dict[str, dict[str, Any]] = {
    "id": {"dtype": "string", "shape": [], "what": "the case"},
    "synthetic": {"dtype": "int64", "shape": [], "what": "1: painted by synth, 0: a patient's scan"},
    "shape": {"dtype": "int64", "shape": [3], "what": "X, Y, Z in voxels"},
    "affine": {"dtype": "float32", "shape": [16], "what": "voxel to mm, 4 x 4 in rows"},
    "labelled": {"dtype": "int64", "shape": [], "what": "1: labels are known; 0: `labels` is empty"},
    "images": {
        "dtype": "string",
        "shape": [],
        "what": f"int16, little-endian, (X, Y, Z, {len(MODALITIES)}) in rows: {', '.join(MODALITIES)}",
    },
    "labels": {"dtype": "string", "shape": [], "what": "uint8, (X, Y, Z) in rows: 0 nothing, 1 NCR, 2 ED, 3 ET"},
}


def encode(case: Case, *, synthetic: bool) -> bytes:
    """A case as a serialised `tf.train.Example`; the same case gives the same bytes."""
    import tensorflow as tf

    example = tf.train.Example()  # filled in place: a message that is given to another is copied
    features = example.features.feature
    images = np.ascontiguousarray(to_int16(case.images).astype("<i2", copy=False))
    labels = b"" if case.labels is None else np.ascontiguousarray(case.labels).tobytes()
    features["images"].bytes_list.value.append(images.tobytes())
    features["labels"].bytes_list.value.append(labels)
    features["id"].bytes_list.value.append(case.id.encode())
    features["synthetic"].int64_list.value.append(int(synthetic))
    features["shape"].int64_list.value.extend(case.images.shape[:3])
    features["affine"].float_list.value.extend(case.affine.ravel())
    features["labelled"].int64_list.value.append(int(case.labels is not None))
    return example.SerializeToString(deterministic=True)


def parse(record: "tf.Tensor") -> dict[str, "tf.Tensor"]:
    """The case of a serialised record; for `tf.data.TFRecordDataset(paths, "GZIP").map(parse)`.

    Returns:
        `images` (X, Y, Z, 4) int16, `labels` (X, Y, Z) uint8 class indices (all 0 where they are not known), `affine`
        (4, 4) float32, `id`, and `synthetic` and `labelled` as bool.
    """
    import tensorflow as tf

    wanted = {name: tf.io.FixedLenFeature(f["shape"], getattr(tf, f["dtype"])) for name, f in FEATURES.items()}
    found = tf.io.parse_single_example(record, wanted)
    shape, labelled = found["shape"], found["labelled"] > 0
    images = tf.reshape(tf.io.decode_raw(found["images"], tf.int16), tf.concat([shape, [len(MODALITIES)]], 0))
    values = tf.io.decode_raw(found["labels"], tf.uint8)
    labels = tf.cond(labelled, lambda: tf.reshape(values, shape), lambda: tf.zeros(shape, tf.uint8))
    return {
        "images": tf.ensure_shape(images, (None, None, None, len(MODALITIES))),  # (X, Y, Z, 4)
        "labels": tf.ensure_shape(labels, (None, None, None)),  # (X, Y, Z)
        "affine": tf.reshape(found["affine"], (4, 4)),
        "id": found["id"],
        "synthetic": found["synthetic"] > 0,
        "labelled": labelled,
    }


def open_tfrecords(folder: str | os.PathLike) -> "tf.data.Dataset":
    """The parsed cases of an exported folder, in order.

    Raises:
        DataError: there is no such file in the folder.

    Example:
        >>> for case in open_tfrecords("set").shuffle(8): print(case["id"], case["images"].shape)  # doctest: +SKIP
    """
    import tensorflow as tf

    paths = sorted(str(path) for path in Path(folder).glob(f"*{ENDING}"))
    if not paths:
        raise DataError(f"{printable(folder)}: expected files named *{ENDING}, found none; check the path.")
    return tf.data.TFRecordDataset(paths, COMPRESSION).map(parse, num_parallel_calls=tf.data.AUTOTUNE)
