"""Columns of classes: softmax and cumulative logits (see `zoo.columns`)."""

import abc
import math
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import keras
import numpy as np
from keras import ops

from zoo.columns import Columns
from zoo.registry import register
from zoo.schema import Feature


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
