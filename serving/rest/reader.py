"""From bytes to requests: HTTP/1.1 as one client sends it, within the limits of a connection."""

import io
from collections.abc import Callable

import httptools

from serving.rest.limits import Limits
from serving.rest.messages import Admit, Request
from serving.status import RequestError

BETWEEN, HEAD, BODY = range(3)  # what is being received


class Refused(Exception):
    """What is received is not answered; the client gets `status`, the message and `headers`, complete lines."""

    def __init__(self, status: int, message: str, headers: bytes = b""):
        super().__init__(message)
        self.status, self.headers = status, headers


class Reader:
    """Parses the requests of one connection.

    Args:
        received: is called with every request.
        awaited: is called when the client waits for "100 Continue" before it sends a body.
        admit: is called with path, method and headers before a body is read; raises a RequestError to refuse the request.
        peer: address of the client.

    `stage` says what is being received, `seconds` for how long (whoever keeps the time adds to it), and `size` how many bytes
    of it have come.
    """

    def __init__(
        self,
        received: Callable[[Request], None],
        awaited: Callable[[], None],
        limits: Limits,
        admit: Admit | None = None,
        peer: str = "",
    ):
        self._received, self._awaited, self._limits, self._admit, self._peer = received, awaited, limits, admit, peer
        self._parser = httptools.HttpRequestParser(self)
        self.stage, self.seconds, self.size = BETWEEN, 0.0, 0
        self._silent = -1  # bytes received since the parser last reported anything; -1 right after it did
        self._body: bytes | io.BytesIO = b""

    def feed(self, data: bytes) -> None:
        """Takes what has come.

        Raises:
            Refused: it is not HTTP, or more than the limits allow, or is not admitted.
        """
        try:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                self._decline(data, upgrade)
        except httptools.HttpParserError as error:
            cause = error.__context__
            raise cause if isinstance(cause, Refused) else Refused(400, f"Malformed request: {error}") from None
        if self.stage != BETWEEN:
            self._count(len(data))

    def drop(self) -> None:
        """Discards what has been received of a request."""
        self._body, self.size = b"", 0

    # From the parser. Every request comes through here, so rare cases are checked last.

    def on_message_begin(self) -> None:
        self._url, self._headers, self._body = b"", {}, b""
        self.stage, self.seconds, self.size, self._silent = HEAD, 0.0, 0, -1

    def on_url(self, url: bytes) -> None:
        self._url += url
        self.size += len(url)
        if self.size > self._limits.url:
            raise Refused(414, f"Expected a URL of at most {self._limits.url} bytes. Received: more.")

    def on_header(self, name: bytes, value: bytes) -> None:
        self.size += len(name) + len(value) + 32  # overhead of a header, as in RFC 7541, 4.1
        name = name.lower()
        if self.stage == HEAD:  # else it is a trailer, which is ignored
            if name not in self._headers:
                self._headers[name] = value
            elif name == b"host":
                raise Refused(400, "Expected one Host header. Received: several.")
            else:
                self._headers[name] += b", " + value
            if self.size - len(self._url) > self._limits.head:
                raise self._head_too_large()

    def on_headers_complete(self) -> None:
        headers = self._headers
        if b"upgrade" in headers and self._upgrades():
            return
        self.stage, self.seconds, self.size, self._silent = BODY, 0.0, 0, -1
        if self._admit is not None:
            self._ask_to_admit()
        if b"content-length" in headers and int(headers[b"content-length"]) > self._limits.body:
            raise self._body_too_large()
        if b"transfer-encoding" in headers:
            self._require_chunks(headers[b"transfer-encoding"])
        if b"expect" in headers:
            self._expect(headers[b"expect"])

    def on_body(self, body: bytes) -> None:
        if not self.size:
            self._body = body
        else:
            if isinstance(self._body, bytes):
                self._body = io.BytesIO(self._body)
                self._body.seek(0, io.SEEK_END)
            self._body.write(body)
        self.size += len(body)
        self._silent = -1
        if self.size > self._limits.body:
            raise self._body_too_large()

    def on_message_complete(self) -> None:
        parser, headers, url, body = self._parser, self._headers, self._url, self._body
        if b"upgrade" in headers and self._upgrades():
            return
        if not (keep_alive := parser.should_keep_alive()):
            self._require_version(parser.get_http_version())
        path, _, query = _path(url).partition("?")
        method = parser.get_method().decode()
        body = body if isinstance(body, bytes) else body.getvalue()
        self.stage, self.seconds, self.size, self._body = BETWEEN, 0.0, 0, b""
        self._received(Request(method, path, query, headers, body, keep_alive and method != "CONNECT", self._peer))

    def _ask_to_admit(self) -> None:
        try:
            self._admit(self._parser.get_method().decode(), _path(self._url).partition("?")[0], self._headers)
        except RequestError as error:
            raise Refused(error.status, error.message, error.headers) from None

    def _require_chunks(self, coding: bytes) -> None:
        version = self._parser.get_http_version()
        if coding.lower() != b"chunked" or version != "1.1":
            raise Refused(501, f"Expected Transfer-Encoding: chunked. Received: {coding.decode('latin-1')}, HTTP/{version}.")

    def _expect(self, expected: bytes) -> None:
        if expected.lower() != b"100-continue":
            raise Refused(417, f"Expected Expect: 100-continue. Received: {expected.decode('latin-1')}.")
        if self._parser.get_http_version() == "1.1":
            self._awaited()

    def _require_version(self, version: str) -> None:
        if version not in ("1.1", "1.0"):  # the parser accepts others, none of which keeps the connection alive
            raise Refused(505, f"Expected HTTP/1.1. Received: HTTP/{version}.")

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

    def _head_too_large(self) -> Refused:
        return Refused(431, f"Expected at most {self._limits.head} bytes of headers. Received: more.")

    def _body_too_large(self) -> Refused:
        return Refused(413, f"Expected a body of at most {self._limits.body} bytes. Received: more. Try several requests.")


def _path(url: bytes) -> str:
    """Path and query of a URL, which may be a full one, as it is sent to proxies."""
    if url[:1] != b"/" and url.lower().startswith((b"http://", b"https://")):
        url = b"/" + url.partition(b"://")[2].partition(b"/")[2]
    return url.decode("latin-1")
