"""Likelihoods p(x | parameters), and the last layer, which computes the parameters.

A likelihood has no weights. `head` makes the layer from the decoder's features to the parameters, `(…, *shape)`, or
`(…, *shape, p)` with p > 1 parameters per value; `mean` turns parameters into a reconstruction, and `log_prob` gives the
log-probability of data.
"""

import abc
import math
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from zoo.arguments import require_whole
from zoo.coding import curves
from zoo.registry import Activation, Serializable, register

MOST_LEVELS = 256
LARGEST = 1e15  # greatest value: the squares of 10⁸ such values can be summed in float32
_GAUSS = [part.tolist() for part in np.polynomial.legendre.leggauss(8)]  # nodes, weights
_LOG_ROOT = 0.5 * math.log(2 * math.pi)
# log((1 − Φ(x)) / φ(x)) − log s by powers of s = 1 / (1 + 0.3 x): interpolated at Chebyshev nodes, to 3e-8 for x ≥ 0
_MILLS = (
    -1.203972782,
    0.999993817,
    0.410278282,
    0.148463622,
    0.043705432,
    -0.302822144,
    0.614370394,
    -1.412350634,
    1.580325428,
    -0.812595839,
    0.160395788,
)


class Likelihood(Serializable, abc.ABC):
    """Base class of all likelihoods.

    `low` and `high` are bounds of the data, None for no bound; `parameters` is the number of parameters per value.
    """

    low: float | None = None
    high: float | None = None
    parameters: int = 1

    def head(self, shape: tuple[int, ...], features: tuple[int, ...]) -> keras.layers.Layer:
        """The projection from decoder features to the parameters of one example of `shape`.

        It is a convolution if the features are an image of the example's height and width, otherwise fully connected.
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
        """log p(x | parameters) in nats, `(S, B)`, for x `(B, *shape)` and parameters `(S, B, …)`."""

    @classmethod
    def settings(cls, x: np.ndarray) -> dict[str, object]:
        """The arguments that data `(n, *shape)` decide where an experiment leaves them open, as None."""
        return {}

    def start(self, mean: np.ndarray) -> np.ndarray | None:
        """Parameters whose mean is `mean`, as initial bias of the head; None if zeros are as good."""
        return None

    def check(self, x: np.ndarray) -> None:
        """Raises ValueError if `x` holds NaN, Inf, or a value out of bounds."""
        if x.size == 0:
            return
        low, high = require_finite(x)
        bounds = (-np.inf if self.low is None else self.low, np.inf if self.high is None else self.high)
        if low < bounds[0] or high > bounds[1]:
            outside = ((x < bounds[0]) | (x > bounds[1])).reshape(len(x), -1).any(axis=1)
            raise ValueError(
                f"Expected values in [{bounds[0]:g}, {bounds[1]:g}] for {type(self).__name__}. Received: values in "
                f"[{low:g}, {high:g}], out of bounds in {outside.sum():,} of {len(x):,} rows, first in row "
                f"{outside.argmax()}. Try {_scaling(low, high)}, or another likelihood."
            )


class Discrete(Likelihood):
    """Base class of likelihoods of data on the levels 0, 1/n, …, 1, of which `log_prob` is a log-probability. Such data can be
    compressed without loss. `levels` is n + 1."""

    low, high = 0.0, 1.0
    levels: int

    @abc.abstractmethod
    def below(self, parameters: np.ndarray, edges: np.ndarray) -> np.ndarray:
        """P(x < edge / n), float64 `(m,)`, of m values.

        A coder makes its tables of it, and has to find the same numbers wherever it runs: only sums, products and quotients of
        single numbers will do, and the functions of `zoo.coding.curves`; not NumPy's `exp`, nor its sums along an axis.

        Args:
            parameters: of each value, float64 `(m,)`, or `(m, p)` if there are p > 1.
            edges: the number of a level for each value, int64 `(m,)` in [1, n].
        """


@register("likelihood", "squared_error")
class SquaredError(Likelihood):
    """Squared error L_SE = Σᵢ (xᵢ − x̃ᵢ)²: a Gaussian with the fixed variance σ² = ½ in every dimension.

    With that variance −log p(x | x̃) = L_SE + (d/2) log π: both have the same minimum and the same gradients.

    Args:
        activation: activation function f₂ of the output layer, a Keras name.
    """

    def __init__(self, activation: Activation = "linear"):
        self.activation = activation
        self._activation = keras.activations.get(activation)

    def mean(self, parameters: keras.KerasTensor) -> keras.KerasTensor:
        return self._activation(parameters)

    def start(self, mean: np.ndarray) -> np.ndarray | None:
        return {"linear": np.asarray, "sigmoid": _logit}.get(self.activation, lambda mean: None)(mean)

    def log_prob(self, x: keras.KerasTensor, parameters: keras.KerasTensor) -> keras.KerasTensor:
        error = ops.square(x[None] - self.mean(parameters))  # (S, B, *shape)
        d = math.prod(x.shape[1:])
        return -sum_per_example(error) - 0.5 * d * math.log(math.pi)

    def get_config(self) -> dict:
        return {"activation": self.activation}


@register("likelihood", "bernoulli")
class Bernoulli(Discrete):
    """Bernoulli distributions: every value is 0 or 1, with its own probability; f₂ is the logistic function.

    log p = Σᵢ xᵢ log x̃ᵢ + (1 − xᵢ) log(1 − x̃ᵢ). Grey levels in [0, 1] are taken as probabilities (cross-entropy): this is
    common, but then it is not a log-probability of the data.
    """

    levels = 2

    def mean(self, parameters: keras.KerasTensor) -> keras.KerasTensor:
        return ops.sigmoid(parameters)

    def start(self, mean: np.ndarray) -> np.ndarray | None:
        return _logit(mean)

    def log_prob(self, x: keras.KerasTensor, parameters: keras.KerasTensor) -> keras.KerasTensor:
        return sum_per_example(x[None] * parameters - ops.softplus(parameters))

    def below(self, parameters: np.ndarray, edges: np.ndarray) -> np.ndarray:
        return curves.sigmoid(-parameters)


class Levels(Discrete):
    """Base class of likelihoods of as many grey levels as the data have.

    Args:
        levels: number of grey levels, 256 for 8-bit images; None: 256.
    """

    def __init__(self, levels: int | None = None):
        require_whole(2, levels=MOST_LEVELS if levels is None else levels)
        self.levels = MOST_LEVELS if levels is None else int(levels)

    @classmethod
    def settings(cls, x: np.ndarray) -> dict[str, object]:
        """The least `levels`, 2 to 256, such that x lies on 0, 1/n, …, 1 for n = levels − 1; 256 where there are none."""
        values = np.unique(np.round(x, 5))  # which the rounding of a quotient does not reach
        if len(values) > 2 * MOST_LEVELS or not (values.min() >= 0 and values.max() <= 1):
            return {"levels": MOST_LEVELS}
        grids = (n for n in range(1, MOST_LEVELS) if np.abs(n * values - np.round(n * values)).max() < 0.01)
        return {"levels": next(grids, MOST_LEVELS - 1) + 1}

    def get_config(self) -> dict:
        return {"levels": self.levels}


@register("likelihood", "discretized_gaussian")
class DiscretizedGaussian(Levels):
    """Discretized Gaussians over the grey levels 0, 1/n, …, 1, n = `levels` − 1; every value has its own mean and variance.

    The probability of a level is that of the bin around it, 1/n wide, under N(μ, σ²); the outermost bins are open (as in
    Salimans et al., 2017, for the logistic distribution). `log_prob` is a log-probability of the data, so
    −`log_prob` / (d log 2) are bits per dimension. f₂ is the logistic function for μ; σ ≥ 1/(4 n). In float32 a level's
    log-probability has an error of at most 1e-5, relative or in nats, besides the rounding of μ: 3e-8 of it, n · 1e-7 of the
    narrowest σ.

    The score of a value between two levels is that of a bin of the same width around it, open if the value is nearest to an
    outermost level: the Gaussian density blurred over a bin, which is not a probability.

    Args:
        levels: number of grey levels, 256 for 8-bit images; None: 256 or, in an experiment, that of the training data.
    """

    parameters = 2

    def __init__(self, levels: int | None = None):
        super().__init__(levels)

    def mean(self, parameters: keras.KerasTensor) -> keras.KerasTensor:
        return ops.sigmoid(parameters[..., 0])

    def start(self, mean: np.ndarray) -> np.ndarray | None:
        return np.stack([_logit(mean), np.zeros_like(mean)], axis=-1)

    def log_prob(self, x: keras.KerasTensor, parameters: keras.KerasTensor) -> keras.KerasTensor:
        n = self.levels - 1
        scale = 0.25 + n * ops.softplus(parameters[..., 1] - 2.0)  # in bins, as are all lengths here
        offset = n * x[None] - n * self.mean(parameters)  # levels are integers here, so that their bins meet
        lowest, highest = x[None] < 0.5 / n, x[None] > 1 - 0.5 / n
        edge = ops.logical_or(lowest, highest)
        end = (0.5 + ops.where(lowest, offset, -offset)) / scale  # the finite end of an open bin, from the mean
        inner = _log_bin(ops.where(edge, 0.0, offset), scale)
        return sum_per_example(ops.where(edge, _log_cdf(ops.where(edge, end, 0.0)), inner))

    def below(self, parameters: np.ndarray, edges: np.ndarray) -> np.ndarray:
        n = self.levels - 1
        scale = 0.25 + n * curves.softplus(parameters[:, 1] - 2.0)
        return curves.normal_cdf((edges - 0.5 - n * curves.sigmoid(parameters[:, 0])) / scale)


def _log_bin(offset, scale):
    """log(Φ((o + ½) / σ) − Φ((o − ½) / σ)) for offsets o and σ ≥ ¼, with an error of about 1e-6, relative or
    absolute.

    With t = |o| / σ and h = 1 / (2 σ) it is log Φ(h − t) + log(1 − Φ(−h − t) / Φ(h − t)). The ratio tends to 1 as t h tends
    to 0; there the density, φ(t) exp(−t v − v² / 2) over v in [−h, h], is integrated by the eight-point Gauss-Legendre rule,
    all of whose terms are positive.
    """
    t, h = ops.abs(offset) / scale, 0.5 / scale
    far = t * h > 4.0  # then h ≤ 2 < t
    near = ops.where(far, 0.0, t)
    integral = sum(w * ops.exp(-h * y * (near + 0.5 * h * y)) for y, w in zip(*_GAUSS, strict=True))
    around = ops.log(0.5 * integral) - ops.log(scale) - 0.5 * ops.square(near) - _LOG_ROOT
    t, h = ops.where(far, t, 4.0), ops.where(far, h, 2.0)
    upper = _log_cdf(h - t)
    tail = upper + ops.log1p(-ops.exp(_log_cdf(-h - t) - upper))
    return ops.where(far, tail, around)


def _log_cdf(x):
    """log Φ(x). Below 0 it is −x² / 2 − log √(2π) and the logarithm of Mills' ratio, a polynomial in s minus log s."""
    below = ops.maximum(-x, 0.0)
    s = 1.0 / (1.0 + 0.3 * below)
    ratio = ops.full_like(s, _MILLS[-1])
    for coefficient in _MILLS[-2::-1]:
        ratio = coefficient + s * ratio
    tail = ratio + ops.log(s) - 0.5 * ops.square(below) - _LOG_ROOT
    return ops.where(x < 0, tail, ops.log(0.5 + 0.5 * ops.erf(ops.maximum(x, 0.0) / math.sqrt(2.0))))


