"""Evaluation of transformers: how often, and by how much, the targets that they write differ from the listed ones."""

from collections.abc import Callable, Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf
from rapidfuzz import process
from rapidfuzz.distance import OSA, Levenshtein

import zoo
from training.data.pairs import Pairs, PairSplit

BATCH = 256
QUERIES = 500  # texts that are compared with all texts of a dictionary at once


def evaluate(model: zoo.Transformer, data: Pairs) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Evaluates a trained model on the distinct sources of the test split; any target that is listed for a source is right.
    Sources that are too long for the model count as wrong, and are not part of the arrays or of `test/score`.

    Returns:
        The metrics, and the arrays of `codes.npz`: `test_ids`, the sources `(n,)`, `test_codes` `(n, width)`, and
        `test_answers` `(n, beams)`, the targets of the beam search.

    Metrics, for `greedy` and `beam` search: `METHOD/sequence_error_rate`, the share of sources whose target is not listed
    (the word error rate of pronunciations); `METHOD/token_error_rate`, the sum of the Levenshtein distances to the nearest
    listed targets, divided by the number of their tokens (the phone error rate). `beam/coverage_N`: the share of sources with
    a listed target among the best N. `test/score`: the mean log p of the listed targets. If targets have a reduced form, the
    same metrics of this form end in `_without_stress`. If both sides share a vocabulary, `unchanged/…` are the rates of leaving
    the sources unchanged, and `nearest/…` those of the nearest target in all splits, by optimal string alignment.
    """
    references, most = data.test.references(), model.source_vocabulary.length
    short, long = [], []
    for source in sorted(references, key=len):
        (short if len(model.source_vocabulary.split(source)) <= most else long).append(source)
    sources, beams = short + long, answer(model.generate_beam, short)
    answers = {"greedy": [*answer(model.generate, short)[:, None], *[()] * len(long)], "beam": [*beams, *[()] * len(long)]}
    if model.autoencoder:
        answers["unchanged"] = np.array(sources)[:, None]
        dictionary = sorted({target for split in data.splits.values() for _, target in split.pairs()})
        answers["nearest"] = _nearest(sources, dictionary)[:, None]
    listed = [references[source] for source in sources]
    metrics = {"test/score": score(model, data.test)}
    for method, written in answers.items():
        metrics |= rates(method, listed, written, data.target_vocabulary.separator)
        if data.reduced:
            both = ([[data.reduced(text) for text in row] for row in rows] for rows in (listed, written))
            reduced = rates(method, *both, data.target_vocabulary.separator)
            metrics |= {f"{name}_without_stress": value for name, value in reduced.items()}
    codes = np.concatenate([keras.ops.convert_to_numpy(model.encode(part)) for part in _parts(short)])
    return metrics, {"test_ids": np.array(short), "test_codes": codes, "test_answers": beams}


def rates(method: str, listed: Sequence[Sequence[str]], written: Sequence[Sequence[str]], separator: str) -> dict[str, float]:
    """`METHOD/sequence_error_rate`, `METHOD/token_error_rate` and, with several targets per source, `METHOD/coverage_N`.

    Args:
        listed: the right targets of each of n sources.
        written: the targets to be judged, the best first; none if a source has no answer.
        separator: between the tokens of a target.
    """
    edits = tokens = 0
    for right, row in zip(listed, written, strict=True):
        best = row[0] if len(row) else ""
        distance, length = min(_distance(text, best, separator) for text in right)
        edits, tokens = edits + distance, tokens + length
    count = max(map(len, written))
    covered = [
        np.mean([bool(set(right) & set(row[:n])) for right, row in zip(listed, written, strict=True)])
        for n in range(1, count + 1)
    ]
    metrics = {f"{method}/sequence_error_rate": 1 - float(covered[0]), f"{method}/token_error_rate": edits / max(tokens, 1)}
    if count > 1:
        metrics |= {f"{method}/coverage_{n}": float(share) for n, share in enumerate(covered, 1)}
    return metrics


def answer(verb: Callable, sources: Sequence[str]) -> np.ndarray:
    """The targets, `(n,)` or `(n, beams)`, that a verb of a model writes for sources `(n,)`."""
    model, compiled = verb.__self__, _compiled(verb)
    parts = [compiled(model.source_vocabulary.numbers(part))["target"] for part in _parts(sources)]
    return np.concatenate([model.target_vocabulary.texts(keras.ops.convert_to_numpy(part)) for part in parts])


def score(model: zoo.Transformer, split: PairSplit) -> float:
    """log p(target | source) in nats, averaged over the pairs of a split."""
    compiled, columns = _compiled(model.score), (split.tokens("source"), split.tokens("target"))
    parts = [compiled(*part) for part in zip(*map(_parts, columns), strict=True)]
    return float(np.mean(np.concatenate([keras.ops.convert_to_numpy(part) for part in parts])))


def _distance(right: str, written: str, separator: str) -> tuple[int, int]:
    """The number of edits between two texts, and the number of tokens of the right one."""
    right, written = (text.split() if separator else text for text in (right, written))
    return Levenshtein.distance(right, written), len(right)


def _nearest(texts: Sequence[str], dictionary: Sequence[str]) -> np.ndarray:
    """For each text the nearest one in a dictionary; the first of several."""
    words, nearest = np.array(dictionary), []
    for start in range(0, len(texts), QUERIES):
        distances = process.cdist(texts[start : start + QUERIES], dictionary, scorer=OSA.distance, dtype=np.uint8, workers=-1)
        nearest.append(words[distances.argmin(axis=1)])
    return np.concatenate(nearest)


def _parts(rows: Sequence) -> Iterator[Sequence]:
    return (rows[start : start + BATCH] for start in range(0, len(rows), BATCH))


def _compiled(verb: Callable) -> Callable:
    if keras.backend.backend() == "tensorflow":
        return tf.function(verb, autograph=False, reduce_retracing=True)
    return verb
