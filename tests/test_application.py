"""The REST front end without sockets: work in the event loop, timeouts, and clients that disconnect."""

import asyncio
import json
import threading
import time

import half_plus_two
import pytest

from serving.models.configuration import one_model
from serving.models.models import Models
from serving.rest.application import Application
from serving.rest.messages import Request

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
    body = json.dumps({"signature_name": signature, "instances": values}).encode() + b" " * spaces
    answer = asyncio.get_running_loop().create_future()
    return answer, app.handle(Request("POST", "/v1/models/m:predict", "", {}, body, True), answer.set_result)


def test_a_long_run_after_quick_ones_leaves_the_event_loop_free_and_is_too_late(models):
    async def main():
        app = Application(models, timeout=0.3)
        for _ in range(20):
            assert (await _ask(app, "slow", 1)[0]).status == 200
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
