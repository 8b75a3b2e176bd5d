"""Priors: distributions of codes, which `generate` draws from, and relative to which codes have their cost."""

import abc
import math

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from zoo import noise
from zoo.inputs import integers, is_tensor
from zoo.registry import register


class Prior(keras.layers.Layer, abc.ABC):
    """Base class of all priors p(a) over codes a in R^k, or over the indices of the entries that a code consists of.

    Called on seeds `(B,)`, int32, it returns codes `(B, k)`; the same seed gives the same code. A prior with `classes`
    takes labels `(B,)` too. It computes in float32, whatever the model computes in.
    """

    classes = 0  # that can be asked for; 0: none
    discrete = False  # whether it is over indices of entries

    def __init__(self, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})

    @abc.abstractmethod
    def call(self, seed: keras.KerasTensor) -> keras.KerasTensor:
        """Codes `(B, k)` drawn by seeds `(B,)`."""

    @abc.abstractmethod
    def log_prob(self, codes: keras.KerasTensor) -> keras.KerasTensor:
        """log p of codes `(…, k)` in nats, `(…)`."""

    def standard(self) -> bool | keras.KerasTensor:
        """Whether it is the standard normal distribution, or still is."""
        return False

    def available(self) -> keras.KerasTensor:
        """The classes that can be drawn from, booleans `(C,)`: those with rows when it was fitted, or all before that."""
        return ops.ones((self.classes,), "bool")

    @property
    def fitted(self) -> np.ndarray:
        """The numbers of the classes that can be drawn from."""
        return np.flatnonzero(ops.convert_to_numpy(self.available()))

    def known(self, label: ArrayLike) -> keras.KerasTensor:
        """Checks labels `(B,)` of classes to draw from; returns them as int32.

        In a graph, which cannot raise, an unknown label becomes C, which is out of range.

        Raises:
            ValueError: no classes; a label outside [0, C), or of a class without rows when the prior was fitted.
        """
        if not self.classes:
            raise ValueError(
                f"Expected a prior with classes. Received: {type(self).__name__}, classes=0. "
                "Try prior=zoo.Mixture(classes=C), and training.fit_prior(model, x, labels)."
            )
        if not is_tensor(label):
            label = ops.convert_to_numpy(integers(label, 0, self.classes - 1))
            empty = ~np.isin(label, self.fitted)
            if empty.any():
                raise ValueError(
                    f"Expected classes that had rows when the prior was fitted. Received: {label[empty][0]} in row "
                    f"{empty.argmax()}. Try one of {', '.join(map(str, self.fitted))}."
                )
        label = integers(label)
        inside = (label >= 0) & (label < self.classes)
        return ops.where(inside & ops.take(self.available(), ops.where(inside, label, 0), axis=0), label, self.classes)


@register("prior", "normal")
class StandardNormal(Prior):
    """A standard normal distribution of codes, N(0, I)."""

    def build(self, input_shape: tuple) -> None:
        self.k = input_shape[-1]

    def call(self, seed: keras.KerasTensor) -> keras.KerasTensor:
        return noise.normal(seed, self.k)

    def log_prob(self, codes: keras.KerasTensor) -> keras.KerasTensor:
        return -0.5 * ops.sum(ops.square(codes), axis=-1) - 0.5 * self.k * math.log(2 * math.pi)

    def standard(self) -> bool | keras.KerasTensor:
        return True
