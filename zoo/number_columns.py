"""Columns of numbers and dates: Gaussian, log-normal and negative binomial (see `zoo.columns`)."""

import abc
import math
from types import ModuleType
from typing import Any

import keras
import numpy as np
from keras import ops

from zoo.columns import Columns
from zoo.registry import register

FARTHEST = 8.0  # standard deviations beyond which the encoder does not see how far off a value is
NARROWEST = 0.02  # least standard deviation of a prediction, in standard units
MORE = 2  # decimals of an expected number, beyond those of the data
MOST_DRAWN = 1_000  # whole numbers among which counts are drawn
FINEST = 1e-5  # how far decimals reach, relative to the spread or to the highest number, in single precision
_WIDEST = 12.0  # how far the logarithms of a count's mean and size can be from their start
_DAY, _YEAR = 86_400.0, 365.2425 * 86_400.0
UNIT = 0.5413248546129181  # log(e − 1), where softplus is 1
_ROOT = 0.5 * math.log(2 * math.pi)


class _Numbers(Columns):
    """Columns of numbers, each with the same numbers of inputs and of parameters."""

    scales = 1
    inputs_each = 1
    parameters_each = 2

    @property
    def width(self) -> int:
        return self.size * self.inputs_each

    @property
    def parameters(self) -> int:
        return self.size * self.parameters_each

    @property
    def bounds(self) -> np.ndarray:
        """The cells of the lowest and of the highest values of the training data, `(2, G)`."""
        return self.cells(self._ranges(), np).astype("float32")

    def start(self, unexplained: np.ndarray) -> np.ndarray:
        start = np.zeros((self.size, self.parameters_each))
        start[:, 1] = _parameter(np.sqrt(unexplained))
        return start.ravel()

    def links(self, unexplained: np.ndarray) -> np.ndarray:
        links = np.zeros((self.size, self.inputs_each, self.parameters_each))
        links[:, 0, 0] = 1.0
        return links

    def _rounded(self, values, xp):
        """Values with MORE decimals beyond those of the data: further ones are those of cells in single precision."""
        decimals = self._of("decimals")
        steps = 10.0 ** (np.nan_to_num(decimals) + MORE)
        near = xp.logical_and(xp.abs(values) * steps < 2.0**53, ~np.isnan(decimals))
        return xp.where(near, xp.floor(values * steps + 0.5) / steps, values)

    def _ranges(self) -> np.ndarray:
        return np.array([feature.range for feature in self.features], "float64").T

    def log_ratio(self, cells: keras.KerasTensor, parameters: keras.KerasTensor) -> keras.KerasTensor:
        mean, deviation, *_ = self._each(parameters)
        return -0.5 * ops.square((cells - mean) / _positive(deviation))

    def _each(self, parameters):
        """Parameters `(…, parameters)`, one array `(…, G)` for each kind of them."""
        shape = (*ops.shape(parameters)[:-1], self.size, self.parameters_each)
        return ops.unstack(ops.reshape(parameters, shape), self.parameters_each, axis=-1)

    def _flat(self, *inputs):
        inputs = ops.clip(ops.stack(inputs, axis=-1), -FARTHEST, FARTHEST)
        return ops.reshape(inputs, (*ops.shape(inputs)[:-2], self.width))


@register("column", "continuous")
class Continuous(_Numbers):
    """Numbers: Gaussian with a mean and a variance for each cell."""

    def cells(self, values: Any, xp: ModuleType) -> Any:
        return (values - self._of("mean")) / self._of("scale")

    def raw(self, cells: Any, xp: ModuleType) -> Any:
        return self._rounded(cells * self._of("scale") + self._of("mean"), xp)

    def inputs(self, cells: keras.KerasTensor) -> keras.KerasTensor:
        return self._flat(cells)

    def log_prob(self, cells: keras.KerasTensor, parameters: keras.KerasTensor) -> keras.KerasTensor:
        mean, deviation = self._each(parameters)
        return _log_normal(cells, mean, _positive(deviation)) - np.log(self._of("scale")).astype("float32")

    def loss(self, cells: keras.KerasTensor, parameters: keras.KerasTensor) -> keras.KerasTensor:
        """The squared error, by which the mean is fitted, and −log p of the deviation, for which the mean is held constant: a
        variance fitted together with the mean would make it neglect what it predicts badly (Stirn et al., 2023)."""
        mean, deviation = self._each(parameters)
        spread = _log_normal(cells, ops.stop_gradient(mean), _positive(deviation)) + _ROOT
        return ops.square(cells - mean) - 0.5 * spread

    def point(self, parameters: keras.KerasTensor) -> keras.KerasTensor:
        return ops.clip(self._each(parameters)[0], *self.bounds)

    def draw(self, parameters: keras.KerasTensor, normal: keras.KerasTensor, uniform: keras.KerasTensor) -> keras.KerasTensor:
        mean, deviation = self._each(parameters)
        return ops.clip(self._written(mean + _positive(deviation) * normal), *self.bounds)

    def _written(self, cells):
        """The nearest cells of numbers that have as many decimals as the data, unless single precision is too coarse for it."""
        step = np.nan_to_num(10.0 ** -self._of("decimals") / self._of("scale"))
        known, step = step > FINEST, np.maximum(step, FINEST)
        offset = np.where(known, self._of("mean") / self._of("scale") / step % 1.0, 0.0).astype("float32")
        written = (ops.round(cells / step.astype("float32") + offset) - offset) * step.astype("float32")
        return ops.where(known, written, cells)


