"""Data sets of TFDS as sources."""

from collections.abc import Collection, Iterator, Sequence

import tensorflow_datasets as tfds

from serving.batch.sources import TFDS, Chunk, Range, Source, cut
from training.data import catalogue


class DataSet(Source):
    """A data set of TFDS, `tfds:NAME`, whose rows are in the order in which it was prepared.

    Args:
        split: the name of a split, or `all`.
    """

    def __init__(self, name: str, split: str):
        super().__init__(name)
        self._builder = catalogue.prepared(name.removeprefix(TFDS), _accepted, "a file or a folder", _hint)
        splits = self._builder.info.splits
        if split != "all" and split not in splits:
            raise ValueError(f"Expected a split of {name}: {', '.join(splits)}, or all. Received: {split}. Try --split=all.")
        self._splits = [*splits] if split == "all" else [split]
        self._counts = [splits[each].num_examples for each in self._splits]

    @property
    def names(self) -> Sequence[str]:
        return [*self._builder.info.features]

    def ranges(self, size: int) -> list[Range]:
        return cut(sum(self._counts), size)

    def read(self, rows: Range, wanted: Collection[str], size: int) -> Iterator[Chunk]:
        config = tfds.ReadConfig(interleave_cycle_length=1)
        first, before, names = rows[0], 0, wanted or self.names[:1]
        for split, count in zip(self._splits, self._counts, strict=True):
            start, stop = max(rows[0] - before, 0), min(rows[1] - before, count)
            before += count
            if start >= stop:
                continue
            data = self._builder.as_dataset(split=f"{split}[{start}:{stop}]", shuffle_files=False, read_config=config)
            data = data.map(lambda row: {name: row[name] for name in names})
            for columns in data.batch(size).as_numpy_iterator():
                chunk = Chunk(first, len(next(iter(columns.values()))), columns)
                yield chunk
                first += chunk.size


def _accepted(_builder: tfds.core.DatasetBuilder) -> None:
    """Which columns are wanted is found out later."""


def _hint(_name: str, _known: Sequence[str]) -> str:
    return "python -m training list"
