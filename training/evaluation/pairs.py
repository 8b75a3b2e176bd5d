"""What a transformer is worth: how often, and by how much, its targets differ from the listed ones."""

from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf
from rapidfuzz import process
from rapidfuzz.distance import OSA, Levenshtein

import zoo
from training.data.pairs import Pairs, PairSplit

BATCH = 256
QUERIES = 500  # texts that are compared with a whole dictionary at once


def evaluate(model: zoo.Transformer, data: Pairs) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Judges a fitted model on the distinct sources of the test split; any target that is listed for a source is right. One
    too long for the model to read has no answer, which is wrong, and is not among the arrays or in `test/score`.

    Returns:
        The metrics, and the arrays of `codes.npz`: `test_ids`, the sources `(n,)`, `test_codes` `(n, width)`, and
        `test_answers` `(n, beams)`, the targets of the beam search.

    Metrics, for `greedy` and `beam` search: `METHOD/sequence_error_rate`, the share of sources whose target is not listed
    (the word error rate of pronunciations); `METHOD/token_error_rate`, Levenshtein distances from the nearest listed
    targets, summed and divided by the tokens of these (the phone error rate). `beam/coverage_N`: share of sources with a
    listed target among the N best. `test/score`: mean log p of the listed targets. Where targets have a plain form, the same
    again with `_without_stress`. With one language, `unchanged/…` and `nearest/…` are the rates of leaving sources as they
    are and of taking the nearest target of the whole data set, by optimal string alignment.
    """
    references, most = data.test.references(), model.source_vocabulary.length
    read, unread = [], []
    for source in sorted(references, key=len):
        (read if len(model.source_vocabulary.split(source)) <= most else unread).append(source)
    sources, beams = read + unread, answer(model.generate_beam, read)
    answers = {"greedy": [*answer(model.generate, read)[:, None], *[()] * len(unread)], "beam": [*beams, *[()] * len(unread)]}
    if model.autoencoder:
        answers["unchanged"] = np.array(sources)[:, None]
        dictionary = sorted({target for split in data.splits.values() for _, target in split.pairs()})
        answers["nearest"] = _nearest(sources, dictionary)[:, None]
    listed = [references[source] for source in sources]
    metrics = {"test/score": score(model, data.test)}
    for method, given in answers.items():
        metrics |= rates(method, listed, given, data.target_vocabulary.separator)
        if data.reduced:
            reduced_listed, reduced_given = ([[data.reduced(text) for text in row] for row in rows] for rows in (listed, given))
            reduced = rates(method, reduced_listed, reduced_given, data.target_vocabulary.separator)
            metrics |= {f"{name}_without_stress": value for name, value in reduced.items()}
    codes = np.concatenate([keras.ops.convert_to_numpy(model.encode(part)) for part in _parts(read)])
    return metrics, {"test_ids": np.array(read), "test_codes": codes, "test_answers": beams}


def rates(method: str, listed: Sequence[Sequence[str]], given: Sequence[Sequence[str]], separator: str) -> dict[str, float]:
    """`METHOD/sequence_error_rate`, `METHOD/token_error_rate` and, for several texts in a row, `METHOD/coverage_N`.

    Args:
        listed: the right targets of each of n sources.
        given: the targets of each that are judged, best first; none where there is no answer.
        separator: between the tokens of a target.
    """
    edits = tokens = 0
    for right, row in zip(listed, given, strict=True):
        best = row[0] if len(row) else ""
        distance, length = min(_distance(text, best, separator) for text in right)
        edits, tokens = edits + distance, tokens + length
    count = max(map(len, given))
    covered = [
        np.mean([bool(set(right) & set(row[:n])) for right, row in zip(listed, given, strict=True)])
        for n in range(1, count + 1)
    ]
    metrics = {f"{method}/sequence_error_rate": 1 - float(covered[0]), f"{method}/token_error_rate": edits / max(tokens, 1)}
    if count > 1:
        metrics |= {f"{method}/coverage_{n}": float(share) for n, share in enumerate(covered, 1)}
    return metrics


def answer(verb: Callable, sources: Sequence[str]) -> np.ndarray:
    """The targets, `(n,)` or `(n, beams)`, that a verb of a model writes for sources `(n,)`, in the order that is there."""
    model, compiled = verb.__self__, _compiled(verb)
    parts = [compiled(model.source_vocabulary.numbers(part))["target"] for part in _parts(sources)]
    return np.concatenate([model.target_vocabulary.texts(keras.ops.convert_to_numpy(part)) for part in parts])


def score(model: zoo.Transformer, split: PairSplit) -> float:
    """log p(target | source) in nats, averaged over the pairs of a split."""
    compiled, columns = _compiled(model.score), (split.tokens("source"), split.tokens("target"))
    parts = [compiled(*part) for part in zip(*map(_parts, columns), strict=True)]
    return float(np.mean(np.concatenate([keras.ops.convert_to_numpy(part) for part in parts])))


def _distance(right: str, given: str, separator: str) -> tuple[int, int]:
    """Edits between two texts, and the tokens of the right one."""
    right, given = (text.split() if separator else text for text in (right, given))
    return Levenshtein.distance(right, given), len(right)


def _nearest(texts: Sequence[str], dictionary: Sequence[str]) -> np.ndarray:
    """For each text the first nearest one in a dictionary."""
    words, found = np.array(dictionary), []
    for start in range(0, len(texts), QUERIES):
        distances = process.cdist(texts[start : start + QUERIES], dictionary, scorer=OSA.distance, dtype=np.uint8, workers=-1)
        found.append(words[distances.argmin(axis=1)])
    return np.concatenate(found)


def _parts(rows):
    return (rows[start : start + BATCH] for start in range(0, len(rows), BATCH))


def _compiled(verb: Callable) -> Callable:
    if keras.backend.backend() == "tensorflow":
        return tf.function(verb, autograph=False, reduce_retracing=True)
    return verb
