"""HTTP as it comes over a socket: in pieces, several at once, too much of it, and not HTTP at all."""

import json
import re
import socket
import threading

import half_plus_two
import pytest

from serving.process import Server

PATH = "/v1/models/half_plus_two_tf2:predict"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(half_plus_two.write(tmp_path_factory.mktemp("models"))) as server:
        yield server


@pytest.fixture
def line(server):
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as line:
        yield line


def _post(value: float, *headers: str, version: str = "1.1", path: str = PATH) -> bytes:
    body = json.dumps({"instances": [value]})
    lines = [f"POST {path} HTTP/{version}", "Host: x", f"Content-Length: {len(body)}", *headers, "", body]
    return "\r\n".join(lines).encode()


def _answers(line, count: int) -> list[tuple[int, bytes]]:
    """Status and body of so many answers."""
    received, answers = b"", []
    while len(answers) < count:
        head = received.find(b"\r\n\r\n")
        length = int(re.search(rb"content-length: (\d+)", received)[1]) if head >= 0 else 0
        if head < 0 or len(received) < head + 4 + length:
            part = line.recv(1 << 16)
            assert part, received
            received += part
            continue
        answers.append((int(received[9:12]), received[head + 4 : head + 4 + length]))
        received = received[head + 4 + length :]
    assert not received
    return answers


def _predictions(answers) -> list[float]:
    return [json.loads(body)["predictions"][0] for status, body in answers if status == 200]


def test_several_requests_at_once_are_answered_in_order(line):
    line.sendall(b"".join(_post(float(value)) for value in range(100)))
    assert _predictions(_answers(line, 100)) == [value / 2 + 2 for value in range(100)]


def test_a_request_in_pieces(line):
    for byte in _post(4.0):
        line.sendall(bytes([byte]))
    assert _predictions(_answers(line, 1)) == [4.0]


def test_a_body_in_chunks_and_one_that_waits_to_be_asked_for(line):
    line.sendall(f"POST {PATH} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n".encode())
    assert line.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    line.sendall(b'e\r\n{"instances": \r\n6\r\n[2.0]}\r\n0\r\n\r\n')
    assert _predictions(_answers(line, 1)) == [3.0]


@pytest.mark.parametrize(("headers", "version"), [(["Connection: close"], "1.1"), ([], "1.0")])
def test_connections_that_are_not_kept(line, headers, version):
    line.sendall(_post(2.0, *headers, version=version))
    assert _predictions(_answers(line, 1)) == [3.0]
    assert line.recv(1) == b""


def test_an_offer_of_another_protocol_is_not_taken(line):
    line.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
    assert _answers(line, 1) == [(200, b"ok")]


def test_head_has_no_body(line):
    line.sendall(b"HEAD /livez HTTP/1.1\r\nHost: x\r\n\r\nGET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    received = b""
    while not received.endswith(b"ok"):
        received += line.recv(1000)
    assert received.count(b"HTTP/1.1 200 OK") == 2 and received.count(b"\r\n\r\n") == 2


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01\x00 no HTTP\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", 431),
        (f"POST {PATH} HTTP/1.1\r\nContent-Length: x\r\n\r\n".encode(), 400),
    ],
)
def test_what_is_not_http_is_refused_and_the_server_goes_on(line, sent, status):
    line.sendall(sent)
    received = line.recv(10_000)
    assert received.startswith(b"HTTP/1.1 %d " % status) and b'{"error":' in received
    with socket.create_connection(line.getpeername(), timeout=10) as other:
        other.sendall(_post(4.0))
        assert _predictions(_answers(other, 1)) == [4.0]


def test_a_client_that_goes_away_harms_nobody(line):
    peer = line.getpeername()
    for _ in range(20):
        with socket.create_connection(peer, timeout=10) as gone:
            gone.sendall(_post(4.0)[:-3])
        with socket.create_connection(peer, timeout=10) as gone:
            gone.sendall(_post(4.0) * 3)
    line.sendall(_post(4.0))
    assert _predictions(_answers(line, 1)) == [4.0]


def test_many_connections_at_once(line):
    peer, wrong = line.getpeername(), []

    def ask(value: float) -> None:
        with socket.create_connection(peer, timeout=10) as own:
            for step in range(20):
                own.sendall(_post(value + step))
                if _predictions(_answers(own, 1)) != [(value + step) / 2 + 2]:
                    wrong.append((value, step))

    threads = [threading.Thread(target=ask, args=(100.0 * number,)) for number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_large_requests_take_the_other_way_to_the_same_answer(line):
    body = json.dumps({"instances": [float(value) for value in range(60_000)]})
    line.sendall(f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
    ((status, answer),) = _answers(line, 1)
    assert status == 200 and json.loads(answer)["predictions"][-1] == 59_999 / 2 + 2
