"""What is joined, split, padded, refused, and run alone."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from serving.batcher import Batcher, Limits, Task
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


def _queued(batcher, rows: list[np.ndarray]) -> list:
    """The answers, in order, of tasks that were all queued before the first step."""
    answers = [None] * len(rows)
    for number, x in enumerate(rows):
        batcher.enqueue(Task([x], lambda result, number=number: answers.__setitem__(number, result)))
    while any(answer is None for answer in answers):
        batcher.step()
    return answers


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
    assert model.sizes == [4, 1, 1, 2]


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
    while batcher._rows < 4:
        pass
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
