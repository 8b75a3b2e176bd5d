"""The autoencoder: encoder → bottleneck → decoder, judged by a likelihood."""

import math

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from zoo.density import Mixture
from zoo.likelihoods import Likelihood
from zoo.signatures import Signature, Tensor


class _PerExample(keras.losses.Loss):
    """Hands per-example losses to Keras, which averages them rightly over replicas too."""

    def call(self, y_true, y_pred):
        return y_pred


@keras.saving.register_keras_serializable("zoo")
class Autoencoder(keras.Model):
    """h(g(x)) ≈ x through k < d numbers; x of shape `(B, *shape)`, codes `(B, k)`.

    Args:
        encoder: g without its projection: any Keras model with a known input shape, which is the shape of the data.
        bottleneck: layer from features `(B, …)` to codes `(S, B, k)` and their cost in nats `(S, B)`.
        decoder: h without its projection: any Keras model that takes `(B, k)`.
        likelihood: how x is judged given its reconstruction; it also owns the last layer.
        density: over the codes, what `generate` draws from; a mixture of ten Gaussians unless given.
        overcomplete: allow k ≥ d, where nothing forces the model to learn more than the identity.

    `fit(x)` takes inputs alone and minimizes −log p, averaged over examples, plus what regularizers of the parts add. Calling
    the model on x gives a dict of batch-first tensors from one pass: `code`, `x` (the reconstruction) and `score`.

    Raises:
        ValueError: the encoder's input shape is unknown; k ≥ d without `overcomplete`.
    """

    def __init__(
        self,
        encoder: keras.Model,
        bottleneck: keras.layers.Layer,
        decoder: keras.Model,
        likelihood: Likelihood,
        density: keras.layers.Layer | None = None,
        overcomplete: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.encoder = encoder
        self.bottleneck = bottleneck
        self.decoder = decoder
        self.likelihood = likelihood
        self.density = density if density is not None else Mixture()
        self.overcomplete = overcomplete

        self.shape = _known_shape(encoder)
        self.k = bottleneck.k
        if self.k >= math.prod(self.shape) and not overcomplete:
            raise ValueError(
                f"Expected fewer code dimensions than data dimensions: with k ≥ d there is no bottleneck, and the identity "
                f"would win. Received: k={self.k}, d={math.prod(self.shape)} (shape {self.shape}). "
                "Try a smaller k, or overcomplete=True if that is what you want."
            )
        self.head = likelihood.head(self.shape)
        self.squared_error = keras.metrics.Mean(name="squared_error")
        self._mean_loss = _PerExample(name="mean")
        self._build_parts()

    def _build_parts(self):
        features = self.encoder.compute_output_shape((None, *self.shape))
        codes = (None, self.k)
        inputs = {self.bottleneck: features, self.decoder: codes, self.density: codes}
        for part, shape in inputs.items():
            if not part.built:  # parts read from a file are
                part.build(shape)
        self.head.build(self.decoder.compute_output_shape(codes))
        self.built = True

    def build(self, input_shape=None):
        """Everything is built at construction; Keras calls this when it loads a model."""

    # The five verbs

    def encode(self, x: ArrayLike) -> keras.KerasTensor:
        """Data `(B, *shape)` to codes `(B, k)`, without chance."""
        code = self.bottleneck.encode(self.encoder(self._rows(x, self.shape), training=False))
        return ops.cast(code, "float32")

    def decode(self, code: ArrayLike) -> keras.KerasTensor:
        """Codes `(B, k)` to data `(B, *shape)`: the likelihood's mean."""
        return self.likelihood.mean(self._parameters(self._rows(code, (self.k,))))

    def reconstruct(self, x: ArrayLike) -> keras.KerasTensor:
        """Data `(B, *shape)` to h(g(x)), of the same shape."""
        return self.decode(self.encode(x))

    def generate(self, seed: ArrayLike) -> keras.KerasTensor:
        """New data `(B, *shape)`, one for each int32 seed `(B,)`; a seed always gives the same example.

        They are drawn from the density, which is a standard normal until it is fitted (`training.fit_density`).
        """
        return self.decode(self.density(self._rows(_require_seeds(seed), (), "int32")))

    def score(self, x: ArrayLike) -> keras.KerasTensor:
        """log p(x) or its bound in nats, `(B,)`: higher is more typical."""
        return self(self._rows(x, self.shape), training=False)["score"]

    def signatures(self) -> dict[str, Signature]:
        """What this model answers, by verb."""
        x, code = Tensor((None, *self.shape)), Tensor((None, self.k))
        return {
            "encode": Signature({"x": x}, {"code": code}),
            "decode": Signature({"code": code}, {"x": x}),
            "reconstruct": Signature({"x": x}, {"x": x}),
            "generate": Signature({"seed": Tensor((None,), "int32")}, {"x": x}),
            "score": Signature({"x": x}, {"score": Tensor((None,))}),
        }

    # Training

    def call(self, x, training=None):
        x = ops.cast(x, "float32")
        features = self.encoder(x, training=training)
        codes, cost = self.bottleneck(features, training=training)  # (S, B, k), (S, B)
        flat = self._parameters(ops.reshape(codes, (-1, self.k)), training)  # (S * B, *shape)
        parameters = ops.reshape(flat, (codes.shape[0], -1, *flat.shape[1:]))  # (S, B, *shape)
        log_weight = self.likelihood.log_prob(x, parameters) - ops.cast(cost, "float32")  # (S, B)
        return {
            "code": ops.cast(self.bottleneck.encode(features), "float32"),
            "x": ops.mean(self.likelihood.mean(parameters), axis=0),
            "score": ops.logsumexp(log_weight, axis=0) - math.log(codes.shape[0]),
        }

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        loss = -y_pred["score"]  # (B,)
        total = self._mean_loss(loss, loss, sample_weight)
        for extra in self.losses:  # regularizers and `add_loss` of the parts
            total += self._aggregate_additional_loss(extra)
        return total

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        error = ops.square(ops.cast(x, y_pred["x"].dtype) - y_pred["x"])
        self.squared_error.update_state(ops.sum(error, axis=tuple(range(1, len(error.shape)))), sample_weight)
        return self.get_metrics_result()

    def fit(self, x=None, **kwargs) -> keras.callbacks.History:
        """As in Keras, on inputs alone; compiles with Adam where `compile` was not called.

        Arrays are checked whole before the first step, of a dataset the first batch.

        Raises:
            ValueError: compiled with a loss or metrics, a wrong shape, NaN or Inf, or values that the likelihood cannot take.
        """
        if not self.compiled:
            self.compile("adam")
        if self.loss is not None or self._compile_metrics is not None:
            raise ValueError(
                f"Expected neither loss nor metrics in compile: the likelihood is the loss, and there are no targets. "
                f"Received: loss={self.loss!r} or metrics. Try compile(optimizer) and Autoencoder(…, likelihood=…)."
            )
        if not hasattr(x, "shape"):
            kwargs.setdefault("shuffle", False)  # a data set has its own order, and Keras would warn of it
        self.check(x if hasattr(x, "shape") else _first_batch(x))
        if kwargs.get("sample_weight") is not None:
            kwargs["y"] = x  # without targets Keras drops the weights
        return super().fit(x, **kwargs)

    def check(self, x: ArrayLike) -> None:
        """Raises ValueError unless x is data `(B, *shape)` that this model can be trained on."""
        if x is not None:
            require_rows(x, self.shape)
            self.likelihood.check(np.asarray(x))

    # Saving

    def get_config(self):
        parts = {name: getattr(self, name) for name in _PARTS}
        config = {name: keras.saving.serialize_keras_object(part) for name, part in parts.items()}
        return {"name": self.name, **config, "overcomplete": self.overcomplete}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        restored = {name: keras.saving.deserialize_keras_object(config[name], custom_objects) for name in _PARTS}
        return cls(**{**config, **restored})

    # Inside

    def _parameters(self, codes, training=False):
        parameters = self.head(self.decoder(codes, training=training))  # (B, k) -> (B, *shape)
        return ops.cast(parameters, "float32")  # judged in full precision, whatever the bodies compute in

    @staticmethod
    def _rows(x, shape: tuple[int, ...], dtype: str = "float32"):
        require_rows(x, shape)
        return ops.convert_to_tensor(x, dtype=dtype)


_PARTS = ("encoder", "bottleneck", "decoder", "likelihood", "density")


def _require_seeds(seed):
    """`seed` as it is, refused where its conversion to int32 would change it."""
    if isinstance(seed, (list, tuple, np.ndarray)):
        seed = np.asarray(seed)
        limits = np.iinfo("int32")
        if seed.size and (seed.dtype.kind not in "iu" or seed.min() < limits.min or seed.max() > limits.max):
            raise ValueError(f"Expected integers in [{limits.min}, {limits.max}] as seeds. Received: {seed}. Try [1, 2, 3].")
    return seed


def require_rows(x: ArrayLike, shape: tuple[int, ...]) -> None:
    """Raises ValueError unless x is a batch of rows of `shape`."""
    received = tuple(x.shape if hasattr(x, "shape") else np.shape(x))
    if len(received) != len(shape) + 1 or received[1:] != shape:
        hint = "x[None] for a single row" if received == shape else f"x.reshape({(-1, *shape)})"
        raise ValueError(f"Expected shape {('batch', *shape)}. Received: shape {received}. Try {hint}.")


def _known_shape(encoder) -> tuple[int, ...]:
    try:
        shape = tuple(encoder.input_shape[1:])
    except (AttributeError, ValueError):
        shape = None
    if not shape or None in shape:
        raise ValueError(
            f"Expected an encoder that knows the shape of its input. Received: encoder={encoder!r} with shape {shape}. "
            "Try keras.Input((28, 28, 1)) as its first layer, or zoo.dense(widths, shape=(28, 28, 1))."
        )
    return shape


def _first_batch(dataset):
    """The inputs of a dataset's first batch; None for an iterator, which a look would use up."""
    if dataset is None or hasattr(dataset, "__next__"):
        return None
    batch = dataset[0] if isinstance(dataset, keras.utils.PyDataset) else next(iter(dataset), None)
    return batch[0] if isinstance(batch, (tuple, list)) else batch
