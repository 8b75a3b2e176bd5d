"""Greedy batching: requests that wait when a run ends form the next batch. There is no timer, and an idle model runs at once.

A caller enqueues its inputs and then takes a step: it runs a batch of what is queued, its own tasks and others', unless enough
threads already do. A thread pool takes the steps that are left.
"""

import contextlib
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, InvalidStateError
from typing import NamedTuple

import numpy as np

from serving.status import Code, RequestError

QUICK = 0.002  # seconds; an event loop can wait for a run of this length
SEEN, RECENT = 3, 8  # least number of timed runs before a size counts as quick, and how many recent ones are kept
SIZES = 256  # number of sizes whose times are kept
log = logging.getLogger(__name__)


class Limits(NamedTuple):
    """Sizes of one signature's batches, in rows; the queue holds up to `max_enqueued_batches` full ones."""

    max_batch_size: int = 256
    max_enqueued_batches: int = 10
    num_batch_threads: int = 1
    allowed_batch_sizes: tuple[int, ...] = ()


class Task:
    """One request: its inputs, as arrays in the signature's order, and a callback for the outputs or the error.

    Its rows are joined with those of other tasks unless it runs `alone`. Once `wanted` returns False it is dropped.
    """

    __slots__ = ("alone", "done", "inner", "rows", "values", "wanted")

    def __init__(
        self,
        values: list[np.ndarray],
        done: Callable,
        alone: bool = False,
        wanted: Callable[[], bool] = lambda: True,
    ):
        self.values, self.done, self.alone, self.wanted = values, done, alone, wanted
        self.rows = 1 if alone else len(values[0])
        self.inner = None if alone else [value.shape[1:] for value in values]


