"""Rows as every source gives them: blocks of `{"x", "label", "id"}`; `label` only where there are classes.

A source fixes its splits: those that the data bring, otherwise a fifth of the rows is the test split, always the same.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

BLOCK = 256  # rows
TEST_SHARE = 0.2
SPLIT_SEED = 0


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
