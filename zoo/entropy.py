"""The distribution of rounded codes, in whole numbers: what lossy compression codes with."""

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from zoo.arguments import require_whole
from zoo.registry import register

PRECISION = 16  # bits; the frequencies of a histogram sum to 2 to this power


@register("entropy", "histograms")
class Histograms(keras.layers.Layer):
    """Histograms of the whole numbers to which codes are rounded, one for every dimension, in each of several clusters.

    A row's code is that of its cluster and, in every dimension, that of a whole number by the cluster's histogram; what is outside
    the histogram is an escape, followed by a universal code. All frequencies are whole numbers that are stored in the model, so
    what one machine has coded any other decodes. `training.fit_entropy` fits them to training data.

    Args:
        cells: number N of whole numbers in a histogram.
        clusters: number G of clusters: rows that are alike share histograms.
    """

    def __init__(self, cells: int = 64, clusters: int = 32, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        require_whole(2, cells=cells)
        require_whole(1, clusters=clusters)
        self.cells, self.clusters = cells, clusters

    def build(self, input_shape: tuple) -> None:
        k = input_shape[-1]
        self.steps = self._constant("steps", (k,), "float32")
        self.lowest = self._constant("lowest", (k,), "int32")
        self.shares = self._constant("shares", (self.clusters,), "int32")  # sum 2^PRECISION
        self.frequencies = self._constant("frequencies", (self.clusters, k, self.cells + 1), "int32")  # the last: an escape

    def assign(self, steps: ArrayLike, lowest: ArrayLike, shares: ArrayLike, frequencies: ArrayLike) -> None:
        """Sets the steps of rounding `(k,)`, the least number of each histogram `(k,)`, and frequencies, whole numbers of at least
        1 that sum to 2^`PRECISION`: of clusters `(G,)`, and of numbers and escapes `(G, k, N + 1)`."""
        for variable, value in zip(self.weights, (steps, lowest, shares, frequencies), strict=True):
            variable.assign(np.asarray(value))

    @property
    def fitted(self) -> bool:
        return bool(np.all(ops.convert_to_numpy(self.shares) > 0))

    def tables(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """`lowest`, `shares` and `frequencies` as NumPy arrays.

        Raises:
            ValueError: they have not been fitted.
        """
        if not self.fitted:
            raise ValueError("Expected fitted histograms. Received: none. Try training.fit_entropy(model, x).")
        return tuple(ops.convert_to_numpy(variable) for variable in (self.lowest, self.shares, self.frequencies))

    def bits(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The bits of whole numbers `(B, k)` in the cluster where they are fewest, `(B,)`, and that cluster, `(B,)`."""
        lowest, shares, frequencies = self.tables()
        place = numbers.astype("int64") - lowest  # (B, k)
        outside = (place < 0) | (place >= self.cells)
        place = np.where(outside, self.cells, place)
        costs = np.zeros((len(numbers), self.clusters)) - np.log2(shares / 2**PRECISION)  # (B, G)
        for j, column in enumerate(place.T):
            costs -= np.log2(frequencies[:, j, :].T / 2**PRECISION)[column]
        beyond = np.where(outside, escape_bits(numbers - lowest, self.cells), 0).sum(axis=1)
        return costs.min(axis=1) + beyond, costs.argmin(axis=1)

    def get_config(self) -> dict:
        return {**super().get_config(), "cells": self.cells, "clusters": self.clusters}

    def _constant(self, name: str, shape: tuple[int, ...], dtype: str):
        return self.add_weight(shape=shape, initializer="zeros", trainable=False, name=name, dtype=dtype, autocast=False)


def escape_bits(place: np.ndarray, cells: int) -> np.ndarray:
    """The bits of places outside 0 … `cells` − 1: a sign, and the distance d ≥ 1 in the code of Elias (1975), 2 ⌊log₂ d⌋ + 1."""
    distance = np.maximum(np.where(place < 0, -place, place - cells + 1), 1)
    return 2 + 2 * np.floor(np.log2(distance))
