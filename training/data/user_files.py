"""The user's own files of NumPy arrays."""

import contextlib
import pathlib
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
import tensorflow as tf

from training.data.graphs import as_written
from training.data.rows import (
    BLOCK,
    MINIMUM_ROWS,
    Rows,
    Source,
    class_names,
    class_numbers,
    joined,
    split_at_random,
    split_by_files,
)

LARGEST_READ = 2**30  # bytes of a file that is read at once
DATA, LABELS = ("x", "image", "images", "data"), ("y", "label", "labels")  # names in npz files


def open_arrays(path: pathlib.Path) -> Source:
    """Opens the array of a `.npy` file, or the arrays x and, optionally, y of an `.npz` file.

    Raises:
        ValueError: not a NumPy file, one with pickled objects, or no rows of numbers.
    """
    with _clear_errors(path):
        arrays = _arrays(path)
        if "x_train" in arrays and "x_test" in arrays:
            return _open_parts(arrays, path)
        others = [name for name in arrays if name not in LABELS]
        x, labels = _first(arrays, (*DATA, *others)), _as_labels(_first(arrays, LABELS), path)
    _require_rows(x, labels, path)
    classes = class_names(labels)
    return split_at_random(_array_reader(x, labels, classes), len(x), classes)


def array(path: pathlib.Path) -> np.ndarray:
    """The array of a `.npy` file, or the array x of an `.npz` file, whatever it holds.

    Raises:
        ValueError: not a NumPy file, one with pickled objects, or one without arrays.
    """
    with _clear_errors(path):
        arrays = _arrays(path)
        found = _first(arrays, (*DATA, *(name for name in arrays if name not in LABELS)))
    if found is None:
        raise ValueError(f"Expected an array. Received: none in {path}. Try numpy.save.")
    return np.asarray(found)


def _arrays(path: pathlib.Path) -> Mapping[str, np.ndarray]:
    """The arrays of a file by name; an npz file reads them on access."""
    mapped = path.stat().st_size > LARGEST_READ  # a mapped file that is cut meanwhile ends the process without a word
    arrays = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    return {"x": arrays} if isinstance(arrays, np.ndarray) else arrays


def _first(arrays: Mapping[str, np.ndarray], names: Iterable[str]) -> np.ndarray | None:
    return next((arrays[name] for name in names if name in arrays), None)


def _as_labels(labels: np.ndarray | None, path: pathlib.Path) -> np.ndarray | None:
    """Labels as integers or texts, if they are classes: numbers that are all integers, and bytes, too."""
    if labels is not None and labels.dtype.kind == "S":
        return np.char.decode(labels, "utf-8")
    if labels is not None and labels.dtype.kind == "f":
        if np.isfinite(labels).all() and (labels == np.round(labels)).all():
            return labels.astype("int64")
        print(f"labels of {path} are not used: they are no classes, but numbers such as {labels.flat[0]:g}", file=sys.stderr)
        return None
    return labels


@contextlib.contextmanager
def _clear_errors(path: pathlib.Path) -> Iterator[None]:
    """Within it, what NumPy says of a file that it cannot read becomes one sentence."""
    try:
        yield
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        if str(error).startswith("Expected"):
            raise
        raise ValueError(
            f"Expected a NumPy file without pickled objects. Received: {path} ({error}). Try numpy.savez."
        ) from None


def _open_parts(arrays: Mapping[str, np.ndarray], path: pathlib.Path) -> Source:
    """An npz file that is split already, as those of Keras are: x_train, x_test and, optionally, y_train, y_test."""
    x = {part: arrays[f"x_{part}"] for part in ("train", "test")}
    labelled = "y_train" in arrays and "y_test" in arrays
    labels = {part: _as_labels(arrays[f"y_{part}"], path) if labelled else None for part in x}
    for part in x:
        _require_rows(x[part], labels[part], path)
    if x["train"].shape[1:] != x["test"].shape[1:]:
        shapes = " and ".join(str(part.shape) for part in x.values())
        raise ValueError(
            f"Expected x_train and x_test with rows of one shape. Received: {shapes} in {path}. Try reshaping one of them."
        )
    classes = class_names(np.concatenate(list(labels.values())) if labelled else None)
    train, test = (_array_reader(x[part], labels[part], classes) for part in x)
    return split_by_files(train, len(x["train"]), test, len(x["test"]), classes)


def _require_rows(x: np.ndarray | None, labels: np.ndarray | None, path: pathlib.Path) -> None:
    if x is None or x.ndim < 2 or len(x) < MINIMUM_ROWS or x.dtype.kind not in "buif":
        received = "no array" if x is None else f"{x.dtype} of shape {x.shape}"
        raise ValueError(
            f"Expected numbers of shape (rows, …), with at least {MINIMUM_ROWS} rows. Received: {received} in {path}. "
            "Try x.reshape(len(x), -1)."
        )
    if labels is not None and labels.shape != (len(x),):
        raise ValueError(f"Expected one label per row, shape {(len(x),)}. Received: {labels.shape} in {path}. Try y.ravel().")


def _array_reader(x: np.ndarray, labels: np.ndarray | None, classes: np.ndarray | None) -> Callable[[np.ndarray], Rows]:
    """Makes a function from row numbers to Rows. Numbers are converted to native byte order and at most 64 bits."""
    numbers = None if classes is None else class_numbers(labels, classes)
    dtype = np.dtype("float32") if x.dtype.kind == "f" and x.dtype.itemsize > 8 else x.dtype.newbyteorder("=")
    if x.dtype == "uint8" and x.ndim == 3:
        x = x[..., None]  # grey images without a channel axis, as in Keras's mnist.npz

    def block(indices):
        return np.asarray(x[indices], dtype)

    @as_written
    def read(index):
        return tf.ensure_shape(tf.numpy_function(block, [index], dtype), (None, *x.shape[1:]))

    def rows(indices):
        index = tf.data.Dataset.from_tensor_slices(indices.astype("int64")).batch(BLOCK)
        blocks = index.map(read, num_parallel_calls=tf.data.AUTOTUNE)
        return joined(blocks, indices, np.char.mod("%d", indices), numbers)

    return rows
