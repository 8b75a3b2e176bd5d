"""What a job reads: files, folders and data sets, each of which is a source whose rows are numbered from 0."""

import abc
import glob
import os
import pathlib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from serving.batch.blocks import FILE, ROW

TFDS = "tfds:"
SHARD = re.compile(r"(.*-)(\d+)-of-(\d+)(.*)", re.DOTALL)

Range = tuple[int, int | None]  # the first row, and the one after the last; None: to the end


class Chunk(NamedTuple):
    """Successive rows of a source as they were read.

    Args:
        first: the number of the first row.
        size: of rows.
        columns: by name; of tables as they are in the file.
        bad: what is wrong with rows that cannot be read, by their place among these; their cells mean nothing.
        files: of each row, where these are several.
        flat: whether rows have lost their shape, so that 64 numbers may be 8 x 8.
    """

    first: int
    size: int
    columns: Mapping[str, np.ndarray] | pa.RecordBatch
    bad: Mapping[int, str] = {}
    files: Sequence[str] | None = None
    flat: bool = False

    def parts(self, size: int) -> Iterator["Chunk"]:
        """The chunk, cut where the number of a row is a multiple of a size."""
        start = 0
        while start < self.size:
            stop = min(self.size, start + size - (self.first + start) % size)
            yield self._part(start, stop) if (start, stop) != (0, self.size) else self
            start = stop

    def _part(self, start: int, stop: int) -> "Chunk":
        if isinstance(self.columns, pa.RecordBatch):
            columns = self.columns.slice(start, stop - start)
        else:
            columns = {name: column[start:stop] for name, column in self.columns.items()}
        bad = {place - start: reason for place, reason in self.bad.items() if start <= place < stop}
        files = self.files and self.files[start:stop]
        return Chunk(self.first + start, stop - start, columns, bad, files, self.flat)


class Source(abc.ABC):
    """One file, folder or data set. `names` are those of its columns; of what has no name there is one, ""."""

    def __init__(self, name: str):
        self.name = name

    @property
    @abc.abstractmethod
    def names(self) -> Sequence[str]: ...

    @abc.abstractmethod
    def ranges(self, size: int) -> list[Range]:
        """The rows in parts that workers read on their own, with `size` rows each but for the last; one part, where the end can
        be found by reading alone."""

    @abc.abstractmethod
    def read(self, rows: Range, wanted: Collection[str], size: int) -> Iterator[Chunk]:
        """Reads rows in their order.

        Args:
            rows: one of `ranges`.
            wanted: names of columns; others need not be read.
            size: about as many rows are wanted at once.

        Raises:
            ValueError: a file that is damaged.
        """


def cut(count: int, size: int) -> list[Range]:
    """`count` rows in parts of `size`."""
    return [(start, min(start + size, count)) for start in range(0, count, size)]


def expanded(patterns: Sequence[str], absolute: bool = False) -> list[str]:
    """The files that patterns with * and ? mean, in the order of their names; what has none stays as it is.

    Args:
        absolute: whether paths are to be the same for processes that have another working directory.

    Raises:
        ValueError: a pattern that no file fits; a file that is not there, or there twice; shards of which one is missing.
    """
    found = []
    for pattern in patterns:
        if pattern.startswith(TFDS) or os.path.exists(pattern):
            found.append(pattern)
            continue
        files = sorted(glob.glob(pattern, recursive=True))
        if not files:
            raise ValueError(f"Expected files or folders that exist. Received: {pattern}. Try the full path, with * in quotes.")
        found += files
    _require_all_shards(found)
    twice = [name for place, name in enumerate(found) if name in found[:place]]
    if twice:
        raise ValueError(f"Expected each input once. Received: {twice[0]} twice. Try --input with fewer patterns.")
    return [os.path.abspath(name) if absolute and not name.startswith(TFDS) else name for name in found]


def _require_all_shards(files: list[str]) -> None:
    there: dict[tuple[str, str, str], set[int]] = {}
    for match in filter(None, map(SHARD.fullmatch, files)):
        there.setdefault((match[1], match[3], match[4]), set()).add(int(match[2]))
    for (start, count, end), numbers in there.items():
        missing = [number for number in range(int(count)) if number not in numbers]
        if missing and len(numbers) > 1:  # a single one may be meant
            name = f"{start}{missing[0]:0{len(count)}d}-of-{count}{end}"
            raise ValueError(
                f"Expected all {int(count)} shards. Received: {len(numbers)}, without {name}. Try writing it again."
            )


def opened(name: str, split: str = "all") -> Source:
    """The source of a name that `expanded` gave.

    Raises:
        ValueError: a file that is damaged, or of a form that is not known.
    """
    from serving.batch import arrays, datasets, pictures, records, tables  # each of them knows this module

    path = pathlib.Path(name)
    if name.startswith(TFDS):
        return datasets.DataSet(name, split)
    if path.is_dir():
        return pictures.Pictures(name)
    if path.suffix.lower() in (".npy", ".npz"):
        return arrays.Arrays(name)
    if ".tfrecord" in path.name.lower():
        return records.Records(name)
    return tables.Texts(name) if path.suffix.lower() == ".txt" else tables.Table(name)


def require_free(names: Collection[str], outputs: Collection[str]) -> None:
    """Raises ValueError if columns that are to be kept are called as answers, or as those that say where a row comes from."""
    for name in names:
        if name in (FILE, ROW, *outputs):
            raise ValueError(
                f"Expected columns to keep that the output does not have: {', '.join((FILE, ROW, *outputs))}. "
                f"Received: --keep {name}. Try renaming it in the data."
            )
