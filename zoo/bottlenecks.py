"""Bottlenecks: from the encoder's features to codes a ∈ R^k and what each code costs."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("zoo")
class Deterministic(keras.layers.Layer):
    """One code for an input, a = f₁(W h + b), free of cost.

    Args:
        k: dimensions of the code.
        activation: f₁, a Keras name.
        use_bias: whether b is there.

    Called on features `(B, …)` it returns codes `(S, B, k)` and their cost in nats `(S, B)`; here S = 1, cost 0.
    """

    def __init__(self, k: int, activation: str = "linear", use_bias: bool = True, **kwargs):
        super().__init__(**kwargs)
        if k < 1:
            raise ValueError(f"Expected at least one code dimension. Received: k={k}. Try k=2.")
        self.k = k
        self.activation = activation
        self.use_bias = use_bias
        self.projection = keras.layers.Dense(k, activation=activation, use_bias=use_bias, name="projection")

    def build(self, input_shape):
        self.projection.build((None, _size(input_shape)))

    def call(self, features: keras.KerasTensor, training: bool | None = None) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        codes = self.encode(features)[None]  # (1, B, k)
        return codes, ops.zeros_like(codes[..., 0])

    def encode(self, features: keras.KerasTensor) -> keras.KerasTensor:
        """Features `(B, …)` to the code that stands for them, `(B, k)`, without chance."""
        return self.projection(ops.reshape(features, (-1, _size(features.shape))))

    def get_config(self):
        return {**super().get_config(), "k": self.k, "activation": self.activation, "use_bias": self.use_bias}


def _size(shape) -> int:
    size = 1
    for length in shape[1:]:
        size *= length
    return size
