"""The linear autoencoder and its closed form, principal component analysis."""

import math
from collections.abc import Iterable, Iterator

import keras
import numpy as np
from keras import ops

from zoo import bodies, inputs
from zoo.autoencoder import Autoencoder
from zoo.bottlenecks import Bottleneck, Deterministic
from zoo.likelihoods import Likelihood, SquaredError, require_finite

LARGEST_COVARIANCE = 16_384  # dimensions: 2 GiB for one float64 matrix, several of which are in memory at once
LARGEST_DECOMPOSITION = 2_048  # dimensions; above that, Lanczos iterations find only the leading axes
CHUNK = 2**22  # numbers in one float32 product: 16 MiB
SMALLEST_CHUNK = 1_024  # rows in one product, however wide they are
SHAPING = (keras.layers.InputLayer, keras.layers.Flatten, keras.layers.Reshape, keras.layers.Identity)


@keras.saving.register_keras_serializable("zoo")
class LinearAutoencoder(Autoencoder):
    """x̃ = V (W x + b) + c under squared error. Gradient descent leads to the subspace of PCA (Baldi and Hornik,
    1989), which `solve` computes directly.

    Raises:
        ValueError: there is an activation, or a layer between the two projections.
    """

    def __init__(self, encoder: keras.Model, bottleneck: Bottleneck, decoder: keras.Model, likelihood: Likelihood, **kwargs):
        super().__init__(encoder, bottleneck, decoder, likelihood, **kwargs)
        config, activation = bottleneck.get_config(), likelihood.get_config().get("activation")
        between = [layer for body in (encoder, decoder) for layer in body.layers if not isinstance(layer, SHAPING)]
        if between or not config["use_bias"] or (config["activation"], activation) != ("linear", "linear"):
            names = ", ".join(type(layer).__name__ for layer in between) or "none"
            raise ValueError(
                "Expected two linear projections with biases and nothing between them. Received: "
                f"layers {names}, use_bias={config['use_bias']}, activations {config['activation']} and {activation}. "
                "Try zoo.linear_autoencoder(shape, k)."
            )

    variances: np.ndarray | None = None  # along the principal axes, `(k,)`, once it is solved

    @classmethod
    def of(cls, shape: tuple[int, ...], k: int, **kwargs) -> "LinearAutoencoder":
        """The linear autoencoder for data of `shape` and codes of k dimensions."""
        return cls(bodies.linear(shape), Deterministic(k), bodies.linear(), SquaredError(), **kwargs)

    def solve(self, data: np.ndarray | Iterable[np.ndarray]) -> np.ndarray:
        """Sets the weights to the k leading principal components, in one pass over the data.

        Args:
            data: rows `(n, *shape)`, or an iterable of batches of them (a `tf.data.Dataset`, a generator), read once. Memory
                grows with d², not with n.

        Returns:
            The variances along the k principal axes (divided by n − 1), largest first, `(k,)`.

        Raises:
            ValueError: fewer than two rows, a wrong shape, values whose squares overflow float32, over 16,384 dimensions, or
                k > d.
        """
        d = math.prod(self.shape)
        if self.k > d:
            raise ValueError(f"Expected at most d components. Received: k={self.k}, d={d}. Try k={d - 1}.")
        if d > LARGEST_COVARIANCE:
            raise ValueError(
                f"Expected at most {LARGEST_COVARIANCE:,} dimensions: the covariance has d² entries. Received: d={d:,}. "
                "Try model.fit(data), which finds the same subspace by gradient descent."
            )
        mean, covariance = _moments(self._chunks(data), d)
        variances, axes = _principal_axes(covariance, self.k)
        self.variances = variances
        self.bottleneck.projection.set_weights([axes, -mean @ axes])
        self.head.set_weights([axes.T, mean])
        return variances

    def _chunks(self, data: np.ndarray | Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Float32 matrices `(n, d)`; small batches are joined, since every product costs another d²."""
        size = max(CHUNK // math.prod(self.shape), SMALLEST_CHUNK)
        waiting, rows, seen = [], 0, 0
        for batch in _batches(data, self.shape, size):
            batch = inputs.numpy(inputs.rows(inputs.batch_inputs(batch), self.shape))
            require_finite(batch, range(seen, seen + len(batch)))
            batch = batch if self.scaling is None else ops.convert_to_numpy(self.scaling(batch))
            seen += len(batch)
            waiting.append(batch.reshape(len(batch), -1).astype("float32", copy=False))
            rows += len(batch)
            if rows >= size:
                yield np.concatenate(waiting) if len(waiting) > 1 else waiting[0]
                waiting, rows = [], 0
        if rows:
            yield np.concatenate(waiting)


def _batches(data: np.ndarray | Iterable[np.ndarray], shape: tuple[int, ...], size: int) -> Iterable:
    """Batches as they are; rows in slices of `size`."""
    if inputs.is_dataset(data) or (isinstance(data, (list, tuple)) and data and np.ndim(data[0]) == len(shape) + 1):
        return data
    data = inputs.array(data)
    return (data[i : i + size] for i in range(0, len(data), size))


def pca(
    data: np.ndarray | Iterable[np.ndarray],
    k: int,
    shape: tuple[int, ...] | None = None,
    scaling: keras.layers.Layer | None = None,
) -> LinearAutoencoder:
    """The k principal components of `data` as a linear autoencoder.

    Args:
        data: as in `LinearAutoencoder.solve`.
        k: number of components, less than d.
        shape: of one example; needed for batches, else taken from the data.
        scaling: to the units in which the components are found, fitted; see `Autoencoder`.

    Raises:
        ValueError: as `solve`; k ≥ d; or batches without `shape`.
    """
    if shape is None:
        if inputs.is_dataset(data):
            raise ValueError(
                "Expected the shape of one example with batches. Received: shape=None. Try pca(batches, k, shape)."
            )
        data = inputs.array(data)
        shape = tuple(data.shape[1:])
    model = LinearAutoencoder.of(shape, k, scaling=scaling)
    model.solve(data)
    return model


def start_as_pca(model: Autoencoder, pca: LinearAutoencoder) -> None:
    """Sets the projections of a model so that it reconstructs as PCA of equal k does, in the units in which it computes.

    They read the linear paths of the bodies alone: what the layers beside them compute has the weight 0 at first. Codes
    have variance 1; where they are drawn, their variance is that of the optimal linear model.

    Args:
        pca: a solved linear autoencoder of the same shape, k and scaling.

    Raises:
        ValueError: the bodies have no linear path, or the code or the output has an activation.
    """
    d, projection = math.prod(model.shape), model.bottleneck.projection
    bent = getattr(model.bottleneck, "activation", "linear") != "linear" or not projection.use_bias
    if bent or not model.has_linear_path or not _has_linear_output(model.likelihood):
        raise ValueError(
            "Expected bodies with a linear path, a linear code with a bias, and a linear output, to start as PCA. "
            f"Received: {type(model.bottleneck).__name__} and {type(model.likelihood).__name__} on {model.encoder.name}. "
            "Try --start=random."
        )
    axes, _ = pca.bottleneck.projection.get_weights()  # (d, k)
    mean, variances = pca.head.get_weights()[1], pca.variances
    deviation = np.sqrt(np.where(variances > 1e-8 * variances.max(), variances, 1.0))
    kernel, bias = (np.zeros(weight.shape, "float32") for weight in projection.weights)
    kernel[:d, : model.k] = axes / deviation
    bias[: model.k] = -(mean @ axes) / deviation
    bias[model.k :] = np.log(0.5 / (0.5 + deviation**2))[: len(bias) - model.k]  # σ² = ½ of the squared error
    projection.set_weights([kernel, bias])
    kernel, bias = (np.zeros(weight.shape, "float32") for weight in model.head.weights)
    kernel[: model.k] = axes.T * deviation[:, None]
    model.head.set_weights([kernel, mean])


def _has_linear_output(likelihood: Likelihood) -> bool:
    """Whether its mean is its one parameter itself."""
    if likelihood.parameters > 1:
        return False
    probe = np.array([[-2.0, 0.5, 3.0]], "float32")
    return np.allclose(ops.convert_to_numpy(likelihood.mean(ops.convert_to_tensor(probe))), probe)


def _moments(chunks: Iterable[np.ndarray], d: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean `(d,)` and covariance `(d, d)` in one pass: float32 products, float64 sums, relative to the first chunk's mean."""
    count, shift, room = 0, None, np.empty((0, d), "float32")
    total, products = np.zeros(d), np.zeros((d, d))
    for chunk in chunks:
        shift = chunk.mean(axis=0) if shift is None else shift
        room = room if len(room) >= len(chunk) else np.empty_like(chunk)
        centred = np.subtract(chunk, shift, out=room[: len(chunk)])
        products += centred.T @ centred
        total += np.ones(len(chunk), "float32") @ centred
        count += len(chunk)
    if count < 2:
        raise ValueError(f"Expected at least two rows to find principal components. Received: {count}. Try more data.")
    offset = total / count
    return shift + offset, (products - count * np.outer(offset, offset)) / (count - 1)


def _principal_axes(covariance: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k largest variances `(k,)` and their unit axes, the columns of `(d, k)`; the largest entry of each is positive."""
    d = len(covariance)
    if d <= LARGEST_DECOMPOSITION or k > d // 8:
        variances, axes = np.linalg.eigh(covariance)
    else:
        from scipy.sparse.linalg import eigsh  # few need it, and it takes a while to import

        variances, axes = eigsh(covariance, k, v0=np.ones(d))
        order = np.argsort(variances)
        variances, axes = variances[order], axes[:, order]
    variances, axes = variances[::-1][:k].clip(min=0.0), axes[:, ::-1][:, :k]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=0)[None], axis=0)  # (1, k)
    return variances, axes * np.sign(largest)
