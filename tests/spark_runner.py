"""Pipelines of Beam on a cluster of Spark without a job server: by the package beam-pyspark-runner, but with transforms that
are called as Beam calls them, and so have bundles, windows and several outputs."""

from collections.abc import Callable, Iterable, Iterator

from apache_beam.pvalue import TaggedOutput
from apache_beam.runners.common import DoFnRunner, Receiver
from apache_beam.transforms.core import ParDo, Windowing
from apache_beam.transforms.window import GlobalWindows
from beam_pyspark_runner.overrides import _GroupByKey
from beam_pyspark_runner.pyspark_runner import PySparkRunner
from beam_pyspark_runner.transform_evaluators import evaluator_mapping
from pyspark.sql import SparkSession


class SparkRunner(PySparkRunner):
    """Runs a pipeline without side inputs, on the cluster that Spark's own settings name."""

    def run_pipeline(self, pipeline, options):
        try:
            return super().run_pipeline(pipeline, options)
        finally:
            SparkSession.builder.getOrCreate().stop()


def _par_do(applied, inputs, context, side_inputs):
    transform, tags = applied.transform, [tag for tag in applied.outputs if tag is not None]
    return _of(applied, inputs).mapPartitions(lambda rows: _bundle(transform, tags, rows))


def _grouped(applied, inputs, context, side_inputs):
    return _of(applied, inputs).groupByKey().mapValues(list)


evaluator_mapping.update({ParDo: _par_do, _GroupByKey: _grouped})


def _of(applied, inputs):
    """The values that are the input of a transform, of those that another gives to all of its outputs."""
    tag = applied.inputs[0].tag
    if tag is None:
        return inputs[0].filter(lambda each: not isinstance(each, TaggedOutput))
    return inputs[0].filter(lambda each: isinstance(each, TaggedOutput) and each.tag == tag).map(lambda each: each.value)


class _Output(Receiver):
    """One of the outputs of a transform."""

    def __init__(self, keep: Callable):
        self._keep = keep

    def receive(self, windowed_value) -> None:
        self._keep(windowed_value.value)


def _bundle(transform: ParDo, tags: list[str], rows: Iterable) -> Iterator:
    """What a transform gives for a partition, which is a bundle, as soon as it does."""
    given = []
    outputs = {tag: _Output(lambda value, tag=tag: given.append(TaggedOutput(tag, value))) for tag in tags}
    outputs[None] = _Output(given.append)
    runner = DoFnRunner(transform.fn, transform.args, transform.kwargs, [], Windowing(GlobalWindows()), outputs, "transform")

    def taken() -> list:
        values = given.copy()
        given.clear()
        return values

    runner.setup()
    runner.start()
    for row in rows:
        runner.process(GlobalWindows.windowed_value(row))
        yield from taken()
    runner.finish()
    yield from taken()
    runner.teardown()
