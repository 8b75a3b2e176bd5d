"""A job as a pipeline of Beam.

A shard is a range of rows of one source, under a name that follows from that, and is written by renaming. A worker that dies, a
bundle that a runner tries again or a job that is begun again gives the same shards, and no row twice. Only rounding errors may
differ, where batches are of other sizes.
"""

import functools
from collections.abc import Collection, Iterable, Iterator

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.ml.inference.base import RunInference
from apache_beam.transforms.window import GlobalWindows

from serving.batch.blocks import Block
from serving.batch.errors import clearly
from serving.batch.handler import SignatureHandler
from serving.batch.job import Job, blocks
from serving.batch.sinks import Sink
from serving.batch.sources import Range, opened

NAMESPACE = "batch"  # of the counters `rows`, `bad` and `shards`
SCATTERED = "scattered"  # blocks of shards that are not whole in one bundle
OPEN = 16  # sources that a worker holds open

Shard = tuple[int, int]


def asked(begin: beam.Pipeline, job: Job, parts: list[tuple[int, Range]], done: Collection[Shard]) -> None:
    """Adds the whole of a job to a pipeline: parts of sources are read, asked about and written.

    Runners usually do all of that in one stage, where a shard is whole in one bundle. Where one is not, its blocks are
    gathered.
    """
    handler = SignatureHandler(job.model, job.verb, job.block, job.most)
    answers = (
        begin
        | "Parts" >> beam.Create(parts)
        | "Spread" >> beam.Reshuffle()
        | "Read" >> beam.ParDo(Read(job, frozenset(done)))
        | "Ask" >> RunInference(handler)
        | "Write" >> beam.ParDo(Write(job)).with_outputs(SCATTERED, main="written")
    )
    gathered = answers[SCATTERED] | "Gather" >> beam.GroupByKey()
    _ = gathered | "Write gathered" >> beam.ParDo(WriteGathered(job.sink))


class Read(beam.DoFn):
    """Parts of sources to blocks of rows."""

    def __init__(self, job: Job, done: frozenset[Shard]):
        self._job, self._done = job, done

    def setup(self) -> None:
        self._source = functools.lru_cache(OPEN)(lambda number: opened(self._job.sources[number], self._job.split))

    def process(self, part: tuple[int, Range]) -> Iterator[Block]:
        with clearly():
            yield from blocks(self._job, *part, self._done, self._source(part[0]))


class Write(beam.DoFn):
    """Blocks of answers to shards, each as soon as it is whole. What is not whole at the end of a bundle is handed on."""

    def __init__(self, job: Job):
        self._sink, self._rows = job.sink, job.shard

    def start_bundle(self) -> None:
        self._waiting: dict[Shard, list[Block]] = {}

    def process(self, block: Block) -> Iterable:
        waiting = self._waiting.setdefault(block.shard, [])
        waiting.append(block)
        ends = [each.rows.stop for each in waiting if each.last]
        if ends and sum(len(each.rows) for each in waiting) == ends[0] - block.shard[1] * self._rows:
            _write(self._sink, self._waiting.pop(block.shard))
        return ()

    def finish_bundle(self) -> Iterator[beam.pvalue.TaggedOutput]:
        for shard, waiting in self._waiting.items():
            for block in waiting:
                value = GlobalWindows.windowed_value_at_end_of_window((shard, block))
                yield beam.pvalue.TaggedOutput(SCATTERED, value)


class WriteGathered(beam.DoFn):
    """Blocks of a shard from several bundles to the shard."""

    def __init__(self, sink: Sink):
        self._sink = sink

    def process(self, gathered: tuple[Shard, Iterable[Block]]) -> Iterable:
        _write(self._sink, list(gathered[1]))
        return ()


def _write(sink: Sink, blocks: list[Block]) -> None:
    with clearly():
        good, bad = sink.write(blocks)
    for name, count in (("rows", good), ("bad", bad), ("shards", 1)):
        Metrics.counter(NAMESPACE, name).inc(count)
