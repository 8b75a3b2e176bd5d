"""How many grey levels data have."""

import numpy as np

from training.data import Split

MOST = 256
ROWS = 1000  # of a split that are looked at


def of(split: Split) -> int | None:
    """The least number of levels, 2 to 256, such that a sample of a split lies on 0, 1/n, …, 1 for n = levels − 1.

    The sample is spread over a split in memory, and is the beginning of one that is streamed or drawn; it is the same every
    time. None where it lies on no such grid.
    """
    beginning = split.arrays is None or split.dynamic
    x = next(split.batches(ROWS))["x"] if beginning else split.arrays["x"][:: -(-split.size // ROWS)]
    values = np.unique(np.round(x, 5))  # which the rounding of a quotient does not reach
    if len(values) > 2 * MOST or not (values.min() >= 0 and values.max() <= 1):
        return None
    return next((n + 1 for n in range(1, MOST) if np.abs(n * values - np.round(n * values)).max() < 0.01), None)
