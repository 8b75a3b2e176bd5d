"""Columns of tables: how those of each type are read, encoded, judged, filled in and drawn.

A table has four forms: *rows* as people have them (see `zoo.rows`), *raw columns*, one array `(n,)` for each column, *cells*,
a float32 array `(n, C)` with one number for each cell, and the *inputs* of the encoder. NaN is a missing number, "" a missing
text, and a missing cell is NaN.

| type | its cells | its likelihood |
|---|---|---|
| `continuous` | standardized values | Gaussian with learned variance |
| `positive` | standardized logarithms | log-normal |
| `count` | standardized logarithms of 1 + n | negative binomial |
| `binary`, `categorical` | numbers of classes; the number after the last is any other class | softmax |
| `ordinal` | numbers of classes | cumulative logits (McCullagh, 1980) |
| `datetime` | standardized time | Gaussian with learned variance |

All columns of one type (and, of classes, of about the same number) are computed together, as a last axis of length G.
"""

import abc
import math
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import keras
import numpy as np
from keras import ops

from zoo import registry
from zoo.registry import register
from zoo.schema import Feature, Schema

OTHER = "<other>"  # what any text is read as that is not among the classes of its column
LEFT_OUT = ("identifier", "text", "constant")  # types of columns that a model does not have
FARTHEST = 8.0  # standard deviations beyond which the encoder does not see how far off a value is
NARROWEST = 0.02  # least standard deviation of a prediction, in standard units
MORE = 2  # decimals of an expected number, beyond those of the data
MOST_DRAWN = 1_000  # whole numbers among which counts are drawn
FINEST = 1e-5  # how far decimals reach, relative to the spread or to the highest number, in single precision
_WIDEST = 12.0  # how far the logarithms of a count's mean and size can be from their start
_DAY, _YEAR = 86_400.0, 365.2425 * 86_400.0
UNIT = 0.5413248546129181  # log(e − 1), where softplus is 1
_ROOT = 0.5 * math.log(2 * math.pi)


class Columns(abc.ABC):
    """G columns of one type, by their features.

    `width` is the number of inputs that one row gives the encoder, `parameters` the number of parameters of the likelihood, for
    all G columns. Cells have the shape `(…, G)`, inputs `(…, width)`, parameters `(…, parameters)`.
    """

    def __init__(self, features: Sequence[Feature]):
        self.features = features
        self.size = len(features)

    @property
    @abc.abstractmethod
    def width(self) -> int: ...

    @property
    @abc.abstractmethod
    def parameters(self) -> int: ...

    @abc.abstractmethod
    def cells(self, values: Any, xp: ModuleType) -> Any:
        """Cells of raw numbers, in float64; of texts, of the numbers of their classes, the number after the last for any other.

        The arithmetic is that of `xp`, which is NumPy or TensorFlow's `tf.experimental.numpy`, so that it exists once.
        """

    @abc.abstractmethod
    def raw(self, cells: Any, xp: ModuleType) -> Any:
        """The inverse of `cells`, in float64."""

    @abc.abstractmethod
    def inputs(self, cells: keras.KerasTensor) -> keras.KerasTensor:
        """What the encoder sees of cells, none missing: G times `width / G` inputs, column by column."""

    @abc.abstractmethod
    def log_prob(self, cells: keras.KerasTensor, parameters: keras.KerasTensor) -> keras.KerasTensor:
        """log p of cells in nats, `(…, G)`; of numbers, a density per unit of the raw values."""

    @abc.abstractmethod
    def log_ratio(self, cells: keras.KerasTensor, parameters: keras.KerasTensor) -> keras.KerasTensor:
        """log p of cells less that of the most probable value, in nats, `(…, G)`; of numbers, in the units in which they are
        standardized."""

    @abc.abstractmethod
    def loss(self, cells: keras.KerasTensor, parameters: keras.KerasTensor) -> keras.KerasTensor:
        """What training minimizes, `(…, G)`, divided by what the best constant would cost (Udell et al., 2016, § 4.3)."""

    @abc.abstractmethod
    def point(self, parameters: keras.KerasTensor) -> keras.KerasTensor:
        """The cells to expect, `(…, G)`: the mean of numbers, the most probable of texts."""

    @abc.abstractmethod
    def draw(self, parameters: keras.KerasTensor, normal: keras.KerasTensor, uniform: keras.KerasTensor) -> keras.KerasTensor:
        """Cells drawn from the likelihood, from a standard normal and a uniform number for each, `(…, G)`."""

    @abc.abstractmethod
    def start(self, unexplained: np.ndarray) -> np.ndarray:
        """Parameters from which training starts, `(parameters,)`, given the share of each column's variance that a regression
        leaves, `(G,)`; with a share of 1, those of the columns' distributions as a whole."""

    @abc.abstractmethod
    def links(self, unexplained: np.ndarray) -> np.ndarray:
        """How parameters follow, about, from what the inputs are expected to be by such a regression: for each column their
        derivatives by its inputs, `(G, inputs, parameters)`."""

    def _of(self, name: str) -> np.ndarray:
        """One property of all features, `(G,)`."""
        return np.array([getattr(feature, name) for feature in self.features], "float64")


