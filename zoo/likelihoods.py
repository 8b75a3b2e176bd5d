"""Likelihoods: how a reconstruction is judged, and the last layer that gives it its parameters.

A likelihood holds no weights. `head` makes the layer from the decoder's features to the parameters, `(…, *shape)` or
`(…, *shape, p)` where a value is modelled by p > 1 of them; `mean` turns parameters into a reconstruction and `log_prob`
judges data by them.
"""

import abc
import math
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

LARGEST = 1e15  # of a value: the squares of 10⁸ such values still have a sum in float32


class Likelihood(abc.ABC):
    """What every likelihood has.

    `low` and `high` bound the values that it can take, None for no bound; `parameters` model one value.
    """

    low: float | None = None
    high: float | None = None
    parameters: int = 1

    def head(self, shape: tuple[int, ...], features: tuple[int, ...]) -> keras.layers.Layer:
        """The projection from decoder features to the parameters of one example, by their shapes.

        It is a convolution where the features are an image of the example's height and width, otherwise fully connected.
        """
        image = len(shape) == len(features) == 3 and shape[:2] == features[:2]
        if image:
            layers = [keras.layers.Conv2D(shape[2] * self.parameters, 3, padding="same")]
        else:
            layers = [keras.layers.Flatten(), keras.layers.Dense(math.prod(shape) * self.parameters)]
        target = shape if self.parameters == 1 else (*shape, self.parameters)
        return keras.Sequential([*layers, keras.layers.Reshape(target)], name="head")

    @abc.abstractmethod
    def mean(self, parameters: keras.KerasTensor) -> keras.KerasTensor:
        """E[x | parameters], `(…, *shape)`."""

    @abc.abstractmethod
    def log_prob(self, x: keras.KerasTensor, parameters: keras.KerasTensor) -> keras.KerasTensor:
        """log p(x | parameters) in nats, `(S, B)`, for x `(B, *shape)` and the parameters of S · B examples."""

    def start(self, mean: np.ndarray) -> np.ndarray | None:
        """Parameters of values with this mean, which the head's bias may start from; None where zeros do as well."""
        return None

    def check(self, x: np.ndarray) -> None:
        """Raises ValueError where `x` holds NaN, Inf, or a value that this likelihood cannot take."""
        if x.size == 0:
            return
        low, high = require_finite(x)
        bounds = (-np.inf if self.low is None else self.low, np.inf if self.high is None else self.high)
        if low < bounds[0] or high > bounds[1]:
            outside = ((x < bounds[0]) | (x > bounds[1])).reshape(len(x), -1).any(axis=1)
            raise ValueError(
                f"Expected values in [{bounds[0]:g}, {bounds[1]:g}] for {type(self).__name__}. Received: values in "
                f"[{low:g}, {high:g}], outside in {outside.sum():,} of {len(x):,} rows, the first of them row "
                f"{outside.argmax()}. Try {_scaling(low, high)}, or another likelihood."
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

    def start(self, mean: np.ndarray) -> np.ndarray | None:
        return {"linear": np.asarray, "sigmoid": _logit}.get(self.activation, lambda mean: None)(mean)

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

    def start(self, mean: np.ndarray) -> np.ndarray | None:
        return _logit(mean)

    def log_prob(self, x: keras.KerasTensor, parameters: keras.KerasTensor) -> keras.KerasTensor:
        return _sum_per_example(x[None] * parameters - ops.softplus(parameters))


@keras.saving.register_keras_serializable("zoo")
class DiscretizedGaussian(Likelihood):
    """Grey levels 0, 1/n, …, 1 for n = `levels` − 1, each with a Gaussian's mean and variance of its own.

    A level has the probability that N(μ, σ²) gives to the bin around it, 1/n wide; the outermost bins are open (as in
    Salimans et al., 2017, with their logistic distribution). `log_prob` is a log-probability of the data, so
    −`log_prob` / (d log 2) are bits per dimension. f₂ is the logistic function for μ; σ ≥ 1/(4 n).

    Args:
        levels: of a value, 256 for 8-bit images.
    """

    low, high = 0.0, 1.0
    parameters = 2

    def __init__(self, levels: int = 256):
        if levels < 2:
            raise ValueError(f"Expected at least two levels. Received: levels={levels}. Try levels=256.")
        self.levels = levels

    def mean(self, parameters: keras.KerasTensor) -> keras.KerasTensor:
        return ops.sigmoid(parameters[..., 0])

    def start(self, mean: np.ndarray) -> np.ndarray | None:
        return np.stack([_logit(mean), np.zeros_like(mean)], axis=-1)

    def log_prob(self, x: keras.KerasTensor, parameters: keras.KerasTensor) -> keras.KerasTensor:
        half = 0.5 / (self.levels - 1)
        scale = 0.5 * half + ops.softplus(parameters[..., 1] - 2.0)
        offset = x[None] - self.mean(parameters)
        upper, lower = (offset + half) / scale, (offset - half) / scale
        below = ops.where(x[None] < half, 0.0, _normal_cdf(lower))
        above = ops.where(x[None] > 1 - half, 1.0, _normal_cdf(upper))
        mass = above - below
        # Far out in a tail the difference rounds to nothing: the density at the bin's centre times its width stands in.
        density = -0.5 * ops.square(offset / scale) - ops.log(scale / (2 * half)) - 0.5 * math.log(2 * math.pi)
        sure = mass > 1e-4
        return _sum_per_example(ops.where(sure, ops.log(ops.where(sure, mass, 1.0)), density))

    def get_config(self):
        return {"levels": self.levels}


def _logit(mean):
    mean = np.clip(mean, 0.01, 0.99)
    return np.log(mean / (1 - mean))


def _normal_cdf(x):
    return 0.5 * (1.0 + ops.erf(x / math.sqrt(2.0)))


def require_finite(x: np.ndarray, names: Sequence | None = None) -> tuple[float, float]:
    """The lowest and the highest value of rows `(n, …)`; ValueError, with the row and the value, where x holds NaN, Inf or a
    value beyond `LARGEST`.

    Args:
        names: of the rows, their numbers unless given.
    """
    low, high = (float(np.min(x)), float(np.max(x))) if x.size else (0.0, 0.0)  # NaN where any value is
    if not -LARGEST <= low <= high <= LARGEST:
        values = np.reshape(x, (len(x), -1) if np.ndim(x) else (1, 1))
        bad = np.argwhere(~(np.abs(values) <= LARGEST))
        row, place = bad[0]
        raise ValueError(
            f"Expected finite values: no NaN or Inf, and none beyond ±{LARGEST:g}, whose squares float32 can sum. Received: "
            f"{values[row, place]!s} in row {row if names is None else names[row]}, and {len(bad) - 1:,} more such values. "
            "Try dropping those rows, filling them in, or other units."
        )
    return low, high


def _sum_per_example(values):
    return ops.sum(values, axis=tuple(range(2, len(values.shape))))  # (S, B, *shape) -> (S, B)


def _scaling(low: float, high: float) -> str:
    if low >= 0:
        top = 255 if 1 < high <= 255 and high > 16 else high
        return f"x / {top:g}"
    return f"(x - {low:g}) / {high - low:g}"
