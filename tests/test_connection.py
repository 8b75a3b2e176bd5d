"""One connection of the transport in this process: its limits of size and time, the order of its answers, and when it ends."""

import asyncio
import contextlib
import os
import re
import signal
import socket

import pytest

from serving.rest import transport
from serving.rest.budget import Budget
from serving.rest.connection import Connection
from serving.rest.limits import Limits
from serving.rest.messages import Response
from serving.rest.sockets import allow_files
from serving.rest.transport import watch
from serving.status import Code, RequestError

GET = b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n"
MANY = 1 << 20
NO_BUDGET = Budget(0)


class Served:
    """A server whose handler gives path and body back; `/later…` waits until `let_go`, `/large` gives a megabyte."""

    def __init__(self):
        self.connections, self.requests, self._held = set(), [], []

    def handle(self, request, respond) -> None:
        self.requests.append(request)
        body = b"x" * MANY if request.path == "/large" else request.path.encode() + request.body
        if request.path.startswith("/later"):
            self._held.append(lambda: respond(Response(body)))
        else:
            respond(Response(body))

    def let_go(self) -> None:
        held, self._held = self._held, []
        for answer in held:
            answer()


@contextlib.asynccontextmanager
async def served(limits=Limits(), budget=NO_BUDGET, tick=0.02, admit=None):  # noqa: B008
    served = Served()
    make = lambda: Connection(served.handle, served.connections, limits, budget, admit)  # noqa: E731
    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
    watching = asyncio.create_task(watch(served.connections, tick))
    served.port = server.sockets[0].getsockname()[1]
    try:
        yield served
    finally:
        watching.cancel()
        server.close()


def run(main):
    """As the server runs it."""
    with asyncio.Runner(loop_factory=pytest.importorskip("uvloop").new_event_loop) as runner:
        return runner.run(asyncio.wait_for(main, 30))


def asked(*sent: bytes, limits=Limits(), budget=NO_BUDGET, after=None) -> list[tuple[int, bytes]]:  # noqa: B008
    """The answers to what is sent, until the server closes; `after` is called when it has been sent."""

    async def main():
        async with served(limits, budget) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            for part in sent:
                writer.write(part)
                with contextlib.suppress(ConnectionError):
                    await writer.drain()
                await asyncio.sleep(0.01)
            if after:
                after(server, writer)
            received = await asyncio.wait_for(reader.read(), 10)
            writer.close()
            return answers(received)

    return run(main())


def answers(received: bytes) -> list[tuple[int, bytes]]:
    found = []
    while received:
        head, _, rest = received.partition(b"\r\n\r\n")
        status = int(head[9:12])
        size = int(re.search(rb"content-length: (\d+)", head)[1]) if status > 100 else 0
        found.append((status, rest[:size]))
        received = rest[size:]
    return found


CLOSE = b"GET /end HTTP/1.1\r\nConnection: close\r\n\r\n"
CHUNKED = b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ([b"GET /", b"x" * MANY], 414),
        ([b"GET / HTTP/1.1\r\nX: ", b"x" * MANY], 431),
        ([b"GET / HTTP/1.1\r\n", b"x" * MANY], 431),
        ([b"GET / HTTP/1.1\r\n", *[b"a%d: b\r\n" % number for number in range(2000)]], 431),
        ([b"GET / HTTP/1.1\r\n", b"a: b\r\n" * 10_000], 431),
        ([CHUNKED, b"1\r\nx\r\n0\r\nTrail: ", b"x" * MANY], 431),
        ([CHUNKED, b"1;", b"x" * MANY], 431),
        ([b"x" * 100, b"x" * MANY], 400),
    ],
)
def test_a_head_that_never_ends_is_refused(sent, status):
    limits = Limits(idle_time=60, head_time=60)
    ((answered, body),) = asked(*(sent if len(sent) < 100 else [sent[0], b"".join(sent[1:])]), limits=limits)
    assert answered == status and b'{"error":"' in body


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 3, 3\r\n\r\nabc", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -3\r\n\r\nabc", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 9999999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: identity\r\n\r\nabc", 501),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501),
        (CHUNKED + b"xyz\r\n", 400),
        (CHUNKED + b"ffffffffffffffffffff\r\n", 400),
        (CHUNKED + b"3\r\nabcd\r\n", 400),
        (b"POST / HTTP/1.1\r\nExpect: 200-ok\r\nContent-Length: 1\r\n\r\n", 417),
        (b"GET / HTTP/1.1\r\nX: a\r\n b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: a\0b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nX: a\n\n", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    ],
)
def test_what_two_servers_could_read_in_two_ways_is_refused(sent, status):
    """And what is no HTTP/1.1; a request behind it is not answered."""
    ((answered, body),) = asked(sent + GET % b"hidden")
    assert answered == status and b'{"error":"' in body


