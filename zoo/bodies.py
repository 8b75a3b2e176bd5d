"""Bodies: the encoder and the decoder without the projections, which the bottleneck and the likelihood own."""

from collections.abc import Sequence

import keras


def dense(
    widths: Sequence[int], activation: str = "gelu", shape: tuple[int, ...] | None = None, name: str | None = None
) -> keras.Sequential:
    """Fully connected layers over the flattened input.

    Args:
        widths: units of each layer, in the order of the data flow.
        activation: of every layer, a Keras name.
        shape: of one example, `(28, 28, 1)` say. An encoder needs it, a decoder takes the bottleneck's.
        name: of the Keras model.
    """
    layers = [keras.layers.Flatten(name="flatten")]
    layers += [keras.layers.Dense(w, activation=activation, name=f"dense_{i}") for i, w in enumerate(widths)]
    return keras.Sequential([keras.Input(shape), *layers] if shape else layers, name=name)


def linear(shape: tuple[int, ...] | None = None, name: str | None = None) -> keras.Sequential:
    """No layers at all: with it, the two projections are the whole network."""
    return dense((), shape=shape, name=name)
