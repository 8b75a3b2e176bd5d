"""Columns of tables: how those of each type are read, encoded, judged, filled in and drawn.

A table has four forms: *rows* as people have them (see `zoo.rows`), *raw columns*, one array `(n,)` for each column, *cells*,
a float32 array `(n, C)` with one number for each cell, and the *inputs* of the encoder. NaN is a missing number, "" a missing
text, and a missing cell is NaN.

| type | its cells | its likelihood |
|---|---|---|
| `continuous` | standardized values | Gaussian with learned variance |
| `positive` | standardized logarithms | log-normal |
| `count` | standardized logarithms of 1 + n | negative binomial |
| `binary`, `categorical` | numbers of classes; the number after the last is any other class | softmax |
| `ordinal` | numbers of classes | cumulative logits (McCullagh, 1980) |
| `datetime` | standardized time | Gaussian with learned variance |

All columns of one type (and, of classes, of about the same number) are computed together, as a last axis of length G. The types
are in `zoo.number_columns` and `zoo.class_columns`.
"""

import abc
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import keras
import numpy as np

from zoo import registry
from zoo.schema import Feature, Schema

OTHER = "<other>"  # what any text is read as that is not among the classes of its column
LEFT_OUT = ("identifier", "text", "constant")  # types of columns that a model does not have


class Columns(abc.ABC):
    """G columns of one type, by their features.

    `width` is the number of inputs that one row gives the encoder, `parameters` the number of parameters of the likelihood, for
    all G columns. Cells have the shape `(…, G)`, inputs `(…, width)`, parameters `(…, parameters)`. Of the inputs of a column,
    the first `scales` are numbers in standard units.
    """

    scales = 0

    def __init__(self, features: Sequence[Feature]):
        self.features = features
        self.size = len(features)

    @property
    @abc.abstractmethod
    def width(self) -> int: ...

    @property
    @abc.abstractmethod
    def parameters(self) -> int: ...

    @abc.abstractmethod
    def cells(self, values: Any, xp: ModuleType) -> Any:
        """Cells of raw numbers, in float64; of texts, of the numbers of their classes, the number after the last for any other.

        The arithmetic is that of `xp`, which is NumPy or TensorFlow's `tf.experimental.numpy`, so that it exists once.
        """

    @abc.abstractmethod
    def raw(self, cells: Any, xp: ModuleType) -> Any:
        """The inverse of `cells`, in float64."""

    @abc.abstractmethod
    def inputs(self, cells: keras.KerasTensor) -> keras.KerasTensor:
        """What the encoder sees of cells, none missing: G times `width / G` inputs, column by column."""

    @abc.abstractmethod
    def log_prob(self, cells: keras.KerasTensor, parameters: keras.KerasTensor) -> keras.KerasTensor:
        """log p of cells in nats, `(…, G)`; of numbers, a density per unit of the raw values."""

    @abc.abstractmethod
    def log_ratio(self, cells: keras.KerasTensor, parameters: keras.KerasTensor) -> keras.KerasTensor:
        """log p of cells less that of the most probable value, in nats, `(…, G)`; of numbers, in the units in which they are
        standardized."""

    @abc.abstractmethod
    def loss(self, cells: keras.KerasTensor, parameters: keras.KerasTensor) -> keras.KerasTensor:
        """What training minimizes, `(…, G)`, divided by what the best constant would cost (Udell et al., 2016, § 4.3)."""

    @abc.abstractmethod
    def point(self, parameters: keras.KerasTensor) -> keras.KerasTensor:
        """The cells to expect, `(…, G)`: the mean of numbers, the most probable of texts."""

    @abc.abstractmethod
    def draw(self, parameters: keras.KerasTensor, normal: keras.KerasTensor, uniform: keras.KerasTensor) -> keras.KerasTensor:
        """Cells drawn from the likelihood, from a standard normal and a uniform number for each, `(…, G)`."""

    @abc.abstractmethod
    def start(self, unexplained: np.ndarray) -> np.ndarray:
        """Parameters from which training starts, `(parameters,)`, given the share of each column's variance that a regression
        leaves, `(G,)`; with a share of 1, those of the columns' distributions as a whole."""

    @abc.abstractmethod
    def links(self, unexplained: np.ndarray) -> np.ndarray:
        """How parameters follow, about, from what the inputs are expected to be by such a regression: for each column their
        derivatives by its inputs, `(G, inputs, parameters)`."""

    def _of(self, name: str) -> np.ndarray:
        """One property of all features, `(G,)`."""
        return np.array([getattr(feature, name) for feature in self.features], "float64")


def dtype(feature: Feature) -> str:
    """The dtype of a column's raw values: `float64` of numbers, `string` of texts and dates."""
    texts = feature.type == "datetime" or (feature.classes and isinstance(feature.classes[0], str))
    return "string" if texts else "float64"


def kept(schema: Schema) -> Schema:
    """The columns of a table that a model has."""
    return {name: feature for name, feature in schema.items() if feature.type not in LEFT_OUT}


def groups(schema: Schema) -> list[tuple[list[int], Columns]]:
    """The columns that a model has, by type, each with its places among the cells. Columns of classes are together where their
    numbers of classes are alike."""
    found: dict[tuple, list[int]] = {}
    features = [*kept(schema).values()]
    for place, feature in enumerate(features):
        found.setdefault((feature.type, len(feature.classes or ()).bit_length()), []).append(place)
    return [
        (places, registry.part("column", name)([features[place] for place in places]))
        for (name, _), places in sorted(found.items())
    ]
