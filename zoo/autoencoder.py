"""The autoencoder: encoder → bottleneck → decoder, judged by a likelihood."""

import inspect
import math
from typing import ClassVar

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from zoo import inputs, noise
from zoo.bottlenecks import Bottleneck
from zoo.density import Mixture
from zoo.finite import watched
from zoo.inputs import float_rows, integers, known_shape
from zoo.likelihoods import Likelihood
from zoo.model import Model
from zoo.registry import register
from zoo.signatures import Signature, Tensor


class PerExample(keras.losses.Loss):
    """Hands per-example losses to Keras, which averages them rightly over replicas too."""

    def call(self, y_true, y_pred):
        return y_pred


@register("model", "autoencoder")
class Autoencoder(Model):
    """h(g(x)) ≈ x through k < d numbers; x of shape `(B, *shape)`, codes `(B, k)`.

    Args:
        encoder: g without its projection: any Keras model with a known input shape, which is the shape of the data.
        bottleneck: layer from features `(B, …)` to codes `(S, B, k)` and their cost in nats `(S, B)`.
        decoder: h without its projection: any Keras model that takes `(B, k)`.
        likelihood: how x is judged given its reconstruction; it also owns the last layer.
        density: over the codes, what `generate` draws from; a mixture of ten Gaussians unless given.
        corruption: a layer that the input passes on its way to the encoder in training, `keras.layers.GaussianNoise(0.3)`
            say: a denoising autoencoder, which is judged by the input as it was.
        overcomplete: allow k ≥ d, where nothing forces the model to learn more than the identity.

    Verbs take rows in any of the forms of `zoo.inputs.array`: arrays, lists, tables, tensors. 8-bit integers are scaled to
    [0, 1], everywhere; other numbers are taken as they are. No rows get an empty answer.

    `fit(x)` takes inputs alone and minimizes −log p, averaged over examples, plus what regularizers of the parts add. Calling
    the model on x gives a dict of batch-first tensors from one pass: `code`, `x` (the reconstruction, averaged over drawn
    codes), `score`, `reconstruction` (−log p(x | code)) and, where codes have a prior, `kl`; `fit` reports the last two.

    Raises:
        ValueError: the encoder's input shape is unknown; k ≥ d without `overcomplete`.
    """

    parts: ClassVar = {name: name for name in ("encoder", "bottleneck", "decoder", "likelihood", "density", "corruption")}
    settings: ClassVar = ("overcomplete",)

    def __init__(
        self,
        encoder: keras.Model,
        bottleneck: Bottleneck,
        decoder: keras.Model,
        likelihood: Likelihood,
        density: keras.layers.Layer | None = None,
        corruption: keras.layers.Layer | None = None,
        overcomplete: bool = False,
        **kwargs,
    ):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.encoder = encoder
        self.bottleneck = bottleneck
        self.decoder = decoder
        self.likelihood = likelihood
        self.density = density if density is not None else Mixture()
        self.corruption = corruption
        self.overcomplete = overcomplete

        self.shape = known_shape(encoder)
        self.k = bottleneck.k
        if self.k >= math.prod(self.shape) and not overcomplete:
            raise ValueError(
                f"Expected fewer code dimensions than data dimensions: with k ≥ d there is no bottleneck, and the identity "
                f"would win. Received: k={self.k}, d={math.prod(self.shape)} (shape {self.shape}). "
                "Try a smaller k, or overcomplete=True if that is what you want."
            )
        self.squared_error = keras.metrics.Mean(name="squared_error")
        parts = ("reconstruction", "kl") if bottleneck.prior else ()
        self._nats = {name: keras.metrics.Mean(name=name) for name in parts}
        self._mean_loss = PerExample(name="mean")
        self._keyed = "key" in inspect.signature(bottleneck.call).parameters
        self._build_parts()

    def _build_parts(self):
        features = self.encoder.compute_output_shape((None, *self.shape))
        codes = (None, self.k)
        inputs = {self.bottleneck: features, self.decoder: codes, self.density: codes}
        for part, shape in inputs.items():
            if not part.built:  # parts read from a file are
                part.build(shape)
        if self.corruption is not None and not self.corruption.built:
            self.corruption.build((None, *self.shape))
        features = self.decoder.compute_output_shape(codes)
        self.head = self.likelihood.head(self.shape, tuple(features[1:]))
        self.head.build(features)
        self.built = True

    # Verbs

    serving_default = "reconstruct"

    def encode(self, x: ArrayLike) -> keras.KerasTensor:
        """Data `(B, *shape)` to codes `(B, k)`, without chance."""
        code = self.bottleneck.encode(self.encoder(float_rows(x, self.shape), training=False))
        return ops.cast(code, "float32")

    def decode(self, code: ArrayLike) -> keras.KerasTensor:
        """Codes `(B, k)` to data `(B, *shape)`: the likelihood's mean."""
        code = self.bottleneck.snap(float_rows(code, (self.k,)))
        return self.likelihood.mean(self._parameters(code))

    def reconstruct(self, x: ArrayLike) -> keras.KerasTensor:
        """Data `(B, *shape)` to h(g(x)), of the same shape."""
        return self.decode(self.encode(x))

    def generate(self, seed: ArrayLike) -> keras.KerasTensor:
        """New data `(B, *shape)`, one for each int32 seed `(B,)`; a seed always gives the same example.

        They are drawn from the density, which is a standard normal until it is fitted (`training.fit_density`).
        """
        return self.decode(self.density(integers(seed)))

    def generate_class(self, label: ArrayLike, seed: ArrayLike) -> keras.KerasTensor:
        """New data `(B, *shape)` of the classes `(B,)`, int32 in [0, C), where the density has classes.

        Raises:
            ValueError: a density without classes; a class that is not there, or of which it saw no rows.
        """
        return self.decode(self.density(integers(seed), self.density.known(label)))

    def generate_prior(self, seed: ArrayLike) -> keras.KerasTensor:
        """As `generate`, from the standard normal prior, where the bottleneck has one."""
        self._require_prior("generate_prior")
        return self.decode(noise.normal(integers(seed), self.k))

    def vary(self, x: ArrayLike, seed: ArrayLike) -> keras.KerasTensor:
        """For each of the data `(B, *shape)` another one like it: from a code drawn from its posterior by its seed `(B,)`,
        where the bottleneck has a prior."""
        self._require_prior("vary")
        features = self.encoder(float_rows(x, self.shape), training=False)
        draws = noise.normal(integers(seed), self.k, stream=3)
        return self.decode(self.bottleneck.draw(features, draws[None])[0][0])

    def score(self, x: ArrayLike) -> keras.KerasTensor:
        """log p(x) or its bound in nats, `(B,)`: higher is more typical.

        Where codes are drawn, a row's draws hang on its values alone: it is judged alike in every batch.
        """
        return self(float_rows(x, self.shape), training=False)["score"]

    def score_code(self, x: ArrayLike) -> keras.KerasTensor:
        """log p(g(x)) in nats, `(B,)`, under the density over codes: higher is more typical.

        It tells what `score` does not: an example that is easy to reconstruct but unlike the data in the codes' terms.
        """
        return self.density.log_prob(self.encode(x))

    def log_likelihood(self, x: ArrayLike, seed: ArrayLike, samples: int) -> keras.KerasTensor:
        """log p(x) `(B,)` in nats, estimated with codes drawn from the posterior, where the bottleneck has a prior.

        It is the importance-weighted bound of Burda et al. (2016), which rises to log p(x) with the number of samples.

        Args:
            x: data `(B, *shape)`; the memory of samples · B decoded examples is needed.
            seed: of each row, `(B,)`.
        """
        self._require_prior("log_likelihood")
        x = float_rows(x, self.shape)
        draws = ops.reshape(noise.normal(integers(seed), samples * self.k, stream=4), (-1, samples, self.k))
        features = self.encoder(x, training=False)
        codes, cost = self.bottleneck.draw(features, ops.transpose(draws, (1, 0, 2)))  # (S, B, k), (S, B, k)
        log_weight = self.likelihood.log_prob(x, self._judged(codes)) - ops.sum(cost, axis=-1)  # (S, B)
        return ops.logsumexp(log_weight, axis=0) - math.log(samples)

    def signatures(self) -> dict[str, Signature]:
        """What this model answers, by verb."""
        x, code, integer = Tensor((None, *self.shape)), Tensor((None, self.k)), Tensor((None,), "int32")
        verbs = {
            "encode": Signature({"x": x}, {"code": code}),
            "decode": Signature({"code": code}, {"x": x}),
            "reconstruct": Signature({"x": x}, {"x": x}),
            "generate": Signature({"seed": integer}, {"x": x}),
            "score": Signature({"x": x}, {"score": Tensor((None,))}),
            "score_code": Signature({"x": x}, {"score": Tensor((None,))}),
        }
        if self.density.classes:
            verbs["generate_class"] = Signature({"label": integer, "seed": integer}, {"x": x})
        if self.bottleneck.prior:
            verbs["generate_prior"] = Signature({"seed": integer}, {"x": x})
            verbs["vary"] = Signature({"x": x, "seed": integer}, {"x": x})
        return verbs

    # Training

    def call(self, x, training=None):
        x = float_rows(x, self.shape)
        seen = x if self.corruption is None else self.corruption(x, training=training)
        features = self.encoder(seen, training=training)
        key = {"key": noise.key(x)} if self._keyed and not training else {}  # in training a seed generator draws
        codes, cost = self.bottleneck(features, training=training, **key)  # (S, B, k), (S, B)
        parameters = self._judged(codes, training)  # (S, B, *shape)
        log_prob = self.likelihood.log_prob(x, parameters)  # (S, B)
        outputs = {
            "code": ops.cast(self.bottleneck.encode(features), "float32"),
            "x": ops.mean(self.likelihood.mean(parameters), axis=0),
            "score": ops.logsumexp(log_prob - ops.cast(cost, "float32"), axis=0) - math.log(codes.shape[0]),
            "reconstruction": -ops.mean(log_prob, axis=0),
        }
        if self.bottleneck.prior:
            outputs["kl"] = ops.sum(self.bottleneck.kl(features), axis=-1)
        return outputs

    def center(self, x: ArrayLike) -> None:
        """Sets the last layer's bias so that reconstructions start around the mean of data `(n, *shape)`.

        A convolution has one bias for all pixels: far from it, the first steps of training blacken whole images, and a
        saturated f₂ does not come back.
        """
        x = inputs.rows(x, self.shape)
        bias = self.head.weights[-1]
        axes = 0 if bias.shape[0] == math.prod(self.shape) * self.likelihood.parameters else (0, 1, 2)
        start = self.likelihood.start(ops.convert_to_numpy(x).mean(axis=axes))
        if start is not None:
            bias.assign(np.reshape(start, bias.shape))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        loss = -y_pred["score"]  # (B,)
        total = self._mean_loss(loss, loss, sample_weight)
        for extra in self.losses:  # regularizers and `add_loss` of the parts
            total += self._aggregate_additional_loss(extra)
        return total

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        error = ops.square(float_rows(x, self.shape) - y_pred["x"])
        self.squared_error.update_state(ops.sum(error, axis=tuple(range(1, len(error.shape)))), sample_weight)
        for name, metric in self._nats.items():
            metric.update_state(y_pred[name], sample_weight)
        return self.get_metrics_result()

    def fit(self, x=None, **kwargs) -> keras.callbacks.History:
        """As in Keras, on inputs alone; compiles with Adam where `compile` was not called.

        Rows, of any of the forms that `encode` takes too, are checked whole before the first step, of a data set the first
        batch.

        Raises:
            ValueError: compiled with a loss or metrics, no rows, a wrong shape, NaN or Inf, or values that the likelihood
                cannot take; an epoch that is not finite, before which the model then is (`zoo.Finite`).
        """
        if not self.compiled:
            self.compile("adam")
        if self.loss is not None or self._compile_metrics is not None:
            raise ValueError(
                f"Expected neither loss nor metrics in compile: the likelihood is the loss, and there are no targets. "
                f"Received: loss={self.loss!r} or metrics. Try compile(optimizer) and Autoencoder(…, likelihood=…)."
            )
        x, first = inputs.opened(x, self.shape)
        self.check(inputs.batch_inputs(first))
        if inputs.is_dataset(x):
            kwargs.setdefault("shuffle", False)  # a data set has its own order, and Keras would warn of it
        if kwargs.get("validation_data") is not None:
            held_out, *more = keras.utils.unpack_x_y_sample_weight(kwargs["validation_data"])
            held_out, _ = inputs.opened(held_out, self.shape)
            kwargs["validation_data"] = keras.utils.pack_x_y_sample_weight(held_out, *more)
        kwargs["callbacks"] = watched(kwargs.get("callbacks"))
        if kwargs.get("sample_weight") is not None:
            kwargs["y"] = x  # without targets Keras drops the weights
        return super().fit(x, **kwargs)

    def evaluate(self, x=None, *args, **kwargs):
        """As in Keras, on inputs alone."""
        return super().evaluate(inputs.opened(x, self.shape)[0], *args, **kwargs)

    def predict(self, x, *args, **kwargs):
        """As in Keras: what calling the model gives, as NumPy arrays."""
        return super().predict(inputs.opened(x, self.shape)[0], *args, **kwargs)

    def check(self, x: ArrayLike) -> None:
        """Raises ValueError unless x is data `(B, *shape)`, one row or more, that this model can be trained on."""
        x = inputs.rows(x, self.shape)
        inputs.require_some(x)
        self.likelihood.check(ops.convert_to_numpy(x))

    # Inside

    def _parameters(self, codes, training=False):
        parameters = self.head(self.decoder(codes, training=training))  # (B, k) -> (B, *shape)
        return ops.cast(parameters, "float32")  # judged in full precision, whatever the bodies compute in

    def _judged(self, codes, training=False):
        """Parameters `(S, B, *shape)` of codes `(S, B, k)`."""
        flat = self._parameters(ops.reshape(codes, (-1, self.k)), training)  # (S * B, *shape)
        return ops.reshape(flat, (codes.shape[0], -1, *flat.shape[1:]))

    def _require_prior(self, verb: str) -> None:
        if not self.bottleneck.prior:
            raise ValueError(
                f"Expected a bottleneck with a prior for {verb}. Received: {type(self.bottleneck).__name__}. "
                f"Try one of {', '.join(self.signatures())}, or zoo.Gaussian({self.k})."
            )
