"""The network of a model as a coder runs it: twice with the same outcome, to the bit.

`Native` is the model's own, on the backend. Its rounding depends on the backend, its version, the processor and the size of a
batch, so batches have one size, and a file can only be read where a probe has the outcome that it had when the file was
written.

`Portable` has the same outcome everywhere. Activations and weights are rounded to whole multiples of a power of two, and held
in float64 in numbers so small that each product and sum is exact: then neither the order of the summation matters nor how it is
divided among threads, and any library may multiply the matrices. What is not linear is computed by `zoo.coding.curves`.
"""

import math
from collections.abc import Callable, Iterable

import keras
import numpy as np
from keras import layers, ops

from zoo.autoencoder import Autoencoder
from zoo.bodies import LinearPath, Periodic, ResidualBlock, ResidualLayer, applied
from zoo.class_columns import Categorical, Ordinal
from zoo.coding import curves
from zoo.mixed import ColumnInputs
from zoo.number_columns import Continuous

BATCH = 64  # rows of `Native` at once
UNIT = 2.0**14  # of activations, in 1: they are multiples of its inverse
LARGEST = 2.0**10  # activations are cut to ± this
EXACT = 2.0**52  # whole numbers up to here, and sums of them up to twice that, are exact in float64
FINEST = 24  # most bits of a weight after the point
PATCHES = 2**18  # numbers of a convolution's patches at once, which fit a processor's cache


class Native:
    """The model's network as the backend computes it, in batches of one size."""

    name = "native"

    def __init__(self, model: Autoencoder):
        self._model = model

    def outputs(self, x: np.ndarray) -> np.ndarray:
        """What the bottleneck's projection gives for x `(B, *shape)`, float64 `(B, outputs)`: of a Gaussian one the means and
        the log-variances."""

        def outputs(x):
            return self._model.bottleneck.project(applied(self._model.encoder, x))

        return _in_batches(outputs, x)

    def parameters(self, codes: np.ndarray) -> np.ndarray:
        """The likelihood's parameters `(B, …)` of codes `(B, k)`."""
        return _in_batches(self._model._parameters, codes)


class Portable:
    """The model's network in exact arithmetic.

    Raises:
        ValueError: a layer that it does not know.
    """

    name = "portable"

    def __init__(self, model: Autoencoder):
        first = model.encoder.layers[0]
        inputs = [] if isinstance(first, ColumnInputs) else [_rounded]
        self._encoder = [*inputs, *_step(model.encoder), _flat, *_step(model.bottleneck.projection)]
        self._decoder = [_rounded, *_steps([model.decoder, model.head])]

    def outputs(self, x: np.ndarray) -> np.ndarray:
        """As `Native.outputs`."""
        return _run(self._encoder, x)

    def parameters(self, codes: np.ndarray) -> np.ndarray:
        """As `Native.parameters`."""
        return _run(self._decoder, codes)


Network = Native | Portable
Step = Callable[[np.ndarray], np.ndarray]


def _in_batches(function: Callable, x: np.ndarray) -> np.ndarray:
    parts = []
    for start in range(0, len(x), BATCH):
        batch = np.zeros((BATCH, *x.shape[1:]), "float32")
        rows = x[start : start + BATCH]
        batch[: len(rows)] = rows
        outputs = ops.cast(function(ops.convert_to_tensor(batch)), "float32")
        parts.append(ops.convert_to_numpy(outputs)[: len(rows)].astype("float64"))
    return np.concatenate(parts)


def _run(steps: Iterable[Step], x: np.ndarray) -> np.ndarray:
    x = np.asarray(x, "float64") * UNIT
    for step in steps:
        x = step(x)
    return x / UNIT


def _rounded(x: np.ndarray) -> np.ndarray:
    return _cut(np.rint(x))


def _cut(x: np.ndarray) -> np.ndarray:
    return np.clip(x, -LARGEST * UNIT, LARGEST * UNIT, out=x)


# Steps take and give activations in multiples of 1 / UNIT, whole numbers in float64.


def _steps(found: Iterable[keras.Layer]) -> list[Step]:
    return [step for layer in found for step in _step(layer)]


def _step(layer: keras.Layer) -> list[Step]:
    if isinstance(layer, keras.Sequential):
        return _steps(layer.layers)
    for kind, steps in _KNOWN.items():
        if type(layer) is kind:
            return steps(layer)
    raise ValueError(
        f"Expected layers that can be computed exactly: {', '.join(kind.__name__ for kind in _KNOWN)}. Received: "
        f"{type(layer).__name__} ({layer.name}). Try portable=False, for files that are read on this machine."
    )


def _flat(x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), -1)


def _dense(layer: layers.Dense) -> list[Step]:
    return [_affine(layer, lambda x: _flat(x) if x.ndim == 2 else x), *_activation(layer.activation)]


