"""Signatures: the inputs and outputs of a model's verbs, as export, server, client and tests read them."""

import math
from typing import NamedTuple

import numpy as np

from zoo.vocabulary import Vocabulary


class Tensor(NamedTuple):
    """Shape and dtype of one named tensor; None is the batch axis. Strings are texts in the tokens of `vocabulary`; the verb
    itself sees token numbers, with one more axis. Numbers with `bounds` are finite and in [low, high]."""

    shape: tuple[int | None, ...]
    dtype: str = "float32"
    vocabulary: Vocabulary | None = None
    bounds: tuple[float, float] | None = None

    def demand(self, name: str) -> str:
        """The "Expected …" of an error for an input of this name, which has bounds."""
        low, high = self.bounds
        kind = "integers" if self.dtype.startswith("int") else "finite numbers"
        return f"Expected {kind} {f'in [{low:g}, {high:.10g}]' if math.isfinite(high) else f'of at least {low:g}'} as {name}."

    def require(self, values: np.ndarray, name: str) -> None:
        """Raises ValueError, with the row, if numbers `()` or `(B,)` are not within the bounds of this tensor."""
        kinds = "iu" if self.dtype.startswith("int") else "iuf"
        if values.size and values.dtype.kind not in kinds:
            raise ValueError(f"{self.demand(name)} Received: {values.dtype}. Try {name}={self.bounds[0]:g}.")
        with np.errstate(over="ignore"):
            cast = values if kinds == "iu" else values.astype(self.dtype)
        low, high = self.bounds
        bad = np.flatnonzero(~(np.isfinite(cast) & (cast >= low) & (cast <= high)))
        if len(bad):
            where = f"{values[bad[0]]} in row {bad[0]}" if values.ndim else values
            raise ValueError(f"{self.demand(name)} Received: {where}. Try {name}={low:g}.")


class Signature(NamedTuple):
    """Inputs and outputs of one verb by name, in the order of its arguments and results."""

    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
