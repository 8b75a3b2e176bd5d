"""HTTP requests and responses, as the transport passes them on."""

import email.utils
import http
import time
from collections.abc import Callable
from typing import NamedTuple

JSON = "application/json"


class Request(NamedTuple):
    """One request; header names are in lower case."""

    method: str
    path: str
    query: str
    headers: dict[bytes, bytes]
    body: bytes
    keep_alive: bool
    client: str = ""  # its address


class Response(NamedTuple):
    """One response; `headers` are complete lines."""

    body: bytes
    content_type: str = JSON
    status: int = 200
    headers: bytes = b""


# Returns a function to be called if the client disconnects before the response, or None.
Handler = Callable[[Request, Callable[[Response], None]], Callable[[], None] | None]

# Is called with method, path and headers before a body is read; raises a RequestError to refuse the request.
Admit = Callable[[str, str, dict[bytes, bytes]], None]


KEPT, CLOSED = b"connection: keep-alive\r\n", b"connection: close\r\n"
_PHRASES = {status.value: status.phrase for status in http.HTTPStatus} | {499: "Client Closed Request"}
_date = (0, b"")


def head(response: Response, connection: bytes = b"") -> bytes:
    """Status line and headers, with `connection`, one of `KEPT`, `CLOSED` and nothing, among them."""
    global _date
    if (now := int(time.time())) != _date[0]:
        _date = now, email.utils.formatdate(now, usegmt=True).encode()
    return b"HTTP/1.1 %d %b\r\ndate: %b\r\ncontent-type: %b\r\ncontent-length: %d\r\n%b%b\r\n" % (
        response.status,
        _PHRASES[response.status].encode(),
        _date[1],
        response.content_type.encode(),
        len(response.body),
        response.headers,
        connection,
    )
