"""The user's own files: a folder of images, or NumPy arrays."""

import pathlib
import zipfile
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps

from training.rows import BLOCK, SPLIT_SEED, TEST_SHARE, Rows, Source

MINIMUM_ROWS = 10
IMAGES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")


def open_arrays(path: pathlib.Path) -> Source:
    """The rows of a `.npy` array, or of the arrays x and perhaps y of an `.npz` file.

    Raises:
        ValueError: not a file of plain arrays, or not rows of numbers.
    """
    try:
        arrays = np.load(path, mmap_mode="r", allow_pickle=False)
        arrays = {"x": arrays} if isinstance(arrays, np.ndarray) else arrays  # an npz file reads an array when asked for it
        if "x_train" in arrays and "x_test" in arrays:
            return _open_parts(arrays, path)
        key = next((key for key in ("x", "image", "images", "data", *arrays) if key in arrays), None)
        label = next((key for key in ("y", "label", "labels") if key in arrays), None)
        x, labels = (None if name is None else arrays[name] for name in (key, label))
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        if str(error).startswith("Expected"):
            raise
        raise ValueError(f"Expected a NumPy file of plain arrays. Received: {path} ({error}). Try numpy.savez.") from None
    _require_rows(x, labels, path)
    classes = _classes(labels)
    return _held_out(_array_reader(x, labels, classes), len(x), classes)


def _open_parts(arrays, path: pathlib.Path) -> Source:
    """An npz file that brings its own split, as Keras's data sets do: x_train, x_test and perhaps y_train, y_test."""
    x = {part: arrays[f"x_{part}"] for part in ("train", "test")}
    labelled = "y_train" in arrays and "y_test" in arrays
    labels = {part: arrays[f"y_{part}"] if labelled else None for part in x}
    for part in x:
        _require_rows(x[part], labels[part], path)
    if x["train"].shape[1:] != x["test"].shape[1:]:
        shapes = " and ".join(str(part.shape) for part in x.values())
        raise ValueError(f"Expected x_train and x_test with rows of one shape. Received: {shapes} in {path}.")
    classes = _classes(np.concatenate(list(labels.values())) if labelled else None)
    train, test = (_array_reader(x[part], labels[part], classes) for part in x)
    order = np.random.default_rng(SPLIT_SEED).permutation(len(x["train"]))
    return Source(lambda start, stop: train(order[start:stop]), len(order), test(np.arange(len(x["test"]))), _names(classes))


def _require_rows(x, labels, path: pathlib.Path) -> None:
    if x is None or x.ndim < 2 or len(x) < MINIMUM_ROWS or x.dtype.kind not in "buif":
        received = "no array" if x is None else f"{x.dtype} of shape {x.shape}"
        raise ValueError(
            f"Expected numbers of shape (rows, …), with at least {MINIMUM_ROWS} rows. Received: {received} in {path}. "
            "Try x.reshape(len(x), -1)."
        )
    if labels is not None and labels.shape != (len(x),):
        raise ValueError(f"Expected one label a row, of shape {(len(x),)}. Received: {labels.shape} in {path}.")


def _array_reader(x: np.ndarray, labels: np.ndarray | None, classes: np.ndarray | None) -> Callable[[np.ndarray], Rows]:
    """From row numbers to Rows."""
    numbers = None if classes is None else np.searchsorted(classes, labels)
    return lambda indices: _rows(indices, np.char.mod("%d", indices), numbers, lambda i: np.asarray(x[i]), x.dtype, x.shape[1:])


def _classes(labels: np.ndarray | None) -> np.ndarray | None:
    """The distinct labels, sorted; None where there are none, only one, or so many that they name no classes."""
    if labels is None or labels.dtype.kind not in "biuUS":
        return None
    distinct = np.unique(labels)
    return distinct if 2 <= len(distinct) <= max(2, len(labels) // 2) else None


def _names(classes: np.ndarray | None) -> tuple[str, ...] | None:
    return None if classes is None else tuple(str(name) for name in classes)


def open_folder(root: pathlib.Path, image_size: int = 0) -> Source:
    """The images under a folder; subfolders, where there are several, are the classes.

    Args:
        image_size: height and width to which they are cropped and resized; 0: as they are.

    Raises:
        ValueError: few images, a file that is none, or images of several sizes without `image_size`.
    """
    paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in IMAGES)
    if len(paths) < MINIMUM_ROWS:
        raise ValueError(
            f"Expected a folder with at least {MINIMUM_ROWS} images ({', '.join(IMAGES)}). Received: {len(paths)} in {root}. "
            "Try the folder above, or another format."
        )
    names = [path.relative_to(root).as_posix() for path in paths]
    folders = np.array([name.rpartition("/")[0] for name in names])
    classes = _classes(folders)
    labels = None if classes is None else np.searchsorted(classes, folders)
    first = read_image(paths[0], image_size)

    def block(indices):
        return np.stack([read_image(paths[i], image_size, first.shape) for i in indices])

    def read(indices: np.ndarray) -> Rows:
        return _rows(indices, np.array(names)[indices], labels, block, first.dtype, first.shape)

    return _held_out(read, len(paths), classes)


def read_image(path: pathlib.Path, size: int = 0, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """One image, uint8 `(height, width, channels)`, grey or colour as it is; cropped to a square and resized where `size` > 0.

    Raises:
        ValueError: not an image, or not of `shape`.
    """
    try:
        with Image.open(path) as file:
            if file.mode == "F":
                raise OSError("floating-point pixels")
            grey = (shape[-1] == 1) if shape else file.mode in ("1", "L", "LA") or file.mode.startswith("I")
            image = ImageOps.exif_transpose(file)
            if image.mode.startswith("I"):  # 16 bits: the upper eight
                image = Image.fromarray((np.asarray(image).astype("uint16") >> 8).astype("uint8"))
            image = image.convert("L" if grey else "RGB")
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
    return Source(lambda start, stop: read(order[:kept][start:stop]), kept, read(order[kept:]), _names(classes))


def _rows(indices: np.ndarray, ids: np.ndarray, labels: np.ndarray | None, block: Callable, dtype, shape) -> Rows:
    """Rows whose x a Python function reads, from row numbers `(n,)` to `(n, *shape)`."""

    def fill(index, name):
        x = tf.ensure_shape(tf.numpy_function(block, [index], dtype), (None, *shape))
        row = {"x": x, "id": name}
        return row if labels is None else row | {"label": tf.gather(labels, index)}

    numbers = tf.data.Dataset.from_tensor_slices((indices.astype("int64"), np.char.encode(ids, "utf-8")))
    return Rows(len(indices), numbers.batch(BLOCK).map(fill, num_parallel_calls=tf.data.AUTOTUNE))