@register("column", "datetime")
class Datetime(Continuous):
    """Dates and times, as seconds since 1970: Gaussian. The encoder also sees the season, the weekday and the time of day, as
    sines and cosines."""

    inputs_each = 7

    def inputs(self, cells: keras.KerasTensor) -> keras.KerasTensor:
        phases = []
        for period in (_YEAR, 7 * _DAY, _DAY):
            mean = self._of("mean") / period % 1.0  # in float64
            turns = cells * (self._of("scale") / period).astype("float32") + mean.astype("float32")
            phases += [ops.sin(2 * math.pi * turns), ops.cos(2 * math.pi * turns)]
        return self._flat(cells, *phases)


class _Logarithms(_Numbers):
    """Numbers whose logarithms are standardized, with a likelihood of their own, and, as the last parameter, their mean in
    standard units of the values themselves, which is fitted by the squared error."""

    scales = 2
    inputs_each = 2
    parameters_each = 3
    offset = 0.0  # added before the logarithm

    def cells(self, values: Any, xp: ModuleType) -> Any:
        lowest = np.maximum(self._ranges()[0], 0.0 if self.offset else 1e-300)
        values = xp.where(values < lowest, lowest, values)
        return (xp.log(values + self.offset) - self._of("log_mean")) / self._of("log_scale")

    def raw(self, cells: Any, xp: ModuleType) -> Any:
        return self._rounded(xp.exp(cells * self._of("log_scale") + self._of("log_mean")) - self.offset, xp)

    def inputs(self, cells: keras.KerasTensor) -> keras.KerasTensor:
        return self._flat(cells, self._standard(cells))

    def links(self, unexplained: np.ndarray) -> np.ndarray:
        links = super().links(unexplained)
        links[:, 1, 2] = 1.0
        return links

    def loss(self, cells: keras.KerasTensor, parameters: keras.KerasTensor) -> keras.KerasTensor:
        return ops.square(self._standard(cells) - self._each(parameters)[2]) - 0.5 * self._log_prob(cells, parameters)

    def point(self, parameters: keras.KerasTensor) -> keras.KerasTensor:
        mean, scale, (low, high) = *(self._of(name).astype("float32") for name in ("mean", "scale")), self._ranges()
        values = ops.clip(self._each(parameters)[2] * scale + mean, low.astype("float32"), high.astype("float32"))
        return self._cells(values)

    @abc.abstractmethod
    def _log_prob(self, cells, parameters):
        """log p of cells, as of standardized numbers, without a constant."""

    def _log(self, cells):
        return cells * self._of("log_scale").astype("float32") + self._of("log_mean").astype("float32")

    def _values(self, cells):
        return ops.exp(self._log(ops.minimum(cells, self.bounds[1] + FARTHEST))) - self.offset

    def _cells(self, values):
        logarithms = ops.log(values + self.offset)
        return (logarithms - self._of("log_mean").astype("float32")) / self._of("log_scale").astype("float32")

    def _standard(self, cells):
        return (self._values(cells) - self._of("mean").astype("float32")) / self._of("scale").astype("float32")


@register("column", "positive")
class Positive(_Logarithms):
    """Numbers above 0 whose distribution is skewed: log-normal."""

    def log_prob(self, cells: keras.KerasTensor, parameters: keras.KerasTensor) -> keras.KerasTensor:
        log_volume = self._log(cells) + np.log(self._of("log_scale")).astype("float32")
        return self._log_prob(cells, parameters) - _ROOT - log_volume

    def draw(self, parameters: keras.KerasTensor, normal: keras.KerasTensor, uniform: keras.KerasTensor) -> keras.KerasTensor:
        mean, deviation, _ = self._each(parameters)
        cells = ops.clip(mean + _positive(deviation) * normal, *self.bounds)
        step, (low, high) = 10.0 ** -self._of("decimals"), self._ranges()
        known, step = step > FINEST * high, np.nan_to_num(step, nan=1.0).astype("float32")
        written = ops.clip(ops.round(self._values(cells) / step) * step, low.astype("float32"), high.astype("float32"))
        return ops.where(known, self._cells(written), cells)

    def _log_prob(self, cells, parameters):
        mean, deviation, _ = self._each(parameters)
        return _log_normal(cells, mean, _positive(deviation)) + _ROOT


