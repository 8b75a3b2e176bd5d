"""Bottlenecks: from the encoder's features to codes a ∈ R^k and their cost."""

import abc
import math

import keras
from keras import ops

from zoo import noise
from zoo.arguments import require_amount, require_whole
from zoo.priors import Prior
from zoo.registry import Activation, Steps, register

LOG_VARIANCE = 12.0  # log-variances of posteriors are clipped to ± this, before exp overflows


class Bottleneck(keras.layers.Layer, abc.ABC):
    """Base class of all bottlenecks.

    Called on features `(B, …)`, it returns S codes for every input, `(S, B, k)`, and their cost in nats `(S, B)`:
    log q(code | x) − log p(code) or its mean, so that log p(x | code) − cost is a bound on log p(x) when not in training. In
    training the cost is what the loss should contain. The call may also take `key`, a seed for each row, int32 `(B,)`, that
    determines its draws when not in training, and `prior`, that of the model.

    Codes that are `drawn` from a posterior q(code | x) can be drawn again: such a bottleneck has `draw` and `kl` as `Gaussian`
    has them. Codes that are `discrete` consist of entries of a codebook, and the prior is one of their indices.

    Args:
        k: dimensions of the code.
        outputs: units of the projection from features; k unless given.
        activation, use_bias: of the projection.
    """

    drawn = False
    discrete = False
    whole = False  # whether `symbols` are whole numbers

    def __init__(self, k: int, outputs: int | None = None, activation: str = "linear", use_bias: bool = True, **kwargs):
        super().__init__(**kwargs)
        require_whole(1, k=k)
        self.k = k
        self.projection = keras.layers.Dense(
            outputs or k, activation=activation, use_bias=use_bias, name="projection", dtype=self.dtype_policy
        )

    def build(self, input_shape: tuple) -> None:
        self.projection.build((None, math.prod(input_shape[1:])))

    def project(self, features: keras.KerasTensor) -> keras.KerasTensor:
        """Features `(B, …)` through the projection, in the compute dtype."""
        return self.projection(ops.reshape(features, (-1, math.prod(features.shape[1:]))))

    @abc.abstractmethod
    def encode(self, features: keras.KerasTensor) -> keras.KerasTensor:
        """Features `(B, …)` to the code that stands for them, `(B, k)`, deterministically."""

    def snap(self, codes: keras.KerasTensor) -> keras.KerasTensor:
        """The nearest codes `(B, k)` that the bottleneck can produce."""
        return codes

    @property
    def symbol_shape(self) -> tuple[int | None, ...]:
        """The shape of `symbols`, `(None, k)`; of discrete ones that of their one-hot rows, `(None, tokens, entries)`."""
        return None, self.k

    def symbols(self, codes: keras.KerasTensor) -> keras.KerasTensor:
        """What the prior is a distribution of: codes `(B, k)` as they are, or the indices that a discrete code consists of."""
        return codes

    def codes(self, symbols: keras.KerasTensor) -> keras.KerasTensor:
        """The codes `(B, k)` that consist of `symbols`."""
        return symbols

    def get_config(self) -> dict:
        return {**super().get_config(), "k": self.k}


@register("bottleneck", "deterministic")
class Deterministic(Bottleneck):
    """One code per input (S = 1), a = f₁(W h + b), computed from the features h.

    Args:
        k: number of dimensions of the code.
        activation: f₁, a Keras name.
        use_bias: whether there is a bias b.
        sparsity: weight λ ≥ 0 of a penalty λ Σⱼ |aⱼ|, in nats, in training (a Laplace prior up to a constant).
    """

    def __init__(self, k: int, activation: Activation = "linear", use_bias: bool = True, sparsity: float = 0.0, **kwargs):
        super().__init__(k, activation=activation, use_bias=use_bias, **kwargs)
        require_amount(sparsity=sparsity)
        self.activation = activation
        self.use_bias = use_bias
        self.sparsity = sparsity

    def call(self, features: keras.KerasTensor, training: bool | None = None) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        codes = self.encode(features)[None]  # (1, B, k)
        cost = self.sparsity * ops.sum(ops.abs(codes), axis=-1) if training else ops.zeros_like(codes[..., 0])
        return codes, cost

    def encode(self, features: keras.KerasTensor) -> keras.KerasTensor:
        return self.project(features)

    def get_config(self) -> dict:
        return {**super().get_config(), "activation": self.activation, "use_bias": self.use_bias, "sparsity": self.sparsity}


