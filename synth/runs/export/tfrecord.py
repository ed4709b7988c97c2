"""TFRecord shards for `tf.data` (`synth.exporters.tfrecord` parses them), with their features in a JSON beside them."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from synth.brats import MODALITIES
from synth.case import Case
from synth.disk.files import atomic_path, sha256_file
from synth.exporters.nifti import to_int16
from synth.exporters.tfrecord import COMPRESSION, ENDING, FEATURES, LEVEL, encode
from synth.runs.export.content import Content
from synth.runs.export.items import Item
from synth.runs.export.target import Options, Target

TABLE = "features.json"


class TfRecord(Target):
    """`synth-00000-of-00004.tfrecord.gz` and so on, some cases each."""

    name = "tfrecord"
    options = ("per_shard",)
    tables = (TABLE,)
    at_a_time = 2  # as much as TensorFlow, and 80 MB of voxels several times over
    flushed = 1

    def __init__(self, out, options: Options):
        super().__init__(out, options)
        self._shards: dict[int, str] = {}  # index of its first case -> name

    def batches(self, items: Sequence[Item]) -> list[Sequence[Item]]:
        """A shard each."""
        size = self.chosen.per_shard
        parts = [items[start : start + size] for start in range(0, len(items), size)]
        self._shards = {
            part[0].index: f"synth-{number:05d}-of-{len(parts):05d}{ENDING}" for number, part in enumerate(parts)
        }
        return parts

    def names(self, items: Sequence[Item]) -> list[str]:
        """The shard."""
        return [self._shards[items[0].index]]

    def write(self, batch: Iterable[Content]) -> list[dict[str, str]]:
        """A shard, whole or not at all; its checksum stands with its first case."""
        from synth.models.runtime import tf

        options = tf.io.TFRecordOptions(compression_type=COMPRESSION, compression_level=LEVEL)
        files: list[dict[str, str]] = []
        contents = iter(batch)
        first = next(contents)
        path = self.out / self._shards[first.item.index]
        with atomic_path(path) as partial, tf.io.TFRecordWriter(str(partial), options) as writer:
            for content in chain([first], contents):
                writer.write(encode(_case(content), synthetic=not content.item.real))
                files.append({})
        files[0][path.name] = sha256_file(path)
        return files

    def finish(self, items: Sequence[Item], records: Sequence[Mapping[str, Any]]) -> list[str]:
        """What is in a record."""
        shards = [name for record in records for name in record["files"]]
        self.put.json(
            TABLE,
            {
                "compression": COMPRESSION,
                "parse": "synth.exporters.tfrecord.parse",
                "cases": len(items),
                "shards": shards,
                "features": FEATURES,
            },
        )
        return []


def _case(content: Content) -> Case:
    """The case under its new id, in the types of the records."""
    volumes = [content.image(modality) for modality in MODALITIES]
    images = np.empty((*volumes[0][0].shape, len(volumes)), np.int16)
    arrays = [to_int16(array) for array, _ in volumes]
    for y in range(images.shape[1]):  # plane by plane, which the processor's cache holds: a sixth of the time
        for channel, array in enumerate(arrays):
            images[:, y, :, channel] = array[:, y]
    labels = content.labels
    return Case(content.item.id, images, None if labels is None else labels[0], volumes[0][1])
