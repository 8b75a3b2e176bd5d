"""Data on the levels 0, 1/n, …, 1: as they come, as whole numbers, and on the stack."""

import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from zoo import inputs
from zoo.coding.stack import Distribution, Stack, costs
from zoo.likelihoods import Discrete

ENDS_FIRST = 16  # levels above which the outermost are asked for first


class Levels:
    """How rows are numbers of levels, and back, to the bit; how these are pushed and popped.

    8-bit integers are 255 times their level; of other integers and truth values there are 0 and 1 alone.

    Args:
        likelihood: of the data.
        shape: of one row.
        dtype: of the rows.
    """

    def __init__(self, likelihood: Discrete, shape: tuple[int, ...], dtype: str):
        self._likelihood, self._shape, self._dtype = likelihood, shape, np.dtype(dtype)
        self._n = likelihood.levels - 1

    @property
    def example(self) -> tuple[tuple[int, ...], int]:
        """The shape of the numbers of one row, and how many numbers there are at each place."""
        return self._shape, self._n + 1

    def numbers(self, x: np.ndarray) -> np.ndarray:
        """The numbers of the levels of rows `(n, …)`, int64.

        Raises:
            ValueError: another dtype; a value that would not be given back as it is.
        """
        if x.dtype != self._dtype:
            raise ValueError(f"Expected rows of dtype {self._dtype}, as the first ones. Received: {x.dtype}. Try one dtype.")
        with np.errstate(invalid="ignore"):
            numbers = np.rint(inputs.scaled(x) * np.float64(self._n))
            numbers = np.nan_to_num(np.clip(numbers, 0, self._n)).astype("int64")
        wrong = _bits(self.rows(numbers)) != _bits(x)
        if wrong.any():
            place = np.argwhere(wrong)[0]
            raise ValueError(
                f"Expected values that are levels 0, 1/{self._n}, …, 1 to the bit, to compress without loss. Received: "
                f"{x[tuple(place)]!s} of {x.dtype} in row {place[0]}, and {wrong.sum() - 1:,} more such values. Try "
                f"{'x.astype(bool)' if self._n == 1 else 'integers of 8 bits'}, or --lossy (lossy=True)."
            )
        return numbers

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """The rows that have these numbers of levels."""
        if self._dtype == "uint8":
            return (numbers * 255 // self._n).astype(self._dtype)
        if self._dtype.kind == "f":
            return numbers.astype(self._dtype) / self._dtype.type(self._n)
        return (numbers // self._n).astype(self._dtype)

    def inputs(self, numbers: np.ndarray) -> np.ndarray:
        """What the encoder is given, float32 `(B, *shape)`, whatever dtype the rows have."""
        return numbers.astype("float32") / np.float32(self._n)

    def push(self, stack: Stack, parameters: np.ndarray, numbers: np.ndarray) -> None:
        """Adds the numbers of rows `(B, *shape)`, given the likelihood's parameters `(B, …)`."""
        stack.push(self._distribution(parameters), numbers.ravel())

    def costs(self, parameters: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """What rows take, `(B,)`, as `stack.costs` has it, but for a number that does not depend on the parameters."""
        return costs(self._distribution(parameters), numbers.ravel()).reshape(len(parameters), -1).sum(axis=1)

    def pop(self, stack: Stack, parameters: np.ndarray) -> np.ndarray:
        """The numbers of rows `(B, *shape)` that were pushed last."""
        return stack.pop(self._distribution(parameters)).reshape(len(parameters), *self._shape)

    def _distribution(self, parameters: np.ndarray) -> Distribution:
        likelihood = self._likelihood
        flat = parameters.reshape(-1, likelihood.parameters) if likelihood.parameters > 1 else parameters.ravel()

        def below(edges, places):
            return likelihood.below(flat[places], edges)

        return Distribution(len(flat), 0, self._n + 1, below, ends_first=self._n >= ENDS_FIRST)


def rows(x: ArrayLike, shape: tuple[int, ...]) -> np.ndarray:
    """x as it is, an array of rows `(n, *shape)`.

    Raises:
        ValueError: as `zoo.inputs.rows`.
    """
    inputs.rows(x, shape)
    x = inputs.array(x)
    x = ops.convert_to_numpy(x) if inputs.is_tensor(x) else x
    return x.reshape(-1, *shape) if x.size else np.zeros((0, *shape), x.dtype)


def _bits(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x).view(f"uint{8 * x.itemsize}")
