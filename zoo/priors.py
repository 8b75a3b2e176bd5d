"""Priors: distributions of codes, which `generate` draws from, and relative to which codes have their cost."""

import abc
import math

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike
from scipy.special import ndtr

from zoo import noise
from zoo.registry import register


class Prior(keras.layers.Layer, abc.ABC):
    """Base class of all priors p(a) over codes a in R^k, or over the indices of the entries that a code consists of.

    Called on seeds `(B,)`, int32, a prior returns codes `(B, k)`; the same seed gives the same code. A prior with `classes`
    takes labels `(B,)` too. It computes in float32, whatever the model computes in.
    """

    classes = 0  # that can be asked for; 0: none

    def __init__(self, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})

    @abc.abstractmethod
    def call(self, seed: keras.KerasTensor) -> keras.KerasTensor:
        """Codes `(B, k)` drawn by seeds `(B,)`."""

    @abc.abstractmethod
    def log_prob(self, codes: keras.KerasTensor) -> keras.KerasTensor:
        """log p of codes `(B, k)` in nats, `(B,)`."""

    @abc.abstractmethod
    def conditional(self, before: np.ndarray, edges: np.ndarray | None = None) -> np.ndarray:
        """The probabilities p(aⱼ in each of G cells | a₀ … aⱼ₋₁) that a coder needs, float64 `(B, G)`, whose rows sum to 1.

        They are computed in NumPy, in float64, for one dimension after the other.

        Args:
            before: the dimensions before the j-th, `(B, j)`, 0 ≤ j < k.
            edges: between the cells of a code in R^k, ascending, `(G - 1,)`; the first and the last cell are open. Of a code
                that consists of entries, every entry is a cell, and edges are left out.
        """

    def known(self, label: ArrayLike) -> keras.KerasTensor:
        """Checks labels `(B,)` of classes to draw from; returns them as int32.

        Raises:
            ValueError: the prior has no classes.
        """
        raise ValueError(
            f"Expected a prior with classes. Received: {type(self).__name__}, classes=0. "
            "Try prior=zoo.Mixture(classes=C), and training.fit_prior(model, x, labels)."
        )


@register("prior", "normal")
class StandardNormal(Prior):
    """A standard normal distribution of codes, N(0, I)."""

    def build(self, input_shape: tuple) -> None:
        self.k = input_shape[-1]

    def call(self, seed: keras.KerasTensor) -> keras.KerasTensor:
        return noise.normal(seed, self.k)

    def log_prob(self, codes: keras.KerasTensor) -> keras.KerasTensor:
        return -0.5 * ops.sum(ops.square(codes), axis=-1) - 0.5 * self.k * math.log(2 * math.pi)

    def conditional(self, before: np.ndarray, edges: np.ndarray | None = None) -> np.ndarray:
        below = ndtr(np.asarray(edges, "float64"))  # (G - 1,)
        return np.tile(np.diff(below, prepend=0.0, append=1.0), (len(before), 1))
