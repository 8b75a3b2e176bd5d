"""Attention with rotary positions, and the block of a transformer that is made of it."""

import keras
from keras import ops

BASE = 10_000.0  # slowest turn of the rotary positions, in positions for a radian

# Keys and values, (B · heads, S, 1, width / heads) each. With the heads in the batch axis, what is kept of earlier positions is
# attended to as it lies; `dot_product_attention` would copy another layout anew at every step.
Memory = tuple[keras.KerasTensor, keras.KerasTensor]


@keras.saving.register_keras_serializable("zoo")
class Attention(keras.layers.Layer):
    """Multi-head attention (Vaswani et al., 2017) with rotary positions (Su et al., 2021), in two steps: `memory` makes keys
    and values of a sequence, which may be kept; calling the layer lets another one attend to them.

    Args:
        heads: they share the width of the sequences equally.

    Raises:
        ValueError: a width that is no even multiple of the heads.
    """

    def __init__(self, heads: int, **kwargs):
        super().__init__(**kwargs)
        self.heads = heads

    def build(self, input_shape):
        width = input_shape[-1]
        if width % (2 * self.heads):
            raise ValueError(f"Expected a width that is an even multiple of the heads. Received: {width}, heads={self.heads}.")
        self.query = keras.layers.Dense(width, use_bias=False, dtype=self.dtype_policy, name="query")
        self.key_value = keras.layers.Dense(2 * width, use_bias=False, dtype=self.dtype_policy, name="key_value")
        self.output_ = keras.layers.Dense(width, use_bias=False, dtype=self.dtype_policy, name="output")
        for layer in (self.query, self.key_value, self.output_):
            layer.build(input_shape)

    def memory(self, x: keras.KerasTensor, turns: keras.KerasTensor) -> Memory:
        """Keys and values of `(B, S, width)`, whose positions have these `turns`."""
        keys, values = ops.split(self.key_value(x), 2, axis=-1)
        return _turned(self._heads(keys), turns), self._heads(values)

    def call(self, x: keras.KerasTensor, turns: keras.KerasTensor, memory: Memory, mask: keras.KerasTensor):
        """`(B, T, width)` attends to a memory where the mask `(B · heads or 1, 1, T or 1, S)` is true: `(B, T, width)`."""
        query = _turned(self._heads(self.query(x)), turns)
        heads = ops.dot_product_attention(query, *memory, mask=mask)  # (B · heads, T, 1, width / heads)
        length, width = ops.shape(x)[1], x.shape[-1]
        heads = ops.reshape(heads, (-1, self.heads, length, width // self.heads))
        return self.output_(ops.reshape(ops.transpose(heads, (0, 2, 1, 3)), (-1, length, width)))

    def weights_on(self, x: keras.KerasTensor, turns: keras.KerasTensor, memory: Memory, mask: keras.KerasTensor):
        """The weights `(B, heads, T, S)`, which sum to 1 over the memory, that calling the layer uses."""
        query = _turned(self._heads(self.query(x)), turns)
        logits = ops.einsum("btnh,bsnh->bnts", query, memory[0]) / query.shape[-1] ** 0.5
        weights = ops.softmax(ops.where(mask, ops.cast(logits, "float32"), -1e30), axis=-1)
        return ops.reshape(weights, (-1, self.heads, *ops.shape(weights)[2:]))

    def get_config(self):
        return {**super().get_config(), "heads": self.heads}

    def _heads(self, x):
        """`(B, T, width)` to `(B · heads, T, 1, width / heads)`."""
        length, size = ops.shape(x)[1], x.shape[-1] // self.heads
        heads = ops.transpose(ops.reshape(x, (-1, length, self.heads, size)), (0, 2, 1, 3))
        return ops.reshape(heads, (-1, length, 1, size))


def per_head(present: keras.KerasTensor, heads: int) -> keras.KerasTensor:
    """The mask `(B · heads, 1, 1, S)` of where there are tokens, `(B, S)`."""
    return ops.repeat(present, heads, axis=0)[:, None, None]


def turns(positions: keras.KerasTensor, size: int) -> keras.KerasTensor:
    """Cosines and sines `(2, T, 1, size / 2)` by which queries and keys of `size` at float positions `(T,)` are turned."""
    rates = BASE ** -(ops.arange(0, size, 2, dtype="float32") / size)
    angles = positions[:, None, None] * rates  # (T, 1, size / 2)
    return ops.stack([ops.cos(angles), ops.sin(angles)])


def _turned(x, turns):
    """Pairs of numbers of `(…, T, 1, size)` as complex numbers, turned by their position's angles."""
    left, right = ops.split(x, 2, axis=-1)
    cosine, sine = ops.cast(turns[0], x.dtype), ops.cast(turns[1], x.dtype)
    return ops.concatenate([left * cosine - right * sine, left * sine + right * cosine], axis=-1)


@keras.saving.register_keras_serializable("zoo")
class Block(keras.layers.Layer):
    """x + attention to itself, then, with `cross`, + attention to a source, then + a network of one hidden layer for each
    position. What each of them sees is normalized first (Xiong et al., 2020), and what it gives is dropped out in training.

    Args:
        heads: of the attention.
        hidden: units of the hidden layer.
        dropout: share of the numbers, in [0, 1).
        cross: whether there is a source to attend to.
    """

    def __init__(self, heads: int, hidden: int, dropout: float = 0.0, cross: bool = False, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.heads, self.hidden, self.dropout, self.cross, self.seed = heads, hidden, dropout, cross, seed

    def build(self, input_shape):
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

    def call(self, x, turns, mask, source: Memory | None = None, source_mask=None, kept=None, look=None, training=None):
        """`(B, T, width)` to the same, and the memory that was attended to.

        Args:
            turns: of the positions of x.
            mask: `(B · heads or 1, 1, T or 1, S)`, true where a position of x may look at one of the memory.
            source: memory of the source, that `attention_source.memory` gives, where there is one.
            source_mask: the same for the source.
            kept: makes the memory to attend to out of x's own, for instance by adding it to that of earlier positions.
            look: is called with the weights `(B, heads, T, S')` of the attention to the source.
        """
        seen = self.norm(x)
        memory = self.attention.memory(seen, turns)
        memory = kept(memory) if kept else memory
        x = x + self.drop(self.attention(seen, turns, memory, mask), training=training)
        if self.cross:
            seen = self.norm_source(x)
            if look:
                look(self.attention_source.weights_on(seen, turns, source, source_mask))
            x = x + self.drop(self.attention_source(seen, turns, source, source_mask), training=training)
        change = self.down(self.up(self.norm_network(x)))
        return x + self.drop(change, training=training), memory

    def get_config(self):
        own = {"heads": self.heads, "hidden": self.hidden, "dropout": self.dropout, "cross": self.cross, "seed": self.seed}
        return {**super().get_config(), **own}
