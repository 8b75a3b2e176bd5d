"""The REST front end without sockets: work in the event loop, timeouts, and clients that disconnect."""

import asyncio
import base64
import gzip
import io
import json
import math
import struct
import threading
import time
import zlib

import half_plus_two
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.models.configuration import one_model
from serving.models.models import Models
from serving.rest import bodies, pictures
from serving.rest.application import Application
from serving.rest.budget import BODIES
from serving.rest.messages import Request, Response
from serving.status import RequestError

LONG = 40_000  # iterations of `slow`: a second or more


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "m"
    half_plus_two.write_tf2(path / "1")
    models = Models(lambda: one_model("m", path))
    models.poll()
    yield models
    models.close()


@pytest.fixture
def runs(models, monkeypatch):
    """The values of the runs of `slow`, and an event: while it is not set they wait."""
    batcher, runs, held = models.get("m").endpoint("slow").batcher, [], threading.Event()
    call = batcher._call

    def counted(iterations):
        runs.append(iterations.tolist())
        assert held.wait(10)
        return call(iterations)

    held.set()
    monkeypatch.setattr(batcher, "_call", counted)
    return runs, held


def _ask(app: Application, signature: str, *values, spaces: int = 0) -> tuple[asyncio.Future, object]:
    """The answer to come, and what to call if the client goes."""
    return _post(app, json.dumps({"signature_name": signature, "instances": values}).encode() + b" " * spaces)


def _post(app: Application, body: bytes, headers: dict[bytes, bytes] | None = None) -> tuple[asyncio.Future, object]:
    answer = asyncio.get_running_loop().create_future()
    request = Request("POST", "/v1/models/m:predict", "", headers or {}, body, True)
    return answer, app.handle(request, answer.set_result)


def _answer(models: Models, body: bytes, headers: dict[bytes, bytes] | None = None) -> Response:
    async def main():
        return await asyncio.wait_for(_post(Application(models), body, headers)[0], 60)

    return asyncio.run(main())


def test_a_long_run_after_quick_ones_leaves_the_event_loop_free_and_is_too_late(models):
    async def main():
        patient, app = Application(models), Application(models, timeout=0.3)
        for _ in range(20):
            assert (await _ask(patient, "slow", 1)[0]).status == 200
        start = time.monotonic()
        slow = _ask(app, "slow", LONG)[0]
        await asyncio.sleep(0.01)
        assert (await _ask(app, "negate", True)[0]).body == b'{"predictions":[false]}'
        assert time.monotonic() - start < 0.3 and not slow.done()
        assert (await slow).status == 504

    asyncio.run(main())


@pytest.mark.parametrize("ends", ["too late", "client gone"])
def test_what_waits_and_is_not_wanted_is_not_run(models, runs, ends):
    ran, held = runs

    async def main():
        patient, app = Application(models), Application(models, timeout=0.3 if ends == "too late" else 30)
        held.clear()
        running, _ = _ask(patient, "slow", 1)
        until = time.monotonic() + 20
        while not ran:
            assert time.monotonic() < until
            await asyncio.sleep(0.01)
        waiting = [_ask(app, "slow", 2) for _ in range(3)]
        large = _ask(app, "slow", 3, spaces=1 << 18)  # more than is read in the event loop
        if ends == "client gone":
            await asyncio.sleep(0.3)
            for _, abandon in (*waiting, large):
                abandon()
        statuses = [(await answer).status for answer, _ in (*waiting, large)]
        held.set()
        assert (await running).status == 200
        assert statuses == [504 if ends == "too late" else 499] * 4
        assert (await _ask(patient, "slow", 4)[0]).status == 200

    asyncio.run(main())
    assert ran == [[1], [4]]


def test_what_is_quick_runs_in_the_event_loop(models, monkeypatch):
    batcher, threads = models.get("m").endpoint("").batcher, []
    call = batcher._call
    monkeypatch.setattr(batcher, "_call", lambda x: (threads.append(threading.get_ident()), call(x))[1])

    async def main():
        app = Application(models)
        until = time.monotonic() + 10
        while threading.get_ident() not in threads:
            assert time.monotonic() < until
            await _ask(app, "serving_default", 1.0)[0]

    asyncio.run(main())
    assert threads[0] != threading.get_ident()


def test_what_takes_long_to_read_is_not_read_in_the_event_loop(models, monkeypatch):
    threads, read = [], bodies.json_tensors.read
    monkeypatch.setattr(bodies.json_tensors, "read", lambda *args: (threads.append(threading.get_ident()), read(*args))[1])
    rows = [
        {"instances": [1.0] * 10},
        {"signature_name": "echo", "instances": ["a"] * 9000},
        {"instances": [{"x": 1.0}] * 5000},
    ]
    for request in (*rows, {"instances": [math.nan] * 6000}):
        assert _answer(models, json.dumps(request).encode()).status == 200
    here = threading.get_ident()
    assert threads[0] == here and len(threads) == 4 and here not in threads[1:]
    assert _answer(models, json.dumps({"instances": [1.5] * 20_000}).encode()).status == 200  # at once, as one list
    assert len(threads) == 4


