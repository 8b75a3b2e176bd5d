"""The stack of bits: asymmetric numeral systems (Duda, 2013), in which what was pushed last is popped first.

Everything is coded as choices between two halves of an interval of whole numbers, given the probability of the upper half. So
a distribution has to say one thing only: how much probability lies below an edge, at the edges that are asked for.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from zoo.coding import curves

try:
    from constriction import stream
except ImportError:  # on machines for which there is no wheel
    stream = None

ROUNDED = 2.0**24  # probabilities are multiples of its inverse
LEAST = 2.0**-60  # probability that both halves have beside their own: an interval without any is halved evenly
BIT = 2.0**16  # of costs, in a bit: they are whole multiples of its inverse, whose sums are exact
WORDS = "uint32"
SEED = 0x6A09E667


class Distribution(NamedTuple):
    """Of n whole numbers, each from `low` to below `high`, independent of one another.

    `below(edges, places)` is the probability, float64 `(m,)`, with which the numbers at `places` `(m,)` are below `edges`
    `(m,)`, int64 from `low` + 1 to `high` − 1. It must be computed in ways that every machine rounds alike
    (`zoo.coding.curves`).
    `ends_first`: whether the lowest and the highest number are asked for before the interval is halved, as is best where they
    are frequent.
    """

    size: int
    low: int
    high: int
    below: Callable[[np.ndarray, np.ndarray], np.ndarray]
    ends_first: bool = False


class Stack:
    """Bits, on top of others that everyone knows.

    Args:
        words: what an earlier stack gave as `words`; None for a stack that holds the known bits alone.
        known: how many words of them, for the first numbers that are popped.

    Raises:
        ModuleNotFoundError: the package `constriction` is not installed.
    """

    def __init__(self, words: np.ndarray | None = None, known: int = 64):
        if stream is None:
            raise ModuleNotFoundError("Expected the coder. Try pip install constriction.", name="constriction")
        self._coder = stream.stack.AnsCoder(_known(known) if words is None else words.astype(WORDS))
        self._model = stream.model.Bernoulli(perfect=False)
        self._lowest = self._coder.pos()[0]

    @property
    def exhausted(self) -> bool:
        """Whether more was popped than the stack held."""
        return self._lowest == 0

    @property
    def bits(self) -> float:
        return self._coder.num_valid_bits()

    def push(self, distribution: Distribution, numbers: np.ndarray, parts: int = 1) -> None:
        """Adds numbers `(n,)`, int64, each in the interval of the distribution.

        Args:
            parts: into how many equal parts of successive numbers they are divided, to be popped one part after another; all
                intervals must then be equally long.
        """
        choices = [*_choices(distribution, numbers)]
        if not choices:  # no numbers, or none of which there is a choice
            return
        upper, probability, _ = (np.concatenate(each) for each in zip(*choices, strict=True))
        if parts > 1:
            upper, probability = (_by_part(each, parts, distribution.size) for each in (upper, probability))
        self._coder.encode_reverse(upper.astype("int32"), self._model, probability)

    def pop(self, distribution: Distribution) -> np.ndarray:
        """Removes the numbers `(n,)`, int64, that were pushed last."""
        walk = _Walk(distribution)
        while (probability := walk.probability()) is not None:
            walk.choose(self._coder.decode(self._model, probability) > 0)
        self._lowest = min(self._lowest, self._coder.pos()[0])
        return walk.low

    def words(self) -> np.ndarray:
        """What is to be kept, uint32 `(n,)`: all but the known words that were never reached."""
        return self._coder.get_compressed()[self._lowest :]

    def require_known(self) -> None:
        """Raises ValueError unless the stack holds the known words alone, as one does from which everything was popped."""
        words = self._coder.get_compressed()
        if not np.array_equal(words, _known(len(words))):
            raise ValueError("a stack that does not end where it began")


class _Walk:
    """From the interval of each number to the number, one choice at a time."""

    def __init__(self, distribution: Distribution):
        self._of = distribution
        self.low = np.full(distribution.size, distribution.low, "int64")
        self._high = np.full(distribution.size, distribution.high, "int64")
        self._at_low, self._at_high = np.zeros(distribution.size), np.ones(distribution.size)

    def probability(self) -> np.ndarray | None:
        """With which the numbers that are still open are in the upper part of their interval; None where none is open."""
        self.open = np.flatnonzero(self._high - self.low > 1)
        if not len(self.open):
            return None
        low, high = self.low[self.open], self._high[self.open]
        self.edges = (low + high) // 2
        if self._of.ends_first:
            self.edges = np.where(low == self._of.low, low + 1, np.where(high == self._of.high, high - 1, self.edges))
        self._below = self._of.below(self.edges, self.open)
        mass = np.maximum(self._at_high[self.open] - self._at_low[self.open], 0.0)
        upper = np.clip(self._at_high[self.open] - self._below, 0.0, mass)
        share = (upper + LEAST) / (mass + 2.0 * LEAST)
        return np.clip(np.rint(share * ROUNDED), 1.0, ROUNDED - 1.0) / ROUNDED

    def chosen(self, numbers: np.ndarray) -> np.ndarray:
        """The choices that lead to these numbers `(n,)`."""
        return numbers[self.open] >= self.edges

    def choose(self, upper: np.ndarray) -> None:
        above, below = self.open[upper], self.open[~upper]
        self.low[above], self._at_low[above] = self.edges[upper], self._below[upper]
        self._high[below], self._at_high[below] = self.edges[~upper], self._below[~upper]


def costs(distribution: Distribution, numbers: np.ndarray) -> np.ndarray:
    """How many bits numbers `(n,)` take, each, in multiples of 1 / `BIT`, int64."""
    total = np.zeros(distribution.size, "int64")
    for upper, probability, places in _choices(distribution, numbers):
        total[places] -= np.rint(BIT * curves.log2(np.where(upper, probability, 1.0 - probability))).astype("int64")
    return total


def _choices(distribution: Distribution, numbers: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The choices that lead to numbers `(n,)`, the probabilities of the upper half, and the places of the numbers, in the order
    in which they are popped."""
    walk = _Walk(distribution)
    while (probability := walk.probability()) is not None:
        upper = walk.chosen(numbers)
        yield upper, probability, walk.open
        walk.choose(upper)


def _by_part(choices: np.ndarray, parts: int, size: int) -> np.ndarray:
    """From choices by depth to those by part, and by depth within it."""
    return choices.reshape(-1, parts, size // parts).swapaxes(0, 1).ravel()


def _known(count: int) -> np.ndarray:
    """Words that everyone knows, the deepest first; those on top are the same for every count."""
    x = np.arange(count, 0, -1, dtype="uint64") * np.uint64(0x9E3779B97F4A7C15) + np.uint64(SEED)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)  # the finalizer of SplitMix64 (Steele et al., 2014)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((x ^ (x >> np.uint64(31))) >> np.uint64(32)).astype(WORDS) | np.uint32(1)
