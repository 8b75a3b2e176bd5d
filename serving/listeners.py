"""The sockets on which the server listens."""

import errno
import socket

from serving.options import OFF


def listen(host: str, port: int, shared: bool = False) -> list[socket.socket]:
    """A listening socket for every address of the host on this machine; none for the port `OFF`."""
    listeners: list[socket.socket] = []
    problem = None
    for address in _addresses(host) if port != OFF else []:
        try:
            listeners.append(_listener(address, port, shared))
            port = listeners[0].getsockname()[1]  # the first may be given a free port, which the others share
        except OSError as error:
            problem = error
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):  # else as for ::1 if IPv6 is off
                break
    else:
        if listeners or port == OFF:
            return listeners
    for listener in listeners:
        listener.close()
    raise ValueError(f"Expected a free port. Received: {authority(host, port)} ({problem.strerror}). Try another, or 0.")


def _addresses(host: str) -> list[tuple[int, str]]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ValueError(f"Expected an address of this machine. Received: --host={host} ({error}). Try 127.0.0.1.") from None
    return list(dict.fromkeys((family, address[0]) for family, *_, address in found))


def _listener(address: tuple[int, str], port: int, shared: bool) -> socket.socket:
    listener = socket.socket(address[0])
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT if shared else socket.SO_REUSEADDR, 1)
        listener.bind((address[1], port))
    except OSError:
        listener.close()
        raise
    return listener


def authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