def _convolution(layer: layers.Conv2D) -> list[Step]:
    plain = (layer.padding, layer.dilation_rate, layer.groups, layer.data_format) == ("same", (1, 1), 1, "channels_last")
    if not plain:
        raise ValueError(
            f"Expected convolutions with padding='same', without dilation or groups. Received: {layer.name}. "
            "Try portable=False, for files that are read on this machine."
        )
    size, strides = layer.kernel_size, layer.strides
    affine = _affine(layer, lambda x: _patches(x, size, strides))

    def step(x):
        rows = max(1, PATCHES // (math.prod(x.shape[1:]) * math.prod(size)))
        return np.concatenate([affine(x[start : start + rows]) for start in range(0, len(x), rows)])

    return [step, *_activation(layer.activation)]


def _affine(layer: layers.Dense | layers.Conv2D, gather: Step) -> Step:
    """Products with the kernel and the bias, rounded to multiples so fine that the sum of every output is exact."""
    kernel = np.asarray(ops.convert_to_numpy(layer.kernel), "float64")
    kernel = kernel.reshape(-1, kernel.shape[-1])
    bias = np.asarray(ops.convert_to_numpy(layer.bias), "float64") if layer.use_bias else np.zeros(kernel.shape[1])
    most = 1.0 + 2.0 * np.abs(kernel).max(initial=0.0) * len(kernel) + np.abs(bias).max()
    bits = min(FINEST, int(math.log2(EXACT / (LARGEST * UNIT))) - math.frexp(most)[1])
    scale = 2.0**-bits  # a power of two: sums of multiples of it are as exact as those of whole numbers
    kernel, bias = scale * np.rint(np.ldexp(kernel, bits)), scale * np.rint(np.ldexp(bias, bits) * UNIT)

    def step(x):
        y = gather(x) @ kernel
        y += bias
        return _cut(np.rint(y, out=y))

    return step


def _patches(x: np.ndarray, size: tuple[int, int], strides: tuple[int, int]) -> np.ndarray:
    """The patches of images `(B, height, width, channels)` around each place of the output, `(B, h, w, numbers)`."""
    height, width = x.shape[1:3]
    tall, wide = (
        max((-(-side // stride) - 1) * stride + kernel - side, 0)
        for side, kernel, stride in zip((height, width), size, strides, strict=True)
    )
    padded = np.zeros((len(x), height + tall, width + wide, x.shape[3]))
    padded[:, tall // 2 : tall // 2 + height, wide // 2 : wide // 2 + width] = x
    patches = np.lib.stride_tricks.sliding_window_view(padded, size, axis=(1, 2))[:, :: strides[0], :: strides[1]]
    patches = patches.transpose(0, 1, 2, 4, 5, 3)  # (B, h, w, kernel height, kernel width, channels)
    return patches.reshape(*patches.shape[:3], -1)


def _activation(activation: Callable) -> list[Step]:
    """The steps of an activation function of Keras."""
    if activation is keras.activations.linear:
        return []
    if activation is keras.activations.relu:
        return [lambda x: np.maximum(x, 0.0)]
    name = activation.__name__
    if name not in _CURVES:
        raise ValueError(
            f"Expected an activation of linear, relu, {', '.join(_CURVES)}. Received: {name}. Try portable=False, for files "
            "that are read on this machine."
        )
    curve = _CURVES[name]
    return [lambda x: _cut(np.rint(curve(x / UNIT) * UNIT))]


def _residual_block(block: ResidualBlock) -> list[Step]:
    return [_beside(_steps([block.first, block.second]), np.add), *_activation(block._activation)]


def _residual_layer(layer: ResidualLayer) -> list[Step]:
    return [_beside(_steps([layer._dense]), np.add)]


def _linear_path(path: LinearPath) -> list[Step]:
    return [_beside(_steps([path.body]), lambda x, y: np.concatenate([x, y], axis=-1))]


def _beside(steps: list[Step], join: Callable) -> Step:
    """x itself, joined with what the steps make of it."""

    def step(x):
        y = x
        for each in steps:
            y = each(y)
        return _cut(join(x, y))

    return step


def _periodic(layer: Periodic) -> list[Step]:
    """Of sines and cosines only the place in a turn matters, which is exact: there are 4 quarters in it."""

    def step(x):
        quarters = np.concatenate([x[:, layer.places] * 2.0**frequency for frequency in range(layer.frequencies)], axis=1)
        waves = [curves.sine(np.mod(quarters + ahead * UNIT, 4 * UNIT) / UNIT) for ahead in (0, 1)]
        return np.concatenate([x, *(np.rint(wave * UNIT) for wave in waves)], axis=1)

    return [step]


def _column_inputs(layer: ColumnInputs) -> list[Step]:
    """The layer itself: of classes and of plain numbers it copies, compares and divides, which is exact; of other columns it
    takes logarithms."""
    for _, group in layer.groups:
        if not (type(group) is Continuous or isinstance(group, Categorical | Ordinal)):
            raise ValueError(
                f"Expected columns of classes or plain numbers. Received: {type(group).__name__}. Try portable=False, for "
                "files that are read on this machine."
            )

    def step(x):
        inputs = layer(ops.convert_to_tensor(x / UNIT, "float32"))
        return _rounded(ops.convert_to_numpy(inputs).astype("float64") * UNIT)

    return [step]


def _upsampling(layer: layers.UpSampling2D) -> list[Step]:
    tall, wide = layer.size
    return [lambda x: x.repeat(tall, axis=1).repeat(wide, axis=2)]


def _cropping(layer: layers.Cropping2D) -> list[Step]:
    (top, bottom), (left, right) = layer.cropping
    return [lambda x: x[:, top : x.shape[1] - bottom, left : x.shape[2] - right]]


def _reshape(layer: layers.Reshape) -> list[Step]:
    return [lambda x: x.reshape(len(x), *layer.target_shape)]


_CURVES = {name: getattr(curves, name) for name in ("sigmoid", "tanh", "softplus", "gelu", "silu")}
_KNOWN: dict[type, Callable] = {
    layers.InputLayer: lambda layer: [],
    layers.Dropout: lambda layer: [],
    layers.GaussianNoise: lambda layer: [],
    layers.Activation: lambda layer: _activation(layer.activation),
    layers.Flatten: lambda layer: [_flat],
    layers.Reshape: _reshape,
    layers.Dense: _dense,
    layers.Conv2D: _convolution,
    layers.UpSampling2D: _upsampling,
    layers.Cropping2D: _cropping,
    ColumnInputs: _column_inputs,
    ResidualBlock: _residual_block,
    ResidualLayer: _residual_layer,
    LinearPath: _linear_path,
    Periodic: _periodic,
}
