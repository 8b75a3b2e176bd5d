"""An autoregressive prior over the indices of vector-quantized codes: a small causal transformer."""

import keras
import numpy as np
from keras import ops

from zoo import noise
from zoo.arguments import require_amount, require_whole
from zoo.attention import Block, KeysValues, rotary_angles
from zoo.causal import Steps
from zoo.priors import Prior
from zoo.registry import register


@register("prior", "autoregressive")
class Autoregressive(Prior):
    """p(i) = Πₜ p(iₜ | i₀ … iₜ₋₁) for the T indices of a vector-quantized code, by a causal transformer that is fitted after
    training, as van den Oord et al. (2017) fit one to theirs.

    It is uniform until it is fitted. With classes, it learns p(i) and p(i | class) at once: the token before the first index is
    the class, or says that there is none.

    Args:
        width: of the transformer, an even multiple of the heads.
        depth: number of its blocks.
        heads: of their attention.
        dropout: dropout rate when it is fitted, in [0, 1).
        epochs: passes over the codes when it is fitted; with 0 it stays uniform.
        classes: number C of classes, or 0.
        seed: of the dropout, an integer; drawn unless given.
    """

    discrete = True

    def __init__(
        self,
        width: int = 96,
        depth: int = 3,
        heads: int = 4,
        dropout: float = 0.1,
        epochs: int = 10,
        classes: int = 0,
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        require_whole(1, width=width, depth=depth, heads=heads)
        require_whole(0, epochs=epochs, classes=classes)
        require_amount(below=1, dropout=dropout)
        self.width = width
        self.depth = depth
        self.heads = heads
        self.dropout = dropout
        self.epochs = epochs
        self.classes = classes
        self.seed = seed
        self._steps = None  # of the last call of `conditional`

    def build(self, input_shape: tuple) -> None:
        _, self.tokens, self.entries = input_shape
        policy, own = {"dtype": self.dtype_policy}, [None if self.seed is None else self.seed + i for i in range(self.depth)]
        self.embedding = keras.layers.Embedding(self.entries + 1 + self.classes, self.width, name="embedding", **policy)
        self.embedding.build()
        shape = (self.tokens, self.width)
        self.places = self.add_weight(shape=shape, initializer="random_normal", autocast=False, name="places")
        size = (self.heads, 4 * self.width, self.dropout)
        self.blocks = [Block(*size, seed=seed, name=f"block_{i}", **policy) for i, seed in enumerate(own)]
        self.norm = keras.layers.RMSNormalization(name="norm", **policy)
        self.head = keras.layers.Dense(self.entries, kernel_initializer="zeros", name="head", **policy)  # uniform at first
        for layer in (*self.blocks, self.norm, self.head):
            layer.build((None, self.tokens, self.width))
        if self.classes:
            self.seen = self.add_weight(shape=(self.classes,), initializer="ones", trainable=False, autocast=False, name="seen")
        self.trainable = False  # with the model; it is fitted on its own

    def call(self, seed: keras.KerasTensor, label: keras.KerasTensor | None = None) -> keras.KerasTensor:
        """Indices `(B, T)`, int32, drawn by seeds `(B,)`; with labels `(B,)`, each from its class."""
        draws = noise.uniform(seed, self.tokens, stream=8)  # (B, T)
        rows, steps = ops.shape(seed)[0], ops.arange(self.tokens)
        shape = (rows * self.heads, self.tokens, self.width // self.heads)
        cache = tuple((ops.zeros(shape), ops.zeros(shape)) for _ in self.blocks)

        def step(t, state):
            token, drawn, cache = state
            logits, cache = self._next(token, t, cache)  # (B, K)
            edges = ops.cumsum(ops.softmax(logits), axis=-1)
            at = ops.take(draws, t, axis=1)[:, None] * edges[:, -1:]
            token = ops.sum(ops.cast(at > edges[:, :-1], "int32"), axis=-1)  # (B,)
            return token, ops.where(ops.equal(steps, t), token[:, None], drawn), cache

        start = (self._first(ops.zeros_like(seed), label), ops.zeros((rows, self.tokens), "int32"), cache)
        return ops.fori_loop(0, self.tokens, step, start)[1]

    def log_prob(self, codes: keras.KerasTensor) -> keras.KerasTensor:
        """log p of indices `(…, T)` in nats, `(…)`; whatever the class."""
        flat = ops.reshape(codes, (-1, self.tokens))  # (B, T)
        log_prob = ops.take_along_axis(ops.log_softmax(self.logits(flat)), flat[..., None], axis=-1)  # (B, T, 1)
        return ops.reshape(ops.sum(log_prob, axis=(1, 2)), ops.shape(codes)[:-1])

    def logits(
        self, codes: keras.KerasTensor, label: keras.KerasTensor | None = None, training: bool | None = None
    ) -> keras.KerasTensor:
        """log p of every entry at every place, given the indices before it, up to a constant: `(B, T, K)` for indices `(B, T)`.

        Args:
            label: classes `(B,)`, where −1 is none.
        """
        steps = ops.arange(self.tokens)
        angles = self._angles(steps)
        causal = (steps[None, :] <= steps[:, None])[None]  # (1, T, T)
        tokens = ops.concatenate([self._first(codes[:, 0], label)[:, None], codes[:, :-1]], axis=1)  # (B, T)
        x = self.embedding(tokens) + self.places
        for block in self.blocks:
            x, _ = block(x, angles, causal, training=training)
        return self.head(self.norm(x))

    def conditional(self, before: np.ndarray) -> np.ndarray:
        """The probabilities p(aⱼ | a₀ … aⱼ₋₁) of the K entries, float64 `(B, K)`, given the indices before the j-th, `(B, j)`,
        0 ≤ j < k. Rows sum to 1.

        Calls that go on where the last one ended are quick: what the transformer has computed for these rows is kept.
        """
        before = np.asarray(before)
        if self._steps is None or not self._steps.lead_to(self, before):
            self._steps = Steps(self, len(before))
        logits = self._steps.after(before)  # (B, K)
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        return shares / shares.sum(axis=1, keepdims=True)

    def available(self) -> keras.KerasTensor:
        return self.seen > 0 if self.classes else super().available()

    def get_config(self) -> dict:
        names = ("width", "depth", "heads", "dropout", "epochs", "classes", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}

    def _first(self, like, label):
        """The tokens `(B,)` before the first index: K, or K + 1 + the class."""
        none = ops.full_like(like, self.entries)
        return none if label is None else none + 1 + ops.cast(label, none.dtype)

    def _angles(self, steps):
        return rotary_angles(ops.cast(steps, "float32"), self.width // self.heads)

    def _next(self, token, t, cache: tuple[KeysValues, ...]):
        """The logits `(B, K)` after tokens `(B,)` at step t, and the cache with this step in it."""
        times = ops.arange(self.tokens)
        here, past = ops.equal(times, t)[None, :, None], (times <= t)[None, None]
        angles = self._angles(ops.reshape(t, (1,)))
        x = self.embedding(token) + ops.take(self.places, t, axis=0)  # (B, width)
        after = []
        for block, kept in zip(self.blocks, cache, strict=True):

            def update(new, kept=kept):
                return tuple(ops.where(here, *pair) for pair in zip(new, kept, strict=True))

            x, cached = block(x, angles, past, update=update)
            after.append(cached)
        return self.head(self.norm(x)), tuple(after)
