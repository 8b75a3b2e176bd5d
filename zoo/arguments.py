"""Checks of constructor arguments: numbers that would silently lead to NaN, or to no effect, are refused early."""

import math
import numbers


def require_whole(least: int, **values: int) -> None:
    """Raises ValueError for a value that is not an integer of at least `least`."""
    for name, value in values.items():
        if not (isinstance(value, numbers.Integral) and value >= least):
            raise ValueError(
                f"Expected {name} to be an integer of at least {least}. Received: {name}={value!r}. Try {name}={least}."
            )


def require_amount(below: float = math.inf, **values: float) -> None:
    """Raises ValueError for a value that is not a number in [0, `below`); NaN and infinity are not."""
    for name, value in values.items():
        if not (isinstance(value, numbers.Real) and 0 <= value < below):
            limit = "a finite number" if below == math.inf else f"a number below {below:g}"
            raise ValueError(f"Expected {name} of at least 0, {limit}. Received: {name}={value!r}. Try {name}=0.")


def require_positive(**values: float) -> None:
    """Raises ValueError for a value that is no finite number above 0."""
    for name, value in values.items():
        if not (isinstance(value, numbers.Real) and 0 < value < math.inf):
            raise ValueError(f"Expected {name} above 0, a finite number. Received: {name}={value!r}. Try {name}=1.")
