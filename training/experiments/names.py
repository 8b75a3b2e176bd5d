"""Hints for names that are not known: those that look like them."""

import difflib
from collections.abc import Iterable

LIKE = 0.75  # likeness of names from which on one may have been meant for the other


def near(name: str, names: Iterable[str], otherwise: Iterable[str] | None = None) -> str:
    """A hint with up to three names that look like `name`, as a whole or in one of their words; where none does, with
    `otherwise` or all of them."""

    def likeness(candidate: str) -> tuple[float, float]:
        whole, *words = (_likeness(name, part) for part in (candidate, *candidate.replace(".", "_").split("_")))
        return max(whole, *words), whole

    found = sorted((each for each in names if likeness(each)[0] >= LIKE), key=likeness, reverse=True)[:3]
    return f"Try {' or '.join(found or otherwise or sorted(names))}."


def _likeness(name: str, other: str) -> float:
    """From 0 to 1: the share of characters that two names have in common, in order, whatever their case."""
    return difflib.SequenceMatcher(None, name.lower().replace("-", "_"), other.lower()).ratio()
