"""A causal transformer in NumPy and in float64, one step after the other, as a coder needs it."""

from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from zoo.attention import BASE, Block

EPSILON = 1e-6  # that of Keras's RMSNormalization


class _Weights(NamedTuple):
    """Those of a block."""

    norm: np.ndarray  # (width,)
    query: np.ndarray  # (width, width)
    key_value: np.ndarray  # (width, 2 width)
    output: np.ndarray  # (width, width)
    norm_network: np.ndarray  # (width,)
    up: list[np.ndarray]  # kernel and bias
    down: list[np.ndarray]

    @classmethod
    def of(cls, block: Block) -> "_Weights":
        attention, network = block.attention, (block.up, block.down)
        one = (block.norm, attention.query, attention.key_value, attention.output_, block.norm_network)
        return cls(*(_float64(layer.weights[0]) for layer in one), *([*map(_float64, layer.weights)] for layer in network))


class Steps:
    """The steps of an `Autoregressive` prior for some rows, with the keys and values of those that are done.

    A step is always computed by itself, so that its numbers do not depend on how many follow in one call.

    Args:
        prior: a built one.
        rows: number B of them.
    """

    def __init__(self, prior: keras.layers.Layer, rows: int):
        self.heads, self.first = prior.heads, prior.entries
        self.places, self.embedding = _float64(prior.places), _float64(prior.embedding.embeddings)
        self.blocks, self.norm = [_Weights.of(block) for block in prior.blocks], _float64(prior.norm.weights[0])
        self.head = [*map(_float64, prior.head.weights)]
        self.done = np.zeros((rows, 0), "int64")  # indices
        tokens, width = self.places.shape
        shape = (len(self.blocks), rows, tokens, self.heads, width // self.heads)
        self.keys, self.values = np.zeros(shape), np.zeros(shape)
        self.logits = self._step(np.full(rows, self.first))  # (B, K), of the index after those that are done

    def lead_to(self, prior: keras.layers.Layer, before: np.ndarray) -> bool:
        """Whether indices `(B, j)` of the same prior go on where these steps are."""
        rows, done = self.done.shape
        same = len(before) == rows and before.shape[1] >= done and np.array_equal(before[:, :done], self.done)
        return same and np.array_equal(self.head[0], ops.convert_to_numpy(prior.head.kernel))

    def after(self, before: np.ndarray) -> np.ndarray:
        """The logits `(B, K)` of the index after `before` `(B, j)`."""
        for index in before[:, self.done.shape[1] :].T:
            self.done = np.concatenate([self.done, index[:, None]], axis=1)
            self.logits = self._step(index)
        return self.logits

    def _step(self, index):
        t = self.done.shape[1]
        x = self.embedding[index] + self.places[t]  # (B, width)
        for weights, keys, values in zip(self.blocks, self.keys, self.values, strict=True):
            normed = _normed(x, weights.norm)
            key, values[:, t] = self._heads(normed @ weights.key_value, 2)  # (B, heads, size)
            keys[:, t] = _rotated(key, t)
            query = _rotated(*self._heads(normed @ weights.query, 1), t)
            scores = np.einsum("bhs,bths->bht", query, keys[:, : t + 1]) / key.shape[-1] ** 0.5
            scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
            heads = np.einsum("bht,bths->bhs", scores / scores.sum(axis=-1, keepdims=True), values[:, : t + 1])
            x = x + heads.reshape(x.shape) @ weights.output
            hidden = np.maximum(_normed(x, weights.norm_network) @ weights.up[0] + weights.up[1], 0.0)
            x = x + hidden @ weights.down[0] + weights.down[1]
        return _normed(x, self.norm) @ self.head[0] + self.head[1]

    def _heads(self, x, parts):
        """`(B, parts · width)` to the parts, `(B, heads, width / heads)` each."""
        return np.moveaxis(x.reshape(len(x), parts, self.heads, self.places.shape[1] // self.heads), 1, 0)


def _float64(variable: keras.Variable) -> np.ndarray:
    return ops.convert_to_numpy(variable).astype("float64")


def _normed(x: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return x / np.sqrt(np.mean(np.square(x), axis=-1, keepdims=True) + EPSILON) * scale


def _rotated(x: np.ndarray, t: int) -> np.ndarray:
    """x `(B, heads, size)` at position t, as `zoo.attention` rotates it."""
    size = x.shape[-1]
    angles = t * BASE ** -(np.arange(0, size, 2) / size)
    left, right = np.split(x, 2, axis=-1)
    cosine, sine = np.cos(angles), np.sin(angles)
    return np.concatenate([left * cosine - right * sine, left * sine + right * cosine], axis=-1)
