"""Decoding, token by token: greedy search, beam search and sampling.

A search takes a function `step(token (R,), t, cache) → logits (R, V), cache`, an empty cache, the number of rows R, and the
greatest number of steps. At the last step only the end token is possible; `may_follow` says what is possible before it. The
search stops when every row has ended.
"""

from collections.abc import Callable

import numpy as np
from keras import KerasTensor, ops

from zoo.vocabulary import END, PAD, START, UNKNOWN

FORBIDDEN = (PAD, START, UNKNOWN)  # tokens that may not be written
LOG_ZERO = -1e30  # log p of what is impossible: finite, so that differences of it are not NaN
STRONGEST = 1000.0  # length penalty; the order of sequences is the same for all greater ones


def greedy(step: Callable, cache: tuple, rows: int | KerasTensor, steps: int) -> tuple[KerasTensor, KerasTensor]:
    """The likeliest token at each step: tokens `(R, steps)`, padded after the end, and their log p `(R,)`."""
    return _written(step, cache, rows, steps, lambda log_prob, t: (ops.argmax(log_prob, axis=-1), ops.max(log_prob, axis=-1)))


def sample(
    step: Callable,
    cache: tuple,
    rows: int | KerasTensor,
    steps: int,
    draws: KerasTensor,
    temperature: KerasTensor,
    top_k: KerasTensor,
    top_p: KerasTensor,
) -> tuple[KerasTensor, KerasTensor]:
    """As `greedy`, but each token is drawn, by uniform `draws` `(R, steps, V)`; `temperature`, `top_k` and `top_p`, one per row
    `(R,)`, are those of `Transformer.generate_sample`."""
    temperature, top_k, top_p = ops.maximum(temperature, 1e-6)[:, None], top_k[:, None], top_p[:, None]

    def choose(log_prob, t):
        size = log_prob.shape[-1]
        logits = ops.where(possible(log_prob), log_prob / temperature, LOG_ZERO)  # impossible at any temperature
        logits, token = ops.top_k(logits, size)  # in descending order
        probability = ops.softmax(logits)
        before = ops.cumsum(probability, axis=-1) - probability
        rank = ops.arange(size)[None]
        kept = (before < top_p) & ((rank < top_k) | (top_k <= 0)) | (rank == 0)
        gumbel = -ops.log(-ops.log(ops.take(draws, t, axis=1)))
        chosen = ops.argmax(ops.where(kept, logits, LOG_ZERO) + gumbel, axis=-1)
        token = ops.take_along_axis(token, chosen[:, None], axis=-1)
        return token[:, 0], ops.take_along_axis(log_prob, token, axis=-1)[:, 0]

    return _written(step, cache, rows, steps, choose)


def beam(
    step: Callable, cache: tuple, rows: int | KerasTensor, steps: int, beams: int, length_penalty: KerasTensor
) -> tuple[KerasTensor, KerasTensor]:
    """The best sequences for each of B = R / beams sources, best first: tokens `(B, beams, steps)` and scores `(B, beams)`,
    log p / ((5 + length) / 6)^α with the length penalty α `(B,)`. If fewer sequences than beams are possible, the rest are
    padding with the score `LOG_ZERO`."""
    sources = rows // beams
    first = ops.arange(sources)[:, None] * beams  # the row where each source's beams begin (B, 1)

    def body(t, token, written, log_prob, length, ended, cache):
        logits, cache = step(ops.reshape(token, (-1,)), t, cache)
        size = logits.shape[-1]
        following = ops.reshape(_log_prob_allowed(logits, t, steps), (-1, beams, size))
        padding = ops.where(ops.arange(size) == PAD, 0.0, LOG_ZERO)  # log p after the end of a sequence
        total = log_prob[..., None] + ops.where(ended[..., None], padding, following)  # (B, beams, V)
        lengths = ops.where(ended, length, t + 1)
        ranked = ops.reshape(_rank(total, lengths[..., None], length_penalty), (-1, beams * size))
        chosen = ops.cast(ops.top_k(ranked, beams)[1], "int32")  # (B, beams)
        log_prob = ops.take_along_axis(ops.reshape(total, (-1, beams * size)), chosen, axis=1)
        parent, token = chosen // size, chosen % size
        length, ended = (ops.take_along_axis(column, parent, axis=1) for column in (lengths, ended))
        written = ops.take_along_axis(written, parent[..., None], axis=1)
        written = ops.where(possible(log_prob)[..., None], _put(written, token, t, steps), PAD)
        row = ops.reshape(first + parent, (-1,))
        cache = tuple(tuple(_rows(part, row) for part in block) for block in cache)
        return t + 1, token, written, log_prob, length, ended | ops.equal(token, END) | ~possible(log_prob), cache

    start = ops.full((sources, beams), START, "int32")
    one = ops.where(ops.arange(beams) == 0, 0.0, LOG_ZERO)  # beams are equal before the first token: follow only one
    state = (
        ops.convert_to_tensor(0, "int32"),
        start,
        ops.zeros((sources, beams, steps), "int32"),
        ops.zeros((sources, beams)) + one,
        ops.zeros((sources, beams), "int32"),
        ops.zeros((sources, beams), "bool"),
        cache,
    )
    _, _, written, log_prob, length, _, _ = _run(body, state, steps)
    score = log_prob / ops.power(_length_factor(length), length_penalty[:, None])
    return written, ops.where(possible(log_prob), score, LOG_ZERO)


