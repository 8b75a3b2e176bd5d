"""Where data come from: TFDS names and the user's own files, each as splits of rows `{"x", "label", "id"}`.

A source fixes its splits: those that the data bring, otherwise a fifth of the rows, drawn with a fixed seed, is the test split.
`label` is there only where labels exist.
"""

import contextlib
import io
import logging
import os
import pathlib
import re
import socket
import threading
import urllib.request
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image, ImageOps
from tensorflow_datasets.core import read_only_builder

from training import digits  # noqa: F401 - registers the builder
from training.experiments import near

TEST_SHARE = 0.2
SPLIT_SEED = 0
BLOCK = 256  # rows
MINIMUM_ROWS = 10
IMAGES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")
DOWNLOAD_HOST = ("storage.googleapis.com", 443)


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


def open_source(name: str, image_size: int = 0) -> Source:
    """The source called `name`: `folder:DIR`, `npz:FILE`, `npy:FILE`, or the name of a TFDS data set.

    Args:
        image_size: height and width to which the images of a folder are cropped and resized; 0: as they are.

    Raises:
        ValueError: nothing there, or not of the form that the source reads.
    """
    kind, _, path = name.partition(":")
    if kind not in ("folder", "npz", "npy") or not path:
        return _open_tfds(name)
    if not os.path.exists(path):
        raise ValueError(f"Expected a path that exists. Received: {name!r}. Try the full path after '{kind}:'.")
    return _open_folder(pathlib.Path(path), image_size) if kind == "folder" else _open_arrays(pathlib.Path(path))


# TFDS


def _open_tfds(name: str) -> Source:
    builder = _prepared_builder(name)
    x_key, label_key = _feature_names(builder)
    feature = dict(builder.info.features).get(label_key)
    classes = tuple(feature.names) if isinstance(feature, tfds.features.ClassLabel) else None

    def read(split: str) -> Rows:
        config = tfds.ReadConfig(add_tfds_id=True, interleave_cycle_length=1)
        dataset = builder.as_dataset(split=split, shuffle_files=False, read_config=config)
        keys = {"x": x_key, "id": "tfds_id", **({"label": label_key} if classes else {})}
        rows = dataset.map(lambda row: {ours: row[theirs] for ours, theirs in keys.items()})
        return Rows(builder.info.splits[split].num_examples, rows.batch(BLOCK))

    splits = builder.info.splits
    held_out = next((split for split in ("test", "validation") if split in splits), None)
    size = splits["train"].num_examples
    kept = size if held_out else size - int(TEST_SHARE * size)  # TFDS shuffles rows as it prepares them
    test = read(held_out or f"train[{kept}:]")
    return Source(lambda start, stop: read(f"train[{start}:{stop}]"), kept, test, classes)


def _prepared_builder(name: str) -> tfds.core.DatasetBuilder:
    logging.getLogger("absl").setLevel(logging.ERROR)
    try:
        return read_only_builder.builder_from_files(name)
    except tfds.core.DatasetNotFoundError:
        pass
    known = tfds.list_builders()
    if re.split("[/:]", name)[0] not in known:
        raise ValueError(
            f"Expected a TFDS data set, folder:DIR, npz:FILE or npy:FILE. Received: {name!r}. "
            f"{near(name, known, otherwise=('digits', 'mnist'))}"
        )
    if name != "digits" and not _reachable(DOWNLOAD_HOST):
        raise ValueError(
            f"Expected {name!r} prepared in {tfds.core.constants.DATA_DIR}, or a network to download it from. Received: "
            "neither. Try TFDS_DATA_DIR=… where a prepared copy lies, or --dataset=digits, which needs no download."
        )
    builder = tfds.builder(name)
    if name == "digits":
        _prepare_quietly(builder)
    else:
        builder.download_and_prepare()
    return builder


def _prepare_quietly(builder) -> None:
    """For a second's work on packaged data, without the bars and lines of a download."""
    tfds.disable_progress_bar()
    with contextlib.redirect_stdout(io.StringIO()):
        builder.download_and_prepare()
    tfds.enable_progress_bar()


def _feature_names(builder) -> tuple[str, str | None]:
    """Names of the features that are the data and their label."""
    keys = builder.info.supervised_keys
    if keys:
        return keys[0], keys[1]
    for name in ("image", "features", "x"):
        if name in builder.info.features:
            return name, "label"
    raise ValueError(
        f"Expected a data set with supervised keys, an 'image' or 'features'. Received: {builder.name!r} with "
        f"{', '.join(builder.info.features)}. Try exporting the wanted feature to npz:FILE."
    )


def _reachable(address: tuple[str, int], seconds: float = 5.0) -> bool:
    if "https" in urllib.request.getproxies():
        return True
    reached = threading.Event()

    def connect():
        with contextlib.suppress(OSError):
            socket.create_connection(address, seconds).close()
            reached.set()

    attempt = threading.Thread(target=connect, daemon=True)  # looking a name up has no time limit of its own
    attempt.start()
    attempt.join(seconds)
    return reached.is_set()


# The user's own files


