"""`tf.data` with TensorFlow alone: parsed by `features.json`."""

import json

import tensorflow as tf
from told import FOLDERS, check

((name, folder),) = FOLDERS.items()
table = json.loads((folder / "features.json").read_text())
wanted = {key: tf.io.FixedLenFeature(f["shape"], getattr(tf, f["dtype"])) for key, f in table["features"].items()}
paths = [str(folder / shard) for shard in table["shards"]]
seen = 0
for record in tf.data.TFRecordDataset(paths, table["compression"]):
    case = tf.io.parse_single_example(record, wanted)
    shape = case["shape"]
    images = tf.reshape(tf.io.decode_raw(case["images"], tf.int16), tf.concat([shape, [4]], 0))
    labels = tf.reshape(tf.io.decode_raw(case["labels"], tf.uint8), shape)
    check(int(tf.reduce_max(labels)) <= 3 and bool(tf.reduce_any(labels > 0)), "no labels")
    check(not bool(tf.reduce_any(images[..., 0][labels > 0] == 0)), "labels outside the brain")
    seen += 1
check(seen == table["cases"], f"{seen} of {table['cases']} cases")
print(f"{seen} of {table['cases']} cases from {len(paths)} shards")
