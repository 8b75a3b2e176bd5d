"""Folders of pictures as sources: the files themselves, which the graph of a model decodes."""

import os
import pathlib
from collections.abc import Collection, Iterator, Sequence

import numpy as np

from serving.batch.sources import Chunk, Range, Source, cut
from training.data import folders


class Pictures(Source):
    """The pictures in a folder, sorted by path; a row for each file."""

    def __init__(self, name: str):
        super().__init__(name)
        self._paths = folders.images(pathlib.Path(name), 1)

    @property
    def names(self) -> Sequence[str]:
        return ("",)

    def ranges(self, size: int) -> list[Range]:
        return cut(len(self._paths), size)

    def read(self, rows: Range, wanted: Collection[str], size: int) -> Iterator[Chunk]:
        for start in range(rows[0], rows[1], size):
            paths = self._paths[start : min(start + size, rows[1])]
            data, bad = np.full(len(paths), b"", object), {}
            for place, path in enumerate(paths):
                try:
                    data[place] = path.read_bytes()
                except OSError as error:
                    bad[place] = f"Expected a file that can be read. Received: {error.strerror}."
            yield Chunk(start, len(paths), {"": data}, bad, [_text(path) for path in paths])


def _text(path: pathlib.Path) -> str:
    """A path, in which bytes that are not UTF-8 are escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
