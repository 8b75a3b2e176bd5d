"""Rows of arrays from any source, read in blocks `{"x", "label", "id"}`; `label` only if there are classes.

Every source has a fixed test split: its own, or else a fifth of the rows, always the same ones.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from training.data.graphs import as_written

BLOCK = 256  # rows
TEST_SHARE = 0.2
SPLIT_SEED = 0
MINIMUM_ROWS = 10
HELD_OUT = {"test": 0.05, "validation": 0.05}  # shares of what `assigned_splits` assigns; the rest is for training


class Rows(NamedTuple):
    """The number of rows, and the data set that reads them in blocks of up to BLOCK rows, always in the same order."""

    size: int
    blocks: tf.data.Dataset


class Source(NamedTuple):
    """What can be read: training rows start … stop − 1, test rows, and the names of the classes (None: no labels)."""

    train: Callable[[int, int], Rows]
    train_size: int
    test: Rows
    classes: tuple[str, ...] | None


def class_names(labels: np.ndarray | None) -> np.ndarray | None:
    """The distinct labels, sorted, by value if they are all decimal numbers; None if there are no labels, only one, or so many
    that they cannot be classes."""
    if labels is None or labels.dtype.kind not in "biuU":
        return None
    names = np.unique(labels)
    if names.dtype.kind == "U" and all(name.isascii() and name.isdecimal() for name in names):
        names = np.array(sorted(names, key=int))
    return names if 2 <= len(names) <= max(2, len(labels) // 2) else None


def class_numbers(labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The index of each label `(n,)` in the classes."""
    order = np.argsort(classes)
    return order[np.searchsorted(classes, labels, sorter=order)]


def split_by_files(train: Callable, train_size: int, test: Callable, test_size: int, classes: np.ndarray | None) -> Source:
    """A source whose files are split already. The training rows come in a random order that is always the same."""
    order = np.random.default_rng(SPLIT_SEED).permutation(train_size)
    return Source(lambda start, stop: train(order[start:stop]), train_size, test(np.arange(test_size)), _names(classes))


def split_at_random(read: Callable[[np.ndarray], Rows], size: int, classes: np.ndarray | None) -> Source:
    """A source whose rows are split into training and test rows by a random order that is always the same."""
    order = np.random.default_rng(SPLIT_SEED).permutation(size)
    kept = size - max(1, int(TEST_SHARE * size))
    return Source(lambda start, stop: read(order[:kept][start:stop]), kept, read(order[kept:]), _names(classes))


def joined(x: tf.data.Dataset, indices: np.ndarray, ids: np.ndarray, labels: np.ndarray | None) -> Rows:
    """Rows from the blocks of x of rows `indices`, the ids of these rows, and the labels of all rows."""
    columns = {"id": np.char.encode(ids, "utf-8")} | ({} if labels is None else {"label": labels[indices]})
    columns = tf.data.Dataset.from_tensor_slices(columns).batch(BLOCK)
    blocks = tf.data.Dataset.zip(x, columns).map(as_written(lambda x, columns: {"x": x, **columns}))
    return Rows(len(indices), blocks.apply(tf.data.experimental.assert_cardinality(-(-len(indices) // BLOCK))))


def _names(classes: np.ndarray | None) -> tuple[str, ...] | None:
    return None if classes is None else tuple(str(name) for name in classes)


def assigned_splits(count: int) -> np.ndarray:
    """The name of the split that each of `count` items is assigned to at random, always the same."""
    names = np.full(count, "train", dtype=object)
    order, start = np.random.default_rng(SPLIT_SEED).permutation(count), 0
    for name, share in HELD_OUT.items():
        stop = start + max(1, int(share * count))
        names[order[start:stop]] = name
        start = stop
    return names