def _logit(mean):
    mean = np.clip(mean, 0.01, 0.99)
    return np.log(mean / (1 - mean))


def require_finite(x: np.ndarray, names: Sequence | None = None) -> tuple[float, float]:
    """The least and the greatest value of rows `(n, …)`.

    Args:
        names: of the rows, for the error; their numbers unless given.

    Raises:
        ValueError: with the row and the value, if x holds NaN, Inf or a value beyond ± `LARGEST`.
    """
    low, high = (float(np.min(x)), float(np.max(x))) if x.size else (0.0, 0.0)  # NaN if any value is
    if not -LARGEST <= low <= high <= LARGEST:
        values = np.reshape(x, (len(x), -1) if np.ndim(x) else (1, 1))
        bad = np.argwhere(~(np.abs(values) <= LARGEST))
        row, column = bad[0]
        raise ValueError(
            f"Expected finite values: no NaN or Inf, and none beyond ±{LARGEST:g}, whose squares float32 can sum. Received: "
            f"{values[row, column]!s} in row {row if names is None else names[row]}, and {len(bad) - 1:,} more such values. "
            "Try dropping those rows, replacing the values, or other units."
        )
    return low, high


def sum_per_example(values: keras.KerasTensor) -> keras.KerasTensor:
    """Values `(S, B, *shape)` to their sums `(S, B)`."""
    return ops.sum(values, axis=tuple(range(2, len(values.shape))))  # (S, B, *shape) -> (S, B)


def _scaling(low: float, high: float) -> str:
    if low >= 0:
        top = 255 if 1 < high <= 255 and high > 16 else high
        return f"x / {top:g}"
    return f"(x - {low:g}) / {high - low:g}"
