"""The targets of predictors: a class, or a number computed from the image."""

import dataclasses
from typing import Literal

import numpy as np

from training.data.splits import Data
from zoo.arguments import require_whole
from zoo.registry import register
from zoo.schema import Feature

FEWEST = 1_000  # rows of an epoch; fewer labels are repeated, because short epochs cost too much overhead


@register("task", "labels")
def targeted(data: Data, target: Literal["label", "slant"] = "label", labels: int = 0, seed: int = 0) -> Data:
    """Adds a column `target`, which is to be predicted.

    Args:
        target: what to predict: `label`, the class, or `slant`, how far an image leans, in pixels to the right per pixel up.
        labels: number of training examples to use, drawn at random, equally many of each class; 0: all.

    Raises:
        ValueError: data without such a target; a stream; fewer training rows than `labels`.
    """
    require_whole(0, labels=labels)
    if any(split.arrays is None for split in data.splits.values()) or (target == "label" and data.classes is None):
        raise ValueError(
            f"Expected data with labels that fit in memory, to predict {target!r}. Received: {data.name!r}. "
            "Try a larger --memory_gib, or another data set."
        )
    splits = {}
    for name, split in data.splits.items():
        arrays = split.arrays
        column = arrays["label"].astype("int32") if target == "label" else slant(arrays["x"])
        rows = _few(arrays.get("label"), split.size, labels, seed) if labels and name == "train" else np.arange(split.size)
        arrays = {key: value[rows] for key, value in {**arrays, "target": column}.items()}
        splits[name] = dataclasses.replace(split, size=len(rows), arrays=arrays)
    feature = data.schema["label"] if target == "label" else Feature("number")
    return dataclasses.replace(data, **splits, schema={**data.schema, "target": feature})


def slant(x: np.ndarray) -> np.ndarray:
    """How far images `(n, height, width, channels)` lean, `(n,)`, float32, in pixels to the right per pixel up.

    It is minus the slope of the regression of the ink's column on its row, from second central moments (Hu, 1962).
    """
    if x.ndim != 4:
        raise ValueError(f"Expected images, whose slant can be measured. Received: shape {x.shape[1:]}. Try --target=label.")
    ink = x.sum(axis=-1).astype("float64")
    total = np.maximum(ink.sum(axis=(1, 2)), 1e-9)
    row, column = np.arange(x.shape[1])[None, :, None], np.arange(x.shape[2])[None, None, :]
    row, column = (axis - ((ink * axis).sum(axis=(1, 2)) / total)[:, None, None] for axis in (row, column))
    return (-(ink * row * column).sum(axis=(1, 2)) / np.maximum((ink * row**2).sum(axis=(1, 2)), 1e-9)).astype("float32")


def _few(classes: np.ndarray | None, size: int, count: int, seed: int) -> np.ndarray:
    """The numbers of `count` rows, the same number of each class, repeated until there are at least FEWEST."""
    order = np.random.default_rng(seed).permutation(size)
    if classes is not None:  # the first row of every class, then the second …
        classes = classes[order]
        turn = np.zeros(size, "int64")
        for label in np.unique(classes):
            turn[classes == label] = np.arange(np.sum(classes == label))
        order = order[np.lexsort((classes, turn))]
    if count > size:
        raise ValueError(
            f"Expected at most the {size:,} rows of the training split as labels. Received: {count:,}. Try --labels=0."
        )
    return np.tile(order[:count], -(-FEWEST // count))
