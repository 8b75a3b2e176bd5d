"""How workers find together: what `TF_CONFIG` says, and what each of them is told before TensorFlow starts."""

import concurrent.futures
import contextlib
import errno
import json
import socket
import subprocess
import sys
import threading
import time

import pytest
from conftest import ROOT

from training.fitting import cluster
from training.fitting import meeting as meeting_
from training.fitting.cluster import Cluster
from training.fitting.meeting import Answer, meet, met
from training.fitting.presence import Presence

WORKERS = ["a:1", "b:1", "c:1"]
NOTHING = Answer()


def config(tasks=None, kind="worker", index=0) -> dict[str, str]:
    task = {"type": kind, "index": index}
    return {"TF_CONFIG": json.dumps({"cluster": {"worker": WORKERS} if tasks is None else tasks, "task": task})}


def test_the_chief_comes_first_in_a_cluster():
    assert cluster.described(config(index=2)) == Cluster(("a:1", "b:1", "c:1"), 2)
    several = {"worker": ["b:1", "c:1"], "chief": ["a:1"]}
    assert cluster.described(config(several)) == Cluster(("a:1", "b:1", "c:1"), 1)
    assert cluster.described(config(several, "chief")).chief and not cluster.described(config(several, index=1)).chief
    assert cluster.described(config({"worker": ["[::1]:2", "b:3"]})).port == 2


@pytest.mark.parametrize("environment", [{}, {"TF_CONFIG": ""}, {"TF_CONFIG": "{}"}, config({"worker": ["a:1"]})])
def test_no_cluster_and_one_of_a_single_worker_are_none(environment):
    assert cluster.described(environment) is None


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"TF_CONFIG": "{worker"}, "Expected JSON with a cluster and a task in TF_CONFIG. Received: '{worker'"),
        ({"TF_CONFIG": "[1]"}, "Expected JSON with a cluster"),
        ({"TF_CONFIG": json.dumps({"cluster": {"worker": WORKERS}, "task": {"index": 1}})}, "(KeyError: 'type')"),
        (config({"worker": 3}), "Expected JSON with a cluster"),
        (config({"worker": ["a:1", "b:1", "a:1"]}), "an address of its own for each worker in TF_CONFIG. Received: a:1 twice"),
        (config({"worker": ["a", "b:1"]}), "addresses host:port in TF_CONFIG. Received: 'a'"),
        (config({"worker": ["a:1", "b:99999"]}), "Received: 'b:99999'"),
        (config(index=3), "a task of the cluster in TF_CONFIG. Received: worker 3"),
        (config(kind="evaluator"), "Received: evaluator 0"),
        (config({"worker": WORKERS, "ps": ["d:1"]}), "types chief and worker in TF_CONFIG. Received: ps"),
    ],
)
def test_what_describes_no_cluster_is_an_error(environment, words):
    with pytest.raises(ValueError) as error:
        cluster.described(environment)
    assert words in str(error.value)


