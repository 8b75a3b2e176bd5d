"""A job: what is asked of which model about which data, and where the answers go; and how its blocks of rows are read."""

from collections.abc import Collection, Iterator
from typing import NamedTuple

import numpy as np

from serving.batch.blocks import FILE, ROW, Block
from serving.batch.feed import Feed
from serving.batch.sinks import Sink
from serving.batch.sources import Chunk, Range, Source, opened

BLOCK, SHARD, BATCH = 128, 16_384, 4096  # rows, at most
BYTES = 2**26  # of a shard, and half of it of a batch, roughly: of values that have a size


class Job(NamedTuple):
    """Everything that a worker has to know.

    Args:
        model: path of the version of an exported model.
        verb: the name of one of its signatures.
        sources: names, as `sources.expanded` gives them.
        split: of data sets of TFDS.
        shard: rows of a shard.
    """

    model: str
    verb: str
    sources: tuple[str, ...]
    split: str
    feed: Feed
    sink: Sink
    shard: int

    @property
    def block(self) -> int:
        """Rows that are read and handed on at once."""
        return min(BLOCK, self.shard)

    @property
    def most(self) -> int:
        """Rows that the model is asked about at once, at most."""
        return max(self.block, min(BATCH, BYTES // 2 // _bytes(self.feed, self.sink)))

    def parts(self) -> list[tuple[int, Range]]:
        """What workers can read on their own: the number of a source, and rows of it."""
        found = []
        for number, name in enumerate(self.sources):
            source = opened(name, self.split)
            self.feed.matched(source.names, name)
            found += [(number, rows) for rows in source.ranges(self.shard)]
        return found


def shard_rows(feed: Feed, sink: Sink) -> int:
    """Rows of a shard, unless they are given: whole blocks, as many as do not take too much memory."""
    rows = min(SHARD, BYTES // _bytes(feed, sink))
    return max(1, rows if rows < BLOCK else rows // BLOCK * BLOCK)


def _bytes(feed: Feed, sink: Sink) -> int:
    """Of a row, without texts and files, at least one."""
    specs = [*feed.inputs.values(), *sink.outputs.values()]
    return max(1, sum(int(np.prod([size or 1 for size in (spec.shape or ())[1:]])) * spec.dtype.itemsize for spec in specs))


def blocks(job: Job, number: int, rows: Range, done: Collection[tuple[int, int]], source: Source) -> Iterator[Block]:
    """The blocks of rows of a source, without those of shards that are done.

    Raises:
        ValueError: a file that is damaged; columns of another shape or type than the model's.
    """
    matched = job.feed.matched(source.names, source.name)
    read = source.read(rows, job.feed.wanted(matched), job.block)
    parts = (part for each in read for part in each.parts(job.shard))
    for chunk, last in _with_ends(parts, job.shard):
        shard = (number, chunk.first // job.shard)
        if shard not in done:
            values, bad = job.feed.read(chunk, matched)
            files = np.array([*(chunk.files or [source.name] * chunk.size), None], object)[:-1]
            keys = {FILE: files, ROW: np.arange(chunk.first, chunk.first + chunk.size), **job.feed.kept(chunk)}
            yield Block(shard, range(chunk.first, chunk.first + chunk.size), last, keys, values, {}).without(bad)


def _with_ends(chunks: Iterator[Chunk], size: int) -> Iterator[tuple[Chunk, bool]]:
    """Chunks, and whether each is the last of its shard."""
    previous = None
    for chunk in chunks:
        if previous:
            yield previous, previous.first // size != chunk.first // size
        previous = chunk
    if previous:
        yield previous, True
