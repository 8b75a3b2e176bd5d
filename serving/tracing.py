"""Spans of OpenTelemetry for requests, where its environment variables say where to send them.

They are those of the OpenTelemetry specification: OTEL_TRACES_EXPORTER (otlp, console or none), OTEL_EXPORTER_OTLP_ENDPOINT and
OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, one of which turns it on; OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER and the others work too.
"""

import logging
import os
from collections.abc import Callable, Mapping

EXPORTER = "OTEL_TRACES_EXPORTER"
SWITCHES = (EXPORTER, "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
NAME = "serving"
log = logging.getLogger(__name__)

# Begins a span, from its name, attributes and the headers of the request; what it returns ends it, with the HTTP status.
Begin = Callable[[str, Mapping[str, str], Mapping[str, str]], Callable[[int], None]]


def spans() -> Begin | None:
    """The function that begins a span; None where the environment does not ask for spans.

    Raises:
        ValueError: an exporter that is not known.
    """
    if not any(os.environ.get(name) for name in SWITCHES) or os.environ.get(EXPORTER) == "none":
        return None
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    try:
        return _begin(_provider(os.environ.get(EXPORTER) or "otlp"))
    except ModuleNotFoundError as error:  # platforms set the variables for everything that they run
        log.warning("Expected OpenTelemetry, for OTEL_… is set. Received: %s. Try pip install latent-zoo[otel].", error)
        return None


def _provider(exporter: str):
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

    if exporter == "otlp":
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as Exporter
    elif exporter == "console":
        Exporter = ConsoleSpanExporter
    else:
        raise ValueError(f"Expected {EXPORTER}=otlp, console or none. Received: {exporter}. Try otlp.")
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Exporter()))
    return provider


def _begin(provider) -> Begin:
    from opentelemetry.trace import SpanKind, StatusCode
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    tracer, context = provider.get_tracer(NAME), TraceContextTextMapPropagator()

    def begin(name: str, attributes: Mapping[str, str], headers: Mapping[str, str]) -> Callable[[int], None]:
        span = tracer.start_span(name, context.extract(headers), SpanKind.SERVER, attributes)

        def end(status: int) -> None:
            span.set_attribute("http.response.status_code", status)
            if status >= 500:
                span.set_status(StatusCode.ERROR)
            span.end()

        return end

    return begin
