"""Likelihoods: how a reconstruction is judged, and the last layer that gives it its parameters.

A likelihood holds no weights. `head` makes the layer from the decoder's features to the parameters `(…, *shape)`;
`mean` turns parameters into a reconstruction and `log_prob` judges data by them.
"""

import abc
import math

import keras
import numpy as np
from keras import ops


class Likelihood(abc.ABC):
    """What every likelihood has; one value is modelled by one parameter unless a subclass says otherwise.

    `low` and `high` bound the values that it can take, None for no bound.
    """

    low: float | None = None
    high: float | None = None

    def head(self, shape: tuple[int, ...]) -> keras.layers.Layer:
        """The projection from decoder features to the parameters of one example of `shape`."""
        layers = [keras.layers.Flatten(), keras.layers.Dense(math.prod(shape)), keras.layers.Reshape(shape)]
        return keras.Sequential(layers, name="head")

    @abc.abstractmethod
    def mean(self, parameters: keras.KerasTensor) -> keras.KerasTensor:
        """E[x | parameters], of the parameters' shape."""

    @abc.abstractmethod
    def log_prob(self, x: keras.KerasTensor, parameters: keras.KerasTensor) -> keras.KerasTensor:
        """log p(x | parameters) in nats, `(S, B)`, for x `(B, *shape)` and parameters `(S, B, *shape)`."""

    def check(self, x: np.ndarray) -> None:
        """Raises ValueError where `x` holds NaN, Inf, or a value that this likelihood cannot take."""
        if x.size == 0:
            return
        low, high = float(np.min(x)), float(np.max(x))  # NaN where any value is
        if not (np.isfinite(low) and np.isfinite(high)):
            raise ValueError(
                f"Expected finite values. Received: {np.count_nonzero(~np.isfinite(x)):,} NaN or Inf among {x.size:,}. "
                "Try dropping those rows, or filling them in."
            )
        bounds = (-np.inf if self.low is None else self.low, np.inf if self.high is None else self.high)
        if low < bounds[0] or high > bounds[1]:
            raise ValueError(
                f"Expected values in [{bounds[0]:g}, {bounds[1]:g}] for {type(self).__name__}. "
                f"Received: values in [{low:g}, {high:g}]. Try {_scaling(low, high)}, or another likelihood."
            )

    def get_config(self) -> dict:
        return {}

    @classmethod
    def from_config(cls, config: dict):
        return cls(**config)


@keras.saving.register_keras_serializable("zoo")
class SquaredError(Likelihood):
    """L_SE = Σᵢ (xᵢ − x̃ᵢ)², read as a Gaussian of fixed variance σ² = ½ in every dimension.

    With that variance −log p(x | x̃) = L_SE + (d/2) log π: minimizing one minimizes the other, and gradients agree.

    Args:
        activation: f₂ of the output layer, a Keras name.
    """

    def __init__(self, activation: str = "linear"):
        self.activation = activation
        self._activation = keras.activations.get(activation)

    def mean(self, parameters: keras.KerasTensor) -> keras.KerasTensor:
        return self._activation(parameters)

    def log_prob(self, x: keras.KerasTensor, parameters: keras.KerasTensor) -> keras.KerasTensor:
        error = ops.square(x[None] - self.mean(parameters))  # (S, B, *shape)
        d = math.prod(x.shape[1:])
        return -_sum_per_example(error) - 0.5 * d * math.log(math.pi)

    def get_config(self):
        return {"activation": self.activation}


@keras.saving.register_keras_serializable("zoo")
class Bernoulli(Likelihood):
    """Each value is 0 or 1 with a probability of its own; f₂ is the logistic function.

    log p = Σᵢ xᵢ log x̃ᵢ + (1 − xᵢ) log(1 − x̃ᵢ). Grey levels in [0, 1] are taken as probabilities (cross-entropy), which
    is the custom of the field and no longer a log-probability of the data.
    """

    low, high = 0.0, 1.0

    def mean(self, parameters: keras.KerasTensor) -> keras.KerasTensor:
        return ops.sigmoid(parameters)

    def log_prob(self, x: keras.KerasTensor, parameters: keras.KerasTensor) -> keras.KerasTensor:
        return _sum_per_example(x[None] * parameters - ops.softplus(parameters))


def _sum_per_example(values):
    return ops.sum(values, axis=tuple(range(2, len(values.shape))))  # (S, B, *shape) -> (S, B)


def _scaling(low: float, high: float) -> str:
    if low >= 0:
        top = 255 if 1 < high <= 255 and high > 16 else high
        return f"x / {top:g}"
    return f"(x - {low:g}) / {high - low:g}"