@pytest.fixture
def addresses():
    """Three addresses on this machine whose ports are free."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    found = tuple(f"127.0.0.1:{each.getsockname()[1]}" for each in sockets)
    for each in sockets:
        each.close()
    return found


def meeting(addresses, came=(0, 1, 2), facts=None, answer=NOTHING, seconds=20.0):
    """What the workers that came are told, or the error that each of them gets, and how long it took."""
    begun = time.monotonic()

    def one(index):
        try:
            return meet(Cluster(addresses, index), (facts or {}).get(index, {"k": 8}), answer, seconds)
        except (ValueError, OSError) as error:
            return error

    with concurrent.futures.ThreadPoolExecutor() as pool:
        return [*pool.map(one, came)], time.monotonic() - begun


def test_all_get_the_answer_of_the_chief_and_its_files(addresses):
    answer = Answer(trained=True, files={"config.json": b"{}\n", "checkpoints/latest.npz": bytes(range(256)) * 1000})
    told, _ = meeting(addresses, answer=answer)
    assert told == [answer] * 3
    told, _ = meeting(addresses)  # the same ports again, at once
    assert told == [NOTHING] * 3


@pytest.mark.parametrize(
    ("came", "answer", "facts", "words"),
    [
        (
            (0, 1, 2),
            NOTHING,
            {2: {"k": 3}},
            "the same installation and experiment on all workers. Received: worker 2 with k 3, not",
        ),
        ((0, 1, 2), NOTHING, {1: {"k": 8, "keras": "3.1"}}, "worker 1 with keras 3.1, not None"),
        ((0, 1, 2), Answer("Expected a folder of the same experiment."), {}, "Expected a folder of the same experiment."),
        ((0, 1), NOTHING, {}, "all workers to come in time. Received: nothing from worker 2 (127.0.0.1:"),
        ((1, 2), NOTHING, {}, "the chief to come in time. Received: no answer at 127.0.0.1:"),
    ],
)
def test_what_is_wrong_with_one_worker_is_an_error_of_all(came, answer, facts, words, addresses):
    seconds = 20.0 if len(came) == 3 else 1.0
    told, took = meeting(addresses, came, facts, answer, seconds)
    for error in told:
        assert isinstance(error, ValueError) and words in str(error)
    assert took < 15


def test_a_worker_that_is_not_at_its_address_is_an_error_of_all(addresses, monkeypatch):
    monkeypatch.setattr(meeting_, "REACH", 0.5)
    unknown = f"host.invalid:{addresses[2].rpartition(':')[2]}"
    told, took = meeting((*addresses[:2], unknown))
    for error in told:
        assert isinstance(error, ValueError) and f"Received: no way to worker 2 at {unknown} (" in str(error)
    assert took < 15


def test_who_hears_nothing_of_the_chief_is_told_why(addresses):
    told, _ = meeting(addresses, (1,), seconds=0.5)
    assert f"no answer at {addresses[0]} (Connection refused)" in str(told[0])


def test_a_worker_that_comes_twice_is_told_so(addresses):
    told, _ = meeting(addresses, (0, 1, 1), seconds=3.0)
    assert sum("worker 1 twice" in str(error) or error.__class__ is OSError for error in told) == 1


class Killed(BaseException):
    """What leaves no time for a last word."""


@pytest.mark.parametrize(
    ("errors", "told"),
    [
        ({}, {}),
        ({2: ValueError("Expected more memory.")}, dict.fromkeys((0, 1), ("worker 2: Expected more memory.", 2))),
        (
            {0: OSError(errno.ENOSPC, "No space left on device", "a.json")},
            dict.fromkeys((1, 2), ("the chief: Expected what the operating system allows. Received: No space left", 2)),
        ),
        ({1: Killed()}, dict.fromkeys((0, 2), ("worker 1 is gone", 1))),
        ({0: Killed()}, dict.fromkeys((1, 2), ("the chief is gone", 1))),
    ],
)
def test_all_workers_learn_of_one_that_fails_after_they_have_met(errors, told, addresses):
    heard, failed = {}, threading.Event()

    def one(index):
        def end(*said):
            heard[index] = said
            if len(heard) == len(told):
                failed.set()

        with (
            contextlib.suppress(*map(type, errors.values())),
            met(Cluster(addresses, index), {}, NOTHING) as (_, lines),
            Presence(lines, end) as presence,
        ):
            if index in errors:
                raise errors[index]
            if errors:
                failed.wait(10)
            elif not index:
                presence.wait()

    with concurrent.futures.ThreadPoolExecutor() as pool:
        assert [*pool.map(one, range(3))] == [None] * 3
    assert heard.keys() == told.keys()
    for index, (words, code) in told.items():
        assert words in heard[index][0] and heard[index][1] == code


@pytest.mark.parametrize(
    ("rows", "words"),
    [({}, ""), ({1: 4}, "worker 1 with rows 4, not 3."), ({0: 4}, "worker 1 with rows 3, not 4; worker 2 with")],
)
def test_workers_agree_on_what_they_have_found_or_all_fail(rows, words, addresses):
    heard, failed = [], threading.Event()

    def end(said, code):
        heard.append((said, code))
        failed.set()

    def one(index):
        with met(Cluster(addresses, index), {}, NOTHING) as (_, lines), Presence(lines, end) as presence:
            if index and words:
                presence.lines[0].write(json.dumps({"rows": rows.get(index, 3)}).encode() + b"\n")
                presence.lines[0].flush()
                return failed.wait(10)  # a real one is ended while it waits
            presence.agree({"rows": rows.get(index, 3)})
            return True

    with concurrent.futures.ThreadPoolExecutor() as pool:
        futures = [pool.submit(one, index) for index in range(3)]
        if words:
            with pytest.raises(ValueError, match=f"the same data on all workers. Received: {words}"):
                futures[0].result()
        assert all(future.result() for future in futures[bool(words) :])
    assert {said for said, _ in heard} == ({f"the chief: {futures[0].exception()}"} if words else set())


def test_a_port_in_use_is_an_error(addresses):
    for index in (0, 1):
        with socket.create_server(("", Cluster(addresses, index).port)), pytest.raises(OSError) as error:
            meet(Cluster(addresses, index), {}, NOTHING, 1.0)
        assert error.value.errno == errno.EADDRINUSE and f"of worker {index} in TF_CONFIG" in str(error.value)


def test_callers_of_other_kinds_do_not_disturb(addresses):
    def call(line):
        time.sleep(0.3)
        with socket.create_connection(("127.0.0.1", Cluster(addresses, 0).port)) as caller:
            caller.sendall(line)
            time.sleep(0.3)

    with concurrent.futures.ThreadPoolExecutor() as pool:
        several = [pool.submit(call, line) for line in (b"GET / HTTP/1.1\r\n\r\n", b'{"index": 7, "facts": {}}\n', b"")]
        chief = pool.submit(meet, Cluster(addresses, 0), {"k": 8}, NOTHING, 20.0)
        time.sleep(1)
        told, _ = meeting(addresses, (1, 2))
        assert told == [chief.result(), NOTHING]
        assert [each.result() for each in several] == [None] * 3


@pytest.mark.parametrize(("limit", "wait", "code", "said"), [(0.2, 60, 1, "Expected all to start.\n"), (60.0, 0, 0, "")])
def test_what_waits_for_too_long_is_ended_with_a_sentence(limit, wait, code, said):
    source = f"""
import ctypes
from deadline import deadline
with deadline({limit}, "Expected all to start."):
    ctypes.PyDLL(None).sleep({wait})  # with Python's lock, as TensorFlow does
"""
    done = subprocess.run([sys.executable, "-c", source], cwd=ROOT / "training" / "fitting", capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (code, said)
