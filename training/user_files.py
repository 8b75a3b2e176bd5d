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
    return _given(train, len(x["train"]), test, len(x["test"]), classes)


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
    """From row numbers to Rows; TensorFlow knows native byte order and at most 64 bits."""
    numbers = None if classes is None else np.searchsorted(classes, labels)
    dtype = np.dtype("float32") if x.dtype.kind == "f" and x.dtype.itemsize > 8 else x.dtype.newbyteorder("=")
    if x.dtype == "uint8" and x.ndim == 3:
        x = x[..., None]  # grey images without an axis of channels, as in Keras's mnist.npz

    def block(indices):
        return np.asarray(x[indices], dtype)

    return lambda indices: _rows(indices, np.char.mod("%d", indices), numbers, block, dtype, x.shape[1:])


def _classes(labels: np.ndarray | None) -> np.ndarray | None:
    """The distinct labels, sorted; None where there are none, only one, or so many that they name no classes."""
    if labels is None or labels.dtype.kind not in "biuUS":
        return None
    distinct = np.unique(labels)
    return distinct if 2 <= len(distinct) <= max(2, len(labels) // 2) else None


def _names(classes: np.ndarray | None) -> tuple[str, ...] | None:
    return None if classes is None else tuple(str(name) for name in classes)


def open_folder(root: pathlib.Path, image_size: int = 0) -> Source:
    """The images under a folder; subfolders, where there are several, are the classes. `train/` and `test/` are the splits.

    Args:
        image_size: height and width to which they are cropped and resized; 0: as they are.

    Raises:
        ValueError: few images, a file that is none, or images of several sizes without `image_size`.
    """
    split = all((root / part).is_dir() for part in ("train", "test"))
    parts = [_images(root / part) for part in ("train", "test")] if split else [_images(root)]
    names = [[path.relative_to(base).as_posix() for path in paths] for base, paths in parts]
    folders = [np.array([name.rpartition("/")[0] for name in part]) for part in names]
    classes = _classes(np.concatenate(folders))
    everything = [path for _, paths in parts for path in paths]
    grey = all(_is_grey(path) for path in everything)
    shape = read_image(everything[0], grey, image_size).shape

    def reader(part: int) -> Callable[[np.ndarray], Rows]:
        paths, labels = parts[part][1], None if classes is None else np.searchsorted(classes, folders[part])

        def block(indices):
            return np.stack([read_image(paths[i], grey, image_size, shape) for i in indices])

        return lambda indices: _rows(indices, np.array(names[part])[indices], labels, block, np.dtype("uint8"), shape)

    if not split:
        return _held_out(reader(0), len(everything), classes)
    return _given(reader(0), len(names[0]), reader(1), len(names[1]), classes)


def _images(root: pathlib.Path) -> tuple[pathlib.Path, list[pathlib.Path]]:
    paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in IMAGES)
    if len(paths) < MINIMUM_ROWS:
        raise ValueError(
            f"Expected a folder with at least {MINIMUM_ROWS} images ({', '.join(IMAGES)}). Received: {len(paths)} in {root}. "
            "Try the folder above, or another format."
        )
    return root, paths


def _is_grey(path: pathlib.Path) -> bool:
    try:
        with Image.open(path) as file:  # reads the header alone
            return file.mode in ("1", "L", "LA") or file.mode.startswith("I")
    except OSError as error:
        raise ValueError(f"Expected an image. Received: {path} ({error}). Try removing the file.") from None


def read_image(path: pathlib.Path, grey: bool, size: int = 0, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """One image, uint8 `(height, width, 1 or 3)`; cropped to a square and resized where `size` > 0.

    Raises:
        ValueError: not an image, or not of `shape`.
    """
    try:
        with Image.open(path) as file:
            if file.mode == "F":
                raise OSError("floating-point pixels")
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


def _given(train: Callable, train_size: int, test: Callable, test_size: int, classes: np.ndarray | None) -> Source:
    """A split that the files bring; the training rows in a random order that is always the same."""
    order = np.random.default_rng(SPLIT_SEED).permutation(train_size)
    return Source(lambda start, stop: train(order[start:stop]), train_size, test(np.arange(test_size)), _names(classes))


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