@register("bottleneck", "gaussian", slots={"evaluation": "likelihood"}, fixed=["evaluation"])
class Gaussian(Bottleneck):
    """Codes drawn from q(a | x) = N(μ(x), σ²(x)): the VAE (Kingma and Welling, 2014).

    They cost the KL divergence from the prior: in closed form while that is a standard normal, as an unfitted mixture is; else
    log q(a | x) − log p(a) of the draws.

    Args:
        k: number of dimensions of the code.
        beta: weight of the KL divergence in training (Higgins et al., 2017); with 1 the loss is the bound on log p(x).
        free_bits: nats per dimension, averaged over the batch, that cost nothing in training (Kingma et al., 2016). Under a
            prior whose dimensions depend on each other, each counts for an equal part of the cost.
        warmup: training steps during which the weight of the KL divergence rises from 0 to `beta`.
        samples: number S of codes drawn per input; above 1 the loss is the importance-weighted bound (Burda et al., 2016).
        seed: of the noise in training, an integer; drawn unless given.

    When not in training, the S draws of a row depend only on its `key` (without one, on its features), so they are the same in
    every batch.
    """

    drawn = True

    def __init__(
        self,
        k: int,
        beta: float = 1.0,
        free_bits: float = 0.0,
        warmup: Steps = 0,
        samples: int = 1,
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(k, outputs=2 * k, **kwargs)
        require_amount(beta=beta, free_bits=free_bits, warmup=warmup)
        require_whole(1, samples=samples)
        self.beta = beta
        self.free_bits = free_bits
        self.warmup = warmup
        self.samples = samples
        self.seed = seed
        self._seeds = keras.random.SeedGenerator(seed)

    def build(self, input_shape: tuple) -> None:
        super().build(input_shape)
        if self.warmup:
            settings = {"trainable": False, "dtype": "float32", "autocast": False, "aggregation": "mean"}
            self.step = self.add_weight(shape=(), initializer="zeros", name="step", **settings)

    def call(
        self,
        features: keras.KerasTensor,
        training: bool | None = None,
        key: keras.KerasTensor | None = None,
        prior: Prior | None = None,
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        if training:
            shape = (self.samples, ops.shape(features)[0], self.k)
            draws = keras.random.normal(shape, dtype="float32", seed=self._seeds)
        else:
            key = noise.key(ops.cast(features, "float32")) if key is None else key
            draws = noise.normal(key, self.samples * self.k, stream=2)  # (B, S k)
            draws = ops.transpose(ops.reshape(draws, (-1, self.samples, self.k)), (1, 0, 2))  # (S, B, k)
        codes, cost = self.draw(features, draws, prior)  # (S, B, k), (S, B, k)
        if not training:
            return codes, ops.sum(cost, axis=-1)
        if self.free_bits:
            spent = ops.mean(cost, axis=(0, 1), keepdims=True)  # (1, 1, k)
            cost = ops.where(spent > self.free_bits, cost, self.free_bits)
        return codes, self._weight() * ops.sum(cost, axis=-1)

    def encode(self, features: keras.KerasTensor) -> keras.KerasTensor:
        return self.posterior(features)[0]

    def posterior(self, features: keras.KerasTensor) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Mean and log-variance of q(a | x), `(B, k)` each, float32."""
        mean, log_variance = ops.split(ops.cast(self.project(features), "float32"), 2, axis=-1)
        return mean, ops.clip(log_variance, -LOG_VARIANCE, LOG_VARIANCE)

    def draw(
        self, features: keras.KerasTensor, draws: keras.KerasTensor, prior: Prior | None = None
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Codes `(S, B, k)` from standard normal `draws`, and their cost per dimension, of the same shape, relative to the
        prior, a standard normal unless given: log q(a | x) − log p(a), or for S = 1 the KL divergence where it has a closed
        form."""
        mean, log_variance = self.posterior(features)
        codes = mean + ops.exp(0.5 * log_variance) * draws

        def of_each():
            if draws.shape[0] == 1:
                return _kl(mean, log_variance)[None]
            return 0.5 * (ops.square(codes) - ops.square(draws) - log_variance)

        def of_all():
            cost = self._log_posterior(codes, mean, log_variance) - prior.log_prob(codes)  # (S, B)
            return ops.ones_like(codes) * cost[..., None] / self.k  # XLA could not compile the gradient of `ops.repeat`

        return codes, of_each() if prior is None else ops.cond(prior.standard(), of_each, of_all)

    def kl(self, features: keras.KerasTensor, codes: keras.KerasTensor, prior: Prior) -> keras.KerasTensor:
        """KL(q(a | x) ‖ p(a)) in nats, `(B,)`: in closed form for a standard normal prior, else the mean over codes `(S, B, k)`
        that were drawn from q."""
        mean, log_variance = self.posterior(features)

        def exact():
            return ops.sum(_kl(mean, log_variance), axis=-1)

        def estimated():
            return ops.mean(self._log_posterior(codes, mean, log_variance) - prior.log_prob(codes), axis=0)

        return ops.cond(prior.standard(), exact, estimated)

    def get_config(self) -> dict:
        config = {"beta": self.beta, "free_bits": self.free_bits, "warmup": self.warmup, "samples": self.samples}
        config["seed"] = self.seed
        return {**super().get_config(), **config}

    def _log_posterior(self, codes, mean, log_variance):
        """log q(a | x) of codes `(S, B, k)`, `(S, B)`."""
        squares = ops.square(codes - mean) * ops.exp(-log_variance)
        return -0.5 * ops.sum(squares + log_variance + math.log(2 * math.pi), axis=-1)

    def _weight(self):
        if not self.warmup:
            return self.beta
        weight = self.beta * ops.minimum(self.step / self.warmup, 1.0)
        self.step.assign(self.step + 1.0)
        return weight


def _kl(mean, log_variance):
    return 0.5 * (ops.square(mean) + ops.exp(log_variance) - 1.0 - log_variance)