@register("column", "count")
class Count(_Logarithms):
    """Whole numbers from 0: negative binomial, which tends to Poisson as its dispersion falls."""

    offset = 1.0

    def start(self, unexplained: np.ndarray) -> np.ndarray:
        start, mean = np.zeros((self.size, self.parameters_each)), np.maximum(self._of("mean"), 1e-3)
        beyond = unexplained * self._of("scale") ** 2 - mean  # of the variance, what a Poisson distribution does not have
        start[:, 1] = np.clip(2 * np.log(mean) - np.log(np.maximum(beyond, 1e-3)), -3.0, 5.0)
        return start.ravel()

    def links(self, unexplained: np.ndarray) -> np.ndarray:
        links = super().links(unexplained)
        links[:, 0, 0] = self._of("log_scale")
        return links

    def log_prob(self, cells: keras.KerasTensor, parameters: keras.KerasTensor) -> keras.KerasTensor:
        return self._log_prob(cells, parameters)

    def log_ratio(self, cells: keras.KerasTensor, parameters: keras.KerasTensor) -> keras.KerasTensor:
        log_mean, size = self._log_mean(parameters), ops.exp(self._log_size(parameters))
        mode = ops.floor(ops.exp(log_mean) * ops.maximum(1.0 - 1.0 / size, 0.0))
        return self._log_prob(cells, parameters) - self._negative_binomial(mode, parameters)

    def draw(self, parameters: keras.KerasTensor, normal: keras.KerasTensor, uniform: keras.KerasTensor) -> keras.KerasTensor:
        numbers, weights = self._grid()
        masses = ops.exp(self._negative_binomial(numbers, parameters[..., None, :])) * weights
        edges = ops.cumsum(masses, axis=-2)  # (…, N, G)
        places = ops.sum(ops.cast(uniform[..., None, :] * edges[..., -1:, :] > edges, "int32"), axis=-2)
        return self._cells(ops.take(numbers.ravel(), places * self.size + np.arange(self.size)))

    def _grid(self):
        """The whole numbers that can be drawn, `(N, G)`: all in the range of the data, or some, ever farther apart; and for how
        many each of them stands."""
        low, high = self._ranges()
        size = int(min(high.max(), MOST_DRAWN)) + 1
        even = np.tile(np.arange(size)[:, None], self.size)
        numbers = np.where(high < size, np.minimum(even, high), np.round(np.expm1(even / (size - 1) * np.log1p(high))))
        between = np.floor((numbers[1:] + numbers[:-1]) / 2) + 0.5
        edges = np.concatenate([low[None] - 0.5, np.maximum(between, low - 0.5), high[None] + 0.5])
        return numbers.astype("float32"), np.diff(edges, axis=0).astype("float32")

    def _log_prob(self, cells, parameters):
        return self._negative_binomial(ops.maximum(ops.round(self._values(cells)), 0.0), parameters)

    def _log_mean(self, parameters):
        start = np.log(np.maximum(self._of("mean"), 1e-3)).astype("float32")
        return start + ops.clip(self._each(parameters)[0], -_WIDEST, _WIDEST)

    def _log_size(self, parameters):
        return ops.clip(self._each(parameters)[1], -_WIDEST, _WIDEST)

    def _negative_binomial(self, n, parameters):
        """log p of whole numbers n, by the mean μ and the size r, with which the variance is μ + μ² / r."""
        log_mean, log_size = self._log_mean(parameters), self._log_size(parameters)
        size, log_sum = ops.exp(log_size), ops.logaddexp(log_mean, log_size)
        chosen = _log_gamma(n + size) - _log_gamma(size) - _log_gamma(n + 1.0)
        return chosen + size * (log_size - log_sum) + n * (log_mean - log_sum)


def _log_normal(x, mean, deviation):
    return -0.5 * ops.square((x - mean) / deviation) - ops.log(deviation) - _ROOT


def _positive(parameter):
    """A standard deviation from a parameter; it is 1 for 0."""
    return NARROWEST + (1 - NARROWEST) * ops.softplus(parameter + UNIT)


def _parameter(deviation: np.ndarray) -> np.ndarray:
    """The inverse of `_positive`."""
    return np.log(np.expm1(np.maximum((deviation - NARROWEST) / (1 - NARROWEST), 1e-3))) - UNIT


def _log_gamma(x):
    """log Γ(x) for x > 0: Stirling's series at x + 6, and the recurrence from there."""
    product = x * (x + 1.0) * (x + 2.0) * (x + 3.0) * (x + 4.0) * (x + 5.0)
    y = x + 6.0
    return (y - 0.5) * ops.log(y) - y + _ROOT + (1.0 / 12.0 - 1.0 / (360.0 * y * y)) / y - ops.log(product)
