"""What a model answers: the declaration that export, server, client and tests read."""

from typing import NamedTuple

from zoo.vocabulary import Vocabulary


class Tensor(NamedTuple):
    """Shape and dtype of one named tensor; None is the batch axis. Strings are texts of the tokens of a vocabulary: behind
    each the verb itself sees a further axis, of token numbers."""

    shape: tuple[int | None, ...]
    dtype: str = "float32"
    vocabulary: Vocabulary | None = None


class Signature(NamedTuple):
    """Names of the inputs and outputs of one verb, in the order of its arguments and results."""

    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
