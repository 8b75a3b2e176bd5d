"""Scaling: from the units of the data to those in which a model computes and is judged, and back. It is a part of the model."""

from collections.abc import Iterable

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from zoo import inputs
from zoo.registry import register

CONSTANT = 1e-6  # of the largest value of a dimension: a standard deviation below that is rounding


@register("scaling", "standardize")
class Standardize(keras.layers.Layer):
    """Every dimension shifted and scaled to mean 0 and variance 1 over the training data; constant ones are only shifted.

    Until it is fitted, data pass as they are.
    """

    def __init__(self, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})

    def build(self, input_shape: tuple) -> None:
        settings = {"shape": tuple(input_shape[1:]), "trainable": False, "dtype": "float32", "autocast": False}
        self.mean = self.add_weight(initializer="zeros", name="mean", **settings)
        self.scale = self.add_weight(initializer="ones", name="scale", **settings)

    def fit(self, batches: Iterable[ArrayLike]) -> np.ndarray:
        """Takes over the mean and the standard deviation of data, batches `(n, *shape)`, in one pass.

        Returns:
            The standard deviations `(*shape)`, 0 for dimensions that are constant.

        Raises:
            ValueError: no rows.
        """
        mean, deviation = moments(batches, tuple(self.mean.shape))
        self.mean.assign(mean)
        self.scale.assign(np.where(deviation > 0, deviation, 1.0))
        return deviation

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """Data `(…, *shape)` in units of their own to standard ones."""
        return (x - self.mean) / self.scale

    def inverse(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """From standard units `(…, *shape)` to the data's own."""
        return x * self.scale + self.mean

    def log_volume(self) -> keras.KerasTensor:
        """log |d own / d standard|, summed over the dimensions: what a density per standard unit loses in the data's units."""
        return ops.sum(ops.log(self.scale))


def moments(batches: Iterable[ArrayLike], shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation, `(*shape)` each, of data in batches `(n, *shape)`, in one pass and in float64.

    Raises:
        ValueError: no rows.
    """
    count, origin, total, squares, largest = 0, 0.0, 0.0, 0.0, 0.0
    for batch in batches:
        x = ops.convert_to_numpy(inputs.rows(batch, shape)).astype("float64")
        origin = origin if count else x.mean(axis=0)  # near the mean, squares lose no digits
        count, largest = count + len(x), np.maximum(largest, np.abs(x).max(axis=0))
        total, squares = total + (x - origin).sum(axis=0), squares + np.square(x - origin).sum(axis=0)
    if not count:
        raise ValueError("Expected data to find the scale of. Received: no rows. Try more data.")
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - np.square(mean), 0.0))
    return origin + mean, np.where(deviation > CONSTANT * largest, deviation, 0.0)
