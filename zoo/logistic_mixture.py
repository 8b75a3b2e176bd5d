"""Mixtures of discretized logistic distributions over grey levels."""

import keras
import numpy as np
from keras import ops

from zoo.arguments import require_whole
from zoo.coding import curves
from zoo.likelihoods import Levels, sum_per_example
from zoo.registry import register

NARROWEST = 0.05  # scale s of a component in bins: 0.9999 of its mass are then in one bin
SPREAD = 2.5  # log of the scale at the start of training
WIDEST = 5.5  # by which a log-scale differs from it at most


@register("likelihood", "logistic_mixture")
class LogisticMixture(Levels):
    """Mixtures Σₘ πₘ Logistic(μₘ, sₘ) over the grey levels 0, 1/n, …, 1, n = `levels` − 1; every value has its own mixture.

    The probability of a level is that of the bin around it, 1/n wide; the outermost bins are open (Salimans et al., 2017). So
    a component whose mean is at an end, or beyond it, is a probability of black or white alone, which pictures with much of
    either need. `log_prob` is a log-probability of the data, as that of `DiscretizedGaussian` is.

    Args:
        levels: number of grey levels, 256 for 8-bit images; None: 256 or, in an experiment, that of the training data.
        logistics: number M of logistic distributions.
    """

    def __init__(self, levels: int | None = None, logistics: int = 4):
        super().__init__(levels)
        require_whole(1, logistics=logistics)
        self.logistics = logistics
        self.parameters = 3 * logistics

    def mean(self, parameters: keras.KerasTensor) -> keras.KerasTensor:
        """E[x] = ∫ P(x > t) dt, from 0 to n bins, of the mixture before it is discretized."""
        log_weights, location, scale = self._mixture(parameters)  # (…, M) each
        inside = scale * (ops.softplus(location / scale) - ops.softplus((location - self.levels + 1) / scale))
        return ops.clip(ops.sum(ops.exp(log_weights) * inside, axis=-1) / (self.levels - 1), 0.0, 1.0)

    def log_prob(self, x: keras.KerasTensor, parameters: keras.KerasTensor) -> keras.KerasTensor:
        n = self.levels - 1
        log_weights, location, scale = self._mixture(parameters)  # (S, B, *shape, M) each
        offset = n * x[None, ..., None] - location
        lowest, highest = x[None, ..., None] < 0.5 / n, x[None, ..., None] > 1 - 0.5 / n
        end = ops.log_sigmoid((0.5 + ops.where(lowest, offset, -offset)) / scale)  # of an open bin
        log_probs = ops.where(ops.logical_or(lowest, highest), end, log_bin(offset, scale))
        return sum_per_example(ops.logsumexp(log_weights + log_probs, axis=-1))

    def get_config(self) -> dict:
        return {**super().get_config(), "logistics": self.logistics}

    def below(self, parameters: np.ndarray, edges: np.ndarray) -> np.ndarray:
        n, m = self.levels - 1, self.logistics
        logits, location, spread = (parameters[:, i * m : (i + 1) * m].T for i in range(3))  # (M, m) each
        highest = np.max(logits, axis=0)
        weights, total, below = [curves.exp(each - highest) for each in logits], 0.0, 0.0
        for weight, place, width, anchor in zip(weights, location, spread, self._anchors, strict=True):
            scale = NARROWEST + curves.exp(np.clip(width, -WIDEST, WIDEST) + SPREAD)
            below = below + weight * curves.sigmoid((edges - 0.5 - n * (place + anchor)) / scale)
            total = total + weight
        return below / total

    def _mixture(self, parameters):
        """log πₘ, and μₘ and sₘ in bins, `(…, M)` each; where all parameters are 0 the means are spread from end to end."""
        m = self.logistics
        logits, location, spread = (parameters[..., i * m : (i + 1) * m] for i in range(3))
        scale = NARROWEST + ops.exp(ops.clip(spread, -WIDEST, WIDEST) + SPREAD)
        mean = (self.levels - 1) * (location + ops.cast(self._anchors, location.dtype))
        return ops.log_softmax(logits, axis=-1), mean, scale

    @property
    def _anchors(self) -> np.ndarray:
        return np.linspace(0.0, 1.0, self.logistics) if self.logistics > 1 else np.array([0.5])


def log_bin(offset: keras.KerasTensor, scale: keras.KerasTensor) -> keras.KerasTensor:
    """log(σ((o + ½) / s) − σ((o − ½) / s)): the mass of a logistic distribution in a bin of width 1, at the offset o from its
    mean.

    It is computed as σ((½ + o) / s) σ((½ − o) / s) (1 − exp(−1 / s)), in which no nearly equal numbers are subtracted.
    """
    ends = ops.log_sigmoid((0.5 + offset) / scale) + ops.log_sigmoid((0.5 - offset) / scale)
    return ends + ops.log(-ops.expm1(-1.0 / scale))
