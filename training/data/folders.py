"""Folders of images: the files in them, and their pixels as an exported model will see them."""

import contextlib
import os
import pathlib
import re
import warnings
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf
from PIL import Image

from serving.picture_files import read as read_picture
from serving.picture_files import reader as picture_reader
from serving.picture_files import refusal
from training.data.graphs import as_written
from training.data.rows import (
    BLOCK,
    MINIMUM_ROWS,
    Source,
    class_names,
    class_numbers,
    joined,
    split_at_random,
    split_by_files,
)
from training.data.splits import pipeline_errors

SIZES = (16, 32)  # heights and widths that are suggested
LOOKED_AT = 500  # images of a folder by which a size is suggested
IMAGES = (".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".png", ".webp")
UNREAD = (".avif", ".heic", ".heif", ".jp2", ".jxl", ".svg", ".tif", ".tiff")  # refused, not ignored
SYSTEM = ("__macosx", "@eadir", "$recycle.bin", "lost+found", "system volume information", "thumbs.db", "desktop.ini")


def open_folder(root: pathlib.Path, image_size: int = 0) -> Source:
    """Opens the images in a folder. Its subfolders, if there are several, are the classes; `train/` and `test/` are the splits.

    Hidden files and folders, and those of operating systems, are ignored.

    Args:
        image_size: height and width to which images are cropped and resized; 0 keeps their size.

    Raises:
        ValueError: too few images; a file or folder that cannot be read; images of different sizes without `image_size`.
    """
    split = all((root / part).is_dir() for part in ("train", "test"))
    bases = [root / part for part in ("train", "test")] if split else [root]
    parts = [images(base) for base in bases]
    names = [[_name(path.relative_to(base)) for path in paths] for base, paths in zip(bases, parts, strict=True)]
    folders = [np.array([name.rpartition("/")[0] for name in part]) for part in names]
    classes = class_names(np.concatenate(folders))
    paths = [path for part in parts for path in part]
    channels = 1 if all(map(_is_grey, paths)) else 3
    shape = (image_size, image_size, channels) if image_size else _read(paths[0], channels).shape

    def reader(part: int) -> Callable:
        labels = None if classes is None else class_numbers(folders[part], classes)
        read = _reader(parts[part], shape, cropped=image_size > 0)
        return lambda indices: joined(read(indices), indices, np.array(names[part])[indices], labels)

    if not split:
        return split_at_random(reader(0), len(paths), classes)
    return split_by_files(reader(0), len(names[0]), reader(1), len(names[1]), classes)


def suggested_size(root: pathlib.Path) -> int:
    """A height and width for the images in a folder: 0, as they are, if they have one size and are small; otherwise the largest
    of 16 and 32 that most of them reach."""
    sides, sizes = [], set()
    paths = images(root)
    for path in paths[:: max(1, len(paths) // LOOKED_AT)]:
        size = _size(path)
        if size:
            sizes.add(size)
            sides.append(min(size))
    if not sides or (len(sizes) == 1 and max(max(size) for size in sizes) <= SIZES[-1]):
        return 0
    return next((size for size in reversed(SIZES) if size <= np.median(sides)), SIZES[0])


def pixels(root: pathlib.Path, shape: tuple[int, int, int]) -> np.ndarray:
    """All images in a folder, sorted by path, cropped and resized to this height and width: uint8 `(n, *shape)`.

    Raises:
        ValueError: no images, or one that cannot be read.
    """
    paths = images(root, 1)
    with pipeline_errors():
        blocks = _reader(paths, shape, cropped=True)(np.arange(len(paths))).as_numpy_iterator()
        return np.concatenate([*blocks])


def images(root: pathlib.Path, least: int = MINIMUM_ROWS) -> list[pathlib.Path]:
    paths = sorted(path for path in _files(root, set()) if path.suffix.lower() in IMAGES + UNREAD)
    if len(paths) < least:
        raise ValueError(
            f"Expected a folder with at least {least} images ({', '.join(IMAGES)}). Received: {len(paths)} in {root}. "
            "Try the parent folder, or another format."
        )
    return paths


def _files(folder: pathlib.Path, seen: set[str]) -> Iterator[pathlib.Path]:
    """The user's files below a folder. Links are followed, but no folder is read twice."""
    if os.path.realpath(folder) in seen:
        return
    seen.add(os.path.realpath(folder))
    try:
        inside = sorted(folder.iterdir())
    except OSError as error:
        raise ValueError(
            f"Expected a folder that can be read. Received: {folder} ({error.strerror}). Try moving it elsewhere."
        ) from None
    for path in inside:
        if path.name.startswith(".") or path.name.lower() in SYSTEM:
            continue
        if path.is_dir():
            yield from _files(path, seen)
        elif path.is_file() or path.is_symlink():
            yield path


def _name(path: pathlib.PurePath) -> str:
    """A path with / as separator; bytes that are not UTF-8 are escaped."""
    return os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace")


def _size(path: pathlib.Path) -> tuple[int, int] | None:
    """Width and height of an image; None if it cannot be read, which is reported when its pixels are."""
    with warnings.catch_warnings(action="ignore"), contextlib.suppress(Exception), Image.open(path) as file:
        return file.size
    return None


def _is_grey(path: pathlib.Path) -> bool:
    with warnings.catch_warnings(action="ignore"):
        try:
            with Image.open(path) as file:  # reads only the header
                return file.mode in ("1", "L", "LA") or file.mode.startswith("I")
        except Exception:  # Pillow raises many types; the error is reported when the pixels are read
            return True


def _reader(paths: list[pathlib.Path], shape: tuple[int, ...], cropped: bool) -> Callable[[np.ndarray], tf.data.Dataset]:
    """Makes a function from row numbers `(n,)` to blocks of pixels, uint8 `(up to BLOCK, *shape)`."""
    files = np.array([os.fsencode(path) for path in paths], object)
    reader = picture_reader(shape[-1], shape[:2] if cropped else None)

    @tf.autograph.experimental.do_not_convert
    def read(index, file):
        image, problem = reader(tf.io.read_file(file))
        fits = (problem == "") & tf.reduce_all(tf.shape(image) == shape)
        return index, tf.ensure_shape(tf.cond(fits, lambda: image, lambda: tf.zeros(shape, tf.uint8)), shape), fits

    def check(wanted, received, fit):
        """Raises the error of the first file whose row is missing or does not have the shape."""
        bad = np.append(received, np.full(len(wanted), -1))[: len(wanted)] != wanted
        bad[: len(fit)] |= ~fit[: len(wanted)]
        for row in wanted[bad][:1]:
            pixels = _read(paths[row], shape[-1])
            raise ValueError(
                f"Expected images of one size, {shape}. Received: {pixels.shape} in {_name(paths[row])}. "
                f"Try --image_size={min(shape[:2])}."
            )
        return wanted

    @as_written
    def complete(wanted, rows):
        received, pixels, fit = rows
        with tf.control_dependencies([tf.numpy_function(check, [wanted, received, fit], tf.int64)]):
            return tf.ensure_shape(tf.identity(pixels), (None, *shape))

    def blocks(indices):
        indices = indices.astype("int64")
        rows = tf.data.Dataset.from_tensor_slices((indices, files[indices].astype("S")))
        rows = rows.map(read, num_parallel_calls=tf.data.AUTOTUNE).ignore_errors()  # TensorFlow's errors do not name the file
        wanted = tf.data.Dataset.from_tensor_slices(indices).batch(BLOCK)
        return tf.data.Dataset.zip(wanted, rows.batch(BLOCK)).map(complete)

    return blocks


def _read(path: pathlib.Path, channels: int) -> np.ndarray:
    """The pixels of one file.

    Raises:
        ValueError: not an image.
    """
    try:
        pixels, problem = read_picture(tf.io.read_file(os.fsencode(path)), channels)
    except tf.errors.OpError as error:
        problem = tf.constant(re.sub(r"^\{\{.*?\}\} | \[Op:.*", "", error.message, flags=re.DOTALL))
    if problem != "":
        raise ValueError(refusal(problem[None], tf.constant([_name(path)])).numpy().decode())
    return pixels.numpy()
