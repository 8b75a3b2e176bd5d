"""A load of HTTP requests from one thread: as many as the server takes, or a given number a second.

The generator has to cost less than the server it measures, so it keeps to sockets, one `epoll` and bytes made beforehand.
"""

import heapq
import random
import re
import select
import socket
import statistics
import time
from collections import deque
from typing import NamedTuple

LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Load(NamedTuple):
    """What a server did under a load: answered requests a second, and latencies in ms at two percentiles."""

    rate: float
    p50: float
    p99: float


def request(path: str, body: bytes, content_type: str = "application/json") -> bytes:
    """The bytes of one POST request."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def load(port: int, requests: list[bytes], connections: int, seconds: float, rate: float | None = None) -> Load:
    """Sends `requests` in turn over `connections` that are kept open, for `seconds` after a second of warming up.

    Without `rate` every connection sends its next request when it has its answer. With it requests arrive at random, `rate` a
    second on average, whatever the server does, and a latency counts from the arrival on: waiting for a free connection belongs
    to it.

    Raises:
        RuntimeError: an answer that is not 200.
    """
    clients = [_Connection(port) for _ in range(connections)]
    try:
        return _Run(clients, requests, rate)(seconds)
    finally:
        for client in clients:
            client.socket.close()


class _Connection:
    def __init__(self, port: int):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""
        self.since = 0.0

    def send(self, data: bytes, since: float) -> None:
        self.since = since
        self.socket.sendall(data)

    def receive(self) -> bool:
        """Takes what came; whether the answer is whole."""
        part = self.socket.recv(1 << 18)
        if not part:
            raise RuntimeError("Expected an answer. Received: the end of the connection.")
        self.received += part
        head = self.received.find(b"\r\n\r\n")
        if head < 0:
            return False
        length = LENGTH.search(self.received, 0, head)
        whole = len(self.received) >= head + 4 + int(length[1]) if length else self.received.endswith(b"0\r\n\r\n")
        if whole:
            if not self.received.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"Expected HTTP 200. Received: {self.received[:500]!r}.")
            self.received = b""
        return whole


class _Run:
    def __init__(self, clients: list[_Connection], requests: list[bytes], rate: float | None):
        self.free = deque(clients)
        self.clients = {client.socket.fileno(): client for client in clients}
        self.requests, self.next, self.rate = requests, 0, rate
        self.poll = select.epoll()
        for number in self.clients:
            self.poll.register(number, select.EPOLLIN)
        self.random = random.Random(0)
        self.arrived: list[float] = []

    def __call__(self, seconds: float) -> Load:
        start = time.perf_counter()
        first, last = start + 1, start + 1 + seconds
        arrival, latencies = start, []
        while (now := time.perf_counter()) < last:
            while self.rate and arrival <= now:
                heapq.heappush(self.arrived, arrival)
                arrival += self.random.expovariate(self.rate)
            while self.free and (not self.rate or self.arrived):
                self._send(heapq.heappop(self.arrived) if self.rate else now)
            for number, _ in self.poll.poll(max(0, arrival - now) if self.rate else 1):
                client = self.clients[number]
                if client.receive():
                    now = time.perf_counter()
                    if client.since >= first:
                        latencies.append(now - client.since)
                    self.free.append(client)
                    if not self.rate:
                        self._send(now)
        self.poll.close()
        cuts = statistics.quantiles(latencies, n=100)
        return Load(len(latencies) / seconds, 1e3 * cuts[49], 1e3 * cuts[98])

    def _send(self, since: float) -> None:
        self.free.popleft().send(self.requests[self.next], since)
        self.next = (self.next + 1) % len(self.requests)
