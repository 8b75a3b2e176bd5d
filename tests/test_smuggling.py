"""Requests that two servers might read in two ways: this one takes no request that h11 does not read the same way."""

import asyncio
import itertools
import socket

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.rest.connection import Connection
from serving.rest.messages import Response

HEAD = b"POST /a HTTP/1.1\r\nHost: x\r\n"
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"

CODINGS = [
    b"chunked",
    b" chunked ",
    b"CHUNKED",
    b"chunked, identity",
    b"identity",
    b"xchunked",
    b"\x0bchunked",
    b"gzip, chunked",
]
CODINGS += [b'"chunked"', b"chunked;q=1", b"chunked, chunked", b"chunked\x00", b"", b"chunk\r\n ed"]
LENGTHS = [
    b"5",
    b"+5",
    b"-5",
    b"5 ",
    b"0x5",
    b"5, 5",
    b"5,6",
    b"05",
    b"\xd9\xa5",
    b"",
    b"5\x00",
    b"5_0",
    b"1e1",
    b"5.0",
    b"5\r\n 0",
]
NAMES = [
    b"Content-Length ",
    b" Content-Length",
    b"Content_Length",
    b"Content-Length\x00",
    b"Content\rLength",
    b"Content-Length\t",
]
CHUNKS = [
    b"5\r\nabcde\r\n0\r\n\r\n",
    b"5 \r\nabcde\r\n0\r\n\r\n",
    b" 5\r\nabcde\r\n0\r\n\r\n",
    b"5;a=b\r\nabcde\r\n0\r\n\r\n",
    b"5;a\nb\r\nabcde\r\n0\r\n\r\n",
    b"5\nabcde\n0\n\n",
    b"5\rabcde\r0\r\r",
    b"5\r\nabcde0\r\n\r\n",
    b"5\r\nabcdef\r\n0\r\n\r\n",
    b"0x5\r\nabcde\r\n0\r\n\r\n",
    b"-5\r\nabcde\r\n0\r\n\r\n",
    b"+5\r\nabcde\r\n0\r\n\r\n",
    b"5_\r\nabcde\r\n0\r\n\r\n",
    b"00000000000000000005\r\nabcde\r\n0\r\n\r\n",
    b"10000000000000005\r\nabcde\r\n0\r\n\r\n",
    b"\r\nabcde\r\n0\r\n\r\n",
    b"5\r\nabcde\r\n0\r\nTrailer: a\r\n\r\n",
    b"5\r\nabcde\r\n0\r\nContent-Length: 9\r\n\r\n",
    b"5\r\nabcde\r\n0\r\nbad trailer\r\n\r\n",
    b"5\r\nabcde\r\n0\r\n",
]
STARTS = [
    b"GET\t/a\tHTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /a\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /a\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /a http/1.1\r\nHost: x\r\n\r\n",
    b"GET /a HTTP/1.10\r\nHost: x\r\n\r\n",
    b"GET /a HTTP/1.2\r\nHost: x\r\n\r\n",
    b"GET /a\r\n\r\n",
    b"GET /a HTTP/1.1\nHost: x\n\n",
    b"GET /a HTTP/1.1\rHost: x\r\r",
    b"GET /a HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    b"GET /a HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n",
    b"GET /a HTTP/1.1\r\nHost: x\r\nX: a\nContent-Length: 5\r\n\r\n",
    b"GET /a HTTP/1.1\r\nHost: x\r\n: a\r\n\r\n",
    b"GET /a HTTP/1.1\r\nHost: x\r\nX : a\r\n\r\n",
    b"GE T /a HTTP/1.1\r\nHost: x\r\n\r\n",
    b"G\xc3\x89T /a HTTP/1.1\r\nHost: x\r\n\r\n",
]
CORPUS = [HEAD + b"Transfer-Encoding: " + coding + b"\r\n\r\n" + b"0\r\n\r\n" + HIDDEN for coding in CODINGS]
CORPUS += [HEAD + b"Content-Length: " + length + b"\r\n\r\nabcde" + HIDDEN for length in LENGTHS]
CORPUS += [HEAD + name + b": 5\r\n\r\nabcde" + HIDDEN for name in NAMES]
CORPUS += [
    HEAD + b"\r\n".join(lines) + b"\r\n\r\n0\r\n\r\n" + HIDDEN
    for coding, length in itertools.product(CODINGS, LENGTHS)
    for lines in itertools.permutations((b"Transfer-Encoding: " + coding, b"Content-Length: " + length))
]
CORPUS += [
    HEAD + b"Content-Length: %b\r\nContent-Length: %b\r\n\r\nabcde" % pair + HIDDEN for pair in ((b"5", b"5"), (b"5", b"6"))
]
CORPUS += [CHUNKED + chunks + HIDDEN for chunks in CHUNKS]
CORPUS += [start + HIDDEN for start in STARTS]

