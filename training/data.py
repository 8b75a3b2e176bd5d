"""Data for a run: splits in memory or streamed, and the pipelines that feed a model from them."""

import os
import pathlib
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from training.catalogue import open_catalogue
from training.folders import open_folder
from training.rows import BLOCK, Rows, Source
from training.seeds import derived
from training.user_files import open_arrays
from zoo.likelihoods import require_finite

SPLITS = ("test", "validation", "train")
WINDOW = 16_384  # most rows of a stream that are shuffled among themselves


class Split(NamedTuple):
    """Rows `{"x": (B, *shape) float32, "label": (B,), "id": (B,)}`; `label` only where labels exist, beside them `target`
    where `training.targets` put one, and `grey` where x was binarized.

    One of `arrays` (held in memory) and `stream` (read anew on every pass) is there.
    """

    size: int
    arrays: dict[str, np.ndarray] | None = None
    stream: tf.data.Dataset | None = None  # of blocks of rows
    window: int = WINDOW  # rows of a stream that are shuffled among themselves
    dynamic: bool = False  # x are probabilities of ones and zeros, which `training` draws anew in every batch

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
            return self._replace(size=size, stream=self.stream.unbatch().skip(self.size - size).batch(BLOCK))
        return self._replace(size=size, arrays={name: column[-size:] for name, column in self.arrays.items()})

    def _batches(self, batch_size):
        if self.arrays is None:
            with clear_errors():
                yield from map(_plain, self.stream.unbatch().batch(batch_size).prefetch(2).as_numpy_iterator())
        else:
            for start in range(0, self.size, batch_size):
                yield {name: column[start : start + batch_size] for name, column in self.arrays.items()}

    def inputs(self, batch_size: int, drop_remainder: bool = False, check: Callable | None = None) -> tf.data.Dataset:
        """Batches of x, or of (x, target) where there are targets, in the split's own order, for `evaluate` and `predict`;
        `check` as in `training`."""
        if self.arrays is None:
            batches = self.stream.map(lambda block: block["x"]).unbatch().batch(batch_size, drop_remainder)
            batches = batches.map(lambda x: _checked(x, check)) if check else batches
            count = self.size // batch_size if drop_remainder else -(-self.size // batch_size)
            batches = _counted(batches, count)
        else:
            columns = (self.arrays["x"], self.arrays["target"]) if "target" in self.arrays else self.arrays["x"]
            batches = tf.data.Dataset.from_tensor_slices(columns).batch(batch_size, drop_remainder).cache()
        return batches.prefetch(tf.data.AUTOTUNE)

    def training(
        self, batch_size: int, steps: int, epochs: range, seed: int = 0, shift: int = 0, check: Callable | None = None
    ) -> tf.data.Dataset:
        """Batches of x, or of (x, target) where there are targets, for every step of each epoch, shuffled anew in each.

        A batch depends on the seed and on its step alone, so a run that goes on after a kill sees the same batches.

        Args:
            shift: move every batch of images by up to this many pixels along height and width, around the edges.
            check: called on every batch of a stream, raises ValueError where it is not to be trained on.

        Raises:
            ValueError: a shift of examples that are no images.
        """
        if self.arrays is None:
            batches = self._stream_batches(batch_size, steps, epochs, seed, check)
        else:
            batches = self._shuffled_batches(batch_size, steps, epochs, seed)
        if shift or self.dynamic:

            def changed(step, batch):
                x, *target = batch if isinstance(batch, tuple) else (batch,)
                if shift:
                    x = _shifted(x, shift, (derived(seed, "shift"), step))
                if self.dynamic:
                    x = _drawn(x, (derived(seed, "binarize"), step))
                return (x, *target) if target else x

            batches = batches.enumerate(epochs.start * steps).map(changed, num_parallel_calls=tf.data.AUTOTUNE)
        return batches.prefetch(tf.data.AUTOTUNE)

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
        batches = batches.map(lambda x: _checked(x, check)) if check else batches
        return _counted(batches, steps * len(epochs))


class Data(NamedTuple):
    """The splits of one data set, the shape of one example, and the classes' names (None: no labels)."""

    name: str
    shape: tuple[int, ...]
    train: Split
    validation: Split | None
    test: Split
    classes: tuple[str, ...] | None

    @property
    def splits(self) -> dict[str, Split]:
        """By name; only those that are there."""
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: split for name, split in splits.items() if split is not None}


