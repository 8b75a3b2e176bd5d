"""Counts and latencies for Prometheus, under the names of TensorFlow Serving's metrics, and some of our own.

With several worker processes, `PROMETHEUS_MULTIPROC_DIR` names the directory in which their metrics are collected.
"""

import functools
import os
import re
from collections.abc import Callable

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Histogram, multiprocess

from serving.status import Code

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SUFFIX = re.compile(rb"(?m)^(# \w+ )?([:\w]+_count)_total")  # which TensorFlow Serving's counters do not have
_BUCKETS = [10 * 1.8**power for power in range(32)]  # µs, as in TensorFlow Serving's `util.cc`

prometheus_client.disable_created_metrics()
_requests = Counter(":tensorflow:serving:request_count", "The total number of requests.", ["model_name", "status"])
_latency = Histogram(
    ":tensorflow:serving:request_latency",
    "Wall time of a request in microseconds.",
    ["model_name", "API", "entrypoint"],
    buckets=_BUCKETS,
)
_connections = Counter(":latent_zoo:rest:connection_count", "The number of connections that were accepted.")
_refused = Counter(
    ":latent_zoo:rest:refused_count", "The number of requests that were refused before they were read.", ["status"]
)


def connected() -> None:
    """Counts one connection over REST."""
    _connections.inc()


def refused(status: int) -> None:
    """Counts one request over REST that its limits, its form or a missing token refused, by HTTP status."""
    _refused.labels(str(status)).inc()


def record(model: str, api: str, entrypoint: str, code: Code, seconds: float) -> None:
    """Counts one request to a served model, with its latency if it succeeded."""
    count, observe = _cells(model, api, entrypoint, int(code))  # the hash of an Enum takes as long as the rest
    count()
    if observe is not None:
        observe(1e6 * seconds)


def page() -> bytes:
    """The metrics in Prometheus's text format."""
    registry = prometheus_client.REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)
    text = prometheus_client.generate_latest(registry)
    return _SUFFIX.sub(rb"\1\2", text)


@functools.lru_cache(maxsize=4096)
def _cells(model: str, api: str, entrypoint: str, code: int) -> tuple[Callable, Callable | None]:
    observe = _latency.labels(model, api, entrypoint).observe if code == Code.OK else None
    return _requests.labels(model, Code(code).name).inc, observe