def _length_factor(length):
    return (5.0 + ops.cast(length, "float32")) / 6.0


def _rank(log_prob, length, length_penalty):
    """What orders log p `(B, beams, V)` as the score does: −log(−score), which does not overflow for any α `(B,)`."""
    alpha = ops.minimum(length_penalty, STRONGEST)[:, None, None]
    order = alpha * ops.log(_length_factor(length)) - ops.log(ops.maximum(-log_prob, 1e-30))
    return ops.where(possible(log_prob), order, LOG_ZERO)


def may_follow(t: KerasTensor, steps: int, size: int) -> KerasTensor:
    """Whether each of `size` = V tokens may be written at steps t `(…)`, booleans `(…, V)`: never one of `FORBIDDEN`, and at
    the last step only the end."""
    token = np.arange(size, dtype="int32")
    written = ~np.isin(token, FORBIDDEN)
    return ops.logical_and(written, ops.logical_or(token == END, ops.cast(t, "int32")[..., None] < steps - 1))


def possible(log_prob: KerasTensor) -> KerasTensor:
    """Whether log p is above `LOG_ZERO`; NaN is not."""
    return log_prob > LOG_ZERO / 2


def _log_prob_allowed(logits, t, steps):
    """log p `(R, V)` of the next token at step t, `LOG_ZERO` where it may not follow."""
    return ops.where(may_follow(t, steps, logits.shape[-1]), ops.log_softmax(logits), LOG_ZERO)


def _written(
    step: Callable, cache: tuple, rows: int | KerasTensor, steps: int, choose: Callable
) -> tuple[KerasTensor, KerasTensor]:
    """Runs the search that takes at each step a token and its log p, both `(R,)`, from `choose(log_prob (R, V), t)`."""

    def body(t, token, written, score, ended, cache):
        logits, cache = step(token, t, cache)
        token, gained = choose(_log_prob_allowed(logits, t, steps), t)
        token = ops.where(ended, PAD, ops.cast(token, "int32"))
        score = score + ops.where(ended, 0.0, gained)
        return t + 1, token, _put(written, token, t, steps), score, ended | ops.equal(token, END), cache

    state = (
        ops.convert_to_tensor(0, "int32"),
        ops.full((rows,), START, "int32"),
        ops.zeros((rows, steps), "int32"),
        ops.zeros((rows,)),
        ops.zeros((rows,), "bool"),
        cache,
    )
    _, _, written, score, _, _ = _run(body, state, steps)
    return written, score


def _run(body: Callable, state: tuple, steps: int) -> tuple:
    """Runs `body` until every row has ended. A state is (time, …, which rows have ended, cache). The cache's second axis is
    time: it is first made for two fifths of the steps, so that short sequences do not pay for the attention to empty places."""
    for stop in (-(-2 * steps // 5), steps):

        def going(t, *state, stop=stop):
            return (t < stop) & ~ops.all(state[-2])

        *others, cache = state
        state = ops.while_loop(going, body, (*others, longer(cache, stop)))
    return state


def longer(cache: tuple, steps: int) -> tuple:
    """A cache with room for so many steps."""
    return tuple(
        tuple(ops.pad(part, [[0, 0], [0, steps - part.shape[1]], [0, 0]]) for part in keys_values) for keys_values in cache
    )


def _rows(part, row):
    """A cached tensor, whose first axis is a multiple of R, reordered by rows `(R,)`."""
    count = ops.shape(row)[0]
    if isinstance(count, int) and count == 0:  # reshape cannot infer the size of a row from no rows
        return part
    return ops.reshape(ops.take(ops.reshape(part, (count, -1)), row, axis=0), ops.shape(part))


def _put(written, token, t, steps):
    """Tokens `(…, steps)` with `token` `(…)` at step t."""
    return ops.where(ops.equal(np.arange(steps, dtype="int32"), t), token[..., None], written)