def _open_arrays(path: pathlib.Path) -> Source:
    try:
        arrays = np.load(path, mmap_mode="r", allow_pickle=False)
        arrays = {"x": arrays} if isinstance(arrays, np.ndarray) else dict(arrays)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"Expected a NumPy file of plain arrays. Received: {path} ({error}). Try numpy.savez.") from None
    if "x_train" in arrays and "x_test" in arrays:
        parts = [_array_rows(arrays[f"x_{part}"], arrays.get(f"y_{part}"), path) for part in ("train", "test")]
        (train, size), (test, test_size) = parts
        return Source(lambda i, j: train(np.arange(i, j)), size, test(np.arange(test_size)), _classes(arrays.get("y_train")))
    x = next((arrays[key] for key in ("x", "image", "images", "data") if key in arrays), next(iter(arrays.values())))
    labels = next((arrays[key] for key in ("y", "label", "labels") if key in arrays), None)
    return _held_out(*_array_rows(x, labels, path), _classes(labels))


def _array_rows(x: np.ndarray, labels: np.ndarray | None, path: pathlib.Path) -> tuple[Callable, int]:
    """A reader from row numbers to Rows, and the number of rows."""
    if x.ndim < 2 or len(x) < MINIMUM_ROWS or x.dtype.kind not in "buif":
        raise ValueError(
            f"Expected numbers of shape (rows, …), with at least {MINIMUM_ROWS} rows. Received: {x.dtype} of shape {x.shape} "
            f"in {path}. Try x.reshape(len(x), -1)."
        )
    if labels is not None and labels.shape != (len(x),):
        raise ValueError(f"Expected one label a row, of shape {(len(x),)}. Received: {labels.shape} in {path}.")
    if _classes(labels) is not None:
        labels = np.unique(labels, return_inverse=True)[1]

    def block(indices):
        return np.asarray(x[indices])

    def read(indices: np.ndarray) -> Rows:
        return _rows(indices, np.char.mod("%d", indices), labels, block, x.dtype, x.shape[1:])

    return read, len(x)


def _open_folder(root: pathlib.Path, image_size: int) -> Source:
    paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in IMAGES)
    if len(paths) < MINIMUM_ROWS:
        raise ValueError(
            f"Expected a folder with at least {MINIMUM_ROWS} images ({', '.join(IMAGES)}). Received: {len(paths)} in {root}. "
            "Try the folder above, or another format."
        )
    names = [path.relative_to(root).as_posix() for path in paths]
    folders = sorted({name.rpartition("/")[0] for name in names})
    labels = np.array([folders.index(name.rpartition("/")[0]) for name in names]) if len(folders) > 1 else None
    first = read_image(paths[0], image_size)

    def block(indices):
        return np.stack([read_image(paths[i], image_size, first.shape) for i in indices])

    def read(indices: np.ndarray) -> Rows:
        return _rows(indices, np.array(names)[indices], labels, block, first.dtype, first.shape)

    return _held_out(read, len(paths), tuple(folders) if len(folders) > 1 else None)


def read_image(path: pathlib.Path, size: int = 0, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """One image, uint8 `(height, width, channels)`, grey or colour as it is; cropped to a square and resized where `size` > 0.

    Raises:
        ValueError: not an image, or not of `shape`.
    """
    try:
        with Image.open(path) as file:
            grey = (shape[-1] == 1) if shape else file.mode in ("1", "L", "I", "I;16", "F")
            image = file.convert("L" if grey else "RGB")
            image = ImageOps.fit(image, (size, size)) if size else image
    except OSError as error:
        raise ValueError(f"Expected an image. Received: {path} ({error}). Try removing the file.") from None
    pixels = np.asarray(image).reshape(image.height, image.width, -1)
    if shape and pixels.shape != shape:
        raise ValueError(
            f"Expected images of one size, {shape}. Received: {pixels.shape} in {path}. Try --image_size={min(shape[:2])}."
        )
    return pixels


def _held_out(read: Callable[[np.ndarray], Rows], size: int, classes) -> Source:
    order = np.random.default_rng(SPLIT_SEED).permutation(size)
    kept = size - max(1, int(TEST_SHARE * size))
    return Source(lambda start, stop: read(order[:kept][start:stop]), kept, read(order[kept:]), classes)


def _rows(indices: np.ndarray, ids: np.ndarray, labels: np.ndarray | None, block: Callable, dtype, shape) -> Rows:
    """Rows whose x a Python function reads, from row numbers `(n,)` to `(n, *shape)`."""

    def fill(index, name):
        x = tf.ensure_shape(tf.numpy_function(block, [index], dtype), (None, *shape))
        row = {"x": x, "id": name}
        return row if labels is None else row | {"label": tf.gather(labels, index)}

    numbers = tf.data.Dataset.from_tensor_slices((indices.astype("int64"), np.char.encode(ids, "utf-8")))
    return Rows(len(indices), numbers.batch(BLOCK).map(fill, num_parallel_calls=tf.data.AUTOTUNE))


def _classes(labels: np.ndarray | None) -> tuple[str, ...] | None:
    """Names of the classes; None where there are no labels, or real numbers in their place."""
    if labels is None or labels.dtype.kind not in "biuUS":
        return None
    return tuple(str(name) for name in np.unique(labels))
