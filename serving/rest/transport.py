"""HTTP on sockets: the event loop, its listeners, and the timeouts of its connections."""

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Sequence

from serving.rest.connection import Connection
from serving.rest.messages import Handler

log = logging.getLogger(__name__)
BACKLOG = 2048
TICK = 1.0  # seconds between checks of the timeouts


def run(handle: Handler, listeners: Sequence[socket.socket], ready: Callable[[], None], grace: float) -> None:
    """Answers on `listeners` until SIGINT or SIGTERM; calls `ready` when it has started.

    Args:
        grace: seconds for open requests to finish at the end.
    """
    try:
        from uvloop import run as run_loop
    except ImportError:  # not available on every platform; asyncio's own loop works too, but is slower
        run_loop = asyncio.run
    run_loop(_serve(handle, listeners, ready, grace))


async def _serve(handle: Handler, listeners: Sequence[socket.socket], ready: Callable[[], None], grace: float) -> None:
    loop, ended, connections = asyncio.get_running_loop(), asyncio.Event(), set()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    servers = [
        await loop.create_server(lambda: Connection(handle, connections), sock=listener, backlog=BACKLOG)
        for listener in listeners
    ]
    watching = asyncio.create_task(watch(connections))
    ready()
    await ended.wait()
    for server in servers:
        server.close()
    watching.cancel()
    until = loop.time() + grace
    while connections and loop.time() < until:
        for connection in list(connections):
            connection.close_if_idle()
        await asyncio.sleep(0.02)
    for connection in list(connections):
        connection.abort()


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
