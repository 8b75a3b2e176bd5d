"""Bodies of requests, unpacked and read within bounds: a few bytes can stand for any number.

A limit is first that of the event loop, beyond which another thread takes over, and then that of the server.
"""

import gc
import threading
import zlib
from collections.abc import Callable, Iterator

from serving import json_tensors
from serving.client import NPY
from serving.json_values import ParsedRequest
from serving.servable import Endpoint
from serving.status import Code, RequestError, invalid

LARGE = 1 << 18  # bytes, packed or unpacked, that are not read in the event loop
MOST = 1 << 26  # bytes of JSON, and of what is unpacked: no other thread can run while that much JSON is read
JSON_ROOM = 8  # bytes of arrays from one byte of JSON
SLICE = 1 << 12  # bytes of gzip that are unpacked at once, to 4 MiB at most

Take = Callable[[int], None]  # takes so many bytes from a budget, or raises RequestError

_reading = threading.Lock()  # of long JSON: between two bodies all others have their turn


class TooLarge(RequestError):
    """A body of more bytes than the limit."""

    def __init__(self, limit: int, hint: str = "Try several requests."):
        super().__init__(Code.INVALID_ARGUMENT, f"Expected a body of at most {limit} bytes. Received: more. {hint}", 413)


def unpacked(body: bytes, coding: bytes, limit: int, take: Take) -> bytes:
    """A body without its `Content-Encoding`: gzip of one member or several (RFC 1952), or none.

    Raises:
        TooLarge: it has more than `limit` bytes.
        RequestError: another encoding, or broken; and what `take` raises, which is told of the bytes as they come.
    """
    codings = [part for part in coding.lower().replace(b" ", b"").split(b",") if part not in (b"", b"identity")]
    if not codings:
        return body
    if len(codings) > 1 or codings[0] not in (b"gzip", b"x-gzip"):
        raise RequestError(
            Code.INVALID_ARGUMENT,
            f"Expected Content-Encoding gzip, once, or none. Received: {coding.decode('latin-1')}.",
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
        if unzip.eof:  # another member, after the zeros that may fill up a block of a tape
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
        raise invalid("Expected a whole body in gzip. Received: a part of one.")


def read_json(body: bytes, endpoint_of: Callable[[str], Endpoint], take: Take) -> ParsedRequest:
    """The request in a JSON body, as `json_tensors.read` gives it; a long one after the others.

    Raises:
        TooLarge: too long to be read at all.
        RequestError: not JSON, or not what the signature takes; and what `take` raises.
    """
    if len(body) > MOST:
        raise TooLarge(MOST, f"Try several requests, or {NPY}.")
    if len(body) < LARGE:
        return json_tensors.read(body, endpoint_of)
    take(JSON_ROOM * len(body))
    with _reading:
        gc.disable()  # it would look, in ten times the time of the reading, at millions of lists that are all in use
        try:
            return json_tensors.read(body, endpoint_of)
        finally:
            gc.enable()
