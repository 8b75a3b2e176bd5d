"""HTTP/1.1 on sockets: bytes to requests, answers to bytes.

A request is handed to a function and answered by a callback, at once or later, in the event loop's thread. With a task and a
coroutine for each request, as ASGI has them, the transport would take longer than the model.
"""

import asyncio
import email.utils
import http
import signal
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import httptools

from serving.status import as_json

IDLE = 75  # seconds after which a silent connection is closed
BACKLOG = 2048
HEAD_LIMIT, BODY_LIMIT = 1 << 16, 1 << 30  # bytes
PIPELINED = 16  # requests that wait on one connection before it is read no further
JSON = "application/json"


class Request(NamedTuple):
    """One request; names of headers are in small letters."""

    method: str
    path: str
    query: str
    headers: dict[bytes, bytes]
    body: bytes
    keep_alive: bool


class Answer(NamedTuple):
    """What goes back; `headers` are whole lines."""

    body: bytes
    content_type: str = JSON
    status: int = 200
    headers: bytes = b""


# Gives what is to be called if the client goes before it has its answer.
Handler = Callable[[Request, Callable[[Answer], None]], Callable[[], None] | None]


def run(handle: Handler, listener: socket.socket, ready: Callable[[], None], grace: float) -> None:
    """Answers on `listener` until SIGINT or SIGTERM; calls `ready` once it does.

    Args:
        grace: seconds that open requests have when it ends.
    """
    try:
        from uvloop import run as run_loop
    except ImportError:  # there is none for Windows
        run_loop = asyncio.run
    run_loop(_serve(handle, listener, ready, grace))


async def _serve(handle: Handler, listener: socket.socket, ready: Callable[[], None], grace: float) -> None:
    loop, ended, connections = asyncio.get_running_loop(), asyncio.Event(), set()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    server = await loop.create_server(lambda: Connection(handle, connections), sock=listener, backlog=BACKLOG)
    watching = asyncio.create_task(_close_silent(connections))
    ready()
    await ended.wait()
    server.close()
    watching.cancel()
    until = loop.time() + grace
    while connections and loop.time() < until:
        for connection in list(connections):
            connection.close_if_free()
        await asyncio.sleep(0.02)
    for connection in list(connections):
        connection.abort()


async def _close_silent(connections: set["Connection"]) -> None:
    while True:
        await asyncio.sleep(IDLE)
        for connection in list(connections):
            if not connection.heard:
                connection.close_if_free()
            connection.heard = False


class Connection(asyncio.Protocol):
    """One client; its requests are answered one after the other."""

    def __init__(self, handle: Handler, connections: set["Connection"]):
        self._handle, self._connections = handle, connections
        self._waiting: deque[Request] = deque()
        self._current: Request | None = None
        self._abandon: Callable[[], None] | None = None
        self.heard = True

    def close_if_free(self) -> None:
        if self._current is None:
            self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    # From the event loop

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._parser = httptools.HttpRequestParser(self)
        self._connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._connections.discard(self)
        self._waiting.clear()
        if self._current is not None and self._abandon is not None:
            self._abandon()

    def data_received(self, data: bytes) -> None:
        self.heard = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # answered as it is, over the protocol that it came by
        except httptools.HttpParserError as error:
            told = (
                error.__context__ if isinstance(error.__context__, _Refused) else _Refused(400, f"Malformed request: {error}")
            )
            self._refuse(told.status, str(told))

    def pause_writing(self) -> None:
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._transport.resume_reading()

    # From the parser

    def on_message_begin(self) -> None:
        self._url, self._headers, self._body, self._size = b"", {}, [], 0

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._size += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value
        self._size += len(name) + len(value)
        if self._size > HEAD_LIMIT:
            raise _Refused(431, f"Expected at most {HEAD_LIMIT} bytes of headers. Received: more.")

    def on_headers_complete(self) -> None:
        self._size = 0
        if self._headers.get(b"expect", b"").lower() == b"100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)
        self._size += len(body)
        if self._size > BODY_LIMIT:
            raise _Refused(413, f"Expected a body of at most {BODY_LIMIT} bytes. Received: more. Try several requests.")

    def on_message_complete(self) -> None:
        path, _, query = self._url.decode("latin-1").partition("?")
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        method = self._parser.get_method().decode()
        keep_alive = self._parser.should_keep_alive() and not self._parser.should_upgrade()
        self._waiting.append(Request(method, path, query, self._headers, body, keep_alive))
        if self._current is None:
            self._start()
        elif len(self._waiting) == PIPELINED:
            self._transport.pause_reading()

    # Requests and answers

    def _start(self) -> None:
        self._current = self._waiting.popleft()
        self._abandon = self._handle(self._current, self._respond)

    def _respond(self, answer: Answer) -> None:
        request, self._current = self._current, None
        if self._transport.is_closing():
            return
        self._transport.write(_head(answer, request.keep_alive) + (answer.body if request.method != "HEAD" else b""))
        if not request.keep_alive:
            self._transport.close()
        elif self._waiting:
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        if self._current is None and self._waiting:
            self._transport.resume_reading()
            self._start()

    def _refuse(self, status: int, message: str) -> None:
        if not self._transport.is_closing():
            self._transport.write(_head(answer := Answer(as_json(message), JSON, status), False) + answer.body)
            self._transport.close()


class _Refused(Exception):
    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


_PHRASES = {status.value: status.phrase for status in http.HTTPStatus} | {499: "Client Closed Request"}
_date = (0, b"")


def _head(answer: Answer, keep_alive: bool) -> bytes:
    global _date
    if (now := int(time.time())) != _date[0]:
        _date = now, email.utils.formatdate(now, usegmt=True).encode()
    return b"HTTP/1.1 %d %b\r\ndate: %b\r\ncontent-type: %b\r\ncontent-length: %d\r\n%b%b\r\n" % (
        answer.status,
        _PHRASES[answer.status].encode(),
        _date[1],
        answer.content_type.encode(),
        len(answer.body),
        answer.headers,
        b"" if keep_alive else b"connection: close\r\n",
    )
