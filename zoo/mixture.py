"""Gaussian mixtures as priors over codes."""

import math

import keras
import numpy as np
from keras import ops

from zoo import noise
from zoo.priors import Prior
from zoo.registry import register


@register("prior", "mixture")
class Mixture(Prior):
    """A Gaussian mixture Σₘ πₘ N(μₘ, Lₘ Lₘᵀ) over codes in R^k, fitted after training; with classes, one mixture per class.

    The variables have their final size from the start and hold a standard normal until `assign` is called, so a model can be
    saved and exported before and after its prior is fitted.

    Args:
        components: number M of Gaussians, per class if there are classes.
        classes: number C of classes, or 0.

    Called on seeds `(B,)`, int32, it returns codes `(B, k)`; the same seed gives the same code. With labels `(B,)`, int32 in
    [0, C), it draws each code from its class.
    """

    def __init__(self, components: int = 10, classes: int = 0, **kwargs):
        super().__init__(**kwargs)
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
        """log Σₘ πₘ N(code; μₘ, Lₘ Lₘᵀ) in nats, `(…)`, for codes `(…, k)`; over all classes, if there are any."""
        k, shape = self.means.shape[-1], ops.shape(codes)[:-1]
        codes = ops.reshape(codes, (-1, k))  # (B, k)
        means, scales = ops.reshape(self.means, (-1, k)), ops.reshape(self.scales, (-1, k, k))  # (M, k), (M, k, k)
        difference = ops.transpose(codes[None] - means[:, None], (0, 2, 1))  # (M, k, B)
        standard = ops.linalg.solve_triangular(scales, difference, lower=True)  # (M, k, B)
        volume = ops.sum(ops.log(ops.diagonal(scales, axis1=-2, axis2=-1)), axis=-1)  # (M,)
        constant = ops.log(ops.maximum(ops.reshape(self.proportions, (-1,)), 1e-30)) - volume - 0.5 * k * math.log(2 * math.pi)
        log_prob = ops.logsumexp(constant[:, None] - 0.5 * ops.sum(ops.square(standard), axis=1), axis=0)  # (B,)
        return ops.reshape(log_prob, shape)

    def available(self) -> keras.KerasTensor:
        return ops.any(self.proportions > 0, axis=-1)

    def standard(self) -> bool | keras.KerasTensor:
        normal = ops.equal(self.scales, ops.eye(self.means.shape[-1]))
        return ops.logical_and(ops.all(normal), ops.all(ops.equal(self.means, 0.0)))

    def get_config(self) -> dict:
        return {**super().get_config(), "components": self.components, "classes": self.classes}

    def _constant(self, name: str, value: np.ndarray):
        initializer = lambda shape, dtype=None: ops.convert_to_tensor(value, dtype=dtype)  # noqa: E731
        # A bottleneck that computes in bfloat16 asks for log p too.
        return self.add_weight(shape=value.shape, initializer=initializer, trainable=False, autocast=False, name=name)
