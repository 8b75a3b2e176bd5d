"""Data sets of arrays, vectors or images, from the TFDS catalogue or from the user's own files."""

import dataclasses
import os
import pathlib
import re
from collections.abc import Iterator
from typing import Literal

import numpy as np
import tensorflow as tf
from PIL import Image

from training import files
from training.data.catalogue import open_catalogue
from training.data.folders import open_folder
from training.data.graphs import as_written, empty
from training.data.rows import Rows, Source
from training.data.splits import WINDOW, Data, Split, checked, decoded, drawn, pipeline_errors
from training.data.user_files import open_arrays
from zoo.arguments import require_amount, require_whole
from zoo.likelihoods import require_finite
from zoo.registry import register
from zoo.schema import Feature

SPLITS = ("test", "validation", "train")
SAMPLE = 1000  # rows that represent a split


@register("data", "arrays")
def load(
    dataset: str,
    validation: float = 0.0,
    memory_gib: float = 2.0,
    image_size: int = 0,
    shift: int = 0,
    binarize: Literal["none", "static", "dynamic"] = "none",
    left_out: int = -1,
) -> Data:
    """Opens a data set of arrays: vectors or images.

    Args:
        dataset: path of a folder of images, of an `.npy` or `.npz` file (also `folder:DIR`, `npy:FILE`, `npz:FILE`), or a TFDS
            name, of which `digits` needs no download.
        validation: share of the training split, its last rows, that becomes the validation split, in [0, 1).
        memory_gib: largest size in GiB, as float32, of a split that is held in memory. Larger splits are streamed, although an
            npz file is always read into memory.
        image_size: height and width to which the images of a folder are cropped and resized; 0 keeps their size.
        shift: augmentation; every batch of training images is shifted by up to this many pixels along height and width.
        binarize: whether to replace every value p in [0, 1] by 1 with probability p and by 0 otherwise. `static`: once;
            `dynamic`: again in every epoch for the training split, once for the other splits.
        left_out: index of a class to leave out of the training and validation splits, but not of the test split, for anomaly
            detection; −1 leaves out none.

    8-bit integers are scaled to [0, 1]; other numbers are taken as they are.

    Raises:
        ValueError: no such data set, or one that does not have the expected form.
    """
    require_amount(below=1, validation=validation)
    require_amount(memory_gib=memory_gib)
    require_whole(0, image_size=image_size, shift=shift)
    require_whole(-1, left_out=left_out)
    source = _open(dataset, image_size)
    rows = _rows(source, validation, dataset)
    spec = source.test.blocks.element_spec["x"]
    if shift and len(spec.shape) != 4:
        shape = tuple(spec.shape[1:])
        raise ValueError(f"Expected images (height, width, channels) to shift. Received: shape {shape}. Try --shift=0.")
    if binarize != "none":
        once = rows if binarize == "static" else {name: part for name, part in rows.items() if name != "train"}
        rows |= {name: _drawn_once(part, SPLITS.index(name)) for name, part in once.items()}
    splits = {name: _split(part, memory_gib) for name, part in rows.items()}
    if binarize == "dynamic":
        _require_probabilities(next(splits["train"].batches())["x"])
        splits["train"] = dataclasses.replace(splits["train"], dynamic=True)
    if left_out >= 0:
        for name in splits.keys() - {"test"}:
            splits[name] = _without_class(splits[name], left_out, source.classes)
    splits["train"] = dataclasses.replace(splits["train"], shift=shift)
    schema = {"x": Feature.of(tuple(spec.shape[1:]), _range(splits["train"], spec.dtype))}
    if source.classes is not None:
        schema["label"] = Feature("class", classes=source.classes)
    return Data(dataset, schema, splits["train"], splits.get("validation"), splits["test"])


