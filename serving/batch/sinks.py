"""Shards of a job's output: written completely or not at all, under a name that follows from their rows."""

import json
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from serving.batch.blocks import FILE, REASON, ROW, Block, joined
from serving.columns import npz
from serving.models.servable import TensorSpec
from training.data import table_writers
from training.data.written import Column
from zoo import files
from zoo.schema import Schema

ARRAYS, RECORDS = ".npz", (".tfrecord", ".tfrecord.gz")
ENDINGS = (*table_writers.ENDINGS, ARRAYS, *RECORDS)
MOST_COLUMNS = 4096  # of a table


class Sink(NamedTuple):
    """Where answers go, and how.

    Args:
        base: path of the shards without what tells them apart.
        ending: one of ENDINGS, which says in which form they are.
        outputs: of the signature, by name.
        schema: of those that are columns of a table.
    """

    base: str
    ending: str
    outputs: dict[str, TensorSpec]
    schema: Schema

    def path(self, shard: tuple[int, int]) -> pathlib.Path:
        return pathlib.Path(f"{self.base}-{shard[0]:05d}-{shard[1]:05d}{self.ending}")

    def bad_path(self, shard: tuple[int, int]) -> pathlib.Path:
        return pathlib.Path(f"{self.base}.bad-{shard[0]:05d}-{shard[1]:05d}.jsonl")

    def write(self, blocks: list[Block]) -> tuple[int, int]:
        """Writes a whole shard; returns how many rows are good and bad. What is there already is replaced by the same."""
        blocks, shard = sorted(blocks, key=lambda block: block.rows.start), blocks[0].shard
        bad = {row: wrong for block in blocks for row, wrong in sorted(block.bad.items())}
        if bad:
            lines = [{FILE: file, ROW: row, REASON: reason} for row, (file, reason) in bad.items()]
            text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
            files.write(self.bad_path(shard), lambda new: new.write_text(text, encoding="utf-8", errors="backslashreplace"))
        good = [block for block in blocks if block.size] or [blocks[0]]
        keys, values = joined(good, "keys"), joined(good, "values")
        count = len(keys[ROW])
        values = values or {name: np.zeros((0, *_sizes(spec)), _dtype(spec)) for name, spec in self.outputs.items()}
        files.write(self.path(shard), lambda new: self._writer()(new, keys, values))  # last: where it is, the shard is done
        return count, len(bad)

    def _writer(self) -> Callable:
        if self.ending == ARRAYS:
            return _write_arrays
        return _write_records if self.ending in RECORDS else self._write_table

    def _write_table(self, path: pathlib.Path, keys: Mapping[str, np.ndarray], values: Mapping[str, np.ndarray]) -> None:
        columns, every = {}, {**keys, **{name: values[name] for name in (*self.schema, *values)}}  # a table's in its order
        for name, each in every.items():
            each = _texts(each.astype("int64") if each.dtype.kind == "b" else each)
            if name in self.schema:
                columns[name] = Column(each, self.schema[name])
            else:
                flat = each.reshape(len(each), -1) if each.ndim > 1 else each[:, None]
                columns |= {part: Column(flat[:, place]) for place, part in enumerate(names_of(name, each.shape[1:]))}
        with table_writers.opened(path, [*columns], [*columns]) as writer:
            writer.write({}, columns)


def names_of(name: str, shape: tuple[int, ...]) -> list[str]:
    """The names of the columns of a table that a tensor with rows of this shape becomes: `score`, or `code_0`, `code_1` …"""
    return [f"{name}_{place}" for place in range(int(np.prod(shape)))] if shape else [name]


def require_writable(sink: Sink) -> None:
    """Raises ValueError if the outputs do not fit the form of the shards."""
    if sink.ending == ARRAYS or sink.ending in RECORDS:
        return
    width = sum(len(names_of(name, _sizes(spec))) for name, spec in sink.outputs.items())
    files_ = [name for name in sink.outputs if name.endswith("_bytes")]
    if width > MOST_COLUMNS or files_:
        received = f"{files_[0]}, which are files" if files_ else f"{width:,} numbers a row"
        raise ValueError(
            f"Expected at most {MOST_COLUMNS:,} numbers or texts a row in a table. Received: {received}. Try .npz."
        )


def _sizes(spec: TensorSpec) -> tuple[int, ...]:
    return tuple(size or 1 for size in (spec.shape or ())[1:])


def _dtype(spec: TensorSpec) -> object:
    return object if spec.dtype.kind == "O" else spec.dtype


def _texts(values: np.ndarray) -> np.ndarray:
    """Texts, which a graph gives as bytes."""
    if values.dtype.kind != "O":
        return values
    texts = [each.decode("utf-8", "replace") if isinstance(each, bytes) else each for each in values.ravel().tolist()]
    return np.array([*texts, None], object)[:-1].reshape(values.shape)


def _write_arrays(path: pathlib.Path, keys: Mapping[str, np.ndarray], values: Mapping[str, np.ndarray]) -> None:
    columns = {name: _storable(column) for name, column in {**keys, **values}.items()}
    path.write_bytes(npz(columns))


def _storable(column: np.ndarray) -> np.ndarray:
    """An array without Python objects: texts, or bytes where these are files."""
    if column.dtype.kind != "O":
        return column
    if any(isinstance(each, bytes) and not _is_text(each) for each in column.ravel().tolist()):
        return np.array(column.tolist(), bytes)
    return np.array(["" if each is None else each for each in _texts(column).ravel().tolist()], str).reshape(column.shape)


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _write_records(path: pathlib.Path, keys: Mapping[str, np.ndarray], values: Mapping[str, np.ndarray]) -> None:
    from serving.quiet import tensorflow as tf

    def feature(value) -> tf.train.Feature:
        value = np.asarray(value)
        if value.dtype.kind == "f":
            return tf.train.Feature(float_list=tf.train.FloatList(value=value.ravel()))
        if value.dtype.kind in "iub":
            return tf.train.Feature(int64_list=tf.train.Int64List(value=value.ravel().astype("int64")))
        parts = [each if isinstance(each, bytes) else str(each or "").encode() for each in value.ravel().tolist()]
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=parts))

    columns = {**keys, **values}
    options = tf.io.TFRecordOptions("GZIP" if path.suffix == ".gz" else "")
    with tf.io.TFRecordWriter(os.fspath(path), options) as writer:
        for row in zip(*columns.values(), strict=True):
            features = {name: feature(value) for name, value in zip(columns, row, strict=True)}
            writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
