"""The spelling of English words: stems of inflected forms, and misspellings."""

import re
from collections.abc import Container

import numpy as np

# Endings of inflected forms, and what replaces them in the stem: walks, boxes, cities, baked, stopped, making …
INFLECTIONS = tuple(
    (re.compile(f"{ending}$"), stem)
    for ending, stem in (
        (r"'s?", ""),
        (r"s", ""),
        (r"es", ""),
        (r"ie(s|d|r|st)", "y"),
        (r"(ed|ing|er|est)", ""),
        (r"(ed|ing|er|est)", "e"),
        (r"([b-df-hj-np-tv-z])\1(ed|ing|er|est)", r"\1"),
    )
)


def stem(word: str, words: Container[str]) -> str:
    """The stem of a possessive or an inflected form: the shortest of `words` that its spelling leads to; or `word` itself."""
    for ending, replacement in INFLECTIONS:
        base = ending.sub(replacement, word)
        if base != word and len(base) > 1 and base in words:
            return stem(base, words)
    return word


def misspelt(word: str, random: np.random.Generator) -> str:
    """The word with one or two letters, never the last, dropped, doubled or swapped with the next; never the word itself."""
    while True:
        letters = list(word)
        for _ in range(random.integers(1, 3)):
            kind, place = random.integers(3), random.integers(len(letters) - 1)
            if kind == 0:
                del letters[place]
            elif kind == 1:
                letters.insert(place, letters[place])
            else:
                letters[place], letters[place + 1] = letters[place + 1], letters[place]
        if "".join(letters) != word:
            return "".join(letters)
