"""HTTP/1.1 on one connection: from bytes to requests, from responses to bytes.

Each request is passed to a function with a callback for the response, which is called at once or later, in the event loop's
thread. With a task and a coroutine for each request, as in ASGI, the transport would take longer than the model.
"""

import asyncio
import io
import sys
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import httptools

from serving import metrics
from serving.rest.budget import BODIES, Budget, Share
from serving.rest.messages import CLOSED, JSON, KEPT, Admit, Handler, Request, Response, head
from serving.status import RequestError, as_json


class Limits(NamedTuple):
    """Limits of one connection, in bytes, requests and seconds, and how many connections there may be."""

    url: int = 1 << 16
    head: int = 1 << 16  # of the headers, with 32 for each
    body: int = 1 << 30
    connections: int = 4096
    small: int = 1 << 16  # received bytes that are not counted in the shared budget
    pipelined: int = 16  # waiting requests, after which reading pauses
    idle_time: float = 75  # without a request, and between two looks at how much of a response the client has read
    head_time: float = 20  # this and the rate as in Apache's mod_reqtimeout
    body_time: float = 300  # as Node's `server.requestTimeout`
    rate: float = 500  # bytes per second, over every `head_time` of a body and every `idle_time` of reading a response
    linger_time: float = 2  # for a client that is still sending to read why it was refused


LIMITS = Limits()
COPIED = 1 << 16  # bytes; smaller bodies are copied behind the head and sent in one piece
_BETWEEN, _HEAD, _BODY, _LINGERING = range(4)  # what is being received


