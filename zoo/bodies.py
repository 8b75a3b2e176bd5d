"""Bodies: the encoder and the decoder without the projections, which the bottleneck and the likelihood own.

A `body` of the registry makes both for data of a shape, the decoder being the encoder's mirror image.
"""

import math
from collections.abc import Sequence
from typing import Literal

import keras
import numpy as np
from keras import layers, ops

from zoo.arguments import require_amount, require_whole
from zoo.registry import Activation, register

SMALLEST_SIDE = 7  # convolutional bodies halve an image until its shorter side is at most this


def dense(
    widths: Sequence[int], activation: str = "gelu", shape: tuple[int, ...] | None = None, name: str | None = None
) -> keras.Sequential:
    """Fully connected layers over the flattened input.

    Args:
        widths: units of each layer, in the order of the data flow.
        activation: of every layer, a Keras name.
        shape: of one example, such as `(28, 28, 1)`. Only an encoder needs it.
        name: of the Keras model.
    """
    body = [layers.Flatten(name="flatten"), *_dense_layers(widths, activation)]
    return keras.Sequential([keras.Input(shape), *body] if shape else body, name=name)


def linear(shape: tuple[int, ...] | None = None, name: str | None = None) -> keras.Sequential:
    """An empty body: the network is then just its two projections."""
    return dense((), shape=shape, name=name)


def conv(
    shape: tuple[int, int, int],
    width: int = 32,
    blocks: int = 1,
    hidden: Sequence[int] = (),
    activation: str = "relu",
    name: str | None = None,
) -> keras.Sequential:
    """Convolutional encoder for images of any `(height, width, channels)`; its depth depends on their size.

    Every level halves the image (odd sides are rounded up) and doubles the channels, until the shorter side is at most 7:
    28×28 becomes 14×14 and 7×7; 64×64 becomes 4×4 after four levels.

    Args:
        shape: of one image.
        width: channels of the first level.
        blocks: residual blocks per level, after its strided convolution.
        hidden: units of fully connected layers after the last level.
        activation: of every layer, a Keras name.
        name: of the Keras model.
    """
    body = []
    for level in range(len(_sizes(shape)) - 1):
        channels = width << level
        body.append(_conv(channels, activation, f"down_{level}", strides=2))
        body += [ResidualBlock(channels, activation, name=f"block_{level}_{i}") for i in range(blocks)]
    body += [layers.Flatten(name="flatten"), *_dense_layers(hidden, activation)]
    return keras.Sequential([keras.Input(shape), *body], name=name)