Heard = list[tuple[str, str, bytes]]  # method, path and body of requests


def _judged(sent: bytes) -> Heard:
    """The requests that h11 finds before the first thing that it refuses."""
    connection, found = h11.Connection(h11.SERVER), []
    connection.receive_data(sent)
    connection.receive_data(b"")
    try:
        while isinstance(event := connection.next_event(), h11.Request):
            request, body = event, b""
            while isinstance(event := connection.next_event(), h11.Data):
                body += event.data
            if not isinstance(event, h11.EndOfMessage):
                break
            found.append((request.method.decode(), request.target.decode("latin-1"), body))
            connection.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
            connection.send(h11.EndOfMessage())
            connection.start_next_cycle()
    except (h11.RemoteProtocolError, h11.LocalProtocolError):
        pass
    return found


async def _heard(parts: list[bytes]) -> tuple[Heard, bytes]:
    """The requests that the server hears, and what it answers."""
    loop, found = asyncio.get_running_loop(), []

    def handle(request, respond) -> None:
        found.append((request.method, request.path + ("?" + request.query if request.query else ""), request.body))
        respond(Response(b""))

    server, client = socket.socketpair()
    with client:
        client.setblocking(False)
        await loop.connect_accepted_socket(lambda: Connection(handle, set()), server)
        for part in parts:
            await loop.sock_sendall(client, part)
            await asyncio.sleep(0)
        client.shutdown(socket.SHUT_WR)
        received = b""
        while part := await loop.sock_recv(client, 1 << 16):
            received += part
    return found, received


def _run(main):
    with asyncio.Runner(loop_factory=pytest.importorskip("uvloop").new_event_loop) as runner:
        return runner.run(asyncio.wait_for(main, 60))


def _statuses(received: bytes) -> list[bytes]:
    return [line[9:12] for line in received.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]


def test_no_request_is_heard_that_h11_does_not_hear():
    async def main():
        for sent in CORPUS:
            found, received = await _heard([sent])
            judged, statuses = _judged(sent), _statuses(received)
            assert found == judged[: len(found)], sent
            refused = len(statuses) == len(found) + 1 and statuses[-1][:1] in (b"4", b"5")
            assert refused or found == judged, sent
        return len(CORPUS)

    assert _run(main()) > 400


def test_what_a_server_may_pass_over_is_passed_over():
    """RFC 9112, 2.2 and 3: an empty line before a request, and more blanks than one in its first line."""
    for start in (b"\r\nGET /a HTTP/1.1\r\nHost: x\r\n\r\n", b"GET  /a HTTP/1.1\r\nHost: x\r\n\r\n"):
        found, _ = _run(_heard([start + HIDDEN]))
        assert found == [("GET", "/a", b""), ("GET", "/hidden", b"")]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.sampled_from(CORPUS), st.lists(st.integers(0, 160), max_size=6))
def test_the_pieces_in_which_requests_come_change_nothing(sent, cuts):
    ends = [0, *sorted(min(cut, len(sent)) for cut in cuts), len(sent)]
    parts = [sent[start:end] for start, end in itertools.pairwise(ends) if end > start]
    (whole, first), (cut, second) = _run(_heard([sent])), _run(_heard(parts))
    assert cut == whole and _statuses(second) == _statuses(first)
