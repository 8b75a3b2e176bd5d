"""Signatures for texts, with the vocabularies in the graph, as string operations and lookup tables.

The graph also checks the bounds of numbers that a signature declares.
"""

import functools
import math
import re
import sys
import unicodedata

import tensorflow as tf

from serving.export.images import Verb
from zoo.signatures import Tensor
from zoo.vocabulary import END, PAD, SPECIAL, UNKNOWN, Vocabulary

UNLISTED = "\0"  # in the table of spellings: the character is read as itself


def verbs(declared: dict[str, Verb]) -> dict[str, Verb]:
    """The verbs with string tensors for texts; the verbs themselves take and return token numbers."""
    reader = functools.cache(Reader)
    return {name: _in_strings(verb, reader) for name, verb in declared.items()}


def _in_strings(verb: Verb, reader) -> Verb:
    inputs, outputs = verb.signature
    readers = {name: reader(tensor.vocabulary) for name, tensor in inputs.items() if tensor.vocabulary}
    if not readers and not any(tensor.bounds for tensor in inputs.values()):
        return verb

    def call(*values):
        given = dict(zip(inputs, values, strict=True))
        for name, tensor in inputs.items():
            if tensor.bounds:
                _require(given[name], tensor, name)
        results = verb.call(*(readers[name](value, name) if name in readers else value for name, value in given.items()))
        results = results if isinstance(results, dict) else dict.fromkeys(outputs, results)
        return {name: _written(results[name], tensor) for name, tensor in outputs.items()}

    return Verb(verb.signature, call, tuple(readers.values()))


class Reader(tf.Module):
    """Texts `(B,)` to token numbers `(B, T)`, as `Vocabulary.numbers`, with tables that the SavedModel keeps."""

    def __init__(self, vocabulary: Vocabulary):
        super().__init__()
        self._length, self._separator = vocabulary.length, vocabulary.separator
        self._vocabulary = vocabulary
        self._numbers = _table(vocabulary.tokens, tf.range(len(SPECIAL), vocabulary.size), UNKNOWN)
        if not self._separator:
            self._spellings = _table(*zip(*_spellings(vocabulary), strict=True), UNLISTED)

    def __call__(self, texts: tf.Tensor, name: str) -> tf.Tensor:
        tokens = tf.strings.split(texts) if self._separator else self._characters(texts)
        lengths, least = tokens.row_lengths(), int(name == "source")
        tf.debugging.Assert(
            tf.reduce_all((lengths >= least) & (lengths <= self._length)),
            [f"Expected {least} to {self._length} tokens in every text of input {name}. Received, text by text:", lengths],
        )
        numbers = tokens.with_flat_values(self._numbers.lookup(tokens.flat_values))
        ends = tf.fill([tf.shape(texts)[0], 1], END)
        return tf.concat([numbers, ends], axis=1).to_tensor(PAD)

    def _characters(self, texts):
        for text, token in self._vocabulary.compositions.items():
            texts = tf.strings.regex_replace(texts, re.escape(text), token)
        characters = tf.strings.unicode_split(texts, "UTF-8")
        found = self._spellings.lookup(characters.flat_values)
        spelt = characters.with_flat_values(tf.where(found == UNLISTED, characters.flat_values, found))
        return tf.strings.unicode_split(tf.strings.reduce_join(spelt, axis=1), "UTF-8")


def _require(values: tf.Tensor, tensor: Tensor, name: str) -> None:
    """Adds to the graph what `Tensor.require` does in Python."""
    low, high = tensor.bounds
    high = high if math.isfinite(high) else values.dtype.max
    good = (values >= tf.cast(low, values.dtype)) & (values <= tf.cast(high, values.dtype))  # False for NaN and Inf
    bad = tf.where(~good)[:1, 0]
    tf.debugging.Assert(tf.reduce_all(good), [tensor.demand(name), "Received:", tf.gather(values, bad), "in row", bad])


def _table(keys, values, default) -> tf.lookup.StaticHashTable:
    return tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(tf.constant(keys), tf.constant(values)), default)


def _spellings(vocabulary: Vocabulary) -> list[tuple[str, str]]:
    """The characters that are read as something else, with what they are read as."""
    rows = [(UNLISTED, UNLISTED)]
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        if unicodedata.category(character) not in ("Cn", "Co", "Cs"):  # unassigned, private and surrogate
            spelling = vocabulary.spelling(character)
            if spelling != character:
                rows.append((character, spelling))
    return rows


def _written(result, tensor: Tensor):
    """Token numbers `(…, T)` as texts `(…)`, as `Vocabulary.texts`; other tensors unchanged."""
    vocabulary = tensor.vocabulary
    if vocabulary is None:
        return result
    ended = tf.cumsum(tf.cast(result == END, tf.int32), axis=-1) > 0
    names = tf.gather(tf.constant((*SPECIAL, *vocabulary.tokens)), result)
    kept = tf.where(ended | (result == PAD), "", names)
    return tf.strings.strip(tf.strings.reduce_join(kept, axis=-1, separator=vocabulary.separator))
