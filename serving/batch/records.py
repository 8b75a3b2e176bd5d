"""Files of TFRecord as sources, whose records are `tf.train.Example`."""

import pathlib
from collections.abc import Collection, Iterator, Sequence

import numpy as np

from serving.batch.sources import Chunk, Range, Source
from serving.quiet import tensorflow as tf
from zoo.files import reading

KINDS = {"float_list": tf.float32, "int64_list": tf.int64, "bytes_list": tf.string}


class Records(Source):
    """A TFRecord file, which may be compressed by gzip (`.gz`). All records have the features of the first, of its lengths."""

    def __init__(self, name: str):
        super().__init__(name)
        self._compressed = "GZIP" if pathlib.Path(name).suffix == ".gz" else ""
        self._features = {}
        with self._reading():
            for record in self._records().take(1).as_numpy_iterator():
                example = tf.train.Example.FromString(record)
                self._features = dict(map(_feature, example.features.feature.items()))

    def _records(self) -> tf.data.Dataset:
        return tf.data.TFRecordDataset(self.name, self._compressed, buffer_size=2**20)

    def _reading(self):
        return reading(self.name, "complete records of tf.train.Example", "writing that file again")

    @property
    def names(self) -> Sequence[str]:
        return [*self._features]

    def ranges(self, size: int) -> list[Range]:
        return [(0, None)]

    def read(self, rows: Range, wanted: Collection[str], size: int) -> Iterator[Chunk]:
        features, first = {name: each for name, each in self._features.items() if name in wanted}, 0
        with self._reading():
            for records in self._records().batch(size).as_numpy_iterator():
                columns, bad = _parsed(records, features)
                yield Chunk(first, len(records), columns, bad, flat=True)
                first += len(records)


def _feature(item: tuple[str, tf.train.Feature]) -> tuple[str, tf.io.FixedLenFeature]:
    name, feature = item
    kind = feature.WhichOneof("kind") or "float_list"
    length = len(getattr(feature, kind).value)
    return name, tf.io.FixedLenFeature((length,) if length != 1 else (), KINDS[kind])


def _parsed(records: np.ndarray, features: dict) -> tuple[dict[str, np.ndarray], dict[int, str]]:
    """The columns of records, and what is wrong with those that do not have them, which are filled with zeros."""
    if not features:
        return {}, {}
    try:
        return {name: each.numpy() for name, each in tf.io.parse_example(records, features).items()}, {}
    except tf.errors.InvalidArgumentError:
        pass
    columns = {name: np.zeros((len(records), *each.shape), each.dtype.as_numpy_dtype) for name, each in features.items()}
    bad = {}
    for place, record in enumerate(records):
        try:
            for name, value in tf.io.parse_single_example(record, features).items():
                columns[name][place] = value.numpy()
        except tf.errors.InvalidArgumentError as error:
            bad[place] = f"Expected a tf.train.Example like the first one. Received: {error.message.splitlines()[0]}."
    return columns, bad
