"""The autoencoder: encoder → bottleneck → decoder, trained by a likelihood."""

import inspect
import math
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from zoo import earlier, inputs, noise
from zoo.autoregressive import Autoregressive
from zoo.bodies import LinearPath, applied
from zoo.bottlenecks import Bottleneck
from zoo.entropy import Histograms
from zoo.inputs import float_rows, integers, known_shape
from zoo.likelihoods import Likelihood, require_finite
from zoo.lossless import require_lossless
from zoo.mixture import Mixture
from zoo.priors import Prior
from zoo.ranks import Ranks
from zoo.registry import register
from zoo.schema import Feature
from zoo.signatures import Signature, Tensor
from zoo.unsupervised import Unsupervised


@register("model", "autoencoder")
class Autoencoder(Unsupervised):
    """An autoencoder h(g(x)) ≈ x with a code of k < d numbers; x has shape `(B, *shape)`, codes have shape `(B, k)`.

    Args:
        encoder: g without its projection: any Keras model with a known input shape, that of the data.
        bottleneck: layer from features `(B, …)` to codes `(S, B, k)` and their cost in nats `(S, B)`.
        decoder: h without its projection: any Keras model that takes `(B, k)`.
        likelihood: of x given its reconstruction; it also owns the last layer.
        prior: of the codes, which `generate` draws from. Unless given, it is a mixture of ten Gaussians, or `Autoregressive`
            where codes consist of entries of a codebook; both are fitted after training.
        corruption: a layer applied to the input of the encoder in training, such as `keras.layers.GaussianNoise(0.3)`, for a
            denoising autoencoder; the likelihood is that of the clean input.
        scaling: a layer with an `inverse` and a `log_volume`, `zoo.Standardize` say, from the units of the data to those in
            which the model computes and is judged. Verbs take and return the units of the data.
        ranks: the distribution of scores that the verb `typicality` compares with; it is fitted after training.
        entropy: the distribution of rounded codes that lossy compression codes with; it is fitted after training.
        overcomplete: allow k ≥ d, although the model may then learn just the identity.

    Verbs take rows in any form that `zoo.inputs.array` takes: arrays, lists, tables, tensors. 8-bit integers are always scaled
    to [0, 1]; other numbers are taken as they are. For zero rows the outputs have zero rows.

    `fit(x)` takes only inputs and minimizes −log p, averaged over examples, plus the regularizers of the parts. Calling the
    model on x returns a dict of batch-first tensors from one pass: `code`, `x` (the reconstruction, averaged over drawn codes),
    `score`, `reconstruction` (−log p(x | code)) and, if codes are drawn, `kl`; `fit` then reports the last two.

    Raises:
        ValueError: the encoder's input shape is unknown; k ≥ d without `overcomplete`.
    """

    parts: ClassVar = {
        name: name
        for name in (
            *("encoder", "bottleneck", "decoder", "likelihood", "prior"),
            *("corruption", "scaling", "ranks", "entropy"),
        )
    }
    settings: ClassVar = ("overcomplete",)

    def __init__(
        self,
        encoder: keras.Model,
        bottleneck: Bottleneck,
        decoder: keras.Model,
        likelihood: Likelihood,
        prior: Prior | None = None,
        corruption: keras.layers.Layer | None = None,
        scaling: keras.layers.Layer | None = None,
        ranks: Ranks | None = None,
        entropy: Histograms | None = None,
        overcomplete: bool = False,
        **kwargs,
    ):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.encoder = encoder
        self.bottleneck = bottleneck
        self.decoder = decoder
        self.likelihood = likelihood
        self.prior = prior or (Autoregressive() if bottleneck.discrete else Mixture())
        self.corruption = corruption
        self.scaling = scaling
        self.ranks = ranks
        self.overcomplete = overcomplete

        self.shape = known_shape(encoder)
        self.schema = {"x": Feature.of(self.shape)}
        self.k = bottleneck.k
        if self.k >= self.dimensions and not overcomplete:
            raise ValueError(
                f"Expected fewer code dimensions than data dimensions: with k ≥ d there is no bottleneck, and the identity "
                f"would win. Received: k={self.k}, d={self.dimensions} (shape {self.shape}). "
                "Try a smaller k, or overcomplete=True if that is what you want."
            )
        if self.prior.discrete != bottleneck.discrete:
            names, better = ("indices", "zoo.Autoregressive()") if bottleneck.discrete else ("codes in R^k", "zoo.Mixture()")
            raise ValueError(
                f"Expected a prior over {names}, for {type(bottleneck).__name__}. Received: {type(self.prior).__name__}. "
                f"Try prior={better}."
            )
        self.squared_error = keras.metrics.Mean(name="squared_error")
        self.scaled_error = None if scaling is None else keras.metrics.Mean(name="scaled_error")
        parts = ("reconstruction", "kl") if bottleneck.drawn else ()
        self._nats = {name: keras.metrics.Mean(name=name) for name in parts}
        self._taken = [*inspect.signature(bottleneck.call).parameters]
        self._build_parts()
        self.add_entropy(entropy)

    def add_entropy(self, entropy: Histograms | None) -> None:
        """Sets what lossy compression codes with. Its weights are the last of the model, whenever it is set."""
        if entropy is not None and not entropy.built:
            entropy.build(self.bottleneck.symbol_shape)
        self.entropy = entropy

    def _build_parts(self):
        features = self.encoder.compute_output_shape((None, *self.shape))
        codes = (None, self.k)
        inputs = {self.bottleneck: features, self.decoder: codes, self.prior: self.bottleneck.symbol_shape}
        for part, shape in inputs.items():
            if not part.built:  # parts read from a file are built
                part.build(shape)
        for part in (self.corruption, self.scaling):
            if part is not None and not part.built:
                part.build((None, *self.shape))
        if self.ranks is not None and not self.ranks.built:
            self.ranks.build((None,))
        features = self.decoder.compute_output_shape(codes)
        self.head = self.likelihood.head(self.shape, tuple(features[1:]))
        self.head.build(features)
        self.built = True

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> "Autoencoder":
        return super().from_config(earlier.renamed(config), custom_objects)

    @property
    def dimensions(self) -> int:
        """d, the number of dimensions of the data, which the code has fewer of."""
        return math.prod(self.shape)

    # Verbs

    serving_default = "reconstruct"

    def encode(self, x: ArrayLike) -> keras.KerasTensor:
        """Data `(B, *shape)` to codes `(B, k)`, deterministically."""
        code = self.bottleneck.encode(applied(self.encoder, self._scaled(x)))
        return ops.cast(code, "float32")

    def decode(self, code: ArrayLike) -> keras.KerasTensor:
        """Codes `(B, k)` to data `(B, *shape)`: the likelihood's mean."""
        code = self.bottleneck.snap(float_rows(code, (self.k,)))
        return self._unscaled(self.likelihood.mean(self._parameters(code)))

    def reconstruct(self, x: ArrayLike) -> keras.KerasTensor:
        """Data `(B, *shape)` to h(g(x)), of the same shape."""
        return self.decode(self.encode(x))

    def generate(self, seed: ArrayLike) -> keras.KerasTensor:
        """New data `(B, *shape)`, one for each int32 seed `(B,)`; a seed always gives the same example.

        Their codes are drawn from the prior; a mixture is a standard normal until it is fitted (`training.fit_prior`).
        """
        return self.decode(self._codes(integers(seed)))

    def generate_class(self, label: ArrayLike, seed: ArrayLike) -> keras.KerasTensor:
        """New data `(B, *shape)` of the classes `(B,)`, int32 in [0, C), if the prior has classes.

        Raises:
            ValueError: the prior has no classes; a class outside [0, C), or one without rows when it was fitted.
        """
        return self.decode(self._codes(integers(seed), self.prior.known(label)))

    def vary(self, x: ArrayLike, seed: ArrayLike) -> keras.KerasTensor:
        """A variation of each x `(B, *shape)`: decoded from a draw of its posterior q(code | x), by its seed `(B,)`; if codes
        are drawn. The prior has no part in it."""
        self._require_drawn("vary")
        features = applied(self.encoder, self._scaled(x))
        draws = noise.normal(integers(seed), self.k, stream=3)
        return self.decode(self.bottleneck.draw(features, draws[None])[0][0])

    def score(self, x: ArrayLike) -> keras.KerasTensor:
        """log p(x), of x as `generate` draws it, or a bound on it in nats, `(B,)`: higher is more typical.

        Codes that are drawn cost log q(code | x) − log p(code), those of entries −log p(indices), under the prior. The draws
        of a row depend only on its values, so its score is the same in every batch.
        """
        return self(float_rows(x, self.shape), training=False)["score"]

    def typicality(self, x: ArrayLike) -> keras.KerasTensor:
        """The share of held-out data that score lower than each x `(B, *shape)`, in [0, 1], `(B,)`: below 0.01 are one in a
        hundred of the data that the model was trained on.

        Raises:
            ValueError: the model has no `ranks`.
        """
        if self.ranks is None:
            raise ValueError("Expected a model with ranks. Received: ranks=None. Try --typicality=ranks, or zoo.Ranks().")
        return self.ranks(self.score(x))

    def score_code(self, x: ArrayLike) -> keras.KerasTensor:
        """log p(g(x)) in nats, `(B,)`, under the prior: higher is more typical.

        It detects what `score` does not: an example that is easy to reconstruct, but whose code is unlike those of the data.
        """
        return self._score_of(self.encode(x))

    def draw(self, x: ArrayLike) -> keras.KerasTensor:
        """Codes `(B, k)` of data `(B, *shape)` as the prior should find them: drawn from their posteriors, by the draw that
        `score` takes too, or those of `encode` if codes are not drawn."""
        x = self._scaled(x)
        return self._coded(x, applied(self.encoder, x))[0][0]

    def log_likelihood(self, x: ArrayLike, seed: ArrayLike, samples: int) -> keras.KerasTensor:
        """An estimate of log p(x) `(B,)` in nats, with codes drawn from the posterior, if they are drawn.

        It is the importance-weighted bound of Burda et al. (2016), which rises to log p(x) with the number of samples.

        Args:
            x: data `(B, *shape)`; takes the memory of samples · B decoded examples.
            seed: one per row, `(B,)`.
            samples: codes drawn for each row.
        """
        self._require_drawn("log_likelihood")
        x = self._scaled(x)
        draws = ops.reshape(noise.normal(integers(seed), samples * self.k, stream=4), (-1, samples, self.k))
        features = applied(self.encoder, x)
        codes, cost = self.bottleneck.draw(features, ops.transpose(draws, (1, 0, 2)), self.prior)  # (S, B, k), (S, B, k)
        log_weight = self._log_prob(x, self._judged(codes)) - ops.sum(cost, axis=-1)  # (S, B)
        return ops.logsumexp(log_weight, axis=0) - math.log(samples)

    def bits(self, x: ArrayLike) -> keras.KerasTensor:
        """How many bits each x `(B, *shape)` takes in a file of `zoo.compress`, ideally: its score, as a code length, `(B,)`.

        Raises:
            ValueError: a model with which data cannot be compressed without loss, or whose codes are not drawn.
        """
        require_lossless(self)
        self._require_drawn("bits")
        return -self.score(x) / math.log(2)

    def signatures(self) -> dict[str, Signature]:
        """The signatures of this model, by verb."""
        x, code, integer = Tensor((None, *self.shape)), Tensor((None, self.k)), Tensor((None,), "int32")
        verbs = {
            "encode": Signature({"x": x}, {"code": code}),
            "decode": Signature({"code": code}, {"x": x}),
            "reconstruct": Signature({"x": x}, {"x": x}),
            "generate": Signature({"seed": integer}, {"x": x}),
            "score": Signature({"x": x}, {"score": Tensor((None,))}),
            "score_code": Signature({"x": x}, {"score": Tensor((None,))}),
        }
        if self.ranks is not None:
            verbs["typicality"] = Signature({"x": x}, {"typicality": Tensor((None,))})
        if self.prior.classes:
            verbs["generate_class"] = Signature({"label": integer, "seed": integer}, {"x": x})
        if self.bottleneck.drawn:
            verbs["vary"] = Signature({"x": x, "seed": integer}, {"x": x})
        return verbs

    # Training

    def call(self, x: ArrayLike, training: bool | None = None) -> dict[str, keras.KerasTensor]:
        x = self._scaled(x)
        seen = x if self.corruption is None else self.corruption(x, training=training)
        features = applied(self.encoder, seen, training)
        codes, cost = self._coded(x, features, training)  # (S, B, k), (S, B)
        parameters = self._judged(codes, training)  # (S, B, *shape)
        log_prob = self._log_prob(x, parameters)  # (S, B)
        outputs = {
            "code": ops.cast(self.bottleneck.encode(features), "float32"),
            "x": self._unscaled(ops.mean(self.likelihood.mean(parameters), axis=0)),
            "score": self._bound(log_prob, cost),
            "reconstruction": -ops.mean(log_prob, axis=0),
        }
        if self.bottleneck.drawn:
            outputs["kl"] = self.bottleneck.kl(features, codes, self.prior)
        return outputs

    def center(self, x: ArrayLike) -> None:
        """Sets the last layer's bias so that reconstructions start around the mean of data `(n, *shape)`.

        A convolution has one bias for all pixels: if it starts far off, the first training steps turn whole images black, and a
        saturated f₂ does not recover.
        """
        x = self._scaled(x)
        bias = self.head.weights[-1]
        axes = 0 if bias.shape[0] == math.prod(self.shape) * self.likelihood.parameters else (0, 1, 2)
        start = self.likelihood.start(ops.convert_to_numpy(x).mean(axis=axes))
        if start is not None:
            bias.assign(np.reshape(start, bias.shape))

    @property
    def has_linear_path(self) -> bool:
        """Whether both bodies have a path that passes their input on unchanged (`zoo.bodies.LinearPath`)."""
        return all(any(isinstance(layer, LinearPath) for layer in body.layers) for body in (self.encoder, self.decoder))

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict:
        error = ops.square(float_rows(x, self.shape) - y_pred["x"])
        self.squared_error.update_state(ops.sum(error, axis=tuple(range(1, len(error.shape)))), sample_weight)
        if self.scaled_error is not None:
            error = ops.square(self.scaling(float_rows(x, self.shape)) - self.scaling(y_pred["x"]))
            self.scaled_error.update_state(ops.mean(error, axis=tuple(range(1, len(error.shape)))), sample_weight)
        for name, metric in self._nats.items():
            metric.update_state(y_pred[name], sample_weight)
        return self.get_metrics_result()

    def check(self, x: ArrayLike) -> None:
        """Raises ValueError unless x is data `(B, *shape)`, at least one row, that this model can be trained on."""
        x = inputs.rows(x, self.shape)
        inputs.require_some(x)
        if self.scaling is not None:
            require_finite(inputs.numpy(x))
            x = self._scaled(x)
        self.likelihood.check(inputs.numpy(x))

    # Helpers

    def _coded(self, x, features, training=False):
        """The codes `(S, B, k)` that features `(B, …)` of scaled x lead to, and their cost `(S, B)`."""
        given = {"prior": self.prior} if "prior" in self._taken else {}
        if "key" in self._taken and not training:  # in training, a seed generator is used
            given["key"] = self._key(x)
        return self.bottleneck(features, training=training, **given)

    def _codes(self, seed, *label):
        """Codes `(B, k)` drawn from the prior."""
        return self.bottleneck.codes(self.prior(seed, *label))

    def _score_of(self, codes):
        """log p(code) under the prior, `(B,)`, for codes `(B, k)`."""
        return self.prior.log_prob(self.bottleneck.symbols(codes))

    def _bound(self, log_prob, cost):
        """The average over draws of p · exp(−cost), in nats `(B,)`, for log p and costs `(S, B)`."""
        return ops.logsumexp(log_prob - ops.cast(cost, "float32"), axis=0) - math.log(log_prob.shape[0])

    def _key(self, x):
        return noise.key(x)

    def _scaled(self, x):
        """Rows `(B, *shape)` in the units in which the model computes."""
        x = float_rows(x, self.shape)
        return x if self.scaling is None else self.scaling(x)

    def _unscaled(self, x):
        """Rows in the units in which the model computes, in those of the data."""
        return x if self.scaling is None else self.scaling.inverse(x)

    def _log_prob(self, x, parameters):
        """log p of scaled x given the parameters `(S, B, …)`, per unit of the data, in nats `(S, B)`."""
        log_prob = self.likelihood.log_prob(x, parameters)
        return log_prob if self.scaling is None else log_prob - self.scaling.log_volume()

    def _parameters(self, codes, training=False):
        parameters = applied(self.head, applied(self.decoder, codes, training), training)  # (B, k) -> (B, *shape)
        return ops.cast(parameters, "float32")  # the likelihood is computed in float32, whatever the bodies compute in

    def _judged(self, codes, training=False):
        """Parameters `(S, B, *shape)` of codes `(S, B, k)`."""
        flat = self._parameters(ops.reshape(codes, (-1, self.k)), training)  # (S * B, *shape)
        return ops.reshape(flat, (codes.shape[0], -1, *flat.shape[1:]))

    def _require_drawn(self, verb: str) -> None:
        if not self.bottleneck.drawn:
            raise ValueError(
                f"Expected a bottleneck that draws codes for {verb}. Received: {type(self.bottleneck).__name__}. "
                f"Try one of {', '.join(self.signatures())}, or zoo.Gaussian({self.k})."
            )
