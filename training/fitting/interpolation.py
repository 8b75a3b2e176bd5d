"""Weights between those at which training started and those with which it ended."""

from collections.abc import Callable, Sequence

import keras
import numpy as np

SHARES = (0.25, 0.5, 0.75)  # of the way, tried besides the end


def interpolate(model: keras.Model, start: Sequence[np.ndarray], loss: Callable[[], float]) -> float:
    """Sets the trainable weights of a model to those with the lowest loss on the line from `start` to what they are (Wortsman
    et al., 2022, "Robust fine-tuning of zero-shot models"); returns the share of the way.

    Where data are few and noisy, some of what training added to a good start is noise too, and half of it is less.
    """
    end = [keras.ops.convert_to_numpy(weight) for weight in model.trainable_variables]

    def move(share: float) -> None:
        for weight, first, last in zip(model.trainable_variables, start, end, strict=True):
            weight.assign(first + share * (last - first))

    best, lowest = 1.0, loss()
    for share in SHARES:
        move(share)
        found = loss()
        if found < lowest:
            best, lowest = share, found
    move(best)
    return best
