"""The rounding bottleneck: codes of whole numbers, whose bits count in training."""

import math

import keras
from keras import ops

from zoo.arguments import require_amount, require_whole
from zoo.bottlenecks import Bottleneck
from zoo.logistic_mixture import NARROWEST, log_bin
from zoo.registry import register


@register("bottleneck", "rounded")
class Rounded(Bottleneck):
    """Codes of k whole numbers, trained for few bits and a small error at once (Ballé, Laparra and Simoncelli, 2017).

    Every dimension has a learned distribution P over the whole numbers, a mixture of logistic distributions that are
    discretized. The loss is −log p(x | code) + λ R with the rate R = −Σⱼ log₂ P(aⱼ) in bits. In training, R is that of the code
    before rounding with noise of U(−½, ½) added, and the decoder sees the rounded code, through which gradients pass straight
    (Minnen and Singh, 2020).

    Args:
        k: number of dimensions of the code. Those that are not worth their bits become constant.
        rate: weight λ ≥ 0 of a bit in training, in nats; the larger it is, the fewer the bits, and the larger the errors.
        logistics: number M of logistic distributions in the mixture of a dimension.
        seed: of the noise in training, an integer; drawn unless given.

    When not in training, a code costs R log 2 nats, so that `score` is a bound.
    """

    whole = True

    def __init__(self, k: int, rate: float = 0.1, logistics: int = 3, seed: int | None = None, **kwargs):
        super().__init__(k, **kwargs)
        require_amount(rate=rate)
        require_whole(1, logistics=logistics)
        self.rate = rate
        self.logistics = logistics
        self.seed = seed
        self._seeds = keras.random.SeedGenerator(seed)

    def build(self, input_shape: tuple) -> None:
        super().build(input_shape)
        shape, settings = (self.k, self.logistics), {"dtype": "float32", "autocast": False}
        spread = keras.initializers.RandomUniform(-2.0, 2.0, self.seed)
        self.logits = self.add_weight(shape=shape, initializer="zeros", name="logits", **settings)
        self.locations = self.add_weight(shape=shape, initializer=spread, name="locations", **settings)
        self.scales = self.add_weight(shape=shape, initializer="zeros", name="scales", **settings)

    def call(self, features: keras.KerasTensor, training: bool | None = None) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        values = ops.cast(self.project(features), "float32")  # (B, k)
        rounded = ops.round(values)
        if not training:
            return rounded[None], math.log(2) * self.bits(rounded)[None]
        noise = keras.random.uniform(ops.shape(values), -0.5, 0.5, dtype="float32", seed=self._seeds)
        codes = values + ops.stop_gradient(rounded - values)  # gradients pass straight through
        return codes[None], self.rate * self.bits(values + noise)[None]

    def encode(self, features: keras.KerasTensor) -> keras.KerasTensor:
        return ops.round(ops.cast(self.project(features), "float32"))

    def snap(self, codes: keras.KerasTensor) -> keras.KerasTensor:
        return ops.round(codes)

    def bits(self, codes: keras.KerasTensor) -> keras.KerasTensor:
        """−Σⱼ log₂ P(aⱼ) of codes `(B, k)`, `(B,)`; between whole numbers, that of a bin of width 1 around the number."""
        scale = NARROWEST + ops.softplus(self.scales)  # (k, M)
        log_probs = log_bin(codes[..., None] - self.locations, scale)  # (B, k, M)
        log_prob = ops.logsumexp(log_probs + ops.log_softmax(self.logits, axis=-1), axis=-1)  # (B, k)
        return -ops.sum(log_prob, axis=-1) / math.log(2)

    def get_config(self) -> dict:
        return {**super().get_config(), "rate": self.rate, "logistics": self.logistics, "seed": self.seed}
