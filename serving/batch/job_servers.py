"""Beam's job servers, which hand pipelines to a cluster: programs in Java, which Beam begins unless one runs already."""

import os
import re
import shutil
import socket

from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    JobServerOptions,
    PipelineOptions,
    PortableOptions,
    SparkRunnerOptions,
)
from apache_beam.runners.portability.flink_runner import FlinkRunner
from apache_beam.runners.portability.portable_runner import PortableRunner
from apache_beam.runners.portability.spark_runner import SparkRunner
from apache_beam.runners.runner import PipelineRunner

EMBEDDED = "embed"  # Beam's word for one in the same process
WAIT = 10  # seconds for one to answer
UNFETCHED = re.compile(r"Unable to fetch remote job server jar at (\S+\.jar)")
UNSTARTED = re.compile(r"Service failed to start up with error .*")


def require(runner: PipelineRunner, options: PipelineOptions) -> None:
    """Looks for what the job server of a runner needs, if it has one. Beam itself would try for minutes.

    Raises:
        ValueError: nothing answers at `--job_endpoint`; there is no Java, or no such jar.
    """
    endpoint = options.view_as(PortableOptions).job_endpoint
    if not isinstance(runner, PortableRunner) or endpoint == EMBEDDED:
        return
    if endpoint:
        _require_answer(endpoint)
    elif isinstance(runner, FlinkRunner):
        own = options.view_as(FlinkRunnerOptions)
        _require_program("--flink_job_server_jar", own.flink_job_server_jar, own.flink_submit_uber_jar, options)
    elif isinstance(runner, SparkRunner):
        own = options.view_as(SparkRunnerOptions)
        _require_program("--spark_job_server_jar", own.spark_job_server_jar, own.spark_submit_uber_jar, options)
    elif type(runner) is PortableRunner:
        raise ValueError(
            "Expected a job server of Beam. Received: --runner=PortableRunner without one. Try --job_endpoint=HOST:PORT."
        )


def _require_answer(endpoint: str) -> None:
    host, _, port = endpoint.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), WAIT).close()
    except (OSError, ValueError) as error:
        raise ValueError(
            f"Expected a job server of Beam. Received: --job_endpoint={endpoint} ({error}). Try HOST:PORT of one that runs."
        ) from None


def _require_program(option: str, jar: str | None, is_sent: bool, options: PipelineOptions) -> None:
    """Looks for the jar, unless it has an address, and for Java, unless the jar is sent to the cluster."""
    if jar and "://" not in jar and not os.path.exists(jar):
        raise ValueError(
            f"Expected the jar of a job server of Beam. Received: {option}={jar}, no such file. Try the full path."
        )
    java = options.view_as(JobServerOptions).job_server_java_launcher
    if not is_sent and not shutil.which(java):
        raise ValueError(
            f"Expected Java, in which Beam's job servers are written. Received: no program {java}. Try installing a JRE, "
            "or --job_endpoint=HOST:PORT of a job server that runs."
        )


def sentence(error: BaseException) -> str | None:
    """What is wrong with a job server that Beam cannot begin; None of other errors."""
    unfetched, unstarted = UNFETCHED.search(str(error)), UNSTARTED.search(str(error))
    if unfetched:
        return (
            f"Expected Beam's job server. Received: no file from {unfetched[1]}. Try that file, fetched elsewhere, as "
            "--flink_job_server_jar=PATH or --spark_job_server_jar=PATH."
        )
    return f"Expected Beam's job server to begin. Received: {unstarted[0]}. Try java -jar with its jar." if unstarted else None
