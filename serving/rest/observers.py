"""What is told of every request beside its answer: a line of the access log, a span of a trace."""

import atexit
import logging
import logging.handlers
import queue
import time
from collections.abc import Callable, Iterable

from serving.rest.messages import Request, Response
from serving.tracing import Begin

# Is called with a request, and returns what is to be called with the response.
Observer = Callable[[Request], Callable[[Response], None]]

LINES = 10_000  # of the access log that wait to be written
_HEADERS = ("traceparent", "tracestate")  # of W3C Trace Context


def together(observers: Iterable[Observer]) -> Observer | None:
    """All observers as one; None if there are none."""
    observers = list(observers)
    if len(observers) < 2:
        return observers[0] if observers else None

    def observe(request: Request) -> Callable[[Response], None]:
        ends = [observer(request) for observer in observers]

        def end(response: Response) -> None:
            for each in ends:
                each(response)

        return end

    return observe


def traced(begin: Begin) -> Observer:
    """Spans for requests, in the trace of the client if its headers name one."""

    def observe(request: Request) -> Callable[[Response], None]:
        headers = {name: request.headers.get(name.encode(), b"").decode("latin-1") for name in _HEADERS}
        attributes = {"http.request.method": request.method, "url.path": request.path, "client.address": request.client}
        end = begin(f"{request.method} {request.path}", attributes, {name: value for name, value in headers.items() if value})
        return lambda response: end(response.status)

    return observe


class _Lossy(logging.handlers.QueueHandler):
    """Drops lines when its queue is full: stderr is a pipe that nobody reads, for which no request should wait."""

    def handleError(self, record: logging.LogRecord) -> None:
        pass


def logged() -> Observer:
    """Lines on stderr, `TIME CLIENT "METHOD PATH" STATUS BYTES MILLISECONDS`, which another thread writes."""
    log, lines = logging.getLogger("serving.access"), queue.Queue(LINES)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(_Lossy(lines))
    listener = logging.handlers.QueueListener(lines, handler)
    listener.start()
    atexit.register(listener.stop)

    def observe(request: Request) -> Callable[[Response], None]:
        start = time.perf_counter()

        def end(response: Response) -> None:
            path, milliseconds = request.path.encode("unicode_escape").decode(), 1e3 * (time.perf_counter() - start)
            size = len(response.body)
            log.info('%s "%s %s" %d %d %.1f', request.client or "-", request.method, path, response.status, size, milliseconds)

        return end

    return observe
