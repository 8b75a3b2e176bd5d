"""Successive rows on their way through a job."""

from typing import NamedTuple

import numpy as np

FILE, ROW, REASON = "file", "row", "reason"  # columns of the output that say where a row comes from, and what is wrong with it


class Block(NamedTuple):
    """Some rows of one shard of the output, all of one source.

    Args:
        shard: the number of the source, and of the shard within it.
        rows: their numbers within the source.
        last: whether the shard ends with them.
        keys: what tells the good rows apart, `(n,)` each: FILE, ROW and columns of the input.
        values: of the good rows `(n, …)`, first the inputs of a signature, then its outputs, by name.
        bad: of the others, their file and what is wrong, by number.
    """

    shard: tuple[int, int]
    rows: range
    last: bool
    keys: dict[str, np.ndarray]
    values: dict[str, np.ndarray]
    bad: dict[int, tuple[str, str]]

    @property
    def size(self) -> int:
        """How many rows go to the model."""
        return len(self.keys[ROW])

    def without(self, bad: dict[int, str]) -> "Block":
        """The block, in which the good rows at these places are bad, for these reasons."""
        if not bad:
            return self
        good = np.array([place for place in range(self.size) if place not in bad], int)
        found = {int(self.keys[ROW][place]): (str(self.keys[FILE][place]), reason) for place, reason in bad.items()}
        keys, values = ({name: column[good] for name, column in part.items()} for part in (self.keys, self.values))
        return self._replace(keys=keys, values=values, bad=self.bad | found)


def joined(blocks: list[Block], part: str) -> dict[str, np.ndarray]:
    """The columns of `keys` or `values` of several blocks."""
    columns = [getattr(block, part) for block in blocks]
    return {name: np.concatenate([each[name] for each in columns]) for name in columns[0]}
