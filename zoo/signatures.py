"""What a model answers: the declaration that export, server, client and tests read."""

from typing import NamedTuple


class Tensor(NamedTuple):
    """Shape and dtype of one named tensor; None is the batch axis."""

    shape: tuple[int | None, ...]
    dtype: str = "float32"


class Signature(NamedTuple):
    """Names of the inputs and outputs of one verb, in the order of its arguments and results."""

    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
