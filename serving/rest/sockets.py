"""Sockets: who is at the other end, what that has not taken yet, and how many may be open."""

import asyncio
import contextlib
import sys


def host(transport: asyncio.BaseTransport) -> str:
    """The address of the client; nothing on a Unix socket."""
    peer = transport.get_extra_info("peername")
    return peer[0] if isinstance(peer, tuple) else ""


def queued(transport: asyncio.BaseTransport) -> int:
    """The bytes that the system has taken and the client has not, megabytes at times; 0 where it does not tell."""
    try:
        import fcntl
        import termios

        number = transport.get_extra_info("socket").fileno()
        return int.from_bytes(fcntl.ioctl(number, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except (ImportError, OSError):
        return 0


def allow_files(count: int) -> None:
    """Raises the number of files and sockets that this process may have open to `count`, as far as the system lets it."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # not on every platform
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = count if hard == resource.RLIM_INFINITY else min(count, hard)
        if soft != resource.RLIM_INFINITY and soft < most:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
