"""Batching: which requests are joined, split, padded, refused, or run alone."""

import math
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest

from serving.models.batcher import Batcher, Limits, Task
from serving.status import Code, RequestError


class Doubling:
    """Doubles its input, refuses negative numbers, and remembers the sizes of its runs; waits while `held`."""

    def __init__(self):
        self.sizes, self.held, self.running = [], threading.Event(), threading.Event()
        self.held.set()

    def __call__(self, x):
        self.running.set()
        self.held.wait(10)
        self.sizes.append(len(x))
        if (x < 0).any():
            raise ValueError("negative")
        return [2 * x]


@pytest.fixture
def pool():
    with ThreadPoolExecutor(8) as pool:
        yield pool


def _queue(batcher, x: np.ndarray, wanted=lambda: True, alone: bool = False) -> Future:
    future = Future()
    batcher.enqueue(Task([x], future.set_result, alone, wanted))
    return future


def _queued(batcher, rows: list[np.ndarray]) -> list:
    """The answers, in order, of tasks that were all queued before the first step."""
    futures = [_queue(batcher, x) for x in rows]
    batcher.step()
    return [future.result(10) for future in futures]


def _wait_until(condition) -> None:
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.001)


def test_what_waits_goes_into_one_run(pool):
    model = Doubling()
    rows = [np.full((count, 3), float(count)) for count in (1, 2, 3)]
    answers = _queued(Batcher(model, pool, Limits()), rows)
    assert model.sizes == [6]
    for x, (y,) in zip(rows, answers, strict=True):
        np.testing.assert_array_equal(y, 2 * x)


def test_a_bad_request_fails_alone(pool):
    model = Doubling()
    good, bad, other = _queued(Batcher(model, pool, Limits()), [np.ones((1, 1)), -np.ones((1, 1)), np.ones((2, 1))])
    assert good[0] == 2 and isinstance(bad, ValueError) and other[0].tolist() == [[2], [2]]
    assert sorted(model.sizes) == [1, 1, 2, 3, 4]


def test_a_bad_request_costs_the_others_few_runs(pool):
    model, count = Doubling(), 64
    rows = [np.full((1, 1), -1.0 if number == 37 else number) for number in range(count)]
    answers = _queued(Batcher(model, pool, Limits()), rows)
    assert [number for number, answer in enumerate(answers) if isinstance(answer, ValueError)] == [37]
    assert [answer[0].item() for answer in answers[:37]] == [2.0 * number for number in range(37)]
    assert len(model.sizes) <= 1 + 2 * math.log2(count)


def test_what_nobody_waits_for_is_not_run(pool):
    model = Doubling()
    batcher = Batcher(model, pool, Limits())
    gone = [_queue(batcher, np.full((1, 1), 7.0), wanted=lambda: False) for _ in range(3)]
    batcher.step()
    assert model.sizes == []
    between = [_queue(batcher, np.ones((1, 1)), wanted=lambda wanted=wanted: wanted) for wanted in (True, False, True)]
    batcher.step()
    assert model.sizes == [2] and [len(between[number].result(10)) for number in (0, 2)] == [1, 1]
    for future in (*gone, between[1]):
        assert future.result(10).code == Code.CANCELLED
    assert batcher._rows == 0


def test_what_nobody_waits_for_takes_no_room_in_the_queue(pool):
    batcher, wanted = Batcher(Doubling(), pool, Limits(max_batch_size=2, max_enqueued_batches=1)), [True]
    for _ in range(2):
        _queue(batcher, np.ones((1, 1)), wanted=lambda: wanted[0])
    with pytest.raises(RequestError, match="queue"):
        _queue(batcher, np.ones((1, 1)))
    wanted[0] = False
    assert _queued(batcher, [np.ones((2, 1))])[0][0].tolist() == [[2], [2]]


def test_what_is_too_late_is_not_run_again_after_a_bad_request(pool):
    model, wanted = Doubling(), [True]
    batcher = Batcher(model, pool, Limits())
    model.held.clear()
    late, bad = _queue(batcher, np.ones((1, 1)), wanted=lambda: wanted[0]), _queue(batcher, -np.ones((1, 1)))
    running = pool.submit(batcher.step)
    model.running.wait(10)
    wanted[0] = False
    model.held.set()
    assert isinstance(bad.result(10), ValueError) and late.result(10).code == Code.CANCELLED
    running.result(10)
    assert model.sizes == [2, 1]


def test_who_stops_waiting_is_released_at_once(pool):
    model, ends = Doubling(), []
    batcher = Batcher(model, pool, Limits())
    model.held.clear()
    first = pool.submit(batcher.run, [np.ones((1, 1))])
    model.running.wait(10)
    second = pool.submit(batcher.run, [np.ones((5, 1))], until=ends.append)
    _wait_until(lambda: batcher._rows == 5)
    ends[0]()
    with pytest.raises(RequestError, match="Nobody waits"):
        second.result(10)
    model.held.set()
    assert len(first.result(10)[0]) == 1
    batcher.run([np.ones((2, 1))])
    assert model.sizes == [1, 2]


