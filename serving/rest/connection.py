"""HTTP/1.1 on one connection: requests in their order, responses to bytes, and the end of what takes too long.

Each request is passed to a function with a callback for the response, which is called at once or later, in the event loop's
thread. With a task and a coroutine for each request, as in ASGI, the transport would take longer than the model.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from serving import metrics
from serving.rest import sockets
from serving.rest.budget import BODIES, Budget, Share
from serving.rest.limits import LIMITS, Limits
from serving.rest.messages import CLOSED, JSON, KEPT, Admit, Handler, Request, Response, head
from serving.rest.reader import BETWEEN, BODY, HEAD, Reader, Refused
from serving.status import RequestError, as_json

COPIED = 1 << 16  # bytes; smaller bodies are copied behind the head and sent in one piece


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
        self._seen = (0, 0.0)  # size and seconds of what is being received when the rate was last checked
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
        self._lingering = False  # after the last response, for a client that is still sending
        self._last: bytes | None = None  # what is sent after all responses; nothing more is read then

    @property
    def idle(self) -> bool:
        """Whether nothing of a request has come that is not answered, and all answers are sent."""
        answered = self._reader.stage == BETWEEN and self._current is None and not self._waiting
        return answered and not self._lingering and not self._transport.get_write_buffer_size()

    def finish(self) -> None:
        """Answers the requests that have begun, and closes the connection."""
        self._finishing = True
        if self._reader.stage == BETWEEN:
            self._last = self._last or b""
            self._next()

    def abort(self) -> None:
        """Closes the connection at once."""
        self._transport.abort()

    def wait(self, seconds: float) -> None:
        """Counts the seconds that have passed, and ends what takes too long."""
        limits, reader, unread = self._limits, self._reader, self._transport.get_write_buffer_size()
        reader.seconds += seconds
        if unread:
            self._wait_for_reader(seconds, unread)
            return
        self._read, self._slow = self._written, 0.0
        if self._lingering:
            if reader.seconds >= limits.linger_time:
                self.abort()
        elif self._current is not None or self._paused:
            reader.seconds = 0.0
        elif reader.stage == HEAD:
            if reader.seconds >= limits.head_time:
                self._refuse(Refused(408, f"Expected a complete head within {limits.head_time} seconds. Received: a part."))
        elif reader.stage == BODY:
            self._wait_for_body()
        elif reader.seconds >= limits.idle_time:
            self._transport.close()

    def _wait_for_reader(self, seconds: float, unread: int) -> None:
        """Ends the connection of a client that reads next to nothing of what is written for it."""
        limits, self._slow = self._limits, self._slow + seconds
        if self._slow >= limits.idle_time:
            read = self._written - unread - sockets.queued(self._transport)
            if read - self._read < limits.rate * self._slow:
                self.abort()
            self._read, self._slow = read, 0.0

    def _wait_for_body(self) -> None:
        limits, reader = self._limits, self._reader
        if reader.seconds >= limits.body_time:
            self._refuse(Refused(408, f"Expected a complete body within {limits.body_time} seconds. Received: a part."))
            return
        if reader.seconds < self._seen[1]:  # it was for another request
            self._seen = (0, 0.0)
        if (seconds := reader.seconds - self._seen[1]) >= limits.head_time:
            if reader.size - self._seen[0] < limits.rate * seconds:
                self._refuse(Refused(408, f"Expected a body at no less than {limits.rate} bytes per second. Received: fewer."))
            self._seen = reader.size, reader.seconds

    # From the event loop

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._reader = Reader(self._received, self._awaited, self._limits, self._admit, sockets.host(transport))
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
            self._refuse(Refused(503, f"Expected at most {most} connections at once. Received: more. Try again later."))

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
        reader = self._reader
        try:
            reader.feed(data)
            if reader.stage != BETWEEN:
                self._hold()
        except Refused as refused:
            self._refuse(refused)

    def pause_writing(self) -> None:
        self._full = True
        self._throttle()

    def resume_writing(self) -> None:
        self._full = False
        self._throttle()
        self._next()

    # Receiving

    def _received(self, request: Request) -> None:
        if self._finishing:
            if self._last is not None:  # this one came with the last
                return
            request, self._last = request._replace(keep_alive=False), b""
        self._continues = False
        if self._current is None and not self._waiting and not self._full:
            if self._share.size:
                self._hold()
            self._start(request)
        else:
            self._waiting.append(request)
            self._waiting_size += len(request.body)
            self._throttle()
            self._hold()

    def _awaited(self) -> None:
        self._continues = True
        self._next()

    def _hold(self) -> None:
        """Takes the bytes received and not yet answered from the budget."""
        size = self._reader.size + self._waiting_size
        size = size if size > self._limits.small else 0
        if size != self._share.size:
            try:
                self._share.resize(size)
            except RequestError as error:
                raise Refused(error.status, error.message) from None

    def _drop(self) -> None:
        """Discards what has been received of a request."""
        self._reader.drop()
        if not self._waiting:
            self._waiting_size = 0
        self._share.resize(min(self._share.size, self._waiting_size))

    def _throttle(self) -> None:
        """Pauses reading while responses are unread, or enough requests wait."""
        limits = self._limits
        enough = len(self._waiting) >= limits.pipelined or self._waiting_size > limits.small
        pauses = (self._full or enough or self._last is not None) and not self._lingering
        if pauses != self._paused and not self._transport.is_closing():
            self._paused = pauses
            self._transport.pause_reading() if pauses else self._transport.resume_reading()

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
        self._reader.seconds = 0.0
        if not request.keep_alive:
            self._end()
        elif self._waiting or self._continues or self._last is not None:
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        """Does what comes after a response: the next request, a request for the body, or the end."""
        if self._current is not None or self._full or self._transport.is_closing() or self._lingering:
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

    def _refuse(self, refused: Refused) -> None:
        """Sends the refusal after the responses to all earlier requests, then closes the connection."""
        response = Response(as_json(str(refused)), JSON, refused.status, refused.headers)
        self._last = head(response, CLOSED) + response.body
        metrics.refused(refused.status)
        self._drop()
        self._throttle()
        self._next()

    def _end(self) -> None:
        if self._last:  # closing with unread input resets the socket, and the client might not see the response
            self._lingering, self._reader.seconds = True, 0.0
            if self._transport.can_write_eof():  # TLS has no half-closed connections
                self._transport.write_eof()
            self._throttle()
        else:
            self._transport.close()