def test_what_asks_no_model_is_answered_beside_the_event_loop_and_has_its_time(models, monkeypatch):
    held, ran = threading.Event(), []

    def document(_models):
        ran.append(threading.get_ident())
        assert held.wait(10)
        return {}

    monkeypatch.setattr("serving.rest.openapi.document", document)

    async def main():
        app, answer = Application(models, timeout=0.2), asyncio.get_running_loop().create_future()
        app.handle(Request("GET", "/openapi.json", "", {}, b"", True), answer.set_result)
        assert (await answer).status == 504
        held.set()
        patient, answer = Application(models), asyncio.get_running_loop().create_future()
        patient.handle(Request("GET", "/openapi.json", "", {}, b"", True), answer.set_result)
        assert (await answer).body == b"{}"
        held.clear()
        abandoned = []
        gone = patient.handle(Request("GET", "/openapi.json", "", {}, b"", True), abandoned.append)
        await asyncio.sleep(0)
        gone()
        await asyncio.sleep(0.05)
        held.set()
        assert [response.status for response in abandoned] == [499]

    asyncio.run(main())
    assert threading.get_ident() not in ran


def test_large_requests_give_their_memory_back(models):
    body = json.dumps({"instances": [0.5] * 100_000}).encode()
    for sent, status in ((body, 200), (body[:-1], 400), (body.replace(b"0.5,", b'"a",', 1), 400)):
        assert _answer(models, sent).status == status and BODIES.taken == 0


def _png(width: int, height: int) -> bytes:
    """A PNG file of so many black pixels, as its head has it; of a large one only the beginning is there."""
    row = bytes(min(1 + (width + 7) // 8, 1000))
    packer = zlib.compressobj()
    data = b"".join([*(packer.compress(row) for _ in range(min(height, 1000))), packer.flush()])
    parts = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)), (b"IDAT", data), (b"IEND", b""))
    chunks = (struct.pack(">I", len(part)) + name + part + struct.pack(">I", zlib.crc32(name + part)) for name, part in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_pictures_are_counted_before_they_are_unpacked():
    def size(*files: bytes) -> int:
        return pictures.unpacked_size(pictures.files([np.array(files, object), np.ones(3)]))

    assert size(_png(300, 200)) == 3 * 300 * 200 and size(_png(30, 20), b"no picture", _png(10, 10)) == 3 * 700
    assert size(b"\x89PNG\r\n\x1a\n damaged", b"") == 0
    for width, height in ((20_000, 20_000), (100_000, 1000), (2**31 - 1, 2**31 - 1)):
        with pytest.raises(RequestError, match="Expected pictures of at most 89478485 pixels"):
            size(_png(width, height))
    with pytest.raises(bodies.TooLarge, match="smaller pictures"):
        size(*[_png(9000, 9000)] * 9)


def test_pictures_in_a_request_are_refused_before_the_model_runs(models, monkeypatch):
    batcher = models.get("m").endpoint("echo").batcher
    call, ran = batcher._call, []
    monkeypatch.setattr(batcher, "_call", lambda *values: (ran.append(BODIES.taken), call(*values))[1])

    def sent(file: bytes) -> bytes:
        return json.dumps({"signature_name": "echo", "instances": [{"b64": base64.b64encode(file).decode()}]}).encode()

    assert _answer(models, sent(_png(20_000, 20_000))).status == 400 and not ran
    assert _answer(models, sent(_png(2000, 1000))).status == 200 and ran[0] > 3 * 2000 * 1000 and BODIES.taken == 0


NUMBERS = st.one_of(st.integers(-(2**70), 2**70), st.floats(), st.sampled_from([1e39, -1e39, 2**31, 2**63, 2**64]))
LEAVES = st.one_of(
    NUMBERS, st.booleans(), st.none(), st.text(max_size=8), st.fixed_dictionaries({"b64": st.text("YWI=*-_", max_size=6)})
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["x", "n", "text", "flag", "b64", "é"]), inner),
    max_leaves=12,
)
SIGNATURES = ["serving_default", "several", "reconstruct", "echo", "negate", "total", "join", "strict", "nosuch", ""]
REQUESTS = st.fixed_dictionaries(
    {},
    optional={"signature_name": st.sampled_from(SIGNATURES) | VALUES, "instances": VALUES, "inputs": VALUES, "other": VALUES},
)
GOOD = [
    b'{"instances": [1.0, 2, 5e0]}',
    b'{"signature_name": "several", "inputs": {"x": [1, 2], "n": [2, 3]}}',
    b'{"signature_name": "several", "instances": [{"x": 1, "n": 2}]}',
    b'{"signature_name": "echo", "instances": ["a\xc3\xa9", {"b64": "YcOp"}]}',
    b'{"signature_name": "join", "inputs": ["a", "b"]}',
    b'{"signature_name": "negate", "instances": [true, false]}',
]


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


FILES = [
    (b"application/json", GOOD[0], {}),
    (b"application/json", gzip.compress(GOOD[1]), {b"content-encoding": b"gzip"}),
    (b"application/x-npy", _npy(np.ones(3, "float32")), {}),
    (b"application/x-npz", _npz(x=np.ones(3)), {}),
    (b"image/png", _png(8, 8), {}),
]
EDITS = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 3), st.binary(max_size=3)), min_size=1, max_size=4)


def _mutated(body: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    """The body with a few bytes replaced by others."""
    for at, length, others in edits:
        at = min(at, len(body))
        body = body[:at] + others + body[at + length :]
    return body


def _is_answered(response: Response) -> None:
    assert response.status in (200, 400, 404, 413, 415, 501), response
    assert response.status == 200 or list(json.loads(response.body)) == ["error"]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(REQUESTS)
def test_any_json_is_answered(models, request):
    _is_answered(_answer(models, json.dumps(request).encode()))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.sampled_from(GOOD), EDITS)
def test_any_bytes_are_answered(models, body, edits):
    _is_answered(_answer(models, _mutated(body, edits)))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.sampled_from(FILES), EDITS)
def test_any_file_is_answered(models, file, edits):
    kind, body, headers = file
    _is_answered(_answer(models, _mutated(body, edits), {b"content-type": kind, **headers}))
