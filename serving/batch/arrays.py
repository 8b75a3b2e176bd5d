"""NumPy's files as sources."""

import pathlib
from collections.abc import Collection, Iterator, Sequence

import numpy as np

from serving.batch.sources import Chunk, Range, Source, cut
from zoo.files import reading


class Arrays(Source):
    """An `.npy` file, whose one array has no name, or the arrays of an `.npz` file. Of the former, no more is read than is
    wanted."""

    def __init__(self, name: str):
        super().__init__(name)
        self._path = pathlib.Path(name)
        with self._reading():
            opened = np.load(self._path, mmap_mode="r", allow_pickle=False)  # which says that it is cut short, if it is
            self._single = isinstance(opened, np.ndarray)
            if self._single:
                self._names, self._count, self._opened = ("",), len(opened), opened
            else:
                self._names = tuple(opened.files)
                counts = {name: opened[name].shape[:1] for name in self._names}
                if len(set(counts.values())) != 1 or () in counts.values():
                    raise ValueError(f"arrays of several lengths, {counts}")
                self._count = next(iter(counts.values()))[0]

    def _reading(self):
        return reading(self.name, "NumPy arrays of one length, without pickled objects", "numpy.savez")

    @property
    def names(self) -> Sequence[str]:
        return self._names

    def ranges(self, size: int) -> list[Range]:
        return cut(self._count, size) if self._single else [(0, None)]  # of which a part takes as long as the whole

    def read(self, rows: Range, wanted: Collection[str], size: int) -> Iterator[Chunk]:
        first, stop = rows[0], self._count if rows[1] is None else rows[1]
        with self._reading():
            columns = {"": self._part(first, stop)} if self._single else self._members(first, stop, wanted)
        for start in range(first, stop, size):
            part = slice(start - first, min(start + size, stop) - first)
            yield Chunk(start, part.stop - part.start, {name: column[part] for name, column in columns.items()})

    def _part(self, start: int, stop: int) -> np.ndarray:
        """Rows of the one array, without the pages of the map: a mapped file that is cut meanwhile ends the process."""
        opened = self._opened
        if not opened.flags.c_contiguous:
            return np.array(opened[start:stop])
        size = opened.strides[0]
        with open(self._path, "rb") as file:
            file.seek(opened.offset + start * size)
            data = file.read((stop - start) * size)
        if len(data) < (stop - start) * size:
            raise ValueError("it is cut short")
        return np.frombuffer(data, opened.dtype).reshape(stop - start, *opened.shape[1:])

    def _members(self, start: int, stop: int, wanted: Collection[str]) -> dict[str, np.ndarray]:
        with np.load(self._path, allow_pickle=False) as arrays:
            return {name: arrays[name][start:stop] for name in self._names if name in wanted}
