"""Beam's runners, with the options that they have."""

import difflib
import logging
import warnings
from collections.abc import Callable, Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions, WorkerOptions
from apache_beam.portability.api import beam_provision_api_pb2
from apache_beam.runners.portability.fn_api_runner import fn_runner
from apache_beam.runners.portability.portable_runner import JobServiceHandle
from apache_beam.runners.runner import PipelineRunner, create_runner

from serving.batch import job_servers
from serving.batch.errors import sentence
from serving.batch.pipeline import NAMESPACE

DIRECT = "DirectRunner"
INVALID = "Pipeline has validations errors"  # as Beam says


def options_of(arguments: Sequence[str]) -> PipelineOptions:
    """Beam's options, which are handed on as they are.

    Raises:
        ValueError: no such runner, or without its job server; an option that Beam's own runner does not know. Others know
            options of theirs.
    """
    options = PipelineOptions([*arguments])
    job_servers.require(_runner(options), options)
    if is_direct(options):
        worker = options.view_as(WorkerOptions)
        worker.default_sdk_harness_log_level = worker.default_sdk_harness_log_level or "CRITICAL"
        known = {f"--{name}" for name in options.get_all_options()}
        for word in (each.partition("=")[0] for each in arguments if each.startswith("--")):
            if word not in known and word.replace("--no_", "--") not in known:
                near = difflib.get_close_matches(word, known, 1, 0.8)
                raise ValueError(
                    f"Expected options of this command or of Beam. Received: {word}. Try {near[0] if near else '--help'}."
                )
    return options


def is_direct(options: PipelineOptions) -> bool:
    return (options.view_as(StandardOptions).runner or DIRECT) == DIRECT


def has_processes(options: PipelineOptions) -> bool:
    """Whether workers are processes of this machine."""
    return is_direct(options) and options.view_as(DirectOptions).direct_running_mode == "multi_processing"


def run(options: PipelineOptions, build: Callable[[beam.Pipeline], None]) -> dict[str, int]:
    """Runs a pipeline to its end; returns its counters, none where the runner has none.

    Raises:
        ValueError: what went wrong outside the program, on whatever worker.
    """
    pipeline = _pipeline(options)
    build(pipeline)
    logging.disable(logging.ERROR if is_direct(options) else logging.NOTSET)  # what is wrong is raised as well
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"apache_beam\.")  # it fits lines to the times of few batches
            result = pipeline.run()
            result.wait_until_finish()
    except Exception as error:
        words = sentence(error) or job_servers.sentence(error)
        if words is None:
            raise
        raise ValueError(words) from None
    finally:
        logging.disable(logging.NOTSET)
    try:
        counters = result.metrics().query(beam.metrics.MetricsFilter().with_namespace(NAMESPACE))["counters"]
    except NotImplementedError:  # by this runner
        return {}
    return {each.key.metric.name: each.committed or each.attempted or 0 for each in counters}


def _pipeline(options: PipelineOptions) -> beam.Pipeline:
    """An empty pipeline.

    Raises:
        ValueError: options that its runner needs are missing or wrong.
    """
    try:
        return beam.Pipeline(runner=_runner(options), options=options)
    except ValueError as error:
        if not str(error).startswith(INVALID):
            raise
        wrong = " ".join(str(error).splitlines()[1:])
        raise ValueError(f"Expected options that the runner accepts. Received: {wrong} Try adding them.") from None


def _runner(options: PipelineOptions) -> PipelineRunner:
    """Any runner by its name; for DirectRunner that in Python, where Beam itself might download another program first.

    Raises:
        ValueError: no such runner.
    """
    if is_direct(options):
        encoded = JobServiceHandle.encode_pipeline_options(options.get_all_options())
        provision = beam_provision_api_pb2.ProvisionInfo(pipeline_options=encoded)
        return fn_runner.FnApiRunner(provision_info=fn_runner.ExtendedProvisionInfo(provision))
    name = options.view_as(StandardOptions).runner
    try:
        return create_runner(name)
    except (ValueError, ImportError, AttributeError) as error:
        reason = next(iter(str(error).splitlines()), "").rstrip(".")
        raise ValueError(f"Expected a runner of Beam. Received: --runner={name} ({reason}). Try {DIRECT}.") from None