class _Numbers(Columns):
    """Columns of numbers, each with the same numbers of inputs and of parameters."""

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


class _Classes(Columns):
    """Columns of classes, texts or a few numbers. Shorter columns are padded to the most classes, K."""

    others = 1  # classes beside the known ones
    averaged = False  # whether classes that are numbers are filled in with their mean

    def __init__(self, features: Sequence[Feature]):
        super().__init__(features)
        self.texts = np.array([isinstance(feature.classes[0], str) for feature in features])  # (G,)
        self.counts = np.array([len(feature.classes) for feature in features])  # (G,)
        self.most = int(self.counts.max()) + self.others

    @property
    def width(self) -> int:
        return self.size * self.most

    @property
    def shares(self) -> np.ndarray:
        """The share of each class among the cells with a value, at least a thousandth, and 0 for the padding, `(G, K)`."""
        shares = np.zeros((self.size, self.most))
        for row, feature, count in zip(shares, self.features, self.counts, strict=True):
            row[:count] = np.maximum(feature.shares, 1e-3)
            row[count : count + self.others] = max(1.0 - sum(feature.shares), 1e-3)
        return shares / shares.sum(axis=1, keepdims=True)

    @property
    def entropies(self) -> np.ndarray:
        """Of the shares, in nats: the loss of the best constant, `(G,)`."""
        shares = self.shares
        return -np.sum(shares * np.log(np.where(shares > 0, shares, 1.0)), axis=1).astype("float32")

    def raw(self, cells: Any, xp: ModuleType) -> Any:
        near = 1.0 - xp.abs(cells[..., None] - np.arange(self.most))  # of a mean, between the two nearest classes
        return xp.sum(xp.where(near > 0.0, near * self._values(0.0), 0.0), axis=-1)

    def log_prob(self, cells: keras.KerasTensor, parameters: keras.KerasTensor) -> keras.KerasTensor:
        chosen = ops.one_hot(ops.cast(cells, "int32"), self.most)
        return ops.sum(chosen * self._log_probs(parameters), axis=-1)

    def log_ratio(self, cells: keras.KerasTensor, parameters: keras.KerasTensor) -> keras.KerasTensor:
        return self.log_prob(cells, parameters) - ops.max(self._log_probs(parameters), axis=-1)

    def loss(self, cells: keras.KerasTensor, parameters: keras.KerasTensor) -> keras.KerasTensor:
        return -self.log_prob(cells, parameters) / self.entropies

    def point(self, parameters: keras.KerasTensor) -> keras.KerasTensor:
        known = self._known(parameters)
        likeliest = ops.cast(ops.argmax(known, axis=-1), "float32")
        mean = ops.sum(ops.softmax(known, axis=-1) * np.arange(self.most, dtype="float32"), axis=-1)
        return ops.where(self.averaged & ~self.texts, mean, likeliest)

    def draw(self, parameters: keras.KerasTensor, normal: keras.KerasTensor, uniform: keras.KerasTensor) -> keras.KerasTensor:
        edges = ops.cumsum(ops.exp(self._known(parameters)), axis=-1)
        return ops.sum(ops.cast(uniform[..., None] * edges[..., -1:] > edges, "float32"), axis=-1)

    @abc.abstractmethod
    def _log_probs(self, parameters):
        """log p of all classes, `(…, G, K)`."""

    def _known(self, parameters):
        """log p of the classes that can be filled in and drawn."""
        known = np.arange(self.most) < self.counts[:, None]
        return ops.where(known, self._log_probs(parameters), -1e9)

    def _values(self, padding: float) -> np.ndarray:
        """The raw numbers of all classes: their own, or their places, if they are texts, `(G, K)`."""
        values = np.full((self.size, self.most), padding)
        for row, feature, count, texts in zip(values, self.features, self.counts, self.texts, strict=True):
            row[:count] = np.arange(count) if texts else feature.classes
            if texts:
                row[count : count + self.others] = count
        return values


