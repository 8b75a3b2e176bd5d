"""Splits of data, in memory or streamed, and the pipelines of batches for training and evaluation."""

import dataclasses
import functools
import re
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

import numpy as np
import tensorflow as tf

from training.data.graphs import as_written, tensor
from training.data.rows import BLOCK
from training.seeds import derived
from zoo.schema import Schema

HELD_OUT = 0.1  # of the training split, in place of a validation split
WINDOW = 16_384  # most rows of a stream that are shuffled together


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Rows `{"x": (B, *shape) float32, "label": (B,), "id": (B,)}`; `label` only if there are labels. A predictor's data also
    have `target`, and binarized data have the original values, `grey`.

    Either `arrays` is given (rows in memory) or `stream` (read again in every pass).
    """

    size: int
    arrays: dict[str, np.ndarray] | None = None
    stream: tf.data.Dataset | None = None  # of blocks of rows
    window: int = WINDOW  # rows of a stream that are shuffled together
    dynamic: bool = False  # x are probabilities of 1; `training` draws the ones and zeros again for every batch
    shift: int = 0  # `training` shifts every batch of images by up to this many pixels, along height and width

    def batches(self, batch_size: int = 1000) -> Iterator[dict[str, np.ndarray]]:
        """One pass in the split's own order, as NumPy arrays. The draws of a dynamic split depend only on batch_size."""
        for number, batch in enumerate(self._batches(batch_size)):
            if self.dynamic:
                draws = np.random.default_rng(number).random(batch["x"].shape, "float32") < batch["x"]
                batch = batch | {"x": draws.astype("float32")}
            yield batch

    def tail(self, share: float) -> "Split":
        """The last rows of the split, at least one, as a split."""
        size = max(1, int(share * self.size))
        if self.arrays is None:
            return dataclasses.replace(self, size=size, stream=self.stream.unbatch().skip(self.size - size).batch(BLOCK))
        return dataclasses.replace(self, size=size, arrays={name: column[-size:] for name, column in self.arrays.items()})

    def _batches(self, batch_size: int) -> Iterator[dict[str, np.ndarray]]:
        if self.arrays is None:
            with pipeline_errors():
                yield from map(decoded, self.stream.rebatch(batch_size).prefetch(2).as_numpy_iterator())
        else:
            for start in range(0, self.size, batch_size):
                yield {name: column[start : start + batch_size] for name, column in self.arrays.items()}

    def inputs(self, batch_size: int, drop_remainder: bool = False, check: Callable | None = None) -> tf.data.Dataset:
        """Batches of x, or of (x, target) if there are targets, in the split's own order, for Keras's `evaluate` and `predict`;
        `check` as in `training`."""
        if self.arrays is None:
            batches = self.stream.map(_examples).rebatch(batch_size, drop_remainder)
            batches = batches.map(as_written(functools.partial(checked, check=check))) if check else batches
            count = self.size // batch_size if drop_remainder else -(-self.size // batch_size)
            batches = _counted(batches, count)
        else:
            columns = (self.arrays["x"], self.arrays["target"]) if "target" in self.arrays else self.arrays["x"]
            batches = tf.data.Dataset.from_tensor_slices(columns).batch(batch_size, drop_remainder).cache()
        return batches.prefetch(tf.data.AUTOTUNE)

    def training(
        self, batch_size: int, steps: int, epochs: range, seed: int = 0, check: Callable | None = None
    ) -> tf.data.Dataset:
        """Batches of x, or of (x, target) if there are targets, for all steps of the epochs, each of which has its own order.

        A batch depends only on the seed and on its step, so that a resumed run sees the same batches as an uninterrupted one.

        Args:
            check: called on every batch of a stream; raises ValueError if the values are not valid.
        """
        if self.arrays is None:
            batches = self._stream_batches(batch_size, steps, epochs, seed, check)
        else:
            batches = self._shuffled_batches(batch_size, steps, epochs, seed)
        if self.shift or self.dynamic:
            augment = as_written(functools.partial(self._augmented, seed))
            batches = batches.enumerate(epochs.start * steps).map(augment, num_parallel_calls=tf.data.AUTOTUNE)
        return batches.prefetch(tf.data.AUTOTUNE)

    def _augmented(self, seed: int, step: tf.Tensor, batch: tf.Tensor | tuple) -> tf.Tensor | tuple:
        """A batch of x, or of (x, target), with x shifted and drawn."""
        x, *target = batch if isinstance(batch, tuple) else (batch,)
        if self.shift:
            x = _shifted(x, self.shift, (derived(seed, "shift"), step))
        if self.dynamic:
            x = drawn(x, (derived(seed, "binarize"), step))
        return (x, *target) if target else x

    def _shuffled_batches(self, batch_size: int, steps: int, epochs: range, seed: int) -> tf.data.Dataset:
        columns = [tensor(self.arrays[name]) for name in ("x", "target") if name in self.arrays]

        @as_written
        def batch(step):
            position = step % steps * batch_size + tf.range(batch_size, dtype=tf.int64)
            key = tf.cast(tf.stack([tf.constant(seed, tf.int64), step // steps]), tf.uint32)
            rows = tf.random.experimental.index_shuffle(position, key, self.size - 1)
            taken = tuple(tf.ensure_shape(tf.gather(column, rows), (batch_size, *column.shape[1:])) for column in columns)
            return taken if len(taken) > 1 else taken[0]

        numbers = tf.data.Dataset.range(epochs.start * steps, epochs.stop * steps)
        return numbers.map(batch, num_parallel_calls=tf.data.AUTOTUNE)

    def _stream_batches(self, batch_size: int, steps: int, epochs: range, seed: int, check: Callable | None) -> tf.data.Dataset:
        windows = self.stream.map(_examples).rebatch(self.window).enumerate()

        @as_written
        def epoch(number):
            @as_written
            def shuffled(window, x):
                key = tf.random.experimental.stateless_fold_in((derived(seed, "windows"), number), window)
                return tf.random.experimental.stateless_shuffle(x, key)

            return windows.map(shuffled).rebatch(batch_size, drop_remainder=True).take(steps)

        batches = tf.data.Dataset.range(epochs.start, epochs.stop).flat_map(epoch)
        batches = batches.map(as_written(functools.partial(checked, check=check))) if check else batches
        return _counted(batches, steps * len(epochs))


@dataclasses.dataclass(frozen=True, eq=False)
class Data:
    """A data set: its splits, and the schema, which describes the columns of its rows."""

    name: str
    schema: Schema
    train: Split
    validation: Split | None
    test: Split

    @property
    def splits(self) -> dict[str, Split]:
        """The splits by name; a missing one is left out."""
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: split for name, split in splits.items() if split is not None}

    def joined(self) -> "Data":
        """The data with the rows of the validation split among the training rows; both are in memory."""
        parts = [self.train.arrays, self.validation.arrays]
        arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        train = dataclasses.replace(self.train, size=self.train.size + self.validation.size, arrays=arrays)
        return dataclasses.replace(self, train=train, validation=None)

    @property
    def held_out(self) -> Split:
        """The validation split, or the last tenth of the training split where there is none."""
        return self.validation or self.train.tail(HELD_OUT)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example x."""
        return self.schema["x"].shape

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The names of the classes; None if there are no labels."""
        return self.schema["label"].classes if "label" in self.schema else None


@as_written
def _examples(block: dict[str, tf.Tensor]) -> tf.Tensor:
    return block["x"]


def _shifted(x: tf.Tensor, shift: int, key: tuple) -> tf.Tensor:
    moves = tf.random.stateless_uniform([2], key, -shift, shift + 1, dtype=tf.int32)
    return tf.roll(x, moves, axis=[1, 2])


def drawn(x: tf.Tensor, key: tuple[int, int]) -> tf.Tensor:
    """Draws of 1 with the probabilities x, otherwise 0."""
    return tf.cast(tf.random.stateless_uniform(tf.shape(x), key) < x, tf.float32)


def _counted(batches: tf.data.Dataset, count: int) -> tf.data.Dataset:
    """Declares the number of batches of a stream; without it Keras would warn."""
    return batches.apply(tf.data.experimental.assert_cardinality(count))


def checked(x: tf.Tensor, check: Callable[[np.ndarray], object]) -> tf.Tensor:
    """Returns x; when the pipeline runs, `check` is called on its values and may raise ValueError."""

    def call(value):
        check(value)
        return value

    return tf.ensure_shape(tf.numpy_function(call, [x], x.dtype), x.shape)


class pipeline_errors:
    """A context that turns the error of a tf.data pipeline back into the ValueError that our own code raised in it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if isinstance(error, tf.errors.OpError):
            message = re.search(r"ValueError: (Expected .*)", error.message)
            if message:
                raise ValueError(message[1]) from None


def decoded(block: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A block with its ids as text: an array of bytes objects could only be saved by pickling."""
    return block | {"id": np.char.decode(block["id"].astype("S"), "utf-8")}
