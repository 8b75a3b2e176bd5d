"""HTTP on sockets: the event loop, its listeners, and the timeouts of its connections."""

import asyncio
import functools
import logging
import signal
import socket
import ssl
from collections.abc import Callable, Sequence

from serving.rest.connection import Connection
from serving.rest.handshakes import Handshakes
from serving.rest.limits import LIMITS, Limits
from serving.rest.messages import Admit, Handler
from serving.rest.sockets import allow_files

log = logging.getLogger(__name__)
BACKLOG = 2048
OTHER_FILES = 1024  # that a process may have open besides its connections
TICK = 1.0  # seconds between checks of the timeouts


def run(
    handle: Handler,
    listeners: Sequence[socket.socket],
    ready: Callable[[], None],
    grace: float,
    limits: Limits = LIMITS,
    admit: Admit | None = None,
    tls: ssl.SSLContext | None = None,
    ending: Callable[[], object] | None = None,
) -> None:
    """Answers on `listeners` until SIGINT or SIGTERM; calls `ready` when it has started.

    Args:
        handle: is called with every request.
        grace: seconds for open requests to finish at the end.
        admit: as in `Connection`.
        tls: certificate and key, for HTTPS.
        ending: is called when the signal has come.
    """
    try:
        from uvloop import run as run_loop
    except ImportError:  # not available on every platform; asyncio's own loop works too, but is slower
        run_loop = asyncio.run
    allow_files(limits.connections + OTHER_FILES)
    connections: set[Connection] = set()
    make = functools.partial(Connection, handle, connections, limits, admit=admit)
    handshakes = Handshakes(make, tls, connections, limits.connections, limits.head_time) if tls else None
    run_loop(_serve(make, connections, listeners, ready, grace, handshakes, ending))


async def _serve(
    make: Callable[[], Connection],
    connections: set[Connection],
    listeners: Sequence[socket.socket],
    ready: Callable[[], None],
    grace: float,
    handshakes: Handshakes | None,
    ending: Callable[[], object] | None,
) -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    close = [await _listen(listener, make, handshakes) for listener in listeners]
    watching = asyncio.create_task(watch(connections))
    ready()
    await ended.wait()
    if ending:
        ending()
    for each in close:
        each()
    for connection in list(connections):
        connection.finish()
    until = loop.time() + grace
    while connections and loop.time() < until:
        await asyncio.sleep(0.02)
    watching.cancel()
    for connection in list(connections):
        connection.abort()


async def _listen(
    listener: socket.socket, make: Callable[[], Connection], handshakes: Handshakes | None
) -> Callable[[], object]:
    """Accepts connections from now on; returns what ends that."""
    if handshakes is None:
        return (await asyncio.get_running_loop().create_server(make, sock=listener, backlog=BACKLOG)).close
    listener.setblocking(False)
    listener.listen(BACKLOG)
    return asyncio.create_task(handshakes.accept(listener)).cancel


async def watch(connections: set[Connection], seconds: float = TICK) -> None:
    """Tells the connections, in an endless loop, that time has passed."""
    while True:
        await asyncio.sleep(seconds)
        for connection in list(connections):
            try:
                connection.wait(seconds)
            except Exception:  # an error in one connection must not end the timeouts of all
                log.exception("Expected to check the timeouts of a connection. Received: an error, for which it is closed.")
                connections.discard(connection)
                connection.abort()
