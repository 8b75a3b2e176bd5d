"""A density over codes, which is what `generate` draws from."""

import keras
import numpy as np
from keras import ops

from zoo import noise


@keras.saving.register_keras_serializable("zoo")
class Mixture(keras.layers.Layer):
    """Gaussian mixture Σₘ πₘ N(μₘ, Lₘ Lₘᵀ) over codes in R^k.

    The variables have their size from construction and hold a standard normal until `assign` is called, so a model can be
    saved and exported before and after its density is fitted.

    Args:
        components: number M of Gaussians.

    Called on seeds `(B,)`, int32, it returns codes `(B, k)`: the same seed gives the same code.
    """

    def __init__(self, components: int = 10, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.components = components

    def build(self, input_shape):
        m, k = self.components, input_shape[-1]
        self.proportions = self._constant("proportions", np.full(m, 1 / m))  # (M,)
        self.means = self._constant("means", np.zeros((m, k)))  # (M, k)
        self.scales = self._constant("scales", np.tile(np.eye(k), (m, 1, 1)))  # (M, k, k), lower triangular

    def assign(self, proportions: np.ndarray, means: np.ndarray, covariances: np.ndarray) -> None:
        """Takes over proportions `(M,)`, means `(M, k)` and covariances `(M, k, k)`, positive definite."""
        self.proportions.assign(proportions)
        self.means.assign(means)
        self.scales.assign(np.linalg.cholesky(covariances))

    def call(self, seed: keras.KerasTensor) -> keras.KerasTensor:
        edges = ops.cumsum(self.proportions)[:-1]  # (M - 1,)
        choice = noise.uniform(seed, 1, stream=1) > edges[None]  # (B, M - 1)
        component = ops.sum(ops.cast(choice, "int32"), axis=-1)  # (B,)
        mean = ops.take(self.means, component, axis=0)  # (B, k)
        scale = ops.take(self.scales, component, axis=0)  # (B, k, k)
        return mean + ops.einsum("bij,bj->bi", scale, noise.normal(seed, mean.shape[-1]))

    def get_config(self):
        return {**super().get_config(), "components": self.components}

    def _constant(self, name: str, value: np.ndarray):
        initializer = lambda shape, dtype=None: ops.convert_to_tensor(value, dtype=dtype)  # noqa: E731
        return self.add_weight(shape=value.shape, initializer=initializer, trainable=False, name=name)
