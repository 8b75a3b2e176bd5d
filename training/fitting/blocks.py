"""Blocks: several batches, whose steps one compiled call computes, since those of small networks take little longer."""

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from training.data.splits import Data, Split
from training.fitting import mixins

LARGEST = 2**25  # bytes of a block; steps on more take much longer than a call


class Stepping:
    """The step of training of a model that is fitted to blocks."""

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """A step on each batch of a block, in turn; returns the metrics after the last one.

        Args:
            data: x, or (x, target), with an axis of batches in front of the rows'.
        """
        names = []

        def step(number: tf.Tensor) -> tuple[tf.Tensor]:
            names.extend(super(Stepping, self).train_step(tf.nest.map_structure(lambda column: column[number], data)))
            return (number + 1,)

        count = tf.nest.flatten(data)[0].shape[0]
        tf.while_loop(lambda number: number < count, step, (tf.constant(0),))
        results = self.get_metrics_result()
        return {name: results[name] for name in names}


@contextlib.contextmanager
def stepping(model: keras.Model) -> Iterator[None]:
    """A context in which a compiled model is fitted to blocks."""
    model.train_function = None  # which Keras keeps; that of a model outside takes batches
    try:
        with mixins.added(Stepping, model):
            yield
    finally:
        model.train_function = None


def fits(data: Data, count: int, batch_size: int) -> bool:
    """Whether so many batches for training make a block: their rows are of one shape, and not too large."""
    return isinstance(data.train, Split) and 4 * count * batch_size * math.prod(data.shape) <= LARGEST


def blocks(
    split: Split, count: int, batch_size: int, steps: int, epochs: range, seed: int = 0, check: Callable | None = None
) -> tf.data.Dataset:
    """The batches of `split.training`, `count` of them in a block, which has to divide the steps evenly."""
    if split.shift or split.dynamic:  # for which each batch is drawn by itself
        batches = split.training(batch_size, steps, epochs, seed, check)
        return batches.batch(count, drop_remainder=True, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)

    def divided(*columns: tf.Tensor) -> Any:
        parts = tuple(tf.reshape(column, (count, batch_size, *column.shape[1:])) for column in columns)
        return parts if len(parts) > 1 else parts[0]

    return split.training(count * batch_size, steps // count, epochs, seed, check).map(divided)
