"""Densities over codes, from which `generate` draws."""

import math

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from zoo import noise
from zoo.inputs import integers, is_tensor
from zoo.registry import register


@register("density", "mixture")
class Mixture(keras.layers.Layer):
    """A Gaussian mixture Σₘ πₘ N(μₘ, Lₘ Lₘᵀ) over codes in R^k; with classes, one mixture per class.

    The variables have their final size from the start and hold a standard normal until `assign` is called, so a model can be
    saved and exported before and after its density is fitted.

    Args:
        components: number M of Gaussians, per class if there are classes.
        classes: number C of classes, or 0.

    Called on seeds `(B,)`, int32, it returns codes `(B, k)`; the same seed gives the same code. With labels `(B,)`, int32 in
    [0, C), it draws each code from its class.
    """

    def __init__(self, components: int = 10, classes: int = 0, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.components = components
        self.classes = classes

    def build(self, input_shape: tuple) -> None:
        groups, m, k = max(self.classes, 1), self.components, input_shape[-1]
        self.proportions = self._constant("proportions", np.full((groups, m), 1 / (groups * m)))  # (C, M), sum 1
        self.means = self._constant("means", np.zeros((groups, m, k)))  # (C, M, k)
        self.scales = self._constant("scales", np.tile(np.eye(k), (groups, m, 1, 1)))  # (C, M, k, k), lower triangular

    def assign(self, proportions: np.ndarray, means: np.ndarray, covariances: np.ndarray) -> None:
        """Sets proportions `(C, M)`, which sum to 1, means `(C, M, k)` and positive definite covariances `(C, M, k, k)`;
        without classes, C is 1 or left out."""
        self.proportions.assign(np.reshape(proportions, self.proportions.shape))
        self.means.assign(np.reshape(means, self.means.shape))
        self.scales.assign(np.reshape(np.linalg.cholesky(covariances), self.scales.shape))

    @property
    def fitted(self) -> np.ndarray:
        """The classes that can be drawn from: those with rows when it was fitted, or all before that."""
        return np.flatnonzero(ops.convert_to_numpy(self.proportions).any(axis=-1))

    def known(self, label: ArrayLike) -> keras.KerasTensor:
        """Checks labels `(B,)` of classes to draw from; returns them as int32.

        In a graph, which cannot raise, an unknown label becomes C, which is out of range.

        Raises:
            ValueError: no classes; a label outside [0, C), or of a class without rows when the density was fitted.
        """
        if not self.classes:
            raise ValueError(
                "Expected a density with classes. Received: classes=0. "
                "Try density=zoo.Mixture(classes=C), and training.fit_density(model, x, labels)."
            )
        if not is_tensor(label):
            label = ops.convert_to_numpy(integers(label, 0, self.classes - 1))
            empty = ~np.isin(label, self.fitted)
            if empty.any():
                raise ValueError(
                    f"Expected classes that had rows when the density was fitted. Received: {label[empty][0]} in row "
                    f"{empty.argmax()}. Try one of {', '.join(map(str, self.fitted))}."
                )
        label = integers(label)
        inside = (label >= 0) & (label < self.classes)
        drawn = ops.any(self.proportions > 0, axis=-1)  # (C,)
        return ops.where(inside & ops.take(drawn, ops.where(inside, label, 0), axis=0), label, self.classes)

    def call(self, seed: keras.KerasTensor, label: keras.KerasTensor | None = None) -> keras.KerasTensor:
        k = self.means.shape[-1]
        # (1, C M), or (B, M)
        proportions = ops.reshape(self.proportions, (1, -1)) if label is None else ops.take(self.proportions, label, axis=0)
        edges = ops.cumsum(proportions, axis=-1)
        # Below the last edge however that was rounded, so that a component of proportion 0 is never drawn.
        at = noise.uniform(seed, 1, stream=1) * edges[:, -1:]  # (B, 1)
        component = ops.sum(ops.cast(at > edges[:, :-1], "int32"), axis=-1)  # (B,)
        if label is not None:
            component = component + self.components * ops.cast(label, "int32")
        mean = ops.take(ops.reshape(self.means, (-1, k)), component, axis=0)  # (B, k)
        scale = ops.take(ops.reshape(self.scales, (-1, k, k)), component, axis=0)  # (B, k, k)
        return mean + ops.einsum("bij,bj->bi", scale, noise.normal(seed, k))

    def log_prob(self, codes: keras.KerasTensor) -> keras.KerasTensor:
        """log Σₘ πₘ N(code; μₘ, Lₘ Lₘᵀ) in nats, `(B,)`, for codes `(B, k)`; over all classes, if there are any."""
        k = self.means.shape[-1]
        means, scales = ops.reshape(self.means, (-1, k)), ops.reshape(self.scales, (-1, k, k))  # (M, k), (M, k, k)
        difference = ops.transpose(codes[None] - means[:, None], (0, 2, 1))  # (M, k, B)
        standard = ops.linalg.solve_triangular(scales, difference, lower=True)  # (M, k, B)
        volume = ops.sum(ops.log(ops.diagonal(scales, axis1=-2, axis2=-1)), axis=-1)  # (M,)
        constant = ops.log(ops.maximum(ops.reshape(self.proportions, (-1,)), 1e-30)) - volume - 0.5 * k * math.log(2 * math.pi)
        return ops.logsumexp(constant[:, None] - 0.5 * ops.sum(ops.square(standard), axis=1), axis=0)

    def get_config(self) -> dict:
        return {**super().get_config(), "components": self.components, "classes": self.classes}

    def _constant(self, name: str, value: np.ndarray):
        initializer = lambda shape, dtype=None: ops.convert_to_tensor(value, dtype=dtype)  # noqa: E731
        return self.add_weight(shape=value.shape, initializer=initializer, trainable=False, name=name)