def write(data: Data, folder: str | os.PathLike) -> pathlib.Path:
    """Writes images to `train/CLASS/ID.png` and `test/CLASS/ID.png` in a folder, without labels to `train/ID.png`; `load`
    reads it again.

    Returns:
        The folder.

    Raises:
        ValueError: data that are no images with values in [0, 1]; a folder that holds something.
    """
    feature, folder = data.schema["x"], pathlib.Path(folder)
    if feature.type != "image" or feature.range is None or feature.range[0] < 0 or feature.range[1] > 1:
        raise ValueError(f"Expected images with values in [0, 1], to write as pictures. Received: {data.name}. Try digits.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"Expected a new folder, or an empty one. Received: {folder}. Try another --output.")
    with files.beside(folder) as new:
        number = 0
        for name, split in data.splits.items():
            for rows in split.batches():
                for picture, label, row in zip(rows["x"], rows.get("label", rows["id"]), rows["id"], strict=True):
                    part = "test" if name == "test" else "train"
                    place = new / part / str(data.classes[label]) if data.classes else new / part
                    place.mkdir(parents=True, exist_ok=True)
                    pixels = np.round(255 * (picture[..., 0] if picture.shape[-1] == 1 else picture)).astype("uint8")
                    words = re.sub("[^A-Za-z0-9]+", "_", row)[:40]
                    Image.fromarray(pixels).save(place / f"{number:06d}_{words}.png")  # numbered, as words may be the same
                    number += 1
        os.rename(new, folder)
    return folder


def sample(split: Split) -> np.ndarray:
    """Examples `(n, *shape)` that represent a split, always the same: spread evenly over a split in memory, or the first ones
    of a streamed or dynamic split."""
    if split.arrays is None or split.dynamic:
        return next(split.batches(SAMPLE))["x"]
    return split.arrays["x"][:: -(-split.size // SAMPLE)]


def _range(split: Split, dtype: tf.DType) -> tuple[float, float] | None:
    """The lowest and the highest value of a split in memory; for an unread stream [0, 1] for 8-bit integers, else None."""
    if split.arrays is None:
        return (0.0, 1.0) if dtype == tf.uint8 else None
    x = split.arrays["x"]
    return (float(x.min()), float(x.max()))


def _open(name: str, image_size: int) -> Source:
    kind, _, path = name.partition(":")
    if kind not in ("folder", "npz", "npy"):
        if os.path.isdir(name):
            return open_folder(pathlib.Path(name), image_size)
        if name.lower().endswith((".npz", ".npy")) and os.path.isfile(name):
            return open_arrays(pathlib.Path(name))
        return open_catalogue(name)
    if not os.path.exists(path):
        raise ValueError(f"Expected a path that exists. Received: {name!r}. Try the full path after '{kind}:'.")
    return open_folder(pathlib.Path(path), image_size) if kind == "folder" else open_arrays(pathlib.Path(path))


def _rows(source: Source, validation: float, dataset: str) -> dict[str, Rows]:
    """The rows of each split; raises ValueError unless they are numbers of one shape."""
    spec = source.test.blocks.element_spec["x"]
    if spec.dtype == tf.string:
        raise ValueError(f"Expected numbers. Received: {dataset!r}, whose examples are texts. Try digits or mnist.")
    if None in spec.shape[1:]:
        raise ValueError(
            f"Expected examples of one shape. Received: {dataset!r} with examples of shape {tuple(spec.shape[1:])}. Try saving "
            "the images and --dataset=folder:DIR --image_size=64."
        )
    kept = source.train_size - int(validation * source.train_size)
    ranges = {"train": (0, kept), "validation": (kept, source.train_size)}
    rows = {name: source.train(start, stop) for name, (start, stop) in ranges.items() if stop > start}
    return rows | {"test": source.test}


def _split(rows: Rows, memory_gib: float) -> Split:
    blocks = rows.blocks.map(_as_float, num_parallel_calls=tf.data.AUTOTUNE)
    row_bytes = 4 * int(np.prod(blocks.element_spec["x"].shape[1:], dtype="int64"))
    if rows.size * row_bytes > memory_gib * 2**30:
        fitting = int(memory_gib * 2**30 / (4 * row_bytes))  # shuffling takes the memory of several windows
        return Split(rows.size, stream=blocks, window=int(np.clip(fitting, 256, WINDOW)))
    with pipeline_errors():
        return Split(rows.size, arrays=_gathered(map(decoded, blocks.as_numpy_iterator()), rows.size))


def _gathered(blocks: Iterator[dict[str, np.ndarray]], size: int) -> dict[str, np.ndarray]:
    """The columns of blocks of up to `size` rows in all. Numbers get their place at once: beside them there is one block."""
    arrays, texts, stop = {}, {}, 0
    for block in blocks:
        start, stop = stop, stop + len(block["x"])
        for name, column in block.items():
            if column.dtype.kind == "U":
                texts.setdefault(name, []).append(column)
                continue
            if name not in arrays:
                arrays[name] = empty((size, *column.shape[1:]), column.dtype)
            arrays[name][start:stop] = column
    return {
        **{name: array[:stop] for name, array in arrays.items()},
        **{name: np.concatenate(parts) for name, parts in texts.items()},
    }


@as_written
def _as_float(block: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """A block with x as float32; raises ValueError in the pipeline for values that are not finite or too large."""
    x = block["x"]
    if x.dtype.is_floating or x.dtype.size == 8:  # the squares of other integers fit in float32

        def check(values, ids):
            require_finite(values, [name.decode() for name in ids])
            return values

        x = tf.ensure_shape(tf.numpy_function(check, [x, block["id"]], x.dtype), x.shape)
    return block | {"x": _scaled(x)}


def _scaled(x: tf.Tensor) -> tf.Tensor:
    return tf.cast(x, tf.float32) / (255.0 if x.dtype == tf.uint8 else 1.0)


def _drawn_once(rows: Rows, split: int) -> Rows:
    """Rows with x binarized and the original values in the column `grey`; the number of the split seeds the draws."""

    @as_written
    def draw(number, block):
        x = checked(_scaled(block["x"]), _require_probabilities)
        return block | {"x": drawn(x, (split, number)), "grey": x}

    return rows._replace(blocks=rows.blocks.enumerate().map(draw))


def _require_probabilities(x: np.ndarray) -> None:
    if not (x.min() >= 0 and x.max() <= 1):
        raise ValueError(
            f"Expected values in [0, 1] to binarize. Received: values in [{x.min():g}, {x.max():g}]. Try --binarize=none."
        )


def _without_class(split: Split, label: int, classes: tuple[str, ...] | None) -> Split:
    if split.arrays is None or "label" not in split.arrays or label >= len(classes):
        raise ValueError(
            f"Expected a class to leave out, of data with labels that fit in memory. Received: left_out={label}, "
            f"classes {', '.join(classes or ()) or 'none'}. Try --left_out=-1, or a larger --memory_gib."
        )
    kept = split.arrays["label"] != label
    return dataclasses.replace(
        split, size=int(kept.sum()), arrays={name: column[kept] for name, column in split.arrays.items()}
    )