class Connection(asyncio.Protocol):
    """One client connection; its requests are answered one after the other.

    Args:
        handle: is called with every request.
        connections: all that are open; it adds and removes itself.
        budget: of memory, for the bodies of all.
        admit: is called with path, method and headers before a body is read; raises a RequestError to refuse the request.
    """

    def __init__(
        self,
        handle: Handler,
        connections: set["Connection"],
        limits: Limits = LIMITS,
        budget: Budget = BODIES,
        admit: Admit | None = None,
    ):
        self._handle, self._connections, self._limits, self._admit = handle, connections, limits, admit
        self._stage, self._seconds = _BETWEEN, 0.0  # and for how many seconds
        self._size = 0  # bytes of the request that have been received
        self._silent = -1  # bytes received since the parser last reported anything; -1 right after it did
        self._seen = (0, 0.0)  # `_size` and `_seconds` when the rate was last checked
        self._body: bytes | io.BytesIO = b""
        self._continues = False  # whether the client waits for "100 Continue"
        self._current: Request | None = None
        self._abandon: Callable[[], None] | None = None
        self._waiting: deque[Request] = deque()
        self._waiting_size = 0
        self._share = Share(budget)
        self._full = False  # the write buffer
        self._written, self._read = 0, 0  # bytes of all responses, and how many the client had read at the last look
        self._slow = 0.0  # seconds since then
        self._paused = self._finishing = False
        self._last: bytes | None = None  # what is sent after all responses; nothing more is read then

    @property
    def idle(self) -> bool:
        """Whether nothing of a request has come that is not answered, and all answers are sent."""
        answered = self._stage == _BETWEEN and self._current is None and not self._waiting
        return answered and not self._transport.get_write_buffer_size()

    def finish(self) -> None:
        """Answers the requests that have begun, and closes the connection."""
        self._finishing = True
        if self._stage == _BETWEEN:
            self._last = self._last or b""
            self._next()

    def abort(self) -> None:
        """Closes the connection at once."""
        self._transport.abort()

    def wait(self, seconds: float) -> None:
        """Counts the seconds that have passed, and ends what takes too long."""
        self._seconds += seconds
        limits, unread = self._limits, self._transport.get_write_buffer_size()
        if unread:
            self._wait_for_reader(seconds, unread)
            return
        self._read, self._slow = self._written, 0.0
        if self._stage == _LINGERING:
            if self._seconds >= limits.linger_time:
                self.abort()
        elif self._current is not None or self._paused:
            self._seconds = 0.0
        elif self._stage == _HEAD:
            if self._seconds >= limits.head_time:
                self._refuse(_Refused(408, f"Expected a complete head within {limits.head_time} seconds. Received: a part."))
        elif self._stage == _BODY:
            self._wait_for_body()
        elif self._seconds >= limits.idle_time:
            self._transport.close()

    def _wait_for_reader(self, seconds: float, unread: int) -> None:
        """Ends the connection of a client that reads next to nothing of what is written for it."""
        limits, self._slow = self._limits, self._slow + seconds
        if self._slow >= limits.idle_time:
            read = self._written - unread - _queued(self._transport)
            if read - self._read < limits.rate * self._slow:
                self.abort()
            self._read, self._slow = read, 0.0

    def _wait_for_body(self) -> None:
        limits = self._limits
        if self._seconds >= limits.body_time:
            self._refuse(_Refused(408, f"Expected a complete body within {limits.body_time} seconds. Received: a part."))
            return
        if self._seconds < self._seen[1]:  # it was for another request
            self._seen = (0, 0.0)
        if (seconds := self._seconds - self._seen[1]) >= limits.head_time:
            if self._size - self._seen[0] < limits.rate * seconds:
                self._refuse(_Refused(408, f"Expected a body at no less than {limits.rate} bytes per second. Received: fewer."))
            self._seen = self._size, self._seconds

    # From the event loop

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport, self._peer = transport, _host(transport)
        self._parser = httptools.HttpRequestParser(self)
        self._connections.add(self)
        metrics.connected()
        if len(self._connections) > self._limits.connections:
            self._make_room()

    def _make_room(self) -> None:
        """Closes an idle connection for this one, or refuses this one."""
        idle = next((other for other in self._connections if other.idle and other is not self), None)
        if idle is not None:
            self._connections.discard(idle)
            idle.abort()
        else:
            most = self._limits.connections
            self._refuse(_Refused(503, f"Expected at most {most} connections at once. Received: more. Try again later."))

    def connection_lost(self, error: Exception | None) -> None:
        self._connections.discard(self)
        self._last = b""
        self._waiting.clear()
        self._drop()
        if self._current is not None and self._abandon is not None:
            self._abandon()

    def eof_received(self) -> bool:
        """Whether the connection stays open for responses; over TLS it cannot."""
        self._last = self._last or b""
        self._drop()
        return (self._current is not None or bool(self._waiting)) and self._transport.can_write_eof()

    def data_received(self, data: bytes) -> None:
        if self._last is not None:
            return
        try:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                self._decline(data, upgrade)
            if self._stage != _BETWEEN:
                self._count(len(data))
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refuse(cause if isinstance(cause, _Refused) else _Refused(400, f"Malformed request: {error}"))
        except _Refused as refused:
            self._refuse(refused)

    def pause_writing(self) -> None:
        self._full = True
        self._throttle()

    def resume_writing(self) -> None:
        self._full = False
        self._throttle()
        self._next()

    # From the parser. Every request comes through here, so rare cases are checked last.

    def on_message_begin(self) -> None:
        self._url, self._headers, self._body = b"", {}, b""
        self._stage, self._seconds, self._size, self._silent = _HEAD, 0.0, 0, -1

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._size += len(url)
        if self._size > self._limits.url:
            raise _Refused(414, f"Expected a URL of at most {self._limits.url} bytes. Received: more.")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._size += len(name) + len(value) + 32  # overhead of a header, as in RFC 7541, 4.1
        name = name.lower()
        if self._stage == _HEAD:  # else it is a trailer, which is ignored
            if name not in self._headers:
                self._headers[name] = value
            elif name == b"host":
                raise _Refused(400, "Expected one Host header. Received: several.")
            else:
                self._headers[name] += b", " + value
            if self._size - len(self._url) > self._limits.head:
                raise self._head_too_large()

    def on_headers_complete(self) -> None:
        headers = self._headers
        if b"upgrade" in headers and self._upgrades():
            return
        self._stage, self._seconds, self._size, self._silent = _BODY, 0.0, 0, -1
        if self._admit is not None:
            self._ask_to_admit()
        if b"content-length" in headers and int(headers[b"content-length"]) > self._limits.body:
            raise self._body_too_large()
        if b"transfer-encoding" in headers:
            self._require_chunks(headers[b"transfer-encoding"])
        if b"expect" in headers:
            self._expect(headers[b"expect"])

    def on_body(self, body: bytes) -> None:
        if not self._size:
            self._body = body
        else:
            if isinstance(self._body, bytes):
                self._body = io.BytesIO(self._body)
                self._body.seek(0, io.SEEK_END)
            self._body.write(body)
        self._size += len(body)
        self._silent = -1
        if self._size > self._limits.body:
            raise self._body_too_large()

    def on_message_complete(self) -> None:
        parser, headers, url, body = self._parser, self._headers, self._url, self._body
        if b"upgrade" in headers and self._upgrades():
            return
        if not (keep_alive := parser.should_keep_alive()):
            self._require_version(parser.get_http_version())
        if self._finishing:
            if self._last is not None:  # this one came with the last
                return
            keep_alive, self._last = False, b""
        path, _, query = _path(url).partition("?")
        method = parser.get_method().decode()
        body = body if isinstance(body, bytes) else body.getvalue()
        self._stage, self._seconds, self._size, self._body = _BETWEEN, 0.0, 0, b""
        self._continues = False
        request = Request(method, path, query, headers, body, keep_alive and method != "CONNECT", self._peer)
        if self._current is None and not self._waiting and not self._full:
            if self._share.size:
                self._hold()
            self._start(request)
        else:
            self._waiting.append(request)
            self._waiting_size += len(body)
            self._throttle()
            self._hold()

    def _ask_to_admit(self) -> None:
        try:
            self._admit(self._parser.get_method().decode(), _path(self._url).partition("?")[0], self._headers)
        except RequestError as error:
            raise _Refused(error.status, error.message, error.headers) from None

    def _require_chunks(self, coding: bytes) -> None:
        version = self._parser.get_http_version()
        if coding.lower() != b"chunked" or version != "1.1":
            raise _Refused(501, f"Expected Transfer-Encoding: chunked. Received: {coding.decode('latin-1')}, HTTP/{version}.")

    def _expect(self, expected: bytes) -> None:
        if expected.lower() != b"100-continue":
            raise _Refused(417, f"Expected Expect: 100-continue. Received: {expected.decode('latin-1')}.")
        self._continues = self._parser.get_http_version() == "1.1"
        self._next()

    def _require_version(self, version: str) -> None:
        if version not in ("1.1", "1.0"):  # the parser accepts others, none of which keeps the connection alive
            raise _Refused(505, f"Expected HTTP/1.1. Received: HTTP/{version}.")

    # Receiving

    def _decline(self, data: bytes | memoryview, upgrade: httptools.HttpParserUpgrade | None) -> None:
        """Continues where the parser stopped because the client offers another protocol, which is declined."""
        while upgrade and self._upgrades():
            data = memoryview(data)[upgrade.args[0] :]
            self._without_upgrade()
            try:
                upgrade = self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as another:
                upgrade = another

    def _upgrades(self) -> bool:
        """Whether the client offers another protocol. CONNECT is answered like any other method: nothing to read follows it."""
        return self._parser.should_upgrade() and self._parser.get_method() != b"CONNECT"

    def _without_upgrade(self) -> None:
        """Starts a new parser, and feeds it the same head without the offer."""
        method, version = self._parser.get_method(), self._parser.get_http_version().encode()
        kept = [(name, value) for name, value in self._headers.items() if name not in (b"connection", b"upgrade")]
        lines = [b"%b %b HTTP/%b" % (method, self._url, version), *(b"%b: %b" % header for header in kept)]
        self._parser = httptools.HttpRequestParser(self)
        self._parser.feed_data(b"\r\n".join([*lines, b"", b""]))

    def _count(self, arrived: int) -> None:
        """Counts bytes given to the parser for a request that is not complete yet."""
        # It reports a header, a chunk size or a trailer only when that is complete.
        self._silent = 0 if self._silent < 0 else self._silent + arrived
        if self._silent > self._limits.head:
            raise self._head_too_large()
        self._hold()

    def _hold(self) -> None:
        """Takes the bytes received and not yet answered from the budget."""
        size = self._size + self._waiting_size
        size = size if size > self._limits.small else 0
        if size != self._share.size:
            try:
                self._share.resize(size)
            except RequestError as error:
                raise _Refused(error.status, error.message) from None

    def _drop(self) -> None:
        """Discards what has been received of a request."""
        self._body, self._size = b"", 0
        if not self._waiting:
            self._waiting_size = 0
        self._share.resize(min(self._share.size, self._waiting_size))

    def _throttle(self) -> None:
        """Pauses reading while responses are unread, or enough requests wait."""
        limits = self._limits
        enough = len(self._waiting) >= limits.pipelined or self._waiting_size > limits.small
        pauses = (self._full or enough or self._last is not None) and self._stage != _LINGERING
        if pauses != self._paused and not self._transport.is_closing():
            self._paused = pauses
            self._transport.pause_reading() if pauses else self._transport.resume_reading()

    def _head_too_large(self) -> "_Refused":
        return _Refused(431, f"Expected at most {self._limits.head} bytes of headers. Received: more.")

    def _body_too_large(self) -> "_Refused":
        return _Refused(413, f"Expected a body of at most {self._limits.body} bytes. Received: more. Try several requests.")

    # Requests and responses

    def _start(self, request: Request) -> None:
        self._current = request
        abandon = self._handle(request, self._respond)
        if self._current is request:  # else it has been answered already, and the next one may have begun
            self._abandon = abandon

    def _respond(self, response: Response) -> None:
        request, self._current = self._current, None
        if self._transport.is_closing():
            return
        last = not request.keep_alive or (self._last == b"" and not self._waiting)
        kept = CLOSED if last else KEPT if b"connection" in request.headers else b""
        body = response.body if request.method != "HEAD" else b""
        start = head(response, kept)
        self._written += len(start) + len(body)
        if len(body) > COPIED:
            self._transport.writelines((start, body))
        else:
            self._transport.write(start + body)
        self._seconds = 0.0
        if not request.keep_alive:
            self._end()
        elif self._waiting or self._continues or self._last is not None:
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        """Does what comes after a response: the next request, a request for the body, or the end."""
        if self._current is not None or self._full or self._transport.is_closing() or self._stage == _LINGERING:
            return
        if self._waiting:
            request = self._waiting.popleft()
            self._waiting_size -= len(request.body)
            self._hold()
            self._throttle()
            self._start(request)
        elif self._last is not None:
            self._transport.write(self._last)
            self._end()
        elif self._continues:
            self._continues = False
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _refuse(self, refused: "_Refused") -> None:
        """Sends the refusal after the responses to all earlier requests, then closes the connection."""
        response = Response(as_json(str(refused)), JSON, refused.status, refused.headers)
        self._last = head(response, CLOSED) + response.body
        metrics.refused(refused.status)
        self._drop()
        self._throttle()
        self._next()

    def _end(self) -> None:
        if self._last:  # closing with unread input resets the socket, and the client might not see the response
            self._stage, self._seconds = _LINGERING, 0.0
            if self._transport.can_write_eof():  # TLS has no half-closed connections
                self._transport.write_eof()
            self._throttle()
        else:
            self._transport.close()


class _Refused(Exception):
    def __init__(self, status: int, message: str, headers: bytes = b""):
        super().__init__(message)
        self.status, self.headers = status, headers


def _host(transport: asyncio.Transport) -> str:
    """The address of the client; nothing on a Unix socket."""
    peer = transport.get_extra_info("peername")
    return peer[0] if isinstance(peer, tuple) else ""


def _queued(transport: asyncio.Transport) -> int:
    """The bytes that the system has taken and the client has not, megabytes at times; 0 where it does not tell."""
    try:
        import fcntl
        import termios

        number = transport.get_extra_info("socket").fileno()
        return int.from_bytes(fcntl.ioctl(number, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except (ImportError, OSError):
        return 0


def _path(url: bytes) -> str:
    """Path and query of a URL, which may be a full one, as it is sent to proxies."""
    if url[:1] != b"/" and url.lower().startswith((b"http://", b"https://")):
        url = b"/" + url.partition(b"://")[2].partition(b"/")[2]
    return url.decode("latin-1")
