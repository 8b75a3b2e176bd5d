"""What a transport does with clients that mean no good: nine of them, each with one connection to a port of this machine.

    for name, outcome in outcomes(port): …

Every limit of time that the transport has is to be set to `PATIENCE` seconds before.
"""

import contextlib
import re
import socket
import time
from collections.abc import Callable, Iterator

PATIENCE = 2  # seconds
WAIT = 3 * PATIENCE
LARGE = 16 << 20
HEAD = b"POST /bytes HTTP/1.1\r\nHost: x\r\n"


def outcomes(port: int) -> Iterator[tuple[str, str]]:
    """Every probe's name, and what became of it."""
    for name, probe in PROBES.items():
        with socket.create_connection(("127.0.0.1", port), timeout=WAIT) as line:
            yield name, probe(line)


def _answers(line: socket.socket) -> str:
    """The statuses that come until the transport closes, or until nothing comes any more."""
    received, end = b"", "stays open"
    try:
        while part := line.recv(1 << 16):
            received += part
        end = "closed"
    except TimeoutError:
        pass
    except ConnectionError:
        end = "reset"
    return ", ".join([*re.findall(r"HTTP/1\.1 (\d+)", received.decode("latin-1")), end])


def _sends(*parts: bytes) -> Callable[[socket.socket], str]:
    def probe(line: socket.socket) -> str:
        with contextlib.suppress(ConnectionError, TimeoutError):
            for part in parts:
                line.sendall(part)
        return _answers(line)

    return probe


def _drips(start: bytes) -> Callable[[socket.socket], str]:
    """Sends a byte five times a second, for as long as they are taken."""

    def probe(line: socket.socket) -> str:
        line.sendall(start)
        line.settimeout(0.2)
        until = time.monotonic() + WAIT
        while time.monotonic() < until:
            with contextlib.suppress(TimeoutError):
                try:
                    line.sendall(b"x")
                    if line.recv(1 << 16, socket.MSG_PEEK) is not None:
                        line.settimeout(WAIT)
                        return _answers(line)
                except ConnectionError:
                    return "reset"
        return "stays open"

    return probe


def _never_reads(line: socket.socket) -> str:
    """Asks for more than the buffers between hold, and looks whether the connection is still there after a while."""
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 12)
    body = b"x" * (1 << 20)
    request = HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
    line.settimeout(1)
    with contextlib.suppress(TimeoutError, ConnectionError):
        for _ in range(32):
            line.sendall(request)
    time.sleep(2 * WAIT)
    try:
        line.sendall(b"x")
        line.sendall(b"x")
    except ConnectionError:
        return "reset"
    except TimeoutError:
        pass
    return "stays open"


PROBES = {
    "an address of 16 MB": _sends(b"GET /", b"x" * LARGE),
    "headers of 16 MB": _sends(b"GET / HTTP/1.1\r\nX: ", b"x" * LARGE),
    "Content-Length beside Transfer-Encoding": _sends(
        HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"
    ),
    "two different Content-Lengths": _sends(HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef"),
    "lines that end in a bare line feed": _sends(b"GET /bytes HTTP/1.1\nHost: x\n\n"),
    "a head, a byte at a time": _drips(b"GET /bytes HTTP/1.1\r\nX: "),
    "a body, a byte at a time": _drips(HEAD + b"Content-Length: 1000\r\n\r\n"),
    "silence": _sends(),
    "a client that never reads": _never_reads,
}