def test_a_refusal_waits_for_the_answers_before_it():
    sent = GET % b"later" + GET % b"second" + b"no HTTP\r\n\r\n" + GET % b"hidden"
    found = asked(sent, after=lambda server, writer: server.let_go())
    assert [status for status, _ in found] == [200, 200, 400] and [body for _, body in found[:2]] == [b"/later", b"/second"]


def test_nothing_is_answered_after_the_last_request():
    assert asked(CLOSE + GET % b"hidden") == [(200, b"/end")]
    assert asked(CLOSE.replace(b"/end", b"/later"), GET % b"hidden", after=lambda server, _: server.let_go()) == [
        (200, b"/later")
    ]


def test_a_client_that_sends_and_closes_its_side_is_answered():
    def after(server, writer):
        writer.write_eof()
        asyncio.get_running_loop().call_later(0.1, server.let_go)

    assert asked(GET % b"later" + GET % b"b", after=after) == [(200, b"/later"), (200, b"/b")]
    assert asked(GET % b"a" + b"GET /cut", after=lambda server, writer: writer.write_eof()) == [(200, b"/a")]


def test_a_client_that_does_not_read_is_not_read_either():
    async def main():
        async with served() as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1 << 14)
            writer.transport.pause_reading()
            count = 200
            writer.write(GET % b"large" * count)
            before = 0
            while len(server.requests) > before or not before:  # until no more are taken
                before = len(server.requests)
                await asyncio.sleep(0.3)
            (connection,) = server.connections
            assert before < 20 and connection._transport.get_write_buffer_size() < 3 * MANY
            writer.transport.resume_reading()
            received = 0
            while received < count * MANY:
                received += len(await asyncio.wait_for(reader.read(1 << 20), 10))
            assert len(server.requests) == count

    run(main())


def test_a_client_that_never_reads_is_disconnected():
    async def main():
        async with served(Limits(idle_time=0.2)) as server:
            _, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1 << 14)
            writer.transport.pause_reading()
            writer.write(GET % b"large" * 50)
            await asyncio.sleep(0.1)
            async with asyncio.timeout(10):
                while server.connections:
                    await asyncio.sleep(0.05)

    run(main())


def test_trailers_change_no_header():
    async def main():
        async with served() as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            head = CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Type: a\r\n\r\n")
            writer.write(head + b"2\r\nab\r\n1\r\nc\r\n0\r\nContent-Encoding: gzip\r\nContent-Type: b\r\n\r\n")
            await asyncio.wait_for(reader.readuntil(b"/aabc"), 10)
            writer.close()
            (request,) = server.requests
            assert request.headers == {b"transfer-encoding": b"chunked", b"content-type": b"a"} and request.body == b"abc"

    run(main())


