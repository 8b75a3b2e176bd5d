"""Attention with rotary positions, and the block of a transformer that is made of it."""

from collections.abc import Callable

import keras
from keras import ops

BASE = 10_000.0  # wavelength of the slowest rotation, in positions per radian

# Keys and values, (B · heads, S, width / heads) each. With the heads in the batch axis, a cache of earlier positions is used as
# it lies in memory; `dot_product_attention` would copy another layout at every step.
KeysValues = tuple[keras.KerasTensor, keras.KerasTensor]


@keras.saving.register_keras_serializable("zoo")
class Attention(keras.layers.Layer):
    """Multi-head attention (Vaswani et al., 2017) with rotary positions (Su et al., 2021), in two steps: `keys_values`
    projects one sequence, and its result may be cached; calling the layer lets another sequence attend to that. Of sequences of
    one position that axis may be left out, which saves a decoder most of its small operations.

    Args:
        heads: number of heads, which share the width equally.

    Raises:
        ValueError: the width is not an even multiple of the heads.
    """

    def __init__(self, heads: int, **kwargs):
        super().__init__(**kwargs)
        self.heads = heads

    def build(self, input_shape: tuple) -> None:
        width = input_shape[-1]
        if width % (2 * self.heads):
            raise ValueError(
                f"Expected a width that is an even multiple of the heads. Received: width={width}, heads={self.heads}."
            )
        self.query = keras.layers.Dense(width, use_bias=False, dtype=self.dtype_policy, name="query")
        self.key_value = keras.layers.Dense(2 * width, use_bias=False, dtype=self.dtype_policy, name="key_value")
        self.output_ = keras.layers.Dense(width, use_bias=False, dtype=self.dtype_policy, name="output")
        for layer in (self.query, self.key_value, self.output_):
            layer.build(input_shape)

    def keys_values(self, x: keras.KerasTensor, angles: keras.KerasTensor) -> KeysValues:
        """Keys and values of x `(B, S, width)` or `(B, width)`, the keys rotated by `angles` (`rotary_angles`)."""
        keys, values = ops.split(self.key_value(x), 2, axis=-1)
        return _rotate(self._heads(keys), angles), self._heads(values)

    def call(
        self, x: keras.KerasTensor, angles: keras.KerasTensor, keys_values: KeysValues, mask: keras.KerasTensor
    ) -> keras.KerasTensor:
        """x `(B, T, width)` or `(B, width)` attends to keys and values where the mask `(B · heads or 1, T or 1, S)` is true."""
        weights = ops.cast(self._weights(x, angles, keys_values[0], mask), x.dtype)
        heads, width = ops.einsum("bts,bsh->bth", weights, keys_values[1]), x.shape[-1]  # (B · heads, T, width / heads)
        if len(x.shape) == 2:
            return self.output_(ops.reshape(heads, (-1, width)))
        length = ops.shape(x)[1]
        heads = ops.reshape(heads, (-1, self.heads, length, width // self.heads))
        return self.output_(ops.reshape(ops.transpose(heads, (0, 2, 1, 3)), (-1, length, width)))

    def weights_on(
        self, x: keras.KerasTensor, angles: keras.KerasTensor, keys_values: KeysValues, mask: keras.KerasTensor
    ) -> keras.KerasTensor:
        """The attention weights `(B, heads, T, S)` that calling the layer uses; they sum to 1 over S."""
        weights = self._weights(x, angles, keys_values[0], mask)
        return ops.reshape(weights, (-1, self.heads, *ops.shape(weights)[1:]))

    def get_config(self) -> dict:
        return {**super().get_config(), "heads": self.heads}

    def _weights(self, x, angles, keys, mask):
        """The attention weights `(B · heads, T, S)` in float32."""
        query = _rotate(self._heads(self.query(x)), angles)
        logits = ops.cast(ops.einsum("bth,bsh->bts", query, keys), "float32") / query.shape[-1] ** 0.5
        if keys.shape[1] == 1:  # of which `ops.softmax` warns
            return ops.ones_like(logits)
        return ops.softmax(ops.where(mask, logits, -1e30), axis=-1)

    def _heads(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """`(B, T, width)`, or `(B, width)` of one position, to `(B · heads, T, width / heads)`."""
        size = x.shape[-1] // self.heads
        if len(x.shape) == 2:
            return ops.reshape(x, (-1, 1, size))
        length = ops.shape(x)[1]
        heads = ops.transpose(ops.reshape(x, (-1, length, self.heads, size)), (0, 2, 1, 3))
        return ops.reshape(heads, (-1, length, size))


def per_head(present: keras.KerasTensor, heads: int) -> keras.KerasTensor:
    """The attention mask `(B · heads, 1, S)` of the tokens that are present, `(B, S)`."""
    return ops.repeat(present, heads, axis=0)[:, None]


def rotary_angles(positions: keras.KerasTensor, size: int) -> keras.KerasTensor:
    """Cosines and sines `(2, T, size)` of the rotations of queries and keys of `size` at float positions `(T,)`, the sines of
    the first half negated: `_rotate` then needs few operations, which are what a decoder's step takes its time for."""
    rates = BASE ** -(ops.arange(0, size, 2, dtype="float32") / size)
    angles = positions[:, None] * rates  # (T, size / 2)
    cosine, sine = ops.cos(angles), ops.sin(angles)
    return ops.stack([ops.concatenate([cosine, cosine], axis=-1), ops.concatenate([-sine, sine], axis=-1)])


def _rotate(x: keras.KerasTensor, angles: keras.KerasTensor) -> keras.KerasTensor:
    """Rotates pairs of numbers of x `(…, T, size)`, taken as complex numbers, by the angles of their position."""
    left, right = ops.split(x, 2, axis=-1)
    cosine, sine = ops.unstack(ops.cast(angles, x.dtype))
    return x * cosine + ops.concatenate([right, left], axis=-1) * sine


@keras.saving.register_keras_serializable("zoo")
class Block(keras.layers.Layer):
    """A transformer block: self-attention, with `cross` attention to a source, and a network of one hidden layer for each
    position, each with a residual connection. Their inputs are normalized (pre-norm, Xiong et al., 2020); dropout is applied
    to their outputs.

    Args:
        heads: of the attention.
        hidden: units of the hidden layer.
        dropout: dropout rate, in [0, 1).
        cross: whether there is a source to attend to.
        seed: of the dropout.
    """

    def __init__(self, heads: int, hidden: int, dropout: float = 0.0, cross: bool = False, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.heads, self.hidden, self.dropout, self.cross, self.seed = heads, hidden, dropout, cross, seed

    def build(self, input_shape: tuple) -> None:
        policy = {"dtype": self.dtype_policy}
        width = input_shape[-1]
        self.attention = Attention(self.heads, **policy, name="attention")
        self.norm = keras.layers.RMSNormalization(**policy, name="norm")
        self.norm_network = keras.layers.RMSNormalization(**policy, name="norm_network")
        self.up = keras.layers.Dense(self.hidden, activation="relu", **policy, name="up")
        self.down = keras.layers.Dense(width, **policy, name="down")
        self.drop = keras.layers.Dropout(self.dropout, seed=self.seed, **policy, name="drop")
        layers = [self.attention, self.norm, self.norm_network, self.up]
        if self.cross:
            self.attention_source = Attention(self.heads, **policy, name="attention_source")
            self.norm_source = keras.layers.RMSNormalization(**policy, name="norm_source")
            layers += [self.attention_source, self.norm_source]
        for layer in layers:
            layer.build(input_shape)
        self.down.build((*input_shape[:-1], self.hidden))

    def call(
        self,
        x: keras.KerasTensor,
        angles: keras.KerasTensor,
        mask: keras.KerasTensor,
        source: KeysValues | None = None,
        source_mask: keras.KerasTensor | None = None,
        update: Callable[[KeysValues], KeysValues] | None = None,
        on_weights: Callable[[keras.KerasTensor], None] | None = None,
        training: bool | None = None,
    ) -> tuple[keras.KerasTensor, KeysValues]:
        """`(B, T, width)`, or `(B, width)` of one position, to the same shape, and the keys and values of the self-attention.

        Args:
            angles: of the positions of x, from `rotary_angles`.
            mask: `(B · heads or 1, T or 1, S)`, true where a position of x may attend to one of the keys.
            source: keys and values of the source, from `attention_source.keys_values`, if the block has cross-attention.
            source_mask: the same for the source.
            update: turns the keys and values of x into those to attend to, for instance by adding them to a cache.
            on_weights: is called with the weights `(B, heads, T, S')` of the attention to the source.
        """
        normed = self.norm(x)
        keys_values = self.attention.keys_values(normed, angles)
        keys_values = update(keys_values) if update else keys_values
        x = x + self.drop(self.attention(normed, angles, keys_values, mask), training=training)
        if self.cross:
            normed = self.norm_source(x)
            if on_weights:
                on_weights(self.attention_source.weights_on(normed, angles, source, source_mask))
            x = x + self.drop(self.attention_source(normed, angles, source, source_mask), training=training)
        change = self.down(self.up(self.norm_network(x)))
        return x + self.drop(change, training=training), keys_values

    def get_config(self) -> dict:
        own = {"heads": self.heads, "hidden": self.hidden, "dropout": self.dropout, "cross": self.cross, "seed": self.seed}
        return {**super().get_config(), **own}
