"""Connections over TLS from their first byte on: in the handshake they count as open, and have a time."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Sized

PAUSE = 1.0  # seconds without another try when the system accepts no connection, for want of files or memory


class Handshakes:
    """Accepts connections, and begins TLS on each.

    asyncio's own listeners tell of a connection only after its handshake, so that any number could be in theirs.

    Args:
        make: a protocol for one connection; it is told of the connection once it is secure.
        tls: certificate and key.
        connections: those that are secure.
        most: how many there may be, with those in the handshake. The oldest of these is closed for one more.
        patience: seconds for a handshake, and for a client to take note of the end.
    """

    def __init__(
        self, make: Callable[[], asyncio.Protocol], tls: ssl.SSLContext, connections: Sized, most: int, patience: float
    ):
        self._make, self._connections, self._most = make, connections, most
        self._tls = {"ssl": tls, "ssl_handshake_timeout": patience, "ssl_shutdown_timeout": patience}
        self._begun: dict[socket.socket, asyncio.Task] = {}  # oldest first

    async def accept(self, listener: socket.socket) -> None:
        """Accepts connections until it is cancelled; then it closes the listener, and what is in the handshake."""
        loop = asyncio.get_running_loop()
        with contextlib.closing(listener):
            try:
                while True:
                    try:
                        line, _ = await loop.sock_accept(listener)
                    except OSError:
                        await asyncio.sleep(PAUSE)
                        continue
                    if len(self._connections) + len(self._begun) >= self._most:
                        self._end_oldest()
                    self._begun[line] = loop.create_task(self._begin(line))
            finally:
                while self._begun:
                    self._end_oldest()

    async def _begin(self, line: socket.socket) -> None:
        try:
            with contextlib.suppress(OSError):  # no TLS, a certificate that is refused, silence
                await asyncio.get_running_loop().connect_accepted_socket(self._make, line, **self._tls)
        finally:
            self._begun.pop(line, None)

    def _end_oldest(self) -> None:
        line = next(iter(self._begun), None)
        if line is not None:
            del self._begun[line]
            with contextlib.suppress(OSError):  # it has ended by itself
                line.shutdown(socket.SHUT_RDWR)  # which ends the handshake
