"""Splits of data, in memory or streamed, and the pipelines that feed a model from them."""

import dataclasses
import functools
import re
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from training.data.rows import BLOCK
from training.seeds import derived
from zoo.schema import Schema

WINDOW = 16_384  # maximum number of rows of a stream that are shuffled among themselves


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Rows `{"x": (B, *shape) float32, "label": (B,), "id": (B,)}`; `label` only where labels exist, beside them `target`
    where `training.data.targets` put one, and `grey` where x was binarized.

    One of `arrays` (held in memory) and `stream` (read anew on every pass) is there.
    """

    size: int
    arrays: dict[str, np.ndarray] | None = None
    stream: tf.data.Dataset | None = None  # of blocks of rows
    window: int = WINDOW  # rows of a stream that are shuffled among themselves
    dynamic: bool = False  # x are probabilities of ones and zeros, which `training` draws anew in every batch
    shift: int = 0  # pixels by which `training` moves every batch of images at most, along height and width

    def batches(self, batch_size: int = 1000) -> Iterator[dict[str, np.ndarray]]:
        """One pass in the split's own order, as NumPy arrays; of a dynamic split a draw that depends on batch_size alone."""
        for number, batch in enumerate(self._batches(batch_size)):
            if self.dynamic:
                ones = np.random.default_rng(number).random(batch["x"].shape, "float32") < batch["x"]
                batch = batch | {"x": ones.astype("float32")}
            yield batch

    def tail(self, share: float) -> "Split":
        """The last rows of the split, one at least, as a split; of a dynamic one too, whose draws are those of `batches`."""
        size = max(1, int(share * self.size))
        if self.arrays is None:
            return dataclasses.replace(self, size=size, stream=self.stream.unbatch().skip(self.size - size).batch(BLOCK))
        return dataclasses.replace(self, size=size, arrays={name: column[-size:] for name, column in self.arrays.items()})

    def _batches(self, batch_size):
        if self.arrays is None:
            with pipeline_errors():
                yield from map(decoded, self.stream.unbatch().batch(batch_size).prefetch(2).as_numpy_iterator())
        else:
            for start in range(0, self.size, batch_size):
                yield {name: column[start : start + batch_size] for name, column in self.arrays.items()}

    def inputs(self, batch_size: int, drop_remainder: bool = False, check: Callable | None = None) -> tf.data.Dataset:
        """Batches of x, or of (x, target) where there are targets, in the split's own order, for `evaluate` and `predict`;
        `check` as in `training`."""
        if self.arrays is None:
            batches = self.stream.map(lambda block: block["x"]).unbatch().batch(batch_size, drop_remainder)
            batches = batches.map(lambda x: checked(x, check)) if check else batches
            count = self.size // batch_size if drop_remainder else -(-self.size // batch_size)
            batches = _counted(batches, count)
        else:
            columns = (self.arrays["x"], self.arrays["target"]) if "target" in self.arrays else self.arrays["x"]
            batches = tf.data.Dataset.from_tensor_slices(columns).batch(batch_size, drop_remainder).cache()
        return batches.prefetch(tf.data.AUTOTUNE)

    def training(
        self, batch_size: int, steps: int, epochs: range, seed: int = 0, check: Callable | None = None
    ) -> tf.data.Dataset:
        """Batches of x, or of (x, target) where there are targets, for every step of each epoch, shuffled anew in each.

        A batch depends on the seed and on its step alone, so a run that goes on after a kill sees the same batches.

        Args:
            check: called on every batch of a stream, raises ValueError where it is not to be trained on.
        """
        if self.arrays is None:
            batches = self._stream_batches(batch_size, steps, epochs, seed, check)
        else:
            batches = self._shuffled_batches(batch_size, steps, epochs, seed)
        if self.shift or self.dynamic:
            changed = functools.partial(self._changed, seed)
            batches = batches.enumerate(epochs.start * steps).map(changed, num_parallel_calls=tf.data.AUTOTUNE)
        return batches.prefetch(tf.data.AUTOTUNE)

    def _changed(self, seed, step, batch):
        """A batch of x, or of (x, target), shifted and drawn."""
        x, *target = batch if isinstance(batch, tuple) else (batch,)
        if self.shift:
            x = _shifted(x, self.shift, (derived(seed, "shift"), step))
        if self.dynamic:
            x = drawn(x, (derived(seed, "binarize"), step))
        return (x, *target) if target else x

    def _shuffled_batches(self, batch_size, steps, epochs, seed):
        columns = [tf.constant(self.arrays[name]) for name in ("x", "target") if name in self.arrays]

        def batch(step):
            position = step % steps * batch_size + tf.range(batch_size, dtype=tf.int64)
            key = tf.cast(tf.stack([tf.constant(seed, tf.int64), step // steps]), tf.uint32)
            rows = tf.random.experimental.index_shuffle(position, key, self.size - 1)
            taken = tuple(tf.ensure_shape(tf.gather(column, rows), (batch_size, *column.shape[1:])) for column in columns)
            return taken if len(taken) > 1 else taken[0]

        numbers = tf.data.Dataset.range(epochs.start * steps, epochs.stop * steps)
        return numbers.map(batch, num_parallel_calls=tf.data.AUTOTUNE)

    def _stream_batches(self, batch_size, steps, epochs, seed, check):
        windows = self.stream.map(lambda block: block["x"]).unbatch().batch(self.window).enumerate()

        def epoch(number):
            def shuffled(window, x):
                key = tf.random.experimental.stateless_fold_in((derived(seed, "windows"), number), window)
                return tf.random.experimental.stateless_shuffle(x, key)

            return windows.map(shuffled).unbatch().batch(batch_size, drop_remainder=True).take(steps)

        batches = tf.data.Dataset.range(epochs.start, epochs.stop).flat_map(epoch)
        batches = batches.map(lambda x: checked(x, check)) if check else batches
        return _counted(batches, steps * len(epochs))


@dataclasses.dataclass(frozen=True, eq=False)
class Data:
    """The splits of one data set and its schema: what the columns of its rows hold."""

    name: str
    schema: Schema
    train: Split
    validation: Split | None
    test: Split

    @property
    def splits(self) -> dict[str, Split]:
        """By name; only those that are there."""
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: split for name, split in splits.items() if split is not None}

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one example, x."""
        return self.schema["x"].shape

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The names of the classes; None where there are no labels."""
        return self.schema["label"].classes if "label" in self.schema else None


def _shifted(x, shift, key):
    moves = tf.random.stateless_uniform([2], key, -shift, shift + 1, dtype=tf.int32)
    return tf.roll(x, moves, axis=[1, 2])


def drawn(x: tf.Tensor, key: tuple[int, int]) -> tf.Tensor:
    """Ones with the probabilities x, otherwise zeros."""
    return tf.cast(tf.random.stateless_uniform(tf.shape(x), key) < x, tf.float32)


def _counted(batches: tf.data.Dataset, count: int) -> tf.data.Dataset:
    """Says how many batches a stream has, which Keras warns of not knowing."""
    return batches.apply(tf.data.experimental.assert_cardinality(count))


def checked(x, check):
    def look(value):
        check(value)
        return value

    return tf.ensure_shape(tf.numpy_function(look, [x], x.dtype), x.shape)


class pipeline_errors:
    """Within it, a ValueError that our own code raised inside a tf.data pipeline comes out as itself."""

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if isinstance(error, tf.errors.OpError):
            message = re.search(r"ValueError: (Expected .*)", error.message)
            if message:
                raise ValueError(message[1]) from None


def decoded(block: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A block whose ids are text: bytes objects could only be pickled."""
    return block | {"id": np.char.decode(block["id"].astype("S"), "utf-8")}