class Batcher:
    """Runs one signature for many callers.

    Args:
        call: the signature as a function of its input arrays; returns its output arrays.
        pool: runs the batches that a step leaves.
        even: whether the time of a run depends only on the shapes of its inputs, not on their values.
    """

    def __init__(self, call: Callable, pool: Executor, limits: Limits, even: bool = False):
        self._call, self._pool, self.limits, self._even = call, pool, limits, even
        self._joins = True
        self._queue: deque[Task] = deque()
        self._separate: deque[list[Task]] = deque()  # batches that are not joined with others
        self._rows = 0  # in the queue
        self._lock = threading.Lock()
        self._slots = threading.Semaphore(limits.num_batch_threads)
        self._seconds: dict[tuple, deque[float]] = {}  # times of recent runs, by size

    def run(self, values: list[np.ndarray], alone: bool = False, until: Callable | None = None) -> list[np.ndarray]:
        """The outputs for `values`. Blocks; may be called from any thread.

        Args:
            until: is called with a function that cancels the task, for when nobody waits for the outputs any more.

        Raises:
            RequestError: the queue is full, or CANCELLED.
            tf.errors.OpError: the model failed.
        """
        future = Future()
        if until is not None:
            until(lambda: _settle(future, _unwanted()))
        self.enqueue(Task(values, lambda result: _settle(future, result), alone, lambda: not future.done()))
        self.step()
        return future.result()

    def enqueue(self, task: Task) -> None:
        """Queues a task for the next `step`.

        Raises:
            RequestError: RESOURCE_EXHAUSTED, the queue is full.
        """
        with self._lock:
            dropped = self._remove_unwanted()
            limit = self.limits.max_enqueued_batches * self.limits.max_batch_size
            full = len(self._queue) > 0 and self._rows + task.rows > limit
            if not full:
                self._queue.append(task)
                self._rows += task.rows
        _drop(dropped)
        if full:
            raise RequestError(
                Code.RESOURCE_EXHAUSTED,
                f"The batch scheduling queue to which this task was submitted is full: {self._rows} rows wait. Try later.",
            )

    def step(self) -> None:
        """Runs one batch of the queue, unless enough threads do; leaves the rest to the pool."""
        if self._slots.acquire(blocking=False):
            self._run_in_slot(self._next_batch())

    def step_beside(self) -> None:
        """Takes a step in the pool."""
        self._pool.submit(self.step)

    def step_if_quick(self) -> None:
        """Takes a step in this thread, an event loop's, if recent runs of this size were all quick; else in the pool."""
        if not self._slots.acquire(blocking=False):
            return
        batch = self._next_batch()
        if self._is_quick(batch):
            self._run_in_slot(batch)
        else:
            self._pool.submit(self._run_in_slot, batch)

    def _run_in_slot(self, batch: list[Task]) -> None:
        """Runs a batch in a slot that is already acquired, and releases it."""
        try:
            self._run(batch)
        finally:
            self._slots.release()
            # A caller that queued a task before this release found no slot, and relies on this check of the queue.
            if self._queue or self._separate:
                self.step_beside()

    def _next_batch(self) -> list[Task]:
        """The next batch: the oldest wanted task, and those after it that can be joined with it."""
        with self._lock:
            dropped, batch = [], []
            while self._separate and not batch:
                for task in self._separate.popleft():
                    (batch if task.wanted() else dropped).append(task)
            if not batch:
                dropped += self._remove_unwanted()
                batch = self._joined_from_queue(dropped)
        _drop(dropped)
        return batch

    def _remove_unwanted(self) -> list[Task]:
        """Removes tasks from the head of the queue while they are not wanted. The lock must be held."""
        dropped: list[Task] = []
        if not self._queue or self._queue[0].wanted():  # as it nearly always is
            return dropped
        while self._queue and not self._queue[0].wanted():
            dropped.append(self._queue.popleft())
        self._rows -= sum(task.rows for task in dropped)
        return dropped

    def _joined_from_queue(self, dropped: list[Task]) -> list[Task]:
        if not self._queue:
            return []
        batch = [self._queue.popleft()]
        rows, inner = batch[0].rows, batch[0].inner
        while self._joins and not batch[0].alone and self._queue:
            following = self._queue[0]
            fits = rows + following.rows <= self.limits.max_batch_size
            if not fits or following.alone or following.inner != inner:
                break
            self._queue.popleft()
            if following.wanted():
                batch.append(following)
                rows += following.rows
            else:
                dropped.append(following)
                self._rows -= following.rows
        self._rows -= rows
        return batch

    def _run(self, batch: list[Task]) -> None:
        if not batch:
            return
        try:
            if batch[0].alone or not self._joins:
                results = [self._timed(batch[0].values)]
            else:
                rows = [task.rows for task in batch]
                columns = zip(*(task.values for task in batch), strict=True)
                values = [parts[0] if len(batch) == 1 else np.concatenate(parts) for parts in columns]
                results = _split(self._joined(values, sum(rows)), rows)
        except _Unjoinable:
            self._joins = False
            self._separate.extend([task] for task in batch)
            return
        except Exception as error:
            if len(batch) > 1:  # a bad request fails alone: search for it by halves
                middle = len(batch) // 2
                self._separate.extend((batch[:middle], batch[middle:]))
                return
            results = [error]
        for task, result in zip(batch, results, strict=True):
            _answer(task, result)

    def _joined(self, values: list[np.ndarray], rows: int) -> list[np.ndarray]:
        """The outputs for `rows` rows, in runs of at most `max_batch_size`."""
        limit = self.limits.max_batch_size
        if rows <= limit:
            return self._padded(values, rows)
        parts = [
            self._padded([value[at : at + limit] for value in values], min(limit, rows - at)) for at in range(0, rows, limit)
        ]
        return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]

    def _padded(self, values: list[np.ndarray], rows: int) -> list[np.ndarray]:
        size = self._size(rows)
        if size > rows:
            values = [np.concatenate([value, np.repeat(value[-1:], size - rows, axis=0)]) for value in values]
        outputs = self._timed(values)
        if any(output.shape[:1] != (size,) for output in outputs):
            raise _Unjoinable
        return [output[:rows] for output in outputs] if size > rows else outputs

    def _size(self, rows: int) -> int:
        """The number of rows of a run, padding included, for `rows` rows."""
        return next((size for size in self.limits.allowed_batch_sizes if size >= rows), rows) if rows else rows

    # Timing

    def _is_quick(self, batch: list[Task]) -> bool:
        if not batch:
            return True
        rows = sum(task.rows for task in batch)
        if not self._even or rows > self.limits.max_batch_size:
            return False
        first = batch[0]
        shapes = [value.shape for value in first.values] if first.alone else [(self._size(rows), *size) for size in first.inner]
        seconds = self._seconds.get(_magnitude(shapes), ())
        return len(seconds) >= SEEN and max(seconds) < QUICK

    def _timed(self, values: list[np.ndarray]) -> list[np.ndarray]:
        start = time.perf_counter()
        try:
            return self._call(*values)
        finally:
            self._remember(_magnitude([value.shape for value in values]), time.perf_counter() - start)

    def _remember(self, magnitude: tuple, seconds: float) -> None:
        recent = self._seconds.get(magnitude)
        if recent is None:
            if len(self._seconds) >= SIZES:
                self._seconds = {}
            recent = self._seconds[magnitude] = deque(maxlen=RECENT)
        recent.append(seconds)


class _Unjoinable(Exception):
    """The outputs lack the batch axis that the signature promises."""


def _magnitude(shapes: list[tuple[int, ...]]) -> tuple[int, ...]:
    """A key that is shared by shapes whose axes have the same number of bits, so differ by less than a factor of two."""
    return tuple(size.bit_length() for shape in shapes for size in shape)


def _split(outputs: list[np.ndarray], rows: list[int]) -> list[list[np.ndarray]]:
    """Splits the outputs of a batch into those of each task."""
    if len(rows) == 1:
        return [outputs]
    ends = list(itertools.accumulate(rows))
    return [[output[end - count : end] for output in outputs] for count, end in zip(rows, ends, strict=True)]


def _unwanted() -> RequestError:
    return RequestError(Code.CANCELLED, "Nobody waits for the response any more.")


def _drop(tasks: list[Task]) -> None:
    for task in tasks:
        _answer(task, _unwanted())


def _answer(task: Task, result: list[np.ndarray] | BaseException) -> None:
    try:
        task.done(result)
    except Exception as error:  # the other tasks of the batch must still get their results
        log.warning("Expected a callback to take the result. Received: %s: %s", type(error).__name__, error)


def _settle(future: Future, result: list[np.ndarray] | BaseException) -> None:
    with contextlib.suppress(InvalidStateError):  # it was cancelled before
        if isinstance(result, BaseException):
            future.set_exception(result)
        else:
            future.set_result(result)
