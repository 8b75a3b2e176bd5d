"""Hints for unknown names: similar names that exist."""

import difflib
from collections.abc import Iterable

SIMILAR = 0.75  # the least similarity at which one name may be a misspelling of another


def near(name: str, names: Iterable[str], otherwise: Iterable[str] | None = None) -> str:
    """A hint with up to three names that `name` resembles, either the full name or one of its words; if there is none, the hint
    has `otherwise`, or all names."""

    def similarity(candidate: str) -> tuple[float, float]:
        full, *words = (_similarity(name, part) for part in (candidate, *candidate.replace(".", "_").split("_")))
        return max(full, *words), full

    similar = sorted((each for each in names if similarity(each)[0] >= SIMILAR), key=similarity, reverse=True)[:3]
    return f"Try {' or '.join(similar or otherwise or sorted(names))}."


def _similarity(name: str, other: str) -> float:
    """The share of characters, in [0, 1], that two names have in common in the same order; case does not matter."""
    return difflib.SequenceMatcher(None, name.lower().replace("-", "_"), other.lower()).ratio()
