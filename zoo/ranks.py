"""How odd is odd: scores compared with those of data that were held out of training."""

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from zoo.arguments import require_whole
from zoo.registry import register


@register("typicality", "ranks")
class Ranks(keras.layers.Layer):
    """The distribution of scores of held-out data, by its quantiles. Called on scores `(B,)`, it returns the share of that
    distribution below each, in [0, 1], `(B,)`.

    Of new data from the same source, a share p is below p: 0.01 as a threshold has one false alarm in a hundred.

    Args:
        quantiles: how many are kept; with fewer held-out rows, all of their scores are.
    """

    def __init__(self, quantiles: int = 1001, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        require_whole(2, quantiles=quantiles)
        self.quantiles = quantiles

    def build(self, input_shape: tuple) -> None:
        settings = {"trainable": False, "dtype": "float32", "autocast": False}
        self.scores = self.add_weight(shape=(self.quantiles,), initializer="zeros", name="scores", **settings)

    def fit(self, scores: ArrayLike) -> None:
        """Takes over the distribution of scores `(n,)`.

        Raises:
            ValueError: no scores, or NaN among them.
        """
        scores = np.asarray(scores, "float64").ravel()
        if not scores.size or np.isnan(scores).any():
            received = f"{np.isnan(scores).sum()} of {scores.size} are NaN" if scores.size else "none"
            raise ValueError(f"Expected scores of held-out data. Received: {received}. Try more data.")
        self.scores.assign(np.quantile(scores, np.linspace(0, 1, self.quantiles), method="inverted_cdf"))

    def call(self, scores: keras.KerasTensor) -> keras.KerasTensor:
        return ops.mean(ops.cast(self.scores[None] < scores[:, None], "float32"), axis=1)

    def get_config(self) -> dict:
        return {**super().get_config(), "quantiles": self.quantiles}
