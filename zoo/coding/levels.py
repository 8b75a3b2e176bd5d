"""Data on the levels 0, 1/n, …, 1, as they come and as whole numbers."""

from typing import NamedTuple

import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from zoo import inputs


class Levels(NamedTuple):
    """How rows are numbers of levels, and back, to the bit: n = `count` − 1, and the dtype of the rows.

    8-bit integers are 255 times their level; of other integers and truth values there are 0 and 1 alone.
    """

    count: int
    dtype: str

    @classmethod
    def of(cls, x: np.ndarray, count: int) -> "Levels":
        return cls(count, x.dtype.name)

    def numbers(self, x: np.ndarray) -> np.ndarray:
        """The numbers of the levels of rows `(n, …)`, int64.

        Raises:
            ValueError: another dtype; a value that would not be given back as it is.
        """
        if x.dtype.name != self.dtype:
            raise ValueError(f"Expected rows of dtype {self.dtype}, as the first ones. Received: {x.dtype}. Try one dtype.")
        n = self.count - 1
        with np.errstate(invalid="ignore"):
            numbers = np.nan_to_num(np.clip(np.rint(inputs.scaled(x) * np.float64(n)), 0, n)).astype("int64")
        wrong = _bits(self.rows(numbers)) != _bits(x)
        if wrong.any():
            row = np.argwhere(wrong)[0]
            raise ValueError(
                f"Expected values that are levels 0, 1/{n}, …, 1 to the bit, to compress without loss. Received: "
                f"{x[tuple(row)]!s} of {x.dtype} in row {row[0]}, and {wrong.sum() - 1:,} more such values. Try "
                f"{'x.astype(bool)' if n == 1 else 'integers of 8 bits'}, or --lossy (lossy=True)."
            )
        return numbers

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """The rows that have these numbers of levels."""
        n, dtype = self.count - 1, np.dtype(self.dtype)
        if dtype == "uint8":
            return (numbers * 255 // n).astype(dtype)
        if dtype.kind == "f":
            return numbers.astype(dtype) / dtype.type(n)
        return (numbers // n).astype(dtype)


def _bits(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x).view(f"uint{8 * x.itemsize}")


def rows(x: ArrayLike, shape: tuple[int, ...]) -> np.ndarray:
    """x as it is, an array of rows `(n, *shape)`.

    Raises:
        ValueError: as `zoo.inputs.rows`.
    """
    inputs.rows(x, shape)
    x = inputs.array(x)
    x = ops.convert_to_numpy(x) if inputs.is_tensor(x) else x
    return x.reshape(-1, *shape) if x.size else np.zeros((0, *shape), x.dtype)
