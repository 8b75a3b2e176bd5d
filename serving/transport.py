"""HTTP on sockets: the event loop, its listeners, and the clock of its connections."""

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Sequence

from serving.connection import Connection
from serving.messages import Handler

log = logging.getLogger(__name__)
BACKLOG = 2048
TICK = 1.0  # seconds between two looks at the clock


def run(handle: Handler, listeners: Sequence[socket.socket], ready: Callable[[], None], grace: float) -> None:
    """Answers on `listeners` until SIGINT or SIGTERM; calls `ready` once it does.

    Args:
        grace: seconds that open requests have when it ends.
    """
    try:
        from uvloop import run as run_loop
    except ImportError:  # it is not built for every platform; asyncio's own loop answers the same, more slowly
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
            connection.close_if_free()
        await asyncio.sleep(0.02)
    for connection in list(connections):
        connection.abort()


async def watch(connections: set[Connection], seconds: float = TICK) -> None:
    """Tells the connections, for ever, that so many seconds have passed."""
    while True:
        await asyncio.sleep(seconds)
        for connection in list(connections):
            try:
                connection.wait(seconds)
            except Exception:  # one connection must not stop the clock of all
                log.exception("Expected to look after a connection. Received an error; it is closed.")
                connections.discard(connection)
                connection.abort()
