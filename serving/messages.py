"""Requests and answers of HTTP, as the transport hands them over."""

import email.utils
import http
import time
from collections.abc import Callable
from typing import NamedTuple

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


KEPT, CLOSED = b"connection: keep-alive\r\n", b"connection: close\r\n"
_PHRASES = {status.value: status.phrase for status in http.HTTPStatus} | {499: "Client Closed Request"}
_date = (0, b"")


def head(answer: Answer, connection: bytes = b"") -> bytes:
    """Status line and headers, with what they say of the connection: nothing, `KEPT` or `CLOSED`."""
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
        connection,
    )
