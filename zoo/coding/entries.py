"""Coding with loss: the entries of a codebook that vector-quantized codes consist of, by the prior of their indices."""

import math

import numpy as np
from keras import ops

from zoo.autoencoder import Autoencoder
from zoo.coding import rounded
from zoo.coding.mode import Mode
from zoo.coding.stack import Distribution, Stack

SHARE = 2.0**24  # of probabilities, in 1


class Entries(Mode):
    """Rows as the decoder makes them of quantized codes. The prior computes in floating point, so a file can be read where that
    comes out as it did when the file was written, which the probe and the chunks tell."""

    name = "entries"
    lossless = False
    parallel = False  # the prior keeps what it computed for the indices before

    @classmethod
    def prepared(cls, model: Autoencoder, x: np.ndarray) -> "Entries":
        """As `Mode.prepared`."""
        return cls(model, {"dtype": rounded.dtype_of(x)})

    def integers(self, x: np.ndarray) -> np.ndarray:
        return rounded.symbols(self.model, x).astype("int64")

    def values(self, integers: np.ndarray) -> np.ndarray:
        return rounded.decoded(self.model, integers.astype("int32"), self.settings["dtype"])

    def bits(self, integers: np.ndarray) -> np.ndarray:
        """The bits that each row's integers take, ideally, `(n,)`."""
        return -ops.convert_to_numpy(self.model.prior.log_prob(integers.astype("int32"))) / math.log(2)

    def encode(self, integers: np.ndarray) -> bytes:
        tokens = range(integers.shape[1]) if len(integers) else ()
        following = [_following(self.model, integers[:, :j]) for j in tokens]
        stack = Stack(known=0)
        for j in reversed(tokens):
            stack.push(following[j], integers[:, j])
        return stack.words().astype("<u4").tobytes()

    def decode(self, payload: bytes, rows: int) -> np.ndarray:
        if len(payload) % 4:
            raise ValueError("a chunk that is no stack of words")
        stack, integers = Stack(np.frombuffer(payload, "<u4")), np.zeros((rows, self.model.bottleneck.tokens), "int64")
        for j in range(integers.shape[1]) if rows else ():
            integers[:, j] = stack.pop(_following(self.model, integers[:, :j]))
        stack.require_known()
        return integers

    def probe(self) -> bytes:
        bottleneck = self.model.bottleneck
        return self.encode(np.arange(3 * bottleneck.tokens).reshape(3, -1) * 40_503 % bottleneck.entries)


def _following(model: Autoencoder, before: np.ndarray) -> Distribution:
    """Of the index after those `(B, j)` of each row."""
    edges = np.cumsum(np.rint(model.prior.conditional(before) * SHARE), axis=1)  # (B, K), whole numbers

    def below(found, places):
        return edges[places, found - 1] / edges[places, -1]

    return Distribution(len(before), 0, edges.shape[1], below)