@register("column", "categorical")
class Categorical(_Classes):
    """Classes without an order: softmax over them and one that stands for all others and is never filled in or drawn."""

    @property
    def parameters(self) -> int:
        return self.size * self.most

    def cells(self, values: Any, xp: ModuleType) -> Any:
        places = np.arange(self.most) - self.counts[:, None]
        place = xp.sum(xp.where(values[..., None] == self._values(np.nan), places, 0), axis=-1) + self.counts
        return xp.where(xp.isnan(values), np.nan, xp.asarray(place, "float64"))

    def inputs(self, cells: keras.KerasTensor) -> keras.KerasTensor:
        chosen = ops.one_hot(ops.cast(cells, "int32"), self.most)
        return ops.reshape(chosen, (*ops.shape(cells)[:-1], self.width))

    def start(self, unexplained: np.ndarray) -> np.ndarray:
        apart = 0.5 * (1.0 - unexplained[:, None]) * (1.0 - self.shares) * self._slopes(unexplained)
        return (np.log(np.maximum(self.shares, 1e-6)) - apart).ravel()

    def links(self, unexplained: np.ndarray) -> np.ndarray:
        return self._slopes(unexplained)[:, :, None] * np.eye(self.most)

    def _slopes(self, unexplained):
        """Of log p by an indicator's expectation ŷ, `(G, K)`. A regression on indicators is proportional to linear discriminant
        analysis, which has (ŷ − p) / (p u), less half its average over the class; u is the unexplained share."""
        return np.where(self.shares > 0, 1.0 / np.maximum(self.shares, 0.05), 0.0) / np.maximum(unexplained, 0.1)[:, None]

    def _log_probs(self, parameters):
        logits = ops.reshape(parameters, (*ops.shape(parameters)[:-1], self.size, self.most))
        real = np.arange(self.most) <= self.counts[:, None]
        return ops.log_softmax(ops.where(real, logits, -1e9), axis=-1)


@register("column", "binary")
class Binary(Categorical):
    """Two classes. Of two numbers, the mean is filled in."""

    averaged = True


@register("column", "ordinal")
class Ordinal(_Classes):
    """Classes in an order: p(class ≤ c) = σ(θ_c) with rising θ. A number between two classes is read as the nearer one, any
    other text as missing. Of numbers, the mean is filled in."""

    others = 0
    averaged = True

    @property
    def parameters(self) -> int:
        return self.size * (self.most - 1)

    def cells(self, values: Any, xp: ModuleType) -> Any:
        known = self._values(np.inf)
        edges = (known[:, 1:] + known[:, :-1]) / 2
        place = xp.sum(xp.where(values[..., None] > edges, 1.0, 0.0), axis=-1)
        missing = xp.logical_or(xp.isnan(values), xp.logical_and(self.texts, values >= self.counts))
        return xp.where(missing, np.nan, place)

    def inputs(self, cells: keras.KerasTensor) -> keras.KerasTensor:
        reached = ops.cast(cells[..., None] >= np.arange(1, self.most, dtype="float32"), "float32")
        place = (cells / (self.counts - 1).astype("float32"))[..., None]
        return ops.reshape(ops.concatenate([place, reached], axis=-1), (*ops.shape(cells)[:-1], self.width))

    def start(self, unexplained: np.ndarray) -> np.ndarray:
        below = np.clip(np.cumsum(self.shares, axis=1)[:, :-1], 1e-3, 1 - 1e-3)
        edges = np.log(below / (1 - below)) / np.sqrt(unexplained)[:, None]
        return np.concatenate([edges[:, :1], np.log(np.expm1(np.maximum(np.diff(edges), 1e-3)))], axis=1).ravel()

    def links(self, unexplained: np.ndarray) -> np.ndarray:
        links = np.zeros((self.size, self.most, self.most - 1))
        places = np.arange(self.most) / (self.counts - 1)[:, None]
        mean = np.sum(self.shares * places, axis=1, keepdims=True)
        variance = unexplained * np.sum(self.shares * np.square(places - mean), axis=1)
        links[:, 0, 0] = -math.pi / np.sqrt(3 * variance)  # a logistic distribution's scale
        return links

    def _log_probs(self, parameters):
        steps = ops.reshape(parameters, (*ops.shape(parameters)[:-1], self.size, self.most - 1))
        steps = ops.concatenate([steps[..., :1], ops.softplus(steps[..., 1:])], axis=-1)
        inner = np.arange(1, self.most) < self.counts[:, None]  # edges between two classes
        below = ops.where(inner, ops.sigmoid(ops.cumsum(steps, axis=-1)), 1.0)  # p(class ≤ c), (…, G, K − 1)
        ends = ops.zeros_like(below[..., :1])
        difference = ops.concatenate([below, ends + 1.0], axis=-1) - ops.concatenate([ends, below], axis=-1)
        return ops.log(ops.maximum(difference, 1e-7))


def dtype(feature: Feature) -> str:
    """The dtype of a column's raw values: `float64` of numbers, `string` of texts and dates."""
    texts = feature.type == "datetime" or (feature.classes and isinstance(feature.classes[0], str))
    return "string" if texts else "float64"


def kept(schema: Schema) -> Schema:
    """The columns of a table that a model has."""
    return {name: feature for name, feature in schema.items() if feature.type not in LEFT_OUT}


def groups(schema: Schema) -> list[tuple[list[int], Columns]]:
    """The columns that a model has, by type, each with its places among the cells. Columns of classes are together where their
    numbers of classes are alike."""
    found: dict[tuple, list[int]] = {}
    features = [*kept(schema).values()]
    for place, feature in enumerate(features):
        found.setdefault((feature.type, len(feature.classes or ()).bit_length()), []).append(place)
    return [
        (places, registry.part("column", name)([features[place] for place in places]))
        for (name, _), places in sorted(found.items())
    ]


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
