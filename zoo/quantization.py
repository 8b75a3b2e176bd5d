"""The vector-quantized bottleneck: a code is a sequence of entries of a learned codebook."""

import math

import keras
from keras import ops

from zoo.arguments import require_amount, require_whole
from zoo.bottlenecks import Bottleneck
from zoo.priors import Prior
from zoo.registry import register

LEAST = 1e-12  # least moving average of an entry, as a share of 1 / K; it avoids 0 / 0


@register("bottleneck", "vector_quantized", slots={"prior": "autoregressive"})
class VectorQuantized(Bottleneck):
    """Codes of `tokens` vectors, each the nearest entry of a codebook: the VQ-VAE (van den Oord et al., 2017).

    Each entry is an exponential moving average of the vectors assigned to it (their appendix A.1); an entry with hardly any
    vectors is restarted at a vector of the batch.

    Args:
        tokens: number of vectors in a code; k = tokens · width.
        entries: number K of entries in the codebook. A code takes tokens · log₂ K bits.
        width: number of dimensions of a vector.
        commitment: weight β, in nats, of the commitment loss ‖h − sg(e)‖² in training.
        decay: decay rate of the moving averages, in [0, 1).
        restart: an entry is restarted when its share of the vectors, a moving average, falls below `restart` / K; in [0, 1).
            With 0, unused entries stay as they are.
        seed: of the initial codebook and the restarts, an integer; drawn unless given.

    When not in training, a code costs −log p(indices) under the prior, so `score` is a bound. In training it costs
    tokens · log K nats, as under a uniform prior: no gradient passes through the choice of entries.
    """

    discrete = True
    whole = True

    def __init__(
        self,
        tokens: int,
        entries: int = 256,
        width: int = 4,
        commitment: float = 0.25,
        decay: float = 0.99,
        restart: float = 0.02,
        seed: int | None = None,
        **kwargs,
    ):
        require_whole(1, tokens=tokens, width=width)
        require_whole(2, entries=entries)
        require_amount(commitment=commitment)
        require_amount(below=1, decay=decay, restart=restart)
        super().__init__(tokens * width, **kwargs)
        self.tokens = tokens
        self.entries = entries
        self.width = width
        self.commitment = commitment
        self.decay = decay
        self.restart = restart
        self.seed = seed
        self._seeds = keras.random.SeedGenerator(seed)

    @property
    def bits(self) -> float:
        """Size of one code in bits."""
        return self.tokens * math.log2(self.entries)

    @property
    def codebook(self) -> keras.KerasTensor:
        """The codebook, `(K, width)`, float32."""
        return self.sums / self.counts[:, None]

    def build(self, input_shape: tuple) -> None:
        super().build(input_shape)
        # Both are averages over the vectors of a batch, so their mean over replicas is that of the whole batch; the codebook is
        # their ratio, not a copy that could drift.
        settings = {"trainable": False, "dtype": "float32", "autocast": False, "aggregation": "mean"}
        start = (2 * self.restart or 1.0) / self.entries  # entries that are unused at first are soon restarted
        first = None if self.seed is None else self.seed + 1  # not the stream of the restarts
        constant, random = keras.initializers.Constant(start), keras.initializers.RandomNormal(stddev=start, seed=first)
        self.counts = self.add_weight(shape=(self.entries,), initializer=constant, name="counts", **settings)
        self.sums = self.add_weight(shape=(self.entries, self.width), initializer=random, name="sums", **settings)

    def call(
        self, features: keras.KerasTensor, training: bool | None = None, prior: Prior | None = None
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        vectors = self._vectors(features)  # (B, tokens, width)
        index = self._nearest(vectors)
        nearest = ops.take(self.codebook, index, axis=0)  # (B, tokens, width)
        codes = nearest
        if prior is None or training:
            cost = ops.full_like(vectors[:, 0, 0], self.tokens * math.log(self.entries))  # (B,)
        else:
            cost = -prior.log_prob(index)
        if training:
            self._follow(ops.stop_gradient(vectors), index)
            cost += self.commitment * ops.sum(ops.square(vectors - ops.stop_gradient(nearest)), axis=(1, 2))
            codes = vectors + ops.stop_gradient(nearest - vectors)  # gradients pass straight through
        return ops.reshape(codes, (1, -1, self.k)), cost[None]

    def encode(self, features: keras.KerasTensor) -> keras.KerasTensor:
        return self.snap(self.project(features))

    def snap(self, codes: keras.KerasTensor) -> keras.KerasTensor:
        return self.codes(self.symbols(codes))

    @property
    def symbol_shape(self) -> tuple[int | None, ...]:
        return None, self.tokens, self.entries

    def symbols(self, codes: keras.KerasTensor) -> keras.KerasTensor:
        """Codes `(B, k)` to the indices of their entries, `(B, tokens)`, int32."""
        return self._nearest(ops.reshape(ops.cast(codes, "float32"), (-1, self.tokens, self.width)))

    def codes(self, symbols: keras.KerasTensor) -> keras.KerasTensor:
        return ops.reshape(ops.take(self.codebook, symbols, axis=0), (-1, self.k))

    def get_config(self) -> dict:
        config = super().get_config()
        del config["k"]
        names = ("tokens", "entries", "width", "commitment", "decay", "restart", "seed")
        return {**config, **{name: getattr(self, name) for name in names}}

    def _vectors(self, features):
        return ops.reshape(ops.cast(self.project(features), "float32"), (-1, self.tokens, self.width))

    def _nearest(self, vectors):
        codebook = self.codebook  # (K, width)
        # ‖v − e‖² − ‖v‖²; ‖v‖² is the same for every entry
        distance = ops.sum(ops.square(codebook), axis=-1) - 2.0 * ops.matmul(vectors, ops.transpose(codebook))
        return ops.argmin(distance, axis=-1)  # (B, tokens), int32

    def _follow(self, vectors, index):
        flat, chosen = ops.reshape(vectors, (-1, self.width)), ops.reshape(index, (-1,))
        # Sums by entry as a product with one-hot rows: the scatter of segment_sum is not deterministic on a GPU.
        choice = ops.one_hot(chosen, self.entries, dtype="float32")  # (B * tokens, K)
        rows = ops.shape(flat)[0]
        share = (1 - self.decay) / ops.cast(rows, "float32")
        counts = self.decay * self.counts + share * ops.sum(choice, axis=0)  # (K,)
        sums = self.decay * self.sums + share * ops.matmul(ops.transpose(choice), flat)  # (K, width)
        fresh = ops.take(flat, keras.random.randint((self.entries,), 0, rows, dtype="int32", seed=self._seeds), axis=0)
        unused = counts < LEAST / self.entries
        sums = ops.where(unused[:, None], LEAST / self.entries * self.codebook, sums)
        counts = ops.where(unused, LEAST / self.entries, counts)
        dead = counts < self.restart / self.entries
        self.counts.assign(ops.where(dead, 1 / self.entries, counts))
        self.sums.assign(ops.where(dead[:, None], fresh / self.entries, sums))