@pytest.mark.parametrize(
    ("sent", "limits", "status"),
    [
        (b"GET / HTTP/1.1\r\nX: y", Limits(head_time=0.1), 408),
        (b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n", Limits(body_time=0.1), 408),
        (b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n", Limits(head_time=0.1), 408),
        (b"", Limits(idle_time=0.1), None),
        (GET % b"a", Limits(idle_time=0.1), 200),
    ],
)
def test_a_request_has_its_time_however_often_a_byte_comes(sent, limits, status):
    async def main():
        async with served(limits) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(sent)

            async def go_on():
                while sent and not sent.startswith(b"GET /a"):
                    writer.write(b"x")
                    await asyncio.sleep(0.03)

            going = asyncio.create_task(go_on())
            received = await asyncio.wait_for(reader.read(), 10)
            going.cancel()
            return received

    found = answers(run(main()))
    assert [answered for answered, _ in found] == ([status] if status else [])


def test_a_request_that_takes_long_to_answer_outlives_those_times():
    limits = Limits(idle_time=0.1, head_time=0.1, body_time=0.1)

    def after(server, writer):
        asyncio.get_running_loop().call_later(0.5, server.let_go)

    assert asked(GET % b"later", limits=limits, after=after) == [(200, b"/later")]


def test_a_body_is_asked_for_when_its_turn_has_come():
    head = b"POST /b HTTP/1.1\r\nExpect: 100-Continue\r\nConnection: close\r\nContent-Length: 2\r\n\r\n"

    def after(server, writer):
        server.let_go()
        asyncio.get_running_loop().call_later(0.1, writer.write, b"hi")

    assert asked(GET % b"later" + head, after=after) == [(200, b"/later"), (100, b""), (200, b"/bhi")]


def test_an_offer_of_another_protocol_is_ignored():
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n"
    posted = b"POST /%s HTTP/1.1\r\nHost: x\r\n" + offer + b"Content-Length: 3\r\n\r\nabc"
    expected = [(200, b"/aabc"), (200, b"/babc"), (200, b"/end")]
    assert asked(posted % b"a" + posted % b"b" + CLOSE) == expected
    assert asked(*[bytes([byte]) for byte in posted % b"a"], posted % b"b" + CLOSE) == expected
    assert asked(b"CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n" + GET % b"hidden") == [(200, b"x:1")]


def test_a_request_target_may_be_a_full_url():
    for url, path in ((b"http://x:8501/a?b", b"/a"), (b"HTTP://x/", b"/"), (b"http://x", b"/")):
        assert asked(b"GET " + url + b" HTTP/1.1\r\nConnection: close\r\n\r\n") == [(200, path)]


def test_a_refused_client_can_read_why_before_it_has_sent_all():
    limits = Limits(body=1000)
    for head in (b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (4 * MANY), CHUNKED + b"%x\r\n" % (4 * MANY)):
        ((status, body),) = asked(head, b"x" * 4 * MANY, limits=limits)
        assert status == 413 and b"at most 1000 bytes" in body


def test_bodies_share_a_budget_and_small_ones_do_not_need_it():
    async def main():
        budget, limits = Budget(300_000), Limits(linger_time=0.1)
        async with served(limits, budget) as server:

            async def sent(path: bytes, size: int, body: bytes):
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                writer.write(b"POST /%s HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (path, size) + body)
                await writer.drain()
                return reader, writer

            first_reader, first = await sent(b"a", 250_000, b"x" * 200_000)
            while budget.taken < 200_000:
                await asyncio.sleep(0.01)
            reader, second = await sent(b"b", 250_000, b"x" * 200_000)
            assert answers(await asyncio.wait_for(reader.read(), 10))[0][0] == 429
            reader, third = await sent(b"c", 40_000, b"x" * 30_000)
            await asyncio.sleep(0.05)
            third.write(b"x" * 10_000)
            assert (await asyncio.wait_for(reader.readuntil(b"\r\n"), 10)) == b"HTTP/1.1 200 OK\r\n"
            first.write(b"x" * 50_000)
            assert (await asyncio.wait_for(first_reader.readuntil(b"\r\n"), 10)) == b"HTTP/1.1 200 OK\r\n"
            assert budget.taken == 0
            _, fourth = await sent(b"d", 250_000, b"x" * 200_000)
            while budget.taken < 200_000:
                await asyncio.sleep(0.01)
            for writer in (first, second, third, fourth):
                writer.close()
            while budget.taken:
                await asyncio.sleep(0.01)

    run(main())


def test_requests_that_wait_are_held_in_bounds():
    async def main():
        budget = Budget(10_000_000)
        async with served(Limits(), budget) as server:
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(
                GET % b"later"
                + b"".join(b"POST /a HTTP/1.1\r\nContent-Length: 500000\r\n\r\n" + b"x" * 500_000 for _ in range(40))
            )
            await asyncio.sleep(0.3)
            assert 500_000 <= budget.taken < 1_500_000
            writer.close()

    run(main())


def test_an_old_client_is_told_that_the_connection_is_kept():
    async def main():
        async with served() as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" * 2)
            received = await asyncio.wait_for(reader.readuntil(b"/a"), 10) + await asyncio.wait_for(reader.readuntil(b"/a"), 10)
            assert received.count(b"connection: keep-alive\r\n") == 2
            writer.close()

    run(main())


def test_a_url_and_headers_have_limits_of_their_own():
    limits = Limits(url=100, head=1000)
    assert (
        asked(b"GET /" + b"x" * 90 + b" HTTP/1.1\r\nX: " + b"y" * 900 + b"\r\nConnection: close\r\n\r\n", limits=limits)[0][0]
        == 200
    )
    assert asked(b"GET /" + b"x" * 100 + b" HTTP/1.1\r\n\r\n", limits=limits)[0][0] == 414
    assert asked(b"GET / HTTP/1.1\r\nX: " + b"y" * 1000 + b"\r\n\r\n", limits=limits)[0][0] == 431


def test_one_connection_too_many_takes_the_place_of_an_idle_one_or_is_refused():
    async def main():
        async with served(Limits(connections=2)) as server:
            writers = []  # a connection is closed with the last reference to its writer

            async def opened(sent: bytes) -> asyncio.StreamReader:
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                writers.append(writer)
                writer.write(sent)
                return reader

            idle = await opened(GET % b"a")
            assert (await idle.readline()).startswith(b"HTTP/1.1 200")
            busy = await opened(GET % b"later")
            while len(server.requests) < 2:
                await asyncio.sleep(0.01)
            third = await opened(GET % b"later/third")
            while len(server.requests) < 3:
                await asyncio.sleep(0.01)
            with contextlib.suppress(ConnectionError):
                await asyncio.wait_for(idle.read(), 10)  # until its end
            fourth = await opened(b"")
            assert answers(await asyncio.wait_for(fourth.read(), 10))[0][0] == 503
            server.let_go()
            for reader in (busy, third):
                assert (await reader.readline()).startswith(b"HTTP/1.1 200")

    run(main())


def test_a_thousand_connections_are_answered():
    async def main():
        async with served() as server:

            async def ask(number: int) -> bytes:
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                writer.write(GET % b"n%d" % number)
                await opened.wait()
                received = await reader.readuntil(b"/n%d" % number)
                writer.close()
                return received[:12]

            opened = asyncio.Event()
            asking = [asyncio.create_task(ask(number)) for number in range(1000)]
            while len(server.connections) < 1000:
                await asyncio.sleep(0.01)
            opened.set()
            assert set(await asyncio.gather(*asking)) == {b"HTTP/1.1 200"}

    allow_files(4096)
    run(main())


def test_a_client_that_reads_next_to_nothing_is_disconnected():
    async def main(rate: float) -> int:
        async with served(Limits(idle_time=0.2, rate=rate)) as server:
            with socket.socket() as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
                client.setblocking(False)
                loop = asyncio.get_running_loop()
                await loop.sock_connect(client, ("127.0.0.1", server.port))
                await loop.sock_sendall(client, GET % b"large" * 40)
                for _ in range(30):
                    await asyncio.sleep(0.04)
                    with contextlib.suppress(BlockingIOError, ConnectionError):
                        client.recv(1 << 17)
                return len(server.connections)

    assert run(main(1e9)) == 0 and run(main(1)) == 1


def test_at_the_end_what_has_begun_is_answered_and_nothing_else():
    async def main():
        async with served() as server:
            lines = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(4)]
            for (_, writer), sent in zip(lines, (b"", GET % b"a", GET % b"later", b"GET /part HTTP/1.1\r\n"), strict=True):
                writer.write(sent)
            await lines[1][0].readuntil(b"/a")
            while len(server.requests) < 2 or len(server.connections) < 4:
                await asyncio.sleep(0.01)
            for connection in list(server.connections):
                connection.finish()
            assert await lines[0][0].read() == await lines[1][0].read() == b""
            lines[2][1].write(GET % b"hidden")
            lines[3][1].write(b"\r\n" + GET % b"hidden")
            server.let_go()
            for reader, _ in lines[2:]:
                received = await reader.read()
                assert received.startswith(b"HTTP/1.1 200") and b"connection: close" in received and b"hidden" not in received
            assert [request.path for request in server.requests] == ["/a", "/later", "/part"]

    run(main())


def test_what_else_answers_begins_to_end_when_the_signal_comes():
    held, listener = [], socket.create_server(("127.0.0.1", 0))

    def handle(request, respond):
        held.append(respond)
        os.kill(os.getpid(), signal.SIGTERM)

    with socket.create_connection(listener.getsockname(), timeout=10) as client:
        client.sendall(GET % b"a")
        transport.run(handle, [listener], lambda: None, grace=10, ending=lambda: held[0](Response(b"in time")))
        assert answers(client.recv(1000)) == [(200, b"in time")]


def test_who_is_not_admitted_is_told_before_the_body_is_read():
    def admit(method, path, headers):
        if path != "/open" and headers.get(b"authorization") != b"Bearer a":
            raise RequestError(Code.UNAUTHENTICATED, "Expected a token.", headers=b"www-authenticate: Bearer\r\n")

    async def main():
        async with served(admit=admit) as server:

            async def answer(sent: bytes) -> bytes:
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                writer.write(sent)
                received = await asyncio.wait_for(reader.read(), 10)
                writer.close()
                return received

            refused = await answer(b"POST /a HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\n")
            assert refused.startswith(b"HTTP/1.1 401") and b"www-authenticate: Bearer\r\n" in refused and not server.requests
            assert (await answer(CLOSE)).startswith(b"HTTP/1.1 401")
            assert (await answer(CLOSE.replace(b"/end", b"/open"))).startswith(b"HTTP/1.1 200")
            assert (await answer(CLOSE.replace(b"\r\nC", b"\r\nAuthorization: Bearer a\r\nC"))).startswith(b"HTTP/1.1 200")

    run(main())
