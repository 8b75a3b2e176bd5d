"""Choices: which settings fit data for which nothing is said, and why. One file for each kind of data."""

from typing import NamedTuple


class Choice(NamedTuple):
    """A setting's value, and the reason in a few words."""

    value: int | float | bool | str | None
    reason: str
