"""Rows of prepared TFDS data sets, parsed in blocks; TFDS goes through them one by one, which takes five times as long."""

import os
from collections.abc import Mapping

import tensorflow as tf
import tensorflow_datasets as tfds

from training.data.graphs import as_written
from training.data.rows import BLOCK

READ_AHEAD = 2**20  # bytes
GROUP = 16  # pictures that are decoded in one turn of a loop, each of which takes as long as decoding a small one


def blocks(builder: tfds.core.DatasetBuilder, split: str, keys: Mapping[str, str]) -> tf.data.Dataset:
    """Blocks of up to BLOCK rows of a split, in the order of its files.

    Args:
        keys: the name of each wanted column, and that of the feature which it is; `tfds_id` is TFDS's name of a row.
    """
    features = builder.info.features
    own = {name: key for name, key in keys.items() if key != "tfds_id"}
    if not _are_plain(builder, own.values()):
        return _one_by_one(builder, split, keys)
    stored = features.get_serialized_info()
    form = {key: tf.io.FixedLenFeature(stored[key].shape, stored[key].dtype) for key in own.values()}

    @as_written
    def parsed(records, file, number):
        columns = tf.io.parse_example(records, form)
        rows = {name: _decoded(features[key], columns[key]) for name, key in own.items()}
        ids = tf.strings.join([file, tf.strings.as_string(number)], "__")
        return rows | dict.fromkeys(keys.keys() - own.keys(), ids)

    parts = [_records(each) for each in builder.info.splits[split].file_instructions]
    records = parts[0]
    for part in parts[1:]:
        records = records.concatenate(part)
    return records.batch(BLOCK).map(parsed, num_parallel_calls=tf.data.AUTOTUNE)


def _decoded(feature: tfds.features.FeatureConnector, column: tf.Tensor) -> tf.Tensor:
    """The values of a feature in rows of which a column `(B,)` is stored; TFDS decodes pictures one by one."""
    if not isinstance(feature, tfds.features.Image):
        return feature.decode_batch_example(column)

    def group(stored):
        return tf.stack([feature.decode_example(each) for each in tf.unstack(stored)])

    count, spec = tf.shape(column)[0], feature.get_tensor_spec()
    full = tf.concat([column, tf.repeat(column[:1], -count % GROUP)], axis=0)
    spec = tf.TensorSpec((GROUP, *spec.shape), spec.dtype)
    groups = tf.map_fn(group, tf.reshape(full, (-1, GROUP)), fn_output_signature=spec)  # (B / GROUP, GROUP, *shape)
    return tf.reshape(groups, (-1, *spec.shape[1:]))[:count]


def _records(file) -> tf.data.Dataset:
    """The records of a part of a file, each with the file's name and its number there."""
    records = tf.data.TFRecordDataset(os.fspath(file.filename), buffer_size=READ_AHEAD).skip(file.skip)
    stop = file.examples_in_shard if file.take < 0 else file.skip + file.take
    name = tf.data.Dataset.from_tensors(os.path.basename(file.filename)).repeat()
    return tf.data.Dataset.zip(records, name, tf.data.Dataset.range(file.skip, stop))


def _are_plain(builder: tfds.core.DatasetBuilder, keys) -> bool:
    """Whether features are stored as one tensor each, of a fixed shape, in files of records."""
    if builder.info.file_format is not tfds.core.FileFormat.TFRECORD:
        return False
    features, stored = builder.info.features, builder.info.features.get_serialized_info()
    shapes = [shape for key in keys for shape in (getattr(stored.get(key), "shape", None), features[key].shape)]
    return all(isinstance(shape, tuple) and None not in shape for shape in shapes)


def _one_by_one(builder: tfds.core.DatasetBuilder, split: str, keys: Mapping[str, str]) -> tf.data.Dataset:
    config = tfds.ReadConfig(add_tfds_id=True, interleave_cycle_length=1)
    dataset = builder.as_dataset(split=split, shuffle_files=False, read_config=config)
    return dataset.map(as_written(lambda row: {name: row[key] for name, key in keys.items()})).batch(BLOCK)