class Watched:
    """Waits for `seconds`, for 0.05 with 100 rows or more, and remembers the threads that it ran in."""

    def __init__(self, seconds: float = 0.0):
        self.seconds, self.threads = seconds, []

    def __call__(self, x):
        self.threads.append(threading.get_ident())
        time.sleep(self.seconds if len(x) < 100 else 0.05)
        return [x]

    def here(self, batcher, rows: int) -> bool:
        """Whether an event loop's step of so many rows runs in its own thread."""
        future = _queue(batcher, np.ones((rows, 1)))
        batcher.step_if_quick()
        future.result(10)
        _wait_until(lambda: batcher._slots._value)
        return self.threads[-1] == threading.get_ident()


def test_an_answer_that_nobody_can_take_harms_no_other(pool):
    batcher = Batcher(Doubling(), pool, Limits())
    batcher.enqueue(Task([np.ones((1, 1))], lambda result: 1 / 0))
    assert _queued(batcher, [np.ones((2, 1))])[0][0].tolist() == [[2], [2]]


def test_an_event_loop_runs_only_what_was_quick_before_at_this_size(pool):
    model = Watched()
    batcher = Batcher(model, pool, Limits(), even=True)
    assert not model.here(batcher, 1)  # nobody knows yet
    _wait_until(lambda: model.here(batcher, 1))
    assert not model.here(batcher, 100)  # of this size neither, however quick one row is
    for _ in range(20):
        assert not model.here(batcher, 100)
    _wait_until(lambda: model.here(batcher, 1))
    model.seconds = 0.05  # whatever the reason: one slow run counts for the next ones
    model.here(batcher, 1)
    model.seconds = 0.0
    assert not model.here(batcher, 1)


def test_an_event_loop_runs_nothing_whose_time_depends_on_the_values(pool):
    model = Watched()
    batcher = Batcher(model, pool, Limits())
    assert not any(model.here(batcher, 1) for _ in range(20))


def test_more_rows_than_a_batch_has_are_not_quick(pool):
    model = Watched()
    batcher = Batcher(model, pool, Limits(max_batch_size=4), even=True)
    _wait_until(lambda: model.here(batcher, 4))
    assert not any(model.here(batcher, 400) for _ in range(3))


def test_runs_are_not_larger_than_allowed_and_larger_requests_are_split(pool):
    model = Doubling()
    batcher = Batcher(model, pool, Limits(max_batch_size=4))
    _queued(batcher, [np.ones((3, 1)), np.ones((2, 1)), np.ones((2, 1))])
    assert model.sizes == [3, 4]
    x = np.arange(10.0)[:, None]
    np.testing.assert_array_equal(batcher.run([x])[0], 2 * x)
    assert model.sizes[2:] == [4, 4, 2]


def test_allowed_sizes_are_filled_up(pool):
    model = Doubling()
    (y,) = Batcher(model, pool, Limits(max_batch_size=8, allowed_batch_sizes=(2, 8))).run([np.arange(3.0)[:, None]])
    assert model.sizes == [8] and y.tolist() == [[0], [2], [4]]


def test_other_shapes_and_lone_tasks_do_not_join(pool):
    model = Doubling()
    batcher = Batcher(model, pool, Limits())
    _queued(batcher, [np.ones((1, 2)), np.ones((1, 3)), np.ones((1, 3))])
    assert model.sizes == [1, 2]
    assert batcher.run([np.array([1.0, 2.0])], alone=True)[0].tolist() == [2, 4]


def test_outputs_without_a_batch_axis_are_not_split(pool):
    batcher = Batcher(lambda x: [x.sum()[None]], pool, Limits())
    answers = _queued(batcher, [np.ones((2, 1)), np.ones((3, 1))])
    assert [answer[0].tolist() for answer in answers] == [[2], [3]]


def test_a_full_queue_refuses_at_once(pool):
    model = Doubling()
    batcher = Batcher(model, pool, Limits(max_batch_size=2, max_enqueued_batches=2))
    model.held.clear()
    first = pool.submit(batcher.run, [np.ones((1, 1))])
    model.running.wait(10)
    waiting = [pool.submit(batcher.run, [np.ones((2, 1))]) for _ in range(2)]
    _wait_until(lambda: batcher._rows == 4)
    with pytest.raises(RequestError, match="queue") as raised:
        batcher.run([np.ones((1, 1))])
    assert raised.value.code == Code.RESOURCE_EXHAUSTED
    model.held.set()
    assert [len(future.result(10)[0]) for future in (first, *waiting)] == [1, 2, 2]


def test_several_threads_run_where_that_is_allowed(pool):
    model = Doubling()
    batcher = Batcher(model, pool, Limits(num_batch_threads=2))
    model.held.clear()
    first = pool.submit(batcher.run, [np.ones((1, 1))])
    model.running.wait(10)
    model.running.clear()
    second = pool.submit(batcher.run, [np.ones((2, 1))])
    assert model.running.wait(10)
    model.held.set()
    assert len(first.result(10)[0]) == 1 and len(second.result(10)[0]) == 2