def load(
    dataset: str,
    validation: float = 0.0,
    memory_gib: float = 2.0,
    image_size: int = 0,
    binarize: str = "none",
    left_out: int = -1,
) -> Data:
    """Opens a data set.

    Args:
        dataset: a TFDS name (`digits` needs no download), `folder:DIR` of images, `npz:FILE` or `npy:FILE`.
        validation: share of the training split, its last rows, set apart.
        memory_gib: a split up to this size as float32 is held in memory, a larger one is streamed, except that the arrays of
            an npz file are read whole.
        image_size: height and width to which the images of a folder are cropped and resized; 0: as they are.
        binarize: `static`: every value in [0, 1] becomes 1 with that probability, otherwise 0, once and for all; `dynamic`: the
            training split is drawn anew in every epoch, the other splits once.
        left_out: number of a class that the training and validation splits are without; the test split has it.

    8-bit integers are scaled to [0, 1], everything else is taken as it is.

    Raises:
        ValueError: no such data, or not of the form that the source reads.
    """
    source = _open(dataset, image_size)
    kept = source.train_size - int(validation * source.train_size)
    ranges = {"train": (0, kept), "validation": (kept, source.train_size)}
    rows = {name: source.train(start, stop) for name, (start, stop) in ranges.items() if stop > start} | {"test": source.test}
    shape = tuple(source.test.blocks.element_spec["x"].shape[1:])
    if source.test.blocks.element_spec["x"].dtype == tf.string:
        raise ValueError(f"Expected numbers. Received: {dataset!r}, whose examples are text. Try digits or mnist.")
    if None in shape:
        raise ValueError(
            f"Expected examples of one shape. Received: {dataset!r} with examples of shape {shape}. Try saving the images "
            "and --dataset=folder:DIR --image_size=64."
        )
    if binarize != "none":
        drawn = rows if binarize == "static" else {name: part for name, part in rows.items() if name != "train"}
        rows |= {name: _drawn_once(part, SPLITS.index(name)) for name, part in drawn.items()}
    splits = {name: _split(part, memory_gib) for name, part in rows.items()}
    if binarize == "dynamic":
        _require_probabilities(next(splits["train"].batches())["x"])
        splits["train"] = splits["train"]._replace(dynamic=True)
    if left_out >= 0:
        for name in splits.keys() - {"test"}:
            splits[name] = _without(splits[name], left_out, source.classes)
    return Data(dataset, shape, splits["train"], splits.get("validation"), splits["test"], source.classes)


def _open(name: str, image_size: int) -> Source:
    kind, _, path = name.partition(":")
    if kind not in ("folder", "npz", "npy"):
        return open_catalogue(name)
    if not os.path.exists(path):
        raise ValueError(f"Expected a path that exists. Received: {name!r}. Try the full path after '{kind}:'.")
    return open_folder(pathlib.Path(path), image_size) if kind == "folder" else open_arrays(pathlib.Path(path))


def _split(rows: Rows, memory_gib: float) -> Split:
    blocks = rows.blocks.map(_as_float, num_parallel_calls=tf.data.AUTOTUNE)
    row_bytes = 4 * int(np.prod(blocks.element_spec["x"].shape[1:], dtype="int64"))
    if rows.size * row_bytes > memory_gib * 2**30:
        fitting = int(memory_gib * 2**30 / (4 * row_bytes))  # a window is there several times over while it is shuffled
        return Split(rows.size, stream=blocks, window=int(np.clip(fitting, 256, WINDOW)))
    with clear_errors():
        read = [_plain(block) for block in blocks.as_numpy_iterator()]
    return Split(rows.size, arrays={name: np.concatenate([block[name] for block in read]) for name in read[0]})


def _plain(block: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return block | {"id": np.char.decode(block["id"].astype("S"), "utf-8")}  # bytes objects could only be pickled


def _as_float(block):
    x = block["x"]
    if x.dtype.is_floating or x.dtype.size == 8:  # other integers are far from what float32 cannot square

        def look(values, ids):
            require_finite(values, [name.decode() for name in ids])
            return values

        x = tf.ensure_shape(tf.numpy_function(look, [x, block["id"]], x.dtype), x.shape)
    return block | {"x": _scaled(x)}


def _scaled(x):
    return tf.cast(x, tf.float32) / (255.0 if x.dtype == tf.uint8 else 1.0)


def _shifted(x, shift, key):
    if len(x.shape) != 4:
        raise ValueError(f"Expected images (height, width, channels) to shift. Received: shape {x.shape[1:]}. Try shift=0.")
    moves = tf.random.stateless_uniform([2], key, -shift, shift + 1, dtype=tf.int32)
    return tf.roll(x, moves, axis=[1, 2])


def _drawn(x, key):
    return tf.cast(tf.random.stateless_uniform(tf.shape(x), key) < x, tf.float32)


def _drawn_once(rows: Rows, split: int) -> Rows:
    """Rows whose x are ones and zeros, with the probabilities of the rows' own, which stay beside them as `grey`; the draws of
    each split are its own."""

    def draw(number, block):
        x = _checked(_scaled(block["x"]), _require_probabilities)
        return block | {"x": _drawn(x, (split, number)), "grey": x}

    return rows._replace(blocks=rows.blocks.enumerate().map(draw))


def _require_probabilities(x: np.ndarray) -> None:
    if not (x.min() >= 0 and x.max() <= 1):
        raise ValueError(
            f"Expected values in [0, 1] to binarize. Received: values in [{x.min():g}, {x.max():g}]. Try binarize=none."
        )


def _without(split: Split, label: int, classes: tuple[str, ...] | None) -> Split:
    if split.arrays is None or "label" not in split.arrays or label >= len(classes):
        raise ValueError(
            f"Expected a class to leave out, of data with labels that fit in memory. Received: left_out={label}, "
            f"classes {', '.join(classes or ()) or 'none'}. Try left_out=-1, or a higher memory_gib."
        )
    kept = split.arrays["label"] != label
    return split._replace(size=int(kept.sum()), arrays={name: column[kept] for name, column in split.arrays.items()})


def _counted(batches: tf.data.Dataset, count: int) -> tf.data.Dataset:
    """Says how many batches a stream has, which Keras warns of not knowing."""
    return batches.apply(tf.data.experimental.assert_cardinality(count))


def _checked(x, check):
    def look(value):
        check(value)
        return value

    return tf.ensure_shape(tf.numpy_function(look, [x], x.dtype), x.shape)


class clear_errors:
    """Within it, a ValueError that our own code raised inside a tf.data pipeline comes out as itself."""

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if isinstance(error, tf.errors.OpError):
            message = re.search(r"ValueError: (Expected .*)", error.message)
            if message:
                raise ValueError(message[1]) from None