def conv_decoder(
    shape: tuple[int, int, int],
    width: int = 32,
    blocks: int = 1,
    hidden: Sequence[int] = (),
    activation: str = "relu",
    name: str | None = None,
) -> keras.Sequential:
    """The mirror image of `conv`: from codes to features `(height, width, channels)` of the image's size.

    Images are enlarged by repeating pixels and convolving the result, which avoids the checkerboard artefacts of strided
    transposed convolutions (Odena, Dumoulin and Olah, 2016), and are cropped to odd sizes.

    The arguments are those of `conv`; `hidden` is in the order of the data flow.
    """
    sizes = _sizes(shape)
    levels = len(sizes) - 1
    channels = width << max(levels - 1, 0)
    body = [layers.Flatten(name="flatten"), *_dense_layers(hidden, activation)]
    body += [layers.Dense(math.prod(sizes[-1]) * channels, activation=activation, kernel_initializer="he_normal", name="grow")]
    body += [layers.Reshape((*sizes[-1], channels), name="image")]
    for level in reversed(range(levels)):
        channels = width << level
        narrower = max(channels // 2, 1)
        body += [ResidualBlock(channels, activation, name=f"block_{level}_{i}") for i in range(blocks)]
        body.append(_conv(narrower, activation, f"narrow_{level}"))
        body.append(layers.UpSampling2D(name=f"repeat_{level}"))
        surplus = tuple((0, 2 * small - large) for small, large in zip(sizes[level + 1], sizes[level], strict=True))
        if surplus != ((0, 0), (0, 0)):
            body.append(layers.Cropping2D(surplus, name=f"crop_{level}"))
        body.append(_conv(narrower, activation, f"smooth_{level}"))
    return keras.Sequential(body, name=name)


@register("body", "linear")
def linear_body(shape: tuple[int, ...]) -> tuple[keras.Model, keras.Model]:
    """No layers: the network consists of the two projections, one for the encoder and one for the decoder."""
    return linear(shape, "encoder"), linear(name="decoder")


@register("body", "dense")
def dense_body(
    shape: tuple[int, ...],
    width: int = 512,
    depth: int = 2,
    activation: Activation = "gelu",
    start: Literal["random", "pca"] = "random",
) -> tuple[keras.Model, keras.Model]:
    """Fully connected layers with width, width / 2, width / 4 … units in the encoder, and the reverse in the decoder.

    Args:
        shape: of one example.
        width: units of the encoder's first layer.
        depth: number of layers of the encoder; with 0 the network consists of the two projections.
        activation: activation function of every layer.
        start: `random`, or `pca`: a linear path beside the layers, on which training begins where PCA ends.
    """
    require_whole(1, width=width)
    require_whole(0, depth=depth)
    widths = tuple(max(1, width >> layer) for layer in range(depth))
    if start == "random":
        return dense(widths, activation, shape, "encoder"), dense(widths[::-1], activation, name="decoder")
    beside = [LinearPath(dense(each, activation), name="path") for each in (widths, widths[::-1])]
    flat = layers.Flatten(name="flatten")
    return keras.Sequential([keras.Input(shape), flat, beside[0]], name="encoder"), keras.Sequential(
        [beside[1]], name="decoder"
    )


@register("body", "residual")
def residual_body(
    shape: tuple[int, ...],
    width: int = 256,
    depth: int = 2,
    dropout: float = 0.2,
    activation: Activation = "relu",
    frequencies: int = 4,
    numbers: Sequence[int] | None = None,
) -> tuple[keras.Model, keras.Model]:
    """Fully connected layers of one width, each of which adds to what the one before gives, beside a linear path; for tables.

    Args:
        shape: of one example.
        width: units of every layer.
        depth: number of layers of the encoder, and of the decoder.
        dropout: share of the units that are left out in training, from the second layer on, in [0, 1).
        activation: activation function of every layer.
        frequencies: number of frequencies of sines and cosines of the numbers, which the encoder's layers see besides, so that
            they tell values apart that are close together.
        numbers: places of the inputs that are numbers in standard units; all are unless they are given.
    """
    require_whole(1, width=width, depth=depth)
    require_whole(0, frequencies=frequencies)
    require_amount(below=1, dropout=dropout)
    places = [*(range(shape[0]) if numbers is None else numbers)]
    waves = [Periodic(places, frequencies, name="periodic")] if frequencies and places else []
    encoder, decoder = (
        LinearPath(keras.Sequential([*before, *_residual(width, depth, dropout, activation)]), name="path")
        for before in (waves, [])
    )
    return keras.Sequential([keras.Input(shape), encoder], name="encoder"), keras.Sequential([decoder], name="decoder")


def _residual(width, depth, dropout, activation) -> list[layers.Layer]:
    inner = [ResidualLayer(width, dropout, activation, name=f"residual_{i}") for i in range(1, depth)]
    return [layers.Dense(width, activation=activation, name="dense_0"), *inner]


@keras.saving.register_keras_serializable("zoo")
class Periodic(layers.Layer):
    """x `(B, n)`, followed by sin(2ᶠ π v / 2) and cos(2ᶠ π v / 2) of m of its values v, for f = 0 … F − 1: `(B, n + 2 m F)`.

    A few layers bend slowly; with these they can do so quickly (Tancik et al., 2020, "Fourier features let networks learn high
    frequency functions"), which the numbers of tables ask for (Gorishniy et al., 2022, "On embeddings for numerical features").

    Args:
        places: of the m values.
        frequencies: F.
    """

    def __init__(self, places: Sequence[int], frequencies: int, **kwargs):
        super().__init__(**kwargs)
        self.places, self.frequencies = [*places], frequencies

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        rates = np.repeat(0.5 * math.pi * 2.0 ** np.arange(self.frequencies), len(self.places)).astype("float32")
        values = ops.cast(ops.take(x, self.places * self.frequencies, axis=-1), "float32") * rates  # (B, F m)
        return ops.concatenate([x, *(ops.cast(wave(values), x.dtype) for wave in (ops.sin, ops.cos))], axis=-1)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (input_shape[0], input_shape[-1] + 2 * self.frequencies * len(self.places))

    def get_config(self) -> dict:
        return {**super().get_config(), "places": self.places, "frequencies": self.frequencies}


@keras.saving.register_keras_serializable("zoo")
class ResidualLayer(layers.Layer):
    """x + dropout(f(W x + b)), of x's shape `(B, width)`.

    Args:
        width: of x.
        dropout: share of the units that are left out in training.
        activation: f, a Keras name.
    """

    def __init__(self, width: int, dropout: float = 0.0, activation: str = "relu", **kwargs):
        super().__init__(**kwargs)
        self.width, self.dropout, self.activation = width, dropout, activation
        self._dense = layers.Dense(width, activation=activation, name="dense", dtype=self.dtype_policy)
        self._dropout = layers.Dropout(dropout, name="dropout", dtype=self.dtype_policy)

    def build(self, input_shape: tuple) -> None:
        self._dense.build(input_shape)

    def call(self, x: keras.KerasTensor, training: bool | None = None) -> keras.KerasTensor:
        return ops.add(x, self._dropout(self._dense(x), training=training))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape

    def get_config(self) -> dict:
        return {**super().get_config(), "width": self.width, "dropout": self.dropout, "activation": self.activation}


@keras.saving.register_keras_serializable("zoo")
class LinearPath(layers.Layer):
    """x `(B, n)` itself, followed by what a body makes of it: `(B, n + m)`.

    Args:
        body: a Keras model from `(B, n)` to `(B, m)`.
    """

    def __init__(self, body: keras.Model, **kwargs):
        super().__init__(**kwargs)
        self.body = body

    def build(self, input_shape: tuple) -> None:
        self.body.build(input_shape)

    def call(self, x: keras.KerasTensor, training: bool | None = None) -> keras.KerasTensor:
        return ops.concatenate([ops.cast(x, self.compute_dtype), self.body(x, training=training)], axis=-1)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (input_shape[0], input_shape[-1] + self.body.compute_output_shape(input_shape)[-1])

    def get_config(self) -> dict:
        return {**super().get_config(), "body": keras.saving.serialize_keras_object(self.body)}

    @classmethod
    def from_config(cls, config: dict) -> "LinearPath":
        return cls(**{**config, "body": keras.saving.deserialize_keras_object(config["body"])})


@register("body", "conv", bfloat16=True)
def conv_body(
    shape: tuple[int, int, int], width: int = 32, depth: int = 1, hidden: int = 0, activation: Activation = "relu"
) -> tuple[keras.Model, keras.Model]:
    """Residual convolutions for images of any size; they halve an image until its shorter side is at most 7.

    Args:
        shape: of one image.
        width: channels of the first level; every further level, where the image is halved again, has twice as many.
        depth: number of residual blocks per level.
        hidden: units of a fully connected layer on each side of the bottleneck; 0: no such layer.
        activation: activation function of every layer.
    """
    require_whole(1, width=width)
    require_whole(0, depth=depth, hidden=hidden)
    settings = (shape, width, depth, (hidden,) if hidden else (), activation)
    return conv(*settings, name="encoder"), conv_decoder(*settings, name="decoder")


@keras.saving.register_keras_serializable("zoo")
class ResidualBlock(layers.Layer):
    """f(x + conv(f(conv(x)))), of x's shape `(B, height, width, channels)` (He et al., 2016).

    Args:
        channels: of x.
        activation: f, a Keras name.
    """

    def __init__(self, channels: int, activation: str = "relu", **kwargs):
        super().__init__(**kwargs)
        self.channels = channels
        self.activation = activation
        self._activation = keras.activations.get(activation)
        self.first = _conv(channels, activation, "first", dtype=self.dtype_policy)
        # Zero at first: blocks start as the identity, so activations do not grow with depth (Goyal et al., 2017).
        self.second = layers.Conv2D(
            channels, 3, padding="same", kernel_initializer="zeros", name="second", dtype=self.dtype_policy
        )

    def build(self, input_shape: tuple) -> None:
        self.first.build(input_shape)
        self.second.build(input_shape)

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        return self._activation(ops.add(x, self.second(self.first(x))))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape

    def get_config(self) -> dict:
        return {**super().get_config(), "channels": self.channels, "activation": self.activation}


def _conv(channels, activation, name, **settings):
    settings = {"padding": "same", "kernel_initializer": "he_normal", **settings}
    return layers.Conv2D(channels, 3, activation=activation, name=name, **settings)


def _dense_layers(widths, activation):
    return [layers.Dense(w, activation=activation, name=f"dense_{i}") for i, w in enumerate(widths)]


def _sizes(shape) -> list[tuple[int, int]]:
    """Height and width of an image at every level, the image's own first."""
    if len(shape) != 3:
        raise ValueError(f"Expected images (height, width, channels). Received: shape {tuple(shape)}. Try zoo.dense.")
    sizes = [tuple(shape[:2])]
    while min(sizes[-1]) > SMALLEST_SIDE:
        sizes.append(tuple(-(-side // 2) for side in sizes[-1]))
    return sizes


def applied(body: keras.Model, x: keras.KerasTensor, training: bool | None = False) -> keras.KerasTensor:
    """A body's outputs for x `(B, …)`, B = 0 included.

    Convolutions do not see an empty batch: with oneDNN, on some processors, they return it in a wrong shape.
    """
    if training or x.shape[0] or not any(len(weight.shape) > 2 for weight in body.weights):
        return body(x, training=training)
    rows = ops.shape(x)[0]
    spare = 1 - min(rows, 1) if isinstance(rows, int) else 1 - ops.minimum(rows, 1)
    filled = ops.concatenate([x, ops.zeros((spare, *x.shape[1:]), x.dtype)])
    return body(filled, training=training)[:rows]
