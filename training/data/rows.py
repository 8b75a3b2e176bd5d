"""Rows as every source gives them: blocks of `{"x", "label", "id"}`; `label` only where there are classes.

A source fixes its splits: those that the data bring, otherwise a fifth of the rows is the test split, always the same.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

BLOCK = 256  # rows
TEST_SHARE = 0.2
SPLIT_SEED = 0
MINIMUM_ROWS = 10
HELD_OUT = {"test": 0.05, "validation": 0.05}  # shares of things that are assigned to splits; the rest is trained on


class Rows(NamedTuple):
    """A number of rows, and the data set that reads them as blocks of up to BLOCK rows, always in the same order."""

    size: int
    blocks: tf.data.Dataset


class Source(NamedTuple):
    """What can be read: rows start … stop − 1 of those to train on, the held-out rows, the classes (None: no labels)."""

    train: Callable[[int, int], Rows]
    train_size: int
    test: Rows
    classes: tuple[str, ...] | None


def distinct(labels: np.ndarray | None) -> np.ndarray | None:
    """The distinct labels, sorted, names that are all whole numbers by their value; None where there are none, only one, or so
    many that they name no classes."""
    if labels is None or labels.dtype.kind not in "biuUS":
        return None
    distinct = np.unique(labels)
    if distinct.dtype.kind == "U" and all(name.isascii() and name.isdecimal() for name in distinct):
        distinct = np.array(sorted(distinct, key=int))
    return distinct if 2 <= len(distinct) <= max(2, len(labels) // 2) else None


def numbered(labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The numbers of labels `(n,)` among the classes."""
    order = np.argsort(classes)
    return order[np.searchsorted(classes, labels, sorter=order)]


def given(train: Callable, train_size: int, test: Callable, test_size: int, classes: np.ndarray | None) -> Source:
    """A split that the files bring; the training rows in a random order that is always the same."""
    order = np.random.default_rng(SPLIT_SEED).permutation(train_size)
    return Source(lambda start, stop: train(order[start:stop]), train_size, test(np.arange(test_size)), _names(classes))


def held_out(read: Callable[[np.ndarray], Rows], size: int, classes: np.ndarray | None) -> Source:
    """A split into rows to train on and a test split, from a random order that is always the same."""
    order = np.random.default_rng(SPLIT_SEED).permutation(size)
    kept = size - max(1, int(TEST_SHARE * size))
    return Source(lambda start, stop: read(order[:kept][start:stop]), kept, read(order[kept:]), _names(classes))


def beside(x: tf.data.Dataset, indices: np.ndarray, ids: np.ndarray, labels: np.ndarray | None) -> Rows:
    """Rows from blocks of x of the row numbers `indices`, with their ids and their labels, which go by row number."""
    columns = {"id": np.char.encode(ids, "utf-8")} | ({} if labels is None else {"label": labels[indices]})
    columns = tf.data.Dataset.from_tensor_slices(columns).batch(BLOCK)
    blocks = tf.data.Dataset.zip(x, columns).map(lambda x, columns: {"x": x, **columns})
    return Rows(len(indices), blocks.apply(tf.data.experimental.assert_cardinality(-(-len(indices) // BLOCK))))


def _names(classes: np.ndarray | None) -> tuple[str, ...] | None:
    return None if classes is None else tuple(str(name) for name in classes)


def assigned(count: int) -> np.ndarray:
    """The split to which each of `count` things is assigned, always the same."""
    sides = np.full(count, "train", dtype=object)
    order, start = np.random.default_rng(SPLIT_SEED).permutation(count), 0
    for name, share in HELD_OUT.items():
        stop = start + max(1, int(share * count))
        sides[order[start:stop]] = name
        start = stop
    return sides
