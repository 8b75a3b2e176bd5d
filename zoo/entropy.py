"""The distribution of rounded codes, in whole numbers: what lossy compression codes with."""

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from zoo.arguments import require_amount, require_positive, require_whole
from zoo.registry import register

TOTAL = 2**16  # of the frequencies in a histogram


@register("entropy", "histograms")
class Histograms(keras.layers.Layer):
    """Histograms of the whole numbers to which codes are rounded, one for every dimension, in each of several clusters.

    A row is coded as its cluster and, in every dimension, a whole number by the cluster's histogram; what is outside the
    histogram is an escape, followed by how far outside. All frequencies are whole numbers that are stored in the model, so what
    one machine has coded every other decodes. `training.fit_entropy` fits them to training data.

    Args:
        cells: number N of whole numbers in a histogram; of codes that consist of entries, all entries have a cell.
        clusters: number G of clusters: rows that are alike share histograms.
        distortion: squared error that rounding adds, in all, as a share of that of reconstructions; the larger, the fewer the
            bits. It has no meaning for codes that are whole numbers, or entries of a codebook, already.
    """

    def __init__(self, cells: int = 64, clusters: int = 32, distortion: float = 0.1, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        require_whole(2, cells=cells)
        require_whole(1, clusters=clusters)
        require_amount(below=TOTAL // 2, cells=cells, clusters=clusters)
        require_positive(distortion=distortion)
        self.cells, self.clusters, self.distortion = cells, clusters, distortion

    def build(self, input_shape: tuple) -> None:
        m = input_shape[1]
        self.size = input_shape[2] if len(input_shape) == 3 else self.cells  # N
        self.steps = self._constant("steps", (m,), "float32")
        self.lowest = self._constant("lowest", (m,), "int32")
        self.shares = self._constant("shares", (self.clusters,), "int32")  # sum TOTAL
        self.frequencies = self._constant("frequencies", (self.clusters, m, self.size + 1), "int32")  # the last: an escape

    def assign(self, steps: ArrayLike, lowest: ArrayLike, shares: ArrayLike, frequencies: ArrayLike) -> None:
        """Sets the steps of rounding `(m,)`, the least number of each histogram `(m,)`, and frequencies, whole numbers above 0
        that sum to `TOTAL`: of clusters `(G,)`, and of numbers and escapes `(G, m, N + 1)`."""
        for variable, value in zip(self.weights, (steps, lowest, shares, frequencies), strict=True):
            variable.assign(np.asarray(value))

    @property
    def fitted(self) -> bool:
        return bool(np.all(ops.convert_to_numpy(self.shares) > 0))

    def numbers(self, symbols: ArrayLike) -> np.ndarray:
        """Symbols of codes `(n, m)`, divided by the steps and rounded, int64."""
        return np.rint(np.asarray(symbols, "float64") / ops.convert_to_numpy(self.steps)).astype("int64")

    def symbols(self, numbers: np.ndarray) -> np.ndarray:
        """The symbols `(n, m)`, float32, that whole numbers stand for."""
        return numbers.astype("float32") * ops.convert_to_numpy(self.steps)

    def tables(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """`lowest`, `shares` and `frequencies` as NumPy arrays.

        Raises:
            ValueError: they have not been fitted.
        """
        if not self.fitted:
            raise ValueError("Expected fitted histograms. Received: none. Try training.fit_entropy(model, x).")
        return tuple(ops.convert_to_numpy(variable) for variable in (self.lowest, self.shares, self.frequencies))

    def bits(self, numbers: np.ndarray) -> np.ndarray:
        """The bits of whole numbers `(n, m)`, `(n,)`."""
        lowest, _, _ = self.tables()
        places = numbers.astype("int64") - lowest
        outside = (places < 0) | (places >= self.size)
        return self._costs(numbers).min(axis=1) + np.where(outside, escape_bits(places, self.size), 0).sum(axis=1)

    def clustered(self, numbers: np.ndarray) -> np.ndarray:
        """The cluster in which each row of whole numbers `(n, m)` takes the fewest bits, int64 `(n,)`."""
        return self._costs(numbers).argmin(axis=1)

    def places(self, numbers: np.ndarray) -> np.ndarray:
        """The places of whole numbers `(n, m)` in their histograms, int64; N is an escape."""
        places = numbers.astype("int64") - self.tables()[0]
        return np.where((places < 0) | (places >= self.size), self.size, places)

    def _costs(self, numbers) -> np.ndarray:
        """Bits `(n, G)` in each cluster, without those that follow escapes."""
        _, shares, frequencies = self.tables()
        costs = np.tile(-np.log2(shares / TOTAL), (len(numbers), 1))
        for j, column in enumerate(self.places(numbers).T):
            costs -= np.log2(frequencies[:, j].T / TOTAL)[column]
        return costs

    def get_config(self) -> dict:
        return {**super().get_config(), "cells": self.cells, "clusters": self.clusters, "distortion": self.distortion}

    def _constant(self, name: str, shape: tuple[int, ...], dtype: str):
        return self.add_weight(shape=shape, initializer="zeros", trainable=False, name=name, dtype=dtype, autocast=False)


def escape_bits(places: np.ndarray, size: int) -> np.ndarray:
    """The bits that follow an escape, of places outside 0 … `size` − 1: 6 for the side and for b = ⌊log₂ d⌋, d ≥ 1 being the
    distance from the histogram, and b for the rest of d."""
    distance = np.maximum(np.where(places < 0, -places, places - size + 1), 1)
    return 6 + np.floor(np.log2(distance))
