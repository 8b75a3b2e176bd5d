"""Request bodies, unpacked and parsed within limits: a small compressed body can be very large unpacked.

The first limit is that of the event loop, above which another thread takes over; the second is that of the server.
"""

import gc
import threading
import zlib
from collections.abc import Callable, Iterator

from serving.columns import NPY
from serving.models.servable import Endpoint
from serving.rest import json_examples, json_tensors
from serving.rest.json_examples import ParsedExamples
from serving.rest.json_values import ParsedRequest
from serving.status import Code, RequestError, invalid

LARGE = 1 << 18  # bytes, compressed or not; bodies of this size are not read in the event loop
QUICK = 1 << 14  # bytes of JSON that are parsed value by value in the event loop, or written so
MOST = 1 << 26  # greatest number of bytes of JSON, and of unpacked gzip: no other thread can run while JSON is parsed
JSON_ROOM = 8  # bytes of arrays per byte of JSON
SLICE = 1 << 12  # bytes of gzip that are unpacked at once, into at most 4 MiB

Take = Callable[[int], None]  # takes a number of bytes from a budget, or raises RequestError

_reading = threading.Lock()  # one long JSON body at a time: other threads run between two of them


class TooLarge(RequestError):
    """The body has more bytes than the limit."""

    def __init__(self, limit: int, hint: str = "Try several requests."):
        super().__init__(Code.INVALID_ARGUMENT, f"Expected a body of at most {limit} bytes. Received: more. {hint}", 413)


def unpacked(body: bytes, coding: bytes, limit: int, take: Take) -> bytes:
    """The body without its `Content-Encoding`: gzip of one or several members (RFC 1952), or none.

    Args:
        take: is called with the size of each part as it is unpacked.

    Raises:
        TooLarge: it has more than `limit` bytes.
        RequestError: another encoding, or damaged data; or from `take`.
    """
    if not coding:
        return body
    codings = [part for part in coding.lower().replace(b" ", b"").split(b",") if part not in (b"", b"identity")]
    if not codings:
        return body
    if len(codings) > 1 or codings[0] not in (b"gzip", b"x-gzip"):
        raise RequestError(
            Code.INVALID_ARGUMENT,
            f"Expected Content-Encoding: gzip, once, or none. Received: {coding.decode('latin-1')}.",
            415,
        )
    try:
        return b"".join(_members(body, limit, take))
    except zlib.error as error:
        raise invalid(f"Expected a body in gzip. Received: {error}.") from None


def _members(body: bytes, limit: int, take: Take) -> Iterator[bytes]:
    view, at, size = memoryview(body), 0, 0
    unzip = zlib.decompressobj(wbits=31)
    while at < len(body):
        packed = view[at : at + SLICE]
        if unzip.eof:  # the next member; zeros may pad the one before to a block of a tape
            packed = bytes(packed).lstrip(b"\0")
            unzip = zlib.decompressobj(wbits=31) if packed else unzip
        text = unzip.decompress(packed, limit - size + 1) if packed else b""
        size += len(text)
        if size > limit:
            raise TooLarge(limit)
        take(len(text))
        yield text
        at = min(at + SLICE, len(body)) - (len(unzip.unused_data) if packed else 0)
    if not unzip.eof:
        raise invalid("Expected a complete body in gzip. Received: a part of one.")


def read_json(body: bytes, endpoint_of: Callable[[str], Endpoint], take: Take, quick: bool = False) -> ParsedRequest:
    """Parses a JSON body, as `json_tensors.read`; long ones one at a time.

    Args:
        quick: whether to leave what takes longer than about a millisecond.

    Raises:
        TooLarge: it is too long to be parsed, or to be parsed quickly.
        RequestError: not JSON, or values that the signature does not take; or from `take`.
    """
    if quick and QUICK < len(body) <= MOST:
        parsed = json_tensors.read_lists(body, endpoint_of)
        if parsed is None:
            raise TooLarge(QUICK)
        return parsed
    return _parsed(body, take, lambda: json_tensors.read(body, endpoint_of))


def read_examples(body: bytes, take: Take, quick: bool = False) -> ParsedExamples:
    """Parses a JSON body, as `json_examples.read`; arguments and errors as of `read_json`."""
    if quick and QUICK < len(body) <= MOST:
        raise TooLarge(QUICK)
    return _parsed(body, take, lambda: json_examples.read(body))


def _parsed(body: bytes, take: Take, read: Callable):
    if len(body) > MOST:
        raise TooLarge(MOST, f"Try several requests, or {NPY}.")
    if len(body) < LARGE:
        return read()
    take(JSON_ROOM * len(body))
    with _reading:
        gc.disable()  # it would take ten times as long as the parsing to look at millions of lists that are all in use
        try:
            return read()
        finally:
            gc.enable()
