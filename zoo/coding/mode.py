"""How rows become chunks of a file, and chunks rows."""

import abc
from typing import ClassVar

import numpy as np

from zoo.coding.fingerprint import CODING
from zoo.model import Model
from zoo.rows import Raw


class Mode(abc.ABC):
    """A way to code rows with a model: rows become integers, integers the bytes of a chunk, and back.

    `name` says in the head of a file which mode it is in; `settings` are what else a reader has to know, as JSON has it, with
    which and the model the mode is made again. `lossless`: whether the rows are the same afterwards, to the bit. `parts` of the
    model decide what a file holds. `chunk`: how many rows one has.

    Args:
        model: with which to code.
        settings: those that `prepared` found.
    """

    name: ClassVar[str]
    lossless: ClassVar[bool]
    parts: ClassVar[tuple[str, ...]] = CODING
    chunk: ClassVar[int] = 1024

    def __init__(self, model: Model, settings: dict):
        self.model = model
        self.settings = settings

    @property
    def parallel(self) -> bool:
        """Whether several chunks may be coded at once, in threads."""
        return True

    @classmethod
    @abc.abstractmethod
    def prepared(cls, model: Model, x: np.ndarray | Raw, **wishes) -> "Mode":
        """The mode with the settings that suit rows x `(n, *shape)`.

        Raises:
            ValueError: the model or the rows cannot be coded in this mode, and what to do instead.
        """

    @abc.abstractmethod
    def integers(self, x: np.ndarray | Raw) -> np.ndarray:
        """What is coded of rows x `(n, *shape)`, int64 `(n, …)`, each in [0, 2³¹).

        Raises:
            ValueError: rows that this mode cannot code.
        """

    @abc.abstractmethod
    def values(self, integers: np.ndarray) -> np.ndarray | Raw:
        """The rows `(n, *shape)` that integers stand for, in the dtype of the rows that were coded, if the mode is lossless."""

    @abc.abstractmethod
    def encode(self, integers: np.ndarray) -> bytes:
        """A chunk."""

    @abc.abstractmethod
    def decode(self, payload: bytes, rows: int) -> np.ndarray:
        """The integers of as many rows in a chunk.

        Raises:
            ValueError: a chunk that was written otherwise; what its bytes say is not wrong data.
        """

    @abc.abstractmethod
    def probe(self) -> bytes:
        """What coding fixed numbers gives on this machine: a file is read only where it gives the same as when it was
        written."""
