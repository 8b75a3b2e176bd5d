"""The transformer: an encoder and a decoder for sequences of tokens, from strings to strings."""

import itertools
import math
from collections.abc import Sequence
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from zoo import inputs, noise, search
from zoo.arguments import require_amount, require_whole
from zoo.attention import Block, per_head, rotary_angles
from zoo.finite import watched
from zoo.inputs import integers
from zoo.model import Model
from zoo.registry import register
from zoo.schema import Feature, Schema
from zoo.signatures import Signature, Tensor
from zoo.unsupervised import PerExample
from zoo.vocabulary import END, PAD, START, UNKNOWN, Vocabulary


@register("model", "transformer", bfloat16=True)
class Transformer(Model):
    """A transformer for p(target | source) of texts, token by token (Vaswani et al., 2017). With equal vocabularies it is an
    autoencoder of texts, and a denoising one if it is trained on corrupted sources.

    Args:
        source_vocabulary: of the texts that are read. Equal vocabularies share their embedding.
        target_vocabulary: of the texts that are written.
        width: size of the state at each position; an even multiple of `heads`.
        depth: number of encoder blocks. They run on all positions at once; those of the decoder run once per token.
        decoder_depth: number of decoder blocks.
        heads: number of attention heads.
        hidden: units of the hidden layer of every block; three times the width unless given.
        dropout: dropout rate in training, applied to what each block adds to the state.
        label_smoothing: share of the target probability that is spread evenly over all tokens that may be written.
        beams: number of sequences that `generate_beam` follows and returns.
        choices: number of next tokens that `next` returns.
        seed: of the dropout, an integer; every layer gets its own seed from it. Drawn unless given.

    Texts, `source` and `target`, are sequences of strings, or int32 token numbers `(B, T)` as `Vocabulary.numbers` returns
    them; outputs are strings or token numbers as the source is, and several outputs come in a dict.

    `fit({"source": texts, "target": texts})` minimizes −log p(target | source) with smoothed labels, and reports
    `cross_entropy`, the same without smoothing, in nats per text, and `sequence_error`, the share of targets in which some
    token is not the likeliest one given the tokens before it.

    Raises:
        ValueError: the width is not an even multiple of the heads.
    """

    parts: ClassVar = {name: name for name in ("source_vocabulary", "target_vocabulary")}
    settings: ClassVar = (
        "width",
        "depth",
        "decoder_depth",
        "heads",
        "hidden",
        "dropout",
        "label_smoothing",
        "beams",
        "choices",
        "seed",
    )

    def __init__(
        self,
        source_vocabulary: Vocabulary,
        target_vocabulary: Vocabulary,
        width: int = 128,
        depth: int = 4,
        decoder_depth: int = 1,
        heads: int = 4,
        hidden: int | None = None,
        dropout: float = 0.1,
        label_smoothing: float = 0.1,
        beams: int = 5,
        choices: int = 10,
        seed: int | None = None,
        **kwargs,
    ):
        require_whole(1, width=width, decoder_depth=decoder_depth, heads=heads, beams=beams, choices=choices)
        require_whole(0, depth=depth, hidden=hidden or 0)
        require_amount(below=1, dropout=dropout, label_smoothing=label_smoothing)
        super().__init__(**{"dtype": keras.config.dtype_policy(), **kwargs})
        self.source_vocabulary = source_vocabulary
        self.target_vocabulary = target_vocabulary
        self.width = width
        self.depth = depth
        self.decoder_depth = decoder_depth
        self.heads = heads
        self.hidden = hidden or 3 * width
        self.dropout = dropout
        self.label_smoothing = label_smoothing
        self.beams = beams
        self.choices = min(choices, target_vocabulary.size - len(search.FORBIDDEN))

        self.seed = seed
        own = itertools.repeat(None) if seed is None else itertools.count(seed)  # consecutive seeds give unrelated draws
        policy = {"dtype": self.dtype_policy}
        self.target_embedding = _embedding(target_vocabulary, width, "target_embedding", policy)
        self.source_embedding = (
            self.target_embedding if self.autoencoder else _embedding(source_vocabulary, width, "source_embedding", policy)
        )
        self.drop = keras.layers.Dropout(dropout, seed=next(own), name="drop", **policy)
        size = (heads, self.hidden, dropout)
        self.encoder = [Block(*size, seed=next(own), name=f"encoder_{i}", **policy) for i in range(depth)]
        self.decoder = [Block(*size, cross=True, seed=next(own), name=f"decoder_{i}", **policy) for i in range(decoder_depth)]
        self.norm_encoder = keras.layers.RMSNormalization(name="norm_encoder", **policy)
        self.norm_decoder = keras.layers.RMSNormalization(name="norm_decoder", **policy)
        for layer in (*self.encoder, *self.decoder, self.norm_encoder, self.norm_decoder):
            layer.build((None, None, width))
        self.cross_entropy = keras.metrics.Mean(name="cross_entropy")
        self.sequence_error = keras.metrics.Mean(name="sequence_error")
        self._mean_loss = PerExample(name="mean")
        self.built = True

    @property
    def schema(self) -> Schema:
        vocabularies = {"source": self.source_vocabulary, "target": self.target_vocabulary}
        return {name: Feature("text", vocabulary=vocabulary) for name, vocabulary in vocabularies.items()}

    @property
    def autoencoder(self) -> bool:
        """Whether source and target have equal vocabularies."""
        return self.source_vocabulary == self.target_vocabulary

    # Verbs

    serving_default = "generate"

    def encode(self, source: Sequence[str] | ArrayLike) -> keras.KerasTensor:
        """Texts `(B,)` to codes `(B, width)`: the mean of the states of their tokens and end token."""
        states, present = self._states(self._source(source))
        weight = ops.cast(present, "float32")[..., None]  # (B, S, 1)
        return ops.sum(ops.cast(states, "float32") * weight, axis=1) / ops.sum(weight, axis=1)

    def encode_states(self, source: Sequence[str] | ArrayLike) -> keras.KerasTensor:
        """Texts `(B,)` to the states `(B, length + 1, width)` of their tokens and end token, 0 after that."""
        states, present = self._states(self._source(source))
        states = ops.where(present[..., None], ops.cast(states, "float32"), 0.0)
        return _padded(states, 1, self.source_vocabulary.length + 1)

    def decode(self, source: Sequence[str] | ArrayLike, target: Sequence[str] | ArrayLike) -> keras.KerasTensor:
        """log p in nats of every token and the end token of the targets `(B,)`, each given the tokens before it:
        `(B, length + 1)`, 0 after the end."""
        source, target = self._source(source), self._target(target)
        return _padded(self._log_prob(source, target), 1, self.target_vocabulary.length + 1)

    def next(self, source: Sequence[str] | ArrayLike, target: Sequence[str] | ArrayLike) -> dict:
        """The `choices` likeliest next tokens after the targets `(B,)`, which may be empty: `token` `(B, choices)`, where "" is
        the end, and their `probability` `(B, choices)`. A target of the greatest length can only end. If fewer tokens are
        possible, the rest are "" with probability 0."""
        tokens = self._target(target)
        logits = self._logits(self._source(source), tokens)  # (B, T, V)
        last = ops.sum(ops.cast(ops.not_equal(tokens, PAD), "int32"), axis=1) - 1  # index of <end> (B,)
        here = ops.equal(ops.arange(ops.shape(tokens)[1], dtype="int32")[None], last[:, None])
        logits = ops.sum(ops.where(here[..., None], logits, 0.0), axis=1)  # (B, V)
        may = search.may_follow(last, self.target_vocabulary.length + 1, logits.shape[-1])
        log_prob = ops.where(may, ops.log_softmax(ops.where(may, logits, search.LOG_ZERO)), search.LOG_ZERO)
        log_prob, token = ops.top_k(log_prob, self.choices)  # not of the probabilities, which may round to equal ones
        token = ops.where(search.possible(log_prob), ops.cast(token, "int32"), PAD)
        probability = ops.exp(log_prob)
        return {"token": self._written(source, token[..., None]), "probability": probability}

    def generate(self, source: Sequence[str] | ArrayLike) -> dict:
        """Greedy search: for texts `(B,)` the `target` `(B,)` made of the likeliest token at each step, its log p in nats,
        `score` `(B,)`, and the number of source characters that are not in the vocabulary, `unknown` `(B,)`."""
        tokens = self._source(source)
        target, score = search.greedy(*self._stepper(tokens))
        return {"target": self._written(source, target), "score": score, "unknown": self._unknown(tokens)}

    def generate_beam(self, source: Sequence[str] | ArrayLike, length_penalty: ArrayLike = 0.0) -> dict:
        """Beam search: for texts `(B,)` the `beams` best targets, best first: `target` and `score` `(B, beams)`, and `unknown`
        `(B,)`.

        The score is log p / ((5 + length) / 6)^α (Wu et al., 2016), where the length includes the end token. The
        `length_penalty` α is a finite number of at least 0, one for all rows or one per row `(B,)`; a higher one favours
        longer targets.

        No target is returned twice. If the vocabulary allows fewer than `beams`, the rest are "" (as token numbers: only
        padding) with the score −1e30, which means impossible.

        Raises:
            ValueError: a length penalty out of range.
        """
        tokens = self._source(source)
        penalty = self._column("length_penalty", length_penalty, tokens)
        target, score = search.beam(*self._stepper(tokens, self.beams), self.beams, penalty)
        return {"target": self._written(source, target), "score": score, "unknown": self._unknown(tokens)}

    def generate_sample(
        self,
        source: Sequence[str] | ArrayLike,
        seed: ArrayLike,
        temperature: ArrayLike = 1.0,
        top_k: ArrayLike = 0,
        top_p: ArrayLike = 1.0,
    ) -> dict:
        """For texts `(B,)` a `target` `(B,)` drawn token by token, its log p, `score` `(B,)`, and `unknown` `(B,)`.

        Args:
            seed: int32 `(B,)`; the same seed gives a source the same target.
            temperature: divides the logits before the draw, finite; 0 takes the likeliest token.
            top_k: draws from this many of the likeliest tokens; 0: from all.
            top_p: draws from the smallest set of likeliest tokens whose probabilities sum to at least this (Holtzman et al.,
                2020); in [0, 1], where 0 takes the likeliest token.

        Each of the last three is one number for all rows, or one per row `(B,)`.

        Raises:
            ValueError: one of them is out of range.
        """
        tokens = self._source(source)
        given = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
        temperature, top_k, top_p = (self._column(name, value, tokens) for name, value in given.items())
        searching = self._stepper(tokens)
        *_, steps = searching
        size = self.target_vocabulary.size
        draws = ops.reshape(noise.uniform(integers(seed), steps * size, stream=5), (-1, steps, size))
        target, score = search.sample(*searching, draws, temperature, top_k, top_p)
        return {"target": self._written(source, target), "score": score, "unknown": self._unknown(tokens)}

    def score(self, source: Sequence[str] | ArrayLike, target: Sequence[str] | ArrayLike) -> keras.KerasTensor:
        """log p(target | source) in nats, `(B,)`, of texts `(B,)` and `(B,)`: higher is likelier."""
        return ops.sum(self._log_prob(self._source(source), self._target(target)), axis=1)

    def reconstruct(self, source: Sequence[str] | ArrayLike) -> dict:
        """The same as `generate`, for a model with equal vocabularies."""
        return self.generate(source)

    def attend(self, source: Sequence[str] | ArrayLike, target: Sequence[str] | ArrayLike) -> keras.KerasTensor:
        """The cross-attention weights of the last block, from each target token to each source token, end tokens included:
        `(B, heads, target length + 1, source length + 1)`, 0 outside the texts."""
        source, target = self._source(source), self._target(target)
        states, present = self._states(source)
        weights = []
        self._decode(states, present, target, on_weights=weights.append)
        written = ops.not_equal(target, PAD)[:, None, :, None]
        maps = ops.where(written & present[:, None, None], weights[-1], 0.0)
        maps = _padded(maps, 2, self.target_vocabulary.length + 1)
        return _padded(maps, 3, self.source_vocabulary.length + 1)

    def signatures(self) -> dict[str, Signature]:
        """The signatures of this model, by verb."""
        source = Tensor((None,), "string", self.source_vocabulary)
        target = Tensor((None,), "string", self.target_vocabulary)
        read, written = self.source_vocabulary.length + 1, self.target_vocabulary.length + 1
        number, integer = Tensor((None,)), Tensor((None,), "int32")
        pair = {"source": source, "target": target}
        answer = {"target": target, "score": number, "unknown": integer}
        several = {name: Tensor((None, self.beams), *tensor[1:]) for name, tensor in (("target", target), ("score", number))}
        likely = Tensor((None, self.choices), "string", self.target_vocabulary)
        sampling = {"seed": integer, **{name: _OPTIONS[name] for name in ("temperature", "top_k", "top_p")}}
        penalty = {"length_penalty": _OPTIONS["length_penalty"]}
        verbs = {
            "encode": Signature({"source": source}, {"code": Tensor((None, self.width))}),
            "encode_states": Signature({"source": source}, {"states": Tensor((None, read, self.width))}),
            "decode": Signature(pair, {"log_prob": Tensor((None, written))}),
            "next": Signature(pair, {"token": likely, "probability": Tensor((None, self.choices))}),
            "generate": Signature({"source": source}, answer),
            "generate_beam": Signature({"source": source, **penalty}, {**several, "unknown": integer}),
            "generate_sample": Signature({"source": source, **sampling}, answer),
            "score": Signature(pair, {"score": number}),
            "attend": Signature(pair, {"attention": Tensor((None, self.heads, written, read))}),
        }
        if self.autoencoder:
            verbs["reconstruct"] = verbs["generate"]
        return verbs

    # Training

    def call(self, x: dict, training: bool | None = None) -> keras.KerasTensor:
        """`{"source": (B, S), "target": (B, T)}` to logits `(B, T, V)`."""
        return self._logits(x["source"], x["target"], training)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> keras.KerasTensor:
        log_prob = ops.log_softmax(y_pred)  # (B, T, V)
        wanted = ops.one_hot(x["target"], self.target_vocabulary.size, dtype="float32")
        steps = ops.arange(ops.shape(x["target"])[1], dtype="int32")
        may = ops.cast(search.may_follow(steps, self.target_vocabulary.length + 1, wanted.shape[-1]), "float32")  # (T, V)
        spread = may / ops.sum(may, axis=-1, keepdims=True)
        wanted = (1 - self.label_smoothing) * wanted + self.label_smoothing * spread
        present = ops.cast(ops.not_equal(x["target"], PAD), "float32")
        loss = -ops.sum(ops.sum(wanted * log_prob, axis=-1) * present, axis=1)  # (B,)
        return self._mean_loss(loss, loss, sample_weight)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict:
        target = x["target"]
        present = ops.not_equal(target, PAD)
        self.cross_entropy.update_state(-ops.sum(_taken(ops.log_softmax(y_pred), target), axis=1), sample_weight)
        wrong = ops.not_equal(ops.cast(ops.argmax(y_pred, axis=-1), "int32"), ops.cast(target, "int32")) & present
        self.sequence_error.update_state(ops.cast(ops.any(wrong, axis=1), "float32"), sample_weight)
        return self.get_metrics_result()

    def fit(self, x: Any = None, **kwargs) -> keras.callbacks.History:
        """As in Keras, on `{"source": …, "target": …}`; compiles with Adam unless `compile` was called. Adds a `zoo.Finite`
        callback."""
        if not self.compiled:
            self.compile("adam")
        if isinstance(x, dict):
            x = {"source": np.asarray(self._source(x["source"])), "target": np.asarray(self._target(x["target"]))}
            inputs.require_some(x["source"])
            if len(x["source"]) != len(x["target"]):
                raise ValueError(
                    f"Expected a target for each source. Received: {len(x['source']):,} sources, {len(x['target']):,} targets."
                )
        else:
            kwargs.setdefault("shuffle", False)  # a data set has its own order; Keras would warn
        if kwargs.get("sample_weight") is not None:
            kwargs["y"] = x["target"]  # without y, Keras drops the weights
        kwargs["callbacks"] = watched(kwargs.get("callbacks"))
        return super().fit(x, **kwargs)

    # Helpers

    def _source(self, source: Sequence[str] | ArrayLike) -> keras.KerasTensor:
        return _tokens(source, self.source_vocabulary, empty=False)

    def _target(self, target: Sequence[str] | ArrayLike) -> keras.KerasTensor:
        return _tokens(target, self.target_vocabulary)

    def _written(self, source, tokens):
        """Tokens `(…, T)` if the source is token numbers, else as texts `(…)`."""
        return tokens if _is_numbers(source) else self.target_vocabulary.texts(ops.convert_to_numpy(tokens))

    def _unknown(self, tokens):
        return ops.sum(ops.cast(ops.equal(tokens, UNKNOWN), "int32"), axis=1)

    @staticmethod
    def _column(name, value, tokens):
        """A search option as a column `(B,)`, checked; the export adds the checks for symbolic values, which are not known."""
        rows, option = ops.shape(tokens)[0], _OPTIONS[name]
        if (known := _known(value)) is not None:
            option.require(known, name)
            if known.shape not in ((), (rows,)) and isinstance(rows, int):
                raise ValueError(
                    f"Expected one number as {name}, or one per row, of shape {(rows,)}. Received: shape {known.shape}. "
                    f"Try {name}={option.bounds[0]:g}."
                )
        return ops.broadcast_to(ops.cast(ops.convert_to_tensor(value), option.dtype), (rows,))

    def _states(self, source, training=None):
        """States `(B, S, width)` of source tokens `(B, S)`, and which of them are not padding, `(B, S)`."""
        present = ops.not_equal(source, PAD)
        angles, mask = self._rotary_angles(ops.shape(source)[1]), per_head(present, self.heads)
        x = self._embedded(self.source_embedding, source, training)
        for block in self.encoder:
            x, _ = block(x, angles, mask, training=training)
        return self.norm_encoder(x), present

    def _decode(self, states, present, target, training=None, on_weights=None):
        """Logits `(B, T, V)` for targets; `on_weights` is called with the cross-attention weights of each block."""
        shifted = ops.pad(target[:, :-1], [[0, 0], [1, 0]], constant_values=START)
        length = ops.shape(target)[1]
        source_angles, angles = self._rotary_angles(ops.shape(states)[1]), self._rotary_angles(length)
        mask, steps = per_head(present, self.heads), ops.arange(length)
        causal = (steps[None, :] <= steps[:, None])[None]  # (1, T, T)
        x = self._embedded(self.target_embedding, shifted, training)
        for block in self.decoder:
            keys_values = block.attention_source.keys_values(states, source_angles)
            x, _ = block(x, angles, causal, keys_values, mask, on_weights=on_weights, training=training)
        return self._head(x, self._table())

    def _stepper(self, source, copies=1):
        """The arguments of a search: a function from tokens `(R,)`, their step t and a cache to the logits `(R, V)` of the next
        tokens and the new cache; an empty cache; R, `copies` rows per source; and the greatest number of steps."""
        states, present = (ops.repeat(part, copies, axis=0) for part in self._states(source))
        source_angles, mask = self._rotary_angles(ops.shape(source)[1]), per_head(present, self.heads)
        attended = [block.attention_source.keys_values(states, source_angles) for block in self.decoder]
        rows = ops.shape(states)[0]
        first = ops.zeros((rows * self.heads, 0, self.width // self.heads), states.dtype)
        steps = self.target_vocabulary.length + 1
        table, rotations = self._table(), ops.swapaxes(self._rotary_angles(steps), 0, 1)  # before the loop

        def step(token, t, cache):
            x = self._embedded(self.target_embedding, token, False)  # (R, width)
            angles = ops.take(rotations, t, axis=0)[:, None]  # (2, 1, width / heads)
            times = np.arange(cache[0][0].shape[1], dtype="int32")
            here, past = ops.equal(times[None, :, None], t), ops.less_equal(times[None, None], t)
            after = []
            for block, keys_values, before in zip(self.decoder, attended, cache, strict=True):

                def update(new, before=before):
                    return tuple(ops.where(here, *pair) for pair in zip(new, before, strict=True))

                x, cached = block(x, angles, past, keys_values, mask, update=update)
                after.append(cached)
            return self._head(x, table), tuple(after)

        return step, tuple((first, first) for _ in self.decoder), rows, steps

    def _logits(self, source, target, training=None):
        return self._decode(*self._states(source, training), target, training)

    def _log_prob(self, source, target):
        """log p `(B, T)` of target tokens, 0 for padding."""
        return _taken(ops.log_softmax(self._logits(source, target)), target)

    def _head(self, x, table):
        """Float32 logits, by the target embedding, transposed `(width, V)`."""
        return ops.cast(ops.matmul(self.norm_decoder(x), table), "float32")

    def _table(self):
        return ops.transpose(self.target_embedding.embeddings)

    def _embedded(self, embedding, tokens, training):
        return self.drop(embedding(tokens) * self.width**0.5, training=training)

    def _rotary_angles(self, length):
        return rotary_angles(ops.arange(length, dtype="float32"), self.width // self.heads)


_OPTIONS = {
    "length_penalty": Tensor((None,), bounds=(0, math.inf)),
    "temperature": Tensor((None,), bounds=(0, math.inf)),
    "top_k": Tensor((None,), "int32", bounds=(0, 2**31 - 1)),
    "top_p": Tensor((None,), bounds=(0, 1)),
}


def _embedding(vocabulary: Vocabulary, width: int, name: str, policy: dict) -> keras.layers.Embedding:
    start = keras.initializers.RandomNormal(stddev=width**-0.5)
    layer = keras.layers.Embedding(vocabulary.size, width, embeddings_initializer=start, name=name, **policy)
    layer.build()
    return layer


def _known(value) -> np.ndarray | None:
    """A value as an array; None for a symbolic tensor, whose value is not known."""
    try:
        return np.asarray(value)
    except (NotImplementedError, TypeError):
        return None


def _is_numbers(texts) -> bool:
    return hasattr(texts, "dtype") and getattr(texts.dtype, "kind", "i") != "O" and "int" in str(texts.dtype)


def _tokens(texts, vocabulary: Vocabulary, empty: bool = True):
    """Texts, or token numbers, as int32 `(B, T)`."""
    if _is_numbers(texts):
        if len(texts.shape) != 2:
            raise ValueError(f"Expected token numbers of shape (batch, tokens). Received: shape {tuple(texts.shape)}.")
        return ops.cast(texts, "int32")
    texts = inputs.texts(texts)
    numbers = vocabulary.numbers(texts)
    if not empty and (numbers[:, 0] == END).any():
        row = int(np.argmax(numbers[:, 0] == END))
        raise ValueError(f"Expected texts with at least one token. Received: {texts[row]!r} in row {row}. Try leaving it out.")
    return ops.convert_to_tensor(numbers)


def _taken(log_prob, target):
    """The entries `(B, T)` of log p `(B, T, V)` for the target tokens `(B, T)`, 0 for padding."""
    taken = ops.take_along_axis(log_prob, ops.cast(target, "int32")[..., None], axis=-1)[..., 0]
    return ops.where(ops.not_equal(target, PAD), taken, 0.0)


def _padded(x, axis: int, length: int):
    """`x` with zeros appended along an axis, up to `length`."""
    pads = [[0, 0] for _ in x.shape]
    pads[axis][1] = length - ops.shape(x)[axis]
    return ops.pad(x, pads)
