"""The limits of connections over HTTP."""

from typing import NamedTuple


class Limits(NamedTuple):
    """Limits of one connection, in bytes, requests and seconds, and how many connections there may be."""

    url: int = 1 << 16
    head: int = 1 << 16  # of the headers, with 32 for each
    body: int = 1 << 30
    connections: int = 4096
    small: int = 1 << 16  # received bytes that are not counted in the shared budget
    pipelined: int = 16  # waiting requests, after which reading pauses
    idle_time: float = 75  # without a request, and between two looks at how much of a response the client has read
    head_time: float = 20  # this and the rate as in Apache's mod_reqtimeout
    body_time: float = 300  # as Node's `server.requestTimeout`
    rate: float = 500  # bytes per second, over every `head_time` of a body and every `idle_time` of reading a response
    linger_time: float = 2  # for a client that is still sending to read why it was refused


LIMITS = Limits()
